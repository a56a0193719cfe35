//! Many clients on a few threads, in a closed or an open loop.
//!
//! Closed: every client begins its next round when the last one has ended, so that a slow service is asked less. Open:
//! rounds are due at a constant rate, whatever the service does; whichever client is free takes the next one, and latency
//! counts from when the round was due. A queue that builds up is thus seen, not hidden (coordinated omission).

use std::convert::Infallible;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::client::{Client, Commons, Waits, lock};
use super::cycle::Cycle;
use super::endpoint::Site;
use super::program::Program;
use super::record::{Interval, Recorder};
use super::report::{Measured, Report, Second};
use super::{StormError, Unit};

/// Between two lines of [`Report::over_time`].
const TICK: Duration = Duration::from_secs(1);
/// What [`Plan::drain`] usually is.
pub const DRAIN: Duration = Duration::from_secs(10);
/// A waiting client looks so often whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// When rounds begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As soon as the client's last one has ended.
    Closed,
    /// At a constant rate.
    Open {
        /// Rounds a second, over all clients.
        per_second: f64,
    },
}

/// When it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// No round begins after this time (the warm-up comes before it).
    Duration(Duration),
    /// No round begins after so many requests were sent.
    Requests(u64),
    /// Exactly so many rounds.
    Cycles(u64),
}

/// A storm.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where.
    pub site: Site,
    /// What.
    pub cycle: Cycle,
    /// On what: all with the same variables. Each client takes turns with its own share; with fewer units than clients they
    /// are shared. None: a cycle without variables.
    pub units: Vec<Unit>,
    /// Simulated clients, each with connections of its own.
    pub clients: usize,
    /// Threads they are spread over.
    pub threads: usize,
    /// When rounds begin.
    pub pace: Pace,
    /// When it is over.
    pub limit: Limit,
    /// At the beginning, not measured (with [`Limit::Duration`] only).
    pub warmup: Duration,
    /// Open loop with [`Limit::Duration`]: rounds that were due before the end are still begun for so long after it; the
    /// others are counted as unstarted.
    pub drain: Duration,
    /// How long clients wait.
    pub waits: Waits,
}

/// A look at a running storm.
#[derive(Debug)]
pub struct Progress<'a> {
    /// The last second.
    pub last: &'a Second,
    /// It was part of the warm-up.
    pub is_warmup: bool,
}

struct Shared<'a> {
    plan: &'a Plan,
    program: &'a Program,
    commons: Commons,
    /// Rounds handed out.
    tickets: AtomicU64,
    stop: &'a AtomicBool,
    start: Instant,
    measure_from: Instant,
    end: Option<Instant>,
}

