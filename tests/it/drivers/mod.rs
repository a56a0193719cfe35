//! Drivers, with real parts.

pub mod file;
