//! `[[backends]]`: one storage backend each, with what its driver wants to know.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::parse::{one_of, word};
use super::reader::{Problem, Table};
use crate::domain::backend::Deadlines;

/// Names of backends become parts of host names (`host@backend#pool`), directories and metric labels.
const NAME_BYTES_MAX: usize = 32;

/// What the names of iSCSI targets begin with.
const DEFAULT_TARGET_PREFIX: &str = "iqn.2010-10.org.openstack:";

/// An iSCSI name has 223 bytes at most; the rest is for the export's name.
const TARGET_PREFIX_MAX: usize = 95;

/// One storage backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendSettings {
    /// `host@<name>#pool`.
    pub name: String,
    /// Calls that run at the same time.
    pub workers: usize,
    /// Calls that wait; beyond it a call ends as `Failed` at once.
    pub queue: usize,
    /// Calls past their deadline that have not returned; beyond it the circuit opens.
    pub max_outstanding: usize,
    /// Deadline of every call.
    pub deadlines: Deadlines,
    /// The zone of its volumes; none: the common one.
    pub availability_zone: Option<String>,
    /// Percent of the pool that new volumes do not get.
    pub reserved_percentage: u8,
    /// Provisioned GiB may be so many times the pool's size.
    pub max_over_subscription_ratio: f64,
    /// The driver and its options.
    pub driver: DriverSettings,
}

/// `driver` and its options.
#[derive(Clone, Debug, PartialEq)]
pub enum DriverSettings {
    /// `file`: raw files in a directory, exported by storage daemons.
    File(FileDriverSettings),
    /// `sim`: a simulated backend and hypervisor with a truth of their own.
    Sim(SimDriverSettings),
}

/// Options of `file`.
#[derive(Clone, Debug, PartialEq)]
pub struct FileDriverSettings {
    /// The pool's directory, made with mode 0700; absolute.
    pub path: PathBuf,
    /// Volumes are spread over so many storage daemons, so that a daemon's death takes only its share of exports along.
    pub daemons_per_pool: usize,
    /// How clients reach the volumes.
    pub target_protocol: TargetProtocol,
}

/// `target_protocol` and its options, with Cinder's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetProtocol {
    /// NBD on a unix socket.
    Nbd,
    /// A path on this machine.
    Local,
    /// iSCSI with CHAP.
    Iscsi {
        /// `target_ip_address` and `target_port`.
        portal: SocketAddr,
        /// `target_prefix`.
        prefix: String,
    },
}

/// Options of `sim`.
#[derive(Clone, Debug, PartialEq)]
pub struct SimDriverSettings {
    /// Where the simulated backend runs.
    pub process: SimProcess,
    /// Its truth: an append-only file which survives a kill of the service; absolute.
    pub truth: PathBuf,
    /// How long a call takes, typically.
    pub latency: Duration,
    /// Latency and faults follow from it.
    pub seed: u64,
}

/// `process` of a sim backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SimProcess {
    /// Inside the service.
    InProcess,
    /// `hearth sim-backend` behind this socket: calls in flight go on while the service is dead.
    Separate {
        /// Its socket; absolute.
        socket: PathBuf,
    },
}

impl BackendSettings {
    /// The directory or file that a driver keeps its volumes' truth in.
    pub fn path(&self) -> &Path {
        match &self.driver {
            DriverSettings::File(file) => &file.path,
            DriverSettings::Sim(sim) => &sim.truth,
        }
    }
}

const COMMON: [&str; 9] = [
    "name",
    "driver",
    "workers",
    "queue",
    "max_outstanding",
    "deadlines",
    "availability_zone",
    "reserved_percentage",
    "max_over_subscription_ratio",
];
const FILE_OPTIONS: [&str; 6] =
    ["path", "daemons_per_pool", "target_protocol", "target_ip_address", "target_port", "target_prefix"];
const SIM_OPTIONS: [&str; 5] = ["process", "socket", "truth", "latency_ms", "seed"];

/// Reads one `[[backends]]` section.
pub(super) fn parse(mut table: Table, state_path: &Path, problems: &mut Vec<Problem>) -> BackendSettings {
    let name = name(&mut table, problems);
    let driver_word = table.take(problems, "driver", Some("file"), |value| one_of(value, &["file", "sim"]).map(Some));
    let workers = table.number(problems, "workers", 4, 1..=1024);
    let queue = table.number(problems, "queue", 1024, 1..=1_000_000);
    let max_outstanding = table.number(problems, "max_outstanding", 32, 1..=100_000);
    let availability_zone = table.optional_text(problems, "availability_zone").filter(|zone| !zone.is_empty());
    let reserved_percentage = table.number(problems, "reserved_percentage", 0, 0..=100);
    let max_over_subscription_ratio = table.fraction(problems, "max_over_subscription_ratio", 20.0, 1.0);
    let deadlines = deadlines(table.table(problems, "deadlines"), problems);
    let (driver, options) = match driver_word {
        Some("sim") => (DriverSettings::Sim(sim(&mut table, &name, state_path, problems)), &SIM_OPTIONS[..]),
        _ => (DriverSettings::File(file(&mut table, &name, state_path, problems)), &FILE_OPTIONS[..]),
    };
    let known: Vec<&str> = COMMON.iter().chain(options).copied().collect();
    table.finish(problems, &known);
    BackendSettings {
        name,
        workers,
        queue,
        max_outstanding,
        deadlines,
        availability_zone,
        reserved_percentage,
        max_over_subscription_ratio,
        driver,
    }
}

