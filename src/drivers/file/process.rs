//! A storage daemon as a process of the operating system: started in a session of its own, named by pid and start time,
//! watched and ended through a pidfd, so that a reused pid is never taken for it.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What identifies a process across restarts of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessRecord {
    /// Its pid.
    pub(super) pid: i32,
    /// Its start, in clock ticks since the boot (`/proc/<pid>/stat`, field 22).
    pub(super) start_time: u64,
    /// The boot that the ticks count from.
    pub(super) boot_id: String,
}

/// A process that was alive when it was opened.
pub(super) struct Process {
    record: ProcessRecord,
    pidfd: OwnedFd,
    /// Present when this service started it: then it has to be reaped.
    child: Mutex<Option<Child>>,
}

impl Process {
    /// Starts `command` in its own session, so that neither a signal to the service's group nor its death ends it.
    pub(super) fn spawn(mut command: Command) -> io::Result<Self> {
        // SAFETY: `setsid` is async-signal-safe and touches no memory of the parent.
        unsafe {
            command.pre_exec(|| if libc::setsid() == -1 { Err(io::Error::last_os_error()) } else { Ok(()) });
        }
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        // The child is not reaped yet, so its pid cannot have been given away.
        let pidfd = open_pidfd(pid)?;
        let record = ProcessRecord { pid, start_time: stat(pid)?.start_time, boot_id: boot_id()? };
        Ok(Self { record, pidfd, child: Mutex::new(Some(child)) })
    }

    /// The process of `record`, or none when it is dead. Any other answer than a plain "dead" is an error: a replacement
    /// must not start beside a daemon that may live.
    pub(super) fn open(record: &ProcessRecord) -> io::Result<Option<Self>> {
        if record.boot_id != boot_id()? {
            return Ok(None);
        }
        let pidfd = match open_pidfd(record.pid) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            other => other?,
        };
        // Read after the pidfd is open: it now names this process whatever happens to the pid.
        match stat(record.pid) {
            Ok(found) if found.start_time == record.start_time && !found.zombie => {
                Ok(Some(Self { record: record.clone(), pidfd, child: Mutex::new(None) }))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The record of the process that has `pid` now if its command line contains `mark`.
    pub(super) fn find(pid: i32, mark: &str) -> io::Result<Option<ProcessRecord>> {
        let Ok(command_line) = fs::read(format!("/proc/{pid}/cmdline")) else { return Ok(None) };
        if !String::from_utf8_lossy(&command_line).contains(mark) {
            return Ok(None);
        }
        match stat(pid) {
            Ok(found) if !found.zombie => {
                Ok(Some(ProcessRecord { pid, start_time: found.start_time, boot_id: boot_id()? }))
            }
            _ => Ok(None),
        }
    }

    /// Who it is.
    pub(super) const fn record(&self) -> &ProcessRecord {
        &self.record
    }

    /// Whether it runs; a process that has ended but is not reaped does not.
    pub(super) fn is_alive(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd; a timeout of zero never blocks.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
        if ready > 0 {
            self.reap();
        }
        ready == 0
    }

    /// Waits until it has ended.
    pub(super) async fn exited(&self) -> io::Result<()> {
        let pidfd = self.pidfd.try_clone()?;
        // SAFETY: the descriptor is owned by the watch and stays open until the watch is dropped.
        let watched = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?;
        while self.is_alive() {
            watched.readable().await?.clear_ready();
        }
        Ok(())
    }

    /// Sends a signal; already ended is success.
    pub(super) fn signal(&self, signal: i32) -> io::Result<()> {
        // SAFETY: plain system call on an open descriptor, no pointers but a null one.
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), signal, std::ptr::null::<u8>(), 0)
        };
        match io::Error::last_os_error() {
            _ if result == 0 => Ok(()),
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            error => Err(error),
        }
    }

    fn reap(&self) {
        if let Some(child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let _ = child.try_wait();
        }
    }
}

fn open_pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain system call without pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

struct Stat {
    start_time: u64,
    zombie: bool,
}

fn stat(pid: i32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "unreadable process status");
    // The command's name may contain anything, also parentheses: the fields after it start at the last one.
    let (_, fields) = text.rsplit_once(')').ok_or_else(unreadable)?;
    let mut fields = fields.split_whitespace();
    let zombie = matches!(fields.next(), Some("Z" | "X"));
    // Field 22 of the line; the state just taken was field 3.
    let start_time = fields.nth(18).and_then(|word| word.parse().ok()).ok_or_else(unreadable)?;
    Ok(Stat { start_time, zombie })
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Process {
        let mut command = Command::new("sleep");
        command.arg("600");
        Process::spawn(command).expect("sleep starts")
    }

    #[tokio::test]
    async fn a_process_is_known_by_pid_and_start_and_dead_once_killed() {
        let process = sleeper();
        let record = process.record().clone();
        assert!(process.is_alive());
        assert!(Process::open(&record).expect("readable").is_some_and(|found| found.is_alive()));
        let reused = ProcessRecord { start_time: record.start_time + 1, ..record.clone() };
        assert!(Process::open(&reused).expect("readable").is_none(), "another process with the same pid");
        let earlier_boot = ProcessRecord { boot_id: "another".into(), ..record.clone() };
        assert!(Process::open(&earlier_boot).expect("readable").is_none());

        process.signal(libc::SIGKILL).expect("killed");
        process.exited().await.expect("watched");
        assert!(Process::open(&record).expect("readable").is_none());
        process.signal(libc::SIGKILL).expect("killing the dead is no error");
    }

    #[test]
    fn a_process_has_a_session_of_its_own() {
        let process = sleeper();
        // SAFETY: plain system call.
        let session = unsafe { libc::getsid(process.record().pid) };
        assert_eq!(session, process.record().pid);
        process.signal(libc::SIGKILL).expect("killed");
    }
}
