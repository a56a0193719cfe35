//! One temporary PostgreSQL cluster for the whole test binary, with a database for each test.
//!
//! It listens on a unix socket in its own directory only. A watchdog process holds the end of a pipe: when this process
//! ends, however it ends, the watchdog stops the cluster and removes the directory.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};

const USER: &str = "hearth";
const SKIP: &str = "HEARTH_TEST_NO_POSTGRES";

pub struct Cluster {
    pub directory: PathBuf,
    _watchdog: ChildStdin,
}

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The url of a new, empty database; none when the environment says that this machine has no PostgreSQL.
pub fn fresh_database() -> Option<String> {
    if std::env::var_os(SKIP).is_some() {
        return None;
    }
    let cluster = CLUSTER.get_or_init(start);
    let name = format!("store_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::establish(&cluster.url("postgres")).unwrap();
    connection.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
    Some(cluster.url(&name))
}

/// The directory of the cluster's socket.
pub fn socket_directory() -> PathBuf {
    CLUSTER.get_or_init(start).directory.clone()
}

impl Cluster {
    pub fn url(&self, database: &str) -> String {
        url(&self.directory, database)
    }
}

/// The url of a database behind a socket in `directory`.
pub fn url(directory: &Path, database: &str) -> String {
    let host = directory.display().to_string().replace('/', "%2F");
    format!("postgres://{USER}@{host}/{database}")
}

#[expect(clippy::zombie_processes, reason = "the watchdog outlives this process on purpose")]
fn start() -> Cluster {
    let binaries = find_binaries();
    let directory = tempfile::Builder::new().prefix("hearth-pg-").tempdir().unwrap().keep();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let owner = unprivileged_user(&directory);
    let data = directory.join("data");
    let run = |program: &str, arguments: &[&str]| {
        let mut command = as_user(owner.as_deref(), &binaries.join(program));
        let output = command.args(arguments).arg("-D").arg(&data).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("initdb", &["-U", USER, "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync"]);
    let settings = format!(
        "-c listen_addresses='' -k {} -c fsync=off -c max_connections=300 -c shared_buffers=32MB",
        directory.display()
    );
    let log = directory.join("log");
    // its output goes to the log: the server must not hold this process's pipes open
    let status = as_user(owner.as_deref(), &binaries.join("pg_ctl"))
        .args(["-w", "-l"])
        .arg(&log)
        .arg("-D")
        .arg(&data)
        .args(["-o", &settings, "start"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
    let stop = format!(
        "cat >/dev/null; {} -D {} -m immediate stop; rm -rf {}",
        binaries.join("pg_ctl").display(),
        data.display(),
        directory.display()
    );
    let watchdog = as_user(owner.as_deref(), Path::new("/bin/sh"))
        .args(["-c", &stop])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Cluster { directory, _watchdog: watchdog.stdin.unwrap() }
}

fn find_binaries() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    found.retain(|path| path.join("initdb").exists());
    found.sort();
    found.pop().unwrap_or_else(|| panic!("no PostgreSQL found; set {SKIP}=1 to leave its tests out"))
}

/// PostgreSQL does not run as root: then it runs as `postgres`, who gets the directory.
fn unprivileged_user(directory: &Path) -> Option<String> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
    let fields: Vec<&str> = accounts.lines().find(|line| line.starts_with("postgres:")).unwrap().split(':').collect();
    chown(directory, Some(fields[2].parse().unwrap()), Some(fields[3].parse().unwrap())).unwrap();
    Some("postgres".to_owned())
}

fn as_user(user: Option<&str>, program: &Path) -> Command {
    match user {
        None => Command::new(program),
        Some(user) => {
            let mut command = Command::new("runuser");
            command.args(["-u", user, "--"]).arg(program).current_dir("/");
            command
        }
    }
}
