//! The truth's file: one JSON line for each change, appended, so that what the backend did survives the service and the
//! backend process. A last line that a crash cut off is not part of it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use super::state::{Entry, State};

/// When a change counts as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the kernel has it: survives a kill of the process.
    Process,
    /// When the disk has it: survives a loss of power.
    Disk,
}

/// Why the truth cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be opened, read or written.
    #[error("the truth file failed: {0}")]
    Io(#[from] io::Error),
    /// Another process or another backend of this process has it open.
    #[error("the truth file is in use")]
    InUse,
    /// A line that is not the last one is damaged: this is not a torn write.
    #[error("line {line} of the truth file is damaged: {source}")]
    Damaged {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// An open truth file.
pub struct Journal {
    file: File,
    durability: Durability,
    end: u64,
}

impl Journal {
    /// Opens or makes the file, locks it for as long as the journal lives, and replays it.
    pub fn open(path: &Path, durability: Durability) -> Result<(Self, State), JournalError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let (state, end) = replay(&file)?;
        // A torn line would be glued to the next one.
        file.set_len(end)?;
        let mut journal = Self { file, durability, end };
        journal.file.seek(SeekFrom::Start(end))?;
        Ok((journal, state))
    }

    /// Keeps one entry. After an error the file is cut back, so that the entry is certainly not in it.
    pub fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(entry).map_err(io::Error::other)?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| match self.durability {
            Durability::Process => Ok(()),
            Durability::Disk => self.file.sync_data(),
        });
        if let Err(error) = written {
            self.file.set_len(self.end)?;
            self.file.seek(SeekFrom::Start(self.end))?;
            return Err(error.into());
        }
        self.end += line.len() as u64;
        Ok(())
    }
}

fn replay(file: &File) -> Result<(State, u64), JournalError> {
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(0))?;
    let mut state = State::default();
    let mut end = 0_u64;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        if length == 0 || line.last() != Some(&b'\n') {
            break;
        }
        match serde_json::from_slice::<Entry>(&line) {
            Ok(entry) => state.apply(entry),
            Err(source) => {
                if reader.fill_buf()?.is_empty() {
                    break;
                }
                return Err(JournalError::Damaged { line: number, source });
            }
        }
        end += length as u64;
    }
    Ok((state, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::VolumeId;
    use crate::drivers::sim::state::Change;
    use uuid::Uuid;

    fn created(number: u128) -> Entry {
        let volume_id = VolumeId(Uuid::from_u128(number));
        Entry { change: Some(Change::VolumeCreated { volume_id, size_gib: 1 }), remembered: None }
    }

    #[test]
    fn a_torn_last_line_is_ignored_and_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth");
        let (mut journal, _) = Journal::open(&path, Durability::Disk).unwrap();
        journal.append(&created(1)).unwrap();
        drop(journal);
        let whole = std::fs::metadata(&path).unwrap().len();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"change\":{\"cha").unwrap();
        let (mut journal, state) = Journal::open(&path, Durability::Process).unwrap();
        assert_eq!(state.volumes.len(), 1);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
        journal.append(&created(2)).unwrap();
        assert!(matches!(Journal::open(&path, Durability::Process), Err(JournalError::InUse)));
        drop(journal);
        let (_, state) = Journal::open(&path, Durability::Process).unwrap();
        assert_eq!(state.volumes.len(), 2);
    }

    #[test]
    fn damage_in_the_middle_is_an_error_not_a_shorter_truth() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth");
        std::fs::write(&path, "{}\nnonsense\n{}\n").unwrap();
        assert!(matches!(Journal::open(&path, Durability::Process), Err(JournalError::Damaged { line: 2, .. })));
    }
}
