//! The HTTP server: one handler for every path, see [`super::dispatch`].

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::middleware::Condition;
use actix_web::web::Data;
use actix_web::{App, HttpServer, dev::Server, web};

use super::admin::events::READERS_MAX;
use super::dispatch::dispatch;
use super::idempotency::Running;
use super::identity::CatalogOptions;
use super::schema;
use super::tls::Certificate;
use super::type_cache::TypeCache;
use crate::actors::Service;
use crate::domain::server::HypervisorKind;
use crate::identity::Strategy;
use crate::images::{DirectoryStore, ImageService};
use crate::policy::LivePolicy;
use crate::runtime::{Clock, Randomness};
use crate::telemetry::{LogLevels, Metrics, Sample};
use tokio::sync::Semaphore;

/// How long an idle connection is kept.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client may take to send its headers.
pub const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the server waits for requests in flight when it stops (the process has 5 s in all).
pub const SHUTDOWN_TIMEOUT_SECONDS: u64 = 3;

/// How long a browser may keep what it has been told of other origins.
const PREFLIGHT_SECONDS: usize = 3600;
/// Headers of answers that pages of other origins may read.
const EXPOSED: [&str; 10] = [
    "etag",
    "location",
    "openstack-api-version",
    "preference-applied",
    "retry-after",
    "vary",
    "x-compute-request-id",
    "x-openstack-nova-api-version",
    "x-openstack-request-id",
    "x-subject-token",
];

/// What the HTTP layer needs of the settings.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Worker threads.
    pub workers: usize,
    /// Base of all links; none: what the client's Host header says.
    pub public_endpoint: Option<String>,
    /// The zone of volumes that ask for none.
    pub availability_zone: String,
    /// The type of a volume without one.
    pub default_volume_type: String,
    /// Clients may make servers, which are simulated.
    pub simulated_servers: bool,
    /// Who plugs their guests: nobody where storage is real.
    pub simulated_by: HypervisorKind,
    /// `/admin/faults` exists.
    pub faults_enabled: bool,
    /// The image service.
    pub images: Images,
    /// A volume in use may be made an image of, if its client insists (`force`).
    pub force_upload: bool,
    /// The images that are served under `/image`; none: nothing is there.
    pub image_store: Option<Arc<DirectoryStore>>,
    /// Who asks.
    pub auth: Strategy,
    /// What the catalog of Hearth's own identity service says.
    pub catalog: CatalogOptions,
    /// The listener's certificate; none: it speaks plain HTTP.
    pub tls: Option<Arc<Certificate>>,
    /// Origins whose pages may use the API in a browser.
    pub cors: Vec<String>,
    /// Connections at the same time, over all workers.
    pub max_connections: usize,
    /// Who may do what.
    pub policy: Arc<LivePolicy>,
    /// Where requests are counted, and what `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// Which lines are written to the log.
    pub log_levels: Arc<LogLevels>,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            workers: 1,
            public_endpoint: None,
            availability_zone: "nova".to_owned(),
            default_volume_type: "__DEFAULT__".to_owned(),
            simulated_servers: false,
            simulated_by: HypervisorKind::Sim,
            faults_enabled: false,
            images: Images::default(),
            force_upload: false,
            image_store: None,
            auth: Strategy::default(),
            catalog: CatalogOptions::default(),
            tls: None,
            cors: Vec::new(),
            max_connections: 10_000,
            policy: Arc::default(),
            metrics: Arc::default(),
            log_levels: Arc::default(),
        }
    }
}

/// The image service, if there is one.
#[derive(Clone, Default)]
pub struct Images(pub Option<Arc<dyn ImageService>>);

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "an image service" } else { "none" })
    }
}

/// Shared by all requests.
pub struct ApiState {
    /// The service.
    pub service: Service,
    /// Time, for new servers.
    pub clock: Clock,
    /// Ids.
    pub randomness: Randomness,
    /// Settings.
    pub options: ApiOptions,
    /// Volume types.
    pub types: TypeCache,
    /// Requests with idempotency keys.
    pub running: Running,
    /// Places for readers of `/admin/events`.
    pub event_readers: Arc<Semaphore>,
}

impl ApiState {
    /// Shared state for a server, or for a test that calls the handler itself.
    pub fn new(service: Service, clock: Clock, randomness: Randomness, options: ApiOptions) -> Data<Self> {
        schema::compile_all();
        let event_readers = Arc::new(Semaphore::new(READERS_MAX));
        let (shown, readers) = (service.clone(), Arc::clone(&event_readers));
        options.metrics.register(move || {
            let mut samples = shown.samples();
            let following = READERS_MAX.saturating_sub(readers.available_permits());
            samples.extend(Sample::bound("api.event_readers", "", following as u64, READERS_MAX as u64));
            samples
        });
        Data::new(Self {
            service,
            clock,
            randomness,
            options,
            types: TypeCache::default(),
            running: Running::default(),
            event_readers,
        })
    }
}

/// Binds `listen` and starts to serve on the running actix system. The address is the real one (port 0 is allowed).
/// The caller awaits the server, and stops it through its handle.
pub fn serve(listen: impl ToSocketAddrs, state: Data<ApiState>) -> io::Result<(Server, SocketAddr)> {
    serve_on(TcpListener::bind(listen)?, state)
}

/// Serves on a socket that listens already.
pub fn serve_on(listener: TcpListener, state: Data<ApiState>) -> io::Result<(Server, SocketAddr)> {
    let address = listener.local_addr()?;
    let workers = state.options.workers.max(1);
    let (tls, max_connections) = (state.options.tls.clone(), state.options.max_connections.div_ceil(workers));
    let server = HttpServer::new(move || {
        let origins = &state.options.cors;
        App::new()
            .app_data(state.clone())
            .wrap(Condition::new(!origins.is_empty(), cors(origins)))
            .default_service(web::to(dispatch))
    });
    let server = server
        .workers(workers)
        .max_connections(max_connections)
        .tcp_nodelay(true)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(REQUEST_HEAD_TIMEOUT)
        .shutdown_timeout(SHUTDOWN_TIMEOUT_SECONDS)
        .disable_signals();
    let server = match tls {
        Some(certificate) => {
            server.listen_rustls_0_23(listener, certificate.server_config().map_err(io::Error::other)?)?
        }
        None => server.listen(listener)?,
    };
    Ok((server.run(), address))
}

/// What pages of these origins may do: all that they could do with a token of theirs. Cookies are not used.
fn cors(origins: &[String]) -> Cors {
    origins
        .iter()
        .fold(Cors::default(), |cors, origin| cors.allowed_origin(origin))
        .allow_any_method()
        .allow_any_header()
        .expose_headers(EXPOSED)
        .max_age(PREFLIGHT_SECONDS)
}
