//! Layers FILE and environment, and reads typed values out of the result while it collects *every* problem with the key,
//! the reason and the place it came from. (Deserialising with serde would stop at the first problem, and would not say
//! where an unknown key was written.)

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use config::{Config, ConfigError, File, FileFormat, Map, Source, Value, ValueKind};

use super::duration;

/// Environment variables with this prefix are settings: `HEARTH__SERVER__LISTEN` is `server.listen`.
pub const ENVIRONMENT_PREFIX: &str = "HEARTH__";

/// One setting that cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, `backends[0].path`; empty when the file as a whole cannot be read.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
    /// The file or the environment variable that said it; none for a default.
    pub origin: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)?;
        match &self.origin {
            Some(origin) => write!(f, " (from {origin})"),
            None => f.write_str(" (built-in default)"),
        }
    }
}

/// The environment as a layer over the file.
#[derive(Clone, Debug)]
struct Environment(Vec<(String, String)>);

impl Source for Environment {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let layer = self.0.iter().filter_map(|(name, value)| {
            let key = environment_key(name.strip_prefix(ENVIRONMENT_PREFIX)?);
            let origin = format!("environment variable {name}");
            Some((key, Value::new(Some(&origin), ValueKind::String(value.clone()))))
        });
        Ok(layer.collect())
    }
}

/// A longer number is no index of a list: filling the list up to it would take all memory.
const INDEX_DIGITS_MAX: usize = 3;

/// `BACKENDS__0__PATH` → `backends[0].path`.
fn environment_key(name: &str) -> String {
    let mut key = String::new();
    for part in name.split("__") {
        if (1..=INDEX_DIGITS_MAX).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()) {
            key.push_str(&format!("[{part}]"));
        } else {
            if !key.is_empty() {
                key.push('.');
            }
            key.push_str(&part.to_ascii_lowercase());
        }
    }
    key
}

/// Reads FILE (if any), lays the environment over it, and gives the root table.
///
/// `default_backends` is what stands for `[[backends]]` when the file names none, so that the environment can change single
/// members of the default backend.
pub(super) fn layered(
    file: Option<&Path>,
    environment: Vec<(String, String)>,
    default_backends: Vec<Map<String, Value>>,
) -> Result<(Table, Origins), Problem> {
    let mut builder = Config::builder();
    builder = builder.set_default("backends", default_backends).map_err(|error| problem_of(&error, None))?;
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|error| Problem {
            key: String::new(),
            reason: format!("the settings file cannot be read: {error}"),
            origin: Some(path.display().to_string()),
        })?;
        builder = builder.add_source(NamedFile { name: path.display().to_string(), text });
    }
    let mut merged = builder.build().map_err(|error| problem_of(&error, file))?;
    // as a source of the builder it would meet an empty tree, and `backends[0].path` would make a new list instead of
    // changing one member of the file's
    Environment(environment).collect_to(&mut merged.cache).map_err(|error| problem_of(&error, None))?;
    let mut origins = Origins::default();
    origins.collect("", &merged.cache);
    Ok((Table::root(merged.cache), origins))
}

/// Where each key was written; keys with their default are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origins(BTreeMap<String, String>);

impl Origins {
    fn collect(&mut self, key: &str, value: &Value) {
        match &value.kind {
            ValueKind::Table(members) => {
                for (name, member) in members {
                    let path = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                    self.collect(&path, member);
                }
            }
            ValueKind::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.collect(&format!("{key}[{index}]"), item);
                }
            }
            _ => self.0.extend(value.origin().map(|origin| (key.to_owned(), origin.to_owned()))),
        }
    }

    /// Where `key` was written.
    pub(super) fn of(&self, key: &str) -> Option<String> {
        self.0.get(key).cloned()
    }
}

fn problem_of(error: &ConfigError, file: Option<&Path>) -> Problem {
    Problem {
        key: String::new(),
        reason: error.to_string().trim_end().to_owned(),
        origin: file.map(|path| path.display().to_string()),
    }
}

/// The file as a layer whose values remember its name.
#[derive(Clone, Debug)]
struct NamedFile {
    name: String,
    text: String,
}

impl Source for NamedFile {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let collected = File::from_str(&self.text, FileFormat::Toml).collect()?;
        Ok(collected.into_iter().map(|(key, value)| (key, with_origin(value, &self.name))).collect())
    }
}

