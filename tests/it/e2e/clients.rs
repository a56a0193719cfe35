//! Stock clients against the shipped binary: openstacksdk and python-cinderclient as programs use them, the `openstack` and
//! `cinder` command lines as people do. The calls and what must come back are in `py/`, since only Python can call them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::hearth::{Environment, Hearth, binary, run};

/// A whole script: each of its calls has its own, shorter patience.
const PATIENCE: Duration = Duration::from_secs(180);

const SERVER: &str = "5b1e2c3a-0000-4000-8000-0000000000c1";

/// A service on simulated hardware with one server, small quotas.
async fn start() -> Hearth {
    let environment = Environment::default()
        .set("backends.0.name", "simulated")
        .set("backends.0.driver", "sim")
        .set("quota.volumes", "20")
        .set("quota.gigabytes", "100");
    let hearth = Hearth::start(environment).await;
    hearth.wait_until_ready().await;
    hearth.server_register(SERVER, "vm-1", "sim", None).await;
    hearth
}

/// Runs a script of `py/` to its end; what it says when it fails is the failure of the test.
async fn script(hearth: &Hearth, name: &str) {
    script_with(hearth, name, &[]).await;
}

/// The same with further variables.
pub async fn script_with(hearth: &Hearth, name: &str, variables: &[(&str, &str)]) {
    let target = binary().ancestors().nth(2).expect("target directory");
    let python = target.join("openstack-venv/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/setup.sh test", python.display());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/e2e/py").join(name);
    let home = hearth.state_file(".");
    let mut command = Command::new(python);
    // nothing of the machine's own OpenStack configuration may come in
    command.env_clear().env("HOME", &home).env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8");
    command.env("OS_CLIENT_CONFIG_FILE", hearth.state_file("clouds.yaml")).env("OS_CLOUD", "hearth");
    command.env("HEARTH_URL", hearth.url("")).env("HEARTH_SERVER", SERVER).env("PYTHONDONTWRITEBYTECODE", "1");
    command.envs(variables.iter().copied());
    let listening = hearth.url("").replace("http://", "");
    command
        .envs(hearth.environment().variables())
        .env("HEARTH__SERVER__LISTEN", listening)
        .env("HEARTH_BINARY", binary());
    command.arg("-W").arg("error::UserWarning").arg(&file).current_dir(&home).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output());
    let output = output.await.expect("the script ends in time").expect("Python starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{stdout}{stderr}", output.status);
    assert!(stdout.contains("everything held"), "{name} ended early: {stdout}{stderr}");
}

#[tokio::test]
async fn openstacksdk_block_storage() {
    script(&start().await, "sdk_block_storage.py").await;
}

#[tokio::test]
async fn openstacksdk_compute() {
    script(&start().await, "sdk_compute.py").await;
}

#[tokio::test]
async fn python_cinderclient() {
    script(&start().await, "cinderclient_noauth.py").await;
}

#[tokio::test]
async fn the_openstack_command_line() {
    script(&start().await, "openstack_cli.py").await;
}

#[tokio::test]
async fn the_openstack_server_commands() {
    script(&start().await, "openstack_servers.py").await;
}

#[tokio::test]
async fn the_openstack_image_commands() {
    script(&start().await, "openstack_images.py").await;
}

/// Between two simulated backends.
#[tokio::test]
async fn moves_and_changes_of_the_type() {
    let environment = Environment::default()
        .set("backends.0.name", "simulated")
        .set("backends.0.driver", "sim")
        .set("backends.1.name", "other")
        .set("backends.1.driver", "sim");
    let hearth = Hearth::start(environment).await;
    hearth.wait_until_ready().await;
    script(&hearth, "moves_cli.py").await;
}

