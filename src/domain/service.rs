//! The parts of the service as operators know them (`spec/services-hosts-pools.md`): a `cinder-volume` for each backend, and
//! the scheduler. What an administrator says of one is a record; without one it is enabled.

use super::ids::ProjectId;
use super::time::Timestamp;

/// The binary of a backend's service.
pub const VOLUME_BINARY: &str = "cinder-volume";
/// The binary that finds a backend for a new volume.
pub const SCHEDULER_BINARY: &str = "cinder-scheduler";
/// The binary that answers requests. It has no service of its own.
pub const API_BINARY: &str = "cinder-api";

/// What an administrator said of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceRecord {
    /// `host@backend`, or `host` of the scheduler.
    pub host: String,
    /// `cinder-volume`…
    pub binary: String,
    /// It gets no new volumes; what it has is served.
    pub disabled: bool,
    /// Why.
    pub disabled_reason: Option<String>,
    /// Nothing is created or deleted there.
    pub frozen: bool,
    /// When it was said.
    pub updated_at: Timestamp,
}

/// What a project has at a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostUsage {
    /// `host@backend#pool`.
    pub host: String,
    /// The project.
    pub project_id: ProjectId,
    /// Live volumes.
    pub volumes: u64,
    /// Their sizes together, GiB.
    pub gigabytes: u64,
    /// Their snapshots, and those that others made of them.
    pub snapshots: u64,
    /// The sizes of these together, GiB.
    pub snapshot_gigabytes: u64,
}
