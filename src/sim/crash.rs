//! A backend wrapper which kills the simulated process on either side of the nth driver call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::domain::backend::{Call, CallKey, Cause, Guest, Outcome, Truth};
use crate::domain::guest::GuestSeen;
use crate::domain::ids::{AttachmentId, VolumeId};
use crate::drivers::{Backend, Capabilities, Capacity, Contents, Hypervisor, Progress};

/// On which side of the driver's effect the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallSide {
    /// The call never reaches the backend.
    Before,
    /// The effect is there, nobody hears the answer.
    After,
}

/// When to die, shared by the wrapped backend and hypervisor.
#[derive(Clone, Default)]
pub struct CrashPlan {
    calls: Arc<AtomicU64>,
    plan: Arc<Mutex<Option<Plan>>>,
}

struct Plan {
    nth: u64,
    side: CallSide,
    die: Box<dyn Fn() + Send>,
}

impl CrashPlan {
    /// Dies at the `nth` driver call from now on, counted from 1, by calling `die`.
    pub fn arm(&self, nth: u64, side: CallSide, die: impl Fn() + Send + 'static) {
        self.calls.store(0, Ordering::SeqCst);
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(Plan { nth, side, die: Box::new(die) });
    }

    /// Nobody dies any more.
    pub fn disarm(&self) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Driver calls since the plan was armed.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Whether the present call is the one, and on which side.
    fn hit(&self) -> Option<CallSide> {
        let count = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.as_ref().filter(|plan| plan.nth == count).map(|plan| plan.side)
    }

    fn die(&self) {
        if let Some(plan) = self.plan.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            (plan.die)();
        }
    }

    async fn around(self, call: BoxFuture<'static, Outcome>) -> Outcome {
        match self.hit() {
            None => call.await,
            Some(CallSide::Before) => {
                self.die();
                std::future::pending().await
            }
            Some(CallSide::After) => {
                call.await;
                self.die();
                std::future::pending().await
            }
        }
    }
}

/// A backend or hypervisor behind a crash plan.
pub(super) struct Crashing<T: ?Sized> {
    pub(super) inner: Arc<T>,
    pub(super) plan: CrashPlan,
}

impl Backend for Crashing<dyn Backend> {
    fn call(self: Arc<Self>, call: Call) -> BoxFuture<'static, Outcome> {
        let inner = Arc::clone(&self.inner).call(call);
        self.plan.clone().around(inner).boxed()
    }

    fn copy_from(self: Arc<Self>, call: Call, source: Arc<dyn Backend>) -> BoxFuture<'static, Outcome> {
        let inner = Arc::clone(&self.inner).copy_from(call, source);
        self.plan.clone().around(inner).boxed()
    }

    fn contents(self: Arc<Self>, volume_id: VolumeId) -> BoxFuture<'static, Result<Contents, Cause>> {
        Arc::clone(&self.inner).contents(volume_id)
    }

    fn progress(&self, key: &CallKey) -> Option<Progress> {
        self.inner.progress(key)
    }

    fn capacity(self: Arc<Self>) -> BoxFuture<'static, Result<Capacity, Cause>> {
        Arc::clone(&self.inner).capacity()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn problem(&self) -> Option<String> {
        self.inner.problem()
    }

    fn inventory(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<(VolumeId, Truth)>, Cause>> {
        Arc::clone(&self.inner).inventory()
    }
}

impl Hypervisor for Crashing<dyn Hypervisor> {
    fn call(self: Arc<Self>, guest: Guest, call: Call) -> BoxFuture<'static, Outcome> {
        let inner = Arc::clone(&self.inner).call(guest, call);
        self.plan.clone().around(inner).boxed()
    }

    fn inventory(self: Arc<Self>, guest: Guest) -> BoxFuture<'static, Result<Vec<AttachmentId>, Cause>> {
        Arc::clone(&self.inner).inventory(guest)
    }

    fn follow(self: Arc<Self>, guest: Guest) -> Option<mpsc::Receiver<GuestSeen>> {
        Arc::clone(&self.inner).follow(guest)
    }
}
