//! The committed transitions of all volumes, for whoever follows them (`/admin/events`).
//!
//! A commit never waits for a follower: each has the last [`FOLLOWED_BACK`] transitions to catch up with, and is told how
//! many it has missed when it was slower than that. What was missed is in the history of each volume.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast::{self, error::RecvError};

use crate::store::Event;

/// How far a follower may fall behind, transitions.
pub const FOLLOWED_BACK: usize = 1_024;

/// Gives committed transitions to followers.
pub(super) struct EventFeed {
    /// None after [`Self::close`].
    sender: Mutex<Option<broadcast::Sender<Arc<Event>>>>,
}

impl Default for EventFeed {
    fn default() -> Self {
        Self { sender: Mutex::new(Some(broadcast::Sender::new(FOLLOWED_BACK))) }
    }
}

impl EventFeed {
    /// Shows a committed transition to everybody who follows now.
    pub(super) fn publish(&self, event: Option<Arc<Event>>) {
        if let (Some(sender), Some(event)) = (&*self.sender(), event) {
            // nobody may be following
            let _ = sender.send(event);
        }
    }

    /// Every transition from now on.
    pub(super) fn follow(&self) -> EventStream {
        EventStream(self.sender().as_ref().map(broadcast::Sender::subscribe))
    }

    /// The service is ending: every follower comes to an end.
    pub(super) fn close(&self) {
        *self.sender() = None;
    }

    fn sender(&self) -> MutexGuard<'_, Option<broadcast::Sender<Arc<Event>>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a follower sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// A transition.
    Event(Arc<Event>),
    /// The follower was too slow for so many transitions.
    Missed(u64),
}

/// One follower.
pub struct EventStream(Option<broadcast::Receiver<Arc<Event>>>);

impl EventStream {
    /// The next transition; none when the service is ending.
    pub async fn next(&mut self) -> Option<Followed> {
        match self.0.as_mut()?.recv().await {
            Ok(event) => Some(Followed::Event(event)),
            Err(RecvError::Lagged(missed)) => Some(Followed::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{RequestId, VolumeId};
    use crate::domain::time::Timestamp;

    fn event(generation: u64) -> Event {
        Event {
            volume_id: VolumeId(uuid::Uuid::nil()),
            generation,
            at: Timestamp(0),
            command: "volume_update".to_owned(),
            request_id: RequestId::from("r"),
            from_status: None,
            to_status: "available".to_owned(),
            cause: None,
        }
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_what_it_missed_and_goes_on() {
        let feed = EventFeed::default();
        let mut follower = feed.follow();
        let count = FOLLOWED_BACK as u64 + 5;
        for generation in 0..count {
            feed.publish(Some(Arc::new(event(generation))));
        }
        assert_eq!(follower.next().await, Some(Followed::Missed(5)));
        assert_eq!(follower.next().await, Some(Followed::Event(Arc::new(event(5)))));
        feed.close();
        let mut rest = 0;
        while follower.next().await.is_some() {
            rest += 1;
        }
        assert_eq!(rest, FOLLOWED_BACK - 1, "what was published before the end is seen");
        assert_eq!(feed.follow().next().await, None, "nothing is followed after the end");
    }
}
