//! The members of an image as clients write them, in a create or in a change.

use serde_json::{Map, Value};

use super::fault::Fault;
use crate::api::call::url_id;
use crate::domain::ids::{ImageId, ProjectId};
use crate::images::{Image, ImageError, ImageStatus, NewImage, Visibility};

/// Characters of a name, a tag, the name of a property.
const WORD_MAX: usize = 255;
/// The largest `min_disk` and `min_ram`.
const NUMBER_MAX: u64 = 2_147_483_647;

/// What an image's data may be declared to be.
pub(super) const DISK_FORMATS: [&str; 11] =
    ["ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"];
/// What it may be packed in.
pub(super) const CONTAINER_FORMATS: [&str; 8] = ["ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"];

/// How ids are written.
pub(super) const ID_PATTERN: &str =
    "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$";

/// Members that the store alone writes.
const READ_ONLY: [&str; 14] = [
    "id",
    "status",
    "size",
    "virtual_size",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
    "created_at",
    "updated_at",
    "direct_url",
    "self",
    "file",
    "schema",
    "stores",
];
/// Members of Glance that are not served: they would be taken for properties.
const RESERVED: [&str; 4] = ["location", "locations", "deleted", "deleted_at"];
/// Properties that begin so are Glance's own.
const RESERVED_PREFIX: &str = "os_glance_";

/// One member with its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Member {
    Name(Option<String>),
    Visibility(Visibility),
    Protected(bool),
    Hidden(bool),
    Owner(Option<ProjectId>),
    DiskFormat(Option<String>),
    ContainerFormat(Option<String>),
    MinDisk(u64),
    MinRam(u64),
    Tags(Vec<String>),
    Property(String, String),
}

/// Whether an image has this member whatever its properties are.
pub(super) fn is_base(name: &str) -> bool {
    const BASE: [&str; 10] = [
        "name",
        "visibility",
        "protected",
        "os_hidden",
        "owner",
        "disk_format",
        "container_format",
        "min_disk",
        "min_ram",
        "tags",
    ];
    BASE.contains(&name)
}

/// Whether a client may write it at all.
pub(super) fn check_writable(name: &str) -> Result<(), Fault> {
    if READ_ONLY.contains(&name) {
        return Err(Fault::new(403, format!("Attribute '{name}' is read-only.")));
    }
    if RESERVED.contains(&name) || name.starts_with(RESERVED_PREFIX) {
        return Err(Fault::new(403, format!("Attribute '{name}' is reserved.")));
    }
    Ok(())
}

impl Member {
    /// One member of a JSON object.
    pub(super) fn parse(name: &str, value: Value) -> Result<Self, Fault> {
        check_writable(name)?;
        Ok(match name {
            "name" => Self::Name(word(name, value)?),
            "visibility" => Self::Visibility(visibility(value)?),
            "protected" => Self::Protected(flag(name, value)?),
            "os_hidden" => Self::Hidden(flag(name, value)?),
            "owner" => Self::Owner(word(name, value)?.map(ProjectId::from)),
            "disk_format" => Self::DiskFormat(one_of(name, value, &DISK_FORMATS)?),
            "container_format" => Self::ContainerFormat(one_of(name, value, &CONTAINER_FORMATS)?),
            "min_disk" => Self::MinDisk(number(name, value)?),
            "min_ram" => Self::MinRam(number(name, value)?),
            "tags" => Self::Tags(tags(value)?),
            _ => property(name, value)?,
        })
    }

    /// Writes it into an image that is being made.
    fn set_new(self, new: &mut NewImage) {
        match self {
            Self::Name(name) => new.name = name,
            Self::Visibility(visibility) => new.visibility = visibility,
            Self::Protected(protected) => new.protected = protected,
            Self::Hidden(hidden) => new.hidden = hidden,
            Self::Owner(owner) => new.owner = owner,
            Self::DiskFormat(format) => new.disk_format = format,
            Self::ContainerFormat(format) => new.container_format = format,
            Self::MinDisk(gib) => new.min_disk = gib,
            Self::MinRam(mib) => new.min_ram = mib,
            Self::Tags(tags) => new.tags = tags,
            Self::Property(name, value) => {
                new.properties.insert(name, value);
            }
        }
    }

    /// Writes it into an image. Formats say what the data is: they stand once it is there.
    pub(super) fn set(self, image: &mut Image) -> Result<(), ImageError> {
        let only_queued = |name: &str, image: &Image| match image.status {
            ImageStatus::Queued => Ok(()),
            _ => Err(ImageError::Forbidden(format!("Attribute {name} can be only replaced for a queued image."))),
        };
        match self {
            Self::Name(name) => image.name = name,
            Self::Visibility(visibility) => image.visibility = visibility,
            Self::Protected(protected) => image.protected = protected,
            Self::Hidden(hidden) => image.hidden = hidden,
            Self::Owner(owner) => image.owner = owner,
            Self::DiskFormat(format) if image.disk_format != format => {
                only_queued("disk_format", image)?;
                image.disk_format = format;
            }
            Self::ContainerFormat(format) if image.container_format != format => {
                only_queued("container_format", image)?;
                image.container_format = format;
            }
            Self::DiskFormat(_) | Self::ContainerFormat(_) => {}
            Self::MinDisk(gib) => image.min_disk = gib,
            Self::MinRam(mib) => image.min_ram = mib,
            Self::Tags(tags) => image.tags = tags,
            Self::Property(name, value) => {
                image.properties.insert(name, value);
            }
        }
        Ok(())
    }
}

