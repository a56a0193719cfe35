//! What clients of the old volume actions hold of a volume: a mark that says why it is `attaching` or `detaching` without a row
//! that says so, and the connections of hosts (`spec/volume-actions.md` §2.11, §2.17). Changes with its volume, in one commit.

use serde::{Deserialize, Serialize};

use super::attachment::AttachMode;
use super::document::Document;
use super::ids::{AttachmentId, ExportName};
use super::operation::Requester;
use super::text::Text;
use super::time::Timestamp;

/// Everything of one volume. Most volumes have none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// Who has set the volume to `attaching` or `detaching`: the two exclude each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<Marker>,
    /// Who is connected, or may be: at most one for each host, in the order in which they were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<Connection>,
}

/// The owner of an `attaching` or `detaching` that no attachment row accounts for (P5, R-04, R-30). It stays until its owner, or
/// an administrator, ends it: the word is stable (promise I2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// What is going on.
    pub kind: MarkerKind,
    /// Whose request it was.
    pub requester: Requester,
    /// Since when.
    pub since: Timestamp,
}

/// What a marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkerKind {
    /// `os-reserve`: somebody is about to attach the volume.
    Reserved,
    /// `os-begin_detaching`: somebody is about to detach it.
    Detaching,
}

/// What `os-initialize_connection` has made for a host. It is recorded before the backend hears of it and lives until
/// `os-terminate_connection`, a detach or a forced detach has proved that its export is gone (design §5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// Names its exports, as an attachment's id names those of an attachment.
    pub id: AttachmentId,
    /// `connector.host`.
    pub host: Text,
    /// As the client gave it.
    pub connector: Document,
    /// What the host may do.
    pub mode: AttachMode,
    /// The export that exists or may exist.
    pub export: ExportName,
    /// What the backend answered; none until it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_info: Option<Document>,
    /// Whose request it was.
    pub requester: Requester,
    /// When it was asked for.
    pub created_at: Timestamp,
}
