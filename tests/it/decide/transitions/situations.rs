//! The situations of the tables: how a volume comes there, by requests and results alone.

use std::collections::BTreeSet;

use hearth::domain::status::VolumeStatus::{self, *};
use hearth::domain::volume::Job;

use crate::decide::model::acts::Act::{self, *};
use crate::decide::model::invariants;
use crate::decide::model::world::{Budget, Event, Fate, World};

/// One thing that has happened before.
#[derive(Clone, Copy, Debug)]
pub enum Past {
    /// Asked, and carried through to the end.
    Done(Act),
    /// Asked: its first call is under way.
    Begun(Act),
    /// The call under way ends, and the volume hears how.
    Ended(Fate),
    /// The backend says what is true of the outstanding calls.
    Looked,
}
use Past::{Begun, Done, Ended, Looked};

/// A row of the tables.
pub struct Situation {
    /// As the tables name it; words set by hand are `statuses`.
    pub name: &'static str,
    /// What the volume shows. Several, if they are words set by hand that lead to the same answers.
    pub statuses: &'static [VolumeStatus],
    /// An administrator has set the word.
    pub by_hand: bool,
    past: &'static [Past],
}

const fn at(name: &'static str, status: &'static [VolumeStatus], past: &'static [Past]) -> Situation {
    Situation { name, statuses: status, by_hand: false, past }
}

const fn by_hand(name: &'static str, statuses: &'static [VolumeStatus], past: &'static [Past]) -> Situation {
    Situation { name, statuses, by_hand: true, past }
}

const NEW: Past = Done(Create { multiattach: false });
const NEW_MULTI: Past = Done(Create { multiattach: true });
const ATTACHED: &[Past] = &[NEW, Done(ServerAttach("a"))];

const SNAPSHOTTED: &[Past] = &[NEW, Done(Snapshot)];

/// The call under way goes well.
const WELL: Past = Ended(Fate::Carried);

/// A call that hangs, and its probe as well.
const HUNG: Past = Ended(Fate::Hangs);

