//! What clients and administrators ask of the model's volume.

use hearth::domain::ids::ServerId;
use hearth::domain::status::{AttachStatus, VolumeStatus};
use hearth::domain::volume::command::ServerAttach;
use hearth::domain::volume::{Caller, Command};

use super::world::World;
use crate::decide::build;

/// One request. Rows are meant by their place in the list when the request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    Create {
        multiattach: bool,
    },
    ServerAttach(&'static str),
    ServerDetach(&'static str),
    ServerGone(&'static str),
    Reserve(&'static str),
    CreateConnected(&'static str),
    Connect(usize, &'static str),
    Complete(usize),
    DeleteRow(usize),
    Extend,
    Delete,
    ForceDelete,
    Reset(VolumeStatus),
    ResetDetached,
    /// Sets the volume's attach status alone.
    ResetAttached,
}

impl Act {
    /// Whether it can be said at all: a first request creates, and rows must be there.
    pub fn applies(self, world: &World) -> bool {
        let rows = world.live().map_or(0, |state| state.attachments.len());
        match self {
            Self::Create { .. } => world.volume.is_none(),
            Self::Connect(row, _) | Self::Complete(row) | Self::DeleteRow(row) => row < rows,
            _ => world.live().is_some(),
        }
    }

    pub fn command(self, world: &World) -> (Command, Caller) {
        let row = |index: usize| world.live().expect("it applies").attachments[index].id;
        let size_gib = world.live().map_or(0, |state| state.volume.size_gib);
        let command = match self {
            Self::Create { multiattach } => build::create_command(multiattach),
            Self::ServerAttach(server) => Command::ServerAttach(Box::new(ServerAttach {
                server_id: ServerId::from(server),
                server_epoch: 1,
                device: Some("/dev/vdb".to_owned()),
                tag: None,
                delete_on_termination: false,
                connector: build::connector(server),
                without_host: false,
                multiattach_allowed: true,
            })),
            Self::ServerDetach(server) => {
                Command::ServerDetach { server_id: ServerId::from(server), server_gone: false }
            }
            Self::ServerGone(server) => Command::ServerDetach { server_id: ServerId::from(server), server_gone: true },
            Self::Reserve(server) => build::attachment_create(Some(server), None),
            Self::CreateConnected(server) => build::attachment_create(Some(server), Some(server)),
            Self::Connect(index, host) => {
                Command::AttachmentUpdate { attachment_id: row(index), connector: build::connector(host) }
            }
            Self::Complete(index) => Command::AttachmentComplete { attachment_id: row(index) },
            Self::DeleteRow(index) => Command::AttachmentDelete { attachment_id: row(index) },
            Self::Extend => Command::Extend { new_size_gib: size_gib + 1, in_use_allowed: true },
            Self::Delete => Command::Delete { force: false },
            Self::ForceDelete => Command::Delete { force: true },
            Self::Reset(status) => build::reset(Some(status), None),
            Self::ResetDetached => build::reset(None, Some(AttachStatus::Detached)),
            Self::ResetAttached => build::reset(None, Some(AttachStatus::Attached)),
        };
        // A service may disconnect a server's row; so the guard of Compute hides no history.
        (command, Caller { is_service: matches!(self, Self::DeleteRow(_)), ..build::member() })
    }
}
