//! Hearth's own identity service: users, projects, roles and application credentials from a file, and signed tokens.
//!
//! It knows nothing of HTTP: `api/identity` speaks for it. It may be called from any thread; what hashes a password or waits
//! for the disk says so, and belongs on a thread for that.

mod bootstrap;
mod file;
mod limiter;
mod login;
pub mod password;
mod records;
mod revoked;
mod token;

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, SemaphorePermit};

pub use self::bootstrap::{bootstrap, initial_passwords};
pub use self::file::{FileError, Files};
pub use self::limiter::Limiter;
pub use self::login::{Credential, LoginError, Named, Scope, is_domain};
pub use self::records::{
    ApplicationCredential, Assignment, Contradiction, DOMAIN_ID, DOMAIN_NAME, Directory, Project, Records, Role, User,
    with_implied,
};
pub use self::token::{Claims, Method, TOKEN_MAX};

use self::file::Mark;
use self::revoked::Revoked;
use self::token::TokenKey;
use super::context::{self, RequestContext};
use super::strategy::Presented;
use crate::domain::ids::{ProjectId, RequestId, UserId};
use crate::domain::time::Timestamp;
use crate::runtime::{Clock, Randomness};

/// The file of records is looked at for changes this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a token of [`Local::operator_token`] is valid: for one command.
const OPERATOR_TTL: Duration = Duration::from_secs(60);

/// What can be set.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// How long a token is valid.
    pub token_ttl: Duration,
    /// Roles that make a token valid as a service's.
    pub service_token_roles: Vec<String>,
    /// `WWW-Authenticate` names this address.
    pub www_authenticate_uri: String,
}

/// The identity service.
pub struct Local {
    files: Files,
    key: TokenKey,
    options: LocalOptions,
    challenge: Arc<str>,
    clock: Clock,
    randomness: Randomness,
    directory: ArcSwap<Directory>,
    /// Which state of the file `directory` is, and when it was looked at last.
    read: Mutex<Option<Mark>>,
    looked_at: AtomicI64,
    revoked: Revoked,
    limiter: Limiter,
    places: Semaphore,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("files", &self.files).finish_non_exhaustive()
    }
}

/// A token that is valid, and all that follows from it now.
#[derive(Clone, Debug)]
pub struct Valid {
    /// What it says.
    pub claims: Claims,
    /// Whose it is.
    pub user: User,
    /// For which project.
    pub project: Option<Project>,
    /// Its roles, with the implied ones; none without a project.
    pub roles: Arc<[String]>,
    /// Through which application credential.
    pub application_credential: Option<ApplicationCredential>,
}

impl Valid {
    /// Whether one of the roles is `role`.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }
}

/// There is one domain.
fn scope(valid: &Valid, service: Option<&Valid>) -> context::Scope {
    let domain = |project: &Option<Project>| project.as_ref().map(|_| DOMAIN_ID.to_owned());
    context::Scope {
        user_domain_id: Some(DOMAIN_ID.to_owned()),
        project_domain_id: domain(&valid.project),
        service_user_id: service.map(|service| service.user.id.clone()),
        service_user_domain_id: service.map(|_| DOMAIN_ID.to_owned()),
        service_project_id: service.and_then(|service| Some(service.project.as_ref()?.id.clone())),
        service_project_domain_id: service.and_then(|service| domain(&service.project)),
        service_roles: service.map(|service| service.roles.to_vec()).unwrap_or_default(),
        ..context::Scope::default()
    }
}

impl Local {
    /// Opens the service on its directory. Waits for the disk.
    pub fn open(
        directory: &Path,
        options: LocalOptions,
        clock: Clock,
        randomness: Randomness,
    ) -> Result<Self, FileError> {
        let files = Files::open(directory)?;
        let mark = files.mark()?;
        Ok(Self {
            key: TokenKey::new(&files.token_key(&randomness)?),
            challenge: format!("Keystone uri=\"{}\"", options.www_authenticate_uri).into(),
            directory: ArcSwap::from_pointee(files.read()?),
            read: Mutex::new(mark),
            looked_at: AtomicI64::new(clock.now().0),
            revoked: Revoked::open(&files, clock.now())?,
            limiter: Limiter::default(),
            places: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
            files,
            options,
            clock,
            randomness,
        })
    }

    /// The records now.
    pub fn directory(&self) -> Arc<Directory> {
        let now = self.clock.now();
        let looked_at = Timestamp(self.looked_at.load(Ordering::Relaxed));
        if now.since(looked_at) >= LOOK_AGAIN
            && self.looked_at.compare_exchange(looked_at.0, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.reload();
        }
        self.directory.load_full()
    }

