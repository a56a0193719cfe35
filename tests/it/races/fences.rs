//! Hosts that an operator has declared dead: what they have is released, for nobody else and for no other reason.

use hearth::actors::{FenceError, RequestError};
use hearth::domain::claims::Connection;
use hearth::domain::host::HostFence;
use hearth::domain::ids::VolumeId;
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::{Command, Refusal};
use hearth::drivers::sim::{Fault, FaultRule};
use hearth::store::{Store, StoreError};
use serde_json::json;

use super::crashes::{self, Life};
use super::scenario::{Client, PATIENCE, accepted, alive, in_world, refusal, row_of, slow};

const PROOF: &str = "powered off by ipmi, ticket 4711";

impl Client<'_> {
    async fn fence(&self, host: &str) -> Option<Result<HostFence, StoreError>> {
        let caller = self.world.caller();
        self.node.run(self.node.service.host_fence(host, PROOF, &caller)).await
    }

    async fn unfence(&self, host: &str) -> Option<Result<(), FenceError>> {
        self.node.run(self.node.service.host_unfence(host)).await
    }

    async fn connect(&self, id: VolumeId, host: &str) -> Option<Result<hearth::domain::volume::Reply, RequestError>> {
        self.ask(id, Command::InitializeConnection { connector: json!({"host": host}) }).await
    }

    /// A volume that is connected without a row.
    async fn connected(&self, host: &str) -> VolumeId {
        let id = self.available(1).await;
        accepted(self.connect(id, host).await);
        id
    }

    /// Nothing of the volume is anybody's.
    async fn is_free(&self, id: VolumeId) -> bool {
        let state = alive(self.view(id).await);
        state.attachments.is_empty() && state.volume.connections().is_empty() && state.operations.is_empty()
    }

    async fn until_free(&self, id: VolumeId) -> Option<()> {
        let is_free = |state: Option<&hearth::domain::volume::VolumeState>| {
            state.is_some_and(|state| {
                state.volume.status == VolumeStatus::Available
                    && state.attachments.is_empty()
                    && state.volume.connections().is_empty()
                    && state.operations.is_empty()
            })
        };
        self.node.until(id, PATIENCE, is_free).await
    }
}

