//! `spec/races.md` §2.5, R-76 to R-78: one volume takes another one's place under a guest that writes. Whatever happens on the way, the
//! guest has one of the two, with every write that it was told is done, and the other one is free.

use std::time::Duration;

use hearth::actors::RequestError;
use hearth::domain::attachment::{Attachment, mapped};
use hearth::domain::backend::{CauseKind, Guest};
use hearth::domain::ids::{AttachmentId, ServerId, VolumeId};
use hearth::domain::server::HypervisorKind;
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::{Command, Refusal, VolumeState};
use hearth::drivers::sim::{Fault, FaultRule};
use hearth::sim::{BACKEND, OTHER_BACKEND, World};

use super::crashes::{self, Life};
use super::scenario::{Client, PATIENCE, accepted, alive, faults_of_guests, in_world, refusal, slow};

/// A guest of server `a` writes; whether it was told that it is done.
fn write(world: &World, device: AttachmentId, marker: &str) -> bool {
    let guest =
        Guest { server_id: ServerId::from("a"), hypervisor: HypervisorKind::Sim, qmp_socket: None, check_uuid: true };
    let written = world.hypervisor().guest_write(&guest, device, marker).expect("written");
    written.is_some_and(|write| write.reached.is_some())
}

/// What Compute shows of server `a`.
async fn shown(client: &Client<'_>) -> Vec<Attachment> {
    mapped(client.world.store_now().server_attachments(ServerId::from("a")).await.expect("the store reads"))
}

/// Two volumes, the first one in use by `a`.
struct Pair {
    old: VolumeId,
    new: VolumeId,
    /// What the device in the guest is named after.
    device: AttachmentId,
}

impl Pair {
    /// The new one is at the other backend, or at the same.
    async fn start(client: &Client<'_>, elsewhere: bool) -> Self {
        let old = client.attached("a").await;
        let new = client.available(1).await;
        if elsewhere {
            accepted(client.migrate(new, OTHER_BACKEND).await);
            client.wait_migration(new, "success").await.expect("alive");
        }
        let device = alive(client.view(old).await).attachments[0].id;
        assert!(write(client.world, device, "before"));
        Self { old, new, device }
    }

    fn slow(client: &Client<'_>, rules: &[(&str, u64)]) {
        for (_, backend) in client.world.backends() {
            let rules = rules.iter().map(|(request, seconds)| slow(request, *seconds)).collect();
            backend.faults().set(rules).expect("the rules make sense");
        }
    }

    /// Waits for a step of the new volume.
    async fn until_at(&self, client: &Client<'_>, step: &str) {
        let is_so = |state: &VolumeState| state.swap().is_some_and(|running| running.step.name() == step);
        let begun = client.world.now();
        while !client.view(self.new).await.is_some_and(|state| is_so(&state)) {
            assert!(client.world.now().since(begun) < PATIENCE, "it never stands at {step}");
            // Some last for one commit only.
            client.world.pass_time(Duration::from_micros(300)).await;
        }
    }

    async fn until_settled(&self, client: &Client<'_>) {
        for id in [self.old, self.new] {
            client
                .node
                .until(id, PATIENCE, |state| state.is_none_or(|state| !state.is_unsettled()))
                .await
                .expect("alive");
        }
    }

    /// The guest has this one and the other one is free; whether it was swapped.
    async fn assert_settled(&self, client: &Client<'_>) -> bool {
        let (old, new) = (alive(client.view(self.old).await), alive(client.view(self.new).await));
        let swapped = new.volume.status == VolumeStatus::InUse;
        let (used, free) = if swapped { (&new, &old) } else { (&old, &new) };
        assert_eq!((used.volume.status, free.volume.status), (VolumeStatus::InUse, VolumeStatus::Available));
        assert_eq!((used.attachments.len(), free.attachments.len()), (1, 0));
        let rows = shown(client).await;
        assert_eq!(rows.iter().map(|row| row.volume_id).collect::<Vec<_>>(), [used.id()]);
        assert_eq!(rows[0].device_id(), self.device);
        assert!(write(client.world, self.device, "after"), "the guest goes on");
        let contents = client.contents(used.id());
        assert_eq!(
            (contents.first().map(String::as_str), contents.last().map(String::as_str)),
            (Some("before"), Some("after"))
        );
        assert_ne!(
            client.contents(free.id()).last().map(String::as_str),
            Some("after"),
            "nobody writes there any more"
        );
        client.assert_clean().await;
        swapped
    }
}

