//! Long random histories of one volume, from seeds: more requests, faults and crashes than every history up to a bound can
//! have, and messages that nobody ought to send. `HEARTH_SEEDS=from..to` runs other seeds than the fixed budget.

use std::ops::Range;

use hearth::domain::backend::{Answer, Cause, CauseKind, Outcome, Truth};
use hearth::domain::ids::{ExportName, OperationId};
use hearth::domain::operation::Step;
use hearth::domain::status::{SnapshotStatus, VolumeStatus};
use hearth::domain::volume::Command;
use hearth::domain::volume::command::Ticket;
use hearth::runtime::Randomness;
use serde_json::{Value, json};
use uuid::Uuid;

use super::build;
use super::model::acts::Act;
use super::model::invariants;
use super::model::jobs::result_of;
use super::model::world::{Broken, Budget, Event, Fate, World};

/// Seeds of an ordinary run.
const BUDGET: Range<u64> = 0..1_000;
/// What happens in one history.
const EVENTS: usize = 60;
/// Requests that may come in one life: few, so that they meet each other.
const ACTS_OF_A_LIFE: usize = 8;
/// From any moment, a volume whose calls are answered truthfully is at rest after so many steps.
const REST_MAX: usize = 80;

const CREATES: &[Act] = &[
    Act::Create { multiattach: false },
    Act::Create { multiattach: false },
    Act::Create { multiattach: true },
    Act::CreateNowhere,
    Act::CreateFromImage,
    Act::CreateFromImageNowhere,
    Act::Manage,
];

const ACTS: &[Act] = &[
    Act::Rename,
    Act::Migrate,
    Act::Migrate,
    Act::MigrateLocked,
    Act::Retype,
    Act::CallOff,
    Act::CompleteMigration,
    Act::ServerAttach("a"),
    Act::ServerAttach("b"),
    Act::AttachShelved("a"),
    Act::ServerDetach("a"),
    Act::ServerDetach("b"),
    Act::ServerGone("a"),
    Act::ServerGone("b"),
    Act::Flag("a"),
    Act::Reserve("a"),
    Act::Reserve("b"),
    Act::CreateConnected("a"),
    Act::CreateConnected("b"),
    Act::Connect(0, "a"),
    Act::Connect(0, "b"),
    Act::Connect(1, "b"),
    Act::ConnectByService(0, "a"),
    Act::Complete(0),
    Act::Complete(1),
    Act::DeleteRow(0),
    Act::DeleteRow(1),
    Act::DeleteRowByUser(0),
    Act::Extend,
    Act::ExtendOffline,
    Act::Delete,
    Act::ForceDelete,
    Act::Cascade,
    Act::ForceCascade,
    Act::Snapshot,
    Act::SnapshotDelete,
    Act::SnapshotForceDelete,
    Act::SnapshotReset(SnapshotStatus::Error),
    Act::Revert,
    Act::Reimage,
    Act::ReimageReserved,
    Act::Upload,
    Act::UploadInUse,
    Act::Unmanage,
    Act::SnapshotManage,
    Act::SnapshotUnmanage,
    Act::Reset(VolumeStatus::Available),
    Act::Reset(VolumeStatus::InUse),
    Act::Reset(VolumeStatus::Error),
    Act::Reset(VolumeStatus::Attaching),
    Act::ResetDetached,
    Act::ResetAttached,
    Act::Mark,
    Act::Unmark,
    Act::BeginDetaching,
    Act::RollDetaching,
    Act::Attach("a"),
    Act::Attach("b"),
    Act::Detach,
    Act::DetachRow(0),
    Act::Initialize("a"),
    Act::Initialize("b"),
    Act::Terminate("a"),
    Act::TerminateAll,
    Act::ForceDetach,
    Act::ForceDetachRow(0),
    Act::GuestBack("a"),
    Act::GuestBack("b"),
    Act::SwapIn("a"),
    Act::SwapIn("b"),
    Act::SwapCallOff,
    Act::SwapYield("a"),
    Act::SwapYield("b"),
    Act::SwapMoved,
    Act::SwapStays,
];

const FATES: &[Fate] = &[Fate::Fails, Fate::Refuses, Fate::AnswerLost, Fate::NothingDone, Fate::Hangs];

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("HEARTH_SEEDS") else { return BUDGET };
    let (from, to) = text.split_once("..").expect("HEARTH_SEEDS=from..to");
    from.parse().expect("a number")..to.parse().expect("a number")
}

/// Requests, results, faults, crashes; results come twice, and results of operations that are none come in between.
#[test]
fn random_histories_keep_the_promises() {
    for seed in seeds() {
        Walk::new(seed, false).run();
    }
}

