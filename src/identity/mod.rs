//! Who asks: tokens become a [`RequestContext`].
//!
//! Never looks at a volume, never judges what the caller may do, and never answers HTTP itself. Called by the API, and by the
//! command line to explain the policy.

pub mod basic;
pub mod context;
pub mod keystone;
pub mod local;
pub mod noauth;
pub mod strategy;

pub use basic::{Basic, BasicUser};
pub use context::{RequestContext, Scope};
pub use keystone::{Keystone, KeystoneOptions};
pub use local::{Local, LocalOptions};
pub use noauth::{MappedToken, Noauth};
pub use strategy::{Presented, Refusal, Strategy};
