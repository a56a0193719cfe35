//! The bodies of the calls, as strictly as Keystone reads them.

use serde_json::Value;

use super::fault::Fault;
use crate::api::views::time;
use crate::domain::time::Timestamp;
use crate::identity::local::{Credential, Named, Scope, is_domain};

fn object<'a>(value: Option<&'a Value>, name: &str) -> Result<&'a serde_json::Map<String, Value>, Fault> {
    let found = value.and_then(Value::as_object);
    found.ok_or_else(|| Fault::malformed(&format!("'{name}' is a required property")))
}

fn string(value: Option<&Value>, name: &str) -> Result<String, Fault> {
    let found = value.and_then(Value::as_str).map(str::to_owned);
    found.ok_or_else(|| Fault::malformed(&format!("'{name}' is a required property")))
}

pub(super) fn parse(body: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(body).map_err(|_| Fault::malformed("The request body is no JSON."))
}

/// Something that its `id` names, or its `name` (and, of what has one, its `domain`). A domain that does not exist has no
/// users and no projects, so that it is no error here but a name that nobody has.
fn named(of: &serde_json::Map<String, Value>, has_domain: bool) -> Result<Named, Fault> {
    if let Some(id) = of.get("id") {
        return string(Some(id), "id").map(Named::Id);
    }
    let name = string(of.get("name"), "name")?;
    if has_domain {
        let domain = object(of.get("domain"), "domain")?;
        let domain = named(domain, false)?;
        if !is_domain(&domain) {
            return Ok(Named::Id(String::new()));
        }
    }
    Ok(Named::Name(name))
}

/// What a log-in shows, and what for.
pub(super) fn log_in(body: &[u8]) -> Result<(Credential, Scope), Fault> {
    let body = parse(body)?;
    let auth = object(body.get("auth"), "auth")?;
    let identity = object(auth.get("identity"), "identity")?;
    let methods = identity.get("methods").and_then(Value::as_array);
    let methods = methods.ok_or_else(|| Fault::malformed("'methods' is a required property"))?;
    let [method] = methods.as_slice() else {
        return Err(Fault::malformed("exactly one method of authentication is taken"));
    };
    let credential = match method.as_str() {
        Some("password") => {
            let user = object(object(identity.get("password"), "password")?.get("user"), "user")?;
            Credential::Password { user: named(user, true)?, password: string(user.get("password"), "password")? }
        }
        Some("token") => Credential::Token(string(object(identity.get("token"), "token")?.get("id"), "id")?),
        Some("application_credential") => {
            let shown = object(identity.get("application_credential"), "application_credential")?;
            let user = match shown.get("user") {
                Some(user) => Some(named(object(Some(user), "user")?, true)?),
                None => None,
            };
            Credential::Application {
                credential: named(shown, false)?,
                user,
                secret: string(shown.get("secret"), "secret")?,
            }
        }
        // as Keystone: a method that there is not is no fault of the body
        _ => return Err(Fault::unauthorized()),
    };
    Ok((credential, scope(auth.get("scope"))?))
}

fn scope(value: Option<&Value>) -> Result<Scope, Fault> {
    match value {
        None => Ok(Scope::Unsaid),
        Some(Value::String(text)) if text == "unscoped" => Ok(Scope::Unscoped),
        Some(Value::Object(scope)) if scope.contains_key("unscoped") => Ok(Scope::Unscoped),
        Some(Value::Object(scope)) => match scope.get("project") {
            Some(project) => named(object(Some(project), "project")?, true).map(Scope::Project),
            // nobody has a role on the domain or on the system: there are none
            None if scope.contains_key("domain") || scope.contains_key("system") => Err(Fault::unauthorized()),
            None => Err(Fault::malformed("a scope is a project, or unscoped")),
        },
        Some(_) => Err(Fault::malformed("a scope is an object")),
    }
}

/// An application credential to be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewCredential {
    pub(super) name: String,
    pub(super) description: String,
    /// None: one is made up.
    pub(super) secret: Option<String>,
    /// None: all roles of the caller. By id or name.
    pub(super) roles: Option<Vec<Named>>,
    pub(super) expires_at: Option<Timestamp>,
}

/// The body of a new application credential.
pub(super) fn new_credential(body: &[u8]) -> Result<NewCredential, Fault> {
    let body = parse(body)?;
    let new = object(body.get("application_credential"), "application_credential")?;
    let optional = |name: &str| match new.get(name) {
        None | Some(Value::Null) => Ok(None),
        value => string(value, name).map(Some),
    };
    let unsupported = |name: &str| match new.get(name) {
        None | Some(Value::Null | Value::Bool(false)) => Ok(()),
        Some(Value::Array(all)) if all.is_empty() => Ok(()),
        Some(_) => Err(Fault::malformed(&format!("{name} is not supported"))),
    };
    unsupported("unrestricted")?;
    unsupported("access_rules")?;
    let roles = match new.get("roles") {
        None | Some(Value::Null) => None,
        Some(Value::Array(roles)) => {
            Some(roles.iter().map(|role| named(object(Some(role), "roles")?, false)).collect::<Result<_, Fault>>()?)
        }
        Some(_) => return Err(Fault::malformed("'roles' is a list")),
    };
    let expires_at = match optional("expires_at")? {
        Some(text) => Some(time::parse(&text).ok_or_else(|| Fault::malformed("'expires_at' is no instant"))?),
        None => None,
    };
    let secret = optional("secret")?;
    if secret
        .as_ref()
        .is_some_and(|secret| secret.is_empty() || secret.len() > crate::identity::local::password::PASSWORD_MAX)
    {
        return Err(Fault::malformed("'secret' has 1 to 1024 bytes"));
    }
    Ok(NewCredential {
        name: string(new.get("name"), "name")?,
        description: optional("description")?.unwrap_or_default(),
        secret,
        roles,
        expires_at,
    })
}
