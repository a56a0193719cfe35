//! Guards, groups, uniqueness, quota and barriers.

use futures_util::future::join_all;
use hearth::domain::ids::{ProjectId, ServerId};
use hearth::domain::quota::{Limits, OverQuota, Usage};
use hearth::domain::status::VolumeStatus;
use hearth::store::{Aborted, CommitOutcome, Transaction};

use super::bench::Bench;
use super::build::*;

super::on_every_store!(
    r98_a_write_is_guarded_by_the_generation,
    r98_two_nodes_with_the_same_state_cannot_both_win,
    a_refused_member_hurts_nobody_in_its_group,
    r25_a_device_name_is_used_once_in_a_server,
    r25_a_swapped_disk_has_the_name_of_the_row_before_it,
    r02_a_server_has_a_volume_once,
    r26_a_commit_is_guarded_by_the_servers_epoch,
    a_server_is_guarded_by_its_epoch,
    r52_members_of_one_group_never_exceed_a_limit_together,
    r52_concurrent_groups_never_exceed_a_limit_together,
    r45_the_quota_follows_the_volume,
    a_barrier_is_answered_after_everything_before_it,
);

const STALE: CommitOutcome = CommitOutcome::Aborted(Aborted::Stale);
const DUPLICATE: CommitOutcome = CommitOutcome::Aborted(Aborted::Duplicate);
const SERVER_CHANGED: CommitOutcome = CommitOutcome::Aborted(Aborted::ServerChanged);

async fn r98_a_write_is_guarded_by_the_generation(bench: Bench) {
    let first = volume(1, "p", 10);
    assert_committed(bench.commit(insert(&first)).await);
    assert_eq!(bench.commit(insert(&first)).await, STALE, "the id exists");
    let second = next(&first, |state| state.volume.status = VolumeStatus::Maintenance);
    assert_committed(bench.commit(change(Some(&first), &second)).await);
    let late = next(&first, |state| {
        state.volume.status = VolumeStatus::Error;
        let row = attachment(1, state, Some("s"), None);
        state.attachments.push(row);
    });
    assert_eq!(bench.commit(change(Some(&first), &late)).await, STALE);
    assert_eq!(bench.store().volume_get(first.id()).await.unwrap(), Some(second), "the loser left nothing");
    let never = volume(2, "p", 1);
    assert_eq!(bench.commit(change(Some(&never), &next(&never, |_| {}))).await, STALE, "never inserted");
}

async fn r98_two_nodes_with_the_same_state_cannot_both_win(bench: Bench) {
    let mut state = volume(1, "p", 1);
    assert_committed(bench.commit(insert(&state)).await);
    for round in 0..20_u32 {
        let contenders: Vec<_> = (0..8).map(|n| next(&state, |new| new.volume.size_gib = 100 * round + n)).collect();
        let store = bench.store();
        let commits = contenders.iter().map(|new| store.commit(change(Some(&state), new)));
        let outcomes = join_all(commits).await;
        let winners: Vec<_> = contenders
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| **outcome == CommitOutcome::Committed)
            .map(|(new, _)| new)
            .collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == STALE).count(), 7);
        assert_eq!(bench.store().volume_get(state.id()).await.unwrap().as_ref(), Some(winners[0]));
        state = winners[0].clone();
    }
}