/// Any message at any moment, true or not: no promise about the backend can be kept then, but the volume stays one that can
/// be worked on, and comes to rest.
#[test]
fn no_message_whatever_breaks_a_volume() {
    for seed in seeds() {
        Walk::new(seed, true).run();
    }
}

fn new_world(was_lied_to: bool) -> World {
    let mut world = World::new(Budget { acts: u8::MAX, faults: u8::MAX, crashes: u8::MAX });
    world.ghost.was_lied_to = was_lied_to;
    world
}

/// One history. It prints itself when the test fails in the middle of it.
struct Walk {
    seed: u64,
    pick: Randomness,
    world: World,
    acts: Vec<Act>,
    /// Messages may be lies.
    lies: bool,
    history: Vec<String>,
}

impl Drop for Walk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let history = self.history.join("\n");
            eprintln!("HEARTH_SEEDS={}..{}\n{history}\n{}", self.seed, self.seed + 1, self.world.describe());
        }
    }
}

impl Walk {
    fn new(seed: u64, lies: bool) -> Self {
        Self {
            seed,
            pick: Randomness::from_seed(seed),
            world: new_world(lies),
            acts: Vec::new(),
            lies,
            history: Vec::new(),
        }
    }

    fn run(mut self) {
        self.begin_a_life();
        for _ in 0..EVENTS {
            if self.world.volume.as_ref().is_some_and(|state| state.volume.deleted) && self.pick.below(4) == 0 {
                self.begin_a_life();
            }
            if let Err(broken) = self.happen() {
                panic!("{broken}");
            }
            self.comes_to_rest();
        }
    }

    fn begin_a_life(&mut self) {
        self.acts = vec![self.one_of(CREATES).copied().expect("there are some")];
        for _ in 0..ACTS_OF_A_LIFE {
            self.acts.extend(self.one_of(ACTS));
        }
        self.world = new_world(self.lies);
        self.history.push(format!("--- {:?}", self.acts));
    }

