//! A server on a loopback port, its service, and a small client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use hearth::actors::{ActorOptions, Dependencies, PlacementOptions, Service};
use hearth::api::identity::CatalogOptions;
use hearth::api::server::Images;
use hearth::api::{ApiOptions, ApiState, serve};
use hearth::compute::ComputeService;
use hearth::domain::backend::CauseKind;
use hearth::domain::ids::{ProjectId, UserId};
use hearth::domain::quota::Limits;
use hearth::domain::server::HypervisorKind;
use hearth::drivers::pool::{DriverPool, PoolOptions};
use hearth::drivers::sim::{Fault, FaultPlan, FaultRule, SimBackend, SimOptions, SimTruth};
use hearth::drivers::{Backend, Hypervisor};
use hearth::identity::{MappedToken, Strategy};
use hearth::runtime::{Clock, Placement, Randomness};
use hearth::sim::MemoryImages;
use hearth::store::InlineStore;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

pub const BACKEND: &str = "sim@sim#pool";
pub const OTHER_BACKEND: &str = "sim@other#pool";
/// The token of an admin of project `p`.
pub const ADMIN: &str = "root:p";
/// A member, and a reader, of project `p`; a member of another project.
pub const MEMBER: &str = "member-of-p";
pub const READER: &str = "reader-of-p";
pub const STRANGER: &str = "member-of-q";
pub const NOBODY: &str = "nobody-of-p";
/// A service that speaks for itself, in the same project.
pub const SERVICE_OF_P: &str = "service-of-p";
/// What a service sends beside its caller's token.
pub const SERVICE: &str = "service-of-compute";
/// How long a condition is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Harness {
    pub address: SocketAddr,
    pub service: Service,
    pub images: Arc<MemoryImages>,
    pub truth: SimTruth,
    faults: Vec<FaultPlan>,
    client: reqwest::Client,
    handle: ServerHandle,
}

/// An answer.
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Got {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {} {:?}", self.status, self.text))
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The status and the message of a fault whose name fits the status.
    #[track_caller]
    pub fn fault(&self) -> (u16, String) {
        let body = self.json();
        let name = match self.status {
            400 => "badRequest",
            403 => "forbidden",
            404 => "itemNotFound",
            409 => "conflictingRequest",
            413 => "overLimit",
            415 => "badMediaType",
            422 => "unprocessableEntity",
            503 => "serviceUnavailable",
            _ => "computeFault",
        };
        assert_eq!(body[name]["code"], self.status, "{}", self.text);
        (self.status, body[name]["message"].as_str().unwrap().to_owned())
    }
}

/// One request being built.
pub struct Asking<'a> {
    harness: &'a Harness,
    request: reqwest::RequestBuilder,
}

impl Asking<'_> {
    pub fn token(self, token: &str) -> Self {
        self.header("X-Auth-Token", token)
    }
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }
    pub fn volume(self, version: &str) -> Self {
        self.header("OpenStack-API-Version", &format!("volume {version}"))
    }
    pub fn compute(self, version: &str) -> Self {
        self.header("OpenStack-API-Version", &format!("compute {version}"))
    }
    pub fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }
    pub fn raw(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.body(body);
        self
    }
    pub async fn send(self) -> Got {
        let _ = self.harness;
        let response = self.request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Got { status, headers, text: response.text().await.unwrap() }
    }
}

impl Harness {
    pub async fn start() -> Self {
        Self::start_with(ApiOptions::default(), Limits::NONE).await
    }

    /// On these backends, with what the settings say of them.
    pub async fn start_on(backends: &[(&str, PlacementOptions)]) -> Self {
        let placement = backends.iter().map(|(name, options)| ((*name).to_owned(), options.clone())).collect();
        let actors = ActorOptions { limits: Limits::NONE, placement, ..ActorOptions::default() };
        let names: Vec<&str> = backends.iter().map(|(name, _)| *name).collect();
        Self::start_full(ApiOptions::default(), actors, &names).await
    }

    pub async fn start_with(options: ApiOptions, limits: Limits) -> Self {
        Self::start_full(options, ActorOptions { limits, ..ActorOptions::default() }, &[BACKEND]).await
    }

    pub async fn start_without_images() -> Self {
        let actors = ActorOptions { limits: Limits::NONE, ..ActorOptions::default() };
        Self::start_bare(ApiOptions::default(), actors, &[BACKEND], MemoryImages::new(), None).await
    }

    pub async fn start_full(options: ApiOptions, actors: ActorOptions, backends: &[&str]) -> Self {
        let images = MemoryImages::new();
        let options = ApiOptions { images: Images(Some(images.clone())), ..options };
        Self::start_bare(options, actors, backends, images, None).await
    }

    /// For the servers of this Compute.
    pub async fn start_for(compute: Arc<dyn ComputeService>) -> Self {
        let images = MemoryImages::new();
        let catalog = CatalogOptions { compute: false, ..CatalogOptions::default() };
        let options = ApiOptions { images: Images(Some(images.clone())), catalog, ..ApiOptions::default() };
        let actors = ActorOptions { limits: Limits::NONE, ..ActorOptions::default() };
        Self::start_bare(options, actors, &[BACKEND, OTHER_BACKEND], images, Some(compute)).await
    }

