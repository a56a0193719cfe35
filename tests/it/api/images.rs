//! The Image API: what is said of images. Their data is in `image_data`.

use std::sync::Arc;

use hearth::api::ApiOptions;
use hearth::domain::quota::Limits;
use hearth::images::{DirectoryStore, StoreLimits};
use hearth::runtime::{Clock, Randomness};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{ADMIN, Got, Harness, MEMBER, NOBODY, READER, STRANGER};

pub const IMAGES: &str = "/image/v2/images";
pub const NOWHERE: &str = "00000000-0000-4000-8000-000000000000";
const JSON_PATCH: &str = "application/openstack-images-v2.1-json-patch";
pub const LIMITS: StoreLimits = StoreLimits { image_bytes_max: 4 << 20, images_max: 40, free_bytes_min: 0 };

/// A server with an image store of its own.
pub struct Bench {
    pub harness: Harness,
    pub dir: TempDir,
}

impl Bench {
    pub async fn start() -> Self {
        Self::start_with(LIMITS).await
    }

    pub async fn start_with(limits: StoreLimits) -> Self {
        let dir = TempDir::new().unwrap();
        let store = open(&dir, limits);
        let options = ApiOptions { image_store: Some(store), ..ApiOptions::default() };
        Self { harness: Harness::start_with(options, Limits::NONE).await, dir }
    }

    /// An image without data.
    pub async fn queued(&self, token: &str, body: Value) -> Value {
        let got = self.harness.post(IMAGES, &body).token(token).send().await;
        assert_eq!(got.status, 201, "{}", got.text);
        got.json()
    }

    /// Gives an image data.
    pub async fn put(&self, token: &str, id: &str, data: &[u8]) -> Got {
        let asking = self.harness.ask("PUT", &format!("{IMAGES}/{id}/file")).token(token);
        asking.header("Content-Type", "application/octet-stream").raw(data.to_vec()).send().await
    }

    pub async fn show(&self, id: &str) -> Value {
        let got = self.harness.get(&format!("{IMAGES}/{id}")).send().await;
        assert_eq!(got.status, 200, "{}", got.text);
        got.json()
    }

    async fn patch(&self, token: &str, id: &str, changes: &Value) -> Got {
        let asking = self.harness.ask("PATCH", &format!("{IMAGES}/{id}")).token(token);
        asking.header("Content-Type", JSON_PATCH).raw(changes.to_string()).send().await
    }

    /// The ids of a list.
    async fn listed(&self, token: &str, query: &str) -> Vec<String> {
        let got = self.harness.ask("GET", &format!("{IMAGES}?{query}")).token(token).send().await;
        assert_eq!(got.status, 200, "{query}: {}", got.text);
        names(&got.json())
    }

    pub fn files(&self) -> Vec<String> {
        files(&self.dir)
    }
}

/// The names of a store's files, without those of records.
pub fn files(dir: &TempDir) -> Vec<String> {
    let names = std::fs::read_dir(dir.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.ends_with(".json")).collect()
}

pub fn open(dir: &TempDir, limits: StoreLimits) -> Arc<DirectoryStore> {
    DirectoryStore::open(dir.path().to_owned(), limits, Clock::System, Randomness::from_os()).unwrap()
}

fn names(page: &Value) -> Vec<String> {
    let images = page["images"].as_array().unwrap();
    images.iter().map(|image| image["name"].as_str().unwrap_or("?").to_owned()).collect()
}

