//! Guests that go their own way: they pause, shut down, die, and come back without their disks. The server's record follows, the
//! disks come back, and nothing that the former process still sends reaches a volume.

use std::time::Duration;

use hearth::actors::{RequestError, ServerUpdate};
use hearth::domain::attachment::Attachment;
use hearth::domain::guest::{GuestSeen, GuestState};
use hearth::domain::ids::{ExportName, ServerId, VolumeId};
use hearth::domain::server::{HypervisorKind, Server};
use hearth::domain::status::{VmState, VolumeStatus};
use hearth::domain::volume::VolumeState;
use hearth::drivers::sim::{Fault, FaultRule};
use hearth::store::{MessageQuery, Paging};

use super::crashes::{Life, around_every_call, at_every_commit};
use super::scenario::{Client, PATIENCE, accepted, alive, faults_of_guests, in_world, slow};

/// A server whose guest is followed, and the processes that the guest has had.
struct Followed<'a> {
    client: &'a Client<'a>,
    name: &'static str,
    process: u32,
}

impl<'a> Followed<'a> {
    /// A running guest and its server.
    async fn start(client: &'a Client<'a>, name: &'static str) -> Option<Self> {
        let mut followed = Self { client, name, process: 0 };
        followed.boots();
        let server = Server {
            hypervisor: HypervisorKind::Qmp,
            qmp_socket: Some(format!("/guests/{name}")),
            ..client.world.server(name)
        };
        match client.node.run(client.node.service.server_create(server)).await? {
            Ok(_) => {}
            Err(error) => panic!("the server was not registered: {error}"),
        }
        Some(followed)
    }

    fn id(&self) -> ServerId {
        ServerId::from(self.name)
    }

    fn does(&self, state: GuestState) {
        let process = if state == GuestState::Gone { 0 } else { self.process };
        self.client.world.backend().guest_does(&self.id(), GuestSeen { process, state }).expect("said");
    }

    /// A new process, with no disk.
    fn boots(&mut self) {
        self.process += 1;
        self.does(GuestState::Running);
    }

    fn dies(&self) {
        self.does(GuestState::Gone);
    }

    async fn is(&self, vm_state: VmState) -> Option<()> {
        let begun = self.client.world.now();
        loop {
            let server = self.client.node.run(self.client.world.store_now().server_get(self.id())).await?;
            let found = server.expect("the store reads").expect("registered").vm_state;
            if found == vm_state {
                return Some(());
            }
            assert!(self.client.world.now().since(begun) < PATIENCE, "the server stays {found}");
            self.client.node.run(self.client.world.pass_time(Duration::from_millis(10))).await?;
        }
    }

    /// Waits until the guest has the volume's disk, by an export other than `former`, and nothing runs.
    async fn has(&self, id: VolumeId, former: Option<&ExportName>) -> Option<()> {
        let truth = self.client.world.backend().truth();
        let is_so = |state: &VolumeState| {
            let row = state.attachment_of_server(&self.id());
            let device = row.and_then(|row| truth.device(&self.id(), row.device_id()));
            let export = row.and_then(|row| row.export.as_ref());
            state.operations.is_empty()
                && device.is_some_and(|device| Some(&device.export) == export)
                && export != former
        };
        self.client.node.until(id, 10 * PATIENCE, |state| state.is_some_and(is_so)).await
    }

    async fn row(&self, id: VolumeId) -> Attachment {
        alive(self.client.view(id).await).attachment_of_server(&self.id()).expect("attached").clone()
    }
}

async fn volume_of(followed: &Followed<'_>) -> VolumeId {
    let id = followed.client.available(1).await;
    accepted(followed.client.server_attach(followed.name, id).await);
    followed.client.wait(id, VolumeStatus::InUse).await.expect("alive");
    id
}

/// A guest that had a volume, and is dead.
async fn died_with_a_volume<'a>(client: &'a Client<'a>) -> (Followed<'a>, VolumeId) {
    let guest = Followed::start(client, "a").await.expect("alive");
    let id = volume_of(&guest).await;
    guest.dies();
    guest.is(VmState::Stopped).await.expect("alive");
    (guest, id)
}

/// What the owner was told.
async fn messages(client: &Client<'_>) -> Vec<String> {
    let query = MessageQuery {
        project_id: client.world.caller().requester.project_id,
        filters: Vec::new(),
        paging: Paging { sort: Vec::new(), marker: None, offset: 0, limit: 100 },
    };
    let page = client.world.store_now().message_list(query).await.expect("the store reads");
    page.rows.into_iter().map(|message| message.action_id + &message.detail_id).collect()
}

