//! The rules of `domain::backend::Request`, each as a function over any backend.

use futures_util::future::join_all;
use hearth::domain::backend::{Answer, CauseKind, Outcome, Request, Truth};

pub use super::adoption_rules::{adoptions, adoptions_and_exports};
pub use super::snapshot_rules::{snapshots, snapshots_of_exports};
use super::subject::{
    Subject, assert_not_done, assert_refused, call, connection, export, export_name, size, unexport, volume,
};

fn there(size_gib: u32) -> Truth {
    Truth { exists: true, size_gib, exports: Vec::new(), ..Truth::default() }
}

/// Rules of volumes.
pub mod storage {
    use super::*;

    pub async fn create_makes_the_volume_and_says_its_size(mut subject: Subject) {
        assert_eq!(subject.probe(volume(1)).await, Truth::default());
        assert_eq!(subject.ask(volume(1), Request::Create { size_gib: 3 }).await, size(3));
        assert_eq!(subject.probe(volume(1)).await, there(3));
    }

    pub async fn create_is_idempotent_by_key_and_by_state(mut subject: Subject) {
        let create = subject.fresh(volume(1), Request::Create { size_gib: 1 });
        for _ in 0..2 {
            assert_eq!(subject.carry_out(create.clone()).await, size(1));
        }
        assert_eq!(subject.ask(volume(1), Request::Create { size_gib: 1 }).await, size(1));
        assert_eq!(subject.inventory().await, [(volume(1), there(1))]);
    }

    pub async fn create_never_overwrites_another_size(mut subject: Subject) {
        subject.create(volume(1), 2).await;
        for other in [1, 3] {
            let outcome = subject.ask(volume(1), Request::Create { size_gib: other }).await;
            assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
        }
        assert_eq!(subject.probe(volume(1)).await, there(2));
    }

    pub async fn delete_is_idempotent_and_done_when_nothing_is_there(mut subject: Subject) {
        assert_eq!(subject.ask(volume(9), Request::Delete).await, Outcome::done());
        subject.create(volume(1), 1).await;
        let delete = subject.fresh(volume(1), Request::Delete);
        for _ in 0..2 {
            assert_eq!(subject.carry_out(delete.clone()).await, Outcome::done());
            assert_eq!(subject.probe(volume(1)).await, Truth::default());
        }
        assert_eq!(subject.ask(volume(1), Request::Delete).await, Outcome::done());
        assert_eq!(subject.inventory().await, []);
    }

    pub async fn delete_leaves_other_volumes_alone(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        subject.create(volume(2), 2).await;
        assert_eq!(subject.ask(volume(1), Request::Delete).await, Outcome::done());
        assert_eq!(subject.inventory().await, [(volume(2), there(2))]);
    }

    pub async fn extend_grows_and_says_the_real_size(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        let extend = subject.fresh(volume(1), Request::Extend { new_size_gib: 4 });
        for _ in 0..2 {
            assert_eq!(subject.carry_out(extend.clone()).await, size(4));
            assert_eq!(subject.probe(volume(1)).await, there(4));
        }
    }

    pub async fn extend_never_shrinks(mut subject: Subject) {
        subject.create(volume(1), 4).await;
        for smaller in [4, 3, 1] {
            assert_eq!(subject.ask(volume(1), Request::Extend { new_size_gib: smaller }).await, size(4));
        }
        assert_eq!(subject.probe(volume(1)).await, there(4));
    }

    pub async fn extend_of_nothing_is_not_done_and_makes_nothing(mut subject: Subject) {
        assert_not_done(&subject.ask(volume(1), Request::Extend { new_size_gib: 4 }).await);
        assert_eq!(subject.inventory().await, []);
    }

