//! Starts the shipped binary on a free loopback port with a state directory of its own, and ends it with all its children.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::drivers::file::unmount_below;

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
pub struct Environment {
    variables: BTreeMap<String, String>,
    log: Option<PathBuf>,
}

impl Environment {
    /// `set("server.listen", "127.0.0.1:0")`.
    pub fn set(mut self, key: &str, value: impl Into<String>) -> Self {
        let name = key.split('.').map(str::to_ascii_uppercase).collect::<Vec<_>>().join("__");
        self.variables.insert(format!("HEARTH__{name}"), value.into());
        self
    }

    /// The variables themselves.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Everything that the service can say goes to this file.
    pub fn log_to(mut self, path: &Path) -> Self {
        self.variables.insert("HEARTH_LOG".into(), "trace".into());
        self.log = Some(path.to_owned());
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
    if let Some(path) = &environment.log {
        let file = std::fs::File::options().create(true).append(true).open(path).expect("a log file");
        command.stderr(file);
    }
    command.envs(&environment.variables).stdin(Stdio::null()).kill_on_drop(true);
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
    client: reqwest::Client,
    state: TempDir,
}

impl Hearth {
    /// Starts it; returns when it listens.
    pub async fn start(environment: Environment) -> Self {
        let state = tempfile::Builder::new().prefix("hearth").tempdir().expect("temporary directory");
        let path = state.path().to_str().expect("utf-8 path").to_owned();
        let environment = environment.set("state.path", path).set("server.listen", "127.0.0.1:0");
        let (child, address) = launch(&environment).await;
        // A short patience of the client's own: a killed service must not hold a test.
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Self { child, environment, address, client, state }
    }

    /// `kill -9`: the service is dead when this returns; its storage daemons live on.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Starts it again on the same state, after a kill; returns when it listens.
    pub async fn start_again(&mut self) {
        (self.child, self.address) = launch(&self.environment).await;
    }

    /// The same, to die at a crash point: `driver.before:5`.
    pub async fn start_again_to_die_at(&mut self, place: &str) {
        let environment = self.environment.clone().set("faults.enabled", "true").set("faults.crash_at", place);
        (self.child, self.address) = launch(&environment).await;
    }

    /// Waits until it has died by itself.
    pub async fn wait_until_dead(&mut self) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it dies").expect("exit status");
        assert!(!status.success(), "{status}");
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

    /// A call with an admin's token: status and body. `Err` when there was no answer.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<(u16, Value), reqwest::Error> {
        self.ask_with(method, path, body, &[]).await
    }

    /// The same with further headers.
    pub async fn ask_with(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Result<(u16, Value), reqwest::Error> {
        let mut request = self.client.request(method, self.url(path)).header("X-Auth-Token", "admin:admin");
        request = request.header("OpenStack-API-Version", "volume 3.71, compute 2.89");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// A call with an admin's token. Fails the test unless the answer is a success.
    pub async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, body) = self.ask(method, path, body).await.expect("an answer");
        assert!((200..300).contains(&status), "{path}: {status} {body:#}");
        body
    }

    /// A volume; none when it does not exist.
    pub async fn volume(&self, id: &str) -> Option<Value> {
        let (status, body) = self.ask(Method::GET, &format!("/v3/volumes/{id}"), None).await.expect("an answer");
        match status {
            404 => None,
            200 => Some(body["volume"].clone()),
            _ => panic!("{status} {body:#}"),
        }
    }

    /// Makes a volume and waits until it is available; its id.
    pub async fn volume_create(&self, size_gib: u32) -> String {
        let body = json!({"volume": {"size": size_gib}});
        let made = self.admin(Method::POST, "/v3/volumes", Some(body)).await;
        let id = made["volume"]["id"].as_str().expect("an id").to_owned();
        self.wait_for_status(&id, "available").await;
        id
    }

    /// Waits until the volume has this status; the volume. An error status ends the wait at once.
    pub async fn wait_for_status(&self, id: &str, status: &str) -> Value {
        let mut seen = Value::Null;
        wait_until(&format!("volume {id} is {status}"), async || {
            seen = self.volume(id).await.unwrap_or_default();
            let word = seen["status"].as_str().unwrap_or_default();
            assert!(word == status || !word.starts_with("error"), "{seen:#}");
            word == status
        })
        .await;
        seen
    }

