//! Exports and online growth of one volume. Every function here is called with the volume's lock held, except the
//! read-only ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use super::daemon::{ATTEMPTS, Daemon, DaemonError};
use super::images::FileError;
use super::link::{Link, LinkError, NewExport, is_export_name};
use super::mountpoint;
use super::names::Image;
use super::protocol::{Account, Connection, Place, connection_info, initiator_of};
use super::registry::Wanted;
use super::target::{Offer, TargetError};
use super::tgt_wire::TgtError;
use super::{FileBackend, whole_gib};
use crate::domain::attachment::AttachMode;
use crate::domain::backend::{Answer, Cause, CauseKind, Outcome, Truth};
use crate::domain::document::Document;
use crate::domain::ids::{ExportName, VolumeId};

/// Why exports of a volume are not as they should be.
pub(super) enum ServeError {
    /// Certainly not served.
    No(Cause),
    /// Certainly not served, and never by this daemon.
    Never(Cause),
    /// May be served, or may come to be.
    Unknown(Cause),
}

impl ServeError {
    /// The cause alone.
    pub(super) fn into_cause(self) -> Cause {
        match self {
            Self::No(cause) | Self::Never(cause) | Self::Unknown(cause) => cause,
        }
    }
}

impl FileBackend {
    pub(super) async fn export(
        &self,
        volume: VolumeId,
        name: ExportName,
        connector: &Document,
        mode: AttachMode,
    ) -> Outcome {
        let refused = |kind, text: &str| Outcome::Refused { cause: Cause::new(kind, text) };
        if !self.can_export {
            return refused(CauseKind::Unavailable, "exports are unavailable: no storage daemon on this machine");
        }
        if !is_export_name(&name) || mode == AttachMode::Undecided {
            return refused(CauseKind::Other, "the export has no valid name or mode");
        }
        let initiator = match &self.targets {
            None => None,
            Some(targets) if !targets.can_serve() => {
                return refused(
                    CauseKind::Unavailable,
                    "exports are unavailable: no iSCSI target daemon on this machine",
                );
            }
            Some(_) => match initiator_of(&connector.to_value()) {
                None => return refused(CauseKind::BadConnector, "the connector has no valid initiator"),
                Some(initiator) => Some(initiator.to_owned()),
            },
        };
        let _guard = self.locks.acquire(volume).await;
        if let Some(busy) = self.being_replaced(volume) {
            return busy;
        }
        self.copies.displace(Image::Volume(volume)).await;
        let (ended, looked_up) = (self.ended.clone(), name.clone());
        let look = move |images: &Arc<super::Images>| Ok((images.size(volume)?, ended.has(volume, &looked_up)?));
        let (bytes, ended) = match self.on_files(look).await {
            Ok((Some(bytes), ended)) => (bytes, ended),
            Ok((None, _)) => return refused(CauseKind::Other, "the volume does not exist at the backend"),
            Err(error) => return error.into_outcome(),
        };
        if ended || self.fenced.get(&(volume, name.clone())).is_some() {
            return refused(CauseKind::Other, "this connection was ended and cannot be made again");
        }
        let before = self.wanted_of(volume);
        let known = before.exports.get(&name).cloned();
        if known.as_ref().is_some_and(|known| known.mode != mode) {
            return refused(CauseKind::Busy, "this connection exists with another mode");
        }
        let told = known.as_ref().and_then(|known| known.account.as_ref()).map(|account| &account.initiator);
        if told.is_some() && told != initiator.as_ref() {
            return refused(CauseKind::Busy, "this connection exists for another initiator");
        }
        let connection = known.clone().unwrap_or_else(|| Connection {
            mode,
            account: initiator.as_deref().map(|name| Account::new(name, &self.randomness)),
        });
        if known.is_none() {
            let mut after = before.clone();
            after.exports.insert(name.clone(), connection.clone());
            if !self.claim(volume, &name, &after) {
                return refused(CauseKind::Busy, "another volume is exported under this name");
            }
            if let Err(error) = self.save(volume, after).await {
                return error.into_outcome();
            }
        }
        let daemon = self.daemons[before.daemon].clone();
        match self.serve(&daemon, volume, bytes, BTreeMap::from([(name.clone(), connection.clone())])).await {
            Ok(()) => {
                let (nbd, shown) = (daemon.paths.nbd(), daemon.paths.shown(&name));
                let place = match (&self.targets, &connection.account) {
                    (Some(targets), Some(account)) => Place::Iscsi(targets.options(), account),
                    _ if self.options.protocol.is_by_file() => Place::Local(&shown),
                    _ => Place::Nbd(&nbd),
                };
                Outcome::Done { answer: Answer::Connection { info: connection_info(volume, &name, mode, &place) } }
            }
            Err(ServeError::No(cause)) if known.is_none() => match self.save(volume, before).await {
                Ok(()) => Outcome::Failed { cause },
                Err(error) => Outcome::Unknown { cause: error.into_cause() },
            },
            Err(ServeError::Never(cause)) if known.is_none() => match self.save(volume, before).await {
                Ok(()) => Outcome::Refused { cause },
                Err(error) => Outcome::Unknown { cause: error.into_cause() },
            },
            Err(error) => Outcome::Unknown { cause: error.into_cause() },
        }
    }

