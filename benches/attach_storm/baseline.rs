//! The servers that Hearth is compared with, in the shape of this same program started again.
//!
//! Both answer with what was recorded of Hearth, byte for byte. `Noop` does nothing else. The bare path asks an actor on
//! another arbiter, which has one journal row and one guarded row update committed in a group, and answers after the fsync.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use actix::{Actor, Addr, Arbiter, Context, Handler, Message, ResponseFuture};
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::bare_store::BareStore;
use super::http::Answer;

/// What a baseline is told, in a file.
#[derive(Serialize, Deserialize)]
pub struct Orders {
    pub kind: Kind,
    /// HTTP workers, and arbiters of actors: as many as Hearth has.
    pub threads: usize,
    pub replies: Vec<Reply>,
    /// The rows of the bare path.
    pub volumes: Vec<Uuid>,
}

#[derive(Serialize, Deserialize)]
pub enum Kind {
    /// HTTP only.
    Noop,
    /// A file.
    Sqlite(String),
    /// A url.
    Postgres(String),
}

/// One recorded answer.
#[derive(Clone, Serialize, Deserialize)]
pub struct Reply {
    method: String,
    is_action: bool,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Reply {
    /// What is to be answered to requests like this one.
    pub fn like(method: &str, path: &str, answer: &Answer) -> Self {
        let own = |name: &str| !["content-length", "date"].iter().any(|other| name.eq_ignore_ascii_case(other));
        Self {
            method: method.to_owned(),
            is_action: is_action(path),
            status: answer.status,
            headers: answer.headers.iter().filter(|(name, _)| own(name)).cloned().collect(),
            body: String::from_utf8_lossy(&answer.body).into_owned(),
        }
    }

    fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(StatusCode::from_u16(self.status).expect("a status"));
        for (name, value) in &self.headers {
            response.insert_header((name.as_str(), value.as_str()));
        }
        response.body(self.body.clone())
    }
}

fn is_action(path: &str) -> bool {
    path.ends_with("/action")
}

/// One volume: the next generation, and where it is committed.
struct Volume {
    id: Uuid,
    generation: i64,
    store: Arc<BareStore>,
}

impl Actor for Volume {
    type Context = Context<Self>;
}

struct Change;

impl Message for Change {
    type Result = bool;
}

impl Handler<Change> for Volume {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, _: Change, _: &mut Context<Self>) -> ResponseFuture<bool> {
        let committed = self.store.commit(self.id, self.generation);
        self.generation += 1;
        Box::pin(async move { committed.await.unwrap_or(false) })
    }
}

struct State {
    replies: Vec<Reply>,
    volumes: HashMap<Uuid, Addr<Volume>>,
    has_store: bool,
}

/// The first uuid in the path; in the body where the path has none.
fn volume_of(path: &str, body: &[u8]) -> Option<Uuid> {
    const UUID: usize = 36;
    if let Some(id) = path.split('/').nth(3) {
        return Uuid::try_parse(id).ok();
    }
    const MEMBER: &[u8] = b"\"volume_uuid\":\"";
    let start = body.windows(MEMBER.len()).position(|bytes| bytes == MEMBER)? + MEMBER.len();
    Uuid::try_parse_ascii(body.get(start..start + UUID)?).ok()
}

async fn answer(request: HttpRequest, body: Bytes, state: Data<State>) -> HttpResponse {
    let (method, path) = (request.method().as_str(), request.path());
    if path == "/healthcheck" {
        return HttpResponse::Ok().body("OK");
    }
    let reply = state.replies.iter().find(|reply| reply.method == method && reply.is_action == is_action(path));
    let Some(reply) = reply else { return HttpResponse::NotFound().finish() };
    if state.has_store {
        let volume = volume_of(path, &body).and_then(|id| state.volumes.get(&id));
        let Some(volume) = volume else { return HttpResponse::NotFound().finish() };
        if !volume.send(Change).await.unwrap_or(false) {
            return HttpResponse::InternalServerError().finish();
        }
    }
    reply.response()
}

/// Serves until it is killed.
pub fn serve(orders: &Path) {
    let orders: Orders = serde_json::from_slice(&std::fs::read(orders).expect("the orders")).expect("orders");
    actix_web::rt::System::new().block_on(async move {
        let store = match &orders.kind {
            Kind::Noop => None,
            Kind::Sqlite(path) => Some(BareStore::sqlite(path, &orders.volumes)),
            Kind::Postgres(url) => Some(BareStore::postgres(url, &orders.volumes)),
        };
        let mut volumes = HashMap::new();
        let arbiters: Vec<Arbiter> = (0..orders.threads).map(|_| Arbiter::new()).collect();
        if let Some(store) = &store {
            for (&id, arbiter) in orders.volumes.iter().zip(arbiters.iter().cycle()) {
                let volume = Volume { id, generation: 0, store: Arc::clone(store) };
                volumes.insert(id, Volume::start_in_arbiter(&arbiter.handle(), move |_| volume));
            }
        }
        let state = Data::new(State { replies: orders.replies, volumes, has_store: store.is_some() });
        let server = HttpServer::new(move || App::new().app_data(state.clone()).default_service(web::to(answer)))
            .workers(orders.threads)
            .tcp_nodelay(true)
            .bind("127.0.0.1:0")
            .expect("a free port");
        println!("baseline: listening on http://{}", server.addrs()[0]);
        server.run().await.expect("the server runs");
    });
}
