//! `spec/races.md`: attach and detach by the actions that were there before attachments: rows without a connection, and
//! connections without a row.

use hearth::actors::RequestError;
use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::CauseKind;
use hearth::domain::ids::{AttachmentId, ServerId, VolumeId};
use hearth::domain::metadata::Metadata;
use hearth::domain::status::{AttachStatus, VolumeStatus};
use hearth::domain::volume::command::AttachVolume;
use hearth::domain::volume::{Caller, Command, Refusal, Reply};
use hearth::drivers::sim::{Fault, FaultRule};
use hearth::sim::{CallSide, World, WorldOptions, simulate};
use serde_json::json;

use super::recovery::crash_at;
use super::scenario::{Client, PATIENCE, accepted, alive, in_world, refusal, row_of, slow};

type Answer = Option<Result<Reply, RequestError>>;

fn attach(server: &str, mode: AttachMode) -> Command {
    Command::Attach(Box::new(AttachVolume {
        mountpoint: "/dev/vdb".to_owned(),
        instance_uuid: Some(ServerId::from(server)),
        host_name: None,
        mode,
    }))
}

fn attach_host(host: &str) -> Command {
    Command::Attach(Box::new(AttachVolume {
        mountpoint: "/mnt".to_owned(),
        instance_uuid: None,
        host_name: Some(host.to_owned()),
        mode: AttachMode::ReadWrite,
    }))
}

fn initialize(host: &str) -> Command {
    Command::InitializeConnection { connector: json!({"host": host, "ip": "10.0.0.1"}) }
}

fn terminate(host: &str) -> Command {
    Command::TerminateConnection { connector: Some(json!({"host": host})) }
}

const DETACH: Command = Command::Detach { attachment_id: None };
const FORCE_DETACH: Command = Command::ForceDetach { attachment_id: None, connector: None };

/// As a service, whom the in-use guard lets pass.
async fn by_service(client: &Client<'_>, id: VolumeId, command: Command) -> Answer {
    let caller = Caller { is_service: true, ..client.world.caller() };
    client.node.run(client.node.service.volume_command(id, command, caller)).await
}

async fn status(client: &Client<'_>, id: VolumeId) -> VolumeStatus {
    alive(client.view(id).await).volume.status
}

/// A volume that server `a` on host `h` has, as Compute did it before there were attachments.
async fn old_flow(client: &Client<'_>) -> VolumeId {
    let id = client.available(1).await;
    accepted(client.ask(id, Command::Reserve).await);
    accepted(client.ask(id, initialize("h")).await);
    accepted(client.ask(id, attach("a", AttachMode::ReadWrite)).await);
    id
}

#[test]
fn the_old_cycle_leaves_nothing_behind() {
    in_world(1, async |client| {
        let id = client.available(1).await;
        accepted(client.ask(id, Command::Reserve).await);
        let reply = accepted(client.ask(id, initialize("h")).await);
        let connection = reply.state.volume.connection(row_of(&reply)).cloned().expect("on record");
        assert_eq!(reply.state.volume.status, VolumeStatus::Attaching, "no change of state");
        assert!(reply.state.attachments.is_empty(), "no row");
        assert_eq!(client.world.backend().truth().volume(id).exports, [connection.export]);
        let reply = accepted(client.ask(id, attach("a", AttachMode::ReadWrite)).await);
        let row = reply.state.attachment(row_of(&reply)).expect("a row").clone();
        assert_eq!((row.attach_status, row.attach_mode), (AttachStatus::Attached, Some(AttachMode::ReadWrite)));
        assert_eq!((&row.connector, &row.connection_info), (&None, &None));
        let volume = &reply.state.volume;
        assert_eq!((volume.status, volume.attach_status), (VolumeStatus::InUse, AttachStatus::Attached));
        assert_eq!(volume.admin_metadata, Metadata::from([("attached_mode", "rw"), ("readonly", "False")]));
        accepted(client.ask(id, Command::BeginDetaching).await);
        accepted(client.ask(id, terminate("h")).await);
        assert_eq!(status(client, id).await, VolumeStatus::Detaching, "not its business");
        assert!(client.world.backend().truth().volume(id).exports.is_empty());
        accepted(client.ask(id, DETACH).await);
        let state = alive(client.view(id).await);
        assert_eq!(
            (state.volume.status, state.volume.attach_status),
            (VolumeStatus::Available, AttachStatus::Detached)
        );
        assert_eq!(state.volume.admin_metadata, Metadata::from([("readonly", "False")]));
        assert_eq!((state.attachments.len(), &state.volume.claims), (0, &None));
        client.assert_clean().await;
    });
}

