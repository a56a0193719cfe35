//! `POST /volumes`: the row, its quota and the intent in one commit; the backend afterwards. And `POST
//! /manageable_volumes`, where the backend has it already: its size is reserved until it is the volume's.

use super::draft::Draft;
use crate::domain::metadata::Metadata;
use crate::domain::operation::OperationKind;
use crate::domain::placement::{Standing, place};
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::text::Text;
use crate::domain::volume::command::{Caller, CreateVolume, Facts, Refusal, Verdict};
use crate::domain::volume::state::{Volume, VolumeState};

pub(super) fn create(request: &CreateVolume, caller: &Caller, facts: &Facts) -> Verdict {
    if let Some(refusal) = over_volume_size(request.size_gib, facts) {
        return Verdict::Refuse(refusal);
    }
    let host = host(request, facts);
    if request.adopts.is_some() && host.is_none() {
        return Verdict::Refuse(Refusal::BadRequest("Service is unavailable at this time.".to_owned()));
    }
    let (status, size_gib) = match request.adopts {
        None => (VolumeStatus::Creating, request.size_gib),
        Some(_) => (VolumeStatus::Managing, 0),
    };
    let volume = Volume {
        id: request.volume_id,
        generation: 0,
        epoch: 0,
        project_id: caller.requester.project_id.clone(),
        user_id: caller.requester.user_id.clone(),
        name: request.name.as_deref().map(Text::from),
        description: request.description.as_deref().map(Text::from),
        size_gib,
        status,
        previous_status: None,
        attach_status: AttachStatus::Detached,
        migration_status: None,
        bootable: request.bootable,
        multiattach: request.multiattach,
        volume_type_id: request.volume_type_id,
        availability_zone: Text::common(&request.availability_zone),
        host,
        metadata: request.metadata.clone(),
        image_metadata: Metadata::default(),
        admin_metadata: Metadata::default(),
        consumes_quota: true,
        origin: request.origin.map(Box::new),
        provider_id: None,
        orphan_exports: Vec::new(),
        loans: Vec::new(),
        outstanding: Vec::new(),
        claims: None,
        created_at: facts.now,
        updated_at: None,
        terminated_at: None,
        deleted: false,
        deleted_at: None,
    };
    let state = VolumeState { volume, attachments: Vec::new(), operations: Vec::new(), snapshots: Vec::new() };
    let mut draft = Draft::fresh(state, caller, facts);
    match (&request.adopts, request.origin) {
        (Some(reference), _) => {
            let kind = OperationKind::Manage { reference: reference.clone(), size_gib: request.size_gib };
            let id = draft.begin(kind, 0);
            if let Some(operation) = draft.operation_mut(id) {
                operation.reserved_gib = request.size_gib;
            }
        }
        (None, None) => drop(draft.begin(OperationKind::Create, 0)),
        (None, Some(origin)) => {
            // The source may refuse: the answer waits for it.
            let id = draft.begin(OperationKind::CreateFrom(origin), 0);
            draft.reply_when_ended(id);
        }
    }
    draft.judge_growth();
    if let (Some(id), Some(revision)) = (request.volume_type_id, request.type_revision) {
        draft.guard_type(id, revision);
    }
    draft.finish()
}

/// Where the volume is made: a backend that an administrator has closed gets none, not even beside its source.
fn host(request: &CreateVolume, facts: &Facts) -> Option<Text> {
    let backends = &facts.hosts.standings;
    match (&request.host, &request.wanted) {
        (Some(host), _) => {
            let known = backends.iter().find(|backend| *backend.host == **host);
            known.is_none_or(Standing::is_open).then(|| Text::common(host))
        }
        (None, Some(wanted)) => place(wanted, backends).map(|backend| backend.host.clone()),
        (None, None) => None,
    }
}

/// The limit on one volume's size (`spec/volume-actions.md` §2.1).
pub(super) fn over_volume_size(size_gib: u32, facts: &Facts) -> Option<Refusal> {
    let limit = facts.limits.per_volume_gigabytes;
    let requested = i64::from(size_gib);
    (limit >= 0 && requested > limit).then_some(Refusal::OverVolumeSize { requested, limit })
}
