//! Who asks, and whether they may: tokens become a [`RequestContext`], rules become yes or no.
//!
//! Never looks at a volume and never answers HTTP itself. Called by the API only.

pub mod basic;
pub mod context;
pub mod keystone;
pub mod local;
pub mod noauth;
pub mod policy;
pub mod strategy;

pub use basic::{Basic, BasicUser};
pub use context::RequestContext;
pub use keystone::{Keystone, KeystoneOptions};
pub use local::{Local, LocalOptions};
pub use noauth::{MappedToken, Noauth};
pub use policy::{Check, Denied, Policy};
pub use strategy::{Presented, Refusal, Strategy};
