//! A Nova in memory, with the Keystone that its callers log in at: it knows which server has which volume by which attachment,
//! writes down every call, and can be told to fail.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hearth::compute::{Access, Grant, NovaClient, NovaOptions};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::received::Received;

/// What the service logs in with.
pub const PASSWORD: &str = "tell-nobody-the-password";
/// How its tokens begin.
pub const TOKEN: &str = "tell-nobody-the-token";
/// A call may take so long.
pub const TIMEOUT: Duration = Duration::from_millis(400);

/// What it does with the next call that is not a login.
#[derive(Clone, Debug)]
pub enum Step {
    /// Answers with this status and body.
    Reply(u16, String),
    /// Closes without an answer.
    Close,
    /// Keeps the connection, and says nothing.
    Hang,
}

impl Step {
    pub fn json(status: u16, body: &Value) -> Self {
        Self::Reply(status, body.to_string())
    }
}

/// One call as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub line: String,
    pub token: Option<String>,
    /// `OpenStack-API-Version`.
    pub version: Option<String>,
    /// `X-OpenStack-Nova-API-Version`.
    pub old_version: Option<String>,
    pub request_id: Option<String>,
    pub body: Value,
}

#[derive(Default)]
struct World {
    /// (server, volume) → attachment.
    attachments: BTreeMap<(String, String), String>,
    script: VecDeque<Step>,
    /// The tokens that are taken: of those that were given, these.
    valid: Vec<String>,
    given: usize,
    logins: Vec<Value>,
    seen: Vec<Seen>,
}

impl World {
    fn give_token(&mut self) -> String {
        self.given += 1;
        let token = format!("{TOKEN}-{}", self.given);
        self.valid.push(token.clone());
        token
    }
}

pub struct StandIn {
    pub address: SocketAddr,
    world: Arc<Mutex<World>>,
    /// True: answers wait.
    held: watch::Sender<bool>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl StandIn {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, world) = (listener.local_addr().unwrap(), Arc::<Mutex<World>>::default());
        let this = Self { address, world, held: watch::channel(false).0, serving: Mutex::default() };
        this.serve(listener);
        this
    }

    fn serve(&self, listener: TcpListener) {
        let (world, held, address) = (Arc::clone(&self.world), self.held.subscribe(), self.address);
        let serving = tokio::spawn(async move {
            // what it has begun ends with it
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, Arc::clone(&world), held.clone(), address));
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

    /// The server has the volume by this attachment.
    pub fn attach(&self, server: &str, volume: &str, attachment: &str) {
        self.world().attachments.insert((server.to_owned(), volume.to_owned()), attachment.to_owned());
    }

    /// What it does with the next calls.
    pub fn script(&self, steps: impl IntoIterator<Item = Step>) {
        self.world().script.extend(steps);
    }

    /// Calls are read, and answered after [`Self::release`] by what holds then.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// One more token that is valid.
    pub fn token(&self) -> String {
        self.world().give_token()
    }

    /// No token that was given before is valid any longer.
    pub fn forget_tokens(&self) {
        self.world().valid.clear();
    }

    /// The calls, without logins.
    pub fn seen(&self) -> Vec<Seen> {
        self.world().seen.clone()
    }

    /// What the service has said to log in.
    pub fn logins(&self) -> Vec<Value> {
        self.world().logins.clone()
    }

    /// Waits until so many calls have come.
    pub async fn wait_for_calls(&self, count: usize) -> Vec<Seen> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while self.seen().len() < count {
            assert!(tokio::time::Instant::now() < deadline, "no {count} calls: {:?}", self.seen());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.seen()
    }

    /// Where Nova is.
    pub fn nova(&self) -> String {
        format!("http://{}/v2.1", self.address)
    }

    /// Where its Keystone is.
    pub fn keystone(&self) -> String {
        format!("http://{}/identity", self.address)
    }

    /// What asks it, with a token of its own.
    pub fn client(&self) -> Arc<NovaClient> {
        let access = Tokens { world: Arc::clone(&self.world), last: Mutex::default(), endpoint: self.nova() };
        let options = NovaOptions { address: self.nova(), ca_file: None, timeout: TIMEOUT, max_connections: 4 };
        NovaClient::new(options, Arc::new(access)).unwrap()
    }
}

