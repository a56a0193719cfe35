//! The shipped binary on the `file` driver, killed at any moment while a real guest writes and clients attach, extend and
//! detach: everything settles by itself, and nothing that was flushed is lost.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};

use crate::e2e::hearth::{Environment, Hearth, run, wait_until};
use crate::e2e::host::Host;
use crate::e2e::writer::Writer;

/// Rounds of one run; `HEARTH_CRASH_ROUNDS` says otherwise (`make crash`: 20).
const ROUNDS: u32 = 3;

/// The kill comes at a random moment of this time after the clients have begun.
const KILLED_WITHIN_MS: u64 = 1_500;

/// Between two looks at a volume.
const LOOK: Duration = Duration::from_millis(5);

/// Promise I2: 5 s from the restart, and the longest deadline of a call in flight.
const SETTLED_WITHIN: Duration = Duration::from_secs(5 + 30);

/// Volumes that come and go beside the one that the guest writes to.
const GUESTS_OTHERS: usize = 2;

/// A volume is not grown further than this.
const MAX_GIB: u64 = 200;

/// Where the guest's marks lie on the other volumes.
const MARK_OFFSET: u64 = 1 << 20;

/// The default number of storage daemons of a pool.
const DAEMONS: usize = 2;

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[tokio::test]
async fn r47_r94_r95_killed_under_a_writing_guest_everything_settles_and_nothing_flushed_is_lost() {
    let rounds = from_environment("HEARTH_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = from_environment("HEARTH_CRASH_SEED").unwrap_or_else(|| StdRng::from_os_rng().next_u64());
    eprintln!("HEARTH_CRASH_SEED={seed} HEARTH_CRASH_ROUNDS={rounds}");
    let mut random = StdRng::seed_from_u64(seed);

    let environment = Environment::default().set("quota.gigabytes", "-1");
    let mut host = Host::start_with(environment).await;
    let guest = host.boot("vm-1").await;
    let server = host.guests[guest].id.clone();
    let witness = host.hearth.volume_create(1).await;
    host.plug_only_disk(guest, &witness).await;
    Writer::start(&mut host.guests[guest].guest).await;
    let mut others = Vec::new();
    for _ in 0..GUESTS_OTHERS {
        others.push(host.hearth.volume_create(1).await);
    }
    let mut marks: BTreeMap<String, String> = BTreeMap::new();
    let mut longest = Duration::ZERO;

    for round in 1..=rounds {
        let mut clients = vec![Client::new(&host.hearth, &witness, &server, &mut random, false)];
        clients.extend(others.iter().map(|id| Client::new(&host.hearth, id, &server, &mut random, true)));
        let moment = Duration::from_millis(random.random_range(0..KILLED_WITHIN_MS));
        let work = join_all(clients.into_iter().map(Client::work));
        // The only thing that may depend on time here: when the kill comes.
        let ended = tokio::time::timeout(moment, work).await;
        assert!(ended.is_err(), "clients do not end by themselves");
        host.hearth.kill().await;
        let begun = Instant::now();
        host.hearth.start_again().await;
        let statuses = settled(&host.hearth, [&witness].into_iter().chain(&others)).await;
        let took = begun.elapsed();
        longest = longest.max(took);
        eprintln!("round {round}: killed after {moment:?}, settled after {took:?}: {statuses:?}");
        assert!(took < SETTLED_WITHIN, "{took:?}");
        assert_eq!(statuses[0], "in-use", "nobody has detached the guest's own volume");
        let found = host.hearth.fsck().await;
        for difference in &found {
            let id = difference["volume_id"].as_str().unwrap_or_default();
            eprintln!("DEBUG {:?}", host.hearth.ask(Method::GET, &format!("/admin/actors/{id}"), None).await);
            eprintln!("DEBUG again {:?}", host.hearth.fsck().await);
        }
        assert_eq!(found, [] as [Value; 0]);
        let daemons = host.hearth.daemon_pids();
        assert!((1..=DAEMONS).contains(&daemons.len()), "{daemons:?}");

        let guest = &mut host.guests[guest].guest;
        let safe = Writer::advance(guest).await;
        Writer::check(&host.hearth.volume_file(&witness), safe);
        for (id, status) in others.iter().zip(&statuses[1..]) {
            if status == "in-use" {
                let mark = format!("mark of round {round} on {id}\n");
                let serial = &id[..20];
                let command = format!(
                    "for d in /sys/block/vd*; do [ \"$(cat $d/serial)\" = {serial} ] && D=/dev/${{d##*/}}; done; \
                     echo '{}' | dd of=$D bs=512 seek={} conv=sync,fsync,notrunc 2>/dev/null",
                    mark.trim(),
                    MARK_OFFSET / 512
                );
                assert!(guest.run(&command).await.1, "the guest can use its disk");
                marks.insert(id.clone(), mark);
            }
            if let Some(mark) = marks.get(id) {
                let mut found = vec![0; mark.len()];
                let file = std::fs::File::open(host.hearth.volume_file(id)).expect("there");
                file.read_exact_at(&mut found, MARK_OFFSET).expect("read");
                assert_eq!(String::from_utf8_lossy(&found), *mark);
            }
        }
    }
    eprintln!("{rounds} rounds, settled after {longest:?} at most");
    let safe = Writer::stop(&mut host.guests[guest].guest).await;
    Writer::check(&host.hearth.volume_file(&witness), safe);
    clean_up(host, others.into_iter().chain([witness]), &server).await;
}

/// A client of one volume: it attaches, extends and detaches in random order until it is cut off.
struct Client<'a> {
    hearth: &'a Hearth,
    id: String,
    server: String,
    random: StdRng,
    detaches: bool,
}

