//! What may happen to a volume and why nothing else can, on one page: every situation × everything that can be asked.
//!
//! The tables are written by hand from the specification, one line a situation; `decide` is held against each cell, and
//! `docs/transitions.md` is their print.
//!
//! | file | |
//! |---|---|
//! | `at_rest` | what is decided when nothing runs: the new status, and the first step of the work that begins |
//! | `under_way` | what is decided while an operation runs, and how both end |
//! | `situations`, `asks` | the rows and the columns |
//! | `page` | the page of the documentation |

mod asks;
mod at_rest;
mod page;
mod situations;
mod under_way;

use std::fmt::Write;

use hearth::domain::operation::{Operation, Step};
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::{Decision, Refusal, Verdict, VolumeState};

use self::asks::Asks;
use self::situations::{AT_REST, Situation, UNDER_WAY, come_to_rest};
use crate::decide::model::acts::Act;
use crate::decide::model::world::{Event, World};

/// A table as it is written: a head, and one line for each situation.
struct Table {
    title: &'static str,
    asks: Asks,
    situations: &'static [Situation],
    text: &'static str,
    cell: fn(&World, Act) -> String,
}

const TABLES: &[Table] = &[
    table("The volume", asks::VERBS, at_rest::VERBS),
    table("Its attachments in Block Storage", asks::ATTACHMENTS, at_rest::ATTACHMENTS),
    table("Its attachments in Compute", asks::COMPUTE, at_rest::COMPUTE),
    table("Its snapshots", asks::SNAPSHOTS, at_rest::SNAPSHOTS),
    table("Images", asks::IMAGES, at_rest::IMAGES),
    table("The old actions", asks::OLD_ACTIONS, at_rest::OLD_ACTIONS),
    table("Its way to another backend", asks::MOVES, at_rest::MOVES),
    table("Its swaps under a guest", asks::SWAPS, at_rest::SWAPS),
    conflicts("The volume", asks::VERBS, under_way::VERBS),
    conflicts("Its attachments in Block Storage", asks::ATTACHMENTS, under_way::ATTACHMENTS),
    conflicts("Its attachments in Compute", asks::COMPUTE, under_way::COMPUTE),
    conflicts("Its snapshots", asks::SNAPSHOTS, under_way::SNAPSHOTS),
    conflicts("Images", asks::IMAGES, under_way::IMAGES),
    conflicts("The old actions", asks::OLD_ACTIONS, under_way::OLD_ACTIONS),
    conflicts("Its way to another backend", asks::MOVES, under_way::MOVES),
    conflicts("Its swaps under a guest", asks::SWAPS, under_way::SWAPS),
];

const fn table(title: &'static str, asks: Asks, text: &'static str) -> Table {
    Table { title, asks, situations: AT_REST, text, cell: decided_at_rest }
}

const fn conflicts(title: &'static str, asks: Asks, text: &'static str) -> Table {
    Table { title, asks, situations: UNDER_WAY, text, cell: decided_under_way }
}

impl Table {
    /// The head, then the situations: each a list of cells.
    fn lines(&self) -> impl Iterator<Item = Vec<&'static str>> {
        self.text.trim().lines().map(|line| line.split('|').map(str::trim).collect())
    }

    /// Every cell which is not what is decided.
    fn deviations(&self) -> String {
        let mut deviations = String::new();
        let mut lines = self.lines();
        let head = lines.next().expect("a head");
        let names = self.asks.iter().map(|(name, _)| *name);
        assert_eq!(head, ["situation"].into_iter().chain(names).collect::<Vec<_>>(), "the head of {}", self.title);
        for (situation, line) in self.situations.iter().zip(lines.by_ref()) {
            let (name, end) = line[0].split_once(" ⇒ ").unzip();
            assert_eq!(name.unwrap_or(line[0]), situation.name, "the order of the situations");
            assert_eq!(line.len(), self.asks.len() + 1, "the cells of {}", situation.name);
            for world in situation.worlds() {
                let alone = end.is_some().then(|| end_of(world.clone()));
                let cells = self.asks.iter().zip(&line[1..]);
                let pairs = cells.map(|((ask, act), cell)| (*ask, without_note(cell).0, (self.cell)(&world, *act)));
                let ends = alone.map(|alone| ("nothing", end.unwrap_or_default(), alone));
                for (ask, expected, decided) in pairs.chain(ends).filter(|(_, expected, decided)| expected != decided) {
                    let status = world.live().expect("a volume").volume.status;
                    let _ = writeln!(
                        deviations,
                        "{} ({status}) × {ask}: it should be {expected:?} and is {decided:?}",
                        line[0]
                    );
                }
            }
        }
        assert_eq!(lines.next(), None, "a line too many in {}", self.title);
        assert_eq!(self.lines().count(), self.situations.len() + 1, "a line is missing in {}", self.title);
        deviations
    }
}

