//! A connection to a QMP server (a storage daemon or a running QEMU), shared by the `file` backend and the `qmp` hypervisor.
//!
//! A thin cover over the `qapi` crate, which has two properties that callers must not meet: an execution dropped half-way
//! poisons the connection, and events are only seen by whoever polls the stream.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use qapi::futures::{QapiService, QmpStreamTokio};
use qapi::qmp::{Event, QmpCommand};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;
use tokio::io::WriteHalf;
use tokio::net::UnixStream;
use tokio::sync::broadcast;
use uuid::Uuid;

/// How long a server may take to greet. A QMP socket serves one client at a time: a second one waits without a greeting.
pub const QMP_GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// Events kept for a subscriber that is behind; one that lags further must ask for the state instead.
const EVENTS_KEPT: usize = 1024;

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
    service: Arc<QapiService<QmpStreamTokio<WriteHalf<UnixStream>>>>,
    events: broadcast::WeakSender<Event>,
}

impl Qmp {
    /// Connects to the socket at `path` and negotiates. Must be called on the runtime that shall carry the connection.
    pub async fn connect(path: &Path) -> std::io::Result<Self> {
        let timed_out = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "no QMP greeting in time");
        let stream = tokio::time::timeout(QMP_GREETING_TIMEOUT, async {
            QmpStreamTokio::open_uds(path).await?.negotiate().await
        })
        .await
        .map_err(timed_out)??;
        let (service, mut reader) = stream.into_parts();
        let (sender, _) = broadcast::channel(EVENTS_KEPT);
        let events = sender.downgrade();
        // After this the reader ends when the last handle of the service is dropped.
        let _ = reader.release();
        tokio::spawn(async move {
            while let Some(Ok(event)) = reader.next().await {
                // Nobody listening is the usual case.
                let _ = sender.send(event);
            }
        });
        Ok(Self { service: Arc::new(service), events })
    }

    /// Whether the connection still stands.
    pub fn is_open(&self) -> bool {
        self.events.upgrade().is_some()
    }

    /// The events from now on; none when the connection has ended.
    pub fn subscribe(&self) -> Option<broadcast::Receiver<Event>> {
        self.events.upgrade().map(|sender| sender.subscribe())
    }

    /// Carries out one command. Dropping the future leaves the command under way and the connection sound.
    pub async fn run<C>(&self, command: C) -> Result<C::Ok, QmpError>
    where
        C: QmpCommand + 'static,
        C::Ok: Send + 'static,
    {
        let service = self.service.clone();
        let execution = tokio::spawn(async move { service.execute(command).await });
        match execution.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(qapi::ExecuteError::Qapi(error))) => {
                Err(QmpError::Refused { not_found: error.class == qapi::ErrorClass::DeviceNotFound, text: error.desc })
            }
            Ok(Err(qapi::ExecuteError::Io(error))) => Err(QmpError::Broken(error.to_string())),
            Err(join) => Err(QmpError::Broken(join.to_string())),
        }
    }
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
    use super::*;

    #[test]
    fn node_names_fit_and_differ() {
        let (lowest, highest) = (node_name('v', Uuid::nil()), node_name('v', Uuid::max()));
        assert_eq!((lowest.len(), highest.len()), (26, 26));
        assert_ne!(highest, node_name('v', Uuid::from_u128(u128::MAX - 1)));
        assert!(lowest.starts_with('v'));
    }
}
