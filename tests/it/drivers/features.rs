//! Servers that lack what is needed of them: said at once and by name, by the real parts' own schema.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::{Call, CauseKind, Guest, Outcome, Request};
use hearth::domain::ids::{AttachmentId, VolumeId};
use hearth::domain::server::HypervisorKind;
use hearth::drivers::file::FileBackend;
use hearth::drivers::hypervisor::qmp::QmpHypervisor;
use hearth::drivers::{Backend, Hypervisor};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use uuid::Uuid;

use super::file::{Pool, export_name, key, within};

/// A storage daemon that keeps to the command line and to QMP, and has no exports.
const OLD_DAEMON: &str = r#"#!/usr/bin/env python3
import json, os, socket, sys, threading
words = sys.argv[1:]
def serve(path):
    server = socket.socket(socket.AF_UNIX)
    if os.path.exists(path):
        os.unlink(path)
    server.bind(path)
    server.listen()
    while True:
        lines = server.accept()[0].makefile("rw")
        def say(what):
            lines.write(json.dumps(what) + "\n")
            lines.flush()
        say({"QMP": {"version": {}, "capabilities": []}})
        for line in lines:
            command = json.loads(line)
            answers = {
                "qmp_capabilities": {},
                "query-version": {"qemu": {"major": 5, "minor": 0, "micro": 0}, "package": ""},
                "query-qmp-schema": [{"name": "blockdev-del", "meta-type": "command", "arg-type": "0"}],
                "query-block-exports": [],
            }
            if command["execute"] in answers:
                say({"return": answers[command["execute"]], "id": command["id"]})
            else:
                say({"error": {"class": "CommandNotFound", "desc": "no such command"}, "id": command["id"]})
paths = [word.split("path=")[1].split(",")[0] for word in words if word.startswith("socket,")]
threads = [threading.Thread(target=serve, args=[path]) for path in paths]
for thread in threads:
    thread.start()
with open(words[words.index("--pidfile") + 1], "w") as pid:
    pid.write(f"{os.getpid()}\n")
"#;

#[tokio::test]
async fn a_real_storage_daemon_lacks_nothing() {
    let pool = Pool::start().await;
    let volume = pool.create(1).await;
    pool.exported(volume).await;
    assert_eq!(pool.backend.problem(), None);
}

#[tokio::test]
async fn an_old_storage_daemon_is_told_by_what_it_lacks_and_volumes_live_on_without_exports() {
    let folder = tempfile::tempdir().expect("a directory");
    let binary = folder.path().join("storage-daemon");
    std::fs::write(&binary, OLD_DAEMON).expect("written");
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o700)).expect("made executable");
    let pool = Pool::start_with(|options| options.storage_daemon = Some(binary)).await;
    assert_eq!(pool.backend.problem(), None, "nobody has asked yet");
    let volume = pool.create(1).await;
    for _ in 0..2 {
        match pool.export(volume, &export_name(), AttachMode::ReadWrite).await {
            Outcome::Refused { cause } => {
                assert_eq!(cause.kind, CauseKind::Unavailable);
                assert!(cause.text.contains("lacks blockdev-add/+raw, "), "{}", cause.text);
                assert!(!cause.text.contains("blockdev-del,"), "it has that: {}", cause.text);
            }
            other => panic!("not refused: {other:?}"),
        }
    }
    let problem = pool.backend.problem().expect("told to the operator");
    assert!(problem.contains("BLOCK_EXPORT_DELETED"), "{problem}");
    let truth = pool.probe(volume).await;
    assert!(truth.exists && truth.exports.is_empty(), "{truth:?}");
    assert_eq!(pool.call(volume, Request::Delete).await, Outcome::done());
}

#[tokio::test]
async fn a_machine_without_a_storage_daemon_says_so_to_the_operator() {
    let pool = Pool::start_with(|options| options.storage_daemon = Some("/nowhere".into())).await;
    assert!(pool.backend.problem().is_some_and(|problem| problem.contains("no storage daemon")));
    let looked_at = FileBackend::open(pool.options.clone()).expect("looking is allowed");
    assert!(looked_at.problem().is_some());
}

/// A guest's QEMU that answers `query-uuid`, its version, and this schema.
async fn old_guest(listener: UnixListener, schema: Value) {
    loop {
        let (read, mut write) = listener.accept().await.expect("a client").0.into_split();
        write.write_all(b"{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n").await.expect("written");
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let command: Value = serde_json::from_str(&line).expect("JSON");
            let answer = match command["execute"].as_str().expect("a command") {
                "qmp_capabilities" => json!({}),
                "query-uuid" => json!({"UUID": Uuid::nil()}),
                "query-version" => json!({"qemu": {"major": 3, "minor": 0, "micro": 0}, "package": ""}),
                "query-qmp-schema" => schema.clone(),
                other => panic!("{other}: nothing else is asked of a guest that cannot be plugged into"),
            };
            let answer = json!({"return": answer, "id": command["id"]});
            write.write_all(format!("{answer}\n").as_bytes()).await.expect("written");
        }
    }
}

#[tokio::test]
async fn a_guest_whose_hypervisor_is_too_old_is_not_plugged_into() {
    let folder = tempfile::tempdir().expect("a directory");
    let socket: PathBuf = folder.path().join("guest.qmp");
    let listener = UnixListener::bind(&socket).expect("bound");
    // QEMU 4.0: its NBD client cannot connect again.
    let schema = json!([
        {"name": "blockdev-add", "meta-type": "command", "arg-type": "1"},
        {"name": "1", "meta-type": "object", "members": [], "variants": [
            {"case": "raw", "type": "2"}, {"case": "nbd", "type": "2"}]},
        {"name": "2", "meta-type": "object", "members": [{"name": "export", "type": "str"}]},
    ]);
    let hypervisor = QmpHypervisor::new(vec![folder.path().to_owned()]);
    let guest = Guest {
        server_id: Uuid::nil().to_string().into(),
        hypervisor: HypervisorKind::Qmp,
        qmp_socket: Some(socket.to_string_lossy().into_owned()),
        check_uuid: true,
    };
    let request = Request::Plug {
        attachment_id: AttachmentId(Uuid::new_v4()),
        connection_info: json!({"driver_volume_type": "nbd", "transport": "unix", "path": "/nowhere", "export": "e"})
            .into(),
        mode: AttachMode::ReadWrite,
    };
    let call = Call { key: key(VolumeId(Uuid::new_v4())), request };
    let plug = async { within(hypervisor.call(guest, call)).await };
    let outcome = tokio::select! { outcome = plug => outcome, () = old_guest(listener, schema) => unreachable!() };
    match outcome {
        Outcome::Refused { cause } => {
            assert_eq!(cause.kind, CauseKind::Guest);
            assert!(cause.text.contains("lacks blockdev-add/+nbd/reconnect-delay, "), "{}", cause.text);
        }
        other => panic!("not refused: {other:?}"),
    }
}
