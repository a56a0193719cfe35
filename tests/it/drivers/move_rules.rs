//! The rules of volumes that move between two backends of one driver.

use futures_util::future::join_all;
use hearth::domain::backend::{Call, CallKey, CauseKind, Outcome, Request, Truth};

use super::subject::{Subject, assert_refused, export_name, size, unexport, volume};

/// A backend that gives, and one that takes.
pub struct Pair {
    pub from: Subject,
    pub to: Subject,
}

fn copy(size_gib: u32) -> Request {
    Request::CopyFromBackend { source_backend: "host@from#pool".into(), size_gib }
}

const fn blank(size_gib: u32) -> Request {
    Request::CreateMirrorTarget { size_gib }
}

fn there(size_gib: u32) -> Truth {
    Truth { exists: true, size_gib, ..Truth::default() }
}

/// The same call as of another epoch: recovery runs an operation under a new one.
fn at_epoch(call: &Call, epoch: u64) -> Call {
    Call { key: CallKey { epoch, ..call.key.clone() }, request: call.request.clone() }
}

impl Pair {
    async fn carry_out(&mut self, call: Call) -> Outcome {
        match call.request {
            Request::CopyFromBackend { .. } => {
                let source = self.from.backend();
                self.to.carry_out_from(call, source).await
            }
            _ => self.to.carry_out(call).await,
        }
    }

    async fn ask(&mut self, number: u128, request: Request) -> Outcome {
        let call = self.to.fresh(volume(number), request);
        self.carry_out(call).await
    }

    /// Volume 1 at the source, with two writes of different clients.
    async fn written(&mut self, size_gib: u32) -> Vec<String> {
        self.from.create(volume(1), size_gib).await;
        self.from.write(volume(1), 1).await;
        self.from.write(volume(1), 5).await;
        let contents = self.from.contents(volume(1)).await;
        assert_eq!(contents.len(), 2, "{contents:?}");
        contents
    }
}

pub async fn a_copy_has_the_contents_of_its_source_and_its_holes(mut pair: Pair) {
    let contents = pair.written(2).await;
    assert_eq!(pair.ask(1, copy(2)).await, size(2));
    assert_eq!(pair.to.probe(volume(1)).await, there(2));
    assert_eq!(pair.to.contents(volume(1)).await, contents);
    assert_eq!(pair.from.contents(volume(1)).await, contents, "the source is untouched");
    let (source, copied) = (pair.from.allocated_kib(volume(1)), pair.to.allocated_kib(volume(1)));
    assert!(copied <= source + 64, "{copied} KiB of a source with {source}");
    assert_eq!(pair.to.inventory().await, [(volume(1), there(2))]);
    assert_eq!(pair.from.inventory().await, [(volume(1), there(2))]);
}

pub async fn a_copy_and_its_source_go_their_own_ways(mut pair: Pair) {
    let contents = pair.written(1).await;
    assert_eq!(pair.ask(1, copy(1)).await, size(1));
    pair.from.write(volume(1), 7).await;
    assert_eq!(pair.to.contents(volume(1)).await, contents);
    pair.to.write(volume(1), 9).await;
    assert_eq!(pair.from.ask(volume(1), Request::Delete).await, Outcome::done());
    assert_eq!(pair.to.contents(volume(1)).await.len(), 3);
    assert_eq!(pair.ask(1, Request::Extend { new_size_gib: 2 }).await, size(2));
    assert_eq!(pair.ask(1, Request::Delete).await, Outcome::done());
    assert_eq!(pair.to.inventory().await, []);
}

pub async fn a_copy_is_made_once_by_its_operation(mut pair: Pair) {
    pair.written(1).await;
    let call = pair.to.fresh(volume(1), copy(1));
    assert_eq!(pair.carry_out(call.clone()).await, size(1));
    pair.to.write(volume(1), 9).await;
    let contents = pair.to.contents(volume(1)).await;
    for epoch in [1, 2] {
        assert_eq!(pair.carry_out(at_epoch(&call, epoch)).await, size(1));
        assert_eq!(pair.to.contents(volume(1)).await, contents, "it is not copied again");
    }
    assert_eq!(pair.from.ask(volume(1), Request::Delete).await, Outcome::done());
    assert_eq!(pair.carry_out(at_epoch(&call, 3)).await, size(1), "it has been carried out already");
}

pub async fn a_volume_of_another_operation_is_never_overwritten(mut pair: Pair) {
    pair.written(1).await;
    pair.to.create(volume(1), 1).await;
    pair.to.write(volume(1), 3).await;
    let contents = pair.to.contents(volume(1)).await;
    for request in [copy(1), copy(2), blank(1)] {
        assert_refused(&pair.ask(1, request).await, CauseKind::Other);
        assert_eq!(pair.to.contents(volume(1)).await, contents);
    }
    assert_eq!(pair.ask(1, Request::Delete).await, Outcome::done());
    let later = pair.to.fresh(volume(1), copy(1));
    assert_eq!(pair.carry_out(at_epoch(&later, 2)).await, size(1));
    assert_refused(&pair.ask(1, copy(1)).await, CauseKind::Other);
}

