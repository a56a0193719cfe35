//! The columns of the tables: everything that clients and administrators can ask of a volume that is there.

use hearth::domain::status::VolumeStatus;

use crate::decide::model::acts::Act;

/// The columns of one table, as they are named in its head.
pub type Asks = &'static [(&'static str, Act)];

pub const VERBS: Asks = &[
    ("update", Act::Rename),
    ("delete", Act::Delete),
    ("force delete", Act::ForceDelete),
    ("unmanage", Act::Unmanage),
    ("extend < 3.42", Act::ExtendOffline),
    ("extend", Act::Extend),
    ("reset available", Act::Reset(VolumeStatus::Available)),
    ("reset in-use", Act::Reset(VolumeStatus::InUse)),
    ("reset detached", Act::ResetDetached),
];

pub const ATTACHMENTS: Asks = &[
    ("create for b", Act::Reserve("b")),
    ("create for a", Act::Reserve("a")),
    ("create connected, b", Act::CreateConnected("b")),
    ("update", Act::Connect(0, "a")),
    ("update, service", Act::ConnectByService(0, "a")),
    ("complete", Act::Complete(0)),
    ("delete", Act::DeleteRowByUser(0)),
    ("delete, service", Act::DeleteRow(0)),
];

pub const OLD_ACTIONS: Asks = &[
    ("reserve", Act::Mark),
    ("unreserve", Act::Unmark),
    ("begin detaching", Act::BeginDetaching),
    ("roll detaching", Act::RollDetaching),
    ("os-attach a", Act::Attach("a")),
    ("os-attach b", Act::Attach("b")),
    ("detach", Act::Detach),
    ("detach, service", Act::DetachByService),
    ("initialize a", Act::Initialize("a")),
    ("initialize b", Act::Initialize("b")),
    ("terminate a", Act::Terminate("a")),
    ("force detach", Act::ForceDetach),
];

pub const SNAPSHOTS: Asks = &[
    ("snapshot < 3.66", Act::SnapshotOffline),
    ("snapshot", Act::Snapshot),
    ("revert", Act::Revert),
    ("delete snapshot", Act::SnapshotDelete),
    ("force delete snapshot", Act::SnapshotForceDelete),
    ("manage snapshot", Act::SnapshotManage),
    ("unmanage snapshot", Act::SnapshotUnmanage),
    ("cascade", Act::Cascade),
    ("force cascade", Act::ForceCascade),
];

pub const MOVES: Asks = &[
    ("migrate", Act::Migrate),
    ("migrate, locked", Act::MigrateLocked),
    ("retype", Act::Retype),
    ("complete migration", Act::CompleteMigration),
    ("call off", Act::CallOff),
];

/// Compute's swap: to take another volume's place in `a`, or to leave `a` to another one.
pub const SWAPS: Asks = &[
    ("come to a", Act::SwapIn("a")),
    ("call off", Act::SwapCallOff),
    ("leave a", Act::SwapYield("a")),
    ("a has moved", Act::SwapMoved),
    ("a stays", Act::SwapStays),
];

pub const IMAGES: Asks = &[
    ("reimage", Act::Reimage),
    ("reimage, reserved", Act::ReimageReserved),
    ("upload", Act::Upload),
    ("upload, force", Act::UploadInUse),
];

pub const COMPUTE: Asks = &[
    ("attach b", Act::ServerAttach("b")),
    ("attach a", Act::ServerAttach("a")),
    ("detach a", Act::ServerDetach("a")),
    ("a is gone", Act::ServerGone("a")),
    ("flag of a", Act::Flag("a")),
];
