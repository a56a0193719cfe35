//! What a guest writes is bytes. One that writes the header of an image with a foreign backing file into its disk gets these bytes
//! back wherever the volume goes, and nothing of that file.

use std::path::Path;
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use super::hearth::{Environment, Hearth, wait_until};
use super::host::Host;

/// A file that every machine has and nobody may be shown.
const SECRET: &str = "/etc/passwd";

const BACKENDS: [&str; 2] = ["local", "second"];

/// The header of an image that shows [`SECRET`] to whoever opens it as one.
fn header(dir: &Path) -> Vec<u8> {
    let image = dir.join("evil.qcow2");
    let mut create = Command::new("qemu-img");
    create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b", SECRET]).arg(&image).arg("1G");
    assert!(create.status().expect("qemu-img runs").success());
    let header = std::fs::read(image).expect("read");
    assert!(header.starts_with(b"QFI\xfb"));
    header
}

fn contains(within: &[u8], what: &[u8]) -> bool {
    within.windows(what.len()).any(|window| window == what)
}

/// Holds when the bytes are the header, and nothing of the secret is among them.
fn assert_is_header(bytes: &[u8], header: &[u8], what: &str) {
    let secret = std::fs::read(SECRET).expect("readable");
    let line = secret.split(|byte| *byte == b'\n').next().expect("a line");
    assert!(line.len() > 8 && !contains(bytes, line), "{what} shows {SECRET}");
    assert!(bytes.starts_with(header), "{what} does not begin with what the guest has written");
}

fn first_bytes(file: &Path, bytes: usize) -> Vec<u8> {
    use std::io::Read as _;
    let mut first = Vec::new();
    let opened = std::fs::File::open(file).expect("there");
    opened.take(bytes as u64).read_to_end(&mut first).expect("read");
    first
}

async fn act(hearth: &Hearth, volume: &str, body: Value) -> Value {
    hearth.admin(Method::POST, &format!("/v3/volumes/{volume}/action"), Some(body)).await
}

async fn volume_of(hearth: &Hearth, mut body: Value) -> String {
    body["size"] = 1.into();
    let made = hearth.admin(Method::POST, "/v3/volumes", Some(json!({ "volume": body }))).await;
    let id = made["volume"]["id"].as_str().expect("an id").to_owned();
    hearth.wait_for_status(&id, "available").await;
    id
}

/// Waits until the volume is at this backend and nothing is under way.
async fn until_at(hearth: &Hearth, volume: &str, backend: &str) {
    wait_until("the volume has arrived", async || {
        let shown = hearth.volume(volume).await.expect("there");
        assert_ne!(shown["migration_status"], "error", "{shown:#}");
        let open = hearth.admin(Method::GET, "/admin/operations", None).await;
        shown["os-vol-host-attr:host"] == format!("hearth@{backend}#{backend}") && open["operations"] == json!([])
    })
    .await;
}

