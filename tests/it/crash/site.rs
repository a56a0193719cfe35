//! A service with its storage in a process of its own, and the requests to it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hearth::drivers::sim::remote::SimRemote;
use hearth::drivers::sim::wire::{Control, Say};
use hearth::drivers::sim::{Latency, LatencyTable};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Child;

use super::ledger::{Known, Row};
use super::service::{Service, Start};
use crate::e2e::hearth::{Environment, PATIENCE, command, run, wait_until};

/// Deadline of each backend call, and of each probe, as these tests configure them.
const DEADLINE: Duration = Duration::from_secs(5);
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

/// Promise I2: everything is stable within 5 s of the restart, plus the deadlines of a call and its probe.
pub const SETTLED: Duration = Duration::from_secs(5 + DEADLINE.as_secs() + PROBE_DEADLINE.as_secs());

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Answer(u16, Value),
    /// It may have been carried out.
    Lost,
    /// Nobody listened: it has certainly not been carried out.
    NotSent,
}

impl Said {
    /// The body of the documented answer.
    #[track_caller]
    pub fn body(self, expected: u16) -> Value {
        match self {
            Self::Answer(status, body) if status == expected => body,
            other => panic!("{other:?} instead of {expected}"),
        }
    }

    /// The status of an answer.
    #[track_caller]
    pub fn status(&self) -> u16 {
        match self {
            Self::Answer(status, _) => *status,
            other => panic!("{other:?} is no answer"),
        }
    }
}

pub struct Site {
    pub service: Service,
    pub storage: Arc<SimRemote>,
    pub environment: Environment,
    _state: TempDir,
    /// Requests that may change something, over all incarnations.
    pub sent: AtomicU64,
    http: reqwest::Client,
    _storage_process: Child,
}

impl Site {
    /// The shipped binary; its first incarnations are started as `plans` says.
    pub async fn start(plans: Vec<Start>) -> Arc<Self> {
        Self::start_as(plans, &[], |state, environment, plans| {
            let environment = environment.clone();
            let commander = Box::new(move |start: &Start| {
                let mut environment = environment.clone();
                if let Some(at) = &start.crash_at {
                    environment = environment.set("faults.enabled", "true").set("faults.crash_at", at);
                }
                command(&environment, &["serve"])
            });
            Service::start(state.to_owned(), plans, commander, Box::new(|| {}))
        })
        .await
    }

    /// A service that `make` makes, with further settings.
    pub async fn start_as(
        plans: Vec<Start>,
        settings: &[(&str, &str)],
        make: impl FnOnce(&Path, &Environment, Vec<Start>) -> Service,
    ) -> Arc<Self> {
        let state = tempfile::Builder::new().prefix("hearth-crash").tempdir().expect("temporary directory");
        let file = |name: &str| state.path().join(name).to_str().expect("utf-8").to_owned();
        let (socket, truth) = (file("storage.sock"), file("storage.truth"));
        let storage_process =
            command(&Environment::default(), &["sim-backend", "--socket", &socket, "--truth", &truth])
                .spawn()
                .expect("the storage starts");
        let mut environment = Environment::default()
            .set("state.path", file("."))
            .set("server.listen", "127.0.0.1:0")
            .set("backends.0.driver", "sim")
            .set("backends.0.process", "separate")
            .set("backends.0.socket", &socket)
            .set("backends.0.workers", "16")
            .set("backends.0.deadlines.probe", format!("{}s", PROBE_DEADLINE.as_secs()))
            .set("quota.volumes", "1000")
            .set("quota.gigabytes", "100000");
        for call in ["create", "delete", "extend", "export", "unexport"] {
            environment = environment.set(&format!("backends.0.deadlines.{call}"), format!("{}s", DEADLINE.as_secs()));
        }
        for (key, value) in settings {
            environment = environment.set(key, *value);
        }
        let storage = SimRemote::new(&socket);
        wait_until("the storage answers", async || storage.control(Control::Hung).await.is_ok()).await;
        let service = make(state.path(), &environment, plans);
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let sent = AtomicU64::new(0);
        Arc::new(Self { service, storage, environment, sent, http, _storage_process: storage_process, _state: state })
    }

    /// Every storage call takes so long, mostly less.
    pub async fn storage_takes(&self, mean: Duration, most: Duration) {
        let us = |duration: Duration| u64::try_from(duration.as_micros()).expect("short");
        let latency = LatencyTable::all(Latency::Exponential { mean_us: us(mean), max_us: us(most) });
        assert_eq!(self.storage.control(Control::SetLatency { latency }).await, Ok(Say::Ok));
    }

