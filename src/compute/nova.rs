//! A client of Nova (Compute API v2.1), which it asks as Cinder does.
//!
//! It is asked with the service's own token, which sees all servers: with a user's, a server of another project would not be
//! there, and what uses a volume would pass for unused. Nothing is taken for "not used" but Nova's own words.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::header::ACCEPT;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::access::{Access, Grant};
use super::service::{ComputeError, ComputeService};
use crate::domain::compute::{ComputeEvent, ComputeNotice, UseQuestion};
use crate::domain::ids::{AttachmentId, RequestId, ServerId, VolumeId};
use crate::outbound::{self, BuildError, secret_header};
use crate::telemetry::Sample;

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The first that names the attachment of a server's volume.
const ATTACHMENT_ID_VERSION: &str = "2.89";

/// How Nova is asked.
#[derive(Clone, Debug)]
pub struct NovaOptions {
    /// Where it is, or else the Keystone that knows it: whether there must be authorities at all.
    pub address: String,
    /// PEM certificates of the authorities that its certificate may be from; none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// A call may take so long, whatever has to be asked.
    pub timeout: Duration,
    /// Calls at the same time; more wait, within their time.
    pub max_connections: usize,
}

/// Asks Nova.
pub struct NovaClient {
    http: reqwest::Client,
    access: Arc<dyn Access>,
    options: NovaOptions,
    connections: Semaphore,
    done: AtomicU64,
    failed: AtomicU64,
}

impl fmt::Debug for NovaClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NovaClient").field("options", &self.options).finish_non_exhaustive()
    }
}

/// One call, without its token.
struct Ask {
    method: Method,
    path: Vec<String>,
    version: &'static str,
    body: Option<Value>,
    request_id: RequestId,
}

impl NovaClient {
    /// Asks nothing yet.
    pub fn new(options: NovaOptions, access: Arc<dyn Access>) -> Result<Arc<Self>, BuildError> {
        let http = outbound::client(&options.address, options.ca_file.as_deref(), options.timeout)?;
        let connections = Semaphore::new(options.max_connections);
        let (done, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Arc::new(Self { http, access, options, connections, done, failed }))
    }

    /// For metrics.
    pub fn samples(&self) -> Vec<Sample> {
        let busy = self.options.max_connections.saturating_sub(self.connections.available_permits());
        let mut samples: Vec<Sample> =
            Sample::bound("nova.connections", "", busy as u64, self.options.max_connections as u64).into();
        samples.extend([("done", &self.done), ("failed", &self.failed)].map(|(outcome, count)| {
            let help = "Calls to Nova";
            Sample::counter("nova_calls", help, count.load(Ordering::Relaxed)).label("outcome", outcome)
        }));
        samples
    }

    async fn use_of(&self, volume_id: VolumeId, question: UseQuestion, id: RequestId) -> Result<bool, ComputeError> {
        let server = question.server_id.to_string();
        let path = ["servers".to_owned(), server, "os-volume_attachments".to_owned(), volume_id.to_string()];
        let ask =
            Ask { method: Method::GET, path: path.into(), version: ATTACHMENT_ID_VERSION, body: None, request_id: id };
        let (status, answer) = self.call(ask).await?;
        match status {
            StatusCode::OK => {
                let told = answer["volumeAttachment"]["attachment_id"].as_str();
                let found = told.and_then(|text| text.parse::<AttachmentId>().ok()).ok_or_else(nonsense)?;
                if found != question.attachment_id {
                    tracing::warn!(
                        %volume_id, server_id = %question.server_id, ours = %question.attachment_id, theirs = %found,
                        "Nova has the volume by another attachment, so that this one is not used"
                    );
                }
                Ok(found == question.attachment_id)
            }
            // a proxy, or a wrong address, has no words of Nova's for it
            StatusCode::NOT_FOUND if answer.get("itemNotFound").is_some() => Ok(false),
            _ => Err(refused(status)),
        }
    }

    async fn tell(&self, volume_id: VolumeId, notice: ComputeNotice, id: RequestId) -> Result<(), ComputeError> {
        let event = |server: &ServerId| json!({"name": notice.event.as_str(), "server_uuid": server, "tag": volume_id});
        let events: Vec<Value> = notice.servers.iter().map(event).collect();
        let ask = Ask {
            method: Method::POST,
            path: vec!["os-server-external-events".to_owned()],
            version: event_version(notice.event),
            body: Some(json!({ "events": events })),
            request_id: id,
        };
        let (status, answer) = self.call(ask).await?;
        if !matches!(status, StatusCode::OK | StatusCode::MULTI_STATUS) {
            return Err(refused(status));
        }
        let taken = answer["events"].as_array().ok_or_else(nonsense)?;
        for event in taken {
            let code = event["code"].as_u64().ok_or_else(nonsense)?;
            if code != 200 {
                let server_id = event["server_uuid"].as_str().unwrap_or_default();
                tracing::warn!(%volume_id, server_id, code, event = notice.event.as_str(), "Nova does not pass the event on");
            }
        }
        Ok(())
    }