fn name(table: &mut Table, problems: &mut Vec<Problem>) -> String {
    let (key, origin) = (table.key("name"), table.origin_of("name"));
    let name = table.text(problems, "name", "");
    let reason = if name.is_empty() {
        Some("a backend must have a name".to_owned())
    } else if name.len() > NAME_BYTES_MAX {
        Some(format!("must have at most {NAME_BYTES_MAX} bytes"))
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        Some("may only have letters, digits, '-' and '_': it becomes part of host@backend#pool".to_owned())
    } else {
        None
    };
    problems.extend(reason.map(|reason| Problem { key, reason, origin }));
    name
}

fn file(table: &mut Table, name: &str, state_path: &Path, problems: &mut Vec<Problem>) -> FileDriverSettings {
    let path = table.optional_text(problems, "path").filter(|path| !path.is_empty());
    FileDriverSettings {
        path: absolute(path.map_or_else(|| state_path.join("pools").join(name), PathBuf::from)),
        daemons_per_pool: table.number(problems, "daemons_per_pool", 2, 1..=64),
        target_protocol: target_protocol(table, problems),
    }
}

/// The iSCSI options are read for every protocol, so that a wrong one is told before it is needed.
fn target_protocol(table: &mut Table, problems: &mut Vec<Problem>) -> TargetProtocol {
    let protocol = table.take(problems, "target_protocol", "nbd", |value| one_of(value, &["nbd", "local", "iscsi"]));
    let address = table.take(problems, "target_ip_address", IpAddr::V4(Ipv4Addr::LOCALHOST), |value| {
        word(value)?.parse().map_err(|_| "must be an IP address".to_owned())
    });
    let port = table.number(problems, "target_port", 3260, 1..=65_535);
    let prefix = table.take(problems, "target_prefix", DEFAULT_TARGET_PREFIX.to_owned(), |value| {
        let text = word(value)?;
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte);
        match text.starts_with("iqn.") && text.len() <= TARGET_PREFIX_MAX && text.bytes().all(is_name) {
            true => Ok(text),
            false => Err(format!(
                "must begin with 'iqn.', have only lower-case letters, digits, '-', '.' and ':', and at most {TARGET_PREFIX_MAX} bytes"
            )),
        }
    });
    match protocol {
        "local" => TargetProtocol::Local,
        "iscsi" => TargetProtocol::Iscsi { portal: SocketAddr::new(address, port), prefix },
        _ => TargetProtocol::Nbd,
    }
}

fn sim(table: &mut Table, name: &str, state_path: &Path, problems: &mut Vec<Problem>) -> SimDriverSettings {
    let word = table.take(problems, "process", "in-process", |value| one_of(value, &["in-process", "separate"]));
    let socket = table.optional_text(problems, "socket").filter(|path| !path.is_empty());
    let truth = table.optional_text(problems, "truth").filter(|path| !path.is_empty());
    let default_file = |extension: &str| state_path.join(format!("sim-{name}.{extension}"));
    SimDriverSettings {
        process: match word {
            "separate" => {
                SimProcess::Separate { socket: absolute(socket.map_or_else(|| default_file("sock"), PathBuf::from)) }
            }
            _ => SimProcess::InProcess,
        },
        truth: absolute(truth.map_or_else(|| default_file("truth"), PathBuf::from)),
        latency: Duration::from_millis(table.number(problems, "latency_ms", 5, 0..=3_600_000)),
        seed: table.number(problems, "seed", 1, 0..=i64::MAX),
    }
}

fn deadlines(mut table: Table, problems: &mut Vec<Problem>) -> Deadlines {
    let default = Deadlines::default();
    let mut of = |name: &str, default: Duration| table.duration(problems, name, default, false);
    let deadlines = Deadlines {
        create: of("create", default.create),
        delete: of("delete", default.delete),
        extend: of("extend", default.extend),
        export: of("export", default.export),
        unexport: of("unexport", default.unexport),
        probe: of("probe", default.probe),
        copy_stall: of("copy_stall", default.copy_stall),
    };
    table.finish(problems, &["create", "delete", "extend", "export", "unexport", "probe", "copy_stall"]);
    deadlines
}

/// Paths go to guests and daemons with other working directories, therefore they are made absolute once, here.
pub(super) fn absolute(path: PathBuf) -> PathBuf {
    // fails only for an empty path or an unreadable working directory; the check of the state directory reports that
    std::path::absolute(&path).map(|path| path.components().collect()).unwrap_or(path)
}