/// Runs a storm to its end, or until `stop`; `progress` is told every second.
pub fn run(plan: &Plan, stop: &AtomicBool, progress: &mut dyn FnMut(&Progress<'_>)) -> Result<Report, StormError> {
    let given = plan.units.first().into_iter().flat_map(Unit::keys).map(String::as_str);
    let program = Program::new(&plan.cycle, &plan.site, given)?;
    let start = Instant::now();
    let measure_from = start + plan.warmup;
    let end = match plan.limit {
        Limit::Duration(duration) => Some(measure_from + duration),
        Limit::Requests(_) | Limit::Cycles(_) => None,
    };
    let shared = Shared {
        plan,
        program: &program,
        commons: Commons::default(),
        tickets: AtomicU64::new(0),
        stop,
        start,
        measure_from,
        end,
    };
    let threads = plan.threads.clamp(1, plan.clients.max(1));
    let recorders: Vec<_> = (0..threads).map(|_| Mutex::new(Recorder::new(program.steps.len()))).collect();
    let mut over_time = Vec::new();
    let cpu = std::thread::scope(|scope| {
        let (running, ended) = channel::<Infallible>();
        let mut handles = Vec::new();
        for (index, recorder) in recorders.iter().enumerate() {
            let (shared, running) = (&shared, running.clone());
            let work = move || {
                let worked = shared.work(index, threads, recorder);
                drop(running);
                worked
            };
            let name = format!("storm-{index}");
            let spawned = std::thread::Builder::new().name(name).spawn_scoped(scope, work);
            handles.push(spawned.map_err(StormError::Thread)?);
        }
        drop(running);
        let mut tick = start;
        loop {
            let begun = tick;
            tick += TICK;
            match ended.recv_timeout(tick.saturating_duration_since(Instant::now())) {
                Ok(never) => match never {},
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => tick = Instant::now(),
            }
            let is_over = handles.iter().all(std::thread::ScopedJoinHandle::is_finished);
            let mut sum = Interval::new();
            recorders.iter().for_each(|recorder| lock(recorder).take_interval(&mut sum));
            let second = Second::of(begun.saturating_duration_since(start), tick - begun, &sum);
            let is_warmup = begun < measure_from;
            progress(&Progress { last: &second, is_warmup });
            if !is_warmup && (second.requests > 0 || !is_over) {
                over_time.push(second);
            }
            if is_over {
                break;
            }
        }
        let mut cpu = Duration::ZERO;
        for handle in handles {
            let panicked = |_| StormError::Thread(io::Error::other("it panicked"));
            cpu += handle.join().map_err(panicked)??;
        }
        Ok::<_, StormError>(cpu)
    })?;
    let mut total = Recorder::new(program.steps.len());
    recorders.iter().for_each(|recorder| total.add(&lock(recorder)));
    let unstarted = match (plan.pace, plan.limit) {
        (Pace::Open { per_second }, Limit::Duration(duration)) if !stop.load(Ordering::Relaxed) => {
            due(plan.warmup + duration, per_second).saturating_sub(total.begun)
        }
        _ => 0,
    };
    let elapsed = total.last_end.map_or(Duration::ZERO, |at| at.saturating_duration_since(measure_from));
    let sent = shared.commons.requests.load(Ordering::Relaxed);
    Ok(Report::of(plan, &Measured { total, elapsed, over_time, cpu, sent, unstarted }))
}

/// Rounds that are due in this time: the first at its beginning.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, far below 2^53")]
fn due(time: Duration, per_second: f64) -> u64 {
    (time.as_secs_f64() * per_second).ceil() as u64
}

impl Shared<'_> {
    /// Runs the clients of one thread to their end; the processor time it took.
    fn work(&self, thread: usize, threads: usize, recorder: &Mutex<Recorder>) -> Result<Duration, StormError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StormError::Thread)?;
        runtime.block_on(async {
            let mut clients: FuturesUnordered<_> =
                (thread..self.plan.clients).step_by(threads).map(|index| self.client(index, recorder)).collect();
            while let Some(ended) = clients.next().await {
                ended?;
            }
            Ok::<_, StormError>(())
        })?;
        Ok(thread_time())
    }

    async fn client(&self, index: usize, recorder: &Mutex<Recorder>) -> Result<(), StormError> {
        let mut client = Client::new(self.program, self.plan.waits, &self.commons, recorder)?;
        let nothing = Unit::new();
        let count = self.plan.units.len();
        let own: Vec<&Unit> = match count {
            0 => vec![&nothing],
            _ if count < self.plan.clients => vec![&self.plan.units[index % count]],
            _ => self.plan.units.iter().skip(index).step_by(self.plan.clients).collect(),
        };
        let mut units: Vec<_> = own.into_iter().map(|unit| self.program.slots(unit)).collect();
        let mut turn = 0;
        while let Some(intended) = self.next_round(&client).await.map_err(StormError::Thread)? {
            client.round(&mut units[turn], intended, intended >= self.measure_from).await;
            turn = (turn + 1) % units.len();
        }
        Ok(())
    }

    /// Waits for the next round; when it was due. None: there is none any more.
    async fn next_round(&self, client: &Client<'_>) -> io::Result<Option<Instant>> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let is_spent = match self.plan.limit {
            Limit::Duration(_) => false,
            Limit::Requests(most) => self.commons.requests.load(Ordering::Relaxed) >= most,
            Limit::Cycles(most) => ticket >= most,
        };
        let now = Instant::now();
        let intended = match self.plan.pace {
            Pace::Closed => now,
            #[expect(clippy::cast_precision_loss, reason = "a count, far below 2^53")]
            Pace::Open { per_second } => self.start + Duration::from_secs_f64(ticket as f64 / per_second),
        };
        let is_late = self.end.is_some_and(|end| intended >= end || now > end + self.plan.drain);
        if is_spent || is_late {
            return Ok(None);
        }
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let now = Instant::now();
            if now >= intended {
                return Ok(Some(intended));
            }
            client.timer.wait_until(intended.min(now + LOOK)).await?;
        }
    }
}

/// Processor time of the calling thread.
fn thread_time() -> Duration {
    // SAFETY: a plain structure of numbers, for which zeroes are a value
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives through the call
    if unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) } != 0 {
        return Duration::ZERO;
    }
    let time = |value: libc::timeval| {
        let micros = value.tv_sec.saturating_mul(1_000_000).saturating_add(value.tv_usec);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}
