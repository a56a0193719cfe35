//! The actors: one for each active volume and server, the supervisor that finds them, and what can be observed of them.
//!
//! The only folder (with the driver pool) that knows actix. No actor awaits an actor: exchanges are messages with ids.
//! Handlers never wait; slow work comes back as a message with its operation's ticket. An actor's state is what the store
//! has committed and nothing else, so it can be thrown away at any instant.

mod attachments;
mod blocking;
mod compute;
mod core;
mod dispatch;
mod events;
mod fences;
mod guests;
mod hosts;
mod lending;
mod metrics;
mod objects;
mod observe;
mod recover;
mod reply;
mod server;
mod server_actions;
pub mod service;
mod settling;
mod slot;
mod swapping;
mod sweep;
mod volume;

pub use crate::drivers::FaultsRefused;
pub use blocking::{Blocking, Retry, Unanswered};
pub use core::{ActorOptions, Dependencies};
pub use events::{EventStream, Followed};
pub use fences::{FenceError, HostStanding};
pub use hosts::{BackendReport, PlacementOptions, ServiceChange, ServiceError, ServiceStanding};
pub use server::ServerAttachOptions;
pub use service::{ActorSummary, Backends, RequestError, ServerAttachRequest, ServerUpdate, Service};
pub use settling::WAITERS_MAX;
pub use volume::KEY_TTL;
