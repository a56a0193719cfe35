//! The service's promises, on the whole service: live (SQLite or PostgreSQL behind real HTTP, simulated backends whose faults
//! and truth the test holds) and, where a promise is about instants, under virtual time.

mod attachment_index;
mod backend_faults;
mod booting;
mod counted;
mod hung;
mod live;
mod panics;
mod passivation;
mod postgres;
mod quota;
mod reads;
mod storm;
