//! `hearth storm` as people run it.

use std::process::Output;

use hearth::storm::Report;

use super::service;
use crate::e2e::hearth::{Environment, Hearth, run};

/// Runs it against a service; its standard error and its report.
async fn storm(hearth: &Hearth, arguments: &[&str]) -> (Output, Report) {
    let endpoint = hearth.url("");
    let mut all = vec!["storm", "--endpoint", &endpoint, "--json", "-"];
    all.extend(arguments);
    let output = run(&Environment::default(), &all).await;
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output, report)
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn every_variant_goes_through_its_steps_and_leaves_nothing_behind() {
    let hearth = service().await;
    for (variant, more, steps) in [
        ("attachments", &[][..], vec!["create", "connect", "complete", "delete"]),
        ("compute", &["--hypervisor", "sim"], vec!["attach", "in-use", "detach", "available"]),
        ("mixed", &[], vec![]),
        ("show", &[], vec!["show"]),
        ("list", &["--volumes", "5"], vec!["list"]),
    ] {
        let mut arguments = vec![variant, "--clients", "3", "--cycles", "7"];
        arguments.extend(more);
        let (output, report) = storm(&hearth, &arguments).await;
        assert_eq!(output.status.code(), Some(0), "{variant}: {}", told(&output));
        assert_eq!((report.variant.as_str(), report.cycles, report.cycles_failed), (variant, 7, 0));
        assert!(report.steps.iter().all(|step| step.answered == 7), "{variant}: {:?}", report.steps);
        let names: Vec<&str> = report.steps.iter().map(|step| step.name.as_str()).collect();
        assert!(steps.is_empty() || names == steps, "{variant}: {names:?}");
        assert!(report.audit.as_ref().is_some_and(|audit| audit.is_clean()), "{variant}: {:?}", report.audit);
        assert!(report.cycle_latency_us.p50 > 0 && report.requests_per_second > 0.0, "{variant}");
    }
    let all = hearth.admin(reqwest::Method::GET, "/v3/volumes?all_tenants=1", None).await;
    assert_eq!(all["volumes"], serde_json::json!([]), "everything is cleaned up");
    let servers = hearth.admin(reqwest::Method::GET, "/admin/servers", None).await;
    assert_eq!(servers["servers"], serde_json::json!([]), "everything is cleaned up");
}

#[tokio::test]
async fn in_a_hot_storm_the_losers_are_refused_and_nobody_fails() {
    let hearth = service().await;
    let (output, report) = storm(&hearth, &["hot", "--clients", "8", "--requests", "200"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let [create, held, delete] = &report.steps[..] else { panic!("{:?}", report.steps) };
    assert_eq!(create.outcomes.keys().map(String::as_str).collect::<Vec<_>>(), ["200", "400"]);
    assert_eq!((create.answered, create.failed), (delete.answered, 0));
    assert_eq!(held.answered, create.answered);
    assert_eq!((create.refused, report.overlaps), (report.cycles_refused, 0));
    assert!(create.answered > 0 && create.refused > 0);
}

#[tokio::test]
async fn a_cycle_of_ones_own_is_read_from_a_file_and_pictures_are_drawn() {
    let hearth = service().await;
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = |name: &str| folder.path().join(name).to_str().expect("utf-8 path").to_owned();
    let cycle = r#"{"name": "health", "steps": [
        {"name": "look", "service": "root", "method": "GET", "path": "/healthcheck", "expect": [200]}]}"#;
    std::fs::write(path("cycle.json"), cycle).expect("written");
    let (cycle, svg) = (path("cycle.json"), path("storm.svg"));
    let arguments = ["--cycle", &cycle, "--svg", &svg, "--clients", "2", "--rate", "50", "--duration", "2s"];
    let (output, report) = storm(&hearth, &arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!((report.variant.as_str(), report.cycles, report.audit), ("health", 100, None));
    let picture = std::fs::read_to_string(svg).expect("the picture");
    assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"), "{picture}");
    assert_eq!(picture.matches("<polyline ").count(), 6, "{picture}");
}

#[tokio::test]
async fn what_cannot_work_is_told_with_an_exit_code() {
    let hearth = service().await;
    let here = hearth.url("");
    for (arguments, code, words) in [
        (&["attachments", "--endpoint", "http://127.0.0.1:1"][..], 1, "Connection refused"),
        (&["attachments", "--endpoint", "https://127.0.0.1/"], 2, "TLS"),
        (&["attachments", "--endpoint", &here, "--token", ":"], 1, "401"),
        (&["attachments", "--endpoint", &here, "--microversion", "9.9"], 1, "406"),
        (&["attachments", "--volumes", "3", "--clients", "4"], 2, "4 clients need at least as many volumes"),
        (&["hot", "--volumes", "2"], 2, "one volume"),
        (&["attachments", "--rate", "0"], 2, "above zero"),
        (&["attachments", "--duration", "10"], 2, "no unit"),
        (&["attachments", "--duration", "1s", "--cycles", "1"], 2, "cannot be used with"),
        (
            &["compute", "--endpoint", &here, "--clients", "1", "--server", "s", "--cycles", "1"],
            1,
            "os-volume_attachments",
        ),
        (&["--cycle", "/nonexistent"], 2, "is no cycle"),
        (&[], 2, "required"),
        (&["tempest"], 2, "possible values"),
    ] {
        let mut all = vec!["storm"];
        all.extend(arguments);
        let output = run(&Environment::default(), &all).await;
        let text = told(&output) + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
    let all = hearth.admin(reqwest::Method::GET, "/v3/volumes?all_tenants=1", None).await;
    assert_eq!(all["volumes"], serde_json::json!([]), "failed storms clean up, too");
}

#[tokio::test]
async fn a_quota_that_is_too_small_is_told_in_the_service_s_words() {
    let hearth = Hearth::start(super::environment().set("quota.volumes", "3")).await;
    let endpoint = hearth.url("");
    let output = run(&Environment::default(), &["storm", "attachments", "--endpoint", &endpoint]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = told(&output);
    assert!(text.contains("13 of 16 volumes cannot be made") && text.contains("VolumeLimitExceeded"), "{text}");
    let all = hearth.admin(reqwest::Method::GET, "/v3/volumes?all_tenants=1", None).await;
    assert_eq!(all["volumes"], serde_json::json!([]), "those that were made are removed");
}
