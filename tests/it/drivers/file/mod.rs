//! The `file` backend with its real parts: files on a file system, storage daemons, and QEMU's own NBD client.

pub mod clone;
mod exports;
mod files;
pub mod iscsi;
mod local;
mod moves;
mod objects;
pub mod reflink;
mod restart;
pub mod snapshots;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::{Answer, Call, CallKey, CauseKind, Outcome, Request, Truth};
use hearth::domain::ids::{AttachmentId, ExportName, OperationId, SnapshotId, VolumeId};
use hearth::domain::operation::Step;
use hearth::drivers::Backend;
use hearth::drivers::file::{DaemonKind, FileBackend, FileOptions};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use uuid::Uuid;

/// No real part takes anywhere near as long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a GiB.
pub const GIB: u64 = 1 << 30;

/// Who connects to exports.
pub const INITIATOR: &str = "iqn.1994-05.com.redhat:client";

/// Waits for an answer, bounded.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// Waits until a condition holds, bounded.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A backend in a directory of its own. Its daemons end with it.
pub struct Pool {
    pub backend: Arc<FileBackend>,
    pub options: FileOptions,
    _ground: Ground,
}

/// The directory that a backend works in; the daemons that were started there end with it.
pub struct Ground {
    root: TempDir,
}

impl Ground {
    pub fn new() -> Self {
        Self { root: tempfile::tempdir().expect("a directory") }
    }

    pub fn options(&self) -> FileOptions {
        FileOptions::new("local", self.root.path().join("pool"), self.state_dir())
    }

    fn state_dir(&self) -> PathBuf {
        self.root.path().join("state")
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for pid in daemon_pids(&self.state_dir()) {
            kill(pid);
            // SAFETY: plain system call; for a process that is not this one's child it does nothing.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        }
        unmount_below(self.root.path());
    }
}

/// The files that killed daemons showed stay behind as mount points.
pub fn unmount_below(root: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("readable");
    for path in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        if Path::new(path).starts_with(root) {
            let _ = std::process::Command::new("umount").args(["-l", path]).status();
        }
    }
}

/// Pids on record in the state directory of a backend.
pub fn daemon_pids(state_dir: &Path) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir(state_dir) else { return Vec::new() };
    entries.filter_map(|entry| recorded_pid(&entry.ok()?.path())).collect()
}

