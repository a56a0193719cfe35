//! What the service says about itself: request ids, one log line for each request, metrics.
//!
//! Never writes a token, a password or a body, and never labels a metric with an id. Called by the API, which counts and logs
//! requests, and by the parts that count; decides nothing.

pub mod log_levels;
pub mod log_lines;
pub mod logging;
pub mod metrics;
pub mod request_id;
pub mod request_log;

pub use log_levels::LogLevels;
pub use metrics::{CommitMetrics, Metrics, Sample};
pub use request_id::RequestIds;
pub use request_log::{RequestLine, request_log};
