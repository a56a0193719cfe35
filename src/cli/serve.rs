//! `hearth serve`: builds the parts from bottom to top, serves, and ends in order.
//!
//! settings → telemetry → state directory → store → drivers → pool → service → recovery → HTTP → signals

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::clouds;
use super::state_dir::{StateDir, StateDirError};
use crate::settings::{Loaded, Settings};

/// From SIGTERM to the end of the process. What has not settled then is left to the next start.
pub const SHUTDOWN: Duration = Duration::from_secs(5);

/// Requests under way get so long to be answered; the rest of [`SHUTDOWN`] is for the last commits.
const DRAIN: Duration = Duration::from_secs(3);

/// The service cannot start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The state directory.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// `server.listen`.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The HTTP server or the signal handlers.
    #[error("the server ended")]
    Server(#[source] io::Error),
}

/// Runs until SIGTERM or SIGINT; `Ok` is an ordered end.
pub fn run(loaded: &Loaded) -> Result<(), ServeError> {
    let settings = &loaded.settings;
    let state = StateDir::open(&settings.state.path, &settings.state.socket_dir())?;
    // before anything is recovered: a second service on the same port must fail without having touched a volume
    let listener = listen(settings.server.listen)?;
    actix_web::rt::System::new().block_on(serve(settings, &state, listener))
}

async fn serve(settings: &Settings, state: &StateDir, listener: TcpListener) -> Result<(), ServeError> {
    // first of all: a signal which comes while the parts are built must not cut the process off in the middle
    let signals = EndSignals::catch().map_err(ServeError::Server)?;
    let address = listener.local_addr().map_err(ServeError::Server)?;
    let server = http(settings, listener)?;
    let handle = server.handle();
    let running = actix_web::rt::spawn(server);

    let clouds = state.write(clouds::FILE_NAME, &clouds::clouds_yaml(address, settings.compute))?;
    print_welcome(address, &clouds);

    signals.wait().await;
    end(handle).await;
    match tokio::time::timeout(SHUTDOWN - DRAIN, running).await {
        Ok(Ok(result)) => result.map_err(ServeError::Server),
        // a connection that does not end is no reason to stay
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).map_err(|source| ServeError::Listen { address, source })
}

fn http(settings: &Settings, listener: TcpListener) -> Result<Server, ServeError> {
    let factory = || actix_web::App::new();
    Ok(actix_web::HttpServer::new(factory)
        .workers(threads(settings.server.workers))
        .shutdown_timeout(DRAIN.as_secs())
        .disable_signals()
        .listen(listener)
        .map_err(ServeError::Server)?
        .run())
}

/// `configured`, or half of the cores: the other half is for actors and storage calls.
fn threads(configured: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if configured == 0 { (cores / 2).max(1) } else { configured }
}

/// SIGTERM and SIGINT as a request to end in order.
struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    /// From here on neither ends the process by itself.
    fn catch() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The first one that came since [`Self::catch`].
    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Stops accepting, and lets requests under way be answered for [`DRAIN`] at most.
async fn end(handle: ServerHandle) {
    let graceful = true;
    // a connection that does not end in time is cut by the end of the process
    let _ = tokio::time::timeout(DRAIN, handle.stop(graceful)).await;
}

fn print_welcome(address: SocketAddr, clouds: &std::path::Path) {
    let clouds = clouds.display();
    let text = format!(
        "hearth: listening on http://{address}

  Try it from another terminal:
    export OS_CLIENT_CONFIG_FILE={clouds} OS_CLOUD=hearth
    openstack volume create --size 1 first
    openstack volume list
    curl http://{address}/healthcheck

  Ctrl-C stops it; volumes and attachments are kept.
"
    );
    // nobody may be reading, which is no reason to stop
    let mut stdout = io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
