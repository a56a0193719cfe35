//! The command line: arguments in, exit code out.
//!
//! The only folder which may use every other one: it reads the settings, builds the parts and connects them. It decides
//! nothing about volumes. Called by `main` alone.

pub mod actors;
pub mod ask;
pub mod auth;
pub mod check_config;
pub mod clouds;
mod compute;
pub mod daemons;
pub mod fill;
pub mod fsck;
pub mod hosts;
pub mod identity;
mod images;
pub mod parts;
pub mod policy;
pub mod reload;
pub mod serve;
pub mod sim_backend;
pub mod state_dir;
pub mod storm;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::policy::LivePolicy;
use crate::settings::{Invalid, Loaded, Settings};

/// Exit code for settings that cannot be used: a supervisor need not try again.
const EXIT_SETTINGS: u8 = 2;

/// An OpenStack-compatible block-storage control plane in one binary.
#[derive(Debug, Parser)]
#[command(name = "hearth", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Where the settings are.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// Settings file (TOML). Without it the defaults hold. Environment variables HEARTH__SECTION__KEY win over both.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

/// Arguments of a command that has several actions.
#[derive(Debug, clap::Args)]
struct Acting<A: Subcommand> {
    #[command(flatten)]
    file: ConfigFile,
    #[command(subcommand)]
    action: A,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the APIs until SIGTERM or SIGINT.
    Serve(ConfigFile),
    /// Say which settings are wrong, why, and where they were written.
    CheckConfig(ConfigFile),
    /// Show the rules in force, or explain a decision.
    Policy(Acting<policy::Action>),
    /// Bring the database's tables up to date. `serve` does so by itself.
    Migrate(ConfigFile),
    /// Compare records, backends and guests, and print each difference. Read-only.
    Fsck(fsck::Arguments),
    /// Run the simulated backend as a process of its own.
    SimBackend(sim_backend::Arguments),
    /// Show what the running service's actors are doing.
    Actors(Acting<actors::Action>),
    /// Say that a host is dead, and see what hosts have.
    Host(Acting<hosts::Action>),
    /// List or stop the storage daemons.
    Daemons(Acting<daemons::Action>),
    /// Make volumes in bulk in the database, for trials at scale. The service must not be running.
    Fill(fill::Arguments),
    /// Make, list, change and remove users of Hearth's own identity service (auth.strategy = "local").
    User(Acting<identity::UserAction>),
    /// The same for projects.
    Project(Acting<identity::ProjectAction>),
    /// Make roles, and give them to users on projects.
    Role(Acting<identity::RoleAction>),
    /// Make, list and remove what programs log in with.
    ApplicationCredential(Acting<identity::CredentialAction>),
    /// Load a service with simulated clients, measure it, and check what is left.
    Storm(Box<storm::Arguments>),
}

/// Runs one command. `arguments` begin with the program's name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(help_or_error) => {
            // asking for help is no failure; the text goes to the stream that clap chooses
            let _ = help_or_error.print();
            return if help_or_error.use_stderr() { ExitCode::from(EXIT_SETTINGS) } else { ExitCode::SUCCESS };
        }
    };
    match arguments.command {
        Command::Serve(file) => with_settings(file.config.as_deref(), |loaded| {
            with_policy(&loaded, |policy| outcome(serve::run(&loaded, policy)))
        }),
        Command::CheckConfig(file) => check_config::run(file.config.as_deref()),
        Command::Policy(arguments) => with_read_settings(arguments.file.config.as_deref(), |loaded| {
            with_policy(&loaded, |policy| policy::run(&loaded.settings, &policy, &arguments.action))
        }),
        Command::Migrate(file) => with_settings(file.config.as_deref(), |loaded| {
            outcome(crate::store::migrate(&loaded.settings.database.url()))
        }),
        Command::Fsck(arguments) => {
            with_settings(arguments.file.config.as_deref(), |loaded| fsck::run(&loaded.settings, arguments.json))
        }
        Command::SimBackend(arguments) => outcome(sim_backend::run(&arguments)),
        Command::Actors(arguments) => {
            with_settings(arguments.file.config.as_deref(), |loaded| actors::run(&loaded.settings, &arguments.action))
        }
        Command::Host(arguments) => {
            with_settings(arguments.file.config.as_deref(), |loaded| hosts::run(&loaded.settings, &arguments.action))
        }
        Command::Daemons(arguments) => {
            with_settings(arguments.file.config.as_deref(), |loaded| daemons::run(&loaded.settings, &arguments.action))
        }
        Command::Fill(arguments) => {
            with_settings(arguments.file.config.as_deref(), |loaded| fill::run(&loaded.settings, &arguments))
        }
        Command::User(arguments) => with_identity(&arguments),
        Command::Project(arguments) => with_identity(&arguments),
        Command::Role(arguments) => with_identity(&arguments),
        Command::ApplicationCredential(arguments) => with_identity(&arguments),
        Command::Storm(arguments) => storm::run(&arguments),
    }
}

fn with_identity<A: clap::Subcommand + identity::Runs>(arguments: &Acting<A>) -> ExitCode {
    with_settings(arguments.file.config.as_deref(), |loaded| identity::run(&loaded.settings, &arguments.action))
}

/// Reads and checks the settings, then goes on; otherwise tells every problem.
fn with_settings(file: Option<&Path>, go_on: impl FnOnce(Loaded) -> ExitCode) -> ExitCode {
    with_read_settings(file, |loaded| {
        let problems = loaded.problems_on_this_machine();
        if problems.is_empty() { go_on(loaded) } else { refused(&Invalid(problems)) }
    })
}

/// The same for what touches nothing of this machine.
fn with_read_settings(file: Option<&Path>, go_on: impl FnOnce(Loaded) -> ExitCode) -> ExitCode {
    match Settings::load(file) {
        Ok(loaded) => go_on(loaded),
        Err(invalid) => refused(&invalid),
    }
}

/// Reads the policy, then goes on: its files are settings, too.
fn with_policy(loaded: &Loaded, go_on: impl FnOnce(LivePolicy) -> ExitCode) -> ExitCode {
    match policy::open(loaded) {
        Ok(policy) => go_on(policy),
        Err(error) => refused(&error),
    }
}

fn refused(problems: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{problems}");
    ExitCode::from(EXIT_SETTINGS)
}

fn outcome<E: std::error::Error>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(&error),
    }
}

fn failure(error: &dyn std::error::Error) -> ExitCode {
    eprint!("hearth: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprint!(": {cause}");
        source = cause.source();
    }
    eprintln!();
    ExitCode::FAILURE
}