async fn a_refused_member_hurts_nobody_in_its_group(bench: Bench) {
    let taken = {
        let mut state = volume(500, "p", 1);
        state.attachments.push(attachment(500, &volume(500, "p", 1), Some("server"), Some("/dev/vdb")));
        state
    };
    assert_committed(bench.commit(insert(&taken)).await);
    let states: Vec<_> = (0..64).map(|n| volume(n, "p", 1)).collect();
    for state in &states {
        assert_committed(bench.commit(insert(state)).await);
    }
    let group: Vec<Transaction> = states
        .iter()
        .enumerate()
        .map(|(index, state)| {
            let new = next(state, |new| {
                new.volume.status = VolumeStatus::InUse;
                let device = format!("/dev/vd{index}");
                // one wants a device name that is taken; its operation and volume must go with it
                let device = if index == 40 { "/dev/vdb" } else { device.as_str() };
                new.attachments.push(attachment(index as u128, state, Some("server"), Some(device)));
                new.operations.push(extend(index as u128, state, 1));
            });
            let mut old = state.clone();
            if index == 20 {
                old.volume.generation = 7;
            }
            change(Some(&old), &new)
        })
        .collect();
    let outcomes = bench.commit_together(group).await;
    for (index, outcome) in outcomes.iter().enumerate() {
        let expected = match index {
            20 => &STALE,
            40 => &DUPLICATE,
            _ => &CommitOutcome::Committed,
        };
        assert_eq!(outcome, expected, "member {index}");
        let found = bench.store().volume_get(states[index].id()).await.unwrap().unwrap();
        let is_written = found.volume.generation == 2 && found.attachments.len() == 1 && found.operations.len() == 1;
        assert_eq!(is_written, *outcome == CommitOutcome::Committed, "member {index}");
        assert!(is_written || found == states[index], "a refused member leaves nothing behind");
    }
    let usage = bench.store().usage(ProjectId::from("p")).await.unwrap();
    assert_eq!(
        usage,
        Usage { volumes: 65, gigabytes: 65, reserved_gigabytes: 62, live_volumes: 65, ..Usage::default() }
    );
    audit(&bench).await;
}

/// For a moment two rows are one disk: the name is the older one's, and nobody else's.
async fn r25_a_swapped_disk_has_the_name_of_the_row_before_it(bench: Bench) {
    let states: Vec<_> = (0..3).map(|n| volume(n, "p", 1)).collect();
    for state in &states {
        assert_committed(bench.commit(insert(state)).await);
    }
    let old = next(&states[0], |new| new.attachments.push(attachment(0, new, Some("s"), Some("/dev/vdb"))));
    assert_committed(bench.commit(change(Some(&states[0]), &old)).await);
    let swapped = next(&states[1], |new| {
        let mut row = attachment(1, new, Some("s"), Some("/dev/vdb"));
        row.bdm.as_mut().expect("Compute's").guest_device = Some(old.attachments[0].id);
        new.attachments.push(row);
    });
    assert_committed(bench.commit(change(Some(&states[1]), &swapped)).await);
    assert_eq!(bench.store().volume_get(swapped.id()).await.unwrap(), Some(swapped.clone()));
    let other = next(&states[2], |new| new.attachments.push(attachment(2, new, Some("s"), Some("/dev/vdb"))));
    assert_eq!(bench.commit(change(Some(&states[2]), &other)).await, DUPLICATE);
    let rows = bench.store().server_attachments(ServerId::from("s")).await.unwrap();
    assert_eq!(rows.len(), 2);
    let left = next(&old, |new| new.attachments.clear());
    assert_committed(bench.commit(change(Some(&old), &left)).await);
    assert_eq!(bench.store().server_attachments(ServerId::from("s")).await.unwrap(), swapped.attachments);
}

async fn r25_a_device_name_is_used_once_in_a_server(bench: Bench) {
    let states: Vec<_> = (0..4).map(|n| volume(n, "p", 1)).collect();
    for state in &states {
        assert_committed(bench.commit(insert(state)).await);
    }
    let attach = |n: usize, server: &str, device: Option<&str>| {
        let new = next(&states[n], |new| {
            new.attachments.push(attachment(n as u128, &states[n], Some(server), device));
        });
        (change(Some(&states[n]), &new), new)
    };
    let (first, attached) = attach(0, "s1", Some("/dev/vdb"));
    let (second, _) = attach(1, "s1", Some("/dev/vdb"));
    assert_eq!(bench.commit_together(vec![first, second]).await, [CommitOutcome::Committed, DUPLICATE]);
    assert_committed(bench.commit(attach(2, "s2", Some("/dev/vdb")).0).await);
    // without a name there is nothing to clash with: a shelved-offloaded server
    assert_committed(bench.commit(attach(3, "s1", None).0).await);
    // the name is free again in the commit that removes the row
    assert_committed(bench.commit(change(Some(&attached), &next(&attached, |new| new.attachments.clear()))).await);
    assert_committed(bench.commit(attach(1, "s1", Some("/dev/vdb")).0).await);
    // a name given later clashes as well
    let (_, nameless) = attach(3, "s1", None);
    let named = next(&nameless, |new| {
        new.attachments[0].bdm.as_mut().unwrap().device = Some("/dev/vdb".into());
    });
    assert_eq!(bench.commit(change(Some(&nameless), &named)).await, DUPLICATE);
}

