//! What a backend under test holds, looked at and written to past the driver: what the rules compare its answers with.

use std::cell::RefCell;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Weak;

use hearth::domain::ids::{ExportName, VolumeId};
use hearth::drivers::sim::remote::SimRemote;
use hearth::drivers::sim::wire::{Control, Say};
use hearth::drivers::sim::{SimBackend, SimObject};

/// A simulated backend that is opened anew now and then.
pub type Current = Rc<RefCell<Weak<SimBackend>>>;

/// Where the contents are.
pub enum Inside {
    /// A simulated backend of this process.
    Sim(Current),
    /// One behind this socket.
    Remote(PathBuf),
    /// Files in this directory.
    Files(PathBuf),
}

/// The unit in which the tests write and compare files.
const BLOCK: usize = 4096;

impl Inside {
    /// Writes something that is told by `mark`, through the export where there is no other way.
    pub async fn write(&self, volume_id: VolumeId, export: &ExportName, mark: u8) {
        match self {
            Self::Sim(current) => {
                let sim = current.borrow().upgrade().expect("open between calls");
                let written = sim.truth().write(export, &mark.to_string()).expect("kept");
                assert_eq!(written.reached, Some(volume_id));
            }
            Self::Remote(socket) => {
                let control = Control::Write { export: export.clone(), marker: mark.to_string() };
                match SimRemote::new(socket).control(control).await {
                    Ok(Say::Writes { writes }) => assert_eq!(writes[0].reached, Some(volume_id)),
                    other => panic!("not written: {other:?}"),
                }
            }
            Self::Files(pool) => {
                let file = File::options().write(true).open(path(pool, volume_id)).expect("there");
                // Far from each other, with holes between.
                file.write_all_at(&[mark; BLOCK], u64::from(mark) << 22).expect("written");
            }
        }
    }

    /// What was written, a line each.
    pub async fn contents(&self, volume_id: VolumeId) -> Vec<String> {
        match self {
            Self::Sim(current) => current.borrow().upgrade().expect("open between calls").truth().markers(volume_id),
            Self::Remote(socket) => match SimRemote::new(socket).control(Control::Snapshot).await {
                Ok(Say::Snapshot { truth }) => {
                    let markers = truth["volumes"][volume_id.to_string()]["markers"].as_array().cloned();
                    markers.unwrap_or_default().iter().map(ToString::to_string).collect()
                }
                other => panic!("no snapshot: {other:?}"),
            },
            Self::Files(pool) => blocks(&path(pool, volume_id)),
        }
    }

    /// Puts something there that is not Hearth's, with what was written to it.
    pub async fn place(&self, reference: &str, size_mib: u64, marks: &[u8]) {
        let markers = marks.iter().map(ToString::to_string).collect();
        let object = SimObject { size_mib, markers, snapshot_of: None };
        match self {
            Self::Sim(current) => {
                let sim = current.borrow().upgrade().expect("open between calls");
                sim.truth().place_object(reference, object).expect("kept");
            }
            Self::Remote(socket) => {
                let control = Control::PlaceObject { reference: reference.to_owned(), object };
                assert_eq!(SimRemote::new(socket).control(control).await, Ok(Say::Ok));
            }
            Self::Files(pool) => {
                let file = File::create_new(pool.join(reference)).expect("made");
                file.set_len(size_mib << 20).expect("sized");
                for mark in marks {
                    file.write_all_at(&[*mark; BLOCK], u64::from(*mark) << 22).expect("written");
                }
            }
        }
    }

    /// The room that the volume takes, KiB.
    pub fn allocated_kib(&self, volume_id: VolumeId) -> u64 {
        match self {
            Self::Files(pool) => std::fs::metadata(path(pool, volume_id)).expect("there").blocks() / 2,
            Self::Sim(_) | Self::Remote(_) => 0,
        }
    }
}

fn path(pool: &Path, volume_id: VolumeId) -> PathBuf {
    pool.join(format!("{volume_id}.raw"))
}

/// Every block that is not zero, as its place and a digest.
pub fn blocks(path: &Path) -> Vec<String> {
    let file = File::open(path).expect("there");
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        // SAFETY: plain system calls on an open descriptor.
        let (start, end) = unsafe {
            let start = libc::lseek(file.as_raw_fd(), at, libc::SEEK_DATA);
            (start, libc::lseek(file.as_raw_fd(), start.max(0), libc::SEEK_HOLE))
        };
        let Ok(mut here) = u64::try_from(start) else { return found };
        at = end;
        while here < u64::try_from(end).expect("after the start") {
            let mut block = [0; BLOCK];
            let read = file.read_at(&mut block, here).expect("read");
            if block != [0; BLOCK] {
                let mut digest = DefaultHasher::new();
                block[..read].hash(&mut digest);
                found.push(format!("{here}: {:x}", digest.finish()));
            }
            here += BLOCK as u64;
        }
    }
}
