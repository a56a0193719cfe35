//! From method and path to a route: a total, pure function, so that slashes are never merged and every order of checks of
//! the specification can be kept.

mod host;
mod manage;
mod operator;
mod qos;
mod quotas;
mod types;

pub use host::HostRoute;
pub use manage::{ManageRoute, Noun};
pub use operator::OperatorRoute;
pub use qos::QosRoute;
pub use quotas::QuotaRoute;
pub use types::TypeRoute;

use super::microversion::Microversion;
use super::percent;

/// Which half of the service a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `/`, `/v3…`.
    BlockStorage,
    /// `/compute…`.
    Compute,
    /// `/admin…`.
    Admin,
    /// `/image…`, which has routes of its own.
    Image,
    /// `/identity…`, the same.
    Identity,
    /// `/healthcheck`.
    Health,
    /// `/metrics`.
    Metrics,
    /// Nothing of ours.
    None,
}

impl Side {
    /// The service, as metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BlockStorage => "volume",
            Self::Compute => "compute",
            Self::Admin => "admin",
            Self::Image => "image",
            Self::Identity => "identity",
            Self::Health | Self::Metrics | Self::None => "-",
        }
    }
}

/// A decoded path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Which half.
    pub side: Side,
    /// The project, when the URL has one.
    pub project: Option<String>,
    /// What is below the version (and the project); a trailing slash is an empty last segment.
    pub rest: Vec<String>,
    /// `/v3` or `/compute/v2.1` is in the path; without it only version documents are there.
    pub versioned: bool,
}

/// First segments below `/v3` that are never a project, whether they are served yet or not.
const BLOCK_COLLECTIONS: &[&str] = &[
    "volumes",
    "attachments",
    "types",
    "messages",
    "snapshots",
    "backups",
    "groups",
    "group_snapshots",
    "group_types",
    "os-volume-transfer",
    "volume-transfers",
    "os-quota-sets",
    "os-quota-class-sets",
    "limits",
    "os-services",
    "os-hosts",
    "scheduler-stats",
    "capabilities",
    "qos-specs",
    "default-types",
    "extensions",
    "resource_filters",
    "clusters",
    "workers",
    "manageable_volumes",
    "manageable_snapshots",
    "os-volume-manage",
    "os-snapshot-manage",
    "os-availability-zone",
    "consistencygroups",
    "cgsnapshots",
];

/// The same below `/compute/v2.1`.
const COMPUTE_COLLECTIONS: &[&str] = &["servers", "os-server-external-events"];

/// Decodes a path; none when it is not UTF-8.
pub fn path_parse(raw: &str) -> Option<Path> {
    let mut segments = Vec::new();
    for segment in raw.strip_prefix('/').unwrap_or(raw).split('/') {
        segments.push(percent::decode_segment(segment)?);
    }
    if let Some(last) = segments.last_mut()
        && let Some(stem) = last.strip_suffix(".json")
    {
        *last = stem.to_owned();
    }
    let mut rest = segments.into_iter().peekable();
    let first = rest.next().unwrap_or_default();
    let (side, versioned, collections): (Side, bool, &[&str]) = match first.as_str() {
        "" if rest.peek().is_none() => (Side::BlockStorage, false, &[]),
        "v3" => (Side::BlockStorage, true, BLOCK_COLLECTIONS),
        "compute" => match rest.peek().map(String::as_str) {
            Some("v2.1") => {
                rest.next();
                (Side::Compute, true, COMPUTE_COLLECTIONS)
            }
            _ => (Side::Compute, false, &[]),
        },
        "admin" => (Side::Admin, false, &[]),
        "metrics" if rest.peek().is_none() => (Side::Metrics, false, &[]),
        "healthcheck" if rest.peek().is_none() => (Side::Health, false, &[]),
        _ => (Side::None, false, &[]),
    };
    let mut rest: Vec<String> = rest.collect();
    let has_project = versioned && rest.len() > 1 && !rest[0].is_empty() && !collections.contains(&rest[0].as_str());
    let project = has_project.then(|| rest.remove(0));
    Some(Path { side, project, rest, versioned })
}

