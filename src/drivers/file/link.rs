//! The commands to one daemon's process, and the books of what it serves.
//!
//! The books are a superset of the truth: a name is entered before it is served and struck out when it is proven gone.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qapi::qmp::{self, BlockExportRemoveMode, Event};
use serde_json::json;
use thiserror::Error;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use super::process::Process;
use crate::domain::attachment::AttachMode;
use crate::domain::ids::{ExportName, VolumeId};
use crate::drivers::qmp::{BlockExportAdd, BlockdevAdd, Qmp, QmpError};

/// While the event of a deleted export is awaited, the daemon is asked at this interval: events may be lost to a slow
/// subscriber. Measured until the event: under 1 ms.
const DELETED_CHECK: Duration = Duration::from_secs(1);

/// Longest export name accepted; ours have 57 characters at most (an id, a dot and a number).
const EXPORT_NAME_MAX: usize = 128;

/// What a daemon must have for the commands below.
pub(super) const NEEDED: &[&str] = &[
    "blockdev-add/+raw",
    "blockdev-add/+file/locking",
    "blockdev-del",
    "block_resize/node-name",
    "block-export-add/+nbd/name",
    "block-export-add/writable",
    "block-export-del/mode",
    "query-block-exports",
    "BLOCK_EXPORT_DELETED",
    "blockdev-mirror/copy-mode",
    "blockdev-mirror/filter-node-name",
    "blockdev-mirror/auto-dismiss",
    "block-job-cancel/force",
    "query-jobs",
    "job-dismiss",
    "JOB_STATUS_CHANGE",
];

/// And what it must have to show volumes as files.
pub(super) const NEEDED_FOR_FILES: &[&str] = &["block-export-add/+fuse/mountpoint"];

/// Why a command to a daemon did not succeed.
#[derive(Debug, Error)]
pub(super) enum LinkError {
    /// The daemon says no; nothing was changed.
    #[error("the storage daemon refuses: {0}")]
    Refused(String),
    /// Not known whether it was carried out.
    #[error("the storage daemon's connection broke: {0}")]
    Broken(String),
}

impl From<QmpError> for LinkError {
    fn from(error: QmpError) -> Self {
        match error {
            QmpError::Refused { text, .. } => Self::Refused(text),
            QmpError::Broken(text) => Self::Broken(text),
        }
    }
}

/// A connection to one process, for as long as both live.
pub(super) struct Link {
    qmp: Qmp,
    process: Arc<Process>,
    /// What the daemon lacks of [`NEEDED`].
    pub(super) lacking: Vec<&'static str>,
    books: Mutex<HashMap<VolumeId, Entry>>,
}

/// An export that shall be served.
#[derive(Clone, Copy)]
pub(super) struct NewExport<'a> {
    pub(super) name: &'a ExportName,
    pub(super) mode: AttachMode,
    /// Where it is shown as a file; none: by NBD.
    pub(super) shown: Option<&'a Path>,
}

/// What is known of one volume at the daemon.
#[derive(Default)]
struct Entry {
    /// The names that are, or may be, served.
    served: BTreeSet<ExportName>,
    /// The size that the volume's node has, bytes; none: no node known, or its size is not known.
    node_bytes: Option<u64>,
}

impl Link {
    /// A link whose books are empty; [`Self::learn`] fills them.
    pub(super) fn new(qmp: Qmp, process: Arc<Process>, lacking: Vec<&'static str>) -> Self {
        Self { qmp, process, lacking, books: Mutex::new(HashMap::new()) }
    }

    /// Whether commands can be given.
    pub(super) fn is_usable(&self) -> bool {
        self.qmp.is_open() && self.process.is_alive()
    }

    /// Whether the process has ended: proof that nothing is served any more.
    pub(super) fn is_dead(&self) -> bool {
        !self.process.is_alive()
    }

    /// The connection.
    pub(super) const fn qmp(&self) -> &Qmp {
        &self.qmp
    }

    /// The process.
    pub(super) const fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Enters what the daemon serves.
    pub(super) async fn learn(&self) -> Result<(), LinkError> {
        let exports = self.exports().await?;
        let mut books = self.books();
        for (volume, names) in exports {
            books.entry(volume).or_default().served = names;
        }
        Ok(())
    }

    /// What the daemon says that it serves. Costs 0.14 ms an export, so it is asked when in doubt, not on every call.
    pub(super) async fn exports(&self) -> Result<HashMap<VolumeId, BTreeSet<ExportName>>, LinkError> {
        let mut exports: HashMap<VolumeId, BTreeSet<ExportName>> = HashMap::new();
        for info in self.qmp.run(qmp::query_block_exports {}).await? {
            if let Some((volume, name)) = parse_export_id(&info.id) {
                exports.entry(volume).or_default().insert(name);
            }
        }
        Ok(exports)
    }