    pub(super) async fn unexport(&self, volume: VolumeId, name: ExportName) -> Outcome {
        let _guard = self.locks.acquire(volume).await;
        // From here on no rebuild and no late call can serve it, whatever happens below.
        self.fenced.insert((volume, name.clone()), ());
        self.remember_ended(volume, &name).await;
        let mut wanted = self.wanted_of(volume);
        let saved = if wanted.exports.remove(&name).is_some() { self.save(volume, wanted).await } else { Ok(()) };
        // The session first, so that the target does not meet a file that fails.
        let withdrawn = match &self.targets {
            Some(targets) => targets.withdraw(&name).await,
            None => Ok(()),
        };
        for daemon in self.daemons_of(volume) {
            if let Err(cause) = self.fence(&daemon, volume, &name).await {
                return Outcome::Unknown { cause };
            }
        }
        if let Err(error) = withdrawn {
            return Outcome::Unknown { cause: cause_of_target(&error) };
        }
        match saved {
            Ok(()) => Outcome::done(),
            // It is gone, but a restart might put it back: not done before that is impossible.
            Err(error) => Outcome::Unknown { cause: error.into_cause() },
        }
    }

    /// Takes the name for this volume; false when another one has it. In one look at all volumes, so that of two calls at
    /// the same time one wins; 10,000 exports are looked through in less than the record's own write takes.
    fn claim(&self, volume: VolumeId, name: &ExportName, after: &Wanted) -> bool {
        let mut wanted = self.wanted();
        if wanted.iter().any(|(other, wanted)| *other != volume && wanted.exports.contains_key(name)) {
            return false;
        }
        wanted.insert(volume, after.clone());
        true
    }

    /// Writes down that the name has ended. A disk that is full or broken does not hold up a detach: that the name is no
    /// longer wanted is recorded without any room, and while this process lives its memory has it.
    async fn remember_ended(&self, volume: VolumeId, name: &ExportName) {
        let (ended, name) = (self.ended.clone(), name.clone());
        let written = self
            .on_files(move |images| match images.size(volume)? {
                Some(_) => Ok(ended.add(volume, &name)?),
                // A volume that is gone has no exports, and its id never comes back.
                None => Ok(()),
            })
            .await;
        if let Err(error) = written {
            tracing::warn!(%volume, ?error, "the end of an export is remembered in memory only");
        }
    }

    /// Before a delete: refuses while anything is exported, and closes the file.
    pub(super) async fn let_go(&self, volume: VolumeId) -> Result<(), Outcome> {
        let busy = || Outcome::Refused { cause: Cause::new(CauseKind::Busy, "the volume is exported") };
        if !self.wanted_of(volume).exports.is_empty() {
            return Err(busy());
        }
        for daemon in self.daemons_of(volume) {
            let link = daemon
                .existing_link(&self.home())
                .await
                .map_err(|error| Outcome::Failed { cause: cause_of(&error) })?;
            let Some(link) = link else { continue };
            if !link.served(volume).is_empty() {
                return Err(busy());
            }
            if link.node_bytes(volume).is_some() {
                link.close_node(volume).await.map_err(|error| Outcome::Failed { cause: cause_of_link(&error) })?;
            }
        }
        Ok(())
    }