    /// One request to whichever incarnation lives, or to the next one.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> Said {
        self.ask_keyed(method, path, body, None).await
    }

    /// The same, with an idempotency key.
    pub async fn ask_keyed(&self, method: &str, path: &str, body: &Value, key: Option<&str>) -> Said {
        let address = self.service.incarnation(1).await.address;
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let is_read = method.is_safe();
        let mut request = self.http.request(method, format!("http://{address}{path}"));
        request = request.header("X-Auth-Token", "admin:admin").header("OpenStack-API-Version", "volume 3.71");
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        if !is_read {
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Said::NotSent,
            Err(_) => return Said::Lost,
        };
        let status = answer.status().as_u16();
        // an answer that breaks off is none
        let Ok(text) = answer.text().await else { return Said::Lost };
        Said::Answer(status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// A read, asked until there is an answer.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let begun = Instant::now();
        loop {
            if let Said::Answer(status, body) = self.ask("GET", path, &Value::Null).await {
                assert!(status < 500, "GET {path}: {status} {body}");
                return (status, body);
            }
            assert!(begun.elapsed() < PATIENCE, "GET {path} has no answer");
            self.poll_again().await;
        }
    }

    /// Registers an active server on the simulated hypervisor; asked until it is known to be there.
    pub async fn server(&self, id: &str) {
        let host = format!("host-of-{id}");
        let server = json!({"id": id, "name": id, "project_id": "admin", "host": host, "hypervisor": "sim"});
        loop {
            match self.ask("POST", "/admin/servers", &json!({"server": server})).await {
                Said::Answer(201 | 409, _) => return,
                Said::Answer(status, body) => panic!("{status} {body}"),
                Said::Lost | Said::NotSent => self.poll_again().await,
            }
        }
    }

    /// The ids of the volumes with this name.
    pub async fn named(&self, name: &str) -> Vec<String> {
        let (status, body) = self.get(&format!("/v3/volumes?name={name}")).await;
        assert_eq!(status, 200, "{body}");
        let volumes = body["volumes"].as_array().expect("volumes");
        volumes.iter().map(|volume| volume["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// Waits until nothing is under way for the volume, and says what is true; none: it is gone. The time counts from the
    /// start of the incarnation that settles it: promise I2.
    pub async fn settled(&self, volume: &str) -> Option<Known> {
        let mut asked_at = Instant::now();
        let mut incarnation = self.service.number();
        loop {
            let (status, body) = self.get(&format!("/admin/actors/{volume}")).await;
            let actor = &body["actor"];
            let quiet = status == 404
                || actor["state"] == "deleted"
                || (actor["operations"] == json!([])
                    && actor["outstanding_calls"] == 0
                    && actor["orphan_exports"] == json!([])
                    && actor["observation"] == "fresh");
            if quiet {
                return self.look(volume).await;
            }
            let now = self.service.incarnation(1).await;
            if now.number != incarnation {
                (incarnation, asked_at) = (now.number, now.ready_at);
            }
            assert!(asked_at.elapsed() < SETTLED, "{volume} is not settled after {SETTLED:?}: {body:#}");
            self.poll_again().await;
        }
    }

    /// What the APIs say of a settled volume; its status must be the one that its row calls for.
    async fn look(&self, volume: &str) -> Option<Known> {
        let (status, shown) = self.get(&format!("/v3/volumes/{volume}")).await;
        if status == 404 {
            return None;
        }
        let shown = &shown["volume"];
        let (_, rows) = self.get(&format!("/v3/attachments/detail?volume_id={volume}")).await;
        let rows = rows["attachments"].as_array().expect("attachments");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let row = match rows.as_slice() {
            [] => Row::Nobody,
            [row] => match (text(&row["instance"]), text(&row["id"]), row["status"].as_str()) {
                (server, _, Some("attached")) if server.starts_with("server-") => Row::Server(server),
                (_, id, Some("reserved")) => Row::Reserved(id),
                (_, id, Some("attaching")) => Row::Connected(id),
                (_, id, Some("attached")) => Row::Attached(id),
                _ => panic!("{volume}: {rows:#?}"),
            },
            _ => panic!("{volume} has several rows: {rows:#?}"),
        };
        assert_eq!(shown["status"], row.status(), "{volume}: {shown:#} {rows:#?}");
        let size = shown["size"].as_u64().expect("a size");
        Some(Known { size, row })
    }

    /// Everything is quiet, records, storage and guests agree, usage is exact, and nobody had two writers. For sites whose
    /// clients rest. How long it took to get quiet.
    pub async fn assert_sound(&self) -> Duration {
        let begun = Instant::now();
        loop {
            let (_, body) = self.get("/admin/operations").await;
            let (_, volumes) = self.get("/v3/volumes/detail").await;
            let unsettled: Vec<&Value> = volumes["volumes"]
                .as_array()
                .expect("volumes")
                .iter()
                .filter(|volume| !self.is_stable(volume))
                .collect();
            if body["operations"] == json!([]) && unsettled.is_empty() {
                break;
            }
            assert!(begun.elapsed() < SETTLED, "not settled after {SETTLED:?}: {body:#} {unsettled:#?}");
            self.poll_again().await;
        }
        let took = begun.elapsed();
        let output = run(&self.environment, &["fsck", "--json"]).await;
        let (found, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && found.is_empty(), "fsck: {} {found} {stderr}", output.status);
        let overlaps = self.storage.control(Control::Overlaps).await;
        assert_eq!(overlaps, Ok(Say::Overlaps { overlaps: Vec::new() }), "two writers");
        took
    }

    /// A status that a quiet volume may have. No fault is injected, so that no error status is among them.
    fn is_stable(&self, volume: &Value) -> bool {
        let status = volume["status"].as_str().expect("a status");
        assert!(!status.starts_with("error"), "nothing went wrong, and yet: {volume:#}");
        // `attaching` belongs to the client that has connected a row and not completed it
        matches!(status, "available" | "in-use" | "reserved" | "attaching")
    }

    /// The volumes that exist at the storage.
    pub async fn stored(&self) -> BTreeSet<String> {
        match self.storage.control(Control::Snapshot).await {
            Ok(Say::Snapshot { truth }) => truth["volumes"].as_object().expect("volumes").keys().cloned().collect(),
            other => panic!("{other:?}"),
        }
    }

    /// A pause between two looks at a condition.
    pub async fn poll_again(&self) {
        tokio::time::sleep(LOOK).await;
    }
}
