//! The one place where refusals and errors become JSON faults (`errors-and-http` §2, §3; `nova-volume-attachments` §1.2, §1.4).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::microversion::{BLOCK_STORAGE, COMPUTE, Microversion, NegotiationError};
use crate::actors::RequestError;
use crate::domain::quota::OverQuota;
use crate::domain::volume::Refusal;
use crate::policy::Denied;
use crate::store::{ListError, StoreError};

/// The largest body taken, bytes.
pub const BODY_MAX: usize = 114_688;
/// What a 503 without a better advice says in `Retry-After`, seconds.
pub const RETRY_AFTER: u64 = 1;

/// What kind of thing was not found: gives the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A volume.
    Volume,
    /// An attachment.
    Attachment,
    /// A type, by id.
    VolumeType,
    /// A type, by name.
    VolumeTypeName,
    /// QoS specs.
    QosSpecs,
    /// A snapshot.
    Snapshot,
    /// A group.
    Group,
    /// A backup.
    Backup,
    /// A user message.
    Message,
    /// A server.
    Server,
}

impl Kind {
    fn text(self, id: &str) -> String {
        match self {
            Self::Volume => format!("Volume {id} could not be found."),
            Self::Attachment => format!("Volume attachment could not be found with filter: attachment_id = {id}."),
            Self::VolumeType => format!("Volume type {id} could not be found."),
            Self::VolumeTypeName => format!("Volume type with name {id} could not be found."),
            Self::QosSpecs => format!("No such QoS spec {id}."),
            Self::Snapshot => format!("Snapshot {id} could not be found."),
            Self::Group => format!("Group {id} could not be found."),
            Self::Backup => format!("Backup {id} could not be found."),
            Self::Message => format!("Message {id} could not be found."),
            Self::Server => format!("Instance {id} could not be found."),
        }
    }
}

/// Which call of Compute met a refusal of Block Storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComputeCall {
    /// Attach, or another one without a rule of its own.
    Attach,
    /// Detach.
    Detach,
}

/// Everything that can go wrong with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// No such path or method.
    Unrouted,
    /// A route below its microversion, or switched off.
    Hidden,
    /// No valid token; this is `WWW-Authenticate`.
    Unauthenticated(Arc<str>),
    /// Who asks cannot be found out now.
    IdentityUnavailable(String),
    /// The Host header does not name this machine.
    ForeignHost,
    /// The body is too large.
    BodyTooLarge,
    /// The body stalls.
    SlowBody,
    /// The Content-Type is not JSON.
    MediaType,
    /// The path is not UTF-8, or the body could not be read.
    Malformed,
    /// The version headers.
    BlockVersion(NegotiationError),
    /// The same at Compute.
    ComputeVersion(NegotiationError),
    /// No body, or no JSON.
    MalformedBody,
    /// The project of the URL is not the token's.
    MalformedUrl,
    /// An unknown action.
    NoSuchAction(String),
    /// 400 with this text.
    BadRequest(String),
    /// 400 `Invalid input received: …`.
    InvalidInput(String),
    /// 400 `Invalid volume: …`.
    InvalidVolume(String),
    /// 404.
    NotFound(Kind, String),
    /// 404 with this text.
    NotFoundText(String),
    /// 409 with this text.
    Conflict(String),
    /// 422 with this text.
    Unprocessable(String),
    /// 403.
    Denied(Denied),
    /// 403 with this text.
    Forbidden(String),
    /// The service's answer to a Block Storage call.
    Request(RequestError),
    /// The service's answer to a Compute call.
    Compute(ComputeCall, RequestError),
    /// 502 with this text.
    BadGateway(String),
    /// 503: a named bound is reached.
    Busy(&'static str),
    /// A list.
    List(Kind, ListError),
    /// A read.
    Store(StoreError),
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}
impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// How a fault looks on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// HTTP status.
    pub status: u16,
    /// For people.
    pub message: String,
    /// `Retry-After`, seconds; a 413 repeats it in the body.
    pub retry_after: Option<u64>,
    /// The internal cause of a 5xx, for the log only.
    pub cause: Option<String>,
}

const GENERIC_400: &str =
    "The server could not comply with the request since it is either malformed or otherwise incorrect.";
