//! Every history up to a bound: breadth first, so that what breaks a promise is shown by a shortest one.

use std::collections::{HashSet, VecDeque};
use std::fmt::Write;

use hearth::domain::status::{SnapshotStatus, VolumeStatus};

use super::model::acts::Act;
use super::model::invariants;
use super::model::world::{Broken, Budget, Event, Fate, World};

/// What may happen in one exploration.
struct Exploration {
    acts: &'static [Act],
    fates: &'static [Fate],
    budget: Budget,
    /// What has happened before: it is carried through without a fault.
    before: &'static [Act],
}

#[derive(Debug, Default)]
struct Found {
    worlds: usize,
    events: usize,
}

impl Exploration {
    fn run(&self) -> Found {
        let mut start = World::new(Budget { acts: 100, faults: 0, crashes: 0 });
        for act in self.before {
            start.happen(Event::Ask(*act)).expect("a good beginning");
            rest(start.clone(), &mut HashSet::new()).expect("a good beginning");
            while let Some(event) = start.next_without_faults() {
                start.happen(event).expect("a good beginning");
            }
        }
        start.left = self.budget;

        let mut found = Found::default();
        let mut seen = HashSet::from([start.fingerprint()]);
        let mut restful = HashSet::new();
        let mut path: Vec<(usize, Option<Event>)> = vec![(0, None)];
        let mut frontier = VecDeque::from([(0, start)]);
        while let Some((node, world)) = frontier.pop_front() {
            found.worlds += 1;
            for event in world.possible(self.acts, self.fates) {
                found.events += 1;
                let mut next = world.clone();
                let outcome = next.happen(event);
                if let Err(broken) = outcome {
                    fail(&path, node, &[event], &broken, &next);
                }
                if !seen.insert(next.fingerprint()) {
                    continue;
                }
                if let Err(end) = rest(next.clone(), &mut restful) {
                    let (tail, broken, world) = *end;
                    fail(&path, node, &[&[event], tail.as_slice()].concat(), &broken, &world);
                }
                path.push((node, Some(event)));
                frontier.push_back((path.len() - 1, next));
            }
        }
        found
    }
}

/// Without further faults and requests the volume comes to rest, and is in order then (races.md §5.5, §5.9). `restful`
/// holds the worlds of which this is known.
fn rest(mut world: World, restful: &mut HashSet<u64>) -> Result<(), Box<(Vec<Event>, Broken, World)>> {
    let mut events = Vec::new();
    let mut passed = HashSet::new();
    while let Some(event) = world.next_without_faults() {
        let here = world.fingerprint();
        if restful.contains(&here) {
            restful.extend(passed);
            return Ok(());
        }
        events.push(event);
        if !passed.insert(here) {
            return Err(Box::new((events, "it never comes to rest".to_owned(), world)));
        }
        if let Err(broken) = world.happen(event) {
            return Err(Box::new((events, broken, world)));
        }
    }
    if let Err(broken) = invariants::of_quiet(&world) {
        return Err(Box::new((events, broken, world)));
    }
    restful.extend(passed);
    Ok(())
}

/// Ends the test with the history that breaks a promise.
fn fail(path: &[(usize, Option<Event>)], mut node: usize, tail: &[Event], broken: &Broken, world: &World) -> ! {
    let mut history = Vec::new();
    while let (parent, Some(event)) = path[node] {
        history.push(event);
        node = parent;
    }
    history.reverse();
    history.extend(tail);
    let mut text = format!("{broken}\n");
    for (number, event) in history.iter().enumerate() {
        let _ = writeln!(text, "{:3}. {event:?}", number + 1);
    }
    panic!("{text}{}", world.describe());
}

/// Everything that can go wrong with a call.
const FATES: &[Fate] = &[Fate::Fails, Fate::Refuses, Fate::AnswerLost, Fate::NothingDone, Fate::Hangs];

const PLAIN: &[Act] = &[Act::Create { multiattach: false }];
const MULTIATTACH: &[Act] = &[Act::Create { multiattach: true }];

#[track_caller]
fn explore(before: &'static [Act], acts: &'static [Act], budget: (u8, u8, u8)) {
    let (acts_left, faults, crashes) = budget;
    let budget = Budget { acts: acts_left, faults, crashes };
    let found = Exploration { acts, fates: FATES, budget, before }.run();
    println!("{found:?}");
    // fewer would mean that the exploration does not explore
    assert!(found.worlds > 1_000, "{found:?}");
}