/// Everything that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /` (300) or `GET /v3[/]` (200).
    BlockVersions {
        /// The status of the answer.
        status: u16,
    },
    /// `GET /compute[/]`.
    ComputeVersions,
    /// `GET /compute/v2.1[/]`.
    ComputeVersion,
    /// `GET /volumes[/detail]`.
    VolumeList {
        /// Detail views.
        detail: bool,
    },
    /// `GET /volumes/summary`.
    VolumeSummary,
    /// `POST /volumes`.
    VolumeCreate,
    /// `GET /volumes/{id}`.
    VolumeShow(String),
    /// `PUT /volumes/{id}`.
    VolumeUpdate(String),
    /// `DELETE /volumes/{id}`.
    VolumeDelete(String),
    /// `GET /volumes/{id}/metadata`.
    MetadataList(String),
    /// `POST` there.
    MetadataMerge(String),
    /// `PUT` there.
    MetadataReplace(String),
    /// `GET /volumes/{id}/metadata/{key}`.
    MetadataShow(String, String),
    /// `PUT` there.
    MetadataSet(String, String),
    /// `DELETE` there.
    MetadataDelete(String, String),
    /// `GET /volumes/{id}/encryption`.
    EncryptionShow(String),
    /// `GET /volumes/{id}/encryption/{key}`.
    EncryptionValue(String, String),
    /// `POST /volumes/{id}/action`.
    VolumeAction(String),
    /// `GET /snapshots[/detail]`.
    SnapshotList {
        /// Detail views.
        detail: bool,
    },
    /// `POST /snapshots`.
    SnapshotCreate,
    /// `GET /snapshots/{id}`.
    SnapshotShow(String),
    /// `PUT /snapshots/{id}`.
    SnapshotUpdate(String),
    /// `DELETE /snapshots/{id}`.
    SnapshotDelete(String),
    /// `GET /snapshots/{id}/metadata`.
    SnapshotMetadataList(String),
    /// `POST` there.
    SnapshotMetadataMerge(String),
    /// `PUT` there.
    SnapshotMetadataReplace(String),
    /// `GET /snapshots/{id}/metadata/{key}`.
    SnapshotMetadataShow(String, String),
    /// `PUT` there.
    SnapshotMetadataSet(String, String),
    /// `DELETE` there.
    SnapshotMetadataDelete(String, String),
    /// `POST /snapshots/{id}/action`.
    SnapshotAction(String),
    /// `GET /attachments[/detail]`.
    AttachmentList {
        /// Detail views.
        detail: bool,
    },
    /// `POST /attachments`.
    AttachmentCreate,
    /// `GET /attachments/{id}`.
    AttachmentShow(String),
    /// `PUT /attachments/{id}`.
    AttachmentUpdate(String),
    /// `DELETE /attachments/{id}`.
    AttachmentDelete(String),
    /// `POST /attachments/{id}/action`.
    AttachmentAction(String),
    /// Volume types.
    Type(TypeRoute),
    /// Quotas and limits.
    Quota(QuotaRoute),
    /// For operators, and the small resources.
    Operator(OperatorRoute),
    /// What lies at backends.
    Manage(ManageRoute),
    /// What types say of speed.
    Qos(QosRoute),
    /// `GET /messages`.
    MessageList,
    /// `GET /messages/{id}`.
    MessageShow(String),
    /// `DELETE /messages/{id}`.
    MessageDelete(String),
    /// `GET /servers[/detail]`.
    ServerList {
        /// Detail views.
        detail: bool,
    },
    /// `POST /servers`.
    ServerCreate,
    /// `GET /servers/{id}`.
    ServerShow(String),
    /// `DELETE /servers/{id}`.
    ServerDelete(String),
    /// `POST /servers/{id}/action`.
    ServerAct(String),
    /// `GET /servers/{id}/os-volume_attachments`.
    MappingList(String),
    /// `POST` there.
    MappingCreate(String),
    /// `GET /servers/{id}/os-volume_attachments/{volume}`.
    MappingShow(String, String),
    /// `PUT` there.
    MappingUpdate(String, String),
    /// `DELETE` there.
    MappingDelete(String, String),
    /// `GET /servers/{id}/os-instance-actions`.
    ActionList(String),
    /// `GET /servers/{id}/os-instance-actions/{request_id}`.
    ActionShow(String, String),
    /// `POST /os-server-external-events`.
    ExternalEventsCreate,
    /// `GET /admin/servers`.
    AdminServerList,
    /// `POST /admin/servers`.
    AdminServerCreate,
    /// `GET /admin/servers/{id}`.
    AdminServerShow(String),
    /// `PUT /admin/servers/{id}`.
    AdminServerUpdate(String),
    /// `DELETE /admin/servers/{id}`.
    AdminServerDelete(String),
    /// `/admin/hosts…`.
    AdminHost(HostRoute),
    /// `GET /admin/actors`.
    AdminActorList,
    /// `GET /admin/actors/{volume}`.
    AdminActorShow(String),
    /// A volume's history.
    AdminVolumeHistory(String),
    /// `GET /admin/drivers`.
    AdminDrivers,
    /// `GET /admin/events`.
    AdminEvents,
    /// `GET /admin/operations`.
    AdminOperations,
    /// `GET /admin/policy`.
    AdminPolicy,
    /// `POST /admin/faults`.
    AdminFault,
}

