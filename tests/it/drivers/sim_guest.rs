//! sim_guest
