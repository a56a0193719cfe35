//! `target_protocol = "iscsi"`: targets of a real daemon, and QEMU's own initiator.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::{Answer, CauseKind, Outcome, Request};
use hearth::drivers::Backend;
use hearth::drivers::file::{DaemonKind, IscsiOptions, Protocol, StopError};
use serde_json::{Value, json};

use super::{
    GIB, INITIATOR, NbdClient as Client, Pool, assert_refused, connection, export_name, kill, sized, until, within,
};

const PREFIX: &str = "iqn.2010-10.org.openstack:";

/// What initiators are told.
const BAD_PASSWORD: &str = "Authentication failure";
const NO_TARGET: &str = "Target not found";

/// Each process has an address of its own on the loopback interface, since a port cannot be tried out and kept.
pub fn portal() -> SocketAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 1 + a, b, c)), 3260)
}

/// Of one backend in this process.
pub fn protocol() -> Protocol {
    Protocol::Iscsi(IscsiOptions { portal: portal(), prefix: PREFIX.into() })
}

async fn start() -> Pool {
    Pool::start_with(|options| {
        options.protocol = protocol();
        options.daemons_per_pool = 1;
    })
    .await
}

/// Logs in with what the connection information says.
pub async fn log_in(info: &Value) -> Result<Client, String> {
    log_in_as(info, INITIATOR, &info["auth_password"]).await
}

async fn log_in_as(info: &Value, initiator: &str, password: &Value) -> Result<Client, String> {
    let secret = format!("secret,id=chap,data={}", password.as_str().expect("a password"));
    let options = json!({
        "driver": "iscsi",
        "transport": "tcp",
        "portal": info["target_portal"],
        "target": info["target_iqn"],
        "lun": info["target_lun"],
        "user": info["auth_username"],
        "password-secret": "chap",
        "initiator-name": initiator,
    });
    Client::open(options, info["access_mode"] == "ro", &[&secret]).await
}

/// Nobody gets in, for this reason. Tried again when the initiator says only that the connection was closed: it may see
/// that before it reads the answer.
async fn assert_kept_out<F: Future<Output = Result<Client, String>>>(why: &str, mut attempt: impl FnMut() -> F) {
    until(why, || {
        let attempt = attempt();
        async move {
            let words = attempt.await.err().expect("kept out");
            assert!(words.contains(why) || words.contains("reconnect"), "not '{why}' but: {words}");
            words.contains(why)
        }
    })
    .await;
}

#[tokio::test]
async fn a_target_has_what_an_initiator_needs_and_lets_nobody_else_in() {
    let pool = start().await;
    assert_eq!(pool.backend.capabilities().storage_protocol, "iSCSI");
    let volume = pool.create(1).await;
    let (name, info) = pool.exported(volume).await;
    let text = |member: &str| info[member].as_str().expect("a text").to_owned();
    assert_eq!(text("driver_volume_type"), "iscsi");
    assert_eq!(text("target_iqn"), format!("{PREFIX}{name}"));
    assert_eq!((text("auth_method").as_str(), &info["target_discovered"]), ("CHAP", &json!(false)));
    assert_eq!((&info["target_lun"], text("volume_id")), (&json!(1), volume.to_string()));

    let (wrong, password) = (json!("aaaaaaaaaaaaaaaa"), info["auth_password"].clone());
    let mut client = log_in(&info).await.expect("logged in");
    assert!(client.write(0x11, 0).await && client.write(0x12, GIB - 4096).await);
    assert_eq!(pool.first_bytes(volume), [0x11; 4096]);
    assert_kept_out(BAD_PASSWORD, || log_in_as(&info, INITIATOR, &wrong)).await;
    assert_kept_out(NO_TARGET, || log_in_as(&info, "iqn.1994-05.com.redhat:other", &password)).await;
    assert!(client.reads(0x12, GIB - 4096).await);

    // A second connection of the volume has an account of its own.
    let (_, other) = pool.exported_as(volume, AttachMode::ReadOnly).await;
    assert_ne!(other["auth_password"], info["auth_password"]);
    assert_kept_out(BAD_PASSWORD, || log_in_as(&other, INITIATOR, &password)).await;
    let mut reader = log_in(&other).await.expect("logged in");
    assert!(reader.reads(0x11, 0).await && !reader.write(0x13, 0).await);
    let mut lying = other.clone();
    lying["access_mode"] = "rw".into();
    if let Ok(mut writer) = log_in(&lying).await {
        assert!(!writer.write(0x13, 0).await, "what it may is not the initiator's to say");
    }
    assert_eq!(pool.first_bytes(volume), [0x11; 4096]);
}

