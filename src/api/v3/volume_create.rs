//! `POST /volumes` (volumes §3): blank volumes, and volumes made from others, their snapshots, and images. Groups and backups do not
//! exist yet, and say so as the look-ups of Cinder would.

use std::sync::Arc;

use serde_json::Value;

use super::placement;
use super::snapshots::snapshot_visible;
use super::types::{Named, refuse_encrypted, type_implied, type_visible};
use super::volume_images::{boot_snapshot, from_image, image_of_reference, needs};
use super::volumes::{metadata_member, text_member, volume_answer};
use crate::actors::RequestError;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::{Kind, Problem};
use crate::api::schema::{self, formats};
use crate::api::views::volume::Shown;
use crate::domain::ids::VolumeId;
use crate::domain::volume::command::CreateVolume;
use crate::domain::volume::decide::lend_refusal;
use crate::domain::volume::state::Origin;
use crate::domain::volume::{Command, Refusal, VolumeState};
use crate::domain::volume_type::{BACKEND_NAME, MULTIATTACH, VolumeType};
use crate::images::Image;
use crate::rule;

fn text<'a>(members: &'a Value, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// How often a type is looked at anew because it changed before the volume was committed.
pub(super) const TYPE_LOOKS_MAX: u32 = 8;

/// `POST /volumes`
pub async fn volume_create(call: &Call) -> Result<Answer, Problem> {
    schema::VOLUME_CREATE.check(call.version, &call.body)?;
    while_the_type_changes(call, async || create_as_the_type_is(call).await).await
}

/// Makes a volume by its type as it is at the commit: looked at anew when it has changed before that.
pub async fn while_the_type_changes(
    call: &Call,
    make: impl AsyncFn() -> Result<Answer, Problem>,
) -> Result<Answer, Problem> {
    for _ in 0..TYPE_LOOKS_MAX {
        match make().await {
            Err(Problem::Request(RequestError::Refused(Refusal::TypeChanged))) => call.api.types.changed(),
            answer => return answer,
        }
    }
    Err(Problem::Busy("the volume type is being changed"))
}

/// The checks (volumes §3, in their order) by what is known of the type, and the commit that holds only while it is true.
async fn create_as_the_type_is(call: &Call) -> Result<Answer, Problem> {
    let members = &call.body["volume"];
    let volume_type = match text(members, "volume_type") {
        Some(wanted) => Some(type_visible(call, Named::Any(wanted)).await?),
        None => None,
    };
    let source = sources(call, members).await?;
    let Sources { volume: source, image } = source;
    call.enforce_own(rule!("volume:create"))?;
    if text(members, "imageRef").or_else(|| text(members, "image_id")).is_some() {
        call.enforce_own(rule!("volume:create_from_image"))?;
    }
    let size_gib = size(members, source.as_ref())?;
    let fits_type = |volume_type: &VolumeType| {
        volume_type.sizes().check(size_gib, &volume_type.name).map_err(Problem::InvalidInput)
    };
    if let Some(volume_type) = &volume_type {
        fits_type(volume_type)?;
        if let Some(source) = &source {
            source.accepts(call, volume_type).await?;
        }
    }
    if source.is_some() && image.is_some() {
        return Err(one_source_only());
    }
    if let Some(refusal) = source.as_ref().and_then(|source| source.refusal(size_gib)) {
        // As the source would say when it is asked: but before anything is written.
        return Err(RequestError::Refused(refusal).into());
    }
    if let Some(refusal) = image.as_ref().and_then(|image| needs(image).refusal(size_gib)) {
        return Err(RequestError::Refused(refusal).into());
    }
    let inherited = source.as_ref().and_then(|source| source.state.volume.volume_type_id);
    let volume_type = match (volume_type, type_of_image(call, image.as_ref()).await?) {
        (Some(volume_type), _) | (None, Some(volume_type)) => volume_type,
        (None, None) => type_implied(call, inherited).await?,
    };
    refuse_encrypted(&volume_type)?;
    fits_type(&volume_type)?;
    let source_zone = source.as_ref().map(|source| &*source.state.volume.availability_zone);
    let availability_zone = placement::zone(call, text(members, "availability_zone"), source_zone, &volume_type)?;
    if multiattach_member(members) {
        return Err(Problem::InvalidInput(
            "multiattach cannot be asked for directly: use a volume type with multiattach".to_owned(),
        ));
    }
    let multiattach = volume_type.says_yes(MULTIATTACH);
    if multiattach {
        call.enforce_own(rule!("volume:multiattach"))?;
    }
    let wanted = placement::wanted(call, &availability_zone, size_gib, &volume_type).await?;
    let volume_id = VolumeId(call.api.randomness.uuid());
    let create = CreateVolume {
        volume_id,
        size_gib,
        name: text_member(members, ["name", "display_name"]).flatten(),
        description: text_member(members, ["description", "display_description"]).flatten(),
        metadata: metadata_member(members).unwrap_or_default(),
        volume_type_id: Some(volume_type.id),
        type_revision: Some(volume_type.revision),
        multiattach,
        availability_zone,
        // Where its source is: its contents are there.
        host: source.as_ref().and_then(|source| source.state.volume.host.as_deref().map(str::to_owned)),
        wanted: source.is_none().then_some(wanted),
        bootable: source.as_ref().is_some_and(|source| source.state.volume.bootable),
        origin: source.as_ref().map(|source| source.origin),
        image: image.as_ref().map(from_image),
        adopts: None,
    };
    let command = Command::Create(Box::new(create));
    let reply = call.command(volume_id, command).await?;
    created(call, &reply.state).await
}