    /// Takes over the file of records if it has changed. One that cannot be used changes nothing, and is told in the log.
    pub fn reload(&self) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.files.mark();
        if found.as_ref().is_ok_and(|mark| mark == &*read) {
            return;
        }
        match found.and_then(|mark| Ok((mark, self.files.read()?))) {
            Ok((mark, directory)) => {
                tracing::info!(users = directory.records().users.len(), "the users and projects have changed");
                self.directory.store(Arc::new(directory));
                *read = mark;
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the file of users and projects cannot be used: what was read before holds"
                );
            }
        }
    }

    /// Changes the records. Waits for the disk.
    pub fn change<T, E: From<FileError>>(
        &self,
        change: impl FnOnce(&Directory, &mut Records) -> Result<T, E>,
    ) -> Result<T, E> {
        let given = self.files.change(change)?;
        self.reload();
        Ok(given)
    }

    /// Failed log-ins.
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// Ids and secrets.
    pub fn randomness(&self) -> &Randomness {
        &self.randomness
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A token of these claims.
    pub fn sign(&self, claims: &Claims) -> String {
        self.key.sign(claims)
    }

    /// What a token stands for, if it is valid: signed here, not expired (unless `allow_expired`), not ended, and of a user,
    /// a project and an application credential that are still there and enabled.
    pub fn validate(&self, token: &str, allow_expired: bool) -> Option<Valid> {
        let claims = self.key.open(token.trim())?;
        if (claims.expires_at <= self.clock.now() && !allow_expired) || self.revoked.contains(&claims.audit_id) {
            return None;
        }
        self.stands_for(&self.directory(), claims)
    }

    fn stands_for(&self, directory: &Directory, claims: Claims) -> Option<Valid> {
        let user = directory.user(&claims.user).filter(|user| user.enabled)?;
        if claims.issued_at < user.password_set_at && claims.application_credential.is_none() {
            return None;
        }
        let project = match &claims.project {
            Some(id) => Some(directory.project(id).filter(|project| project.enabled)?),
            None => None,
        };
        let roles = match project {
            Some(project) => Arc::clone(directory.roles_on(&user.id, &project.id)?),
            None => Arc::default(),
        };
        let credential = match &claims.application_credential {
            Some(id) => Some(self.usable(directory, id)?),
            None => None,
        };
        let roles = match credential {
            Some(credential) => {
                let own = with_implied(&credential.roles);
                let left: Arc<[String]> = roles.iter().filter(|role| own.contains(*role)).cloned().collect();
                Some(left).filter(|left| !left.is_empty())?
            }
            None => roles,
        };
        let (user, project, application_credential) = (user.clone(), project.cloned(), credential.cloned());
        Some(Valid { claims, user, project, roles, application_credential })
    }

    fn usable<'a>(&self, directory: &'a Directory, id: &str) -> Option<&'a ApplicationCredential> {
        let has_ended = |one: &ApplicationCredential| one.expires_at.is_some_and(|end| end <= self.clock.now());
        directory.application_credential(id).filter(|one| !has_ended(one))
    }

    /// A token of an administrator for who can read the key anyway: the operator's own commands on this machine. None:
    /// nobody is an administrator.
    pub fn operator_token(&self) -> Option<String> {
        let directory = self.directory();
        let records = directory.records();
        let given = records.assignments.iter().find(|given| {
            given.roles.iter().any(|role| role == "admin")
                && directory.user(&given.user).is_some_and(|user| user.enabled)
                && directory.project(&given.project).is_some_and(|project| project.enabled)
        })?;
        let now = self.clock.now();
        Some(self.sign(&Claims {
            audit_id: self.randomness.uuid().simple().to_string(),
            user: given.user.clone(),
            project: Some(given.project.clone()),
            application_credential: None,
            methods: vec![Method::Token],
            issued_at: now,
            expires_at: now.plus(OPERATOR_TTL),
        }))
    }

    /// Ends a token before its time. Waits for the disk.
    pub fn revoke(&self, claims: &Claims) -> Result<(), FileError> {
        self.revoked.add(&claims.audit_id, claims.expires_at, self.clock.now())
    }

    /// The caller of a request (auth-and-policy §2): a service token that is not valid makes the whole request invalid, a
    /// valid one lets an expired user's token pass.
    pub(super) fn authenticate(&self, presented: Presented<'_>, request_id: &RequestId) -> Option<RequestContext> {
        let service = match presented.service_token.map(str::trim).filter(|token| !token.is_empty()) {
            Some(token) => {
                let service = self.validate(token, false)?;
                let is_one = self.options.service_token_roles.iter().any(|role| service.has_role(role));
                Some(is_one.then_some(service)?)
            }
            None => None,
        };
        let valid = self.validate(presented.token?, service.is_some())?;
        Some(RequestContext {
            user_id: UserId::from(valid.user.id.as_str()),
            project_id: ProjectId::from(valid.project.as_ref().map_or("", |project| &project.id)),
            is_admin: false,
            is_service: service.is_some(),
            scope: Arc::new(scope(&valid, service.as_ref())),
            roles: valid.roles,
            request_id: request_id.clone(),
        })
    }

    /// `WWW-Authenticate` of a 401.
    pub(super) fn challenge(&self) -> Arc<str> {
        Arc::clone(&self.challenge)
    }

    /// A place to hash a password in: each takes some 20 MiB, so there are as many as cores.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.acquire().await.ok()
    }
}
