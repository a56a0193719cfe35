//! Lists over the wire: pages, markers, next links, bad parameters.

use serde_json::{Value, json};

use super::harness::{ADMIN, Harness, MEMBER, NOBODY, READER, STRANGER};

fn names(body: &Value, collection: &str) -> Vec<String> {
    body[collection].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap_or("-").to_owned()).collect()
}

#[actix_web::test]
async fn pages_follow_their_links() {
    let harness = Harness::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        harness.volume(MEMBER, json!({"size": 1, "name": name})).await;
    }
    let mut path = "/v3/p/volumes/detail?limit=2&sort=name:asc".to_owned();
    let mut pages = Vec::new();
    loop {
        let body = harness.ask("GET", &path).token(MEMBER).send().await.json();
        pages.push(names(&body, "volumes").concat());
        let Some(links) = body.get("volumes_links") else { break };
        let href = links[0]["href"].as_str().unwrap();
        assert!(href.starts_with(&format!("http://{}/v3/p/volumes/detail?", harness.address)), "{href}");
        path = href.split_once(&harness.address.to_string()).unwrap().1.to_owned();
    }
    assert_eq!(pages, ["ab", "cd", "e"]);
    let all = |query: &str| format!("/v3/volumes?sort=name:asc&{query}");
    let cases = [
        ("limit=0", vec![]),
        ("offset=3", vec!["d", "e"]),
        ("name=b", vec!["b"]),
        ("name=B", vec![]),
        ("size=1&limit=1", vec!["a"]),
        ("status=[%27available%27]", vec!["a", "b", "c", "d", "e"]),
    ];
    for (query, expected) in cases {
        let body = harness.ask("GET", &all(query)).token(MEMBER).send().await.json();
        assert_eq!(names(&body, "volumes"), expected, "{query}");
        assert!(body.get("count").is_none());
    }
    let body = harness.ask("GET", &all("limit=1&with_count=true")).token(MEMBER).volume("3.45").send().await.json();
    assert_eq!((names(&body, "volumes").len(), &body["count"]), (1, &json!(5)));
    let others = harness.ask("GET", "/v3/volumes").token(STRANGER).send().await.json();
    assert_eq!(others["volumes"], json!([]));
    let everything = harness.ask("GET", "/v3/volumes?all_tenants=1").token("x:elsewhere").send().await.json();
    assert_eq!(everything["volumes"].as_array().unwrap().len(), 5);
    let own = harness.ask("GET", "/v3/volumes?all_tenants=0").token("x:elsewhere").send().await.json();
    assert_eq!(own["volumes"], json!([]));
    harness.stop().await;
}

#[actix_web::test]
async fn bad_parameters_are_refused() {
    let harness = Harness::start().await;
    let nil = "00000000-0000-0000-0000-000000000000";
    let cases: &[(&str, u16, &str)] = &[
        ("limit=x", 400, "limit param must be an integer"),
        ("limit=", 400, "limit param must be an integer"),
        ("limit=-1", 400, "limit param must be positive"),
        ("offset=-1", 400, "offset must be >= 0"),
        ("offset=2147483648", 400, "offset must be <= 2147483647"),
        ("sort=nope", 400, "Invalid input received: Invalid sort key"),
        ("sort=name:up", 400, "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'."),
        ("sort_dir=up", 400, "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'."),
        ("marker=x", 404, "Volume x could not be found."),
        ("with_count=maybe", 400, "Value 'maybe' for 'with_count' is not a boolean."),
        ("bootable=maybe", 400, "Invalid input received: bootable=maybe"),
    ];
    for path in ["/v3/volumes", "/v3/volumes/detail"] {
        for (query, status, text) in cases {
            let got = harness.get(&format!("{path}?{query}")).volume("3.71").send().await;
            assert_eq!(got.fault(), (*status, (*text).to_owned()), "{path}?{query}");
        }
        let got = harness.get(&format!("{path}?marker={nil}")).send().await;
        assert_eq!(got.fault(), (404, format!("Volume {nil} could not be found.")));
    }
    for path in ["/v3/attachments", "/v3/messages", "/v3/types"] {
        for (query, status) in [("limit=x", 400), ("sort=nope", 400), ("marker=x", 404), ("offset=-1", 400)] {
            let got = harness.get(&format!("{path}?{query}")).volume("3.71").send().await;
            assert_eq!(got.fault().0, status, "{path}?{query}");
        }
    }
    // Below 3.5 messages take no parameters.
    assert_eq!(harness.get("/v3/messages?limit=x&marker=y").volume("3.4").send().await.status, 200);
    harness.stop().await;
}

