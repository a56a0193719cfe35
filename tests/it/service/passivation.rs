//! Idle volumes leave memory and come back as they were; nothing that races with that is lost, and a volume never has two
//! actors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use hearth::actors::{ActorOptions, ServerAttachRequest, Service};
use hearth::domain::ids::{ServerId, VolumeId};
use hearth::domain::volume::Command;
use hearth::domain::volume::command::UpdateVolume;
use hearth::store::Store;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::live::{Live, LiveOptions, PATIENCE, caller, wait_until};

/// Every volume without work is idle at once.
async fn start() -> Live {
    let defaults = LiveOptions::default();
    let actors = ActorOptions { idle_ttl: Duration::ZERO, ..defaults.actors.clone() };
    Live::start(LiveOptions { actors, ..defaults }).await
}

async fn until_all_have_left(live: &Live) {
    wait_until("all volumes are passive", async || {
        live.service.sweep();
        live.service.actors().is_empty()
    })
    .await;
}

fn rename(name: String) -> Command {
    Command::Update(UpdateVolume { name: Some(Some(name)), ..UpdateVolume::default() })
}

#[actix_web::test]
async fn idle_volumes_leave_and_come_back_as_they_were() {
    let live = start().await;
    let mut ids = Vec::new();
    for index in 0..12 {
        let id = live.volume(&format!("v{index}")).await;
        if index % 3 == 0 {
            let server = live.server(&format!("s{index}")).await;
            assert_eq!(live.server_attach(&server, id).await.status, 200);
            live.until(id, "in-use").await;
        }
        ids.push(id);
    }
    live.settle().await;
    let shown = async || join_all(ids.iter().map(|id| live.show(*id))).await;
    let (before, active) = (shown().await, live.service.actors().len());
    assert!(active <= ids.len());
    until_all_have_left(&live).await;
    assert_eq!(shown().await, before, "passive");
    assert!(live.service.actors().is_empty(), "a GET activates nothing");
    assert_eq!(live.actor(ids[0]).await["state"], "passive");
    for (index, id) in ids.iter().enumerate() {
        let got = live.extend(*id, 2).await;
        assert_eq!(got.status, 202, "{got:?}");
        live.until(*id, if index % 3 == 0 { "in-use" } else { "available" }).await;
    }
    live.settle().await;
    let grown: Vec<Value> = shown().await;
    for (before, after) in before.iter().zip(&grown) {
        assert_eq!((&after["size"], &after["attachments"]), (&2.into(), &before["attachments"]));
    }
    until_all_have_left(&live).await;
    assert_eq!(shown().await, grown, "passive again");
    assert_eq!(live.counted.stale(), 0);
    live.stop().await;
}

/// A volume with an operation, or with a call that has not come back, stays.
#[actix_web::test]
async fn a_volume_with_work_does_not_leave() {
    use hearth::drivers::sim::{Fault, FaultRule};
    let live = start().await;
    let id = live.volume("busy").await;
    live.sim().faults().add(FaultRule::once("extend", Fault::Hang { effect_first: false })).expect("makes sense");
    assert_eq!(live.extend(id, 2).await.status, 202);
    wait_until("the extend hangs", async || !live.sim().faults().hung().is_empty()).await;
    for _ in 0..100 {
        live.service.sweep();
        assert_eq!(live.actor(id).await["state"], "active");
    }
    live.sim().faults().release(None);
    live.until(id, "available").await;
    until_all_have_left(&live).await;
    live.stop().await;
}

const TOUCHES: usize = 1_000;
const THREADS: usize = 4;

/// The same commands from several threads at once; each thread's answers.
fn on_threads(service: &Service, work: impl Fn(Service, usize) + Send + Sync + Clone + 'static) {
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (service, work) = (service.clone(), work.clone());
            std::thread::spawn(move || work(service, thread))
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread saw anything wrong");
    }
}

/// Runs it beside this thread, on which the service may have work to do; a deadlock fails the test.
async fn beside(work: impl FnOnce() + Send + 'static) {
    let ended = tokio::time::timeout(PATIENCE, actix_web::rt::task::spawn_blocking(work)).await;
    ended.expect("the threads end in time").expect("no thread saw anything wrong");
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work)
}

