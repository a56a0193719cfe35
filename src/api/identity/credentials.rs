//! `/v3/users/{id}/application_credentials`: a user's own.

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes};
use serde_json::json;

use super::fault::Fault;
use super::{Asked, answered, body, view};
use crate::identity::local::{ApplicationCredential, Named, Valid, password};

/// The caller, if it is this user and has not come by an application credential itself: those cannot make others.
fn owner(asked: &Asked<'_>, user: &str, action: &str) -> Result<Valid, Fault> {
    let caller = asked.caller()?;
    if caller.user.id != user || caller.application_credential.is_some() {
        return Err(Fault::forbidden(action));
    }
    Ok(caller)
}

/// Makes one for the caller's project: 201, with the secret.
pub(super) async fn create(asked: &Asked<'_>, user: &str, body: &Bytes) -> Result<HttpResponse, Fault> {
    let caller = owner(asked, user, "identity:create_application_credential")?;
    let project = caller.project.as_ref().ok_or_else(|| Fault::new(403, "The token is for no project."))?.id.clone();
    let new = body::new_credential(body)?;
    let roles = match new.roles {
        None => caller.roles.to_vec(),
        Some(wanted) => wanted.iter().map(|role| role_of(asked, &caller, role)).collect::<Result<_, _>>()?,
    };
    let (local, randomness) = (asked.local.clone(), asked.local.randomness().clone());
    let secret = new.secret.unwrap_or_else(|| randomness.secret() + &randomness.secret());
    let (id, shown) = (randomness.uuid().simple().to_string(), secret.clone());
    let _place = asked.local.place().await;
    let made = web::block(move || {
        let one = ApplicationCredential {
            id,
            name: new.name,
            user: caller.user.id,
            project,
            secret: password::hash(&secret, &randomness),
            roles,
            description: new.description,
            expires_at: new.expires_at,
        };
        local.change(|directory, records| {
            if directory.application_credential_named(&one.user, &one.name).is_some() {
                let text = format!("Duplicate entry found with name {} for user {}.", one.name, one.user);
                return Err(Fault::new(409, text));
            }
            records.application_credentials.push(one.clone());
            Ok(())
        })?;
        Ok::<_, Fault>(one)
    });
    let one = made.await.map_err(|_| Fault::new(503, "The service is ending."))??;
    let view = view::application_credential(&one, &asked.directory, &asked.base, Some(&shown));
    Ok(answered(201, &json!({ "application_credential": view })))
}

/// A role that the caller has.
fn role_of(asked: &Asked<'_>, caller: &Valid, role: &Named) -> Result<String, Fault> {
    let name = match role {
        Named::Name(name) => Some(name.to_ascii_lowercase()),
        Named::Id(id) => {
            asked.directory.records().roles.iter().find(|role| role.id == *id).map(|role| role.name.clone())
        }
    };
    name.filter(|name| caller.has_role(name))
        .ok_or_else(|| Fault::new(400, "Invalid application credential: Could not find role assignment with role."))
}

/// Removes one: its tokens are not valid any more.
pub(super) async fn delete(asked: &Asked<'_>, user: &str, id: &str) -> Result<HttpResponse, Fault> {
    owner(asked, user, "identity:delete_application_credential")?;
    found(asked, user, id)?;
    let (local, id) = (asked.local.clone(), id.to_owned());
    let removed = web::block(move || {
        local.change(|_, records| {
            records.application_credentials.retain(|one| one.id != id);
            Ok::<_, Fault>(())
        })
    });
    removed.await.map_err(|_| Fault::new(503, "The service is ending."))??;
    Ok(HttpResponse::NoContent().finish())
}

fn found<'a>(asked: &'a Asked<'_>, user: &str, id: &str) -> Result<&'a ApplicationCredential, Fault> {
    let one = asked.directory.application_credential(id).filter(|one| one.user == user);
    one.ok_or_else(|| Fault::missing("application credential", id))
}

/// All of a user.
pub(super) fn list(asked: &Asked<'_>, user: &str) -> Result<HttpResponse, Fault> {
    asked.admin_or(user, "identity:list_application_credentials")?;
    let all = asked.directory.records().application_credentials.iter();
    let wanted = asked.query.get("name");
    let own = all.filter(|one| one.user == user && wanted.is_none_or(|name| name == one.name));
    let rows = own.map(|one| view::application_credential(one, &asked.directory, &asked.base, None)).collect();
    let path = format!("/v3/users/{user}/application_credentials");
    Ok(answered(200, &view::list("application_credentials", rows, &asked.base, &path)))
}

/// One of a user.
pub(super) fn show(asked: &Asked<'_>, user: &str, id: &str) -> Result<HttpResponse, Fault> {
    asked.admin_or(user, "identity:get_application_credential")?;
    let view = view::application_credential(found(asked, user, id)?, &asked.directory, &asked.base, None);
    Ok(answered(200, &json!({ "application_credential": view })))
}
