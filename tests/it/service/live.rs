//! The service as `serve` assembles it, in this process: the test holds its backends, whose faults and truth it can reach.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use hearth::actors::{ActorOptions, Dependencies, Service};
use hearth::api::{ApiOptions, ApiState, serve};
use hearth::domain::ids::{ProjectId, VolumeId};
use hearth::domain::operation::Requester;
use hearth::domain::quota::Limits;
use hearth::domain::server::HypervisorKind;
use hearth::domain::volume::Caller;
use hearth::drivers::pool::{DriverPool, PoolOptions};
use hearth::drivers::sim::{SimBackend, SimOptions};
use hearth::drivers::{Backend, Hypervisor};
use hearth::runtime::{Clock, Placement, Randomness};
use hearth::store::{Store, StoreOptions, ThreadedStore, open_threaded};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::counted::Counted;

/// An admin of project `p`.
pub const TOKEN: &str = "root:p";
/// More than anything in these tests takes, unless it never comes.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(2);
/// Threads of the actors and of HTTP: enough for real concurrency.
const THREADS: usize = 2;

/// What differs between services.
pub struct LiveOptions {
    /// None: a SQLite file of its own.
    pub database: Option<String>,
    /// Bounds of the actors.
    pub actors: ActorOptions,
    /// Bounds of each backend.
    pub pool: PoolOptions,
    /// The backends: `sim@<name>#pool`.
    pub backends: Vec<(&'static str, SimOptions)>,
}

impl Default for LiveOptions {
    /// One backend, no limits.
    fn default() -> Self {
        let limits = Limits::NONE;
        Self {
            database: None,
            actors: ActorOptions { limits, ..ActorOptions::default() },
            pool: PoolOptions::default(),
            backends: vec![("sim", SimOptions::in_memory(1))],
        }
    }
}

/// A running service.
pub struct Live {
    pub service: Service,
    pub store: Arc<ThreadedStore>,
    /// What the service works with: the store, counted.
    pub counted: Arc<Counted>,
    address: SocketAddr,
    client: reqwest::Client,
    handle: ServerHandle,
    backends: Vec<(String, Arc<SimBackend>)>,
    _state: TempDir,
}

/// An answer.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Got {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The message of a fault.
    pub fn message(&self) -> &str {
        let fault = self.body.as_object().and_then(|members| members.values().next());
        fault.and_then(|fault| fault["message"].as_str()).unwrap_or_default()
    }
}

impl Live {
    pub async fn start(options: LiveOptions) -> Self {
        let state = tempfile::tempdir().expect("temporary directory");
        let url = options.database.unwrap_or_else(|| format!("sqlite://{}", state.path().join("hearth.db").display()));
        let store = Arc::new(open_threaded(&url, StoreOptions::default()).expect("the database opens"));
        let counted = Counted::new(Arc::clone(&store));
        let placement = Placement::arbiters(THREADS);
        let backends: Vec<(String, Arc<SimBackend>)> = options
            .backends
            .into_iter()
            .map(|(name, options)| (format!("sim@{name}#pool"), SimBackend::new(options)))
            .collect();
        let hypervisor: Arc<dyn Hypervisor> = backends[0].1.hypervisor();
        let pool = DriverPool::start(
            &placement,
            backends
                .iter()
                .map(|(name, backend)| (name.clone(), Arc::clone(backend) as Arc<dyn Backend>, options.pool))
                .collect(),
            vec![(HypervisorKind::Sim, hypervisor, options.pool)],
        );
        let randomness = Randomness::from_os();
        let world = Dependencies {
            store: counted.clone(),
            drivers: pool.clone(),
            compute: None,
            clock: Clock::System,
            randomness: randomness.clone(),
            placement,
        };
        let service = Service::start(world, options.actors, pool);
        service.recover().await.expect("the records can be read");
        let api = ApiOptions { workers: THREADS, faults_enabled: true, ..ApiOptions::default() };
        let state_of_api = ApiState::new(service.clone(), Clock::System, randomness, api);
        let (server, address) = serve("127.0.0.1:0", state_of_api).expect("a loopback port");
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { service, store, counted, address, client, handle, backends, _state: state }
    }

    /// The simulated backend with this short name.
    pub fn backend(&self, name: &str) -> &Arc<SimBackend> {
        let full = format!("sim@{name}#pool");
        &self.backends.iter().find(|(own, _)| *own == full).expect("the backend is configured").1
    }

    /// The only backend.
    pub fn sim(&self) -> &Arc<SimBackend> {
        &self.backends[0].1
    }

    pub async fn stop(self) {
        self.service.stop();
        self.handle.stop(false).await;
    }

