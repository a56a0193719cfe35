//! The arguments of the commands that attach.

use serde_json::Value;

use crate::domain::attachment::AttachMode;
use crate::domain::ids::ServerId;

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