impl Route {
    /// A version document: no token, no project.
    pub fn is_version_document(&self) -> bool {
        matches!(self, Self::BlockVersions { .. } | Self::ComputeVersions | Self::ComputeVersion)
    }

    /// Whether it is of the servers that Hearth knows where Compute is its own.
    pub fn is_of_own_servers(&self) -> bool {
        matches!(
            self,
            Self::AdminServerList
                | Self::AdminServerCreate
                | Self::AdminServerShow(_)
                | Self::AdminServerUpdate(_)
                | Self::AdminServerDelete(_)
        )
    }

    /// The lowest microversion that has the route. Actions have gates of their own, judged later (volume-actions §0.1).
    pub fn since(&self) -> Option<Microversion> {
        match self {
            Self::AttachmentList { .. }
            | Self::AttachmentCreate
            | Self::AttachmentShow(_)
            | Self::AttachmentUpdate(_)
            | Self::AttachmentDelete(_) => Some(Microversion::v3(27)),
            Self::MessageList | Self::MessageShow(_) | Self::MessageDelete(_) => Some(Microversion::v3(3)),
            Self::VolumeSummary => Some(Microversion::v3(12)),
            Self::Type(route) => route.since(),
            Self::Operator(route) => route.since(),
            Self::Manage(route) => route.since(),
            _ => None,
        }
    }

