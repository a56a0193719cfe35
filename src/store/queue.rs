//! A bounded queue between async callers and plain threads.
//!
//! Callers wait for room without holding a thread; threads wait for work without a runtime. What is queued is served in
//! order, also after [`Queue::close`], which only refuses newcomers.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, TryAcquireError};

/// The queue.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    room: Arc<Semaphore>,
}

struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
    holds: usize,
    /// Groups that were taken and have not ended.
    running: usize,
    /// With so many items there is something to take.
    wanted: usize,
    /// Takers that sleep. To wake nobody costs a system call too.
    sleeping: usize,
}

/// The queue is closed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed;

impl<T: Send + 'static> Queue<T> {
    /// A queue in which at most `bound` items wait.
    pub(super) fn new(bound: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                closed: false,
                holds: 0,
                running: 0,
                wanted: 1,
                sleeping: 0,
            }),
            changed: Condvar::new(),
            room: Arc::new(Semaphore::new(bound)),
        })
    }

    /// Puts `item` in. When there is room that happens before this returns, so that the order of calls is the order of the
    /// queue; else the future waits for room, first come, first served.
    pub(super) fn push(self: &Arc<Self>, item: T) -> impl Future<Output = Result<(), Closed>> + Send + use<T> {
        let (done, rest) = match self.room.try_acquire() {
            Ok(permit) => {
                permit.forget();
                (self.put(item), None)
            }
            Err(TryAcquireError::Closed) => (Err(Closed), None),
            Err(TryAcquireError::NoPermits) => (Ok(()), Some((Arc::clone(self), item))),
        };
        async move {
            let Some((queue, item)) = rest else { return done };
            match queue.room.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_) => return Err(Closed),
            }
            queue.put(item)
        }
    }

    fn put(&self, item: T) -> Result<(), Closed> {
        let mut state = self.lock();
        if state.closed {
            return Err(Closed);
        }
        state.waiting.push_back(item);
        let wakes = state.sleeping > 0 && state.waiting.len() >= state.wanted;
        drop(state);
        if wakes {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Takes up to `most` items, in order, as soon as there is one; none when the queue is closed and empty.
    pub(super) fn take(&self, most: usize) -> Option<Vec<T>> {
        self.take_when(most, None, |_| 1).map(|(_, taken)| taken)
    }

    /// As [`Self::take`], for takers who pay for each group whatever its size: while groups run that others have taken,
    /// another is worth its price with `worth` items for each of them. An empty group when nothing has come by `until`.
    /// [`Self::end_group`] must follow.
    pub(super) fn take_group(&self, most: usize, worth: usize, until: Option<Instant>) -> Option<Vec<T>> {
        let (mut state, taken) = self.take_when(most, until, |running| (running * worth).clamp(1, most))?;
        state.running += 1;
        Some(taken)
    }

    fn take_when(
        &self,
        most: usize,
        until: Option<Instant>,
        enough: impl Fn(usize) -> usize,
    ) -> Option<(MutexGuard<'_, State<T>>, Vec<T>)> {
        let mut state = self.lock();
        loop {
            state.wanted = enough(state.running);
            if state.closed || (state.holds == 0 && state.waiting.len() >= state.wanted) {
                break;
            }
            // while held, the end of the hold is what is waited for
            let until = until.filter(|_| state.holds == 0);
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Some((state, Vec::new()));
            }
            state.sleeping += 1;
            state = match left {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.sleeping -= 1;
        }
        if state.waiting.is_empty() {
            return None;
        }
        let count = most.min(state.waiting.len());
        let taken = state.waiting.drain(..count).collect();
        self.room.add_permits(count);
        // another taker may have slept through the notification of an item that is still there
        if state.sleeping > 0 {
            self.changed.notify_one();
        }
        Some((state, taken))
    }

    /// A group that was taken has ended.
    pub(super) fn end_group(&self) {
        let mut state = self.lock();
        state.running -= 1;
        if state.sleeping > 0 {
            self.changed.notify_one();
        }
    }

    /// How many items wait.
    pub(super) fn depth(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Refuses newcomers and lets the takers end when they have served what is there.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.changed.notify_all();
    }

    /// While held, nothing is taken (until the queue is closed).
    pub(super) fn hold(&self, on: bool) {
        let mut state = self.lock();
        state.holds = if on { state.holds + 1 } else { state.holds.saturating_sub(1) };
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn while_groups_run_another_waits_until_it_is_worth_its_price() {
        let queue = Queue::new(9);
        let (taken, groups) = std::sync::mpsc::channel();
        for item in 1..=2 {
            assert_eq!(queue.push(item).await, Ok(()));
        }
        assert_eq!(queue.take_group(8, 3, None), Some(vec![1, 2]), "nothing runs: whatever there is");
        let taker = Arc::clone(&queue);
        let second = std::thread::spawn(move || {
            while let Some(group) = taker.take_group(8, 3, None) {
                taken.send((taker.depth(), group)).unwrap();
            }
        });
        while queue.lock().wanted != 3 {
            std::thread::yield_now();
        }
        for item in 3..=5 {
            assert_eq!(queue.push(item).await, Ok(()));
        }
        assert_eq!(groups.recv(), Ok((0, vec![3, 4, 5])), "one runs: three are enough");
        assert_eq!(queue.push(6).await, Ok(()));
        queue.end_group();
        queue.end_group();
        assert_eq!(groups.recv(), Ok((0, vec![6])), "nothing runs any more");
        queue.close();
        second.join().unwrap();
    }

    #[tokio::test]
    async fn a_group_that_is_waited_for_until_an_instant_is_empty_then_and_never_while_the_queue_is_held() {
        let queue = Queue::new(9);
        let past = Some(Instant::now());
        assert_eq!(queue.take_group(8, 3, past), Some(Vec::<u32>::new()));
        queue.end_group();
        queue.hold(true);
        let taker = Arc::clone(&queue);
        let held = std::thread::spawn(move || taker.take_group(8, 3, past));
        assert_eq!(queue.push(1).await, Ok(()));
        assert!(!held.is_finished(), "neither an empty group nor the item");
        queue.hold(false);
        assert_eq!(held.join().unwrap(), Some(vec![1]));
    }

    #[tokio::test]
    async fn order_is_the_order_of_calls_and_the_bound_holds() {
        let queue = Queue::new(2);
        assert_eq!(queue.push(1).await, Ok(()));
        let second = queue.push(2);
        let mut third = std::pin::pin!(queue.push(3));
        assert!(futures_util::poll!(third.as_mut()).is_pending(), "the third waits for room");
        assert_eq!(queue.depth(), 2);
        assert_eq!(second.await, Ok(()));
        assert_eq!(queue.take(1), Some(vec![1]));
        assert_eq!(third.await, Ok(()));
        queue.close();
        assert_eq!(queue.push(4).await, Err(Closed));
        assert_eq!(queue.take(9), Some(vec![2, 3]), "what was queued is served after closing");
        assert_eq!(queue.take(9), None);
    }
}
