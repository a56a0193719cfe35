//! What a guest does by itself, and what that makes of its server.

use super::attachment::Attachment;
use super::ids::AttachmentId;
use super::status::VmState;

/// What a guest does, as its hypervisor tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestState {
    /// It runs, or sleeps by its own will.
    Running,
    /// Its processors stand still, and can go on.
    Paused,
    /// It has shut down or crashed; its process is still there.
    ShutDown,
    /// Its process is gone.
    Gone,
}

/// One look at a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestSeen {
    /// Its process, 0 when it is gone: another one has none of the disks that were plugged.
    pub process: u32,
    /// What it does.
    pub state: GuestState,
}

/// What a guest has, and has room for, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestRoom {
    /// How many more disks can be plugged.
    pub free: usize,
    /// The attachments whose devices it has.
    pub plugged: Vec<AttachmentId>,
}

impl GuestRoom {
    /// Whether another disk finds no place, besides those of `attachments` that are on their way into the guest and
    /// `deciding` others.
    pub fn is_full(&self, attachments: &[Attachment], deciding: usize) -> bool {
        let is_coming = |row: &&Attachment| !self.plugged.contains(&row.device_id());
        self.free <= attachments.iter().filter(is_coming).count() + deciding
    }
}

impl GuestState {
    /// The state of a server whose record says `vm_state` and whose guest does this. States that say more than a hypervisor
    /// knows (`shelved`, `resized`, `error`…) stay what they are.
    pub const fn follow(self, vm_state: VmState) -> VmState {
        match vm_state {
            VmState::Active | VmState::Paused | VmState::Stopped => match self {
                Self::Running => VmState::Active,
                Self::Paused => VmState::Paused,
                Self::ShutDown | Self::Gone => VmState::Stopped,
            },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_state_follows_its_guest() {
        let (active, paused, stopped) = (VmState::Active, VmState::Paused, VmState::Stopped);
        for (guest, state) in [
            (GuestState::Running, active),
            (GuestState::Paused, paused),
            (GuestState::ShutDown, stopped),
            (GuestState::Gone, stopped),
        ] {
            for former in [active, paused, stopped] {
                assert_eq!(guest.follow(former), state);
            }
            for kept in
                [VmState::Shelved, VmState::ShelvedOffloaded, VmState::Resized, VmState::Error, VmState::Building]
            {
                assert_eq!(guest.follow(kept), kept, "{guest:?}");
            }
        }
    }
}
