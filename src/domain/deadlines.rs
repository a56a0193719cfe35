//! How long a backend's calls may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backend::Request;
use super::operation::Step;

/// The deadlines of one backend's calls. Setting `[[backends]].deadlines`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines {
    /// Create.
    pub create: Duration,
    /// Delete, of a volume or a snapshot.
    pub delete: Duration,
    /// Extend, and each guest's resize.
    pub extend: Duration,
    /// Export, and plug.
    pub export: Duration,
    /// Unexport, and unplug.
    pub unexport: Duration,
    /// Every probe.
    pub probe: Duration,
    /// Every copy (a clone, a snapshot, a revert, a migration, an image): not how long it may take, but how long it may make no
    /// progress.
    pub copy_stall: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            create: Duration::from_secs(60),
            delete: Duration::from_secs(60),
            extend: Duration::from_secs(60),
            export: Duration::from_secs(30),
            unexport: Duration::from_secs(30),
            probe: Duration::from_secs(10),
            copy_stall: Duration::from_secs(60),
        }
    }
}

impl Deadlines {
    /// The deadline of a step's call, or of its probe; none for a step without a call.
    pub fn of_step(&self, step: &Step, is_probe: bool) -> Option<Duration> {
        Some(match step {
            Step::Queued | Step::Drain | Step::Borrow | Step::Announce => return None,
            // Volumes answer each other, not backends.
            Step::Yield | Step::Yielded | Step::Handover | Step::HandBack => return None,
            // Nova's client has a time-out of its own.
            Step::NotifyCompute => return None,
            _ if is_probe => self.probe,
            Step::Create | Step::CreateTarget | Step::CreateImage | Step::Adopt | Step::AdoptSnapshot { .. } => {
                self.create
            }
            Step::Copy
            | Step::Transfer
            | Step::Mirror { .. }
            | Step::Revert
            | Step::CreateSnapshot { .. }
            | Step::FetchImage
            | Step::Reimage
            | Step::UploadImage => self.copy_stall,
            Step::Delete
            | Step::DeleteSnapshot { .. }
            | Step::DiscardImage
            | Step::Disown
            | Step::DisownSnapshot { .. } => self.delete,
            Step::Extend | Step::ResizeGuest { .. } => self.extend,
            Step::Survey | Step::LookAtGuest { .. } => self.probe,
            Step::Export { .. } | Step::Plug { .. } | Step::Pivot { .. } => self.export,
            Step::Unexport { .. } | Step::Unplug { .. } | Step::Unmirror { .. } => self.unexport,
        })
    }

    /// The deadline of `request`; for a copy it begins anew with every progress ([`Self::copy_stall`]).
    pub fn of(&self, request: &Request) -> Duration {
        match request {
            Request::Create { .. }
            | Request::CreateImage { .. }
            | Request::CreateMirrorTarget { .. }
            | Request::Adopt { .. }
            | Request::AdoptSnapshot { .. } => self.create,
            Request::CreateClonedVolume { .. }
            | Request::CreateVolumeFromSnapshot { .. }
            | Request::CreateSnapshot { .. }
            | Request::CopyFromBackend { .. }
            | Request::MirrorGuest { .. }
            | Request::RevertToSnapshot { .. }
            | Request::CreateFromImage { .. }
            | Request::Reimage { .. }
            | Request::UploadImage { .. } => self.copy_stall,
            Request::Delete
            | Request::DeleteSnapshot { .. }
            | Request::DiscardImage { .. }
            | Request::Disown
            | Request::DisownSnapshot { .. } => self.delete,
            Request::Extend { .. } | Request::ResizeGuest { .. } => self.extend,
            Request::Export { .. } | Request::Plug { .. } | Request::PivotGuest { .. } => self.export,
            Request::Unexport { .. } | Request::Unplug { .. } | Request::UnmirrorGuest { .. } => self.unexport,
            Request::Probe | Request::ProbeGuest { .. } | Request::ListObjects => self.probe,
        }
    }
}
