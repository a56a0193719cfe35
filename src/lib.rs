//! Hearth: an OpenStack-compatible block-storage control plane.
//!
//! One page of orientation: `docs/architecture.md`. Dependencies between the folders point downwards only; the
//! integration test `architecture` holds that.
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod actors;
pub mod api;
pub mod cli;
pub mod compute;
pub mod domain;
pub mod drivers;
pub mod faults;
pub mod identity;
pub mod images;
pub mod outbound;
pub mod policy;
pub mod runtime;
pub mod settings;
pub mod sim;
pub mod store;
pub mod storm;
pub mod telemetry;