    async fn start_bare(
        mut options: ApiOptions,
        actors: ActorOptions,
        backends: &[&str],
        images: Arc<MemoryImages>,
        compute: Option<Arc<dyn ComputeService>>,
    ) -> Self {
        for (token, user, project, roles) in [
            (MEMBER, "mia", "p", vec!["member"]),
            (READER, "rita", "p", vec!["reader"]),
            (STRANGER, "sam", "q", vec!["member"]),
            (NOBODY, "ned", "p", vec![]),
            (SERVICE, "nova", "service", vec!["service"]),
            (SERVICE_OF_P, "nova", "p", vec!["service"]),
        ] {
            let mapped = MappedToken {
                user_id: UserId::from(user),
                project_id: ProjectId::from(project),
                roles: roles.into_iter().map(str::to_owned).collect(),
            };
            if let Strategy::Noauth(noauth) = &mut options.auth {
                noauth.tokens.insert(token.to_owned(), mapped);
            }
        }
        let placement = Placement::arbiters(1);
        let sims =
            (1..).zip(backends).map(|(seed, _)| SimBackend::new(SimOptions::in_memory(seed))).collect::<Vec<_>>();
        sims.iter().for_each(|sim| sim.use_images(images.clone()));
        let truth = sims[0].truth();
        let faults = sims.iter().map(|sim| sim.faults()).collect();
        let hypervisor: Arc<dyn Hypervisor> = sims[0].hypervisor_with(sims[1..].iter().map(|sim| &**sim));
        let named = backends.iter().zip(sims);
        let pool = DriverPool::start(
            &placement,
            named.map(|(name, sim)| ((*name).to_owned(), sim as Arc<dyn Backend>, PoolOptions::default())).collect(),
            vec![(HypervisorKind::Sim, hypervisor, PoolOptions::default())],
        );
        let store = Arc::new(InlineStore::in_memory().unwrap());
        let randomness = Randomness::from_os();
        let world = Dependencies {
            store,
            drivers: pool.clone(),
            compute,
            clock: Clock::System,
            randomness: randomness.clone(),
            placement,
        };
        let service = Service::start(world, actors, pool);
        let state = ApiState::new(service.clone(), Clock::System, randomness, options);
        let (server, address) = serve("127.0.0.1:0", state).unwrap();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { address, service, images, truth, faults, client, handle }
    }

    /// The next call of `request` at each backend is not answered before [`Self::until_released`].
    pub fn hang(&self, request: &str) {
        for faults in &self.faults {
            faults.add(FaultRule::once(request, Fault::Hang { effect_first: false })).unwrap();
        }
    }

    /// The next call of `request` at each backend fails.
    pub fn fail(&self, request: &str) {
        for faults in &self.faults {
            faults.add(FaultRule::once(request, Fault::Refuse { kind: CauseKind::Other })).unwrap();
        }
    }

    /// Every call of `request` at each backend is refused, since what it is about is in use, until [`Self::heal`].
    pub fn busy(&self, request: &str) {
        for faults in &self.faults {
            let rule = FaultRule { times: None, ..FaultRule::once(request, Fault::Refuse { kind: CauseKind::Busy }) };
            faults.add(rule).unwrap();
        }
    }

    /// Ends all faults, and lets hanging calls go on.
    pub fn heal(&self) {
        for faults in &self.faults {
            faults.clear();
            faults.release(None);
        }
    }

    /// Waits for the hanging call and lets it go on.
    pub async fn until_released(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.faults.iter().map(|faults| faults.release(None)).sum::<usize>() == 0 {
            assert!(tokio::time::Instant::now() < deadline, "no call hangs");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn stop(self) {
        self.service.stop();
        self.handle.stop(false).await;
    }

    pub fn ask(&self, method: &str, path: &str) -> Asking<'_> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Asking { harness: self, request: self.client.request(method, format!("http://{}{path}", self.address)) }
    }

    pub fn get(&self, path: &str) -> Asking<'_> {
        self.ask("GET", path).token(ADMIN)
    }
    pub fn post(&self, path: &str, body: &Value) -> Asking<'_> {
        self.ask("POST", path).json(body)
    }
    pub fn put(&self, path: &str, body: &Value) -> Asking<'_> {
        self.ask("PUT", path).json(body)
    }

    /// Creates a volume as `token` and waits until it is available; its id.
    pub async fn volume(&self, token: &str, members: Value) -> String {
        let got = self.post("/v3/volumes", &json!({"volume": members})).token(token).send().await;
        assert_eq!(got.status, 202, "{}", got.text);
        let id = got.json()["volume"]["id"].as_str().unwrap().to_owned();
        self.until(&id, "available").await;
        id
    }

    /// Registers an active server of project `p` on the simulated hypervisor; its id.
    pub async fn server(&self, name: &str) -> String {
        let body = json!({"server": {"name": name, "project_id": "p", "host": "h1", "hypervisor": "sim"}});
        let got = self.post("/admin/servers", &body).token(ADMIN).send().await;
        assert_eq!(got.status, 201, "{}", got.text);
        got.json()["server"]["id"].as_str().unwrap().to_owned()
    }

    /// Waits until an operation is open.
    pub async fn until_busy(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.get("/admin/operations").send().await.json()["operations"] == json!([]) {
            assert!(tokio::time::Instant::now() < deadline, "nothing is under way");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until what is read at `path` has `expected` at `pointer`.
    pub async fn until_at(&self, path: &str, pointer: &str, expected: &Value) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = self.get(path).volume("3.71").send().await.json();
            if found.pointer(pointer) == Some(expected) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{path} is not {expected}: {found}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the volume's status is `status` (`gone`: 404).
    pub async fn until(&self, id: &str, status: &str) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let got = self.get(&format!("/v3/volumes/{id}")).volume("3.71").send().await;
            let body = if got.status == 404 { json!({"status": "gone"}) } else { got.json()["volume"].clone() };
            if body["status"] == status {
                return body;
            }
            assert!(tokio::time::Instant::now() < deadline, "{id} is {} and not {status}", body["status"]);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
