//! What `/metrics` shows. One [`Metrics`] is made at start and handed to the parts that count; nothing is global, so that
//! two services in one process (tests, simulation) never count into each other.
//!
//! Nothing is ever labelled with an id of a volume, server, project or request: the number of series is bounded by the code
//! and the settings. Hot paths count into atomics ([`HttpMetrics`], [`CommitMetrics`]); whatever a part knows anyhow is asked
//! of it when somebody looks (`Source`).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the buckets of durations, seconds: from a view in memory to a call that waited for a backend.
const DURATION_BUCKETS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Upper bounds of the buckets of group sizes, transactions; the last one is the writer's own bound.
const GROUP_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The registry and the counters that are counted into.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    sources: Sources,
    /// Requests and their durations.
    pub http: HttpMetrics,
    /// Commits, their groups and aborts.
    pub commits: CommitMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("hearth");
        let http = HttpMetrics::default();
        registry.register(
            "http_requests",
            "Requests by service, method, route and class of the status",
            http.requests.clone(),
        );
        registry.register(
            "http_request_duration_seconds",
            "From the first byte read until the answer was ready",
            http.durations.clone(),
        );
        let commits = CommitMetrics::default();
        registry.register("commits", "Transactions by outcome", commits.outcomes.clone());
        registry.register("commit_group_size", "Transactions that shared one fsync", commits.groups.clone());
        let sources = Sources::default();
        registry.register_collector(Box::new(sources.clone()));
        Self { registry, sources, http, commits }
    }
}

impl Metrics {
    /// Asks `source` each time somebody looks. It must not wait.
    pub fn register(&self, source: impl Fn() -> Vec<Sample> + Send + Sync + 'static) {
        self.sources.lock().push(Arc::new(source));
    }

    /// Everything in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("a string takes every text");
        out
    }
}

/// Counts requests.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: Family<HttpLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    service: &'static str,
    method: &'static str,
    route: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    service: &'static str,
    method: &'static str,
    route: &'static str,
}

impl HttpMetrics {
    /// One request was answered. `route` is a template (`/volumes/{volume_id}`), never a path; a method that no route has
    /// counts as `OTHER`, because its name is the client's choice.
    pub fn answered(&self, service: &'static str, method: &str, route: &'static str, status: u16, elapsed: Duration) {
        const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"];
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("OTHER");
        let class = match status {
            0..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&HttpLabels { service, method, route, status: class }).inc();
        self.durations.get_or_create(&RouteLabels { service, method, route }).observe(elapsed.as_secs_f64());
    }
}

/// Counts commits. The default counts where nobody looks.
#[derive(Clone, Debug)]
pub struct CommitMetrics {
    outcomes: Family<OutcomeLabel, Counter>,
    groups: Histogram,
}

impl Default for CommitMetrics {
    fn default() -> Self {
        Self { outcomes: Family::default(), groups: Histogram::new(GROUP_BUCKETS) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

impl CommitMetrics {
    /// A group of `size` transactions has ended.
    pub fn group(&self, size: usize) {
        self.groups.observe(f64::from(u32::try_from(size).unwrap_or(u32::MAX)));
    }

    /// A transaction has ended: `committed`, `unknown`, or the reason of an abort.
    pub fn ended(&self, outcome: &'static str) {
        self.outcomes.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}

/// One value of a part.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Without the prefix; of a counter without `_total`.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Labels: never an id.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: SampleValue,
}

/// A value with its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SampleValue {
    /// Only grows.
    Counter(u64),
    /// Goes up and down.
    Gauge(u64),
}

impl SampleValue {
    fn encode_into(self, encoder: &mut MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Counter(value) => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
            Self::Gauge(value) => encoder.encode_gauge(&value),
        }
    }
}

impl Sample {
    /// A gauge without labels.
    pub fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, labels: Vec::new(), value: SampleValue::Gauge(value) }
    }

    /// A counter without labels.
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, labels: Vec::new(), value: SampleValue::Counter(value) }
    }

    /// With one label more.
    #[must_use]
    pub fn label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((name, value.into()));
        self
    }

    /// A named bound: how much of it is in use, and its limit. `of` tells equal bounds of several parts apart (the name of a
    /// driver); empty where there is only one.
    pub fn bound(bound: &'static str, of: &str, used: u64, limit: u64) -> [Self; 2] {
        let both = |name, help, value| {
            let sample = Self::gauge(name, help, value).label("bound", bound);
            if of.is_empty() { sample } else { sample.label("of", of) }
        };
        [
            both("bound_used", "How much of a named bound is in use", used),
            both("bound_limit", "Beyond this, requests are turned away or wait", limit),
        ]
    }
}

/// A part that is asked.
type Source = Arc<dyn Fn() -> Vec<Sample> + Send + Sync>;

/// The parts that are asked. One collector for all of them: a name is described once, whoever has samples of it.
#[derive(Clone, Default)]
struct Sources(Arc<Mutex<Vec<Source>>>);

impl Sources {
    fn lock(&self) -> MutexGuard<'_, Vec<Source>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} sources", self.lock().len())
    }
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let sources = self.lock().clone();
        let mut samples: Vec<Sample> = sources.iter().flat_map(|source| source()).collect();
        // all samples of one name stand together, below one description
        samples.sort_by_key(|sample| sample.name);
        for family in samples.chunk_by(|left, right| left.name == right.name) {
            let Some(first) = family.first() else { continue };
            let kind = match first.value {
                SampleValue::Counter(_) => MetricType::Counter,
                SampleValue::Gauge(_) => MetricType::Gauge,
            };
            let mut described = encoder.encode_descriptor(first.name, first.help, None, kind)?;
            for sample in family {
                if sample.labels.is_empty() {
                    sample.value.encode_into(&mut described)?;
                } else {
                    sample.value.encode_into(&mut described.encode_family(&sample.labels)?)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_what_was_counted_and_what_was_asked() {
        let metrics = Metrics::default();
        metrics.http.answered("volume", "GET", "/volumes/{volume_id}", 404, Duration::from_millis(3));
        metrics.http.answered("volume", "BREW", "-", 404, Duration::ZERO);
        metrics.commits.group(3);
        metrics.commits.ended("committed");
        metrics.register(|| {
            let mut samples = vec![Sample::counter("crashes", "Crashes", 7)];
            samples.extend(Sample::bound("queue", "a\"b", 1, 2));
            samples
        });
        metrics.register(|| Sample::bound("queue", "", 3, 4).to_vec());
        let page = metrics.text();
        for line in [
            r#"hearth_http_requests_total{service="volume",method="GET",route="/volumes/{volume_id}",status="4xx"} 1"#,
            r#"hearth_http_requests_total{service="volume",method="OTHER",route="-",status="4xx"} 1"#,
            r#"hearth_http_request_duration_seconds_bucket{le="0.005",service="volume",method="GET",route="/volumes/{volume_id}"} 1"#,
            r#"hearth_commit_group_size_bucket{le="2.0"} 0"#,
            r#"hearth_commit_group_size_bucket{le="4.0"} 1"#,
            r#"hearth_commits_total{outcome="committed"} 1"#,
            "hearth_crashes_total 7",
            r#"hearth_bound_used{bound="queue",of="a\"b"} 1"#,
            r#"hearth_bound_limit{bound="queue"} 4"#,
            "# EOF",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
        }
        assert_eq!(page.matches("# TYPE hearth_bound_used ").count(), 1, "{page}");
    }

    #[test]
    fn two_registries_count_apart() {
        let (one, other) = (Metrics::default(), Metrics::default());
        one.commits.ended("committed");
        assert!(!other.text().contains("hearth_commits_total{"));
    }
}
