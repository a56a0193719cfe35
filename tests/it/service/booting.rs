//! Servers that were being made when the service ended.

use hearth::actors::ServerAttachRequest;
use hearth::domain::server::{BOOTING, HypervisorKind, SIMULATED_HOST, Server};
use hearth::domain::status::VmState;
use hearth::runtime::Clock;

use super::live::{Live, LiveOptions, caller};

fn record(id: &str) -> Server {
    Server {
        id: id.into(),
        name: id.to_owned(),
        project_id: "p".into(),
        user_id: "u".into(),
        host: Some(SIMULATED_HOST.to_owned()),
        hypervisor: HypervisorKind::Sim,
        qmp_socket: None,
        qmp_check_uuid: true,
        vm_state: VmState::Building,
        task_state: Some(BOOTING.to_owned()),
        locked: false,
        availability_zone: "nova".to_owned(),
        root_device_name: "/dev/vda".to_owned(),
        launched_at: None,
        created_at: Clock::System.now(),
        updated_at: None,
        epoch: 1,
        deleted: false,
    }
}

/// Nobody goes on with one that an earlier process was making; one that this process makes is left alone.
#[actix_web::test]
async fn a_server_that_was_being_made_is_in_error_after_a_restart() {
    let live = Live::start(LiveOptions::default()).await;
    let left = record("left-over");
    live.service.server_create(left.clone()).await.expect("recorded");
    let elsewhere = Server { task_state: None, ..record("elsewhere") };
    live.service.server_create(elsewhere.clone()).await.expect("recorded");
    let own = record("7bb2e6ae-6c7a-4d2f-9a3c-2f0d3c1f7a55");
    let (go_on, volumes) = tokio::sync::oneshot::channel::<()>();
    let volumes = async move {
        volumes.await.map_err(|_| "nobody goes on".to_owned())?;
        Ok(Vec::<(_, ServerAttachRequest)>::new())
    };
    live.service.server_boot(own.clone(), volumes, caller()).await.expect("recorded");

    live.service.recover().await.expect("the records can be read");
    let state = async |server: &Server| {
        let found = live.service.store().server_get(server.id.clone()).await.expect("readable").expect("there");
        (found.vm_state, found.task_state)
    };
    assert_eq!(state(&left).await, (VmState::Error, None));
    assert_eq!(state(&elsewhere).await, (VmState::Building, None));
    assert_eq!(state(&own).await, (VmState::Building, Some(BOOTING.to_owned())));
    go_on.send(()).expect("it waits");
    while state(&own).await != (VmState::Active, None) {
        tokio::task::yield_now().await;
    }
    live.stop().await;
}
