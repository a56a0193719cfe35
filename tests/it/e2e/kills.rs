//! A guest's process, the service, or both killed while a volume is attached, detached or swapped. Whatever died when, and whether or
//! not the guest comes back: everything settles by itself, records, storage and guests agree, what was flushed is where the record says
//! that it is, and the volumes can be used again.
//!
//! The service dies at the crash points on either side of its calls and commits, and at random moments (`HEARTH_CRASH_SEED`;
//! `HEARTH_CRASH_ROUNDS` says how often).

use std::cell::Cell;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};

use super::hearth::{Environment, Hearth, wait_until};
use super::host::Host;
use crate::drivers::file::clone::fill_file;

/// Random moments for each verb.
const ROUNDS: u32 = 1;

/// A random kill comes within this time after the request.
const KILLED_WITHIN_MS: u64 = 400;

/// Promise I2: 5 s from the restart, and the longest deadline of a call in flight.
const SETTLED_WITHIN: Duration = Duration::from_secs(5 + 30);

/// Each verb makes so many commits, or more.
const COMMITS: u32 = 3;

/// What is asked of a guest that is dead has failed or is done after this time, mostly.
const SETTLES_WITHIN: Duration = Duration::from_secs(1);

/// Data that a swap has to copy, behind the marks.
const BESIDE_MIB: u64 = 60;

/// Each has a block of its own.
const MARK_BYTES: u64 = 512;

/// In the guest's shell: it has its only disk, or none.
const DISK: &str = "[ -b \"$(ls /dev/vd? 2>/dev/null)\" ]";
const NO_DISK: &str = "[ -z \"$(ls /dev/vd? 2>/dev/null)\" ]";

/// What is asked for when somebody dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Attach,
    Detach,
    Swap,
}

impl Verb {
    const ALL: [Self; 3] = [Self::Attach, Self::Detach, Self::Swap];

    /// The step that asks the guest for something which takes a while.
    fn step(self) -> &'static str {
        match self {
            Self::Attach => "plug",
            Self::Detach => "unplug",
            Self::Swap => "mirror",
        }
    }

    /// How many calls it makes, after a start of the service with nothing to do.
    fn calls(self) -> u32 {
        match self {
            Self::Attach | Self::Detach => 2,
            Self::Swap => 4,
        }
    }
}

/// When the service dies.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// At a crash point: `driver.before`, and which passage.
    At(&'static str, u32),
    /// So long after the request.
    After(Duration),
}

/// When the guest dies.
#[derive(Clone, Copy, Debug)]
enum GuestDies {
    /// Before it is asked for anything.
    First,
    /// When the service is dead.
    Last,
}

/// Whether the guest is started again, on the same socket.
#[derive(Clone, Copy, Debug)]
enum Back {
    /// It stays dead until everything has settled.
    Never,
    /// Before the service is.
    First,
    /// While the service goes on with what was open.
    Meanwhile,
}

/// A machine with a guest and two volumes. One of them is the guest's, or was the last time that it had one.
struct Stage {
    host: Host,
    server: usize,
    id: String,
    volumes: [String; 2],
    /// Which of the two has all that the guest has flushed.
    current: usize,
    /// The guest's last mark.
    mark: u64,
    guest: Life,
    longest: Duration,
}

/// How the guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It has what it was given.
    Lives,
    /// Killed.
    Dead,
    /// Started again since.
    IsBack,
}

impl Stage {
    async fn start() -> Self {
        let mut host = Host::start_with(Environment::default().set("compute.swap_requires_migration", "false")).await;
        let server = host.boot("vm-1").await;
        let id = host.guests[server].id.clone();
        let volumes = [host.hearth.volume_create(1).await, host.hearth.volume_create(1).await];
        fill_file(&host.hearth.volume_file(&volumes[0]), BESIDE_MIB);
        Self { host, server, id, volumes, current: 0, mark: 0, guest: Life::Lives, longest: Duration::ZERO }
    }

    fn hearth(&self) -> &Hearth {
        &self.host.hearth
    }

    fn current(&self) -> &str {
        &self.volumes[self.current]
    }

    fn other(&self) -> &str {
        &self.volumes[1 - self.current]
    }

    fn attachments(&self) -> String {
        format!("/compute/v2.1/servers/{}/os-volume_attachments", self.id)
    }

    async fn shell(&mut self, line: &str) {
        let (said, succeeded) = self.host.guests[self.server].guest.run(line).await;
        assert!(succeeded, "{line}: {said}");
    }

