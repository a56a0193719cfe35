//! The status vocabularies of `spec/volume-actions.md` §0.6.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $(#[doc = $word] #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// Every word of this vocabulary.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as the API prints it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { vocabulary: stringify!($name), word: text.to_owned() }),
                }
            }
        }
    };
}

/// A word which is not in the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no {vocabulary}")]
pub struct UnknownWord {
    /// Which vocabulary.
    pub vocabulary: &'static str,
    /// The word found.
    pub word: String,
}

words!(
    /// `snapshot.status` (`spec/snapshots.md` §5).
    SnapshotStatus {
        Creating = "creating",
        Available = "available",
        Deleting = "deleting",
        Deleted = "deleted",
        Error = "error",
        ErrorDeleting = "error_deleting",
        Updating = "updating",
        Unmanaging = "unmanaging",
        BackingUp = "backing-up",
        Restoring = "restoring",
    }
);

words!(
    /// `volume.status` (`spec/volumes.md` §7).
    VolumeStatus {
        Creating = "creating",
        Downloading = "downloading",
        Available = "available",
        Reserved = "reserved",
        Attaching = "attaching",
        InUse = "in-use",
        Detaching = "detaching",
        Maintenance = "maintenance",
        Extending = "extending",
        ErrorExtending = "error_extending",
        Deleting = "deleting",
        ErrorDeleting = "error_deleting",
        Error = "error",
        Managing = "managing",
        ErrorManaging = "error_managing",
        ErrorManagingDeleting = "error_managing_deleting",
        BackingUp = "backing-up",
        ErrorBackingUp = "error_backing-up",
        RestoringBackup = "restoring-backup",
        ErrorRestoring = "error_restoring",
        AwaitingTransfer = "awaiting-transfer",
        Uploading = "uploading",
        Retyping = "retyping",
        Reverting = "reverting",
        Unmanaging = "unmanaging",
        ErrorUnmanaging = "error_unmanaging",
    }
);

impl VolumeStatus {
    /// Whether the word contains `error`, which several attachment rules test (`spec/attachments.md` §2.3).
    pub fn is_error(self) -> bool {
        self.as_str().contains("error")
    }

    /// Whether the word speaks of a connection that comes or goes.
    pub const fn is_connecting(self) -> bool {
        matches!(self, Self::Reserved | Self::Attaching | Self::Detaching)
    }
}

words!(
    /// The `attach_status` of a volume and of its attachment rows (`spec/attachments.md` §1).
    AttachStatus {
        Detached = "detached",
        Reserved = "reserved",
        Attaching = "attaching",
        Attached = "attached",
        Detaching = "detaching",
        ErrorAttaching = "error_attaching",
        ErrorDetaching = "error_detaching",
        Deleted = "deleted",
    }
);

impl AttachStatus {
    /// Whether the word is one of the errors, in which a row holds its volume only by its export.
    pub const fn is_error(self) -> bool {
        matches!(self, Self::ErrorAttaching | Self::ErrorDetaching)
    }
}

words!(
    /// The states of a server which decide about attach and detach (`spec/nova-volume-attachments.md` §7).
    VmState {
        Active = "active",
        Paused = "paused",
        Stopped = "stopped",
        Resized = "resized",
        SoftDeleted = "soft-delete",
        Shelved = "shelved",
        ShelvedOffloaded = "shelved_offloaded",
        Building = "building",
        Suspended = "suspended",
        Rescued = "rescued",
        Error = "error",
        Deleted = "deleted",
    }
);
