//! A service, and one line played on it: its situation, its call, and what comes of it.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hearth::actors::{ActorOptions, PlacementOptions, ServerAttachOptions};
use hearth::api::ApiOptions;
use hearth::domain::quota::Limits;
use hearth::policy::overrides::Overrides;
use hearth::policy::{LivePolicy, Policy};
use serde_json::Value;
use uuid::Uuid;

use super::answers::{deviation, difference};
use super::situations::{COMMON, constants};
use super::table::{Contract, File, Played, Proof};
use crate::api::harness::{ADMIN, BACKEND, Got, Harness, MEMBER, NOBODY, READER, SERVICE, SERVICE_OF_P, STRANGER};

/// What nobody may where rules are denied: what calls ask for besides their first rule.
const DENIED: &[&str] = &[
    "volume:create_from_image",
    "volume:delete",
    "volume:delete_volume_metadata",
    "volume:multiattach",
    "volume:update_volume_metadata",
    "volume_extension:volume_actions:unreserve",
];

/// Paths that begin so are not below Block Storage's.
const WHOLE: &[&str] = &["/v3", "/compute", "/admin", "/image", "/identity", "/healthcheck", "/metrics"];

/// How long a status is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

impl File {
    /// Plays every line; the deviations of all in one message.
    pub async fn holds(&self) {
        let contract = self.read();
        let mut harnesses: BTreeMap<&str, Harness> = BTreeMap::new();
        let mut deviations = Vec::new();
        let mut played = 0;
        for section in &contract.sections {
            let own = if section.shared.is_some() { Some(harness(&section.world).await) } else { None };
            if own.is_none() && !harnesses.contains_key(section.world.as_str()) {
                harnesses.insert(&section.world, harness(&section.world).await);
            }
            let harness = own.as_ref().unwrap_or_else(|| &harnesses[section.world.as_str()]);
            let mut prepared = Stage::new(harness, &contract);
            prepared.bring_about(section.shared.as_deref().unwrap_or("-")).await;
            for line in section.lines() {
                let Proof::Call(call) = &line.proof else { continue };
                played += 1;
                let mut stage = Stage { kept: prepared.kept.clone(), ..Stage::new(harness, &contract) };
                stage.keep("unique", Uuid::new_v4().simple().to_string());
                // One line that cannot be played does not hide the others.
                let outcome = AssertUnwindSafe(stage.play(call)).catch_unwind().await;
                if let Err(deviation) = outcome.unwrap_or_else(|panic| Err(words_of(panic))) {
                    deviations.push(format!("{} · {}\n    {}\n    {deviation}", section.title, line.words, call.call));
                }
                stage.clear();
            }
            if let Some(own) = own {
                own.stop().await;
            }
        }
        for harness in harnesses.into_values() {
            harness.stop().await;
        }
        let count = deviations.len();
        assert!(count == 0, "{count} of {played} lines of {} do not hold:\n{}", self.name, deviations.join("\n"));
    }
}