    /// The path without what a client chose: the label of metrics. Below the version and the project.
    pub fn template(&self) -> &'static str {
        match self {
            Self::BlockVersions { .. } | Self::ComputeVersions | Self::ComputeVersion => "/",
            Self::VolumeList { detail: false } | Self::VolumeCreate => "/volumes",
            Self::VolumeList { detail: true } => "/volumes/detail",
            Self::VolumeSummary => "/volumes/summary",
            Self::VolumeShow(_) | Self::VolumeUpdate(_) | Self::VolumeDelete(_) => "/volumes/{volume_id}",
            Self::MetadataList(_) | Self::MetadataMerge(_) | Self::MetadataReplace(_) => {
                "/volumes/{volume_id}/metadata"
            }
            Self::MetadataShow(..) | Self::MetadataSet(..) | Self::MetadataDelete(..) => {
                "/volumes/{volume_id}/metadata/{key}"
            }
            Self::EncryptionShow(_) => "/volumes/{volume_id}/encryption",
            Self::EncryptionValue(..) => "/volumes/{volume_id}/encryption/{key}",
            Self::VolumeAction(_) => "/volumes/{volume_id}/action",
            Self::SnapshotList { detail: false } | Self::SnapshotCreate => "/snapshots",
            Self::SnapshotList { detail: true } => "/snapshots/detail",
            Self::SnapshotShow(_) | Self::SnapshotUpdate(_) | Self::SnapshotDelete(_) => "/snapshots/{snapshot_id}",
            Self::SnapshotMetadataList(_) | Self::SnapshotMetadataMerge(_) | Self::SnapshotMetadataReplace(_) => {
                "/snapshots/{snapshot_id}/metadata"
            }
            Self::SnapshotMetadataShow(..) | Self::SnapshotMetadataSet(..) | Self::SnapshotMetadataDelete(..) => {
                "/snapshots/{snapshot_id}/metadata/{key}"
            }
            Self::SnapshotAction(_) => "/snapshots/{snapshot_id}/action",
            Self::AttachmentList { detail: false } | Self::AttachmentCreate => "/attachments",
            Self::AttachmentList { detail: true } => "/attachments/detail",
            Self::AttachmentShow(_) | Self::AttachmentUpdate(_) | Self::AttachmentDelete(_) => {
                "/attachments/{attachment_id}"
            }
            Self::AttachmentAction(_) => "/attachments/{attachment_id}/action",
            Self::Type(route) => route.template(),
            Self::Quota(route) => route.template(),
            Self::Operator(route) => route.template(),
            Self::Manage(route) => route.template(),
            Self::Qos(route) => route.template(),
            Self::MessageList => "/messages",
            Self::MessageShow(_) | Self::MessageDelete(_) => "/messages/{message_id}",
            Self::ServerList { detail: false } | Self::ServerCreate => "/servers",
            Self::ServerList { detail: true } => "/servers/detail",
            Self::ServerShow(_) | Self::ServerDelete(_) => "/servers/{server_id}",
            Self::ServerAct(_) => "/servers/{server_id}/action",
            Self::MappingList(_) | Self::MappingCreate(_) => "/servers/{server_id}/os-volume_attachments",
            Self::MappingShow(..) | Self::MappingUpdate(..) | Self::MappingDelete(..) => {
                "/servers/{server_id}/os-volume_attachments/{volume_id}"
            }
            Self::ActionList(_) => "/servers/{server_id}/os-instance-actions",
            Self::ActionShow(..) => "/servers/{server_id}/os-instance-actions/{request_id}",
            Self::ExternalEventsCreate => "/os-server-external-events",
            Self::AdminServerList | Self::AdminServerCreate => "/admin/servers",
            Self::AdminServerShow(_) | Self::AdminServerUpdate(_) | Self::AdminServerDelete(_) => {
                "/admin/servers/{server_id}"
            }
            Self::AdminHost(route) => route.template(),
            Self::AdminActorList => "/admin/actors",
            Self::AdminActorShow(_) => "/admin/actors/{volume_id}",
            Self::AdminVolumeHistory(_) => "/admin/volumes/{volume_id}/history",
            Self::AdminDrivers => "/admin/drivers",
            Self::AdminEvents => "/admin/events",
            Self::AdminOperations => "/admin/operations",
            Self::AdminPolicy => "/admin/policy",
            Self::AdminFault => "/admin/faults",
        }
    }

    /// Whether the body is an action: exactly one member, whose name is the action.
    pub fn is_action(&self) -> bool {
        matches!(
            self,
            Self::VolumeAction(_)
                | Self::SnapshotAction(_)
                | Self::AttachmentAction(_)
                | Self::Type(TypeRoute::Action(_))
        )
    }

    /// Whether the call, or this action, makes something that belongs to the caller's project.
    pub fn makes_for_project(&self, action: Option<&str>) -> bool {
        match self {
            Self::VolumeCreate | Self::SnapshotCreate => true,
            Self::Manage(route) => route.needs_body(),
            _ => action == Some("os-volume_upload_image"),
        }
    }

    /// Whether a JSON body is needed.
    pub fn needs_body(&self) -> bool {
        self.is_action()
            || matches!(self, Self::Type(route) if route.needs_body())
            || matches!(self, Self::Quota(route) if route.needs_body())
            || matches!(self, Self::Operator(route) if route.needs_body())
            || matches!(self, Self::Manage(route) if route.needs_body())
            || matches!(self, Self::Qos(route) if route.needs_body())
            || matches!(self, Self::AdminHost(route) if route.needs_body())
            || matches!(
                self,
                Self::VolumeCreate
                    | Self::VolumeUpdate(_)
                    | Self::SnapshotCreate
                    | Self::SnapshotUpdate(_)
                    | Self::SnapshotMetadataMerge(_)
                    | Self::SnapshotMetadataReplace(_)
                    | Self::SnapshotMetadataSet(..)
                    | Self::MetadataMerge(_)
                    | Self::MetadataReplace(_)
                    | Self::MetadataSet(..)
                    | Self::AttachmentCreate
                    | Self::AttachmentUpdate(_)
                    | Self::ServerCreate
                    | Self::ServerAct(_)
                    | Self::MappingCreate(_)
                    | Self::MappingUpdate(..)
                    | Self::ExternalEventsCreate
                    | Self::AdminServerCreate
                    | Self::AdminServerUpdate(_)
                    | Self::AdminFault
            )
    }
}