    fn guest_dies(&mut self) {
        self.host.guests[self.server].guest.kill();
        self.guest = Life::Dead;
    }

    async fn guest_comes_back(&mut self) {
        self.host.boot_again(self.server).await;
        self.guest = Life::IsBack;
    }

    /// Which volume the server has; none: both are free. Both APIs say the same of it.
    async fn used(&self) -> Option<usize> {
        let mut used = Vec::new();
        for (index, volume) in self.volumes.iter().enumerate() {
            let shown = self.hearth().volume(volume).await.expect("it is never deleted");
            let rows = shown["attachments"].as_array().map_or(0, Vec::len);
            let is_used = shown["status"] == "in-use";
            assert_eq!(rows, usize::from(is_used), "{shown:#}");
            if is_used {
                used.push(index);
            }
        }
        let listed = self.hearth().admin(Method::GET, &self.attachments(), None).await;
        let listed = listed["volumeAttachments"].as_array().expect("a list").iter();
        let listed: Vec<_> = listed.map(|row| row["volumeId"].as_str().expect("an id").to_owned()).collect();
        let expected: Vec<_> = used.iter().map(|index| self.volumes[*index].clone()).collect();
        assert_eq!(listed, expected);
        assert!(used.len() < 2, "it has one disk only");
        used.pop()
    }

    /// The guest lives, and has what the verb needs; what it has is marked.
    async fn prepare(&mut self, verb: Verb) {
        if self.guest == Life::Dead {
            self.guest_comes_back().await;
            self.until_settled().await;
            let is_used = self.used().await.is_some();
            self.until_agreed(is_used).await;
        }
        let used = self.used().await;
        match (verb, used) {
            (Verb::Attach, Some(_)) => self.hearth().server_remove_volume(&self.id, self.current()).await,
            (Verb::Detach | Verb::Swap, None) => drop(self.hearth().server_add_volume(&self.id, self.current()).await),
            _ => {}
        }
        let guest = &mut self.host.guests[self.server].guest;
        if verb == Verb::Attach {
            guest.until(NO_DISK).await;
        } else {
            guest.until(DISK).await;
            self.write_mark().await;
        }
    }

    /// The guest flushes its next mark to its only disk.
    async fn write_mark(&mut self) {
        self.mark += 1;
        let mark = self.mark;
        let disk = format!("of=$(ls /dev/vd?) bs={MARK_BYTES} seek={mark} conv=sync,fsync,notrunc");
        self.shell(&format!("echo mark {mark} | dd {disk} 2>/dev/null")).await;
    }

    fn assert_marked(&self) {
        let text = match self.mark {
            0 => return,
            mark => format!("mark {mark}\n"),
        };
        let mut found = vec![0; text.len()];
        let file = std::fs::File::open(self.hearth().volume_file(self.current())).expect("there");
        file.read_exact_at(&mut found, self.mark * MARK_BYTES).expect("read");
        assert_eq!(String::from_utf8_lossy(&found), text, "what was flushed is not in {}", self.current());
    }

    /// Asks; true: it was accepted. Whoever is asked may die before it has answered.
    async fn ask(&self, verb: Verb) -> bool {
        let (current, other) = (self.current(), self.other());
        let of_current = format!("{}/{current}", self.attachments());
        let (method, path, body, version) = match verb {
            Verb::Attach => (Method::POST, self.attachments(), json!({"volumeId": current}), "compute 2.89"),
            Verb::Detach => (Method::DELETE, of_current, Value::Null, "compute 2.89"),
            Verb::Swap => (Method::PUT, of_current, json!({"volumeId": other}), "compute 2.84"),
        };
        let body = (!body.is_null()).then(|| json!({"volumeAttachment": body}));
        match self.hearth().ask_with(method, &path, body, &[("OpenStack-API-Version", version)]).await {
            Ok((200 | 202, _)) => true,
            // It may be known that the guest is dead.
            Ok((409, _)) if self.guest == Life::Dead => false,
            Ok((status, body)) => panic!("{verb:?}: {status} {body:#}"),
            Err(_) => false,
        }
    }

