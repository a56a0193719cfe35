//! The simulated world: what survives a crash (records and the backend's truth), and the incarnations of the service in it.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::LocalSet;

use super::crash::{CrashPlan, Crashing};
use super::images::MemoryImages;
use crate::actors::{ActorOptions, Dependencies, Service};
use crate::compute::ComputeService;
use crate::domain::backend::Deadlines;
use crate::domain::ids::{ProjectId, ServerId, VolumeId};
use crate::domain::operation::Requester;
use crate::domain::server::{HypervisorKind, Server};
use crate::domain::status::VmState;
use crate::domain::time::Timestamp;
use crate::domain::volume::command::CreateVolume;
use crate::domain::volume::{Caller, Command, VolumeState};
use crate::drivers::hypervisor::sim::SimHypervisor;
use crate::drivers::pool::{DriverPool, PoolOptions};
use crate::drivers::sim::{SimBackend, SimOptions};
use crate::drivers::{Backend, Hypervisor};
use crate::runtime::{Clock, Placement, Randomness};
use crate::store::{InlineStore, Store};

/// The name of the simulated backend.
pub const BACKEND: &str = "sim@sim#pool";
/// The name of another one, where volumes come only by migration.
pub const OTHER_BACKEND: &str = "sim@other#pool";
/// The start of virtual time: 2026-01-01.
const START: Timestamp = Timestamp(1_767_225_600_000_000);
/// How often conditions are looked at, in virtual time.
const LOOK: Duration = Duration::from_millis(10);

/// What differs between worlds.
#[derive(Clone, Debug)]
pub struct WorldOptions {
    /// Seed of every id and fault.
    pub seed: u64,
    /// Bounds of the actors.
    pub actors: ActorOptions,
    /// Bounds of the pool.
    pub pool: PoolOptions,
    /// How long a commit takes.
    pub commit_latency: Duration,
}

impl WorldOptions {
    /// The usual world: short deadlines, no limits, commits of 1 ms; any volume may be swapped.
    pub fn seeded(seed: u64) -> Self {
        let second = Duration::from_secs(1);
        let deadlines = Deadlines {
            create: 5 * second,
            delete: 5 * second,
            extend: 5 * second,
            export: 5 * second,
            unexport: 5 * second,
            probe: 2 * second,
            copy_stall: 5 * second,
        };
        let limits = crate::domain::quota::Limits::NONE;
        Self {
            seed,
            actors: ActorOptions { limits, swap_requires_migration: false, ..ActorOptions::default() },
            pool: PoolOptions { deadlines, ..PoolOptions::default() },
            commit_latency: Duration::from_millis(1),
        }
    }
}

/// What survives a crash of the service.
pub struct World {
    options: WorldOptions,
    randomness: Randomness,
    clock: Clock,
    store: RefCell<Arc<InlineStore>>,
    backend: Arc<SimBackend>,
    images: Arc<MemoryImages>,
    other_backend: Arc<SimBackend>,
    /// Whose servers use the volumes, if not the service's own.
    compute: RefCell<Option<Arc<dyn ComputeService>>>,
    /// Kills the process at a driver call.
    pub crash_plan: CrashPlan,
}

/// One incarnation of the service: dropped or crashed, nothing of it goes on.
pub struct Node {
    local: LocalSet,
    store: Arc<InlineStore>,
    /// The running service.
    pub service: Service,
}

/// Runs a scenario in a world of its own, under virtual time, on the calling thread.
pub fn simulate<T>(options: WorldOptions, scenario: impl AsyncFnOnce(&World) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O always builds");
    runtime.block_on(async {
        let world = World::new(options);
        scenario(&world).await
    })
}

impl World {
    fn new(options: WorldOptions) -> Self {
        let store = InlineStore::in_memory().expect("a database in memory always opens");
        store.set_latency(options.commit_latency);
        let backend = SimBackend::new(SimOptions::in_memory(options.seed));
        let images = MemoryImages::new();
        backend.use_images(images.clone());
        Self {
            randomness: Randomness::from_seed(options.seed),
            clock: Clock::virtual_from(START),
            store: RefCell::new(Arc::new(store)),
            backend,
            images,
            other_backend: SimBackend::new(SimOptions::in_memory(!options.seed)),
            compute: RefCell::default(),
            crash_plan: CrashPlan::default(),
            options,
        }
    }

    /// Starts the service on the records as they are, and its recovery in the background.
    pub async fn start(&self) -> Node {
        let store = Arc::new(self.store.borrow().reopen());
        *self.store.borrow_mut() = Arc::clone(&store);
        let local = LocalSet::new();
        let service = local
            .run_until(async {
                let crashing = |inner: Arc<dyn Backend>| -> Arc<dyn Backend> {
                    Arc::new(Crashing { inner, plan: self.crash_plan.clone() })
                };
                let backends = self.backends().map(|(name, backend)| {
                    (name.to_owned(), crashing(Arc::clone(backend) as Arc<dyn Backend>), self.options.pool)
                });
                let hypervisor: Arc<dyn Hypervisor> = self.hypervisor();
                let hypervisor: Arc<dyn Hypervisor> =
                    Arc::new(Crashing { inner: hypervisor, plan: self.crash_plan.clone() });
                let pool = DriverPool::start(
                    &Placement::Here,
                    backends.into(),
                    // Servers of either kind have simulated guests; those of `qmp` servers do things by themselves.
                    [HypervisorKind::Sim, HypervisorKind::Qmp]
                        .map(|kind| (kind, Arc::clone(&hypervisor), self.options.pool))
                        .into(),
                );
                let world = Dependencies {
                    store: store.clone(),
                    drivers: pool.clone(),
                    compute: self.compute.borrow().clone(),
                    clock: self.clock.clone(),
                    randomness: self.randomness.clone(),
                    placement: Placement::Here,
                };
                let service = Service::start(world, self.options.actors.clone(), pool);
                service.services_load().await.expect("the inline store reads");
                let recovering = service.clone();
                tokio::task::spawn_local(async move {
                    if let Err(error) = recovering.recover().await {
                        tracing::error!(%error, "recovery failed");
                    }
                });
                service
            })
            .await;
        Node { local, store, service }
    }

