//! The service as a process under a supervisor that starts it again whenever it ends, as systemd would.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

use crate::e2e::hearth::PATIENCE;

/// From the start of the process to the first answer.
pub const READY: Duration = Duration::from_secs(5);

/// How one incarnation is started.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// `faults.crash_at`.
    pub crash_at: Option<String>,
}

/// An incarnation that answers.
#[derive(Clone, Copy, Debug)]
pub struct Incarnation {
    /// Counted from 1.
    pub number: u64,
    pub address: SocketAddr,
    pub ready_at: Instant,
}

/// How an incarnation ended.
#[derive(Clone, Debug)]
pub struct Death {
    pub status: ExitStatus,
    /// What it wrote to its error stream, the last of it.
    pub stderr: String,
}

impl Death {
    /// The signal that it died of.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Whether it died at this crash point.
    pub fn was_at(&self, crash_at: &str) -> bool {
        self.signal() == Some(libc::SIGABRT) && self.stderr.contains(&format!("dies at the crash point {crash_at}\n"))
    }
}

enum Order {
    Kill,
    Terminate(oneshot::Sender<(ExitStatus, Duration)>),
}

/// What makes the command of an incarnation.
pub type Commander = Box<dyn Fn(&Start) -> Command + Send + Sync>;

/// What is done to the disk between two incarnations.
pub type Between = Box<dyn Fn() + Send + Sync>;

/// The supervisor's handle.
pub struct Service {
    orders: mpsc::Sender<Order>,
    incarnation: watch::Receiver<Option<Incarnation>>,
    deaths: Arc<Mutex<Vec<Death>>>,
    plans: Arc<Mutex<Vec<Start>>>,
}

struct Supervisor {
    commander: Commander,
    between: Between,
    logs: PathBuf,
    orders: mpsc::Receiver<Order>,
    incarnation: watch::Sender<Option<Incarnation>>,
    deaths: Arc<Mutex<Vec<Death>>>,
    plans: Arc<Mutex<Vec<Start>>>,
}

impl Service {
    /// Starts the first incarnation as `plans` says first, the next ones as it says next, and all others plainly.
    pub fn start(logs: PathBuf, plans: Vec<Start>, commander: Commander, between: Between) -> Self {
        let (orders, taken) = mpsc::channel(1);
        let (publish, incarnation) = watch::channel(None);
        let deaths = Arc::new(Mutex::new(Vec::new()));
        let plans = Arc::new(Mutex::new(plans));
        let supervisor = Supervisor {
            commander,
            between,
            logs,
            orders: taken,
            incarnation: publish,
            deaths: Arc::clone(&deaths),
            plans: Arc::clone(&plans),
        };
        tokio::spawn(supervisor.run());
        Self { orders, incarnation, deaths, plans }
    }

    /// The living incarnation, or the next one, with a number of at least `least`.
    pub async fn incarnation(&self, least: u64) -> Incarnation {
        let mut incarnation = self.incarnation.clone();
        let ready = incarnation.wait_for(|now| now.is_some_and(|now| now.number >= least));
        let ready = tokio::time::timeout(PATIENCE, ready).await;
        ready.expect("the service is there in time").expect("the supervisor lives").expect("there is one")
    }

    /// The number of the last incarnation that answered.
    pub fn number(&self) -> u64 {
        self.incarnation.borrow().map_or(0, |now| now.number)
    }

    /// `kill -9`; returns when the next incarnation answers.
    pub async fn kill(&self) -> Incarnation {
        let number = self.number();
        self.orders.send(Order::Kill).await.expect("the supervisor lives");
        self.incarnation(number + 1).await
    }

    /// SIGTERM; the exit status and how long it took. The next incarnation starts by itself.
    pub async fn terminate(&self) -> (ExitStatus, Duration) {
        let (answer, ended) = oneshot::channel();
        self.orders.send(Order::Terminate(answer)).await.expect("the supervisor lives");
        ended.await.expect("the supervisor lives")
    }

    /// How the incarnations so far have ended.
    pub fn deaths(&self) -> Vec<Death> {
        self.deaths.lock().unwrap().clone()
    }

    /// How the next incarnations are started.
    pub fn plan(&self, plans: Vec<Start>) {
        *self.plans.lock().unwrap() = plans;
    }
}

impl Supervisor {
    async fn run(mut self) {
        for number in 1.. {
            let start = {
                let mut plans = self.plans.lock().unwrap();
                if plans.is_empty() { Start::default() } else { plans.remove(0) }
            };
            let log = self.logs.join(format!("service-{number}.log"));
            let begun = Instant::now();
            let mut command = (self.commander)(&start);
            command.stderr(File::create(&log).expect("a log file")).stdout(Stdio::piped());
            let mut child = command.spawn().expect("the service starts");
            if let Some(address) = answering(&mut child).await {
                let ready_at = Instant::now();
                assert!(ready_at - begun < READY, "it took {:?} until the service answered", ready_at - begun);
                self.incarnation.send_replace(Some(Incarnation { number, address, ready_at }));
            }
            let status = self.accompany(&mut child).await;
            let stderr = std::fs::read_to_string(&log).unwrap_or_default();
            let tail = stderr.len().saturating_sub(4_000);
            let tail = (tail..=stderr.len()).find(|at| stderr.is_char_boundary(*at)).unwrap_or(0);
            (self.between)();
            self.deaths.lock().unwrap().push(Death { status, stderr: stderr[tail..].to_owned() });
            if self.orders.is_closed() {
                return;
            }
        }
    }

    /// Carries out orders until the process has ended.
    async fn accompany(&mut self, child: &mut Child) -> ExitStatus {
        let mut told: Option<(oneshot::Sender<(ExitStatus, Duration)>, Instant)> = None;
        let mut has_orders = true;
        loop {
            tokio::select! {
                status = child.wait() => {
                    let status = status.expect("exit status");
                    if let Some((answer, begun)) = told {
                        // the test may have ended
                        let _ = answer.send((status, begun.elapsed()));
                    }
                    return status;
                }
                order = self.orders.recv(), if has_orders => match order {
                    Some(Order::Kill) => child.start_kill().expect("it is our child"),
                    Some(Order::Terminate(answer)) => {
                        if let Some(pid) = child.id() {
                            // SAFETY: plain system call; the child has not been waited for, so the pid is its own
                            assert_eq!(unsafe { libc::kill(pid.cast_signed(), libc::SIGTERM) }, 0);
                        }
                        told = Some((answer, Instant::now()));
                    }
                    None => {
                        has_orders = false;
                        child.start_kill().expect("it is our child");
                    }
                },
            }
        }
    }
}

/// Waits until it listens and `/healthcheck` answers; none: it has ended before.
async fn answering(child: &mut Child) -> Option<SocketAddr> {
    const BEFORE: &str = "hearth: listening on http://";
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
    let address = loop {
        let line = lines.next_line().await.expect("readable output")?;
        if let Some((_, address)) = line.split_once(BEFORE) {
            break address.trim().parse().expect("an address");
        }
    };
    // what it prints later must find a reader
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let healthy = reqwest::get(format!("http://{address}/healthcheck")).await;
    healthy.is_ok_and(|answer| answer.status() == 200).then_some(address)
}