fn release(client: &Client<'_>) {
    for (_, backend) in client.world.backends() {
        backend.faults().release(None);
    }
}

#[test]
fn a_guest_goes_on_while_its_volume_is_swapped() {
    for elsewhere in [false, true] {
        in_world(760, async |client| {
            let pair = Pair::start(client, elsewhere).await;
            let Pair { old, new, device } = pair;
            Pair::slow(client, &[("mirror_guest", 3), ("pivot_guest", 2)]);
            let before = shown(client).await;
            accepted(client.swap("a", old, new).await);
            let status = async |id| alive(client.view(id).await).volume.status;
            assert_eq!((status(old).await, status(new).await), (VolumeStatus::Detaching, VolumeStatus::Reserved));
            pair.until_at(client, "mirror").await;
            assert_eq!((status(old).await, status(new).await), (VolumeStatus::Detaching, VolumeStatus::Attaching));
            assert!(write(client.world, device, "during"));
            assert_eq!(shown(client).await, before, "it is the old volume's");
            pair.until_at(client, "pivot").await;
            assert!(write(client.world, device, "level"), "on both");
            pair.until_at(client, "handover").await;
            assert_eq!(shown(client).await.len(), 1, "one disk is one volume at any time");
            pair.until_settled(client).await;
            let after = shown(client).await;
            assert_eq!(client.contents(new), ["before", "during", "level"]);
            let told = |row: &Attachment| {
                let bdm = row.bdm.clone().expect("Compute's");
                (bdm.uuid, bdm.device, bdm.tag, bdm.delete_on_termination, bdm.server_id)
            };
            assert_eq!(told(&before[0]), told(&after[0]), "Compute's mapping stays");
            assert_ne!(before[0].id, after[0].id);
            assert_eq!((after[0].volume_id, after[0].mountpoint.as_deref()), (new, before[0].mountpoint.as_deref()));
            assert!(pair.assert_settled(client).await);
            // The old one is as good as any, the new one as well.
            accepted(client.extend(new, 2).await);
            client.wait(new, VolumeStatus::InUse).await.expect("alive");
            accepted(client.server_detach("a", new).await);
            client.wait(new, VolumeStatus::Available).await.expect("alive");
            assert!(!write(client.world, device, "late"), "the disk is gone");
            accepted(client.server_attach("a", old).await);
            client.wait(old, VolumeStatus::InUse).await.expect("alive");
            client.assert_clean().await;
        });
    }
}

/// The guest's device keeps its name through all of it.
#[test]
fn a_disk_is_swapped_moved_grown_and_swapped_back() {
    in_world(761, async |client| {
        let Pair { old, new, device } = Pair::start(client, true).await;
        accepted(client.swap("a", old, new).await);
        client.wait(new, VolumeStatus::InUse).await.expect("alive");
        client.wait(old, VolumeStatus::Available).await.expect("alive");
        accepted(client.migrate(new, BACKEND).await);
        client.wait_migration(new, "success").await.expect("alive");
        assert!(write(client.world, device, "moved"));
        accepted(client.extend(old, 3).await);
        client.wait(old, VolumeStatus::Available).await.expect("alive");
        accepted(client.swap("a", new, old).await);
        client.wait(old, VolumeStatus::InUse).await.expect("alive");
        client.wait(new, VolumeStatus::Available).await.expect("alive");
        let seen = client.world.backend().truth().device(&ServerId::from("a"), device).expect("it is there");
        assert_eq!((seen.volume_id, seen.size_gib), (old, 3), "the guest sees the larger disk");
        assert_eq!(client.contents(old), ["before", "moved"]);
        accepted(client.extend(old, 4).await);
        client.wait(old, VolumeStatus::InUse).await.expect("alive");
        let gone = client.node.service.server_delete(ServerId::from("a"), client.world.caller());
        alive(client.node.run(gone).await).expect("deleted");
        client.wait(old, VolumeStatus::Available).await.expect("alive");
        client.assert_clean().await;
    });
}

