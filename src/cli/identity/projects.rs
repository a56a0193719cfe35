//! `hearth project`.

use super::{Action, Bench, ChangeError, project, state};
use crate::identity::local::Project;

/// What to do with projects.
#[derive(Debug, clap::Subcommand)]
pub enum ProjectAction {
    /// Make a project.
    Create {
        /// The name.
        name: String,
        /// For people.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// One line for each project: id, name, state.
    List,
    /// Give tokens for a project again.
    Enable {
        /// Name or id.
        project: String,
    },
    /// Give no tokens for a project any more; those there are are not valid while it is disabled.
    Disable {
        /// Name or id.
        project: String,
    },
    /// Remove a project, with the roles on it and its application credentials. Its volumes stay, for administrators.
    Delete {
        /// Name or id.
        project: String,
    },
}

impl Action for ProjectAction {
    fn run(&self, bench: &Bench) -> Result<String, ChangeError> {
        match self {
            Self::Create { name, description } => {
                let id = bench.id();
                bench.files.change(|directory, records| {
                    if directory.project_named(name).is_some() {
                        return Err(ChangeError::Exists { kind: "project", name: name.clone() });
                    }
                    let (id, name, description) = (id.clone(), name.clone(), description.clone());
                    records.projects.push(Project { id, name, description, enabled: true });
                    Ok(())
                })?;
                Ok(format!("{id} {name}\n"))
            }
            Self::List => {
                let directory = bench.files.read()?;
                let line = |project: &Project| format!("{} {} {}\n", project.id, project.name, state(project.enabled));
                Ok(directory.records().projects.iter().map(line).collect())
            }
            Self::Enable { project } => enable(bench, project, true),
            Self::Disable { project } => enable(bench, project, false),
            Self::Delete { project: name } => bench.files.change(|directory, records| {
                let id = project(directory, name)?.id.clone();
                records.projects.retain(|project| project.id != id);
                records.assignments.retain(|given| given.project != id);
                records.application_credentials.retain(|one| one.project != id);
                for user in &mut records.users {
                    user.default_project.take_if(|default| *default == id);
                }
                Ok(String::new())
            }),
        }
    }
}

fn enable(bench: &Bench, name: &str, enabled: bool) -> Result<String, ChangeError> {
    bench.files.change(|directory, records| {
        let id = &project(directory, name)?.id;
        if let Some(project) = records.projects.iter_mut().find(|project| project.id == *id) {
            project.enabled = enabled;
        }
        Ok(String::new())
    })
}
