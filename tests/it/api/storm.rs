//! Bad input never makes a 5xx and never costs another request: a seeded storm, and named monsters.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::harness::{ADMIN, Harness};

const SEED: u64 = 0x6865_6172_7468;
const REQUESTS: usize = 5_000;

fn word(random: &mut StdRng) -> String {
    const WORDS: &[&str] = &[
        "",
        "volume",
        "volumes",
        "attachments",
        "action",
        "detail",
        "types",
        "default",
        "messages",
        "servers",
        "p",
        "v3",
        "compute",
        "v2.1",
        "os-volume_attachments",
        "admin",
        "actors",
        "%ff",
        "%00",
        "..",
        "%2e%2e",
        "\u{e9}",
        "'",
        "%",
        "00000000-0000-0000-0000-000000000000",
        "462dcc2d130d46548db1da0df2da6a0d",
        "operations",
        "faults",
    ];
    WORDS[random.random_range(0..WORDS.len())].to_owned()
}

fn route(random: &mut StdRng) -> String {
    const ROUTES: &[&str] = &[
        "/volumes",
        "/volumes/detail",
        "/volumes/ID",
        "/volumes/ID/action",
        "/attachments",
        "/attachments/ID",
        "/attachments/ID/action",
        "/types",
        "/types/ID",
        "/messages",
        "/messages/ID",
        "/servers",
        "/servers/detail",
        "/servers/ID",
        "/servers/ID/os-volume_attachments",
        "/servers/ID/os-volume_attachments/ID",
        "/actors",
        "/actors/ID",
        "/operations",
        "/faults",
    ];
    ROUTES[random.random_range(0..ROUTES.len())].replace("ID", &word(random))
}

fn value(random: &mut StdRng, depth: u32) -> Value {
    match random.random_range(0..if depth > 3 { 8 } else { 10 }) {
        0 => Value::Null,
        1 => json!(random.random::<bool>()),
        2 => json!(random.random::<i64>()),
        3 => json!(random.random_range(-3..3)),
        4 => json!(random.random::<f64>() * 1e300),
        5 => json!("\u{0}\u{1f4a9}\u{202e}"),
        6 => json!("x".repeat(random.random_range(0..400))),
        7 => json!(word(random)),
        8 => (0..random.random_range(0..4)).map(|_| value(random, depth + 1)).collect(),
        _ => {
            const NAMES: &[&str] = &[
                "volume",
                "attachment",
                "volumeAttachment",
                "server",
                "os-extend",
                "os-reset_status",
                "os-complete",
                "size",
                "name",
                "metadata",
                "new_size",
                "status",
                "volume_uuid",
                "connector",
                "volumeId",
                "device",
                "x",
            ];
            let mut members = serde_json::Map::new();
            for _ in 0..random.random_range(0..4) {
                let name = NAMES[random.random_range(0..NAMES.len())].to_owned();
                members.insert(name, value(random, depth + 1));
            }
            Value::Object(members)
        }
    }
}

/// One raw request on an open connection; the status of its answer.
fn exchange(stream: &mut TcpStream, head: &str, body: &[u8]) -> u16 {
    // In one write: two small ones would wait for each other's acknowledgement.
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    read_answer(stream)
}

