//! The Image API v2 of the embedded store, under `/image`: what clients need to make, find, fetch and remove images. Paths,
//! words and faults are Glance's.
//!
//! It has a way of its own beside `dispatch`, because data goes through it as a stream in both directions. It decides nothing
//! about images: the store does.

mod data;
mod fault;
mod list;
mod members;
mod patch;
mod route;
mod view;

use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;

use self::fault::Fault;
use self::route::Resource;
pub use self::route::serves;
use super::answer::Answered;
use super::call::url_id;
use super::dispatch::{authenticate, body_read, host, links, text};
use super::route::Side;
use super::server::ApiState;
use crate::domain::ids::{ImageId, RequestId};
use crate::identity::RequestContext;
use crate::images::{DirectoryStore, ImageCaller, ImageStatus};
use crate::policy::{Own, Policy, Rule};
use crate::rule;

/// Answers one request.
pub async fn answer(request: &HttpRequest, payload: Payload, api: &Data<ApiState>, id: &RequestId) -> Answered {
    let resource = route::resource(request.uri().path());
    let template = resource.as_ref().map_or("-", Resource::template);
    match handle(request, payload, api, id, resource).await {
        Ok(response) => Answered { response, template, cause: None },
        Err(fault) => {
            let response = fault.response(text(request.headers(), &header::ACCEPT));
            Answered { response, template, cause: fault.cause }
        }
    }
}

/// What a handler gets.
struct Asked<'a> {
    store: &'a Arc<DirectoryStore>,
    context: RequestContext,
    policy: Arc<Policy>,
    caller: ImageCaller,
    /// Where `/image` is, for locations.
    base: String,
    query: &'a str,
    headers: &'a HeaderMap,
    payload: Payload,
}

impl Asked<'_> {
    /// Policy, where the caller's own project is the target: whose images they are the store judges.
    fn enforce(&self, rule: Rule) -> Result<(), Fault> {
        Ok(self.policy.enforce(&self.context, rule, &Own(&self.context))?)
    }

    /// The body as JSON.
    async fn json(self) -> Result<(Value, ImageCaller, String), Fault> {
        let body = body_read(self.headers, self.payload).await?;
        let value = serde_json::from_slice(&body).map_err(|_| Fault::new(400, "Malformed JSON in request body."))?;
        Ok((value, self.caller, self.base))
    }
}

async fn handle(
    request: &HttpRequest,
    payload: Payload,
    api: &Data<ApiState>,
    id: &RequestId,
    resource: Option<Resource>,
) -> Result<HttpResponse, Fault> {
    let headers = request.headers();
    let host = host(api, request)?;
    let base = links(api, request, host, "", None).base + "/image";
    if let (Some(resource), &Method::GET) = (&resource, request.method())
        && let Some((status, versions)) = view::versions(resource, &base, api.options.image_store.is_some())
    {
        return Ok(json(status, &versions));
    }
    let policy = api.options.policy.current();
    let context = authenticate(api, &policy, request, Side::Image, None, id).await?;
    let store = api.options.image_store.as_ref().ok_or_else(Fault::unrouted)?;
    let resource = resource.ok_or_else(Fault::unrouted)?;
    let caller = ImageCaller { project_id: context.project_id.clone(), is_admin: context.is_admin };
    let query = request.uri().query().unwrap_or_default();
    let asked = Asked { store, context, policy, caller, base, query, headers, payload };
    match (request.method().as_str(), &resource) {
        ("GET", Resource::Images) => list(asked),
        ("POST", Resource::Images) => create(asked).await,
        ("GET", Resource::Image(id)) => show(&asked, id),
        ("PATCH", Resource::Image(id)) => update(asked, id).await,
        ("DELETE", Resource::Image(id)) => delete(asked, id).await,
        ("GET", Resource::File(id)) => data::download(asked, id).await,
        ("PUT", Resource::File(id)) => data::upload(asked, id).await,
        ("POST", Resource::Deactivate(id)) => {
            status_set(asked, id, rule!("deactivate"), ImageStatus::Deactivated).await
        }
        ("POST", Resource::Reactivate(id)) => status_set(asked, id, rule!("reactivate"), ImageStatus::Active).await,
        ("PUT", Resource::Tag(id, tag)) => tag_set(asked, id, tag, true).await,
        ("DELETE", Resource::Tag(id, tag)) => tag_set(asked, id, tag, false).await,
        ("GET", Resource::Schema(name)) => schema(name),
        _ => Err(Fault::new(405, "The method specified is not allowed for this resource.")),
    }
}

