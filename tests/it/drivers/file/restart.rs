//! Deaths: of a daemon, of the service, of both, at bad moments.

use std::collections::BTreeSet;

use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::{Answer, Cause, CauseKind, Outcome, Request, Truth};
use hearth::drivers::file::DaemonKind;
use serde_json::Value;

use super::{GIB, NbdClient, Pool, kill, signal, sized, until};

#[tokio::test]
async fn r97_a_killed_daemon_comes_back_with_its_exports_and_clients_go_on() {
    let pool = Pool::start_with(|options| options.daemons_per_pool = 1).await;
    let (volume, other) = (pool.create(1).await, pool.create(1).await);
    let (name, info) = pool.exported(volume).await;
    let (fenced, _) = pool.exported(volume).await;
    let (kept, _) = pool.exported(other).await;
    assert_eq!(pool.unexport(volume, &fenced).await, Outcome::done());
    let mut client = NbdClient::connect(&info, 30).await.expect("connected");
    assert!(client.write(0x61, 0).await);

    let before = pool.daemon_pids();
    kill(before[0]);
    assert!(client.write(0x62, 0).await, "the client reconnects to the name it knows");
    assert_ne!(pool.daemon_pids(), before);
    until("both volumes are served again", || async {
        pool.probe(volume).await.exports == [name.clone()] && pool.probe(other).await.exports == [kept.clone()]
    })
    .await;
    assert_eq!(pool.first_bytes(volume), [0x62; 4096]);
}

/// What cannot be served again is no reason to give it up: it is tried until it can be, and the others are served meanwhile.
#[tokio::test]
async fn r97_an_export_that_cannot_be_served_again_is_tried_until_it_can() {
    for service_dies in [false, true] {
        let mut pool = Pool::start_with(|options| options.daemons_per_pool = 1).await;
        let (volume, other) = (pool.create(1).await, pool.create(1).await);
        let (name, info) = pool.exported(volume).await;
        let (kept, kept_info) = pool.exported(other).await;
        let (file, aside) = (pool.file(volume), pool.file(volume).with_extension("aside"));
        std::fs::rename(&file, &aside).expect("moved");
        let dead = pool.daemon_pids();
        kill(dead[0]);
        if service_dies {
            pool.restart().await;
        }
        until("the other one is served again", || async { NbdClient::connect(&kept_info, 0).await.is_ok() }).await;
        assert_eq!(pool.probe(other).await.exports, [kept]);
        assert!(NbdClient::connect(&info, 0).await.is_err(), "there is nothing to serve");
        std::fs::rename(&aside, &file).expect("moved back");
        until("it is served again", || async { NbdClient::connect(&info, 0).await.is_ok() }).await;
        until("and told", || async { pool.probe(volume).await.exports == [name.clone()] }).await;
    }
}

#[tokio::test]
async fn a_restarted_service_adopts_its_daemons_and_their_exports() {
    let mut pool = Pool::start().await;
    let volume = pool.create(1).await;
    let (name, info) = pool.exported(volume).await;
    let mut client = NbdClient::connect(&info, 0).await.expect("connected");
    let pids = pool.daemon_pids();
    pool.restart().await;
    assert_eq!(pool.daemon_pids(), pids, "the same process");
    assert!(client.write(0x71, 0).await, "the client noticed nothing");
    assert_eq!(pool.probe(volume).await.exports, std::slice::from_ref(&name));
    // It is under control: grown, exported once more, and ended.
    assert_eq!(pool.call(volume, Request::Extend { new_size_gib: 2 }).await, sized(2));
    let (second, second_info) = pool.exported(volume).await;
    let mut client = NbdClient::connect(&second_info, 0).await.expect("connected");
    assert!(client.write(0x72, 2 * GIB - 4096).await);
    for name in [&name, &second] {
        assert_eq!(pool.unexport(volume, name).await, Outcome::done());
    }
    assert_eq!(pool.daemon_pids(), pids);
    assert!(pool.probe(volume).await.exports.is_empty());
}

#[tokio::test]
async fn a_daemon_whose_record_is_lost_is_found_and_not_doubled() {
    let mut pool = Pool::start_with(|options| options.daemons_per_pool = 1).await;
    let volume = pool.create(1).await;
    let (name, _) = pool.exported(volume).await;
    let pids = pool.daemon_pids();
    // The service died between starting the daemon and recording it.
    std::fs::remove_file(pool.options.state_dir.join("0/daemon.json")).expect("there");
    pool.restart().await;
    assert_eq!(pool.daemon_pids(), pids);
    assert_eq!(pool.probe(volume).await.exports, [name]);
}

