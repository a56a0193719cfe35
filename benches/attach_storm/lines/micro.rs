//! What the micro-benches measured before: `make bench` runs them first.

use std::path::Path;

use serde_json::Value;

use crate::options::Options;
use crate::table::Line;

/// In the order of the path of a request.
const MEASURED: [&str; 13] = [
    "request/get",
    "request/refused",
    "mailbox/hop",
    "mailbox/activation",
    "decide/attachment_create",
    "decide/job_result",
    "decide/extend",
    "decide/refused",
    "commit/1",
    "commit/64",
    "commit/256",
    "list/store",
    "list/whole",
];

/// The medians that criterion has kept; what was not run is left out.
pub fn benches(options: &Options) -> Vec<Line> {
    if !options.wants("micro") {
        return Vec::new();
    }
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("criterion");
    let line = |name: &'static str| {
        let text = std::fs::read_to_string(kept.join(name).join("new/estimates.json")).ok()?;
        let estimates: Value = serde_json::from_str(&text).ok()?;
        let nanoseconds = estimates["median"]["point_estimate"].as_f64()?;
        Some(Line::shown(name, format!("{:.1} µs", nanoseconds / 1e3), "median of the micro-bench".to_owned()))
    };
    MEASURED.into_iter().filter_map(line).collect()
}
