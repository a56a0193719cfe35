//! The contract of the command line (`docs/architecture.md`): names, exit codes, signals.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::hearth::{Environment, Hearth, command, run, wait_until};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn sigterm_ends_the_service_with_exit_code_0_within_5_s() {
    let (status, took) = Hearth::start(Environment::default()).await.terminate().await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
}

/// A client that keeps its connection open and says nothing must not hold the service.
#[tokio::test]
async fn sigterm_does_not_wait_for_idle_connections() {
    let hearth = Hearth::start(Environment::default()).await;
    let address = hearth.url("").replace("http://", "");
    let idle = tokio::net::TcpStream::connect(address).await.expect("connect");
    let (status, took) = hearth.terminate().await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    drop(idle);
}

#[tokio::test]
async fn one_service_at_a_time_runs_on_a_state_directory() {
    let hearth = Hearth::start(Environment::default()).await;
    let second = run(hearth.environment(), &["serve"]).await;
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another hearth is running on"), "{}", text(&second.stderr));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("address").to_string();
    let state = tempfile::tempdir().expect("temporary directory");
    let path = state.path().to_str().expect("utf-8");
    let output = run(&Environment::default().set("state.path", path).set("server.listen", &*address), &["serve"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&format!("cannot listen on {address}")), "{}", text(&output.stderr));
}

#[tokio::test]
async fn serve_writes_a_clouds_yaml_with_its_real_port() {
    let hearth = Hearth::start(Environment::default()).await;
    let clouds = std::fs::read_to_string(hearth.state_file("clouds.yaml")).expect("clouds.yaml");
    let endpoint = format!("block_storage_endpoint_override: {}", hearth.url("/v3"));
    assert!(clouds.contains(&endpoint), "{clouds}");
}

#[tokio::test]
async fn check_config_says_which_setting_is_wrong_why_and_where_it_was_written() {
    let environment = Environment::default().set("server.listen", "0.0.0.0:8776").set("actors.admision", "3");
    let output = run(&environment, &["check-config"]).await;
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(lines[0].starts_with("server.listen: ") && lines[0].contains("noauth"), "{stderr}");
    assert!(lines[0].ends_with("(from environment variable HEARTH__SERVER__LISTEN)"), "{stderr}");
    assert!(lines[1].starts_with("actors.admision: ") && lines[1].contains("\"actors.admission\""), "{stderr}");
}

#[tokio::test]
async fn serve_refuses_what_check_config_refuses() {
    let output = run(&Environment::default().set("auth.strategy", "magic"), &["serve"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("auth.strategy: "), "{}", text(&output.stderr));
}

#[tokio::test]
async fn check_config_accepts_the_files_that_are_shipped() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let state = tempfile::tempdir().expect("temporary directory");
    let environment = Environment::default()
        .set("state.path", state.path().to_str().expect("utf-8"))
        .set("backends.0.path", state.path().join("a").to_str().expect("utf-8"));
    let output = command(&environment, &["check-config", "--config"]).arg(root.join("config/hearth.toml")).output();
    let output = output.await.expect("runs");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("the settings are valid"), "{}", text(&output.stdout));
}

/// What an operator sets is what the running process writes, from the next line on.
#[tokio::test]
async fn log_levels_change_while_the_service_runs() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let log = folder.path().join("log");
    let hearth = Hearth::start(Environment::default().log_to(&log)).await;
    let read = || std::fs::read_to_string(&log).expect("the log");
    let set = async |level: &str| {
        let body = json!({"prefix": "hearth::telemetry", "level": level});
        let got = hearth.ask(Method::PUT, "/v3/os-services/set-log", Some(body)).await.expect("an answer");
        assert_eq!(got.0, 202, "{}", got.1);
    };
    let request = async |name: &str| {
        let path = format!("/v3/volumes/{name}");
        assert_eq!(hearth.ask(Method::GET, &path, None).await.expect("an answer").0, 404);
    };
    request("before").await;
    set("ERROR").await;
    request("silent").await;
    set("INFO").await;
    request("after").await;
    wait_until("the last line is written", async || read().contains("/v3/volumes/after")).await;
    let lines = read();
    assert!(lines.contains("/v3/volumes/before") && !lines.contains("/v3/volumes/silent"), "{lines}");
}