async fn r02_a_server_has_a_volume_once(bench: Bench) {
    let state = volume(1, "p", 1);
    assert_committed(bench.commit(insert(&state)).await);
    let once = next(&state, |new| new.attachments.push(attachment(1, &state, Some("s"), Some("/dev/vdb"))));
    assert_committed(bench.commit(change(Some(&state), &once)).await);
    let twice = next(&once, |new| new.attachments.push(attachment(2, &state, Some("s"), Some("/dev/vdc"))));
    assert_eq!(bench.commit(change(Some(&once), &twice)).await, DUPLICATE);
    // rows of the plain attachments API are no mappings: two of one server stand beside each other (live migration)
    let plain = next(&once, |new| {
        let mut row = attachment(2, &state, Some("s"), Some("/dev/vdb"));
        row.bdm = None;
        new.attachments.push(row);
    });
    assert_committed(bench.commit(change(Some(&once), &plain)).await);
    assert_eq!(bench.store().volume_get(state.id()).await.unwrap(), Some(plain));
}

async fn r26_a_commit_is_guarded_by_the_servers_epoch(bench: Bench) {
    let record = server("s", "p");
    assert_committed(bench.commit(server_change(None, &record)).await);
    let guarded = |n: u128, id: &str, epoch: u64| {
        let mut state = volume(n, "p", 1);
        state.attachments.push(attachment(n, &volume(n, "p", 1), Some(id), None));
        Transaction { server_guard: Some((ServerId::from(id), epoch)), ..insert(&state) }
    };
    assert_committed(bench.commit(guarded(1, "s", 1)).await);
    assert_eq!(bench.commit(guarded(2, "s", 2)).await, SERVER_CHANGED);
    assert_eq!(bench.commit(guarded(3, "unknown", 1)).await, SERVER_CHANGED);
    let mut gone = record.clone();
    gone.epoch = 2;
    gone.deleted = true;
    // the tombstone and two attaches in one group: whoever sees the tombstone is refused
    let outcomes = bench
        .commit_together(vec![
            guarded(4, "s", 1),
            server_change(Some(1), &gone),
            guarded(5, "s", 1),
            guarded(6, "s", 2),
        ])
        .await;
    assert_eq!(outcomes, [CommitOutcome::Committed, CommitOutcome::Committed, SERVER_CHANGED, SERVER_CHANGED]);
    assert_eq!(bench.store().volume_get(volume_id(5)).await.unwrap(), None);
    assert_eq!(bench.store().server_get(ServerId::from("s")).await.unwrap(), None);
}

async fn a_server_is_guarded_by_its_epoch(bench: Bench) {
    let record = server("s", "p");
    assert_committed(bench.commit(server_change(None, &record)).await);
    assert_eq!(bench.commit(server_change(None, &record)).await, STALE);
    let mut moved = record.clone();
    moved.host = None;
    moved.epoch = 2;
    assert_committed(bench.commit(server_change(Some(1), &moved)).await);
    assert_eq!(bench.commit(server_change(Some(1), &record)).await, STALE);
    assert_eq!(bench.store().server_get(ServerId::from("s")).await.unwrap(), Some(moved));
}

fn limits(volumes: i64, gigabytes: i64) -> Limits {
    Limits { volumes, gigabytes, ..Limits::NONE }
}

fn limited(limits: Limits, transaction: Transaction) -> Transaction {
    Transaction { limits: Some(limits), ..transaction }
}