    /// The volume's exports by the books.
    pub(super) fn served(&self, volume: VolumeId) -> BTreeSet<ExportName> {
        self.books().get(&volume).map(|entry| entry.served.clone()).unwrap_or_default()
    }

    /// The size of the volume's node, if it is known.
    pub(super) fn node_bytes(&self, volume: VolumeId) -> Option<u64> {
        self.books().get(&volume).and_then(|entry| entry.node_bytes)
    }

    /// Serves an export. Whether it was not served before. Of a volume that is being mirrored the mirror's node is served: the
    /// job would miss what is written past it (measured), and hands its exports on when it ends.
    pub(super) async fn add(
        &self,
        volume: VolumeId,
        path: &Path,
        bytes: u64,
        export: &NewExport<'_>,
        is_mirrored: bool,
    ) -> Result<bool, LinkError> {
        let NewExport { name, mode, shown } = *export;
        if self.served(volume).contains(name) {
            return Ok(false);
        }
        self.ensure_node(volume, path, bytes).await?;
        self.books().entry(volume).or_default().served.insert(name.clone());
        let add = |node: String| {
            let mut export = json!({
                "type": "nbd",
                "id": export_id(volume, name),
                "node-name": node,
                "writable": mode == AttachMode::ReadWrite,
            });
            match shown {
                None => export["name"] = name.as_str().into(),
                Some(path) => {
                    export["type"] = "fuse".into();
                    export["mountpoint"] = json!(path);
                }
            }
            self.qmp.run(BlockExportAdd(export))
        };
        let mut added = if is_mirrored { add(mirror_node(volume)).await } else { add(node_name(volume)).await };
        // The job has not begun, or has ended, and none begins while the volume's lock is held. Only then: any other refusal must
        // not lead past it.
        if is_mirrored && matches!(&added, Err(QmpError::Refused { text, .. }) if text.contains("Cannot find")) {
            added = add(node_name(volume)).await;
        }
        if let Err(QmpError::Refused { text, .. }) = added {
            self.strike(volume, name);
            return Err(LinkError::Refused(text));
        }
        Ok(added.map(|_| true)?)
    }

