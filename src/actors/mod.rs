//! The actors: one for each active volume and server, the supervisor that finds them, and what can be observed of them.
//!
//! The only folder that knows actix's actors. No actor awaits an actor: exchanges are messages with ids. Handlers never
//! wait; slow work comes back as a message with its operation's ticket.

pub mod service;

pub use service::{ActorSummary, RequestError, ServerAttachRequest, ServerUpdate, Service};
