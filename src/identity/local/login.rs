//! Logging in: somebody shows who they are and gets the claims of a token.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::password::{self, PASSWORD_MAX};
use super::records::{ApplicationCredential, DOMAIN_ID, DOMAIN_NAME, Directory, Project, User};
use super::token::{Claims, Method};
use super::{Local, Valid};

/// How a user, a project or an application credential is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// By its id.
    Id(String),
    /// By its name.
    Name(String),
}

impl Named {
    fn key(&self) -> &str {
        match self {
            Self::Id(text) | Self::Name(text) => text,
        }
    }
}

/// What somebody shows.
#[derive(Clone)]
pub enum Credential {
    /// A user's password.
    Password {
        /// Whose.
        user: Named,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// An application credential's secret.
    Application {
        /// The credential; one that is given by name needs its user.
        credential: Named,
        /// Whose it is.
        user: Option<Named>,
        /// The secret.
        secret: String,
    },
}

/// What the token is to be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The default project if the user has one, else nothing.
    Unsaid,
    /// Nothing.
    Unscoped,
    /// A project.
    Project(Named),
}

/// No token.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Somebody unknown, a wrong secret, a project that is not theirs: nobody is told which.
    #[error("The request you have made requires authentication.")]
    Wrong,
    /// Wrong too often.
    #[error("Too many failed log-ins. Try again later.")]
    TooOften(Duration),
    /// An application credential is for its own project only.
    #[error("Application credentials cannot request a scope.")]
    ScopeOfCredential,
}

/// Whether a domain that a client names is the one there is.
pub fn is_domain(domain: &Named) -> bool {
    match domain {
        Named::Id(id) => id == DOMAIN_ID,
        Named::Name(name) => name == DOMAIN_NAME,
    }
}

/// Who somebody has shown to be.
struct Shown {
    user: User,
    method: Method,
    /// The token or the application credential that they have shown.
    by_token: Option<Valid>,
    by_credential: Option<ApplicationCredential>,
}

impl Local {
    /// The claims and the token of somebody from `address` who shows `credential`. Hashes a password: not on a thread that
    /// serves requests.
    pub fn log_in(
        &self,
        credential: &Credential,
        scope: &Scope,
        address: IpAddr,
    ) -> Result<(String, Valid), LoginError> {
        let directory = self.directory();
        let claimed = match credential {
            Credential::Password { user, .. } => user.key(),
            Credential::Token(_) => "",
            Credential::Application { credential, .. } => credential.key(),
        };
        // A token is proof enough that it is not guessed.
        let counts = !matches!(credential, Credential::Token(_));
        if counts && let Some(wait) = self.limiter.wait(address, claimed, self.now()) {
            return Err(LoginError::TooOften(wait));
        }
        let Some(shown) = self.show(&directory, credential) else {
            if counts {
                self.limiter.failed(address, claimed, self.now());
            }
            return Err(LoginError::Wrong);
        };
        if counts {
            self.limiter.succeeded(address, claimed);
        }
        let project = scoped(&directory, &shown, scope)?;
        let claims = self.claims(&shown, project);
        let valid = self.stands_for(&directory, claims).ok_or(LoginError::Wrong)?;
        Ok((self.sign(&valid.claims), valid))
    }

    fn show(&self, directory: &Arc<Directory>, credential: &Credential) -> Option<Shown> {
        match credential {
            Credential::Password { user, password } => {
                let user = user_of(directory, user);
                let hash = user.and_then(|user| user.password.as_deref());
                let is_right = password.len() <= PASSWORD_MAX && password::verify(password, hash);
                let user = user.filter(|user| is_right && user.enabled)?.clone();
                Some(Shown { user, method: Method::Password, by_token: None, by_credential: None })
            }
            Credential::Token(token) => {
                let valid = self.validate(token, false)?;
                Some(Shown {
                    user: valid.user.clone(),
                    method: Method::Token,
                    by_token: Some(valid),
                    by_credential: None,
                })
            }
            Credential::Application { credential, user, secret } => {
                let found = match (credential, user) {
                    (Named::Id(id), _) => directory.application_credential(id),
                    (Named::Name(name), Some(user)) => {
                        user_of(directory, user).and_then(|user| directory.application_credential_named(&user.id, name))
                    }
                    (Named::Name(_), None) => None,
                };
                let hash = found.map(|found| found.secret.as_str());
                let is_right = secret.len() <= PASSWORD_MAX && password::verify(secret, hash);
                let found = found.filter(|_| is_right)?.clone();
                let user = directory.user(&found.user)?.clone();
                let method = Method::ApplicationCredential;
                Some(Shown { user, method, by_token: None, by_credential: Some(found) })
            }
        }
    }

    fn claims(&self, shown: &Shown, project: Option<Project>) -> Claims {
        let now = self.now();
        let ends = now.plus(self.options.token_ttl);
        let mut methods = vec![shown.method];
        let mut expires_at = ends;
        let mut credential = shown.by_credential.as_ref().map(|one| one.id.clone());
        if let Some(token) = &shown.by_token {
            // Nobody stays in for ever by one token after the other.
            expires_at = token.claims.expires_at;
            methods.extend(token.claims.methods.iter().filter(|method| **method != Method::Token));
            credential.clone_from(&token.claims.application_credential);
        }
        if let Some(end) = shown.by_credential.as_ref().and_then(|one| one.expires_at) {
            expires_at = expires_at.min(end);
        }
        Claims {
            audit_id: self.randomness().uuid().simple().to_string(),
            user: shown.user.id.clone(),
            project: project.map(|project| project.id),
            application_credential: credential,
            methods,
            issued_at: now,
            expires_at,
        }
    }
}

fn user_of<'a>(directory: &'a Directory, named: &Named) -> Option<&'a User> {
    match named {
        Named::Id(id) => directory.user(id),
        Named::Name(name) => directory.user_named(name),
    }
}

/// The project that the token is for.
fn scoped(directory: &Directory, shown: &Shown, scope: &Scope) -> Result<Option<Project>, LoginError> {
    let bound = shown
        .by_credential
        .as_ref()
        .or(shown.by_token.as_ref().and_then(|token| token.application_credential.as_ref()));
    if let Some(bound) = bound {
        let own = directory.project(&bound.project);
        return match scope {
            Scope::Unsaid => Ok(own.cloned()),
            Scope::Project(named) if own.is_some_and(|own| is(own, named)) => Ok(own.cloned()),
            _ => Err(LoginError::ScopeOfCredential),
        };
    }
    match scope {
        Scope::Unscoped => Ok(None),
        Scope::Project(named) => {
            let project = match named {
                Named::Id(id) => directory.project(id),
                Named::Name(name) => directory.project_named(name),
            };
            project.cloned().map(Some).ok_or(LoginError::Wrong)
        }
        Scope::Unsaid if shown.by_token.is_some() => Ok(None),
        Scope::Unsaid => {
            // A default project on which the user has no role any more gives a token without one, as Keystone does.
            let default = shown.user.default_project.as_deref().and_then(|id| directory.project(id));
            let usable =
                |project: &&Project| project.enabled && directory.roles_on(&shown.user.id, &project.id).is_some();
            Ok(default.filter(usable).cloned())
        }
    }
}

fn is(project: &Project, named: &Named) -> bool {
    match named {
        Named::Id(id) => project.id == *id,
        Named::Name(name) => project.name == *name,
    }
}
