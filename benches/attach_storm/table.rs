//! The result: one table on stdout, and the same figures between the markers of `docs/performance.md`.

use std::fmt::Write as _;
use std::path::Path;

/// One goal and what was measured.
pub struct Line {
    pub name: &'static str,
    pub goal: String,
    pub measured: String,
    pub met: Option<bool>,
    /// Raw figures.
    pub raw: String,
}

impl Line {
    /// A line that can be met or missed.
    pub fn judged(name: &'static str, goal: &str, measured: String, met: bool, raw: String) -> Self {
        Self { name, goal: goal.to_owned(), measured, met: Some(met), raw }
    }

    /// A line that only informs, or could not be measured.
    pub fn shown(name: &'static str, measured: String, raw: String) -> Self {
        Self { name, goal: "–".to_owned(), measured, met: None, raw }
    }

    fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "–",
        }
    }
}

/// The middle one; the mean of the two in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match (values.len() / 2, values.len() % 2) {
        (_, 0) if values.is_empty() => f64::NAN,
        (half, 0) => f64::midpoint(values[half - 1], values[half]),
        (half, _) => values[half],
    }
}

/// Where and when: without it no figure means anything.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("?", |rest| rest.trim_start_matches(['\t', ' ', ':']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores shared by client and server, Linux {}", kernel.trim())
}

/// The load averages of the system.
pub fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// As a table of Markdown, which can be read as it is.
pub fn render(lines: &[Line]) -> String {
    let head = ["line", "goal", "measured", "", "figures"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(lines.iter().map(|line| {
        [line.name.to_owned(), line.goal.clone(), line.measured.clone(), line.verdict().to_owned(), line.raw.clone()]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let mut out = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(widths) {
            let pad = width - cell.chars().count();
            let _ = write!(out, "| {cell}{} ", " ".repeat(pad));
        }
        let _ = writeln!(out, "| {} |", row[4]);
        if number == 0 {
            let rules = widths.map(|width| "-".repeat(width + 2));
            let _ = writeln!(out, "|{}|---|", rules.join("|"));
        }
    }
    out
}

const BEGIN: &str = "<!-- make bench writes from here -->";
const END: &str = "<!-- to here -->";

/// Replaces what stands between the markers of `page`.
pub fn publish(page: &Path, table: &str) {
    let text = std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let (before, rest) = text.split_once(BEGIN).expect("the page has the first marker");
    let (_, after) = rest.split_once(END).expect("the page has the second marker");
    std::fs::write(page, format!("{before}{BEGIN}\n\n{table}\n{END}{after}")).expect("the page");
}
