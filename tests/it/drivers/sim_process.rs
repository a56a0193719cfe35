//! sim_process