#[test]
fn a_servers_state_follows_its_guest() {
    in_world(2, async |client| {
        let guest = Followed::start(client, "a").await.expect("alive");
        for (does, is) in [
            (GuestState::Paused, VmState::Paused),
            (GuestState::Running, VmState::Active),
            (GuestState::ShutDown, VmState::Stopped),
            (GuestState::Running, VmState::Active),
            (GuestState::Gone, VmState::Stopped),
        ] {
            guest.does(does);
            guest.is(is).await.expect("alive");
        }
        // what a hypervisor knows nothing of stays
        let shelved = ServerUpdate { vm_state: Some(VmState::Shelved), ..ServerUpdate::default() };
        client.node.service.server_update(guest.id(), shelved).await.expect("changed");
        guest.does(GuestState::Running);
        client.world.pass_time(PATIENCE).await;
        guest.is(VmState::Shelved).await.expect("alive");
        // and nobody is asked about a server that is gone
        client.node.service.server_delete(guest.id(), client.world.caller()).await.expect("removed");
        guest.does(GuestState::Paused);
        client.world.pass_time(PATIENCE).await;
    });
}

#[test]
fn a_guest_that_comes_back_gets_its_disks_back() {
    in_world(3, async |client| {
        let mut guest = Followed::start(client, "a").await.expect("alive");
        let volumes = [volume_of(&guest).await, volume_of(&guest).await];
        let before = [guest.row(volumes[0]).await, guest.row(volumes[1]).await];
        guest.dies();
        guest.is(VmState::Stopped).await.expect("alive");
        for (id, row) in volumes.into_iter().zip(&before) {
            let state = alive(client.view(id).await);
            assert_eq!((state.volume.status, &state.attachments[0]), (VolumeStatus::InUse, row), "it is the server's");
        }
        guest.boots();
        for (id, row) in volumes.into_iter().zip(&before) {
            guest.has(id, row.export.as_ref()).await.expect("alive");
            let after = guest.row(id).await;
            assert_eq!((after.id, &after.bdm, after.attach_time), (row.id, &row.bdm, row.attach_time));
            // what is left of the former process
            let export = row.export.as_ref().expect("exported");
            let late = client.world.backend().truth().write(export, "late").expect("written");
            assert_eq!(late.reached, None, "its connection is fenced");
        }
        guest.is(VmState::Active).await.expect("alive");
        assert_eq!(messages(client).await, Vec::<String>::new());
        client.assert_clean().await;
    });
}

/// The same process has all of its disks: they are left alone.
#[test]
fn a_guest_that_goes_on_keeps_its_connection() {
    in_world(4, async |client| {
        let guest = Followed::start(client, "a").await.expect("alive");
        let id = volume_of(&guest).await;
        let before = guest.row(id).await;
        for (does, is) in [
            (GuestState::Paused, VmState::Paused),
            (GuestState::Running, VmState::Active),
            (GuestState::ShutDown, VmState::Stopped),
            (GuestState::Running, VmState::Active),
        ] {
            guest.does(does);
            guest.is(is).await.expect("alive");
            client.world.pass_time(PATIENCE).await;
            assert_eq!(guest.row(id).await, before);
        }
        client.assert_clean().await;
    });
}

/// Nova lets volumes be attached to a server that is down: they are in it when it comes up.
#[test]
fn a_volume_attached_to_a_stopped_server_is_plugged_when_it_starts() {
    in_world(5, async |client| {
        let mut guest = Followed::start(client, "a").await.expect("alive");
        guest.dies();
        guest.is(VmState::Stopped).await.expect("alive");
        let (kept, taken) = (volume_of(&guest).await, volume_of(&guest).await);
        accepted(client.server_detach("a", taken).await);
        client.wait(taken, VolumeStatus::Available).await.expect("alive");
        assert_eq!(client.world.backend().truth().devices(&guest.id()), []);
        guest.boots();
        guest.has(kept, None).await.expect("alive");
        assert_eq!(client.world.backend().truth().devices(&guest.id()).len(), 1);
        client.assert_clean().await;
    });
}

/// Whatever goes wrong on the way, the volume stays the server's, and its disk is back in the end.
#[test]
fn a_disk_comes_back_whatever_goes_wrong() {
    for request in ["probe_guest", "unexport", "export", "plug"] {
        for (seed, fault) in (0..).zip(faults_of_guests()) {
            in_world(seed, async |client| {
                let mut guest = Followed::start(client, "a").await.expect("alive");
                let id = volume_of(&guest).await;
                let former = guest.row(id).await.export;
                guest.dies();
                guest.is(VmState::Stopped).await.expect("alive");
                client.world.backend().faults().set(vec![FaultRule::once(request, fault.clone())]).expect("rules");
                guest.boots();
                let statuses = async {
                    client.world.pass_time(Duration::from_secs(60)).await;
                    // what hangs has an end, as a process has
                    client.world.backend().faults().release(None);
                    loop {
                        let status = alive(client.view(id).await).volume.status;
                        assert_eq!(status, VolumeStatus::InUse, "{request} {fault:?}");
                        client.world.pass_time(Duration::from_millis(5)).await;
                    }
                };
                tokio::select! {
                    back = guest.has(id, former.as_ref()) => back.expect("alive"),
                    () = statuses => {}
                }
                client.assert_clean().await;
                accepted(client.server_detach("a", id).await);
                client.wait(id, VolumeStatus::Available).await.expect("alive");
                client.assert_clean().await;
            });
        }
    }
}

