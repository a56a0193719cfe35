//! What the supervisor keeps for each active volume beside its actor: address, admission, published view, restarts.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use actix::Addr;
use arc_swap::ArcSwapOption;

use super::attachments::AttachmentIndex;
use super::volume::VolumeActor;
use crate::domain::attachment::Attachment;
use crate::domain::ids::VolumeId;
use crate::domain::time::Timestamp;
use crate::domain::volume::VolumeState;

/// Crashes within [`CRASH_WINDOW`] after which a volume is taken out of service.
pub(super) const CRASHES_TO_QUARANTINE: usize = 5;
/// Crashes older than this are forgotten.
pub(super) const CRASH_WINDOW: Duration = Duration::from_secs(60);
/// How long a quarantine lasts before the volume gets another try.
pub(super) const QUARANTINE: Duration = Duration::from_secs(300);

/// What the slot's actor is doing.
pub(super) enum Occupant {
    /// No actor.
    Vacant,
    /// This one. The number tells incarnations apart.
    Active {
        /// Its address.
        address: Addr<VolumeActor>,
        /// Which incarnation.
        incarnation: u32,
    },
    /// The slot has been given up and is no longer in the directory: ask there again.
    Retired,
    /// It crashed; not before this instant.
    BackingOff {
        /// When it may come back.
        until: Timestamp,
    },
    /// It crashed too often; not before this instant.
    Quarantined {
        /// When it gets another try.
        until: Timestamp,
    },
}

/// The entry of one volume.
pub(super) struct VolumeSlot {
    /// Whose.
    pub(super) volume_id: VolumeId,
    occupant: Mutex<Occupant>,
    /// The last committed state.
    view: ArcSwapOption<VolumeState>,
    /// Where the rows of the view can be found by their ids.
    index: Arc<AttachmentIndex>,
    /// Locked while a view is published, so that the index follows the views in their order.
    publishing: Mutex<()>,
    /// A commit is in flight: the database may know more than the view, so readers go there (a client that saw a state in a
    /// list must not see an older one by id afterwards).
    unpublished: AtomicBool,
    admitted: AtomicU32,
    last_used: AtomicI64,
    /// When it crashed within the window; most never do.
    crashes: OnceLock<Box<Mutex<Vec<Timestamp>>>>,
    restarts: AtomicU32,
    next_incarnation: AtomicU32,
    /// The next command panics (fault injection).
    pub(super) panic_next: AtomicBool,
    /// Commands parked, and waiting in the connection queue.
    pub(super) parked: AtomicU32,
    pub(super) queued: AtomicU32,
}

impl VolumeSlot {
    pub(super) fn new(volume_id: VolumeId, index: Arc<AttachmentIndex>) -> Self {
        Self {
            volume_id,
            occupant: Mutex::new(Occupant::Vacant),
            view: ArcSwapOption::empty(),
            index,
            publishing: Mutex::new(()),
            unpublished: AtomicBool::new(false),
            admitted: AtomicU32::new(0),
            last_used: AtomicI64::new(0),
            crashes: OnceLock::new(),
            restarts: AtomicU32::new(0),
            next_incarnation: AtomicU32::new(1),
            panic_next: AtomicBool::new(false),
            parked: AtomicU32::new(0),
            queued: AtomicU32::new(0),
        }
    }

    /// The occupant, to look at or replace.
    pub(super) fn occupant(&self) -> MutexGuard<'_, Occupant> {
        self.occupant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for the next incarnation.
    pub(super) fn next_incarnation(&self) -> u32 {
        self.next_incarnation.fetch_add(1, Ordering::Relaxed)
    }

    /// The published view, unless the database may know more.
    pub(super) fn fresh_view(&self) -> Option<Arc<VolumeState>> {
        // The flag is read first: if it is clear, every commit that was visible before this call has been published.
        if self.unpublished.load(Ordering::SeqCst) {
            return None;
        }
        self.view.load_full()
    }

    /// The last published view, for observation.
    pub(super) fn last_view(&self) -> Option<Arc<VolumeState>> {
        self.view.load_full()
    }

    /// A commit is about to be submitted.
    pub(super) fn commit_begins(&self) {
        self.unpublished.store(true, Ordering::SeqCst);
    }

    /// The commit has ended; `view` is the committed state (none: unchanged).
    pub(super) fn commit_ended(&self, view: Option<Arc<VolumeState>>) {
        if let Some(view) = view {
            self.publish(Some(view));
        }
        self.unpublished.store(false, Ordering::SeqCst);
    }

    /// Publishes what was committed or loaded; none: there is nothing to see here.
    pub(super) fn publish(&self, view: Option<Arc<VolumeState>>) {
        let _alone = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        self.index.change(self.volume_id, rows(self.view.load().as_deref()), rows(view.as_deref()));
        self.view.store(view);
    }

    /// The actor is gone and its last commit may be in flight: readers go to the database until the next one has loaded.
    pub(super) fn forget_view(&self) {
        self.unpublished.store(true, Ordering::SeqCst);
        self.publish(None);
    }

    /// Admits a request unless `bound` are waiting already.
    pub(super) fn admit(self: &Arc<Self>, bound: u32, now: Timestamp) -> Option<Permit> {
        self.last_used.store(now.0, Ordering::Relaxed);
        let mut current = self.admitted.load(Ordering::Relaxed);
        loop {
            if current >= bound {
                return None;
            }
            match self.admitted.compare_exchange_weak(current, current + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(Permit(Arc::clone(self))),
                Err(seen) => current = seen,
            }
        }
    }

    /// Requests admitted and not answered.
    pub(super) fn admitted(&self) -> u32 {
        self.admitted.load(Ordering::Acquire)
    }

    /// When it was last asked for anything.
    pub(super) fn last_used(&self) -> Timestamp {
        Timestamp(self.last_used.load(Ordering::Relaxed))
    }

    /// Restarts after a panic.
    pub(super) fn restarts(&self) -> u32 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Records a crash; how many there were within the window, this one included.
    pub(super) fn crashed(&self, now: Timestamp) -> usize {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        let mut crashes = self.crashes.get_or_init(Box::default).lock().unwrap_or_else(PoisonError::into_inner);
        crashes.retain(|at| now.since(*at) < CRASH_WINDOW);
        crashes.push(now);
        crashes.len()
    }
}

fn rows(state: Option<&VolumeState>) -> &[Attachment] {
    state.map_or(&[], |state| &state.attachments)
}

/// One admitted request; gives its place back when it is dropped.
pub(super) struct Permit(Arc<VolumeSlot>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.admitted.fetch_sub(1, Ordering::AcqRel);
    }
}
