//! How clients reach the volumes of a backend: option `target_protocol`.
//!
//! `nbd` is an export of the storage daemon that clients speak to themselves. For `local` and `iscsi` the daemon shows the
//! volume as a file (a FUSE mount point of its own, not the volume's file), and that file is the local path, or what the
//! iSCSI target serves. So whatever the protocol is, the daemon alone opens volumes, sees every write, and a connection ends
//! when the daemon ends its export: a `local` path can be revoked as well.

use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::attachment::AttachMode;
use crate::domain::ids::{ExportName, VolumeId};
use crate::runtime::Randomness;

/// `target_protocol` and its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// NBD on a unix socket.
    #[default]
    Nbd,
    /// A path on this machine.
    Local,
    /// An iSCSI target with CHAP.
    Iscsi(IscsiOptions),
}

/// Options of `iscsi`, with Cinder's names and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IscsiOptions {
    /// `target_ip_address` and `target_port`: where targets are reached, and where `tgtd` listens.
    pub portal: SocketAddr,
    /// `target_prefix`: what every target's name begins with.
    pub prefix: String,
}

impl Protocol {
    /// Whether the daemon shows volumes as files.
    pub(super) const fn is_by_file(&self) -> bool {
        !matches!(self, Self::Nbd)
    }

    /// The name that pools and scheduler see, as Cinder writes it.
    pub(super) const fn storage_protocol(&self) -> &'static str {
        match self {
            Self::Nbd => "nbd",
            Self::Local => "local",
            Self::Iscsi(_) => "iSCSI",
        }
    }
}

/// What is recorded of one export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Connection {
    /// Whether clients may write.
    pub(super) mode: AttachMode,
    /// Who may log in to the iSCSI target; none for other protocols.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<Account>,
}

/// The CHAP account of one connection, and the only initiator that may use it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    /// The initiator's name (`iqn.…`).
    pub(super) initiator: String,
    /// CHAP user: one for each connection.
    pub(super) user: String,
    /// CHAP password, 16 characters: within the 12 to 16 bytes that every initiator takes.
    pub(super) password: String,
}

impl std::fmt::Debug for Account {
    /// Without the password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Account").field("initiator", &self.initiator).finish_non_exhaustive()
    }
}

/// Longest iSCSI name (RFC 3720, 3.2.6.1).
const ISCSI_NAME_MAX: usize = 223;

impl Account {
    /// A new one for `initiator`.
    pub(super) fn new(initiator: &str, randomness: &Randomness) -> Self {
        Self { initiator: initiator.to_owned(), user: randomness.secret(), password: randomness.secret() }
    }
}

/// The initiator of a connector, if it has one that can be one: iSCSI names have letters, digits, `-`, `.` and `:` only, so
/// that nothing else gets into a command to the target daemon.
pub(super) fn initiator_of(connector: &Value) -> Option<&str> {
    let name = connector["initiator"].as_str()?;
    let is_name = (1..=ISCSI_NAME_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte));
    is_name.then_some(name)
}

/// The name of the iSCSI target of an export.
pub(super) fn target_name(options: &IscsiOptions, export: &ExportName) -> String {
    format!("{}{export}", options.prefix)
}

/// Where a client of the export has to go; the members that Hearth adds are missing.
pub(super) enum Place<'a> {
    /// The daemon's NBD socket.
    Nbd(&'a Path),
    /// The file that the daemon shows.
    Local(&'a Path),
    /// The target.
    Iscsi(&'a IscsiOptions, &'a Account),
}

/// The connection information of an export, flat.
pub(super) fn connection_info(volume: VolumeId, export: &ExportName, mode: AttachMode, place: &Place<'_>) -> Value {
    let mut info = match place {
        Place::Nbd(path) => json!({
            "driver_volume_type": "nbd",
            "transport": "unix",
            "path": path,
            "export": export,
        }),
        Place::Local(path) => json!({ "driver_volume_type": "local", "device_path": path }),
        Place::Iscsi(options, account) => json!({
            "driver_volume_type": "iscsi",
            "target_discovered": false,
            "target_portal": options.portal.to_string(),
            "target_iqn": target_name(options, export),
            "target_lun": super::target::LUN,
            "volume_id": volume,
            "auth_method": "CHAP",
            "auth_username": account.user,
            "auth_password": account.password,
        }),
    };
    info["access_mode"] = mode.as_str().into();
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_differ_and_hide_their_password() {
        let randomness = Randomness::from_os();
        let (one, other) = (Account::new("iqn.a:1", &randomness), Account::new("iqn.a:1", &randomness));
        assert_ne!(one.password, other.password);
        assert_ne!(one.user, one.password);
        assert_eq!((one.user.len(), one.password.len()), (16, 16));
        assert!(!format!("{one:?}").contains(&one.password));
    }

    #[test]
    fn an_initiator_is_an_iscsi_name() {
        assert_eq!(initiator_of(&json!({"initiator": "iqn.1994-05.com.redhat:1"})), Some("iqn.1994-05.com.redhat:1"));
        for bad in
            [json!({}), json!({"initiator": null}), json!({"initiator": ""}), json!({"initiator": "a,password=b"})]
        {
            assert_eq!(initiator_of(&bad), None, "{bad}");
        }
    }
}
