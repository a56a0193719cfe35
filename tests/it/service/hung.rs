//! Promise I7: a backend call, and its probe, that never answer cost their own volume only; a hung backend costs its own
//! volumes only.

use std::cell::Cell;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{Either, join, join_all, select};
use hearth::domain::backend::Deadlines;
use hearth::domain::ids::VolumeId;
use hearth::domain::metadata::Metadata;
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::Command;
use hearth::domain::volume::command::CreateVolume;
use hearth::drivers::pool::PoolOptions;
use hearth::drivers::sim::{Fault, FaultRule, Latency, LatencyTable, SimBackend, SimOptions};
use hearth::sim::{World, WorldOptions, simulate};
use hearth::store::Store;
use serde_json::json;

use super::live::{Live, LiveOptions, caller, id_of};
use crate::races::scenario::Client;

/// Volumes that live beside the hung one in virtual time, and the backend's workers: one more than they can use at once, and
/// one for the hung call.
const OTHERS: usize = 3;
const WORKERS: usize = OTHERS + 1;
/// Far less than the calls that the hung volume could leave behind in the time of the test.
const MAX_OUTSTANDING: usize = 8;
/// Lives of each volume, spread over this time.
const LIVES: u32 = 4;
const BETWEEN_LIVES: Duration = Duration::from_secs(300);

/// What happened to a volume: generation, instant (µs), command, status before and after.
type History = Vec<(u64, i64, String, Option<String>, String)>;

fn hang_everything(backend: &SimBackend, id: VolumeId) {
    let rule = FaultRule { request: None, ..FaultRule::on("probe", Fault::Hang { effect_first: true }) };
    backend.faults().add(rule.of(id)).expect("the rule makes sense");
}

/// The histories of the other volumes, and the instants at which their clients had each answer.
fn neighbours(seed: u64, hangs: bool) -> (Vec<History>, Vec<Vec<i64>>) {
    let mut options = WorldOptions::seeded(seed);
    options.pool.workers = WORKERS;
    options.pool.max_outstanding = MAX_OUTSTANDING;
    simulate(options, async |world| {
        world.backend().faults().set_latency(latencies());
        let node = world.start().await;
        let client = Client::new(world, &node);
        let hung = client.available(1).await;
        for server in 0..=OTHERS {
            client.server(&format!("s{server}")).await.expect("alive");
        }
        let ids = (0..OTHERS).map(|_| (0..LIVES).map(|_| world.volume_id()).collect()).collect::<Vec<Vec<VolumeId>>>();
        if hangs {
            hang_everything(world.backend(), hung);
        }
        let done = Cell::new(false);
        let others = async {
            let lives = ids.iter().enumerate().map(|(index, ids)| lives(world, &client, index + 1, ids));
            let instants = join_all(lives).await;
            done.set(true);
            instants
        };
        let poking = async {
            while hangs && !done.get() {
                poke(&client, hung).await;
            }
        };
        let (instants, ()) = join(others, poking).await;
        if hangs {
            assert!(!world.backend().faults().hung().is_empty(), "nothing hung: the test shows nothing");
        }
        let mut histories = Vec::new();
        for id in ids.iter().flatten() {
            let events = world.store().events(*id, None, 1_000).await.expect("the inline store reads");
            let told = events
                .into_iter()
                .map(|event| (event.generation, event.at.0, event.command, event.from_status, event.to_status));
            histories.push(told.collect());
        }
        (histories, instants)
    })
}

/// Different for each request, the same for all volumes.
fn latencies() -> LatencyTable {
    "create=37ms,delete=23ms,extend=41ms,export=11ms,unexport=7ms,plug=13ms,unplug=17ms,default=3ms"
        .parse()
        .expect("a constant is valid")
}

/// Lives of one client's volumes, one after the other; when each step was done.
async fn lives(world: &World, client: &Client<'_>, server: usize, ids: &[VolumeId]) -> Vec<i64> {
    let server = format!("s{server}");
    let mut instants = Vec::new();
    for id in ids {
        client.create(*id, 1).await.expect("alive").expect("created");
        client.wait(*id, VolumeStatus::Available).await.expect("alive");
        instants.push(world.now().0);
        client.server_attach(&server, *id).await.expect("alive").expect("attached");
        client.wait(*id, VolumeStatus::InUse).await.expect("alive");
        instants.push(world.now().0);
        client.extend(*id, 2).await.expect("alive").expect("extended");
        client.wait(*id, VolumeStatus::InUse).await.expect("alive");
        instants.push(world.now().0);
        client.server_detach(&server, *id).await.expect("alive").expect("detached");
        client.wait(*id, VolumeStatus::Available).await.expect("alive");
        instants.push(world.now().0);
        client.delete(*id).await.expect("alive").expect("deleted");
        client.wait_gone(*id).await.expect("alive");
        instants.push(world.now().0);
        world.pass_time(BETWEEN_LIVES).await;
    }
    instants
}