    /// Ends `name`, hard. Success is the proof: the daemon's event that the export is deleted (it comes after the last
    /// request in flight), or its word that there is no such export.
    pub(super) async fn remove(&self, volume: VolumeId, name: &ExportName) -> Result<(), LinkError> {
        let id = export_id(volume, name);
        let Some(mut events) = self.qmp.subscribe() else { return Err(LinkError::Broken("closed".into())) };
        let deleted =
            self.qmp.run(qmp::block_export_del { id: id.clone(), mode: Some(BlockExportRemoveMode::hard) }).await;
        match deleted {
            // Not there, or already being deleted by an earlier call: the daemon's list decides below.
            Err(QmpError::Refused { .. }) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let event = async {
                    loop {
                        match events.recv().await {
                            Ok(Event::BLOCK_EXPORT_DELETED { data, .. }) if data.id == id => return Ok(()),
                            Ok(_) | Err(RecvError::Lagged(_)) => {}
                            Err(RecvError::Closed) => return Err(LinkError::Broken("closed".into())),
                        }
                    }
                };
                if let Ok(ended) = tokio::time::timeout(DELETED_CHECK, event).await {
                    ended?;
                    self.strike(volume, name);
                    return Ok(());
                }
            }
        }
        loop {
            if !self.exports().await?.get(&volume).is_some_and(|names| names.contains(name)) {
                self.strike(volume, name);
                return Ok(());
            }
            // The daemon still drains requests in flight: the caller's deadline bounds the wait.
            let next = async { while !matches!(events.recv().await, Ok(Event::BLOCK_EXPORT_DELETED { .. })) {} };
            let _ = tokio::time::timeout(DELETED_CHECK, next).await;
        }
    }

    /// Lets go of the volume's file when nothing of the volume is served.
    pub(super) async fn close_node(&self, volume: VolumeId) -> Result<(), LinkError> {
        if !self.served(volume).is_empty() {
            return Ok(());
        }
        let closed = self.qmp.run(qmp::blockdev_del { node_name: node_name(volume) }).await;
        self.books().remove(&volume);
        match closed {
            // Not there.
            Err(QmpError::Refused { .. }) | Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the volume's node show `bytes`, the size that its file has. No export of it may be served (the daemon
    /// refuses then, measured).
    pub(super) async fn resize_node(&self, volume: VolumeId, path: &Path, bytes: u64) -> Result<(), LinkError> {
        let size = i64::try_from(bytes).map_err(|_| LinkError::Refused("too large".into()))?;
        let resized = self.qmp.run(qmp::block_resize { device: None, node_name: Some(node_name(volume)), size }).await;
        match resized {
            Ok(_) => {
                self.books().entry(volume).or_default().node_bytes = Some(bytes);
                Ok(())
            }
            // There is no node, or it is odd: a fresh one has the file's size.
            Err(QmpError::Refused { .. }) => {
                self.books().entry(volume).or_default().node_bytes = None;
                self.ensure_node(volume, path, bytes).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The same while the volume is served as a file: then the daemon does not refuse, and clients see it at once.
    pub(super) async fn resize_shown_node(&self, volume: VolumeId, bytes: u64) -> Result<(), LinkError> {
        let size = i64::try_from(bytes).map_err(|_| LinkError::Refused("too large".into()))?;
        self.qmp.run(qmp::block_resize { device: None, node_name: Some(node_name(volume)), size }).await?;
        self.books().entry(volume).or_default().node_bytes = Some(bytes);
        Ok(())
    }

    /// Opens the volume's file if it is not open.
    pub(super) async fn ensure_node(&self, volume: VolumeId, path: &Path, bytes: u64) -> Result<(), LinkError> {
        if self.node_bytes(volume).is_some() || !self.served(volume).is_empty() {
            return Ok(());
        }
        match self.qmp.run(BlockdevAdd(node_options(&node_name(volume), path))).await {
            Ok(_) => {}
            // Left behind by a call that was cut off: it serves nothing, so it can be opened afresh.
            Err(QmpError::Refused { .. }) => {
                let _ = self.qmp.run(qmp::blockdev_del { node_name: node_name(volume) }).await;
                self.qmp.run(BlockdevAdd(node_options(&node_name(volume), path))).await?;
            }
            Err(error) => return Err(error.into()),
        }
        self.books().entry(volume).or_default().node_bytes = Some(bytes);
        Ok(())
    }

    fn strike(&self, volume: VolumeId, name: &ExportName) {
        if let Some(entry) = self.books().get_mut(&volume) {
            entry.served.remove(name);
        }
    }

    fn books(&self) -> MutexGuard<'_, HashMap<VolumeId, Entry>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The format is named: what a guest writes into its disk must never be probed. The page cache is used, and a FLUSH of
/// the client is an fdatasync.
pub(super) fn node_options(name: &str, path: &Path) -> serde_json::Value {
    json!({
        "driver": "raw",
        "node-name": name,
        "discard": "unmap",
        "cache": { "direct": false, "no-flush": false },
        "file": {
            "driver": "file",
            "filename": path,
            "aio": "threads",
            "locking": "auto",
            "discard": "unmap",
            "cache": { "direct": false, "no-flush": false },
        },
    })
}

/// Whether a name can be part of an export's id: letters, digits, `-`, `.` and `_` only.
pub(super) fn is_export_name(name: &ExportName) -> bool {
    !name.as_str().is_empty()
        && name.as_str().len() <= EXPORT_NAME_MAX
        && name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// The id of an export tells its volume, so that a daemon's list is enough to know everything that it serves.
fn export_id(volume: VolumeId, name: &ExportName) -> String {
    format!("e.{}.{name}", volume.0.simple())
}

fn parse_export_id(id: &str) -> Option<(VolumeId, ExportName)> {
    let (volume, name) = id.strip_prefix("e.")?.split_once('.')?;
    Some((VolumeId(Uuid::try_parse(volume).ok()?), ExportName(name.into())))
}

/// The volume's node: one for all its exports, so that it is opened and resized once.
pub(super) fn node_name(volume: VolumeId) -> String {
    crate::drivers::qmp::node_name('v', volume.0)
}

/// The node that a mirror job puts between the volume's node and its exports.
pub(super) fn mirror_node(volume: VolumeId) -> String {
    crate::drivers::qmp::node_name('m', volume.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_id_tells_volume_and_name() {
        let volume = VolumeId(Uuid::from_u128(7));
        let name = ExportName("11111111-2222-3333-4444-555555555555.12".into());
        assert_eq!(parse_export_id(&export_id(volume, &name)), Some((volume, name)));
        assert_eq!(parse_export_id("somebody-elses"), None);
    }

    #[test]
    fn export_names_with_other_characters_are_none() {
        assert!(is_export_name(&ExportName("a-b.1".into())));
        for bad in ["", "a/b", "a,b", "a b", &"x".repeat(EXPORT_NAME_MAX + 1)] {
            assert!(!is_export_name(&ExportName(bad.into())), "{bad}");
        }
    }
}