/// The body of a create.
pub(super) fn new_image(body: Value) -> Result<NewImage, Fault> {
    let Value::Object(members) = body else {
        return Err(Fault::no_match("it is not of type 'object'"));
    };
    let mut new = NewImage { id: id(&members)?, ..NewImage::default() };
    for (name, value) in members.into_iter().filter(|(name, _)| name != "id") {
        Member::parse(&name, value)?.set_new(&mut new);
    }
    Ok(new)
}

fn id(members: &Map<String, Value>) -> Result<Option<ImageId>, Fault> {
    let Some(value) = members.get("id") else { return Ok(None) };
    let id = value.as_str().and_then(url_id).map(ImageId);
    id.map(Some).ok_or_else(|| Fault::no_match(&format!("{value} is not the id of an image, which is a UUID")))
}

/// Makes an image with data `active` or `deactivated`.
pub(super) fn status_set(image: &mut Image, to: ImageStatus) -> Result<(), ImageError> {
    if !image.status.has_data() {
        let doing = if to == ImageStatus::Active { "reactivate" } else { "deactivate" };
        let text = format!("Not allowed to {doing} image in status '{}'", image.status.as_str());
        return Err(ImageError::Forbidden(text));
    }
    image.status = to;
    Ok(())
}

/// Adds a tag or takes it away.
pub(super) fn tag_set(image: &mut Image, tag: String, is_wanted: bool) -> Result<(), ImageError> {
    let before = image.tags.len();
    image.tags.retain(|known| *known != tag);
    if is_wanted {
        image.tags.push(tag);
    } else if image.tags.len() == before {
        // told as Glance does: its store finds neither
        return Err(ImageError::NotFound(image.id));
    }
    Ok(())
}

/// A tag.
pub(super) fn tag(text: &str) -> Result<String, Fault> {
    if text.is_empty() || text.chars().count() > WORD_MAX {
        return Err(Fault::no_match(&format!("a tag has 1 to {WORD_MAX} characters")));
    }
    Ok(text.to_owned())
}

fn tags(value: Value) -> Result<Vec<String>, Fault> {
    let Value::Array(items) = value else { return Err(Fault::no_match(&format!("{value} is not of type 'array'"))) };
    let mut tags: Vec<String> = Vec::with_capacity(items.len());
    for item in items {
        let found = tag(item.as_str().ok_or_else(|| Fault::no_match(&format!("{item} is not of type 'string'")))?)?;
        if !tags.contains(&found) {
            tags.push(found);
        }
    }
    Ok(tags)
}

fn property(name: &str, value: Value) -> Result<Member, Fault> {
    if name.is_empty() || name.chars().count() > WORD_MAX {
        return Err(Fault::no_match(&format!("the name of a property has 1 to {WORD_MAX} characters")));
    }
    match value {
        Value::String(text) => Ok(Member::Property(name.to_owned(), text)),
        other => Err(Fault::no_match(&format!("{other} is not of type 'string' (property '{name}')"))),
    }
}

/// A text of at most [`WORD_MAX`] characters, or null.
fn word(name: &str, value: Value) -> Result<Option<String>, Fault> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.chars().count() <= WORD_MAX => Ok(Some(text)),
        Value::String(_) => Err(Fault::no_match(&format!("'{name}' has more than {WORD_MAX} characters"))),
        other => Err(Fault::no_match(&format!("{other} is not of type 'null', 'string' ('{name}')"))),
    }
}

fn one_of(name: &str, value: Value, words: &[&str]) -> Result<Option<String>, Fault> {
    match word(name, value)? {
        Some(text) if !words.contains(&&*text) => {
            Err(Fault::new(400, format!("Invalid value '{text}' for {name}: it must be one of {}.", words.join(", "))))
        }
        other => Ok(other),
    }
}

fn visibility(value: Value) -> Result<Visibility, Fault> {
    serde_json::from_value(value.clone()).map_err(|_| {
        Fault::no_match(&format!("{value} is not one of ['community', 'public', 'private', 'shared'] ('visibility')"))
    })
}

fn flag(name: &str, value: Value) -> Result<bool, Fault> {
    value.as_bool().ok_or_else(|| Fault::no_match(&format!("{value} is not of type 'boolean' ('{name}')")))
}

fn number(name: &str, value: Value) -> Result<u64, Fault> {
    let number = value.as_u64().filter(|number| *number <= NUMBER_MAX);
    number.ok_or_else(|| Fault::no_match(&format!("{value} is not an integer from 0 to {NUMBER_MAX} ('{name}')")))
}
