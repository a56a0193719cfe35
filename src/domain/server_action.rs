//! What was done to a server on behalf of a request: Compute's instance actions (`spec/nova-volume-attachments.md` §8.2).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ids::ServerId;
use super::lifecycle::ServerVerb;
use super::operation::{Operation, Requester, Step};
use super::time::Timestamp;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerActionKind {
    /// A volume was attached.
    AttachVolume,
    /// A volume was detached.
    DetachVolume,
    /// One volume was put in another one's place.
    SwapVolume,
    /// The guest was told that a volume has grown.
    ExtendVolume,
    /// A simulated server was made.
    Create,
    /// A simulated server was ended.
    Delete,
    /// Something was done to a simulated server.
    Act(ServerVerb),
}

impl ServerActionKind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        let others =
            [Self::AttachVolume, Self::DetachVolume, Self::SwapVolume, Self::ExtendVolume, Self::Create, Self::Delete];
        others.into_iter().chain(ServerVerb::ALL.map(Self::Act))
    }

    /// The word of the API and of the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AttachVolume => "attach_volume",
            Self::DetachVolume => "detach_volume",
            Self::SwapVolume => "swap_volume",
            Self::ExtendVolume => "extend_volume",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Act(ServerVerb::ShelveOffload) => "shelveOffload",
            Self::Act(verb) => verb.word(),
        }
    }

    /// The name of its event, as Nova has it.
    pub const fn event(self) -> &'static str {
        match self {
            Self::AttachVolume => "compute_attach_volume",
            Self::DetachVolume => "compute_detach_volume",
            Self::SwapVolume => "compute_swap_volume",
            Self::ExtendVolume => "compute_extend_volume",
            Self::Create => "compute__do_build_and_run_instance",
            Self::Delete => "compute_terminate_instance",
            Self::Act(verb) => match verb {
                ServerVerb::Start => "compute_start_instance",
                ServerVerb::Stop => "compute_stop_instance",
                ServerVerb::Reboot => "compute_reboot_instance",
                ServerVerb::Pause => "compute_pause_instance",
                ServerVerb::Unpause => "compute_unpause_instance",
                ServerVerb::Suspend => "compute_suspend_instance",
                ServerVerb::Resume => "compute_resume_instance",
                ServerVerb::Shelve => "compute_shelve_instance",
                ServerVerb::ShelveOffload => "compute_shelve_offload_instance",
                ServerVerb::Unshelve => "compute_unshelve_instance",
                ServerVerb::Lock => "api_lock",
                ServerVerb::Unlock => "api_unlock",
            },
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        Self::all().find(|kind| kind.as_str() == word)
    }
}

/// One action, which is also its only event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAction {
    /// Its id, that of the operation behind it where there is one. Requests may have several actions; clients know them by
    /// their request ids.
    pub id: Uuid,
    /// The server.
    pub server_id: ServerId,
    /// What.
    pub kind: ServerActionKind,
    /// The request, the user and the user's project.
    pub requester: Requester,
    /// When it began.
    pub started_at: Timestamp,
    /// How it ended; none: it is under way.
    pub end: Option<ServerActionEnd>,
}

impl ServerAction {
    /// The last change.
    pub fn updated_at(&self) -> Timestamp {
        self.end.as_ref().map_or(self.started_at, |end| end.at)
    }
}

/// The end of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerActionEnd {
    /// When.
    pub at: Timestamp,
    /// Why it failed; none: it has not.
    pub failure: Option<String>,
}

/// The part of an operation that is an action of a server: the whole operation, or one of its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActingPart<'a> {
    /// The id of its action.
    pub id: Uuid,
    /// The server.
    pub server_id: &'a ServerId,
    /// What.
    pub kind: ServerActionKind,
    /// When it began.
    pub started_at: Timestamp,
}

impl Operation {
    /// Which action of a server the operation is at its present step. An action begins in the commit that brings its part about and
    /// ends in the one that leaves it. A new kind of operation that works for a server tells it here and nowhere else. `server_of` knows
    /// the server of an attachment row.
    pub fn acting<'a>(
        &'a self,
        server_of: impl FnOnce(super::ids::AttachmentId) -> Option<&'a ServerId>,
    ) -> Option<ActingPart<'a>> {
        if let Some((server_id, kind)) = self.kind.server_action() {
            return Some(ActingPart { id: self.id.0, server_id, kind, started_at: self.started_at });
        }
        let Step::ResizeGuest { attachment_id } = &self.step else { return None };
        // One operation resizes several guests, one after the other: each has an action of its own.
        let id = Uuid::from_u128(self.id.0.as_u128() ^ attachment_id.0.as_u128());
        let server_id = server_of(*attachment_id)?;
        Some(ActingPart { id, server_id, kind: ServerActionKind::ExtendVolume, started_at: self.step_started_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for kind in ServerActionKind::all() {
            assert_eq!(ServerActionKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(ServerActionKind::parse("rebuild"), None);
    }
}
