//! Passivation: actors without work leave after the idle time, or earlier when too many are active.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::core::Core;
use super::slot::Occupant;
use super::volume::Passivate;

/// How often idle actors are looked for.
const INTERVAL: Duration = Duration::from_secs(10);

/// Starts the sweeper; it ends with the service.
pub(super) fn start(core: &Arc<Core>) {
    let core: Weak<Core> = Arc::downgrade(core);
    actix_rt::spawn(async move {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let Some(core) = core.upgrade() else { break };
            sweep(&core);
        }
    });
}

/// Asks every actor that has been idle for long enough to leave, and the longest idle ones beyond the cap. Each decides for
/// itself: one with an operation, a parked command or an admitted request stays.
pub(super) fn sweep(core: &Arc<Core>) {
    let now = core.world.clock.now();
    let mut slots = core.volumes.iter().map(|slot| Arc::clone(&slot)).collect::<Vec<_>>();
    slots.sort_by_key(|slot| slot.last_used());
    let surplus = slots.len().saturating_sub(core.options.max_active);
    for (index, slot) in slots.iter().enumerate() {
        let idle = now.since(slot.last_used()) >= core.options.idle_ttl;
        if !idle && index >= surplus {
            continue;
        }
        if let Occupant::Active { address, .. } = &*slot.occupant() {
            address.do_send(Passivate);
            continue;
        }
        core.retire_if_vacant(slot);
    }
}
