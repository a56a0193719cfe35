//! PostgreSQL: a connection that is lost at COMMIT. A proxy between store and server loses exactly that.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use futures_util::future::join_all;
use hearth::store::{Store, StoreOptions, open_threaded};

use super::build::*;
use super::cluster;

const SOCKET: &str = ".s.PGSQL.5432";
const CALM: u8 = 0;
/// The next COMMIT never reaches the server.
const LOSE_COMMIT: u8 = 1;
/// The next COMMIT is carried out, and its answer is lost.
const LOSE_ANSWER: u8 = 2;

fn start_proxy(directory: &Path, server: PathBuf) -> Arc<AtomicU8> {
    let fault = Arc::new(AtomicU8::new(CALM));
    let listener = UnixListener::bind(directory.join(SOCKET)).unwrap();
    let shared = Arc::clone(&fault);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            // the server may be gone at the end of the tests
            let Ok(upstream) = UnixStream::connect(&server) else { return };
            let answer_is_lost = Arc::new(AtomicBool::new(false));
            let (from_client, to_server) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            let (fault, lost) = (Arc::clone(&shared), Arc::clone(&answer_is_lost));
            std::thread::spawn(move || forward_requests(from_client, to_server, &fault, &lost));
            std::thread::spawn(move || forward_answers(upstream, client, &answer_is_lost));
        }
    });
    fault
}

fn forward_requests(mut client: UnixStream, mut server: UnixStream, fault: &AtomicU8, answer_is_lost: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count) = client.read(&mut buffer)
        && count > 0
    {
        let chunk = &buffer[..count];
        if chunk.windows(7).any(|window| window == b"COMMIT\0") {
            match fault.swap(CALM, Ordering::SeqCst) {
                LOSE_COMMIT => break,
                LOSE_ANSWER => answer_is_lost.store(true, Ordering::SeqCst),
                _ => {}
            }
        }
        if server.write_all(chunk).is_err() {
            break;
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
    let _ = server.shutdown(std::net::Shutdown::Both);
}

fn forward_answers(mut server: UnixStream, mut client: UnixStream, is_lost: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count) = server.read(&mut buffer)
        && count > 0
    {
        if is_lost.load(Ordering::SeqCst) || client.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
    let _ = server.shutdown(std::net::Shutdown::Both);
}

async fn commit_through(fault_to_inject: u8) {
    let Some(direct) = cluster::fresh_database() else { return };
    let name = direct.rsplit('/').next().unwrap().to_owned();
    let directory = tempfile::tempdir().unwrap();
    let fault = start_proxy(directory.path(), cluster::socket_directory().join(SOCKET));
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    let options = StoreOptions {
        on_unknown: Some(Arc::new(move |_: &str| {
            counter.fetch_add(1, Ordering::SeqCst);
        })),
        ..StoreOptions::default()
    };
    let store = open_threaded(&cluster::url(directory.path(), &name), options).unwrap();
    let states: Vec<_> = (0..20).map(|n| volume(n, "p", 1)).collect();
    for state in &states {
        assert_committed(store.commit(insert(state)).await);
    }
    fault.store(fault_to_inject, Ordering::SeqCst);
    let held = store.hold_commits();
    let commits: Vec<_> = states
        .iter()
        .map(|state| {
            let new = next(state, |new| new.operations.push(extend(new.volume.size_gib.into(), state, 2)));
            // one operation id for each volume
            let mut new = new;
            new.operations[0].id.0 = uuid(0xe_0000_0000 + state.id().0.as_u128() % 1000);
            store.commit(change(Some(state), &new))
        })
        .collect();
    drop(held);
    for outcome in join_all(commits).await {
        assert_committed(outcome);
    }
    assert_eq!(fault.load(Ordering::SeqCst), CALM, "the fault did happen");
    assert_eq!(told.load(Ordering::SeqCst), 0, "the truth was found");
    for state in &states {
        let found = store.volume_get(state.id()).await.unwrap().unwrap();
        assert_eq!((found.volume.generation, found.operations.len()), (2, 1));
    }
    for project in store.usage_audit().await.unwrap() {
        assert_eq!(project.stored, project.counted, "written once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_found_committed() {
    commit_through(LOSE_ANSWER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_lost_on_its_way_is_written_again() {
    commit_through(LOSE_COMMIT).await;
}
