//! A server as a process of its own: started, measured from outside, stopped by its process id.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::http::Connection;
use super::load::{Load, Report, run};

/// More than any server takes to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(1);
/// What both kinds of server print when they accept requests.
const READY: &str = "listening on http://";

/// A running server.
pub struct Server {
    child: Child,
    pid: i32,
    pub address: SocketAddr,
    /// From the start of the process until it answered `/healthcheck`.
    pub ready_after: Duration,
    trace: Option<PathBuf>,
    _stdout: BufReader<tokio::process::ChildStdout>,
}

/// What a load cost.
pub struct Cost {
    pub report: Report,
    pub cpu_us_per_request: f64,
}

impl Server {
    /// Starts `program`; its log goes to `log`.
    pub async fn start(program: &Path, arguments: &[&str], log: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::launch(command, log, None).await
    }

    /// The same below `strace`, which writes each fsync and each lock of a file into `trace`. Other system calls run at their
    /// full speed (`--seccomp-bpf`).
    pub async fn start_traced(program: &Path, arguments: &[&str], log: &Path, trace: &Path) -> Self {
        let mut command = Command::new("strace");
        command.args([
            "-f",
            "--seccomp-bpf",
            "-ttt",
            "-T",
            "-e",
            "trace=fsync,fdatasync,fcntl",
            "-e",
            "signal=none",
            "-o",
        ]);
        command.arg(trace).arg(program).args(arguments);
        Self::launch(command, log, Some(trace.to_owned())).await
    }

    async fn launch(mut command: Command, log: &Path, trace: Option<PathBuf>) -> Self {
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HEARTH__")) {
            command.env_remove(name);
        }
        let begun = Instant::now();
        let log = File::create(log).expect("the log file");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().expect("the server starts, below strace if that is wanted");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            let read = stdout.read_line(&mut line).await.expect("its output");
            assert!(read > 0, "the server ended before it listened");
            if let Some((_, address)) = line.trim().split_once(READY) {
                break address.parse().expect("an address");
            }
        };
        wait_until("the server is ready", async || health(address).await.is_ok_and(|status| status == 200)).await;
        let ready_after = begun.elapsed();
        let own = i32::try_from(child.id().expect("it runs")).expect("a process id");
        let pid = if trace.is_some() { only_child(own) } else { own };
        Self { child, pid, address, ready_after, trace, _stdout: stdout }
    }

    /// Runs `load` and says what it cost the server.
    pub async fn measure(&self, load: &Load) -> Cost {
        let before = self.cpu();
        let report = run(load).await;
        let cpu = (self.cpu() - before).as_micros() as f64;
        if let Some(error) = report.first_error() {
            eprintln!("{} errors, the first: {error}", report.errors());
        }
        Cost { cpu_us_per_request: cpu / report.requests().max(1) as f64, report }
    }

    /// User and system time of all its threads.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("it runs");
        let after_name = stat.rsplit_once(')').expect("a name").1;
        let ticks: Vec<u64> = after_name.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
        // SAFETY: only reads a constant of the system.
        let hertz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Duration::from_secs_f64(ticks.iter().sum::<u64>() as f64 / hertz as f64)
    }

    /// Bytes of its memory that are resident.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// fsyncs which ended between two instants (seconds since the epoch).
    pub fn syncs(&self, from: f64, until: f64) -> u64 {
        let trace = self.trace();
        let ended = trace.lines().filter_map(sync_ended);
        ended.filter(|at| (from..=until).contains(at)).count() as u64
    }

    /// Locks of files which were taken or given back between two instants. Each transaction of SQLite has at least one.
    pub fn locks(&self, from: f64, until: f64) -> u64 {
        let trace = self.trace();
        let begun = trace.lines().filter(|line| line.contains("F_SETLK")).filter_map(begun);
        begun.filter(|at| (from..=until).contains(at)).count() as u64
    }

    fn trace(&self) -> String {
        std::fs::read_to_string(self.trace.as_ref().expect("started below strace")).expect("the trace")
    }

    /// The value of a counter or gauge at `/metrics`, summed over its labels that contain `label`.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        let page = ask(self.address, "/metrics").await;
        let samples = page.lines().filter(|line| !line.starts_with('#') && line.contains(label));
        samples
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(series, _)| series.split('{').next() == Some(name))
            .filter_map(|(_, value)| value.parse::<f64>().ok())
            .sum()
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(mut self) {
        self.signal(libc::SIGTERM);
        if tokio::time::timeout(PATIENCE, self.child.wait()).await.is_err() {
            self.signal(libc::SIGKILL);
        }
    }

    /// `kill -9`, and waits for the end.
    pub async fn kill(mut self) {
        self.signal(libc::SIGKILL);
        let _ = self.child.wait().await;
    }

    fn signal(&self, signal: i32) {
        // SAFETY: sends a signal to a process that this one started and has not waited for.
        unsafe { libc::kill(self.pid, signal) };
    }
}

impl Drop for Server {
    /// A traced server is no child of ours: the end of `strace` does not end it.
    fn drop(&mut self) {
        if self.trace.is_some() && matches!(self.child.try_wait(), Ok(None)) {
            self.signal(libc::SIGKILL);
        }
    }
}

/// `PID SECONDS …`
fn begun(line: &str) -> Option<f64> {
    line.split_whitespace().nth(1)?.parse().ok()
}

/// `PID SECONDS fdatasync(7) = 0 <SECONDS>`, or `PID SECONDS <... fdatasync resumed>) = 0 <SECONDS>`; the latter has the time
/// of its end.
fn sync_ended(line: &str) -> Option<f64> {
    if !line.contains("sync") || line.ends_with("<unfinished ...>") {
        return None;
    }
    let at = begun(line)?;
    if line.contains(" <... ") {
        return Some(at);
    }
    let took: f64 = line.rsplit_once('<')?.1.trim_end_matches('>').parse().ok()?;
    Some(at + took)
}

fn only_child(parent: i32) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("it runs");
    children.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("strace has a child")
}

async fn health(address: SocketAddr) -> io::Result<u16> {
    Ok(Connection::open(address).await?.ask("GET", "/healthcheck", "").await?.status)
}

/// The body of one GET.
pub async fn ask(address: SocketAddr, path: &str) -> String {
    let mut connection = Connection::open(address).await.expect("a connection");
    let answer = connection.ask("GET", path, "").await.expect("an answer");
    assert_eq!(answer.status, 200, "GET {path}");
    String::from_utf8(answer.body).expect("text")
}

/// Looks at `condition` until it holds; how long it took.
pub async fn wait_until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(LOOK).await;
    }
    begun.elapsed()
}

/// Seconds since the epoch, as strace writes them.
pub fn epoch_seconds() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_secs_f64()
}
