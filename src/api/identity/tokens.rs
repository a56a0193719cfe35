//! `/v3/auth/tokens`: log in, look at a token, end one.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::{self, Bytes};

use super::fault::Fault;
use super::{Asked, answered, body, catalog, view};
use crate::api::dispatch::text;
use crate::identity::local::Valid;

const SUBJECT: HeaderName = HeaderName::from_static("x-subject-token");

/// Logs in: 201 with the token in a header.
pub(super) async fn create(asked: &Asked<'_>, body: &Bytes) -> Result<HttpResponse, Fault> {
    let (credential, scope) = body::log_in(body)?;
    let (local, address) = (asked.local.clone(), asked.address);
    let _place = asked.local.place().await;
    let log_in = web::block(move || local.log_in(&credential, &scope, address)).await;
    let (token, valid) = log_in.map_err(|_| Fault::new(503, "The service is ending."))??;
    let mut response = answered(201, &shown(asked, &valid));
    let token = HeaderValue::try_from(token).expect("a token has letters, digits and two other signs");
    response.headers_mut().insert(SUBJECT, token);
    Ok(response)
}

/// A token's view, with the catalog unless it is not wanted.
fn shown(asked: &Asked<'_>, valid: &Valid) -> serde_json::Value {
    let is_wanted = asked.query.get("nocatalog").is_none();
    let project = valid.project.as_ref().filter(|_| is_wanted);
    let catalog = project.map(|project| catalog::catalog(asked.catalog, &asked.base, &project.id));
    view::token(valid, &asked.directory, catalog)
}

/// The token that the call is about, for a caller who may know of it: its own user, an administrator, a service.
fn subject<'a>(asked: &'a Asked<'_>, action: &str) -> Result<(&'a str, Valid), Fault> {
    let caller = asked.caller()?;
    let token = text(asked.headers, &SUBJECT).ok_or_else(|| Fault::malformed("X-Subject-Token is missing."))?;
    let allows_expired = asked.query.get("allow_expired").is_some_and(|value| value == "1" || value == "true");
    let valid = asked.local.validate(token, allows_expired);
    let may = caller.has_role("admin")
        || caller.has_role("service")
        || valid.as_ref().is_some_and(|valid| valid.user.id == caller.user.id);
    match valid {
        Some(valid) if may => Ok((token, valid)),
        None if may => Err(Fault::missing("token", "it is not valid")),
        _ => Err(Fault::forbidden(action)),
    }
}

/// What a token stands for.
pub(super) fn show(asked: &Asked<'_>, has_body: bool) -> Result<HttpResponse, Fault> {
    let (token, valid) = subject(asked, "identity:validate_token")?;
    let mut response = if has_body { answered(200, &shown(asked, &valid)) } else { HttpResponse::Ok().finish() };
    if let Ok(value) = HeaderValue::from_str(token) {
        response.headers_mut().insert(SUBJECT, value);
    }
    Ok(response)
}

/// Ends a token.
pub(super) async fn revoke(asked: &Asked<'_>) -> Result<HttpResponse, Fault> {
    let (_, valid) = subject(asked, "identity:revoke_token")?;
    let local = asked.local.clone();
    let revoked = web::block(move || local.revoke(&valid.claims)).await;
    revoked.map_err(|_| Fault::new(503, "The service is ending."))??;
    Ok(HttpResponse::NoContent().finish())
}
