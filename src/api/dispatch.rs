//! The way of every request, in the order of `errors-and-http` §1 and `volume-actions` §0.1: size, token, version, route,
//! content type, gate, JSON, action name, project; then the noun's handler.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, BytesMut, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::answer::{Answer, Body, Pieces};
use super::blocking;
use super::call::{Asides, Call};
use super::fault::{BODY_MAX, Fault, Problem};
use super::idempotency;
use super::links::Links;
use super::microversion::{self, Microversion, NegotiationError};
use super::prefer;
use super::query::Query;
use super::route::{OperatorRoute, Path, Route, Side, path_parse, route_find};
use super::server::ApiState;
use super::{admin, compute, identity, image, v3};
use crate::actors::Unanswered;
use crate::domain::ids::RequestId;
use crate::faults::{self, CrashPoint};
use crate::identity::noauth::host_is_loopback;
use crate::identity::{Presented, Refusal, RequestContext};
use crate::policy::{Own, Policy};
use crate::rule;
use crate::telemetry::{self, RequestIds, RequestLine, request_log};

/// A body that is too large is still read (and thrown away) up to this size, so that the client gets its answer instead of
/// a reset connection; beyond it the connection is closed.
pub const DRAIN_MAX: usize = 16 * 1024 * 1024;

/// A body may pause for so long.
pub const BODY_STALL: Duration = Duration::from_secs(30);

/// The template of a path without a route.
const UNROUTED: &str = "-";

const JSON: &str = "application/json";
const VENDOR_JSON: &str = "application/vnd.openstack.volume+json";
const VERSION_HEADER: HeaderName = HeaderName::from_static("openstack-api-version");
const NOVA_VERSION_HEADER: HeaderName = HeaderName::from_static("x-openstack-nova-api-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");
const COMPUTE_REQUEST_ID: HeaderName = HeaderName::from_static("x-compute-request-id");

/// What is known about the answer's headers; filled in on the way.
struct Exchange {
    ids: RequestIds,
    side: Side,
    /// The template of the path, for metrics.
    template: &'static str,
    /// The version to echo: in force, or asked for in a 406.
    version: Option<String>,
    /// A controller answers: it carries `x-compute-request-id`.
    routed: bool,
    /// The document without version and request id headers (Compute's root).
    bare: bool,
    /// An empty answer says `text/html`, as Compute's 202 does.
    empty_is_html: bool,
    /// The client asked for Block Storage's own name of JSON.
    vendor_json: bool,
    /// The answer is not of the beginning of what it speaks of.
    has_waited: bool,
    /// What a volume refused.
    unanswered: Option<Unanswered>,
}

/// Answers one request.
pub async fn dispatch(request: HttpRequest, payload: Payload, api: Data<ApiState>) -> HttpResponse {
    let started = Instant::now();
    let headers = request.headers();
    let mut exchange = Exchange {
        ids: RequestIds::new(&api.randomness, text(headers, &REQUEST_ID)),
        side: Side::None,
        template: UNROUTED,
        version: None,
        routed: false,
        bare: false,
        empty_is_html: false,
        vendor_json: text(headers, &header::ACCEPT).is_some_and(|accept| accept.trim() == VENDOR_JSON),
        has_waited: false,
        unanswered: None,
    };
    if image::serves(request.path()) {
        exchange.side = Side::Image;
        let mut answered = image::answer(&request, payload, &api, &exchange.ids.local).await;
        exchange.template = answered.template;
        common_headers(answered.response.headers_mut(), &exchange);
        return told(&request, &api, &exchange, started, answered.response, answered.cause.as_deref());
    }
    if identity::serves(request.path()) {
        exchange.side = Side::Identity;
        let mut answered = identity::answer(&request, payload, &api).await;
        exchange.template = answered.template;
        common_headers(answered.response.headers_mut(), &exchange);
        return told(&request, &api, &exchange, started, answered.response, answered.cause.as_deref());
    }
    let (response, cause) = match handle(&request, payload, &api, &mut exchange).await {
        Ok(answer) => (success(answer, &exchange), None),
        Err(problem) => {
            let challenge = match &problem {
                Problem::Unauthenticated(challenge) => Some(Arc::clone(challenge)),
                _ => None,
            };
            let unrouted = problem == Problem::Unrouted;
            let fault = Fault::from(problem);
            let cause = fault.cause.clone();
            (failure(&fault, &exchange, challenge.as_deref(), unrouted), cause)
        }
    };
    told(&request, &api, &exchange, started, response, cause.as_deref())
}

