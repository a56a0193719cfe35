//! The simulated backend as a process of its own (`hearth sim-backend`): a unix socket in front of a [`SimBackend`] whose
//! truth is a file. Calls go on when their connection breaks, as a real backend's do when the service dies.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::io::BufReader;
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::domain::backend::{Cause, CauseKind, Outcome};
use crate::drivers::{Backend, Hypervisor};

use super::faults::{FaultError, FaultRule};
use super::journal::{Durability, JournalError};
use super::latency::LatencyTable;
use super::wire::{Ask, Control, Question, Reply, Say};
use super::{SimBackend, SimOptions, SimTruth, lines};

/// Questions of one connection that may be open at once; beyond it the connection is not read further.
const OPEN_QUESTIONS: usize = 8_192;

/// Answers that may wait for a slow reader before the questions behind them wait too.
const WAITING_REPLIES: usize = 1_024;

/// How the process runs.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where it listens; a socket that nobody serves any more is replaced.
    pub socket: PathBuf,
    /// Its truth file.
    pub truth: PathBuf,
    /// When a change counts as kept.
    pub durability: Durability,
    /// How long calls take.
    pub latency: LatencyTable,
    /// Seed of latencies and chances.
    pub seed: u64,
    /// Its room, GiB.
    pub total_gib: u64,
    /// Faults from the start.
    pub faults: Vec<FaultRule>,
}

/// Why the process cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The truth cannot be opened.
    #[error(transparent)]
    Truth(#[from] JournalError),
    /// A fault rule makes no sense.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// Another process serves the socket.
    #[error("another process serves the socket")]
    SocketInUse,
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Socket(#[from] io::Error),
}

/// Serves until `shutdown` ends. Returns when the socket is closed; calls that hang are given up with the runtime.
pub async fn serve(options: ServeOptions, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    let truth = SimTruth::open(&options.truth, options.durability)?;
    let backend = SimBackend::new(SimOptions {
        latency: options.latency,
        total_gib: options.total_gib,
        ..SimOptions::with_truth(truth, options.seed)
    });
    backend.faults().set(options.faults)?;
    let listener = listen(&options.socket).await?;
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                connections.spawn(converse(Arc::clone(&backend), stream));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    if let Err(error) = std::fs::remove_file(&options.socket) {
        tracing::warn!(%error, "the socket could not be removed");
    }
    Ok(())
}

async fn listen(path: &Path) -> Result<UnixListener, ServeError> {
    match UnixListener::bind(path) {
        Ok(listener) => {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if UnixStream::connect(path).await.is_ok() {
                return Err(ServeError::SocketInUse);
            }
            std::fs::remove_file(path)?;
            let listener = UnixListener::bind(path)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        }
        Err(error) => Err(error.into()),
    }
}

/// One connection. Questions are tasks of the runtime, not of the connection: its end must not stop a call.
async fn converse(backend: Arc<SimBackend>, stream: UnixStream) {
    let (read_half, mut write_half) = stream.into_split();
    let (replies, mut waiting) = mpsc::channel::<Reply>(WAITING_REPLIES);
    let writer = async {
        while let Some(reply) = waiting.recv().await {
            lines::write(&mut write_half, &reply).await?;
        }
        io::Result::Ok(())
    };
    let reader = listen_to(backend, read_half, replies);
    if let (Err(error), _) | (_, Err(error)) = tokio::join!(reader, writer) {
        tracing::info!(%error, "a connection of the simulated backend broke");
    }
}

async fn listen_to(backend: Arc<SimBackend>, half: OwnedReadHalf, replies: mpsc::Sender<Reply>) -> io::Result<()> {
    let mut reader = BufReader::new(half);
    let open = Arc::new(Semaphore::new(OPEN_QUESTIONS));
    while let Some(question) = lines::read::<Question>(&mut reader).await? {
        let Ok(permit) = Arc::clone(&open).acquire_owned().await else { break };
        let (backend, replies) = (Arc::clone(&backend), replies.clone());
        tokio::spawn(async move {
            let answered = std::panic::AssertUnwindSafe(answer(backend, question.ask)).catch_unwind().await;
            let say = answered.unwrap_or_else(|_| Say::Outcome { result: crashed() });
            // The asker may be gone; what was done stays done.
            let _ = replies.send(Reply { id: question.id, say }).await;
            drop(permit);
        });
    }
    Ok(())
}

async fn answer(backend: Arc<SimBackend>, ask: Ask) -> Say {
    match ask {
        Ask::Call { call } => Say::Outcome { result: backend.call(call).await },
        Ask::GuestCall { guest, call } => Say::Outcome { result: backend.hypervisor().call(guest, call).await },
        Ask::Contents { volume_id } => Say::Contents { contents: backend.truth().contents(volume_id) },
        Ask::Receive { call, contents } => Say::Outcome { result: backend.receive(call, contents).await },
        Ask::Capacity => match backend.capacity().await {
            Ok(capacity) => Say::Capacity { capacity },
            Err(cause) => Say::Error { text: cause.text },
        },
        Ask::Inventory => match backend.inventory().await {
            Ok(volumes) => Say::Inventory { volumes },
            Err(cause) => Say::Error { text: cause.text },
        },
        Ask::GuestInventory { guest } => match backend.hypervisor().inventory(guest).await {
            Ok(attachments) => Say::Devices { attachments },
            Err(cause) => Say::Error { text: cause.text },
        },
        Ask::Control { control } => answer_control(&backend, control),
    }
}

fn answer_control(backend: &SimBackend, control: Control) -> Say {
    let (truth, faults) = (backend.truth(), backend.faults());
    match control {
        Control::Snapshot => Say::Snapshot { truth: truth.snapshot() },
        Control::Overlaps => Say::Overlaps { overlaps: truth.violations(|_| true) },
        Control::Writes => Say::Writes { writes: truth.writes() },
        Control::SetFaults { rules } => done(faults.set(rules)),
        Control::AddFault { rule } => done(faults.add(rule)),
        Control::SetLatency { latency } => {
            faults.set_latency(latency);
            Say::Ok
        }
        Control::Release { volume_id } => Say::Released { count: faults.release(volume_id) },
        Control::Hung => Say::Hung { calls: faults.hung() },
        Control::Write { export, marker } => match truth.write(&export, &marker) {
            Ok(write) => Say::Writes { writes: vec![write] },
            Err(error) => Say::Error { text: error.to_string() },
        },
        Control::PlaceObject { reference, object } => match truth.place_object(&reference, object) {
            Ok(()) => Say::Ok,
            Err(error) => Say::Error { text: error.to_string() },
        },
        Control::GuestWrite { guest, attachment_id, marker } => {
            match truth.guest_write(&guest, attachment_id, &marker) {
                Ok(write) => Say::Writes { writes: write.into_iter().collect() },
                Err(error) => Say::Error { text: error.to_string() },
            }
        }
    }
}

fn done(result: Result<(), FaultError>) -> Say {
    match result {
        Ok(()) => Say::Ok,
        Err(error) => Say::Error { text: error.to_string() },
    }
}

fn crashed() -> Outcome {
    Outcome::Unknown { cause: Cause::new(CauseKind::Other, "the simulated backend crashed in the call") }
}
