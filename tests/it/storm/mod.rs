//! The load generator (`hearth storm`) and the filler (`hearth fill`), against the shipped binary and against bare servers
//! that misbehave on purpose.

mod audit;
mod bare;
mod command;
mod fill;
mod latency;

use crate::e2e::hearth::{Environment, Hearth};

/// A service with a simulated backend and no quota.
fn environment() -> Environment {
    Environment::default()
        .set("backends.0.name", "sim")
        .set("backends.0.driver", "sim")
        .set("backends.0.latency_ms", "1")
        .set("quota.volumes", "-1")
        .set("quota.gigabytes", "-1")
}

async fn service() -> Hearth {
    let hearth = Hearth::start(environment()).await;
    hearth.wait_until_ready().await;
    hearth
}