/// The response, once it stands in the metrics and the log.
fn told(
    request: &HttpRequest,
    api: &ApiState,
    exchange: &Exchange,
    started: Instant,
    response: HttpResponse,
    cause: Option<&str>,
) -> HttpResponse {
    api.options.metrics.http.answered(
        exchange.side.name(),
        request.method().as_str(),
        exchange.template,
        response.status().as_u16(),
        started.elapsed(),
    );
    request_log(&RequestLine {
        method: request.method().as_str(),
        path: request.path(),
        status: response.status().as_u16(),
        elapsed: started.elapsed(),
        ids: &exchange.ids,
        cause,
    });
    if !request.method().is_safe() {
        faults::pass(CrashPoint::ReplyBefore);
    }
    response
}

/// What proxies say about the client's own request.
const PROXIED: [HeaderName; 2] = [header::FORWARDED, HeaderName::from_static("x-forwarded-proto")];

/// The links of this request's answers.
pub(super) fn links(
    api: &ApiState,
    request: &HttpRequest,
    host: Option<&str>,
    service: &'static str,
    project: Option<String>,
) -> Links {
    let headers = request.headers();
    let own = if request.app_config().secure() { "https" } else { "http" };
    let is_plain = request.uri().scheme().is_none() && !PROXIED.iter().any(|name| headers.contains_key(name));
    // Only a proxy's words make it necessary to look at all of them.
    let scheme = if is_plain { Cow::Borrowed(own) } else { request.connection_info().scheme().to_owned().into() };
    let base = Links::base_of(
        api.options.public_endpoint.as_deref(),
        &scheme,
        host.unwrap_or("localhost"),
        headers.get("x-forwarded-host").and_then(|value| value.to_str().ok()),
    );
    Links { base, service, project }
}

async fn handle(
    request: &HttpRequest,
    payload: Payload,
    api: &Data<ApiState>,
    exchange: &mut Exchange,
) -> Result<Answer, Problem> {
    let headers = request.headers();
    let body = body_read(headers, payload).await?;
    let path = path_parse(request.uri().path()).ok_or(Problem::Malformed)?;
    exchange.side = path.side;
    exchange.vendor_json &= path.side == Side::BlockStorage;
    if path.side == Side::Health {
        exchange.template = "/healthcheck";
        return health(request.method(), text(headers, &header::ACCEPT));
    }
    let host = host(api, request)?;
    if path.side == Side::Metrics {
        exchange.template = "/metrics";
        return metrics(request.method(), api);
    }
    let route = route_find(request.method().as_str(), &path);
    // somebody else's servers are not Hearth's to speak of
    let is_of_servers = |route: &Route| path.side == Side::Compute || route.is_of_own_servers();
    let route = route.filter(|route| api.options.catalog.compute || !is_of_servers(route));
    exchange.template = route.as_ref().map_or(UNROUTED, Route::template);
    let policy = api.options.policy.current();
    let context = match &route {
        Some(route) if route.is_version_document() => None,
        _ => {
            let project = path.project.as_deref();
            Some(authenticate(api, &policy, request, path.side, project, &exchange.ids.local).await?)
        }
    };
    let version = negotiate(headers, &path, route.as_ref(), exchange)?;
    let route = route.ok_or_else(|| {
        exchange.version = None;
        Problem::Unrouted
    })?;
    exchange.routed = true;
    exchange.bare = route == Route::ComputeVersions;

    let service = if path.side == Side::Compute { "/compute/v2.1" } else { "/v3" };
    let links = links(api, request, host, service, path.project.clone());
    let Some(context) = context else {
        return Ok(match route {
            Route::BlockVersions { status } => Answer::json(status, v3::versions::document(&links)),
            Route::ComputeVersion => Answer::ok(compute::versions::document(&links)),
            _ => Answer::ok(compute::versions::list(&links)),
        });
    };

    let json_typed = content_type_check(headers, path.side, &body)?;
    if route.since().is_some_and(|since| version < since) {
        return Err(Problem::Hidden);
    }
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    let body = if route.needs_body() { body_parse(&route, path.side, &body, json_typed)? } else { Value::Null };
    let action = if route.is_action() { Some(v3::action_name(&route, &body)?) } else { None };
    let project = context.project_id.as_str();
    let has_other = path.project.as_deref().is_some_and(|named| named != project);
    // a token of a domain or of the system has no project that the thing could belong to
    if has_other || (project.is_empty() && route.makes_for_project(action.as_deref())) {
        return Err(Problem::MalformedUrl);
    }
    if path.side == Side::Admin {
        policy.enforce(&context, rule!("hearth:admin"), &Own(&context))?;
    }
    exchange.empty_is_html = matches!(route, Route::MappingCreate(_)) && version >= Microversion::v2(101);
    let if_match = text(headers, &header::IF_MATCH).map(str::to_owned);
    let wait = prefer::wait(headers);
    let key = idempotency::key(headers, &route)?;
    let (api, asides) = (api.clone(), Asides::default());
    let mut call = Call { api, context, policy, version, query, body, if_match, wait, key: None, links, asides };
    call.key = key.map(|key| Arc::new(idempotency::keyed(&call, &path.rest, &key)));
    let answer = match path.side {
        Side::Compute => compute::handle(&call, &route).await,
        Side::Admin => admin::handle(&call, &route).await,
        _ => match &call.key {
            Some(keyed) => idempotency::once(&call, &route, action.as_deref(), keyed).await,
            None => v3::handle(&call, &route, action.as_deref()).await,
        },
    };
    exchange.unanswered = call.asides.unanswered.take();
    exchange.has_waited = call.asides.has_waited.get();
    answer
}

