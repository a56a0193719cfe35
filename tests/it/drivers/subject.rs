//! A backend under test, and the few words in which the tests talk to it.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::{Answer, BackendObject, Call, CallKey, CauseKind, Guest, Outcome, Request, Truth};
use hearth::domain::ids::{AttachmentId, ExportName, OperationId, ServerId, SnapshotId, VolumeId};
use hearth::domain::operation::Step;
use hearth::domain::server::HypervisorKind;
use hearth::drivers::Backend;
use hearth::drivers::file::{FileBackend, Protocol};
use hearth::drivers::sim::process::{ServeOptions, serve};
use hearth::drivers::sim::remote::SimRemote;
use hearth::drivers::sim::{DEFAULT_TOTAL_GIB, Durability, LatencyTable, SimBackend, SimOptions, SimTruth};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::inside::{Current, Inside};

type Open = Box<dyn Fn() -> BoxFuture<'static, Arc<dyn Backend>>>;

/// A backend under test.
pub struct Subject {
    open: Open,
    reopen_at_each_call: bool,
    backend: Option<Arc<dyn Backend>>,
    next_operation: u128,
    inside: Inside,
    /// Directories and processes that must outlive the backend.
    _keep: Vec<Box<dyn Any>>,
}

impl Subject {
    /// A backend that `open` makes.
    pub async fn new(open: Open, inside: Inside, keep: Vec<Box<dyn Any>>) -> Self {
        let backend = open().await;
        Self { open, reopen_at_each_call: false, backend: Some(backend), next_operation: 1, inside, _keep: keep }
    }

    /// The backend is dropped and opened again before each call.
    pub async fn reopened(open: Open, inside: Inside, keep: Vec<Box<dyn Any>>) -> Self {
        Self { reopen_at_each_call: true, ..Self::new(open, inside, keep).await }
    }

    /// The backend as it is now.
    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(self.backend.as_ref().expect("open between calls"))
    }

    /// A call under a key of its own.
    pub fn fresh(&mut self, volume_id: VolumeId, request: Request) -> Call {
        self.next_operation += 1;
        call(volume_id, self.next_operation, request)
    }

    /// Carries out a prepared call.
    pub async fn carry_out(&mut self, call: Call) -> Outcome {
        self.reopen().await;
        self.backend().call(call).await
    }

    /// Carries out a prepared copy from another backend.
    pub async fn carry_out_from(&mut self, call: Call, source: Arc<dyn Backend>) -> Outcome {
        self.reopen().await;
        self.backend().copy_from(call, source).await
    }

    /// What comes before each call, where that is what the subject is for.
    async fn reopen(&mut self) {
        if self.reopen_at_each_call {
            // Only one may have the truth open at a time.
            self.backend = None;
            self.backend = Some((self.open)().await);
        }
    }

    /// Carries out a request under a key of its own.
    pub async fn ask(&mut self, volume_id: VolumeId, request: Request) -> Outcome {
        let call = self.fresh(volume_id, request);
        self.carry_out(call).await
    }

    /// Makes a volume.
    pub async fn create(&mut self, volume_id: VolumeId, size_gib: u32) {
        assert_eq!(self.ask(volume_id, Request::Create { size_gib }).await, size(size_gib));
    }

    /// Makes an export and gives its connection information.
    pub async fn export(&mut self, volume_id: VolumeId, attachment: u128, epoch: u64) -> Value {
        connection(self.ask(volume_id, export(attachment, epoch)).await)
    }

    /// What the backend says of a volume at rest: a backend that was just opened may still be showing the volume's exports
    /// again, and says `busy` meanwhile.
    pub async fn probe(&mut self, volume_id: VolumeId) -> Truth {
        let mut outcome = self.ask(volume_id, Request::Probe).await;
        loop {
            match outcome {
                Outcome::Done { answer: Answer::Truth { mut truth } } if !truth.busy => {
                    truth.exports.sort();
                    truth.snapshots.sort();
                    return truth;
                }
                Outcome::Done { answer: Answer::Truth { .. } } => tokio::task::yield_now().await,
                other => panic!("a probe answers with the truth, not {other:?}"),
            }
            // Of the same backend: opened again, it would show the exports once more.
            let again = self.fresh(volume_id, Request::Probe);
            outcome = self.backend().call(again).await;
        }
    }

    /// A client writes to a volume; what it writes is told by `mark` (below 200).
    pub async fn write(&mut self, volume_id: VolumeId, mark: u8) {
        // Real files are written to past the backend; simulated ones have no other way in than an export.
        let number = 0xffff + self.next_operation;
        let through = match self.inside {
            Inside::Files(_) => None,
            _ => Some(self.export(volume_id, number, 1).await),
        };
        self.inside.write(volume_id, &export_name(number, 1), mark).await;
        if through.is_some() {
            assert_eq!(self.ask(volume_id, unexport(number, 1)).await, Outcome::done());
        }
    }

    /// What clients have written to the volume.
    pub async fn contents(&self, volume_id: VolumeId) -> Vec<String> {
        self.inside.contents(volume_id).await
    }

    /// Puts something at the backend, past it, that is not Hearth's.
    pub async fn place(&self, reference: &str, size_mib: u64, marks: &[u8]) {
        self.inside.place(reference, size_mib, marks).await;
    }

    /// Everything at the backend, by name.
    pub async fn objects(&mut self) -> Vec<BackendObject> {
        match self.ask(volume(0), Request::ListObjects).await {
            Outcome::Done { answer: Answer::Objects { mut objects } } => {
                objects.sort_by(|one, other| one.reference.cmp(&other.reference));
                objects
            }
            other => panic!("a list is answered with objects, not {other:?}"),
        }
    }

    /// The room that the volume takes, KiB; simulated ones take none.
    pub fn allocated_kib(&self, volume_id: VolumeId) -> u64 {
        self.inside.allocated_kib(volume_id)
    }

    /// What the backend says of everything, in order, once it is at rest (see [`Self::probe`]).
    pub async fn inventory(&mut self) -> Vec<(VolumeId, Truth)> {
        loop {
            let mut all = self.backend().inventory().await.expect("the inventory can be read");
            if all.iter().any(|(_, truth)| truth.busy) {
                tokio::task::yield_now().await;
                continue;
            }
            all.sort_by_key(|(id, _)| *id);
            all.iter_mut().for_each(|(_, truth)| truth.snapshots.sort());
            return all;
        }
    }
}

