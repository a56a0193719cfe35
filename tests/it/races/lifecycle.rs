//! A volume's whole life with a crash at every commit, before every reply, and on each side of every driver call; with
//! every driver call failing, hanging, lost or done twice. Each run ends with records, backend and guests in agreement.

use std::time::Duration;

use hearth::domain::backend::CauseKind;
use hearth::domain::ids::VolumeId;
use hearth::domain::status::VolumeStatus;
use hearth::drivers::sim::{Fault, FaultRule, When};
use hearth::sim::{World, WorldOptions, simulate};

use super::crashes::{self, Life};
use super::scenario::{Client, PATIENCE, accepted, row_of};

/// Create, attach to a server, grow online, detach; then Block Storage's own attachment; grow; delete.
#[derive(Debug)]
struct WholeLife {
    id: VolumeId,
    /// What the client knows for certain, because it was answered.
    created: bool,
    size: u32,
    attached: bool,
    detached: bool,
    deleted: bool,
}

impl Life for WholeLife {
    fn new(client: &Client<'_>) -> Self {
        let id = client.world.volume_id();
        Self { id, created: false, size: 0, attached: false, detached: false, deleted: false }
    }

    async fn live(&mut self, client: &Client<'_>) -> Option<()> {
        let id = self.id;
        client.server("s1").await?;
        accepted(Some(client.create(id, 1).await?));
        self.created = true;
        self.size = 1;
        client.wait(id, VolumeStatus::Available).await?;

        accepted(Some(client.server_attach("s1", id).await?));
        self.attached = true;
        client.wait(id, VolumeStatus::InUse).await?;
        accepted(Some(client.extend(id, 2).await?));
        self.size = 2;
        client.wait(id, VolumeStatus::InUse).await?;
        accepted(Some(client.server_detach("s1", id).await?));
        self.detached = true;
        client.wait(id, VolumeStatus::Available).await?;

        let reserved = accepted(Some(client.attachment_create(id, Some("foreign"), None).await?));
        let row = row_of(&reserved);
        accepted(Some(client.attachment_update(id, row, "h1").await?));
        accepted(Some(client.attachment_complete(id, row).await?));
        accepted(Some(client.attachment_delete(id, row).await?));
        client.wait(id, VolumeStatus::Available).await?;

        accepted(Some(client.extend(id, 3).await?));
        self.size = 3;
        client.wait(id, VolumeStatus::Available).await?;
        accepted(Some(client.delete(id).await?));
        self.deleted = true;
        client.wait_gone(id).await
    }

    async fn aftermath(&self, client: &Client<'_>) {
        let Some(state) = client.view(self.id).await else {
            assert!(!self.created || self.deleted || self.size == 3, "the volume is lost: {self:?}");
            return;
        };
        let volume = &state.volume;
        assert!(!self.deleted, "an answered delete was undone: {volume:?}");
        assert!(volume.size_gib >= self.size, "an answered extend was undone: {self:?} {volume:?}");
        assert!(!volume.status.is_error(), "no fault put the volume into {}: {self:?}", volume.status);
        if self.attached && !self.detached && self.size == 1 {
            assert_eq!(volume.status, VolumeStatus::InUse, "an answered attach was undone");
        }
        finish(client, self.id).await;
    }
}

/// Detaches and deletes whatever is there, without any administrator's help.
async fn finish(client: &Client<'_>, id: VolumeId) {
    let state = client.view(id).await.expect("the volume exists");
    for row in &state.attachments {
        match &row.bdm {
            Some(bdm) => {
                accepted(client.server_detach(bdm.server_id.as_str(), id).await);
            }
            None => {
                accepted(client.attachment_delete(id, row.id).await);
            }
        }
    }
    client.node.settle(PATIENCE).await.expect("alive");
    accepted(client.delete(id).await);
    client.wait_gone(id).await.expect("alive");
}

