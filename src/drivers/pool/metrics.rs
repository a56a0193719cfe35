//! What the pool shows to `/metrics`: the same books as `/admin/drivers`.

use serde_json::Value;

use crate::telemetry::Sample;

/// The samples of one lane, from its observation.
pub fn samples(view: &Value) -> Vec<Sample> {
    let driver = view["name"].as_str().unwrap_or_default();
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let mut samples = Vec::new();
    for (bound, part, used) in [
        ("drivers.queue", "queue", "depth"),
        ("drivers.workers", "running", "count"),
        ("drivers.copies", "copying", "count"),
        ("drivers.max_outstanding", "overdue", "count"),
    ] {
        samples.extend(Sample::bound(bound, driver, number(&view[part][used]), number(&view[part]["bound"])));
    }
    let circuit = match view["circuit"]["state"].as_str() {
        Some("closed") => 0,
        Some("half_open") => 1,
        _ => 2,
    };
    samples.push(
        Sample::gauge("driver_circuit", "The circuit: 0 closed, 1 half open, 2 open", circuit).label("driver", driver),
    );
    let counters = &view["counters"];
    for (name, help, value) in [
        ("driver_circuit_opened", "How often the circuit has opened", &view["circuit"]["opened"]),
        ("driver_calls_joined", "Calls joined to an equal one", &counters["joined"]),
        ("driver_calls_turned_away", "Calls not taken in", &counters["turned_away"]),
        ("driver_calls_late", "Calls that returned after their deadline", &counters["late_returns"]),
        ("driver_panics", "Panics of a driver", &counters["panics"]),
    ] {
        samples.push(Sample::counter(name, help, number(value)).label("driver", driver));
    }
    for (request, outcomes) in counters["requests"].as_object().into_iter().flatten() {
        for (outcome, count) in outcomes.as_object().into_iter().flatten() {
            let calls = Sample::counter("driver_calls", "Calls by request and outcome", number(count));
            samples.push(calls.label("driver", driver).label("request", request).label("outcome", outcome));
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::pool::PoolOptions;
    use crate::drivers::pool::queue::CallBook;
    use tokio::time::Instant;

    /// The observation and its reader are written apart: a member that is renamed in one of them is found here.
    #[test]
    fn the_bounds_of_a_real_book_are_found() {
        let options = PoolOptions { queue: 11, workers: 12, max_outstanding: 13, ..PoolOptions::default() };
        let view = CallBook::new(options).observe(Instant::now());
        let samples = samples(&view);
        for limit in [11, 12, 13] {
            let value = crate::telemetry::metrics::SampleValue::Gauge(limit);
            assert!(samples.iter().any(|sample| sample.name == "bound_limit" && sample.value == value), "{limit}");
        }
        let missing = ["queue", "running", "copying", "overdue"].iter().find(|part| !view[**part]["bound"].is_u64());
        assert_eq!(missing, None);
        for counter in ["joined", "turned_away", "late_returns", "panics"] {
            assert!(view["counters"][counter].is_u64(), "{counter}");
        }
        assert!(view["counters"]["requests"].is_object() && view["circuit"]["opened"].is_u64());
    }
}
