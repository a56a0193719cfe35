//! What a server's state allows (`spec/nova-volume-attachments.md` §4, §6, §7).

use crate::actors::service::RequestError;
use crate::domain::server::Server;
use crate::domain::status::VmState;
use crate::domain::volume::Caller;

/// States in which volumes are attached and detached.
const USABLE: [VmState; 7] = [
    VmState::Active,
    VmState::Paused,
    VmState::Stopped,
    VmState::Resized,
    VmState::SoftDeleted,
    VmState::Shelved,
    VmState::ShelvedOffloaded,
];

/// States in which a volume is swapped under the guest.
const SWAPPABLE: [VmState; 3] = [VmState::Active, VmState::Paused, VmState::Resized];

/// Shelved servers before microversion 2.20: said before everything else.
pub(super) fn shelved(server: &Server, action: &str, shelved_allowed: bool) -> Result<(), RequestError> {
    let is_shelved = matches!(server.vm_state, VmState::Shelved | VmState::ShelvedOffloaded);
    if is_shelved && !shelved_allowed { Err(wrong_state(server, action)) } else { Ok(()) }
}

/// Lock, state, task, launched: in this order.
pub(super) fn usable(server: &Server, action: &str, caller: &Caller) -> Result<(), RequestError> {
    usable_in(&USABLE, server, action, caller)
}

/// The same for a swap, which needs a guest.
pub(super) fn swappable(server: &Server, caller: &Caller) -> Result<(), RequestError> {
    usable_in(&SWAPPABLE, server, "swap_volume", caller)
}

fn usable_in(states: &[VmState], server: &Server, action: &str, caller: &Caller) -> Result<(), RequestError> {
    if server.locked && !caller.is_admin {
        return Err(RequestError::ServerConflict(format!("Instance {} is locked", server.id)));
    }
    if !states.contains(&server.vm_state) {
        return Err(wrong_state(server, action));
    }
    if let Some(task) = &server.task_state {
        return Err(RequestError::ServerConflict(format!(
            "Cannot '{action}' instance {} while it is in task_state {task}",
            server.id
        )));
    }
    if server.launched_at.is_none() {
        return Err(RequestError::ServerConflict(format!(
            "Instance {} is in an invalid state for '{action}'",
            server.id
        )));
    }
    Ok(())
}

fn wrong_state(server: &Server, action: &str) -> RequestError {
    RequestError::ServerConflict(format!(
        "Cannot '{action}' instance {} while it is in vm_state {}",
        server.id, server.vm_state
    ))
}
