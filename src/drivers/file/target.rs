//! The iSCSI target daemon of one backend (`tgtd`), and a target for each export.
//!
//! A target serves the file that a storage daemon shows for the export, to one initiator with one CHAP account. What keeps
//! a fenced client out is the storage daemon; here the client's session ends, and its name and account go.

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::daemon::end;
use super::process::{Process, ProcessRecord};
use super::protocol::{Account, IscsiOptions, target_name};
use super::registry::{read_json, write_json};
use super::tgt_wire::{Mode, Op, Request, TgtError, ask};
use crate::domain::attachment::AttachMode;
use crate::domain::ids::{ExportName, VolumeId};

/// The logical unit of a volume, as Cinder's drivers for this daemon have it; 0 is the daemon's own controller.
pub(super) const LUN: u64 = 1;

/// Threads that serve one logical unit; the daemon's own default is 16, for each of them.
const THREADS_PER_LUN: &str = "4";

/// From the start of a daemon until it answers; measured about 60 ms.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a starting daemon is asked.
const START_POLL: Duration = Duration::from_millis(5);

/// A command that meets no answer in this time has none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a target is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    /// The daemon does not start.
    #[error("the iSCSI target daemon does not start: {0}")]
    Start(io::Error),
    /// It says no, or nothing.
    #[error(transparent)]
    Tgt(#[from] TgtError),
}

/// What a target serves.
pub(super) struct Offer<'a> {
    pub(super) volume: VolumeId,
    pub(super) export: &'a ExportName,
    /// The file that the storage daemon shows.
    pub(super) file: &'a Path,
    pub(super) mode: AttachMode,
    pub(super) account: &'a Account,
}

/// The daemon and its targets.
pub(super) struct Targets {
    dir: PathBuf,
    options: IscsiOptions,
    binary: Option<PathBuf>,
    owned: AtomicBool,
    /// Held for a sequence of commands, and while a process is looked for, started or stopped.
    gate: tokio::sync::Mutex<()>,
    current: Mutex<Option<Arc<Process>>>,
    /// Numbers of the targets that the present process has; right while the gate is held.
    known: Mutex<HashMap<String, Known>>,
    /// Names of targets that have an old file open, or would have it if they are there.
    outdated: Mutex<HashSet<String>>,
    /// Told when there is another process, and when the backend goes away.
    pub(super) changed: Notify,
}

#[derive(Clone, Copy)]
struct Known {
    number: i32,
    /// Made to the end, not cut off by a crash.
    complete: bool,
}

