//! The contents of one file in another one: shared where the file system can, else copied with the holes kept.
//!
//! Everything here blocks. Whoever waits for a copy holds its [`CopyWatch`]: it shows the progress, and dropping it cuts the
//! copy off.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::drivers::{Progress, VolumeBytes};

/// A copy looks this often whether it is still wanted.
const CHUNK_BYTES: u64 = 8 << 20;

/// What is copied is brought to the disk in steps of this size: so the last sync is short, progress is real, and one copy does
/// not fill the machine's memory with dirty pages.
pub(super) const SYNC_BYTES: u64 = 128 << 20;

/// Bytes in memory at a time where they go through it.
const BUFFER_BYTES: u64 = 1 << 20;

/// Why there is no copy.
#[derive(Debug)]
pub(super) enum CopyError {
    /// Nobody waits for it any more.
    CutOff,
    /// The source was written to meanwhile: what was copied may be torn.
    Changed,
    /// What was read back is not what was written.
    Differs,
    /// The file system failed.
    Io(io::Error),
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The system calls that only some file systems have; tests put others in their place.
#[derive(Clone, Copy)]
pub(super) struct Calls {
    /// `FICLONE`: the second file shares all blocks of the first.
    reflink: fn(&File, &File) -> io::Result<()>,
    /// `copy_file_range` at the same offset in both files; says how many bytes.
    copy_range: fn(&File, &File, u64, u64) -> io::Result<u64>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { reflink, copy_range }
    }
}

/// The waiting end of a copy.
#[derive(Default)]
pub(super) struct CopyWatch(Arc<State>);

/// The working end of a copy.
#[derive(Clone, Default)]
pub(super) struct CopyState(Arc<State>);

#[derive(Default)]
struct State {
    copied: AtomicU64,
    total: AtomicU64,
    cut_off: AtomicBool,
    displaced: AtomicBool,
}

impl CopyWatch {
    /// The other end.
    pub(super) fn state(&self) -> CopyState {
        CopyState(self.0.clone())
    }
}

impl Drop for CopyWatch {
    fn drop(&mut self) {
        self.0.cut_off.store(true, Ordering::Relaxed);
    }
}

impl CopyState {
    /// Bytes copied so far.
    pub(super) fn copied(&self) -> u64 {
        self.0.copied.load(Ordering::Relaxed)
    }

    /// The same, and how many there are.
    pub(super) fn progress(&self) -> Progress {
        Progress { done: self.copied(), total: self.0.total.load(Ordering::Relaxed) }
    }

    /// Notes how many bytes there are to do.
    pub(super) fn expect(&self, bytes: u64) {
        self.0.total.store(bytes, Ordering::Relaxed);
    }

    /// An error once nobody waits any more.
    pub(super) fn check(&self) -> Result<(), CopyError> {
        if self.0.cut_off.load(Ordering::Relaxed) { Err(CopyError::CutOff) } else { Ok(()) }
    }

    /// Ends the copy, whoever waits for it.
    pub(super) fn cut_off(&self) {
        self.0.cut_off.store(true, Ordering::Relaxed);
    }

    /// Ends the copy, which then begins again in the other way: its source is about to be written to.
    pub(super) fn displace(&self) {
        self.0.displaced.store(true, Ordering::Relaxed);
        self.cut_off();
    }

    /// Whether it was displaced.
    pub(super) fn is_displaced(&self) -> bool {
        self.0.displaced.load(Ordering::Relaxed)
    }

