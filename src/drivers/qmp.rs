//! A connection to a QMP server (a storage daemon or a running QEMU), shared by the `file` backend and the `qmp` hypervisor.
//!
//! The commands' types are those of the `qapi` crate; the connection is not. A server that is still busy with a command of a
//! client that went away sends its answer to the next client. With ids that begin anew at each connection, as that crate
//! has them, such an answer is taken for that of another command, and a device counts as plugged that is not. Here an id
//! names the connection, too, and what has another id is left aside.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qapi::qmp::{Event, QmpCommand};
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::runtime::Randomness;

/// How long a server may take to greet. A QMP socket serves one client at a time: a second one waits without a greeting.
pub const QMP_GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// Events kept for a subscriber that is behind; one that lags further must ask for the state instead.
const EVENTS_KEPT: usize = 1024;

/// Commands that wait to be written; more wait in their callers.
const COMMANDS_QUEUED: usize = 64;

/// Longest message taken from a server: a list of 100,000 exports has about 20 MB.
const MESSAGE_BYTES_MAX: u64 = 64 << 20;

/// Why a command has no result.
#[derive(Debug, Error)]
pub enum QmpError {
    /// The server understood the command and says no: nothing was changed.
    #[error("{text}")]
    Refused {
        /// The server's words; may contain host paths: never for a volume's owner.
        text: String,
        /// The device or node does not exist.
        not_found: bool,
    },
    /// No answer: whether the command was carried out is not known.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// An open connection. Commands are carried out one after the other, in the order in which they were given.
pub struct Qmp {
    shared: Arc<Shared>,
    lines: mpsc::Sender<Vec<u8>>,
    reader: AbortHandle,
    server: u32,
}

struct Shared {
    /// Names this connection in the ids of its commands.
    connection: Uuid,
    next: AtomicU64,
    /// None when the connection has ended.
    open: Mutex<Option<Open>>,
}

struct Open {
    answers: HashMap<String, oneshot::Sender<Value>>,
    events: broadcast::Sender<Event>,
}

impl Qmp {
    /// Connects to the socket at `path` and negotiates. Must be called on the runtime that shall carry the connection.
    pub async fn connect(path: &Path) -> io::Result<Self> {
        let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, "no QMP greeting in time");
        tokio::time::timeout(QMP_GREETING_TIMEOUT, Self::negotiate(path)).await.map_err(timed_out)?
    }