    /// Asks, and lets the service die; whether it had accepted.
    async fn ask_and_kill(&mut self, verb: Verb, moment: Moment, guest: Option<GuestDies>) -> bool {
        self.prepare(verb).await;
        if let Moment::At(place, nth) = moment {
            self.host.hearth.kill().await;
            self.host.hearth.start_again_to_die_at(&format!("{place}:{nth}")).await;
            self.host.hearth.wait_until_ready().await;
        }
        if let Some(GuestDies::First) = guest {
            self.guest_dies();
        }
        let accepted = match moment {
            Moment::At(..) => {
                let accepted = self.ask(verb).await;
                match guest {
                    // Of one that is not there less is asked: it may settle before it comes to this point.
                    Some(GuestDies::First) => {
                        let dead = self.host.hearth.wait_until_dead();
                        if tokio::time::timeout(SETTLES_WITHIN, dead).await.is_err() {
                            self.host.hearth.kill().await;
                        }
                    }
                    _ => self.host.hearth.wait_until_dead().await,
                }
                accepted
            }
            Moment::After(time) => {
                let accepted = Cell::new(false);
                // An answer does not end the wait, and the kill does not wait for one.
                let asked = async {
                    accepted.set(self.ask(verb).await);
                    std::future::pending::<()>().await;
                };
                tokio::select! { () = asked => {}, () = pass(time) => {} }
                self.host.hearth.kill().await;
                accepted.get()
            }
        };
        if let Some(GuestDies::Last) = guest {
            self.guest_dies();
        }
        accepted
    }

    /// Nothing is open any more, and no volume is on its way. An error status is no way to settle.
    async fn until_settled(&mut self) {
        let begun = Instant::now();
        let hearth = &self.host.hearth;
        wait_until("everything has settled", async || {
            let open = hearth.admin(Method::GET, "/admin/operations", None).await;
            let mut stable = open["operations"] == json!([]);
            for volume in &self.volumes {
                let shown = hearth.volume(volume).await.expect("it is never deleted");
                let status = shown["status"].as_str().expect("a status");
                assert!(!status.starts_with("error"), "{shown:#}");
                stable &= matches!(status, "available" | "in-use");
            }
            stable
        })
        .await;
        let took = begun.elapsed();
        assert!(took < SETTLED_WITHIN, "{took:?}");
        self.longest = self.longest.max(took);
    }

    /// Records, storage and guest agree: a guest that is back has got its disk again, and one that is dead lacks nothing.
    async fn until_agreed(&mut self, is_used: bool) {
        wait_until("nothing differs", async || self.hearth().fsck().await.is_empty()).await;
        if self.guest == Life::IsBack {
            let disk = if is_used { DISK } else { NO_DISK };
            self.host.guests[self.server].guest.until(disk).await;
            self.guest = Life::Lives;
        }
    }

    /// Everything is as it should be after somebody has died; whether the verb was carried out.
    async fn check(&mut self, what: &str, verb: Verb) -> bool {
        self.until_settled().await;
        let used = self.used().await;
        let is_done = match verb {
            Verb::Attach => used.is_some(),
            Verb::Detach => used.is_none(),
            Verb::Swap => used == Some(1 - self.current),
        };
        self.current = used.unwrap_or(self.current);
        self.assert_marked();
        eprintln!("{what}: {}, the guest is {:?}", if is_done { "done" } else { "undone" }, self.guest);
        self.until_agreed(used.is_some()).await;
        is_done
    }

    /// Both can be used, and taken away, and nothing is left.
    async fn end(mut self) {
        self.prepare(Verb::Detach).await;
        self.assert_marked();
        self.hearth().server_remove_volume(&self.id, self.current()).await;
        for volume in &self.volumes {
            self.hearth().volume_delete(volume).await;
        }
        assert_eq!(self.hearth().fsck().await, [] as [Value; 0]);
        eprintln!("settled after {:?} at most", self.longest);
    }
}

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn rounds() -> u32 {
    from_environment("HEARTH_CRASH_ROUNDS").unwrap_or(ROUNDS)
}

