//! The users, projects, roles and application credentials, as their file says, and what follows from them.
//!
//! The file is TOML, so that people can read and edit it; Hearth's own commands rewrite it (comments get lost). A snapshot
//! of it is whole or refused: nothing is looked up in records that contradict each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::password;
use crate::domain::time::Timestamp;

/// The one domain, which every Keystone has.
pub const DOMAIN_ID: &str = "default";
/// Its name.
pub const DOMAIN_NAME: &str = "Default";

/// Longest name or id, in bytes.
const NAME_MAX: usize = 255;

/// A role with its implied ones: `admin` implies `member` implies `reader`, as in Keystone.
const IMPLIED: [(&str, &str); 2] = [("admin", "member"), ("member", "reader")];

/// Everything in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Records {
    /// Projects.
    #[serde(default)]
    pub projects: Vec<Project>,
    /// Users.
    #[serde(default)]
    pub users: Vec<User>,
    /// Roles.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// Who has which roles on which project.
    #[serde(default)]
    pub assignments: Vec<Assignment>,
    /// Application credentials.
    #[serde(default)]
    pub application_credentials: Vec<ApplicationCredential>,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Its id.
    pub id: String,
    /// Its name, unlike that of any other.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Nobody gets a token for a project that is not.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub enabled: bool,
}

/// A user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The id.
    pub id: String,
    /// The name, unlike that of any other.
    pub name: String,
    /// The password's argon2id hash; none: no log-in by password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// When the password was set, in microseconds since 1970: older tokens are not valid any more.
    #[serde(default)]
    pub password_set_at: Timestamp,
    /// The project of a log-in that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_project: Option<String>,
    /// Somebody who is not has no valid token.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub enabled: bool,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its id.
    pub id: String,
    /// Its name, in lower case.
    pub name: String,
}

/// Roles of a user on a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The user's id.
    pub user: String,
    /// The project's id.
    pub project: String,
    /// The roles' names.
    pub roles: Vec<String>,
}

/// What a program logs in with instead of its user's password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationCredential {
    /// Its id.
    pub id: String,
    /// Its name, unlike that of any other of its user.
    pub name: String,
    /// Whose it is, by id.
    pub user: String,
    /// For which project, by id.
    pub project: String,
    /// The secret's argon2id hash.
    pub secret: String,
    /// The names of its roles. One that the user has lost does not count any more.
    pub roles: Vec<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// When it ends, in microseconds since 1970; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_yes(value: &bool) -> bool {
    *value
}

// hashes are no secrets, but nobody needs them in a log
impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ApplicationCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApplicationCredential").field("id", &self.id).field("user", &self.user).finish_non_exhaustive()
    }
}

/// The records contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Contradiction(pub String);

/// Records that hold together, with what is looked up in them.
#[derive(Debug, Default)]
pub struct Directory {
    records: Records,
    users: HashMap<String, usize>,
    users_by_name: HashMap<String, usize>,
    projects: HashMap<String, usize>,
    projects_by_name: HashMap<String, usize>,
    credentials: HashMap<String, usize>,
    /// The roles, with the implied ones, by the ids of user and project.
    granted: HashMap<String, HashMap<String, Arc<[String]>>>,
}

