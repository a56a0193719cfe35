//! `hearth role`.

use super::{Action, Bench, ChangeError, project, role, user};
use crate::identity::local::{Assignment, Role};

/// What to do with roles.
#[derive(Debug, clap::Subcommand)]
pub enum RoleAction {
    /// Make a role. Policy decides what it may do.
    Create {
        /// The name.
        name: String,
    },
    /// One line for each role: id, name; then one for each user and project: user, project, roles.
    List,
    /// Give a user a role on a project.
    Add {
        /// The role.
        role: String,
        /// Name or id of the user.
        #[arg(long)]
        user: String,
        /// Name or id of the project.
        #[arg(long)]
        project: String,
    },
    /// Take a role on a project from a user.
    Remove {
        /// The role.
        role: String,
        /// Name or id of the user.
        #[arg(long)]
        user: String,
        /// Name or id of the project.
        #[arg(long)]
        project: String,
    },
}

impl Action for RoleAction {
    fn run(&self, bench: &Bench) -> Result<String, ChangeError> {
        match self {
            Self::Create { name } => {
                let (id, name) = (bench.id(), name.to_ascii_lowercase());
                bench.files.change(|directory, records| {
                    if directory.role(&name).is_some() {
                        return Err(ChangeError::Exists { kind: "role", name: name.clone() });
                    }
                    records.roles.push(Role { id: id.clone(), name: name.clone() });
                    Ok(())
                })?;
                Ok(format!("{id} {name}\n"))
            }
            Self::List => list(bench),
            Self::Add { role: name, user: who, project: what } => bench.files.change(|directory, records| {
                let name = role(directory, name)?.name.clone();
                let (who, what) = (user(directory, who)?.id.clone(), project(directory, what)?.id.clone());
                match records.assignments.iter_mut().find(|given| given.user == who && given.project == what) {
                    Some(given) if given.roles.contains(&name) => {}
                    Some(given) => given.roles.push(name),
                    None => records.assignments.push(Assignment { user: who, project: what, roles: vec![name] }),
                }
                Ok(String::new())
            }),
            Self::Remove { role: name, user: who, project: what } => bench.files.change(|directory, records| {
                let name = &role(directory, name)?.name;
                let (who, what) = (&user(directory, who)?.id, &project(directory, what)?.id);
                for given in &mut records.assignments {
                    if given.user == *who && given.project == *what {
                        given.roles.retain(|own| own != name);
                    }
                }
                records.assignments.retain(|given| !given.roles.is_empty());
                Ok(String::new())
            }),
        }
    }
}

fn list(bench: &Bench) -> Result<String, ChangeError> {
    let directory = bench.files.read()?;
    let records = directory.records();
    let mut text: String = records.roles.iter().map(|role| format!("{} {}\n", role.id, role.name)).collect();
    for given in &records.assignments {
        let user = directory.user(&given.user).map_or("-", |user| &user.name);
        let project = directory.project(&given.project).map_or("-", |project| &project.name);
        text.push_str(&format!("{user} {project} {}\n", given.roles.join(",")));
    }
    Ok(text)
}