/// What a panic said.
pub fn words_of(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// The services that tables name.
async fn harness(world: &str) -> Harness {
    match world {
        super::table::PLAIN => Harness::start().await,
        // New volumes go to the first one, which may promise more.
        "two backends" => {
            let small = PlacementOptions { reserved_percentage: 50, ..PlacementOptions::default() };
            Harness::start_on(&[("h@a#a", PlacementOptions::default()), ("h@b#b", small)]).await
        }
        "small quota" => {
            let limits = Limits { volumes: 2, gigabytes: 5, per_volume_gigabytes: 4, snapshots: 1, ..Limits::NONE };
            Harness::start_with(ApiOptions::default(), limits).await
        }
        "default quotas" => Harness::start_with(ApiOptions::default(), Limits::default()).await,
        "snapshots whose size is free" => {
            let limits = Limits { gigabytes: 2, no_snapshot_gigabytes: true, ..Limits::NONE };
            Harness::start_with(ApiOptions::default(), limits).await
        }
        "a default type that is missing" => {
            let options = ApiOptions { default_volume_type: "nowhere".to_owned(), ..ApiOptions::default() };
            Harness::start_with(options, Limits::NONE).await
        }
        "a public endpoint" => {
            let endpoint = Some("https://cloud.example/volume".to_owned());
            Harness::start_with(ApiOptions { public_endpoint: endpoint, ..ApiOptions::default() }, Limits::NONE).await
        }
        "rules that nobody has" => {
            let denied = DENIED.iter().fold(Overrides::none(), |all, rule| all.with(rule, "!").expect("an expression"));
            let policy = Arc::new(LivePolicy::fixed(Policy::new(&denied, true).expect("no circle")));
            Harness::start_with(ApiOptions { policy, ..ApiOptions::default() }, Limits::NONE).await
        }
        "uploads by force" => {
            let options = ApiOptions { force_upload: true, ..ApiOptions::default() };
            let actors = ActorOptions { limits: Limits::NONE, ..ActorOptions::default() };
            Harness::start_full(options, actors, &[BACKEND]).await
        }
        "device names are ignored" => {
            attaching(ServerAttachOptions { ignore_requested_device: true, ..ServerAttachOptions::default() }).await
        }
        "three disks" => {
            attaching(ServerAttachOptions { max_disk_devices: Some(3), ..ServerAttachOptions::default() }).await
        }
        "zones apart" => {
            attaching(ServerAttachOptions { cross_az_attach: false, ..ServerAttachOptions::default() }).await
        }
        other => panic!("no service is called {other}"),
    }
}

async fn attaching(server_attach: ServerAttachOptions) -> Harness {
    let actors = ActorOptions { limits: Limits::NONE, server_attach, ..ActorOptions::default() };
    Harness::start_full(ApiOptions::default(), actors, &[BACKEND]).await
}

/// What one line has to do with.
pub struct Stage<'a> {
    pub harness: &'a Harness,
    contract: &'a Contract,
    kept: BTreeMap<String, String>,
    /// The token of calls that do not say who asks.
    pub asker: Option<String>,
    /// A backend was told to fail or to hang.
    pub is_disturbed: bool,
}

impl<'a> Stage<'a> {
    pub fn new(harness: &'a Harness, contract: &'a Contract) -> Self {
        let kept = constants().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { harness, contract, kept, asker: Some(MEMBER.to_owned()), is_disturbed: false }
    }

    /// The ids of what the steps have kept by one of these names.
    pub fn ids_of(&self, names: &[&str]) -> Vec<String> {
        let constants = constants();
        let is_made = |id: &&String| constants.iter().all(|(_, constant)| constant != *id);
        names.iter().filter_map(|name| self.kept.get(*name)).filter(is_made).cloned().collect()
    }

    pub fn keep(&mut self, name: &str, value: String) {
        self.kept.insert(name.to_owned(), value);
    }

    /// The steps of a situation that has a name.
    pub fn steps_of(&self, name: &str) -> Option<String> {
        let common = || COMMON.iter().find(|(known, _)| *known == name).map(|(_, steps)| (*steps).to_owned());
        self.contract.situations.get(name).cloned().or_else(common)
    }

