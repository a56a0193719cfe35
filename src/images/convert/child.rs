//! `qemu-img` as a child that can open two files and nothing else.
//!
//! It gets both files as descriptors, so that no path is in its arguments; no network; no file beyond the system's programs
//! and libraries (Landlock); bounds on memory, processor time, and the size of what it writes; and it is killed with its
//! deadline, and with this process. It is told the format of everything it opens: there is no probing.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError,
};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::{ConvertError, ConvertLimits, DiskFormat, Rejected};

/// What is kept of the words it ends with.
const WORDS_BYTES_MAX: u64 = 4096;
/// Files that it may have open.
const FILES_MAX: u64 = 64;
/// The version of Landlock whose rights are handled; an older kernel handles those that it knows.
const LANDLOCK: ABI = ABI::V5;
/// Where programs and libraries are.
const SYSTEM: [&str; 7] = ["/usr", "/lib", "/lib64", "/bin", "/opt", "/nix/store", "/etc/ld.so.cache"];

/// One conversion.
pub(super) struct Conversion<'a> {
    pub(super) program: &'a Path,
    pub(super) limits: &'a ConvertLimits,
    pub(super) source: (&'a File, DiskFormat),
    pub(super) destination: (&'a File, DiskFormat),
    /// The destination exists with its size and is all zeroes; otherwise `qemu-img` makes its headers.
    pub(super) in_place: bool,
    /// Bytes up to which the destination may grow.
    pub(super) bytes_max: u64,
}

impl Conversion<'_> {
    /// Runs it to its end.
    pub(super) async fn run(&self) -> Result<(), ConvertError> {
        let cannot = |error: &dyn std::fmt::Display| ConvertError::Unavailable(error.to_string());
        let mut command = self.command().map_err(|error| cannot(&error))?;
        let mut child = command.spawn().map_err(|error| cannot(&error))?;
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let ended = async {
            let mut words = Vec::new();
            let mut stderr = stderr.take(WORDS_BYTES_MAX);
            stderr.read_to_end(&mut words).await?;
            // what does not fit must not hold it up
            drop(stderr);
            Ok::<_, io::Error>((child.wait().await?, String::from_utf8_lossy(&words).into_owned()))
        };
        match tokio::time::timeout(self.limits.deadline, ended).await {
            Ok(Ok((status, words))) => judge(status, &words),
            Ok(Err(error)) => Err(cannot(&error)),
            // the child goes with its handle
            Err(_) => Err(ConvertError::Deadline(self.limits.deadline)),
        }
    }

    fn command(&self) -> Result<Command, Confinement> {
        let (source, destination) = (self.source.0.as_raw_fd(), self.destination.0.as_raw_fd());
        let mut command = Command::new(self.program);
        command.arg("convert").env_clear().env("LC_ALL", "C").env("MALLOC_ARENA_MAX", "2");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
        if self.in_place {
            let driver = self.destination.1.driver();
            command.args(["-n", "--target-is-zero", "--target-image-opts", &self.source_name(source)]);
            command.arg(format!("driver={driver},file.driver=file,file.filename={}", path(destination)));
        } else {
            command.args(["-O", self.destination.1.driver(), &self.source_name(source), &path(destination)]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.current_dir("/").process_group(0).kill_on_drop(true);
        let ruleset = self.ruleset()?;
        let limits = [
            (libc::RLIMIT_AS, self.limits.memory_bytes),
            (libc::RLIMIT_CPU, self.limits.deadline.as_secs().max(1)),
            (libc::RLIMIT_FSIZE, self.bytes_max),
            (libc::RLIMIT_NOFILE, FILES_MAX.max(highest(source, destination))),
            (libc::RLIMIT_CORE, 0),
        ];
        // SAFETY: between fork and exec only system calls are made, without allocation or locks, on values made before.
        unsafe {
            command.pre_exec(move || confine([source, destination], &limits, ruleset.as_ref()));
        }
        Ok(command)
    }

    /// The source as a tree of block drivers, so that nothing is left to its headers.
    fn source_name(&self, descriptor: RawFd) -> String {
        let driver = self.source.1.driver();
        let file = serde_json::json!({"driver": "file", "filename": path(descriptor)});
        let tree = match self.source.1 {
            DiskFormat::Qcow2 | DiskFormat::Vmdk => {
                serde_json::json!({"driver": driver, "backing": null, "file": file})
            }
            _ => serde_json::json!({"driver": driver, "file": file}),
        };
        format!("json:{tree}")
    }

    /// What it may open. None: the kernel has no Landlock, and two nets must do.
    fn ruleset(&self) -> Result<Option<OwnedFd>, Confinement> {
        let read_and_run = AccessFs::from_read(LANDLOCK);
        let for_files: BitFlags<AccessFs> = AccessFs::from_file(LANDLOCK);
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .create()?;
        let own_folder = self.program.parent().filter(|folder| folder.is_absolute());
        for path in SYSTEM.iter().map(Path::new).chain(own_folder) {
            // not every system has all of them
            if let Ok(found) = PathFd::new(path) {
                let rights = if path.is_dir() { read_and_run } else { AccessFs::ReadFile.into() };
                ruleset = ruleset.add_rule(PathBeneath::new(found, rights))?;
            }
        }
        let ruleset = ruleset
            .add_rule(PathBeneath::new(self.source.0, BitFlags::from(AccessFs::ReadFile)))?
            .add_rule(PathBeneath::new(self.destination.0, for_files))?;
        Ok(ruleset.into())
    }
}

/// The child cannot be confined.
#[derive(Debug, thiserror::Error)]
#[error("it cannot be confined: {0}")]
struct Confinement(#[from] RulesetError);

fn highest(one: RawFd, other: RawFd) -> u64 {
    u64::try_from(one.max(other)).unwrap_or(0) + FILES_MAX
}

/// A descriptor as a file that can be opened.
fn path(descriptor: RawFd) -> String {
    format!("/proc/self/fd/{descriptor}")
}

/// In the child, before it becomes `qemu-img`.
fn confine(
    files: [RawFd; 2],
    limits: &[(libc::__rlimit_resource_t, u64)],
    ruleset: Option<&OwnedFd>,
) -> io::Result<()> {
    let checked = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: plain system calls in a process with one thread; every pointer is to a live local.
    unsafe {
        for file in files {
            // the two descriptors that it inherits
            checked(libc::fcntl(file, libc::F_SETFD, 0))?;
        }
        // An empty network, and no power over the files of others; where the system does not allow it, Landlock and the
        // limits are there all the same.
        let _ = libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET);
        for (resource, most) in limits {
            let limit = libc::rlimit { rlim_cur: *most, rlim_max: *most };
            checked(libc::setrlimit(*resource, &raw const limit))?;
        }
        checked(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        checked(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        if let Some(ruleset) = ruleset {
            let result = libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0);
            checked(libc::c_int::try_from(result).unwrap_or(-1))?;
        }
    }
    Ok(())
}

/// What its end means. Its words may name what an image contains: they are for the log.
fn judge(status: ExitStatus, words: &str) -> Result<(), ConvertError> {
    if status.success() {
        return Ok(());
    }
    tracing::warn!(%status, words = words.trim(), "qemu-img could not convert an image");
    if words.contains("No space left on device") || words.contains("Disk quota exceeded") {
        return Err(ConvertError::NoSpace);
    }
    let why = match status.signal() {
        Some(libc::SIGXCPU | libc::SIGKILL) => "the image takes more processor time to read than is allowed",
        Some(libc::SIGXFSZ) => "the image holds more than it says",
        _ => "the image cannot be read",
    };
    Err(Rejected::new(why).into())
}