    /// Notes that so many bytes are copied in all.
    pub(super) fn reach(&self, bytes: u64) {
        self.0.copied.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Notes that whoever else is at work has answered for it once more: its own bounds end it if it makes no progress.
    pub(super) fn tick(&self) {
        self.add(1);
    }

    fn add(&self, bytes: u64) {
        self.0.copied.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Calls {
    /// Lets `to`, which is empty, share the blocks of `from` as they are at this instant; false when the file system cannot.
    /// Sharing is atomic: a source that is being written to is copied as a power loss would leave it.
    pub(super) fn share(self, from: &File, to: &File) -> io::Result<bool> {
        match (self.reflink)(from, to) {
            Ok(()) => Ok(true),
            Err(error) if is_not_supported(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Copies the data of `from` into `to`, which is empty, and nothing where `from` has holes. The size of `to` is that of
    /// `from` afterwards.
    pub(super) fn copy(self, from: &dyn VolumeBytes, to: &File, state: &CopyState) -> Result<(), CopyError> {
        to.set_len(from.size())?;
        let mut unsynced = 0;
        let mut in_kernel = from.file();
        let mut at = 0;
        while let Some(data) = from.data(at)? {
            at = data.start;
            while at < data.end {
                state.check()?;
                unchanged(from)?;
                let wanted = (data.end - at).min(CHUNK_BYTES);
                let copied = match in_kernel {
                    Some(file) => match (self.copy_range)(file, to, at, wanted) {
                        Err(error) if is_not_supported(&error) => {
                            in_kernel = None;
                            continue;
                        }
                        other => other?,
                    },
                    None => copy_through_memory(from, to, at, wanted)?,
                };
                if copied == 0 {
                    // The file ends before its size: somebody cut it.
                    return Err(CopyError::Changed);
                }
                at += copied;
                unsynced += copied;
                state.add(copied);
                if unsynced >= SYNC_BYTES {
                    to.sync_data()?;
                    unsynced = 0;
                }
            }
        }
        unchanged(from)
    }
}

/// Reads `to` back and compares it with `from`; what is a hole in both is not read.
pub(super) fn compare(from: &dyn VolumeBytes, to: &File, state: &CopyState) -> Result<(), CopyError> {
    to.sync_all()?;
    // From the disk: what is in memory still is what was written.
    // SAFETY: the descriptor is open for the duration of the call. A file system that does not heed it costs the proof, no more.
    unsafe { libc::posix_fadvise(to.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    let copy = FileBytes::new(to.try_clone()?)?;
    if copy.size() != from.size() {
        return Err(CopyError::Differs);
    }
    let mut buffers = [Vec::new(), Vec::new()];
    let mut at = 0;
    while let Some(range) = next_of_either(from.data(at)?, copy.data(at)?) {
        state.check()?;
        unchanged(from)?;
        let length = (range.end - range.start).min(BUFFER_BYTES);
        for (bytes, buffer) in [from, &copy].into_iter().zip(&mut buffers) {
            buffer.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
            read_all(bytes, buffer, range.start)?;
        }
        if buffers[0] != buffers[1] {
            return Err(CopyError::Differs);
        }
        state.add(length);
        at = range.start + length;
    }
    unchanged(from)
}

/// The first range that lies in one of the two, or in both, as far as that does not change.
fn next_of_either(one: Option<Range<u64>>, other: Option<Range<u64>>) -> Option<Range<u64>> {
    let ranges = || one.iter().chain(&other);
    let start = ranges().map(|range| range.start).min()?;
    let end = ranges().map(|range| if range.start > start { range.start } else { range.end }).min()?;
    Some(start..end)
}

fn unchanged(from: &dyn VolumeBytes) -> Result<(), CopyError> {
    if from.is_unchanged()? { Ok(()) } else { Err(CopyError::Changed) }
}

fn read_all(from: &dyn VolumeBytes, mut buffer: &mut [u8], mut at: u64) -> Result<(), CopyError> {
    while !buffer.is_empty() {
        match from.read_at(buffer, at)? {
            0 => return Err(CopyError::Changed),
            read => {
                buffer = &mut buffer[read..];
                at += read as u64;
            }
        }
    }
    Ok(())
}

/// The bytes of a file that nobody writes to; a change that shows in its size or time is noticed.
pub(super) struct FileBytes {
    file: File,
    before: Metadata,
}

impl FileBytes {
    /// As they are now.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let before = file.metadata()?;
        Ok(Self { file, before })
    }
}

impl VolumeBytes for FileBytes {
    fn size(&self) -> u64 {
        self.before.len()
    }

    fn data(&self, at: u64) -> io::Result<Option<Range<u64>>> {
        let Some(start) = seek(&self.file, at, libc::SEEK_DATA)?.filter(|start| *start < self.size()) else {
            return Ok(None);
        };
        let end = seek(&self.file, start, libc::SEEK_HOLE)?.unwrap_or(self.size()).min(self.size());
        Ok(Some(start..end))
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buffer, at)
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        let now = self.file.metadata()?;
        Ok((self.before.len(), self.before.modified()?) == (now.len(), now.modified()?))
    }

    fn file(&self) -> Option<&File> {
        Some(&self.file)
    }

    fn data_size(&self) -> u64 {
        (self.before.blocks() * 512).min(self.size())
    }
}

/// Whether a call says that this file system (or these two) cannot do it at all. `EINVAL` is among the words that file systems
/// have for it, `ENOTTY` is that of those which do not know the request.
fn is_not_supported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::EXDEV | libc::EINVAL | libc::ENOTTY | libc::ENOSYS | libc::EPERM)
    )
}

fn reflink(from: &File, to: &File) -> io::Result<()> {
    // SAFETY: both descriptors are open for the duration of the call.
    match unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn copy_range(from: &File, to: &File, at: u64, bytes: u64) -> io::Result<u64> {
    let (mut read_at, mut write_at) = (offset(at)?, offset(at)?);
    let length = usize::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: both descriptors are open and both offsets live for the duration of the call.
    let copied = unsafe {
        libc::copy_file_range(from.as_raw_fd(), &raw mut read_at, to.as_raw_fd(), &raw mut write_at, length, 0)
    };
    u64::try_from(copied).map_err(|_| io::Error::last_os_error())
}

fn copy_through_memory(from: &dyn VolumeBytes, to: &File, at: u64, bytes: u64) -> io::Result<u64> {
    let mut buffer = vec![0; usize::try_from(bytes.min(BUFFER_BYTES)).map_err(io::Error::other)?];
    let read = from.read_at(&mut buffer, at)?;
    to.write_all_at(&buffer[..read], at)?;
    Ok(read as u64)
}

/// `lseek`; none when there is no such place at or after `at`.
fn seek(file: &File, at: u64, whence: libc::c_int) -> io::Result<Option<u64>> {
    // SAFETY: the descriptor is open for the duration of the call.
    let found = unsafe { libc::lseek(file.as_raw_fd(), offset(at)?, whence) };
    if let Ok(found) = u64::try_from(found) {
        return Ok(Some(found));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENXIO) { Ok(None) } else { Err(error) }
}

fn offset(at: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(at).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn bytes(file: File) -> FileBytes {
        FileBytes::new(file).expect("looked at")
    }

    /// 64 MiB with 12 MiB of data in the middle, 4 KiB further on, and a hole at either end.
    fn sparse(path: &Path) -> File {
        let file = File::options().read(true).write(true).create_new(true).open(path).expect("made");
        file.set_len(64 * MIB).expect("sized");
        let data: Vec<u8> = (0..12 * MIB).map(|at| (at % 251) as u8 + 1).collect();
        file.write_all_at(&data, 20 * MIB).expect("written");
        file.write_all_at(&[9; 4096], 50 * MIB).expect("written");
        file
    }

    fn empty(path: &Path) -> File {
        File::options().read(true).write(true).create_new(true).open(path).expect("made")
    }

    fn assert_equal(dir: &Path) {
        let [from, to] = ["from", "to"].map(|name| std::fs::read(dir.join(name)).expect("read"));
        assert!(from == to, "the contents differ");
        let [from, to] = ["from", "to"].map(|name| std::fs::metadata(dir.join(name)).expect("there").blocks());
        assert!(to <= from + 64 && to > 0, "holes are kept: {to} blocks of {from}");
    }

    fn unsupported<const ERRNO: i32>(_: &File, _: &File) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(ERRNO))
    }

    #[test]
    fn a_file_system_that_cannot_share_says_so_in_many_words_and_other_failures_are_failures() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (sparse(&dir.path().join("from")), empty(&dir.path().join("to")));
        let share = |reflink| Calls { reflink, ..Calls::default() }.share(&from, &to);
        for cannot in [
            unsupported::<{ libc::EOPNOTSUPP }>,
            unsupported::<{ libc::EXDEV }>,
            unsupported::<{ libc::EINVAL }>,
            unsupported::<{ libc::ENOTTY }>,
        ] as [fn(&File, &File) -> io::Result<()>; 4]
        {
            assert!(!share(cannot).expect("an answer"));
        }
        assert!(share(unsupported::<{ libc::ENOSPC }>).is_err());
        assert!(share(unsupported::<{ libc::EIO }>).is_err());
        assert!(share(|_, _| Ok(())).expect("an answer"));
    }

    #[test]
    fn a_copy_is_equal_keeps_the_holes_and_tells_its_progress() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (sparse(&dir.path().join("from")), empty(&dir.path().join("to")));
        let watch = CopyWatch::default();
        Calls::default().copy(&bytes(from), &to, &watch.state()).expect("copied");
        assert_equal(dir.path());
        assert!((12 * MIB..14 * MIB).contains(&watch.state().copied()), "{}", watch.state().copied());
    }