fn json(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::OK))
        .insert_header((header::CONTENT_TYPE, "application/json; charset=UTF-8"))
        .body(body.to_string())
}

fn empty() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

/// An id in a path; whatever is none is not found.
fn image_id(text: &str) -> Result<ImageId, Fault> {
    url_id(text).map(ImageId).ok_or_else(|| Fault::no_image(text))
}

fn list(asked: Asked<'_>) -> Result<HttpResponse, Fault> {
    asked.enforce(rule!("get_images"))?;
    let wanted = list::Wanted::parse(asked.query)?;
    let page = wanted.page(&asked.caller, asked.store.images(&asked.caller))?;
    Ok(json(200, &page))
}

async fn create(asked: Asked<'_>) -> Result<HttpResponse, Fault> {
    asked.enforce(rule!("add_image"))?;
    if asked.caller.project_id.as_str().is_empty() {
        // a token of a domain or of the system: nobody would own the image
        return Err(Fault::new(403, "You are not authorized to complete this action."));
    }
    let store = Arc::clone(asked.store);
    let (body, caller, base) = asked.json().await?;
    let new = members::new_image(body)?;
    let image = store.make(caller, new).await?;
    let mut response = json(201, &view::image(&image));
    if let Ok(location) = format!("{base}/v2/images/{}", image.id).try_into() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn show(asked: &Asked<'_>, id: &str) -> Result<HttpResponse, Fault> {
    asked.enforce(rule!("get_image"))?;
    let image = asked.store.image(&asked.caller, image_id(id)?)?;
    Ok(json(200, &view::image(&image)))
}

async fn update(asked: Asked<'_>, id: &str) -> Result<HttpResponse, Fault> {
    asked.enforce(rule!("modify_image"))?;
    let id = image_id(id)?;
    patch::check_media_type(asked.headers)?;
    let store = Arc::clone(asked.store);
    let (body, caller, _) = asked.json().await?;
    let changes = patch::parse(body)?;
    let image = store.change(caller, id, move |image| changes.apply(image)).await?;
    Ok(json(200, &view::image(&image)))
}

async fn delete(asked: Asked<'_>, id: &str) -> Result<HttpResponse, Fault> {
    asked.enforce(rule!("delete_image"))?;
    asked.store.remove(asked.caller, image_id(id)?).await?;
    Ok(empty())
}

/// Lets the data of an image be had, or not; `rule` is what the caller must pass.
async fn status_set(asked: Asked<'_>, id: &str, rule: Rule, to: ImageStatus) -> Result<HttpResponse, Fault> {
    asked.enforce(rule)?;
    let changed = asked.store.change(asked.caller, image_id(id)?, move |image| members::status_set(image, to));
    changed.await?;
    Ok(empty())
}

async fn tag_set(asked: Asked<'_>, id: &str, tag: &str, is_wanted: bool) -> Result<HttpResponse, Fault> {
    asked.enforce(rule!("modify_image"))?;
    let (id, tag) = (image_id(id)?, members::tag(tag)?);
    let changed = asked.store.change(asked.caller, id, move |image| members::tag_set(image, tag, is_wanted));
    changed.await?;
    Ok(empty())
}

fn schema(name: &str) -> Result<HttpResponse, Fault> {
    Ok(json(200, &view::schema(name).ok_or_else(Fault::unrouted)?))
}