impl Targets {
    /// In the directory `target` of the backend's state; without a binary a running daemon can be adopted, none started.
    pub(super) fn new(state_dir: &Path, options: IscsiOptions, binary: Option<PathBuf>) -> Self {
        Self {
            dir: state_dir.join("target"),
            options,
            binary,
            owned: AtomicBool::new(false),
            gate: tokio::sync::Mutex::new(()),
            current: Mutex::default(),
            known: Mutex::default(),
            outdated: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Where clients go.
    pub(super) const fn options(&self) -> &IscsiOptions {
        &self.options
    }

    /// Whether there is a daemon to start.
    pub(super) const fn can_serve(&self) -> bool {
        self.binary.is_some()
    }

    /// From here on this process drives the daemon.
    pub(super) fn own(&self) {
        self.owned.store(true, Ordering::Relaxed);
    }

    /// The process, if it is known and lives.
    pub(super) fn process(&self) -> Option<Arc<Process>> {
        self.slot().clone().filter(|process| process.is_alive())
    }

    /// The export's file is a new one, or has another size: a target that has the old one open is made again by the next
    /// [`Self::offer`], whichever call that is and however often one fails.
    pub(super) fn outdate(&self, export: &ExportName) {
        self.outdated().insert(target_name(&self.options, export));
    }

    /// Makes the target unless it is there as it should be.
    pub(super) async fn offer(&self, offer: &Offer<'_>) -> Result<(), TargetError> {
        let _gate = self.gate.lock().await;
        self.running(true).await?;
        let name = target_name(&self.options, offer.export);
        let known = self.known().get(&name).copied();
        match known {
            Some(known) if known.complete && !self.outdated().contains(&name) => return Ok(()),
            Some(known) => self.delete(&name, known).await?,
            None => {}
        }
        let number = self.known().values().map(|known| known.number).max().unwrap_or(0) + 1;
        let known = Known { number, complete: false };
        self.known().insert(name.clone(), known);
        match self.make(&name, number, offer).await {
            Ok(()) => {
                self.outdated().remove(&name);
                self.known().insert(name, Known { complete: true, ..known });
                Ok(())
            }
            Err(error) => {
                if let Err(left) = self.delete(&name, known).await {
                    tracing::warn!(target = name, %left, "a target that could not be made is left behind");
                }
                Err(error.into())
            }
        }
    }

    /// Ends the export's target with its sessions and its account; not there is success, and so is a dead daemon.
    pub(super) async fn withdraw(&self, export: &ExportName) -> Result<(), TargetError> {
        self.withdraw_named(&target_name(&self.options, export)).await
    }

    /// Ends the targets that no export of `wanted` has: what a crash between record and command has left.
    pub(super) async fn keep_only<'a>(&self, wanted: impl Iterator<Item = &'a ExportName>) -> Result<(), TargetError> {
        let wanted: Vec<String> = wanted.map(|export| target_name(&self.options, export)).collect();
        {
            let _gate = self.gate.lock().await;
            self.running(false).await?;
        }
        let odd: Vec<String> = self.known().keys().filter(|name| !wanted.contains(name)).cloned().collect();
        for name in odd {
            self.withdraw_named(&name).await?;
        }
        Ok(())
    }

    /// Whether an initiator is logged in to the export's target.
    pub(super) async fn is_in_use(&self, export: &ExportName) -> Result<bool, TargetError> {
        let _gate = self.gate.lock().await;
        if !self.running(false).await? {
            return Ok(false);
        }
        let Some(known) = self.known().get(&target_name(&self.options, export)).copied() else { return Ok(false) };
        let sessions = self.ask(&Request::new(Mode::Connection, Op::Show, Some(known.number))).await?;
        Ok(sessions.contains("Connection:"))
    }

    /// The daemon's pid and how many targets it has, if it runs.
    pub(super) async fn info(&self) -> Result<Option<(i32, usize)>, TargetError> {
        let _gate = self.gate.lock().await;
        if !self.running(false).await? {
            return Ok(None);
        }
        Ok(self.process().map(|process| (process.record().pid, self.known().len())))
    }

    /// Ends the daemon. The caller has made sure that it has no target.
    pub(super) async fn stop(&self) -> Result<(), TargetError> {
        let _gate = self.gate.lock().await;
        if self.running(false).await?
            && let Some(process) = self.process()
        {
            // It ends by itself on this signal only when it never had a session.
            process.signal(libc::SIGKILL).map_err(TgtError::Broken)?;
            process.exited().await.map_err(TgtError::Broken)?;
        }
        *self.slot() = None;
        Ok(())
    }

    async fn withdraw_named(&self, name: &str) -> Result<(), TargetError> {
        let _gate = self.gate.lock().await;
        self.outdated().remove(name);
        if !self.running(false).await? {
            return Ok(());
        }
        let Some(known) = self.known().get(name).copied() else { return Ok(()) };
        Ok(self.delete(name, known).await?)
    }

    async fn make(&self, name: &str, number: i32, offer: &Offer<'_>) -> Result<(), TgtError> {
        let target = |mode, op| Request::new(mode, op, Some(number));
        self.ask(&Request { parameters: &format!("targetname={name}"), ..target(Mode::Target, Op::New) }).await?;
        let Account { initiator, user, password } = offer.account;
        self.delete_account(user).await?;
        let secret = format!("user={user},password={password}");
        self.ask(&Request { parameters: &secret, ..Request::new(Mode::Account, Op::New, None) }).await?;
        self.ask(&Request { parameters: &format!("user={user}"), ..target(Mode::Account, Op::Bind) }).await?;
        let unit = |op| Request { lun: Some(LUN), ..target(Mode::LogicalUnit, op) };
        let path = format!("path={}", offer.file.display());
        self.ask(&Request { parameters: &path, ..unit(Op::New) }).await?;
        // The identity that initiators know a disk by must be the volume's: the daemon's own counts targets, and repeats.
        let id = offer.volume.0;
        let read_only = u8::from(offer.mode != AttachMode::ReadWrite);
        let identity = format!(
            "targetOps scsi_id={:.24},scsi_sn={id},vendor_id=HEARTH,product_id=volume,thin_provisioning=1,readonly={read_only},",
            id.simple().to_string()
        );
        self.ask(&Request { parameters: &identity, ..unit(Op::Update) }).await?;
        // Last: from here on it can be logged in to, and counts as complete.
        let allowed = format!("initiator-name={initiator}");
        self.ask(&Request { parameters: &allowed, ..target(Mode::Target, Op::Bind) }).await.map(drop)
    }

    async fn delete(&self, name: &str, known: Known) -> Result<(), TgtError> {
        let shown = self.show().await?;
        if let Some(shown) = shown.iter().find(|shown| shown.name == name) {
            self.ask(&Request { force: true, ..Request::new(Mode::Target, Op::Delete, Some(known.number)) }).await?;
            for account in &shown.accounts {
                self.delete_account(account).await?;
            }
        }
        self.known().remove(name);
        Ok(())
    }

    /// Not there is success.
    async fn delete_account(&self, user: &str) -> Result<(), TgtError> {
        let parameters = &format!("user={user}");
        match self.ask(&Request { parameters, ..Request::new(Mode::Account, Op::Delete, None) }).await {
            Ok(_) | Err(TgtError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn show(&self) -> Result<Vec<Shown>, TgtError> {
        Ok(parse_targets(&self.ask(&Request::new(Mode::Target, Op::Show, None)).await?))
    }

    async fn ask(&self, request: &Request<'_>) -> Result<String, TgtError> {
        match tokio::time::timeout(ANSWER_TIMEOUT, ask(&self.socket(), request)).await {
            Ok(answer) => answer,
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    /// Whether a daemon runs; it is started when it shall. Whenever the process is another one, its targets are asked for.
    async fn running(&self, start: bool) -> Result<bool, TargetError> {
        if self.process().is_some() {
            return Ok(true);
        }
        let found = self.find_process().map_err(TgtError::Broken)?;
        let fresh = found.is_none();
        let process = match found {
            Some(process) => process,
            None if !start || !self.owned.load(Ordering::Relaxed) => {
                *self.slot() = None;
                self.known().clear();
                return Ok(false);
            }
            None => self.start_process().map_err(TargetError::Start)?,
        };
        let process = Arc::new(process);
        let deadline = Instant::now() + START_TIMEOUT;
        let shown = loop {
            match self.show().await {
                Ok(shown) => break shown,
                Err(_) if !process.is_alive() => {
                    return Err(TargetError::Start(io::Error::other("it ended at once; its log tells why")));
                }
                Err(error) if !fresh || Instant::now() >= deadline => {
                    // Nobody can ever talk to it again when its socket is gone: only its death makes room for another.
                    if self.owned.load(Ordering::Relaxed)
                        && matches!(&error, TgtError::Broken(broken) if is_deaf(broken))
                    {
                        end(&process).await.map_err(TgtError::Broken)?;
                    }
                    return Err(error.into());
                }
                Err(_) => tokio::time::sleep(START_POLL).await,
            }
        };
        let known =
            shown.into_iter().map(|target| (target.name, Known { number: target.number, complete: target.complete }));
        *self.known() = known.collect();
        *self.slot() = Some(process);
        self.changed.notify_one();
        Ok(true)
    }

    /// The recorded process; or one that was started and not yet recorded when the service died: it holds the lock beside
    /// its socket.
    fn find_process(&self) -> io::Result<Option<Process>> {
        if let Some(record) = read_json::<ProcessRecord>(&self.record())?
            && let Some(process) = Process::open(&record)?
        {
            return Ok(Some(process));
        }
        let Some(pid) = lock_holder(&self.dir.join("ipc.0.lock"))? else { return Ok(None) };
        match Process::find(pid, "tgtd")? {
            Some(record) => {
                if self.owned.load(Ordering::Relaxed) {
                    write_json(&self.record(), &record)?;
                }
                Process::open(&record)
            }
            None => Ok(None),
        }
    }

    fn start_process(&self) -> io::Result<Process> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let output =
            OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(self.dir.join("log"))?;
        let binary = self.binary.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let mut command = Command::new(binary);
        command
            // The daemon appends its control port, 0.
            .env("TGT_IPC_SOCKET", self.dir.join("ipc"))
            .args(["-f", "-C", "0", "-t", THREADS_PER_LUN, "--iscsi"])
            .arg(format!("portal={}", self.options.portal))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let process = Process::spawn(command)?;
        write_json(&self.record(), process.record())?;
        tracing::info!(pid = process.record().pid, portal = %self.options.portal, "iSCSI target daemon started");
        Ok(process)
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("ipc.0")
    }

    fn record(&self) -> PathBuf {
        self.dir.join("daemon.json")
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Process>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outdated(&self) -> MutexGuard<'_, HashSet<String>> {
        self.outdated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_deaf(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

/// Who holds the lock of a file.
fn lock_holder(path: &Path) -> io::Result<Option<i32>> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let whole = i16::try_from(libc::SEEK_SET).expect("a small constant");
    let write = i16::try_from(libc::F_WRLCK).expect("a small constant");
    let mut lock = libc::flock { l_type: write, l_whence: whole, l_start: 0, l_len: 0, l_pid: 0 };
    // SAFETY: plain system call on an open descriptor with a valid structure.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut lock) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid))
}

/// One target in the daemon's list.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    number: i32,
    name: String,
    accounts: Vec<String>,
    /// It has a logical unit, and somebody is allowed in.
    complete: bool,
}

/// The daemon's list, which is text for people: a line for each target, and indented sections.
fn parse_targets(text: &str) -> Vec<Shown> {
    let mut targets: Vec<Shown> = Vec::new();
    let mut section = "";
    let (mut has_unit, unit) = (false, format!("LUN: {LUN}"));
    for line in text.lines() {
        if let Some((number, name)) = line.strip_prefix("Target ").and_then(|rest| rest.split_once(": ")) {
            let Ok(number) = number.parse() else { continue };
            targets.push(Shown { number, name: name.trim().to_owned(), accounts: Vec::new(), complete: false });
            has_unit = false;
        } else if let Some(title) = line.strip_prefix("    ").filter(|rest| !rest.starts_with(' ')) {
            section = title;
        } else if let (Some(target), entry) = (targets.last_mut(), line.trim())
            && !entry.is_empty()
        {
            match section {
                "LUN information:" => has_unit |= entry == unit,
                "Account information:" => target.accounts.push(entry.split(' ').next().unwrap_or(entry).to_owned()),
                "ACL information:" => target.complete = has_unit,
                _ => {}
            }
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
Target 1: iqn.2010-10.org.openstack:a.1
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
    LUN information:
        LUN: 0
            Type: controller
        LUN: 1
            Type: disk
    Account information:
        user1
    ACL information:
        iqn.x:1
Target 7: iqn.2010-10.org.openstack:b.2
    LUN information:
        LUN: 0
    Account information:
        user2 (outgoing)
    ACL information:
";

    #[test]
    fn a_list_tells_numbers_accounts_and_what_was_cut_off() {
        let targets = parse_targets(LIST);
        let of = |number, name: &str, account: &str, complete| Shown {
            number,
            name: format!("iqn.2010-10.org.openstack:{name}"),
            accounts: vec![account.to_owned()],
            complete,
        };
        assert_eq!(targets, [of(1, "a.1", "user1", true), of(7, "b.2", "user2", false)]);
        assert!(parse_targets("").is_empty());
    }

    #[test]
    fn a_lock_tells_its_holder() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        assert_eq!(lock_holder(&path).expect("readable"), None);
        fs::write(&path, "").expect("written");
        assert_eq!(lock_holder(&path).expect("readable"), None);
    }
}