const GENERIC_404: &str = "The resource could not be found.";
const GENERIC_500: &str = "The server has either erred or is incapable of performing the requested operation.";
const GENERIC_503: &str = "The server is currently unavailable. Please try again at a later time.";

impl Fault {
    fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None, cause: None }
    }

    fn quota(message: String) -> Self {
        Self { retry_after: Some(0), ..Self::new(413, message) }
    }

    fn internal(cause: impl ToString) -> Self {
        Self { cause: Some(cause.to_string()), ..Self::new(500, GENERIC_500) }
    }

    fn unavailable(retry_after: u64, cause: impl ToString) -> Self {
        Self { retry_after: Some(retry_after), cause: Some(cause.to_string()), ..Self::new(503, GENERIC_503) }
    }

    /// The name of the fault object, which the status decides.
    pub fn name(&self) -> &'static str {
        match self.status {
            400 => "badRequest",
            401 => "unauthorized",
            403 => "forbidden",
            404 => "itemNotFound",
            405 => "badMethod",
            409 => "conflictingRequest",
            413 | 429 => "overLimit",
            415 => "badMediaType",
            422 => "unprocessableEntity",
            501 => "notImplemented",
            503 => "serviceUnavailable",
            _ => "computeFault",
        }
    }

    /// The body.
    pub fn body(&self) -> Value {
        let mut members = Map::new();
        members.insert("code".to_owned(), json!(self.status));
        members.insert("message".to_owned(), json!(self.message));
        if let (413, Some(seconds)) = (self.status, self.retry_after) {
            members.insert("retryAfter".to_owned(), json!(seconds.to_string()));
        }
        json!({ self.name(): members })
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Unrouted | Problem::Hidden => Self::new(404, GENERIC_404),
            Problem::Unauthenticated(_) => Self::new(401, "The request you have made requires authentication."),
            Problem::IdentityUnavailable(text) => Self { retry_after: Some(RETRY_AFTER), ..Self::new(503, text) },
            Problem::ForeignHost => Self::new(403, "The Host header does not name this machine."),
            Problem::BodyTooLarge => Self::new(413, "The body of your request was too large for this server."),
            Problem::SlowBody => Self::new(408, "The body of your request did not arrive in time."),
            Problem::MediaType => Self::new(415, "Unsupported Content-Type"),
            Problem::Malformed => Self::new(400, GENERIC_400),
            Problem::BlockVersion(error) => version_fault(error, BLOCK_STORAGE),
            Problem::ComputeVersion(error) => version_fault(error, COMPUTE),
            Problem::MalformedBody => Self::new(400, "Malformed request body"),
            Problem::MalformedUrl => Self::new(400, "Malformed request url"),
            Problem::NoSuchAction(name) => Self::new(
                400,
                format!(
                    "There is no such action: {name}. Verify the request body and Content-Type header and try again."
                ),
            ),
            Problem::BadRequest(text) => Self::new(400, text),
            Problem::InvalidInput(text) => Self::new(400, format!("Invalid input received: {text}")),
            Problem::InvalidVolume(text) => Self::new(400, format!("Invalid volume: {text}")),
            Problem::NotFound(kind, id) => Self::new(404, kind.text(&id)),
            Problem::NotFoundText(text) => Self::new(404, text),
            Problem::Conflict(text) => Self::new(409, text),
            Problem::Unprocessable(text) => Self::new(422, text),
            Problem::Denied(Denied(rule)) => Self::new(403, format!("Policy doesn't allow {rule} to be performed.")),
            Problem::Forbidden(text) => Self::new(403, text),
            Problem::Request(error) => request_fault(error, refusal_fault),
            Problem::Compute(call, error) => request_fault(error, |refusal| compute_refusal_fault(call, refusal)),
            Problem::BadGateway(text) => Self { cause: Some(text.clone()), ..Self::new(502, text) },
            Problem::Busy(bound) => Self::unavailable(RETRY_AFTER, bound),
            Problem::List(kind, ListError::MarkerNotFound(marker)) => Self::new(404, kind.text(&marker)),
            Problem::List(_, ListError::InvalidSortKey) => Self::new(400, "Invalid input received: Invalid sort key"),
            Problem::List(_, ListError::Store(error)) | Problem::Store(error) => Self::unavailable(RETRY_AFTER, error),
        }
    }
}