/// No operation is open. `a` is the server, or the host, of the first row.
pub const AT_REST: &[Situation] = &[
    at("available", &[Available], &[NEW]),
    at("available, multiattach", &[Available], &[NEW_MULTI]),
    at("reserved: row", &[Reserved], &[NEW, Done(Reserve("a"))]),
    at("reserved: row, multiattach", &[Reserved], &[NEW_MULTI, Done(Reserve("a"))]),
    at("attaching: row connected", &[Attaching], &[NEW, Done(CreateConnected("a"))]),
    at(
        "attaching: two rows, one connected",
        &[Attaching],
        &[NEW, Done(Reserve("a")), Done(Reserve("a")), Done(Connect(1, "b"))],
    ),
    at("in-use: row complete", &[InUse], &[NEW, Done(CreateConnected("a")), Done(Complete(0))]),
    at("in-use: server", &[InUse], ATTACHED),
    at("in-use: server, multiattach", &[InUse], &[NEW_MULTI, Done(ServerAttach("a"))]),
    at("in-use: shelved server, flagged", &[InUse], &[NEW, Done(AttachShelved("a"))]),
    at("reserved: attach in doubt", &[Reserved], &[NEW, Begun(ServerAttach("a")), HUNG, HUNG]),
    at(
        "available: attach failed",
        &[Available],
        &[NEW, Begun(ServerAttach("a")), Ended(Fate::NothingDone), HUNG, Looked],
    ),
    at(
        "in-use: detach in doubt",
        &[InUse],
        &[NEW, Done(ServerAttach("a")), Begun(ServerDetach("a")), Ended(Fate::Carried), HUNG, HUNG],
    ),
    at("available: snapshot", &[Available], SNAPSHOTTED),
    at("available: snapshot in error", &[Available], &[NEW, Begun(Snapshot), Ended(Fate::Fails)]),
    at("in-use: server, snapshot", &[InUse], &[NEW, Done(Snapshot), Done(ServerAttach("a"))]),
    at("error", &[Error], &[Begun(Create { multiattach: false }), Ended(Fate::Fails)]),
    at("error: never placed", &[Error], &[Begun(CreateNowhere), Ended(Fate::Fails)]),
    at("available: from an image", &[Available], &[Done(CreateFromImage)]),
    at("error_extending", &[ErrorExtending], &[NEW, Begun(Extend), Ended(Fate::Fails)]),
    at(
        "error_extending: server",
        &[ErrorExtending],
        &[NEW, Done(ServerAttach("a")), Begun(Extend), Ended(Fate::Fails)],
    ),
    at("error_deleting", &[ErrorDeleting], &[NEW, Begun(Delete), Ended(Fate::Fails)]),
    at("error_managing: not adopted", &[ErrorManaging], &[Begun(Manage), Ended(Fate::Fails)]),
    at("error_unmanaging: not let go", &[ErrorUnmanaging], &[NEW, Begun(Unmanage), Ended(Fate::Fails)]),
    at("attaching: marked", &[Attaching], &[NEW, Done(Mark)]),
    at("attaching: marked, server, multi", &[Attaching], &[NEW_MULTI, Done(ServerAttach("a")), Done(Mark)]),
    at(
        "detaching: marked, row",
        &[Detaching],
        &[NEW, Done(CreateConnected("a")), Done(Complete(0)), Done(BeginDetaching)],
    ),
    at("detaching: marked, server", &[Detaching], &[NEW, Done(ServerAttach("a")), Done(BeginDetaching)]),
    at("available: a connected", &[Available], &[NEW, Done(Initialize("a"))]),
    at("in-use: attached a", &[InUse], &[NEW, Done(Attach("a"))]),
    at("in-use: attached a, connected", &[InUse], &[NEW, Done(Initialize("a")), Done(Attach("a"))]),
    at(
        "in-use: detach a failed",
        &[InUse],
        &[NEW, Done(Initialize("a")), Done(Attach("a")), Begun(Detach), Ended(Fate::Fails)],
    ),
    by_hand("available: never placed", &[Available], &[Begun(CreateNowhere), Ended(Fate::Fails)]),
    by_hand("downloading", &[Downloading], &[NEW]),
    by_hand("maintenance", &[Maintenance], &[NEW]),
    by_hand("managing", &[Managing], &[NEW]),
    by_hand("error_managing", &[ErrorManaging], &[NEW]),
    by_hand("error: no work", &[Error], &[NEW]),
    by_hand("error_restoring", &[ErrorRestoring], &[NEW]),
    by_hand("other errors", &[ErrorBackingUp, ErrorUnmanaging, ErrorManagingDeleting], &[NEW]),
    by_hand("reserved", &[Reserved], &[NEW]),
    by_hand("attaching", &[Attaching], &[NEW]),
    by_hand("detaching", &[Detaching], &[NEW]),
    by_hand("other words", OTHER_WORDS, &[NEW]),
    by_hand("in-use: row", &[InUse], &[NEW, Done(Reserve("a"))]),
    by_hand("available: server", &[Available], ATTACHED),
    by_hand("reserved: server", &[Reserved], ATTACHED),
    by_hand("attaching: server", &[Attaching], ATTACHED),
    by_hand("detaching: server", &[Detaching], ATTACHED),
    by_hand("error: server", &[Error], ATTACHED),
    by_hand("maintenance: server", &[Maintenance], ATTACHED),
    by_hand("other words: server", OTHER_WORDS, ATTACHED),
];

/// Words of work that this release has not, or that nothing owns because an administrator has set them.
const OTHER_WORDS: &[VolumeStatus] =
    &[Creating, Extending, BackingUp, RestoringBackup, AwaitingTransfer, Uploading, Retyping, Reverting, Unmanaging];

