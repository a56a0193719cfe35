//! Every driver against every rule: `drivers::conformance::<driver>::<rule>`.
//!
//! A driver is added by one line: `conformance!(name, subject)`, where `subject` is an async function that gives a fresh,
//! empty [`Subject`](super::subject::Subject). `storage_conformance!` leaves the exports out, where they have nothing to
//! do with what makes the subject another one, and `export_conformance!` has nothing else.

use super::subject;

macro_rules! rules_as_tests {
    ($group:ident, $subject:path, [$($rule:ident),* $(,)?]) => {
        $(
            #[test]
            fn $rule() {
                super::subject::in_one_thread(async { super::super::rules::$group::$rule($subject().await).await });
            }
        )*
    };
}

macro_rules! storage_rules {
    ($subject:path) => {
        rules_as_tests!(
            storage,
            $subject,
            [
                create_makes_the_volume_and_says_its_size,
                create_is_idempotent_by_key_and_by_state,
                create_never_overwrites_another_size,
                delete_is_idempotent_and_done_when_nothing_is_there,
                delete_leaves_other_volumes_alone,
                extend_grows_and_says_the_real_size,
                extend_never_shrinks,
                extend_of_nothing_is_not_done_and_makes_nothing,
                a_probe_answers_anew_under_the_key_of_another_call,
                equal_keys_at_the_same_time_have_one_effect_and_one_outcome,
                volumes_do_not_disturb_each_other,
                the_inventory_agrees_with_the_probes,
                the_capacity_is_plausible,
                guest_requests_are_refused,
            ]
        );
        rules_as_tests!(
            clones,
            $subject,
            [
                a_clone_has_the_contents_of_its_source_and_its_holes,
                a_clone_may_be_larger_than_its_source,
                a_clone_and_its_source_go_their_own_ways,
                a_clone_is_idempotent_by_key,
                a_clone_never_overwrites_the_volume_of_another_key,
                a_clone_of_a_larger_source_is_refused_and_makes_nothing,
                a_clone_of_nothing_is_refused_and_makes_nothing,
                equal_clone_keys_at_the_same_time_have_one_effect_and_one_outcome,
                clones_that_cross_do_not_wait_for_each_other,
                a_clone_that_nobody_waits_for_is_whole_or_not_there,
            ]
        );
    };
}

macro_rules! export_rules {
    ($subject:path) => {
        rules_as_tests!(
            exports,
            $subject,
            [
                export_answers_with_flat_connection_information,
                export_is_idempotent_by_key_and_by_name,
                a_volume_has_several_exports,
                a_live_export_name_is_not_given_to_another_volume,
                export_of_nothing_is_not_done,
                unexport_is_idempotent_and_done_when_nothing_is_there,
                r38_an_ended_export_name_is_never_served_again,
                r38_an_export_that_comes_after_its_end_is_not_served,
                extend_keeps_the_exports_under_their_names,
                delete_refuses_live_exports,
                the_inventory_names_the_exports,
            ]
        );
    };
}

macro_rules! snapshot_rules {
    ($subject:path) => {
        rules_as_tests!(
            snapshots,
            $subject,
            [
                a_snapshot_keeps_what_the_volume_held_when_it_was_taken,
                a_snapshot_that_is_there_is_not_taken_again,
                a_snapshot_of_nothing_is_refused_and_makes_nothing,
                deleting_a_snapshot_is_idempotent_and_done_when_nothing_is_there,
                a_deleted_snapshot_is_not_brought_back_by_a_creation_on_its_way,
                delete_refuses_a_volume_with_snapshots,
                a_volume_from_a_snapshot_has_its_contents_and_its_holes,
                a_volume_a_snapshot_and_the_volume_from_it_go_their_own_ways,
                a_volume_from_a_snapshot_is_idempotent_by_key_and_never_overwrites,
                a_volume_from_a_missing_or_larger_snapshot_is_refused_and_makes_nothing,
                a_revert_puts_the_volume_back_and_the_snapshots_stay,
                a_revert_is_idempotent_by_key,
                a_revert_to_a_missing_or_different_snapshot_is_refused,
                extend_leaves_the_snapshots_alone,
                equal_snapshot_keys_at_the_same_time_have_one_effect_and_one_outcome,
                calls_that_cross_do_not_wait_for_each_other_and_leave_something_whole,
                what_nobody_waits_for_is_whole_or_not_there,
                the_inventory_agrees_with_the_probes_about_snapshots,
            ]
        );
    };
}

