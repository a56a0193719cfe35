//! The listener's certificate, pages of other origins, and requests that are not what they say they are, against the shipped
//! binary.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::hearth::{Environment, Hearth, PATIENCE, wait_until};

struct Authority {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { directory, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A new certificate of the listener, in the files.
    fn issue(&self) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(self.path("key.pem"), key.serialize_pem()).expect("written");
        std::fs::write(self.path("chain.pem"), certificate.pem()).expect("written");
    }

    /// A client that trusts this authority and nobody else.
    fn client(&self) -> reqwest::Client {
        hearth::outbound::client("https://127.0.0.1", Some(&self.path("ca.pem")), PATIENCE).expect("a client")
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

fn simulated() -> Environment {
    Environment::default().set("backends.0.name", "simulated").set("backends.0.driver", "sim")
}

#[tokio::test]
async fn a_listener_with_a_certificate_speaks_tls_only_and_takes_a_new_one_over() {
    let authority = Authority::new();
    authority.issue();
    let environment = simulated()
        .set("tls.certificate", text(&authority.path("chain.pem")))
        .set("tls.key", text(&authority.path("key.pem")));
    let hearth = Hearth::start(environment).await;
    let url = hearth.url("").replace("http://", "https://");
    let client = authority.client();
    let versions = client.get(format!("{url}/v3")).send().await.expect("an answer").text().await.expect("a text");
    assert!(versions.contains(&format!("{url}/v3/")), "links say how the client came: {versions}");
    let stranger = hearth::outbound::client("https://127.0.0.1", None, PATIENCE).expect("a client");
    assert!(stranger.get(format!("{url}/v3")).send().await.is_err(), "of an authority that nobody trusts");
    assert!(reqwest::get(hearth.url("/v3")).await.is_err(), "plain HTTP");
    let clouds = std::fs::read_to_string(hearth.state_file("clouds.yaml")).expect("written");
    assert!(clouds.contains(&format!("{url}/v3")), "{clouds}");

    // another authority takes over: the clients of the old one are no longer served, and nothing is restarted
    let other = Authority::new();
    other.issue();
    for name in ["key.pem", "chain.pem"] {
        std::fs::copy(other.path(name), authority.path(name)).expect("copied");
    }
    hearth.signal(libc::SIGHUP);
    wait_until("the new certificate is shown", async || {
        other.client().get(format!("{url}/healthcheck")).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    assert!(authority.client().get(format!("{url}/v3")).send().await.is_err());
    assert_eq!(client.get(format!("{url}/healthcheck")).send().await.expect("its connection stands").status(), 200);
}

#[tokio::test]
async fn pages_of_the_origins_that_are_named_may_use_it_and_no_others() {
    let environment =
        simulated().set("auth.strategy", "local").set("cors.allowed_origins", "https://dashboard.example.org");
    let hearth = Hearth::start(environment).await;
    let client = reqwest::Client::new();
    for (origin, is_allowed) in [("https://dashboard.example.org", true), ("https://evil.example.org", false)] {
        let asked = client
            .request(Method::OPTIONS, hearth.url("/v3/volumes"))
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "x-auth-token, content-type")
            .send();
        let answer = asked.await.expect("an answer");
        let allowed = answer.headers().get("access-control-allow-origin").map(|value| value.to_str().expect("text"));
        assert_eq!(allowed, is_allowed.then_some(origin));
        assert_eq!(answer.headers().get("access-control-allow-credentials"), None, "no cookies");
        let answer = client.get(hearth.url("/v3")).header("Origin", origin).send().await.expect("an answer");
        let allowed = answer.headers().get("access-control-allow-origin").map(|value| value.to_str().expect("text"));
        assert_eq!(allowed, is_allowed.then_some(origin));
    }
    let plain = Hearth::start(simulated()).await;
    let answer = client.get(plain.url("/v3")).header("Origin", "https://dashboard.example.org").send().await;
    assert_eq!(answer.expect("an answer").headers().get("access-control-allow-origin"), None);
}

/// Sends bytes as they are on a connection of their own; what comes back until its end. A server that refuses what it has not
/// read to the end may reset the connection.
async fn raw(hearth: &Hearth, request: &[u8]) -> String {
    let address = hearth.url("").replace("http://", "");
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let mut answer = Vec::new();
    if stream.write_all(request).await.is_ok() && stream.shutdown().await.is_ok() {
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("in time");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A proxy and this service must never disagree about where a request ends: what is ambiguous is refused, and what follows
/// it on the connection is not taken for a request.
#[tokio::test]
async fn a_request_that_says_two_lengths_is_refused_and_nothing_after_it_is_heard() {
    let hearth = Hearth::start(simulated()).await;
    let hidden = "GET /v3/volumes HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: a:b\r\nConnection: close\r\n\r\n";
    let smuggled = [
        format!("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()),
        format!("Content-Length: +0\r\n\r\n{hidden}"),
        format!("Content-Length: 0, {}\r\n\r\n{hidden}", hidden.len()),
        format!("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("X: y\r\n Content-Length: 5\r\n\r\n{hidden}"),
    ];
    for request in &smuggled {
        let request = format!("POST /v3/nothing HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: a:b\r\n{request}");
        let answer = raw(&hearth, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
        assert!(!answer.contains("\"volumes\""), "{request:?}: {answer}");
    }
    // a whole request and its follower are two
    let two = format!("GET /healthcheck HTTP/1.1\r\nHost: localhost\r\n\r\n{hidden}");
    assert!(raw(&hearth, two.as_bytes()).await.contains("\"volumes\""));
    // a token with a line break is no second header
    let split = "GET /v3/volumes HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: a:b\rX-Service-Token: x\r\n\r\n";
    assert!(raw(&hearth, split.as_bytes()).await.starts_with("HTTP/1.1 400 "));
    for headers in ["X: y\r\n".repeat(200), format!("X: {}\r\n", "y".repeat(200_000))] {
        let request = format!("GET /v3 HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        let answer = raw(&hearth, request.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{} bytes: {answer}", headers.len());
    }
}

/// A path is a name, never a way through files.
#[tokio::test]
async fn names_and_ids_lead_nowhere_in_the_file_system() {
    let hearth = Hearth::start(Environment::default()).await;
    let made = hearth.admin(Method::POST, "/v3/volumes", Some(json!({"volume": {"size": 1, "name": "../../x"}}))).await;
    let id = made["volume"]["id"].as_str().expect("an id");
    let volume = hearth.wait_for_status(id, "available").await;
    assert_eq!(volume["name"], "../../x", "a name is a text");
    let pool = hearth.state_file("pools/local");
    let files: Vec<_> =
        std::fs::read_dir(&pool).expect("a pool").filter_map(Result::ok).map(|entry| entry.path()).collect();
    assert!(files.iter().any(|file| text(file).contains(id)), "files are named by ids: {files:?}");
    for odd in ["..%2F..%2Fhearth.db", "%2e%2e", "..%2Fclouds.yaml", "%00", "a%0Ab", "%2Fetc%2Fpasswd"] {
        for path in [
            format!("/v3/volumes/{odd}"),
            format!("/v3/admin/snapshots/{odd}"),
            format!("/v3/types/{odd}"),
            format!("/image/v2/images/{odd}"),
            format!("/image/v2/images/{odd}/file"),
            format!("/admin/actors/{odd}"),
            format!("/admin/servers/{odd}"),
            format!("/compute/v2.1/servers/{odd}"),
        ] {
            let answer = raw(
                &hearth,
                format!(
                    "GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: admin:admin\r\nConnection: close\r\n\r\n"
                )
                .as_bytes(),
            )
            .await;
            assert!(answer.starts_with("HTTP/1.1 404 ") || answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
            assert!(!answer.contains("root:") && !answer.contains("auth_type"), "{path}: {answer}");
        }
    }
}

/// Who sends slowly on purpose holds a connection, and nobody else's.
#[tokio::test]
async fn a_body_that_never_comes_holds_up_nobody() {
    let hearth = Hearth::start(simulated()).await;
    let address = hearth.url("").replace("http://", "");
    let mut stalled = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(&address).await.expect("connected");
        let head = "POST /v3/volumes HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: a:b\r\nContent-Length: 100\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.expect("sent");
        stalled.push(stream);
    }
    let client = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().expect("a client");
    for _ in 0..20 {
        assert_eq!(client.get(hearth.url("/healthcheck")).send().await.expect("an answer").status(), 200);
    }
}