pub fn id_of(image: &Value) -> String {
    image["id"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn an_image_has_what_it_was_made_with() {
    let bench = Bench::start().await;
    let body = json!({
        "name": "n", "disk_format": "raw", "container_format": "bare", "min_disk": 2, "min_ram": 64, "protected": true,
        "visibility": "private", "tags": ["a", "b", "a"], "os_type": "linux",
    });
    let got = bench.harness.post(IMAGES, &body).token(MEMBER).send().await;
    let image = got.json();
    let id = id_of(&image);
    assert_eq!(
        got.header("location"),
        Some(&*format!("http://{}/image/v2/images/{id}", bench.harness.address)),
        "{}",
        got.text
    );
    assert!(got.header("x-openstack-request-id").is_some());
    let expected = json!({
        "id": id, "name": "n", "status": "queued", "visibility": "private", "protected": true, "os_hidden": false,
        "owner": "p", "disk_format": "raw", "container_format": "bare", "size": null, "virtual_size": null,
        "min_disk": 2, "min_ram": 64, "checksum": null, "os_hash_algo": null, "os_hash_value": null,
        "tags": ["a", "b"], "os_type": "linux", "created_at": image["created_at"], "updated_at": image["updated_at"],
        "self": format!("/v2/images/{id}"), "file": format!("/v2/images/{id}/file"), "schema": "/v2/schemas/image",
    });
    assert_eq!(image, expected);
    assert_eq!(bench.show(&id).await, expected);
    let chosen = json!({"id": NOWHERE, "owner": "q"});
    assert_eq!(bench.queued(ADMIN, chosen.clone()).await["owner"], "q");
    assert_eq!(bench.harness.post(IMAGES, &chosen).token(ADMIN).send().await.status, 409, "the id is taken");
    bench.harness.stop().await;
}

#[actix_web::test]
async fn what_is_no_image_is_refused() {
    let bench = Bench::start().await;
    let cases = [
        (json!([]), 400),
        (json!({"name": 1}), 400),
        (json!({"name": "x".repeat(256)}), 400),
        (json!({"disk_format": "floppy"}), 400),
        (json!({"container_format": "bag"}), 400),
        (json!({"min_disk": -1}), 400),
        (json!({"min_ram": "1"}), 400),
        (json!({"protected": "yes"}), 400),
        (json!({"visibility": "everybody"}), 400),
        (json!({"tags": "a"}), 400),
        (json!({"tags": [""]}), 400),
        (json!({"id": "x"}), 400),
        (json!({"a property": 1}), 400),
        (json!({"status": "active"}), 403),
        (json!({"size": 1}), 403),
        (json!({"locations": []}), 403),
        (json!({"owner": "q"}), 403),
        (json!({"visibility": "public"}), 403),
        (json!({"tags": (0..129).map(|n| n.to_string()).collect::<Vec<_>>()}), 413),
        ((0..129).map(|n| (n.to_string(), json!("v"))).collect::<serde_json::Map<_, _>>().into(), 413),
    ];
    for (body, status) in cases {
        let got = bench.harness.post(IMAGES, &body).token(MEMBER).send().await;
        assert_eq!(got.status, status, "{body}: {}", got.text);
    }
    let got = bench.harness.ask("POST", IMAGES).token(MEMBER).raw("{").send().await;
    assert_eq!(got.status, 400, "{}", got.text);
    assert_eq!(bench.listed(ADMIN, "visibility=all").await, [""; 0]);
    let full = Bench::start_with(StoreLimits { images_max: 1, ..LIMITS }).await;
    full.queued(MEMBER, json!({})).await;
    assert_eq!(full.harness.post(IMAGES, &json!({})).token(MEMBER).send().await.status, 413);
    full.harness.stop().await;
    bench.harness.stop().await;
}

/// Who sees an image (200 or 404), and who may change it (200 or 403).
#[actix_web::test]
async fn visibility_says_who_sees_and_ownership_who_changes() {
    let bench = Bench::start().await;
    for (visibility, strangers, in_their_list) in
        [("private", 404, false), ("shared", 404, false), ("community", 200, false), ("public", 200, true)]
    {
        let image = bench.queued(ADMIN, json!({"name": visibility, "visibility": visibility})).await;
        let path = format!("{IMAGES}/{}", id_of(&image));
        for (token, shown, changed) in [
            (ADMIN, 200, 200),
            (MEMBER, 200, 200),
            (READER, 200, 403),
            (NOBODY, 403, 403),
            (STRANGER, strangers, if strangers == 200 { 403 } else { 404 }),
        ] {
            let got = bench.harness.ask("GET", &path).token(token).send().await;
            assert_eq!(got.status, shown, "{token} shows {visibility}: {}", got.text);
            let change = json!([{"op": "replace", "path": "/min_ram", "value": 1}]);
            let got = bench.patch(token, &id_of(&image), &change).await;
            assert_eq!(got.status, changed, "{token} changes {visibility}: {}", got.text);
            if changed != 200 {
                let got = bench.harness.ask("DELETE", &path).token(token).send().await;
                assert_eq!(got.status, changed, "{token} deletes {visibility}: {}", got.text);
                let got = bench.put(token, &id_of(&image), b"x").await;
                assert_eq!(got.status, changed, "{token} uploads {visibility}: {}", got.text);
            }
        }
        let listed = bench.listed(STRANGER, "").await;
        assert_eq!(listed.contains(&visibility.to_owned()), in_their_list, "{visibility}");
        assert!(bench.listed(MEMBER, "").await.contains(&visibility.to_owned()), "its owner lists it");
    }
    assert_eq!(bench.listed(STRANGER, "visibility=community").await, ["community"]);
    assert_eq!(bench.listed(STRANGER, "visibility=all&sort=name:asc").await, ["community", "public"]);
    let got = bench.harness.ask("GET", IMAGES).token(NOBODY).send().await;
    assert_eq!((got.status, got.text.contains("complete get_images action")), (403, true), "{}", got.text);
    bench.harness.stop().await;
}

#[actix_web::test]
async fn changes_are_made_all_or_none() {
    let bench = Bench::start().await;
    let id = id_of(&bench.queued(MEMBER, json!({"k": "v", "disk_format": "raw", "container_format": "bare"})).await);
    let change = |op: &str, path: &str, value: Value| json!({"op": op, "path": path, "value": value});
    let good = json!([
        change("replace", "/name", json!("new")),
        change("add", "/min_disk", json!(3)),
        change("add", "/colour", json!("red")),
        change("replace", "/k", json!("w")),
        change("replace", "/tags", json!(["t"])),
        change("replace", "/disk_format", json!("qcow2")),
        {"op": "remove", "path": "/colour"},
    ]);
    let got = bench.patch(MEMBER, &id, &good).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let before = got.json();
    let found = ["name", "min_disk", "k", "tags", "disk_format", "colour"].map(|name| before[name].clone());
    assert_eq!(found, [json!("new"), json!(3), json!("w"), json!(["t"]), json!("qcow2"), json!(null)]);
    for (last, status) in [
        (change("add", "/k", json!("x")), 409),
        (change("replace", "/none", json!("x")), 409),
        (json!({"op": "remove", "path": "/none"}), 409),
        (json!({"op": "remove", "path": "/name"}), 403),
        (change("replace", "/status", json!("active")), 403),
        (change("replace", "/owner", json!("q")), 403),
        (change("replace", "/visibility", json!("public")), 403),
        (change("replace", "/visibility", json!("x")), 400),
        (change("add", "/tags/-", json!("x")), 400),
    ] {
        let changes = json!([change("replace", "/name", json!("half")), last]);
        let got = bench.patch(MEMBER, &id, &changes).await;
        assert_eq!(got.status, status, "{last}: {}", got.text);
    }
    assert_eq!(bench.show(&id).await, before);
    let got = bench.harness.ask("PATCH", &format!("{IMAGES}/{id}")).token(MEMBER).json(&json!([])).send().await;
    assert_eq!((got.status, got.header("accept-patch")), (415, Some(JSON_PATCH)));
    assert_eq!(bench.put(MEMBER, &id, b"x").await.status, 400, "it is no qcow2");

    for (method, tag, status) in [("PUT", "a%2Fb", 204), ("DELETE", "t", 204), ("DELETE", "t", 404)] {
        let got = bench.harness.ask(method, &format!("{IMAGES}/{id}/tags/{tag}")).token(MEMBER).send().await;
        assert_eq!(got.status, status, "{method} {tag}: {}", got.text);
    }
    assert_eq!(bench.show(&id).await["tags"], json!(["a/b"]));
    bench.harness.stop().await;
}

#[actix_web::test]
async fn protected_images_stay() {
    let bench = Bench::start().await;
    let id = id_of(&bench.queued(MEMBER, json!({"protected": true})).await);
    let path = format!("{IMAGES}/{id}");
    let got = bench.harness.ask("DELETE", &path).token(ADMIN).send().await;
    assert_eq!(got.status, 403);
    assert!(got.text.contains(&format!("Image {id} is protected and cannot be deleted.")), "{}", got.text);
    bench.patch(MEMBER, &id, &json!([{"op": "replace", "path": "/protected", "value": false}])).await;
    assert_eq!(bench.harness.ask("DELETE", &path).token(MEMBER).send().await.status, 204);
    for method in ["GET", "DELETE"] {
        assert_eq!(bench.harness.ask(method, &path).token(MEMBER).send().await.status, 404);
    }
    bench.harness.stop().await;
}

#[actix_web::test]
async fn lists_are_filtered_sorted_and_paged() {
    let bench = Bench::start().await;
    for (name, more) in [
        ("a", json!({"disk_format": "raw", "container_format": "bare", "tags": ["x", "y"], "os": "linux"})),
        ("b", json!({"disk_format": "raw", "tags": ["x"], "protected": true})),
        ("c", json!({"disk_format": "qcow2", "min_disk": 4})),
        ("d", json!({"os_hidden": true})),
    ] {
        let mut body = more;
        body["name"] = json!(name);
        let id = id_of(&bench.queued(MEMBER, body).await);
        if name == "a" {
            assert_eq!(bench.put(MEMBER, &id, &[7; 700]).await.status, 204);
        }
    }
    let all = ["c", "b", "a"];
    for (query, expected) in [
        ("", &all[..]),
        ("sort=name:asc", &["a", "b", "c"]),
        ("sort_key=name&sort_dir=asc", &["a", "b", "c"]),
        ("sort_key=disk_format&sort_dir=asc&sort_key=name&sort_dir=desc", &["c", "b", "a"]),
        ("name=b", &["b"]),
        ("name=in:a,%22c%22", &["c", "a"]),
        ("status=active", &["a"]),
        ("status=queued", &["c", "b"]),
        ("disk_format=raw", &["b", "a"]),
        ("tag=x&tag=y", &["a"]),
        ("tag=x", &["b", "a"]),
        ("protected=true", &["b"]),
        ("os=linux", &["a"]),
        ("min_disk=4", &["c"]),
        ("size_min=700&size_max=700", &["a"]),
        ("size_min=701", &[]),
        ("os_hidden=true", &["d"]),
        ("owner=p", &all[..]),
        ("owner=q", &[]),
        ("visibility=shared", &all[..]),
        ("visibility=private", &[]),
        ("created_at=gt:2020-01-01T00:00:00Z", &all[..]),
        ("created_at=lt:2020-01-01T00:00:00Z", &[]),
        ("limit=2", &["c", "b"]),
        ("limit=0", &[]),
    ] {
        assert_eq!(bench.listed(MEMBER, query).await, expected, "{query}");
    }
    for query in [
        "limit=-1",
        "limit=x",
        "marker=x",
        &format!("marker={NOWHERE}"),
        "sort=colour",
        "sort=name:up",
        "sort=name&sort_key=id",
        "visibility=mine",
        "protected=perhaps",
        "size_min=x",
        "created_at=yesterday",
        "name=in:%22a",
    ] {
        let got = bench.harness.get(&format!("{IMAGES}?{query}")).send().await;
        assert_eq!(got.status, 400, "{query}: {}", got.text);
    }

    let (mut seen, mut path) = (Vec::new(), format!("{IMAGES}?limit=1&sort=name:asc&marker="));
    path.truncate(path.len() - "&marker=".len());
    loop {
        let page = bench.harness.get(&path).send().await.json();
        assert_eq!(page["first"], "/v2/images?limit=1&sort=name%3Aasc");
        seen.extend(names(&page));
        match page["next"].as_str() {
            Some(next) => path = format!("/image{next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "b", "c"]);
    bench.harness.stop().await;
}

#[actix_web::test]
async fn versions_and_schemas_tell_clients_what_there_is() {
    let bench = Bench::start().await;
    for (path, status) in [("/image", 300), ("/image/", 300), ("/image/versions", 200), ("/image/v2", 200)] {
        let got = bench.harness.ask("GET", path).send().await;
        assert_eq!(got.status, status, "{path} without a token: {}", got.text);
        let current = &got.json()["versions"][0];
        let href = format!("http://{}/image/v2/", bench.harness.address);
        assert_eq!((&current["status"], &current["links"][0]["href"]), (&json!("CURRENT"), &json!(href)));
    }
    let schema = bench.harness.get("/image/v2/schemas/image").send().await.json();
    let image = bench.queued(ADMIN, json!({})).await;
    let described = schema["properties"].as_object().unwrap();
    for name in image.as_object().unwrap().keys() {
        assert!(described.contains_key(name), "{name} is not in the schema");
    }
    let schemas = bench.harness.get("/image/v2/schemas/images").send().await.json();
    assert_eq!(schemas["properties"]["images"]["items"], schema);
    bench.harness.stop().await;
}

#[actix_web::test]
async fn faults_have_the_form_that_the_client_accepts() {
    let bench = Bench::start().await;
    let path = format!("{IMAGES}/<b>");
    let ask = async |accept: &str| bench.harness.get(&path).header("Accept", accept).send().await;
    let got = ask("application/json").await;
    assert_eq!(
        got.json(),
        json!({"message": "No image found with ID &lt;b&gt;<br /><br />\n\n\n", "code": "404 Not Found", "title": "Not Found"})
    );
    let got = ask("*/*").await;
    assert!(got.header("content-type").unwrap().starts_with("text/html"));
    assert!(got.text.contains("<h1>404 Not Found</h1>") && got.text.contains("ID &lt;b&gt;<br />"), "{}", got.text);
    let got = ask("text/plain").await;
    assert_eq!(got.text, "404 Not Found\n\nNo image found with ID <b>\n\n\n");
    let got = bench.harness.ask("GET", IMAGES).send().await;
    assert_eq!((got.status, got.json()["error"]["code"].clone()), (401, json!(401)));
    let got = bench.harness.get(IMAGES).header("Host", "evil.example").send().await;
    assert_eq!(got.status, 403);
    for (method, path, status) in
        [("PUT", IMAGES, 405), ("POST", &*format!("{IMAGES}/{NOWHERE}"), 405), ("GET", "/image/v2/tasks", 404)]
    {
        assert_eq!(bench.harness.ask(method, path).token(ADMIN).send().await.status, status, "{method} {path}");
    }
    bench.harness.stop().await;
}

#[actix_web::test]
async fn without_a_store_only_the_version_is_there() {
    let harness = Harness::start().await;
    for (path, status) in [("/image/v2", 200), ("/image", 404), (IMAGES, 404)] {
        assert_eq!(harness.get(path).send().await.status, status, "{path}");
    }
    harness.stop().await;
}
