//! A Keystone in memory: it knows tokens, logs the service user in, and can be told to fail.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hearth::domain::ids::RequestId;
use hearth::domain::time::Timestamp;
use hearth::identity::keystone::{Password, ServiceUser};
use hearth::identity::{Keystone, KeystoneOptions, Presented, Refusal, RequestContext};
use hearth::runtime::Clock;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::received::Received;

/// What the service user logs in with.
pub const PASSWORD: &str = "correct horse";
/// A request waits so long for it.
pub const TIMEOUT: Duration = Duration::from_millis(400);
/// The instant at which the clock of these tests begins: 2026-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp(1_767_225_600_000_000);
/// The service user's tokens live so long.
pub const OWN_LIFE: Duration = Duration::from_secs(3600);

/// What it does with requests.
#[derive(Clone, Debug, Default)]
pub enum Mood {
    /// Its work.
    #[default]
    Well,
    /// Answers with this status and body.
    Answers(u16, String),
    /// Answers so, with these headers, whatever it is asked.
    Leads(u16, String),
    /// Closes the connection without an answer.
    Closes,
    /// Keeps the connection, and says nothing.
    Silent,
}

/// One request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub line: String,
    pub token: Option<String>,
    pub subject: Option<String>,
    keeps_rules: bool,
    pub body: Value,
}

#[derive(Default)]
struct World {
    /// Bodies of tokens; one that is not here is not valid.
    tokens: BTreeMap<String, Value>,
    /// The service user's tokens that are valid.
    own: Vec<String>,
    logins: usize,
    /// Of the service user, in its login's answer.
    catalog: Vec<Value>,
    password: String,
    logs_in: Mood,
    validates: Mood,
    seen: Vec<Seen>,
}

