//! A SQLite VFS over the system's own, with a disk that can lose power or fail.
//!
//! Writes go to the real files at once; beside them the shim keeps, for each file, the image of its last successful sync.
//! A power cut stops every access, and [`restore`] puts the images back: everything that was not synced is gone, which is
//! the worst that a disk which honours syncs may do. Directories are told apart, so that tests run beside each other.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use libsqlite3_sys as ffi;

pub const NAME: &str = "hearth-powerloss";

#[derive(Default)]
struct Disk {
    is_dead: bool,
    fails_log_syncs: bool,
    images: HashMap<PathBuf, Vec<u8>>,
    /// Where the images are kept, too, so that they outlive the process.
    synced: Option<PathBuf>,
}

impl Disk {
    /// Where the image of `path` is kept beside memory.
    fn kept(&self, path: &Path) -> Option<PathBuf> {
        Some(self.synced.as_ref()?.join(path.file_name()?))
    }
}

static DISKS: Mutex<Option<HashMap<PathBuf, Disk>>> = Mutex::new(None);
static REGISTERED: Once = Once::new();

fn disks() -> MutexGuard<'static, Option<HashMap<PathBuf, Disk>>> {
    DISKS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with_disk<T>(directory: &Path, act: impl FnOnce(&mut Disk) -> T) -> T {
    act(disks().get_or_insert_default().entry(directory.to_owned()).or_default())
}

fn disk_of<T>(path: &Path, act: impl FnOnce(&mut Disk) -> T) -> T {
    with_disk(path.parent().unwrap_or(Path::new("")), act)
}

/// The power of the disk under `directory` goes: nothing is written any more.
pub fn cut_power(directory: &Path) {
    with_disk(directory, |disk| disk.is_dead = true);
}

/// The power comes back: every file is as it was last synced.
pub fn restore(directory: &Path) {
    with_disk(directory, |disk| {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.to_string_lossy().ends_with("-shm") {
                std::fs::remove_file(&path).unwrap();
            } else {
                std::fs::write(&path, disk.images.get(&path).map_or(&[][..], Vec::as_slice)).unwrap();
            }
        }
        disk.is_dead = false;
    });
}

/// The images of the disk under `directory` are kept in `synced` from now on: a kill of this process followed by
/// [`lose_power`] in another one is a power cut. What is there now counts as synced.
pub fn keep_synced(directory: &Path, synced: &Path) {
    for entry in std::fs::read_dir(synced).unwrap().flatten() {
        std::fs::remove_file(entry.path()).unwrap();
    }
    for path in database_files(directory) {
        std::fs::copy(&path, synced.join(path.file_name().unwrap())).unwrap();
    }
    with_disk(directory, |disk| disk.synced = Some(synced.to_owned()));
}

/// What a power cut leaves of the database under `directory`, whose process has died: what is in `synced`.
pub fn lose_power(directory: &Path, synced: &Path) {
    for path in database_files(directory) {
        let image = std::fs::read(synced.join(path.file_name().unwrap())).unwrap_or_default();
        std::fs::write(&path, image).unwrap();
    }
    // the index of the log lives in memory
    let index = directory.join("hearth.db-shm");
    if index.exists() {
        std::fs::remove_file(index).unwrap();
    }
}

fn database_files(directory: &Path) -> impl Iterator<Item = PathBuf> {
    ["hearth.db", "hearth.db-wal", "hearth.db-journal"]
        .map(|name| directory.join(name))
        .into_iter()
        .filter(|p| p.exists())
}

/// From now on syncing the write-ahead log fails, or works again.
pub fn fail_log_syncs(directory: &Path, fails: bool) {
    with_disk(directory, |disk| disk.fails_log_syncs = fails);
}

/// Makes the shim known to SQLite, not as the default.
pub fn register() {
    register_as(0);
}

/// Makes the shim the default: every database of this process lies behind it.
pub fn register_as_default() {
    register_as(1);
}

fn register_as(is_default: c_int) {
    REGISTERED.call_once(|| {
        // SAFETY: SQLite allows registration at any time; the structure and its name live as long as the process
        unsafe {
            let system = ffi::sqlite3_vfs_find(std::ptr::null());
            let mut shim = *system;
            let name = std::ffi::CString::new(NAME).unwrap();
            shim.zName = name.into_raw();
            shim.pNext = std::ptr::null_mut();
            shim.szOsFile = HEADER as c_int + (*system).szOsFile;
            shim.pAppData = system.cast::<c_void>();
            shim.xOpen = Some(open);
            shim.xDelete = Some(delete);
            assert_eq!(ffi::sqlite3_vfs_register(Box::into_raw(Box::new(shim)), is_default), ffi::SQLITE_OK);
        }
    });
}

