//! The whole server under load, beside baselines that do the least a durable service can do. Every figure is a ratio or a
//! count taken in one run, interleaved A B A B.
//!
//! `make bench` runs everything; see `docs/performance.md` for the variables that choose and shorten.

mod bare_store;
mod baseline;
#[path = "../../tests/support/cluster.rs"]
mod cluster;
mod cycles;
mod disk;
mod filled;
mod http;
mod lines;
mod load;
mod options;
mod process;
mod site;
mod table;

use std::path::Path;

use options::Options;
use table::{Line, load_average, machine, publish, render};

/// As Hearth's own binary: the baselines must not be slower for their allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The argument by which this program becomes a baseline server.
const BASELINE: &str = "baseline";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, orders] = arguments.as_slice()
        && first == BASELINE
    {
        return baseline::serve(Path::new(orders));
    }
    // test runners start benches too, to ask for their tests: there are none
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let options = Options::from_environment();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let before = load_average();
    let lines = runtime.block_on(lines::run(&options));
    let circumstances =
        format!("{}. Load average {before} before, {} after. Runs of {:?}.", machine(), load_average(), options.run);
    let table = render(&lines);
    println!("\n{circumstances}\n\n{table}");
    // part of the lines, or a smaller database, is no result to publish
    if options.is_whole() {
        publish(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md"),
            &format!("{circumstances}\n\n{table}"),
        );
    }
    let missed = lines.iter().filter(|line| line.met == Some(false)).count();
    println!("{missed} of {} goals missed", lines.iter().filter(|line| line.met.is_some()).count());
}

/// A finished line is also shown at once, because the whole takes minutes.
fn show(lines: Vec<Line>) -> Vec<Line> {
    for line in &lines {
        eprintln!("{}: {} ({})", line.name, line.measured, line.raw);
    }
    lines
}
