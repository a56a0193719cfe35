//! A backend that is full, missing or not writable: the owner is told in words, the service stays up, and what was left can be
//! deleted. The shipped binary on the `file` driver.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::e2e::hearth::{Environment, Hearth, wait_until};

const OWNER: &str = "olga:p";
const STRANGER: &str = "sam:q";

/// A service with one pool in a directory of the test's.
struct Scene {
    hearth: Hearth,
    client: reqwest::Client,
    pool: PathBuf,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let pool = directory.path().join("pool");
        let environment = Environment::default()
            .set("backends.0.name", "local")
            .set("backends.0.driver", "file")
            .set("backends.0.path", pool.to_str().expect("utf-8 path"))
            .set("quota.gigabytes", "-1");
        let hearth = Hearth::start(environment).await;
        hearth.wait_until_ready().await;
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { hearth, client, pool, _directory: directory }
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.client.request(method, self.hearth.url(path)).header("X-Auth-Token", token);
        request = request.header("OpenStack-API-Version", "volume 3.71");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the service is up");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    async fn status(&self, id: &str) -> String {
        let (status, body) = self.ask(OWNER, "GET", &format!("/v3/volumes/{id}"), None).await;
        if status == 404 { "gone".to_owned() } else { body["volume"]["status"].as_str().expect("a status").to_owned() }
    }

    async fn until(&self, id: &str, wanted: &str) {
        wait_until(&format!("{id} is {wanted}"), async || self.status(id).await == wanted).await;
    }

    async fn create(&self, size_gib: u32, wanted: &str) -> String {
        let body = json!({"volume": {"size": size_gib}});
        let (status, body) = self.ask(OWNER, "POST", "/v3/volumes", Some(body)).await;
        assert_eq!(status, 202, "{body}");
        let id = body["volume"]["id"].as_str().expect("an id").to_owned();
        self.until(&id, wanted).await;
        id
    }

    async fn delete(&self, id: &str, wanted: &str) {
        // A volume that could not be deleted before needs the word.
        let force = if self.status(id).await == "error_deleting" { "?force=true" } else { "" };
        let (status, body) = self.ask(OWNER, "DELETE", &format!("/v3/volumes/{id}{force}"), None).await;
        assert_eq!(status, 202, "{body}");
        self.until(id, wanted).await;
    }

    /// What a project reads about a volume.
    async fn messages(&self, token: &str, id: &str) -> Vec<String> {
        let (status, body) = self.ask(token, "GET", &format!("/v3/messages?resource_uuid={id}"), None).await;
        assert_eq!(status, 200, "{body}");
        let messages = body["messages"].as_array().expect("a list");
        messages.iter().map(|message| message["user_message"].as_str().expect("text").to_owned()).collect()
    }

    /// The owner reads the cause; nobody else does, and no path of the machine is in it.
    async fn assert_told(&self, id: &str, cause: &str) {
        let told = self.messages(OWNER, id).await;
        assert!(told.iter().any(|text| text.contains(cause)), "{told:?}");
        assert!(told.iter().all(|text| !text.contains('/')), "{told:?}");
        assert!(self.messages(STRANGER, id).await.is_empty());
    }

    /// The service works as if nothing had been.
    async fn assert_well(&self) {
        let id = self.create(1, "available").await;
        self.delete(&id, "gone").await;
    }
}

/// More than any pool holds, with over-subscription; the row's size is a 32-bit number of GiB.
const TOO_LARGE: u32 = 1_000_000_000;

#[tokio::test]
async fn a_full_backend_gives_an_error_volume_and_its_owner_reads_why() {
    let scene = Scene::start().await;
    let kept = scene.create(1, "available").await;
    let id = scene.create(TOO_LARGE, "error").await;
    scene.assert_told(&id, "Could not find any available weighted backend.").await;
    // Growing too far changes nothing and says so.
    let body = json!({"os-extend": {"new_size": TOO_LARGE}});
    let (status, body) = scene.ask(OWNER, "POST", &format!("/v3/volumes/{kept}/action"), Some(body)).await;
    assert_eq!(status, 202, "{body}");
    wait_until("the owner is told", async || !scene.messages(OWNER, &kept).await.is_empty()).await;
    scene.until(&kept, "available").await;
    scene.assert_told(&kept, "no space").await;
    let (_, shown) = scene.ask(OWNER, "GET", &format!("/v3/volumes/{kept}"), None).await;
    assert_eq!(shown["volume"]["size"], 1);
    scene.delete(&id, "gone").await;
    scene.assert_well().await;
}

#[tokio::test]
async fn a_missing_backend_gives_an_error_volume_and_forgets_nothing() {
    let scene = Scene::start().await;
    let kept = scene.create(1, "available").await;
    let aside = scene.pool.with_extension("aside");
    std::fs::rename(&scene.pool, &aside).expect("renamed");
    let id = scene.create(1, "error").await;
    scene.assert_told(&id, "the backend's storage is missing").await;
    // A delete that cannot look is not called done: the volume would come back with its storage.
    scene.delete(&kept, "error_deleting").await;
    scene.assert_told(&kept, "the backend's storage is missing").await;
    assert!(!scene.pool.exists(), "no second, empty pool is made in its place");
    std::fs::rename(&aside, &scene.pool).expect("renamed back");
    scene.delete(&id, "gone").await;
    scene.delete(&kept, "gone").await;
    assert!(!scene.pool.join(format!("{kept}.raw")).exists());
    scene.assert_well().await;
}

#[test]
fn a_backend_that_is_not_writable_gives_an_error_volume_and_its_owner_reads_why() {
    // On a thread of its own: what it starts cannot write where root alone could.
    std::thread::spawn(|| {
        drop_root_override();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(not_writable());
    })
    .join()
    .expect("the scene holds");
}

async fn not_writable() {
    let scene = Scene::start().await;
    let kept = scene.create(1, "available").await;
    set_mode(&scene.pool, 0o500);
    let id = scene.create(1, "error").await;
    scene.assert_told(&id, "the backend's storage is not writable").await;
    // Nothing had been made, so that there is nothing to remove.
    scene.delete(&id, "gone").await;
    scene.delete(&kept, "error_deleting").await;
    scene.assert_told(&kept, "the backend's storage is not writable").await;
    set_mode(&scene.pool, 0o700);
    scene.delete(&kept, "gone").await;
    scene.assert_well().await;
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the mode is set");
}

/// Processes that this thread starts obey file modes even as root. Without the right to do so (not root) they do anyway.
fn drop_root_override() {
    const CAP_DAC_OVERRIDE: libc::c_ulong = 1;
    // SAFETY: plain system call without pointers
    unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) };
}
