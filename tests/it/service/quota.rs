//! Promise I5 over HTTP: whatever comes at once, a project never passes its limits, and its usage is exact.

use std::cell::Cell;

use futures_util::future::{join, join_all};
use hearth::actors::ActorOptions;
use hearth::domain::ids::{ProjectId, VolumeId};
use hearth::domain::quota::Limits;
use hearth::store::Store;
use serde_json::json;

use super::live::{Got, Live, LiveOptions, id_of};

const VOLUMES: i64 = 10;
const GIGABYTES: i64 = 30;
const CROWD: usize = 80;

fn over_limit(got: &Got) {
    assert_eq!((got.status, got.header("Retry-After")), (413, Some("0")), "{got:?}");
    assert_eq!(got.body["overLimit"]["code"], 413, "{got:?}");
    assert_eq!(got.body["overLimit"]["retryAfter"], "0", "{got:?}");
}

/// Looks at the project's usage all the while.
async fn watched<T>(live: &Live, work: impl Future<Output = T>) -> T {
    let done = Cell::new(false);
    let work = async {
        let result = work.await;
        done.set(true);
        result
    };
    let watching = async {
        while !done.get() {
            let usage = live.store.usage(ProjectId::from("p")).await.expect("the store reads");
            assert!(usage.volumes <= VOLUMES, "{usage:?}");
            assert!(usage.gigabytes <= GIGABYTES, "{usage:?}");
            tokio::task::yield_now().await;
        }
    };
    join(work, watching).await.0
}

async fn usage(live: &Live) -> (i64, i64) {
    live.assert_usage_is_exact().await;
    let usage = live.store.usage(ProjectId::from("p")).await.expect("the store reads");
    (usage.volumes, usage.gigabytes)
}

#[actix_web::test]
async fn r52_parallel_creates_and_extends_never_pass_the_limits() {
    let defaults = LiveOptions::default();
    let limits = Limits { volumes: VOLUMES, gigabytes: GIGABYTES, per_volume_gigabytes: 20, ..Limits::NONE };
    let actors = ActorOptions { limits, ..defaults.actors.clone() };
    let live = Live::start(LiveOptions { actors, ..defaults }).await;

    let body = json!({"volume": {"size": 1}});
    let creates = join_all((0..CROWD).map(|_| live.post("/v3/volumes", body.clone())));
    let answers = watched(&live, creates).await;
    let (created, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|got| got.status == 202);
    assert_eq!(created.len(), 10);
    refused.iter().for_each(over_limit);
    let text = "VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded for quota 'volumes'.";
    assert!(refused.iter().all(|got| got.message() == text), "{refused:?}");
    let ids: Vec<VolumeId> = created.iter().map(|got| id_of(&got.body["volume"])).collect();
    for id in &ids {
        live.until(*id, "available").await;
    }
    assert_eq!(usage(&live).await, (10, 10));

    // Each wants 5 more, and 20 are left: four get them, whatever the order.
    let extends = join_all(ids.iter().map(|id| live.extend(*id, 6)));
    let answers = watched(&live, extends).await;
    let (extended, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|got| got.status == 202);
    assert_eq!(extended.len(), 4);
    refused.iter().for_each(over_limit);
    live.settle().await;
    assert_eq!(usage(&live).await, (10, 30));

    // What is larger than a volume may be is refused before anything is counted.
    over_limit(&live.extend(ids[0], 21).await);
    // Another project has limits of its own.
    let got = live.ask_as("root:q", "POST", "/v3/volumes", Some(&body)).await;
    assert_eq!(got.status, 202, "{got:?}");

    // Deletes give back exactly what was taken, while others take it again.
    let deletes = join_all(ids.iter().map(async |id| live.delete(&format!("/v3/volumes/{id}")).await.status));
    let creates = join_all((0..CROWD).map(|_| live.post("/v3/volumes", body.clone())));
    let (deleted, created) = watched(&live, join(deletes, creates)).await;
    assert!(deleted.iter().all(|status| *status == 202), "{deleted:?}");
    for id in &ids {
        live.until(*id, "gone").await;
    }
    live.settle().await;
    let created = created.iter().filter(|got| got.status == 202).count();
    let created = i64::try_from(created).expect("small");
    assert_eq!(usage(&live).await, (created, created));
    live.stop().await;
}