    async fn negotiate(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path).await?;
        let server = stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
        let (read, write) = stream.into_split();
        let mut read = BufReader::new(read);
        // What the server has left of a former client may come first.
        while message(&mut read).await?.get("QMP").is_none() {}
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let shared = Arc::new(Shared {
            connection: Randomness::from_os().uuid(),
            next: AtomicU64::new(0),
            open: Mutex::new(Some(Open { answers: HashMap::new(), events })),
        });
        let (lines, queue) = mpsc::channel(COMMANDS_QUEUED);
        tokio::spawn(write_lines(write, queue));
        let reader = tokio::spawn(read_messages(read, Arc::clone(&shared))).abort_handle();
        let qmp = Self { shared, lines, reader, server };
        qmp.ask("qmp_capabilities", &json!({})).await.map_err(io::Error::other)?;
        Ok(qmp)
    }

    /// The server's process; 0: the kernel does not tell.
    pub fn server(&self) -> u32 {
        self.server
    }

    /// Whether the connection still stands.
    pub fn is_open(&self) -> bool {
        self.shared.lock().is_some()
    }

    /// The events from now on; none when the connection has ended.
    pub fn subscribe(&self) -> Option<broadcast::Receiver<Event>> {
        self.shared.lock().as_ref().map(|open| open.events.subscribe())
    }

    /// Carries out one command. Dropping the future leaves the command under way and the connection sound.
    pub async fn run<C>(&self, command: C) -> Result<C::Ok, QmpError>
    where
        C: QmpCommand + 'static,
        C::Ok: Send + 'static,
    {
        let answer = self.ask(C::NAME, &command).await?;
        // It was carried out, but what it says cannot be read: not known is the honest word.
        serde_json::from_value(answer).map_err(|error| QmpError::Broken(error.to_string()))
    }

    async fn ask(&self, name: &str, arguments: &impl Serialize) -> Result<Value, QmpError> {
        let broken = || QmpError::Broken("the server has closed it".into());
        let id = format!("{}.{}", self.shared.connection.simple(), self.shared.next.fetch_add(1, Ordering::Relaxed));
        let command = json!({"execute": name, "arguments": arguments, "id": id});
        let (sender, receiver) = oneshot::channel();
        self.shared.lock().as_mut().ok_or_else(broken)?.answers.insert(id, sender);
        let mut line = command.to_string().into_bytes();
        line.push(b'\n');
        self.lines.send(line).await.map_err(|_| broken())?;
        let mut answer = receiver.await.map_err(|_| broken())?;
        if let Some(error) = answer.get("error") {
            let word = |member: &str| error[member].as_str().unwrap_or_default();
            return Err(QmpError::Refused { not_found: word("class") == "DeviceNotFound", text: word("desc").into() });
        }
        Ok(answer["return"].take())
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        // The writer ends with its queue, and both halves gone the server sees the end.
        self.reader.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whole lines, whatever becomes of those who wait for the answers.
async fn write_lines(mut write: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(line) = queue.recv().await {
        if write.write_all(&line).await.is_err() {
            // The reader sees the end, too, and tells those who wait.
            return;
        }
    }
}

/// Hands answers and events on until the connection ends.
async fn read_messages(mut read: BufReader<OwnedReadHalf>, shared: Arc<Shared>) {
    while let Ok(mut message) = message(&mut read).await {
        let mut open = shared.lock();
        let Some(open) = open.as_mut() else { return };
        if let Some(id) = message.get("id").and_then(Value::as_str) {
            match open.answers.remove(id) {
                // Whoever asked may have gone.
                Some(waiting) => drop(waiting.send(message.take())),
                None => tracing::debug!(id, "an answer to somebody else's command is left aside"),
            }
        } else if message.get("event").is_some()
            && let Ok(event) = serde_json::from_value(message)
        {
            // Nobody listening is the usual case.
            let _ = open.events.send(event);
        }
    }
    // Dropping the senders tells everybody who waits.
    *shared.lock() = None;
}

/// The next message of the server.
async fn message(read: &mut BufReader<OwnedReadHalf>) -> io::Result<Value> {
    let mut line = Vec::new();
    read.take(MESSAGE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}

/// Commands whose generated types would force a hundred unused members to be written out: their arguments as JSON.
macro_rules! raw_command {
    ($(#[$doc:meta])* $name:ident, $word:literal) => {
        $(#[$doc])*
        #[derive(Debug, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub Value);

        impl qapi::Command for $name {
            type Ok = qapi::Empty;
            const NAME: &'static str = $word;
            const ALLOW_OOB: bool = false;
        }
        impl QmpCommand for $name {}
    };
}

raw_command!(
    /// `blockdev-add`.
    BlockdevAdd,
    "blockdev-add"
);
raw_command!(
    /// `block-export-add`.
    BlockExportAdd,
    "block-export-add"
);
raw_command!(
    /// `blockdev-mirror`.
    BlockdevMirror,
    "blockdev-mirror"
);
raw_command!(
    /// `blockdev-reopen`.
    BlockdevReopen,
    "blockdev-reopen"
);
raw_command!(
    /// `device_add`.
    DeviceAdd,
    "device_add"
);

/// The name of a block node. It has at most 31 characters, one fewer than the hexadecimal digits of an id, so the id is
/// written in base 36, which takes 25.
pub fn node_name(prefix: char, id: Uuid) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut rest = id.as_u128();
    let mut digits = [b'0'; 25];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[usize::try_from(rest % 36).expect("below 36")];
        rest /= 36;
    }
    format!("{prefix}{}", String::from_utf8_lossy(&digits))
}

#[cfg(test)]
mod tests {
    use qapi::qmp;
    use tokio::net::UnixListener;

    use super::*;

    /// A server that has an event left when it greets, and answers each command with what `answers` makes of its id.
    async fn serve(listener: UnixListener, answers: impl Fn(&str) -> Vec<Value>) {
        let (read, mut write) = listener.accept().await.expect("a client").0.into_split();
        let mut read = BufReader::new(read);
        write.write_all(b"{\"event\": \"STOP\"}\n").await.expect("written");
        write.write_all(b"{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n").await.expect("written");
        while let Ok(command) = message(&mut read).await {
            for answer in answers(command["id"].as_str().expect("every command has an id")) {
                write.write_all(format!("{answer}\n").as_bytes()).await.expect("written");
            }
        }
    }

    /// Seen after `kill -9` in the middle of a command: the server answers the dead client's command to the next one.
    #[tokio::test]
    async fn an_answer_to_a_former_clients_command_is_left_aside() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("qmp");
        let listener = UnixListener::bind(&path).expect("bound");
        let stale = |id: Value| json!({"return": "of another command", "id": id});
        let server = serve(listener, |id| {
            let (_, number) = id.split_once('.').expect("connection and number");
            let others = [json!(number), json!(0), json!(format!("{}.{number}", Uuid::new_v4().simple()))];
            let mut answers: Vec<Value> = others.map(stale).into();
            answers.push(json!({"return": "of another command"}));
            answers.push(json!({"return": if number == "0" { json!({}) } else { json!({"UUID": "own"}) }, "id": id}));
            answers
        });
        let client = async {
            let qmp = Qmp::connect(&path).await.expect("negotiated");
            for _ in 0..3 {
                assert_eq!(qmp.run(qmp::query_uuid {}).await.expect("answered").UUID, "own");
            }
        };
        tokio::select! { () = client => {}, () = server => panic!("the client went away") }
    }

    #[tokio::test]
    async fn who_waits_learns_that_the_connection_has_ended() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("qmp");
        let listener = UnixListener::bind(&path).expect("bound");
        let server = tokio::spawn(serve(listener, |id| match id.ends_with(".0") {
            true => vec![json!({"return": {}, "id": id})],
            false => Vec::new(),
        }));
        let qmp = Qmp::connect(&path).await.expect("negotiated");
        let mut events = qmp.subscribe().expect("open");
        let mut waiting = Box::pin(qmp.run(qmp::query_uuid {}));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        server.abort();
        assert!(matches!(waiting.await, Err(QmpError::Broken(_))));
        assert!(matches!(events.recv().await, Err(broadcast::error::RecvError::Closed)));
        assert!(!qmp.is_open() && qmp.subscribe().is_none());
        assert!(matches!(qmp.run(qmp::query_uuid {}).await, Err(QmpError::Broken(_))));
    }

    #[test]
    fn node_names_fit_and_differ() {
        let (lowest, highest) = (node_name('v', Uuid::nil()), node_name('v', Uuid::max()));
        assert_eq!((lowest.len(), highest.len()), (26, 26));
        assert_ne!(highest, node_name('v', Uuid::from_u128(u128::MAX - 1)));
        assert!(lowest.starts_with('v'));
    }
}
