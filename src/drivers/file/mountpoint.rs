//! The files that a storage daemon shows volumes as: mount points of its FUSE exports.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use super::images::remove_if_there;

/// Makes the empty file that the daemon mounts on. What a daemon that died has left there is taken away first: its mount
/// answers nobody, and would hide the next one's.
pub(super) fn prepare(path: &Path) -> io::Result<()> {
    let dir = path.parent().expect("a file in a directory");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    match fs::symlink_metadata(path) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => detach(path)?,
        _ => {}
    }
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}

/// Takes the file away after its export has ended.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match remove_if_there(path) {
        // Still a mount point: of a daemon that died, since the living one has taken its own away.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOTCONN)) => {
            detach(path)?;
            remove_if_there(path)
        }
        result => result,
    }
}

/// Unmounts, also while somebody has it open.
fn detach(path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: plain system call with a string that lives until it returns.
    if unsafe { libc::umount2(name.as_ptr(), libc::MNT_DETACH) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::EPERM) {
        return Err(error);
    }
    // Other users than root mount by this helper, and unmount by it.
    let quiet = Command::new("fusermount3")
        .args(["-u", "-z"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if quiet.success() { Ok(()) } else { Err(error) }
}
