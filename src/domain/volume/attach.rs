//! The arguments of the commands that attach.

use serde_json::Value;

use crate::domain::attachment::AttachMode;
use crate::domain::ids::{OperationId, ServerId, VolumeId};
use crate::domain::swap::YieldedDisk;

/// The arguments of `os-attach`: a server, a host, or both.
#[derive(Clone, Debug)]
pub struct AttachVolume {
    /// Where the server sees it.
    pub mountpoint: String,
    /// The server.
    pub instance_uuid: Option<ServerId>,
    /// The host, as the client wrote it.
    pub host_name: Option<String>,
    /// What it is attached for.
    pub mode: AttachMode,
}

/// The arguments of Compute's attach.
#[derive(Clone, Debug)]
pub struct ServerAttach {
    /// The server.
    pub server_id: ServerId,
    /// The server's epoch when it was judged; the commit is guarded by it.
    pub server_epoch: u64,
    /// Reserved by the server actor; none for a shelved-offloaded server.
    pub device: Option<String>,
    /// 2.49.
    pub tag: Option<String>,
    /// 2.79.
    pub delete_on_termination: bool,
    /// The connector of the server's host.
    pub connector: Value,
    /// Shelved-offloaded: reserve and complete at once, no connection (`spec/nova-volume-attachments.md` §4).
    pub without_host: bool,
    /// The microversion (≥ 2.60) allows multiattach volumes.
    pub multiattach_allowed: bool,
}

/// What is said of a guest that has come without a volume's disk.
#[derive(Clone, Debug)]
pub struct ServerReplug {
    /// The server.
    pub server_id: ServerId,
    /// The server's epoch when its guest was looked at; the commit is guarded by it.
    pub server_epoch: u64,
    /// The connector of the server's host.
    pub connector: Value,
    /// Whether the owner is told when it fails.
    pub is_told: bool,
}

/// The arguments of Compute's swap, for the new volume.
#[derive(Clone, Debug)]
pub struct ServerSwap {
    /// The server.
    pub server_id: ServerId,
    /// The server's epoch when it was judged; the commit is guarded by it.
    pub server_epoch: u64,
    /// The server's host.
    pub host: String,
    /// The volume that the server has.
    pub old_volume: VolumeId,
}

/// What the new volume asks the old one for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YieldDisk {
    /// The operation of the new volume, which exists already.
    pub swap: OperationId,
    /// The new volume.
    pub new_volume: VolumeId,
    /// Its size, GiB.
    pub size_gib: u32,
    /// The server whose disk it is.
    pub server_id: ServerId,
}

/// What the old volume has answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OldAnswer {
    /// The disk, to the question for it.
    pub disk: Option<Box<YieldedDisk>>,
    /// The server was deleted meanwhile, before its new row was there to be found.
    pub server_gone: bool,
}

/// What the old volume is asked, or told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwapWord {
    /// To leave its guest's disk to the new volume.
    Yield(YieldDisk),
    /// The guest has left it.
    Moved {
        /// The operation of the new volume.
        swap: OperationId,
    },
    /// The guest stays.
    Stays {
        /// The operation of the new volume.
        swap: OperationId,
    },
}
