//! `kill -9` in a storm of requests by clients that remember what they were answered.
//!
//! `HEARTH_CRASH_KILLS` sets how often (`make crash`: 200), `HEARTH_CRASH_SEED` repeats the clients' choices of a run. Which
//! instruction a kill meets is not in the seed; the crash points are for that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hearth::drivers::sim::wire::{Control, Say};
use hearth::drivers::sim::{Fault, FaultRule, When};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::{Mutex, RwLock};
use tokio::task::JoinHandle;

use super::ledger::{Change, FOREIGN_SERVER, Known, Row};
use super::life::{Owner, Took};
use super::site::{Said, Site};
use crate::e2e::hearth::{PATIENCE, wait_until};

const SERVERS: u64 = 3;
const OWNERS: u64 = 5;
const VOLUMES_OF_AN_OWNER: u64 = 3;
/// Volumes that nobody owns: several clients ask for everything at once and remember nothing.
const CONTESTED: u64 = 2;
const CONTENDERS: u64 = 3;
/// Everything is checked as a whole after so many kills.
const KILLS_BETWEEN_CHECKS: u64 = 5;
/// Changing requests between two kills.
const REQUESTS: std::ops::Range<u64> = 3..45;

/// What a storm must have come to.
const KINDS: [&str; 6] =
    ["create", "extend", "server attach", "server detach", "attachment create", "attachment update"];

/// How many kills, from the environment or a few.
pub fn kills() -> u64 {
    let text = std::env::var("HEARTH_CRASH_KILLS").ok();
    text.map_or(12, |text| text.parse().expect("HEARTH_CRASH_KILLS is a number"))
}

/// The seed, from the environment or a new one; printed.
pub fn seed() -> u64 {
    let text = std::env::var("HEARTH_CRASH_SEED").ok();
    let seed = text
        .map_or_else(|| StdRng::from_os_rng().random(), |text| text.parse().expect("HEARTH_CRASH_SEED is a number"));
    println!("HEARTH_CRASH_SEED={seed}");
    seed
}

/// What the clients did, by kind.
#[derive(Default)]
struct Tally {
    effects: BTreeMap<&'static str, u64>,
    refused: u64,
    lost_with_effect: u64,
    lost_without: u64,
}

impl Tally {
    fn add(&mut self, name: &'static str, took: Took) {
        match took {
            Took::Effect => *self.effects.entry(name).or_default() += 1,
            Took::Refused(_) => self.refused += 1,
            Took::LostWithEffect => self.lost_with_effect += 1,
            Took::LostWithout => self.lost_without += 1,
        }
    }
}

/// The clients of a site, who can be asked to rest.
pub struct Storm {
    site: Arc<Site>,
    /// Held for reading during each request.
    gate: Arc<RwLock<()>>,
    is_over: Arc<AtomicBool>,
    owners: Vec<Arc<Mutex<Owner>>>,
    contested: Vec<String>,
    tally: Arc<Mutex<Tally>>,
    clients: Vec<JoinHandle<()>>,
}