/// A cell, and the row of the catalogue of races that explains it.
fn without_note(cell: &'static str) -> (&'static str, Option<&'static str>) {
    match cell.rsplit_once(' ') {
        Some((word, note)) if note == page::DIFFERENCES || note.starts_with("R-") => (word, Some(note)),
        _ => (cell, None),
    }
}

#[test]
fn what_may_happen_to_a_volume() {
    let deviations = TABLES.iter().map(Table::deviations).collect::<String>();
    assert!(deviations.is_empty(), "\n{deviations}");
}

#[test]
fn nothing_is_reset_to_deleting() {
    for world in AT_REST.iter().chain(UNDER_WAY).flat_map(Situation::worlds) {
        assert_eq!(decided_at_rest(&world, Act::Reset(VolumeStatus::Deleting)), "400 input");
    }
}

/// What is decided, in the words of the tables.
fn decided_at_rest(world: &World, act: Act) -> String {
    let state = world.live().expect("a volume");
    let (command, caller) = act.command(world);
    match world.decide(&command, &caller) {
        Verdict::Refuse(refusal) => word_of(&refusal).to_owned(),
        Verdict::Nothing { .. } => "served".to_owned(),
        Verdict::Queue => "waits".to_owned(),
        Verdict::Commit(decision) => {
            let next = &decision.next;
            let mut word = match next.volume.status {
                _ if next.volume.deleted => "→ gone".to_owned(),
                status if status == state.volume.status => "✓".to_owned(),
                status => format!("→ {status}"),
            };
            for operation in begun(state, &decision) {
                let _ = write!(word, ": {}", operation.step.name());
            }
            word
        }
    }
}

/// What is decided and how the volume ends, in the words of the tables.
fn decided_under_way(world: &World, act: Act) -> String {
    let state = world.live().expect("a volume");
    let (command, caller) = act.command(world);
    let class = match world.decide(&command, &caller) {
        Verdict::Refuse(refusal) => return word_of(&refusal).to_owned(),
        Verdict::Nothing { .. } => "served",
        Verdict::Queue => "waits",
        Verdict::Commit(decision) if decision.ended.iter().any(|(_, answer)| answer.is_err()) => "fences",
        Verdict::Commit(decision) if begun(state, &decision).any(|begun| begun.step == Step::Queued) => "next",
        Verdict::Commit(_) => "beside",
    };
    let mut world = world.clone();
    let refusals = world.refusals.len();
    world.happen(Event::Ask(act)).expect("it may be asked");
    come_to_rest(&mut world);
    // What had waited may be refused when its turn has come.
    match &world.refusals[refusals..] {
        [refusal] if class == "waits" => format!("{class} ⇒ {}, {}", word_of(refusal), end_of(world)),
        _ => format!("{class} ⇒ {}", end_of(world)),
    }
}

/// The operations that begin with the decision.
fn begun<'a>(before: &'a VolumeState, decision: &'a Decision) -> impl Iterator<Item = &'a Operation> {
    let is_new = |id| !before.operations.iter().any(|known| known.id == id);
    decision.next.operations.iter().filter(move |operation| is_new(operation.id))
}

fn end_of(mut world: World) -> String {
    come_to_rest(&mut world);
    world.live().map_or("gone".to_owned(), |state| state.volume.status.to_string())
}

/// The status of the answer, and what it is about.
fn word_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::InvalidInput(_) => "400 input",
        Refusal::BadRequest(_) => "400",
        Refusal::InvalidVolume(_) => "400 status",
        Refusal::InvalidSnapshot(_) => "400 snapshot",
        Refusal::SnapshotNotFound(_) | Refusal::SnapshotMetadataNotFound { .. } => "404 snapshot",
        Refusal::BadConnector(_) => "400 connector",
        Refusal::VolumeNotFound(_) => "404 volume",
        Refusal::AttachmentNotFound(_) => "404 row",
        Refusal::NotAttached(_) => "404 not attached",
        Refusal::MetadataNotFound { .. } | Refusal::ImageMetadataNotFound(_) => "404 key",
        Refusal::TagDiffers => "412",
        Refusal::Conflict(_) => "409",
        Refusal::UsedByServer(_) => "409 server",
        Refusal::OverQuota(_) | Refusal::OverVolumeSize { .. } => "413",
        Refusal::Backend(_)
        | Refusal::QueueDeadline
        | Refusal::ServerChanged
        | Refusal::TypeChanged
        | Refusal::AskCompute(_)
        | Refusal::KeyUsed => "500",
    }
}