/// Gives one token until it is rejected.
struct Tokens {
    world: Arc<Mutex<World>>,
    last: Mutex<Option<String>>,
    endpoint: String,
}

impl Access for Tokens {
    fn grant(self: Arc<Self>, rejected: Option<String>) -> BoxFuture<'static, io::Result<Grant>> {
        let mut last = self.last.lock().unwrap();
        let kept = last.take().filter(|last| rejected.as_ref() != Some(last));
        let token = kept.unwrap_or_else(|| self.world.lock().unwrap().give_token());
        *last = Some(token.clone());
        std::future::ready(Ok(Grant { token, endpoint: self.endpoint.clone() })).boxed()
    }
}

async fn answer(mut stream: TcpStream, world: Arc<Mutex<World>>, mut held: watch::Receiver<bool>, own: SocketAddr) {
    let Some(seen) = read(&mut stream).await else { return };
    let (status, headers, body) = if seen.line == "POST /identity/v3/auth/tokens" {
        log_in(&world, &seen, own)
    } else {
        let step = {
            let mut world = world.lock().unwrap();
            world.seen.push(seen.clone());
            world.script.pop_front()
        };
        let _ = held.wait_for(|held| !held).await;
        match step {
            None => {
                let (status, body) = reply(&world.lock().unwrap(), &seen);
                (status, String::new(), body.to_string())
            }
            Some(Step::Reply(status, body)) => (status, String::new(), body),
            Some(Step::Close) => return,
            Some(Step::Hang) => std::future::pending().await,
        }
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn log_in(world: &Mutex<World>, seen: &Seen, own: SocketAddr) -> (u16, String, String) {
    let mut world = world.lock().unwrap();
    world.logins.push(seen.body.clone());
    let identity = &seen.body["auth"]["identity"];
    let secrets = [&identity["password"]["user"]["password"], &identity["application_credential"]["secret"]];
    if !secrets.contains(&&json!(PASSWORD)) {
        return (401, String::new(), json!({"error": {"code": 401}}).to_string());
    }
    let token = world.give_token();
    let endpoint = |interface: &str, path: &str| json!({"interface": interface, "region_id": "R", "url": format!("http://{own}/{path}")});
    let catalog =
        json!([{"type": "compute", "endpoints": [endpoint("public", "nowhere"), endpoint("internal", "v2.1")]}]);
    let body = json!({"token": {"expires_at": "2999-01-01T00:00:00.000000Z", "catalog": catalog}});
    (201, format!("X-Subject-Token: {token}\r\n"), body.to_string())
}

fn reply(world: &World, seen: &Seen) -> (u16, Value) {
    if seen.token.as_ref().is_none_or(|token| !world.valid.contains(token)) {
        return (401, json!({"error": {"code": 401, "title": "Unauthorized"}}));
    }
    let not_found = || (404, json!({"itemNotFound": {"code": 404, "message": "Instance could not be found."}}));
    let path = seen.line.split_once(' ').map_or("", |(_, path)| path);
    match (seen.line.starts_with("GET"), path.split('/').collect::<Vec<_>>().as_slice()) {
        (true, ["", "v2.1", "servers", server, "os-volume_attachments", volume]) => {
            match world.attachments.get(&((*server).to_owned(), (*volume).to_owned())) {
                Some(attachment) => {
                    let found = json!({"serverId": server, "volumeId": volume, "attachment_id": attachment});
                    (200, json!({"volumeAttachment": found}))
                }
                None => not_found(),
            }
        }
        (false, ["", "v2.1", "os-server-external-events"]) => {
            let events = seen.body["events"].as_array().cloned().unwrap_or_default();
            let taken = events.into_iter().map(|mut event| {
                event["code"] = json!(200);
                event["status"] = json!("completed");
                event
            });
            (200, json!({"events": taken.collect::<Vec<_>>()}))
        }
        // as a web server that is no Nova
        _ => (404, Value::Null),
    }
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let received = Received::whole(stream).await?;
    Some(Seen {
        line: received.line()?,
        token: received.header("x-auth-token"),
        version: received.header("openstack-api-version"),
        old_version: received.header("x-openstack-nova-api-version"),
        request_id: received.header("x-openstack-request-id"),
        body: serde_json::from_slice(&received.body).unwrap_or(Value::Null),
    })
}