    /// Attaches a volume to a server through Compute and waits for it; the attachment's id.
    pub async fn server_add_volume(&self, server: &str, id: &str) -> String {
        let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
        self.admin(Method::POST, &path, Some(json!({"volumeAttachment": {"volumeId": id}}))).await;
        let volume = self.wait_for_status(id, "in-use").await;
        volume["attachments"][0]["attachment_id"].as_str().expect("one attachment").to_owned()
    }

    /// Detaches a volume from a server through Compute and waits for it.
    pub async fn server_remove_volume(&self, server: &str, id: &str) {
        let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments/{id}");
        self.admin(Method::DELETE, &path, None).await;
        self.wait_for_status(id, "available").await;
    }

    /// Deletes a volume and waits until it is gone.
    pub async fn volume_delete(&self, id: &str) {
        self.admin(Method::DELETE, &format!("/v3/volumes/{id}"), None).await;
        wait_until("the volume is gone", async || self.volume(id).await.is_none()).await;
    }

    /// Registers a server at `/admin/servers`.
    pub async fn server_register(&self, id: &str, name: &str, hypervisor: &str, qmp_socket: Option<&Path>) {
        let server = json!({
            "id": id,
            "name": name,
            "project_id": "admin",
            "host": "compute-1",
            "hypervisor": hypervisor,
            "qmp_socket": qmp_socket,
            "vm_state": "active",
        });
        self.admin(Method::POST, "/admin/servers", Some(json!({ "server": server }))).await;
    }

    /// What `hearth fsck --json` prints beside the running service, one value a line; the exit code must fit.
    pub async fn fsck(&self) -> Vec<Value> {
        let output = run(&self.environment, &["fsck", "--json"]).await;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let differences: Vec<Value> = stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        // 3: differences that no open work explains
        let unexplained = differences.iter().any(|difference| difference["explained_by"].is_null());
        let expected = if unexplained { 3 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{stdout}{stderr}");
        differences
    }

    /// The file of a volume in the default pool.
    pub fn volume_file(&self, id: &str) -> PathBuf {
        self.volume_file_in("local", id)
    }

    /// The file of a volume in the pool of a backend.
    pub fn volume_file_in(&self, backend: &str, id: &str) -> PathBuf {
        self.state_file(&format!("pools/{backend}/{id}.raw"))
    }

    /// The storage and target daemons that work for this state directory: also those which no record names.
    pub fn daemon_pids(&self) -> Vec<i32> {
        let mark = format!("{}/run/", self.state.path().display());
        let processes = std::fs::read_dir("/proc").expect("/proc");
        processes
            .filter_map(|entry| {
                let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
                let command_line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
                let text = String::from_utf8_lossy(&command_line).into_owned();
                // The target daemon has its directory in its environment.
                let is_target = || {
                    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                    text.contains("tgtd") && String::from_utf8_lossy(&environment).contains(&mark)
                };
                (text.contains("qemu-storage-daemon") && text.contains(&mark) || is_target()).then_some(pid)
            })
            .collect()
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        let pid = self.child.id().expect("running").cast_signed();
        // SAFETY: plain system call; the process is our child and has not been waited for, so the pid is its own
        assert_eq!(unsafe { libc::kill(pid, libc::SIGHUP) }, 0);
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
    /// Ends the service and the storage daemons, which outlive it on purpose.
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        // It may be starting a daemon at this moment: only when it is dead there are no further ones.
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        for pid in self.daemon_pids() {
            // SAFETY: plain system call; the process was recognised by its command line just now
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        unmount_below(self.state.path());
    }
}

async fn launch(environment: &Environment) -> (Child, SocketAddr) {
    let mut child = command(environment, &["serve"]).stdout(Stdio::piped()).spawn().expect("the shipped binary starts");
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let address = tokio::time::timeout(PATIENCE, wait_for_address(stdout)).await.expect("it listens in time");
    (child, address)
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
