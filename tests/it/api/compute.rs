//! Compute over the wire (nova-volume-attachments §2–§8).

use serde_json::{Value, json};

use super::harness::{ADMIN, Harness, MEMBER, READER, STRANGER};

#[actix_web::test]
async fn attach_list_show_detach() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let server = harness.server("web-1").await;
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": volume.to_uppercase(), "device": "/dev/sdc"}});
    assert_eq!(harness.post(&path, &attach).token(STRANGER).send().await.fault().0, 404);
    let got = harness.post(&path, &attach).token(READER).send().await;
    let text = "Policy doesn't allow os_compute_api:os-volumes-attachments:create to be performed.";
    assert_eq!(got.fault(), (403, text.to_owned()));
    let got = harness.post(&path, &attach).token(MEMBER).compute("2.79").send().await;
    assert_eq!(got.status, 200, "{}", got.text);
    let expected = json!({
        "id": volume, "volumeId": volume, "serverId": server, "device": "/dev/vdc", "tag": null,
        "delete_on_termination": false,
    });
    assert_eq!(got.json()["volumeAttachment"], expected);
    let shown = harness.until(&volume, "in-use").await;
    assert_eq!(shown["attachments"][0]["server_id"], json!(server));
    assert_eq!(shown["attachments"][0]["device"], "/dev/vdc");

    let one = format!("{path}/{volume}");
    let listed = harness.ask("GET", &path).token(READER).compute("2.89").send().await.json();
    let row = &listed["volumeAttachments"][0];
    assert_eq!(row["attachment_id"], shown["attachments"][0]["attachment_id"], "one record, two views");
    let got = harness.ask("GET", &one).token(READER).compute("2.89").send().await.json();
    assert_eq!(got["volumeAttachment"], *row);
    let detail = harness.get(&format!("/compute/v2.1/servers/{server}")).compute("2.3").send().await.json();
    let attached = json!([{"id": volume, "delete_on_termination": false}]);
    assert_eq!(detail["server"]["os-extended-volumes:volumes_attached"], attached);

    for (query, version, status) in [
        ("limit=1", "2.1", 200),
        ("limit=0", "2.1", 200),
        ("limit=007&offset=0", "2.1", 200),
        ("limit=-1", "2.1", 400),
        ("limit=", "2.1", 400),
        ("offset=x", "2.1", 400),
        ("colour=red", "2.74", 200),
        ("colour=red", "2.75", 400),
    ] {
        let got = harness.get(&format!("{path}?{query}")).compute(version).send().await;
        assert_eq!(got.status, status, "{query} at {version}: {}", got.text);
    }
    let past = harness.get(&format!("{path}?offset=5")).send().await.json();
    assert_eq!(past["volumeAttachments"], json!([]));

    let again = harness.post(&path, &attach).token(MEMBER).send().await;
    assert_eq!(again.fault().0, 400, "{}", again.text);
    let got = harness.ask("DELETE", &one).token(MEMBER).compute("2.101").send().await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    harness.until(&volume, "available").await;
    assert_eq!(harness.get(&one).send().await.fault().0, 404);
    assert_eq!(harness.ask("DELETE", &one).token(MEMBER).send().await.fault().0, 404);
    harness.stop().await;
}

#[actix_web::test]
async fn from_2_101_an_attach_is_answered_202_without_a_body() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let server = harness.server("s").await;
    let path = format!("/compute/v2.1/p/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    let got = harness.post(&path, &attach).token(MEMBER).compute("2.101").send().await;
    assert_eq!((got.status, got.text.as_str()), (202, ""), "{}", got.text);
    assert_eq!(got.header("content-type"), Some("text/html; charset=UTF-8"));
    harness.until(&volume, "in-use").await;
    harness.stop().await;
}