    #[test]
    fn without_copy_file_range_the_bytes_go_through_memory() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (sparse(&dir.path().join("from")), empty(&dir.path().join("to")));
        let copy_range = |_: &File, _: &File, _, _| Err(io::Error::from_raw_os_error(libc::EXDEV));
        let watch = CopyWatch::default();
        Calls { copy_range, ..Calls::default() }.copy(&bytes(from), &to, &watch.state()).expect("copied");
        assert_equal(dir.path());
    }

    #[test]
    fn a_copy_that_nobody_waits_for_ends_at_its_next_chunk() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (sparse(&dir.path().join("from")), empty(&dir.path().join("to")));
        let watch = CopyWatch::default();
        let state = watch.state();
        drop(watch);
        assert!(matches!(Calls::default().copy(&bytes(from), &to, &state), Err(CopyError::CutOff)));
        assert_eq!(state.copied(), 0);
    }

    #[test]
    fn a_source_that_is_written_to_meanwhile_is_not_taken_for_a_copy() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (sparse(&dir.path().join("from")), empty(&dir.path().join("to")));
        let copy_range = |from: &File, to: &File, at, bytes| {
            let copied = copy_range(from, to, at, bytes)?;
            from.set_modified(std::time::UNIX_EPOCH)?;
            Ok(copied)
        };
        let watch = CopyWatch::default();
        let copied = Calls { copy_range, ..Calls::default() }.copy(&bytes(from), &to, &watch.state());
        assert!(matches!(copied, Err(CopyError::Changed)), "{copied:?}");
    }

    #[test]
    fn a_copy_that_differs_anywhere_is_no_copy() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("to");
        let (from, to) = (bytes(sparse(&dir.path().join("from"))), empty(&path));
        let watch = CopyWatch::default();
        Calls::default().copy(&from, &to, &watch.state()).expect("copied");
        let copied = watch.state().copied();
        compare(&from, &to, &watch.state()).expect("equal");
        assert!(watch.state().copied() >= 2 * copied, "comparing is progress");
        // In the data, in a hole, in a block that is allocated and zero in one of them only, in the size.
        for (at, byte, differs) in [(21 * MIB, 0, true), (40 * MIB, 1, true), (45 * MIB, 0, false), (63 * MIB, 1, true)]
        {
            let mut before = [0];
            to.read_exact_at(&mut before, at).expect("read");
            to.write_all_at(&[byte], at).expect("written");
            let compared = compare(&from, &to, &watch.state());
            assert_eq!(matches!(compared, Err(CopyError::Differs)), differs, "at {at}: {compared:?}");
            to.write_all_at(&before, at).expect("written");
        }
        compare(&from, &to, &watch.state()).expect("equal again");
        to.set_len(65 * MIB).expect("grown");
        assert!(matches!(compare(&from, &to, &watch.state()), Err(CopyError::Differs)));
    }
}