/// Who logs in to Hearth's own identity service, and what they may do. Whatever they show to get in is in no log.
#[tokio::test]
async fn logins_by_password_token_and_application_credential() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let log = directory.path().join("log");
    let environment = Environment::default()
        .set("backends.0.name", "simulated")
        .set("backends.0.driver", "sim")
        .set("auth.strategy", "local")
        .log_to(&log);
    let hearth = Hearth::start(environment).await;
    hearth.wait_until_ready().await;
    script(&hearth, "identity.py").await;
    let log = std::fs::read_to_string(&log).expect("a log");
    assert!(log.contains("POST"), "requests are logged: {log}");
    let secrets = std::fs::read_to_string(hearth.state_file("secrets.txt")).expect("what the script has shown");
    assert!(secrets.lines().count() > 8, "{secrets}");
    for secret in secrets.lines() {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

/// User and password on every request.
#[tokio::test]
async fn http_basic() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("htpasswd");
    let line = |name, password| format!("{name}:{}\n", bcrypt::hash(password, 4).expect("a hash"));
    std::fs::write(&file, line("root", "r00t") + &line("rita", "r1ta")).expect("written");
    let environment = Environment::default()
        .set("backends.0.name", "simulated")
        .set("backends.0.driver", "sim")
        .set("auth.strategy", "basic")
        .set("auth.noauth_project", "home")
        .set("auth.basic.file", file.to_str().expect("UTF-8"))
        .set("auth.basic.users.0.name", "rita")
        .set("auth.basic.users.0.project", "home")
        .set("auth.basic.users.0.roles", "reader");
    let hearth = Hearth::start(environment).await;
    hearth.wait_until_ready().await;
    script(&hearth, "basic.py").await;
}

/// On real files, whose bytes are compared.
#[tokio::test]
async fn volumes_from_images_and_images_of_volumes() {
    let hearth = Hearth::start(Environment::default()).await;
    hearth.wait_until_ready().await;
    script(&hearth, "volume_images.py").await;
}

#[tokio::test]
async fn the_cinder_command_line() {
    script(&start().await, "cinder_cli.py").await;
}

/// `hearth actors` asks the running service.
#[tokio::test]
async fn the_command_line_shows_the_actors_of_the_running_service() {
    let hearth = start().await;
    let body = serde_json::json!({"volume": {"size": 1, "name": "seen"}});
    let made = hearth.admin(reqwest::Method::POST, "/v3/admin/volumes", Some(body)).await;
    let id = made["volume"]["id"].as_str().expect("an id");
    let address = hearth.url("").replace("http://", "");
    let environment = hearth.environment().clone().set("server.listen", address);
    let listed = run(&environment, &["actors", "list"]).await;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.status.success() && text.starts_with(&format!("{id} active ")), "{text}");
    let shown = run(&environment, &["actors", "show", id]).await;
    let actor: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(actor["volume_id"], id);
    assert_eq!(
        actor["history"].as_array().and_then(|events| events.last()).map(|first| &first["command"]),
        Some(&"volume_create".into())
    );
    let missing = run(&environment, &["actors", "show", "00000000-0000-0000-0000-000000000000"]).await;
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(1));
    assert!(text.contains("could not be found. (HTTP 404)"), "{text}");
    let nobody = run(&hearth.environment().clone().set("server.listen", "127.0.0.1:1"), &["actors", "list"]).await;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("cannot ask the service at 127.0.0.1:1"));
}

/// Somebody who follows the events keeps a connection open for as long as the service runs, and not longer.
#[tokio::test]
async fn sigterm_does_not_wait_for_readers_of_events() {
    let hearth = start().await;
    let request = reqwest::Client::new().get(hearth.url("/admin/events")).header("X-Auth-Token", "admin:admin");
    let mut events = request.send().await.expect("an answer");
    assert!(events.chunk().await.expect("a chunk").is_some(), "it follows");
    let (status, took) = hearth.terminate().await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(took < Duration::from_secs(3), "it took {took:?}: the stream held the service");
    while let Ok(Some(_)) = events.chunk().await {}
}
