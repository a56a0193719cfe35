//! A storm as a picture: throughput and latency over time.

use std::fmt::Write as _;

use super::report::{Report, Second};

const WIDTH: f64 = 900.0;
const PANEL: f64 = 220.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 40.0;
const GAP: f64 = 60.0;

/// A curve: its name, its colour and its points.
type Curve = (&'static str, &'static str, Vec<(f64, f64)>);

/// An SVG of its own: two panels over the same seconds.
pub fn svg(report: &Report) -> String {
    let height = TOP + 2.0 * PANEL + 2.0 * GAP;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let pace = report.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate} cycles/s due"));
    let title = format!("hearth storm {}: {} clients, {pace}", report.variant, report.clients);
    text(&mut out, LEFT, 22.0, "start", &escaped(&title));
    let curve = |of: &dyn Fn(&Second) -> f64| report.over_time.iter().map(|second| (second.at, of(second))).collect();
    #[expect(clippy::cast_precision_loss, reason = "microseconds, far below 2^53")]
    let millis = |of: fn(&Second) -> u64| curve(&move |second: &Second| of(second) as f64 / 1_000.0);
    let throughput: [Curve; 2] = [
        ("requests/s", "#1f77b4", curve(&|second| second.requests_per_second)),
        ("cycles/s", "#2ca02c", curve(&|second| second.cycles_per_second)),
    ];
    let latency: [Curve; 4] = [
        ("p50", "#2ca02c", millis(|second| second.latency_us.p50)),
        ("p90", "#1f77b4", millis(|second| second.latency_us.p90)),
        ("p99", "#ff7f0e", millis(|second| second.latency_us.p99)),
        ("max", "#d62728", millis(|second| second.latency_us.max)),
    ];
    panel(&mut out, TOP, "throughput", &throughput, false);
    panel(&mut out, TOP + PANEL + GAP, "latency of a step, ms", &latency, true);
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, top: f64, title: &str, curves: &[Curve], is_logarithmic: bool) {
    let points = || curves.iter().flat_map(|(_, _, points)| points.iter().copied());
    let (first, last) = points().fold((f64::MAX, 1.0_f64), |(first, last), (x, _)| (first.min(x), last.max(x)));
    let first = first.min(last - 1.0);
    let most = points().map(|(_, y)| y).fold(0.0_f64, f64::max);
    let ticks = if is_logarithmic { decades(points().map(|(_, y)| y), most) } else { round_ticks(most) };
    let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
    let scale = |y: f64| {
        if is_logarithmic { (y.max(low) / low).log10() / (high / low).log10() } else { (y - low) / (high - low) }
    };
    let at_x = |x: f64| LEFT + (x - first) / (last - first) * (WIDTH - LEFT - RIGHT);
    let at_y = |y: f64| top + PANEL * (1.0 - scale(y).clamp(0.0, 1.0));
    text(out, LEFT, top - 6.0, "start", title);
    for tick in &ticks {
        let y = at_y(*tick);
        let end = WIDTH - RIGHT;
        let _ = writeln!(out, "<path d=\"M{LEFT} {y:.1}H{end}\" stroke=\"#ddd\"/>");
        text(out, LEFT - 8.0, y + 4.0, "end", &format!("{tick}"));
    }
    for tick in round_ticks(last).into_iter().filter(|tick| (first..=last).contains(tick)) {
        text(out, at_x(tick), top + PANEL + 18.0, "middle", &format!("{tick} s"));
    }
    for (index, (name, colour, points)) in curves.iter().enumerate() {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{:.1},{:.1}", at_x(*x), at_y(*y))).collect();
        let path = path.join(" ");
        let _ = writeln!(out, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>");
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let y = top + 14.0 + 16.0 * index as f64;
        let x = WIDTH - RIGHT + 8.0;
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{name}</text>");
    }
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}

/// From 0 to at least `most` in steps of 1, 2 or 5 times a power of ten.
fn round_ticks(most: f64) -> Vec<f64> {
    let raw = (most / 5.0).max(0.1);
    let power = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= raw);
    let step = step.unwrap_or(10.0 * power);
    let mut ticks = vec![0.0];
    while ticks[ticks.len() - 1] < most {
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let next = step * ticks.len() as f64;
        // 3 × 0.1 is 0.30000000000000004
        ticks.push((next * 1e6).round() / 1e6);
    }
    if ticks.len() == 1 {
        ticks.push(step);
    }
    ticks
}

/// Powers of ten around all values.
fn decades(values: impl Iterator<Item = f64>, most: f64) -> Vec<f64> {
    let least = values.filter(|value| *value > 0.0).fold(most.max(0.001), f64::min);
    let mut tick = 10_f64.powf(least.log10().floor());
    let mut ticks = vec![tick];
    while tick < most {
        tick *= 10.0;
        ticks.push(tick);
    }
    if ticks.len() == 1 {
        ticks.push(tick * 10.0);
    }
    ticks.into_iter().map(|tick| (tick * 1e6).round() / 1e6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_cover_their_values_with_round_numbers() {
        assert_eq!(round_ticks(9_300.0), [0.0, 2_000.0, 4_000.0, 6_000.0, 8_000.0, 10_000.0]);
        assert_eq!(round_ticks(1.4), [0.0, 0.5, 1.0, 1.5]);
        assert_eq!(round_ticks(0.0), [0.0, 0.1]);
        assert_eq!(decades([0.3, 4.0, 120.0].into_iter(), 120.0), [0.1, 1.0, 10.0, 100.0, 1_000.0]);
        assert_eq!(decades([1.0].into_iter(), 1.0), [1.0, 10.0]);
        assert_eq!(decades([0.0].into_iter(), 0.0), [0.001, 0.01]);
    }
}
