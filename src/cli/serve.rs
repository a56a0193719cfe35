//! `hearth serve`: builds the parts from bottom to top, serves, and ends in order.
//!
//! settings → telemetry → state directory → store → drivers → pool → service → recovery → HTTP → signals

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::auth::{self, AuthError};
use super::images::{self, ImagePartError, ImageParts};
use super::parts::{self, PartError};
use super::reload;
use super::state_dir::{StateDir, StateDirError};
use super::{clouds, compute};
use crate::actors::{ActorOptions, Dependencies, ServerAttachOptions, Service};
use crate::api::identity::CatalogOptions;
use crate::api::server::Images;
use crate::api::tls::{Certificate, TlsError};
use crate::api::{ApiOptions, ApiState};
use crate::compute::ComputeService;
use crate::domain::time::Timestamp;
use crate::drivers::pool::DriverPool;
use crate::identity::Strategy;
use crate::outbound::BuildError;
use crate::policy::LivePolicy;
use crate::runtime::{Clock, Placement, Randomness};
use crate::settings::{ComputeMode, ImageServiceSettings, Loaded, Settings};
use crate::store::{Store, StoreOptions, Synchronous, Transaction};
use crate::telemetry::{Metrics, logging};

/// From SIGTERM to the end of the process. What has not settled then is left to the next start.
pub const SHUTDOWN: Duration = Duration::from_secs(5);

/// Requests under way get so long to be answered; the rest of [`SHUTDOWN`] is for the last commits.
const DRAIN: Duration = Duration::from_secs(3);

/// The last commits get so long.
const COMMIT_DRAIN: Duration = Duration::from_secs(1);

