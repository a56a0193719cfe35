//! The HTTP layer over real sockets, in front of a real service with simulated hardware; and its pure parts as tables.

mod admin;
mod attachments;
mod compute;
mod compute_update;
mod filters;
mod harness;
mod idempotency;
mod identity;
mod lists;
mod old_actions;
mod operator;
mod opt_ins;
mod placement;
mod quotas;
mod routes;
mod samples;
mod schemas;
mod snapshots;
mod storm;
mod types;
mod versions;
mod views;
mod volume_images;
mod volume_lists;
mod volume_metadata;
mod volumes;