impl Pool {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut FileOptions)) -> Self {
        let ground = Ground::new();
        let mut options = ground.options();
        change(&mut options);
        let backend = FileBackend::open(options.clone()).expect("opened");
        within(backend.start()).await.expect("started");
        Self { backend, options, _ground: ground }
    }

    /// What a restart of the service does: everything in memory is lost, the daemons go on.
    pub async fn restart(&mut self) {
        let old = Arc::downgrade(&self.backend);
        self.backend = FileBackend::open(self.options.clone()).expect("opened");
        until("the old backend is gone", || async { old.strong_count() == 0 }).await;
        within(self.backend.start()).await.expect("started");
    }

    pub async fn call(&self, volume: VolumeId, request: Request) -> Outcome {
        within(self.backend.clone().call(Call { key: key(volume), request })).await
    }

    pub async fn create(&self, size_gib: u32) -> VolumeId {
        let volume = VolumeId(Uuid::new_v4());
        assert_eq!(self.call(volume, Request::Create { size_gib }).await, sized(size_gib));
        volume
    }

    pub async fn export(&self, volume: VolumeId, export: &ExportName, mode: AttachMode) -> Outcome {
        self.export_for(&json!({ "host": "here", "initiator": INITIATOR }), volume, export, mode).await
    }

    pub async fn export_for(
        &self,
        connector: &Value,
        volume: VolumeId,
        export: &ExportName,
        mode: AttachMode,
    ) -> Outcome {
        let request = Request::Export {
            attachment_id: AttachmentId(Uuid::new_v4()),
            export: export.clone(),
            connector: connector.clone().into(),
            mode,
        };
        self.call(volume, request).await
    }

    /// A writable export under a new name, with its connection information.
    pub async fn exported(&self, volume: VolumeId) -> (ExportName, Value) {
        self.exported_as(volume, AttachMode::ReadWrite).await
    }

    pub async fn exported_as(&self, volume: VolumeId, mode: AttachMode) -> (ExportName, Value) {
        let name = export_name();
        let info = connection(self.export(volume, &name, mode).await);
        (name, info)
    }

    pub async fn unexport(&self, volume: VolumeId, export: &ExportName) -> Outcome {
        self.call(volume, Request::Unexport { export: export.clone() }).await
    }

    pub async fn probe(&self, volume: VolumeId) -> Truth {
        match self.call(volume, Request::Probe).await {
            Outcome::Done { answer: Answer::Truth { truth } } => truth,
            other => panic!("not a truth: {other:?}"),
        }
    }

    pub fn file(&self, volume: VolumeId) -> PathBuf {
        self.options.path.join(format!("{volume}.raw"))
    }

    pub fn snapshot_file(&self, volume: VolumeId, snapshot: SnapshotId) -> PathBuf {
        self.options.path.join(format!("{volume}.{snapshot}.snap"))
    }

    /// The first bytes of the volume, as its file has them.
    pub fn first_bytes(&self, volume: VolumeId) -> [u8; 4096] {
        use std::os::unix::fs::FileExt;
        let mut bytes = [0; 4096];
        let file = std::fs::File::open(self.file(volume)).expect("there");
        file.read_exact_at(&mut bytes, 0).expect("read");
        bytes
    }

    /// The files of the pool that the daemons have open.
    pub fn open_at_daemons(&self) -> Vec<PathBuf> {
        let open_at = |pid: i32| std::fs::read_dir(format!("/proc/{pid}/fd")).expect("alive");
        let files = self.daemon_pids().into_iter().flat_map(open_at);
        let mut paths: Vec<PathBuf> = files.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()).collect();
        paths.retain(|path| path.starts_with(&self.options.path));
        paths
    }

    /// The process of one daemon.
    pub fn pid(&self, kind: DaemonKind) -> Option<i32> {
        recorded_pid(&self.options.state_dir.join(match kind {
            DaemonKind::Storage(index) => index.to_string(),
            DaemonKind::Target => "target".to_owned(),
        }))
    }

    /// Pids on record in the state directory.
    pub fn daemon_pids(&self) -> Vec<i32> {
        daemon_pids(&self.options.state_dir)
    }
}

fn recorded_pid(dir: &Path) -> Option<i32> {
    let record: Value = serde_json::from_slice(&std::fs::read(dir.join("daemon.json")).ok()?).ok()?;
    let pid = i32::try_from(record["pid"].as_i64()?).ok()?;
    // The pid may have another owner by now. The storage daemon has its directory among its arguments, the target daemon in
    // its environment.
    let has_dir = |of: &str| {
        std::fs::read(format!("/proc/{pid}/{of}")).ok().is_some_and(|bytes| {
            let dir = dir.as_os_str().as_encoded_bytes();
            bytes.windows(dir.len()).any(|part| part == dir)
        })
    };
    (has_dir("cmdline") || has_dir("environ")).then_some(pid)
}

pub fn kill(pid: i32) {
    signal(pid, libc::SIGKILL);
}

pub fn signal(pid: i32, signal: i32) {
    // SAFETY: plain system call.
    unsafe { libc::kill(pid, signal) };
}

pub fn key(volume: VolumeId) -> CallKey {
    static EPOCH: AtomicU64 = AtomicU64::new(1);
    CallKey {
        volume_id: volume,
        operation_id: OperationId(Uuid::new_v4()),
        epoch: EPOCH.fetch_add(1, Ordering::Relaxed),
        step: Step::Drain,
    }
}

pub fn export_name() -> ExportName {
    ExportName::new(AttachmentId(Uuid::new_v4()), 1)
}