fn version_fault(error: NegotiationError, range: (Microversion, Microversion)) -> Fault {
    match error {
        NegotiationError::NoVersion => Fault::new(400, GENERIC_400),
        NegotiationError::Format(text) => Fault::new(
            400,
            format!("API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."),
        ),
        NegotiationError::Unsupported(text) => Fault::new(
            406,
            format!("Version {text} is not supported by the API. Minimum is {} and maximum is {}.", range.0, range.1),
        ),
    }
}

fn request_fault(error: RequestError, refusal_fault: impl FnOnce(Refusal) -> Fault) -> Fault {
    match error {
        RequestError::Refused(refusal) => refusal_fault(refusal),
        RequestError::ServerNotFound(id) => Fault::new(404, Kind::Server.text(id.as_str())),
        RequestError::ServerConflict(text) => Fault::new(409, text),
        RequestError::ServerBadRequest(text) => Fault::new(400, text),
        RequestError::ServerForbidden(text) => Fault::new(403, text),
        RequestError::AfterAnswer(error) => request_fault(*error, refusal_fault),
        RequestError::Overloaded { retry_after } => {
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            Fault::unavailable(seconds.max(RETRY_AFTER), "too many requests for this volume")
        }
        error @ RequestError::Quarantined => Fault::unavailable(RETRY_AFTER, error),
        error @ RequestError::Lost => Fault::internal(error),
        RequestError::Store(error) => Fault::unavailable(RETRY_AFTER, error),
        RequestError::Compute(error) => compute_fault(error),
    }
}

/// Why Compute could not be asked is the operator's to know, and in the log.
fn compute_fault(cause: impl ToString) -> Fault {
    let text = "The Compute service is temporarily unavailable.";
    Fault { retry_after: Some(RETRY_AFTER), cause: Some(cause.to_string()), ..Fault::new(503, text) }
}

fn refusal_fault(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::InvalidInput(text) | Refusal::BadConnector(text) => {
            Fault::new(400, format!("Invalid input received: {text}"))
        }
        Refusal::BadRequest(text) => Fault::new(400, text),
        Refusal::InvalidVolume(text) => Fault::new(400, format!("Invalid volume: {text}")),
        Refusal::InvalidSnapshot(text) => Fault::new(400, format!("Invalid snapshot: {text}")),
        Refusal::SnapshotMetadataNotFound { snapshot_id, key } => {
            Fault::new(404, format!("Snapshot {snapshot_id} has no metadata with key {key}."))
        }
        Refusal::SnapshotNotFound(id) => Fault::new(404, Kind::Snapshot.text(&id.to_string())),
        Refusal::VolumeNotFound(id) => Fault::new(404, Kind::Volume.text(&id.to_string())),
        Refusal::AttachmentNotFound(id) => Fault::new(404, Kind::Attachment.text(&id.to_string())),
        Refusal::NotAttached(text) => Fault::new(404, text),
        Refusal::MetadataNotFound { volume_id, key } => {
            Fault::new(404, format!("Volume {volume_id} has no metadata with key {key}."))
        }
        Refusal::ImageMetadataNotFound(id) => {
            Fault::new(404, format!("Glance metadata for volume/snapshot {id} cannot be found."))
        }
        refusal @ Refusal::TagDiffers => Fault::new(412, refusal.to_string()),
        Refusal::Conflict(text) => Fault::new(409, text),
        Refusal::UsedByServer(id) => Fault::new(
            409,
            format!("ConflictNovaUsingAttachment: Detach volume from instance {id} using the Compute API"),
        ),
        Refusal::OverQuota(OverQuota::Volumes { key, limit }) => Fault::quota(format!(
            "VolumeLimitExceeded: Maximum number of volumes allowed ({limit}) exceeded for quota '{key}'."
        )),
        Refusal::OverQuota(OverQuota::Snapshots { key: _, limit }) => {
            Fault::quota(format!("SnapshotLimitExceeded: Maximum number of snapshots allowed ({limit}) exceeded"))
        }
        Refusal::OverQuota(OverQuota::Overflow { key }) => {
            Fault::quota(format!("QuotaUsageOverflow: The usage of quota '{key}' would exceed what can be counted."))
        }
        Refusal::OverQuota(OverQuota::Gigabytes { key, requested, limit, consumed }) => Fault::quota(format!(
            "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed {key} quota. \
             Requested {requested}G, quota is {limit}G and {consumed}G has been consumed."
        )),
        Refusal::OverVolumeSize { requested, limit } => Fault::quota(format!(
            "VolumeSizeExceedsLimit: Requested volume size {requested}G is larger than maximum allowed limit {limit}G."
        )),
        // The cause is in words for the owner (no path, no secret); the outcome is certain: everything is undone.
        Refusal::Backend(text) => Fault { cause: Some(text.clone()), ..Fault::new(500, text) },
        refusal @ Refusal::QueueDeadline => {
            Fault { cause: Some(refusal.to_string()), ..Fault::new(500, "The volume's connections are busy.") }
        }
        Refusal::ServerChanged => Fault::new(409, "The server changed meanwhile."),
        // whoever can meet it looks again
        // who sent a key looks for what the first copy has made
        refusal @ Refusal::KeyUsed => Fault::new(409, refusal.to_string()),
        refusal @ Refusal::TypeChanged => Fault::unavailable(RETRY_AFTER, refusal),
        refusal @ Refusal::AskCompute(_) => compute_fault(refusal),
    }
}

