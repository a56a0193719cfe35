//! A Nova elsewhere: what it is asked and told, at every instant at which the service can die (`spec/races.md`,
//!

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hearth::compute::{ComputeError, ComputeService};
use hearth::domain::compute::{ComputeEvent, ComputeNotice, UseQuestion};
use hearth::domain::ids::{AttachmentId, ProjectId, RequestId, ServerId, VolumeId};
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::Refusal;
use hearth::sim::{WorldOptions, simulate};
use hearth::store::{InlineFault, MessageQuery, Paging};
use serde_json::json;

use super::scenario::{Client, PATIENCE, accepted, alive, refusal, row_of};

/// A Nova in this process: it may refuse the next calls, and writes down what it is told.
#[derive(Default)]
struct Nova {
    /// What its servers have.
    used: Mutex<BTreeSet<AttachmentId>>,
    told: Mutex<Vec<(VolumeId, ComputeNotice)>>,
    /// So many of the next calls fail.
    failures: AtomicU64,
    calls: AtomicU64,
}

impl Nova {
    fn fails(&self) -> bool {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    fn uses(&self, row: AttachmentId) {
        self.used.lock().unwrap().insert(row);
    }

    fn lets_go(&self, row: AttachmentId) {
        self.used.lock().unwrap().remove(&row);
    }

    fn told(&self) -> Vec<(VolumeId, ComputeNotice)> {
        self.told.lock().unwrap().clone()
    }
}

impl ComputeService for Nova {
    fn is_used(
        self: Arc<Self>,
        _: VolumeId,
        question: UseQuestion,
        _: RequestId,
    ) -> BoxFuture<'static, Result<bool, ComputeError>> {
        let used = self.used.lock().unwrap().contains(&question.attachment_id);
        let answer = if self.fails() { Err(ComputeError::Unavailable) } else { Ok(used) };
        std::future::ready(answer).boxed()
    }