/// An operation is open. The name says at which step.
pub const UNDER_WAY: &[Situation] = &[
    at("creating", &[Creating], &[Begun(Create { multiattach: false })]),
    at("creating: from an image", &[Creating], &[Begun(CreateFromImage)]),
    at("downloading: from an image", &[Downloading], &[Begun(CreateFromImage), Ended(Fate::Carried)]),
    at(
        "downloading: from an image, row",
        &[Downloading],
        &[Begun(CreateFromImage), Ended(Fate::Carried), Begun(Reserve("a"))],
    ),
    at("downloading: reimage", &[Downloading], &[NEW, Begun(Reimage)]),
    at("downloading: reimage, row", &[Downloading], &[NEW, Done(Reserve("a")), Begun(ReimageReserved)]),
    at("uploading", &[Uploading], &[NEW, Begun(Upload)]),
    at("uploading: row", &[Uploading], &[NEW, Done(CreateConnected("a")), Done(Complete(0)), Begun(UploadInUse)]),
    at("uploading: server", &[Uploading], &[NEW, Done(ServerAttach("a")), Begun(UploadInUse)]),
    at("managing", &[Managing], &[Begun(Manage)]),
    at("unmanaging", &[Unmanaging], &[NEW, Begun(Unmanage)]),
    at("available: snapshot managing", &[Available], &[NEW, Begun(SnapshotManage)]),
    at("available: snapshot unmanaging", &[Available], &[NEW, Done(Snapshot), Begun(SnapshotUnmanage)]),
    at("available: snapshot creating", &[Available], &[NEW, Begun(Snapshot)]),
    at("available: snapshot deleting", &[Available], &[NEW, Done(Snapshot), Begun(SnapshotDelete)]),
    at("reverting", &[Reverting], &[NEW, Done(Snapshot), Begun(Revert)]),
    at("deleting: cascade", &[Deleting], &[NEW, Done(Snapshot), Begun(Cascade)]),
    at("reserved: server, export", &[Reserved], &[NEW, Begun(ServerAttach("a"))]),
    at("attaching: server, plug", &[Attaching], &[NEW, Begun(ServerAttach("a")), Ended(Fate::Carried)]),
    at("in-use: server c of two, export", &[InUse], &[NEW_MULTI, Done(ServerAttach("a")), Begun(ServerAttach("c"))]),
    at("reserved: row, update", &[Reserved], &[NEW, Done(Reserve("a")), Begun(Connect(0, "a"))]),
    at(
        "reserved: two rows, update of the second",
        &[Reserved],
        &[NEW, Done(Reserve("a")), Done(Reserve("a")), Begun(Connect(1, "b"))],
    ),
    at("reserved: row, create connected", &[Reserved], &[NEW, Begun(CreateConnected("a"))]),
    at("attaching: row, update to b", &[Attaching], &[NEW, Done(CreateConnected("a")), Begun(Connect(0, "b"))]),
    at("in-use: row, delete", &[InUse], &[NEW, Done(CreateConnected("a")), Done(Complete(0)), Begun(DeleteRow(0))]),
    at("detaching: server, unplug", &[Detaching], &[NEW, Done(ServerAttach("a")), Begun(ServerDetach("a"))]),
    at(
        "detaching: server, unexport",
        &[Detaching],
        &[NEW, Done(ServerAttach("a")), Begun(ServerDetach("a")), Ended(Fate::Carried)],
    ),
    at(
        "detaching: server of two, unplug",
        &[Detaching],
        &[NEW_MULTI, Done(ServerAttach("a")), Done(ServerAttach("c")), Begun(ServerDetach("a"))],
    ),
    at(
        "detaching: server c of two, unplug",
        &[Detaching],
        &[NEW_MULTI, Done(ServerAttach("a")), Done(ServerAttach("c")), Begun(ServerDetach("c"))],
    ),
    at("extending", &[Extending], &[NEW, Begun(Extend)]),
    at("extending: server", &[Extending], &[NEW, Done(ServerAttach("a")), Begun(Extend)]),
    at("deleting", &[Deleting], &[NEW, Begun(Delete)]),
    at("available: migrating, survey", &[Available], &[NEW, Begun(Migrate)]),
    at("available: migrating, transfer", &[Available], &[NEW, Begun(Migrate), WELL]),
    at("maintenance: migrating, transfer", &[Maintenance], &[NEW, Begun(MigrateLocked), WELL]),
    at("retyping: transfer", &[Retyping], &[NEW, Begun(Retype), WELL]),
    at("in-use: migrating, mirror", &[InUse], &[NEW, Done(ServerAttach("a")), Begun(Migrate), WELL, WELL, WELL]),
    at("in-use: migrating, pivot", &[InUse], &[NEW, Done(ServerAttach("a")), Begun(Migrate), WELL, WELL, WELL, WELL]),
    at("retyping: server, mirror", &[Retyping], &[NEW, Done(ServerAttach("a")), Begun(Retype), WELL, WELL, WELL]),
    at("available: moved, the old place", &[Available], &[NEW, Begun(Migrate), WELL, WELL]),
    at("available: initialize a", &[Available], &[NEW, Begun(Initialize("a"))]),
    at("in-use: terminate a", &[InUse], &[NEW, Done(Initialize("a")), Done(Attach("a")), Begun(Terminate("a"))]),
    at("in-use: detach a", &[InUse], &[NEW, Done(Initialize("a")), Done(Attach("a")), Begun(Detach)]),
    at("in-use: put back, look", &[InUse], &[NEW, Done(ServerAttach("a")), Begun(GuestBack("a"))]),
    at("in-use: put back, unexport", &[InUse], &[NEW, Done(ServerAttach("a")), Begun(GuestBack("a")), WELL]),
    at("in-use: put back, export", &[InUse], &[NEW, Done(ServerAttach("a")), Begun(GuestBack("a")), WELL, WELL]),
    at("in-use: put back, plug", &[InUse], &[NEW, Done(ServerAttach("a")), Begun(GuestBack("a")), WELL, WELL, WELL]),
    at("reserved: swapped in, yield", &[Reserved], &[NEW, Begun(SwapIn("a"))]),
    at("reserved: swapped in, export", &[Reserved], &[NEW, Begun(SwapIn("a")), WELL]),
    at("attaching: swapped in, mirror", &[Attaching], &[NEW, Begun(SwapIn("a")), WELL, WELL]),
    at("attaching: swapped in, pivot", &[Attaching], &[NEW, Begun(SwapIn("a")), WELL, WELL, WELL]),
    at("in-use: swapped in, handover", &[InUse], &[NEW, Begun(SwapIn("a")), WELL, WELL, WELL, WELL]),
    at("detaching: swapped out", &[Detaching], &[NEW, Done(ServerAttach("a")), Begun(SwapYield("a"))]),
    at(
        "detaching: swapped out, unexport",
        &[Detaching],
        &[NEW, Done(ServerAttach("a")), Begun(SwapYield("a")), Begun(SwapMoved)],
    ),
    at("available: repair", &[Available], &[NEW, Done(ServerAttach("a")), Begun(ResetDetached)]),
];