#[tokio::test]
async fn r94_an_export_by_iscsi_is_idempotent_and_bound_to_its_initiator() {
    let pool = start().await;
    let volume = pool.create(1).await;
    let (name, info) = pool.exported(volume).await;
    let mut client = log_in(&info).await.expect("logged in");
    assert_eq!(connection(pool.export(volume, &name, AttachMode::ReadWrite).await), info);
    assert!(client.write(0x21, 0).await, "the repeated call did not disturb the client");
    let other = json!({ "initiator": "iqn.1994-05.com.redhat:other" });
    assert_refused(&pool.export_for(&other, volume, &name, AttachMode::ReadWrite).await, CauseKind::Busy);
    for connector in [json!({ "host": "here" }), json!({ "initiator": "iqn.x,lun=9" }), json!({ "initiator": 7 })] {
        let refused = pool.export_for(&connector, volume, &export_name(), AttachMode::ReadWrite).await;
        assert_refused(&refused, CauseKind::BadConnector);
    }
    assert_eq!(pool.probe(volume).await.exports, [name]);
}

#[tokio::test]
async fn r95_no_byte_of_a_fenced_initiator_reaches_the_disk() {
    let pool = start().await;
    let volume = pool.create(1).await;
    let (old, old_info) = pool.exported(volume).await;
    let mut stale = log_in(&old_info).await.expect("logged in");
    assert!(stale.write(0xaa, 0).await);
    assert_eq!(pool.unexport(volume, &old).await, Outcome::done());
    let (new, new_info) = pool.exported(volume).await;
    let mut owner = log_in(&new_info).await.expect("logged in");
    assert!(owner.write(0xbb, 0).await);

    assert_kept_out(NO_TARGET, || log_in(&old_info)).await;
    // It logs in again and again for as long as it lives, and gets no answer.
    let late = tokio::time::timeout(std::time::Duration::from_secs(3), stale.write(0xaa, 0)).await;
    assert!(!matches!(late, Ok(true)));
    assert_eq!(pool.first_bytes(volume), [0xbb; 4096]);
    assert_refused(&pool.export(volume, &old, AttachMode::ReadWrite).await, CauseKind::Other);
    assert_eq!(pool.probe(volume).await.exports, std::slice::from_ref(&new));
    drop(owner);
    assert_eq!(pool.unexport(volume, &new).await, Outcome::done());
    assert_eq!(pool.call(volume, Request::Delete).await, Outcome::done());
    assert!(pool.open_at_daemons().is_empty());
}

#[tokio::test]
async fn a_volume_grows_between_iscsi_sessions_not_under_one() {
    let pool = start().await;
    let volume = pool.create(1).await;
    let (_, info) = pool.exported(volume).await;
    let mut client = log_in(&info).await.expect("logged in");
    assert!(client.write(0x31, 0).await);
    assert_refused(&pool.call(volume, Request::Extend { new_size_gib: 2 }).await, CauseKind::Busy);
    assert_eq!(pool.call(volume, Request::Extend { new_size_gib: 1 }).await, sized(1), "it has that size");
    drop(client);
    until("the session has ended", || async {
        match pool.call(volume, Request::Extend { new_size_gib: 2 }).await {
            Outcome::Done { answer } => {
                assert_eq!(answer, Answer::Size { size_gib: 2 });
                true
            }
            _ => false,
        }
    })
    .await;
    let mut client = log_in(&info).await.expect("the same account");
    assert!(client.write(0x32, 2 * GIB - 4096).await && client.reads(0x31, 0).await);
}