/// Exit code when nobody knows what a commit left on disk.
const EXIT_UNKNOWN: i32 = 70;
/// The pause before recovery is tried again.
const RECOVERY_PAUSE: Duration = Duration::from_secs(1);
/// Rows purged at once, the pause between two such batches, and between two purges.
const PURGE_BATCH: u64 = 500;
const PURGE_BREATH: Duration = Duration::from_millis(50);
const PURGE_INTERVAL: Duration = Duration::from_secs(600);
/// The files of the certificate are looked at this often.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(10);

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
    /// The database.
    #[error(transparent)]
    Store(#[from] crate::store::OpenError),
    /// A backend.
    #[error(transparent)]
    Part(#[from] PartError),
    /// The image service.
    #[error(transparent)]
    Images(#[from] ImagePartError),
    /// Who finds out who asks.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The client of Nova.
    #[error("Nova cannot be asked")]
    Nova(#[source] BuildError),
    /// The listener's certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP server or the signal handlers.
    #[error("the server ended")]
    Server(#[source] io::Error),
}

/// Runs until SIGTERM or SIGINT; `Ok` is an ordered end.
pub fn run(loaded: &Loaded, policy: LivePolicy) -> Result<(), ServeError> {
    let settings = &loaded.settings;
    let _log = logging::init().map_err(ServeError::Server)?;
    if let Some(at) = settings.faults.crash_at {
        crate::faults::arm(at);
    }
    let state = StateDir::open(&settings.state.path, &settings.state.socket_dir())?;
    // before anything is recovered: a second service on the same port must fail without having touched a volume
    let listener = listen(settings.server.listen)?;
    actix_web::rt::System::new().block_on(serve(settings, &state, listener, Arc::new(policy)))
}

async fn serve(
    settings: &Settings,
    state: &StateDir,
    listener: TcpListener,
    policy: Arc<LivePolicy>,
) -> Result<(), ServeError> {
    // first of all: a signal which comes while the parts are built must not cut the process off in the middle
    let signals = EndSignals::catch().map_err(ServeError::Server)?;
    let hangups = signal(SignalKind::hangup()).map_err(ServeError::Server)?;
    let metrics: Arc<Metrics> = Arc::default();
    metrics.register(logging::samples);
    let store = open_store(settings, &metrics)?;
    let parts = parts::open(settings)?;
    let listening = listener.local_addr().map_err(ServeError::Server)?;
    let auth = auth::strategy(settings, listening, &metrics)?;
    let images = images::open(settings, &auth.strategy)?;
    parts.use_images(&images);
    for (_, backend) in &parts.files {
        backend.start().await.map_err(PartError::from)?;
    }
    let placement = Placement::arbiters(threads(settings.actors.arbiters));
    let pool = DriverPool::start(&placement, parts.backends, parts.hypervisors);
    let compute = open_compute(settings, &auth.strategy, &metrics)?;
    let service = start_service(settings, Arc::clone(&store), Arc::clone(&pool), compute, placement);
    load_services(&service).await;
    // in the background: the API serves at once, and a volume that is asked for resumes by itself
    actix_web::rt::spawn(recover(service.clone()));
    actix_web::rt::spawn(reload::follow(Arc::clone(&policy), hangups));
    actix_web::rt::spawn(purge(Arc::clone(&store), settings.history.retention));

    let tls = settings.tls.as_ref().map(|tls| Certificate::open(&tls.certificate, &tls.key)).transpose()?;
    if let Some(certificate) = &tls {
        actix_web::rt::spawn(renew(Arc::clone(certificate)));
    }
    let options = ApiOptions { auth: auth.strategy, tls, policy, ..api_options(settings, metrics, &images) };
    let api = ApiState::new(service.clone(), Clock::System, Randomness::from_os(), options);
    let (server, address) = crate::api::server::serve_on(listener, api).map_err(ServeError::Server)?;
    let handle = server.handle();
    let running = actix_web::rt::spawn(server);

    let clouds = state.write(clouds::FILE_NAME, &clouds::clouds_yaml(address, settings, &auth.accounts))?;
    print_welcome(&endpoint(settings, address), &clouds);

    signals.wait().await;
    // what is open is left to the next start's recovery
    service.stop();
    end(handle).await;
    // every commit that was submitted is on disk now
    let _ = tokio::time::timeout(COMMIT_DRAIN, store.commit(Transaction::default())).await;
    match tokio::time::timeout(SHUTDOWN - DRAIN, running).await {
        Ok(Ok(result)) => result.map_err(ServeError::Server),
        // a connection that does not end is no reason to stay
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

/// The store; when nobody can know what a commit left on disk the process ends at once, and the restart reads the truth.
fn open_store(settings: &Settings, metrics: &Metrics) -> Result<Arc<dyn Store>, ServeError> {
    let options = StoreOptions {
        on_unknown: Some(Arc::new(|reason| {
            tracing::error!(%reason, "the outcome of a commit is unknown: the process ends");
            logging::flush();
            end_at_once(EXIT_UNKNOWN);
        })),
        synchronous: if settings.faults.no_sync { Synchronous::Off } else { Synchronous::Full },
        metrics: metrics.commits.clone(),
        ..StoreOptions::default()
    };
    let store = Arc::new(crate::store::open_threaded(&settings.database.url(), options)?);
    let shown = Arc::clone(&store);
    metrics.register(move || shown.samples());
    Ok(store)
}

/// Ends the process before anybody can answer a client.
#[expect(
    clippy::disallowed_methods,
    reason = "after an unknown commit no reply may go out, and nothing may be cleaned up"
)]
fn end_at_once(code: i32) -> ! {
    std::process::exit(code)
}

/// The Nova that has the servers, if there is one.
fn open_compute(
    settings: &Settings,
    auth: &Strategy,
    metrics: &Metrics,
) -> Result<Option<Arc<dyn ComputeService>>, ServeError> {
    let ComputeMode::External(nova) = &settings.compute.mode else { return Ok(None) };
    let client = compute::open(nova, auth).map_err(ServeError::Nova)?;
    let shown = Arc::clone(&client);
    metrics.register(move || shown.samples());
    Ok(Some(client))
}

fn start_service(
    settings: &Settings,
    store: Arc<dyn Store>,
    pool: Arc<DriverPool>,
    compute: Option<Arc<dyn ComputeService>>,
    placement: Placement,
) -> Service {
    let world = Dependencies {
        store,
        drivers: pool.clone(),
        compute,
        clock: Clock::System,
        randomness: Randomness::from_os(),
        placement,
    };
    let options = ActorOptions {
        idle_ttl: settings.actors.idle_ttl,
        max_active: settings.actors.max_active,
        admission: settings.actors.admission,
        queue_deadline: settings.connections.queue_deadline,
        limits: settings.quota.limits(),
        placement: parts::placement(settings),
        swap_requires_migration: settings.compute.swap_requires_migration,
        server_attach: ServerAttachOptions {
            ignore_requested_device: settings.compute.ignore_requested_device,
            max_disk_devices: settings.compute.max_disk_devices_to_attach,
            cross_az_attach: settings.compute.cross_az_attach,
        },
        // somebody else's guests are not Hearth's to look after
        follow_guests: settings.hypervisor.follow_guests && settings.compute.mode == ComputeMode::Embedded,
        ..ActorOptions::default()
    };
    Service::start(world, options, pool)
}

fn api_options(settings: &Settings, metrics: Arc<Metrics>, images: &ImageParts) -> ApiOptions {
    let image_endpoint = match &settings.image.service {
        ImageServiceSettings::Glance(glance) => Some(glance.endpoint.clone()),
        ImageServiceSettings::Embedded(_) | ImageServiceSettings::None => None,
    };
    ApiOptions {
        public_endpoint: settings.server.public_endpoint.clone(),
        cors: settings.cors.clone(),
        max_connections: settings.server.max_connections,
        catalog: CatalogOptions {
            region: settings.auth.local.region.clone(),
            compute: settings.compute.mode == ComputeMode::Embedded,
            image_endpoint,
        },
        workers: threads(settings.server.workers),
        availability_zone: settings.availability_zone.clone(),
        simulated_servers: settings.compute.simulated_servers,
        faults_enabled: settings.faults.enabled,
        image_store: images.store.clone(),
        images: Images(images.service.clone()),
        force_upload: settings.image.force_upload,
        metrics,
        log_levels: logging::levels(),
        ..ApiOptions::default()
    }
}

/// Reads what administrators have said of backends: a closed one must not get a volume in the first moments.
async fn load_services(service: &Service) {
    while let Err(error) = service.services_load().await {
        tracing::error!(%error, "what administrators say of services cannot be read, and will be tried again");
        tokio::time::sleep(RECOVERY_PAUSE).await;
    }
}

/// Recovers until the records could be read once to the end.
async fn recover(service: Service) {
    loop {
        match service.recover().await {
            Ok(0) => return,
            Ok(operations) => return tracing::info!(operations, "open operations resumed"),
            Err(error) => tracing::error!(%error, "recovery failed, and will be tried again"),
        }
        tokio::time::sleep(RECOVERY_PAUSE).await;
    }
}

/// Takes a new certificate over: on SIGHUP at once, else when its files are seen to have changed.
async fn renew(certificate: Arc<Certificate>) {
    let Ok(mut asked) = signal(SignalKind::hangup()) else { return };
    loop {
        // without the signal it is the time
        let _ = tokio::time::timeout(CERTIFICATE_INTERVAL, asked.recv()).await;
        match certificate.reload() {
            Ok(true) => tracing::info!("the certificate has changed"),
            Ok(false) => {}
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the new certificate cannot be used: the old one goes on"
            ),
        }
    }
}

/// Forgets history and soft-deleted rows past the retention, in small batches.
async fn purge(store: Arc<dyn Store>, retention: Duration) {
    loop {
        let age = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp(Clock::System.now().0.saturating_sub(age));
        loop {
            match store.history_purge(before, PURGE_BATCH).await {
                Ok(0) => break,
                Ok(_) => tokio::time::sleep(PURGE_BREATH).await,
                Err(error) => {
                    tracing::warn!(%error, "old history is not purged");
                    break;
                }
            }
        }
        tokio::time::sleep(PURGE_INTERVAL).await;
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).map_err(|source| ServeError::Listen { address, source })
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

/// Where clients reach the service.
pub(super) fn endpoint(settings: &Settings, address: SocketAddr) -> String {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    settings.server.public_endpoint.clone().unwrap_or_else(|| format!("{scheme}://{address}"))
}

fn print_welcome(endpoint: &str, clouds: &std::path::Path) {
    let clouds = clouds.display();
    let text = format!(
        "hearth: listening on {endpoint}

  Try it from another terminal:
    export OS_CLIENT_CONFIG_FILE={clouds} OS_CLOUD=hearth
    openstack volume create --size 1 first
    openstack volume list
    curl {endpoint}/healthcheck

  Ctrl-C stops it; volumes and attachments are kept.
"
    );
    // nobody may be reading, which is no reason to stop
    let mut stdout = io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