    /// The servers are this Compute's, for every service that is started from now on.
    pub fn set_compute(&self, compute: Arc<dyn ComputeService>) {
        *self.compute.borrow_mut() = Some(compute);
    }

    /// The living store.
    pub fn store(&self) -> Arc<InlineStore> {
        Arc::clone(&self.store.borrow())
    }

    /// The living store as the trait that the service sees.
    pub fn store_now(&self) -> Arc<dyn Store> {
        self.store()
    }

    /// The simulated backend, its truth and its faults.
    pub fn backend(&self) -> &Arc<SimBackend> {
        &self.backend
    }

    /// The image service.
    pub fn images(&self) -> &Arc<MemoryImages> {
        &self.images
    }

    /// The other simulated backend.
    pub fn other_backend(&self) -> &Arc<SimBackend> {
        &self.other_backend
    }

    /// Both, with their names.
    pub fn backends(&self) -> [(&'static str, &Arc<SimBackend>); 2] {
        [(BACKEND, &self.backend), (OTHER_BACKEND, &self.other_backend)]
    }

    /// The hypervisor of all guests.
    pub fn hypervisor(&self) -> Arc<SimHypervisor> {
        self.backend.hypervisor_with([&*self.other_backend])
    }

    /// The seeded source, for scenarios.
    pub fn randomness(&self) -> &Randomness {
        &self.randomness
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lets virtual time pass; everything that is due meanwhile happens.
    pub async fn pass_time(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// A volume id.
    pub fn volume_id(&self) -> VolumeId {
        VolumeId(self.randomness.uuid())
    }

    /// An administrator of project `p`, as everybody is under `noauth`.
    pub fn caller(&self) -> Caller {
        Caller {
            requester: Requester {
                request_id: format!("req-{}", self.randomness.uuid()).into(),
                user_id: "u".into(),
                project_id: ProjectId::from("p"),
            },
            is_admin: true,
            is_service: false,
        }
    }

    /// The command that creates a plain volume.
    pub fn create_command(&self, volume_id: VolumeId, size_gib: u32) -> Command {
        Command::Create(Box::new(CreateVolume {
            volume_id,
            size_gib,
            name: None,
            description: None,
            metadata: crate::domain::metadata::Metadata::default(),
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
        }))
    }

    /// An active server on the simulated hypervisor.
    pub fn server(&self, id: &str) -> Server {
        Server {
            id: ServerId::from(id),
            name: id.to_owned(),
            project_id: ProjectId::from("p"),
            user_id: "u".into(),
            host: Some(format!("host-of-{id}")),
            hypervisor: HypervisorKind::Sim,
            qmp_socket: None,
            qmp_check_uuid: true,
            vm_state: VmState::Active,
            task_state: None,
            locked: false,
            availability_zone: "nova".to_owned(),
            root_device_name: "/dev/vda".to_owned(),
            launched_at: Some(self.now()),
            created_at: self.now(),
            updated_at: None,
            epoch: 1,
            deleted: false,
        }
    }
}

impl Node {
    /// Runs `work` inside this incarnation. None: the process died meanwhile.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let died = async {
            while !self.store.has_crashed() {
                tokio::time::sleep(LOOK).await;
            }
        };
        self.local
            .run_until(async {
                tokio::select! {
                    biased;
                    () = died => None,
                    done = work => Some(done),
                }
            })
            .await
    }

    /// Kills the process.
    pub fn crash(self) {
        self.store.crash();
        self.service.stop();
    }

    /// Waits until `condition` holds of the volume; panics after `patience` of virtual time. None: the process died.
    pub async fn until(
        &self,
        id: VolumeId,
        patience: Duration,
        condition: impl Fn(Option<&VolumeState>) -> bool,
    ) -> Option<()> {
        let looking = async {
            let start = tokio::time::Instant::now();
            loop {
                let view = self.service.volume_view(id).await.expect("the inline store reads");
                if condition(view.as_deref()) {
                    break;
                }
                assert!(
                    start.elapsed() < patience,
                    "the condition does not hold after {patience:?}: {view:#?}\n{:#?}",
                    self.service.actor_inspect(id)
                );
                tokio::time::sleep(LOOK).await;
            }
        };
        self.run(looking).await
    }

    /// Waits until no volume has an operation, an outstanding call or an orphan export; panics after `patience`.
    pub async fn settle(&self, patience: Duration) -> Option<()> {
        let looking = async {
            let start = tokio::time::Instant::now();
            loop {
                let open = self.store.open_operations(None, 1_000).await.expect("the inline store reads");
                let unsettled = self.store.unsettled_volumes().await.expect("the inline store reads");
                if open.is_empty() && unsettled.is_empty() {
                    break;
                }
                assert!(start.elapsed() < patience, "not settled after {patience:?}: {open:#?} {unsettled:?}");
                tokio::time::sleep(LOOK).await;
            }
        };
        self.run(looking).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.store.crash();
        self.service.stop();
    }
}
