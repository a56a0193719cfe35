//! `hearth application-credential`.

use super::{Action, Bench, ChangeError, missing, project, role, user};
use crate::identity::local::{ApplicationCredential, password};

/// What to do with application credentials.
#[derive(Debug, clap::Subcommand)]
pub enum CredentialAction {
    /// Make one for a user and a project. Its secret is made up and printed once.
    Create {
        /// The name.
        name: String,
        /// Name or id of the user.
        #[arg(long)]
        user: String,
        /// Name or id of the project.
        #[arg(long)]
        project: String,
        /// A role that the user has there; several are allowed, none means all.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
    },
    /// One line for each: id, name, user, project, roles.
    List,
    /// Remove one; its tokens are not valid any more.
    Delete {
        /// The id.
        id: String,
    },
}

impl Action for CredentialAction {
    fn run(&self, bench: &Bench) -> Result<String, ChangeError> {
        match self {
            Self::Create { name, user: who, project: what, roles } => {
                let secret = bench.randomness.secret() + &bench.randomness.secret();
                let hash = password::hash(&secret, &bench.randomness);
                let id = bench.id();
                bench.files.change(|directory, records| {
                    let (who, what) = (&user(directory, who)?.id, &project(directory, what)?.id);
                    if directory.application_credential_named(who, name).is_some() {
                        return Err(ChangeError::Exists { kind: "application credential", name: name.clone() });
                    }
                    let own = directory.roles_on(who, what).ok_or_else(|| missing("role of this user on", what))?;
                    let wanted = roles.iter().map(|name| Ok(role(directory, name)?.name.clone()));
                    let wanted = wanted.collect::<Result<Vec<_>, ChangeError>>()?;
                    if let Some(other) = wanted.iter().find(|name| !own.contains(name)) {
                        return Err(missing("role of this user", other));
                    }
                    records.application_credentials.push(ApplicationCredential {
                        id: id.clone(),
                        name: name.clone(),
                        user: who.clone(),
                        project: what.clone(),
                        secret: hash,
                        roles: if wanted.is_empty() { own.to_vec() } else { wanted },
                        description: String::new(),
                        expires_at: None,
                    });
                    Ok(())
                })?;
                Ok(format!("{id} {name}\n  secret    {secret}\n"))
            }
            Self::List => {
                let directory = bench.files.read()?;
                let line = |one: &ApplicationCredential| {
                    let user = directory.user(&one.user).map_or("-", |user| &user.name);
                    let project = directory.project(&one.project).map_or("-", |project| &project.name);
                    format!("{} {} {user} {project} {}\n", one.id, one.name, one.roles.join(","))
                };
                Ok(directory.records().application_credentials.iter().map(line).collect())
            }
            Self::Delete { id } => bench.files.change(|directory, records| {
                directory.application_credential(id).ok_or_else(|| missing("application credential", id))?;
                records.application_credentials.retain(|one| one.id != *id);
                Ok(String::new())
            }),
        }
    }
}
