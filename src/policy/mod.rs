//! Who may do what: oslo.policy's language, the rules of every call with their defaults, and the files that change them
//! (auth-and-policy §6).
//!
//! Judges a caller and a target that it is given; never looks for an object, never answers HTTP, and reads no file but the
//! policy's own. Called by the API for every request, and by the command line, which loads it and explains it.

pub mod attribute;
pub mod compiled;
pub mod explain;
pub mod expression;
pub mod files;
pub mod live;
pub mod overrides;
pub mod parse;
pub mod rules;
pub mod target;
pub mod template;

pub use compiled::{Denied, Policy};
pub use live::LivePolicy;
pub use rules::Rule;
pub use target::{Own, Target};