/// Each step fails in each way.
#[test]
fn r76_whatever_fails_the_guest_has_one_volume_and_the_other_is_free() {
    let faults = faults_of_guests();
    for request in ["export", "mirror_guest", "pivot_guest", "unmirror_guest", "unexport"] {
        for (fault, elsewhere) in faults.iter().flat_map(|fault| [(fault, false), (fault, true)]) {
            in_world(762, async |client| {
                let pair = Pair::start(client, elsewhere).await;
                for (_, backend) in client.world.backends() {
                    let mut rules = vec![FaultRule::once(request, fault.clone())];
                    if request == "unmirror_guest" {
                        rules.push(FaultRule::once("pivot_guest", Fault::Refuse { kind: CauseKind::Guest }));
                    }
                    backend.faults().set(rules).expect("the rules make sense");
                }
                accepted(client.swap("a", pair.old, pair.new).await);
                let begun = client.world.now();
                let is_open = async || {
                    let states = [client.view(pair.old).await, client.view(pair.new).await];
                    states.iter().any(|state| state.as_ref().is_none_or(|state| state.is_unsettled()))
                };
                while is_open().await {
                    assert!(write(client.world, pair.device, "during"), "{request}, {fault:?}: the guest is cut off");
                    client.world.pass_time(Duration::from_millis(500)).await;
                    let passed = client.world.now().since(begun);
                    assert!(
                        passed < Duration::from_secs(600),
                        "{request}, {fault:?}: {:?}",
                        client.view(pair.new).await
                    );
                    if passed > Duration::from_secs(60) {
                        // What must be done in the end waits for as long as the backend hangs.
                        release(client);
                    }
                }
                release(client);
                client.world.pass_time(Duration::from_secs(30)).await;
                let swapped = pair.assert_settled(client).await;
                let certain = matches!(fault, Fault::Refuse { .. } | Fault::Fail { .. });
                let undone = certain && request != "unexport" || request == "unmirror_guest";
                assert!(!(undone && swapped), "{request}, {fault:?}: it failed before the guest moved");
            });
        }
    }
}

/// A swap with a crash at any instant: what was accepted is carried out.
struct Crashing {
    old: VolumeId,
    new: VolumeId,
    device: Option<AttachmentId>,
    is_accepted: bool,
}

impl Life for Crashing {
    fn new(client: &Client<'_>) -> Self {
        Self { old: client.world.volume_id(), new: client.world.volume_id(), device: None, is_accepted: false }
    }

    async fn live(&mut self, client: &Client<'_>) -> Option<()> {
        client.server("a").await?;
        for id in [self.old, self.new] {
            accepted(Some(client.create(id, 1).await?));
            client.wait(id, VolumeStatus::Available).await?;
        }
        accepted(Some(client.migrate(self.new, OTHER_BACKEND).await?));
        client.wait_migration(self.new, "success").await?;
        accepted(Some(client.server_attach("a", self.old).await?));
        client.wait(self.old, VolumeStatus::InUse).await?;
        self.device = client.view(self.old).await.map(|state| state.attachments[0].id);
        assert!(write(client.world, self.device?, "before"));
        accepted(Some(client.swap("a", self.old, self.new).await?));
        self.is_accepted = true;
        client.wait(self.new, VolumeStatus::InUse).await?;
        client.wait(self.old, VolumeStatus::Available).await?;
        Some(())
    }

    async fn aftermath(&self, client: &Client<'_>) {
        let Some(device) = self.device else { return };
        let pair = Pair { old: self.old, new: self.new, device };
        let swapped = pair.assert_settled(client).await;
        assert!(swapped || !self.is_accepted, "what was answered is lost");
        let used = if swapped { self.new } else { self.old };
        accepted(client.server_detach("a", used).await);
        client.wait(used, VolumeStatus::Available).await.expect("alive");
    }
}

#[test]
fn r76_crash_before_and_after_every_commit_of_a_swap() {
    crashes::at_every_commit::<Crashing>(21);
}

#[test]
fn r76_crash_on_each_side_of_every_driver_call_of_a_swap() {
    crashes::around_every_call::<Crashing>(11);
}

/// Two writers are seen before anything changes.
#[test]
fn r77_a_volume_of_two_writers_is_refused_and_stays_as_it_is() {
    in_world(77, async |client| {
        let old = client.multiattach().await;
        for server in ["a", "b"] {
            client.server(server).await.expect("alive");
            accepted(client.server_attach(server, old).await);
            client.wait(old, VolumeStatus::InUse).await.expect("alive");
        }
        let new = client.available(1).await;
        let before = (alive(client.view(old).await), alive(client.view(new).await));
        assert!(matches!(refusal(client.swap("a", old, new).await), Refusal::InvalidVolume(_)));
        assert_eq!((alive(client.view(old).await), alive(client.view(new).await)), before);
        client.assert_clean().await;
    });
}

