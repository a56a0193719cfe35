//! HTTP Basic: user and password on every request, from an htpasswd file, as standalone services have it (auth-and-policy §5).
//!
//! A bcrypt hash takes tens of milliseconds, so a password that was right is remembered (as a digest under a key that this
//! process alone has) until the file changes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine as _;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use tokio::sync::Semaphore;

use super::context::{RequestContext, Scope};
use super::local::{Limiter, with_implied};
use super::strategy::Presented;
use crate::domain::ids::{ProjectId, RequestId, UserId};
use crate::runtime::{Clock, Randomness};

/// `WWW-Authenticate` of a 401.
pub(super) const CHALLENGE: &str = "Basic realm=\"hearth\"";

/// Longest header looked at.
const HEADER_MAX: usize = 2048;
/// So many right passwords are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// Who a user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicUser {
    /// The project.
    pub project_id: ProjectId,
    /// The roles.
    pub roles: Vec<String>,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HtpasswdError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line that is none of `user:hash`.
    #[error("{}: line {line} is not user:hash with a bcrypt hash (htpasswd -B)", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

/// The strategy.
pub struct Basic {
    path: PathBuf,
    project: ProjectId,
    users: BTreeMap<String, BasicUser>,
    clock: Clock,
    limiter: Limiter,
    places: Semaphore,
    key: Hmac<Sha256>,
    known: Mutex<Known>,
}

/// What the file said when it was read.
struct Known {
    changed: Option<SystemTime>,
    hashes: Arc<HashMap<String, String>>,
    /// Digests of user and password that were right.
    right: HashSet<[u8; 32]>,
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Basic").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Basic {
    /// Reads the file. `project` is that of every user who is not in `users`.
    pub fn open(
        path: &Path,
        project: ProjectId,
        users: BTreeMap<String, BasicUser>,
        clock: Clock,
        randomness: &Randomness,
    ) -> Result<Self, HtpasswdError> {
        let known = Known { changed: changed(path), hashes: Arc::new(read(path)?), right: HashSet::new() };
        let secret = randomness.secret() + &randomness.secret();
        Ok(Self {
            path: path.to_owned(),
            project,
            users,
            clock,
            limiter: Limiter::default(),
            places: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
            key: Hmac::new_from_slice(secret.as_bytes()).expect("a key may have any length"),
            known: Mutex::new(known),
        })
    }

    /// The caller of a request.
    pub(super) async fn authenticate(
        &self,
        presented: Presented<'_>,
        request_id: &RequestId,
    ) -> Option<RequestContext> {
        let (name, password) = credentials(presented.authorization?)?;
        self.is_right(&name, &password, presented.address).await.then(|| self.context(&name, request_id))
    }

    fn context(&self, name: &str, request_id: &RequestId) -> RequestContext {
        let (project_id, roles) = match self.users.get(name) {
            Some(user) => (user.project_id.clone(), with_implied(&user.roles)),
            None => (self.project.clone(), with_implied(&["admin".to_owned()])),
        };
        RequestContext {
            user_id: UserId::from(name),
            project_id,
            is_admin: false,
            is_service: false,
            scope: Scope::none(),
            roles: roles.into_iter().collect(),
            request_id: request_id.clone(),
        }
    }

    async fn is_right(&self, name: &str, password: &str, address: IpAddr) -> bool {
        let mut digest = self.key.clone();
        digest.update(&(name.len() as u64).to_be_bytes());
        digest.update(name.as_bytes());
        digest.update(password.as_bytes());
        let digest: [u8; 32] = digest.finalize().into_bytes().into();
        let hashes = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            self.refresh(&mut known);
            if known.right.contains(&digest) {
                return true;
            }
            Arc::clone(&known.hashes)
        };
        if self.limiter.wait(address, name, self.clock.now()).is_some() {
            return false;
        }
        // Of a user that there is not the hash of another one is compared, so that both take the same time.
        let is_user = hashes.contains_key(name);
        let hash = hashes.get(name).or_else(|| hashes.values().next()).cloned();
        let password = password.to_owned();
        let Ok(_place) = self.places.acquire().await else { return false };
        let checked = tokio::task::spawn_blocking(move || {
            hash.is_some_and(|hash| bcrypt::verify(&password, &hash).unwrap_or(false)) && is_user
        });
        let is_right = checked.await.unwrap_or(false);
        if !is_right {
            self.limiter.failed(address, name, self.clock.now());
            return false;
        }
        self.limiter.succeeded(address, name);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // the file may have changed meanwhile
        if Arc::ptr_eq(&known.hashes, &hashes) {
            if known.right.len() >= REMEMBERED_MAX {
                known.right.clear();
            }
            known.right.insert(digest);
        }
        true
    }

    fn refresh(&self, known: &mut Known) {
        let now = changed(&self.path);
        if now == known.changed {
            return;
        }
        match read(&self.path) {
            Ok(hashes) => {
                *known = Known { changed: now, hashes: Arc::new(hashes), right: HashSet::new() };
                tracing::info!("the users of the htpasswd file have changed");
            }
            Err(error) => {
                known.changed = now;
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the htpasswd file cannot be used: what was read before holds"
                );
            }
        }
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|found| found.modified()).ok()
}

