//! What a guest does by itself: QEMU's events, and its own word on how it runs.
//!
//! A QMP socket serves one client at a time, and Hearth is not its only one: `hearth fsck`, or an operator, may wait for it.
//! The connection is therefore held for a moment only, and taken again behind whoever has waited; how the guest runs is asked
//! anew each time, so that what happens in between is not missed.

use std::sync::Arc;
use std::time::Duration;

use qapi::qmp::Event;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::QmpHypervisor;
use super::guest::{ConnectError, GuestLink};
use crate::domain::backend::Guest;
use crate::domain::guest::{GuestSeen, GuestState};

/// How long the connection is held, at most.
const HELD: Duration = Duration::from_secs(1);
/// Until it is taken again: somebody who waits is let in by QEMU meanwhile.
const LEFT: Duration = Duration::from_millis(20);
/// Between looks for a guest that is gone.
const GONE: Duration = Duration::from_millis(500);
/// Between tries at a guest that cannot be asked: its socket must not be used, or somebody else keeps it.
const UNREACHABLE: Duration = Duration::from_secs(5);

/// Tells what the guest does until nobody listens.
pub(super) async fn follow(hypervisor: Arc<QmpHypervisor>, guest: Guest, told: mpsc::Sender<GuestSeen>) {
    let mut news = News { told, last: None };
    let mut is_reachable = true;
    while !news.told.is_closed() {
        let pause = match hypervisor.connect(&guest).await {
            Ok(link) => {
                is_reachable = true;
                watch(&link, &mut news).await;
                LEFT
            }
            Err(ConnectError::Gone) => {
                is_reachable = true;
                news.tell(GuestSeen { process: 0, state: GuestState::Gone }).await;
                GONE
            }
            Err(error) => {
                if std::mem::take(&mut is_reachable) {
                    tracing::info!(server = %guest.server_id, %error, "the guest cannot be followed now");
                }
                UNREACHABLE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = news.told.closed() => return,
        }
    }
}

/// Only what changes is told.
struct News {
    told: mpsc::Sender<GuestSeen>,
    last: Option<GuestSeen>,
}

impl News {
    async fn tell(&mut self, seen: GuestSeen) {
        if self.last != Some(seen) && self.told.send(seen).await.is_ok() {
            self.last = Some(seen);
        }
    }
}

/// Listens until the connection has been held for long enough, or breaks.
async fn watch(link: &GuestLink, news: &mut News) {
    let until = Instant::now() + HELD;
    let Some(mut events) = link.qmp.subscribe() else { return };
    loop {
        let Ok(state) = link.state().await else { return };
        news.tell(GuestSeen { process: link.process(), state }).await;
        loop {
            match tokio::time::timeout_at(until, events.recv()).await {
                Ok(Ok(event)) if changes_state(&event) => break,
                Ok(Ok(_)) => {}
                Ok(Err(RecvError::Lagged(_))) => break,
                Ok(Err(RecvError::Closed)) | Err(_) => return,
            }
        }
    }
}

fn changes_state(event: &Event) -> bool {
    matches!(
        event,
        Event::STOP { .. }
            | Event::RESUME { .. }
            | Event::SHUTDOWN { .. }
            | Event::RESET { .. }
            | Event::SUSPEND { .. }
            | Event::SUSPEND_DISK { .. }
            | Event::WAKEUP { .. }
            | Event::GUEST_PANICKED { .. }
    )
}
