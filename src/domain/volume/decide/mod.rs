//! What may happen to a volume, and why nothing else can: a total function of the committed state, one command and a few
//! facts.
//!
//! | file | decides |
//! |---|---|
//! | `create`, `update`, `extend`, `revert`, `delete`, `reset` | the volume's own verbs |
//! | `manage` | what is let go of and stays at its backend |
//! | `snapshot` | its snapshots |
//! | `migrate` | its way to another backend or type: what is admitted, and how it is called off |
//! | `moving` | the steps of that way |
//! | `lend` | its contents, read for a new volume |
//! | `image` | images: volumes made from them, images made of volumes |
//! | `metadata`, `flags` | metadata, and what else clients write about a volume |
//! | `attachment` | Block Storage's attachments |
//! | `server` | Compute's attach and detach |
//! | `replug` | a guest that has come without its disk |
//! | `reserve` | the old actions' marks: reserved, about to detach |
//! | `attach_volume`, `connection`, `release` | the old actions' rows and connections: how they come, how they end |
//! | `swap`, `swapping` | Compute's swap: what both volumes admit and the old one does; how it goes on at the new one |
//! | `guard` | who may end what a server has |
//! | `notice` | what a Nova elsewhere is told |
//! | `host_fence` | what a dead host had |
//! | `steps` | which step comes first, what each step asks of whom (the operations' plans) |
//! | `results` | results and probes: what follows when a step is done |
//! | `failures` | how each step fails, is undone, or is given up |
//! | `resume` | going on after a restart, late returns, reconciliation with the backend's truth |
//! | `settle` | the status that follows from rows and operations |
//! | `draft` | the decision under construction |

mod attach_volume;
mod attachment;
mod connection;
mod create;
mod delete;
mod draft;
mod extend;
mod failures;
mod flags;
mod guard;
mod host_fence;
mod image;
mod lend;
mod manage;
mod metadata;
mod migrate;
mod moving;
mod notice;
mod release;
mod replug;
mod reserve;
mod reset;
mod results;
mod resume;
mod revert;
mod server;
mod settle;
mod snapshot;
mod steps;
mod swap;
mod swapping;
mod update;

pub use attach_volume::{ATTACHABLE_AT_ONCE, ATTACHABLE_AT_ONCE_MULTI};
pub use attachment::{ATTACHABLE, ATTACHABLE_MULTI};
pub use delete::DELETABLE;
pub use extend::{EXTENDABLE, EXTENDABLE_ONLINE};
pub use flags::READONLY_CHANGEABLE;
pub use image::{REIMAGEABLE, REIMAGEABLE_RESERVED, UPLOADABLE, UPLOADABLE_IN_USE};
pub use lend::{CLONEABLE, refusal as lend_refusal};
pub use metadata::METADATA_LOCKED;
pub use migrate::MIGRATABLE;
pub use reserve::{RESERVABLE, RESERVABLE_MULTI};
pub use results::{MAX_PROBES, MAX_STARTS, MAX_TRIES};
pub use revert::{REVERTABLE, revert_target};
pub use server::mapping_refusal;
pub use snapshot::{SNAPSHOT_DELETABLE, SNAPSHOTABLE, SNAPSHOTABLE_IN_USE};
pub use swap::{SWAPPABLE_IN, SWAPPABLE_OUT, refusal as swap_refusal, yielded_disk};

use super::command::{Caller, Command, Facts, Refusal, Verdict};
use super::state::{Loan, VolumeState};
use crate::domain::ids::VolumeId;