/// The header as text; what is not visible ASCII counts as absent.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// All of a body, if it is not too large.
pub(super) async fn body_read(headers: &HeaderMap, mut payload: Payload) -> Result<Bytes, Problem> {
    let declared = text(headers, &header::CONTENT_LENGTH).and_then(|length| length.trim().parse::<u64>().ok());
    if declared.is_some_and(|length| length > DRAIN_MAX as u64) {
        return Err(Problem::BodyTooLarge);
    }
    let mut body = Bytes::new();
    let mut seen = 0_usize;
    // A body that stalls would hold its connection for ever.
    while let Some(chunk) = timeout(BODY_STALL, payload.next()).await.map_err(|_| Problem::SlowBody)? {
        let chunk = chunk.map_err(|_| Problem::Malformed)?;
        seen += chunk.len();
        if seen > DRAIN_MAX {
            return Err(Problem::BodyTooLarge);
        }
        if body.is_empty() {
            // mostly the only one
            body = chunk;
        } else if seen <= BODY_MAX {
            let mut longer = BytesMut::from(body);
            longer.extend_from_slice(&chunk);
            body = longer.freeze();
        }
    }
    if seen > BODY_MAX { Err(Problem::BodyTooLarge) } else { Ok(body) }
}

fn health(method: &Method, accept: Option<&str>) -> Result<Answer, Problem> {
    match *method {
        Method::HEAD => Ok(Answer::empty(204)),
        Method::GET if accept.is_some_and(|accept| accept.trim() == JSON) => {
            Ok(Answer::ok(serde_json::json!({"detailed": false, "reasons": ["OK"]})))
        }
        Method::GET => Ok(Answer::text("text/plain", "OK".to_owned())),
        _ => Err(Problem::Unrouted),
    }
}

/// Without a token, as [`health`]: scrapers have none, and there is no id, name or secret in it.
fn metrics(method: &Method, api: &ApiState) -> Result<Answer, Problem> {
    if *method != Method::GET {
        return Err(Problem::Unrouted);
    }
    Ok(Answer::text(telemetry::metrics::CONTENT_TYPE, api.options.metrics.text()))
}

/// What catalogues call the service of each side, with the names of old ones.
fn service_types(side: Side) -> &'static [&'static str] {
    match side {
        Side::Compute => &["compute"],
        Side::Image => &["image"],
        _ => &["block-storage", "block-store", "volume", "volumev2", "volumev3"],
    }
}

