//! What clients and administrators ask of the model's volume.

use std::sync::Arc;

use hearth::domain::attachment::AttachMode;
use hearth::domain::ids::ServerId;
use hearth::domain::status::{AttachStatus, SnapshotStatus, VolumeStatus};
use hearth::domain::volume::command::{AttachVolume, ServerAttach, SwapWord, UpdateVolume};
use hearth::domain::volume::{Caller, Command, VolumeState};

use super::world::World;
use crate::decide::build;

/// One request. Rows are meant by their place in the list when the request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    Create {
        multiattach: bool,
    },
    /// No backend fits it.
    CreateNowhere,
    CreateFromImage,
    CreateFromImageNowhere,
    /// From what the backend has.
    Manage,
    Unmanage,
    Rename,
    /// To the backend where it is not.
    Migrate,
    /// The same, shown as in maintenance.
    MigrateLocked,
    /// To a type that needs the backend where it is not.
    Retype,
    /// Ends a migration, or asks how one has ended.
    CompleteMigration,
    CallOff,
    ServerAttach(&'static str),
    /// To a server without a host, whose volume goes with it.
    AttachShelved(&'static str),
    ServerDetach(&'static str),
    ServerGone(&'static str),
    Reserve(&'static str),
    CreateConnected(&'static str),
    Connect(usize, &'static str),
    ConnectByService(usize, &'static str),
    Complete(usize),
    /// By a service, which Compute's guard lets pass.
    DeleteRow(usize),
    DeleteRowByUser(usize),
    /// Sets `delete_on_termination`.
    Flag(&'static str),
    Extend,
    /// By a client older than 3.42.
    ExtendOffline,
    Delete,
    ForceDelete,
    /// With the snapshots.
    Cascade,
    ForceCascade,
    /// Also of a volume in use.
    Snapshot,
    /// By a client older than 3.66 that does not force.
    SnapshotOffline,
    /// The first one.
    SnapshotDelete,
    SnapshotForceDelete,
    /// From what the backend has.
    SnapshotManage,
    /// The first one.
    SnapshotUnmanage,
    SnapshotReset(SnapshotStatus),
    /// To the last one.
    Revert,
    Reimage,
    /// Also of a reserved volume.
    ReimageReserved,
    Upload,
    /// Also of a volume in use.
    UploadInUse,
    Reset(VolumeStatus),
    ResetDetached,
    /// Sets the volume's attach status alone.
    ResetAttached,
    /// `os-reserve`.
    Mark,
    Unmark,
    BeginDetaching,
    RollDetaching,
    /// `os-attach` of a server.
    Attach(&'static str),
    /// `os-detach` without a row, and by a service with one.
    Detach,
    DetachByService,
    DetachRow(usize),
    Initialize(&'static str),
    /// By a host, and of all.
    Terminate(&'static str),
    TerminateAll,
    ForceDetach,
    ForceDetachRow(usize),
    /// This server's guest is started again, without any disk, and the volume is told.
    GuestBack(&'static str),
    /// To take the place of another volume under this server's guest.
    SwapIn(&'static str),
    /// By an administrator's reset, or the end of the server, of the old volume.
    SwapCallOff,
    /// To leave this server's guest to another volume.
    SwapYield(&'static str),
    /// By that volume.
    SwapMoved,
    SwapStays,
}

impl Act {
    /// Whether it can be said at all: a first request creates, and rows must be there.
    pub fn applies(self, world: &World) -> bool {
        let rows = world.live().map_or(0, |state| state.attachments.len());
        match self {
            Self::Create { .. }
            | Self::CreateNowhere
            | Self::CreateFromImage
            | Self::CreateFromImageNowhere
            | Self::Manage => world.volume.is_none(),
            Self::Connect(row, _)
            | Self::ConnectByService(row, _)
            | Self::Complete(row)
            | Self::DeleteRow(row)
            | Self::DeleteRowByUser(row)
            | Self::DetachRow(row)
            | Self::ForceDetachRow(row) => row < rows,
            Self::SnapshotDelete | Self::SnapshotForceDelete | Self::SnapshotUnmanage | Self::SnapshotReset(_) => {
                world.live().is_some_and(|state| !state.snapshots.is_empty())
            }
            _ => world.live().is_some(),
        }
    }

    pub fn command(self, world: &World) -> (Command, Caller) {
        // A row that is not there is asked for all the same where `applies` is not heeded.
        let rows = world.live().map_or(&[][..], |state| &state.attachments);
        let row = |index: usize| rows.get(index).map_or(build::row_id(1_000), |row| row.id);
        let snapshots = world.live().map_or(&[][..], |state| &state.snapshots);
        let first = snapshots.first().map_or(build::snapshot_id(1_000), |snapshot| snapshot.id);
        let is_here = |state: &Arc<VolumeState>| state.volume.host.as_deref() == Some(build::BACKEND);
        let elsewhere = if world.live().is_some_and(is_here) { build::OTHER_BACKEND } else { build::BACKEND };
        let size_gib = world.live().map_or(0, |state| state.volume.size_gib);
        let command = match self {
            Self::Create { multiattach } => build::create_command(multiattach),
            Self::CreateNowhere => build::create_nowhere_command(),
            Self::CreateFromImage | Self::CreateFromImageNowhere => {
                build::create_from_image_command(self == Self::CreateFromImage)
            }
            Self::Manage => build::manage_command(),
            Self::Unmanage => Command::Unmanage,
            Self::Rename => {
                Command::Update(UpdateVolume { name: Some(Some("renamed".to_owned())), ..UpdateVolume::default() })
            }
            Self::Migrate | Self::MigrateLocked => build::migrate(elsewhere, self == Self::MigrateLocked),
            Self::Retype => build::retype(elsewhere),
            Self::CompleteMigration | Self::CallOff => Command::CompleteMigration {
                new_volume: build::VOLUME,
                other_migrates: false,
                error: self == Self::CallOff,
            },
            Self::ServerAttach(server) => Command::ServerAttach(Box::new(build::server_attach(server))),
            Self::AttachShelved(server) => Command::ServerAttach(Box::new(ServerAttach {
                device: None,
                delete_on_termination: true,
                without_host: true,
                ..build::server_attach(server)
            })),
            Self::ServerDetach(server) => {
                Command::ServerDetach { server_id: ServerId::from(server), server_gone: false }
            }
            Self::ServerGone(server) => Command::ServerDetach { server_id: ServerId::from(server), server_gone: true },
            Self::Reserve(server) => build::attachment_create(Some(server), None),
            Self::CreateConnected(server) => build::attachment_create(Some(server), Some(server)),
            Self::Connect(index, host) | Self::ConnectByService(index, host) => {
                Command::AttachmentUpdate { attachment_id: row(index), connector: build::connector(host) }
            }
            Self::Complete(index) => Command::AttachmentComplete { attachment_id: row(index) },
            Self::DeleteRow(index) | Self::DeleteRowByUser(index) => {
                Command::AttachmentDelete { attachment_id: row(index) }
            }
            Self::Flag(server) => {
                Command::ServerAttachmentUpdate { server_id: ServerId::from(server), delete_on_termination: true }
            }
            Self::Extend | Self::ExtendOffline => {
                Command::Extend { new_size_gib: size_gib.saturating_add(1), in_use_allowed: self == Self::Extend }
            }
            Self::Delete => Command::Delete { force: false, cascade: false },
            Self::ForceDelete => Command::Delete { force: true, cascade: false },
            Self::Cascade => Command::Delete { force: false, cascade: true },
            Self::ForceCascade => Command::Delete { force: true, cascade: true },
            Self::Snapshot => build::snapshot_create(world.asked, true),
            Self::SnapshotOffline => build::snapshot_create(world.asked, false),
            Self::SnapshotDelete => Command::SnapshotDelete { snapshot_id: first, force: false },
            Self::SnapshotForceDelete => Command::SnapshotDelete { snapshot_id: first, force: true },
            Self::SnapshotManage => build::snapshot_manage(world.asked),
            Self::SnapshotUnmanage => Command::SnapshotUnmanage { snapshot_id: first },
            Self::SnapshotReset(status) => Command::SnapshotResetStatus { snapshot_id: first, status },
            Self::Revert => Command::Revert { snapshot_id: snapshots.last().map(|snapshot| snapshot.id) },
            Self::Reimage | Self::ReimageReserved => build::reimage(self == Self::ReimageReserved),
            Self::Upload | Self::UploadInUse => build::upload(world.asked, self == Self::UploadInUse),
            Self::Reset(status) => build::reset(Some(status), None),
            Self::ResetDetached => build::reset(None, Some(AttachStatus::Detached)),
            Self::ResetAttached => build::reset(None, Some(AttachStatus::Attached)),
            Self::Mark => Command::Reserve,
            Self::Unmark => Command::Unreserve,
            Self::BeginDetaching => Command::BeginDetaching,
            Self::RollDetaching => Command::RollDetaching,
            Self::Attach(server) => Command::Attach(Box::new(AttachVolume {
                mountpoint: "/dev/vdb".to_owned(),
                instance_uuid: Some(ServerId::from(server)),
                host_name: None,
                mode: AttachMode::ReadWrite,
            })),
            Self::Detach | Self::DetachByService => Command::Detach { attachment_id: None },
            Self::DetachRow(index) => Command::Detach { attachment_id: Some(row(index)) },
            Self::Initialize(host) => Command::InitializeConnection { connector: build::connector(host) },
            Self::Terminate(host) => Command::TerminateConnection { connector: Some(build::connector(host)) },
            Self::TerminateAll => Command::TerminateConnection { connector: None },
            Self::ForceDetach => Command::ForceDetach { attachment_id: None, connector: None },
            Self::GuestBack(server) => Command::ServerReplug(Box::new(build::server_replug(server))),
            Self::SwapIn(server) => Command::ServerSwap(Box::new(build::server_swap(server))),
            Self::SwapCallOff => {
                let operations = world.live().map_or(&[][..], |state| &state.operations);
                let led = operations.iter().find(|operation| operation.kind.swap_in().is_some());
                Command::SwapCallOff { swap: led.map_or(build::SWAP, |operation| operation.id) }
            }
            Self::SwapYield(server) => Command::SwapWord(Box::new(SwapWord::Yield(build::yield_disk(server)))),
            Self::SwapMoved => Command::SwapWord(Box::new(SwapWord::Moved { swap: build::SWAP })),
            Self::SwapStays => Command::SwapWord(Box::new(SwapWord::Stays { swap: build::SWAP })),
            Self::ForceDetachRow(index) => Command::ForceDetach { attachment_id: Some(row(index)), connector: None },
        };
        // A service may disconnect a server's row; so the guard of Compute hides no history.
        let is_service = matches!(
            self,
            Self::DeleteRow(_)
                | Self::ConnectByService(..)
                | Self::DetachByService
                | Self::DetachRow(_)
                | Self::ForceDetachRow(_)
        );
        (command, Caller { is_service, ..build::member() })
    }
}