#[tokio::test]
async fn a_header_that_a_guest_writes_leads_nowhere_wherever_its_volume_goes() {
    let environment = BACKENDS.iter().enumerate().fold(Environment::default(), |environment, (number, name)| {
        let environment = environment.set("compute.swap_requires_migration", "false").set("image.force_upload", "true");
        environment.set(&format!("backends.{number}.name"), *name).set(&format!("backends.{number}.driver"), "file")
    });
    let mut host = Host::start_with(environment).await;
    let server = host.boot("vm-1").await;
    let id = host.guests[server].id.clone();
    let kinds = BACKENDS.map(|backend| (backend, json!({"volume_backend_name": backend})));
    for (name, extra_specs) in kinds.into_iter().chain([("anywhere", json!({}))]) {
        let kind = json!({"volume_type": {"name": name, "extra_specs": extra_specs}});
        host.hearth.admin(Method::POST, "/v3/types", Some(kind)).await;
    }
    let volume = volume_of(&host.hearth, json!({"volume_type": "local"})).await;
    host.plug_only_disk(server, &volume).await;
    let dir = tempfile::tempdir().expect("a directory");
    let header = header(dir.path());
    let packed = Command::new("sh").arg("-c").arg("gzip -9c evil.qcow2 | base64 -w0").current_dir(dir.path()).output();
    let packed = String::from_utf8(packed.expect("packed").stdout).expect("text");
    assert!((100..3_000).contains(&packed.len()), "one line of a console: {}", packed.len());
    let line = format!("echo {packed} | base64 -d | gunzip | dd of=/dev/vda bs=64k conv=fsync,notrunc 2>/dev/null");
    assert!(host.guests[server].guest.run(&line).await.1, "the guest has written");
    let hearth = &host.hearth;
    let assert_held = |backend: &str, volume: &str, what: &str| {
        let bytes = first_bytes(&hearth.volume_file_in(backend, volume), 4 * header.len());
        assert_is_header(&bytes, &header, what);
    };
    assert_held("local", &volume, "the volume");

    // Copies, while the guest has it.
    let snapshot = json!({"snapshot": {"volume_id": volume, "force": true}});
    let snapshot = hearth.admin(Method::POST, "/v3/snapshots", Some(snapshot)).await["snapshot"]["id"].clone();
    let path = format!("/v3/snapshots/{}", snapshot.as_str().expect("an id"));
    wait_until("the snapshot is taken", async || {
        hearth.admin(Method::GET, &path, None).await["snapshot"]["status"] == "available"
    })
    .await;
    for (asked, what) in
        [(json!({"snapshot_id": snapshot}), "a snapshot"), (json!({"source_volid": volume}), "a clone")]
    {
        let copy = volume_of(hearth, asked).await;
        assert_held("local", &copy, what);
        hearth.volume_delete(&copy).await;
    }
    hearth.admin(Method::DELETE, &path, None).await;
    wait_until("the snapshot is gone", async || {
        hearth.ask(Method::GET, &path, None).await.expect("an answer").0 == 404
    })
    .await;

    // An image, which is one of the volume's bytes.
    let upload = json!({"image_name": "copy", "disk_format": "qcow2", "container_format": "bare", "force": true});
    let uploaded = act(hearth, &volume, json!({"os-volume_upload_image": upload})).await;
    let image = uploaded["os-volume_upload_image"]["image_id"].as_str().expect("an id").to_owned();
    hearth.wait_for_status(&volume, "in-use").await;
    let url = hearth.url(&format!("/image/v2/images/{image}/file"));
    let data = reqwest::Client::new().get(url).header("X-Auth-Token", "admin:admin").send().await.expect("an answer");
    assert_eq!(data.status(), 200);
    let file = dir.path().join("image");
    std::fs::write(&file, data.bytes().await.expect("the data")).expect("written");
    let raw = dir.path().join("raw");
    let converted = Command::new("qemu-img").args(["convert", "-f", "qcow2", "-O", "raw"]).args([&file, &raw]).status();
    assert!(converted.expect("qemu-img runs").success());
    assert_is_header(&first_bytes(&raw, 4 * header.len()), &header, "the image");
    let of_image = volume_of(hearth, json!({"imageRef": image, "volume_type": "second"})).await;
    assert_held("second", &of_image, "a volume of the image");

    // Under the guest to the other backend, back by another type, and then into another volume.
    let retyped = json!({"os-retype": {"new_type": "anywhere"}});
    act(hearth, &volume, retyped.clone()).await;
    act(hearth, &volume, json!({"os-migrate_volume": {"host": "hearth@second#second"}})).await;
    until_at(hearth, &volume, "second").await;
    assert_held("second", &volume, "the migrated volume");
    act(hearth, &volume, json!({"os-retype": {"new_type": "local", "migration_policy": "on-demand"}})).await;
    until_at(hearth, &volume, "local").await;
    assert_held("local", &volume, "the retyped volume");
    let swapped = format!("/compute/v2.1/servers/{id}/os-volume_attachments/{volume}");
    let body = json!({"volumeAttachment": {"volumeId": of_image}});
    hearth.admin(Method::PUT, &swapped, Some(body)).await;
    hearth.wait_for_status(&volume, "available").await;
    hearth.wait_for_status(&of_image, "in-use").await;
    assert_held("second", &of_image, "the volume that it was swapped to");
    let nodes = host.guests[server].guest.monitor("info block -n").await;
    assert!(!nodes.contains("qcow2") && !nodes.contains(SECRET), "{nodes}");
    let guest = &mut host.guests[server].guest;
    let (read, _) = guest.run("dd if=/dev/vda bs=3 count=1 iflag=fullblock 2>/dev/null; echo").await;
    assert_eq!(read, "QFI");

    // And without a guest.
    act(hearth, &volume, retyped).await;
    act(hearth, &volume, json!({"os-migrate_volume": {"host": "hearth@second#second"}})).await;
    until_at(hearth, &volume, "second").await;
    assert_held("second", &volume, "the volume that was copied");
    assert_eq!(hearth.fsck().await, [] as [Value; 0]);
}
