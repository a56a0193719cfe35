//! Tokens that were ended before their time. A record is on disk before the call that ends it is answered.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use super::file::{FileError, Files, at, private};
use crate::domain::time::Timestamp;

const FILE: &str = "revoked";

/// The list is written anew, without what has expired, when it is longer than this and has doubled.
const COMPACT_AT: usize = 1024;

/// The ended tokens that have not expired.
#[derive(Debug)]
pub struct Revoked {
    files: Files,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Until when each would have been valid, by audit id.
    until: HashMap<String, Timestamp>,
    /// Lines of the file.
    lines: usize,
}

impl Revoked {
    /// Reads the list. A last line that was cut off by a crash was of a call that nobody was answered.
    pub fn open(files: &Files, now: Timestamp) -> Result<Self, FileError> {
        let path = files.path(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(at(&path)(error)),
        };
        let mut until = HashMap::new();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            if let Some((id, at)) = line.split_once(' ')
                && let Ok(at) = at.parse().map(Timestamp)
                && at > now
            {
                until.insert(id.to_owned(), at);
            }
        }
        let revoked = Self { files: files.clone(), state: Mutex::new(State { until, lines: 0 }) };
        revoked.rewrite(&mut revoked.state.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(revoked)
    }

    /// Whether the token with this id was ended.
    pub fn contains(&self, audit_id: &str) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).until.contains_key(audit_id)
    }

    /// Ends a token that would be valid until `until`. Waits for the disk.
    pub fn add(&self, audit_id: &str, until: Timestamp, now: Timestamp) -> Result<(), FileError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.until.contains_key(audit_id) {
            return Ok(());
        }
        let path = self.files.path(FILE);
        let appended = private().append(true).create(true).open(&path).and_then(|mut file| {
            writeln!(file, "{audit_id} {}", until.0)?;
            file.sync_all()
        });
        appended.map_err(at(&path))?;
        state.until.insert(audit_id.to_owned(), until);
        state.lines += 1;
        state.until.retain(|_, until| *until > now);
        if state.lines > COMPACT_AT && state.lines > 2 * state.until.len() {
            self.rewrite(&mut state)?;
        }
        Ok(())
    }

    fn rewrite(&self, state: &mut State) -> Result<(), FileError> {
        let text: String = state.until.iter().map(|(id, until)| format!("{id} {}\n", until.0)).collect();
        self.files.replace(&self.files.path(FILE), &text)?;
        state.lines = state.until.len();
        Ok(())
    }
}