/// The route of `method` on `path`. None: 404.
pub fn route_find(method: &str, path: &Path) -> Option<Route> {
    let rest: Vec<&str> = path.rest.iter().map(String::as_str).collect();
    match path.side {
        Side::BlockStorage if !path.versioned => (method == "GET").then_some(Route::BlockVersions { status: 300 }),
        // A project alone is nothing, with or without a slash.
        _ if path.project.is_some() && matches!(rest.as_slice(), [] | [""]) => None,
        Side::BlockStorage => block_storage(method, &rest),
        Side::Compute if !path.versioned => {
            (method == "GET" && matches!(rest.as_slice(), [] | [""])).then_some(Route::ComputeVersions)
        }
        Side::Compute => compute(method, &rest),
        Side::Admin => admin(method, &rest),
        Side::Image | Side::Identity | Side::Health | Side::Metrics | Side::None => None,
    }
}

fn block_storage(method: &str, rest: &[&str]) -> Option<Route> {
    let id = |text: &&str| (!text.is_empty()).then(|| (*text).to_owned());
    Some(match (method, rest) {
        ("GET", [] | [""]) => Route::BlockVersions { status: 200 },
        ("GET", ["volumes"]) => Route::VolumeList { detail: false },
        ("GET", ["volumes", "detail"]) => Route::VolumeList { detail: true },
        ("GET", ["volumes", "summary"]) => Route::VolumeSummary,
        ("POST", ["volumes"]) => Route::VolumeCreate,
        ("GET", ["volumes", volume]) => Route::VolumeShow(id(volume)?),
        ("PUT", ["volumes", volume]) => Route::VolumeUpdate(id(volume)?),
        ("DELETE", ["volumes", volume]) => Route::VolumeDelete(id(volume)?),
        ("GET", ["volumes", volume, "metadata"]) => Route::MetadataList(id(volume)?),
        ("POST", ["volumes", volume, "metadata"]) => Route::MetadataMerge(id(volume)?),
        ("PUT", ["volumes", volume, "metadata"]) => Route::MetadataReplace(id(volume)?),
        ("GET", ["volumes", volume, "metadata", key]) => Route::MetadataShow(id(volume)?, id(key)?),
        ("PUT", ["volumes", volume, "metadata", key]) => Route::MetadataSet(id(volume)?, id(key)?),
        ("DELETE", ["volumes", volume, "metadata", key]) => Route::MetadataDelete(id(volume)?, id(key)?),
        ("GET", ["volumes", volume, "encryption"]) => Route::EncryptionShow(id(volume)?),
        ("GET", ["volumes", volume, "encryption", key]) => Route::EncryptionValue(id(volume)?, id(key)?),
        ("POST", ["volumes", volume, "action"]) => Route::VolumeAction(id(volume)?),
        ("GET", ["snapshots"]) => Route::SnapshotList { detail: false },
        ("GET", ["snapshots", "detail"]) => Route::SnapshotList { detail: true },
        ("POST", ["snapshots"]) => Route::SnapshotCreate,
        ("GET", ["snapshots", snapshot]) => Route::SnapshotShow(id(snapshot)?),
        ("PUT", ["snapshots", snapshot]) => Route::SnapshotUpdate(id(snapshot)?),
        ("DELETE", ["snapshots", snapshot]) => Route::SnapshotDelete(id(snapshot)?),
        ("GET", ["snapshots", snapshot, "metadata"]) => Route::SnapshotMetadataList(id(snapshot)?),
        ("POST", ["snapshots", snapshot, "metadata"]) => Route::SnapshotMetadataMerge(id(snapshot)?),
        ("PUT", ["snapshots", snapshot, "metadata"]) => Route::SnapshotMetadataReplace(id(snapshot)?),
        ("GET", ["snapshots", snapshot, "metadata", key]) => Route::SnapshotMetadataShow(id(snapshot)?, id(key)?),
        ("PUT", ["snapshots", snapshot, "metadata", key]) => Route::SnapshotMetadataSet(id(snapshot)?, id(key)?),
        ("DELETE", ["snapshots", snapshot, "metadata", key]) => Route::SnapshotMetadataDelete(id(snapshot)?, id(key)?),
        ("POST", ["snapshots", snapshot, "action"]) => Route::SnapshotAction(id(snapshot)?),
        ("GET", ["attachments"]) => Route::AttachmentList { detail: false },
        ("GET", ["attachments", "detail"]) => Route::AttachmentList { detail: true },
        ("POST", ["attachments"]) => Route::AttachmentCreate,
        ("GET", ["attachments", attachment]) => Route::AttachmentShow(id(attachment)?),
        ("PUT", ["attachments", attachment]) => Route::AttachmentUpdate(id(attachment)?),
        ("DELETE", ["attachments", attachment]) => Route::AttachmentDelete(id(attachment)?),
        ("POST", ["attachments", attachment, "action"]) => Route::AttachmentAction(id(attachment)?),
        ("GET", ["messages"]) => Route::MessageList,
        ("GET", ["messages", message]) => Route::MessageShow(id(message)?),
        ("DELETE", ["messages", message]) => Route::MessageDelete(id(message)?),
        _ => return other(method, rest),
    })
}

