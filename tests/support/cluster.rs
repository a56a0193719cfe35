//! A temporary PostgreSQL cluster, for the tests and the benches (each includes this file by its path).
//!
//! It listens on a unix socket in its own directory only. A watchdog process holds the end of a pipe: when this process
//! ends, however it ends, the watchdog stops the cluster and removes the directory.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};

const USER: &str = "hearth";

/// A running cluster; it ends with this process.
pub struct Cluster {
    /// Where its data and its socket are.
    pub directory: PathBuf,
    _watchdog: ChildStdin,
}

/// The url of a database behind a socket in `directory`.
pub fn url(directory: &Path, database: &str) -> String {
    let host = directory.display().to_string().replace('/', "%2F");
    format!("postgres://{USER}@{host}/{database}")
}

impl Cluster {
    /// Makes a cluster below `parent` and starts it with `settings` (`-c name=value …`).
    #[expect(clippy::zombie_processes, reason = "the watchdog outlives this process on purpose")]
    pub fn start(parent: &Path, settings: &str) -> Self {
        let binaries = find_binaries().expect("PostgreSQL is installed");
        let directory = tempfile::Builder::new().prefix("hearth-pg-").tempdir_in(parent).unwrap().keep();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
        let owner = unprivileged_user(&directory);
        let data = directory.join("data");
        let run = |program: &str, arguments: &[&str]| {
            let mut command = as_user(owner.as_deref(), &binaries.join(program));
            let output = command.args(arguments).arg("-D").arg(&data).stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        };
        run("initdb", &["-U", USER, "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync"]);
        let settings = format!("-c listen_addresses='' -k {} {settings}", directory.display());
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
        Self { directory, _watchdog: watchdog.stdin.unwrap() }
    }

    /// The url of one of its databases.
    pub fn url(&self, database: &str) -> String {
        url(&self.directory, database)
    }

    /// Makes a new, empty database; its url.
    pub fn create_database(&self, name: &str) -> String {
        let mut connection = PgConnection::establish(&self.url("postgres")).unwrap();
        connection.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        self.url(name)
    }
}

/// The newest PostgreSQL of this machine.
pub fn find_binaries() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    found.retain(|path| path.join("initdb").exists());
    found.sort();
    found.pop()
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