#[test]
fn r78_two_swaps_to_one_volume_and_a_swap_to_itself() {
    in_world(78, async |client| {
        let first = Pair::start(client, false).await;
        let second = client.available(1).await;
        accepted(client.server_attach("a", second).await);
        client.wait(second, VolumeStatus::InUse).await.expect("alive");
        let itself = alive(client.swap("a", second, second).await);
        assert!(matches!(itself, Err(RequestError::ServerBadRequest(_))), "{itself:?}");
        let (one, other) =
            futures_util::join!(client.swap("a", first.old, first.new), client.swap("a", second, first.new));
        let (one, other) = (alive(one), alive(other));
        assert!(one.is_ok() != other.is_ok(), "{one:?}, {other:?}");
        let (gone, stayed) = if one.is_ok() { (first.old, second) } else { (second, first.old) };
        client.wait(first.new, VolumeStatus::InUse).await.expect("alive");
        client.wait(gone, VolumeStatus::Available).await.expect("alive");
        client.wait(stayed, VolumeStatus::InUse).await.expect("alive");
        assert_eq!(shown(client).await.len(), 2);
        client.assert_clean().await;
    });
}

/// One volume is asked for twice: it goes once.
#[test]
fn r78_two_swaps_of_one_volume() {
    in_world(781, async |client| {
        let pair = Pair::start(client, false).await;
        let third = client.available(1).await;
        let (one, other) = futures_util::join!(client.swap("a", pair.old, pair.new), client.swap("a", pair.old, third));
        let (one, other) = (alive(one), alive(other));
        assert!(one.is_ok() != other.is_ok(), "{one:?}, {other:?}");
        let (used, free) = if one.is_ok() { (pair.new, third) } else { (third, pair.new) };
        client.wait(used, VolumeStatus::InUse).await.expect("alive");
        client.wait(free, VolumeStatus::Available).await.expect("alive");
        client.wait(pair.old, VolumeStatus::Available).await.expect("alive");
        client.assert_clean().await;
    });
}

/// Neither volume has anything else done to it while the guest is between them.
#[test]
fn nobody_touches_either_volume_meanwhile() {
    in_world(763, async |client| {
        let pair = Pair::start(client, true).await;
        let Pair { old, new, device } = pair;
        Pair::slow(client, &[("mirror_guest", 5)]);
        accepted(client.swap("a", old, new).await);
        pair.until_at(client, "mirror").await;
        let row = alive(client.view(new).await).attachments[0].id;
        for (what, answer) in [
            ("detach by Compute", client.server_detach("a", old).await),
            ("delete of the old row", client.attachment_delete(old, device).await),
            ("delete of the new row", client.attachment_delete(new, row).await),
            ("update of the old row", client.attachment_update(old, device, "elsewhere").await),
            ("update of the new row", client.attachment_update(new, row, "elsewhere").await),
            ("attach of the new volume", client.server_attach("a", new).await),
            ("extend of the old volume", client.extend(old, 2).await),
            ("extend of the new volume", client.extend(new, 2).await),
            ("migration of the old volume", client.migrate(old, OTHER_BACKEND).await),
            ("migration of the new volume", client.migrate(new, BACKEND).await),
            ("forced delete of the old volume", client.ask(old, Command::Delete { force: true, cascade: false }).await),
            ("forced delete of the new volume", client.ask(new, Command::Delete { force: true, cascade: false }).await),
            ("os-detach", client.ask(old, Command::Detach { attachment_id: Some(device) }).await),
            (
                "os-force_detach",
                client.ask(new, Command::ForceDetach { attachment_id: Some(row), connector: None }).await,
            ),
            (
                "the flag",
                client
                    .ask(old, Command::ServerAttachmentUpdate { server_id: "a".into(), delete_on_termination: true })
                    .await,
            ),
        ] {
            let refused = refusal(answer);
            assert!(
                matches!(refused, Refusal::InvalidVolume(_) | Refusal::UsedByServer(_) | Refusal::Conflict(_)),
                "{what}: {refused:?}"
            );
        }
        assert!(matches!(
            alive(client.server_detach("a", new).await),
            Err(RequestError::Refused(Refusal::NotAttached(_)))
        ));
        pair.until_settled(client).await;
        assert!(pair.assert_settled(client).await);
    });
}

