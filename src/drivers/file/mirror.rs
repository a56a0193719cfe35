//! A copy of a volume that clients write to, made by the storage daemon that serves it: nobody else may read its file.
//!
//! It is a mirror job that is ended in good order as soon as it is level. The daemon then drains the volume's node, so that the
//! copy is what the volume was at one instant: everything that was answered before it, and nothing that began after it. A
//! backup job would do the same for the instant of its start, but it allocates the holes of a sparse volume, and when the
//! new file has no room the guest's own writes fail (both measured); a mirror keeps the holes and fails alone. Writes go to both files
//! while it runs (`write-blocking`), so that a busy guest cannot keep it from becoming level.
//!
//! The job and the node of the new file have one name, made of the id of what is made. The service that is killed leaves both
//! in the daemon: [`abandon`] ends them, at the next start or when the same thing is made again.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use qapi::qmp::{self, JobInfo, JobStatus};
use serde_json::json;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::copy::{CopyError, CopyState, SYNC_BYTES};
use super::daemon::{ATTEMPTS, Daemon, DaemonError};
use super::exports::{cause_of, cause_of_link};
use super::images::FileError;
use super::link::{Link, LinkError, mirror_node, node_name as volume_node, node_options};
use crate::domain::ids::VolumeId;
use crate::drivers::block_job::{self, POLL};
use crate::drivers::qmp::{BlockdevAdd, BlockdevMirror, QmpError, node_name};

/// What is copied, and where to.
pub(super) struct Mirror {
    pub(super) daemon: Arc<Daemon>,
    pub(super) home: Handle,
    /// Of what is made.
    pub(super) id: Uuid,
    /// The new file, to be brought to the disk piece by piece.
    pub(super) file: File,
}

impl Mirror {
    /// Starts the job. The volume's lock is held, and its exports are served.
    pub(super) async fn begin(&self, volume: VolumeId, from: &Path, bytes: u64, to: &Path) -> Result<(), FileError> {
        let name = job_name(self.id);
        let link = self.daemon.link(&self.home).await.map_err(unavailable)?;
        let started = async {
            link.ensure_node(volume, from, bytes).await?;
            if let Err(QmpError::Refused { .. }) = link.qmp().run(BlockdevAdd(node_options(&name, to))).await {
                // What a killed service has left.
                abandon(&link, self.id).await?;
                link.qmp().run(BlockdevAdd(node_options(&name, to))).await?;
            }
            let job = json!({
                "job-id": name,
                "device": volume_node(volume),
                "target": name,
                "sync": "full",
                "copy-mode": "write-blocking",
                "filter-node-name": mirror_node(volume),
                "auto-dismiss": false,
            });
            link.qmp().run(BlockdevMirror(job)).await.map_err(LinkError::from)
        };
        match started.await {
            Ok(_) => Ok(()),
            Err(error) => {
                let _ = self.let_go().await;
                Err(failed(&error))
            }
        }
    }

    /// Sees the job to its end. Success says as well that the daemon has let go of the new file, or is dead: it holds locks on
    /// what it has open.
    pub(super) async fn drive(self, state: &CopyState) -> Result<(), FileError> {
        let name = job_name(self.id);
        // What an attempt in another way has copied is progress, too.
        let before = state.copied();
        let (mut ending, mut synced) = (false, before);
        let ended = loop {
            if state.check().is_err() {
                break Err(CopyError::CutOff.into());
            }
            let link = match self.daemon.existing_link(&self.home).await {
                Ok(Some(link)) => link,
                Ok(None) => {
                    break Err(FileError::Unavailable("the storage daemon has died in the midst of a copy".into()));
                }
                // It lives and does not answer: until it does nobody knows, and nobody else may touch what it copies.
                Err(_) => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
            };
            let events = link.qmp().subscribe();
            let Ok(job) = block_job::find(link.qmp(), &name).await else {
                tokio::time::sleep(POLL).await;
                continue;
            };
            match job {
                None => break Err(FileError::Unavailable("the storage daemon has lost a copy".into())),
                Some(job) if job.status == JobStatus::concluded => break outcome(&job, ending),
                Some(job) if job.status == JobStatus::ready && !ending => {
                    let end = qmp::block_job_cancel { device: name.clone(), force: Some(false) };
                    ending = link.qmp().run(end).await.is_ok();
                    continue;
                }
                Some(job) => {
                    let bytes = |bytes| before + u64::try_from(bytes).unwrap_or(0);
                    state.expect(bytes(job.total_progress));
                    state.reach(bytes(job.current_progress));
                }
            }
            if state.copied() >= synced + SYNC_BYTES {
                synced = state.copied();
                if let Err(error) = self.sync().await {
                    break Err(error);
                }
            }
            block_job::changed(events, &name).await;
        };
        let let_go = self.let_go().await;
        ended.and(let_go)
    }

    async fn let_go(&self) -> Result<(), FileError> {
        let mut last = FileError::Unavailable("the storage daemon does not answer".into());
        for _ in 0..ATTEMPTS {
            match self.daemon.existing_link(&self.home).await {
                Ok(None) => return Ok(()),
                Ok(Some(link)) => match abandon(&link, self.id).await {
                    Ok(()) => return Ok(()),
                    Err(error) => last = failed(&error),
                },
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err(last)
    }

    async fn sync(&self) -> Result<(), FileError> {
        let file = self.file.try_clone()?;
        match self.home.spawn_blocking(move || file.sync_data()).await {
            Ok(synced) => Ok(synced?),
            Err(_) => Err(FileError::Unavailable("the copy was cut off".into())),
        }
    }
}

/// Ends the job that makes `id`, if there is one, and closes the file that it wrote.
pub(super) async fn abandon(link: &Link, id: Uuid) -> Result<(), LinkError> {
    let name = job_name(id);
    block_job::end(link.qmp(), &name).await?;
    Ok(block_job::unless_refused(link.qmp().run(qmp::blockdev_del { node_name: name }).await)?)
}

/// A job that ends without having been told to has not become level, whatever it says.
fn outcome(job: &JobInfo, told_to_end: bool) -> Result<(), FileError> {
    match &job.error {
        None if told_to_end => Ok(()),
        // The daemon has no code for it, only the operating system's words.
        Some(text) if text.contains("No space left") => Err(FileError::NoSpace("the backend has no space left".into())),
        error => {
            tracing::warn!(job = job.id, ?error, "a copy has failed in the storage daemon");
            Err(FileError::Unavailable("the copy has failed in the storage daemon".into()))
        }
    }
}

fn unavailable(error: DaemonError) -> FileError {
    FileError::Unavailable(cause_of(&error).text)
}

fn failed(error: &LinkError) -> FileError {
    match error {
        LinkError::Refused(text) => {
            tracing::warn!(%text, "the storage daemon refuses a copy");
            FileError::Unavailable("the storage daemon refused to copy the volume".into())
        }
        LinkError::Broken(_) => FileError::Unavailable(cause_of_link(error).text),
    }
}

fn job_name(id: Uuid) -> String {
    node_name('c', id)
}
