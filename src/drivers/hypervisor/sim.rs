//! The simulated hypervisor: plugs the exports of simulated backends into guests that exist only in their truths. A device is
//! part of the truth of the backend whose export it reads.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::mpsc;

use crate::domain::backend::{Call, Cause, Guest, Outcome, Request};
use crate::domain::guest::GuestSeen;
use crate::domain::ids::{AttachmentId, ExportName};
use crate::drivers::Hypervisor;
use crate::drivers::sim::{Elsewhere, Engine, JournalError, WriteRecord, export_of};

/// The hypervisor. Made by [`crate::drivers::sim::SimBackend::hypervisor`].
pub struct SimHypervisor {
    first: Arc<Engine>,
    others: Vec<Arc<Engine>>,
}

impl SimHypervisor {
    pub(in crate::drivers) fn new(first: Arc<Engine>, others: Vec<Arc<Engine>>) -> Self {
        Self { first, others }
    }

    /// A guest writes to the device of an attachment; while the device is copied, to the copy as well. None when it has no such
    /// device.
    pub fn guest_write(
        &self,
        guest: &Guest,
        attachment_id: AttachmentId,
        marker: &str,
    ) -> Result<Option<WriteRecord>, JournalError> {
        let home = self.home(guest, attachment_id).unwrap_or(&self.first).truth();
        let destination = home.mirror_of(&guest.server_id, attachment_id).and_then(|export| self.server_of(&export));
        match destination {
            Some(destination) => home.mirrored_write(destination.truth(), guest, attachment_id, marker),
            None => home.guest_write(guest, attachment_id, marker),
        }
    }

    fn engines(&self) -> impl Iterator<Item = &Arc<Engine>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Where the device is. Of two that a process left behind which died in a pivot, the one that it has come to.
    fn home(&self, guest: &Guest, attachment_id: AttachmentId) -> Option<&Arc<Engine>> {
        let holders =
            || self.engines().filter(|engine| engine.truth().device(&guest.server_id, attachment_id).is_some());
        let is_copied = |engine: &Arc<Engine>| engine.truth().mirror_of(&guest.server_id, attachment_id).is_some();
        holders().find(|engine| !is_copied(engine)).or_else(|| holders().next())
    }

    fn server_of(&self, export: &ExportName) -> Option<&Arc<Engine>> {
        self.engines().find(|engine| engine.truth().serves(export))
    }

    /// Who carries a call out, and where it goes besides.
    fn route(&self, guest: &Guest, request: &Request) -> (&Arc<Engine>, Elsewhere) {
        let (attachment_id, info) = match request {
            Request::Plug { attachment_id, connection_info, .. }
            | Request::MirrorGuest { attachment_id, connection_info, .. }
            | Request::PivotGuest { attachment_id, connection_info }
            | Request::UnmirrorGuest { attachment_id, connection_info } => (*attachment_id, Some(connection_info)),
            Request::Unplug { attachment_id }
            | Request::ResizeGuest { attachment_id, .. }
            | Request::ProbeGuest { attachment_id } => (*attachment_id, None),
            // No hypervisor carries it out.
            _ => return (&self.first, Elsewhere::Nothing),
        };
        let export = info.and_then(export_of);
        let served_by = export.as_ref().and_then(|export| self.server_of(export));
        let home = self.home(guest, attachment_id);
        if matches!(request, Request::Plug { .. }) {
            return (home.or(served_by).unwrap_or(&self.first), Elsewhere::Nothing);
        }
        let mirrors = |engine: &&Arc<Engine>| {
            export.is_some() && engine.truth().mirror_of(&guest.server_id, attachment_id) == export
        };
        // A copy that is recorded is gone on with first.
        let home = self.engines().find(mirrors).or(home).unwrap_or(&self.first);
        let moves = matches!(request, Request::MirrorGuest { .. } | Request::PivotGuest { .. });
        match served_by.filter(|there| moves && !Arc::ptr_eq(there, home)) {
            Some(there) => (home, Elsewhere::Destination(there.truth().clone())),
            None => (home, Elsewhere::Nothing),
        }
    }
}

impl Hypervisor for SimHypervisor {
    fn call(self: Arc<Self>, guest: Guest, call: Call) -> BoxFuture<'static, Outcome> {
        let (engine, elsewhere) = self.route(&guest, &call.request);
        engine.call(Some(guest), call, elsewhere)
    }

    fn inventory(self: Arc<Self>, guest: Guest) -> BoxFuture<'static, Result<Vec<AttachmentId>, Cause>> {
        let devices = self.engines().flat_map(|engine| engine.guest_inventory(&guest.server_id)).collect();
        ready(Ok(devices)).boxed()
    }

    fn follow(self: Arc<Self>, guest: Guest) -> Option<mpsc::Receiver<GuestSeen>> {
        let (told, seen) = mpsc::channel(1);
        let mut guests = self.first.guests();
        tokio::task::spawn_local(async move {
            let mut last = None;
            loop {
                let now = guests.borrow_and_update().get(&guest.server_id).copied();
                let news = now.filter(|_| now != last);
                last = now;
                if let Some(news) = news
                    && told.send(news).await.is_err()
                {
                    return;
                }
                tokio::select! {
                    changed = guests.changed() => if changed.is_err() { return },
                    () = told.closed() => return,
                }
            }
        });
        Some(seen)
    }
}
