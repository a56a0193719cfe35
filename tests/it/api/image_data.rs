//! The Image API: data up and down, and what cuts it short.

use std::time::Duration;

use hearth::images::StoreLimits;
use md5::{Digest as _, Md5};
use serde_json::json;
use sha2::Sha512;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::harness::{ADMIN, MEMBER, READER, STRANGER};
use super::images::{Bench, IMAGES, LIMITS, NOWHERE, files, id_of, open};

const PATIENCE: Duration = Duration::from_secs(20);

fn bare(disk_format: &str) -> serde_json::Value {
    json!({"name": "n", "disk_format": disk_format, "container_format": "bare"})
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[actix_web::test]
async fn data_comes_back_as_it_went_in() {
    let bench = Bench::start().await;
    let id = id_of(&bench.queued(MEMBER, bare("raw")).await);
    let file = format!("{IMAGES}/{id}/file");
    assert_eq!(bench.harness.get(&file).send().await.status, 204, "there is none yet");
    let data: Vec<u8> = (0..3_500_000_u32).map(|at| (at % 251) as u8).collect();
    let got = bench.put(MEMBER, &id, &data).await;
    assert_eq!(got.status, 204, "{}", got.text);
    let image = bench.show(&id).await;
    let found =
        ["status", "size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value"].map(|name| image[name].clone());
    let (md5, sha512) = (hex(&Md5::digest(&data)), hex(&Sha512::digest(&data)));
    assert_eq!(
        found,
        [json!("active"), json!(data.len()), json!(data.len()), json!(md5), json!("sha512"), json!(sha512)]
    );
    let request = reqwest::Client::new().get(format!("http://{}{file}", bench.harness.address));
    let got = request.header("X-Auth-Token", MEMBER).send().await.unwrap();
    assert_eq!((got.headers()["content-md5"].to_str().unwrap(), got.content_length()), (&*md5, Some(3_500_000)));
    assert_eq!(got.headers()["content-type"], "application/octet-stream");
    assert!(got.bytes().await.unwrap() == data);

    let got = bench.put(MEMBER, &id, b"other").await;
    assert_eq!(got.status, 409, "data never changes: {}", got.text);
    for (format, status) in [("qcow2", 403), ("raw", 200)] {
        let change = json!([{"op": "replace", "path": "/disk_format", "value": format}]);
        let got = bench.patch(MEMBER, &id, &change).await;
        assert_eq!(got.status, status, "nor does what it is: {}", got.text);
    }
    assert_eq!(bench.files(), [format!("{id}.image")]);
    assert_eq!(bench.harness.ask("DELETE", &format!("{IMAGES}/{id}")).token(MEMBER).send().await.status, 204);
    assert_eq!(bench.files(), [""; 0]);
    assert_eq!(bench.put(MEMBER, NOWHERE, b"x").await.status, 404);
    bench.harness.stop().await;
}

#[actix_web::test]
async fn data_that_cannot_be_taken_leaves_the_image_queued() {
    let bench = Bench::start().await;
    let long = vec![0; 4 << 20 | 1];
    let id = id_of(&bench.queued(MEMBER, bare("raw")).await);
    let file = format!("{IMAGES}/{id}/file");
    for (status, headers, data) in [
        (415, vec![("Content-Type", "application/json")], vec![1; 9]),
        (413, vec![("Content-Type", "application/octet-stream")], long.clone()),
        (400, vec![("Content-Type", "application/octet-stream"), ("x-openstack-image-size", "10")], vec![1; 9]),
        (400, vec![("Content-Type", "application/octet-stream"), ("x-openstack-image-size", "ten")], vec![1; 9]),
        // looks like a qcow2 that its owner calls raw
        (
            400,
            vec![("Content-Type", "application/octet-stream")],
            [b"QFI\xfb\0\0\0\x03".to_vec(), vec![0; 600]].concat(),
        ),
    ] {
        let mut asking = bench.harness.ask("PUT", &file).token(MEMBER).raw(data);
        for (name, value) in &headers {
            asking = asking.header(name, value);
        }
        let got = asking.send().await;
        assert_eq!(got.status, status, "{headers:?}: {}", got.text);
        assert_eq!((&bench.show(&id).await["status"], bench.files().len()), (&json!("queued"), 0), "{headers:?}");
    }
    // in chunks: the length is known only when all is there
    for (status, piece, count, said) in
        [(413, &long[..1 << 20], 5, ""), (400, &long[..512], 2, "1025"), (204, &long[..512], 2, "1024")]
    {
        let pieces = std::iter::repeat_n(piece.to_vec(), count).map(Ok::<_, std::io::Error>);
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let asking = bench.harness.ask("PUT", &file).token(MEMBER).header("Content-Type", "application/octet-stream");
        let asking = asking.header("x-openstack-image-size", said);
        assert_eq!(asking.raw(body).send().await.status, status, "{said}");
    }
    assert_eq!(bench.show(&id).await["size"], 1024);

    let nameless = id_of(&bench.queued(MEMBER, json!({})).await);
    let got = bench.put(MEMBER, &nameless, b"x").await;
    assert_eq!((got.status, got.text.contains("disk_format must be set")), (400, true), "{}", got.text);
    let full = Bench::start_with(StoreLimits { free_bytes_min: u64::MAX, ..LIMITS }).await;
    let id = id_of(&full.queued(MEMBER, bare("raw")).await);
    let got = full.put(MEMBER, &id, b"x").await;
    assert_eq!((got.status, got.text.contains("storage media is full")), (413, true), "{}", got.text);
    full.harness.stop().await;
    bench.harness.stop().await;
}

/// Sends the beginning of an upload of 100,000 bytes.
async fn begin_upload(bench: &Bench, id: &str, head: &str, data: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(bench.harness.address).await.unwrap();
    let head = format!(
        "PUT {IMAGES}/{id}/file HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: {MEMBER}\r\n\
         Content-Type: application/octet-stream\r\n{head}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(data).await.unwrap();
    stream
}

async fn until_status(bench: &Bench, id: &str, status: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while bench.show(id).await["status"] != status {
        assert!(tokio::time::Instant::now() < deadline, "{id} is not {status}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[actix_web::test]
async fn an_upload_that_is_cut_short_leaves_nothing() {
    let bench = Bench::start().await;
    let id = id_of(&bench.queued(MEMBER, bare("raw")).await);
    for (head, data) in [
        ("Content-Length: 100000", &[1; 50_000][..]),
        ("Content-Length: 100000", &[]),
        ("Transfer-Encoding: chunked", &b"4\r\nabcd\r\n100"[..]),
    ] {
        let stream = begin_upload(&bench, &id, head, data).await;
        until_status(&bench, &id, "saving").await;
        assert_eq!(bench.put(MEMBER, &id, b"other").await.status, 409, "one at a time");
        drop(stream);
        until_status(&bench, &id, "queued").await;
        assert_eq!(bench.files(), [""; 0], "{head}");
    }
    assert_eq!(bench.put(MEMBER, &id, b"whole").await.status, 204);
    bench.harness.stop().await;
}

#[actix_web::test]
async fn an_image_that_is_deleted_while_it_is_written_stays_deleted() {
    let bench = Bench::start().await;
    let id = id_of(&bench.queued(MEMBER, bare("raw")).await);
    let mut stream = begin_upload(&bench, &id, "Content-Length: 10\r\nConnection: close", b"12345").await;
    until_status(&bench, &id, "saving").await;
    assert_eq!(bench.harness.ask("DELETE", &format!("{IMAGES}/{id}")).token(ADMIN).send().await.status, 204);
    stream.write_all(b"67890").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert_eq!(std::fs::read_dir(bench.dir.path()).unwrap().count(), 0);
    bench.harness.stop().await;
}

/// A deactivated image keeps its data, over a restart too, but only administrators can have it.
#[actix_web::test]
async fn a_deactivated_image_keeps_its_data_to_itself() {
    let bench = Bench::start().await;
    let id = id_of(&bench.queued(MEMBER, bare("raw")).await);
    let act = async |token: &str, action: &str| {
        let got = bench.harness.ask("POST", &format!("{IMAGES}/{id}/actions/{action}")).token(token).send().await;
        (got.status, got.text)
    };
    for action in ["deactivate", "reactivate"] {
        let (status, text) = act(MEMBER, action).await;
        assert!(status == 403 && text.contains(&format!("Not allowed to {action} image in status")), "{status} {text}");
    }
    assert_eq!(bench.put(MEMBER, &id, b"contents").await.status, 204);
    let read =
        async |token: &str| bench.harness.ask("GET", &format!("{IMAGES}/{id}/file")).token(token).send().await.status;
    for (token, expected) in [(READER, 403), (STRANGER, 404), (MEMBER, 204), (MEMBER, 204)] {
        assert_eq!(act(token, "deactivate").await.0, expected, "{token}");
    }
    assert_eq!(bench.show(&id).await["status"], "deactivated");
    assert_eq!([read(MEMBER).await, read(ADMIN).await], [403, 200]);
    assert_eq!(bench.put(MEMBER, &id, b"others").await.status, 409);

    drop(open(&bench.dir, LIMITS));
    assert_eq!(files(&bench.dir), [format!("{id}.image")]);

    assert_eq!(act(MEMBER, "reactivate").await.0, 204);
    assert_eq!(bench.show(&id).await["status"], "active");
    assert_eq!(read(MEMBER).await, 200);
}

/// A service that dies at any point of an upload or a delete leaves one of these, and the next start finds it.
#[actix_web::test]
async fn what_a_crash_leaves_is_swept_at_the_next_start() {
    let bench = Bench::start().await;
    let ids = ["whole", "queued", "cut"];
    let mut images = Vec::new();
    for name in ids {
        images.push(id_of(
            &bench.queued(MEMBER, json!({"name": name, "disk_format": "raw", "container_format": "bare"})).await,
        ));
    }
    let [whole, queued, gone] = &images[..] else { panic!() };
    for id in [whole, gone] {
        assert_eq!(bench.put(MEMBER, id, b"data").await.status, 204);
    }
    let Bench { harness, dir } = bench;
    harness.stop().await;
    let path = |name: String| dir.path().join(name);
    // while data came; between the names of data and record; between the removals of record and data
    std::fs::write(path(format!("{queued}.7.part")), b"half").unwrap();
    std::fs::write(path(format!("{queued}.image")), b"whole").unwrap();
    std::fs::remove_file(path(format!("{gone}.json"))).unwrap();
    let store = open(&dir, LIMITS);
    let caller = hearth::images::ImageCaller::service("p".into());
    let mut found: Vec<(String, &str)> =
        store.images(&caller).iter().map(|image| (image.id.to_string(), image.status.as_str())).collect();
    found.sort();
    let mut expected = vec![(whole.clone(), "active"), (queued.clone(), "queued")];
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(files(&dir), [format!("{whole}.image")]);
    let file = |name: String| std::fs::metadata(path(name)).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(file(format!("{whole}.image")).permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    // a record that cannot be read keeps its data: somebody may repair it
    std::fs::write(path(format!("{whole}.json")), b"{").unwrap();
    assert_eq!(open(&dir, LIMITS).images(&caller).len(), 1);
    assert_eq!(files(&dir), [format!("{whole}.image")]);
}