impl Directory {
    /// Takes records that hold together.
    pub fn new(records: Records) -> Result<Self, Contradiction> {
        let users = unique("user", "id", records.users.iter().map(|user| user.id.as_str()))?;
        let users_by_name = unique("user", "name", records.users.iter().map(|user| user.name.as_str()))?;
        let projects = unique("project", "id", records.projects.iter().map(|project| project.id.as_str()))?;
        let projects_by_name = unique("project", "name", records.projects.iter().map(|project| project.name.as_str()))?;
        unique("role", "id", records.roles.iter().map(|role| role.id.as_str()))?;
        let roles = unique("role", "name", records.roles.iter().map(|role| role.name.as_str()))?;
        if let Some(role) = records.roles.iter().find(|role| role.name != role.name.to_ascii_lowercase()) {
            return Err(Contradiction(format!("the name of role {:?} is not in lower case", role.name)));
        }
        for user in &records.users {
            if user.password.as_deref().is_some_and(|hash| !password::is_hash(hash)) {
                let text = format!(
                    "the password of user {:?} is no argon2 hash: `hearth user set-password` makes it",
                    user.name
                );
                return Err(Contradiction(text));
            }
            if let Some(project) = user.default_project.as_deref().filter(|id| !projects.contains_key(*id)) {
                return Err(unknown("user", &user.name, "project", project));
            }
        }
        let known = |what: &str, of: &str, user: &str, project: &str, names: &[String]| {
            if !users.contains_key(user) {
                return Err(unknown(what, of, "user", user));
            }
            if !projects.contains_key(project) {
                return Err(unknown(what, of, "project", project));
            }
            names
                .iter()
                .find(|name| !roles.contains_key(*name))
                .map_or(Ok(()), |name| Err(unknown(what, of, "role", name)))
        };
        let mut granted: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
        for given in &records.assignments {
            known("assignment of", &given.user, &given.user, &given.project, &given.roles)?;
            let roles = granted.entry((&given.user, &given.project)).or_default();
            roles.extend(with_implied(&given.roles));
        }
        let credentials =
            unique("application credential", "id", records.application_credentials.iter().map(|one| one.id.as_str()))?;
        let mut names = BTreeMap::new();
        for one in &records.application_credentials {
            known("application credential", &one.name, &one.user, &one.project, &one.roles)?;
            named("application credential", "name", &one.name)?;
            if names.insert((&one.user, &one.name), ()).is_some() {
                let text = format!("two application credentials of user {} are named {:?}", one.user, one.name);
                return Err(Contradiction(text));
            }
            if !password::is_hash(&one.secret) {
                let text = format!("the secret of application credential {:?} is no argon2 hash", one.name);
                return Err(Contradiction(text));
            }
        }
        let mut by_user: HashMap<String, HashMap<String, Arc<[String]>>> = HashMap::new();
        for ((user, project), roles) in granted.into_iter().filter(|(_, roles)| !roles.is_empty()) {
            by_user.entry(user.to_owned()).or_default().insert(project.to_owned(), roles.into_iter().collect());
        }
        let granted = by_user;
        Ok(Self { records, users, users_by_name, projects, projects_by_name, credentials, granted })
    }

    /// All of it.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// A user by id.
    pub fn user(&self, id: &str) -> Option<&User> {
        self.users.get(id).map(|at| &self.records.users[*at])
    }

    /// A user by name.
    pub fn user_named(&self, name: &str) -> Option<&User> {
        self.users_by_name.get(name).map(|at| &self.records.users[*at])
    }

    /// A project by id.
    pub fn project(&self, id: &str) -> Option<&Project> {
        self.projects.get(id).map(|at| &self.records.projects[*at])
    }

    /// A project by name.
    pub fn project_named(&self, name: &str) -> Option<&Project> {
        self.projects_by_name.get(name).map(|at| &self.records.projects[*at])
    }

    /// An application credential by id.
    pub fn application_credential(&self, id: &str) -> Option<&ApplicationCredential> {
        self.credentials.get(id).map(|at| &self.records.application_credentials[*at])
    }

    /// An application credential of a user.
    pub fn application_credential_named(&self, user: &str, name: &str) -> Option<&ApplicationCredential> {
        self.records.application_credentials.iter().find(|one| one.user == user && one.name == name)
    }

    /// The roles of a user on a project, with the implied ones; none: none at all.
    pub fn roles_on(&self, user: &str, project: &str) -> Option<&Arc<[String]>> {
        self.granted.get(user)?.get(project)
    }

    /// The projects on which a user has a role.
    pub fn projects_of(&self, user: &str) -> impl Iterator<Item = &Project> {
        self.records.projects.iter().filter(move |project| self.roles_on(user, &project.id).is_some())
    }

    /// A role by name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.records.roles.iter().find(|role| role.name == name)
    }
}

/// Roles with those that Keystone implies, each once, sorted.
pub fn with_implied(roles: &[String]) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = roles.iter().map(|role| role.to_ascii_lowercase()).collect();
    for (role, implied) in IMPLIED {
        if all.contains(role) {
            all.insert(implied.to_owned());
        }
    }
    all
}

