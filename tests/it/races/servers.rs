//! `spec/races.md` §2.5 and §2.8: what happens to a server while its volumes come and go, and what its actions tell of it.

use hearth::actors::{RequestError, ServerAttachRequest, ServerUpdate};
use hearth::domain::ids::{ServerId, VolumeId};
use hearth::domain::server_action::{ServerAction, ServerActionKind};
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::{Command, Refusal};

use super::crashes::{Life, around_every_call, at_every_commit};
use super::scenario::{Client, PATIENCE, accepted, alive, in_world, slow};

fn kinds(actions: &[ServerAction]) -> Vec<(ServerActionKind, bool)> {
    let failed = |action: &ServerAction| action.end.as_ref().is_some_and(|end| end.failure.is_some());
    actions.iter().map(|action| (action.kind, failed(action))).collect()
}

/// A server that is evacuated is brought up elsewhere without what is just being detached: the detach wins.
#[test]
fn r111_a_detach_wins_over_a_server_that_moves() {
    in_world(111, async |client| {
        let (leaving, staying) = (client.attached("a").await, client.attached("a").await);
        client.world.backend().faults().set(vec![slow("unplug", 2)]).expect("rules");
        accepted(client.server_detach("a", leaving).await);
        let moved = ServerUpdate { host: Some(Some("elsewhere".to_owned())), ..ServerUpdate::default() };
        let server = client.node.service.server_update(ServerId::from("a"), moved).await.expect("it moves");
        assert_eq!(server.host.as_deref(), Some("elsewhere"));
        client.wait(leaving, VolumeStatus::Available).await.expect("alive");
        let rows = client.world.store_now().server_attachments(ServerId::from("a")).await.expect("the store reads");
        assert_eq!(rows.iter().map(|row| row.volume_id).collect::<Vec<_>>(), [staying]);
        client.assert_clean().await;
    });
}

/// Whoever was told that the flag is set loses the volume with the server; nobody else does.
#[test]
fn r113_the_flag_and_the_end_of_the_server() {
    for seed in 0..20 {
        in_world(seed, async |client| {
            let id = client.attached("a").await;
            let flag = Command::ServerAttachmentUpdate { server_id: ServerId::from("a"), delete_on_termination: true };
            let service = &client.node.service;
            let (flagged, deleted) = if seed % 2 == 0 {
                futures_util::join!(
                    client.ask(id, flag),
                    service.server_delete(ServerId::from("a"), client.world.caller())
                )
            } else {
                let deleted = service.server_delete(ServerId::from("a"), client.world.caller());
                let (deleted, flagged) = futures_util::join!(deleted, client.ask(id, flag));
                (flagged, deleted)
            };
            deleted.expect("the server is removed");
            match flagged.expect("alive") {
                Ok(_) => client.wait_gone(id).await.expect("the flag was set"),
                Err(RequestError::Refused(Refusal::NotAttached(_))) => {
                    client.wait(id, VolumeStatus::Available).await.expect("it was not flagged");
                }
                Err(error) => panic!("{error}"),
            }
            client.assert_clean().await;
        });
    }
}

/// The lock is read in the step that accepts: a detach is accepted before it or refused behind it.
#[test]
fn r114_a_lock_and_a_detach() {
    for seed in 0..20 {
        in_world(seed, async |client| {
            let id = client.attached("a").await;
            let caller = hearth::domain::volume::Caller { is_admin: false, ..client.world.caller() };
            let service = &client.node.service;
            let lock = ServerUpdate { locked: Some(true), ..ServerUpdate::default() };
            let detach = || service.server_detach(ServerId::from("a"), id, true, caller.clone());
            let lock = service.server_update(ServerId::from("a"), lock);
            let (locked, detached) = if seed % 2 == 0 {
                futures_util::join!(lock, detach())
            } else {
                let (detached, locked) = futures_util::join!(detach(), lock);
                (locked, detached)
            };
            assert!(locked.expect("it is locked").locked);
            client.node.settle(PATIENCE).await.expect("alive");
            let status = alive(client.view(id).await).volume.status;
            match detached {
                Ok(_) => assert_eq!(status, VolumeStatus::Available),
                Err(RequestError::ServerConflict(_)) => assert_eq!(status, VolumeStatus::InUse),
                Err(error) => panic!("{error}"),
            }
            let behind = detach().await.expect_err("it is locked");
            assert!(
                matches!(behind, RequestError::ServerConflict(_) | RequestError::Refused(Refusal::NotAttached(_))),
                "{behind}"
            );
            client.assert_clean().await;
        });
    }
}