/// The simulated backend in memory.
pub async fn sim_memory() -> Subject {
    let current = Current::default();
    let inside = Inside::Sim(current.clone());
    let open = move || {
        let backend = SimBackend::new(SimOptions::in_memory(1));
        *current.borrow_mut() = Arc::downgrade(&backend);
        async move { backend as Arc<dyn Backend> }.boxed()
    };
    Subject::new(Box::new(open), inside, vec![]).await
}

/// The simulated backend with a truth file, opened again before each call.
pub async fn sim_file() -> Subject {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("truth");
    let current = Current::default();
    let inside = Inside::Sim(current.clone());
    let open = move || {
        let truth = SimTruth::open(&path, Durability::Process).expect("the truth can be opened");
        let backend = SimBackend::new(SimOptions::with_truth(truth, 1));
        *current.borrow_mut() = Arc::downgrade(&backend);
        async move { backend as Arc<dyn Backend> }.boxed()
    };
    Subject::reopened(Box::new(open), inside, vec![Box::new(folder)]).await
}

/// The simulated backend behind its socket.
pub async fn sim_remote() -> Subject {
    let server = SimServer::start(LatencyTable::default());
    let socket = server.socket.clone();
    let inside = Inside::Remote(socket.clone());
    let open = move || {
        let remote = SimRemote::new(&socket);
        async move { remote as Arc<dyn Backend> }.boxed()
    };
    Subject::reopened(Box::new(open), inside, vec![Box::new(server)]).await
}

/// The `file` backend with its storage daemons.
pub async fn file() -> Subject {
    let (open, inside, ground) = file_opener(None, Protocol::Nbd);
    Subject::new(open, inside, ground).await
}

/// The same, started again before each call, as after a restart of the service; the daemons go on.
pub async fn file_restarted() -> Subject {
    let (open, inside, ground) = file_opener(None, Protocol::Nbd);
    Subject::reopened(open, inside, ground).await
}

/// The same on a file system that shares blocks. Where this user may not mount one it says so, and the pool lies where the
/// others do.
pub async fn file_reflink() -> Subject {
    let (open, inside, ground) = file_opener(super::file::reflink::ReflinkFileSystem::mount(), Protocol::Nbd);
    Subject::new(open, inside, ground).await
}

/// Real files, shown as files to who connects.
pub async fn file_local() -> Subject {
    let (open, inside, ground) = file_opener(None, Protocol::Local);
    Subject::new(open, inside, ground).await
}

/// Real files by iSCSI.
pub async fn file_iscsi() -> Subject {
    let (open, inside, ground) = file_opener(None, super::file::iscsi::protocol());
    Subject::new(open, inside, ground).await
}

fn file_opener(
    pool: Option<super::file::reflink::ReflinkFileSystem>,
    protocol: Protocol,
) -> (Open, Inside, Vec<Box<dyn Any>>) {
    let ground = super::file::Ground::new();
    let mut options = ground.options();
    options.protocol = protocol;
    if let Some(mounted) = &pool {
        options.path = mounted.pool();
        // It is small, and the volumes are empty.
        options.max_over_subscription_ratio = 1e6;
    }
    let inside = Inside::Files(options.path.clone());
    let open = move || {
        let options = options.clone();
        async move {
            let backend = FileBackend::open(options).expect("the backend can be opened");
            // Waits until the one before has let go of the pool.
            backend.start().await.expect("the backend starts");
            backend as Arc<dyn Backend>
        }
        .boxed()
    };
    (Box::new(open), inside, vec![Box::new(ground), Box::new(pool)])
}

