//! Starts the shipped binary on a free loopback port with a state directory of its own, and ends it with all its children.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Everything that is waited for in these tests comes within this time, or the test fails and says what did not come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

/// The shipped binary.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_hearth"))
}

/// Settings as environment variables: a change of the working directory or of a default never reaches these tests.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// `set("server.listen", "127.0.0.1:0")`.
    pub fn set(mut self, key: &str, value: impl Into<String>) -> Self {
        let name = key.split('.').map(str::to_ascii_uppercase).collect::<Vec<_>>().join("__");
        self.0.insert(format!("HEARTH__{name}"), value.into());
        self
    }
}

/// A command with these settings and no others.
pub fn command(environment: &Environment, arguments: &[&str]) -> Command {
    let mut command = command_of(binary(), environment);
    command.args(arguments);
    command
}

/// Another program with these settings and no others.
pub fn command_of(program: &Path, environment: &Environment) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HEARTH__")) {
        command.env_remove(name);
    }
    command.envs(&environment.0).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command of the binary to its end.
pub async fn run(environment: &Environment, arguments: &[&str]) -> Output {
    let output = command(environment, arguments).output();
    tokio::time::timeout(PATIENCE, output).await.expect("the command ends").expect("the command starts")
}

/// A running service.
pub struct Hearth {
    child: Child,
    environment: Environment,
    address: SocketAddr,
    state: TempDir,
}

impl Hearth {
    /// Starts it; returns when it listens.
    pub async fn start(environment: Environment) -> Self {
        let state = tempfile::Builder::new().prefix("hearth").tempdir().expect("temporary directory");
        Self::start_in(state, environment).await
    }

    /// Starts it on an existing state directory.
    pub async fn start_in(state: TempDir, environment: Environment) -> Self {
        let path = state.path().to_str().expect("utf-8 path").to_owned();
        let environment = environment.set("state.path", path).set("server.listen", "127.0.0.1:0");
        let mut child =
            command(&environment, &["serve"]).stdout(Stdio::piped()).spawn().expect("the shipped binary starts");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let address = tokio::time::timeout(PATIENCE, wait_for_address(stdout)).await.expect("it listens in time");
        Self { child, environment, address, state }
    }

    /// `http://127.0.0.1:PORT` and this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A file of the state directory.
    pub fn state_file(&self, name: &str) -> PathBuf {
        self.state.path().join(name)
    }

    /// The settings it runs with.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Waits until `/healthcheck` answers 200.
    pub async fn wait_until_ready(&self) {
        let client = reqwest::Client::new();
        let url = self.url("/healthcheck");
        wait_until("/healthcheck answers 200", async || {
            client.get(&url).send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }

    /// A call with an admin's token. Fails the test unless the answer is a success.
    pub async fn admin(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        let mut request = reqwest::Client::new().request(method, self.url(path)).header("X-Auth-Token", "admin:admin");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// SIGTERM; the exit status and how long it took.
    pub async fn terminate(mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        let pid = self.child.id().expect("running").cast_signed();
        // SAFETY: plain system call; the process is our child and has not been waited for, so the pid is its own
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("exit status");
        (status, begun.elapsed())
    }
}

impl Drop for Hearth {
    /// Ends the service (by its handle, `kill_on_drop`) and the storage daemons, which outlive it on purpose.
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let mut stop = std::process::Command::new(binary());
        stop.args(["daemons", "stop", "--force"]).envs(&self.environment.0);
        let _ = stop.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

async fn wait_for_address(stdout: tokio::process::ChildStdout) -> SocketAddr {
    const BEFORE: &str = "hearth: listening on http://";
    let mut lines = BufReader::new(stdout).lines();
    let address = loop {
        let line = lines.next_line().await.expect("readable output").expect("it says where it listens before it ends");
        if let Some(address) = line.strip_prefix(BEFORE) {
            break address.trim().parse().expect("an address");
        }
    };
    // what it prints later must find a reader
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    address
}

/// Looks at `condition` until it holds.
pub async fn wait_until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(LOOK).await;
    }
}
