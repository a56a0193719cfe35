//! Administrators who close a backend while clients use it (`spec/races.md`).

use hearth::actors::{ServiceChange, ServiceError};
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::command::FROZEN;
use hearth::domain::volume::{Command, Refusal};
use hearth::sim::{OTHER_BACKEND, WorldOptions, simulate};

use super::scenario::{Client, accepted, alive, in_world, refusal, slow};

/// Without a host of its own: the decision chooses.
fn placed(command: Command) -> Command {
    let Command::Create(mut request) = command else { unreachable!("it creates") };
    request.host = None;
    request.wanted = Some(hearth::domain::placement::Wanted {
        zone: "nova".to_owned(),
        size_gib: request.size_gib,
        // the scenarios close the only one that is left
        different_host: vec![OTHER_BACKEND.into()],
        ..Default::default()
    });
    Command::Create(request)
}

#[test]
fn r90_a_delete_and_a_freeze_see_each_other() {
    let mut deleted_first = 0;
    for seed in 0..20 {
        in_world(seed, async |client| {
            let id = client.available(1).await;
            let (deleted, frozen) = if seed % 2 == 0 {
                futures_util::join!(client.delete(id), client.say(ServiceChange::Freeze))
            } else {
                let (frozen, deleted) = futures_util::join!(client.say(ServiceChange::Freeze), client.delete(id));
                (deleted, frozen)
            };
            alive(frozen).expect("frozen");
            match deleted.expect("alive") {
                // what was admitted goes on to its end
                Ok(_) => {
                    deleted_first += 1;
                    client.wait_gone(id).await.expect("alive");
                }
                Err(error) => {
                    assert!(error.to_string().contains(FROZEN), "{error}");
                    assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::Available);
                    alive(client.say(ServiceChange::Thaw).await).expect("thawed");
                    accepted(client.delete(id).await);
                    client.wait_gone(id).await.expect("alive");
                }
            }
            client.assert_clean().await;
        });
    }
    assert!(deleted_first > 0, "the order of a delete before the freeze was seen");
}

#[test]
fn r90_a_closed_backend_gets_no_volume_and_jobs_under_way_finish() {
    in_world(90, async |client| {
        client.world.backend().faults().add(slow("create", 2)).expect("a rule");
        let under_way = client.world.volume_id();
        accepted(client.ask(under_way, placed(client.world.create_command(under_way, 1))).await);
        for (close, open) in [
            (ServiceChange::Disable { reason: Some("new disks".to_owned()) }, ServiceChange::Enable),
            (ServiceChange::Freeze, ServiceChange::Thaw),
        ] {
            alive(client.say(close.clone()).await).expect("closed");
            // chosen by the decision, and beside a source: neither takes a closed one
            for chosen in [true, false] {
                let id = client.world.volume_id();
                let fixed = client.world.create_command(id, 1);
                accepted(client.ask(id, if chosen { placed(fixed) } else { fixed }).await);
                client.wait(id, VolumeStatus::Error).await.expect("alive");
                assert_eq!(alive(client.view(id).await).volume.host, None, "{close:?}");
                // never placed: gone at once, however closed the backend is
                accepted(client.delete(id).await);
                client.wait_gone(id).await.expect("alive");
            }
            alive(client.say(open).await).expect("opened");
        }
        client.wait(under_way, VolumeStatus::Available).await.expect("alive");
        let id = client.world.volume_id();
        accepted(client.ask(id, placed(client.world.create_command(id, 1))).await);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn r90_what_was_said_of_a_backend_outlives_the_process() {
    simulate(WorldOptions::seeded(1), async |world| {
        let node = world.start().await;
        let client = Client::new(world, &node);
        let id = client.available(1).await;
        alive(client.say(ServiceChange::Freeze).await).expect("frozen");
        let reason = ServiceChange::Disable { reason: Some("why".to_owned()) };
        alive(client.say(reason).await).expect("disabled");
        node.crash();
        let node = world.start().await;
        let client = Client::new(world, &node);
        let said = node.service.services().into_iter().find(|service| service.backend_up.is_some()).expect("a backend");
        assert_eq!(
            (said.record.frozen, said.record.disabled, said.record.disabled_reason.as_deref()),
            (true, true, Some("why"))
        );
        assert!(matches!(refusal(client.delete(id).await), Refusal::InvalidInput(_)));
        assert_eq!(alive(client.say(ServiceChange::Freeze).await), Err(ServiceError::Unchanged));
    });
}