/// The answer, of a new volume or of one that was made before.
pub async fn created(call: &Call, state: &VolumeState) -> Result<Answer, Problem> {
    volume_answer(call, 202, state, Shown::Created).await
}

/// What a volume is made from.
struct Source {
    state: Arc<VolumeState>,
    origin: Origin,
}

impl Source {
    /// Its size, GiB.
    fn size_gib(&self) -> u32 {
        let snapshot = self.origin.snapshot_id.and_then(|id| self.state.snapshot(id));
        snapshot.map_or(self.state.volume.size_gib, |snapshot| snapshot.size_gib)
    }

    /// Row 10: another type than the source's is taken where there is no other backend, or where both types name the same one.
    async fn accepts(&self, call: &Call, volume_type: &VolumeType) -> Result<(), Problem> {
        let own = self.state.volume.volume_type_id;
        if own == Some(volume_type.id) || call.service().standings().iter().filter(|known| known.enabled).count() <= 1 {
            return Ok(());
        }
        let types = call.api.types.get(call.service().store().as_ref()).await?;
        let named = own.and_then(|id| types.by_id(id)).and_then(|own| own.spec(BACKEND_NAME));
        if named.is_some() && named == volume_type.spec(BACKEND_NAME) {
            return Ok(());
        }
        Err(Problem::InvalidInput(format!(
            "Invalid volume_type provided: {} (requested type is not compatible; either match source volume, or omit type \
             argument).",
            volume_type.id
        )))
    }

    /// Rows 13 and 14.
    fn refusal(&self, size_gib: u32) -> Option<Refusal> {
        lend_refusal(&self.state, self.origin.snapshot_id, size_gib)
    }
}

/// The type that an image's maker wants for its volumes, if there is one and the caller sees it (row 16).
async fn type_of_image(call: &Call, image: Option<&Image>) -> Result<Option<VolumeType>, Problem> {
    let Some(name) = image.and_then(|image| image.properties.get("cinder_img_volume_type")) else { return Ok(None) };
    match type_visible(call, Named::Any(name)).await {
        Ok(volume_type) => Ok(Some(volume_type)),
        Err(Problem::NotFound(..)) => Ok(None),
        Err(problem) => Err(problem),
    }
}

fn one_source_only() -> Problem {
    Problem::InvalidInput("May specify only one of snapshot, imageRef or source volume".to_owned())
}

/// What the volume is made from: one of them, or nothing.
#[derive(Default)]
struct Sources {
    volume: Option<Source>,
    image: Option<Image>,
}

/// Rows 3 to 5 and 12: what the volume is made from.
async fn sources(call: &Call, members: &Value) -> Result<Sources, Problem> {
    let absent = |kind, id: &str| Err(Problem::NotFound(kind, id.to_owned()));
    let normal = |id: &str| formats::uuid_any(id).map_or_else(|| id.to_owned(), |id| id.to_string());
    let mut source = None;
    if let Some(id) = text(members, "snapshot_id") {
        let (snapshot_id, state) = snapshot_visible(call, &normal(id)).await?;
        call.enforce(rule!("volume:get_snapshot"), &state.volume)?;
        let origin = Origin { source_volume_id: state.id(), snapshot_id: Some(snapshot_id) };
        source = Some(Source { state, origin });
    }
    if let Some(id) = text(members, "source_volid") {
        let state = call.volume_visible(&normal(id)).await?;
        call.enforce(rule!("volume:get"), &state.volume)?;
        if source.is_some() {
            return Err(one_source_only());
        }
        source = Some(Source { origin: Origin { source_volume_id: state.id(), snapshot_id: None }, state });
    }
    for name in ["consistencygroup_id", "group_id"] {
        match members.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(id)) if id.is_empty() => {}
            Some(id) => return absent(Kind::Group, &crate::api::python::display(id)),
        }
    }
    let mut image = match text(members, "imageRef").or_else(|| text(members, "image_id")) {
        Some(reference) => Some(image_of_reference(call, reference).await?),
        None => None,
    };
    if let Some(snapshot) = image.as_ref().filter(|_| call.since(46)).and_then(boot_snapshot) {
        if source.is_some() {
            return Err(one_source_only());
        }
        let (snapshot_id, state) = snapshot_visible(call, &snapshot).await?;
        call.enforce(rule!("volume:get_snapshot"), &state.volume)?;
        let origin = Origin { source_volume_id: state.id(), snapshot_id: Some(snapshot_id) };
        (source, image) = (Some(Source { state, origin }), None);
    }
    match members.get("backup_id") {
        None | Some(Value::Null) => Ok(Sources { volume: source, image }),
        Some(id) => absent(Kind::Backup, &crate::api::python::display(id)),
    }
}

/// Rows 6 and 8. The schema has judged the number; what is left is its absence.
fn size(members: &Value, source: Option<&Source>) -> Result<u32, Problem> {
    let size = match members.get("size") {
        Some(Value::Number(number)) => number.as_u64().and_then(|size| u32::try_from(size).ok()),
        Some(Value::String(text)) => formats::size_of(text),
        _ => None,
    };
    size.or_else(|| source.map(Source::size_gib))
        .ok_or_else(|| Problem::InvalidInput("Volume size must be specified and greater than 0.".to_owned()))
}

fn multiattach_member(members: &Value) -> bool {
    match members.get("multiattach") {
        Some(Value::Bool(truth)) => *truth,
        Some(Value::String(text)) => crate::api::query::word(text).unwrap_or(false),
        _ => false,
    }
}