    pub async fn a_probe_answers_anew_under_the_key_of_another_call(mut subject: Subject) {
        let probe = subject.fresh(volume(1), Request::Probe);
        let create = call(volume(1), probe.key.operation_id.0.as_u128(), Request::Create { size_gib: 1 });
        let truth = |truth| Outcome::Done { answer: Answer::Truth { truth } };
        assert_eq!(subject.carry_out(probe.clone()).await, truth(Truth::default()));
        assert_eq!(subject.carry_out(create).await, size(1));
        assert_eq!(subject.carry_out(probe.clone()).await, truth(there(1)));
        assert_eq!(subject.ask(volume(1), Request::Delete).await, Outcome::done());
        assert_eq!(subject.carry_out(probe).await, truth(Truth::default()));
    }

    pub async fn equal_keys_at_the_same_time_have_one_effect_and_one_outcome(mut subject: Subject) {
        let create = subject.fresh(volume(1), Request::Create { size_gib: 1 });
        let backend = subject.backend();
        let outcomes = join_all((0..8).map(|_| backend.clone().call(create.clone()))).await;
        assert_eq!(outcomes, vec![size(1); 8]);
        drop(backend);
        assert_eq!(subject.inventory().await, [(volume(1), there(1))]);
    }

    pub async fn volumes_do_not_disturb_each_other(mut subject: Subject) {
        let backend = subject.backend();
        let calls: Vec<_> = (1..=16).map(|n| subject.fresh(volume(n), Request::Create { size_gib: 1 })).collect();
        let outcomes = join_all(calls.into_iter().map(|call| backend.clone().call(call))).await;
        assert_eq!(outcomes, vec![size(1); 16]);
        drop(backend);
        let all: Vec<_> = (1..=16).map(|n| (volume(n), there(1))).collect();
        assert_eq!(subject.inventory().await, all);
    }

    pub async fn the_inventory_agrees_with_the_probes(mut subject: Subject) {
        for (number, gib) in [(1, 1), (2, 5), (3, 2)] {
            subject.create(volume(number), gib).await;
        }
        for (id, truth) in subject.inventory().await {
            assert_eq!(subject.probe(id).await, truth);
        }
        assert_eq!(subject.inventory().await.len(), 3);
    }

    pub async fn the_capacity_is_plausible(subject: Subject) {
        let capacity = subject.backend().capacity().await.expect("it can be measured");
        assert!(capacity.total_gib > 0.0 && capacity.free_gib >= 0.0, "{capacity:?}");
        assert!(capacity.free_gib <= capacity.total_gib, "{capacity:?}");
    }

    pub async fn guest_requests_are_refused(mut subject: Subject) {
        let probe = Request::ProbeGuest { attachment_id: super::super::subject::attachment(1) };
        assert_not_done(&subject.ask(volume(1), probe).await);
    }
}

/// Rules of clones.
pub mod clones {
    use super::*;

    fn clone_of(source: u128, size_gib: u32) -> Request {
        Request::CreateClonedVolume { source_volume_id: volume(source), size_gib }
    }

    /// Volume 1 with two writes of different clients.
    async fn written(subject: &mut Subject, size_gib: u32) -> Vec<String> {
        subject.create(volume(1), size_gib).await;
        subject.write(volume(1), 1).await;
        subject.write(volume(1), 5).await;
        let contents = subject.contents(volume(1)).await;
        assert_eq!(contents.len(), 2, "{contents:?}");
        contents
    }

    pub async fn a_clone_has_the_contents_of_its_source_and_its_holes(mut subject: Subject) {
        let contents = written(&mut subject, 2).await;
        assert_eq!(subject.ask(volume(2), clone_of(1, 2)).await, size(2));
        assert_eq!(subject.probe(volume(2)).await, there(2));
        assert_eq!(subject.contents(volume(2)).await, contents);
        assert_eq!(subject.contents(volume(1)).await, contents, "the source is untouched");
        let (source, clone) = (subject.allocated_kib(volume(1)), subject.allocated_kib(volume(2)));
        assert!(clone <= source + 64, "{clone} KiB of a source with {source}");
        assert_eq!(subject.inventory().await, [(volume(1), there(2)), (volume(2), there(2))]);
    }