    /// The text with what `{name}` and `{x*255}` stand for.
    pub fn filled(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            let place = rest[at + 1..].split_once('}').filter(|(name, _)| !name.contains(['{', '"']));
            let value = place.and_then(|(name, _)| {
                let repeated = name.split_once('*').filter(|(what, _)| what.chars().count() == 1);
                let repeated = repeated.and_then(|(what, count)| Some(what.repeat(count.parse().ok()?)));
                repeated.or_else(|| self.kept.get(name).cloned())
            });
            match (place, value) {
                (Some((_, after)), Some(value)) => {
                    filled.push_str(&value);
                    rest = after;
                }
                _ => {
                    filled.push('{');
                    rest = &rest[at + 1..];
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    async fn play(&mut self, line: &Played) -> Result<(), String> {
        self.bring_about(&line.situation).await;
        self.judge(&line.call, &line.answer).await?;
        for effect in &line.effects {
            self.effect(effect).await?;
        }
        Ok(())
    }

    /// One call, its answer, and that nothing has changed if it was refused.
    pub async fn judge(&mut self, call: &str, answer: &str) -> Result<Got, String> {
        let before = self.subjects().await;
        let got = self.ask(call).await;
        let unfulfilled = deviation(&got, &self.filled(answer));
        unfulfilled.map_or(Ok(()), Err)?;
        // what has failed has been tried
        if (400..500).contains(&got.status) {
            let changed = difference(&self.subjects().await, &before, "");
            changed.map_or(Ok(()), |change| Err(format!("it was refused and has changed something: {change}")))?;
        }
        Ok(got)
    }

    async fn effect(&mut self, effect: &str) -> Result<(), String> {
        match effect.split_once(' ') {
            Some(("=>", expected)) => self.until_so(expected, true).await,
            Some(("now", expected)) => self.until_so(expected, false).await,
            Some(("then", further)) => {
                let (call, answer) = further.split_once(" => ").expect("`then CALL => ANSWER`");
                let got = self.ask(call).await;
                let unfulfilled = deviation(&got, &self.filled(answer));
                unfulfilled.map_or(Ok(()), |deviation| Err(format!("then {call}: {deviation}")))
            }
            Some(("eventually", further)) => self.until_answered(further).await,
            _ => {
                self.bring_about(effect).await;
                Ok(())
            }
        }
    }

    /// Asks until the answer is the expected one.
    async fn until_answered(&mut self, further: &str) -> Result<(), String> {
        let (call, answer) = further.split_once(" => ").expect("`eventually CALL => ANSWER`");
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let got = self.ask(call).await;
            match deviation(&got, &self.filled(answer)) {
                None => return Ok(()),
                Some(deviation) if tokio::time::Instant::now() > deadline => {
                    return Err(format!("never so: {call}: {deviation}"));
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }

    /// The volume and the snapshot of the line as an administrator sees them, whole.
    async fn subjects(&self) -> Value {
        let mut subjects = vec![self.shown("volume").await];
        if self.kept.contains_key("snapshot") {
            subjects.push(self.shown("snapshot").await);
        }
        Value::Array(subjects)
    }

    async fn shown(&self, resource: &str) -> Value {
        let id = self.kept.get(resource).unwrap_or_else(|| panic!("there is no {resource}"));
        let kind = resource.trim_end_matches(|sign: char| sign.is_ascii_digit());
        let got = self.harness.get(&format!("/v3/{kind}s/{id}")).volume("3.71").send().await;
        if got.status == 404 { serde_json::json!({"status": "gone"}) } else { got.json()[kind].clone() }
    }

    /// Waits for a situation, which must come.
    pub async fn until(&self, expected: &str) {
        self.until_so(expected, true).await.unwrap_or_else(|deviation| panic!("{expected}: {deviation}"));
    }

    /// `[RESOURCE] STATUS [JSON]` or `[RESOURCE] JSON`: whether it is so, or comes to be so.
    async fn until_so(&self, expected: &str, waits: bool) -> Result<(), String> {
        let (words, json) = expected.split_at(expected.find('{').unwrap_or(expected.len()));
        let mut words = words.split_whitespace().collect::<Vec<_>>();
        let is_resource = words.first().is_some_and(|word| self.kept.contains_key(*word));
        let resource = if is_resource { words.remove(0) } else { "volume" };
        let members = self.filled(json);
        let members: Value =
            if json.is_empty() { Value::Null } else { serde_json::from_str(&members).expect("members are JSON") };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let shown = self.shown(resource).await;
            let status = words.first().filter(|status| shown["status"] != **status);
            let wrong = match (status, members.is_null()) {
                (Some(status), _) => Some(format!("{resource} is {} and not {status}", shown["status"])),
                (None, true) => None,
                (None, false) => difference(&shown, &members, resource),
            };
            // What has its status has its members.
            let is_decided = !waits || (status.is_none() && !words.is_empty());
            match wrong {
                None => return Ok(()),
                Some(wrong) if is_decided || tokio::time::Instant::now() > deadline => return Err(wrong),
                Some(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }

    /// Asks what must be answered with 2xx.
    pub async fn must(&mut self, call: &str) {
        let got = self.ask(call).await;
        assert!(got.status < 300, "{call}: {} {}", got.status, got.text);
    }

    /// One call in the notation of the tables.
    async fn ask(&mut self, call: &str) -> Got {
        let (call, kept) = call.rsplit_once(" -> ").map_or((call, None), |(call, name)| (call, Some(name)));
        let call = self.filled(call);
        let mut rest = call.as_str();
        let own = self.asker.clone();
        let mut asker = None;
        let mut version = None;
        let mut resource = "volume";
        let mut word = || {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            let before = std::mem::replace(&mut rest, after.trim_start());
            (word, before)
        };
        let (first, at_first) = loop {
            let (next, at_next) = word();
            if let Some(token) = persona(next) {
                asker = Some(token);
            } else if next == "-" || (next.contains('.') && next.starts_with(|sign: char| sign.is_ascii_digit())) {
                version = Some(next);
            } else if next == "of" {
                resource = word().0;
            } else {
                break (next, at_next);
            }
        };
        let is_method = matches!(first, "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD");
        let (method, path, action) = if is_method {
            (first, word().0.to_owned(), None)
        } else {
            let id = self.kept.get(resource).unwrap_or_else(|| panic!("{at_first}: there is no {resource}"));
            let kind = resource.trim_end_matches(|sign: char| sign.is_ascii_digit());
            ("POST", format!("/{kind}s/{id}/action"), Some(first))
        };
        let of_compute = ["/servers", "/os-server-external-events"].iter().any(|base| path.starts_with(base));
        let path = if of_compute { format!("/compute/v2.1{path}") } else { path };
        let is_whole = WHOLE.iter().any(|base| path.starts_with(base)) || path == "/";
        let url = if is_whole { path } else { format!("/v3{path}") };
        let is_compute = url.starts_with("/compute");
        let mut asking = self.harness.ask(method, &url);
        let (token, is_service) = asker.unwrap_or((own.as_deref(), false));
        if let Some(token) = token {
            asking = asking.token(token);
        }
        if is_service {
            asking = asking.header("X-Service-Token", SERVICE);
        }
        asking = match version {
            Some("-") => asking,
            Some(version) if is_compute => asking.compute(version),
            None if is_compute => asking,
            version => asking.volume(version.unwrap_or("3.71")),
        };
        let mut has_type = false;
        while let Some((header, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            let (name, value) = header.split_once(": ").expect("a header is `Name: value`");
            has_type |= name == "Content-Type";
            asking = if value == "-" { asking } else { asking.header(name, value) };
            rest = after.trim_start();
        }
        let body = match action {
            Some(action) => format!(r#"{{"{action}": {}}}"#, if rest.is_empty() { "{}" } else { rest }),
            None => rest.to_owned(),
        };
        if !body.is_empty() {
            asking = if has_type { asking } else { asking.header("Content-Type", "application/json") };
            asking = asking.raw(body);
        }
        let got = asking.send().await;
        if let Some(name) = kept.filter(|_| got.status < 300) {
            self.keep(name, id_in(&got.json()).unwrap_or_else(|| panic!("{call}: no id in {}", got.text)));
        }
        got
    }

    /// Leaves nothing behind that would disturb the next line.
    pub fn clear(&self) {
        if self.is_disturbed {
            self.harness.heal();
        }
    }
}

/// The id of the one object in an answer, of the first in a list.
fn id_in(body: &Value) -> Option<String> {
    let id = |found: &Value| found["id"].as_str().or_else(|| found[0]["id"].as_str()).map(str::to_owned);
    id(body).or_else(|| body.as_object()?.values().find_map(id))
}

/// The token of a persona, and whether a service vouches for it; a word with a colon is a token itself.
fn persona(word: &str) -> Option<(Option<&str>, bool)> {
    let (name, is_service) = word.strip_suffix("+service").map_or((word, false), |name| (name, true));
    let token = match name {
        "ADMIN" => ADMIN,
        "MEMBER" => MEMBER,
        "READER" => READER,
        "STRANGER" => STRANGER,
        "NOBODY" => NOBODY,
        "SERVICE" => SERVICE_OF_P,
        "FOREIGN-SERVICE" => SERVICE,
        "ANONYMOUS" => return Some((None, is_service)),
        token if token.contains(':') => token,
        _ => return None,
    };
    Some((Some(token), is_service))
}
