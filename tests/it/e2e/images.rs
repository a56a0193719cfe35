//! Images of the shipped binary over `kill -9`.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::hearth::{Environment, Hearth, wait_until};

const DATA: &[u8] = &[7; 300_000];

async fn image(hearth: &Hearth, id: &str) -> Value {
    hearth.admin(Method::GET, &format!("/image/v2/images/{id}"), None).await
}

/// Begins to upload [`DATA`] and sends a third of it.
async fn begin_upload(hearth: &Hearth, id: &str) -> TcpStream {
    let address = hearth.url("").replace("http://", "");
    let mut stream = TcpStream::connect(&address).await.expect("a connection");
    let head = format!(
        "PUT /image/v2/images/{id}/file HTTP/1.1\r\nHost: {address}\r\nX-Auth-Token: admin:admin\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        DATA.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&DATA[..DATA.len() / 3]).await.expect("sent");
    wait_until("the image is being saved", async || image(hearth, id).await["status"] == "saving").await;
    stream
}

async fn upload(hearth: &Hearth, id: &str) -> u16 {
    let request = reqwest::Client::new().put(hearth.url(&format!("/image/v2/images/{id}/file")));
    let request = request.header("X-Auth-Token", "admin:admin").header("Content-Type", "application/octet-stream");
    request.body(DATA).send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_kill_and_what_was_not_is_gone() {
    let environment = Environment::default().set("backends.0.name", "simulated").set("backends.0.driver", "sim");
    let mut hearth = Hearth::start(environment).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let body = json!({"disk_format": "raw", "container_format": "bare"});
        let made = hearth.admin(Method::POST, "/image/v2/images", Some(body)).await;
        ids.push(made["id"].as_str().expect("an id").to_owned());
    }
    assert_eq!(upload(&hearth, &ids[0]).await, 204);
    let whole = image(&hearth, &ids[0]).await;
    let stream = begin_upload(&hearth, &ids[1]).await;
    hearth.kill().await;
    drop(stream);
    hearth.start_again().await;
    hearth.wait_until_ready().await;

    assert_eq!((&whole["status"], image(&hearth, &ids[0]).await), (&json!("active"), whole.clone()));
    let cut = image(&hearth, &ids[1]).await;
    assert_eq!((&cut["status"], &cut["size"]), (&json!("queued"), &Value::Null));
    let mut files: Vec<String> = std::fs::read_dir(hearth.state_file("images"))
        .expect("the store")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let mut expected = vec![format!("{}.image", ids[0]), format!("{}.json", ids[0]), format!("{}.json", ids[1])];
    expected.sort();
    assert_eq!(files, expected);
    assert_eq!(std::fs::read(hearth.state_file(&format!("images/{}.image", ids[0]))).expect("data"), DATA);
    assert_eq!(upload(&hearth, &ids[1]).await, 204, "and it can be given its data");
}