impl<'a> Client<'a> {
    fn new(hearth: &'a Hearth, id: &str, server: &str, random: &mut StdRng, detaches: bool) -> Self {
        let random = StdRng::seed_from_u64(random.random());
        Self { hearth, id: id.to_owned(), server: server.to_owned(), random, detaches }
    }

    async fn work(mut self) {
        loop {
            let volume = self.until_idle().await;
            let size = volume["size"].as_u64().expect("a size");
            let attachments = format!("/compute/v2.1/servers/{}/os-volume_attachments", self.server);
            let grows = size < MAX_GIB && self.random.random_bool(0.4);
            match volume["status"].as_str() {
                Some("in-use" | "available") if grows => {
                    let body = json!({"os-extend": {"new_size": size + 1}});
                    self.ask(Method::POST, &format!("/v3/volumes/{}/action", self.id), Some(body)).await;
                }
                Some("available") => {
                    let body = json!({"volumeAttachment": {"volumeId": self.id}});
                    self.ask(Method::POST, &attachments, Some(body)).await;
                }
                Some("in-use") if self.detaches => {
                    self.ask(Method::DELETE, &format!("{attachments}/{}", self.id), None).await;
                }
                // Nothing can be asked of it now.
                _ => {}
            }
        }
    }

    /// Waits until nothing is under way; the volume.
    async fn until_idle(&self) -> Value {
        loop {
            let volume = self.hearth.volume(&self.id).await.expect("it is never deleted");
            if volume["status"] == "in-use" || volume["status"] == "available" {
                return volume;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) {
        let (status, body) = self.hearth.ask(method, path, body).await.expect("it lives");
        assert!(status == 202 || status == 200, "{path}: {status} {body:#}");
    }
}

/// Waits until no operation is open and every volume is stable; their statuses. An error status is no way to settle.
async fn settled<'a>(hearth: &Hearth, ids: impl Iterator<Item = &'a String> + Clone) -> Vec<String> {
    let mut statuses = Vec::new();
    wait_until("everything has settled", async || {
        let open = hearth.admin(Method::GET, "/admin/operations", None).await;
        let mut volumes = Vec::new();
        for id in ids.clone() {
            volumes.push(hearth.volume(id).await.expect("it is never deleted"));
        }
        statuses = volumes.iter().map(|volume| volume["status"].as_str().expect("a status").to_owned()).collect();
        assert!(statuses.iter().all(|status| !status.starts_with("error")), "{volumes:#?}");
        let stable = |status: &String| status == "available" || status == "in-use";
        open["operations"] == json!([]) && statuses.iter().all(stable)
    })
    .await;
    statuses
}

/// Detaches and deletes everything, ends the service and its daemons: nothing is left.
async fn clean_up(host: Host, volumes: impl Iterator<Item = String>, server: &str) {
    for id in volumes {
        if host.hearth.volume(&id).await.expect("there")["status"] == "in-use" {
            host.hearth.server_remove_volume(server, &id).await;
        }
        host.hearth.volume_delete(&id).await;
        assert!(!host.hearth.volume_file(&id).exists());
    }
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);
    let stopped = run(host.hearth.environment(), &["daemons", "stop"]).await;
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    assert_eq!(host.hearth.daemon_pids(), Vec::<i32>::new(), "no daemon is leaked");
}
