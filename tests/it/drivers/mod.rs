//! Drivers: what every backend must do (`conformance`), what the simulated one does on top (`sim_*`), the `file` driver with
//! its real parts, and the pool in front of them.
//!
//! A new driver is put to the test by one line in `conformance.rs`.

mod adoption_rules;
mod conformance;
mod features;
pub mod file;
mod guest_swaps;
mod image_rules;
mod inside;
mod move_rules;
mod pool;
mod rules;
mod sim_faults;
mod sim_guest;
mod sim_process;
mod snapshot_rules;
mod subject;