    /// After the file has grown to `bytes`: every wanted export shows that size, also those which an earlier attempt took
    /// away and could not put back (races ).
    pub(super) async fn show_size(&self, volume: VolumeId, bytes: u64) -> Result<(), Cause> {
        let wanted = self.wanted_of(volume);
        let daemon = self.daemons[wanted.daemon].clone();
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let link = daemon.existing_link(&self.home()).await.map_err(|error| cause_of(&error))?;
            match link {
                None => break,
                Some(link) => match self.resize_at(&link, volume, bytes).await {
                    Ok(()) => {
                        last = None;
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(%volume, %error, "exports are not resized yet");
                        last = Some(cause_of_link(&error));
                    }
                },
            }
        }
        // Put back whatever happened: an export of the old size is better than none.
        if !wanted.exports.is_empty() {
            match self.serve(&daemon, volume, bytes, wanted.exports).await {
                Ok(()) => {}
                Err(error) => return Err(error.into_cause()),
            }
        }
        last.map_or(Ok(()), Err)
    }

    async fn resize_at(&self, link: &Arc<Link>, volume: VolumeId, bytes: u64) -> Result<(), LinkError> {
        let served = link.served(volume);
        if link.node_bytes(volume) == Some(bytes) || (served.is_empty() && link.node_bytes(volume).is_none()) {
            return Ok(());
        }
        if self.options.protocol.is_by_file() && !served.is_empty() {
            return link.resize_shown_node(volume, bytes).await;
        }
        // What is wanted is on disk since it was exported, so a crash from here on loses no export.
        for name in &served {
            link.remove(volume, name).await?;
        }
        let path = self.images.path(volume);
        link.resize_node(volume, &path, bytes).await
    }

    /// A volume does not grow under an iSCSI session, which would go on to see the old size (measured); one that has the size
    /// already is not held up.
    pub(super) async fn may_grow(&self, volume: VolumeId, bytes: u64) -> Result<(), Outcome> {
        let Some(targets) = &self.targets else { return Ok(()) };
        let present = self.on_files(move |images| images.size(volume)).await.map_err(FileError::into_outcome)?;
        if present.is_some_and(|present| present >= bytes) {
            return Ok(());
        }
        for export in self.wanted_of(volume).exports.keys() {
            match targets.is_in_use(export).await {
                Ok(false) => {}
                Ok(true) => {
                    let text = "an initiator is logged in, and iSCSI shows a new size only to the next one";
                    return Err(Outcome::Refused { cause: Cause::new(CauseKind::Busy, text) });
                }
                Err(error) => return Err(Outcome::Failed { cause: cause_of_target(&error) }),
            }
        }
        Ok(())
    }

    /// The iSCSI targets of a volume that has grown are made again: a disk keeps the size that it was made with. One that
    /// somebody has logged in to meanwhile shows the new size already, or was made again by the call that grew the volume.
    pub(super) async fn renew_targets(&self, volume: VolumeId) -> Result<(), Cause> {
        let Some(targets) = &self.targets else { return Ok(()) };
        let wanted = self.wanted_of(volume);
        let daemon = &self.daemons[wanted.daemon];
        for (export, Connection { mode, account }) in &wanted.exports {
            let Some(account) = account else { continue };
            if targets.is_in_use(export).await.map_err(|error| cause_of_target(&error))? {
                continue;
            }
            let file = &daemon.paths.shown(export);
            let offer = Offer { volume, export, file, mode: *mode, account };
            targets.outdate(export);
            targets.offer(&offer).await.map_err(|error| cause_of_target(&error))?;
        }
        Ok(())
    }

    /// Whether somebody may be writing to the volume through a daemon: one that does not say counts.
    pub(super) async fn may_be_written(&self, volume: VolumeId) -> bool {
        if !self.wanted_of(volume).exports.is_empty() {
            return true;
        }
        for daemon in self.daemons_of(volume) {
            match daemon.existing_link(&self.home()).await {
                Ok(link) if link.as_ref().is_none_or(|link| link.served(volume).is_empty()) => {}
                _ => return true,
            }
        }
        false
    }

    /// Whether another daemon than this one serves the volume, or may.
    pub(super) fn is_served_elsewhere(&self, volume: VolumeId, daemon: usize) -> bool {
        self.daemons_of(volume).iter().any(|other| other.index != daemon)
    }

    /// Serves these exports at the daemon, which is started if it must.
    pub(super) async fn serve(
        &self,
        daemon: &Arc<Daemon>,
        volume: VolumeId,
        bytes: u64,
        exports: BTreeMap<ExportName, Connection>,
    ) -> Result<(), ServeError> {
        self.serve_at_daemon(daemon, volume, bytes, &exports).await?;
        let Some(targets) = &self.targets else { return Ok(()) };
        for (export, connection) in &exports {
            let Some(account) = &connection.account else { continue };
            let file = &daemon.paths.shown(export);
            let offer = Offer { volume, export, file, mode: connection.mode, account };
            match targets.offer(&offer).await {
                Ok(()) => {}
                Err(error @ TargetError::Start(_)) => return Err(ServeError::No(cause_of_target(&error))),
                Err(error) => return Err(ServeError::Unknown(cause_of_target(&error))),
            }
        }
        Ok(())
    }

    /// Serves these exports at the daemon. The targets of those that it did not serve before are out of date from then on: what
    /// comes after it may fail, and then nobody else knows.
    async fn serve_at_daemon(
        &self,
        daemon: &Arc<Daemon>,
        volume: VolumeId,
        bytes: u64,
        exports: &BTreeMap<ExportName, Connection>,
    ) -> Result<(), ServeError> {
        let path = self.images.path(volume);
        // By this process; what a dead one has begun is never made use of.
        let is_mirrored = self.copies.is_read(Image::Volume(volume));
        let mut broken = None;
        for _ in 0..ATTEMPTS {
            let link = match daemon.link(&self.home()).await {
                Ok(link) => link,
                Err(error @ DaemonError::Start(_)) => return Err(ServeError::No(cause_of(&error))),
                Err(error @ DaemonError::Lacking(_)) => return Err(ServeError::Never(cause_of(&error))),
                Err(error) => return Err(ServeError::Unknown(cause_of(&error))),
            };
            broken = None;
            for (name, Connection { mode, .. }) in exports {
                let shown = self.options.protocol.is_by_file().then(|| daemon.paths.shown(name));
                if let Some(shown) = shown.clone().filter(|_| !link.served(volume).contains(name)) {
                    let prepared = self.home().spawn_blocking(move || mountpoint::prepare(&shown)).await;
                    if let Err(error) = prepared.map_err(io::Error::other).and_then(|prepared| prepared) {
                        tracing::error!(%volume, export = %name, %error, "a file for the export cannot be made");
                        return Err(ServeError::No(Cause::new(
                            CauseKind::Unavailable,
                            "the export's file cannot be made",
                        )));
                    }
                }
                let export = NewExport { name, mode: *mode, shown: shown.as_deref() };
                match link.add(volume, &path, bytes, &export, is_mirrored).await {
                    Ok(true) => {
                        if let Some(targets) = &self.targets {
                            targets.outdate(name);
                        }
                    }
                    Ok(false) => {}
                    Err(LinkError::Refused(text)) => {
                        tracing::warn!(%volume, export = %name, %text, "the storage daemon refuses an export");
                        return Err(ServeError::No(cause_of_link(&LinkError::Refused(text))));
                    }
                    Err(error) => {
                        broken = Some(cause_of_link(&error));
                        break;
                    }
                }
            }
            if broken.is_none() {
                return Ok(());
            }
        }
        Err(ServeError::Unknown(broken.expect("only a broken connection leads here")))
    }

    /// Ends an export at one daemon. Success is proof: the daemon says that it is gone, or the daemon is dead.
    async fn fence(&self, daemon: &Arc<Daemon>, volume: VolumeId, name: &ExportName) -> Result<(), Cause> {
        self.fence_at_daemon(daemon, volume, name).await?;
        if self.options.protocol.is_by_file() {
            let shown = daemon.paths.shown(name);
            let removed = self.home().spawn_blocking(move || mountpoint::remove(&shown)).await;
            if let Err(error) = removed.map_err(io::Error::other).and_then(|removed| removed) {
                // An empty file, or a mount that nobody serves.
                tracing::warn!(%volume, export = %name, %error, "the file of an ended export is left behind");
            }
        }
        Ok(())
    }

    async fn fence_at_daemon(&self, daemon: &Arc<Daemon>, volume: VolumeId, name: &ExportName) -> Result<(), Cause> {
        let mut last = Cause::new(CauseKind::Unavailable, "the storage daemon does not answer");
        for _ in 0..ATTEMPTS {
            let link = match daemon.existing_link(&self.home()).await {
                Ok(Some(link)) => link,
                Ok(None) => return Ok(()),
                Err(error) => return Err(cause_of(&error)),
            };
            if !link.served(volume).contains(name) {
                return Ok(());
            }
            match link.remove(volume, name).await {
                Ok(()) => {
                    if let Err(error) = link.close_node(volume).await {
                        // The fence holds; the file stays open until the next call or the daemon's end.
                        tracing::warn!(%volume, %error, "the volume's node stays open");
                    }
                    return Ok(());
                }
                Err(_) if link.is_dead() => return Ok(()),
                Err(error) => last = cause_of_link(&error),
            }
        }
        Err(last)
    }

    /// The exports of a volume that are served now, by the daemons' own word. A daemon that has nothing of the volume in
    /// its books is not asked: they hold at least what is served, and a hung daemon should not hide the other volumes.
    pub(super) async fn exports_served(&self, volume: VolumeId) -> Result<Vec<ExportName>, Cause> {
        let mut names = BTreeSet::new();
        for daemon in self.daemons_of(volume) {
            if daemon.current().is_some_and(|link| link.served(volume).is_empty()) {
                continue;
            }
            let mut exports = daemon.exports(&self.home()).await.map_err(|error| cause_of_link(&error))?;
            names.extend(exports.remove(&volume).unwrap_or_default());
        }
        Ok(names.into_iter().collect())
    }

    /// Every volume, and every snapshot and export, also those of volumes that are not there.
    pub(super) async fn take_inventory(&self) -> Result<Vec<(VolumeId, Truth)>, Cause> {
        let listed = self.on_files(|images| images.list()).await.map_err(FileError::into_cause)?;
        let mut all: BTreeMap<VolumeId, Truth> = BTreeMap::new();
        for (image, bytes) in listed {
            let truth = all.entry(image.volume()).or_default();
            match image {
                Image::Volume(_) => (truth.exists, truth.size_gib) = (true, whole_gib(bytes)),
                Image::Snapshot(_, snapshot) => truth.snapshots.push(snapshot),
                Image::Moment(..) => {}
            }
        }
        for daemon in &self.daemons {
            let exports: HashMap<_, _> = daemon.exports(&self.home()).await.map_err(|error| cause_of_link(&error))?;
            for (volume, names) in exports {
                all.entry(volume).or_default().exports.extend(names);
            }
        }
        for (volume, truth) in &mut all {
            truth.busy = self.is_busy(*volume);
        }
        Ok(all.into_iter().collect())
    }

    /// The exports that the volume shall have, and its daemon.
    pub(super) fn wanted_of(&self, volume: VolumeId) -> Wanted {
        let placed = || {
            // Ids are random in every bit but a few high ones, so the low ones spread evenly.
            let slots = self.options.daemons_per_pool as u128;
            let daemon = usize::try_from(volume.0.as_u128() % slots).expect("below the number of daemons");
            Wanted { daemon, exports: BTreeMap::new() }
        };
        self.wanted().get(&volume).cloned().unwrap_or_else(placed)
    }

    /// The daemons that serve, or may serve, the volume.
    fn daemons_of(&self, volume: VolumeId) -> Vec<Arc<Daemon>> {
        let home = self.wanted_of(volume).daemon;
        let serves = |daemon: &Daemon| daemon.current().is_some_and(|link| !link.served(volume).is_empty());
        self.daemons.iter().filter(|daemon| daemon.index == home || serves(daemon)).cloned().collect()
    }

    /// Records what the volume shall export, on disk and then in memory; on disk alone counts, so memory follows even a
    /// failure of the directory's sync.
    async fn save(&self, volume: VolumeId, wanted: Wanted) -> Result<(), FileError> {
        if wanted.exports.is_empty() {
            self.wanted().remove(&volume);
        } else {
            self.wanted().insert(volume, wanted.clone());
        }
        let registry = self.registry.clone();
        match self.home().spawn_blocking(move || registry.save(volume, &wanted)).await {
            Ok(saved) => Ok(saved?),
            Err(_) => Err(FileError::Uncertain("the record of exports was cut off".into())),
        }
    }
}