#[test]
fn r04_a_stolen_reservation_leaves_the_thiefs_attachment_intact() {
    in_world(4, async |client| {
        let id = client.available(1).await;
        accepted(client.ask(id, Command::Reserve).await);
        accepted(client.ask(id, attach("b", AttachMode::ReadWrite)).await);
        let before = alive(client.view(id).await);
        assert!(matches!(refusal(client.ask(id, attach("a", AttachMode::ReadWrite)).await), Refusal::InvalidVolume(_)));
        accepted(client.ask(id, Command::Unreserve).await);
        assert_eq!(alive(client.view(id).await), before, "b has it");
    });
}

#[test]
fn r05_one_of_two_servers_is_attached() {
    for seed in 0..20 {
        in_world(500 + seed, async |client| {
            let id = client.available(1).await;
            let (first, second) = futures_util::join!(
                client.ask(id, attach("a", AttachMode::ReadWrite)),
                client.ask(id, attach("b", AttachMode::ReadWrite))
            );
            let won = [&first, &second].iter().filter(|answer| matches!(answer, Some(Ok(_)))).count();
            assert_eq!(won, 1, "{first:?} {second:?}");
            assert_eq!(alive(client.view(id).await).attachments.len(), 1);
        });
    }
}

#[test]
fn r06_the_same_attach_again_is_served_but_turns_no_detach_back() {
    in_world(6, async |client| {
        let id = old_flow(client).await;
        let before = alive(client.view(id).await);
        let reply = accepted(client.ask(id, attach("a", AttachMode::ReadOnly)).await);
        assert_eq!(row_of(&reply), before.attachments[0].id, "the row keeps its mode");
        assert_eq!(alive(client.view(id).await), before);
        accepted(client.ask(id, Command::BeginDetaching).await);
        assert!(matches!(refusal(client.ask(id, attach("a", AttachMode::ReadWrite)).await), Refusal::InvalidVolume(_)));
        assert_eq!(status(client, id).await, VolumeStatus::Detaching);
        // A host that attaches itself is known by its sanitised name.
        let id = client.available(1).await;
        accepted(client.ask(id, attach_host("H_o st")).await);
        accepted(client.ask(id, attach_host("h-o-st")).await);
        let state = alive(client.view(id).await);
        assert_eq!(state.attachments.len(), 1);
        assert_eq!(state.attachments[0].attached_host.as_deref(), Some("h-o-st"));
        refusal(client.ask(id, attach_host("other")).await);
    });
}

/// §2.7 row 4 with attachments.md §7: a row that is only reserved is not attached by name.
#[test]
fn r06_an_attach_completes_a_connected_row_and_not_a_reserved_one() {
    in_world(601, async |client| {
        let id = client.available(1).await;
        let row = row_of(&accepted(client.attachment_create(id, Some("a"), None).await));
        refusal(client.ask(id, attach("a", AttachMode::ReadWrite)).await);
        accepted(client.attachment_update(id, row, "h").await);
        refusal(client.ask(id, attach("b", AttachMode::ReadWrite)).await);
        let reply = accepted(client.ask(id, attach("a", AttachMode::ReadWrite)).await);
        assert_eq!((row_of(&reply), reply.state.volume.status), (row, VolumeStatus::InUse));
    });
}

#[test]
fn r24_an_attach_in_another_mode_is_refused_and_makes_no_row() {
    in_world(24, async |client| {
        let id = client.multiattach().await;
        accepted(client.ask(id, attach("a", AttachMode::ReadOnly)).await);
        accepted(client.ask(id, Command::Reserve).await);
        refusal(client.ask(id, attach("b", AttachMode::ReadWrite)).await);
        assert_eq!(alive(client.view(id).await).attachments.len(), 1);
        accepted(client.ask(id, attach("b", AttachMode::ReadOnly)).await);
        assert_eq!(status(client, id).await, VolumeStatus::InUse);
    });
}

