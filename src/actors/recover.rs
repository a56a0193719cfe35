//! Recovery at start (`spec/races.md` §3): every open operation is handed to its volume, which resumes it. In the
//! background and rate-limited; the API serves meanwhile, and a volume that a client touches resumes by itself.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use crate::domain::ids::VolumeId;
use crate::domain::volume::Command;
use crate::store::StoreError;

/// Operations read at once.
const BATCH: u64 = 256;
/// Volumes that recovery keeps resuming at the same time; further ones wait for the next look.
const MAX_RESUMING: usize = 512;
/// The pause between looks at how many are still resuming.
const PAUSE: Duration = Duration::from_millis(20);

/// Hands every open operation to its volume; how many there were.
pub(super) async fn recover(core: &Arc<Core>) -> Result<u64, StoreError> {
    let mut handed = 0;
    let mut after = None;
    let mut room = 0;
    loop {
        let batch = core.world.store.open_operations(after, BATCH).await?;
        let Some(last) = batch.last() else { break };
        after = Some(last.operation.id);
        for open in &batch {
            handed += 1;
            take_room(core, &mut room).await;
            // Activation resumes; the command itself is then a repetition that changes nothing.
            resume(core, open.volume_id);
        }
    }
    for volume_id in core.world.store.unsettled_volumes().await? {
        handed += 1;
        take_room(core, &mut room).await;
        resume(core, volume_id);
    }
    for server_id in core.world.store.deleted_servers_with_attachments().await? {
        Arc::clone(core).detach_all(server_id, super::core::system_caller()).await;
    }
    core.fences_resume();
    core.guests_resume().await?;
    Ok(handed)
}

/// One bad operation never stops the rest: each volume resumes in its own actor.
fn resume(core: &Arc<Core>, volume_id: VolumeId) {
    if core.slot_if_active(volume_id).is_none() {
        core.activate(volume_id);
    }
}

/// Waits until one more volume may resume. The active ones are counted only when the room seen last is used up: there may
/// be tens of thousands.
async fn take_room(core: &Arc<Core>, room: &mut usize) {
    while *room == 0 {
        *room = MAX_RESUMING.saturating_sub(resuming(core));
        if *room == 0 {
            tokio::time::sleep(PAUSE).await;
        }
    }
    *room -= 1;
}

/// Active volumes with open operations.
fn resuming(core: &Arc<Core>) -> usize {
    core.volumes.iter().filter(|slot| slot.last_view().is_none_or(|view| !view.operations.is_empty())).count()
}

impl Core {
    /// Activates a volume without asking anything of it: loading resumes its operations.
    fn activate(self: &Arc<Self>, volume_id: VolumeId) {
        self.deliver(volume_id, Command::Wake);
    }
}
