//! Reads the policy again: on SIGHUP, and soon after its files have changed.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::{MissedTickBehavior, interval};

use crate::policy::LivePolicy;

/// How often it is looked whether the files have changed.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Runs as long as the service. Requests go on by the rules that they began with.
pub async fn follow(policy: Arc<LivePolicy>, mut hangups: Signal) {
    tell_warnings(policy.current().warnings());
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_asked = tokio::select! {
            _ = hangups.recv() => true,
            _ = looks.tick() => false,
        };
        let live = Arc::clone(&policy);
        let look = move || if is_asked { Some(live.reload()) } else { live.reload_changed() };
        match tokio::task::spawn_blocking(look).await {
            Ok(Some(Ok(policy))) => {
                tracing::info!(overridden = policy.overridden(), "the policy was read again");
                tell_warnings(policy.warnings());
            }
            Ok(Some(Err(error))) => {
                tracing::error!(%error, "the policy cannot be used, and the rules in force stay");
            }
            // nothing has changed; or reading panicked, which the panic's own message tells
            Ok(None) | Err(_) => {}
        }
    }
}

fn tell_warnings(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("policy: {warning}");
    }
}