#[actix_web::test]
async fn a_thousand_first_touches_activate_once() {
    let live = start().await;
    for round in 0..5 {
        let id = live.volume(&format!("round-{round}")).await;
        until_all_have_left(&live).await;
        let (loads, generation) = (live.counted.loads(id), generation(&live, id).await);
        let service = live.service.clone();
        let touching = move |service: Service, thread: usize| {
            block_on(async {
                let touches = (0..TOUCHES / THREADS)
                    .map(|touch| service.volume_command(id, rename(format!("{thread}-{touch}")), caller()));
                for answer in join_all(touches).await {
                    answer.expect("each is carried out");
                }
            });
        };
        beside(move || on_threads(&service, touching)).await;
        assert_eq!(live.counted.loads(id) - loads, 1, "one activation");
        assert_eq!(live.service.actors().len(), 1);
        let after = live.actor(id).await["generation"].as_u64().expect("a number");
        assert_eq!(after, generation + TOUCHES as u64, "each touch committed once");
    }
    assert_eq!(live.counted.stale(), 0);
    live.stop().await;
}

async fn generation(live: &Live, id: VolumeId) -> u64 {
    live.store.volume_get(id).await.expect("the store reads").expect("it exists").volume.generation
}

const SEEDS: u64 = 4;
const VOLUMES: usize = 3;
const COMMANDS: usize = 120;

/// Requests and passivation race; every request is carried out exactly once, by one actor at a time.
#[actix_web::test]
async fn no_request_that_races_with_passivation_is_lost() {
    let live = start().await;
    let mut ids = Vec::new();
    for index in 0..VOLUMES {
        ids.push(live.volume(&format!("v{index}")).await);
        live.server(&format!("s{index}")).await;
    }
    live.settle().await;
    let over = Arc::new(AtomicBool::new(false));
    let sweepers = [(), ()].map(|()| {
        let (service, over) = (live.service.clone(), Arc::clone(&over));
        std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                service.sweep();
                // Whoever watches must not be in the way either.
                service.actors();
                std::thread::yield_now();
            }
        })
    });
    let mut loads = 0;
    for seed in 0..SEEDS {
        let before = generations(&live, &ids).await;
        let sent: Arc<Vec<AtomicU64>> = Arc::new((0..VOLUMES).map(|_| AtomicU64::new(0)).collect());
        let service = live.service.clone();
        let work = {
            let (ids, sent) = (ids.clone(), Arc::clone(&sent));
            move |service: Service, thread: usize| {
                block_on(commands(&service, &ids, &sent, seed * THREADS as u64 + thread as u64));
            }
        };
        beside(move || on_threads(&service, work)).await;
        let after = generations(&live, &ids).await;
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            let sent = sent[index].load(Ordering::SeqCst);
            assert_eq!(after - before, sent, "seed {seed}: each command committed exactly once");
        }
        loads = ids.iter().map(|id| live.counted.loads(*id)).sum();
        assert_eq!(live.counted.stale(), 0, "seed {seed}: two actors wrote one volume");
    }
    // Attaches and detaches through a server's actor race just as well.
    for turn in 0..15 {
        for (index, id) in ids.iter().enumerate() {
            let server = ServerId::from(format!("s{index}"));
            let request = ServerAttachRequest { shelved_allowed: true, ..ServerAttachRequest::default() };
            let attached = live.service.server_attach(server.clone(), *id, request, caller()).await;
            attached.unwrap_or_else(|error| panic!("turn {turn}: {error}"));
            live.until(*id, "in-use").await;
            let detached = live.service.server_detach(server, *id, true, caller()).await;
            detached.unwrap_or_else(|error| panic!("turn {turn}: {error}"));
            live.until(*id, "available").await;
        }
    }
    // So do the detaches of a server that is deleted, which nobody would ask for again.
    for (index, id) in ids.iter().enumerate() {
        let request = ServerAttachRequest { shelved_allowed: true, ..ServerAttachRequest::default() };
        let server = ServerId::from(format!("s{index}"));
        live.service.server_attach(server.clone(), *id, request, caller()).await.expect("attached");
        live.until(*id, "in-use").await;
        live.service.server_delete(server, caller()).await.expect("deleted");
    }
    for id in &ids {
        live.until(*id, "available").await;
    }
    over.store(true, Ordering::SeqCst);
    for sweeper in sweepers {
        sweeper.join().expect("the sweeper ends");
    }
    assert!(loads > 50, "only {loads} activations: nothing raced");
    assert_eq!(live.counted.stale(), 0);
    live.stop().await;
}

async fn generations(live: &Live, ids: &[VolumeId]) -> Vec<u64> {
    join_all(ids.iter().map(|id| generation(live, *id))).await
}

/// Commands one after the other, so that volumes fall idle in between.
async fn commands(service: &Service, ids: &[VolumeId], sent: &[AtomicU64], seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    for turn in 0..COMMANDS {
        let index = random.random_range(0..ids.len());
        let answer = service.volume_command(ids[index], rename(format!("{seed}-{turn}")), caller()).await;
        answer.unwrap_or_else(|error| panic!("seed {seed}, turn {turn}: {error}"));
        sent[index].fetch_add(1, Ordering::SeqCst);
    }
}