fn read_answer(stream: &mut TcpStream) -> u16 {
    let mut seen = Vec::new();
    let mut byte = [0_u8; 1];
    while !seen.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut byte).unwrap();
        assert_eq!(read, 1, "the connection ended in the middle of {:?}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&seen).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    head.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn connect(harness: &Harness) -> TcpStream {
    let stream = TcpStream::connect(harness.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

#[actix_web::test]
async fn a_storm_of_garbage_is_answered_with_4xx_on_one_connection() {
    let harness = Harness::start().await;
    let mut stream = connect(&harness);
    let storm = actix_web::rt::task::spawn_blocking(move || {
        let mut random = StdRng::seed_from_u64(SEED);
        let mut statuses = BTreeMap::<u16, usize>::new();
        for number in 0..REQUESTS {
            let method = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"][random.random_range(0..6)];
            let start = ["/v3", "/v3/p", "/compute/v2.1", "/admin", ""][random.random_range(0..5)];
            let rest: String = (0..random.random_range(0..5)).map(|_| format!("/{}", word(&mut random))).collect();
            let query =
                ["", "?limit=-1", "?%ff=%ff&&=", "?sort=:,", "?metadata={&name=%27", "?limit=1&offset=99999999999"]
                    [random.random_range(0..6)];
            // Half of it at routes that exist, so that every handler has its share.
            let rest = if random.random::<bool>() { rest } else { route(&mut random) };
            let path = format!("{start}{rest}{query}").replace('\u{e9}', "%C3%A9");
            let path = if path.starts_with('/') { path } else { format!("/{path}") };
            let token = ["u:p", "", ":", "u:p:q", "\u{e9}", "x"][random.random_range(0..6)];
            let version = ["volume 3.71", "volume latest", "volume 9.9", ",,,", "volume", "compute 2.101"]
                [random.random_range(0..6)];
            let kind = ["application/json", "text/xml", "", "application/json;;;"][random.random_range(0..4)];
            let body = match random.random_range(0..4) {
                0 => Vec::new(),
                1 => (0..random.random_range(0..200)).map(|_| random.random()).collect(),
                _ => value(&mut random, 0).to_string().into_bytes(),
            };
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: {token}\r\nOpenStack-API-Version: {version}\
                 \r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let status = exchange(&mut stream, &head, &body);
            assert!(
                status < 500,
                "request {number} of seed {SEED}: {status}\n{head}{}",
                String::from_utf8_lossy(&body)
            );
            *statuses.entry(status).or_default() += 1;
        }
        // A storm that all fails at the door proves nothing.
        for status in [200, 400, 401, 404, 406, 415] {
            assert!(statuses.contains_key(&status), "no {status} among {statuses:?}");
        }
    });
    storm.await.unwrap();
    assert_eq!(harness.get("/v3/volumes").send().await.status, 200);
    harness.stop().await;
}

#[actix_web::test]
async fn large_bodies_are_413_and_the_client_reads_the_answer() {
    let harness = Harness::start().await;
    for size in [114_688, 114_689, 1 << 20, 10 << 20] {
        let body = format!("\"{}\"", "x".repeat(size - 2));
        let got = harness
            .ask("POST", "/v3/volumes")
            .token(ADMIN)
            .header("Content-Type", "application/json")
            .raw(body)
            .send()
            .await;
        let expected = if size > 114_688 { 413 } else { 400 };
        assert_eq!(got.fault().0, expected, "{size} bytes");
    }
    // The connection lives on: the rest of the body was read and thrown away.
    let mut stream = connect(&harness);
    let asked = actix_web::rt::task::spawn_blocking(move || {
        let body = vec![b'x'; 10 << 20];
        let head = |method: &str, length: usize| {
            format!(
                "{method} /v3/volumes HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: u:p\r\nContent-Length: {length}\r\n\r\n"
            )
        };
        let large = exchange(&mut stream, &head("POST", body.len()), &body);
        (large, exchange(&mut stream, &head("GET", 0), b""))
    });
    assert_eq!(asked.await.unwrap(), (413, 200));
    harness.stop().await;
}

#[actix_web::test]
async fn named_monsters() {
    let harness = Harness::start().await;
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    let bodies: Vec<Vec<u8>> = vec![
        deep.into_bytes(),
        b"\xff\xfe".to_vec(),
        b"{\"volume\": {\"size\": 1e999}}".to_vec(),
        b"{\"volume\": {\"name\": \"\\ud800\"}}".to_vec(),
        b"{\"volume\": {\"size\": 99999999999999999999999999}}".to_vec(),
        b"{\"volume\": {\"size\": -0}}".to_vec(),
        b"NaN".to_vec(),
        b"{\"volume\": {\"size\": 1, \"metadata\": {\"\": \"x\"}}}".to_vec(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let asking = harness.ask("POST", "/v3/volumes").token(ADMIN).header("Content-Type", "application/json");
        assert_eq!(asking.raw(body).send().await.status, 400, "{shown}");
    }
    let paths = ["/v3/%ff/volumes", "/v3/volumes/%00", "/v3/volumes/%2e%2e%2f", "/v3/volumes/..%2f..%2fetc"];
    for (path, status) in paths.into_iter().zip([400, 404, 404, 404]) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: u:p\r\n\r\n");
        let mut stream = connect(&harness);
        let got = actix_web::rt::task::spawn_blocking(move || exchange(&mut stream, &head, b"")).await.unwrap();
        assert_eq!(got, status, "{path}");
    }
    let huge = "x".repeat(2_000);
    assert_eq!(harness.ask("GET", "/v3/volumes").token(&huge).send().await.status, 401);
    harness.stop().await;
}
