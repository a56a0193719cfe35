//! Every line of the table: what is measured, against what, and the goal.

mod contention;
mod memory;
mod micro;
mod neighbour;
mod postgres;
mod reads;
mod scale;
mod storm;

use super::load::Load;
use super::options::Options;
use super::process::{Cost, Server};
use super::show;
use super::table::Line;

/// Volumes of a storm.
const VOLUMES: usize = 4_096;

/// Measures the lines that `options` want.
pub async fn run(options: &Options) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.extend(show(micro::benches(options)));
    lines.extend(show(storm::disk(options)));
    lines.extend(show(storm::attachments(options).await));
    lines.extend(show(storm::fsyncs(options).await));
    lines.extend(show(contention::hot(options).await));
    lines.extend(show(contention::winner(options).await));
    lines.extend(show(contention::open_loop(options).await));
    lines.extend(show(neighbour::slow_backend(options).await));
    lines.extend(show(postgres::cycle(options).await));
    lines.extend(show(scale::recovery(options).await));
    lines.extend(show(scale::start(options).await));
    lines.extend(show(memory::resident(options).await));
    lines.extend(show(reads::cold(options).await));
    lines.extend(show(reads::lists(options).await));
    lines.extend(show(reads::scans(options).await));
    lines
}

/// Hearth and a baseline in turn, the same load for both.
async fn interleave(pairs: usize, hearth: (&Server, &Load), baseline: (&Server, &Load)) -> Vec<(Cost, Cost)> {
    let mut costs = Vec::with_capacity(pairs);
    for _ in 0..pairs {
        costs.push((hearth.0.measure(hearth.1).await, baseline.0.measure(baseline.1).await));
    }
    costs
}

/// Rates, CPU and times of interleaved runs, as figures for the table.
struct Compared {
    /// Hearth's rate : the baseline's.
    rate: f64,
    /// Hearth's CPU time for each request : the baseline's.
    cpu: f64,
    raw: String,
    errors: u64,
}

fn compare(costs: &[(Cost, Cost)]) -> Compared {
    use super::table::median;
    let of = |value: &dyn Fn(&(Cost, Cost)) -> f64| median(costs.iter().map(value));
    let raw = format!(
        "{:.0} : {:.0} req/s, CPU {:.0} : {:.0} µs/req, p50 {:.2} : {:.2} ms, p99 {:.2} : {:.2} ms, load {}",
        of(&|(hearth, _)| hearth.report.rate()),
        of(&|(_, base)| base.report.rate()),
        of(&|(hearth, _)| hearth.cpu_us_per_request),
        of(&|(_, base)| base.cpu_us_per_request),
        of(&|(hearth, _)| hearth.report.p50() / 1e3),
        of(&|(_, base)| base.report.p50() / 1e3),
        of(&|(hearth, _)| hearth.report.p99() / 1e3),
        of(&|(_, base)| base.report.p99() / 1e3),
        super::table::load_average(),
    );
    Compared {
        rate: of(&|(hearth, base)| hearth.report.rate() / base.report.rate()),
        cpu: of(&|(hearth, base)| hearth.cpu_us_per_request / base.cpu_us_per_request),
        raw,
        errors: costs.iter().map(|(hearth, base)| hearth.report.errors() + base.report.errors()).sum(),
    }
}
