//! Promise I7: a panic costs the request that caused it; a volume whose actor keeps crashing is taken out of service, and
//! nobody else notices.

use std::time::Duration;

use futures_util::future::{join, join_all};
use hearth::actors::RequestError;
use hearth::domain::ids::VolumeId;
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::Command;
use hearth::domain::volume::command::UpdateVolume;
use hearth::drivers::sim::{Fault, FaultRule};
use hearth::sim::{WorldOptions, simulate};

use super::live::{Got, Live, LiveOptions, wait_until};
use crate::races::scenario::Client;

/// Crashes within a minute after which a volume is out of service.
const CRASHES_TO_QUARANTINE: u64 = 5;

/// Requests for other volumes that run all the while: each must succeed.
async fn neighbours(live: &Live, ids: &[VolumeId]) {
    let work = ids.iter().map(async |id| {
        for turn in 0..20 {
            let got = live.rename(*id, &format!("turn-{turn}")).await;
            assert_eq!(got.status, 200, "{got:?}");
            assert_eq!(live.show(*id).await["name"], format!("turn-{turn}"));
        }
    });
    join_all(work).await;
}

async fn some_volumes(live: &Live, count: usize) -> Vec<VolumeId> {
    let mut ids = Vec::new();
    for index in 0..count {
        ids.push(live.volume(&format!("neighbour-{index}")).await);
    }
    ids
}

#[actix_web::test]
async fn i7_a_panic_costs_one_request_and_nobody_else_notices() {
    let live = Live::start(LiveOptions::default()).await;
    let others = some_volumes(&live, 6).await;
    let id = live.volume("unlucky").await;
    live.settle().await;
    let generation = live.actor(id).await["generation"].as_u64().expect("a number");
    let scene = async {
        live.make_panic(id).await;
        // Those that were sent together with the unlucky one are carried out all the same.
        let answers = join_all((0..20).map(async |index| live.rename(id, &format!("name-{index}")).await)).await;
        let lost: Vec<&Got> = answers.iter().filter(|got| got.status != 200).collect();
        assert_eq!(lost.len(), 1, "{lost:?}");
        assert_eq!(lost[0].status, 500);
        assert_eq!(lost[0].body["computeFault"]["code"], 500);
        assert!(!lost[0].message().contains("panic"), "the cause is nobody's business: {lost:?}");
        assert_eq!(live.rename(id, "after").await.status, 200);
    };
    join(scene, neighbours(&live, &others)).await;
    let actor = live.actor(id).await;
    assert_eq!((&actor["restarts"], &actor["state"]), (&1.into(), &"active".into()), "{actor}");
    assert_eq!(actor["generation"], generation + 20, "19 of 20 and the one after: {actor}");
    assert_eq!(live.show(id).await["name"], "after");
    for other in others {
        assert_eq!(live.actor(other).await["restarts"], 0);
    }
    live.stop().await;
}

/// The operation that was under way goes on in the next incarnation, and its late result finds it.
#[actix_web::test]
async fn i7_an_operation_survives_the_panic_of_its_actor() {
    let live = Live::start(LiveOptions::default()).await;
    let id = live.volume("unlucky").await;
    let rule = FaultRule::once("extend", Fault::Hang { effect_first: false });
    live.sim().faults().add(rule).expect("the rule makes sense");
    assert_eq!(live.extend(id, 3).await.status, 202);
    wait_until("the extend hangs", async || !live.sim().faults().hung().is_empty()).await;
    live.make_panic(id).await;
    assert_eq!(live.rename(id, "lost").await.status, 500);
    assert_eq!(live.show(id).await["status"], "extending");
    live.sim().faults().release(None);
    assert_eq!(live.until(id, "available").await["size"], 3);
    live.settle().await;
    assert_eq!(live.sim().truth().volume(id).size_gib, 3);
    live.assert_usage_is_exact().await;
    live.stop().await;
}

#[actix_web::test]
async fn i7_a_crash_loop_ends_in_quarantine_that_others_do_not_notice() {
    let live = Live::start(LiveOptions::default()).await;
    let others = some_volumes(&live, 4).await;
    let id = live.volume("broken").await;
    let scene = async {
        for crash in 1..=CRASHES_TO_QUARANTINE {
            live.make_panic(id).await;
            // While it backs off it says so, and takes nothing.
            wait_until("it takes the command that kills it", async || {
                let got = live.rename(id, "never").await;
                if got.status == 503 {
                    assert!(got.header("Retry-After").is_some(), "{got:?}");
                    return false;
                }
                assert_eq!(got.status, 500, "{got:?}");
                true
            })
            .await;
            wait_until("the crash is counted", async || live.actor(id).await["restarts"] == crash).await;
        }
        let got = live.rename(id, "never").await;
        assert_eq!(got.status, 503, "{got:?}");
        let seconds = got.header("Retry-After").and_then(|text| text.parse::<u64>().ok());
        assert!(seconds.is_some_and(|seconds| seconds >= 1), "{got:?}");
        let listed = live.get("/admin/actors?state=quarantined").await.body;
        assert_eq!(listed["count"], 1, "{listed}");
        assert_eq!(listed["actors"][0]["volume_id"], id.to_string());
        let actor = live.actor(id).await;
        assert_eq!((&actor["state"], &actor["observation"]), (&"quarantined".into(), &"post-mortem".into()), "{actor}");
        // The status word speaks of the data, which is fine.
        let shown = live.show(id).await;
        assert_eq!((&shown["status"], &shown["name"]), (&"available".into(), &"broken".into()));
        assert_eq!(live.get("/v3/volumes/detail").await.status, 200);
    };
    join(scene, neighbours(&live, &others)).await;
    neighbours(&live, &others).await;
    live.stop().await;
}

#[test]
fn i7_a_quarantine_ends_and_the_volume_works_again() {
    simulate(WorldOptions::seeded(3), async |world| {
        let node = world.start().await;
        let client = Client::new(world, &node);
        let id = client.available(1).await;
        let rename = || Command::Update(UpdateVolume { name: Some(Some("n".into())), ..UpdateVolume::default() });
        for _ in 0..CRASHES_TO_QUARANTINE {
            node.run(async { node.service.inject_panic(id) }).await;
            loop {
                match client.ask(id, rename()).await.expect("alive") {
                    Err(RequestError::Lost) => break,
                    Err(RequestError::Overloaded { retry_after }) => world.pass_time(retry_after).await,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(client.ask(id, rename()).await.expect("alive").err(), Some(RequestError::Quarantined));
        node.run(world.pass_time(Duration::from_secs(301))).await;
        let reply = client.ask(id, rename()).await.expect("alive").expect("in service again");
        assert_eq!(reply.state.volume.status, VolumeStatus::Available);
        client.extend(id, 2).await.expect("alive").expect("extended");
        client.wait(id, VolumeStatus::Available).await;
        client.assert_clean().await;
    });
}