/// A simulated backend on a thread and a runtime of its own, as its process would be: it lives on when the client's
/// runtime ends.
pub struct SimServer {
    /// Where it listens.
    pub socket: PathBuf,
    /// Its truth file.
    pub truth: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _folder: Arc<tempfile::TempDir>,
}

impl SimServer {
    /// Starts one and returns when it listens.
    pub fn start(latency: LatencyTable) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().expect("a temporary directory")), latency)
    }

    /// Ends this one and starts another on the same truth.
    pub fn restart(mut self) -> Self {
        self.end();
        Self::start_in(Arc::clone(&self._folder), LatencyTable::default())
    }

    fn start_in(folder: Arc<tempfile::TempDir>, latency: LatencyTable) -> Self {
        let (socket, truth) = (folder.path().join("sim.sock"), folder.path().join("truth"));
        let options = ServeOptions {
            socket: socket.clone(),
            truth: truth.clone(),
            durability: Durability::Process,
            latency,
            seed: 1,
            total_gib: DEFAULT_TOTAL_GIB,
            faults: Vec::new(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(serve(options, stopped.map(|_| ()))).expect("the process serves until it is stopped");
        });
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(!thread.is_finished(), "the process could not start");
            std::thread::yield_now();
        }
        Self { socket, truth, stop: Some(stop), thread: Some(thread), _folder: folder }
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the process ended in order");
        }
    }
}

impl Drop for SimServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// A volume id.
pub fn volume(number: u128) -> VolumeId {
    VolumeId(Uuid::from_u128(number))
}

/// A snapshot id.
pub fn snapshot(number: u128) -> SnapshotId {
    SnapshotId(Uuid::from_u128(0x5_0000 + number))
}

/// An attachment id.
pub fn attachment(number: u128) -> AttachmentId {
    AttachmentId(Uuid::from_u128(0xa_0000 + number))
}

/// An export name.
pub fn export_name(attachment_number: u128, epoch: u64) -> ExportName {
    ExportName::new(attachment(attachment_number), epoch)
}

/// A guest of the simulated hypervisor.
pub fn guest(name: &str) -> Guest {
    Guest { server_id: ServerId::from(name), hypervisor: HypervisorKind::Sim, qmp_socket: None, check_uuid: false }
}

/// A call under the key of operation `operation`.
pub fn call(volume_id: VolumeId, operation: u128, request: Request) -> Call {
    let operation_id = OperationId(Uuid::from_u128(operation));
    Call { key: CallKey { volume_id, operation_id, epoch: 1, step: Step::Drain }, request }
}

/// The request for an export of attachment number `attachment_number` for host `h<attachment_number>`.
pub fn export(attachment_number: u128, epoch: u64) -> Request {
    export_to(attachment_number, epoch, &format!("h{attachment_number}"))
}

/// The request for an export to a host.
pub fn export_to(attachment_number: u128, epoch: u64, host: &str) -> Request {
    Request::Export {
        attachment_id: attachment(attachment_number),
        export: export_name(attachment_number, epoch),
        connector: json!({ "host": host, "initiator": "iqn.1993-08.org.debian:01:1", "ip": "192.0.2.1" }).into(),
        mode: AttachMode::ReadWrite,
    }
}

/// The request to end it.
pub fn unexport(attachment_number: u128, epoch: u64) -> Request {
    Request::Unexport { export: export_name(attachment_number, epoch) }
}

/// `Done` with a size.
pub fn size(size_gib: u32) -> Outcome {
    Outcome::Done { answer: Answer::Size { size_gib } }
}

/// The connection information of a successful export.
#[track_caller]
pub fn connection(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Done { answer: Answer::Connection { info } } => info,
        other => panic!("an export answers with connection information, not {other:?}"),
    }
}

/// Holds when the backend said that it certainly did nothing.
#[track_caller]
pub fn assert_not_done(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Refused { .. } | Outcome::Failed { .. }), "{outcome:?}");
}

/// Holds when the request was refused for this kind of cause.
#[track_caller]
pub fn assert_refused(outcome: &Outcome, kind: CauseKind) {
    assert!(matches!(outcome, Outcome::Refused { cause } if cause.kind == kind), "{outcome:?}");
}

/// Runs a test in one thread.
pub fn in_one_thread<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// Runs a test in one thread under virtual time.
pub fn in_virtual_time<F: Future<Output = ()>>(test: F) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}
