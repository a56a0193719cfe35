//! The whole way: a volume in a running guest.

pub mod guest;
mod plug;
