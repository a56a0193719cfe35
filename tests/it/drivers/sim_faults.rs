//! sim_faults