    pub async fn a_clone_may_be_larger_than_its_source(mut subject: Subject) {
        let contents = written(&mut subject, 1).await;
        assert_eq!(subject.ask(volume(2), clone_of(1, 3)).await, size(3));
        assert_eq!(subject.probe(volume(2)).await, there(3));
        assert_eq!(subject.probe(volume(1)).await, there(1));
        assert_eq!(subject.contents(volume(2)).await, contents);
    }

    pub async fn a_clone_and_its_source_go_their_own_ways(mut subject: Subject) {
        let contents = written(&mut subject, 1).await;
        assert_eq!(subject.ask(volume(2), clone_of(1, 1)).await, size(1));
        subject.write(volume(1), 7).await;
        assert_eq!(subject.contents(volume(2)).await, contents);
        subject.write(volume(2), 9).await;
        let (of_source, of_clone) = (subject.contents(volume(1)).await, subject.contents(volume(2)).await);
        assert_eq!((of_source.len(), of_clone.len()), (3, 3));
        assert_ne!(of_source, of_clone);
        assert_eq!(subject.ask(volume(1), Request::Delete).await, Outcome::done());
        assert_eq!(subject.contents(volume(2)).await, of_clone);
        assert_eq!(subject.ask(volume(2), Request::Extend { new_size_gib: 2 }).await, size(2));
        assert_eq!(subject.ask(volume(2), Request::Delete).await, Outcome::done());
        assert_eq!(subject.inventory().await, []);
    }

    pub async fn a_clone_is_idempotent_by_key(mut subject: Subject) {
        written(&mut subject, 1).await;
        let clone = subject.fresh(volume(2), clone_of(1, 2));
        assert_eq!(subject.carry_out(clone.clone()).await, size(2));
        subject.write(volume(1), 7).await;
        subject.write(volume(2), 9).await;
        let contents = subject.contents(volume(2)).await;
        assert_eq!(subject.carry_out(clone.clone()).await, size(2));
        assert_eq!(subject.contents(volume(2)).await, contents, "it is not copied again");
        assert_eq!(subject.ask(volume(1), Request::Delete).await, Outcome::done());
        assert_eq!(subject.carry_out(clone).await, size(2));
        assert_eq!(subject.inventory().await, [(volume(2), there(2))]);
    }

    pub async fn a_clone_never_overwrites_the_volume_of_another_key(mut subject: Subject) {
        written(&mut subject, 1).await;
        subject.create(volume(2), 1).await;
        subject.write(volume(2), 3).await;
        assert_eq!(subject.ask(volume(3), clone_of(1, 1)).await, size(1));
        subject.write(volume(3), 3).await;
        for taken in [2, 3] {
            let contents = subject.contents(volume(taken)).await;
            for size_gib in [1, 2] {
                assert_refused(&subject.ask(volume(taken), clone_of(1, size_gib)).await, CauseKind::Other);
            }
            assert_eq!(subject.contents(volume(taken)).await, contents);
            assert_eq!(subject.probe(volume(taken)).await, there(1));
        }
    }

    pub async fn a_clone_of_a_larger_source_is_refused_and_makes_nothing(mut subject: Subject) {
        written(&mut subject, 2).await;
        assert_refused(&subject.ask(volume(2), clone_of(1, 1)).await, CauseKind::Other);
        assert_eq!(subject.inventory().await, [(volume(1), there(2))]);
    }

    pub async fn a_clone_of_nothing_is_refused_and_makes_nothing(mut subject: Subject) {
        assert_refused(&subject.ask(volume(2), clone_of(1, 1)).await, CauseKind::Other);
        assert_refused(&subject.ask(volume(1), clone_of(1, 1)).await, CauseKind::Other);
        assert_eq!(subject.inventory().await, []);
        // It was not done: the source may come, and then the same id is free.
        subject.create(volume(1), 1).await;
        assert_eq!(subject.ask(volume(2), clone_of(1, 1)).await, size(1));
    }

