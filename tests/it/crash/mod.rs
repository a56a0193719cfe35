//! The shipped binary killed in every way, with its storage in a process of its own that lives on: named crash points,
//! `kill -9` in a storm, power loss, SIGTERM, a database that cannot be used. Clients remember what they were answered, and
//! afterwards everything must be as they were told, without anybody's help.
//!
//! `ledger` is what a client knows, `service` the process and what starts it again, `site` a service with its storage and
//! the requests to it, `life` the life of one volume; `file` has real files, daemons and a writing guest.

mod file;
mod ledger;
mod life;
mod points;
mod power;
mod promises;
mod service;
mod site;
mod start;
mod storm;
