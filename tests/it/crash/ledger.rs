//! What a client knows of its volume by what it was answered, and what may be true after a request without an answer.

use serde_json::{Value, json};

/// Who has the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    Nobody,
    /// Compute attached it to this server.
    Server(String),
    /// An attachment without a connector; an empty id is one that nobody was told of yet.
    Reserved(String),
    /// An attachment with a connector.
    Connected(String),
    /// A completed attachment.
    Attached(String),
}

impl Row {
    /// The volume's status with such a row and nothing under way.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Nobody => "available",
            Self::Server(_) | Self::Attached(_) => "in-use",
            Self::Reserved(_) => "reserved",
            Self::Connected(_) => "attaching",
        }
    }
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub size: u64,
    pub row: Row,
}

impl Known {
    /// Whether this is what was seen; an id that nobody was told of may be any.
    pub fn is(&self, seen: &Self) -> bool {
        let rows = match (&self.row, &seen.row) {
            (Row::Reserved(id), Row::Reserved(_)) if id.is_empty() => true,
            (mine, seen) => mine == seen,
        };
        rows && self.size == seen.size
    }
}

/// A request that changes a volume which is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Extend(u64),
    ServerAttach(String),
    ServerDetach(String),
    Reserve,
    Connect(String),
    Complete(String),
    Release(String),
    Unmanage,
    Delete,
}

impl Change {
    /// A short name, for counts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Extend(_) => "extend",
            Self::ServerAttach(_) => "server attach",
            Self::ServerDetach(_) => "server detach",
            Self::Reserve => "attachment create",
            Self::Connect(_) => "attachment update",
            Self::Complete(_) => "attachment complete",
            Self::Release(_) => "attachment delete",
            Self::Unmanage => "unmanage",
            Self::Delete => "delete",
        }
    }

    /// What is true when it has been carried out; none: the volume is gone.
    pub fn after(&self, before: &Known) -> Option<Known> {
        let with = |row| Some(Known { row, ..before.clone() });
        match self {
            Self::Extend(size) => Some(Known { size: *size, ..before.clone() }),
            Self::ServerAttach(server) => with(Row::Server(server.clone())),
            Self::ServerDetach(_) | Self::Release(_) => with(Row::Nobody),
            Self::Reserve => with(Row::Reserved(String::new())),
            Self::Connect(id) => with(Row::Connected(id.clone())),
            Self::Complete(id) => with(Row::Attached(id.clone())),
            Self::Unmanage | Self::Delete => None,
        }
    }

    /// Method, path, body and the documented answer.
    pub fn request(&self, volume: &str) -> (&'static str, String, Value, u16) {
        let action = format!("/v3/volumes/{volume}/action");
        let row = |id: &str| format!("/v3/attachments/{id}");
        let mapping = |server: &str| format!("/compute/v2.1/servers/{server}/os-volume_attachments");
        match self {
            Self::Extend(size) => ("POST", action, json!({"os-extend": {"new_size": size}}), 202),
            Self::ServerAttach(server) => {
                ("POST", mapping(server), json!({"volumeAttachment": {"volumeId": volume}}), 200)
            }
            Self::ServerDetach(server) => ("DELETE", format!("{}/{volume}", mapping(server)), Value::Null, 202),
            Self::Reserve => {
                let body = json!({"attachment": {"volume_uuid": volume, "instance_uuid": FOREIGN_SERVER}});
                ("POST", "/v3/attachments".to_owned(), body, 200)
            }
            Self::Connect(id) => ("PUT", row(id), json!({"attachment": {"connector": {"host": "foreign-host"}}}), 200),
            Self::Complete(id) => ("POST", format!("{}/action", row(id)), json!({"os-complete": null}), 204),
            Self::Release(id) => ("DELETE", row(id), Value::Null, 200),
            Self::Unmanage => ("POST", action, json!({"os-unmanage": null}), 202),
            Self::Delete => ("DELETE", format!("/v3/volumes/{volume}"), Value::Null, 202),
        }
    }
}

/// A server that Hearth does not know: its Compute is another one.
pub const FOREIGN_SERVER: &str = "f0000000-0000-4000-8000-00000000000f";
