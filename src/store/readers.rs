//! Reading: a few threads, each with a connection of its own that cannot write.
//!
//! Two pools stand beside each other, one for point reads and one for lists, so that a look-up never waits for a scan: not
//! in a queue, and not for a core either, since the threads for lists give way to all others.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::StoreError;
use super::checkpoint::Gate;
use super::connection::{AnyConnection, Role, Target};
use super::database::Lane;
use super::queue::Queue;

/// Reads that may wait for a thread of one pool; beyond it callers wait for room.
const QUEUE_BOUND: usize = 4_096;

/// How nice the threads for lists are: when there are fewer cores than work, look-ups, requests and commits run as soon as
/// they can, and lists have about a quarter of a core's time left to them.
const LIST_NICENESS: libc::c_int = 6;

/// Runs on a reader's thread; answers whether the connection may be used again.
type Read = Box<dyn FnOnce(Result<&mut AnyConnection, StoreError>) -> bool + Send>;

/// A pool of reader threads.
pub(super) struct Readers {
    queue: Arc<Queue<Read>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    /// Starts `count` threads; they connect when they get their first read. Each read passes the gate first, if there is one.
    pub(super) fn start(lane: Lane, target: &Target, count: usize, gate: Option<&Arc<Gate>>) -> std::io::Result<Self> {
        let name = match lane {
            Lane::Point => "points",
            Lane::List => "lists",
        };
        let queue = Queue::new(QUEUE_BOUND);
        let mut threads = Vec::new();
        for index in 0..count.max(1) {
            let (queue, target, gate) = (Arc::clone(&queue), target.clone(), gate.cloned());
            threads.push(std::thread::Builder::new().name(format!("store-{name}-{index}")).spawn(move || {
                if lane == Lane::List {
                    give_way();
                }
                serve(&queue, &target, gate.as_deref());
            })?);
        }
        Ok(Self { queue, threads: Mutex::new(threads) })
    }

    /// Runs `query` on one of the threads.
    pub(super) fn read<T, E>(
        &self,
        query: impl FnOnce(&mut AnyConnection) -> Result<T, E> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, E>>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let queued = self.queue.push(Box::new(move |connection: Result<&mut AnyConnection, StoreError>| {
            if answer.is_closed() {
                // the client has gone: its read need not be made
                return true;
            }
            let mut reusable = true;
            let result = match connection {
                Ok(connection) => {
                    let result = query(connection);
                    reusable = result.is_ok() || is_usable(connection);
                    result
                }
                Err(error) => Err(error.into()),
            };
            let _ = answer.send(result);
            reusable
        }) as Read);
        Box::pin(async move {
            let ended = || StoreError::Unavailable("the store is closed".to_owned());
            queued.await.map_err(|_| ended())?;
            answered.await.map_err(|_| ended())?
        })
    }

    /// Finishes what is queued and ends the threads.
    pub(super) fn stop(&self) {
        self.queue.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // a panic in a query has lost its own answer only
            let _ = thread.join();
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes the calling thread [`LIST_NICENESS`] nice: on Linux each thread has a niceness of its own.
fn give_way() {
    // SAFETY: a system call without pointers. It cannot fail for the own thread, and nothing depends on it.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LIST_NICENESS) };
}

fn serve(queue: &Queue<Read>, target: &Target, gate: Option<&Gate>) {
    let mut slot: Option<AnyConnection> = None;
    while let Some(reads) = queue.take(1) {
        if let Some(gate) = gate {
            gate.pass();
        }
        for read in reads {
            if slot.is_none() {
                match target.connect(Role::Reader) {
                    Ok(connection) => slot = Some(connection),
                    Err(error) => {
                        read(Err(StoreError::Unavailable(error.to_string())));
                        continue;
                    }
                }
            }
            let reusable = slot.as_mut().is_none_or(|connection| {
                // a query that panics costs its connection and its own answer, not the thread
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(Ok(connection)))).unwrap_or(false)
            });
            if !reusable {
                slot = None;
            }
        }
    }
}

fn is_usable(connection: &mut AnyConnection) -> bool {
    use diesel::connection::SimpleConnection;
    connection.batch_execute("SELECT 1").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn threads_for_lists_give_way_to_those_for_points() {
        let niceness = async |lane| {
            let readers = Readers::start(lane, &Target::SqliteMemory, 1, None).expect("a thread");
            // SAFETY: a system call without pointers
            let own = |_: &mut AnyConnection| Ok::<_, StoreError>(unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) });
            readers.read(own).await.expect("a read")
        };
        let points = niceness(Lane::Point).await;
        assert_eq!(niceness(Lane::List).await, (points + LIST_NICENESS).min(19));
    }
}
