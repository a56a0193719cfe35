//! A Glance that does what its script says, one step for each connection.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hearth::domain::ids::ImageId;
use hearth::images::{GlanceClient, GlanceOptions, ImageCaller, NoToken, TokenSource};
use hearth::runtime::Randomness;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::received::Received;

/// A call without progress for so long has failed.
pub const TIMEOUT: Duration = Duration::from_millis(300);

/// What it does with a request that it has read to its end.
pub enum Step {
    /// Answers.
    Reply(u16, Vec<u8>),
    /// Answers with these headers.
    Headed(u16, String),
    /// Announces more than it sends, and closes.
    Short(usize, Vec<u8>),
    /// Closes without an answer.
    Close,
    /// Closes in the middle of the request's body.
    CloseEarly,
    /// Keeps the connection, and says nothing.
    Hang,
    /// Does something, and answers.
    Do(Box<dyn Fn() + Send>, u16),
}

impl Step {
    pub fn json(status: u16, body: &Value) -> Self {
        Self::Reply(status, body.to_string().into_bytes())
    }
}

/// One request as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub line: String,
    pub token: Option<String>,
    pub body: Vec<u8>,
}

pub struct StandIn {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl StandIn {
    /// Does these steps; whatever comes after them is closed.
    pub async fn start(script: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            let mut held = Vec::new();
            let mut script = script.into_iter();
            while let Ok((mut stream, _)) = listener.accept().await {
                let step = script.next().unwrap_or(Step::Close);
                let Some(request) = read(&mut stream, matches!(step, Step::CloseEarly)).await else { continue };
                kept.lock().unwrap().push(request);
                let head = |status: u16, length: usize| {
                    format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n")
                };
                let answer = match step {
                    Step::Reply(status, body) => [head(status, body.len()).as_bytes(), b"\r\n", &body].concat(),
                    Step::Headed(status, headers) => format!("{}{headers}\r\n", head(status, 0)).into_bytes(),
                    Step::Short(length, body) => [head(200, length).as_bytes(), b"\r\n", &body].concat(),
                    Step::Close | Step::CloseEarly => continue,
                    Step::Hang => {
                        held.push(stream);
                        continue;
                    }
                    Step::Do(what, status) => {
                        what();
                        format!("{}\r\n", head(status, 0)).into_bytes()
                    }
                };
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { address, seen }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The request lines.
    pub fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|request| request.line).collect()
    }

    pub fn client(&self) -> Arc<GlanceClient> {
        self.client_with(Arc::new(NoToken))
    }

    pub fn client_with(&self, tokens: Arc<dyn TokenSource>) -> Arc<GlanceClient> {
        client(&format!("http://{}", self.address), None, tokens)
    }
}

pub fn client(endpoint: &str, ca_file: Option<&Path>, tokens: Arc<dyn TokenSource>) -> Arc<GlanceClient> {
    let ca_file = ca_file.map(Path::to_owned);
    let options = GlanceOptions { endpoint: endpoint.to_owned(), ca_file, timeout: TIMEOUT };
    GlanceClient::new(options, tokens, Randomness::from_seed(1)).unwrap()
}

async fn read(stream: &mut TcpStream, only_the_head: bool) -> Option<Seen> {
    let mut received = Received::head_of(stream).await?;
    if !only_the_head {
        // What was cut off is seen as far as it came.
        received.read_body(stream).await?;
    }
    Some(Seen { line: received.line()?, token: received.header("x-auth-token"), body: received.body })
}

/// An image as Glance shows it.
pub fn image(id: ImageId, more: &Value) -> Value {
    let mut image = json!({
        "id": id, "name": "n", "status": "active", "visibility": "private", "owner": "p", "protected": false,
        "disk_format": "raw", "container_format": "bare", "size": 4, "virtual_size": null, "min_disk": 0, "min_ram": 0,
        "checksum": null, "tags": [], "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:01Z",
        "self": "/v2/images/x", "file": "/v2/images/x/file", "schema": "/v2/schemas/image", "os_type": "linux",
    });
    image.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    image
}

pub fn member(project: &str) -> ImageCaller {
    ImageCaller { project_id: project.into(), is_admin: false }
}

/// Answers requests over TLS, in a thread of its own: from what came to status, headers and body. The port.
pub fn serve_tls(answer: impl Fn(&str) -> (u16, &'static str, String) + Send + 'static) -> u16 {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/images/tls");
    let chain = vec![CertificateDer::from_pem_file(files.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(files.join("server.key")).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::Stream::new(&mut connection, &mut stream);
            let Some(asked) = read_whole(&mut tls) else { continue };
            let (status, headers, body) = answer(&asked);
            let length = body.len();
            let head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
            let _ = tls.write_all(head.as_bytes()).and_then(|()| tls.write_all(body.as_bytes()));
            connection.send_close_notify();
            let _ = connection.complete_io(&mut stream);
        }
    });
    port
}

/// A request with its body; none if it does not come.
fn read_whole(stream: &mut impl std::io::Read) -> Option<String> {
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut piece).ok().filter(|length| *length > 0)?;
        text.extend_from_slice(&piece[..length]);
        let so_far = String::from_utf8_lossy(&text);
        let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
        let lengths = head
            .lines()
            .filter_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
        if body.len() >= lengths.sum::<usize>() {
            return Some(so_far.into_owned());
        }
    }
}
