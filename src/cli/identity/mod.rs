//! `hearth user|project|role|application-credential`: the records of Hearth's own identity service, changed in their file.
//!
//! A running service takes changes over within a second. Secrets come by standard input or are made up and printed once:
//! never by arguments, which every user of the machine can read.

mod credentials;
mod projects;
mod roles;
mod users;

use std::io::{self, BufRead as _, Write as _};
use std::process::ExitCode;

pub use self::credentials::CredentialAction;
pub use self::projects::ProjectAction;
pub use self::roles::RoleAction;
pub use self::users::UserAction;

use crate::domain::time::Timestamp;
use crate::identity::local::{Directory, FileError, Files, Project, Role, User};
use crate::runtime::{Clock, Randomness};
use crate::settings::Settings;

/// A change that is not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is named is not there.
    #[error("there is no {kind} {name:?}")]
    Missing {
        /// What.
        kind: &'static str,
        /// As it was named.
        name: String,
    },
    /// What would be made is there.
    #[error("there is a {kind} {name:?} already")]
    Exists {
        /// What.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// No password came.
    #[error("no password on standard input")]
    NoPassword(#[source] Option<io::Error>),
}

/// What the commands work with.
struct Bench {
    files: Files,
    randomness: Randomness,
    now: Timestamp,
}

/// Something that a command can do.
trait Action {
    fn run(&self, bench: &Bench) -> Result<String, ChangeError>;
}

/// Does it, and prints what came of it.
pub(super) fn run<A>(settings: &Settings, action: &A) -> ExitCode
where
    A: clap::Subcommand + Runs,
{
    super::outcome(action.open(settings))
}

/// A group of commands that can be run.
pub trait Runs {
    /// Opens the files, does it, and prints.
    fn open(&self, settings: &Settings) -> Result<(), ChangeError>;
}

impl<A: Action> Runs for A {
    fn open(&self, settings: &Settings) -> Result<(), ChangeError> {
        let files = Files::open(&settings.auth.local.path)?;
        let bench = Bench { files, randomness: Randomness::from_os(), now: Clock::System.now() };
        let text = self.run(&bench)?;
        // a reader that has seen enough (`| head`) is no failure
        let _ = io::stdout().write_all(text.as_bytes());
        Ok(())
    }
}

impl Bench {
    fn id(&self) -> String {
        self.randomness.uuid().simple().to_string()
    }

    /// The secret to be set, and what is printed of it.
    fn secret(&self, from_stdin: bool) -> Result<(String, String), ChangeError> {
        if !from_stdin {
            let secret = self.randomness.secret();
            let told = format!("  password  {secret}\n");
            return Ok((secret, told));
        }
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(|error| ChangeError::NoPassword(Some(error)))?;
        let secret = line.trim_end_matches(['\r', '\n']).to_owned();
        if secret.is_empty() { Err(ChangeError::NoPassword(None)) } else { Ok((secret, String::new())) }
    }
}

fn missing(kind: &'static str, name: &str) -> ChangeError {
    ChangeError::Missing { kind, name: name.to_owned() }
}

/// A user, by name or id.
fn user<'a>(directory: &'a Directory, name: &str) -> Result<&'a User, ChangeError> {
    directory.user_named(name).or_else(|| directory.user(name)).ok_or_else(|| missing("user", name))
}

/// A project, by name or id.
fn project<'a>(directory: &'a Directory, name: &str) -> Result<&'a Project, ChangeError> {
    directory.project_named(name).or_else(|| directory.project(name)).ok_or_else(|| missing("project", name))
}

/// A role, by name.
fn role<'a>(directory: &'a Directory, name: &str) -> Result<&'a Role, ChangeError> {
    directory.role(&name.to_ascii_lowercase()).ok_or_else(|| missing("role", name))
}

fn state(enabled: bool) -> &'static str {
    if enabled { "enabled" } else { "disabled" }
}
