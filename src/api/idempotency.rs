//! `Idempotency-Key`: a request that is sent again has one effect, and gets the answer of the first.
//!
//! The key goes to the record in the commit that carries the effect, with the id of what was made, so that it holds when the
//! answer is lost: with the connection, or with the process. The answer of a repetition is made anew from the record and from
//! what is there now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::http::header::{HeaderMap, HeaderName};

use super::answer::Answer;
use super::call::Call;
use super::fault::Problem;
use super::route::Route;
use super::v3::{
    self, attachments, snapshots, volume_connections, volume_create, volume_images, volume_metadata, volume_moves,
};
use crate::actors::KEY_TTL;
use crate::domain::ids::{AttachmentId, ImageId, SnapshotId};
use crate::domain::operation::{Lane, Step};
use crate::domain::volume::{Reply, VolumeState};
use crate::store::{KeyChange, KeyUse, Keyed, Transaction};

/// The header.
pub const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest key.
pub const KEY_MAX: usize = 255;

/// The key of a request, where it has one and it means something.
pub fn key(headers: &HeaderMap, route: &Route) -> Result<Option<String>, Problem> {
    let heeded = matches!(
        route,
        Route::VolumeCreate
            | Route::SnapshotCreate
            | Route::AttachmentCreate
            | Route::VolumeAction(_)
            | Route::SnapshotAction(_)
            | Route::AttachmentAction(_)
    );
    let mut lines = headers.get_all(HEADER).filter(|_| heeded);
    let Some(line) = lines.next() else { return Ok(None) };
    let bytes = line.as_bytes();
    let is_printable = bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if lines.next().is_some() || bytes.is_empty() || bytes.len() > KEY_MAX || !is_printable {
        return Err(Problem::BadRequest(format!("Idempotency-Key must be 1 to {KEY_MAX} printable ASCII characters.")));
    }
    Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
}

/// The key with all that it is of, and what tells its request from another one.
pub fn keyed(call: &Call, rest: &[String], key: &str) -> Keyed {
    let context = &call.context;
    let parts = [context.user_id.as_str(), context.project_id.as_str(), &rest.join("/"), key];
    let mut body = call.body.clone();
    body.sort_all_objects();
    Keyed { id: serde_json::json!(parts).to_string(), request: digest(body.to_string().as_bytes()) }
}

/// FNV-1a, 128 bits: the same in every version of the service. Whoever makes two of his own bodies collide gets his own answer.
fn digest(bytes: &[u8]) -> String {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let sum = bytes.iter().fold(BASIS, |sum, byte| (sum ^ u128::from(*byte)).wrapping_mul(PRIME));
    format!("{sum:032x}")
}

/// The requests with keys that are being carried out, with the digests of their bodies.
#[derive(Default)]
pub struct Running(Mutex<HashMap<String, String>>);