#[test]
fn create_extend_and_delete() {
    const ACTS: &[Act] = &[
        Act::Create { multiattach: false },
        Act::Extend,
        Act::Delete,
        Act::ForceDelete,
        Act::Reset(VolumeStatus::Available),
        Act::Reset(VolumeStatus::Error),
        Act::ResetAttached,
    ];
    explore(&[], ACTS, (2, 1, 1));
}

#[test]
fn snapshots_and_the_life_of_the_volume() {
    const ACTS: &[Act] = &[
        Act::Snapshot,
        Act::SnapshotDelete,
        Act::SnapshotForceDelete,
        Act::SnapshotReset(SnapshotStatus::Available),
        Act::Revert,
        Act::Extend,
        Act::Cascade,
        Act::ForceCascade,
        Act::Reset(VolumeStatus::Available),
    ];
    explore(&[Act::Create { multiattach: false }, Act::Snapshot], ACTS, (2, 1, 1));
}

#[test]
fn a_volume_from_an_image() {
    const ACTS: &[Act] = &[
        Act::CreateFromImage,
        Act::CreateFromImageNowhere,
        Act::Reserve("a"),
        Act::Connect(0, "a"),
        Act::ServerAttach("b"),
        Act::DeleteRow(0),
        Act::Delete,
        Act::ForceDelete,
        Act::Reset(VolumeStatus::Available),
        Act::ResetAttached,
    ];
    explore(&[], ACTS, (2, 1, 1));
}

#[test]
fn the_contents_of_an_image_in_their_place() {
    const ACTS: &[Act] = &[
        Act::Reimage,
        Act::ReimageReserved,
        Act::Reserve("a"),
        Act::CreateConnected("b"),
        Act::DeleteRow(0),
        Act::ForceDelete,
        Act::Reset(VolumeStatus::Available),
        Act::Reset(VolumeStatus::Error),
        Act::ResetDetached,
    ];
    explore(PLAIN, ACTS, (2, 1, 1));
    explore(&[Act::Create { multiattach: false }, Act::Reserve("a")], ACTS, (2, 1, 1));
}

#[test]
fn images_of_a_volume() {
    const ACTS: &[Act] = &[
        Act::Upload,
        Act::UploadInUse,
        Act::Reimage,
        Act::Extend,
        Act::Delete,
        Act::ForceDelete,
        Act::Reset(VolumeStatus::Available),
        Act::Reset(VolumeStatus::Error),
        Act::ResetAttached,
    ];
    explore(PLAIN, ACTS, (2, 1, 1));
}

#[test]
fn images_of_a_volume_in_use() {
    const ACTS: &[Act] = &[
        Act::UploadInUse,
        Act::ServerDetach("a"),
        Act::ServerGone("a"),
        Act::ServerAttach("b"),
        Act::Extend,
        Act::Reset(VolumeStatus::Available),
        Act::ResetDetached,
    ];
    explore(&[Act::Create { multiattach: false }, Act::ServerAttach("a")], ACTS, (2, 1, 1));
}

#[test]
fn snapshots_beside_attachments() {
    const ACTS: &[Act] = &[
        Act::Snapshot,
        Act::Revert,
        Act::Cascade,
        Act::Reserve("a"),
        Act::CreateConnected("a"),
        Act::DeleteRow(0),
        Act::ServerAttach("b"),
        Act::ResetDetached,
    ];
    explore(&[Act::Create { multiattach: false }, Act::Snapshot], ACTS, (2, 1, 0));
}

#[test]
fn what_a_backend_has_is_managed_and_let_go_of() {
    const ACTS: &[Act] = &[
        Act::Manage,
        Act::Unmanage,
        Act::Delete,
        Act::ForceDelete,
        Act::Extend,
        Act::Reset(VolumeStatus::Available),
        Act::Reset(VolumeStatus::Error),
    ];
    explore(&[], ACTS, (3, 1, 1));
    explore(PLAIN, &[Act::Unmanage, Act::Delete, Act::ForceDelete, Act::ServerAttach("a"), Act::Snapshot], (2, 1, 1));
}

#[test]
fn snapshots_are_managed_and_let_go_of() {
    const ACTS: &[Act] = &[
        Act::SnapshotManage,
        Act::SnapshotUnmanage,
        Act::SnapshotDelete,
        Act::SnapshotForceDelete,
        Act::SnapshotReset(SnapshotStatus::Error),
        Act::ForceCascade,
        Act::Unmanage,
    ];
    explore(PLAIN, ACTS, (2, 1, 1));
    explore(&[Act::Create { multiattach: false }, Act::Snapshot], ACTS, (2, 1, 1));
}