#[test]
fn crash_before_and_after_every_commit_settles_by_itself() {
    crashes::at_every_commit::<WholeLife>(22);
}

#[test]
fn crash_on_each_side_of_every_driver_call_settles_by_itself() {
    crashes::around_every_call::<WholeLife>(11);
}

/// Requests of a life, as the backend names them.
const REQUESTS: [&str; 8] = ["create", "extend", "delete", "export", "unexport", "plug", "unplug", "resize_guest"];

/// A life in which one call of each kind goes wrong; returns when everything is quiet.
fn life_with(seed: u64, rules: Vec<FaultRule>, check: impl AsyncFnOnce(&World, &Client<'_>, VolumeId, bool)) {
    simulate(WorldOptions::seeded(seed), async |world| {
        world.backend().faults().set(rules).expect("the rules make sense");
        let node = world.start().await;
        let client = Client::new(world, &node);
        let id = world.volume_id();
        let outcome = node.run(tolerant_life(&client, id)).await.expect("nobody dies");
        check(world, &client, id, outcome).await;
    });
}

/// A life whose client carries on whatever is refused. True: every step had its usual effect.
async fn tolerant_life(client: &Client<'_>, id: VolumeId) -> bool {
    let settle = async || client.node.settle(PATIENCE).await;
    let mut good = true;
    client.server("s1").await;
    good &= matches!(client.create(id, 1).await, Some(Ok(_)));
    settle().await;
    good &= matches!(client.server_attach("s1", id).await, Some(Ok(_)));
    settle().await;
    good &= matches!(client.extend(id, 2).await, Some(Ok(_)));
    settle().await;
    good &= matches!(client.server_detach("s1", id).await, Some(Ok(_)));
    settle().await;
    if let Some(Ok(reply)) = client.attachment_create(id, Some("foreign"), None).await {
        let row = row_of(&reply);
        good &= matches!(client.attachment_update(id, row, "h1").await, Some(Ok(_)));
        good &= matches!(client.attachment_complete(id, row).await, Some(Ok(_)));
        good &= matches!(client.attachment_delete(id, row).await, Some(Ok(_)));
    } else {
        good = false;
    }
    settle().await;
    good &= matches!(client.delete(id).await, Some(Ok(_)));
    settle().await;
    good
}

/// Whatever is left after faults can be freed by its owner with ordinary requests, once the backend works again.
async fn freed_by_owner(client: &Client<'_>, id: VolumeId) {
    client.world.backend().faults().clear();
    client.world.backend().faults().release(None);
    for _ in 0..3 {
        client.node.settle(PATIENCE).await.expect("alive");
        let Some(state) = client.view(id).await else { break };
        for row in &state.attachments {
            match &row.bdm {
                Some(bdm) => drop(client.server_detach(bdm.server_id.as_str(), id).await),
                None => drop(client.attachment_delete(id, row.id).await),
            }
        }
        client.node.settle(PATIENCE).await.expect("alive");
        let force = client.view(id).await.is_some_and(|state| state.volume.status == VolumeStatus::ErrorDeleting);
        drop(client.ask(id, hearth::domain::volume::Command::Delete { force, cascade: false }).await);
    }
    client.assert_clean().await;
    assert!(client.view(id).await.is_none(), "the volume cannot be freed: {:#?}", client.view(id).await);
}

#[test]
fn every_step_twice_has_one_effect() {
    for request in REQUESTS {
        let rule = FaultRule::on(request, Fault::Twice { after_us: 300_000 });
        life_with(7, vec![rule], async |_, client, id, good| {
            assert!(good, "{request} twice changed an answer");
            client.assert_clean().await;
            assert!(client.view(id).await.is_none(), "{request} twice left the volume");
        });
    }
}

#[test]
fn lost_answers_are_probed_and_change_nothing() {
    for request in REQUESTS {
        for fault in [Fault::AnswerLost, Fault::NothingDone] {
            let rule = FaultRule::once(request, fault.clone());
            life_with(8, vec![rule], async |_, client, id, good| {
                assert!(good, "{request} {fault:?} changed an answer");
                client.assert_clean().await;
                assert!(client.view(id).await.is_none(), "{request} {fault:?} left the volume");
            });
        }
    }
}

#[test]
fn fail_at_every_step_leaves_nothing_that_the_owner_cannot_free() {
    for request in REQUESTS {
        for nth in 1..=2 {
            for fault in [Fault::Fail { kind: CauseKind::Other }, Fault::Refuse { kind: CauseKind::Other }] {
                let rule = FaultRule::on(request, fault).when(When::Nth { n: nth });
                life_with(9, vec![rule], async |_, client, id, _| freed_by_owner(client, id).await);
            }
        }
    }
}

#[test]
fn r101_hang_at_every_step_and_its_probe_ends_in_a_named_status() {
    for request in REQUESTS {
        for effect_first in [true, false] {
            for probe_hangs in [true, false] {
                let mut rules = vec![FaultRule::once(request, Fault::Hang { effect_first })];
                if probe_hangs {
                    rules.push(FaultRule::on("probe", Fault::Hang { effect_first: false }));
                    rules.push(FaultRule::on("probe_guest", Fault::Hang { effect_first: false }));
                }
                simulate(WorldOptions::seeded(11), async |world| {
                    world.backend().faults().set(rules.clone()).expect("the rules make sense");
                    let node = world.start().await;
                    let client = Client::new(world, &node);
                    let id = world.volume_id();
                    // Every request is answered, and no operation runs for ever, although the backend never answers.
                    let requests = tolerant_requests(&client, id);
                    tokio::time::timeout(Duration::from_secs(3600), requests).await.expect("every request is answered");
                    freed_by_owner(&client, id).await;
                });
            }
        }
    }
}

/// The requests of a life, each when nothing runs any more; outstanding calls may remain.
async fn tolerant_requests(client: &Client<'_>, id: VolumeId) {
    let quiet = async || {
        client
            .node
            .until(id, PATIENCE, |state| state.is_none_or(|state| state.operations.is_empty()))
            .await
            .expect("alive")
    };
    client.server("s1").await;
    drop(client.create(id, 1).await);
    quiet().await;
    drop(client.server_attach("s1", id).await);
    quiet().await;
    drop(client.extend(id, 2).await);
    quiet().await;
    drop(client.server_detach("s1", id).await);
    quiet().await;
    if let Some(Ok(reply)) = client.attachment_create(id, Some("foreign"), None).await {
        let row = row_of(&reply);
        drop(client.attachment_update(id, row, "h1").await);
        drop(client.attachment_complete(id, row).await);
        drop(client.attachment_delete(id, row).await);
    }
    quiet().await;
    drop(client.delete(id).await);
    quiet().await;
}

#[test]
fn fail_every_undo_and_it_is_still_undone() {
    // The plug fails, so the attach is undone; its undo fails three times and is retried until it succeeds.
    for undo in [Fault::Fail { kind: CauseKind::Unavailable }, Fault::NothingDone] {
        let rules = vec![
            FaultRule::once("plug", Fault::Refuse { kind: CauseKind::Guest }),
            FaultRule { times: Some(3), ..FaultRule::on("unexport", undo.clone()) },
        ];
        simulate(WorldOptions::seeded(12), async |world| {
            let node = world.start().await;
            let client = Client::new(world, &node);
            client.server("s1").await.expect("alive");
            let id = client.available(1).await;
            world.backend().faults().set(rules).expect("the rules make sense");
            accepted(client.server_attach("s1", id).await);
            client.assert_clean().await;
            let state = client.view(id).await.expect("the volume exists");
            assert_eq!(state.volume.status, VolumeStatus::Available, "{undo:?}");
            assert!(state.attachments.is_empty());
        });
    }
}