    /// The answer to a call, whatever it is: its status and JSON (null if it is none).
    async fn call(&self, ask: Ask) -> Result<(StatusCode, Value), ComputeError> {
        let answered = tokio::time::timeout(self.options.timeout, self.answer(&ask)).await.unwrap_or_else(|_| {
            tracing::error!(timeout = ?self.options.timeout, "Nova does not answer in time");
            Err(ComputeError::Unavailable)
        });
        let counter = if answered.is_ok() { &self.done } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        answered
    }

    async fn answer(&self, ask: &Ask) -> Result<(StatusCode, Value), ComputeError> {
        let _connection = self.connections.acquire().await.map_err(|_| ComputeError::Unavailable)?;
        let mut grant = self.grant(None).await?;
        let mut answer = self.send(ask, &grant).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let rejected = std::mem::take(&mut grant.token);
            grant = self.grant(Some(rejected)).await?;
            answer = self.send(ask, &grant).await?;
        }
        let status = answer.status();
        let body = outbound::body(&mut answer, ANSWER_BYTES_MAX).await.map_err(|error| unreachable(&error))?;
        let body = body.ok_or_else(nonsense)?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    async fn grant(&self, rejected: Option<String>) -> Result<Grant, ComputeError> {
        Arc::clone(&self.access).grant(rejected).await.map_err(|error| {
            tracing::error!(%error, "there is no token, or no address, to ask Nova with");
            ComputeError::Unavailable
        })
    }

    /// Sends a call. A kept connection may be one that Nova closes in this moment, hence the second try.
    async fn send(&self, ask: &Ask, grant: &Grant) -> Result<Response, ComputeError> {
        let request = self.request(ask, grant)?;
        let again = request.try_clone();
        let sent = match (request.send().await, again) {
            (Err(error), Some(again)) if !error.is_timeout() => again.send().await,
            (sent, _) => sent,
        };
        sent.map_err(|error| unreachable(&error))
    }

    fn request(&self, ask: &Ask, grant: &Grant) -> Result<RequestBuilder, ComputeError> {
        let unusable = || {
            tracing::error!("the address of Nova, or the token that it is asked with, cannot be used");
            ComputeError::Unavailable
        };
        let mut url = Url::parse(&grant.endpoint).map_err(|_| unusable())?;
        // ids are no more than segments, whatever they hold
        url.path_segments_mut().map_err(|()| unusable())?.pop_if_empty().extend(&ask.path);
        let token = secret_header(&grant.token).ok_or_else(unusable)?;
        let request = self
            .http
            .request(ask.method.clone(), url)
            .header(ACCEPT, "application/json")
            .header("x-auth-token", token)
            .header("openstack-api-version", format!("compute {}", ask.version))
            .header("x-openstack-nova-api-version", ask.version)
            .header("x-openstack-request-id", ask.request_id.as_str());
        Ok(match &ask.body {
            Some(body) => request.json(body),
            None => request,
        })
    }
}

impl ComputeService for NovaClient {
    fn is_used(
        self: Arc<Self>,
        volume_id: VolumeId,
        question: UseQuestion,
        request_id: RequestId,
    ) -> BoxFuture<'static, Result<bool, ComputeError>> {
        async move { self.use_of(volume_id, question, request_id).await }.boxed()
    }

    fn notify(
        self: Arc<Self>,
        volume_id: VolumeId,
        notice: ComputeNotice,
        request_id: RequestId,
    ) -> BoxFuture<'static, Result<(), ComputeError>> {
        async move { self.tell(volume_id, notice, request_id).await }.boxed()
    }

    fn timeout(&self) -> Duration {
        self.options.timeout
    }
}

/// The first version that knows the event.
const fn event_version(event: ComputeEvent) -> &'static str {
    match event {
        ComputeEvent::VolumeExtended => "2.51",
        ComputeEvent::VolumeReimaged => "2.93",
    }
}

fn refused(status: StatusCode) -> ComputeError {
    if matches!(status.as_u16(), 401 | 408 | 429 | 500..) {
        tracing::error!(%status, "Nova has failed, or does not take the service's token");
        return ComputeError::Unavailable;
    }
    tracing::error!(%status, "Nova does not do what it is asked: role, version or address may be wrong");
    ComputeError::Refused
}

fn nonsense() -> ComputeError {
    tracing::error!("Nova gave an answer that is none");
    ComputeError::Unavailable
}

fn unreachable(error: &reqwest::Error) -> ComputeError {
    tracing::error!(error = error as &dyn std::error::Error, "Nova cannot be reached");
    ComputeError::Unavailable
}
