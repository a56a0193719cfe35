//! The scenarios of the catalogue of races, on the whole service under virtual time.

mod lifecycle;
pub mod scenario;