/// The nouns that have files of their own.
fn other(method: &str, rest: &[&str]) -> Option<Route> {
    TypeRoute::find(method, rest)
        .map(Route::Type)
        .or_else(|| QuotaRoute::find(method, rest).map(Route::Quota))
        .or_else(|| OperatorRoute::find(method, rest).map(Route::Operator))
        .or_else(|| ManageRoute::find(method, rest).map(Route::Manage))
        .or_else(|| QosRoute::find(method, rest).map(Route::Qos))
}

fn compute(method: &str, rest: &[&str]) -> Option<Route> {
    let id = |text: &&str| (!text.is_empty()).then(|| (*text).to_owned());
    Some(match (method, rest) {
        ("GET", [] | [""]) => Route::ComputeVersion,
        ("GET", ["servers"]) => Route::ServerList { detail: false },
        ("GET", ["servers", "detail"]) => Route::ServerList { detail: true },
        ("POST", ["servers"]) => Route::ServerCreate,
        ("GET", ["servers", server]) => Route::ServerShow(id(server)?),
        ("DELETE", ["servers", server]) => Route::ServerDelete(id(server)?),
        ("POST", ["servers", server, "action"]) => Route::ServerAct(id(server)?),
        ("GET", ["servers", server, "os-volume_attachments"]) => Route::MappingList(id(server)?),
        ("POST", ["servers", server, "os-volume_attachments"]) => Route::MappingCreate(id(server)?),
        ("GET", ["servers", server, "os-volume_attachments", volume]) => Route::MappingShow(id(server)?, id(volume)?),
        ("PUT", ["servers", server, "os-volume_attachments", volume]) => Route::MappingUpdate(id(server)?, id(volume)?),
        ("DELETE", ["servers", server, "os-volume_attachments", volume]) => {
            Route::MappingDelete(id(server)?, id(volume)?)
        }
        ("GET", ["servers", server, "os-instance-actions"]) => Route::ActionList(id(server)?),
        ("GET", ["servers", server, "os-instance-actions", request]) => Route::ActionShow(id(server)?, id(request)?),
        ("POST", ["os-server-external-events"]) => Route::ExternalEventsCreate,
        _ => return None,
    })
}

fn admin(method: &str, rest: &[&str]) -> Option<Route> {
    let id = |text: &&str| (!text.is_empty()).then(|| (*text).to_owned());
    Some(match (method, rest) {
        ("GET", ["servers"]) => Route::AdminServerList,
        ("POST", ["servers"]) => Route::AdminServerCreate,
        ("GET", ["servers", server]) => Route::AdminServerShow(id(server)?),
        ("PUT", ["servers", server]) => Route::AdminServerUpdate(id(server)?),
        ("DELETE", ["servers", server]) => Route::AdminServerDelete(id(server)?),
        ("GET", ["actors"]) => Route::AdminActorList,
        ("GET", ["policy"]) => Route::AdminPolicy,
        ("GET", ["actors", volume]) => Route::AdminActorShow(id(volume)?),
        ("GET", ["volumes", volume, "history"]) => Route::AdminVolumeHistory(id(volume)?),
        ("GET", ["drivers"]) => Route::AdminDrivers,
        ("GET", ["events"]) => Route::AdminEvents,
        ("GET", ["operations"]) => Route::AdminOperations,
        ("POST", ["faults"]) => Route::AdminFault,
        _ => Route::AdminHost(HostRoute::find(method, rest)?),
    })
}
