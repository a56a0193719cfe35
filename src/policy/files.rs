//! The policy files: YAML that maps names of rules to expressions. `policy.yaml` first, then every file of `policy.d` in the
//! order of their names.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::overrides::{Override, Overrides, Place};
use super::parse::{SyntaxError, parse, parse_lists};

/// Bytes of one policy file.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Files of the directory.
pub const FILES_MAX: usize = 1_000;

/// Where rules are changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The main file.
    pub file: Option<PathBuf>,
    /// Whether it is an error that the main file is not there.
    pub is_file_required: bool,
    /// The directory of further files.
    pub directory: Option<PathBuf>,
}

/// The policy files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A file or the directory cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It is no YAML, or YAML of another form.
    #[error("{place}: {reason}")]
    Form {
        /// Where.
        place: Place,
        /// Why.
        reason: String,
    },
    /// An expression cannot be read.
    #[error("{place}: rule {rule}: {source}")]
    Syntax {
        /// Where the expression stands.
        place: Place,
        /// The rule.
        rule: String,
        /// What is wrong with it, and where in it.
        source: SyntaxError,
    },
}

/// What tells one state of the files from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, Option<(SystemTime, u64)>)>);

impl Stamp {
    /// The files that were there.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|(path, _)| path.as_path())
    }
}

impl Sources {
    /// The files there are, in the order in which they are read.
    pub fn files(&self) -> Result<Vec<PathBuf>, FileError> {
        let is_there = |file: &&PathBuf| self.is_file_required || file.exists();
        let mut files: Vec<PathBuf> = self.file.iter().filter(is_there).cloned().collect();
        let Some(directory) = &self.directory else { return Ok(files) };
        let unreadable =
            |error: io::Error| FileError::Unreadable { path: directory.clone(), reason: error.to_string() };
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            Err(error) => return Err(unreadable(error)),
        };
        let mut further = Vec::new();
        for entry in entries {
            let path = entry.map_err(unreadable)?.path();
            let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            if !is_hidden && path.is_file() {
                further.push(path);
            }
            if further.len() > FILES_MAX {
                let reason = format!("more than {FILES_MAX} files");
                return Err(FileError::Unreadable { path: directory.clone(), reason });
            }
        }
        further.sort();
        files.extend(further);
        Ok(files)
    }

    /// Reads all of them; a later file wins over an earlier one.
    pub fn read(&self) -> Result<Overrides, FileError> {
        let mut rules = BTreeMap::new();
        for path in self.files()? {
            let text = text_of(&path)
                .map_err(|error| FileError::Unreadable { path: path.clone(), reason: error.to_string() })?;
            rules.extend(file_parse(&text, path)?);
        }
        Ok(Overrides(rules))
    }

    /// The present state of the files. Two states that are told apart need not differ in what they say.
    pub fn stamp(&self) -> Stamp {
        let files = self.files().unwrap_or_default();
        let of = |path: PathBuf| {
            let found = fs::metadata(&path).ok().and_then(|data| Some((data.modified().ok()?, data.len())));
            (path, found)
        };
        Stamp(files.into_iter().map(of).collect())
    }
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Reads the text of one file. A name that is there twice is an error: which of the two was meant?
pub fn file_parse(text: &str, path: PathBuf) -> Result<BTreeMap<String, Override>, FileError> {
    let mut reader = Reader { events: Parser::new_from_str(text), file: Arc::new(path) };
    let mut rules: BTreeMap<String, Override> = BTreeMap::new();
    reader.open_document()?;
    loop {
        let (event, at) = reader.next()?;
        let name = match event {
            Event::MappingEnd => break,
            Event::Scalar(name, ..) => name.into_owned(),
            _ => return Err(reader.form(at, "the name of a rule must be a text")),
        };
        let place = reader.place(at);
        let written = reader.value(&name)?;
        if let Some(first) = rules.get(&name) {
            let first = first.place.as_ref().map_or(0, |place| place.line);
            return Err(reader.form(at, format!("rule {name} stands in line {first} already")));
        }
        let read = match &written {
            Written::Text(text) => parse(text),
            Written::Lists(lists) => parse_lists(lists),
        };
        let expression =
            read.map_err(|source| FileError::Syntax { place: place.clone(), rule: name.clone(), source })?;
        let text = match written {
            Written::Text(text) => text,
            Written::Lists(_) => expression.to_string(),
        };
        rules.insert(name, Override { expression, text, place: Some(place) });
    }
    reader.close_document()?;
    Ok(rules)
}

/// An expression as it is written.
enum Written {
    Text(String),
    Lists(Vec<Vec<String>>),
}

struct Reader<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    file: Arc<PathBuf>,
}

impl<'a> Reader<'a> {
    fn place(&self, at: Span) -> Place {
        Place { file: Arc::clone(&self.file), line: at.start.line() }
    }

    fn form(&self, at: Span, reason: impl Into<String>) -> FileError {
        FileError::Form { place: self.place(at), reason: reason.into() }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), FileError> {
        match self.events.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let place = Place { file: Arc::clone(&self.file), line: error.marker().line() };
                Err(FileError::Form { place, reason: format!("this is no YAML: {}", error.info()) })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// Goes on to the first name. A file without a document is one without rules: it ends at once.
    fn open_document(&mut self) -> Result<(), FileError> {
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) => {}
                Event::MappingStart(..) => return Ok(()),
                // nothing but comments
                Event::StreamEnd => {
                    self.events = Parser::new_from_str("{}");
                    return self.open_document();
                }
                Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() || text == "~" || text == "null" => {
                    self.events = Parser::new_from_str("{}");
                    return self.open_document();
                }
                _ => return Err(self.form(at, "a policy maps names of rules to expressions")),
            }
        }
    }

    fn close_document(&mut self) -> Result<(), FileError> {
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(()),
                _ => return Err(self.form(at, "a policy is one document")),
            }
        }
    }

    fn value(&mut self, rule: &str) -> Result<Written, FileError> {
        let (event, at) = self.next()?;
        match event {
            // what Cinder would take for "everybody"
            Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() || text == "~" || text == "null" => {
                Err(self.form(at, format!("rule {rule} has no expression; \"@\" is everybody, and \"!\" is nobody")))
            }
            Event::Scalar(text, ..) => Ok(Written::Text(text.into_owned())),
            Event::SequenceStart(..) => self.lists(rule).map(Written::Lists),
            _ => Err(self.form(at, format!("rule {rule} must be a text or a list of lists of texts"))),
        }
    }

    /// A single text stands for a list of one.
    fn lists(&mut self, rule: &str) -> Result<Vec<Vec<String>>, FileError> {
        let mut outer = Vec::new();
        let mut inner: Option<Vec<String>> = None;
        loop {
            let (event, at) = self.next()?;
            match (event, inner.as_mut()) {
                (Event::Scalar(text, ..), Some(list)) => list.push(text.into_owned()),
                (Event::Scalar(text, ..), None) => outer.push(vec![text.into_owned()]),
                (Event::SequenceStart(..), None) => inner = Some(Vec::new()),
                (Event::SequenceEnd, Some(_)) => outer.extend(inner.take()),
                (Event::SequenceEnd, None) => return Ok(outer),
                _ => return Err(self.form(at, format!("rule {rule} must be a text or a list of lists of texts"))),
            }
        }
    }
}