impl Running {
    /// One begins; refused while another one with its key runs.
    fn begin<'a>(&'a self, keyed: &'a Keyed) -> Result<Guard<'a>, Problem> {
        let mut running = self.lock();
        match running.get(&keyed.id) {
            Some(request) if *request != keyed.request => Err(another_body()),
            Some(_) => Err(still_running()),
            None => {
                running.insert(keyed.id.clone(), keyed.request.clone());
                Ok(Guard { running: self, id: &keyed.id })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that runs; ends with its client's connection too: then its commit finds the key used, or the next one's does.
struct Guard<'a> {
    running: &'a Running,
    id: &'a str,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.running.lock().remove(self.id);
    }
}

fn another_body() -> Problem {
    Problem::Unprocessable("The Idempotency-Key has been used for another request.".to_owned())
}

fn still_running() -> Problem {
    Problem::Conflict("The first request with this Idempotency-Key is still being carried out.".to_owned())
}

fn gone() -> Problem {
    Problem::Conflict("What the first request with this Idempotency-Key made is gone.".to_owned())
}

/// Carries a request out, once for its key.
pub async fn once(call: &Call, route: &Route, action: Option<&str>, keyed: &Arc<Keyed>) -> Result<Answer, Problem> {
    let _running = call.api.running.begin(keyed)?;
    if let Some(earlier) = used(call, keyed).await? {
        return replay(call, route, action, keyed, &earlier).await;
    }
    let answer = v3::handle(call, route, action).await;
    let used = used(call, keyed).await?;
    match (answer, &used) {
        // A copy whose client has gone was under way beside this one, which is refused because of it.
        (Err(_), Some(first)) if first.request_id != call.context.request_id => {
            replay(call, route, action, keyed, first).await
        }
        // Its effect has been undone.
        (Err(problem), Some(_)) => {
            let (id, request_id) = (keyed.id.clone(), call.context.request_id.clone());
            change(call, KeyChange::Free { id, request_id }).await;
            Err(problem)
        }
        // There was nothing to do, and nothing to commit.
        (Ok(answer), None) => {
            if let Some((volume_id, object_id)) = call.asides.acted_on.get() {
                let now = call.api.clock.now();
                let key = KeyUse {
                    keyed: Keyed::clone(keyed),
                    request_id: call.context.request_id.clone(),
                    volume_id,
                    object_id: object_id.map(|id| id.0),
                    expires_at: now.plus(KEY_TTL),
                };
                change(call, KeyChange::Use { key, now }).await;
            }
            Ok(answer)
        }
        (answer, _) => answer,
    }
}

async fn used(call: &Call, keyed: &Keyed) -> Result<Option<KeyUse>, Problem> {
    Ok(call.service().store().key_use(keyed.id.clone(), call.api.clock.now()).await?)
}

/// Where no effect depends on it: whether it succeeds only decides whether a repetition is told the same.
async fn change(call: &Call, key: KeyChange) {
    let transaction = Transaction { key: Some(key), ..Transaction::default() };
    call.service().store().commit(transaction).await;
}

/// The answer of the first request, once more.
async fn replay(
    call: &Call,
    route: &Route,
    action: Option<&str>,
    keyed: &Keyed,
    first: &KeyUse,
) -> Result<Answer, Problem> {
    if first.keyed.request != keyed.request {
        return Err(another_body());
    }
    // What the first one made cannot be of anybody else: user and project are part of the key.
    let state = call.service().volume_view(first.volume_id).await?;
    if state.as_ref().is_some_and(|state| is_unanswered(state, first)) {
        return Err(still_running());
    }
    let there = || state.clone().ok_or_else(gone);
    let made = first.object_id.map(AttachmentId);
    match (route, action) {
        (Route::VolumeCreate, _) => volume_create::created(call, &*there()?).await,
        (Route::SnapshotCreate, _) => {
            let snapshot_id = SnapshotId(first.object_id.ok_or_else(gone)?);
            let state = there()?;
            state.snapshot(snapshot_id).ok_or_else(gone)?;
            snapshots::created(call, snapshot_id, &state)
        }
        (Route::AttachmentCreate, _) => {
            let state = there()?;
            made.and_then(|id| state.attachment(id)).ok_or_else(gone)?;
            attachments::attachment_answer(call, &Reply { state, attachment_id: made }).await
        }
        (_, Some("os-initialize_connection")) => {
            let state = there()?;
            let connection = made.and_then(|id| state.volume.connection(id)).ok_or_else(gone)?;
            volume_connections::initialized(call, &state.volume, connection).await
        }
        (_, Some("os-migrate_volume_completion")) => Ok(volume_moves::completed(call, &*there()?)),
        (_, Some("os-set_image_metadata")) => Ok(volume_metadata::image_metadata_answer(&*there()?)),
        (_, Some("os-set_bootable" | "os-unset_image_metadata")) => Ok(Answer::empty(200)),
        (_, Some("os-volume_upload_image")) => {
            let image_id = ImageId(first.object_id.ok_or_else(gone)?);
            volume_images::uploading_again(call, &*there()?, image_id).await
        }
        (Route::AttachmentAction(_), _) => Ok(Answer::empty(204)),
        _ => Ok(Answer::empty(202)),
    }
}

/// Whether the first request waits for its answer: those that connect or disconnect are answered when it is done.
fn is_unanswered(state: &VolumeState, first: &KeyUse) -> bool {
    let own = state.operations.iter().filter(|operation| operation.requester.request_id == first.request_id);
    own.into_iter().any(|operation| operation.kind.lane() == Lane::Connection || operation.step == Step::CreateImage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[test]
    fn keys_are_one_line_of_printable_ascii() {
        let read = |lines: &[&[u8]], route: &Route| {
            let mut headers = HeaderMap::new();
            lines.iter().for_each(|line| headers.append(HEADER, HeaderValue::from_bytes(line).unwrap()));
            key(&headers, route)
        };
        let create = Route::VolumeCreate;
        assert_eq!(read(&[], &create), Ok(None));
        let longest = [b'~'; KEY_MAX];
        for good in [&b"k"[..], b"\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", b"a b", &longest] {
            let text = String::from_utf8(good.to_vec()).unwrap();
            assert_eq!(read(&[good], &create), Ok(Some(text)));
        }
        for bad in [&[&b""[..]][..], &[&[b'k'; KEY_MAX + 1]], &[b"\xc3\xa4"], &[b"a\tb"], &[b"a", b"b"]] {
            assert!(matches!(read(bad, &create), Err(Problem::BadRequest(_))), "{bad:?}");
            assert_eq!(read(bad, &Route::VolumeSummary), Ok(None), "nobody asked");
        }
    }

    #[test]
    fn the_digest_is_the_published_one() {
        assert_eq!(digest(b""), "6c62272e07bb014262b821756295c58d");
        assert_eq!(digest(b"a"), "d228cb696f1a8caf78912b704e4a8964");
    }
}