/// Block Storage's refusals as Compute passes them on: the column `attach` also where upstream fails with 500.
fn compute_refusal_fault(call: ComputeCall, refusal: Refusal) -> Fault {
    match refusal {
        // Compute's own look at its mappings, before Block Storage is asked (§4 row 11).
        Refusal::InvalidVolume(text) if call == ComputeCall::Attach && text.contains("already attached") => {
            Fault::new(400, format!("Invalid volume: {text}"))
        }
        Refusal::InvalidVolume(_) | Refusal::InvalidInput(_) | Refusal::BadConnector(_) => {
            let text = refusal_fault(refusal).message;
            let prefix = if call == ComputeCall::Detach { "Invalid volume: " } else { "" };
            Fault::new(400, format!("{prefix}Invalid input received: {text} (HTTP 400)"))
        }
        Refusal::VolumeNotFound(_) | Refusal::NotAttached(_) => refusal_fault(refusal),
        Refusal::AttachmentNotFound(_) => Fault::new(404, GENERIC_404),
        Refusal::Conflict(text) => Fault::new(409, text),
        Refusal::ServerChanged => refusal_fault(Refusal::ServerChanged),
        other => Fault::internal(other),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::ids::{AttachmentId, ServerId, VolumeId};
    use uuid::Uuid;

    #[track_caller]
    fn check(problem: impl Into<Problem>, status: u16, name: &str, message: &str) {
        let fault = Fault::from(problem.into());
        assert_eq!((fault.status, fault.name(), fault.message.as_str()), (status, name, message));
        let body = fault.body();
        assert_eq!(body[name]["code"], status);
        assert_eq!(body[name]["message"], message);
    }

    fn refused(refusal: Refusal) -> Problem {
        RequestError::Refused(refusal).into()
    }

    #[test]
    fn cinder_names_and_texts() {
        let volume = VolumeId(Uuid::nil());
        let nil = "00000000-0000-0000-0000-000000000000";
        check(refused(Refusal::InvalidInput("x".into())), 400, "badRequest", "Invalid input received: x");
        check(refused(Refusal::InvalidVolume("x".into())), 400, "badRequest", "Invalid volume: x");
        check(
            refused(Refusal::VolumeNotFound(volume)),
            404,
            "itemNotFound",
            &format!("Volume {nil} could not be found."),
        );
        check(
            refused(Refusal::AttachmentNotFound(AttachmentId(Uuid::nil()))),
            404,
            "itemNotFound",
            &format!("Volume attachment could not be found with filter: attachment_id = {nil}."),
        );
        check(refused(Refusal::Conflict("x".into())), 409, "conflictingRequest", "x");
        check(
            refused(Refusal::UsedByServer(ServerId::from("s"))),
            409,
            "conflictingRequest",
            "ConflictNovaUsingAttachment: Detach volume from instance s using the Compute API",
        );
        check(
            refused(Refusal::OverQuota(OverQuota::Volumes { key: "volumes".to_owned(), limit: 1 })),
            413,
            "overLimit",
            "VolumeLimitExceeded: Maximum number of volumes allowed (1) exceeded for quota 'volumes'.",
        );
        check(
            refused(Refusal::OverQuota(OverQuota::Gigabytes {
                key: "gigabytes".to_owned(),
                requested: 2,
                limit: 1,
                consumed: 1,
            })),
            413,
            "overLimit",
            "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. \
             Requested 2G, quota is 1G and 1G has been consumed.",
        );
        check(
            refused(Refusal::OverVolumeSize { requested: 6, limit: 5 }),
            413,
            "overLimit",
            "VolumeSizeExceedsLimit: Requested volume size 6G is larger than maximum allowed limit 5G.",
        );
        check(refused(Refusal::BadConnector("x".into())), 400, "badRequest", "Invalid input received: x");
        check(refused(Refusal::Backend("no room".into())), 500, "computeFault", "no room");
        check(RequestError::Lost, 500, "computeFault", GENERIC_500);
        check(RequestError::Quarantined, 503, "serviceUnavailable", GENERIC_503);
        check(StoreError::Unavailable("/secret/path".into()), 503, "serviceUnavailable", GENERIC_503);
        check(Denied("volume:get"), 403, "forbidden", "Policy doesn't allow volume:get to be performed.");
        check(Problem::MediaType, 415, "badMediaType", "Unsupported Content-Type");
        check(
            Problem::NoSuchAction("os-foo".into()),
            400,
            "badRequest",
            "There is no such action: os-foo. Verify the request body and Content-Type header and try again.",
        );
        check(
            Problem::BlockVersion(NegotiationError::Unsupported("3.72".into())),
            406,
            "computeFault",
            "Version 3.72 is not supported by the API. Minimum is 3.0 and maximum is 3.71.",
        );
        check(
            Problem::BlockVersion(NegotiationError::Format("3.x".into())),
            400,
            "badRequest",
            "API Version String 3.x is of invalid format. Must be of format MajorNum.MinorNum.",
        );
        check(Problem::BlockVersion(NegotiationError::NoVersion), 400, "badRequest", GENERIC_400);
    }

    #[test]
    fn quota_faults_carry_the_retry_after_that_clients_read() {
        let fault =
            Fault::from(refused(Refusal::OverQuota(OverQuota::Volumes { key: "volumes".to_owned(), limit: 1 })));
        assert_eq!(fault.retry_after, Some(0));
        assert_eq!(fault.body()["overLimit"]["retryAfter"], "0");
        let fault = Fault::from(Problem::BodyTooLarge);
        assert_eq!((fault.retry_after, fault.body()["overLimit"].get("retryAfter").is_none()), (None, true));
    }

    #[test]
    fn overload_says_when_to_come_again_in_whole_seconds() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (5000, 5)] {
            let retry_after = Duration::from_millis(millis);
            let fault = Fault::from(Problem::from(RequestError::Overloaded { retry_after }));
            assert_eq!((fault.status, fault.retry_after), (503, Some(seconds)), "{millis} ms");
        }
    }

    #[test]
    fn compute_passes_refusals_on_without_500_for_client_errors() {
        let of = |call, refusal| Problem::Compute(call, RequestError::Refused(refusal));
        check(
            of(ComputeCall::Attach, Refusal::InvalidVolume("status must be available".into())),
            400,
            "badRequest",
            "Invalid input received: Invalid volume: status must be available (HTTP 400)",
        );
        check(
            of(ComputeCall::Detach, Refusal::InvalidVolume("status must be in-use".into())),
            400,
            "badRequest",
            "Invalid volume: Invalid input received: Invalid volume: status must be in-use (HTTP 400)",
        );
        check(
            of(ComputeCall::Attach, Refusal::InvalidVolume("volume v is already attached to instances: s".into())),
            400,
            "badRequest",
            "Invalid volume: volume v is already attached to instances: s",
        );
        check(of(ComputeCall::Detach, Refusal::NotAttached("no".into())), 404, "itemNotFound", "no");
        check(of(ComputeCall::Attach, Refusal::QueueDeadline), 500, "computeFault", GENERIC_500);
        check(
            Problem::Compute(ComputeCall::Attach, RequestError::ServerConflict("Instance s is locked".into())),
            409,
            "conflictingRequest",
            "Instance s is locked",
        );
        check(
            Problem::Compute(ComputeCall::Attach, RequestError::ServerNotFound(ServerId::from("s"))),
            404,
            "itemNotFound",
            "Instance s could not be found.",
        );
    }
}