    pub async fn equal_clone_keys_at_the_same_time_have_one_effect_and_one_outcome(mut subject: Subject) {
        let contents = written(&mut subject, 1).await;
        let clone = subject.fresh(volume(2), clone_of(1, 1));
        let backend = subject.backend();
        let outcomes = join_all((0..8).map(|_| backend.clone().call(clone.clone()))).await;
        assert_eq!(outcomes, vec![size(1); 8]);
        drop(backend);
        assert_eq!(subject.contents(volume(2)).await, contents);
        assert_eq!(subject.inventory().await.len(), 2);
    }

    pub async fn clones_that_cross_do_not_wait_for_each_other(mut subject: Subject) {
        let contents = written(&mut subject, 1).await;
        subject.create(volume(2), 1).await;
        let pairs = [(1, 2), (2, 1), (3, 1), (4, 1), (3, 2)];
        let calls = pairs.map(|(target, source)| subject.fresh(volume(target), clone_of(source, 1)));
        let backend = subject.backend();
        let outcomes = join_all(calls.into_iter().map(|call| backend.clone().call(call))).await;
        drop(backend);
        let of_three: Vec<_> = [2, 4].into_iter().filter(|index| outcomes[*index] == size(1)).collect();
        assert_eq!(of_three.len(), 1, "two sources, one volume: {outcomes:?}");
        for refused in [&outcomes[0], &outcomes[1], &outcomes[6 - of_three[0]]] {
            assert_refused(refused, CauseKind::Other);
        }
        assert_eq!((&outcomes[3], subject.contents(volume(4)).await), (&size(1), contents));
    }

    pub async fn a_clone_that_nobody_waits_for_is_whole_or_not_there(mut subject: Subject) {
        let contents = written(&mut subject, 1).await;
        for number in 2..10 {
            let clone = subject.fresh(volume(number), clone_of(1, 1));
            let mut left = subject.backend().call(clone.clone());
            for _ in 0..number {
                if futures_util::poll!(&mut left).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(left);
            if subject.probe(volume(number)).await.exists {
                assert_eq!(subject.contents(volume(number)).await, contents);
            }
            assert_eq!(subject.carry_out(clone).await, size(1));
            assert_eq!(subject.contents(volume(number)).await, contents);
        }
    }
}

/// Rules of exports.
pub mod exports {
    use super::*;

    pub async fn export_answers_with_flat_connection_information(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        let info = subject.export(volume(1), 1, 1).await;
        assert!(info["driver_volume_type"].is_string(), "{info}");
        assert!(info.get("data").is_none(), "flat: {info}");
        assert_eq!(subject.probe(volume(1)).await.exports, [export_name(1, 1)]);
    }

    pub async fn export_is_idempotent_by_key_and_by_name(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        let call = subject.fresh(volume(1), export(1, 1));
        let first = connection(subject.carry_out(call.clone()).await);
        assert_eq!(connection(subject.carry_out(call).await), first);
        assert_eq!(subject.export(volume(1), 1, 1).await, first);
        assert_eq!(subject.probe(volume(1)).await.exports, [export_name(1, 1)]);
    }

    pub async fn a_volume_has_several_exports(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        let infos = [subject.export(volume(1), 1, 1).await, subject.export(volume(1), 2, 1).await];
        assert_ne!(infos[0], infos[1]);
        assert_eq!(subject.probe(volume(1)).await.exports, [export_name(1, 1), export_name(2, 1)]);
        assert_eq!(subject.ask(volume(1), unexport(1, 1)).await, Outcome::done());
        assert_eq!(subject.probe(volume(1)).await.exports, [export_name(2, 1)]);
    }

    pub async fn a_live_export_name_is_not_given_to_another_volume(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        subject.create(volume(2), 1).await;
        subject.export(volume(1), 1, 1).await;
        assert_not_done(&subject.ask(volume(2), export(1, 1)).await);
        assert_eq!(subject.probe(volume(1)).await.exports, [export_name(1, 1)]);
        assert_eq!(subject.probe(volume(2)).await.exports, []);
    }