pub async fn a_copy_of_nothing_or_of_something_larger_is_refused_and_makes_nothing(mut pair: Pair) {
    assert_refused(&pair.ask(1, copy(1)).await, CauseKind::Other);
    pair.written(2).await;
    assert_refused(&pair.ask(1, copy(1)).await, CauseKind::Other);
    assert_eq!(pair.to.inventory().await, []);
    // It was not done: the id is free.
    assert_eq!(pair.ask(1, copy(2)).await, size(2));
}

pub async fn a_blank_volume_is_made_once_by_its_operation(mut pair: Pair) {
    let call = pair.to.fresh(volume(1), blank(2));
    assert_eq!(pair.carry_out(call.clone()).await, size(2));
    assert_eq!(pair.to.probe(volume(1)).await, there(2));
    assert_eq!(pair.to.contents(volume(1)).await, [] as [String; 0]);
    pair.to.write(volume(1), 3).await;
    assert_eq!(pair.carry_out(at_epoch(&call, 2)).await, size(2));
    assert_eq!(pair.to.contents(volume(1)).await.len(), 1, "it is not made again");
    assert_refused(&pair.ask(1, blank(2)).await, CauseKind::Other);
}

/// R-61 for volumes that are brought.
pub async fn r61_a_late_call_does_not_bring_back_what_was_deleted_since(mut pair: Pair) {
    pair.written(1).await;
    let late = [copy(1), blank(1)].map(|request| pair.to.fresh(volume(1), request));
    let delete = pair.to.fresh(volume(1), Request::Delete);
    // The same backend throughout: who restarts has no call of before on the way.
    let (backend, source) = (pair.to.backend(), pair.from.backend());
    assert_eq!(backend.clone().call(at_epoch(&delete, 2)).await, Outcome::done());
    for call in &late {
        let outcome = match &call.request {
            Request::CopyFromBackend { .. } => backend.clone().copy_from(call.clone(), source.clone()).await,
            _ => backend.clone().call(call.clone()).await,
        };
        assert_refused(&outcome, CauseKind::Other);
    }
    assert_eq!(backend.clone().copy_from(at_epoch(&late[0], 3), source).await, size(1), "a later one may");
}

pub async fn equal_copies_at_the_same_time_have_one_effect_and_one_outcome(mut pair: Pair) {
    let contents = pair.written(1).await;
    let call = pair.to.fresh(volume(1), copy(1));
    let (backend, source) = (pair.to.backend(), pair.from.backend());
    let outcomes = join_all((0..8).map(|_| backend.clone().copy_from(call.clone(), source.clone()))).await;
    assert_eq!(outcomes, vec![size(1); 8]);
    drop((backend, source));
    assert_eq!(pair.to.contents(volume(1)).await, contents);
    assert_eq!(pair.to.inventory().await.len(), 1);
}

pub async fn a_copy_that_nobody_waits_for_is_whole_or_not_there(mut pair: Pair) {
    let contents = pair.written(1).await;
    for polls in 1..10 {
        let call = pair.to.fresh(volume(1), copy(1));
        let epoch = 2 * polls;
        let mut left = pair.to.backend().copy_from(at_epoch(&call, epoch), pair.from.backend());
        for _ in 0..polls {
            if futures_util::poll!(&mut left).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(left);
        if pair.to.probe(volume(1)).await.exists {
            assert_eq!(pair.to.contents(volume(1)).await, contents);
        }
        assert_eq!(pair.carry_out(at_epoch(&call, epoch)).await, size(1));
        assert_eq!(pair.to.contents(volume(1)).await, contents);
        let delete = pair.to.fresh(volume(1), Request::Delete);
        assert_eq!(pair.carry_out(at_epoch(&delete, epoch + 1)).await, Outcome::done());
    }
    assert_eq!(pair.from.contents(volume(1)).await, contents);
}

pub async fn a_source_with_live_exports_is_busy(mut pair: Pair) {
    let contents = pair.written(1).await;
    pair.from.export(volume(1), 1, 1).await;
    assert_refused(&pair.ask(1, copy(1)).await, CauseKind::Busy);
    assert_eq!(pair.to.inventory().await, []);
    assert_eq!(pair.from.probe(volume(1)).await.exports, [export_name(1, 1)]);
    assert_eq!(pair.from.ask(volume(1), unexport(1, 1)).await, Outcome::done());
    assert_eq!(pair.ask(1, copy(1)).await, size(1));
    assert_eq!(pair.to.contents(volume(1)).await, contents);
}