#[test]
fn a_fenced_host_loses_all_it_has_and_nobody_else_loses_anything() {
    in_world(1, async |client| {
        let by_server = client.attached("a").await;
        let others = client.attached("b").await;
        let by_row = client.available(1).await;
        let row = row_of(&accepted(client.attachment_create(by_row, None, Some(json!({"host": "host-of-a"}))).await));
        accepted(client.attachment_complete(by_row, row).await);
        let by_connection = client.connected("host-of-a").await;
        let others_connection = client.connected("host-of-b").await;
        let reserved = client.available(1).await;
        accepted(client.attachment_create(reserved, Some("a"), None).await);

        let fence = alive(client.fence("host-of-a").await).expect("fenced");
        assert_eq!((fence.epoch, fence.proof.as_str(), fence.stands()), (1, PROOF, true));
        for id in [by_server, by_row, by_connection] {
            client.until_free(id).await.expect("alive");
            let history = client.world.store().events(id, None, 10).await.expect("the store reads");
            let cause = history.iter().find(|event| event.command == "host_fence").expect("an event").cause.clone();
            assert_eq!(cause.as_deref(), Some("host host-of-a is fenced (epoch 1): powered off by ipmi, ticket 4711"));
        }
        assert_eq!(alive(client.view(others).await).volume.status, VolumeStatus::InUse);
        let connections = |state: &hearth::domain::volume::VolumeState| {
            state
                .volume
                .connections()
                .iter()
                .map(|connection: &Connection| connection.host.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(connections(alive(client.view(others_connection).await).as_ref()), ["host-of-b"]);
        // it was promised to a server, and is nowhere yet
        assert_eq!(alive(client.view(reserved).await).volume.status, VolumeStatus::Reserved);

        // said again it is the same word
        assert_eq!(alive(client.fence("host-of-a").await), Ok(fence));
    });
}

#[test]
fn nothing_is_connected_to_a_fenced_host_until_it_is_taken_back() {
    in_world(2, async |client| {
        let id = client.available(1).await;
        alive(client.server("a").await);
        alive(client.fence("host-of-a").await).expect("fenced");
        let row = row_of(&accepted(client.attachment_create(id, Some("s"), None).await));
        let answers = [
            client.attachment_update(id, row, "host-of-a").await,
            client.attachment_create(id, Some("s"), Some(json!({"host": "host-of-a"}))).await,
            client.connect(id, "host-of-a").await,
            client.server_attach("a", id).await,
        ];
        for answer in answers {
            assert!(matches!(refusal(answer), Refusal::Conflict(_)), "409");
        }
        // another host may
        accepted(client.attachment_update(id, row, "host-of-b").await);
        accepted(client.attachment_delete(id, row).await);

        assert_eq!(alive(client.unfence("host-of-b").await), Err(FenceError::NotFenced("host-of-b".to_owned())));
        assert_eq!(alive(client.unfence("host-of-a").await), Ok(()));
        accepted(client.server_attach("a", id).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        let again = alive(client.fence("host-of-a").await).expect("fenced");
        assert_eq!(again.epoch, 2);
        client.until_free(id).await.expect("alive");
    });
}

/// The guest is asked nothing: it hangs for much longer than the test waits.
#[test]
fn a_guest_that_never_answers_holds_nothing_up() {
    in_world(3, async |client| {
        let (detaching, attached) = (client.attached("a").await, client.attached("a").await);
        client
            .world
            .backend()
            .faults()
            .add(FaultRule::on("unplug", Fault::Hang { effect_first: false }))
            .expect("a rule");
        accepted(client.server_detach("a", detaching).await);
        let before = client.world.now();
        alive(client.fence("host-of-a").await).expect("fenced");
        for id in [detaching, attached] {
            client.until_free(id).await.expect("alive");
        }
        let took = client.world.now().since(before);
        assert!(took.as_secs() < 5, "released within seconds of the host's own time: {took:?}");
        client.world.backend().faults().clear();
    });
}

#[test]
fn a_backend_that_does_not_answer_keeps_its_volume_until_it_does() {
    in_world(4, async |client| {
        let (stuck, free) = (client.attached("a").await, client.attached("a").await);
        let rule = FaultRule {
            volume_id: Some(stuck),
            ..FaultRule::on("unexport", Fault::Fail { kind: hearth::domain::backend::CauseKind::Other })
        };
        client.world.backend().faults().add(rule).expect("a rule");
        alive(client.fence("host-of-a").await).expect("fenced");
        client.until_free(free).await.expect("alive");
        assert!(matches!(alive(client.unfence("host-of-a").await), Err(FenceError::NotReleased { left: 1, .. })));
        assert!(!client.is_free(stuck).await, "its export is not proven gone");
        client.world.backend().faults().clear();
        client.until_free(stuck).await.expect("alive");
        assert_eq!(alive(client.unfence("host-of-a").await), Ok(()));
        client.assert_clean().await;
    });
}

/// In whatever order they come: in the end the host has nothing, and nothing is left of the attach.
#[test]
fn an_attach_and_a_fence_at_the_same_time_end_free() {
    let mut admitted = 0;
    for seed in 0..20 {
        in_world(seed, async |client| {
            let (id, other) = (client.available(1).await, client.available(1).await);
            alive(client.server("a").await);
            for call in ["export", "plug"] {
                client.world.backend().faults().add(slow(call, seed % 3)).expect("a rule");
            }
            let (attached, connected, fenced) = futures_util::join!(
                client.server_attach("a", id),
                client.connect(other, "host-of-a"),
                client.fence("host-of-a")
            );
            alive(fenced).expect("fenced");
            admitted += u32::from(alive(attached).is_ok()) + u32::from(alive(connected).is_ok());
            client.until_free(id).await.expect("alive");
            client.until_free(other).await.expect("alive");
            assert_eq!(alive(client.unfence("host-of-a").await), Ok(()));
        });
    }
    assert!(admitted > 0, "an attach was admitted before the fence was in force");
}

/// A host may be silent for as long as it likes.
#[test]
fn without_a_word_nothing_is_released() {
    in_world(6, async |client| {
        let (id, connected) = (client.attached("a").await, client.connected("host-of-a").await);
        let hang = FaultRule::on("unplug", Fault::Hang { effect_first: false });
        client.world.backend().faults().add(hang).expect("a rule");
        accepted(client.server_detach("a", id).await);
        tokio::time::advance(std::time::Duration::from_secs(24 * 3600)).await;
        client.node.settle(PATIENCE).await.expect("alive");
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::InUse, "the detach was given up");
        assert_eq!(alive(client.view(connected).await).volume.connections().len(), 1);
        client.world.backend().faults().clear();
    });
}

/// A server and a host, and the death of it.
struct Things {
    attached: VolumeId,
    connected: VolumeId,
    fenced: bool,
}

impl Life for Things {
    fn new(client: &Client<'_>) -> Self {
        Self { attached: client.world.volume_id(), connected: client.world.volume_id(), fenced: false }
    }

    async fn live(&mut self, client: &Client<'_>) -> Option<()> {
        for id in [self.attached, self.connected] {
            accepted(Some(client.create(id, 1).await?));
            client.wait(id, VolumeStatus::Available).await?;
        }
        client.server("a").await?;
        accepted(Some(client.server_attach("a", self.attached).await?));
        client.wait(self.attached, VolumeStatus::InUse).await?;
        accepted(Some(client.connect(self.connected, "host-of-a").await?));
        client.fence("host-of-a").await?.expect("fenced");
        self.fenced = true;
        for id in [self.attached, self.connected] {
            client.until_free(id).await?;
        }
        client.unfence("host-of-a").await?.expect("taken back");
        Some(())
    }

    async fn aftermath(&self, client: &Client<'_>) {
        for id in [self.attached, self.connected] {
            let Some(state) = client.view(id).await else { continue };
            assert!(!state.volume.status.is_error(), "no fault put the volume into {}", state.volume.status);
            if self.fenced {
                client.until_free(id).await.expect("alive");
            }
        }
        // whatever was answered: fencing it again ends the same
        alive(client.fence("host-of-a").await).expect("fenced");
        for id in [self.attached, self.connected] {
            if client.view(id).await.is_some() {
                client.until_free(id).await.expect("alive");
                accepted(client.delete(id).await);
                client.wait_gone(id).await.expect("alive");
            }
        }
    }
}

#[test]
fn a_fence_survives_a_crash_before_and_after_every_commit() {
    crashes::at_every_commit::<Things>(12);
}

#[test]
fn a_fence_survives_a_crash_on_each_side_of_every_driver_call() {
    crashes::around_every_call::<Things>(6);
}