/// Who asks. No other header than these is read for it, so that nobody can say who they are by one.
pub(super) async fn authenticate(
    api: &ApiState,
    policy: &Policy,
    request: &HttpRequest,
    side: Side,
    url_project: Option<&str>,
    id: &RequestId,
) -> Result<RequestContext, Problem> {
    let headers = request.headers();
    let presented = Presented {
        token: headers.get("x-auth-token").or_else(|| headers.get("x-storage-token")).and_then(utf8),
        service_token: headers.get("x-service-token").and_then(utf8),
        authorization: headers.get(header::AUTHORIZATION).and_then(utf8),
        url_project,
        address: peer(request),
        method: request.method().as_str(),
        path: request.uri().path(),
        service_types: service_types(side),
    };
    let mut context = api.options.auth.authenticate(presented, id).await?;
    context.is_admin = context.is_admin || policy.is_admin(&context);
    Ok(context)
}

/// Where the client is; a request without an address comes from a test that calls the handler itself.
pub(super) fn peer(request: &HttpRequest) -> IpAddr {
    request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// The Host header, if this is a name under which the service may be asked.
pub(super) fn host<'a>(api: &ApiState, request: &'a HttpRequest) -> Result<Option<&'a str>, Problem> {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or("?"));
    if api.options.auth.is_loopback_only() && !host_is_loopback(host) {
        return Err(Problem::ForeignHost);
    }
    Ok(host)
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthenticated { challenge } => Self::Unauthenticated(challenge),
            Refusal::Unavailable(text) => Self::IdentityUnavailable(text),
        }
    }
}

fn utf8(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

fn negotiate(
    headers: &HeaderMap,
    path: &Path,
    route: Option<&Route>,
    exchange: &mut Exchange,
) -> Result<Microversion, Problem> {
    let joined = |name: &HeaderName| {
        let mut values = headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        values.next().map(|first| values.fold(first, |all, next| Cow::Owned(format!("{all},{next}"))))
    };
    let standard = joined(&VERSION_HEADER);
    let result = match path.side {
        Side::BlockStorage => microversion::block_storage(standard.as_deref()).map_err(Problem::BlockVersion),
        Side::Compute if path.versioned && route.is_some() => {
            microversion::compute(standard.as_deref(), joined(&NOVA_VERSION_HEADER).as_deref())
                .map_err(Problem::ComputeVersion)
        }
        _ => return Ok(Microversion::new(0, 0)),
    };
    // A refusal of the version is a controller's answer, whether the path has a route or not.
    exchange.routed = result.is_err();
    exchange.version = match &result {
        Ok(version) => Some(version.to_string()),
        // Block Storage's versions 1 and 2 had no version headers.
        Err(Problem::BlockVersion(NegotiationError::Unsupported(text)))
            if text.starts_with("1.") || text.starts_with("2.") =>
        {
            None
        }
        Err(
            Problem::BlockVersion(NegotiationError::Unsupported(text))
            | Problem::ComputeVersion(NegotiationError::Unsupported(text)),
        ) => Some(text.clone()),
        Err(_) => None,
    };
    result
}

/// Whether the body is marked as JSON. A body of another type is 415.
fn content_type_check(headers: &HeaderMap, side: Side, body: &Bytes) -> Result<bool, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(side != Side::BlockStorage) };
    let essence = value.to_str().unwrap_or("?").split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        JSON => Ok(true),
        VENDOR_JSON if side == Side::BlockStorage => Ok(true),
        "text/plain" if side != Side::BlockStorage => Ok(true),
        "" => Ok(side != Side::BlockStorage),
        _ if body.is_empty() => Ok(true),
        _ => Err(Problem::MediaType),
    }
}

fn body_parse(route: &Route, side: Side, body: &Bytes, json_typed: bool) -> Result<Value, Problem> {
    if body.is_empty() || !json_typed {
        return match side {
            Side::BlockStorage if route.is_action() => Err(Problem::NoSuchAction("None".to_owned())),
            Side::BlockStorage if body.is_empty() && *route == Route::Operator(OperatorRoute::WorkerCleanup) => {
                Ok(json!({}))
            }
            Side::BlockStorage => Err(Problem::MalformedBody),
            // Compute leaves it to the schema.
            _ => Ok(Value::Null),
        };
    }
    serde_json::from_slice(body).map_err(|_| Problem::MalformedBody)
}

