//! A client that saw a state in a list never sees an older one by id afterwards (I6 between the two APIs as well).
//!
//! Lists are read from the database, which knows of a commit before the volume's actor has published it; reads by id come
//! from the published view. What keeps them in order is the flag that a commit is in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use hearth::actors::{ServerAttachRequest, Service};
use hearth::domain::ids::{ProjectId, ServerId, VolumeId};
use hearth::domain::status::AttachStatus;
use hearth::domain::volume::command::UpdateVolume;
use hearth::domain::volume::{Command, VolumeState};
use hearth::sim::{World, WorldOptions, simulate};
use hearth::store::{AttachmentQuery, Direction, Extent, Paging, Store, VolumeQuery};

use super::live::{Live, LiveOptions, PATIENCE, caller};
use crate::races::scenario::Client;
use crate::store::cluster;

fn paging() -> Paging {
    let sort = vec![("id".to_owned(), Direction::Ascending)];
    Paging { sort, marker: None, offset: 0, limit: 1_000 }
}

async fn listed(store: &dyn Store) -> Vec<VolumeState> {
    let query = VolumeQuery {
        project_id: Some(ProjectId::from("p")),
        filters: vec![],
        paging: paging(),
        with_count: false,
        extent: Extent::Whole,
    };
    store.volume_list(query).await.expect("the store reads").rows
}

/// What `later` shows must not be older than what `earlier` showed.
#[track_caller]
fn assert_not_older(earlier: &VolumeState, later: &VolumeState) {
    let (before, after) = (&earlier.volume, &later.volume);
    assert!(after.generation >= before.generation, "{} after {}: {after:?}", after.generation, before.generation);
    assert!(after.updated_at >= before.updated_at, "{after:?} after {before:?}");
    if after.generation == before.generation {
        assert_eq!(earlier, later, "one generation is one state");
    }
}

/// list → show → list, once: of volumes, of attachments, of Compute's view of a server.
async fn look(service: &Service, servers: &[ServerId]) -> u64 {
    let store = service.store().as_ref();
    let mut newer = 0;
    let mut shown = Vec::new();
    for state in listed(store).await {
        if let Some(view) = service.volume_view(state.id()).await.expect("the store reads") {
            assert_not_older(&state, &view);
            newer += u64::from(view.volume.generation > state.volume.generation);
            shown.push(view);
        }
    }
    let again = listed(store).await;
    for view in shown {
        if let Ok(index) = again.binary_search_by_key(&view.id(), VolumeState::id) {
            assert_not_older(&view, &again[index]);
        }
    }
    let query = AttachmentQuery { project_id: Some(ProjectId::from("p")), filters: vec![], paging: paging() };
    for row in store.attachment_list(query).await.expect("the store reads").rows {
        // A row that is gone by now was removed after it was listed; its volume has moved on too.
        if let Some(view) = service.attachment_view(row.id).await.expect("the store reads") {
            let now = view.attachment(row.id).expect("the view is of this row");
            assert!(rank(now.attach_status) >= rank(row.attach_status), "{now:?} after {row:?}");
        }
    }
    for server in servers {
        for row in store.server_attachments(server.clone()).await.expect("the store reads") {
            if let Some(view) = service.volume_view(row.volume_id).await.expect("the store reads") {
                match view.attachment(row.id) {
                    Some(now) => assert!(rank(now.attach_status) >= rank(row.attach_status), "{now:?} after {row:?}"),
                    // Compute listed it, so Block Storage knew it; now it is gone from both, and not "not there yet".
                    None => {
                        assert!(view.volume.updated_at >= Some(row.created_at), "{row:?} is not there yet: {view:?}")
                    }
                }
            }
        }
    }
    newer
}

/// The order in which the rows of these tests move.
fn rank(status: AttachStatus) -> u32 {
    match status {
        AttachStatus::Reserved => 0,
        AttachStatus::Attaching => 1,
        AttachStatus::Attached => 2,
        AttachStatus::Detaching => 3,
        _ => 4,
    }
}

/// So often a volume must have moved on between a reader's list and its look by id.
const ENOUGH: u64 = 300;
const VOLUMES: usize = 24;
const READERS: usize = 3;