    pub async fn export_of_nothing_is_not_done(mut subject: Subject) {
        assert_not_done(&subject.ask(volume(1), export(1, 1)).await);
        assert_eq!(subject.probe(volume(1)).await, Truth::default());
    }

    pub async fn unexport_is_idempotent_and_done_when_nothing_is_there(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        assert_eq!(subject.ask(volume(1), unexport(9, 9)).await, Outcome::done());
        subject.export(volume(1), 1, 1).await;
        let end = subject.fresh(volume(1), unexport(1, 1));
        for _ in 0..2 {
            assert_eq!(subject.carry_out(end.clone()).await, Outcome::done());
        }
        assert_eq!(subject.ask(volume(1), unexport(1, 1)).await, Outcome::done());
        assert_eq!(subject.probe(volume(1)).await, there(1));
    }

    pub async fn r38_an_ended_export_name_is_never_served_again(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        let first = subject.fresh(volume(1), export(1, 1));
        connection(subject.carry_out(first.clone()).await);
        assert_eq!(subject.ask(volume(1), unexport(1, 1)).await, Outcome::done());
        assert_not_done(&subject.ask(volume(1), export(1, 1)).await);
        // The same key may be answered as before, but must not serve the name.
        subject.carry_out(first).await;
        assert_eq!(subject.probe(volume(1)).await.exports, []);
        subject.export(volume(1), 1, 2).await;
        assert_eq!(subject.probe(volume(1)).await.exports, [export_name(1, 2)]);
    }

    pub async fn r38_an_export_that_comes_after_its_end_is_not_served(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        assert_eq!(subject.ask(volume(1), unexport(1, 1)).await, Outcome::done());
        assert_not_done(&subject.ask(volume(1), export(1, 1)).await);
        assert_eq!(subject.probe(volume(1)).await.exports, []);
    }

    pub async fn extend_keeps_the_exports_under_their_names(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        let infos = [subject.export(volume(1), 1, 1).await, subject.export(volume(1), 2, 1).await];
        assert_eq!(subject.ask(volume(1), Request::Extend { new_size_gib: 2 }).await, size(2));
        let exports = vec![export_name(1, 1), export_name(2, 1)];
        assert_eq!(subject.probe(volume(1)).await, Truth { exports, ..there(2) });
        assert_eq!(subject.export(volume(1), 1, 1).await, infos[0]);
        assert_eq!(subject.export(volume(1), 2, 1).await, infos[1]);
    }

    pub async fn delete_refuses_live_exports(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        subject.export(volume(1), 1, 1).await;
        assert_refused(&subject.ask(volume(1), Request::Delete).await, CauseKind::Busy);
        assert_eq!(subject.probe(volume(1)).await.exports, [export_name(1, 1)]);
        assert_eq!(subject.ask(volume(1), unexport(1, 1)).await, Outcome::done());
        assert_eq!(subject.ask(volume(1), Request::Delete).await, Outcome::done());
        assert_eq!(subject.probe(volume(1)).await, Truth::default());
    }

    pub async fn the_inventory_names_the_exports(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        subject.create(volume(2), 1).await;
        subject.export(volume(2), 1, 1).await;
        let exports = vec![export_name(1, 1)];
        assert_eq!(subject.inventory().await, [(volume(1), there(1)), (volume(2), Truth { exports, ..there(1) })]);
    }

    pub async fn a_clone_of_an_exported_volume_is_whole_and_leaves_the_exports(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        subject.write(volume(1), 1).await;
        let info = subject.export(volume(1), 1, 1).await;
        let clone = Request::CreateClonedVolume { source_volume_id: volume(1), size_gib: 2 };
        assert_eq!(subject.ask(volume(2), clone).await, size(2));
        assert_eq!(subject.contents(volume(2)).await, subject.contents(volume(1)).await);
        assert_eq!(subject.probe(volume(2)).await, there(2), "it has no exports");
        assert_eq!(subject.export(volume(1), 1, 1).await, info);
        assert_eq!(subject.probe(volume(1)).await.exports, [export_name(1, 1)]);
    }
}