#[actix_web::test]
async fn what_an_attach_is_refused_for() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let nil = "00000000-0000-0000-0000-000000000000";
    let server = harness.server("s").await;
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let of = |members: Value| json!({"volumeAttachment": members});
    let cases = [
        (of(json!({"volumeId": nil})), 404, format!("Volume {nil} could not be found.")),
        (json!({}), 400, "'volumeAttachment' is a required property".to_owned()),
        (
            of(json!({"volumeId": volume, "tag": "t"})),
            400,
            format!(
                "Invalid input for field/attribute volumeAttachment. Value: {{'volumeId': '{volume}', 'tag': 't'}}. \
                 Additional properties are not allowed ('tag' was unexpected)"
            ),
        ),
    ];
    for (body, status, text) in cases {
        let got = harness.post(&path, &body).token(MEMBER).send().await;
        assert_eq!(got.fault(), (status, text), "{body}");
        assert_eq!(got.header("content-type"), Some("application/json; charset=UTF-8"));
    }
    // Another project's volume does not exist, for attach and detach.
    let foreign = harness.volume(STRANGER, json!({"size": 1})).await;
    let text = format!("Volume {foreign} could not be found.");
    let got = harness.post(&path, &of(json!({"volumeId": foreign}))).token(MEMBER).send().await;
    assert_eq!(got.fault(), (404, text.clone()));
    let got = harness.ask("DELETE", &format!("{path}/{foreign}")).token(MEMBER).send().await;
    assert_eq!(got.fault(), (404, text));
    let missing = "/compute/v2.1/servers/nope/os-volume_attachments";
    let got = harness.post(missing, &of(json!({"volumeId": volume}))).token(MEMBER).send().await;
    assert_eq!(got.fault(), (404, "Instance nope could not be found.".to_owned()));
    let admin = format!("/admin/servers/{server}");
    for (change, at_member, at_admin) in [
        (json!({"vm_state": "suspended"}), 409, 409),
        (json!({"vm_state": "active", "task_state": "rebooting"}), 409, 409),
        (json!({"task_state": null, "locked": true}), 409, 200),
    ] {
        let got = harness.put(&admin, &json!({"server": change})).token(ADMIN).send().await;
        assert_eq!(got.status, 200, "{}", got.text);
        for (token, status) in [(MEMBER, at_member), (ADMIN, at_admin)] {
            let got = harness.post(&path, &of(json!({"volumeId": volume}))).token(token).send().await;
            assert_eq!(got.status, status, "{change} as {token}: {}", got.text);
        }
    }
    harness.until(&volume, "in-use").await;
    harness.stop().await;
}