#[test]
fn compute_attaches_and_detaches() {
    const ACTS: &[Act] =
        &[Act::ServerAttach("a"), Act::ServerAttach("b"), Act::ServerDetach("a"), Act::ServerGone("a")];
    explore(PLAIN, ACTS, (2, 1, 1));
}

#[test]
fn compute_and_the_life_of_the_volume() {
    const ACTS: &[Act] =
        &[Act::ServerAttach("a"), Act::ServerDetach("a"), Act::Extend, Act::ForceDelete, Act::ResetAttached];
    explore(PLAIN, ACTS, (2, 1, 1));
}

#[test]
fn rows_of_two_hosts() {
    const ACTS: &[Act] = &[
        Act::Reserve("a"),
        Act::CreateConnected("a"),
        Act::CreateConnected("b"),
        Act::Connect(0, "a"),
        Act::Connect(0, "b"),
        Act::Complete(0),
        Act::DeleteRow(0),
    ];
    explore(PLAIN, ACTS, (2, 1, 1));
}

#[test]
fn two_rows_of_one_server() {
    const ACTS: &[Act] = &[
        Act::Reserve("a"),
        Act::CreateConnected("a"),
        Act::Connect(0, "a"),
        Act::Connect(1, "b"),
        Act::DeleteRow(0),
        Act::DeleteRow(1),
    ];
    explore(&[Act::Create { multiattach: false }, Act::CreateConnected("a"), Act::Complete(0)], ACTS, (2, 1, 1));
}

#[test]
fn migrations_of_a_volume_that_nobody_uses() {
    const ACTS: &[Act] = &[
        Act::Migrate,
        Act::MigrateLocked,
        Act::Retype,
        Act::CallOff,
        Act::Extend,
        Act::ForceDelete,
        Act::CreateConnected("a"),
        Act::ServerAttach("a"),
        Act::Reset(VolumeStatus::Available),
    ];
    explore(PLAIN, ACTS, (2, 1, 1));
    explore(&[Act::Create { multiattach: false }, Act::Migrate], ACTS, (2, 1, 0));
}

#[test]
fn migrations_of_a_volume_that_a_guest_uses() {
    const ACTS: &[Act] = &[
        Act::Migrate,
        Act::Retype,
        Act::CallOff,
        Act::ServerDetach("a"),
        Act::ServerGone("a"),
        Act::Extend,
        Act::Reset(VolumeStatus::InUse),
        Act::ResetDetached,
    ];
    const BEFORE: &[Act] = &[Act::Create { multiattach: false }, Act::ServerAttach("a")];
    explore(BEFORE, ACTS, (2, 1, 0));
    explore(BEFORE, ACTS, (1, 1, 1));
}

/// What is late from one migration meets the next one.
#[test]
fn two_migrations_of_a_volume_that_a_guest_uses() {
    const BEFORE: &[Act] = &[Act::Create { multiattach: false }, Act::ServerAttach("a")];
    explore(BEFORE, &[Act::Migrate], (2, 2, 0));
}

#[test]
fn an_administrator_in_the_way() {
    const ACTS: &[Act] = &[
        Act::ServerAttach("b"),
        Act::ServerDetach("a"),
        Act::DeleteRow(0),
        Act::Extend,
        Act::ForceDelete,
        Act::Reset(VolumeStatus::Available),
        Act::Reset(VolumeStatus::Error),
        Act::ResetDetached,
        Act::ResetAttached,
    ];
    explore(&[Act::Create { multiattach: false }, Act::ServerAttach("a")], ACTS, (2, 1, 0));
}

#[test]
fn calls_that_fail_twice() {
    const ACTS: &[Act] = &[Act::ServerAttach("a"), Act::ServerDetach("a"), Act::Extend, Act::DeleteRow(0)];
    explore(PLAIN, ACTS, (1, 2, 1));
}

#[test]
fn two_servers_on_a_multiattach_volume() {
    const ACTS: &[Act] = &[
        Act::ServerAttach("a"),
        Act::ServerAttach("b"),
        Act::ServerDetach("a"),
        Act::ServerDetach("b"),
        Act::Extend,
        Act::ForceDelete,
    ];
    explore(MULTIATTACH, ACTS, (2, 1, 1));
}

