//! What the unique indices of attachments hold, as a group goes along: a device name is used once in a server, and a
//! server has a volume once.

use std::collections::{BTreeSet, HashMap};

use diesel::{PgConnection, QueryResult, RunQueryDsl};

use super::super::VolumeChange;
use super::super::difference::Step;
use super::reads::MappingsOfServers;
use super::statement::Keyed;
use crate::domain::attachment::Attachment;

/// What one row holds in the indices.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    server: String,
    device: Option<String>,
    volume: String,
}

impl Claim {
    fn of(row: &Attachment) -> Option<Self> {
        let bdm = row.bdm.as_ref()?;
        let server = row.instance_uuid.as_ref()?;
        Some(Self {
            server: server.to_string(),
            // The name of a disk that was swapped is its old row's for a moment; the server's actor knows whose it is.
            device: bdm.device.as_deref().filter(|_| bdm.guest_device.is_none()).map(str::to_owned),
            volume: row.volume_id.to_string(),
        })
    }
}

/// The claims on the servers on which a group makes claims.
#[derive(Default)]
pub(super) struct Mappings {
    claims: HashMap<String, Claim>,
    /// Whose a server's device name is.
    devices: HashMap<(String, String), String>,
    /// Which row of a server has a volume.
    volumes: HashMap<(String, String), String>,
}

/// What the rows of a change claimed before it.
#[derive(Default)]
pub(super) struct Undo(Vec<(String, Option<Claim>)>);

/// The servers on which a change makes a claim that it did not have.
pub(super) fn servers_claimed(change: &VolumeChange) -> impl Iterator<Item = String> {
    change
        .attachments()
        .filter_map(|step| match step {
            Step::End(_) => None,
            Step::Change(old, new) => Claim::of(new).filter(|claim| Claim::of(old).as_ref() != Some(claim)),
            Step::Make(new, _) => Claim::of(new),
        })
        .map(|claim| claim.server)
}

impl Mappings {
    /// Reads the claims on `servers`.
    pub(super) fn load(connection: &mut PgConnection, servers: BTreeSet<String>) -> QueryResult<Self> {
        let mut mappings = Self::default();
        type Row = (String, Option<String>, Option<String>, String);
        for (id, server, device, volume) in Keyed::<MappingsOfServers>::new(servers).load::<Row>(connection)? {
            mappings.put(id, server.map(|server| Claim { server, device, volume }));
        }
        Ok(mappings)
    }

    /// Makes the claims of a change, in the order in which its rows would be written; how to take them back. None, and
    /// nothing is changed, when one of them is another row's.
    pub(super) fn claim(&mut self, change: &VolumeChange) -> Option<Undo> {
        let mut undo = Undo::default();
        for step in change.attachments() {
            let (row, claim) = match step {
                Step::End(row) => (row, None),
                Step::Change(_, row) | Step::Make(row, _) => (row, Claim::of(row)),
            };
            let id = row.id.to_string();
            if claim.as_ref().is_some_and(|claim| self.is_taken(&id, claim)) {
                self.take_back(undo);
                return None;
            }
            let before = self.put(id.clone(), claim);
            undo.0.push((id, before));
        }
        Some(undo)
    }

    /// As if the claims had not been made; only the last ones made can be taken back.
    pub(super) fn take_back(&mut self, undo: Undo) {
        for (id, claim) in undo.0.into_iter().rev() {
            self.put(id, claim);
        }
    }

    fn is_taken(&self, id: &str, claim: &Claim) -> bool {
        let device = claim.device.as_ref().and_then(|name| self.devices.get(&(claim.server.clone(), name.clone())));
        let volume = self.volumes.get(&(claim.server.clone(), claim.volume.clone()));
        device.into_iter().chain(volume).any(|owner| owner != id)
    }

    /// Sets what a row claims; what it claimed before.
    fn put(&mut self, id: String, claim: Option<Claim>) -> Option<Claim> {
        let before = self.claims.remove(&id);
        if let Some(Claim { server, device, volume }) = before.clone() {
            if let Some(name) = device {
                self.devices.remove(&(server.clone(), name));
            }
            self.volumes.remove(&(server, volume));
        }
        if let Some(claim) = claim {
            if let Some(name) = &claim.device {
                self.devices.insert((claim.server.clone(), name.clone()), id.clone());
            }
            self.volumes.insert((claim.server.clone(), claim.volume.clone()), id.clone());
            self.claims.insert(id, claim);
        }
        before
    }
}