/// One volume's way into a server and out of it, with an attach that is refused behind its answer.
struct Told {
    id: VolumeId,
    other: VolumeId,
    /// The answered requests: what, and whether it must have failed.
    answered: Vec<(ServerActionKind, bool)>,
}

impl Told {
    async fn attach_refused(&mut self, client: &Client<'_>) -> Option<()> {
        // the name is taken
        let request = ServerAttachRequest {
            device: Some("/dev/vdb".to_owned()),
            answered_early: true,
            ..ServerAttachRequest::default()
        };
        let caller = client.world.caller();
        let service = &client.node.service;
        let answer = client.node.run(service.server_attach(ServerId::from("a"), self.other, request, caller)).await?;
        assert!(matches!(answer, Err(RequestError::AfterAnswer(_))), "{answer:?}");
        self.answered.push((ServerActionKind::AttachVolume, true));
        Some(())
    }
}

impl Life for Told {
    fn new(client: &Client<'_>) -> Self {
        Self { id: client.world.volume_id(), other: client.world.volume_id(), answered: Vec::new() }
    }

    async fn live(&mut self, client: &Client<'_>) -> Option<()> {
        for id in [self.id, self.other] {
            accepted(Some(client.create(id, 1).await?));
            client.wait(id, VolumeStatus::Available).await?;
        }
        client.server("a").await?;
        accepted(Some(client.server_attach("a", self.id).await?));
        self.answered.push((ServerActionKind::AttachVolume, false));
        client.wait(self.id, VolumeStatus::InUse).await?;
        self.attach_refused(client).await?;
        accepted(Some(client.extend(self.id, 2).await?));
        client.wait(self.id, VolumeStatus::InUse).await?;
        self.answered.push((ServerActionKind::ExtendVolume, false));
        accepted(Some(client.server_detach("a", self.id).await?));
        self.answered.push((ServerActionKind::DetachVolume, false));
        client.wait(self.id, VolumeStatus::Available).await
    }

    async fn aftermath(&self, client: &Client<'_>) {
        let mut told = kinds(&client.actions("a").await);
        told.reverse();
        // one more may have been begun and not been answered
        assert!(told.len() <= self.answered.len() + 1, "{told:?} of {:?}", self.answered);
        for (answered, told) in self.answered.iter().zip(&told) {
            assert_eq!(answered.0, told.0);
            // an attach that died half way may have been undone
            assert!(answered.1 <= told.1, "{told:?}");
        }
        assert!(told.len() >= self.answered.len(), "{told:?} of {:?}", self.answered);
    }
}

#[test]
fn actions_tell_what_was_answered_whatever_commit_is_the_last() {
    at_every_commit::<Told>(10);
}

#[test]
fn actions_tell_what_was_answered_whatever_call_is_the_last() {
    around_every_call::<Told>(6);
}

/// Without a crash the actions are exactly what was asked for; a failed plug is one that has failed.
#[test]
fn actions_are_what_was_done() {
    in_world(5, async |client| {
        let id = client.attached("a").await;
        accepted(client.extend(id, 2).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        accepted(client.server_detach("a", id).await);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        let expected = [ServerActionKind::DetachVolume, ServerActionKind::ExtendVolume, ServerActionKind::AttachVolume];
        assert_eq!(kinds(&client.actions("a").await), expected.map(|kind| (kind, false)));
        // the end of the server tells of no detach of its own
        accepted(client.server_attach("a", id).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        client.node.service.server_delete(ServerId::from("a"), client.world.caller()).await.expect("removed");
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        let newest = client.actions("a").await.first().map(|action| action.kind);
        assert_eq!(newest, Some(ServerActionKind::AttachVolume));
        client.assert_clean().await;
    });
}