#[actix_web::test]
async fn a_foreign_marker_is_not_found() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let got = harness.ask("GET", &format!("/v3/volumes?marker={id}")).token(STRANGER).send().await;
    assert_eq!(got.fault(), (404, format!("Volume {id} could not be found.")));
    let got = harness.ask("GET", &format!("/v3/volumes?marker={id}")).token(MEMBER).send().await;
    assert_eq!(got.json()["volumes"], json!([]));
    harness.stop().await;
}

#[actix_web::test]
async fn types() {
    let harness = Harness::start().await;
    let body = harness.get("/v3/types").send().await.json();
    let default = &body["volume_types"][0];
    assert_eq!(default["name"], "__DEFAULT__");
    let shown = harness.get("/v3/types/default").send().await.json();
    assert_eq!(shown["volume_type"]["id"], default["id"]);
    assert!(shown["volume_type"].get("os-volume-type-access:is_public").is_none());
    let by_id = harness.get(&format!("/v3/types/{}", default["id"].as_str().unwrap())).send().await.json();
    assert_eq!(by_id["volume_type"], *default);
    let member = harness.ask("GET", "/v3/types").token(MEMBER).send().await.json();
    assert!(member["volume_types"][0].get("qos_specs_id").is_none());
    for (path, status) in [
        ("/v3/types/__DEFAULT__", 404),
        ("/v3/types?is_public=none", 200),
        ("/v3/types?is_public=maybe", 400),
        ("/v3/types/x", 404),
    ] {
        assert_eq!(harness.get(path).send().await.status, status, "{path}");
    }
    let hidden = "/v3/types?extra_specs={%27volume_backend_name%27:%27b%27}";
    let got = harness.ask("GET", hidden).token(MEMBER).volume("3.52").send().await;
    assert_eq!(got.json()["volume_types"], json!([]));
    let got = harness.ask("GET", "/v3/types?colour=red").token(MEMBER).volume("3.52").send().await;
    assert_eq!(got.fault().0, 400);
    harness.stop().await;
}

#[actix_web::test]
async fn volumes_are_summed_up() {
    let harness = Harness::start().await;
    for (token, members) in [
        (MEMBER, json!({"size": 2, "name": "a", "metadata": {"k": "v", "of": "p"}})),
        (MEMBER, json!({"size": 3, "name": "b", "metadata": {"k": "w"}})),
        (STRANGER, json!({"size": 5, "metadata": {"k": "v", "of": "q"}})),
    ] {
        harness.volume(token, members).await;
    }
    let path = "/v3/volumes/summary";
    let summary = async |token: &str, version: &str, query: &str| {
        let got = harness.ask("GET", &format!("{path}{query}")).token(token).volume(version).send().await;
        assert_eq!(got.status, 200, "{}", got.text);
        got.json()
    };
    let sums = |count: u32, size: u32| json!({"volume-summary": {"total_count": count, "total_size": size}});
    assert_eq!(summary(MEMBER, "3.12", "").await, sums(2, 5));
    assert_eq!(summary(READER, "3.35", "?name=b&status=error&limit=x").await, sums(2, 5), "there are no filters");
    assert_eq!(summary(STRANGER, "3.12", "").await, sums(1, 5));
    assert_eq!(summary(ADMIN, "3.12", "?all_tenants=1").await, sums(3, 10));
    assert_eq!(summary(ADMIN, "3.12", "").await, sums(2, 5), "an admin's own project");
    // Others may say it: it means nothing.
    let with_metadata = |count: u32, size: u32| {
        let metadata = json!({"k": ["v", "w"], "of": ["p"]});
        json!({"volume-summary": {"total_count": count, "total_size": size, "metadata": metadata}})
    };
    assert_eq!(summary(MEMBER, "3.71", "?all_tenants=1&nonsense=1").await, with_metadata(2, 5));
    let everybodys = summary(ADMIN, "3.36", "?all_tenants=true").await;
    assert_eq!(everybodys["volume-summary"]["metadata"], json!({"k": ["v", "w"], "of": ["p", "q"]}));
    let bad = harness.get(&format!("{path}?all_tenants=maybe")).volume("3.12").send().await;
    assert_eq!(bad.fault().0, 400);
    assert_eq!(harness.get(path).volume("3.11").send().await.status, 404);
    assert_eq!(harness.ask("GET", path).token(NOBODY).volume("3.12").send().await.fault().0, 403);
    harness.stop().await;
}