#[test]
fn r33_a_detach_must_say_which_of_two_rows_it_means() {
    in_world(33, async |client| {
        let id = client.multiattach().await;
        let rows = [
            row_of(&accepted(client.ask(id, attach("a", AttachMode::ReadWrite)).await)),
            row_of(&accepted(client.ask(id, attach("b", AttachMode::ReadWrite)).await)),
        ];
        assert!(matches!(refusal(client.ask(id, DETACH).await), Refusal::Conflict(_)), "the guard is first");
        assert!(matches!(refusal(by_service(client, id, DETACH).await), Refusal::InvalidVolume(_)));
        let unknown = Command::Detach { attachment_id: Some(AttachmentId(uuid::Uuid::nil())) };
        assert!(matches!(refusal(client.ask(id, unknown.clone()).await), Refusal::Conflict(_)));
        accepted(by_service(client, id, unknown).await);
        assert_eq!(alive(client.view(id).await).attachments.len(), 2);
        for (row, left) in rows.into_iter().zip([VolumeStatus::InUse, VolumeStatus::Available]) {
            accepted(client.ask(id, Command::Detach { attachment_id: Some(row) }).await);
            assert_eq!(status(client, id).await, left);
        }
    });
}

#[test]
fn r34_a_detach_without_rows_makes_only_a_volume_that_looks_attached_available() {
    in_world(34, async |client| {
        let id = client.available(1).await;
        for (word, left) in [
            (VolumeStatus::Attaching, VolumeStatus::Available),
            (VolumeStatus::Detaching, VolumeStatus::Available),
            (VolumeStatus::Reserved, VolumeStatus::Available),
            (VolumeStatus::Creating, VolumeStatus::Creating),
            (VolumeStatus::Error, VolumeStatus::Error),
            (VolumeStatus::ErrorDeleting, VolumeStatus::ErrorDeleting),
            (VolumeStatus::Uploading, VolumeStatus::Uploading),
        ] {
            accepted(client.reset(id, word).await);
            accepted(client.ask(id, DETACH).await);
            assert_eq!(status(client, id).await, left, "from {word}");
        }
        accepted(client.reset(id, VolumeStatus::Available).await);
        accepted(client.ask(id, Command::Reserve).await);
        accepted(client.ask(id, initialize("h")).await);
        accepted(client.ask(id, DETACH).await);
        assert_eq!(alive(client.view(id).await).volume.claims, None, "its connection goes with it");
        assert_eq!(status(client, id).await, VolumeStatus::Available);
        client.world.backend().faults().set(vec![slow("delete", 2)]).expect("rules");
        accepted(client.delete(id).await);
        accepted(client.ask(id, DETACH).await);
        assert_eq!(status(client, id).await, VolumeStatus::Deleting);
    });
}

#[test]
fn r42_an_unexport_that_fails_keeps_the_row_and_the_detach_can_be_repeated() {
    for (seed, fault) in [(42, Fault::Fail { kind: CauseKind::Other }), (421, Fault::Refuse { kind: CauseKind::Busy })]
    {
        in_world(seed, async |client| {
            let id = old_flow(client).await;
            client.world.backend().faults().set(vec![FaultRule::once("unexport", fault)]).expect("rules");
            assert!(matches!(refusal(client.ask(id, DETACH).await), Refusal::Backend(_)), "500");
            let state = alive(client.view(id).await);
            assert_eq!(
                (state.volume.status, state.volume.attach_status),
                (VolumeStatus::InUse, AttachStatus::Attached)
            );
            assert_eq!(state.attachments[0].attach_status, AttachStatus::ErrorDetaching);
            assert_eq!(client.world.backend().truth().volume(id).exports.len(), 1);
            refusal(client.ask(id, initialize("elsewhere")).await);
            accepted(client.ask(id, DETACH).await);
            let state = alive(client.view(id).await);
            assert_eq!((state.volume.status, state.attachments.len()), (VolumeStatus::Available, 0));
            client.assert_clean().await;
        });
    }
}