fn with_origin(value: Value, origin: &String) -> Value {
    let kind = match value.kind {
        ValueKind::Table(members) => {
            ValueKind::Table(members.into_iter().map(|(key, member)| (key, with_origin(member, origin))).collect())
        }
        ValueKind::Array(members) => {
            ValueKind::Array(members.into_iter().map(|member| with_origin(member, origin)).collect())
        }
        other => other,
    };
    Value::new(Some(origin), kind)
}

/// A table whose members are taken out one after the other; what is left in the end is unknown.
pub(super) struct Table {
    path: String,
    origin: Option<String>,
    members: BTreeMap<String, Value>,
}

impl Table {
    fn root(value: Value) -> Self {
        let ValueKind::Table(members) = value.kind else { return Self::empty(String::new()) };
        Self { path: String::new(), origin: None, members: members.into_iter().collect() }
    }

    fn empty(path: String) -> Self {
        Self { path, origin: None, members: BTreeMap::new() }
    }

    /// The full key of member `name`.
    pub(super) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where member `name` (still in the table) or else the table was written.
    pub(super) fn origin_of(&self, name: &str) -> Option<String> {
        self.members.get(name).and_then(|value| value.origin().map(str::to_owned)).or_else(|| self.origin.clone())
    }

    /// Forgets empty texts, where they say nothing.
    pub(super) fn forget_empty(&mut self) {
        self.members.retain(|_, value| !matches!(&value.kind, ValueKind::String(text) if text.is_empty()));
    }