#[test]
fn marks_of_the_old_actions() {
    const ACTS: &[Act] = &[
        Act::Mark,
        Act::Unmark,
        Act::BeginDetaching,
        Act::RollDetaching,
        Act::ServerAttach("a"),
        Act::ServerDetach("a"),
        Act::DeleteRow(0),
        Act::ForceDelete,
        Act::Reset(VolumeStatus::Detaching),
        Act::ResetDetached,
    ];
    explore(&[Act::Create { multiattach: false }, Act::CreateConnected("b"), Act::Complete(0)], ACTS, (3, 0, 0));
    explore(MULTIATTACH, ACTS, (3, 0, 0));
}

#[test]
fn the_old_cycle() {
    const ACTS: &[Act] = &[
        Act::Initialize("a"),
        Act::Initialize("b"),
        Act::Attach("a"),
        Act::Attach("b"),
        Act::Terminate("a"),
        Act::Detach,
        Act::ForceDetach,
        Act::ForceDelete,
    ];
    explore(PLAIN, ACTS, (2, 1, 1));
    explore(&[Act::Create { multiattach: false }, Act::Initialize("a"), Act::Attach("a")], ACTS, (2, 1, 0));
}

#[test]
fn the_old_actions_meet_the_attachments() {
    const ACTS: &[Act] = &[
        Act::Initialize("a"),
        Act::Attach("a"),
        Act::Detach,
        Act::TerminateAll,
        Act::ForceDetach,
        Act::CreateConnected("a"),
        Act::CreateConnected("b"),
        Act::ServerAttach("a"),
        Act::DeleteRow(0),
        Act::ResetDetached,
    ];
    explore(PLAIN, ACTS, (2, 0, 1));
    explore(PLAIN, ACTS, (2, 1, 0));
}

#[test]
fn the_old_actions_on_a_multiattach_volume() {
    const ACTS: &[Act] = &[
        Act::Initialize("a"),
        Act::Initialize("b"),
        Act::Attach("a"),
        Act::Attach("b"),
        Act::DetachRow(0),
        Act::ForceDetachRow(0),
        Act::Terminate("b"),
    ];
    explore(&[Act::Create { multiattach: true }, Act::Initialize("a"), Act::Attach("a")], ACTS, (3, 0, 0));
}

/// A guest dies and comes back without its disk.
#[test]
fn guests_that_come_back() {
    const ACTS: &[Act] = &[
        Act::GuestBack("a"),
        Act::ServerDetach("a"),
        Act::ServerGone("a"),
        Act::DeleteRow(0),
        Act::ForceDetach,
        Act::Extend,
        Act::Reset(VolumeStatus::Available),
        Act::ResetDetached,
    ];
    const BEFORE: &[Act] = &[Act::Create { multiattach: false }, Act::ServerAttach("a")];
    explore(BEFORE, ACTS, (2, 1, 0));
    explore(BEFORE, ACTS, (2, 0, 1));
    explore(BEFORE, &[Act::GuestBack("a")], (2, 1, 1));
    const OF_TWO: &[Act] = &[Act::Create { multiattach: true }, Act::ServerAttach("a"), Act::ServerAttach("b")];
    explore(OF_TWO, &[Act::GuestBack("a"), Act::GuestBack("b"), Act::ServerDetach("b")], (2, 1, 0));
}

/// As the volume that comes, and as the one that goes.
#[test]
fn swaps_under_a_guest() {
    const COMES: &[Act] = &[
        Act::SwapIn("a"),
        Act::SwapCallOff,
        Act::ServerAttach("b"),
        Act::ServerDetach("a"),
        Act::ServerGone("a"),
        Act::ForceDelete,
        Act::Reset(VolumeStatus::Available),
        Act::ResetDetached,
    ];
    explore(PLAIN, COMES, (2, 1, 0));
    explore(PLAIN, COMES, (1, 1, 1));
    const GOES: &[Act] = &[
        Act::SwapYield("a"),
        Act::SwapMoved,
        Act::SwapStays,
        Act::ServerDetach("a"),
        Act::ServerGone("a"),
        Act::Extend,
        Act::ForceDelete,
        Act::Reset(VolumeStatus::InUse),
        Act::ResetDetached,
    ];
    const BEFORE: &[Act] = &[Act::Create { multiattach: false }, Act::ServerAttach("a")];
    explore(BEFORE, GOES, (2, 1, 0));
    explore(BEFORE, GOES, (2, 0, 1));
}

#[test]
fn a_swap_whose_calls_fail_twice() {
    explore(PLAIN, &[Act::SwapIn("a"), Act::SwapCallOff], (1, 2, 0));
}
