//! A guest's disk moved to another export while the guest goes on: mirror, pivot, and giving it up.
//!
//! The guest's own QEMU copies: a mirror job reads the old export and writes the new one, and once they are level every write
//! of the guest goes to both before the guest hears of it. The pivot puts the new node in the old one's place. A disk has two
//! names for its nodes in turn, so that one which was moved can be moved again.
//!
//! Job and nodes are QEMU's, and outlive the service. So nothing is remembered here: each step looks first at what is there,
//! and goes on from that. Only what must not begin any more is remembered, and dies with those who could begin it.

use std::io;
use std::time::Duration;

use qapi::qmp::{self, JobInfo, JobStatus};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::guest::{GuestLink, PluggedDisk, job_name, node_names};
use super::plug::{CLOSE_LIMIT, delete_node, limited, node_options};
use crate::domain::attachment::AttachMode;
use crate::domain::backend::{Cause, CauseKind, Outcome};
use crate::domain::ids::{AttachmentId, ExportName};
use crate::drivers::block_job::{self, POLL};
use crate::drivers::qmp::{BlockdevAdd, BlockdevMirror, QmpError};
use crate::drivers::{Progress, qmp_features::Features};

/// What a guest's QEMU must have beyond what a plug needs.
pub(super) const NEEDED: &[&str] = &[
    "blockdev-mirror/copy-mode",
    "blockdev-mirror/filter-node-name",
    "blockdev-mirror/auto-dismiss",
    "block-job-cancel/force",
    "job-complete",
    "job-dismiss",
    "query-jobs",
    "query-named-block-nodes/flat",
    "JOB_STATUS_CHANGE",
];

/// A mirror that makes no progress for so long is given up: the guest's writes wait for a destination that hangs, and its disk
/// must not be the worse for a move that nobody may have asked it for.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// A pivot takes milliseconds, unless the destination does not take the last writes.
const PIVOT_LIMIT: Duration = Duration::from_secs(15);

/// How long a storage daemon may take to greet.
const GREETING_LIMIT: Duration = Duration::from_secs(5);

/// What every NBD server says first.
const GREETING_BYTES: usize = b"NBDMAGIC".len();

/// One disk's move.
pub(super) struct Move<'a> {
    pub(super) link: &'a GuestLink,
    pub(super) attachment: AttachmentId,
    pub(super) to: &'a Destination,
}

/// The export that the disk shall move to.
pub(super) struct Destination {
    path: String,
    export: ExportName,
}

impl Destination {
    /// None: a kind of connection that a guest cannot be moved to.
    pub(super) fn parse(info: &Value) -> Option<Self> {
        let text = |member: &str| info[member].as_str();
        match (text("driver_volume_type"), text("transport"), text("path"), text("export")) {
            (Some("nbd"), Some("unix"), Some(path), Some(export)) => {
                Some(Self { path: path.into(), export: ExportName(export.into()) })
            }
            _ => None,
        }
    }

    /// Whether there is somebody who does not answer. QEMU would wait for the answer with all that it does for the guest, from
    /// the attempt to connect to the end of a job that has sent something: so it is not asked for any of these.
    async fn hangs(&self) -> bool {
        let greeting = async { UnixStream::connect(&self.path).await?.read_exact(&mut [0; GREETING_BYTES]).await };
        match tokio::time::timeout(GREETING_LIMIT, greeting).await {
            Ok(Ok(_)) => false,
            // As many wait already as may.
            Ok(Err(error)) => error.kind() == io::ErrorKind::WouldBlock,
            Err(_) => true,
        }
    }
}

/// What there is of the disk.
struct Seen {
    disk: Option<PluggedDisk>,
    /// The nodes with the disk's names, and the exports they lead to.
    nodes: Vec<(String, Option<ExportName>)>,
    job: Option<JobInfo>,
}

impl Seen {
    /// The node that the device does not read from.
    fn spare(&self) -> Option<&(String, Option<ExportName>)> {
        let export = self.disk.as_ref().and_then(|disk| disk.export.as_ref());
        self.nodes.iter().find(|(_, other)| other.as_ref() != export)
    }

    fn is_on(&self, destination: &Destination) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.export.as_ref() == Some(&destination.export))
    }

    /// The job, if it leads there.
    fn job_to(&self, destination: &Destination) -> Option<&JobInfo> {
        let leads_there = self.spare().is_some_and(|(_, export)| export.as_ref() == Some(&destination.export));
        self.job.as_ref().filter(|_| leads_there)
    }
}

