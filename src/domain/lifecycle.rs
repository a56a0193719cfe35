//! What can be done to a simulated server: from which states, and to which (`spec/nova-volume-attachments.md` §7 has the states).

use serde::{Deserialize, Serialize};

use super::status::VmState;

/// An action on a server, as Nova has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerVerb {
    /// `os-start`
    Start,
    /// `os-stop`
    Stop,
    /// `reboot`
    Reboot,
    /// `pause`
    Pause,
    /// `unpause`
    Unpause,
    /// `suspend`
    Suspend,
    /// `resume`
    Resume,
    /// `shelve`
    Shelve,
    /// `shelveOffload`
    ShelveOffload,
    /// `unshelve`
    Unshelve,
    /// `lock`
    Lock,
    /// `unlock`
    Unlock,
}

impl ServerVerb {
    /// Every verb.
    pub const ALL: [Self; 12] = [
        Self::Start,
        Self::Stop,
        Self::Reboot,
        Self::Pause,
        Self::Unpause,
        Self::Suspend,
        Self::Resume,
        Self::Shelve,
        Self::ShelveOffload,
        Self::Unshelve,
        Self::Lock,
        Self::Unlock,
    ];

    /// The member of the body that asks for it.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Start => "os-start",
            Self::Stop => "os-stop",
            Self::ShelveOffload => "shelveOffload",
            other => other.word(),
        }
    }

    /// The inverse of [`Self::action`].
    pub fn of_action(action: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.action() == action)
    }

    /// The word of refusals.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reboot => "reboot",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Shelve => "shelve",
            Self::ShelveOffload => "shelve_offload",
            Self::Unshelve => "unshelve",
            Self::Lock => "lock",
            Self::Unlock => "unlock",
        }
    }

    /// The states in which it can be done; none: in any.
    pub const fn from(self) -> Option<&'static [VmState]> {
        use VmState::{Active, Error, Paused, Rescued, Resized, Shelved, ShelvedOffloaded, Stopped, Suspended};
        Some(match self {
            Self::Start => &[Stopped],
            Self::Stop => &[Active, Paused, Suspended, Rescued, Resized, Error],
            Self::Reboot => &[Active, Stopped, Paused, Suspended, Error],
            Self::Pause | Self::Suspend => &[Active],
            Self::Unpause => &[Paused],
            Self::Resume => &[Suspended],
            Self::Shelve => &[Active, Stopped, Paused, Suspended],
            Self::ShelveOffload => &[Shelved],
            Self::Unshelve => &[Shelved, ShelvedOffloaded],
            Self::Lock | Self::Unlock => return None,
        })
    }

    /// The state that it leads to; none: it stays as it is.
    pub const fn to(self) -> Option<VmState> {
        Some(match self {
            Self::Start | Self::Reboot | Self::Unpause | Self::Resume | Self::Unshelve => VmState::Active,
            Self::Stop => VmState::Stopped,
            Self::Pause => VmState::Paused,
            Self::Suspend => VmState::Suspended,
            Self::Shelve => VmState::Shelved,
            Self::ShelveOffload => VmState::ShelvedOffloaded,
            Self::Lock | Self::Unlock => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_an_action_and_leads_to_where_another_one_begins() {
        for verb in ServerVerb::ALL {
            assert_eq!(ServerVerb::of_action(verb.action()), Some(verb));
            let Some(state) = verb.to() else { continue };
            let goes_on = |next: &ServerVerb| next.from().is_some_and(|from| from.contains(&state));
            assert!(ServerVerb::ALL.iter().any(goes_on), "{verb:?} is a dead end");
            assert_eq!(verb.from().is_some_and(|from| from.contains(&state)), verb == ServerVerb::Reboot, "{verb:?}");
        }
        assert_eq!(ServerVerb::of_action("rebuild"), None);
    }
}