    /// Whether member `name` is still in the table.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    fn refuse(&self, problems: &mut Vec<Problem>, name: &str, value_origin: Option<&str>, reason: String) {
        let origin = value_origin.map(str::to_owned).or_else(|| self.origin.clone());
        problems.push(Problem { key: self.key(name), reason, origin });
    }

    /// Member `name` made by `parse`, or `default` when it is absent or wrong (the problem is noted).
    pub(super) fn take<T>(
        &mut self,
        problems: &mut Vec<Problem>,
        name: &str,
        default: T,
        parse: impl FnOnce(Value) -> Result<T, String>,
    ) -> T {
        let Some(value) = self.members.remove(name) else { return default };
        let origin = value.origin().map(str::to_owned);
        match parse(value) {
            Ok(parsed) => parsed,
            Err(reason) => {
                self.refuse(problems, name, origin.as_deref(), reason);
                default
            }
        }
    }

    /// A text.
    pub(super) fn text(&mut self, problems: &mut Vec<Problem>, name: &str, default: &str) -> String {
        self.take(problems, name, default.to_owned(), text)
    }

    /// A text that may be absent.
    pub(super) fn optional_text(&mut self, problems: &mut Vec<Problem>, name: &str) -> Option<String> {
        self.take(problems, name, None, |value| text(value).map(Some))
    }

    /// A whole number between the bounds.
    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        problems: &mut Vec<Problem>,
        name: &str,
        default: T,
        bounds: std::ops::RangeInclusive<i64>,
    ) -> T {
        self.take(problems, name, default, |value| {
            let number = match &value.kind {
                ValueKind::I64(number) => Some(*number),
                ValueKind::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            let range = || match *bounds.end() {
                i64::MAX => format!("a whole number of at least {}", bounds.start()),
                end => format!("a whole number from {} to {end}", bounds.start()),
            };
            number
                .filter(|number| bounds.contains(number))
                .and_then(|number| T::try_from(number).ok())
                .ok_or_else(|| format!("must be {}", range()))
        })
    }

    /// A number with a fraction, at least `least`.
    pub(super) fn fraction(&mut self, problems: &mut Vec<Problem>, name: &str, default: f64, least: f64) -> f64 {
        self.take(problems, name, default, |value| {
            let number = match &value.kind {
                ValueKind::Float(number) => Some(*number),
                ValueKind::I64(number) => Some(*number as f64),
                ValueKind::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            number
                .filter(|number: &f64| number.is_finite() && *number >= least)
                .ok_or_else(|| format!("must be a number of at least {least}"))
        })
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, problems: &mut Vec<Problem>, name: &str, default: bool) -> bool {
        self.take(problems, name, default, |value| match &value.kind {
            ValueKind::Boolean(flag) => Ok(*flag),
            ValueKind::String(text) if text == "true" => Ok(true),
            ValueKind::String(text) if text == "false" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        })
    }

    /// A duration; `zero_allowed` for those where zero has a meaning.
    pub(super) fn duration(
        &mut self,
        problems: &mut Vec<Problem>,
        name: &str,
        default: Duration,
        zero_allowed: bool,
    ) -> Duration {
        self.take(problems, name, default, |value| {
            let parsed = match &value.kind {
                ValueKind::String(text) => duration::parse(text)?,
                ValueKind::I64(number) => duration::parse(&number.to_string())?,
                _ => return Err("must be a duration such as \"60s\"".to_owned()),
            };
            if parsed.is_zero() && !zero_allowed {
                return Err("must be longer than zero".to_owned());
            }
            Ok(parsed)
        })
    }

    /// A list of texts; in the environment: separated by commas.
    pub(super) fn texts(&mut self, problems: &mut Vec<Problem>, name: &str, default: Vec<String>) -> Vec<String> {
        self.take(problems, name, default, |value| match value.kind {
            ValueKind::Array(items) => items.into_iter().map(text).collect(),
            ValueKind::String(joined) => {
                Ok(joined.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
            }
            _ => Err("must be a list of texts".to_owned()),
        })
    }

    /// The sub-table `name`; empty when absent.
    pub(super) fn table(&mut self, problems: &mut Vec<Problem>, name: &str) -> Self {
        let path = self.key(name);
        let Some(value) = self.members.remove(name) else { return Self::empty(path) };
        let origin = value.origin().map(str::to_owned);
        match value.kind {
            ValueKind::Table(members) => Self { path, origin, members: members.into_iter().collect() },
            _ => {
                self.refuse(problems, name, origin.as_deref(), "must be a section with settings of its own".to_owned());
                Self::empty(path)
            }
        }
    }

    /// The list of sub-tables `name`.
    pub(super) fn tables(&mut self, problems: &mut Vec<Problem>, name: &str) -> Vec<Self> {
        let path = self.key(name);
        let Some(value) = self.members.remove(name) else { return Vec::new() };
        let origin = value.origin().map(str::to_owned);
        let ValueKind::Array(items) = value.kind else {
            self.refuse(problems, name, origin.as_deref(), format!("must be a list of sections, [[{path}]]"));
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            let origin = item.origin().map(str::to_owned);
            match item.kind {
                ValueKind::Table(members) => tables.push(Self { path, origin, members: members.into_iter().collect() }),
                // an index in the environment which skips others leaves a hole
                _ => problems.push(Problem { key: path, reason: "must be a section".to_owned(), origin }),
            }
        }
        tables
    }

    /// Ends the reading of this table: whatever nobody took is unknown. `known` is what may stand here, for the message.
    pub(super) fn finish(self, problems: &mut Vec<Problem>, known: &[&str]) {
        for (name, value) in &self.members {
            let origin = value.origin().map(str::to_owned).or_else(|| innermost_origin(value));
            let reason = match nearest(name, known) {
                Some(meant) => format!("unknown setting; did you mean {:?}?", self.key(meant)),
                None => format!("unknown setting; known here: {}", known.join(", ")),
            };
            problems.push(Problem { key: self.key(name), reason, origin: origin.or_else(|| self.origin.clone()) });
        }
    }
}

/// A table made by a nested environment variable has no origin itself, but its members do.
fn innermost_origin(value: &Value) -> Option<String> {
    match &value.kind {
        ValueKind::Table(members) => {
            members.values().find_map(|member| member.origin().map(str::to_owned).or_else(|| innermost_origin(member)))
        }
        _ => None,
    }
}

fn text(value: Value) -> Result<String, String> {
    match value.kind {
        ValueKind::String(text) => Ok(text),
        _ => Err("must be a text".to_owned()),
    }
}

/// The known word that differs from `word` by at most two letters.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    const TYPING_ERRORS: usize = 2;
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= TYPING_ERRORS && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_environment_variables_become_keys() {
        assert_eq!(environment_key("SERVER__LISTEN"), "server.listen");
        assert_eq!(environment_key("BACKENDS__0__PATH"), "backends[0].path");
        assert_eq!(environment_key("BACKENDS__1__DEADLINES__COPY_STALL"), "backends[1].deadlines.copy_stall");
    }

    #[test]
    fn the_nearest_known_word_is_named_only_if_it_is_near() {
        assert_eq!(nearest("listn", &["listen", "workers"]), Some("listen"));
        assert_eq!(nearest("banana", &["listen", "workers"]), None);
    }
}