impl Storm {
    /// Registers the servers, makes the contested volumes and lets the clients loose.
    pub async fn begin(site: &Arc<Site>, seed: u64) -> Self {
        for number in 0..SERVERS {
            site.server(&server(number)).await;
        }
        let mut contested = Vec::new();
        for number in 0..CONTESTED {
            let mut owner = Owner::new(site, "");
            assert_eq!(owner.create(format!("contested-{number}"), 1).await, Took::Effect);
            owner.assert_as_known().await;
            contested.push(owner.id);
        }
        let mut storm = Self {
            site: Arc::clone(site),
            gate: Arc::default(),
            is_over: Arc::default(),
            owners: Vec::new(),
            contested: contested.clone(),
            tally: Arc::default(),
            clients: Vec::new(),
        };
        let random = |client: u64| StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(client));
        for number in 0..OWNERS {
            let mut volumes = Vec::new();
            for volume in 0..VOLUMES_OF_AN_OWNER {
                volumes.push(Arc::new(Mutex::new(Owner::new(site, format!("{number}-{volume}")))));
            }
            storm.owners.extend(volumes.iter().cloned());
            let (gate, is_over) = (Arc::clone(&storm.gate), Arc::clone(&storm.is_over));
            let tally = Arc::clone(&storm.tally);
            storm.clients.push(tokio::spawn(own(number, volumes, gate, is_over, tally, random(number))));
        }
        for number in 0..CONTENDERS {
            let (gate, is_over) = (Arc::clone(&storm.gate), Arc::clone(&storm.is_over));
            let random = random(1_000 + number);
            storm.clients.push(tokio::spawn(contend(Arc::clone(site), contested.clone(), gate, is_over, random)));
        }
        storm
    }

    /// Waits until so many further requests are sent, and a moment more, so that kills meet every instant of a request.
    pub async fn wait_for_requests(&mut self, count: u64, moment: Duration) {
        let begun = Instant::now();
        let target = self.site.sent.load(Ordering::Relaxed) + count;
        while self.site.sent.load(Ordering::Relaxed) < target {
            if let Some(ended) = self.clients.iter().position(JoinHandle::is_finished) {
                self.clients.swap_remove(ended).await.expect("no client fails");
                panic!("a client ended");
            }
            assert!(begun.elapsed() < PATIENCE, "the clients stand still");
            self.site.poll_again().await;
        }
        tokio::time::sleep(moment).await;
    }

    /// Lets the clients rest and compares everything. How long it took to settle.
    pub async fn check(&self) -> Duration {
        let resting = tokio::time::timeout(PATIENCE, self.gate.write()).await;
        let _rest = resting.expect("every request ends in time");
        let took = self.site.assert_sound().await;
        for owner in &self.owners {
            let owner = owner.lock().await;
            if !owner.id.is_empty() {
                owner.assert_as_known().await;
            }
        }
        took
    }

    /// Ends the clients, frees and deletes everything with ordinary requests, and says what was done.
    pub async fn end(mut self) -> String {
        // A short storm may not have come to everything yet: it goes on until it has.
        wait_until("every kind of change has had an effect", async || {
            let tally = self.tally.lock().await;
            KINDS.iter().all(|kind| tally.effects.contains_key(kind))
        })
        .await;
        self.check().await;
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.await.expect("no client fails");
        }
        self.check().await;
        for owner in &self.owners {
            let mut owner = owner.lock().await;
            if owner.known.is_some() {
                if let Some(change) = owner.freeing() {
                    assert_eq!(owner.change(&change).await, Took::Effect, "{change:?}");
                    owner.assert_as_known().await;
                }
                assert_eq!(owner.change(&Change::Delete).await, Took::Effect);
            }
        }
        for volume in &self.contested {
            for (change, _) in rows(&self.site, volume).await {
                let (method, path, body, expected) = change.request(volume);
                self.site.ask(method, &path, &body).await.body(expected);
                self.site.assert_sound().await;
            }
            let (method, path, body, expected) = Change::Delete.request(volume);
            self.site.ask(method, &path, &body).await.body(expected);
        }
        self.site.assert_sound().await;
        assert!(self.site.stored().await.is_empty(), "{:?}", self.site.stored().await);
        let (_, left) = self.site.get("/v3/volumes").await;
        assert_eq!(left["volumes"], json!([]));
        let tally = self.tally.lock().await;
        format!(
            "{:?}, {} refused, {} lost with and {} without effect",
            tally.effects, tally.refused, tally.lost_with_effect, tally.lost_without
        )
    }
}

fn server(number: u64) -> String {
    format!("server-{number}")
}

/// A client with volumes of its own: what it is told of them must be true.
async fn own(
    number: u64,
    volumes: Vec<Arc<Mutex<Owner>>>,
    gate: Arc<RwLock<()>>,
    is_over: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    mut random: StdRng,
) {
    let mut created = 0;
    while !is_over.load(Ordering::Relaxed) {
        let _pass = gate.read().await;
        let mut owner = volumes[random.random_range(0..volumes.len())].lock().await;
        let Some(known) = owner.known.clone() else {
            created += 1;
            let took = owner.create(format!("owner-{number}-{created}"), random.random_range(1..3)).await;
            tally.lock().await.add("create", took);
            continue;
        };
        let change = choose(&known, &mut random);
        let took = owner.change(&change).await;
        tally.lock().await.add(change.name(), took);
        // an impatient client asks for the next thing while this one is under way
        if random.random_bool(0.6) {
            owner.assert_as_known().await;
        }
    }
}

/// Something that makes sense for the volume as its owner knows it.
fn choose(known: &Known, random: &mut StdRng) -> Change {
    let extend = Change::Extend(known.size + 1);
    match &known.row {
        Row::Nobody => match random.random_range(0..10) {
            0..4 => Change::ServerAttach(server(random.random_range(0..SERVERS))),
            4..6 => Change::Reserve,
            6..8 => extend,
            _ => Change::Delete,
        },
        Row::Server(_) if random.random_bool(0.4) => extend,
        Row::Server(server) => Change::ServerDetach(server.clone()),
        Row::Reserved(id) if random.random_bool(0.8) => Change::Connect(id.clone()),
        Row::Connected(id) if random.random_bool(0.7) => Change::Complete(id.clone()),
        Row::Reserved(id) | Row::Connected(id) | Row::Attached(id) => Change::Release(id.clone()),
    }
}