/// User and password of an `Authorization` header; none: it is not one of this scheme.
fn credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > HEADER_MAX {
        return None;
    }
    let decoded = base64::prelude::BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let (name, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let is_name = !name.is_empty() && name.len() <= 255 && !name.contains(char::is_control);
    is_name.then(|| (name.to_owned(), password.to_owned()))
}

/// The hashes by user.
fn read(path: &Path) -> Result<HashMap<String, String>, HtpasswdError> {
    let text = fs::read_to_string(path).map_err(|source| HtpasswdError::Io { path: path.to_owned(), source })?;
    let mut users = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let user = line.split_once(':').filter(|(name, hash)| !name.is_empty() && is_bcrypt(hash));
        let (name, hash) = user.ok_or_else(|| HtpasswdError::Line { path: path.to_owned(), line: index + 1 })?;
        users.insert(name.to_owned(), hash.to_owned());
    }
    Ok(users)
}

fn is_bcrypt(hash: &str) -> bool {
    ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix)) && hash.len() == 60
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(password: &str) -> String {
        bcrypt::hash_with_salt(password, 4, [7; 16]).expect("a valid cost").to_string()
    }

    fn presented<'a>(authorization: &'a str) -> Presented<'a> {
        Presented { authorization: Some(authorization), ..Presented::default() }
    }

    fn header(name: &str, password: &str) -> String {
        format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("{name}:{password}")))
    }

    #[tokio::test]
    async fn the_file_says_who_has_which_password() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("htpasswd");
        fs::write(&path, format!("mia:{}\nroot:{}\n", hash("m"), hash("r"))).expect("written");
        let mia = BasicUser { project_id: ProjectId::from("p1"), roles: vec!["member".to_owned()] };
        let users = BTreeMap::from([("mia".to_owned(), mia)]);
        let basic =
            Basic::open(&path, ProjectId::from("home"), users, Clock::System, &Randomness::from_seed(1)).expect("open");
        let ask = async |name: &str, password: &str| {
            let header = header(name, password);
            basic.authenticate(presented(&header), &RequestId::from("r")).await
        };
        // twice: the second time it is remembered
        for _ in 0..2 {
            let mia = ask("mia", "m").await.expect("let in");
            assert_eq!((mia.project_id.as_str(), mia.has_role("admin"), mia.has_role("reader")), ("p1", false, true));
            let root = ask("root", "r").await.expect("let in");
            assert_eq!(
                (root.user_id.as_str(), root.project_id.as_str(), root.has_role("admin")),
                ("root", "home", true)
            );
        }
        for (name, password) in [("mia", "r"), ("mia", ""), ("eve", "m"), ("root", "m"), ("Mia", "m")] {
            assert_eq!(ask(name, password).await, None, "{name}:{password}");
        }
        // a password that was right is not after the file has changed
        fs::write(&path, format!("mia:{}\n", hash("other"))).expect("written");
        let later = SystemTime::now() + std::time::Duration::from_secs(2);
        fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(later)).expect("touched");
        assert_eq!(ask("mia", "m").await, None);
        assert_eq!(ask("root", "r").await, None);
        assert!(ask("mia", "other").await.is_some());
    }

    #[tokio::test]
    async fn who_is_wrong_too_often_is_not_heard_for_a_while() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("htpasswd");
        fs::write(&path, format!("mia:{}\n", hash("m"))).expect("written");
        let clock = Clock::System;
        let basic =
            Basic::open(&path, ProjectId::from("p"), BTreeMap::new(), clock, &Randomness::from_seed(1)).expect("open");
        let ask = async |password: &str, address| {
            let header = header("mia", password);
            basic.authenticate(Presented { address, ..presented(&header) }, &RequestId::from("r")).await.is_some()
        };
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
        while basic.limiter.wait(here, "mia", basic.clock.now()).is_none() {
            assert!(!ask("wrong", here).await);
        }
        assert!(!ask("m", here).await, "even the right one, from there");
        assert!(ask("m", there).await);
    }

    #[test]
    fn headers_are_taken_apart() {
        let encode = |text: &str| base64::prelude::BASE64_STANDARD.encode(text);
        for (header, expected) in [
            (format!("Basic {}", encode("u:p:w")), Some(("u", "p:w"))),
            (format!("basic {}", encode("u:")), Some(("u", ""))),
            (format!("Bearer {}", encode("u:p")), None),
            (format!("Basic {}", encode("up")), None),
            (format!("Basic {}", encode(":p")), None),
            (format!("Basic {}", encode("u\n:p")), None),
            ("Basic ***".to_owned(), None),
            ("Basic".to_owned(), None),
            (String::new(), None),
        ] {
            let found = credentials(&header);
            let found = found.as_ref().map(|(name, password)| (name.as_str(), password.as_str()));
            assert_eq!(found, expected, "{header}");
        }
    }

    #[test]
    fn a_file_has_users_with_bcrypt_hashes_only() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("htpasswd");
        fs::write(&path, format!("# users\n\nmia:{}\n", hash("m"))).expect("written");
        assert_eq!(read(&path).expect("readable").keys().collect::<Vec<_>>(), ["mia"]);
        for bad in ["mia", "mia:plain", "mia:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", &format!(":{}", hash("m"))] {
            fs::write(&path, format!("mia:{}\n{bad}\n", hash("m"))).expect("written");
            let error = read(&path).expect_err(bad);
            assert!(matches!(error, HtpasswdError::Line { line: 2, .. }), "{error}");
        }
    }
}
