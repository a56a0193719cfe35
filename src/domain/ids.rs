//! Newtypes for the ids of the API, so that a volume id is never passed where an attachment id is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::text::Text;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.hyphenated())
            }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Text);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }
    };
}

uuid_id!(
    /// A volume of the Block Storage API.
    VolumeId
);
uuid_id!(
    /// An attachment row; the same id serves Block Storage's attachment and Compute's `attachment_id`.
    AttachmentId
);
uuid_id!(
    /// What types say of the speed of their volumes.
    QosSpecsId
);
uuid_id!(
    /// A snapshot of a volume.
    SnapshotId
);
uuid_id!(
    /// An image of the image service.
    ImageId
);
uuid_id!(
    /// A durable operation on a volume.
    OperationId
);
uuid_id!(
    /// A volume type.
    VolumeTypeId
);
text_id!(
    /// A project (tenant), any text that the identity layer uses.
    ProjectId
);
text_id!(
    /// A user.
    UserId
);
text_id!(
    /// A server (instance): matched literally, as Compute does (`spec/nova-volume-attachments.md` §8.2).
    ServerId
);
text_id!(
    /// The id of the request which caused something, `req-<uuid4>`.
    RequestId
);

/// The name of one export: `<attachment id>.<epoch>`. Never a volume id and never used again for another connection,
/// because a client with `reconnect-delay` reconnects by name and writes (design §5).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExportName(pub Text);

impl ExportName {
    /// The name for `attachment` under the operation epoch `epoch`.
    pub fn new(attachment: AttachmentId, epoch: u64) -> Self {
        Self(format!("{attachment}.{epoch}").into())
    }

    /// The epoch of the operation that made it up; none: it was made up by nobody's operation.
    pub fn epoch(&self) -> Option<u64> {
        self.0.rsplit_once('.')?.1.parse().ok()
    }

    /// Whether an operation made this one up before that one: only those of one attachment have an order.
    pub fn is_older_than(&self, other: &Self) -> bool {
        let owner = |name: &Self| name.0.rsplit_once('.').map(|(owner, _)| owner.to_owned());
        owner(self) == owner(other) && self.epoch() < other.epoch()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExportName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