/// Writers rename, attach and detach; readers on threads of their own look.
async fn never_older(database: Option<String>) {
    let live = Live::start(LiveOptions { database, ..LiveOptions::default() }).await;
    let mut ids = Vec::new();
    for index in 0..VOLUMES {
        ids.push(live.volume(&format!("v{index}")).await);
        live.server(&format!("s{index}")).await;
    }
    let servers: Vec<ServerId> = (0..VOLUMES).map(|index| ServerId::from(format!("s{index}"))).collect();
    let over = Arc::new(AtomicBool::new(false));
    let newer = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (service, servers, over) = (live.service.clone(), servers.clone(), Arc::clone(&over));
            let newer = Arc::clone(&newer);
            std::thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    newer.fetch_add(block_on(look(&service, &servers)), Ordering::SeqCst);
                }
            })
        })
        .collect();
    let begun = Instant::now();
    let enough = || {
        assert!(begun.elapsed() < PATIENCE, "the readers see too little move");
        // A reader that has ended has seen something wrong.
        newer.load(Ordering::SeqCst) >= ENOUGH || readers.iter().any(std::thread::JoinHandle::is_finished)
    };
    join_all(ids.iter().zip(&servers).map(|(id, server)| write(&live, *id, server, &enough))).await;
    over.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.join().expect("no reader saw an older state");
    }
    live.stop().await;
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work)
}

async fn write(live: &Live, id: VolumeId, server: &ServerId, enough: &impl Fn() -> bool) {
    for turn in 0_u64.. {
        if enough() {
            break;
        }
        let name = Some(Some(format!("turn-{turn}")));
        let update = Command::Update(UpdateVolume { name, ..UpdateVolume::default() });
        live.service.volume_command(id, update, caller()).await.expect("renamed");
        if turn.is_multiple_of(4) {
            let request = ServerAttachRequest { shelved_allowed: true, ..ServerAttachRequest::default() };
            live.service.server_attach(server.clone(), id, request, caller()).await.expect("attached");
            live.until(id, "in-use").await;
            live.service.server_detach(server.clone(), id, true, caller()).await.expect("detached");
            live.until(id, "available").await;
        }
    }
}

#[actix_web::test]
async fn i6_who_saw_a_state_in_a_list_never_sees_an_older_one_by_id() {
    never_older(None).await;
}

#[actix_web::test]
async fn i6_who_saw_a_state_in_a_list_never_sees_an_older_one_by_id_on_postgresql() {
    if let Some(url) = cluster::fresh_database() {
        never_older(Some(url)).await;
    }
}

/// Under virtual time the instant between commit and publication can be hit on purpose: a reader that looks again and again
/// within the tick in which the commit ends.
#[test]
fn i6_the_instant_between_commit_and_publication_shows_nothing_older() {
    simulate(WorldOptions::seeded(5), async |world| {
        let node = world.start().await;
        let client = Client::new(world, &node);
        client.server("s").await.expect("alive");
        let id = client.available(1).await;
        for turn in 0..10 {
            let name = Some(Some(format!("turn-{turn}")));
            let update = Command::Update(UpdateVolume { name, ..UpdateVolume::default() });
            let writing = async { client.ask(id, update).await.expect("alive").expect("renamed") };
            join(writing, look_through_a_tick(world, &node.service)).await;
            client.server_attach("s", id).await.expect("alive").expect("attached");
            node.run(look_through_a_tick(world, &node.service)).await;
            client.wait(id, hearth::domain::status::VolumeStatus::InUse).await;
            client.server_detach("s", id).await.expect("alive").expect("detached");
            node.run(look_through_a_tick(world, &node.service)).await;
            client.wait(id, hearth::domain::status::VolumeStatus::Available).await;
        }
    });
}

async fn look_through_a_tick(world: &World, service: &Service) {
    for _ in 0..5 {
        for _ in 0..20 {
            for state in listed(world.store().as_ref()).await {
                let view = service.volume_view(state.id()).await.expect("the store reads");
                assert_not_older(&state, &view.expect("nobody deletes it"));
            }
            tokio::task::yield_now().await;
        }
        world.pass_time(Duration::from_millis(1)).await;
    }
}