#[tokio::test]
async fn a_daemon_that_died_with_the_service_is_replaced_and_its_exports_return() {
    let mut pool = Pool::start_with(|options| options.daemons_per_pool = 1).await;
    let volume = pool.create(1).await;
    let (name, info) = pool.exported(volume).await;
    let pids = pool.daemon_pids();
    // Nobody restarts it while the service is away.
    let options = pool.options.clone();
    let away = std::mem::replace(&mut pool.backend, hearth::drivers::file::FileBackend::open(options).expect("opened"));
    drop(away);
    kill(pids[0]);
    pool.restart().await;
    assert_ne!(pool.daemon_pids(), pids);
    assert_eq!(pool.probe(volume).await.exports, [name]);
    let mut client = NbdClient::connect(&info, 0).await.expect("connected");
    assert!(client.write(0x81, 0).await);
}

#[tokio::test]
async fn a_daemon_that_nobody_can_talk_to_is_killed_before_its_replacement_starts() {
    let mut pool = Pool::start_with(|options| options.daemons_per_pool = 1).await;
    let volume = pool.create(1).await;
    let (name, _) = pool.exported(volume).await;
    let pids = pool.daemon_pids();
    std::fs::remove_file(pool.options.state_dir.join("0/qmp.sock")).expect("there");
    pool.restart().await;
    assert_ne!(pool.daemon_pids(), pids);
    assert!(!std::path::Path::new(&format!("/proc/{}/cwd/.", pids[0])).exists(), "the old one is dead");
    assert_eq!(pool.probe(volume).await.exports, [name]);
}

#[tokio::test]
async fn r47_a_crash_in_the_middle_of_an_extend_loses_no_export() {
    let mut pool = Pool::start_with(|options| options.daemons_per_pool = 1).await;
    let volume = pool.create(1).await;
    let (name, info) = pool.exported(volume).await;
    // The state in which a kill leaves it: the file has grown, the export is deleted, the node shows the old size.
    let file = std::fs::File::options().write(true).open(pool.file(volume)).expect("there");
    file.set_len(2 * GIB).expect("grown");
    let options = pool.options.clone();
    let away = std::mem::replace(&mut pool.backend, hearth::drivers::file::FileBackend::open(options).expect("opened"));
    drop(away);
    delete_export(&pool).await;
    assert!(NbdClient::connect(&info, 0).await.is_err());

    // What a restart of the service does before any operation is replayed: exports come first.
    pool.restart().await;
    assert_eq!(pool.probe(volume).await.exports, std::slice::from_ref(&name));
    // The replayed step.
    assert_eq!(pool.call(volume, Request::Extend { new_size_gib: 2 }).await, sized(2));
    let mut client = NbdClient::connect(&info, 0).await.expect("connected");
    assert!(client.write(0x91, 2 * GIB - 4096).await);
    assert_eq!(pool.probe(volume).await.exports, [name]);
}

/// Deletes every export of daemon 0 behind the backend's back, as a service that is killed right afterwards does.
async fn delete_export(pool: &Pool) {
    use qapi::futures::QmpStreamTokio;
    let socket = pool.options.state_dir.join("0/qmp.sock");
    let stream = QmpStreamTokio::open_uds(&socket).await.expect("connected").negotiate().await.expect("greeted");
    let (qmp, events) = stream.into_parts();
    let reader = events.spawn_tokio();
    for export in qmp.execute(qapi::qmp::query_block_exports {}).await.expect("answered") {
        let mode = Some(qapi::qmp::BlockExportRemoveMode::hard);
        qmp.execute(qapi::qmp::block_export_del { id: export.id, mode }).await.expect("deleted");
    }
    while !qmp.execute(qapi::qmp::query_block_exports {}).await.expect("answered").is_empty() {}
    drop(qmp);
    reader.abort();
}

#[tokio::test]
async fn a_fenced_name_does_not_return_with_a_new_daemon_or_a_new_service() {
    let mut pool = Pool::start_with(|options| options.daemons_per_pool = 1).await;
    let volume = pool.create(1).await;
    let (fenced, fenced_info) = pool.exported(volume).await;
    let (kept, _) = pool.exported(volume).await;
    // While the daemon dies a probe may find nobody to ask.
    let truth = Truth { exists: true, size_gib: 1, exports: vec![kept], ..Truth::default() };
    let known = Outcome::Done { answer: Answer::Truth { truth } };
    let serves = async |pool: &Pool| pool.call(volume, Request::Probe).await == known;
    // The daemon dies first: the fence has nobody to talk to and must hold all the same. While the process is neither gone
    // nor replaced nobody knows what it serves, and the service asks again.
    kill(pool.daemon_pids()[0]);
    let dying = Outcome::Unknown { cause: Cause::new(CauseKind::Unavailable, "the storage daemon does not answer") };
    until("the fence is in place", || async {
        let outcome = pool.unexport(volume, &fenced).await;
        assert!(outcome == Outcome::done() || outcome == dying, "{outcome:?}");
        outcome == Outcome::done()
    })
    .await;
    until("the other export is back", || async { serves(&pool).await }).await;
    pool.restart().await;
    kill(pool.daemon_pids()[0]);
    until("the other export is back", || async { serves(&pool).await }).await;
    assert!(NbdClient::connect(&fenced_info, 0).await.is_err());
}

