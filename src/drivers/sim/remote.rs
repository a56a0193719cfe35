//! The service's end of a simulated backend in a process of its own: connects when it is needed, again after a break, and
//! is honest about what a break means. Not sent: `Failed`. Sent and not answered: `Unknown`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use crate::domain::backend::{Call, Cause, CauseKind, Guest, Outcome, Truth};
use crate::domain::ids::{AttachmentId, VolumeId};
use crate::drivers::sim::FaultRule;
use crate::drivers::{Backend, Capabilities, Capacity, Contents, FaultsRefused, Hypervisor};

use super::wire::{Ask, Control, Question, Reply, Say};
use super::{capabilities, contents_of, lines};

/// Questions that may wait for the socket; the pool's own bounds are far below.
const WAITING_QUESTIONS: usize = 8_192;

/// A question without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// It was certainly not sent.
    #[error("the simulated backend is not reachable")]
    NotReached,
    /// It may have been carried out.
    #[error("the connection to the simulated backend broke")]
    Broken,
}

/// The client. Backend and hypervisor at once, as the process serves both.
pub struct SimRemote {
    path: PathBuf,
    next_id: AtomicU64,
    connection: tokio::sync::Mutex<Option<Connection>>,
}

#[derive(Clone)]
struct Connection {
    questions: mpsc::Sender<Question>,
    open: Arc<Mutex<Open>>,
}

/// The questions without an answer; none once the connection is broken, so that no question is added to a dead one.
type Open = Option<BTreeMap<u64, oneshot::Sender<Say>>>;

impl SimRemote {
    /// A client of the process that serves `path`. Connects with the first question.
    pub fn new(path: impl Into<PathBuf>) -> Arc<Self> {
        let (path, next_id) = (path.into(), AtomicU64::new(1));
        Arc::new(Self { path, next_id, connection: tokio::sync::Mutex::new(None) })
    }

    /// Asks what tests ask.
    pub async fn control(&self, control: Control) -> Result<Say, RemoteError> {
        self.ask(Ask::Control { control }).await
    }

    async fn ask(&self, ask: Ask) -> Result<Say, RemoteError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        let connection = self.connect().await.ok_or(RemoteError::NotReached)?;
        match lock(&connection.open).as_mut() {
            Some(open) => open.insert(id, sender),
            None => return Err(RemoteError::NotReached),
        };
        if connection.questions.send(Question { id, ask }).await.is_err() {
            // The writer ends only when the connection is broken; whether it wrote this question is not known here.
            return Err(RemoteError::Broken);
        }
        receiver.await.map_err(|_| RemoteError::Broken)
    }

    async fn connect(&self) -> Option<Connection> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = slot.as_ref()
            && lock(&connection.open).is_some()
        {
            return Some(connection.clone());
        }
        *slot = None;
        let stream = UnixStream::connect(&self.path).await.ok()?;
        let connection = Connection::start(stream);
        *slot = Some(connection.clone());
        Some(connection)
    }

    async fn outcome(&self, ask: Ask) -> Outcome {
        match self.ask(ask).await {
            Ok(Say::Outcome { result }) => result,
            Ok(_) => {
                Outcome::Unknown { cause: Cause::new(CauseKind::Other, "the simulated backend contradicts itself") }
            }
            Err(error @ RemoteError::NotReached) => Outcome::Failed { cause: unavailable(error) },
            Err(error @ RemoteError::Broken) => Outcome::Unknown { cause: unavailable(error) },
        }
    }
}

impl Connection {
    fn start(stream: UnixStream) -> Self {
        let (read_half, write_half) = stream.into_split();
        let open: Arc<Mutex<Open>> = Arc::new(Mutex::new(Some(BTreeMap::new())));
        let (questions, waiting) = mpsc::channel(WAITING_QUESTIONS);
        let ends = Ends(Arc::clone(&open));
        tokio::spawn(async move {
            // Whichever end breaks first, the whole connection is over.
            let ended = tokio::select! {
                ended = read_replies(read_half, &ends.0) => ended,
                ended = write_questions(write_half, waiting) => ended,
            };
            if let Err(error) = ended {
                tracing::info!(%error, "the connection to the simulated backend broke");
            }
            drop(ends);
        });
        Self { questions, open }
    }
}

