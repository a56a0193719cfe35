//! What a rule is judged on: the object with its columns, by the names that Cinder's rules know them by.

use std::borrow::Cow;

use crate::domain::attachment::Attachment;
use crate::domain::ids::ProjectId;
use crate::domain::server::Server;
use crate::domain::snapshot::Snapshot;
use crate::domain::volume::Volume;
use crate::identity::RequestContext;

/// How the language shows a column that is null.
pub(super) const NULL: &str = "None";

/// The object of a request.
pub trait Target {
    /// `%(project_id)s`: whose it is.
    fn project_id(&self) -> &str;

    /// `%(user_id)s`. Objects that know no user of their own have the caller's, as in Cinder.
    fn user_id<'a>(&'a self, context: &'a RequestContext) -> Option<&'a str> {
        Some(context.user_id.as_str())
    }

    /// Any other column; none: there is no such column, and the comparison is false.
    fn column(&self, _name: &str) -> Option<Cow<'_, str>> {
        None
    }
}

/// The target of a request that has no object: the caller's own project and user.
#[derive(Clone, Copy)]
pub struct Own<'a>(pub &'a RequestContext);

impl Target for Own<'_> {
    fn project_id(&self) -> &str {
        project_or_null(self.0.project_id.as_str())
    }
}

/// A project in a URL: quotas and default types. There is no user.
impl Target for ProjectId {
    fn project_id(&self) -> &str {
        self.as_str()
    }

    fn user_id<'a>(&'a self, _: &'a RequestContext) -> Option<&'a str> {
        None
    }
}

impl Target for Volume {
    fn project_id(&self) -> &str {
        self.project_id.as_str()
    }

    fn user_id<'a>(&'a self, _: &'a RequestContext) -> Option<&'a str> {
        Some(self.user_id.as_str())
    }

    fn column(&self, name: &str) -> Option<Cow<'_, str>> {
        let origin = self.origin.as_deref();
        Some(match name {
            "id" => self.id.to_string().into(),
            "status" => self.status.as_str().into(),
            "attach_status" => self.attach_status.as_str().into(),
            "migration_status" => nullable(self.migration_status.as_deref()),
            "display_name" => nullable(self.name.as_deref()),
            "display_description" => nullable(self.description.as_deref()),
            "size" => self.size_gib.to_string().into(),
            "bootable" => python_bool(self.bootable),
            "multiattach" => python_bool(self.multiattach),
            "volume_type_id" => shown(self.volume_type_id),
            "availability_zone" => (&*self.availability_zone).into(),
            "host" => nullable(self.host.as_deref()),
            "snapshot_id" => shown(origin.and_then(|origin| origin.snapshot_id)),
            "source_volid" => shown(origin.and_then(|origin| origin.cloned_volume())),
            _ => return None,
        })
    }
}

impl Target for Snapshot {
    fn project_id(&self) -> &str {
        self.project_id.as_str()
    }

    fn user_id<'a>(&'a self, _: &'a RequestContext) -> Option<&'a str> {
        Some(self.user_id.as_str())
    }

    fn column(&self, name: &str) -> Option<Cow<'_, str>> {
        Some(match name {
            "id" => self.id.to_string().into(),
            "volume_id" => self.volume_id.to_string().into(),
            "status" => self.status.as_str().into(),
            "display_name" => nullable(self.name.as_deref()),
            "display_description" => nullable(self.description.as_deref()),
            "volume_size" => self.size_gib.to_string().into(),
            _ => return None,
        })
    }
}

/// An attachment with its volume, which has the owner.
#[derive(Clone, Copy)]
pub struct Attached<'a> {
    /// The volume.
    pub volume: &'a Volume,
    /// The row.
    pub row: &'a Attachment,
}

impl Target for Attached<'_> {
    fn project_id(&self) -> &str {
        self.volume.project_id.as_str()
    }

    fn user_id<'a>(&'a self, _: &'a RequestContext) -> Option<&'a str> {
        Some(self.volume.user_id.as_str())
    }

    fn column(&self, name: &str) -> Option<Cow<'_, str>> {
        Some(match name {
            "id" => self.row.id.to_string().into(),
            "volume_id" => self.row.volume_id.to_string().into(),
            "instance_uuid" => nullable(self.row.instance_uuid.as_ref().map(|id| id.as_str())),
            "attached_host" => nullable(self.row.attached_host.as_deref()),
            "mountpoint" => nullable(self.row.mountpoint.as_deref()),
            "attach_status" => self.row.attach_status.as_str().into(),
            _ => return None,
        })
    }
}

impl Target for Server {
    fn project_id(&self) -> &str {
        self.project_id.as_str()
    }

    fn user_id<'a>(&'a self, _: &'a RequestContext) -> Option<&'a str> {
        Some(self.user_id.as_str())
    }

    fn column(&self, name: &str) -> Option<Cow<'_, str>> {
        Some(match name {
            "id" | "uuid" => self.id.as_str().into(),
            "host" => nullable(self.host.as_deref()),
            "display_name" => self.name.as_str().into(),
            "availability_zone" => self.availability_zone.as_str().into(),
            _ => return None,
        })
    }
}

/// The project of a caller: tokens of a domain or of the system have none.
pub(super) fn project_or_null(id: &str) -> &str {
    if id.is_empty() { NULL } else { id }
}

fn nullable(text: Option<&str>) -> Cow<'_, str> {
    Cow::Borrowed(text.unwrap_or(NULL))
}

fn shown(value: Option<impl ToString>) -> Cow<'static, str> {
    value.map_or(Cow::Borrowed(NULL), |value| value.to_string().into())
}

/// As Python writes it.
pub(super) fn python_bool(truth: bool) -> Cow<'static, str> {
    Cow::Borrowed(if truth { "True" } else { "False" })
}