#[actix_web::test]
async fn servers() {
    let harness = Harness::start().await;
    let mut ids = Vec::new();
    for name in ["web-1", "web-2", "db"] {
        ids.push(harness.server(name).await);
    }
    let names = |body: Value| -> Vec<String> {
        body["servers"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    for (query, expected) in [
        ("", vec!["db", "web-2", "web-1"]),
        ("name=web", vec!["web-2", "web-1"]),
        ("name=^web-1$", vec!["web-1"]),
        ("limit=0", vec![]),
        ("limit=1", vec!["db"]),
        ("limit=1&name=web", vec!["web-2"]),
        ("sort_key=display_name&sort_dir=asc", vec!["db", "web-1", "web-2"]),
        ("status=active", vec!["db", "web-2", "web-1"]),
        ("status=nonsense", vec![]),
        ("status=SHUTOFF", vec![]),
        ("colour=red", vec!["db", "web-2", "web-1"]),
    ] {
        for path in ["/compute/v2.1/servers", "/compute/v2.1/servers/detail"] {
            let got = harness.ask("GET", &format!("{path}?{query}")).token(MEMBER).send().await;
            assert_eq!(
                (got.status, names(got.json())),
                (200, expected.iter().map(|n| (*n).to_owned()).collect()),
                "{query}"
            );
        }
    }
    let first = harness.get("/compute/v2.1/p/servers?limit=1").send().await.json();
    let href = first["servers_links"][0]["href"].as_str().unwrap().to_owned();
    assert_eq!(href, format!("http://{}/compute/v2.1/p/servers?limit=1&marker={}", harness.address, ids[2]));
    for (query, version, status) in [
        ("marker=nope", "2.1", 400),
        ("name=(", "2.1", 400),
        ("sort_key=colour", "2.1", 400),
        ("sort_dir=up", "2.1", 400),
        ("limit=-1", "2.1", 400),
        ("status=nonsense", "2.38", 400),
        ("colour=red", "2.75", 400),
    ] {
        let got = harness.get(&format!("/compute/v2.1/servers?{query}")).compute(version).send().await;
        assert_eq!(got.fault().0, status, "{query}");
    }
    let got = harness.ask("GET", "/compute/v2.1/servers?all_tenants=1").token(MEMBER).send().await;
    assert_eq!(got.fault().0, 403);
    assert_eq!(names(harness.ask("GET", "/compute/v2.1/servers").token(STRANGER).send().await.json()).len(), 0);
    let everybody = harness.ask("GET", "/compute/v2.1/servers?all_tenants=1").token("x:elsewhere").send().await;
    assert_eq!(names(everybody.json()).len(), 3);
    let one = format!("/compute/v2.1/servers/{}", ids[0]);
    assert_eq!(harness.ask("GET", &one).token(STRANGER).send().await.fault().0, 404);
    assert_eq!(harness.ask("GET", &one).token(READER).send().await.json()["server"]["name"], "web-1");
    assert_eq!(harness.get("/compute/v2.1/servers/web-1").send().await.fault().0, 404, "a name is no id");
    assert_eq!(harness.ask("DELETE", &format!("/admin/servers/{}", ids[0])).token(ADMIN).send().await.status, 204);
    assert_eq!(harness.get(&one).send().await.fault().0, 404);
    harness.stop().await;
}

#[actix_web::test]
async fn server_records() {
    let harness = Harness::start().await;
    let create = |members: Value| json!({"server": members});
    let good =
        json!({"id": "my.server_1", "name": "n", "project_id": "p", "hypervisor": "none", "vm_state": "building"});
    let got = harness.post("/admin/servers", &create(good.clone())).token(ADMIN).send().await;
    assert_eq!(got.status, 201, "{}", got.text);
    let made = got.json()["server"].clone();
    assert_eq!((&made["id"], &made["launched_at"]), (&json!("my.server_1"), &Value::Null));
    assert_eq!((&made["root_device_name"], &made["qmp_check_uuid"]), (&json!("/dev/vda"), &json!(true)));
    assert_eq!(harness.post("/admin/servers", &create(good)).token(ADMIN).send().await.fault().0, 409);
    for bad in [
        json!({}),
        json!({"name": "n", "project_id": "p", "id": "a/b"}),
        json!({"name": "n", "project_id": "p", "hypervisor": "kvm"}),
        json!({"name": "n", "project_id": "p", "hypervisor": "qmp"}),
        json!({"name": "n", "project_id": "p", "vm_state": "deleted"}),
        json!({"name": "n", "project_id": "p", "colour": "red"}),
        json!({"name": "", "project_id": "p"}),
    ] {
        let got = harness.post("/admin/servers", &create(bad.clone())).token(ADMIN).send().await;
        assert_eq!(got.fault().0, 400, "{bad}");
    }
    let one = "/admin/servers/my.server_1";
    assert_eq!(harness.put(one, &create(json!({}))).token(ADMIN).send().await.fault().0, 400);
    let got = harness.put(one, &create(json!({"name": "m", "locked": true}))).token(ADMIN).send().await;
    assert_eq!((got.status, &got.json()["server"]["locked"]), (200, &json!(true)), "{}", got.text);
    assert_eq!(harness.get(one).send().await.json()["server"]["name"], "m");
    assert_eq!(harness.get("/admin/servers").send().await.json()["servers"].as_array().unwrap().len(), 1);
    assert_eq!(harness.get("/admin/servers/nope").send().await.fault().0, 404);
    assert_eq!(
        harness.put("/admin/servers/nope", &create(json!({"name": "m"}))).token(ADMIN).send().await.fault().0,
        404
    );
    harness.stop().await;
}
