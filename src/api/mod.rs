//! HTTP and nothing else: paths, headers, JSON, the words of the faults.
//!
//! A request passes `dispatch` (identity, microversion, route, body, project) in the order of `errors-and-http` §1, then one
//! handler of its noun: schema, visibility, policy, one call of [`crate::actors::Service`], one view. Nothing here decides
//! what may happen to a volume, opens a file or knows SQL. Called by the command line and the tests, which build the server
//! with [`server::serve`].

pub mod admin;
pub mod answer;
pub mod blocking;
pub mod call;
pub mod compute;
pub mod dispatch;
pub mod fault;
pub mod filters;
pub mod idempotency;
pub mod identity;
pub mod image;
pub mod links;
pub mod microversion;
pub mod paging;
pub mod percent;
pub mod prefer;
pub mod python;
pub mod query;
pub mod route;
pub mod schema;
pub mod server;
pub mod type_cache;
pub mod v3;
pub mod views;

pub use server::{ApiOptions, ApiState, serve};
