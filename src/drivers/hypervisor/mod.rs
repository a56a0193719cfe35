//! Hypervisors: `qmp` (a running QEMU) and `sim`.

pub mod qmp;
pub mod sim;