/// Tells every asker that the connection is over, also when the runtime that served it ends.
struct Ends(Arc<Mutex<Open>>);

impl Drop for Ends {
    fn drop(&mut self) {
        let open = lock(&self.0).take();
        // Outside the lock: dropping the senders wakes the askers.
        drop(open);
    }
}

async fn read_replies(half: OwnedReadHalf, open: &Mutex<Open>) -> std::io::Result<()> {
    let mut reader = BufReader::new(half);
    while let Some(reply) = lines::read::<Reply>(&mut reader).await? {
        let asker = lock(open).as_mut().and_then(|open| open.remove(&reply.id));
        if let Some(asker) = asker {
            // An asker that has gone does not want it.
            let _ = asker.send(reply.say);
        }
    }
    Ok(())
}

async fn write_questions(mut half: OwnedWriteHalf, mut waiting: mpsc::Receiver<Question>) -> std::io::Result<()> {
    while let Some(question) = waiting.recv().await {
        lines::write(&mut half, &question).await?;
    }
    Ok(())
}

impl Backend for SimRemote {
    fn call(self: Arc<Self>, call: Call) -> BoxFuture<'static, Outcome> {
        async move { self.outcome(Ask::Call { call }).await }.boxed()
    }

    fn copy_from(self: Arc<Self>, call: Call, source: Arc<dyn Backend>) -> BoxFuture<'static, Outcome> {
        async move {
            match contents_of(&source, call.key.volume_id).await {
                Ok(contents) => self.outcome(Ask::Receive { call, contents }).await,
                Err(cause) => Outcome::Failed { cause },
            }
        }
        .boxed()
    }

    fn contents(self: Arc<Self>, volume_id: VolumeId) -> BoxFuture<'static, Result<Contents, Cause>> {
        async move {
            match self.ask(Ask::Contents { volume_id }).await {
                Ok(Say::Contents { contents }) => contents.map(Contents::Simulated),
                other => Err(unexpected(other)),
            }
        }
        .boxed()
    }

    fn capacity(self: Arc<Self>) -> BoxFuture<'static, Result<Capacity, Cause>> {
        async move {
            match self.ask(Ask::Capacity).await {
                Ok(Say::Capacity { capacity }) => Ok(capacity),
                other => Err(unexpected(other)),
            }
        }
        .boxed()
    }

    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn inventory(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<(VolumeId, Truth)>, Cause>> {
        async move {
            match self.ask(Ask::Inventory).await {
                Ok(Say::Inventory { volumes }) => Ok(volumes),
                other => Err(unexpected(other)),
            }
        }
        .boxed()
    }

    fn set_faults(self: Arc<Self>, rules: Vec<FaultRule>) -> BoxFuture<'static, Result<(), FaultsRefused>> {
        async move {
            match self.control(Control::SetFaults { rules }).await {
                Ok(Say::Error { text }) => Err(FaultsRefused::Senseless(text)),
                Ok(_) => match self.control(Control::Release { volume_id: None }).await {
                    Ok(_) => Ok(()),
                    Err(_) => Err(FaultsRefused::Unreachable),
                },
                Err(_) => Err(FaultsRefused::Unreachable),
            }
        }
        .boxed()
    }
}

impl Hypervisor for SimRemote {
    fn call(self: Arc<Self>, guest: Guest, call: Call) -> BoxFuture<'static, Outcome> {
        async move { self.outcome(Ask::GuestCall { guest, call }).await }.boxed()
    }

    fn inventory(self: Arc<Self>, guest: Guest) -> BoxFuture<'static, Result<Vec<AttachmentId>, Cause>> {
        async move {
            match self.ask(Ask::GuestInventory { guest }).await {
                Ok(Say::Devices { attachments }) => Ok(attachments),
                other => Err(unexpected(other)),
            }
        }
        .boxed()
    }
}

fn unavailable(error: RemoteError) -> Cause {
    Cause::new(CauseKind::Unavailable, error.to_string())
}

fn unexpected(said: Result<Say, RemoteError>) -> Cause {
    match said {
        Err(error) => unavailable(error),
        Ok(Say::Error { text }) => Cause::new(CauseKind::Other, text),
        Ok(_) => Cause::new(CauseKind::Other, "the simulated backend contradicts itself"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