/// The owner hears once that a disk could not be put back; and it is tried on.
#[test]
fn what_cannot_be_put_back_is_told_once() {
    in_world(7, async |client| {
        let (mut guest, id) = died_with_a_volume(client).await;
        let full = Fault::Refuse { kind: hearth::domain::backend::CauseKind::Guest };
        client.world.backend().faults().set(vec![FaultRule::on("plug", full)]).expect("rules");
        guest.boots();
        client.world.pass_time(Duration::from_secs(3600)).await;
        assert_eq!(messages(client).await.len(), 1);
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::InUse);
        client.node.settle(PATIENCE).await.expect("alive");
        let differences = client.world.differences().await;
        assert_eq!(differences.len(), 1, "the missing disk alone: {differences:#?}");
        client.world.backend().faults().set(Vec::new()).expect("rules");
        guest.has(id, None).await.expect("alive");
        client.assert_clean().await;
    });
}

/// Nobody waits for a disk that is just being put back, and none comes back behind a detach.
#[test]
fn a_detach_wins_over_a_disk_that_comes_back() {
    for step in ["probe_guest", "unexport", "export", "plug"] {
        in_world(8, async |client| {
            let (mut guest, id) = died_with_a_volume(client).await;
            client.world.backend().faults().set(vec![slow(step, 1)]).expect("rules");
            guest.boots();
            let is_running =
                |state: &VolumeState| state.operations.iter().any(|running| running.kind.name() == "replug");
            client.node.until(id, PATIENCE, |state| state.is_some_and(is_running)).await.expect("alive");
            client.world.pass_time(Duration::from_millis(20)).await;
            accepted(client.server_detach("a", id).await);
            client.wait(id, VolumeStatus::Available).await.expect("alive");
            client.world.pass_time(PATIENCE).await;
            assert_eq!(client.world.backend().truth().devices(&guest.id()), [], "{step}");
            client.assert_clean().await;
        });
    }
}

/// A server that is moved or deleted while its disks come back takes them to nowhere else.
#[test]
fn r26_a_server_that_goes_while_its_disk_comes_back() {
    for step in ["probe_guest", "unexport", "export", "plug"] {
        in_world(9, async |client| {
            let (mut guest, id) = died_with_a_volume(client).await;
            client.world.backend().faults().set(vec![slow(step, 1)]).expect("rules");
            guest.boots();
            client.world.pass_time(Duration::from_millis(30)).await;
            match client.node.service.server_delete(guest.id(), client.world.caller()).await {
                Ok(()) | Err(RequestError::ServerConflict(_)) => {}
                Err(error) => panic!("{error}"),
            }
            client.wait(id, VolumeStatus::Available).await.expect("alive");
            client.assert_clean().await;
        });
    }
}

/// A disk is attached, its guest dies and comes back.
struct ComesBack {
    id: VolumeId,
}

impl Life for ComesBack {
    fn new(client: &Client<'_>) -> Self {
        Self { id: client.world.volume_id() }
    }

    async fn live(&mut self, client: &Client<'_>) -> Option<()> {
        accepted(Some(client.create(self.id, 1).await?));
        client.wait(self.id, VolumeStatus::Available).await?;
        let mut guest = Followed::start(client, "a").await?;
        accepted(Some(client.server_attach("a", self.id).await?));
        client.wait(self.id, VolumeStatus::InUse).await?;
        guest.has(self.id, None).await?;
        let former = alive(client.view(self.id).await).attachments[0].export.clone();
        guest.dies();
        guest.is(VmState::Stopped).await?;
        guest.boots();
        guest.has(self.id, former.as_ref()).await
    }

    async fn until_clean(&self, client: &Client<'_>) {
        // in whatever process the guest was, or had none
        let guest = Followed { client, name: "a", process: 7 };
        guest.dies();
        guest.does(GuestState::Running);
        if client.view(self.id).await.is_some_and(|state| !state.attachments.is_empty()) {
            client.node.settle(PATIENCE).await.expect("alive");
        }
        if client.view(self.id).await.is_some_and(|state| !state.attachments.is_empty()) {
            guest.has(self.id, None).await.expect("alive");
        }
        client.assert_clean().await;
    }

    async fn aftermath(&self, client: &Client<'_>) {
        let Some(state) = client.view(self.id).await else { return };
        if state.attachments.is_empty() {
            return;
        }
        accepted(client.server_detach("a", self.id).await);
        client.wait(self.id, VolumeStatus::Available).await.expect("alive");
    }
}

#[test]
fn a_disk_comes_back_whatever_commit_is_the_last() {
    at_every_commit::<ComesBack>(12);
}

#[test]
fn a_disk_comes_back_whatever_call_is_the_last() {
    around_every_call::<ComesBack>(6);
}
