//! Servers' actions: they begin and end in the commits that they tell of, are paged newest first, and go with the history.

use hearth::domain::ids::{RequestId, ServerId};
use hearth::domain::operation::Requester;
use hearth::domain::server_action::{ServerAction, ServerActionEnd, ServerActionKind};
use hearth::domain::time::Timestamp;
use hearth::store::{Aborted, ActionChange, ActionQuery, CommitOutcome, ListError, Transaction};

use super::bench::Bench;
use super::build::*;

super::on_every_store!(
    an_action_comes_back_as_it_was_written,
    an_action_begins_and_ends_in_commits_of_volumes,
    an_action_of_a_refused_member_is_not_there,
    actions_are_paged_newest_first,
    actions_go_with_the_history,
);

fn action(n: u128, server: &str, started_at: i64) -> ServerAction {
    ServerAction {
        id: uuid(n),
        server_id: ServerId::from(server),
        kind: ServerActionKind::AttachVolume,
        requester: Requester { request_id: RequestId::from(format!("req-{n}")), ..requester("p") },
        started_at: Timestamp(started_at),
        end: None,
    }
}

fn ended(action: &ServerAction, at: i64, failure: Option<&str>) -> ServerAction {
    let end = ServerActionEnd { at: Timestamp(at), failure: failure.map(str::to_owned) };
    ServerAction { end: Some(end), ..action.clone() }
}

fn begin(action: &ServerAction) -> ActionChange {
    ActionChange::Begin(action.clone())
}

fn end(action: &ServerAction) -> ActionChange {
    ActionChange::End {
        id: action.id,
        server_id: action.server_id.clone(),
        started_at: action.started_at,
        end: action.end.clone().expect("it has ended"),
    }
}

fn alone(actions: Vec<ActionChange>) -> Transaction {
    Transaction { actions, ..Transaction::default() }
}

fn all_of(server: &str) -> ActionQuery {
    ActionQuery {
        server_id: ServerId::from(server),
        marker: None,
        changes_since: None,
        changes_before: None,
        limit: 100,
    }
}

async fn listed(bench: &Bench, query: ActionQuery) -> Vec<ServerAction> {
    bench.store().action_list(query).await.unwrap()
}

async fn an_action_comes_back_as_it_was_written(bench: Bench) {
    for (n, kind) in (1_u128..).zip(ServerActionKind::all()) {
        let failure = n.is_multiple_of(2).then_some("no 'room' ü");
        let whole = ended(&ServerAction { kind, ..action(n, "s", 10) }, 20, failure);
        assert_committed(bench.commit(alone(vec![begin(&whole)])).await);
        let request_id = whole.requester.request_id.clone();
        assert_eq!(bench.store().action_get(ServerId::from("s"), request_id.clone()).await.unwrap(), Some(whole));
        assert_eq!(bench.store().action_get(ServerId::from("t"), request_id).await.unwrap(), None);
    }
    let others = ServerActionKind::all().count();
    let under_way = action(99, "s", 11);
    assert_committed(bench.commit(alone(vec![begin(&under_way)])).await);
    assert_eq!(listed(&bench, all_of("s")).await.first(), Some(&under_way));
    // one that is not there, because it was too old, stays away
    assert_committed(bench.commit(alone(vec![end(&ended(&action(98, "s", 1), 2, None))])).await);
    assert_eq!(listed(&bench, all_of("s")).await.len(), others + 1);
}

async fn an_action_begins_and_ends_in_commits_of_volumes(bench: Bench) {
    let states = [volume(1, "p", 1), volume(2, "p", 1)];
    for state in &states {
        assert_committed(bench.commit(insert(state)).await);
    }
    let actions = [action(1, "s", 10), action(2, "s", 11)];
    let attached = states.each_ref().map(|state| next(state, |new| new.volume.epoch += 1));
    let with = |old, new, change| Transaction { actions: vec![change], ..change_of(old, new) };
    let begun = (0..2).map(|n| with(&states[n], &attached[n], begin(&actions[n]))).collect();
    assert_eq!(bench.commit_together(begun).await, [CommitOutcome::Committed, CommitOutcome::Committed]);
    bench.crash();
    assert_eq!(listed(&bench, all_of("s")).await, [actions[1].clone(), actions[0].clone()]);
    // in a group the end of the one goes with the end of the other, and with a third that begins
    let done = [ended(&actions[0], 30, None), ended(&actions[1], 31, Some("the guest holds on"))];
    let third = action(3, "s", 12);
    let detached = attached.each_ref().map(|state| next(state, |new| new.volume.epoch += 1));
    let mut group: Vec<Transaction> = (0..2).map(|n| with(&attached[n], &detached[n], end(&done[n]))).collect();
    group[1].actions.push(begin(&third));
    assert_eq!(bench.commit_together(group).await, [CommitOutcome::Committed, CommitOutcome::Committed]);
    bench.crash();
    assert_eq!(listed(&bench, all_of("s")).await, [third, done[1].clone(), done[0].clone()]);
    for state in detached {
        assert_eq!(bench.store().volume_get(state.id()).await.unwrap(), Some(state));
    }
}

