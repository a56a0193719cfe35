//! A Compute that is not Hearth's own: what a decision may know of it, and what it is told (`compute.mode = external`).

use serde::{Deserialize, Serialize};

use super::ids::{AttachmentId, ExportName, ServerId};

/// Whose servers use the volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compute {
    /// Hearth's own, or nobody's: rows hold all that there is to know.
    #[default]
    Own,
    /// Those of a Nova elsewhere, which is asked before a command is decided and told after it. What it has answered.
    Elsewhere(Option<UseAnswer>),
}

impl Compute {
    /// Whether it is a Nova elsewhere.
    pub const fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Elsewhere(_))
    }
}

/// Whether a server uses an attachment. It names the connection as well: an answer says nothing of a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseQuestion {
    /// The row.
    pub attachment_id: AttachmentId,
    /// Its server.
    pub server_id: ServerId,
    /// Its connection.
    pub export: Option<ExportName>,
}

/// What Compute has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseAnswer {
    /// What it was asked.
    pub question: UseQuestion,
    /// The server has the volume by this very attachment.
    pub in_use: bool,
}

/// What Compute is told of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComputeEvent {
    /// It has grown under its servers.
    VolumeExtended,
    /// It holds another image, for a server that is being rebuilt.
    VolumeReimaged,
}

impl ComputeEvent {
    /// The word of Compute's API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VolumeExtended => "volume-extended",
            Self::VolumeReimaged => "volume-reimaged",
        }
    }
}

/// An event, and the servers that it concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComputeNotice {
    /// What has happened to the volume.
    pub event: ComputeEvent,
    /// Never empty.
    pub servers: Vec<ServerId>,
}
