//! The service in this process, for the micro-benches: SQLite in memory, one arbiter, a simulated backend without latency.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use hearth::actors::{ActorOptions, Dependencies, RequestError, Service};
use hearth::api::{ApiOptions, ApiState};
use hearth::domain::ids::{ProjectId, RequestId, UserId, VolumeId};
use hearth::domain::operation::Requester;
use hearth::domain::quota::Limits;
use hearth::domain::time::Timestamp;
use hearth::domain::volume::command::CreateVolume;
use hearth::domain::volume::{Caller, Command, Facts, Verdict, VolumeState, decide};
use hearth::drivers::Backend;
use hearth::drivers::pool::{DriverPool, PoolOptions};
use hearth::drivers::sim::{SimBackend, SimOptions};
use hearth::runtime::{Clock, Placement, Randomness};
use hearth::store::{CommitOutcome, InlineStore, Store, Transaction, VolumeChange};
use uuid::Uuid;

/// `host@backend#pool` of every volume.
const BACKEND: &str = "hearth@sim#sim";
const NO_LIMITS: Limits = Limits::NONE;

/// An administrator of project `project`.
pub fn caller() -> Caller {
    let requester = Requester {
        request_id: RequestId::from("req-1"),
        user_id: UserId::from("user"),
        project_id: ProjectId::from("project"),
    };
    Caller { requester, is_admin: true, is_service: false }
}

/// The state that the creation of a volume commits first.
pub fn new_volume(number: u128) -> Arc<VolumeState> {
    let volume_id = VolumeId(Uuid::from_u128(number));
    let create = Command::Create(Box::new(CreateVolume {
        volume_id,
        size_gib: 1,
        name: Some("data".to_owned()),
        description: None,
        metadata: hearth::domain::metadata::Metadata::default(),
        volume_type_id: None,
        type_revision: None,
        multiattach: false,
        availability_zone: "nova".to_owned(),
        host: Some(BACKEND.to_owned()),
        wanted: None,
        bootable: false,
        origin: None,
        image: None,
        adopts: None,
    }));
    let facts = Facts {
        now: Timestamp(1_000),
        ids: [0, 1, 2, 3].map(|offset| Uuid::from_u128((1 << 100) + number * 4 + offset)),
        limits: NO_LIMITS,
        drain_deadline: Duration::from_secs(30),
        hosts: Default::default(),
        compute: Default::default(),
    };
    match decide(volume_id, None, &create, &caller(), &facts) {
        Verdict::Commit(decision) => decision.next,
        other => panic!("{other:?}"),
    }
}

/// Commits a change of one volume.
pub async fn commit(store: &dyn Store, old: Option<Arc<VolumeState>>, new: Arc<VolumeState>) {
    let volume = Some(VolumeChange { old, new });
    let outcome = store.commit(Transaction { volume, ..Transaction::default() }).await;
    assert_eq!(outcome, CommitOutcome::Committed);
}

/// A running service with `count` volumes that are available and have no actor.
pub async fn service(count: u128) -> (Service, Vec<VolumeId>) {
    let store: Arc<dyn Store> = Arc::new(InlineStore::in_memory().expect("a store"));
    let mut ids = Vec::new();
    for number in 1..=count {
        let mut state = Arc::unwrap_or_clone(new_volume(number));
        state.operations.clear();
        state.volume.status = hearth::domain::status::VolumeStatus::Available;
        ids.push(state.id());
        commit(&*store, None, Arc::new(state)).await;
    }
    let placement = Placement::arbiters(1);
    let sim: Arc<dyn Backend> = SimBackend::new(SimOptions::in_memory(1));
    let pool = DriverPool::start(&placement, vec![(BACKEND.to_owned(), sim, PoolOptions::default())], Vec::new());
    let world = Dependencies {
        store,
        drivers: pool.clone(),
        compute: None,
        clock: Clock::System,
        randomness: Randomness::from_os(),
        placement,
    };
    // idle at once: whoever sweeps makes every volume passive
    let options = ActorOptions { limits: NO_LIMITS, idle_ttl: Duration::ZERO, ..ActorOptions::default() };
    (Service::start(world, options, pool), ids)
}

/// The API over a service.
pub fn api(service: Service) -> Data<ApiState> {
    ApiState::new(service, Clock::System, Randomness::from_os(), ApiOptions::default())
}

/// A command that a volume refuses: it is asked and decides, and nothing is committed.
pub async fn refused(service: &Service, id: VolumeId) {
    let command = Command::Extend { new_size_gib: 1, in_use_allowed: false };
    let answer = service.volume_command(id, command, caller()).await;
    assert!(matches!(answer, Err(RequestError::Refused(_))), "{answer:?}");
}