/// Our part of a file; the system's follows at [`HEADER`].
#[repr(C)]
struct ShimFile {
    base: ffi::sqlite3_file,
    /// A boxed path.
    path: *mut PathBuf,
}

const HEADER: usize = 64;
const _: () = assert!(size_of::<ShimFile>() <= HEADER);

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

unsafe fn system_file(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: szOsFile reserves the system's structure behind the header
    unsafe { file.cast::<u8>().add(HEADER).cast() }
}

unsafe fn path_of<'a>(file: *mut ffi::sqlite3_file) -> &'a Path {
    // SAFETY: set by open, freed by close
    unsafe { &*(*file.cast::<ShimFile>()).path }
}

/// Calls the system's method of the same name.
macro_rules! system {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        let file = unsafe { system_file($file) };
        // SAFETY: the system's file was opened by its own xOpen, which sets every method of version 2
        unsafe { (*(*file).pMethods).$method.unwrap()(file $(, $argument)*) }
    }};
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives a file of szOsFile bytes and a name that lives as long as it
    unsafe {
        let system = (*vfs).pAppData.cast::<ffi::sqlite3_vfs>();
        (*file).pMethods = std::ptr::null();
        let code = (*system).xOpen.unwrap()(system, name, system_file(file), flags, out);
        if code == ffi::SQLITE_OK {
            let path = if name.is_null() {
                PathBuf::new()
            } else {
                PathBuf::from(CStr::from_ptr(name).to_string_lossy().into_owned())
            };
            (*file.cast::<ShimFile>()).path = Box::into_raw(Box::new(path));
            (*file).pMethods = &METHODS;
        }
        code
    }
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_directory: c_int) -> c_int {
    // SAFETY: as above
    unsafe {
        let path = PathBuf::from(CStr::from_ptr(name).to_string_lossy().into_owned());
        let is_dead = disk_of(&path, |disk| {
            if !disk.is_dead && sync_directory != 0 {
                disk.images.remove(&path);
                if let Some(kept) = disk.kept(&path) {
                    let _ = std::fs::remove_file(kept);
                }
            }
            disk.is_dead
        });
        if is_dead {
            return ffi::SQLITE_IOERR_DELETE;
        }
        let system = (*vfs).pAppData.cast::<ffi::sqlite3_vfs>();
        (*system).xDelete.unwrap()(system, name, sync_directory)
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let code = system!(file, xClose);
    // SAFETY: boxed by open; SQLite closes once
    drop(unsafe { Box::from_raw((*file.cast::<ShimFile>()).path) });
    code
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, to: *mut c_void, count: c_int, at: i64) -> c_int {
    system!(file, xRead, to, count, at)
}

unsafe fn is_dead(file: *mut ffi::sqlite3_file) -> bool {
    disk_of(unsafe { path_of(file) }, |disk| disk.is_dead)
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, count: c_int, at: i64) -> c_int {
    if unsafe { is_dead(file) } {
        return ffi::SQLITE_IOERR_WRITE;
    }
    system!(file, xWrite, from, count, at)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    if unsafe { is_dead(file) } {
        return ffi::SQLITE_IOERR_TRUNCATE;
    }
    system!(file, xTruncate, size)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let path = unsafe { path_of(file) };
    let is_log = path.to_string_lossy().ends_with("-wal");
    disk_of(path, |disk| {
        if disk.is_dead || (disk.fails_log_syncs && is_log) {
            return ffi::SQLITE_IOERR_FSYNC;
        }
        let code = system!(file, xSync, flags);
        if code == ffi::SQLITE_OK {
            let mut size = 0_i64;
            assert_eq!(system!(file, xFileSize, &raw mut size), ffi::SQLITE_OK);
            let mut image = vec![0_u8; usize::try_from(size).unwrap()];
            let count = c_int::try_from(size).unwrap();
            if count > 0 {
                assert_eq!(system!(file, xRead, image.as_mut_ptr().cast(), count, 0), ffi::SQLITE_OK);
            }
            if let Some(kept) = disk.kept(path) {
                // as a whole: a kill in the middle must leave the old image or the new one
                let new = kept.with_extension("new");
                std::fs::write(&new, &image).unwrap();
                std::fs::rename(new, kept).unwrap();
            }
            disk.images.insert(path.to_owned(), image);
        }
        code
    })
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    system!(file, xFileSize, size)
}
unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    system!(file, xLock, level)
}
unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    system!(file, xUnlock, level)
}
unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    system!(file, xCheckReservedLock, out)
}
unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    system!(file, xFileControl, operation, argument)
}
unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    system!(file, xSectorSize)
}
unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    system!(file, xDeviceCharacteristics)
}
unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    page: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    system!(file, xShmMap, page, size, extend, out)
}
unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    system!(file, xShmLock, offset, count, flags)
}
unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    system!(file, xShmBarrier);
}
unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    system!(file, xShmUnmap, delete)
}
