//! The load: clients that repeat a cycle of requests, in a closed loop or at a constant rate of arrival.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::http::Connection;

/// One request of a cycle. `{volume}` and `{attachment}` in path and body are filled in.
#[derive(Clone)]
pub struct Step {
    pub method: &'static str,
    pub path: String,
    pub body: String,
    pub expect: &'static [u16],
    /// The answer's `attachment.id` becomes `{attachment}`.
    pub captures: bool,
}

impl Step {
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), body: String::new(), expect: &[200], captures: false }
    }
}

/// What is to be done, by whom and for how long.
#[derive(Clone)]
pub struct Load {
    pub address: SocketAddr,
    pub cycle: Vec<Step>,
    /// Values of `{volume}`, taken in turn; one that is in use by a client is not taken by another.
    pub volumes: Vec<String>,
    pub clients: usize,
    pub duration: Duration,
    /// Cycles that arrive each second, whether or not the earlier ones have ended; none: each client begins the next one
    /// when its last has ended.
    pub rate: Option<f64>,
}

/// What came of it. Times are microseconds; in an open loop a cycle's first request counts from its intended arrival.
#[derive(Default)]
pub struct Report {
    pub seconds: f64,
    pub errors: u64,
    pub first_error: Option<String>,
    /// Of all requests, sorted.
    times: Vec<u32>,
    /// Of each step of the cycle, sorted.
    steps: Vec<Vec<u32>>,
}

impl Report {
    pub fn requests(&self) -> u64 {
        self.times.len() as u64
    }

    pub fn rate(&self) -> f64 {
        self.requests() as f64 / self.seconds
    }

    pub fn p50(&self) -> f64 {
        percentile(&self.times, 50.0)
    }

    pub fn p99(&self) -> f64 {
        percentile(&self.times, 99.0)
    }

    /// The median of one step of the cycle.
    pub fn step_p50(&self, step: usize) -> f64 {
        percentile(&self.steps[step], 50.0)
    }
}

/// Of sorted values.
pub fn percentile(sorted: &[u32], percent: f64) -> f64 {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().map_or(f64::NAN, f64::from)
}

fn fill(template: &str, volume: &str, attachment: &str) -> String {
    template.replace("{volume}", volume).replace("{attachment}", attachment)
}

/// Volumes that nobody works on, shared by the clients of one load.
type Free = Rc<std::cell::RefCell<VecDeque<String>>>;

/// Runs it to its end: every cycle that began is finished, so that every volume is left as it was found.
pub async fn run(load: &Load) -> Report {
    let free: Free = Rc::new(std::cell::RefCell::new(load.volumes.iter().cloned().collect()));
    let begun = Instant::now();
    let end = begun + load.duration;
    let local = tokio::task::LocalSet::new();
    let mut report = local
        .run_until(async {
            let arrivals = Rc::new(std::cell::Cell::new(0_u64));
            let clients: Vec<_> = (0..load.clients)
                .map(|_| {
                    let (load, free, arrivals) = (load.clone(), Rc::clone(&free), Rc::clone(&arrivals));
                    tokio::task::spawn_local(client(load, free, arrivals, begun, end))
                })
                .collect();
            let mut all = Report::default();
            for client in clients {
                let one = client.await.expect("a client does not panic");
                all.errors += one.errors;
                all.first_error = all.first_error.or(one.first_error);
                all.steps.resize_with(load.cycle.len(), Vec::new);
                for (all, one) in all.steps.iter_mut().zip(one.steps) {
                    all.extend(one);
                }
            }
            all
        })
        .await;
    report.seconds = begun.elapsed().as_secs_f64();
    report.times = report.steps.concat();
    report.times.sort_unstable();
    report.steps.iter_mut().for_each(|step| step.sort_unstable());
    report
}

async fn client(load: Load, free: Free, arrivals: Rc<std::cell::Cell<u64>>, begun: Instant, end: Instant) -> Report {
    let mut report = Report { steps: vec![Vec::new(); load.cycle.len()], ..Report::default() };
    let mut connection = None;
    loop {
        let due = match load.rate {
            None => Instant::now(),
            Some(rate) => {
                let number = arrivals.replace(arrivals.get() + 1);
                let due = begun + Duration::from_secs_f64(number as f64 / rate);
                wait_until(due.min(end)).await;
                due
            }
        };
        if due >= end || Instant::now() >= end && load.rate.is_none() {
            return report;
        }
        let volume = free.borrow_mut().pop_front();
        let shared = volume.is_none();
        // fewer volumes than clients: they fight for the first
        let volume = volume.or_else(|| load.volumes.first().cloned()).unwrap_or_default();
        if let Err(error) = cycle(&load, &volume, due, &mut connection, &mut report).await {
            report.errors += 1;
            report.first_error.get_or_insert(error);
            connection = None;
        }
        if !shared {
            free.borrow_mut().push_back(volume);
        }
    }
}

async fn wait_until(due: Instant) {
    if due > Instant::now() {
        tokio::time::sleep_until(due.into()).await;
    }
}

async fn cycle(
    load: &Load,
    volume: &str,
    due: Instant,
    connection: &mut Option<Connection>,
    report: &mut Report,
) -> Result<(), String> {
    let mut attachment = String::new();
    let mut started = due;
    for (step, times) in load.cycle.iter().zip(&mut report.steps) {
        let open = match connection.take() {
            Some(open) => open,
            None => Connection::open(load.address).await.map_err(|error| format!("connect: {error}"))?,
        };
        let open = connection.insert(open);
        let (path, body) = (fill(&step.path, volume, &attachment), fill(&step.body, volume, &attachment));
        let answer =
            open.ask(step.method, &path, &body).await.map_err(|error| format!("{} {path}: {error}", step.method))?;
        times.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
        if !step.expect.contains(&answer.status) {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(format!("{} {path}: {} {text}", step.method, answer.status));
        }
        if step.captures {
            let body = answer.json();
            body["attachment"]["id"].as_str().unwrap_or_default().clone_into(&mut attachment);
        }
        started = Instant::now();
    }
    Ok(())
}