#[tokio::test]
async fn r97_a_restarted_service_adopts_the_target_daemon_with_its_sessions() {
    let mut pool = start().await;
    let volume = pool.create(1).await;
    let (name, info) = pool.exported(volume).await;
    let mut client = log_in(&info).await.expect("logged in");
    let pid = pool.pid(DaemonKind::Target);
    assert!(pid.is_some());
    pool.restart().await;
    assert_eq!(pool.pid(DaemonKind::Target), pid, "the same process");
    assert!(client.write(0x41, 0).await, "the client noticed nothing");
    assert_eq!(connection(pool.export(volume, &name, AttachMode::ReadWrite).await), info);

    // The service died between starting it and recording it.
    std::fs::remove_file(pool.options.state_dir.join("target/daemon.json")).expect("there");
    pool.restart().await;
    assert!(client.write(0x42, 0).await);
    // It is under control. (With no target at all it answers nobody.)
    pool.exported(volume).await;
    assert_eq!(pool.unexport(volume, &name).await, Outcome::done());
    assert_kept_out(NO_TARGET, || log_in(&info)).await;
    let daemons = within(pool.backend.daemons()).await;
    let target = daemons.iter().find(|daemon| daemon.kind == DaemonKind::Target).expect("runs");
    assert_eq!((Some(target.pid), target.exports), (pid, Some(1)));
}

#[tokio::test]
async fn r97_targets_return_after_the_death_of_either_daemon() {
    let pool = start().await;
    let (volume, other) = (pool.create(1).await, pool.create(1).await);
    let (_, info) = pool.exported(volume).await;
    let (_, kept) = pool.exported(other).await;
    let (ended, ended_info) = pool.exported(volume).await;
    assert_eq!(pool.unexport(volume, &ended).await, Outcome::done());
    for (kind, byte) in [(DaemonKind::Target, 0x51), (DaemonKind::Storage(0), 0x52)] {
        let mut client = log_in(&info).await.expect("logged in");
        assert!(client.write(byte, 0).await);
        kill(pool.pid(kind).expect("runs"));
        until("both targets are back", || async {
            let back = async |info| match log_in(info).await {
                Ok(mut client) => client.write(byte + 0x10, 4096).await,
                Err(_) => false,
            };
            back(&info).await && back(&kept).await
        })
        .await;
        assert_eq!(pool.first_bytes(volume), [byte; 4096]);
        assert_kept_out(NO_TARGET, || log_in(&ended_info)).await;
    }
}

#[tokio::test]
async fn the_target_daemon_stops_only_when_nothing_is_exported() {
    let pool = start().await;
    let volume = pool.create(1).await;
    let (name, _) = pool.exported(volume).await;
    let stop = async || within(pool.backend.stop_daemon(DaemonKind::Target)).await;
    assert!(matches!(stop().await, Err(StopError::InUse(1))));
    assert_eq!(pool.unexport(volume, &name).await, Outcome::done());
    stop().await.expect("stopped");
    assert_eq!(pool.pid(DaemonKind::Target), None);
    // And is started again when it is needed.
    let (_, info) = pool.exported(volume).await;
    assert!(log_in(&info).await.expect("logged in").write(0x61, 0).await);
}

#[tokio::test]
async fn without_a_target_daemon_an_export_is_refused() {
    let pool = Pool::start_with(|options| {
        options.protocol = protocol();
        options.target_daemon = Some("/nonexistent/daemon".into());
    })
    .await;
    let volume = pool.create(1).await;
    assert_refused(&pool.export(volume, &export_name(), AttachMode::ReadWrite).await, CauseKind::Unavailable);
    assert!(pool.backend.problem().is_some_and(|text| text.contains("tgtd")));
    assert_eq!(pool.call(volume, Request::Extend { new_size_gib: 2 }).await, sized(2));
}