/// The hung volume's client never stops asking for whatever it can.
async fn poke(client: &Client<'_>, hung: VolumeId) {
    let quiet = async || {
        let patience = Duration::from_secs(600);
        client.node.until(hung, patience, |state| state.is_none_or(|state| state.operations.is_empty())).await
    };
    for status in [VolumeStatus::Available, VolumeStatus::Error] {
        drop(client.server_attach("s0", hung).await);
        quiet().await;
        drop(client.extend(hung, 2).await);
        quiet().await;
        drop(client.attachment_create(hung, Some("foreign"), Some(json!({"host": "h"}))).await);
        quiet().await;
        drop(client.reset(hung, status).await);
        drop(client.ask(hung, Command::Delete { force: true, cascade: false }).await);
        quiet().await;
        drop(client.reset(hung, VolumeStatus::Available).await);
        client.world.pass_time(Duration::from_secs(1)).await;
    }
}

#[test]
fn i7_neighbours_of_a_hung_volume_finish_at_the_same_instants_tick_for_tick() {
    for seed in 1..=3 {
        let (calm, calm_instants) = neighbours(seed, false);
        let (beside, beside_instants) = neighbours(seed, true);
        assert!(calm.iter().all(|history| history.len() >= 10), "{calm:#?}");
        assert_eq!(calm, beside, "seed {seed}");
        assert_eq!(calm_instants, beside_instants, "seed {seed}");
    }
}

/// Pairs of samples, volumes that work, and what each of them does in one sample.
const PAIRS: usize = 9;
/// On a busy machine more pairs tell noise from an effect: noise goes, an effect stays.
const PAIRS_AT_MOST: usize = 27;
const BUSY: usize = 8;
const CYCLES: usize = 40;
/// The medians of the pairs' ratios must be within these.
const THROUGHPUT_AT_LEAST: f64 = 0.9;
const P99_AT_MOST: f64 = 1.5;

/// Requests per second, and the 99th percentile of their times.
#[derive(Clone, Copy, Debug)]
struct Sample {
    throughput: f64,
    p99: f64,
}

