//! `os-attach` (`spec/volume-actions.md` §2.7): a row that is attached at once, with no work at the backend. Status, rows and the
//! new row are one step, so that of two servers exactly one is attached.

use super::attachment::new_row;
use super::draft::Draft;
use super::settle;
use crate::domain::attachment::{AttachMode, Attachment};
use crate::domain::claims::MarkerKind;
use crate::domain::ids::AttachmentId;
use crate::domain::operation::Lane;
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::text::Text;
use crate::domain::volume::command::{AttachVolume, Caller, Facts, Refusal, Verdict};
use crate::domain::volume::state::VolumeState;

/// Source statuses of `os-attach`.
pub const ATTACHABLE_AT_ONCE: &[VolumeStatus] = &[VolumeStatus::Available, VolumeStatus::Attaching];
/// Source statuses of `os-attach` of a multiattach volume.
pub const ATTACHABLE_AT_ONCE_MULTI: &[VolumeStatus] =
    &[VolumeStatus::Available, VolumeStatus::Attaching, VolumeStatus::InUse];
/// Statuses in which the same attach may be asked for again.
const REPEATABLE: [VolumeStatus; 2] = [VolumeStatus::Attaching, VolumeStatus::InUse];
/// Rows for which it may be.
const IN_USE: [AttachStatus; 2] = [AttachStatus::Attaching, AttachStatus::Attached];

pub(super) fn attach(state: &VolumeState, request: &AttachVolume, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    let refuse = |text: String| Verdict::Refuse(Refusal::InvalidVolume(text));
    if volume.status == VolumeStatus::Maintenance {
        return refuse(format!("volume {} is in maintenance", volume.id));
    }
    if super::steps::is_readonly(state) && request.mode != AttachMode::ReadOnly {
        let text = format!("Invalid attaching mode '{}' for volume {}.", request.mode.as_str(), volume.id);
        return Verdict::Refuse(Refusal::BadRequest(text));
    }
    let attached_mode = volume.admin_metadata.get("attached_mode");
    if volume.status == VolumeStatus::Attaching && attached_mode.is_some_and(|mode| mode != request.mode.as_str()) {
        return refuse(format!("volume {} is being attached in another mode", volume.id));
    }
    let host = request.host_name.as_deref().map(sanitized_host);
    if request.instance_uuid.is_none() && host.as_deref().is_none_or(str::is_empty) {
        return Verdict::Refuse(Refusal::InvalidInput("an instance or the name of a host is needed".to_owned()));
    }
    let is_same = |row: &&Attachment| match &request.instance_uuid {
        Some(server) => row.instance_uuid.as_ref() == Some(server),
        None => row.instance_uuid.is_none() && row.attached_host.as_deref() == host.as_deref(),
    };
    // Of the two rows of a server that migrates the one that is in use.
    let in_use = |row: &&Attachment| is_same(row) && IN_USE.contains(&row.attach_status);
    if let Some(row) = state.attachments.iter().find(in_use).or_else(|| state.attachments.iter().find(is_same)) {
        return attach_again(state, row, caller, facts);
    }

    let allowed = if volume.multiattach { ATTACHABLE_AT_ONCE_MULTI } else { ATTACHABLE_AT_ONCE };
    // The word may have been set by hand: rows and running work count as well (P5, R-84).
    let is_free = volume.multiattach || !state.attachments.iter().any(Attachment::holds_volume);
    let is_idle = state.operation_in(Lane::Data).is_none();
    if !allowed.contains(&volume.status) || !is_free || !is_idle || volume.host.is_none() {
        return refuse(format!(
            "volume {} status must be {} and nobody else may hold it to attach, but the current status is {}",
            volume.id,
            allowed.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(" or "),
            volume.status
        ));
    }
    let row_id = AttachmentId(facts.ids[1]);
    let row = Attachment {
        attached_host: host.as_deref().map(Text::from),
        mountpoint: Some(Text::from(request.mountpoint.as_str())),
        attach_time: Some(facts.now),
        attach_status: AttachStatus::Attached,
        connection_info: None,
        ..new_row(state, row_id, request.instance_uuid.clone(), Some(request.mode), facts)
    };
    let mut draft = Draft::of(state, caller, facts);
    let volume = &mut draft.next.volume;
    let known = volume.admin_metadata.iter();
    let all = [("readonly", "False")].into_iter().chain(known).chain([("attached_mode", request.mode.as_str())]);
    volume.admin_metadata = all.collect();
    // The reservation has no server of its own: whoever attaches first has it.
    volume.drop_marker(MarkerKind::Reserved);
    draft.next.attachments.reserve_exact(1);
    draft.next.attachments.push(row);
    draft.speak_of(row_id);
    settle::rows_changed(&mut draft.next);
    draft.finish()
}

/// The row is there: the request is repeated, or completes what `PUT /attachments/{id}` has begun.
fn attach_again(state: &VolumeState, row: &Attachment, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    if !REPEATABLE.contains(&volume.status) || !IN_USE.contains(&row.attach_status) {
        return Verdict::Refuse(Refusal::InvalidVolume(format!(
            "volume {} is {} and its attachment {} is {}",
            volume.id, volume.status, row.id, row.attach_status
        )));
    }
    if let Some(refusal) = super::attachment::swapping(state) {
        return Verdict::Refuse(refusal);
    }
    let running = state.operation_in(Lane::Connection);
    if running.is_some_and(|running| running.kind.attachment_id() == Some(row.id)) {
        return Verdict::Queue;
    }
    let mut draft = Draft::of(state, caller, facts);
    draft.speak_of(row.id);
    if let Some(row) = draft.next.attachment_mut(row.id) {
        row.attach_status = AttachStatus::Attached;
        row.attach_time.get_or_insert(facts.now);
    }
    settle::rows_changed(&mut draft.next);
    draft.finish()
}

/// A host name as it is stored and compared: letters (of Latin-1), digits, `.` and `-`, in lower case.
fn sanitized_host(name: &str) -> String {
    let kept = name.chars().filter(|letter| u32::from(*letter) < 0x100).filter_map(|letter| match letter {
        ' ' | '_' => Some('-'),
        '.' | '-' => Some(letter),
        letter if letter.is_alphanumeric() => Some(letter),
        _ => None,
    });
    let lower = kept.flat_map(char::to_lowercase).collect::<String>();
    lower.trim_matches(['.', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::sanitized_host;

    #[test]
    fn host_names_are_stored_and_compared_in_one_form() {
        for (written, kept) in [
            ("H_o st!é", "h-o-sté"),
            ("compute-1.example.org", "compute-1.example.org"),
            (".-Host-.", "host"),
            ("ho\u{20ac}st\u{7}", "host"),
            ("日本", ""),
            ("", ""),
        ] {
            assert_eq!(sanitized_host(written), kept, "{written:?}");
        }
    }
}