    fn notify(
        self: Arc<Self>,
        volume_id: VolumeId,
        notice: ComputeNotice,
        _: RequestId,
    ) -> BoxFuture<'static, Result<(), ComputeError>> {
        if self.fails() {
            return std::future::ready(Err(ComputeError::Unavailable)).boxed();
        }
        self.told.lock().unwrap().push((volume_id, notice));
        std::future::ready(Ok(())).boxed()
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// A volume that a server of this Nova has.
async fn attached(client: &Client<'_>, nova: &Nova) -> Option<(VolumeId, AttachmentId)> {
    let id = client.world.volume_id();
    client.create(id, 1).await?.expect("created");
    client.wait(id, VolumeStatus::Available).await?;
    let row = row_of(&client.attachment_create(id, Some("s"), Some(json!({"host": "h"}))).await?.expect("connected"));
    client.attachment_complete(id, row).await?.expect("complete");
    nova.uses(row);
    Some((id, row))
}

fn grown() -> ComputeNotice {
    ComputeNotice { event: ComputeEvent::VolumeExtended, servers: vec![ServerId::from("s")] }
}

/// A life: attached, grown, Nova told after a failure, taken back.
async fn live(client: &Client<'_>, nova: &Nova, reached: &mut Option<(VolumeId, bool)>) -> Option<()> {
    let (id, row) = attached(client, nova).await?;
    *reached = Some((id, false));
    nova.failures.store(1, Ordering::SeqCst);
    client.extend(id, 2).await?.expect("accepted");
    *reached = Some((id, true));
    client.wait(id, VolumeStatus::InUse).await?;
    assert!(
        matches!(client.attachment_delete(id, row).await?, Err(error) if error.to_string().contains("Compute API"))
    );
    nova.lets_go(row);
    client.attachment_delete(id, row).await?.expect("Nova does not use it");
    client.wait(id, VolumeStatus::Available).await
}

/// Whatever was promised before the service died has happened afterwards: the volume has grown, and Nova knows.
#[test]
fn external_r103_what_was_promised_before_a_crash_nova_is_told() {
    let mut deaths = 0;
    for nth in 1.. {
        let mut is_over = true;
        for fault in [InlineFault::CrashBefore, InlineFault::CrashAfter] {
            let nova = Arc::new(Nova::default());
            is_over &= simulate(WorldOptions::seeded(nth), async |world| {
                world.set_compute(nova.clone());
                let mut seen = 0;
                world.store().set_fault_hook(Some(Box::new(move |_| {
                    seen += 1;
                    if seen == nth { fault } else { InlineFault::None }
                })));
                let node = world.start().await;
                let mut reached = None;
                let end = live(&Client::new(world, &node), &nova, &mut reached).await;
                node.crash();
                if end.is_some() {
                    return true;
                }
                world.store().set_fault_hook(None);
                let node = world.start().await;
                let client = Client::new(world, &node);
                client.assert_clean().await;
                let Some((id, has_grown)) = reached else { return false };
                let state = alive(client.view(id).await);
                if has_grown {
                    assert_eq!(state.volume.size_gib, 2, "commit {nth}, {fault:?}");
                }
                let expected = state.volume.size_gib == 2;
                let told = nova.told();
                assert_eq!(told.contains(&(id, grown())), expected, "commit {nth}, {fault:?}: {told:?}");
                false
            });
        }
        if is_over {
            break;
        }
        deaths += 1;
    }
    assert!(deaths >= 8, "{deaths} commits");
}

/// A Nova that stays away is told for about a minute; then the owner is.
#[test]
fn external_r49_a_nova_that_stays_away_is_given_up() {
    let nova = Arc::new(Nova::default());
    simulate(WorldOptions::seeded(49), async |world| {
        world.set_compute(nova.clone());
        let node = world.start().await;
        let client = Client::new(world, &node);
        let (id, _) = attached(&client, &nova).await.expect("alive");
        nova.failures.store(u64::MAX, Ordering::SeqCst);
        let began = world.now();
        accepted(client.extend(id, 2).await);
        client.node.settle(PATIENCE).await.expect("alive");
        let took = world.now().since(began);
        assert!((Duration::from_secs(30)..Duration::from_secs(120)).contains(&took), "{took:?}");
        assert_eq!((nova.calls.load(Ordering::SeqCst), nova.told()), (8, vec![]));
        let state = alive(client.view(id).await);
        assert_eq!((state.volume.status, state.volume.size_gib), (VolumeStatus::InUse, 2));
        let paging = Paging { sort: Vec::new(), marker: None, offset: 0, limit: 10 };
        let query = MessageQuery { project_id: ProjectId::from("p"), filters: Vec::new(), paging };
        let messages = world.store_now().message_list(query).await.expect("the store reads").rows;
        let codes: Vec<_> = messages.iter().map(|message| (&*message.action_id, &*message.detail_id)).collect();
        assert_eq!(codes, [("007", "009")], "{messages:?}");
        client.assert_clean().await;
    });
}

/// A user and Nova at the same row: whoever is second finds what the first one has left, in every order.
#[test]
fn external_r40_r41_a_user_and_nova_at_one_row() {
    for seed in 0..20 {
        let nova = Arc::new(Nova::default());
        simulate(WorldOptions::seeded(seed), async |world| {
            world.set_compute(nova.clone());
            let node = world.start().await;
            let client = Client::new(world, &node);
            let (id, row) = attached(&client, &nova).await.expect("alive");
            let ((), by_user, grown) = futures_util::join!(
                async {
                    if seed % 2 == 0 {
                        nova.lets_go(row);
                    }
                },
                client.attachment_delete(id, row),
                client.extend(id, 2),
            );
            match by_user.expect("alive") {
                Ok(_) => assert_eq!(seed % 2, 0, "the server still uses it"),
                Err(error) => {
                    assert!(error.to_string().contains("Compute API"), "{error}");
                    assert_eq!(seed % 2, 1, "nobody uses it");
                }
            }
            drop(grown);
            client.node.settle(PATIENCE).await.expect("alive");
            nova.lets_go(row);
            if seed % 2 == 1 {
                accepted(client.attachment_delete(id, row).await);
            }
            assert!(matches!(refusal(client.attachment_delete(id, row).await), Refusal::AttachmentNotFound(_)));
            client.wait(id, VolumeStatus::Available).await.expect("alive");
            client.assert_clean().await;
        });
    }
}