fn random() -> StdRng {
    let seed = from_environment("HEARTH_CRASH_SEED").unwrap_or_else(|| StdRng::from_os_rng().next_u64());
    eprintln!("HEARTH_CRASH_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// The only thing that may depend on time here: when the kill comes.
async fn pass(time: Duration) {
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

fn any_moment(random: &mut StdRng) -> Moment {
    Moment::After(Duration::from_millis(random.random_range(0..KILLED_WITHIN_MS)))
}

#[tokio::test]
async fn a_guest_that_is_killed_in_the_middle_leaves_volumes_that_can_be_used() {
    let mut random = random();
    let mut stage = Stage::start().await;
    for verb in Verb::ALL {
        for comes_back in [false, true] {
            for round in 0..=rounds() {
                stage.prepare(verb).await;
                assert!(stage.ask(verb).await, "{verb:?}");
                let what = if round == 0 {
                    let hearth = stage.hearth();
                    wait_until("it is asked of the guest, or done", async || {
                        let open = hearth.admin(Method::GET, "/admin/operations", None).await;
                        let open = open["operations"].as_array().expect("a list").clone();
                        open.is_empty() || open.iter().any(|operation| operation["step"] == verb.step())
                    })
                    .await;
                    format!("{verb:?}, guest at {}, back: {comes_back}", verb.step())
                } else {
                    let time = Duration::from_millis(random.random_range(0..KILLED_WITHIN_MS));
                    pass(time).await;
                    format!("{verb:?}, guest after {time:?}, back: {comes_back}")
                };
                stage.guest_dies();
                if comes_back {
                    stage.guest_comes_back().await;
                }
                let is_done = stage.check(&what, verb).await;
                // A guest that is not there has let go of its disk.
                assert!(is_done || verb != Verb::Detach, "{what}: the detach was accepted, and is not done");
            }
        }
    }
    stage.end().await;
}

/// The guest lives on, and what was accepted is carried out.
#[tokio::test]
async fn a_service_that_is_killed_in_the_middle_carries_out_for_the_guest_what_it_had_accepted() {
    let mut random = random();
    let mut stage = Stage::start().await;
    for verb in Verb::ALL {
        let calls = (1..=verb.calls()).flat_map(|nth| ["driver.before", "driver.after"].map(|at| Moment::At(at, nth)));
        let commits = (1..=COMMITS).flat_map(|nth| ["commit.before", "commit.after"].map(|at| Moment::At(at, nth)));
        let mut moments: Vec<Moment> = calls.chain(commits).chain([Moment::At("reply.before", 1)]).collect();
        moments.extend((0..rounds()).map(|_| any_moment(&mut random)));
        for moment in moments {
            let accepted = stage.ask_and_kill(verb, moment, None).await;
            stage.host.hearth.start_again().await;
            let is_done = stage.check(&format!("{verb:?}, service {moment:?}"), verb).await;
            assert!(is_done || !accepted, "{verb:?}, {moment:?}: what was accepted is not there");
            match stage.used().await {
                Some(_) => stage.write_mark().await,
                None => stage.host.guests[stage.server].guest.until(NO_DISK).await,
            }
            stage.assert_marked();
        }
    }
    stage.end().await;
}

#[tokio::test]
async fn a_guest_and_a_service_that_are_killed_together_leave_volumes_that_can_be_used() {
    const BEFORE: &str = "driver.before";
    const AFTER: &str = "driver.after";
    let mut random = random();
    let mut stage = Stage::start().await;
    let mut cases = vec![
        (Verb::Attach, Moment::At(AFTER, 1), GuestDies::Last, Back::First),
        (Verb::Attach, Moment::At(BEFORE, 2), GuestDies::First, Back::Never),
        (Verb::Attach, Moment::At(AFTER, 2), GuestDies::Last, Back::Meanwhile),
        (Verb::Detach, Moment::At(BEFORE, 1), GuestDies::Last, Back::Never),
        (Verb::Detach, Moment::At(AFTER, 1), GuestDies::First, Back::First),
        (Verb::Detach, Moment::At(BEFORE, 2), GuestDies::Last, Back::Meanwhile),
        (Verb::Swap, Moment::At(AFTER, 1), GuestDies::First, Back::Never),
        (Verb::Swap, Moment::At(AFTER, 2), GuestDies::Last, Back::First),
        (Verb::Swap, Moment::At(BEFORE, 3), GuestDies::Last, Back::Never),
        (Verb::Swap, Moment::At(AFTER, 3), GuestDies::Last, Back::Meanwhile),
        (Verb::Swap, Moment::At(BEFORE, 4), GuestDies::Last, Back::First),
    ];
    let backs = [Back::Never, Back::First, Back::Meanwhile];
    for (verb, back) in Verb::ALL.into_iter().zip(backs).cycle().take(3 * rounds() as usize) {
        cases.push((verb, any_moment(&mut random), GuestDies::Last, back));
    }
    for (verb, moment, guest, back) in cases {
        let accepted = stage.ask_and_kill(verb, moment, Some(guest)).await;
        if let Back::First = back {
            stage.guest_comes_back().await;
        }
        stage.host.hearth.start_again().await;
        if let Back::Meanwhile = back {
            stage.guest_comes_back().await;
        }
        let what = format!("{verb:?}, service {moment:?}, guest {guest:?}, back {back:?}");
        let is_done = stage.check(&what, verb).await;
        assert!(is_done || verb != Verb::Detach || !accepted, "{what}: the detach was accepted, and is not done");
    }
    stage.end().await;
}
