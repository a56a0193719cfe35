//! The part of the Identity API v3 that clients need to log in to a cloud of Hearth alone, under `/identity`. Paths, words and
//! faults are Keystone's.
//!
//! Served with the strategy `local` only; with every other one the version document is there, because clients look for it. It
//! has a way of its own beside `dispatch`, as its callers may have no token yet. It decides nothing about who is who:
//! [`crate::identity::local`] does.

mod body;
mod catalog;
mod credentials;
mod fault;
mod resources;
mod route;
mod tokens;
mod view;

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

pub use self::catalog::CatalogOptions;
use self::fault::Fault;
use self::route::Resource;
pub use self::route::serves;
use super::answer::Answered;
use super::dispatch::{body_read, host, links, peer, text};
use super::query::Query;
use super::server::ApiState;
use crate::identity::Strategy;
use crate::identity::local::{Directory, Local, Valid};

/// Answers one request.
pub async fn answer(request: &HttpRequest, payload: Payload, api: &Data<ApiState>) -> Answered {
    let resource = route::resource(request.uri().path());
    let template = resource.as_ref().map_or("-", Resource::template);
    match handle(request, payload, api, resource).await {
        Ok(response) => Answered { response, template, cause: None },
        Err(fault) => {
            let challenge = api.options.auth.challenge();
            Answered { response: fault.response(&challenge), template, cause: fault.cause }
        }
    }
}

/// What a handler gets.
struct Asked<'a> {
    local: &'a Arc<Local>,
    directory: Arc<Directory>,
    catalog: &'a CatalogOptions,
    /// Where this service is, as the client sees it.
    base: String,
    /// Where the client is.
    address: IpAddr,
    headers: &'a HeaderMap,
    path: &'a str,
    query: Query,
}

impl Asked<'_> {
    /// The caller; nobody without a valid token.
    fn caller(&self) -> Result<Valid, Fault> {
        let token = text(self.headers, &header::HeaderName::from_static("x-auth-token"));
        token.and_then(|token| self.local.validate(token, false)).ok_or_else(Fault::unauthorized)
    }

    /// The caller, if it is an administrator or this user.
    fn admin_or(&self, user: &str, action: &str) -> Result<Valid, Fault> {
        let caller = self.caller()?;
        if caller.has_role("admin") || caller.user.id == user { Ok(caller) } else { Err(Fault::forbidden(action)) }
    }

    /// The caller, if it is an administrator.
    fn admin(&self, action: &str) -> Result<Valid, Fault> {
        let caller = self.caller()?;
        if caller.has_role("admin") { Ok(caller) } else { Err(Fault::forbidden(action)) }
    }
}

async fn handle(
    request: &HttpRequest,
    payload: Payload,
    api: &Data<ApiState>,
    resource: Option<Resource>,
) -> Result<HttpResponse, Fault> {
    let headers = request.headers();
    let host = host(api, request)?;
    let base = links(api, request, host, "", None).base;
    match (request.method(), &resource) {
        (&Method::GET, Some(Resource::Root)) => {
            return Ok(answered(300, &json!({"versions": {"values": [view::version(&base)]}})));
        }
        (&Method::GET, Some(Resource::Version)) => return Ok(answered(200, &json!({"version": view::version(&base)}))),
        _ => {}
    }
    let Strategy::Local(local) = &api.options.auth else { return Err(Fault::unrouted()) };
    let resource = resource.ok_or_else(Fault::unrouted)?;
    let asked = Asked {
        local,
        directory: local.directory(),
        catalog: &api.options.catalog,
        base,
        address: peer(request),
        headers,
        path: request.uri().path(),
        query: Query::parse(request.uri().query().unwrap_or_default())?,
    };
    match (request.method().as_str(), &resource) {
        ("POST", Resource::Tokens) => {
            let body = body_read(headers, payload).await?;
            tokens::create(&asked, &body).await
        }
        ("GET", Resource::Tokens) => tokens::show(&asked, true),
        ("HEAD", Resource::Tokens) => tokens::show(&asked, false),
        ("DELETE", Resource::Tokens) => tokens::revoke(&asked).await,
        ("POST", Resource::Credentials(user)) => {
            let body = body_read(headers, payload).await?;
            credentials::create(&asked, user, &body).await
        }
        ("DELETE", Resource::Credential(user, id)) => credentials::delete(&asked, user, id).await,
        ("GET", Resource::Credentials(user)) => credentials::list(&asked, user),
        ("GET", Resource::Credential(user, id)) => credentials::show(&asked, user, id),
        ("GET", resource) => resources::get(&asked, resource),
        _ => Err(Fault::new(405, "The method is not allowed for the requested URL.")),
    }
}

fn answered(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::OK))
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::VARY, "X-Auth-Token"))
        .body(body.to_string())
}