#[tokio::test]
async fn volumes_stay_where_they_are_when_the_number_of_daemons_changes() {
    let mut pool = Pool::start_with(|options| options.daemons_per_pool = 4).await;
    let mut exports: Vec<(_, _, Value)> = Vec::new();
    for _ in 0..8 {
        let volume = pool.create(1).await;
        let (name, info) = pool.exported(volume).await;
        exports.push((volume, name, info));
    }
    let pids: BTreeSet<i32> = pool.daemon_pids().into_iter().collect();
    pool.options.daemons_per_pool = 1;
    pool.restart().await;
    assert_eq!(pool.daemon_pids().into_iter().collect::<BTreeSet<_>>(), pids);
    for (volume, name, info) in &exports {
        assert_eq!(super::connection(pool.export(*volume, name, AttachMode::ReadWrite).await), *info);
        assert_eq!(pool.unexport(*volume, name).await, Outcome::done());
    }
}

#[tokio::test]
async fn calls_in_the_midst_of_a_daemons_death_end_and_leave_the_truth() {
    let pool = Pool::start_with(|options| options.daemons_per_pool = 1).await;
    let volume = pool.create(1).await;
    let mut wanted = Vec::new();
    for round in 0..8 {
        let (name, _) = pool.exported(volume).await;
        wanted.push(name);
        let pid = pool.daemon_pids()[0];
        let request = Request::Extend { new_size_gib: 2 + round };
        let (outcome, ()) = tokio::join!(pool.call(volume, request.clone()), async { kill(pid) });
        // Either is honest; what counts is that repeating it succeeds and no export is lost.
        assert!(matches!(outcome, Outcome::Done { .. } | Outcome::Unknown { .. }), "{outcome:?}");
        assert_eq!(pool.call(volume, request).await, sized(2 + round));
        wanted.sort();
        until("every export is served", || async { pool.probe(volume).await.exports == wanted }).await;
    }
}

#[tokio::test]
async fn a_hung_daemon_holds_up_its_own_volumes_only_and_goes_on_where_it_was() {
    let pool = Pool::start().await;
    let (mut hung, mut well) = (None, None);
    while hung.is_none() || well.is_none() {
        let volume = pool.create(1).await;
        let (name, info) = pool.exported(volume).await;
        let first = info["path"].as_str().is_some_and(|path| path.ends_with("/0/nbd.sock"));
        *(if first { &mut hung } else { &mut well }) = Some((volume, name));
    }
    let ((hung, hung_name), (well, well_name)) = (hung.expect("found"), well.expect("found"));
    let neighbour = loop {
        let volume = pool.create(1).await;
        if volume.0.as_u128() % 2 == 0 {
            break volume;
        }
    };
    let daemons = pool.backend.daemons().await;
    let pid = daemons.iter().find(|daemon| daemon.kind == DaemonKind::Storage(0)).expect("runs").pid;
    signal(pid, libc::SIGSTOP);

    let mut fence = Box::pin(pool.unexport(hung, &hung_name));
    assert!(futures_util::poll!(&mut fence).is_pending());
    // Volumes of the other daemon, and volumes of this daemon that are not exported.
    assert_eq!(pool.unexport(well, &well_name).await, Outcome::done());
    assert_eq!(pool.call(well, Request::Delete).await, Outcome::done());
    assert!(pool.probe(neighbour).await.exists);
    assert_eq!(pool.call(neighbour, Request::Extend { new_size_gib: 2 }).await, sized(2));
    assert_eq!(pool.call(neighbour, Request::Delete).await, Outcome::done());
    assert!(futures_util::poll!(&mut fence).is_pending(), "no proof, no answer");

    signal(pid, libc::SIGCONT);
    assert_eq!(fence.await, Outcome::done());
    let truth = pool.probe(hung).await;
    assert!(truth.exports.is_empty() && !truth.busy, "{truth:?}");
}

/// The promise is 1 s and 1 ms for each export (design, I7); the bound here leaves room for a busy machine.
#[tokio::test]
async fn r97_many_exports_return_quickly_after_a_daemons_death() {
    const EXPORTS: usize = 200;
    let pool = Pool::start_with(|options| options.daemons_per_pool = 1).await;
    for _ in 0..EXPORTS {
        let volume = pool.create(1).await;
        pool.exported(volume).await;
    }
    let before = std::time::Instant::now();
    kill(pool.daemon_pids()[0]);
    until("all are served again", || async {
        pool.backend.daemons().await.iter().any(|daemon| daemon.exports == Some(EXPORTS))
    })
    .await;
    let took = before.elapsed();
    eprintln!("{EXPORTS} exports were back after {took:?}");
    assert!(took < std::time::Duration::from_secs(10), "{took:?}");
}