/// The owner's words for a daemon in trouble; the details, which name host paths, go to the log.
pub(super) fn cause_of(error: &DaemonError) -> Cause {
    tracing::warn!(%error, "storage daemon");
    let text = match error {
        DaemonError::Start(_) => "the storage daemon does not start".into(),
        DaemonError::Unreachable(_) => "the storage daemon does not answer".into(),
        DaemonError::Lacking(_) => error.to_string(),
    };
    Cause::new(CauseKind::Unavailable, text)
}

/// The owner's words for a target daemon in trouble.
pub(super) fn cause_of_target(error: &TargetError) -> Cause {
    tracing::warn!(%error, "iSCSI target daemon");
    let text = match error {
        TargetError::Start(_) => "the iSCSI target daemon does not start",
        TargetError::Tgt(TgtError::Refused(_)) => "the iSCSI target daemon refused the target",
        TargetError::Tgt(TgtError::Broken(_)) => "the iSCSI target daemon does not answer",
    };
    Cause::new(CauseKind::Unavailable, text)
}

/// The owner's words for a command that a daemon did not carry out.
pub(super) fn cause_of_link(error: &LinkError) -> Cause {
    tracing::warn!(%error, "storage daemon");
    match error {
        LinkError::Refused(_) => Cause::new(CauseKind::Other, "the storage daemon refused the export"),
        LinkError::Broken(_) => Cause::new(CauseKind::Unavailable, "the connection to the storage daemon broke"),
    }
}
