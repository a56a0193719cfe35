//! `hearth user`.

use super::{Action, Bench, ChangeError, project, role, state, user};
use crate::identity::local::{Assignment, User, password};

/// What to do with users.
#[derive(Debug, clap::Subcommand)]
pub enum UserAction {
    /// Make a user. The password is made up and printed, unless it comes by standard input.
    Create {
        /// The name.
        name: String,
        /// The project of log-ins that name none; with `--role`, the project of the roles.
        #[arg(long, value_name = "PROJECT")]
        project: Option<String>,
        /// A role on the project; several are allowed.
        #[arg(long = "role", value_name = "ROLE", requires = "project")]
        roles: Vec<String>,
        /// The first line of standard input is the password.
        #[arg(long)]
        password_stdin: bool,
    },
    /// One line for each user: id, name, state, default project.
    List,
    /// Set a password; the user's tokens end. It is made up and printed, unless it comes by standard input.
    SetPassword {
        /// Name or id.
        user: String,
        /// The first line of standard input is the password.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Let a user in again.
    Enable {
        /// Name or id.
        user: String,
    },
    /// Let a user in no more; their tokens are not valid while they are disabled.
    Disable {
        /// Name or id.
        user: String,
    },
    /// Remove a user, with their roles and application credentials. What is theirs in projects stays there.
    Delete {
        /// Name or id.
        user: String,
    },
}

impl Action for UserAction {
    fn run(&self, bench: &Bench) -> Result<String, ChangeError> {
        match self {
            Self::Create { name, project, roles, password_stdin } => {
                create(bench, name, project.as_deref(), roles, *password_stdin)
            }
            Self::List => list(bench),
            Self::SetPassword { user, password_stdin } => set_password(bench, user, *password_stdin),
            Self::Enable { user } => enable(bench, user, true),
            Self::Disable { user } => enable(bench, user, false),
            Self::Delete { user } => delete(bench, user),
        }
    }
}

fn create(
    bench: &Bench,
    name: &str,
    project_name: Option<&str>,
    role_names: &[String],
    password_stdin: bool,
) -> Result<String, ChangeError> {
    let (secret, told) = bench.secret(password_stdin)?;
    let hash = password::hash(&secret, &bench.randomness);
    let id = bench.id();
    bench.files.change(|directory, records| {
        if directory.user_named(name).is_some() {
            return Err(ChangeError::Exists { kind: "user", name: name.to_owned() });
        }
        let default = match project_name {
            Some(name) => Some(project(directory, name)?.id.clone()),
            None => None,
        };
        let names = role_names.iter().map(|name| Ok(role(directory, name)?.name.clone()));
        let roles = names.collect::<Result<Vec<_>, ChangeError>>()?;
        if let (Some(project), false) = (&default, roles.is_empty()) {
            records.assignments.push(Assignment { user: id.clone(), project: project.clone(), roles });
        }
        records.users.push(User {
            id: id.clone(),
            name: name.to_owned(),
            password: Some(hash),
            password_set_at: bench.now,
            default_project: default,
            enabled: true,
        });
        Ok(())
    })?;
    Ok(format!("{id} {name}\n{told}"))
}

fn list(bench: &Bench) -> Result<String, ChangeError> {
    let directory = bench.files.read()?;
    let default = |user: &User| {
        let project = user.default_project.as_deref().and_then(|id| directory.project(id));
        project.map_or_else(|| "-".to_owned(), |project| project.name.clone())
    };
    let users = directory.records().users.iter();
    Ok(users.map(|user| format!("{} {} {} {}\n", user.id, user.name, state(user.enabled), default(user))).collect())
}

fn set_password(bench: &Bench, name: &str, password_stdin: bool) -> Result<String, ChangeError> {
    let (secret, told) = bench.secret(password_stdin)?;
    let hash = password::hash(&secret, &bench.randomness);
    change(bench, name, |user| {
        user.password = Some(hash);
        user.password_set_at = bench.now;
    })?;
    Ok(told)
}

fn enable(bench: &Bench, name: &str, enabled: bool) -> Result<String, ChangeError> {
    change(bench, name, |user| user.enabled = enabled)?;
    Ok(String::new())
}

fn change(bench: &Bench, name: &str, change: impl FnOnce(&mut User)) -> Result<(), ChangeError> {
    bench.files.change(|directory, records| {
        let id = &user(directory, name)?.id;
        if let Some(user) = records.users.iter_mut().find(|user| user.id == *id) {
            change(user);
        }
        Ok(())
    })
}

fn delete(bench: &Bench, name: &str) -> Result<String, ChangeError> {
    bench.files.change(|directory, records| {
        let id = user(directory, name)?.id.clone();
        records.users.retain(|user| user.id != id);
        records.assignments.retain(|given| given.user != id);
        records.application_credentials.retain(|one| one.user != id);
        Ok(String::new())
    })
}
