//! Reading: a few threads, each with a connection of its own that cannot write.
//!
//! Two pools stand beside each other, one for point reads and one for lists, so that a scan never delays a look-up.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::StoreError;
use super::checkpoint::Gate;
use super::connection::{AnyConnection, Role, Target};
use super::queue::Queue;

/// Reads that may wait for a thread of one pool; beyond it callers wait for room.
const QUEUE_BOUND: usize = 4_096;

/// Runs on a reader's thread; answers whether the connection may be used again.
type Read = Box<dyn FnOnce(Result<&mut AnyConnection, StoreError>) -> bool + Send>;

/// A pool of reader threads.
pub(super) struct Readers {
    queue: Arc<Queue<Read>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    /// Starts `count` threads; they connect when they get their first read. Each read passes the gate first, if there is one.
    pub(super) fn start(name: &str, target: &Target, count: usize, gate: Option<&Arc<Gate>>) -> std::io::Result<Self> {
        let queue = Queue::new(QUEUE_BOUND);
        let mut threads = Vec::new();
        for index in 0..count.max(1) {
            let (queue, target, gate) = (Arc::clone(&queue), target.clone(), gate.cloned());
            threads.push(
                std::thread::Builder::new()
                    .name(format!("store-{name}-{index}"))
                    .spawn(move || serve(&queue, &target, gate.as_deref()))?,
            );
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