fn success(answer: Answer, exchange: &Exchange) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = HttpResponse::build(status);
    if let Some(etag) = answer.etag {
        response.insert_header((header::ETAG, etag));
    }
    let mut response = match answer.body {
        Body::Empty if exchange.empty_is_html => {
            response.insert_header((header::CONTENT_TYPE, "text/html; charset=UTF-8")).finish()
        }
        Body::Empty if exchange.side == Side::Compute => response.insert_header((header::CONTENT_TYPE, JSON)).finish(),
        Body::Empty => response.finish(),
        Body::Text(kind, text) => response.insert_header((header::CONTENT_TYPE, kind)).body(text),
        Body::Events(events) => response
            .insert_header((header::CONTENT_TYPE, "text/event-stream"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .streaming(events),
        Body::Json(body) => {
            let kind = if exchange.vendor_json { VENDOR_JSON } else { JSON };
            response.insert_header((header::CONTENT_TYPE, kind));
            if body.len() > Pieces::SIZE { response.body(Pieces::of(body)) } else { response.body(body) }
        }
    };
    // A call that is answered when all is done has nothing to wait for.
    if exchange.has_waited && answer.status == 202 {
        response.headers_mut().insert(prefer::APPLIED, HeaderValue::from_static("wait"));
    }
    common_headers(response.headers_mut(), exchange);
    response
}

fn failure(fault: &Fault, exchange: &Exchange, challenge: Option<&str>, unrouted: bool) -> HttpResponse {
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if let Some(seconds) = fault.retry_after {
        response.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    let mut response = if let Some(challenge) = challenge {
        // The authentication layer has a body of its own (auth-and-policy §2).
        response.insert_header((header::WWW_AUTHENTICATE, challenge));
        let body = serde_json::json!({
            "error": {"code": 401, "title": "Unauthorized", "message": fault.message}
        });
        response.insert_header((header::CONTENT_TYPE, JSON)).body(body.to_string())
    } else if unrouted && matches!(exchange.side, Side::BlockStorage | Side::None | Side::Health | Side::Metrics) {
        response
            .insert_header((header::CONTENT_TYPE, "text/plain; charset=UTF-8"))
            .body(format!("404 Not Found\n\n{}\n", fault.message))
    } else {
        let kind = match exchange.side {
            Side::Compute => "application/json; charset=UTF-8",
            _ if exchange.vendor_json => VENDOR_JSON,
            _ => JSON,
        };
        response.insert_header((header::CONTENT_TYPE, kind)).body(fault.body().to_string())
    };
    if let Some(unanswered) = &exchange.unanswered {
        blocking::explain(response.headers_mut(), fault.status, unanswered);
    }
    common_headers(response.headers_mut(), exchange);
    response
}

fn common_headers(headers: &mut HeaderMap, exchange: &Exchange) {
    if exchange.bare {
        return;
    }
    let id = HeaderValue::from_str(exchange.ids.local.as_str()).expect("a request id is ASCII");
    if exchange.routed {
        headers.insert(COMPUTE_REQUEST_ID, id.clone());
    }
    headers.insert(REQUEST_ID, id);
    // A version asked for in a 406 is digits and a dot, but its length is the client's choice.
    let Some(version) = exchange.version.as_deref() else { return };
    match exchange.side {
        Side::Compute => {
            if let (Ok(standard), Ok(legacy)) =
                (HeaderValue::try_from(format!("compute {version}")), HeaderValue::from_str(version))
            {
                headers.insert(VERSION_HEADER, standard);
                headers.insert(NOVA_VERSION_HEADER, legacy);
                headers.insert(
                    header::VARY,
                    HeaderValue::from_static("OpenStack-API-Version, X-OpenStack-Nova-API-Version"),
                );
            }
        }
        _ => {
            if let Ok(value) = HeaderValue::try_from(format!("volume {version}")) {
                headers.insert(VERSION_HEADER, value);
                headers.insert(header::VARY, HeaderValue::from_static("OpenStack-API-Version"));
            }
        }
    }
}
