//! A server as an end point of attachments (`spec/nova-volume-attachments.md` §8.2).

use serde::{Deserialize, Serialize};

use super::backend::Guest;
use super::ids::{ProjectId, ServerId, UserId};
use super::status::VmState;
use super::time::Timestamp;

/// Which hypervisor plugs devices into a server's guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HypervisorKind {
    /// A running QEMU, through its QMP socket.
    Qmp,
    /// The simulated hypervisor.
    Sim,
    /// The host connects itself; Hearth only exports.
    None,
}

impl HypervisorKind {
    /// The word of the settings and of `/admin/servers`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Qmp => "qmp",
            Self::Sim => "sim",
            Self::None => "none",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "qmp" => Some(Self::Qmp),
            "sim" => Some(Self::Sim),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}

/// A server record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its id, matched literally.
    pub id: ServerId,
    /// Its name.
    pub name: String,
    /// The owning project.
    pub project_id: ProjectId,
    /// Its creator.
    pub user_id: UserId,
    /// The compute host it runs on; none was never scheduled.
    pub host: Option<String>,
    /// Who plugs its guest.
    pub hypervisor: HypervisorKind,
    /// The QMP socket of a `qmp` server.
    pub qmp_socket: Option<String>,
    /// Whether `query-uuid` of the guest must equal the server's id before a disk is plugged (design §8).
    pub qmp_check_uuid: bool,
    /// Its state.
    pub vm_state: VmState,
    /// A running server task; any value refuses attach and detach.
    pub task_state: Option<String>,
    /// Locked servers refuse everybody but admins.
    pub locked: bool,
    /// Availability zone.
    pub availability_zone: String,
    /// The root device, which gives device names their prefix (`/dev/vda`).
    pub root_device_name: String,
    /// None: never launched, which refuses attach and detach.
    pub launched_at: Option<Timestamp>,
    /// When the record was made.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Option<Timestamp>,
    /// Fencing epoch: every change of host, hypervisor or existence raises it; an attachment commit is guarded by it.
    pub epoch: u64,
    /// The tombstone.
    pub deleted: bool,
}

impl Server {
    /// Whether the record says how to reach the guest: a socket exactly when it is a QEMU with QMP.
    pub fn is_reachable(&self) -> bool {
        (self.hypervisor == HypervisorKind::Qmp) == self.qmp_socket.is_some()
    }

    /// Its guest, as the hypervisor is asked for it.
    pub fn guest(&self) -> Guest {
        Guest {
            server_id: self.id.clone(),
            hypervisor: self.hypervisor,
            qmp_socket: self.qmp_socket.clone(),
            check_uuid: self.qmp_check_uuid,
        }
    }

    /// Whether there is a running guest that Hearth can plug devices into.
    pub fn has_guest(&self) -> bool {
        self.hypervisor != HypervisorKind::None
            && matches!(self.vm_state, VmState::Active | VmState::Paused | VmState::Resized)
    }
}