/// whichever volume the server has when it ends, it is freed, and the other one is.
#[test]
fn r26_the_end_of_the_server_frees_both_volumes() {
    for step in ["yield", "export", "mirror", "pivot", "handover"] {
        in_world(764, async |client| {
            let pair = Pair::start(client, true).await;
            Pair::slow(client, &[("export", 3), ("mirror_guest", 3), ("pivot_guest", 3), ("unexport", 3)]);
            let swap = async {
                let _ = client.swap("a", pair.old, pair.new).await;
            };
            let end = async {
                pair.until_at(client, step).await;
                let gone = client.node.service.server_delete(ServerId::from("a"), client.world.caller());
                alive(client.node.run(gone).await).expect("deleted");
            };
            futures_util::join!(swap, end);
            for id in [pair.old, pair.new] {
                client.wait(id, VolumeStatus::Available).await.expect("alive");
            }
            assert!(shown(client).await.is_empty());
            client.assert_clean().await;
        });
    }
}

#[test]
fn r83_a_reset_of_either_volume_takes_the_guest_back_first() {
    for (step, of_new) in [("export", true), ("mirror", true), ("mirror", false), ("pivot", true), ("pivot", false)] {
        in_world(765, async |client| {
            let pair = Pair::start(client, true).await;
            Pair::slow(client, &[("export", 2), ("mirror_guest", 3), ("pivot_guest", 3)]);
            accepted(client.swap("a", pair.old, pair.new).await);
            pair.until_at(client, step).await;
            let (id, word) = if of_new { (pair.new, VolumeStatus::Available) } else { (pair.old, VolumeStatus::InUse) };
            accepted(client.reset(id, word).await);
            pair.until_settled(client).await;
            // Past the point of no return it goes forward.
            assert_eq!(pair.assert_settled(client).await, step == "pivot", "{step}, {of_new}");
        });
    }
}

#[test]
fn what_cannot_be_swapped_is_refused_and_nothing_changes() {
    in_world(766, async |client| {
        let pair = Pair::start(client, true).await;
        let Pair { old, new, .. } = pair;
        let other = client.available(1).await;
        client.server("b").await.expect("alive");
        accepted(client.server_attach("b", other).await);
        client.wait(other, VolumeStatus::InUse).await.expect("alive");
        let reserved = client.available(1).await;
        accepted(client.attachment_create(reserved, Some("b"), None).await);
        let readonly = client.available(1).await;
        accepted(client.ask(readonly, Command::SetReadonly { readonly: true }).await);
        let large = client.available(2).await;
        accepted(client.server_attach("a", large).await);
        client.wait(large, VolumeStatus::InUse).await.expect("alive");
        let missing = client.world.volume_id();
        for (server, from, to) in [
            ("a", other, new),
            ("b", old, new),
            ("a", old, other),
            ("a", old, reserved),
            ("a", old, readonly),
            ("a", large, new),
            ("a", new, reserved),
            ("a", old, missing),
        ] {
            let refused = alive(client.swap(server, from, to).await).expect_err("refused");
            assert!(
                matches!(
                    refused,
                    RequestError::ServerBadRequest(_)
                        | RequestError::Refused(Refusal::InvalidVolume(_) | Refusal::InvalidInput(_))
                ),
                "{refused:?}"
            );
        }
        let refused = alive(client.swap("a", missing, new).await).expect_err("refused");
        assert!(matches!(refused, RequestError::Refused(Refusal::VolumeNotFound(_))), "{refused:?}");
        accepted(client.attachment_delete(reserved, alive(client.view(reserved).await).attachments[0].id).await);
        accepted(client.server_detach("a", large).await);
        client.wait(large, VolumeStatus::Available).await.expect("alive");
        assert!(!pair.assert_settled(client).await);
    });
}

/// The host of the guest is dead, by an operator's word: neither volume stays with it.
#[test]
fn a_fence_of_the_host_frees_both_volumes() {
    for step in ["export", "mirror", "pivot"] {
        in_world(767, async |client| {
            let pair = Pair::start(client, true).await;
            Pair::slow(client, &[("export", 3), ("mirror_guest", 3), ("pivot_guest", 3)]);
            accepted(client.swap("a", pair.old, pair.new).await);
            pair.until_at(client, step).await;
            let caller = client.world.caller();
            let fenced = client.node.service.host_fence("host-of-a", "powered off", &caller);
            alive(client.node.run(fenced).await).expect("fenced");
            for id in [pair.old, pair.new] {
                client.wait(id, VolumeStatus::Available).await.expect("alive");
                assert!(alive(client.view(id).await).attachments.is_empty(), "{step}");
            }
            let again = alive(client.swap("a", pair.old, pair.new).await);
            assert!(again.is_err(), "{again:?}");
        });
    }
}
