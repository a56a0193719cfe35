//! What operators and curious clients ask for (services-hosts-pools): services, hosts, pools, capabilities, clusters, zones,
//! extensions, filters.

use hearth::actors::PlacementOptions;
use serde_json::{Value, json};

use super::harness::{ADMIN, Harness, MEMBER, NOBODY, READER};

async fn two() -> Harness {
    let mars = PlacementOptions { zone: "mars".to_owned(), ..PlacementOptions::default() };
    Harness::start_on(&[("h@a#a", PlacementOptions::default()), ("h@m#m", mars)]).await
}

fn members(body: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[actix_web::test]
async fn services_by_filter() {
    let harness = two().await;
    let list = async |version: &str, query: &str| {
        let got = harness.get(&format!("/v3/os-services{query}")).volume(version).send().await;
        got.json()["services"].as_array().unwrap().clone()
    };
    let hosts = async |query: &str| {
        let rows = list("3.0", query).await;
        rows.iter().map(|row| row["host"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    for (query, expected) in [
        ("", "h h@a h@m"),
        ("?host=h", "h h@a h@m"),
        ("?host=h@a", "h@a"),
        ("?host=h@", ""),
        ("?binary=cinder-volume", "h@a h@m"),
        ("?binary=cinder-scheduler", "h"),
        ("?binary=cinder-backup", ""),
        ("?host=h@m&binary=cinder-volume", "h@m"),
        ("?host=x", ""),
    ] {
        assert_eq!(hosts(query).await, expected, "{query}");
    }
    let row = &list("3.71", "?host=h@m").await[0];
    assert_eq!((&row["zone"], &row["status"], &row["state"]), (&json!("mars"), &json!("enabled"), &json!("up")));
    assert_eq!((&row["backend_state"], &row["frozen"]), (&json!("up"), &json!(false)));
    assert!(row["updated_at"].is_string() && row["disabled_reason"].is_null());
    harness.stop().await;
}

#[actix_web::test]
async fn services_are_switched() {
    let harness = two().await;
    let put = async |action: &str, version: &str, body: Value| {
        let got = harness.put(&format!("/v3/os-services/{action}"), &body).token(ADMIN).volume(version).send().await;
        if got.status < 300 { Ok((got.status, got.text)) } else { Err(got.fault()) }
    };
    let answer = |disabled: bool| {
        let status = if disabled { "disabled" } else { "enabled" };
        json!({"host": "h@a", "service": "cinder-volume", "binary": "cinder-volume", "status": status, "disabled": disabled})
    };
    let body = || json!({"host": "h@a", "binary": "cinder-volume"});
    let json_of = |got: Result<(u16, String), (u16, String)>| {
        let (status, text) = got.expect("accepted");
        assert_eq!(status, 200);
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let row = async || harness.get("/v3/os-services?host=h@a").send().await.json()["services"][0].clone();

    assert_eq!(json_of(put("disable", "3.0", body()).await), answer(true));
    assert_eq!((&row().await["status"], &row().await["disabled_reason"]), (&json!("disabled"), &Value::Null));
    let mut with_reason = body();
    with_reason["disabled_reason"] = json!("new disks");
    let mut expected = answer(true);
    expected["disabled_reason"] = json!("new disks");
    assert_eq!(json_of(put("disable-log-reason", "3.0", with_reason).await), expected);
    assert_eq!(row().await["disabled_reason"], "new disks");
    let hosts = harness.get("/v3/os-hosts").send().await.json();
    let listed: Vec<&str> =
        hosts["hosts"].as_array().unwrap().iter().map(|row| row["host_name"].as_str().unwrap()).collect();
    assert_eq!(listed, ["h", "h@m"], "only what is enabled");
    let mut expected = answer(false);
    expected["disabled_reason"] = Value::Null;
    let by_old_name = json!({"host": "h@a", "service": "cinder-volume", "cluster": null});
    assert_eq!(json_of(put("enable", "3.0", by_old_name).await), expected);
    assert_eq!((&row().await["status"], &row().await["disabled_reason"]), (&json!("enabled"), &Value::Null));

    let absent = Err((404, "Service cinder-volume could not be found on host x.".to_owned()));
    assert_eq!(put("enable", "3.0", json!({"host": "x", "binary": "cinder-volume"})).await, absent);
    let absent = Err((404, "Service cinder-volume could not be found on host h.".to_owned()));
    assert_eq!(put("disable", "3.0", json!({"host": "h", "binary": "cinder-volume"})).await, absent);
    for (action, bad) in [
        ("enable", json!({"host": "h@a"})),
        ("enable", json!({"binary": "cinder-volume"})),
        ("disable", json!({"host": "h@a", "binary": ""})),
        ("disable", json!({"host": "h@a", "binary": "cinder-volume", "disabled_reason": "x"})),
        ("disable-log-reason", json!({"host": "h@a", "binary": "cinder-volume", "disabled_reason": null})),
        ("disable-log-reason", json!({"host": "h@a", "binary": "cinder-volume", "disabled_reason": ""})),
        ("disable-log-reason", json!({"host": "h@a", "binary": "x", "disabled_reason": "y".repeat(256)})),
    ] {
        assert_eq!(put(action, "3.0", bad.clone()).await.map_err(|(status, _)| status), Err(400), "{action} {bad}");
    }

    let host = || json!({"host": "h@a"});
    assert_eq!(put("freeze", "3.0", host()).await, Ok((200, String::new())));
    assert_eq!(row().await["frozen"], true);
    let so_already = "Invalid input received: No service could be changed: the service of host h@a is so already.";
    assert_eq!(put("freeze", "3.0", host()).await, Err((400, so_already.to_owned())));
    assert_eq!(put("thaw", "3.0", host()).await, Ok((200, String::new())));
    assert_eq!(put("thaw", "3.0", host()).await, Err((400, so_already.to_owned())));
    let input = |text: &str| Err((400, format!("Invalid input received: {text}")));
    assert_eq!(put("freeze", "3.0", json!({"host": "x"})).await, input("No service found with host=x"));
    assert_eq!(put("freeze", "3.0", json!({})).await, input("Host field is missing."));
    assert_eq!(put("freeze", "3.25", json!({"cluster": "c"})).await, input("Host field is missing."));
    let one = "One and only one of cluster and host must be set.";
    assert_eq!(put("freeze", "3.26", json!({})).await, input(one));
    assert_eq!(put("thaw", "3.26", json!({"host": "h@a", "cluster": "c"})).await, input(one));
    assert_eq!(put("thaw", "3.26", json!({"cluster": "c"})).await, input("No service found with cluster=c"));
    assert_eq!(put("failover_host", "3.0", json!({"host": "x"})).await, input("No service found with host=x"));
    assert_eq!(put("failover_host", "3.0", host()).await.map_err(|(status, _)| status), Err(400));
    assert_eq!(put("failover", "3.25", host()).await.map_err(|(status, _)| status), Err(404));
    assert_eq!(put("failover", "3.26", host()).await.map_err(|(status, _)| status), Err(400));
    assert_eq!(put("explode", "3.0", host()).await.map_err(|(status, _)| status), Err(404));
    harness.stop().await;
}

#[actix_web::test]
async fn hosts() {
    let harness = two().await;
    for (token, size) in [(MEMBER, 2), (MEMBER, 3), ("root:q", 4)] {
        harness.volume(token, json!({"size": size})).await;
    }
    let listed = harness.get("/v3/os-hosts?zone=mars").send().await.json();
    let row = &listed["hosts"][0];
    assert_eq!(listed["hosts"].as_array().unwrap().len(), 1);
    assert_eq!(members(row), ["host_name", "last-update", "service", "service-state", "service-status", "zone"]);
    let words = ["host_name", "service", "service-status", "service-state"].map(|name| row[name].as_str().unwrap());
    assert_eq!(words, ["h@m", "cinder-volume", "available", "enabled"]);
    let sums = |project: &str, volumes: &str, gigabytes: &str| {
        json!({"resource": {"host": "h@a", "project": project, "volume_count": volumes, "total_volume_gb": gigabytes,
            "snapshot_count": "0", "total_snapshot_gb": "0"}})
    };
    let shown = harness.get("/v3/os-hosts/h@a").send().await.json();
    assert_eq!(shown, json!({"host": [sums("(total)", "3", "9"), sums("p", "2", "5"), sums("q", "1", "4")]}));
    let empty = harness.get("/v3/os-hosts/h@m").send().await.json();
    assert_eq!(empty["host"].as_array().unwrap().len(), 1);
    for host in ["x", "h"] {
        let text = format!("Service cinder-volume could not be found on host {host}.");
        assert_eq!(harness.get(&format!("/v3/os-hosts/{host}")).send().await.fault(), (404, text));
    }
    let put = async |host: &str, status: &str| {
        harness.put(&format!("/v3/os-hosts/{host}"), &json!({"status": status})).token(ADMIN).send().await
    };
    assert_eq!(put("h@a", "disable").await.json(), json!({"host": "h@a", "status": "disabled"}));
    assert_eq!(harness.get("/v3/os-services?host=h@a").send().await.json()["services"][0]["status"], "disabled");
    assert_eq!(put("h@a", "enable").await.json(), json!({"host": "h@a", "status": "enabled"}));
    assert_eq!((put("h@a", "explode").await.status, put("x", "enable").await.status), (400, 404));
    harness.stop().await;
}

#[actix_web::test]
async fn pools_and_capabilities() {
    let harness = two().await;
    let pools = async |version: &str, query: &str| {
        let got = harness.get(&format!("/v3/scheduler-stats/get_pools{query}")).volume(version).send().await;
        if got.status != 200 {
            return Err(got.fault());
        }
        let body = got.json();
        let names = body["pools"].as_array().unwrap().iter().map(|pool| pool["name"].as_str().unwrap().to_owned());
        Ok(names.collect::<Vec<_>>().join(" "))
    };
    let refused = |text: &str| Err((400, text.to_owned()));
    let default = "__DEFAULT__";
    for (version, query, expected) in [
        ("3.0", "", Ok("h@a#a h@m#m".to_owned())),
        ("3.0", "?name=h@m%23m", Ok("h@a#a h@m#m".to_owned())),
        ("3.28", "?name=h@m%23m", Ok("h@m#m".to_owned())),
        ("3.30", "?pool_name=a", Ok("h@a#a".to_owned())),
        ("3.30", "?multiattach=True&reserved_percentage=0", Ok("h@a#a h@m#m".to_owned())),
        ("3.30", "?colour=red", Ok(String::new())),
        ("3.31", "?pool_name=a", refused("Invalid filters pool_name are found in query options.")),
        ("3.31", "?name=x", Ok(String::new())),
        ("3.34", "?volume_type=nope", Ok("h@a#a h@m#m".to_owned())),
        ("3.35", &format!("?volume_type={default}"), Ok("h@a#a h@m#m".to_owned())),
        ("3.35", "?volume_type=nope", Err((404, "Volume type with name nope could not be found.".to_owned()))),
        ("3.71", "?detail=yes&name=h@a%23a", Ok("h@a#a".to_owned())),
    ] {
        assert_eq!(pools(version, query).await, expected, "{version} {query}");
    }
    assert_eq!(pools("3.0", "?detail=maybe").await.map_err(|(status, _)| status), Err(400));

    let plain = harness.get("/v3/scheduler-stats/get_pools").send().await.json();
    assert_eq!(plain["pools"][0], json!({"name": "h@a#a"}));
    let detail = harness.get("/v3/scheduler-stats/get_pools?detail=true").send().await.json();
    let own = &detail["pools"][0]["capabilities"];
    for name in ["multiattach", "QoS_support", "thin_provisioning_support", "thick_provisioning_support"] {
        assert!(own[name].is_boolean(), "{name}");
    }
    for name in ["volume_backend_name", "driver_version", "vendor_name", "storage_protocol", "pool_name", "timestamp"] {
        assert!(own[name].is_string(), "{name}");
    }
    assert!(own["reserved_percentage"].is_u64() && own["backend_state"] == "up");
    assert!(own["total_capacity_gb"].is_number() || own["total_capacity_gb"] == "unknown");
    let shown = harness.get("/v3/capabilities/h@a").send().await.json();
    for name in ["volume_backend_name", "driver_version", "vendor_name", "storage_protocol"] {
        assert_eq!(shown[name], own[name], "{name}");
    }
    assert_eq!(shown["namespace"], "OS::Storage::Capabilities::h@a");
    assert_eq!((&shown["pool_name"], &shown["replication_targets"]), (&Value::Null, &json!([])));
    assert_eq!(members(&shown["properties"]["qos"]), ["description", "title", "type"]);
    let absent = (404, "Can't find service: x".to_owned());
    assert_eq!(harness.get("/v3/capabilities/x").send().await.fault(), absent);

    let freeze = harness.put("/v3/os-services/freeze", &json!({"host": "h@a"})).token(ADMIN).send().await;
    assert_eq!(freeze.status, 200);
    assert_eq!(pools("3.0", "").await, Ok("h@m#m".to_owned()), "what is closed is no pool");
    harness.stop().await;
}

#[actix_web::test]
async fn there_are_no_clusters() {
    let harness = two().await;
    let get =
        async |version: &str, path: &str| harness.get(&format!("/v3/clusters{path}")).volume(version).send().await;
    assert_eq!(get("3.6", "").await.status, 404);
    for path in ["", "/detail", "?name=x&is_up=true", "/detail?num_hosts=1"] {
        assert_eq!(get("3.7", path).await.json(), json!({"clusters": []}), "{path}");
    }
    let text = "Invalid input received: Invalid filter keys: frozen";
    assert_eq!(get("3.25", "?frozen=1").await.fault(), (400, text.to_owned()));
    assert_eq!(get("3.26", "?frozen=1").await.status, 200);
    assert_eq!(get("3.7", "/c").await.fault(), (404, "Cluster c could not be found.".to_owned()));
    for (body, status) in [(json!({"name": "c"}), 404), (json!({}), 400), (json!({"name": "c", "more": 1}), 400)] {
        let got = harness.put("/v3/clusters/enable", &body).token(ADMIN).volume("3.7").send().await;
        assert_eq!(got.status, status, "{body}");
    }
    assert_eq!(harness.put("/v3/clusters/c", &json!({})).token(ADMIN).volume("3.7").send().await.status, 404);
    harness.stop().await;
}

#[actix_web::test]
async fn who_looks_around() {
    let harness = two().await;
    let get = async |token: &str, version: &str, path: &str| {
        harness.ask("GET", &format!("/v3{path}")).token(token).volume(version).send().await
    };
    let zone = |name: &str, available: bool| json!({"zoneName": name, "zoneState": {"available": available}});
    let zones = get(NOBODY, "3.0", "/os-availability-zone").await.json();
    assert_eq!(zones, json!({"availabilityZoneInfo": [zone("nova", true), zone("mars", true)]}));
    let disable = json!({"host": "h@m", "binary": "cinder-volume"});
    assert_eq!(harness.put("/v3/os-services/disable", &disable).token(ADMIN).send().await.status, 200);
    let zones = get(READER, "3.0", "/p/os-availability-zone").await.json();
    assert_eq!(zones, json!({"availabilityZoneInfo": [zone("nova", true), zone("mars", false)]}));

    let extensions = get(NOBODY, "3.0", "/extensions").await.json();
    let rows = extensions["extensions"].as_array().unwrap();
    assert_eq!(rows.len(), 32);
    for row in rows {
        assert_eq!(members(row), ["alias", "description", "links", "name", "updated"]);
        let path = format!("/extensions/{}", row["alias"].as_str().unwrap());
        assert_eq!(get(READER, "3.0", &path).await.json()["extension"], *row);
    }
    assert_eq!(get(READER, "3.0", "/extensions/nope").await.status, 404);

    assert_eq!(get(READER, "3.32", "/resource_filters").await.status, 404);
    let filters = get(NOBODY, "3.33", "/resource_filters").await.json();
    let resources: Vec<&str> =
        filters["resource_filters"].as_array().unwrap().iter().map(|row| row["resource"].as_str().unwrap()).collect();
    let expected =
        ["volume", "backup", "snapshot", "group", "group_snapshot", "attachment", "message", "pool", "volume_type"];
    assert_eq!(resources, expected);
    let of_pools = get(READER, "3.33", "/resource_filters?resource=pool").await.json();
    assert_eq!(of_pools, json!({"resource_filters": [{"resource": "pool", "filters": ["name", "volume_type"]}]}));
    let none = get(READER, "3.33", "/resource_filters?resource=nope").await.json();
    assert_eq!(none, json!({"resource_filters": []}));

    // The rest is for administrators.
    for (method, path) in [
        ("GET", "/os-services"),
        ("PUT", "/os-services/enable"),
        ("PUT", "/os-services/explode"),
        ("GET", "/os-hosts"),
        ("GET", "/os-hosts/x"),
        ("PUT", "/os-hosts/x"),
        ("GET", "/scheduler-stats/get_pools"),
        ("GET", "/capabilities/x"),
        ("GET", "/clusters"),
        ("GET", "/clusters/x"),
    ] {
        let asking = harness.ask(method, &format!("/v3{path}")).token(MEMBER).volume("3.71");
        let got = if method == "PUT" { asking.json(&json!({})).send().await } else { asking.send().await };
        assert_eq!(got.fault().0, 403, "{method} {path}");
    }
    harness.stop().await;
}

/// §6: nothing is ever left to be cleaned up by hand.
#[actix_web::test]
async fn a_cleanup_finds_nothing() {
    let harness = Harness::start().await;
    let nil = "00000000-0000-0000-0000-000000000000";
    let ask = async |token: &str, version: &str, body: &Value| {
        harness.post("/v3/workers/cleanup", body).token(token).volume(version).send().await
    };
    let full = json!({
        "cluster_name": "c", "host": "h@a", "service_id": "1", "binary": "cinder-volume", "disabled": true, "is_up": "no",
        "resource_type": "volume", "resource_id": nil,
    });
    for body in [json!({}), full.clone(), json!({"service_id": 1}), json!({"resource_type": "SNAPSHOT"})] {
        let got = ask(ADMIN, "3.24", &body).await;
        assert_eq!((got.status, got.json()), (202, json!({"cleaning": [], "unavailable": []})), "{body}");
    }
    for body in [
        json!({"resource_type": "Zz"}),
        json!({"resource_id": nil}),
        json!({"resource_id": "x", "host": "h"}),
        json!({"binary": "cinder-backup"}),
        json!({"service_id": "x"}),
        json!({"is_up": "maybe"}),
        json!({"more": 1}),
    ] {
        assert_eq!(ask(ADMIN, "3.24", &body).await.fault().0, 400, "{body}");
    }
    assert_eq!(ask(MEMBER, "3.24", &full).await.fault().0, 403);
    assert_eq!(ask(ADMIN, "3.23", &full).await.status, 404);
    harness.stop().await;
}
