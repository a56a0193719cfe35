//! What a server's state allows (`spec/nova-volume-attachments.md` §4, §6, §7).

use crate::actors::service::RequestError;
use crate::domain::lifecycle::ServerVerb;
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
    unlocked(server, caller)?;
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

/// For the volumes that a server is made with.
pub(super) fn booting(server: &Server) -> Result<(), RequestError> {
    if server.is_booting() { Ok(()) } else { Err(wrong_state(server, "attach_volume")) }
}

/// Lock and state, for a change of the state.
pub(super) fn may_act(server: &Server, verb: ServerVerb, caller: &Caller) -> Result<(), RequestError> {
    if !matches!(verb, ServerVerb::Lock | ServerVerb::Unlock) {
        unlocked(server, caller)?;
    }
    match verb.from() {
        Some(states) if !states.contains(&server.vm_state) => Err(wrong_state(server, verb.word())),
        _ => Ok(()),
    }
}

fn unlocked(server: &Server, caller: &Caller) -> Result<(), RequestError> {
    if server.locked && !caller.is_admin {
        return Err(RequestError::ServerConflict(format!("Instance {} is locked", server.id)));
    }
    Ok(())
}

fn wrong_state(server: &Server, action: &str) -> RequestError {
    RequestError::ServerConflict(format!(
        "Cannot '{action}' instance {} while it is in vm_state {}",
        server.id, server.vm_state
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{ProjectId, RequestId, ServerId, UserId};
    use crate::domain::operation::Requester;
    use crate::domain::server::HypervisorKind;
    use crate::domain::time::Timestamp;

    fn server() -> Server {
        Server {
            id: ServerId::from("s"),
            name: String::new(),
            project_id: ProjectId::from("p"),
            user_id: UserId::from("u"),
            host: Some("h".to_owned()),
            hypervisor: HypervisorKind::Sim,
            qmp_socket: None,
            qmp_check_uuid: true,
            vm_state: VmState::Active,
            task_state: None,
            locked: false,
            availability_zone: "nova".to_owned(),
            root_device_name: "/dev/vda".to_owned(),
            launched_at: Some(Timestamp(1)),
            created_at: Timestamp(0),
            updated_at: None,
            epoch: 1,
            deleted: false,
        }
    }

    fn asked_by(is_admin: bool, server: &Server) -> Result<(), RequestError> {
        let requester = Requester {
            request_id: RequestId::from("req-1"),
            user_id: UserId::from("u"),
            project_id: ProjectId::from("p"),
        };
        usable(server, "attach_volume", &Caller { requester, is_admin, is_service: false })
    }

    /// Everything wrong at once, mended in the order in which it is told.
    #[test]
    fn what_has_never_run_takes_no_volume() {
        let mut server = Server {
            locked: true,
            vm_state: VmState::Error,
            task_state: Some("spawning".to_owned()),
            launched_at: None,
            ..server()
        };
        let told = |server: &Server, text: &str| {
            assert_eq!(asked_by(false, server), Err(RequestError::ServerConflict(text.to_owned())));
        };
        told(&server, "Instance s is locked");
        server.locked = false;
        told(&server, "Cannot 'attach_volume' instance s while it is in vm_state error");
        server.vm_state = VmState::Active;
        told(&server, "Cannot 'attach_volume' instance s while it is in task_state spawning");
        server.task_state = None;
        told(&server, "Instance s is in an invalid state for 'attach_volume'");
        server.launched_at = Some(Timestamp(1));
        assert_eq!(asked_by(false, &server), Ok(()));
        server.locked = true;
        assert_eq!(asked_by(true, &server), Ok(()), "an admin passes a lock");
    }
}