async fn r52_members_of_one_group_never_exceed_a_limit_together(bench: Bench) {
    let group = (0..16).map(|n| limited(limits(10, -1), insert(&volume(n, "p", 3)))).collect();
    let outcomes = bench.commit_together(group).await;
    let refused =
        CommitOutcome::Aborted(Aborted::OverQuota(OverQuota::Volumes { key: "volumes".to_owned(), limit: 10 }));
    assert_eq!(outcomes[..10], vec![CommitOutcome::Committed; 10]);
    assert_eq!(outcomes[10..], vec![refused; 6]);
    let over = bench.commit(limited(limits(-1, 31), insert(&volume(99, "p", 2)))).await;
    let expected = OverQuota::Gigabytes { key: "gigabytes".to_owned(), requested: 2, limit: 31, consumed: 30 };
    assert_eq!(over, CommitOutcome::Aborted(Aborted::OverQuota(expected)));
    // facts are recorded without being judged
    assert_committed(bench.commit(insert(&volume(98, "p", 2))).await);
    audit(&bench).await;
}

async fn r52_concurrent_groups_never_exceed_a_limit_together(bench: Bench) {
    let tasks = (0..8_u128).map(|task| {
        let store = bench.store();
        tokio::spawn(async move {
            let mut committed = 0;
            for n in 0..20 {
                let state = volume(task * 1000 + n, if n % 2 == 0 { "p" } else { "q" }, 1);
                match store.commit(limited(limits(30, -1), insert(&state))).await {
                    CommitOutcome::Committed => committed += 1,
                    CommitOutcome::Aborted(Aborted::OverQuota(_)) => {}
                    other => panic!("{other:?}"),
                }
            }
            committed
        })
    });
    let committed: i64 = join_all(tasks).await.into_iter().map(|count| count.unwrap()).sum();
    assert_eq!(committed, 60, "30 in each project");
    for project in ["p", "q"] {
        assert_eq!(bench.store().usage(ProjectId::from(project)).await.unwrap().volumes, 30);
    }
    audit(&bench).await;
}

async fn r45_the_quota_follows_the_volume(bench: Bench) {
    let usage = async || bench.store().usage(ProjectId::from("p")).await.unwrap();
    let one = Usage { volumes: 1, live_volumes: 1, ..Usage::default() };
    let first = volume(1, "p", 10);
    assert_committed(bench.commit(insert(&first)).await);
    let growing = next(&first, |new| new.operations.push(extend(1, &first, 5)));
    assert_committed(bench.commit(change(Some(&first), &growing)).await);
    assert_eq!(usage().await, Usage { gigabytes: 10, reserved_gigabytes: 5, ..one });
    let grown = next(&growing, |new| {
        new.operations.clear();
        new.volume.size_gib = 15;
    });
    assert_committed(bench.commit(change(Some(&growing), &grown)).await);
    assert_eq!(usage().await, Usage { gigabytes: 15, reserved_gigabytes: 0, ..one });
    let given = next(&grown, |new| new.volume.project_id = ProjectId::from("q"));
    assert_committed(bench.commit(change(Some(&grown), &given)).await);
    assert_eq!(usage().await, Usage::default());
    let gone = next(&given, |new| {
        new.volume.deleted = true;
        new.volume.deleted_at = Some(hearth::domain::time::Timestamp(50));
    });
    assert_committed(bench.commit(change(Some(&given), &gone)).await);
    assert_eq!(bench.store().usage(ProjectId::from("q")).await.unwrap(), Usage::default());
    assert_eq!(bench.store().volume_get(first.id()).await.unwrap(), None);
    assert_eq!(bench.commit(change(Some(&gone), &next(&gone, |new| new.volume.deleted = false))).await, STALE);
    audit(&bench).await;
}

async fn a_barrier_is_answered_after_everything_before_it(bench: Bench) {
    for round in 0..20 {
        let store = bench.store();
        let commits: Vec<_> = (0..40).map(|n| store.commit(insert(&volume(round * 100 + n, "p", 1)))).collect();
        assert_committed(store.commit(Transaction::default()).await);
        for (n, commit) in commits.into_iter().enumerate() {
            let outcome = futures_util::FutureExt::now_or_never(commit);
            assert_eq!(outcome, Some(CommitOutcome::Committed), "commit {n} had not ended");
        }
    }
}

/// Promise I5: what is stored is what is counted.
pub async fn audit(bench: &Bench) {
    for project in bench.store().usage_audit().await.unwrap() {
        assert_eq!(project.stored, project.counted, "{:?}", project.scope);
    }
}