fn unique<'a>(
    what: &str,
    by: &str,
    keys: impl Iterator<Item = &'a str>,
) -> Result<HashMap<String, usize>, Contradiction> {
    let mut found = HashMap::new();
    for (at, key) in keys.enumerate() {
        named(what, by, key)?;
        if found.insert(key.to_owned(), at).is_some() {
            return Err(Contradiction(format!("two {what}s have the {by} {key:?}")));
        }
    }
    Ok(found)
}

/// A name or an id that clients can use: in a header, in a URL, in a list.
fn named(what: &str, by: &str, text: &str) -> Result<(), Contradiction> {
    let is_id = by == "id";
    let is_clean = |c: char| if is_id { c.is_ascii_alphanumeric() || "-_.".contains(c) } else { !c.is_control() };
    if text.is_empty() || text.len() > NAME_MAX || !text.chars().all(is_clean) || text.trim() != text {
        let signs =
            if is_id { "letters, digits, '-', '_' and '.'" } else { "no control characters, no blanks around it" };
        return Err(Contradiction(format!("the {by} {text:?} of a {what} must have 1 to {NAME_MAX} bytes: {signs}")));
    }
    Ok(())
}

fn unknown(what: &str, of: &str, kind: &str, key: &str) -> Contradiction {
    Contradiction(format!("{what} {of:?} names the {kind} {key:?}, which there is not"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [[projects]]
        id = "p1"
        name = "demo"

        [[users]]
        id = "u1"
        name = "mia"
        default_project = "p1"

        [[roles]]
        id = "r1"
        name = "member"

        [[assignments]]
        user = "u1"
        project = "p1"
        roles = ["member"]
    "#;

    fn directory(more: &str) -> Result<Directory, Contradiction> {
        Directory::new(toml::from_str(&format!("{FILE}\n{more}")).expect("TOML"))
    }

    #[test]
    fn what_follows_from_the_records() {
        let directory = directory("").expect("whole");
        assert_eq!(directory.user_named("mia").map(|user| user.id.as_str()), Some("u1"));
        assert_eq!(directory.user("mia"), None);
        assert_eq!(directory.project_named("demo").map(|project| project.id.as_str()), Some("p1"));
        let roles = directory.roles_on("u1", "p1").expect("has roles");
        assert_eq!(**roles, ["member".to_owned(), "reader".to_owned()]);
        assert!(directory.roles_on("u1", "p2").is_none());
        assert_eq!(directory.projects_of("u1").count(), 1);
        let text = toml::to_string(directory.records()).expect("TOML");
        assert_eq!(&toml::from_str::<Records>(&text).expect("TOML"), directory.records());
    }

    #[test]
    fn records_that_contradict_each_other_are_refused() {
        let cases = [
            ("[[users]]\nid=\"u1\"\nname=\"x\"", "two users have the id \"u1\""),
            ("[[users]]\nid=\"u2\"\nname=\"mia\"", "two users have the name \"mia\""),
            ("[[users]]\nid=\"../u\"\nname=\"x\"", "the id \"../u\" of a user"),
            ("[[users]]\nid=\"u2\"\nname=\"\"", "the name \"\" of a user"),
            ("[[users]]\nid=\"u2\"\nname=\"a\\nb\"", "the name \"a\\nb\" of a user"),
            ("[[users]]\nid=\"u2\"\nname=\"x\"\npassword=\"plain\"", "is no argon2 hash"),
            ("[[users]]\nid=\"u2\"\nname=\"x\"\ndefault_project=\"q\"", "names the project \"q\""),
            ("[[projects]]\nid=\"p2\"\nname=\"demo\"", "two projects have the name \"demo\""),
            ("[[roles]]\nid=\"r2\"\nname=\"Admin\"", "not in lower case"),
            ("[[assignments]]\nuser=\"u9\"\nproject=\"p1\"\nroles=[]", "names the user \"u9\""),
            ("[[assignments]]\nuser=\"u1\"\nproject=\"p9\"\nroles=[]", "names the project \"p9\""),
            ("[[assignments]]\nuser=\"u1\"\nproject=\"p1\"\nroles=[\"x\"]", "names the role \"x\""),
        ];
        for (more, words) in cases {
            let text = directory(more).expect_err(more).0;
            assert!(text.contains(words), "{more}: {text}");
        }
        assert!(toml::from_str::<Records>("[[users]]\nid=\"u\"\nname=\"u\"\nextra=1").is_err());
    }
}