/// Each volume is connected and disconnected, again and again; both answer with the backend's result.
async fn sample(live: &Live, volumes: &[VolumeId]) -> Sample {
    let begun = Instant::now();
    let work = volumes.iter().map(async |id| {
        let mut times = Vec::with_capacity(2 * CYCLES);
        for _ in 0..CYCLES {
            let asked = Instant::now();
            let body = json!({"attachment": {
                "volume_uuid": id, "instance_uuid": "462dcc2d-130d-4654-8db1-da0df2da6a0d", "connector": {"host": "h"},
            }});
            let got = live.post("/v3/attachments", body).await;
            assert_eq!(got.status, 200, "{got:?}");
            times.push(asked.elapsed());
            let row = got.body["attachment"]["id"].as_str().expect("an id").to_owned();
            let asked = Instant::now();
            let got = live.delete(&format!("/v3/attachments/{row}")).await;
            assert_eq!(got.status, 200, "{got:?}");
            times.push(asked.elapsed());
        }
        times
    });
    let mut times = join_all(work).await.concat();
    let took = begun.elapsed();
    times.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let throughput = times.len() as f64 / took.as_secs_f64();
    Sample { throughput, p99: times[times.len() * 99 / 100].as_secs_f64() }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Deadlines shorter than a sample: the hung calls of a sample pass through every stage (running, overdue, probed, given up).
fn short_deadlines() -> PoolOptions {
    let deadlines = Deadlines {
        export: Duration::from_millis(200),
        unexport: Duration::from_millis(200),
        probe: Duration::from_millis(100),
        ..Deadlines::default()
    };
    PoolOptions { deadlines, ..PoolOptions::default() }
}

#[actix_web::test]
async fn i7_throughput_and_tail_beside_a_hung_volume_of_the_same_backend() {
    let latency = LatencyTable::all(Latency::Fixed { us: 1_000 });
    let backends = vec![("sim", SimOptions { latency, ..SimOptions::in_memory(1) })];
    let live = Live::start(LiveOptions { backends, pool: short_deadlines(), ..LiveOptions::default() }).await;
    let mut volumes = Vec::new();
    for index in 0..BUSY {
        volumes.push(live.volume(&format!("busy-{index}")).await);
    }
    sample(&live, &volumes).await;
    let mut pairs = Vec::new();
    let (mut throughput, mut p99) = (0.0, f64::INFINITY);
    while (throughput < THROUGHPUT_AT_LEAST || p99 > P99_AT_MOST) && pairs.len() < PAIRS_AT_MOST {
        // A fresh one each time: what a hung call leaves behind belongs to its sample.
        let hung = live.volume(&format!("hung-{}", pairs.len())).await;
        let without = sample(&live, &volumes).await;
        hang_everything(live.sim(), hung);
        let with = {
            let poking = async {
                loop {
                    let body = json!({"attachment": {
                        "volume_uuid": hung, "instance_uuid": "462dcc2d-130d-4654-8db1-da0df2da6a0d",
                        "connector": {"host": "h"},
                    }});
                    let got = live.post("/v3/attachments", body).await;
                    assert_ne!(got.status, 200, "it did not hang");
                }
            };
            match select(pin!(sample(&live, &volumes)), pin!(poking)).await {
                Either::Left((with, _)) => with,
                Either::Right((never, _)) => never,
            }
        };
        live.sim().faults().clear();
        live.sim().faults().release(None);
        pairs.push((without, with));
        if pairs.len().is_multiple_of(PAIRS) {
            throughput = median(pairs.iter().map(|(without, with)| with.throughput / without.throughput).collect());
            p99 = median(pairs.iter().map(|(without, with)| with.p99 / without.p99).collect());
        }
    }
    let count = pairs.len();
    println!("beside a hung volume: throughput x{throughput:.3}, p99 x{p99:.3} (medians of {count} pairs)");
    assert!(throughput >= THROUGHPUT_AT_LEAST, "throughput x{throughput}: {pairs:#?}");
    assert!(p99 <= P99_AT_MOST, "p99 x{p99}: {pairs:#?}");
    live.stop().await;
}

/// The backend "deaf" never answers anything; every worker and every place in its queue is taken.
#[actix_web::test]
async fn i7_a_hung_backend_does_not_hurt_another_one() {
    let backends = vec![("well", SimOptions::in_memory(1)), ("deaf", SimOptions::in_memory(2))];
    let pool = PoolOptions { workers: 2, queue: 4, max_outstanding: 3, ..short_deadlines() };
    let live = Live::start(LiveOptions { backends, pool, ..LiveOptions::default() }).await;
    let rule = FaultRule { request: None, ..FaultRule::on("create", Fault::Hang { effect_first: false }) };
    live.backend("deaf").faults().add(rule).expect("the rule makes sense");
    let mut waiting = Vec::new();
    for index in 0..20 {
        waiting.push(create_at(&live, "deaf", index).await);
    }
    super::live::wait_until("the deaf backend's workers are taken", async || {
        live.backend("deaf").faults().hung().len() >= pool.workers
    })
    .await;
    live.server("s").await;
    for index in 0..5 {
        let id = create_at(&live, "well", index).await;
        live.until(id, "available").await;
        assert_eq!(live.server_attach("s", id).await.status, 200);
        live.until(id, "in-use").await;
        assert_eq!(live.extend(id, 2).await.status, 202);
        assert_eq!(live.until(id, "in-use").await["size"], 2);
        assert_eq!(live.server_detach("s", id).await.status, 202);
        live.until(id, "available").await;
        assert_eq!(live.delete(&format!("/v3/volumes/{id}")).await.status, 202);
        live.until(id, "gone").await;
    }
    for id in waiting {
        let status = live.show(id).await["status"].clone();
        assert!(status == "creating" || status == "error", "{status}");
    }
    let drivers = live.get("/admin/drivers").await.body;
    assert!(drivers.to_string().contains("sim@well#pool"), "{drivers}");
    live.stop().await;
}

/// A volume on a backend of the test's choice.
async fn create_at(live: &Live, backend: &str, index: usize) -> VolumeId {
    let volume_id = VolumeId(uuid::Uuid::new_v4());
    let command = Command::Create(Box::new(CreateVolume {
        volume_id,
        size_gib: 1,
        name: Some(format!("{backend}-{index}")),
        description: None,
        metadata: Metadata::default(),
        volume_type_id: None,
        type_revision: None,
        multiattach: false,
        availability_zone: "nova".to_owned(),
        host: Some(format!("sim@{backend}#pool")),
        wanted: None,
        bootable: false,
        origin: None,
        adopts: None,
    }));
    live.service.volume_command(volume_id, command, caller()).await.expect("created");
    assert_eq!(id_of(&live.show(volume_id).await), volume_id);
    volume_id
}