impl Situation {
    /// A world that is there, for each word.
    pub fn worlds(&self) -> impl Iterator<Item = World> {
        self.statuses.iter().map(|word| {
            let mut world = World::new(Budget { acts: 100, faults: 100, crashes: 0 });
            let by_hand = self.by_hand.then_some(Done(Act::Reset(*word)));
            for past in self.past.iter().copied().chain(by_hand) {
                happen(&mut world, past);
            }
            // what is asked now makes rows of its own
            world.asked += 1;
            let state = world.live().expect("every past leaves a volume");
            assert_eq!(state.volume.status, *word, "{}: {}", self.name, world.describe());
            world
        })
    }
}

fn happen(world: &mut World, past: Past) {
    let event = match past {
        Done(act) | Begun(act) => Event::Ask(act),
        Ended(fate) => Event::Work(job(world, |job| matches!(job, Job::Step { .. } | Job::TellOld { .. })), fate),
        Looked => Event::Work(job(world, |job| matches!(job, Job::ProbeOutstanding { .. })), Fate::Carried),
    };
    world.happen(event).expect("a good past");
    match (past, event) {
        (Done(_), _) => come_to_rest(world),
        (_, Event::Work(index, _)) => world.happen(Event::Hear(index)).expect("a good past"),
        _ => {}
    }
}

fn job(world: &World, is_meant: impl Fn(&Job) -> bool) -> usize {
    world.jobs.iter().position(|pending| is_meant(&pending.job)).expect("it is under way")
}

/// Everything under way goes well; then the promises of a quiet volume hold.
pub fn come_to_rest(world: &mut World) {
    while let Some(event) = world.next_without_faults() {
        if let Err(broken) = world.happen(event) {
            panic!("{broken}\n{}", world.describe());
        }
    }
    if let Err(broken) = invariants::of_quiet(world) {
        panic!("{broken}\n{}", world.describe());
    }
}

#[test]
fn every_status_of_the_vocabulary_has_a_row() {
    let shown = AT_REST.iter().chain(UNDER_WAY).flat_map(|situation| situation.statuses).collect::<BTreeSet<_>>();
    assert_eq!(shown, VolumeStatus::ALL.iter().collect());
}
