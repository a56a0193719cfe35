//! A file system whose files share blocks: XFS in a file, mounted. It needs root, a loop device and `mkfs.xfs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The smallest file system that `mkfs.xfs` makes has 300 MiB.
const SIZE_BYTES: u64 = 512 << 20;

/// One, unmounted when this is dropped.
pub struct ReflinkFileSystem {
    root: TempDir,
}

impl ReflinkFileSystem {
    /// Mounts a fresh one; none, and a word about it, where that is not possible.
    pub fn mount() -> Option<Self> {
        let root = tempfile::tempdir().expect("a directory");
        let image = root.path().join("image");
        let at = root.path().join("mounted");
        std::fs::create_dir(&at).expect("made");
        std::fs::File::create(&image).and_then(|file| file.set_len(SIZE_BYTES)).expect("sized");
        let run = |command: &str, words: &[&str], paths: &[&Path]| {
            Command::new(command).args(words).args(paths).output().is_ok_and(|output| output.status.success())
        };
        if run("mkfs.xfs", &["-q", "-m", "reflink=1"], &[&image]) && run("mount", &["-o", "loop"], &[&image, &at]) {
            return Some(Self { root });
        }
        eprintln!("not tested: no file system that shares blocks can be made and mounted here");
        None
    }

    /// A directory for a pool on it.
    pub fn pool(&self) -> PathBuf {
        self.root.path().join("mounted").join("pool")
    }
}

impl Drop for ReflinkFileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.root.path().join("mounted")).status();
    }
}
