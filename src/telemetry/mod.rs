//! What the service says about itself: request ids and one log line for each request.
//!
//! Never writes a token, a password or a body. Called by the API; decides nothing.

pub mod logging;
pub mod request_id;
pub mod request_log;

pub use request_id::RequestIds;
pub use request_log::{RequestLine, request_log};