fn change_of(old: &hearth::domain::volume::VolumeState, new: &hearth::domain::volume::VolumeState) -> Transaction {
    change(Some(old), new)
}

async fn an_action_of_a_refused_member_is_not_there(bench: Bench) {
    let state = volume(1, "p", 1);
    let other = volume(2, "p", 1);
    assert_committed(bench.commit(insert(&state)).await);
    assert_committed(bench.commit(insert(&other)).await);
    let new = next(&state, |new| new.volume.epoch += 1);
    assert_committed(bench.commit(change(Some(&state), &new)).await);
    let late = Transaction { actions: vec![begin(&action(1, "s", 10))], ..change(Some(&state), &new) };
    let well = next(&other, |new| new.volume.epoch += 1);
    let well = Transaction { actions: vec![begin(&action(2, "s", 11))], ..change(Some(&other), &well) };
    let stale = CommitOutcome::Aborted(Aborted::Stale);
    assert_eq!(bench.commit_together(vec![late, well]).await, [stale, CommitOutcome::Committed]);
    assert_eq!(listed(&bench, all_of("s")).await, [action(2, "s", 11)]);
}

async fn actions_are_paged_newest_first(bench: Bench) {
    // two of them began at the same instant
    let began = [10, 11, 11, 12, 13];
    let actions: Vec<ServerAction> =
        (1..).zip(began).map(|(n, at)| ended(&action(n, "s", at), at + 10, None)).collect();
    assert_committed(bench.commit(alone(actions.iter().map(begin).collect())).await);
    assert_committed(bench.commit(alone(vec![begin(&action(7, "other", 11))])).await);
    let newest: Vec<ServerAction> = actions.iter().rev().cloned().collect();
    assert_eq!(listed(&bench, all_of("s")).await, newest);
    // page by page
    let mut marker = None;
    for expected in newest.chunks(2) {
        let page = listed(&bench, ActionQuery { marker, limit: 2, ..all_of("s") }).await;
        assert_eq!(page, expected);
        marker = page.last().map(|action| action.requester.request_id.clone());
    }
    assert_eq!(listed(&bench, ActionQuery { marker, ..all_of("s") }).await, []);
    assert_eq!(listed(&bench, ActionQuery { limit: 0, ..all_of("s") }).await, []);
    let unknown = ActionQuery { marker: Some(RequestId::from("req-7")), ..all_of("s") };
    let refused = bench.store().action_list(unknown).await;
    assert_eq!(refused, Err(ListError::MarkerNotFound("req-7".to_owned())), "it is another server's");
    // by the last change, which is the end or, before it, the beginning
    let under_way = action(6, "s", 22);
    assert_committed(bench.commit(alone(vec![begin(&under_way)])).await);
    let changed = async |since: Option<i64>, before: Option<i64>| -> Vec<u128> {
        let query =
            ActionQuery { changes_since: since.map(Timestamp), changes_before: before.map(Timestamp), ..all_of("s") };
        let found = listed(&bench, query).await;
        found.iter().map(|action| action.id.as_u128() & 0xff).collect()
    };
    assert_eq!(changed(Some(22), None).await, [6, 5, 4]);
    assert_eq!(changed(None, Some(21)).await, [3, 2, 1]);
    assert_eq!(changed(Some(21), Some(22)).await, [6, 4, 3, 2]);
    assert_eq!(changed(Some(24), None).await, [0_u128; 0]);
}

async fn actions_go_with_the_history(bench: Bench) {
    let actions: Vec<ServerAction> = (1..=5).map(|n| action(n, "s", 100 + i64::try_from(n).unwrap())).collect();
    assert_committed(bench.commit(alone(actions.iter().map(begin).collect())).await);
    assert_eq!(bench.store().history_purge(Timestamp(104), 2).await.unwrap(), 2);
    assert_eq!(bench.store().history_purge(Timestamp(104), 2).await.unwrap(), 1);
    assert_eq!(bench.store().history_purge(Timestamp(104), 2).await.unwrap(), 0);
    assert_eq!(listed(&bench, all_of("s")).await, [actions[4].clone(), actions[3].clone()]);
}
