//! `/admin/events`: every committed transition as it happens, as server-sent events.
//!
//! A reader that is too slow is told how many it has missed (`event: missed`) and goes on with the present; commits never
//! wait for it. What it missed is in the history at `/admin/actors/{volume_id}`.

use std::pin::Pin;
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};

use super::actors;
use crate::actors::{EventStream, Followed};
use crate::api::answer::{Answer, Body};
use crate::api::call::{Call, url_id};
use crate::api::fault::{Kind, Problem};
use crate::domain::ids::VolumeId;

/// Readers at the same time; each holds a connection and its own place in the feed.
pub const READERS_MAX: usize = 64;

/// A comment is sent after so much silence, so that both sides notice when the other one is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The bytes of the events.
pub type EventBody = Pin<Box<dyn Stream<Item = Result<Bytes, std::io::Error>>>>;

/// `GET /admin/events?volume_id=`
pub fn event_list(call: &Call) -> Result<Answer, Problem> {
    let volume_id = match call.query.get("volume_id") {
        None => None,
        Some(text) => Some(url_id(text).map(VolumeId).ok_or_else(|| Problem::NotFound(Kind::Volume, text.to_owned()))?),
    };
    let permit =
        call.api.event_readers.clone().try_acquire_owned().map_err(|_| Problem::Busy("too many readers of events"))?;
    let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = (call.service().events(), heartbeat, permit);
    let events = stream::unfold(state, move |(mut events, mut heartbeat, permit)| async move {
        let line = tokio::select! {
            line = next_line(&mut events, volume_id) => line?,
            _ = heartbeat.tick() => ": still here\n\n".to_owned(),
        };
        Some((Ok(Bytes::from(line)), (events, heartbeat, permit)))
    });
    // The first bytes go out at once: the client knows that it follows from here on.
    let hello = stream::once(async { Ok(Bytes::from_static(b": following\n\n")) });
    Ok(Answer::with_body(200, Body::Events(Box::pin(hello.chain(events)))))
}

/// The next event of this volume (none: of any) as text; none when the service is ending.
async fn next_line(events: &mut EventStream, volume_id: Option<VolumeId>) -> Option<String> {
    loop {
        match events.next().await? {
            Followed::Missed(count) => return Some(line("missed", &json!({"count": count}))),
            Followed::Event(event) if volume_id.is_none_or(|wanted| wanted == event.volume_id) => {
                let mut body = actors::event(&event);
                body["volume_id"] = json!(event.volume_id);
                return Some(line("transition", &body));
            }
            Followed::Event(_) => {}
        }
    }
}

/// One event of the stream. JSON has no raw line breaks, so that it is one line of data.
fn line(name: &str, body: &Value) -> String {
    format!("event: {name}\ndata: {body}\n\n")
}