macro_rules! adoption_rules {
    ($subject:path) => {
        rules_as_tests!(
            adoptions,
            $subject,
            [
                an_object_becomes_the_volume_with_what_it_holds,
                an_object_is_given_the_rest_of_its_last_gib,
                an_adoption_is_idempotent_by_key_and_by_state,
                what_cannot_be_adopted_stays_what_it_is,
                of_two_adoptions_of_one_object_one_has_it,
                what_is_let_go_of_keeps_what_it_holds_under_its_reference,
                letting_go_is_idempotent_and_done_when_nothing_is_there,
                letting_go_never_takes_the_place_of_another_object,
                letting_go_refuses_a_volume_with_snapshots,
                what_was_let_go_of_is_not_brought_back_by_an_adoption_on_its_way,
                an_object_becomes_a_snapshot_with_what_it_holds,
                what_cannot_be_adopted_as_a_snapshot_stays_what_it_is,
                a_snapshot_that_is_let_go_of_can_be_adopted_again,
                a_snapshot_that_was_let_go_of_is_not_brought_back_by_an_adoption_on_its_way,
            ]
        );
    };
}

macro_rules! exported_copy_rules {
    ($subject:path) => {
        rules_as_tests!(exports, $subject, [a_clone_of_an_exported_volume_is_whole_and_leaves_the_exports]);
        rules_as_tests!(adoptions_and_exports, $subject, [letting_go_refuses_live_exports]);
        rules_as_tests!(
            snapshots_of_exports,
            $subject,
            [
                a_revert_refuses_live_exports,
                a_snapshot_of_an_exported_volume_is_whole_and_leaves_the_exports,
                a_snapshot_outlives_the_end_of_an_export,
            ]
        );
    };
}

macro_rules! move_rules {
    ($subject:path, [$($rule:ident),* $(,)?]) => {
        $(
            #[test]
            fn $rule() {
                super::subject::in_one_thread(async {
                    let pair = super::super::move_rules::Pair { from: $subject().await, to: $subject().await };
                    super::super::move_rules::$rule(pair).await;
                });
            }
        )*
    };
}

/// The rules of drivers that give volumes to other backends and take theirs.
macro_rules! move_conformance {
    ($driver:ident, $subject:path) => {
        mod $driver {
            use super::subject;
            move_rules!(
                $subject,
                [
                    a_copy_has_the_contents_of_its_source_and_its_holes,
                    a_copy_and_its_source_go_their_own_ways,
                    a_copy_is_made_once_by_its_operation,
                    a_volume_of_another_operation_is_never_overwritten,
                    a_copy_of_nothing_or_of_something_larger_is_refused_and_makes_nothing,
                    a_blank_volume_is_made_once_by_its_operation,
                    r61_a_late_call_does_not_bring_back_what_was_deleted_since,
                    equal_copies_at_the_same_time_have_one_effect_and_one_outcome,
                    a_copy_that_nobody_waits_for_is_whole_or_not_there,
                    a_source_with_live_exports_is_busy,
                ]
            );
        }
    };
}

/// All rules.
macro_rules! conformance {
    ($driver:ident, $subject:path) => {
        mod $driver {
            use super::subject;
            storage_rules!($subject);
            snapshot_rules!($subject);
            adoption_rules!($subject);
            export_rules!($subject);
            exported_copy_rules!($subject);
        }
    };
}

/// The rules of volumes and snapshots only.
macro_rules! storage_conformance {
    ($driver:ident, $subject:path) => {
        mod $driver {
            use super::subject;
            storage_rules!($subject);
            snapshot_rules!($subject);
            adoption_rules!($subject);
        }
    };
}

/// The rules of exports only: not every protocol bears a copy on every file system.
macro_rules! export_conformance {
    ($driver:ident, $subject:path) => {
        mod $driver {
            use super::subject;
            export_rules!($subject);
        }
    };
}

conformance!(sim_memory, subject::sim_memory);
conformance!(sim_file, subject::sim_file);
conformance!(sim_remote, subject::sim_remote);
conformance!(file, subject::file);
conformance!(file_restarted, subject::file_restarted);
storage_conformance!(file_reflink, subject::file_reflink);
export_conformance!(file_local, subject::file_local);
export_conformance!(file_iscsi, subject::file_iscsi);

move_conformance!(sim_memory_moves, subject::sim_memory);
move_conformance!(sim_file_moves, subject::sim_file);
move_conformance!(sim_remote_moves, subject::sim_remote);
move_conformance!(file_moves, subject::file);
move_conformance!(file_restarted_moves, subject::file_restarted);