/// A client that asks for anything and remembers nothing. Everything may be refused; nothing may break.
async fn contend(
    site: Arc<Site>,
    volumes: Vec<String>,
    gate: Arc<RwLock<()>>,
    is_over: Arc<AtomicBool>,
    mut random: StdRng,
) {
    let mut size = 1;
    while !is_over.load(Ordering::Relaxed) {
        let _pass = gate.read().await;
        let volume = &volumes[random.random_range(0..volumes.len())];
        let server = server(random.random_range(0..SERVERS));
        let rows = if random.random_bool(0.5) { rows(&site, volume).await } else { Vec::new() };
        let change = match (random.random_range(0..10), rows.first()) {
            (0..3, _) => Change::ServerAttach(server),
            (3, _) => Change::ServerDetach(server),
            (4, _) => Change::Reserve,
            (5, _) => {
                size += 1;
                Change::Extend(size)
            }
            (6, Some((_, row))) => Change::Connect(row.clone()),
            (7, Some((_, row))) => Change::Complete(row.clone()),
            (_, Some((freeing, _))) => freeing.clone(),
            (_, None) => Change::ServerDetach(server),
        };
        let (method, path, body, _) = change.request(volume);
        if let Said::Answer(status @ 500.., body) = site.ask(method, &path, &body).await {
            panic!("{change:?} of {volume}: {status} {body}");
        }
    }
}

/// What frees each row of a volume, and the row's id.
async fn rows(site: &Site, volume: &str) -> Vec<(Change, String)> {
    let (_, body) = site.get(&format!("/v3/attachments/detail?volume_id={volume}")).await;
    let freeing = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        match text("instance") {
            server if server == FOREIGN_SERVER => (Change::Release(text("id")), text("id")),
            server => (Change::ServerDetach(server), text("id")),
        }
    };
    body["attachments"].as_array().expect("attachments").iter().map(freeing).collect()
}

/// A site whose storage takes its time.
pub async fn site() -> Arc<Site> {
    let site = Site::start(Vec::new()).await;
    site.storage_takes(Duration::from_millis(8), Duration::from_millis(150)).await;
    site
}

/// Kills the service of `site` so often, checks now and then, and at last frees everything.
async fn storm_of_kills(site: Arc<Site>, kills: u64) {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut storm = Storm::begin(&site, seed).await;
    let (mut slowest_start, mut slowest_settling) = (Duration::ZERO, Duration::ZERO);
    for kill in 1..=kills {
        let moment = Duration::from_micros(random.random_range(0..20_000));
        storm.wait_for_requests(random.random_range(REQUESTS), moment).await;
        let killed_at = Instant::now();
        let incarnation = site.service.kill().await;
        slowest_start = slowest_start.max(incarnation.ready_at - killed_at);
        if kill % KILLS_BETWEEN_CHECKS == 0 {
            slowest_settling = slowest_settling.max(storm.check().await);
        }
    }
    let done = storm.end().await;
    let deaths = site.service.deaths();
    let by_kill = deaths.iter().filter(|death| death.signal() == Some(libc::SIGKILL)).count();
    assert_eq!((by_kill as u64, deaths.len() as u64), (kills, kills), "it died by itself: {deaths:#?}");
    println!(
        "{kills} kills, seed {seed}: slowest start {slowest_start:?}, slowest settling {slowest_settling:?}; {done}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_in_a_storm_everything_settles_and_every_answer_holds() {
    storm_of_kills(site().await, kills()).await;
}

/// Nothing of this is a failure: the storage can be asked what is true. So no volume may end in an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_a_storm_on_a_storage_that_loses_answers_every_answer_still_holds() {
    let site = site().await;
    let requests = ["create", "delete", "extend", "export", "unexport", "plug", "unplug", "resize_guest"];
    let faults = [
        (0.06, Fault::AnswerLost),
        (0.04, Fault::NothingDone),
        (0.04, Fault::EffectLater { after_us: 30_000, hidden: false }),
    ];
    let rules = requests.iter().flat_map(|request| {
        faults.iter().map(|(p, fault)| FaultRule::on(request, fault.clone()).when(When::Probability { p: *p }))
    });
    let rules = rules.collect();
    assert_eq!(site.storage.control(Control::SetFaults { rules }).await, Ok(Say::Ok));
    storm_of_kills(site, kills()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_in_a_storm_exits_0_within_5_s_and_loses_nothing() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let site = site().await;
    let mut storm = Storm::begin(&site, seed).await;
    for _ in 0..3 {
        let moment = Duration::from_micros(random.random_range(0..20_000));
        storm.wait_for_requests(random.random_range(60..120), moment).await;
        let number = site.service.number();
        let (status, took) = site.service.terminate().await;
        assert_eq!(status.code(), Some(0), "{status}: {:#?}", site.service.deaths());
        assert!(took < Duration::from_secs(5), "it took {took:?}");
        site.service.incarnation(number + 1).await;
        storm.check().await;
    }
    println!("seed {seed}: {}", storm.end().await);
}