#[test]
fn r42_a_hung_unexport_is_looked_up_and_finishes_the_detach() {
    in_world(422, async |client| {
        let id = old_flow(client).await;
        let hang = |request: &str| FaultRule::on(request, Fault::Hang { effect_first: false });
        client.world.backend().faults().set(vec![hang("unexport"), hang("probe")]).expect("rules");
        assert!(matches!(refusal(client.ask(id, DETACH).await), Refusal::Backend(_)));
        let state = alive(client.view(id).await);
        assert_eq!(state.volume.status, VolumeStatus::InUse, "never available without proof that the export is gone");
        client.world.backend().faults().clear();
        client.world.backend().faults().release(None);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn two_hosts_are_not_connected_to_a_plain_volume() {
    in_world(10, async |client| {
        let id = client.available(1).await;
        let (first, second) = futures_util::join!(client.ask(id, initialize("h1")), client.ask(id, initialize("h2")));
        let first = accepted(first);
        assert!(matches!(refusal(second), Refusal::InvalidVolume(_)), "it had waited, and was decided then");
        let again = accepted(client.ask(id, initialize("h1")).await);
        assert_eq!(again.state.volume.claims, first.state.volume.claims, "the same export for the same host");
        let other_device = Command::InitializeConnection {
            connector: json!({"host": "h1", "ip": "10.0.0.1", "mountpoint": "/dev/vdc"}),
        };
        accepted(client.ask(id, other_device).await);
        assert_eq!(client.world.backend().truth().volume(id).exports.len(), 1);
        // Neither by the other API.
        refusal(client.attachment_create(id, Some("b"), Some(json!({"host": "h2"}))).await);
        let row = row_of(&accepted(client.attachment_create(id, Some("b"), None).await));
        assert!(matches!(refusal(client.attachment_update(id, row, "h2").await), Refusal::Conflict(_)));
        accepted(client.attachment_delete(id, row).await);
        client.server("s").await.expect("alive");
        assert!(matches!(refusal(client.server_attach("s", id).await), Refusal::InvalidVolume(_)));
        assert_eq!(client.world.backend().truth().max_concurrent_consumers(id), 1);
        // A live migration is a service's.
        accepted(by_service(client, id, initialize("h2")).await);
        assert_eq!(client.world.backend().truth().volume(id).exports.len(), 2);
        accepted(client.ask(id, terminate("h1")).await);
        let left = alive(client.view(id).await);
        assert_eq!(left.volume.connections().iter().map(|own| &*own.host).collect::<Vec<_>>(), ["h2"]);
        accepted(client.ask(id, terminate("h2")).await);
        accepted(client.server_attach("s", id).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        refusal(client.ask(id, initialize("elsewhere")).await);
        client.assert_clean().await;
    });
}

#[test]
fn a_connection_of_another_mode_replaces_the_hosts_first_one() {
    in_world(11, async |client| {
        let id = client.available(1).await;
        let first = accepted(client.ask(id, initialize("h")).await).state.volume.connections()[0].clone();
        assert_eq!(first.mode, AttachMode::ReadWrite);
        accepted(client.ask(id, attach("a", AttachMode::ReadOnly)).await);
        let second = accepted(client.ask(id, initialize("h")).await).state.volume.connections().to_vec();
        assert_eq!((second.len(), second[0].mode), (1, AttachMode::ReadOnly));
        assert_ne!(second[0].export, first.export, "a name is never used for another connection");
        assert_eq!(client.world.backend().truth().volume(id).exports, [second[0].export.clone()]);
    });
}

#[test]
fn a_live_connection_blocks_a_delete_and_a_forced_one_ends_it() {
    in_world(12, async |client| {
        let id = client.available(1).await;
        accepted(client.ask(id, initialize("h")).await);
        assert!(matches!(refusal(client.delete(id).await), Refusal::InvalidVolume(_)));
        accepted(client.ask(id, Command::Delete { force: true, cascade: false }).await);
        client.wait_gone(id).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn r120_a_connection_that_fails_leaves_no_export() {
    let hang = |request: &str| FaultRule::on(request, Fault::Hang { effect_first: true });
    for (seed, rules) in [
        (120, vec![FaultRule::once("export", Fault::Fail { kind: CauseKind::Other })]),
        (1201, vec![FaultRule::on("export", Fault::NothingDone)]),
        (1202, vec![hang("export"), hang("probe")]),
    ] {
        in_world(seed, async |client| {
            let id = client.available(1).await;
            let other = client.available(1).await;
            client.world.backend().faults().set(rules.into_iter().map(|rule| rule.of(id)).collect()).expect("rules");
            let (answer, beside) =
                futures_util::join!(client.ask(id, initialize("h")), client.ask(other, initialize("h")));
            assert!(matches!(refusal(answer), Refusal::Backend(_)), "500");
            accepted(beside);
            assert!(alive(client.view(id).await).volume.connections().is_empty());
            client.world.backend().faults().clear();
            client.world.backend().faults().release(None);
            client.node.settle(PATIENCE).await.expect("alive");
            assert!(client.world.backend().truth().volume(id).exports.is_empty());
            accepted(client.ask(id, initialize("elsewhere")).await);
            client.assert_clean().await;
        });
    }
}

#[test]
fn a_connector_that_the_backend_cannot_use_is_the_clients_mistake() {
    in_world(13, async |client| {
        let id = client.available(1).await;
        let refuse = FaultRule::once("export", Fault::Refuse { kind: CauseKind::BadConnector });
        client.world.backend().faults().set(vec![refuse]).expect("rules");
        assert!(matches!(refusal(client.ask(id, initialize("h")).await), Refusal::BadConnector(_)));
        let nobody = Command::InitializeConnection { connector: json!({"initiator": "iqn"}) };
        assert!(matches!(refusal(client.ask(id, nobody).await), Refusal::InvalidInput(_)));
        client.assert_clean().await;
    });
}

#[test]
fn r38_a_forced_detach_fences_a_connect_under_way() {
    in_world(38, async |client| {
        let id = client.available(1).await;
        let row = row_of(&accepted(client.attachment_create(id, Some("a"), None).await));
        client.world.backend().faults().set(vec![slow("export", 3)]).expect("rules");
        let force = async {
            client.world.pass_time(std::time::Duration::from_millis(500)).await;
            let answer = client.ask(id, FORCE_DETACH).await;
            assert!(client.world.backend().truth().volume(id).exports.is_empty(), "gone before it is answered");
            answer
        };
        let (updated, forced) = futures_util::join!(client.attachment_update(id, row, "h"), force);
        assert!(matches!(refusal(updated), Refusal::Conflict(_)), "its result is never applied");
        accepted(forced);
        let state = alive(client.view(id).await);
        assert_eq!((state.volume.status, state.attachments.len()), (VolumeStatus::Available, 0));
        client.assert_clean().await;
        let two_writers = client.world.backend().truth().max_concurrent_consumers(id);
        accepted(client.ask(id, initialize("elsewhere")).await);
        assert!(two_writers <= 1);
    });
}

#[test]
fn r38_a_forced_detach_fences_an_initialize_under_way() {
    in_world(381, async |client| {
        let id = client.available(1).await;
        accepted(client.ask(id, Command::Reserve).await);
        client.world.backend().faults().set(vec![slow("export", 3)]).expect("rules");
        let force = async {
            client.world.pass_time(std::time::Duration::from_millis(500)).await;
            client.ask(id, FORCE_DETACH).await
        };
        let (connected, forced) = futures_util::join!(client.ask(id, initialize("h")), force);
        refusal(connected);
        accepted(forced);
        assert!(client.world.backend().truth().volume(id).exports.is_empty());
        assert_eq!(alive(client.view(id).await).volume.claims, None);
        assert_eq!(status(client, id).await, VolumeStatus::Available, "its reservation has ended too");
        client.assert_clean().await;
    });
}

#[test]
fn r39_a_forced_detach_does_both_halves_or_none() {
    in_world(39, async |client| {
        let id = client.multiattach().await;
        accepted(client.ask(id, initialize("h")).await);
        let row = row_of(&accepted(client.ask(id, attach("a", AttachMode::ReadWrite)).await));
        accepted(client.ask(id, attach("b", AttachMode::ReadWrite)).await);
        let before = alive(client.view(id).await);
        refusal(client.ask(id, FORCE_DETACH).await);
        refusal(by_service(client, id, FORCE_DETACH).await);
        assert_eq!(alive(client.view(id).await), before, "the connection is there as well");
        let fail = FaultRule::once("unexport", Fault::Fail { kind: CauseKind::Other });
        client.world.backend().faults().set(vec![fail]).expect("rules");
        let one = Command::ForceDetach { attachment_id: Some(row), connector: Some(json!({"host": "h"})) };
        assert!(matches!(refusal(client.ask(id, one.clone()).await), Refusal::Backend(_)));
        assert_eq!(client.world.backend().truth().volume(id).exports.len(), 1);
        assert_eq!(alive(client.view(id).await).attachments.len(), 2);
        accepted(client.ask(id, one).await);
        let state = alive(client.view(id).await);
        assert_eq!((state.attachments.len(), state.volume.status), (1, VolumeStatus::InUse));
        assert!(client.world.backend().truth().volume(id).exports.is_empty());
        client.assert_clean().await;
    });
}

#[test]
fn r40_the_guard_holds_for_every_old_action() {
    in_world(401, async |client| {
        let id = client.attached("a").await;
        let before = alive(client.view(id).await);
        for command in [DETACH, terminate("h"), FORCE_DETACH] {
            let name = command.name();
            assert!(matches!(refusal(client.ask(id, command).await), Refusal::UsedByServer(_)), "{name}");
        }
        assert_eq!(alive(client.view(id).await), before);
    });
}

#[test]
fn r85_a_reset_to_detached_leaves_its_connections_to_repair() {
    in_world(851, async |client| {
        let id = old_flow(client).await;
        let reset =
            Command::ResetStatus { status: None, attach_status: Some(AttachStatus::Detached), migration_status: None };
        client.world.backend().faults().set(vec![slow("unexport", 2)]).expect("rules");
        accepted(client.ask(id, reset).await);
        let state = alive(client.view(id).await);
        assert_eq!((state.volume.status, state.volume.orphan_exports.len()), (VolumeStatus::Available, 1));
        assert_eq!(state.volume.admin_metadata.get("attached_mode"), None);
        // The next host waits until it is gone.
        accepted(client.ask(id, initialize("elsewhere")).await);
        assert_eq!(client.world.backend().truth().volume(id).exports.len(), 1);
        assert_eq!(client.world.backend().truth().max_concurrent_consumers(id), 1);
        client.assert_clean().await;
    });
}

#[test]
fn a_deleted_attachment_takes_the_connection_of_its_host_along() {
    in_world(14, async |client| {
        let id = old_flow(client).await;
        let row = alive(client.view(id).await).attachments[0].id;
        accepted(client.attachment_delete(id, row).await);
        client.node.settle(PATIENCE).await.expect("alive");
        assert!(client.world.backend().truth().volume(id).exports.is_empty());
        assert_eq!(alive(client.view(id).await).volume.claims, None);
        client.assert_clean().await;
    });
}

#[test]
fn a_connection_survives_a_restart_and_is_ended_after_it() {
    simulate(WorldOptions::seeded(15), async |world: &World| {
        let node = world.start().await;
        let client = Client::new(world, &node);
        let id = node.run(old_flow(&client)).await.expect("alive");
        let before = alive(client.view(id).await);
        node.crash();
        let node = world.start().await;
        let client = Client::new(world, &node);
        client.assert_clean().await;
        assert_eq!(alive(client.view(id).await), before);
        refusal(client.ask(id, initialize("elsewhere")).await);
        accepted(client.ask(id, Command::BeginDetaching).await);
        accepted(client.ask(id, terminate("h")).await);
        accepted(client.ask(id, DETACH).await);
        assert_eq!(status(&client, id).await, VolumeStatus::Available);
        client.assert_clean().await;
    });
}

#[test]
fn r94_crash_in_initialize_connection_is_undone_for_a_lost_client() {
    crash_at(
        1,
        941,
        async |client| client.available(1).await,
        async |client, id| drop(client.ask(id, initialize("h")).await),
        async |client, id, side| {
            let state = alive(client.view(id).await);
            assert_eq!((state.volume.status, &state.volume.claims), (VolumeStatus::Available, &None), "{side:?}");
            assert!(client.world.backend().truth().volume(id).exports.is_empty());
            accepted(client.ask(id, initialize("elsewhere")).await);
        },
    );
}

#[test]
fn r95_crash_in_a_release_is_finished() {
    let ends = |left: &'static [VolumeStatus]| {
        async move |client: &Client<'_>, id: VolumeId, side: CallSide| {
            let state = alive(client.view(id).await);
            assert!(left.contains(&state.volume.status), "{side:?}: {}", state.volume.status);
            assert!(state.volume.connections().is_empty(), "{side:?}");
            assert!(client.world.backend().truth().volume(id).exports.is_empty(), "{side:?}");
        }
    };
    for (seed, command, left) in [
        (952, DETACH, &[VolumeStatus::Available][..]),
        (953, terminate("h"), &[VolumeStatus::InUse]),
        (954, FORCE_DETACH, &[VolumeStatus::Available]),
    ] {
        crash_at(
            1,
            seed,
            async |client| old_flow(client).await,
            async |client, id| drop(client.ask(id, command.clone()).await),
            ends(left),
        );
    }
}