/// Decides about `command`. `state` is the committed state; none: there is no live volume `volume_id`.
pub fn decide(
    volume_id: VolumeId,
    state: Option<&VolumeState>,
    command: &Command,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let Some(state) = state.filter(|state| !state.volume.deleted) else {
        return match command {
            Command::Create(request) => create::create(request, caller, facts),
            Command::JobResult { .. }
            | Command::CallReturned { .. }
            | Command::OutstandingProbed { .. }
            | Command::Lent { .. }
            | Command::Returned { .. }
            | Command::SwapAnswered { .. }
            | Command::SwapCallOff { .. }
            | Command::Wake
            | Command::Resume => Verdict::Nothing { jobs: Vec::new(), attachment_id: None },
            _ => Verdict::Refuse(Refusal::VolumeNotFound(volume_id)),
        };
    };
    if facts.hosts.fenced
        && let Some(host) = command.connects()
    {
        return Verdict::Refuse(Refusal::Conflict(format!("host {host} is fenced: nothing is connected to it")));
    }
    let grows = match command {
        Command::Extend { .. } => Some(&state.volume.project_id),
        // a snapshot belongs to whoever asks for it
        Command::SnapshotCreate(_) => Some(&caller.requester.project_id),
        _ => None,
    };
    let of_other_type = match command {
        Command::Retype(request) => !facts.limits.are_of(&state.volume.project_id, Some(request.volume_type_id)),
        _ => false,
    };
    if of_other_type || grows.is_some_and(|owner| !facts.limits.are_of(owner, state.volume.volume_type_id)) {
        return Verdict::Refuse(Refusal::TypeChanged);
    }
    match command {
        Command::Create(_) => Verdict::Refuse(Refusal::Conflict(format!("volume {volume_id} exists already"))),
        Command::Update(change) => update::update(state, change, caller, facts),
        Command::Unmanage => manage::unmanage(state, caller, facts),
        Command::Delete { force, cascade } => delete::delete(state, *force, *cascade, caller, facts),
        Command::WriteMetadata(write) => metadata::write(state, write, caller, facts),
        Command::SetBootable { bootable } => flags::set_bootable(state, *bootable, caller, facts),
        Command::SetReadonly { readonly } => flags::set_readonly(state, *readonly, caller, facts),
        Command::Extend { new_size_gib, in_use_allowed } => {
            extend::extend(state, *new_size_gib, *in_use_allowed, caller, facts)
        }
        Command::ResetStatus { status, attach_status, migration_status } => {
            reset::reset_status(state, *status, *attach_status, migration_status.as_ref(), caller, facts)
        }
        Command::SnapshotCreate(request) => snapshot::create(state, request, caller, facts),
        Command::SnapshotUpdate { snapshot_id, name, description } => {
            snapshot::update(state, *snapshot_id, name.as_ref(), description.as_ref(), caller, facts)
        }
        Command::SnapshotWriteMetadata { snapshot_id, change } => {
            snapshot::write_metadata(state, *snapshot_id, change, caller, facts)
        }
        Command::SnapshotDelete { snapshot_id, force } => snapshot::delete(state, *snapshot_id, *force, caller, facts),
        Command::SnapshotUnmanage { snapshot_id } => manage::unmanage_snapshot(state, *snapshot_id, caller, facts),
        Command::SnapshotResetStatus { snapshot_id, status } => {
            snapshot::reset_status(state, *snapshot_id, *status, caller, facts)
        }
        Command::SnapshotProgress { snapshot_id, status, progress } => {
            snapshot::progress(state, *snapshot_id, *status, *progress, caller, facts)
        }
        Command::Revert { snapshot_id } => revert::revert(state, *snapshot_id, caller, facts),
        Command::Reimage(request) => image::reimage(state, request, caller, facts),
        Command::UploadImage { image, in_use_allowed } => image::upload(state, image, *in_use_allowed, caller, facts),
        Command::Migrate(request) => migrate::migrate(state, request, caller, facts),
        Command::CompleteMigration { new_volume, other_migrates, error } => {
            migrate::complete(state, *new_volume, *other_migrates, *error, caller, facts)
        }
        Command::Retype(request) => migrate::retype(state, request, caller, facts),
        Command::Lend { borrower, size_gib, snapshot_id } => {
            let loan = Loan { borrower: *borrower, snapshot_id: *snapshot_id };
            lend::lend(state, loan, *size_gib, caller, facts)
        }
        Command::Lent { ticket, answer } => lend::lent(state, ticket, answer, caller, facts),
        Command::Returned { borrower } => lend::returned(state, *borrower, caller, facts),
        Command::AttachmentCreate { instance_uuid, connector, mode } => {
            attachment::create(state, instance_uuid.as_ref(), connector.as_ref(), *mode, caller, facts)
        }
        Command::AttachmentUpdate { attachment_id, connector } => {
            attachment::update(state, *attachment_id, connector, caller, facts)
        }
        Command::AttachmentComplete { attachment_id } => attachment::complete(state, *attachment_id, caller, facts),
        Command::AttachmentDelete { attachment_id } => attachment::delete(state, *attachment_id, caller, facts),
        Command::Reserve => reserve::reserve(state, caller, facts),
        Command::Unreserve => reserve::unreserve(state, caller, facts),
        Command::BeginDetaching => reserve::begin_detaching(state, caller, facts),
        Command::Attach(request) => attach_volume::attach(state, request, caller, facts),
        Command::Detach { attachment_id } => release::detach(state, *attachment_id, caller, facts),
        Command::InitializeConnection { connector } => connection::initialize(state, connector, caller, facts),
        Command::TerminateConnection { connector } => release::terminate(state, connector.as_ref(), caller, facts),
        Command::ForceDetach { attachment_id, connector } => {
            release::force_detach(state, *attachment_id, connector.as_ref(), caller, facts)
        }
        Command::RollDetaching => reserve::roll_detaching(state, caller, facts),
        Command::ServerAttach(request) => server::attach(state, request, caller, facts),
        Command::ServerDetach { server_id, server_gone } => {
            server::detach(state, server_id, *server_gone, caller, facts)
        }
        Command::ServerReplug(request) => replug::begin(state, request, caller, facts),
        Command::ServerAttachmentUpdate { server_id, delete_on_termination } => {
            server::update(state, server_id, *delete_on_termination, caller, facts)
        }
        Command::ServerSwap(request) => swap::take(state, request, caller, facts),
        Command::SwapWord(word) => swap::word(state, word, caller, facts),
        Command::SwapAnswered { ticket, answer } => swapping::answered(state, ticket, answer, caller, facts),
        Command::SwapCallOff { swap } => swapping::called_off(state, *swap, caller, facts),
        Command::FenceHost(request) => host_fence::fence(state, request, caller, facts),
        Command::JobResult { ticket, outcome } => results::job_result(state, ticket, outcome, caller, facts),
        Command::CallReturned { operation_id, epoch, step, outcome } => {
            resume::call_returned(state, *operation_id, *epoch, step, outcome, caller, facts)
        }
        Command::OutstandingProbed { outcome, attempt, asked_at } => {
            resume::outstanding_probed(state, outcome, *attempt, *asked_at, caller, facts)
        }
        Command::Resume => resume::resume(state, caller, facts),
        Command::Wake => Verdict::Nothing { jobs: Vec::new(), attachment_id: None },
    }
}
