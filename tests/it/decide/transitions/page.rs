//! `docs/transitions.md`: the tables, printed. `HEARTH_WRITE_DOCS=1` writes it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use super::{TABLES, Table, without_note};

/// The note of a cell that differs from Cinder or Nova and has no row in the catalogue of races.
pub const DIFFERENCES: &str = "differences";

const HEAD: &str = "\
# What may happen to a volume

Printed from the tables in `tests/it/decide/transitions`, which hold `decide` to each cell. To change it, change a table and run
`HEARTH_WRITE_DOCS=1 cargo nextest run -E 'test(/^decide::transitions/)'`.
";

const AT_REST: &str = "
## At rest

No operation is open. The situation names the status and who holds the volume: a *row* is an attachment of Block Storage for `a`
(the first row), a *server* is `a`, attached through Compute; *marked*: by `os-reserve` or `os-begin_detaching`. The volume is not
multiattach unless it says so. *In doubt*: the call hung,
and the backend has not said yet what became of it; *failed*: it has, and nothing is left but the row.

| cell | |
|---|---|
| `→ status` | accepted; the status after the commit |
| `→ status: step` | accepted, and work has begun at this step (`drain`: it waits until the backend has answered earlier calls) |
| `✓`, `✓: step` | accepted, the status stays |
| `served` | accepted, and nothing to do: it is as asked already |
| `400 status` | refused: the status, a row or running work is in the way |
| `400 input`, `404 row`, `404 not attached` | refused: the request makes no sense for this volume |
| `409`, `409 server` | refused: in error, or another row is connected; the row is a server's, Compute has to be asked |

Resetting to `deleting` is 400 everywhere. *Other errors*: `error_backing-up`, `error_unmanaging`, `error_managing_deleting`. *Other
words*: `creating`, `extending`, `managing`, `backing-up`, `restoring-backup`, `awaiting-transfer`, `uploading`, `retyping`, `reverting`,
`unmanaging`; here nothing owns them.
";

const UNDER_WAY: &str = "
## While work is under way

The situation names the operation, its step, and how the volume ends when nothing comes and all calls go well. Each cell says what
becomes of the request, and how the volume ends then.

| cell | |
|---|---|
| `beside` | accepted at once, the running work goes on |
| `next` | accepted at once; its work begins when the running work of the same lane has ended |
| `waits` | answered only when the running work has ended, and decided then: carried out, or refused as the cell says |
| `served` | accepted: the running work does it, or it is so already |
| `fences` | accepted; the running work is cut off: its results are never applied, what it has done is looked up and undone |
| a number | refused at once, and the running work goes on undisturbed |

A migration looks at the destination (*survey*), copies what nobody uses (*transfer*), or has the guest's disk copied (*mirror*) and
moves the guest (*pivot*); then it removes what is at *the old place*. A volume that is *swapped in* takes another one's place in `a`: it asks
that one (*yield*), copies, moves the guest, and tells it (*handover*); the other one is *swapped out*.
";

