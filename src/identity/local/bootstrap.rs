//! The first users, so that somebody can log in to make the others.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use super::file::{FileError, Files, at};
use super::password;
use super::records::{Assignment, Directory, Project, Role, User};
use crate::domain::time::Timestamp;
use crate::runtime::Randomness;

const FILE: &str = "initial-passwords.toml";

/// The roles that every Keystone has, and that of services.
const ROLES: [&str; 4] = ["admin", "member", "reader", "service"];

/// A user's first password, as long as it is the user's.
#[derive(Debug, Serialize, Deserialize)]
struct Initial {
    password: String,
    set_at: Timestamp,
}

/// Makes, if there is nobody yet, the administrator `admin` (of the projects `admin` and `demo`) and `demo`, a member of
/// the project `demo`. Their passwords are kept where only the service's own user can read them.
pub fn bootstrap(files: &Files, randomness: &Randomness, now: Timestamp) -> Result<(), FileError> {
    files.change(|directory, records| {
        if !directory.records().users.is_empty() {
            return Ok(());
        }
        let id = || randomness.uuid().simple().to_string();
        for name in ROLES.iter().filter(|name| directory.role(name).is_none()) {
            records.roles.push(Role { id: id(), name: (*name).to_owned() });
        }
        let mut project = |name: &str| match directory.project_named(name) {
            Some(project) => project.id.clone(),
            None => {
                let id = id();
                let description = String::new();
                records.projects.push(Project { id: id.clone(), name: name.to_owned(), description, enabled: true });
                id
            }
        };
        let (admin, demo) = (project("admin"), project("demo"));
        let mut initial = BTreeMap::new();
        for (name, default, roles) in
            [("admin", &admin, [(&admin, "admin"), (&demo, "admin")].as_slice()), ("demo", &demo, &[(&demo, "member")])]
        {
            let (user, password) = (id(), randomness.secret());
            records.users.push(User {
                id: user.clone(),
                name: name.to_owned(),
                password: Some(password::hash(&password, randomness)),
                password_set_at: now,
                default_project: Some(default.clone()),
                enabled: true,
            });
            for (project, role) in roles {
                let (user, roles) = (user.clone(), vec![(*role).to_owned()]);
                records.assignments.push(Assignment { user, project: (*project).clone(), roles });
            }
            initial.insert(name, Initial { password, set_at: now });
        }
        let path = files.path(FILE);
        let text = toml::to_string(&initial)
            .map_err(|error| FileError::Unreadable { path: path.clone(), reason: error.to_string() })?;
        // before the users: without it nobody could log in as them
        files.replace(&path, &text)
    })
}

/// The first passwords of users who still have them, by the users' names.
pub fn initial_passwords(files: &Files, directory: &Directory) -> Result<BTreeMap<String, String>, FileError> {
    let path = files.path(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(at(&path)(error)),
    };
    let initial: BTreeMap<String, Initial> = toml::from_str(&text)
        .map_err(|error| FileError::Unreadable { path: path.clone(), reason: error.message().to_owned() })?;
    let is_theirs = |name: &str, initial: &Initial| {
        directory.user_named(name).is_some_and(|user| user.enabled && user.password_set_at == initial.set_at)
    };
    let still = initial.into_iter().filter(|(name, initial)| is_theirs(name, initial));
    Ok(still.map(|(name, initial)| (name, initial.password)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_users_are_made_once_and_their_passwords_told_until_they_change() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let files = Files::open(directory.path()).expect("open");
        let randomness = Randomness::from_seed(1);
        bootstrap(&files, &randomness, Timestamp(5)).expect("made");
        let first = files.read().expect("readable");
        let passwords = initial_passwords(&files, &first).expect("readable");
        for (name, password) in &passwords {
            let user = first.user_named(name).expect("a user");
            assert!(password::verify(password, user.password.as_deref()));
        }
        assert_eq!(passwords.keys().collect::<Vec<_>>(), ["admin", "demo"]);
        bootstrap(&files, &randomness, Timestamp(6)).expect("nothing to do");
        assert_eq!(files.read().expect("readable").records(), first.records());
        files
            .change(|_, records| {
                records.users[0].password_set_at = Timestamp(7);
                Ok::<_, FileError>(())
            })
            .expect("changed");
        let left = initial_passwords(&files, &files.read().expect("readable")).expect("readable");
        assert_eq!(left.keys().collect::<Vec<_>>(), ["demo"]);
    }
}
