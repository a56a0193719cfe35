//! Services, hosts, pools, zones, messages, filters, clusters.

use serde_json::json;

use super::bench::{Bench, always};
use crate::api::harness::ADMIN;

const SERVICES: &str = "/v3/os-services";

#[actix_web::test]
async fn operators() {
    let bench = Bench::start("operators").await;
    bench.volume().await;
    for path in [
        "/v3/os-services",
        "/v3/os-hosts",
        "/v3/scheduler-stats/get_pools",
        "/v3/scheduler-stats/get_pools?detail=true",
        "/v3/os-availability-zone",
        "/v3/extensions",
        "/v3/resource_filters",
        "/v3/clusters",
        "/v3/clusters/detail",
    ] {
        bench.reads(&format!("GET {path}"), path).await;
    }
    bench.reads("GET /v3/os-hosts/{host}", "/v3/os-hosts/sim@sim").await;
    bench.reads("GET /v3/capabilities/{host}", "/v3/capabilities/sim@sim").await;
    bench.reads("GET /v3/clusters/{name}", "/v3/clusters/c").await;
    let one = json!({"name": "c", "binary": "cinder-volume"});
    let with_reason = json!({"name": "c", "binary": "cinder-volume", "disabled_reason": "r"});
    for (action, body) in [("enable", one), ("disable", with_reason)] {
        let sample = format!("cinder/clusters/v3.7/cluster-{action}-request.json");
        bench.exchanges(&sample, always(&format!("/v3/clusters/{action}"), body)).await;
    }
    let members = json!({
        "binary": "cinder-volume", "cluster_name": "c", "disabled": false, "host": "sim@sim", "is_up": false,
        "resource_id": "462dcc2d-130d-4654-8db1-da0df2da6a0d", "resource_type": "Volume", "service_id": 1,
    });
    bench.exchanges("cinder/worker-cleanup-request.json", always("/v3/workers/cleanup", members)).await;
    switches(&bench).await;
    messages(&bench).await;
    bench.finish().await;
}

/// Of each request there are two samples.
async fn switches(bench: &Bench) {
    let service = json!({"binary": "cinder-volume", "host": "sim@sim"});
    let mut with_reason = service.clone();
    with_reason["disabled_reason"] = json!("r");
    let host = json!({"host": "sim@sim"});
    for (old, new, action, body) in [
        ("disable", "disable", "disable", &service),
        ("disable-log", "disable-log-reason", "disable-log-reason", &with_reason),
        ("enable", "enable", "enable", &service),
    ] {
        for sample in [format!("services-{old}"), format!("os-services/service-{new}")] {
            let asked = always(&format!("{SERVICES}/{action}"), body.clone());
            bench.exchanges(&format!("cinder/{sample}-request.json"), asked).await;
        }
    }
    for kind in ["services", "os-services/service"] {
        for action in ["freeze", "thaw"] {
            let asked = always(&format!("{SERVICES}/{action}"), host.clone());
            bench.accepts(&format!("cinder/{kind}-{action}-request.json"), asked).await;
        }
    }
    for kind in ["services", "os-services/v3.32/service"] {
        let members = json!({"binary": "*", "server": "", "prefix": "hearth"});
        let read = always(&format!("{SERVICES}/get-log"), members.clone());
        bench.exchanges(&format!("cinder/{kind}-get-log-request.json"), read).await;
        let mut members = members;
        members["level"] = json!("ERROR");
        let set = always(&format!("{SERVICES}/set-log"), members);
        bench.accepts(&format!("cinder/{kind}-set-log-request.json"), set).await;
    }
    let path = format!("{SERVICES}/failover_host");
    bench.accepts("cinder/os-services/service-failover-host-request.json", always(&path, host)).await;
    let back = json!({"host": "sim@sim", "backend_id": null});
    bench.accepts("cinder/services-failover-host-request.json", always(&path, back)).await;
}

async fn messages(bench: &Bench) {
    let disable = json!({"host": "sim@sim", "binary": "cinder-volume"});
    let got = bench.harness.put(&format!("{SERVICES}/disable"), &disable).token(ADMIN).send().await;
    assert_eq!(got.status, 200, "{}", got.text);
    let volume = bench.made(("/v3/volumes".to_owned(), json!({"volume": {"size": 1}})), "/volume/id").await;
    bench.harness.until(&volume, "error").await;
    bench.reads("GET /v3/messages", "/v3/messages").await;
    let listed = bench.harness.get("/v3/messages").volume("3.3").send().await.json();
    let id = listed["messages"][0]["id"].as_str().expect("a message");
    bench.reads("GET /v3/messages/{id}", &format!("/v3/messages/{id}")).await;
}