/// What the notes say: a row of the catalogue of races, in one line.
const NOTES: &[(&str, &str)] = &[
    ("R-01", "a plain volume gets one server: the second is refused"),
    ("R-02", "a second row of the same server is for its live migration; Compute itself attaches a server once"),
    ("R-03", "a reservation excludes every other one, of either API"),
    ("R-04", "a reservation has no server of its own: whoever attaches first has it"),
    ("R-05", "os-attach: one server gets a plain volume, the other is refused"),
    (
        "R-06",
        "os-attach again for the same server is served; it neither turns a detach back nor takes a row that is only reserved",
    ),
    ("R-08", "a reservation whose client is gone is freed by deleting the row"),
    ("R-09", "a delete waits for the connect under way and then ends it: no export is left"),
    ("R-10", "two connects of a plain volume follow one another: of the same row again, of another row 409"),
    ("R-11", "an update behind the delete of its row finds nothing and exports nothing"),
    ("R-12", "so does a late complete"),
    ("R-13", "a late complete does not bring a volume in error back"),
    ("R-14", "a second complete is as good as the first"),
    ("R-15", "attach and delete: the first one wins"),
    ("R-16", "attach and extend: the first one wins"),
    ("R-20", "a row may be made while the volume is filled; the end of that work decides by the rows"),
    ("R-21", "a further server of a multiattach volume is a further row, at any time"),
    ("R-22", "the status of the server that has the volume is not affected by a further one"),
    ("R-26", "a server that goes while it attaches is detached when the attach has ended"),
    ("R-29", "the second detach is refused while the first one runs"),
    (
        "R-30",
        "the mark stays until its owner or an administrator ends it, also across a restart; a delete works from it",
    ),
    ("R-31", "extend and Compute's detach: the first one wins; extend and the delete of a row go beside each other"),
    (
        "R-33",
        "of two rows the one that is meant must be named: 409 for a user, whom the guard stops first, 400 for a service",
    ),
    ("R-34", "os-detach without a row ends only the words of an attach"),
    ("R-35", "each server of a multiattach volume is detached on its own"),
    ("R-36", "a late roll back finds nothing to roll back"),
    ("R-37", "and does not touch the detach of a server that is under way"),
    ("R-38", "a connect under way is cut off; its export is gone before the volume is available"),
    ("R-39", "both halves of a forced detach, or none"),
    ("R-40", "a user frees a server's row through Compute only"),
    ("R-42", "a disconnect that hung can be asked for again"),
    ("R-43", "an old export is removed before the volume is connected again"),
    ("R-44", "the running detach serves the server that goes as well"),
    ("R-45", "one extend at a time"),
    ("R-50", "a volume that is copied does not grow"),
    ("R-56", "the second delete is refused"),
    ("R-57", "rows that hold the volume block its delete, forced or not"),
    ("R-60", "a create that runs must end first, or be forced out"),
    ("R-71", "nobody new may write while the data are copied"),
    ("R-72", "a guest that is being moved stays, unless its server ends"),
    ("R-74", "whoever asks again hears how the migration has ended"),
    ("R-75", "a migration is called off up to the moment in which its guest moves"),
    ("R-76", "a swap comes to its end on both sides, or on none: the old volume is told before the new one forgets"),
    ("R-78", "one swap at a time"),
    ("R-83", "work behind a call that may still have effects waits for it (`drain`); a running delete is never reset"),
    ("R-84", "rows count, whatever word an administrator has set"),
    ("R-85", "the rows go at once; their exports are removed before the next connection"),
    ("R-86", "a word set by hand is corrected by the rows at their next change"),
    ("R-88", "a connection under way, or a row, keeps its word"),
    ("R-89", "a forced delete joins the running one"),
    (
        "R-112",
        "`delete_on_termination` is read in the step that removes the row; a shelved server's detach heeds it at once",
    ),
    (DIFFERENCES, "Cinder answers otherwise: [differences.md](differences.md)"),
];

fn page() -> String {
    let mut page = HEAD.to_owned();
    let (at_rest, under_way) = TABLES.split_at(TABLES.len() / 2);
    for (explanation, tables) in [(AT_REST, at_rest), (UNDER_WAY, under_way)] {
        page.push_str(explanation);
        for table in tables {
            let _ = write!(page, "\n### {}\n\n{}", table.title, print(table));
        }
    }
    page.push_str(
        "\n## Notes\n\nR-numbers are rows of the catalogue of races, which name the tests.\n\n| | |\n|---|---|\n",
    );
    for (note, text) in NOTES {
        let _ = writeln!(page, "| {note} | {text} |");
    }
    page
}

fn print(table: &Table) -> String {
    let mut lines = table.lines().map(|line| line.into_iter().map(printed).collect::<Vec<_>>()).collect::<Vec<_>>();
    for (line, situation) in lines[1..].iter_mut().zip(table.situations) {
        if situation.by_hand {
            line[0].push_str(" (by hand)");
        }
    }
    let columns = lines[0].len();
    let widths = (0..columns)
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default())
        .collect::<Vec<_>>();
    lines.insert(1, widths.iter().map(|width| "-".repeat(*width)).collect());
    let mut text = String::new();
    for line in lines {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
    }
    text
}

fn printed(cell: &'static str) -> String {
    match without_note(cell) {
        (word, Some(note)) => format!("{word} ({note})"),
        (word, None) => word.to_owned(),
    }
}

#[test]
fn the_documentation_is_these_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/transitions.md");
    if std::env::var_os("HEARTH_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).expect("the page is written");
    }
    let found = std::fs::read_to_string(&path).expect("docs/transitions.md");
    assert!(found == page(), "docs/transitions.md is not what the tables say: HEARTH_WRITE_DOCS=1 writes it");
}

#[test]
fn every_note_is_explained_and_used() {
    let cells = TABLES.iter().flat_map(Table::lines).flatten();
    let used = cells.filter_map(|cell| without_note(cell).1).collect::<BTreeSet<_>>();
    assert_eq!(used, NOTES.iter().map(|(note, _)| *note).collect());
}