pub fn sized(size_gib: u32) -> Outcome {
    Outcome::Done { answer: Answer::Size { size_gib } }
}

#[track_caller]
pub fn connection(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Done { answer: Answer::Connection { info } } => info,
        other => panic!("no connection: {other:?}"),
    }
}

#[track_caller]
pub fn assert_refused(outcome: &Outcome, kind: CauseKind) {
    match outcome {
        Outcome::Refused { cause } if cause.kind == kind => assert_shown_to_owner(&cause.text),
        other => panic!("not refused as {kind:?}: {other:?}"),
    }
}

#[track_caller]
pub fn assert_failed(outcome: &Outcome, kind: CauseKind) {
    match outcome {
        Outcome::Failed { cause } if cause.kind == kind => assert_shown_to_owner(&cause.text),
        other => panic!("not failed as {kind:?}: {other:?}"),
    }
}

#[track_caller]
fn assert_shown_to_owner(text: &str) {
    assert!(!text.contains('/') && !text.ends_with('.') && !text.is_empty(), "not for an owner's eyes: {text}");
}

/// QEMU's block layer as a client (NBD, iSCSI): one process, one connection, commands one by one.
pub struct NbdClient {
    _child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl NbdClient {
    /// Connects; a lost connection is tried again for `reconnect_s` seconds. `Err` has the client's words.
    pub async fn connect(info: &Value, reconnect_s: u32) -> Result<Self, String> {
        let options = json!({
            "driver": "nbd",
            "server": { "type": "unix", "path": info["path"] },
            "export": info["export"],
            "reconnect-delay": reconnect_s,
        });
        Self::open(options, info["access_mode"] == "ro", &[]).await
    }

    /// Opens a block device that QEMU knows; `objects` are further objects that its options name.
    pub async fn open(mut options: Value, read_only: bool, objects: &[&str]) -> Result<Self, String> {
        let mut command = Command::new("qemu-io");
        if read_only {
            options["read-only"] = true.into();
            command.arg("-r");
        }
        for object in objects {
            command.args(["--object", object]);
        }
        let mut child = command
            .arg(format!("json:{options}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("qemu-io starts");
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut stderr = child.stderr.take().expect("piped");
        let mut client = Self { _child: child, stdin, stdout };
        match client.words().await {
            Some(_) => {
                // Keep the pipe empty: errors are told in the answers, too.
                tokio::spawn(async move { tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await });
                Ok(client)
            }
            None => {
                let mut words = String::new();
                let _ = stderr.read_to_string(&mut words).await;
                Err(words)
            }
        }
    }

    /// Carries out one command and says what the client printed.
    pub async fn run(&mut self, command: &str) -> String {
        self.stdin.write_all(format!("{command}\n").as_bytes()).await.expect("the client lives");
        self.stdin.flush().await.expect("the client lives");
        within(self.words()).await.expect("the client lives")
    }

    /// Writes 4 KiB of `pattern` at `offset` and flushes; whether both succeeded.
    pub async fn write(&mut self, pattern: u8, offset: u64) -> bool {
        let written = self.run(&format!("write -P {pattern:#x} {offset} 4k")).await;
        written.contains("wrote 4096/4096") && !self.run("flush").await.contains("error")
    }

    /// Whether 4 KiB at `offset` are `pattern`.
    pub async fn reads(&mut self, pattern: u8, offset: u64) -> bool {
        let read = self.run(&format!("read -P {pattern:#x} {offset} 4k")).await;
        read.contains("read 4096/4096") && !read.contains("verification failed")
    }

    /// Everything until the next prompt; none when the client has ended.
    async fn words(&mut self) -> Option<String> {
        const PROMPT: &[u8] = b"qemu-io> ";
        let mut words = Vec::new();
        while !words.ends_with(PROMPT) {
            if within(self.stdout.read_buf(&mut words)).await.expect("readable") == 0 {
                return None;
            }
        }
        words.truncate(words.len() - PROMPT.len());
        Some(String::from_utf8_lossy(&words).into_owned())
    }
}
