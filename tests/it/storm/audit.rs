//! The audit finds what is not as it must be.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hearth::storm::client::Waits;
use hearth::storm::errand::volumes_make;
use hearth::storm::variants::Variant;
use hearth::storm::{AuditOptions, Cycle, Endpoint, Limit, Pace, Plan, Site, Step, Unit, audit};
use reqwest::Method;
use serde_json::json;

use super::service;
use crate::e2e::hearth::Hearth;

const NAME: &str = "storm-of-the-test";

fn site(hearth: &Hearth) -> Site {
    let block_storage = Endpoint::parse(&hearth.url(""), "/v3").unwrap();
    let compute = Endpoint::parse(&hearth.url(""), "/compute/v2.1").unwrap();
    let headers = [("X-Auth-Token", "admin:admin"), ("OpenStack-API-Version", "volume 3.44")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Site { block_storage, compute, headers }
}

/// Everything in this crate that blocks, off the test's own thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Runs `cycle` once on each of two new volumes, lets `meddle` do its work, and audits.
async fn findings_after(cycle: Cycle, meddle: impl AsyncFnOnce(&Hearth, &[Unit])) -> Vec<String> {
    let hearth = service().await;
    let site = site(&hearth);
    let own = site.clone();
    let (plan, report) = blocking(move || {
        let units = volumes_make(&own, NAME, 1, 2, 2, Waits::default()).unwrap();
        let plan = Plan {
            site: own,
            cycle,
            units,
            clients: 2,
            threads: 2,
            pace: Pace::Closed,
            limit: Limit::Cycles(2),
            warmup: Duration::ZERO,
            drain: Duration::ZERO,
            waits: Waits::default(),
        };
        let report = hearth::storm::run(&plan, &AtomicBool::new(false), &mut |_| {}).unwrap();
        (plan, report)
    })
    .await;
    meddle(&hearth, &plan.units).await;
    let found = blocking(move || {
        let options = AuditOptions {
            name: NAME.to_owned(),
            units: plan.units.clone(),
            settle: Duration::ZERO,
            waits: Waits::default(),
        };
        let found = audit::audit(&plan.site, &options, &plan.cycle, &report).unwrap();
        let stuck = audit::clean_up(&plan.site, NAME, 2, Waits::default()).unwrap();
        assert_eq!(stuck, Vec::<String>::new(), "whatever is left over is removed");
        found
    })
    .await;
    let all = hearth.admin(Method::GET, "/v3/volumes", None).await;
    assert_eq!(all["volumes"], json!([]));
    found.findings
}

#[tokio::test]
async fn a_storm_that_leaves_nothing_has_no_findings() {
    let found = findings_after(Variant::Attachments.cycle(false), async |_, _| {}).await;
    assert_eq!(found, Vec::<String>::new());
}

#[tokio::test]
async fn a_planted_row_is_found_by_id_by_list_and_by_attachment() {
    let found = findings_after(Variant::Attachments.cycle(false), async |hearth, units| {
        let body = json!({"attachment": {"volume_uuid": units[0]["volume"]}});
        hearth.admin(Method::POST, "/v3/attachments", Some(body)).await;
    })
    .await;
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].contains("is reserved and not available, 0ns after the storm"), "{found:#?}");
    assert!(found[1].contains("has attachment ") && found[1].contains(" left over (reserved)"), "{found:#?}");
    assert!(found[2].contains("is reserved and not available, in the list"), "{found:#?}");
}

#[tokio::test]
async fn a_volume_too_many_and_one_too_few_are_found() {
    let found = findings_after(Variant::Show.cycle(false), async |hearth, units| {
        let body = json!({"volume": {"name": NAME, "size": 1}});
        let made = hearth.admin(Method::POST, "/v3/volumes", Some(body)).await;
        hearth.wait_for_status(made["volume"]["id"].as_str().unwrap(), "available").await;
        hearth.volume_delete(&units[1]["volume"]).await;
    })
    .await;
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].contains("is answered with 404"), "{found:#?}");
    assert!(found[1].ends_with("(available) is left over"), "{found:#?}");
    assert!(found[2].ends_with("is not in the list"), "{found:#?}");
}

#[tokio::test]
async fn unequal_counts_are_found() {
    let mut cycle = Variant::Attachments.cycle(false);
    let delete = cycle.steps.iter_mut().find(|step| step.name == "delete").unwrap();
    *delete = Step::new("delete", "GET", "/volumes/{volume}", &[418]);
    let found = findings_after(cycle, async |_, _| {}).await;
    assert!(
        found.iter().any(|text| text == "create succeeded 2 times and delete 0 times (0 outcomes are unknown)"),
        "{found:#?}"
    );
}