    /// One request as an admin of project `p`, at the newest versions.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Got {
        self.ask_as(TOKEN, method, path, body).await
    }

    /// One request with this token.
    pub async fn ask_as(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Got {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self
            .client
            .request(method, format!("http://{}{path}", self.address))
            .header("X-Auth-Token", token)
            .header("OpenStack-API-Version", "volume 3.71, compute 2.89");
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.expect("a body");
        Got { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }

    pub async fn get(&self, path: &str) -> Got {
        self.ask("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Got {
        self.ask("POST", path, Some(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Got {
        self.ask("DELETE", path, None).await
    }

    /// Asks for a volume of 1 GiB; its id.
    pub async fn create(&self, name: &str) -> VolumeId {
        let got = self.post("/v3/volumes", json!({"volume": {"size": 1, "name": name}})).await;
        assert_eq!(got.status, 202, "{got:?}");
        id_of(&got.body["volume"])
    }

    /// A volume of 1 GiB that is available.
    pub async fn volume(&self, name: &str) -> VolumeId {
        let id = self.create(name).await;
        self.until(id, "available").await;
        id
    }

    /// `POST /volumes/{id}/action`
    pub async fn action(&self, id: VolumeId, body: Value) -> Got {
        self.post(&format!("/v3/volumes/{id}/action"), body).await
    }

    pub async fn extend(&self, id: VolumeId, new_size_gib: u32) -> Got {
        self.action(id, json!({"os-extend": {"new_size": new_size_gib}})).await
    }

    /// Gives the volume this name.
    pub async fn rename(&self, id: VolumeId, name: &str) -> Got {
        self.ask("PUT", &format!("/v3/volumes/{id}"), Some(&json!({"volume": {"name": name}}))).await
    }

    /// Registers an active server of project `p` on the simulated hypervisor.
    pub async fn server(&self, name: &str) -> String {
        let body = json!({"server": {
            "id": name, "name": name, "project_id": "p", "host": format!("host-of-{name}"), "hypervisor": "sim",
        }});
        let got = self.post("/admin/servers", body).await;
        assert_eq!(got.status, 201, "{got:?}");
        name.to_owned()
    }

    /// Compute's attach.
    pub async fn server_attach(&self, server: &str, id: VolumeId) -> Got {
        let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
        self.post(&path, json!({"volumeAttachment": {"volumeId": id}})).await
    }

    /// Compute's detach.
    pub async fn server_detach(&self, server: &str, id: VolumeId) -> Got {
        self.delete(&format!("/compute/v2.1/servers/{server}/os-volume_attachments/{id}")).await
    }

    /// `GET /admin/actors/{id}`
    pub async fn actor(&self, id: VolumeId) -> Value {
        let got = self.get(&format!("/admin/actors/{id}")).await;
        assert_eq!(got.status, 200, "{got:?}");
        got.body["actor"].clone()
    }

    /// The next command of the volume makes its actor panic.
    pub async fn make_panic(&self, id: VolumeId) {
        let got = self.post("/admin/faults", json!({"volume_id": id, "panic": true})).await;
        assert_eq!(got.status, 202, "{got:?}");
    }

    /// The volume as shown; `{"status": "gone"}` when there is none.
    pub async fn show(&self, id: VolumeId) -> Value {
        let got = self.get(&format!("/v3/volumes/{id}")).await;
        if got.status == 404 {
            return json!({"status": "gone"});
        }
        assert_eq!(got.status, 200, "{got:?}");
        got.body["volume"].clone()
    }

    /// Waits for a status (`gone`: 404).
    pub async fn until(&self, id: VolumeId, status: &str) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self.show(id).await;
            if shown["status"] == status {
                return shown;
            }
            assert!(begun.elapsed() < PATIENCE, "{id} is {} and not {status}", shown["status"]);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until no volume has an operation, an outstanding call or an orphan export.
    pub async fn settle(&self) {
        wait_until("everything settles", async || {
            let open = self.store.open_operations(None, 1).await.expect("the store reads");
            open.is_empty() && self.store.unsettled_volumes().await.expect("the store reads").is_empty()
        })
        .await;
    }

    /// Quota usage as stored must be what can be counted.
    pub async fn assert_usage_is_exact(&self) {
        for audit in self.store.usage_audit().await.expect("the store reads") {
            assert_eq!(audit.stored, audit.counted, "{audit:?}");
        }
    }
}

/// Looks at `condition` until it holds.
pub async fn wait_until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// The id in a body.
#[track_caller]
pub fn id_of(body: &Value) -> VolumeId {
    let text = body["id"].as_str().unwrap_or_else(|| panic!("no id: {body}"));
    VolumeId(uuid::Uuid::parse_str(text).expect("a uuid"))
}

/// An admin of project `p`, for requests beside HTTP.
pub fn caller() -> Caller {
    Caller {
        requester: Requester {
            request_id: "req-11111111-1111-1111-1111-111111111111".into(),
            user_id: "root".into(),
            project_id: ProjectId::from("p"),
        },
        is_admin: true,
        is_service: false,
    }
}