    fn happen(&mut self) -> Result<(), Broken> {
        let events = self.world.possible(&self.acts, FATES);
        let is_fault = |event: &Event| match event {
            Event::Work(_, fate) => *fate != Fate::Carried,
            Event::Crash { .. } => true,
            _ => false,
        };
        let (asks, others): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| matches!(event, Event::Ask(_)));
        let (faults, progress): (Vec<_>, Vec<_>) = others.into_iter().partition(is_fault);
        let kind = match self.pick.below(10) {
            0..=3 => asks,
            4..=7 => progress,
            8 => faults,
            _ => return self.strange_message(),
        };
        let rare = |event: &Event| {
            matches!(event, Event::Ask(Act::Delete | Act::ForceDelete | Act::Cascade | Act::ForceCascade))
        };
        let event = self.one_of(&kind).filter(|event| !rare(event) || self.pick.below(4) == 0).copied();
        let Some(event) = event else { return Ok(()) };
        self.history.push(format!("{event:?}"));
        if let Event::Hear(index) = event
            && self.pick.below(8) == 0
        {
            let pending = self.world.jobs[index].clone();
            self.world.happen(event)?;
            return self.tell(result_of(pending));
        }
        self.world.happen(event)
    }

    /// Something that nobody ought to send, or the truth about something else.
    fn strange_message(&mut self) -> Result<(), Broken> {
        if self.world.is_down {
            return Ok(());
        }
        let ticket = self.ticket();
        let Ticket { operation_id, epoch, step, .. } = ticket.clone();
        let outcome = self.outcome();
        let command = match self.pick.below(6) {
            0 | 1 => Command::JobResult { ticket, outcome },
            2 => Command::CallReturned { operation_id, epoch, step, outcome },
            3 if self.lies => Command::OutstandingProbed {
                outcome,
                attempt: u32::MAX - u32::try_from(self.pick.below(2)).expect("small"),
                asked_at: self.pick.below(40),
            },
            4 if self.lies => Command::Resume,
            5 if self.world.live().is_some() => build::create_command(false),
            _ => Command::Wake,
        };
        self.tell(command)
    }

    fn tell(&mut self, command: Command) -> Result<(), Broken> {
        self.history.push(format!("{command:?}"));
        self.world.ask(command, build::system())?;
        invariants::of_world(&self.world)
    }

    /// Of an operation that there is, in parts; only a liar names one exactly.
    fn ticket(&self) -> Ticket {
        let operations = self.world.live().map_or(&[][..], |state| &state.operations);
        let meant = self.one_of(operations).map(invariants::ticket_of);
        let steps = self.steps();
        let mut ticket = meant.unwrap_or_else(|| Ticket {
            operation_id: OperationId(Uuid::from_u128(7)),
            epoch: 0,
            step: Step::Create,
            attempt: 1,
            probe: false,
        });
        match self.pick.below(5) {
            0 => ticket.step = self.one_of(&steps).cloned().expect("there are some"),
            1 => ticket.attempt = u32::try_from(self.pick.below(4)).expect("small"),
            2 => ticket.probe = !ticket.probe,
            _ => {}
        }
        let is_stale = !self.lies || self.pick.below(3) == 0;
        match self.pick.below(2) {
            0 if is_stale => ticket.epoch = ticket.epoch.saturating_sub(1 + self.pick.below(3)) + 1_000,
            _ if is_stale => ticket.operation_id = OperationId(Uuid::from_u128(7)),
            _ => {}
        }
        ticket
    }

    fn steps(&self) -> Vec<Step> {
        let rows = self.world.live().map_or(&[][..], |state| &state.attachments);
        let row = self.one_of(rows).map_or(build::row_id(1_000), |row| row.id);
        let export = self.export();
        vec![
            Step::Queued,
            Step::Drain,
            Step::Create,
            Step::Delete,
            Step::Extend,
            Step::Adopt,
            Step::Disown,
            Step::AdoptSnapshot { snapshot_id: build::snapshot_id(1) },
            Step::DisownSnapshot { snapshot_id: build::snapshot_id(1) },
            Step::Borrow,
            Step::Copy,
            Step::Revert,
            Step::Announce,
            Step::FetchImage,
            Step::Reimage,
            Step::CreateImage,
            Step::UploadImage,
            Step::DiscardImage,
            Step::CreateSnapshot { snapshot_id: build::snapshot_id(1) },
            Step::DeleteSnapshot { snapshot_id: build::snapshot_id(1) },
            Step::ResizeGuest { attachment_id: row },
            Step::Unexport { export: export.clone() },
            Step::Export { export },
            Step::Plug { attachment_id: row },
            Step::Unplug { attachment_id: row },
        ]
    }

    fn export(&self) -> ExportName {
        let rows = self.world.live().map_or(&[][..], |state| &state.attachments);
        let connections = self.world.live().map_or(&[][..], |state| state.volume.connections());
        let of_rows = rows.iter().filter_map(|row| row.export.clone());
        let known = of_rows.chain(connections.iter().map(|own| own.export.clone())).collect::<Vec<_>>();
        self.one_of(&known).cloned().unwrap_or_else(|| ExportName("stranger".into()))
    }

    fn outcome(&self) -> Outcome {
        const KINDS: &[CauseKind] = &[
            CauseKind::NoSpace,
            CauseKind::Unavailable,
            CauseKind::BadConnector,
            CauseKind::Busy,
            CauseKind::Guest,
            CauseKind::Image,
            CauseKind::NotStarted,
            CauseKind::Deadline,
            CauseKind::Other,
        ];
        let size_gib = self.one_of(&[0, 1, 2, 3, u32::MAX]).copied().expect("there are some");
        let cause = Cause::new(self.one_of(KINDS).copied().expect("there are some"), "strange");
        let answer = match self.pick.below(6) {
            0 => Answer::Nothing,
            1 => Answer::Size { size_gib },
            2 => Answer::Connection { info: json!({"export": self.export()}) },
            3 => Answer::Connection { info: Value::Null },
            4 => Answer::Plugged { plugged: self.pick.below(2) == 0, export: None },
            _ => Answer::Truth {
                truth: Truth {
                    exists: self.pick.below(2) == 0,
                    size_gib,
                    exports: vec![self.export()],
                    snapshots: Vec::new(),
                    busy: self.pick.below(3) == 0,
                },
            },
        };
        match self.pick.below(6) {
            0 => Outcome::Refused { cause },
            1 => Outcome::Failed { cause },
            2 => Outcome::Unknown { cause },
            _ => Outcome::Done { answer },
        }
    }

    fn one_of<'a, T>(&self, items: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(items.len()).expect("small");
        if count == 0 { None } else { items.get(usize::try_from(self.pick.below(count)).expect("small")) }
    }

    /// Nobody asks or fails any more (races.md §5.5, §5.9).
    fn comes_to_rest(&mut self) {
        let moment = self.world.clone();
        let passed = self.history.len();
        for _ in 0..=REST_MAX {
            let Some(event) = self.world.next_without_faults() else {
                if let Err(broken) = invariants::of_quiet(&self.world) {
                    panic!("{broken}");
                }
                self.world = moment;
                self.history.truncate(passed);
                return;
            };
            self.history.push(format!("    {event:?}"));
            if let Err(broken) = self.world.happen(event) {
                panic!("{broken}");
            }
        }
        panic!("it is not at rest after {REST_MAX} steps");
    }
}