impl Move<'_> {
    /// Begins the mirror, or finds it begun. `None`: it is under way, and [`Self::level`] tells how it ends.
    pub(super) async fn begin(&self, features: &Features) -> Result<Option<Outcome>, QmpError> {
        let seen = self.look().await?;
        let Some(disk) = &seen.disk else {
            self.clean(&seen).await?;
            return Ok(Some(not_plugged()));
        };
        if seen.is_on(self.to) {
            return Ok(Some(Outcome::done()));
        }
        if seen.job_to(self.to).is_some() {
            tracing::info!(attachment = %self.attachment, "a disk's mirror goes on");
            return Ok(None);
        }
        let lacking = features.lacking(&self.link.qmp).await?;
        if !lacking.is_empty() {
            return Ok(Some(refused(&format!("the guest's hypervisor lacks {}", lacking.join(", ")))));
        }
        // Remains of another move, or of this one's beginning.
        self.clean(&seen).await?;
        self.start(disk).await
    }

    async fn start(&self, disk: &PluggedDisk) -> Result<Option<Outcome>, QmpError> {
        if self.to.hangs().await {
            return Ok(Some(unreachable()));
        }
        let [first, second] = node_names(self.attachment);
        let target = if disk.node == first { second } else { first };
        // Writable in any case; QEMU makes it read-only at the pivot, if the disk is.
        let node = node_options(&target, &self.to.path, self.to.export.as_str(), AttachMode::ReadWrite);
        if !self.add(node.clone()).await? {
            return Ok(Some(unreachable()));
        }
        // A job copies between equal sizes only. A larger volume shows its guest the size that the disk has, until the guest is told
        // another one.
        if self.link.node_bytes(&target).await?.is_some_and(|bytes| bytes > disk.bytes) {
            delete_node(self.link, &target, Instant::now() + CLOSE_LIMIT).await?;
            if !self.add(limited(node, disk.bytes)).await? {
                return Ok(Some(unreachable()));
            }
        }
        let name = job_name(self.attachment);
        let job = json!({
            "job-id": name,
            "device": disk.node,
            "target": target,
            "sync": "full",
            "copy-mode": "write-blocking",
            "filter-node-name": name,
            "auto-dismiss": false,
        });
        match self.link.qmp.run(BlockdevMirror(job)).await {
            Ok(_) => Ok(None),
            Err(QmpError::Refused { text, .. }) => {
                tracing::warn!(attachment = %self.attachment, text, "blockdev-mirror refused");
                delete_node(self.link, &target, Instant::now() + CLOSE_LIMIT).await?;
                Ok(Some(refused("the guest's hypervisor refused to copy the disk")))
            }
            Err(error) => Err(error),
        }
    }

    /// Adds a node for the destination; false: it cannot be reached.
    async fn add(&self, node: Value) -> Result<bool, QmpError> {
        match self.link.qmp.run(BlockdevAdd(node)).await {
            Ok(_) => Ok(true),
            Err(QmpError::Refused { text, .. }) => {
                tracing::warn!(attachment = %self.attachment, text, "the guest cannot reach the destination");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until the disks are level. `is_stopped` is asked from time to time; whoever stops it cleans up.
    pub(super) async fn level(
        &self,
        is_stopped: impl Fn() -> bool,
        tell: impl Fn(Progress),
    ) -> Result<Outcome, QmpError> {
        let (mut best, mut since) = (None, Instant::now());
        loop {
            if is_stopped() {
                return Ok(stopped());
            }
            let events = self.link.qmp.subscribe();
            let seen = self.look().await?;
            if seen.is_on(self.to) {
                return Ok(Outcome::done());
            }
            if seen.disk.is_none() {
                return self.give_up(&is_stopped, not_plugged()).await;
            }
            let Some(job) = seen.job_to(self.to) else {
                return self.give_up(&is_stopped, stopped()).await;
            };
            match job.status {
                JobStatus::ready => return Ok(Outcome::done()),
                JobStatus::concluded => return self.give_up(&is_stopped, copy_failed(job)).await,
                _ => {}
            }
            tell(progress(job));
            if best < Some(job.current_progress) {
                (best, since) = (Some(job.current_progress), Instant::now());
            } else if since.elapsed() >= STALL_LIMIT {
                let stalled = failed(CauseKind::Unavailable, "the destination does not take the volume's contents");
                return self.give_up(&is_stopped, stalled).await;
            }
            block_job::changed(events, &job_name(self.attachment)).await;
        }
    }

    /// Leaves nothing of the mirror, unless somebody else does that, who may have begun another one since.
    async fn give_up(&self, is_stopped: impl Fn() -> bool, outcome: Outcome) -> Result<Outcome, QmpError> {
        let _changing = self.link.changing.lock().await;
        if is_stopped() {
            return Ok(stopped());
        }
        let seen = self.look().await?;
        if seen.is_on(self.to) {
            return Ok(Outcome::done());
        }
        self.clean(&seen).await?;
        Ok(outcome)
    }

    /// Puts the new node in the old one's place, and closes the old one.
    pub(super) async fn pivot(&self) -> Result<Outcome, QmpError> {
        let seen = self.look().await?;
        if seen.disk.is_none() {
            self.clean(&seen).await?;
            return Ok(not_plugged());
        }
        if !seen.is_on(self.to) {
            match seen.job_to(self.to).map(|job| job.status) {
                None => return Ok(refused("the disk is not being copied to this destination")),
                Some(JobStatus::created | JobStatus::running | JobStatus::paused) => {
                    return Ok(refused("the disk is not copied yet"));
                }
                Some(_) if self.to.hangs().await => return Ok(unreachable()),
                Some(_) => self.complete().await?,
            }
        }
        // The job has ended whatever came of it; the device tells.
        block_job::end(&self.link.qmp, &job_name(self.attachment)).await?;
        let after = self.look().await?;
        match self.clean(&after).await {
            Ok(()) if after.is_on(self.to) => Ok(Outcome::done()),
            Ok(()) => Ok(seen.job.as_ref().map_or_else(stopped, copy_failed)),
            // What is done is done, and the old connection is closed when this is repeated.
            Err(error) => Err(error),
        }
    }

    /// Tells the level job to pivot and waits until it has concluded. Nobody can take that back; if it takes too long it is not
    /// known on which side the guest is.
    async fn complete(&self) -> Result<(), QmpError> {
        let deadline = Instant::now() + PIVOT_LIMIT;
        loop {
            let events = self.link.qmp.subscribe();
            let Some(job) = block_job::find(&self.link.qmp, &job_name(self.attachment)).await? else { return Ok(()) };
            if job.status == JobStatus::concluded {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(QmpError::Broken("the disk's pivot takes too long".into()));
            }
            if job.status == JobStatus::ready {
                block_job::unless_refused(self.link.qmp.run(qmp::job_complete { id: job.id.clone() }).await)?;
            }
            block_job::changed(events, &job.id).await;
        }
    }

    /// Ends the mirror and closes the new node.
    pub(super) async fn stop(&self) -> Result<Outcome, QmpError> {
        let seen = self.look().await?;
        if !seen.is_on(self.to) {
            self.clean(&seen).await?;
        }
        match self.look().await?.is_on(self.to) {
            true => Ok(refused("the guest uses the new connection already")),
            false => Ok(Outcome::done()),
        }
    }

    /// Ends the job, and closes the nodes that the device does not use.
    async fn clean(&self, seen: &Seen) -> Result<(), QmpError> {
        if seen.job.is_some() {
            if self.to.hangs().await {
                return Err(QmpError::Broken("the destination does not answer".into()));
            }
            block_job::end(&self.link.qmp, &job_name(self.attachment)).await?;
        }
        // As it is now: a job that had been told to end has put another node in place.
        let in_use = self.link.plugged_disk(self.attachment).await?.map(|disk| disk.node);
        let deadline = Instant::now() + CLOSE_LIMIT;
        for (node, _) in seen.nodes.iter().filter(|(node, _)| Some(node) != in_use.as_ref()) {
            if !delete_node(self.link, node, deadline).await? {
                return Err(QmpError::Broken(format!("node {node} stays in use")));
            }
        }
        Ok(())
    }

    async fn look(&self) -> Result<Seen, QmpError> {
        let nodes = self.link.nodes(self.attachment).await?;
        let job = block_job::find(&self.link.qmp, &job_name(self.attachment)).await?;
        // Last: what the device uses decides, and a job ends between two looks.
        let disk = self.link.plugged_disk(self.attachment).await?;
        Ok(Seen { disk, nodes, job })
    }
}

fn progress(job: &JobInfo) -> Progress {
    let bytes = |bytes| u64::try_from(bytes).unwrap_or(0);
    Progress { done: bytes(job.current_progress), total: bytes(job.total_progress) }
}

/// The outcome of a mirror whose job has ended by itself.
fn copy_failed(job: &JobInfo) -> Outcome {
    match &job.error {
        // QEMU has no code for it, only the operating system's words.
        Some(text) if text.contains("No space left") => {
            Outcome::Refused { cause: Cause::new(CauseKind::NoSpace, "the destination has no space left") }
        }
        // It was told to end, by an unplug: who unplugs says nothing beforehand, and dismisses the job a moment later.
        Some(text) if text.contains("Operation canceled") => stopped(),
        error => {
            tracing::warn!(job = job.id, ?error, "a disk's mirror has failed");
            failed(CauseKind::Unavailable, "the disk could not be copied to the destination")
        }
    }
}

fn unreachable() -> Outcome {
    failed(CauseKind::Unavailable, "the guest cannot reach the destination")
}

fn not_plugged() -> Outcome {
    refused("the volume is not plugged into the guest")
}

/// What the call of a mirror is told that somebody else has ended.
pub(super) fn stopped() -> Outcome {
    failed(CauseKind::Guest, "the move of the disk was given up")
}

pub(super) fn refused(text: &str) -> Outcome {
    Outcome::Refused { cause: Cause::new(CauseKind::Guest, text) }
}

fn failed(kind: CauseKind, text: &str) -> Outcome {
    Outcome::Failed { cause: Cause::new(kind, text) }
}

/// How long a call waits for a connection that broke to come back.
pub(super) const RECONNECT_LIMIT: Duration = STALL_LIMIT;

/// Between two attempts at that.
pub(super) const RECONNECT_POLL: Duration = POLL;
