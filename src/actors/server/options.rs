//! What the settings say of attaching volumes to servers (`compute.*`).

/// The options of Compute's attach (`spec/nova-volume-attachments.md` §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerAttachOptions {
    /// A device name that a client asks for is not looked at: the next free one is taken (§4.1).
    pub ignore_requested_device: bool,
    /// Disks that a server may have, its root among them; none: no limit.
    pub max_disk_devices: Option<u32>,
    /// A volume may be of another availability zone than its server.
    pub cross_az_attach: bool,
}

impl Default for ServerAttachOptions {
    fn default() -> Self {
        Self { ignore_requested_device: false, max_disk_devices: None, cross_az_attach: true }
    }
}