pub struct StandIn {
    pub address: SocketAddr,
    pub clock: Clock,
    world: Arc<Mutex<World>>,
    /// True: validations are not answered.
    held: watch::Sender<bool>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl StandIn {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, world) = (listener.local_addr().unwrap(), Arc::<Mutex<World>>::default());
        world.lock().unwrap().password = PASSWORD.to_owned();
        let (held, _) = watch::channel(false);
        let clock = Clock::virtual_from(START);
        let this = Self { address, clock, world, held, serving: Mutex::default() };
        this.serve(listener);
        this
    }

    fn serve(&self, listener: TcpListener) {
        let (world, held, clock) = (Arc::clone(&self.world), self.held.subscribe(), self.clock.clone());
        let serving = tokio::spawn(async move {
            // what it has begun ends with it
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, Arc::clone(&world), held.clone(), clock.clone()));
            }
        });
        *self.serving.lock().unwrap() = Some(serving);
    }

    /// Nobody listens any more.
    pub async fn stop(&self) {
        let serving = self.serving.lock().unwrap().take().expect("it serves");
        serving.abort();
        let _ = serving.await;
    }

    pub async fn start_again(&self) {
        self.serve(TcpListener::bind(self.address).await.unwrap());
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Makes a token valid; `more` are members of its description.
    pub fn token(&self, name: &str, more: &Value) {
        let mut token = json!({
            "methods": ["password"], "expires_at": instant(Duration::from_secs(3600)), "issued_at": instant(Duration::ZERO),
            "user": {"id": "u1", "name": "una", "domain": {"id": "d1", "name": "D"}},
            "project": {"id": "p", "name": "P", "domain": {"id": "d2", "name": "E"}},
            "roles": [{"id": "r1", "name": "member"}, {"id": "r2", "name": "reader"}],
            "catalog": [{"type": "block-storage", "name": "hearth", "endpoints": []}],
        });
        token.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.world().tokens.insert(name.to_owned(), json!({ "token": token }));
    }

    pub fn revoke(&self, name: &str) {
        assert!(self.world().tokens.remove(name).is_some());
    }

    /// The service user's tokens are valid no longer.
    pub fn forget_own_tokens(&self) {
        self.world().own.clear();
    }

    pub fn set_password(&self, password: &str) {
        self.world().password = password.to_owned();
    }

    pub fn set_catalog(&self, catalog: Vec<Value>) {
        self.world().catalog = catalog;
    }

    pub fn logs_in(&self, mood: Mood) {
        self.world().logs_in = mood;
    }

    pub fn validates(&self, mood: Mood) {
        self.world().validates = mood;
    }

    /// Validations wait until [`Self::release`].
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    pub fn release(&self) {
        self.held.send_replace(false);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.world().seen.clone()
    }

    /// How often it was asked about tokens.
    pub fn validations(&self) -> usize {
        self.world().seen.iter().filter(|seen| seen.line.starts_with("GET ")).count()
    }

    /// How often the service user tried to log in.
    pub fn logins(&self) -> usize {
        self.world().seen.iter().filter(|seen| seen.line.starts_with("POST ")).count()
    }

    /// Waits until it has been asked about tokens so often.
    pub async fn wait_for_validations(&self, count: usize) {
        while self.validations() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub fn options(&self) -> KeystoneOptions {
        KeystoneOptions {
            auth_url: format!("http://{}", self.address),
            www_authenticate_uri: "https://identity.example.org/".to_owned(),
            user: ServiceUser {
                username: "hearth".to_owned(),
                password: Password::Text(PASSWORD.to_owned()),
                project_name: "service".to_owned(),
                user_domain_name: "Default".to_owned(),
                project_domain_name: "Other".to_owned(),
            },
            interface: "internal".to_owned(),
            region_name: None,
            ca_file: None,
            timeout: TIMEOUT,
            token_cache_time: Duration::from_secs(300),
            max_cached_tokens: 100,
            max_connections: 32,
            max_waiting: 100,
            service_token_roles: vec!["service".to_owned()],
        }
    }

    /// What asks it.
    pub fn strategy(&self) -> Arc<Keystone> {
        self.strategy_with(|_| ())
    }

    pub fn strategy_with(&self, change: impl FnOnce(&mut KeystoneOptions)) -> Arc<Keystone> {
        let mut options = self.options();
        change(&mut options);
        Keystone::new(options, self.clock.clone()).unwrap()
    }
}

/// The instant so long after [`START`], as Keystone writes it.
pub fn instant(after: Duration) -> String {
    jiff::Timestamp::from_microsecond(START.plus(after).0).unwrap().to_string()
}

/// So much later.
pub async fn advance(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

/// Who presents these tokens.
pub async fn ask(keystone: &Arc<Keystone>, token: &str, service: Option<&str>) -> Result<RequestContext, Refusal> {
    let presented = Presented {
        token: Some(token),
        service_token: service,
        method: "GET",
        path: "/v3/volumes",
        service_types: &["block-storage", "volumev3"],
        ..Presented::default()
    };
    keystone.authenticate(presented, &RequestId::from("req-x")).await
}

/// The status that the answer would have.
pub fn status(found: &Result<RequestContext, Refusal>) -> u16 {
    match found {
        Ok(_) => 200,
        Err(Refusal::Unauthenticated { challenge }) => {
            assert_eq!(&**challenge, "Keystone uri=\"https://identity.example.org/\"");
            401
        }
        Err(Refusal::Unavailable(text)) => {
            assert_eq!(text, "The Keystone service is temporarily unavailable.");
            503
        }
    }
}

async fn answer(mut stream: TcpStream, world: Arc<Mutex<World>>, mut held: watch::Receiver<bool>, clock: Clock) {
    let Some(seen) = read(&mut stream).await else { return };
    let is_login = seen.line.starts_with("POST ");
    let mood = {
        let mut world = world.lock().unwrap();
        world.seen.push(seen.clone());
        if is_login { world.logs_in.clone() } else { world.validates.clone() }
    };
    if !is_login && held.wait_for(|is_held| !is_held).await.is_err() {
        return;
    }
    let (status, headers, body) = match mood {
        Mood::Well if is_login => log_in(&mut world.lock().unwrap(), &seen, &clock),
        Mood::Well => validate(&world.lock().unwrap(), &seen, &clock),
        Mood::Answers(status, body) => (status, String::new(), body),
        Mood::Leads(status, headers) => (status, headers, String::new()),
        Mood::Closes => return,
        Mood::Silent => return std::future::pending().await,
    };
    let head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn log_in(world: &mut World, seen: &Seen, clock: &Clock) -> (u16, String, String) {
    let user = &seen.body["auth"]["identity"]["password"]["user"];
    let expected = json!({"name": "hearth", "domain": {"name": "Default"}, "password": world.password});
    let scope = json!({"project": {"name": "service", "domain": {"name": "Other"}}});
    if *user != expected || seen.body["auth"]["scope"] != scope {
        return (401, String::new(), String::new());
    }
    world.logins += 1;
    let token = format!("own-{}", world.logins);
    world.own.push(token.clone());
    let end = jiff::Timestamp::from_microsecond(clock.now().plus(OWN_LIFE).0).unwrap().to_string();
    let body = json!({"token": {"expires_at": end, "catalog": world.catalog}});
    (201, format!("X-Subject-Token: {token}\r\n"), body.to_string())
}

fn validate(world: &World, seen: &Seen, clock: &Clock) -> (u16, String, String) {
    if !seen.token.as_ref().is_some_and(|token| world.own.contains(token)) {
        return (401, String::new(), String::new());
    }
    let found = seen.subject.as_ref().and_then(|subject| world.tokens.get(subject));
    let is_well = |token: &&Value| {
        let end: jiff::Timestamp = token["token"]["expires_at"].as_str().unwrap().parse().unwrap();
        let has_rules = token["token"]["application_credential"]["access_rules"].is_array();
        let lives = end.as_microsecond() > clock.now().0 || seen.line.ends_with("?allow_expired=1");
        // as Keystone does: rules are for services that keep them
        lives && (seen.keeps_rules || !has_rules)
    };
    match found.filter(is_well) {
        Some(token) => (200, String::new(), token.to_string()),
        None => (404, String::new(), json!({"error": {"code": 404}}).to_string()),
    }
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let received = Received::whole(stream).await?;
    Some(Seen {
        line: received.line()?,
        token: received.header("x-auth-token"),
        subject: received.header("x-subject-token"),
        keeps_rules: received.header("openstack-identity-access-rules").as_deref() == Some("1"),
        body: serde_json::from_slice(&received.body).unwrap_or_default(),
    })
}
