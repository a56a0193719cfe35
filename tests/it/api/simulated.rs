//! Servers that clients make for themselves, which are simulated.

use hearth::api::ApiOptions;
use hearth::domain::quota::Limits;
use hearth::domain::server::HypervisorKind;
use serde_json::{Value, json};

use super::harness::{ADMIN, Got, Harness, MEMBER, STRANGER};

const NIL: &str = "00000000-0000-0000-0000-000000000000";
const SERVERS: &str = "/compute/v2.1/servers";

async fn start() -> Harness {
    Harness::start_with(ApiOptions { simulated_servers: true, ..ApiOptions::default() }, Limits::NONE).await
}

async fn made(harness: &Harness) -> String {
    let body = json!({"server": {"name": "s", "imageRef": "", "flavorRef": "1", "networks": "none"}});
    let got = harness.post(SERVERS, &body).token(MEMBER).send().await;
    assert_eq!(got.status, 202, "{}", got.text);
    let server = got.json()["server"].clone();
    assert!(server["adminPass"].as_str().is_some_and(|password| password.len() > 8), "{server}");
    server["id"].as_str().unwrap().to_owned()
}

async fn act(harness: &Harness, token: &str, server: &str, action: &str) -> u16 {
    harness.post(&format!("{SERVERS}/{server}/action"), &json!({action: null})).token(token).send().await.status
}

async fn status(harness: &Harness, server: &str) -> Value {
    harness.ask("GET", &format!("{SERVERS}/{server}")).token(MEMBER).send().await.json()["server"]["status"].clone()
}

#[actix_web::test]
async fn a_simulated_server_lives_and_takes_its_volumes_with_it() {
    let harness = start().await;
    let server = made(&harness).await;
    assert_eq!(status(&harness, &server).await, "ACTIVE");
    let (kept, flagged) =
        (harness.volume(MEMBER, json!({"size": 1})).await, harness.volume(MEMBER, json!({"size": 1})).await);
    for (volume, goes) in [(&kept, false), (&flagged, true)] {
        let body = json!({"volumeAttachment": {"volumeId": volume, "delete_on_termination": goes}});
        let path = format!("{SERVERS}/{server}/os-volume_attachments");
        let got = harness.post(&path, &body).token(MEMBER).compute("2.79").send().await;
        assert_eq!(got.status, 200, "{}", got.text);
        harness.until_at(&format!("/v3/volumes/{volume}"), "/volume/status", &json!("in-use")).await;
    }
    for (action, word) in [
        ("os-stop", "SHUTOFF"),
        ("os-start", "ACTIVE"),
        ("pause", "PAUSED"),
        ("unpause", "ACTIVE"),
        ("suspend", "SUSPENDED"),
        ("resume", "ACTIVE"),
        ("reboot", "ACTIVE"),
        ("lock", "ACTIVE"),
        ("unlock", "ACTIVE"),
        ("shelve", "SHELVED"),
        ("unshelve", "ACTIVE"),
    ] {
        assert_eq!(act(&harness, MEMBER, &server, action).await, 202, "{action}");
        assert_eq!(status(&harness, &server).await, word, "{action}");
    }
    let got = harness.ask("DELETE", &format!("{SERVERS}/{server}")).token(MEMBER).send().await;
    assert_eq!((got.status, got.text.as_str()), (204, ""));
    harness.until_at(&format!("{SERVERS}/{server}"), "/itemNotFound/code", &json!(404)).await;
    assert_eq!(harness.get(&format!("/v3/volumes/{kept}")).send().await.json()["volume"]["status"], "available");
    harness.until_at(&format!("/v3/volumes/{flagged}"), "/itemNotFound/code", &json!(404)).await;
    harness.stop().await;
}

#[actix_web::test]
async fn states_and_locks_refuse_with_the_word_of_the_action() {
    let harness = start().await;
    let server = made(&harness).await;
    let refused = async |token: &str, action: &str| {
        let path = format!("{SERVERS}/{server}/action");
        let got = harness.post(&path, &json!({action: null})).token(token).send().await;
        assert_eq!(got.status, 409, "{action}: {}", got.text);
        got.json()["conflictingRequest"]["message"].as_str().unwrap().to_owned()
    };
    for (action, word) in
        [("os-start", "start"), ("unpause", "unpause"), ("resume", "resume"), ("shelveOffload", "shelve_offload")]
    {
        let expected = format!("Cannot '{word}' instance {server} while it is in vm_state active");
        assert_eq!(refused(ADMIN, action).await, expected);
    }
    assert_eq!(act(&harness, MEMBER, &server, "lock").await, 202);
    assert_eq!(refused(MEMBER, "os-stop").await, format!("Instance {server} is locked"));
    assert_eq!(act(&harness, ADMIN, &server, "os-stop").await, 202, "an administrator passes a lock");
    assert_eq!(act(&harness, MEMBER, &server, "unlock").await, 202);
    harness.stop().await;
}

#[actix_web::test]
async fn what_cannot_be_simulated_is_refused() {
    let harness = start().await;
    for body in [
        json!({}),
        json!({"server": {}}),
        json!({"server": {"name": ""}}),
        json!({"server": {"name": 1}}),
        json!({"server": {"name": "n", "max_count": 2}}),
        json!({"server": {"name": "n", "min_count": "2"}}),
        json!({"server": {"name": "n", "block_device_mapping": [{"volume_id": NIL}]}}),
        json!({"server": {"name": "n", "flavorRef": "2"}}),
        json!({"server": {"name": "n", "imageRef": "i"}}),
        json!({"server": {"name": "n", "imageRef": NIL}}),
    ] {
        let got = harness.post(SERVERS, &body).token(MEMBER).send().await;
        assert_eq!(got.status, 400, "{body}: {}", got.text);
    }
    // one that is run elsewhere is not ended by Hearth
    let body = json!({"server": {"name": "real", "project_id": "p", "hypervisor": "none"}});
    let real = harness.post("/admin/servers", &body).token(ADMIN).send().await.json()["server"]["id"].clone();
    let real = real.as_str().unwrap();
    assert_eq!(harness.ask("DELETE", &format!("{SERVERS}/{real}")).token(MEMBER).send().await.status, 409);
    assert_eq!(act(&harness, MEMBER, real, "os-stop").await, 409);
    assert_eq!(act(&harness, MEMBER, real, "rebuild").await, 400);
    harness.stop().await;
}

/// It is switched on by a setting.
#[actix_web::test]
async fn without_the_setting_there_is_no_such_call() {
    let harness = Harness::start().await;
    let server = harness.server("s").await;
    let got = harness.post(SERVERS, &json!({"server": {"name": "n"}})).token(MEMBER).send().await;
    assert_eq!(got.status, 404, "{}", got.text);
    assert_eq!(harness.ask("DELETE", &format!("{SERVERS}/{server}")).token(ADMIN).send().await.status, 404);
    assert_eq!(act(&harness, ADMIN, &server, "os-stop").await, 404);
    for path in ["flavors", "flavors/detail", "flavors/1", "os-volumes", "os-snapshots"] {
        assert_eq!(harness.get(&format!("/compute/v2.1/{path}")).send().await.status, 404, "{path}");
    }
    harness.stop().await;
}

/// The names and messages of a server's actions, oldest first.
async fn history(harness: &Harness, server: &str) -> Vec<(String, Value)> {
    let got = harness
        .ask("GET", &format!("{SERVERS}/{server}/os-instance-actions"))
        .token(MEMBER)
        .compute("2.21")
        .send()
        .await;
    let mut actions: Vec<_> = got.json()["instanceActions"]
        .as_array()
        .unwrap_or_else(|| panic!("{}", got.text))
        .iter()
        .map(|action| (action["action"].as_str().unwrap().to_owned(), action["message"].clone()))
        .collect();
    actions.reverse();
    actions
}

#[actix_web::test]
async fn everything_done_to_a_simulated_server_is_an_action_with_its_event() {
    let harness = start().await;
    let server = made(&harness).await;
    let mut done = vec![("create".to_owned(), "compute__do_build_and_run_instance")];
    for (action, name, event) in [
        ("os-stop", "stop", "compute_stop_instance"),
        ("os-start", "start", "compute_start_instance"),
        ("reboot", "reboot", "compute_reboot_instance"),
        ("pause", "pause", "compute_pause_instance"),
        ("unpause", "unpause", "compute_unpause_instance"),
        ("suspend", "suspend", "compute_suspend_instance"),
        ("resume", "resume", "compute_resume_instance"),
        ("lock", "lock", "api_lock"),
        ("unlock", "unlock", "api_unlock"),
        ("shelve", "shelve", "compute_shelve_instance"),
        ("shelveOffload", "shelveOffload", "compute_shelve_offload_instance"),
        ("unshelve", "unshelve", "compute_unshelve_instance"),
    ] {
        assert_eq!(act(&harness, ADMIN, &server, action).await, 202, "{action}");
        done.push((name.to_owned(), event));
    }
    // what is refused is none
    assert_eq!(act(&harness, ADMIN, &server, "os-start").await, 409);
    let path = format!("{SERVERS}/{server}");
    let deleted = harness.ask("DELETE", &path).token(MEMBER).send().await;
    assert_eq!(deleted.status, 204, "{}", deleted.text);
    done.push(("delete".to_owned(), "compute_terminate_instance"));

    let names: Vec<_> = history(&harness, &server).await;
    let expected: Vec<_> = done.iter().map(|(name, _)| (name.clone(), Value::Null)).collect();
    assert_eq!(names, expected);
    let actions = format!("{path}/os-instance-actions");
    let listed = harness.ask("GET", &actions).token(ADMIN).compute("2.90").send().await.json();
    let listed = listed["instanceActions"].as_array().unwrap();
    for (row, (name, event)) in listed.iter().rev().zip(&done) {
        let id = row["request_id"].as_str().unwrap();
        let one = harness.ask("GET", &format!("{actions}/{id}")).token(ADMIN).compute("2.90").send().await.json();
        let one = &one["instanceAction"];
        assert_eq!((&one["action"], &one["events"][0]["event"]), (&json!(name), &json!(event)));
        assert_eq!(one["events"][0]["result"], "Success");
    }
    assert_eq!(listed[0]["request_id"], deleted.header("x-compute-request-id").unwrap());
    // of a server that is gone, from 2.21 on
    assert_eq!(harness.ask("GET", &actions).token(MEMBER).compute("2.20").send().await.status, 404);
    assert_eq!(harness.ask("GET", &actions).token(STRANGER).compute("2.21").send().await.status, 404);
    harness.stop().await;
}

async fn boot(harness: &Harness, mapping: Value) -> Got {
    let body = json!({"server": {"name": "b", "imageRef": "", "flavorRef": "1", "networks": "none", "block_device_mapping_v2": mapping}});
    harness.post(SERVERS, &body).token(MEMBER).compute("2.67").send().await
}

async fn until_status(harness: &Harness, server: &str, word: &str) {
    harness.until_at(&format!("{SERVERS}/{server}"), "/server/status", &json!(word)).await;
}

#[actix_web::test]
async fn a_server_boots_with_volumes_that_are_there_and_others_that_are_made() {
    let harness = start().await;
    let image = harness.image(|_| {});
    let root = harness.volume(MEMBER, json!({"size": 1, "imageRef": image})).await;
    let body = json!({"snapshot": {"volume_id": root}});
    let snapshot = harness.post("/v3/snapshots", &body).token(MEMBER).send().await.json()["snapshot"]["id"].clone();
    let path = format!("/v3/snapshots/{}", snapshot.as_str().unwrap());
    harness.until_at(&path, "/snapshot/status", &json!("available")).await;
    let got = boot(
        &harness,
        json!([
            {"source_type": "volume", "destination_type": "volume", "uuid": root, "boot_index": 0},
            {"source_type": "blank", "destination_type": "volume", "volume_size": 1, "boot_index": -1, "tag": "data",
             "delete_on_termination": true},
            {"source_type": "snapshot", "destination_type": "volume", "uuid": snapshot, "volume_size": "2"},
            {"source_type": "image", "destination_type": "volume", "uuid": image, "volume_size": 1},
            {"source_type": "blank", "destination_type": "local"},
        ]),
    )
    .await;
    assert_eq!(got.status, 202, "{}", got.text);
    let server = got.json()["server"]["id"].as_str().unwrap().to_owned();
    until_status(&harness, &server, "ACTIVE").await;
    let path = format!("{SERVERS}/{server}/os-volume_attachments");
    let rows = harness.ask("GET", &path).token(MEMBER).compute("2.79").send().await.json();
    let rows = rows["volumeAttachments"].as_array().unwrap().clone();
    let devices: Vec<_> = rows.iter().map(|row| row["device"].as_str().unwrap()).collect();
    assert_eq!(devices, ["/dev/vda", "/dev/vdb", "/dev/vdc", "/dev/vdd"]);
    assert_eq!((&rows[0]["volumeId"], &rows[1]["tag"]), (&json!(root), &json!("data")));
    let volumes: Vec<_> = rows.iter().map(|row| row["volumeId"].as_str().unwrap()).collect();
    for (volume, size, from) in [(volumes[1], 1, Value::Null), (volumes[2], 2, snapshot), (volumes[3], 1, Value::Null)]
    {
        let made = harness.until(volume, "in-use").await;
        assert_eq!((&made["size"], &made["snapshot_id"]), (&json!(size), &from));
    }
    assert_eq!(harness.until(volumes[3], "in-use").await["volume_image_metadata"]["image_id"], image);
    // its volumes are part of its making
    assert_eq!(history(&harness, &server).await, [("create".to_owned(), Value::Null)]);
    let got = harness.ask("DELETE", &format!("{path}/{root}")).token(MEMBER).send().await;
    assert_eq!(got.fault(), (400, "Cannot detach a root device volume".to_owned()));
    let got = harness.ask("DELETE", &format!("{path}/{}", volumes[2])).token(MEMBER).send().await;
    assert_eq!(got.status, 202, "{}", got.text);
    harness.until(volumes[2], "available").await;
    assert_eq!(harness.ask("DELETE", &format!("{SERVERS}/{server}")).token(MEMBER).send().await.status, 204);
    harness.until(&root, "available").await;
    harness.until(volumes[1], "gone").await;
    harness.until(volumes[3], "available").await;
    harness.stop().await;
}

#[actix_web::test]
async fn what_no_server_can_boot_with_is_refused_before_anything_is_made() {
    let harness = start().await;
    let image = harness.image(|_| {});
    let blank = harness.volume(MEMBER, json!({"size": 1})).await;
    let foreign = harness.volume(STRANGER, json!({"size": 1})).await;
    let bootable = harness.volume(MEMBER, json!({"size": 1, "imageRef": image})).await;
    let taken = harness.volume(MEMBER, json!({"size": 1, "imageRef": image})).await;
    let server = made(&harness).await;
    let body = json!({"volumeAttachment": {"volumeId": taken}});
    let path = format!("{SERVERS}/{server}/os-volume_attachments");
    assert_eq!(harness.post(&path, &body).token(MEMBER).send().await.status, 200);
    harness.until(&taken, "in-use").await;
    let invalid = |text: &str| format!("Block Device Mapping is Invalid: {text}");
    let sequence = "Boot sequence for the instance and image/block device mapping combination is not valid.";
    let of = |id: &str, index: Value| json!({"source_type": "volume", "destination_type": "volume", "uuid": id, "boot_index": index});
    for (mapping, text) in [
        (json!([of(&bootable, Value::Null)]), invalid(sequence)),
        (json!([of(&bootable, json!(1))]), invalid(sequence)),
        (json!([of(&bootable, json!(0)), of(&blank, json!("0"))]), invalid(sequence)),
        (json!([of(&blank, json!(0))]), format!("Block Device {blank} is not bootable.")),
        (json!([of(NIL, json!(0))]), invalid(&format!("failed to get volume {NIL}."))),
        (json!([of(&foreign, json!(0))]), invalid(&format!("failed to get volume {foreign}."))),
        (
            json!([of(&taken, json!(0))]),
            format!("Invalid volume: volume '{taken}' status must be 'available'. Currently in 'in-use'"),
        ),
        (json!([{"source_type": "volume", "boot_index": 0}]), invalid("Missing device UUID.")),
        (
            json!([{"source_type": "volume", "destination_type": "local", "uuid": bootable, "boot_index": 0}]),
            invalid("Mapping volume to local is not supported."),
        ),
        (
            json!([{"source_type": "snapshot", "destination_type": "volume", "uuid": NIL, "boot_index": 0}]),
            invalid(&format!("failed to get snapshot {NIL}.")),
        ),
        (
            json!([{"source_type": "image", "destination_type": "volume", "uuid": image, "boot_index": 0}]),
            invalid("Images with destination_type 'volume' need to have a non-zero size specified"),
        ),
        (
            json!([of(&bootable, json!(0)), {"source_type": "blank", "destination_type": "volume"}]),
            invalid("Blank volumes (source: 'blank', dest: 'volume') need to have non-zero size"),
        ),
        (
            json!([{"source_type": "image", "destination_type": "local", "uuid": NIL, "boot_index": 0}]),
            format!("Image {NIL} could not be found."),
        ),
    ] {
        assert_eq!(boot(&harness, mapping.clone()).await.fault(), (400, text), "{mapping}");
    }
    for mapping in [
        json!({}),
        json!([1]),
        json!([{"source_type": "else"}]),
        json!([{"boot_index": "first"}]),
        json!([{"volume_size": 0}]),
        json!([{"delete_on_termination": "perhaps"}]),
        json!([{"virtual_name": "x"}]),
    ] {
        assert_eq!(boot(&harness, mapping.clone()).await.status, 400, "{mapping}");
    }
    let got = harness.ask("GET", SERVERS).token(MEMBER).send().await.json();
    assert_eq!(got["servers"].as_array().map(Vec::len), Some(1));
    harness.stop().await;
}

#[actix_web::test]
async fn a_server_whose_volume_cannot_be_made_is_in_error_and_its_action_says_why() {
    let harness = start().await;
    let image = harness.image(|_| {});
    let root = harness.volume(MEMBER, json!({"size": 1, "imageRef": image})).await;
    let mapping = |second: Value| json!([{"source_type": "volume", "destination_type": "volume", "uuid": root, "boot_index": 0}, second]);
    harness.fail("create");
    let second = json!({"source_type": "blank", "destination_type": "volume", "volume_size": 1});
    let server = boot(&harness, mapping(second)).await.json()["server"]["id"].as_str().unwrap().to_owned();
    until_status(&harness, &server, "ERROR").await;
    assert_eq!(history(&harness, &server).await, [("create".to_owned(), json!("Error"))]);
    assert_eq!(harness.ask("DELETE", &format!("{SERVERS}/{server}")).token(MEMBER).send().await.status, 204);
    harness.until(&root, "available").await;
    // refused at once by Block Storage, which is as late for the client
    let second =
        json!({"source_type": "blank", "destination_type": "volume", "volume_size": 1, "volume_type": "nobody's"});
    let got = boot(&harness, mapping(second)).await;
    assert_eq!(got.status, 202, "{}", got.text);
    let server = got.json()["server"]["id"].as_str().unwrap().to_owned();
    until_status(&harness, &server, "ERROR").await;
    let path = format!("{SERVERS}/{server}/os-instance-actions/{}", got.header("x-compute-request-id").unwrap());
    let action = harness.ask("GET", &path).token(ADMIN).compute("2.84").send().await.json();
    let details = action["instanceAction"]["events"][0]["details"].as_str().unwrap_or_default().to_owned();
    assert!(details.contains("nobody's"), "{action}");
    harness.stop().await;
}

/// A server that is being made is deleted: what it has already is let go, and nothing more is attached.
#[actix_web::test]
async fn a_server_can_be_deleted_while_it_boots() {
    let harness = start().await;
    let image = harness.image(|_| {});
    let root = harness.volume(MEMBER, json!({"size": 1, "imageRef": image})).await;
    harness.hang("create");
    let mapping = json!([
        {"source_type": "volume", "destination_type": "volume", "uuid": root, "boot_index": 0},
        {"source_type": "blank", "destination_type": "volume", "volume_size": 1},
    ]);
    let server = boot(&harness, mapping).await.json()["server"]["id"].as_str().unwrap().to_owned();
    assert_eq!(status(&harness, &server).await, "BUILD");
    harness.until(&root, "in-use").await;
    assert_eq!(act(&harness, MEMBER, &server, "os-stop").await, 409);
    let other = attach_nothing(&harness, &server).await;
    assert_eq!(other, 409, "nobody else attaches to it");
    assert_eq!(harness.ask("DELETE", &format!("{SERVERS}/{server}")).token(MEMBER).send().await.status, 204);
    harness.until(&root, "available").await;
    harness.until_released().await;
    let expected = [("create".to_owned(), json!("Error")), ("delete".to_owned(), Value::Null)];
    assert_eq!(history(&harness, &server).await, expected);
    let volumes = harness.ask("GET", "/v3/volumes").token(MEMBER).send().await.json();
    for volume in volumes["volumes"].as_array().unwrap() {
        harness.until(volume["id"].as_str().unwrap(), "available").await;
    }
    harness.stop().await;
}

/// The answer to an attach of a volume that does not matter.
async fn attach_nothing(harness: &Harness, server: &str) -> u16 {
    let path = format!("{SERVERS}/{server}/os-volume_attachments");
    let body = json!({"volumeAttachment": {"volumeId": NIL}});
    harness.post(&path, &body).token(MEMBER).send().await.status
}

/// Whoever waits until a server is gone finds its volumes free.
#[actix_web::test]
async fn a_deleted_server_is_shown_until_its_volumes_are_free() {
    let harness = start().await;
    let server = made(&harness).await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let path = format!("{SERVERS}/{server}");
    let body = json!({"volumeAttachment": {"volumeId": volume}});
    let attached = harness.post(&format!("{path}/os-volume_attachments"), &body).token(MEMBER).send().await;
    assert_eq!(attached.status, 200, "{}", attached.text);
    harness.until(&volume, "in-use").await;
    harness.hang("unexport");
    assert_eq!(harness.ask("DELETE", &path).token(MEMBER).send().await.status, 204);
    let got = harness.ask("GET", &path).token(MEMBER).send().await;
    assert_eq!(got.status, 200, "{}", got.text);
    let shown = got.json()["server"].clone();
    assert_eq!((&shown["status"], &shown["OS-EXT-STS:task_state"]), (&json!("DELETED"), &json!("deleting")));
    assert_eq!(harness.ask("GET", &path).token(STRANGER).send().await.status, 404);
    assert_eq!(harness.ask("GET", SERVERS).token(MEMBER).send().await.json()["servers"], json!([]));
    assert_eq!(harness.ask("DELETE", &path).token(MEMBER).send().await.status, 404);
    harness.until_released().await;
    harness.until_at(&path, "/itemNotFound/code", &json!(404)).await;
    assert_eq!(harness.get(&format!("/v3/volumes/{volume}")).send().await.json()["volume"]["status"], "available");
    harness.stop().await;
}

/// Where storage is real there is nobody who would plug.
#[actix_web::test]
async fn without_a_simulated_hypervisor_volumes_are_attached_as_well() {
    let options = ApiOptions { simulated_servers: true, simulated_by: HypervisorKind::None, ..ApiOptions::default() };
    let harness = Harness::start_with(options, Limits::NONE).await;
    let server = made(&harness).await;
    harness.fail("plug");
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let path = format!("{SERVERS}/{server}/os-volume_attachments");
    let body = json!({"volumeAttachment": {"volumeId": volume}});
    assert_eq!(harness.post(&path, &body).token(MEMBER).send().await.status, 200);
    harness.until(&volume, "in-use").await;
    assert_eq!(act(&harness, MEMBER, &server, "os-stop").await, 202);
    assert_eq!(harness.ask("DELETE", &format!("{path}/{volume}")).token(MEMBER).send().await.status, 202);
    harness.until(&volume, "available").await;
    assert_eq!(harness.ask("DELETE", &format!("{SERVERS}/{server}")).token(MEMBER).send().await.status, 204);
    harness.stop().await;
}

#[actix_web::test]
async fn there_is_one_flavor_and_no_network() {
    let harness = start().await;
    let server = made(&harness).await;
    let get = async |path: &str, version: &str| {
        let got = harness.ask("GET", &format!("/compute/v2.1{path}")).token(MEMBER).compute(version).send().await;
        assert_eq!(got.status, 200, "{path}: {}", got.text);
        got.json()
    };
    let flavor = get("/flavors/1", "2.61").await["flavor"].clone();
    assert_eq!((&flavor["id"], &flavor["name"]), (&json!("1"), &json!("simulated")));
    assert_eq!(get("/flavors/detail", "2.61").await["flavors"], json!([flavor]));
    assert_eq!(get("/flavors?minRam=512&limit=1", "2.1").await["flavors"][0]["id"], "1");
    for nothing in ["minRam=513", "minDisk=1", "limit=0", "marker=1"] {
        assert_eq!(get(&format!("/flavors?{nothing}"), "2.1").await["flavors"], json!([]), "{nothing}");
    }
    // as the server shows it
    assert_eq!(get(&format!("/servers/{server}"), "2.1").await["server"]["flavor"]["id"], flavor["id"]);
    let embedded = get(&format!("/servers/{server}"), "2.47").await["server"]["flavor"].clone();
    assert_eq!(embedded["original_name"], flavor["name"]);
    for member in ["vcpus", "ram", "disk"] {
        assert_eq!(embedded[member], flavor[member], "{member}");
    }
    assert_eq!(get("/servers?flavor=1", "2.1").await["servers"][0]["id"], server);
    assert_eq!(get("/servers?flavor=0", "2.1").await["servers"], json!([]));
    assert_eq!(get(&format!("/servers/{server}/ips"), "2.1").await, json!({"addresses": {}}));
    for (path, code) in
        [("/flavors/0", 404), ("/flavors?minRam=x", 400), ("/flavors?marker=9", 400), ("/flavors?limit=-1", 400)]
    {
        let got = harness.ask("GET", &format!("/compute/v2.1{path}")).token(MEMBER).send().await;
        assert_eq!(got.status, code, "{path}: {}", got.text);
    }
    harness.stop().await;
}

#[actix_web::test]
async fn volumes_and_snapshots_in_the_words_of_old_computes() {
    let harness = start().await;
    let ask = async |method: &str, path: &str, body: Value, code: u16| {
        let asking = harness.ask(method, &format!("/compute/v2.1{path}")).token(MEMBER);
        let got = if body.is_null() { asking.send().await } else { asking.json(&body).send().await };
        assert_eq!(got.status, code, "{method} {path}: {}", got.text);
        serde_json::from_str::<Value>(&got.text).unwrap_or_default()
    };
    let body = json!({"volume": {"size": "1", "display_name": "v", "display_description": "d", "metadata": {"a": "b"}, "x": 1}});
    let made = ask("POST", "/os-volumes", body, 200).await["volume"].clone();
    let volume = made["id"].as_str().unwrap().to_owned();
    harness.until(&volume, "available").await;
    let shown = ask("GET", &format!("/os-volumes/{volume}"), Value::Null, 200).await["volume"].clone();
    for (member, value) in [
        ("displayName", json!("v")),
        ("displayDescription", json!("d")),
        ("metadata", json!({"a": "b"})),
        ("size", json!(1)),
        ("status", json!("available")),
        ("attachments", json!([{}])),
        ("snapshotId", Value::Null),
        ("volumeType", json!("__DEFAULT__")),
        ("availabilityZone", json!("nova")),
        ("createdAt", made["createdAt"].clone()),
    ] {
        assert_eq!(shown[member], value, "{member}");
    }
    let other = harness.volume(MEMBER, json!({"size": 1})).await;
    for path in ["/os-volumes", "/os-volumes/detail"] {
        let all = ask("GET", path, Value::Null, 200).await["volumes"].clone();
        assert_eq!((&all[0]["id"], &all[1]), (&json!(other), &shown));
        let page = ask("GET", &format!("{path}?limit=1&offset=1&name=other"), Value::Null, 200).await;
        assert_eq!(page["volumes"], json!([shown]));
    }
    let body = json!({"snapshot": {"volume_id": volume, "display_name": "s"}});
    let snapshot = ask("POST", "/os-snapshots", body, 200).await["snapshot"]["id"].as_str().unwrap().to_owned();
    harness.until_at(&format!("/v3/snapshots/{snapshot}"), "/snapshot/status", &json!("available")).await;
    let shown = ask("GET", &format!("/os-snapshots/{snapshot}"), Value::Null, 200).await["snapshot"].clone();
    assert_eq!((&shown["displayName"], &shown["volumeId"], &shown["size"]), (&json!("s"), &json!(volume), &json!(1)));
    for path in ["/os-snapshots", "/os-snapshots/detail"] {
        assert_eq!(ask("GET", path, Value::Null, 200).await["snapshots"], json!([shown]));
    }
    ask("DELETE", &format!("/os-snapshots/{snapshot}"), Value::Null, 202).await;
    harness.until_at(&format!("/v3/snapshots/{snapshot}"), "/itemNotFound/code", &json!(404)).await;

    let server = self::made(&harness).await;
    let body = json!({"volumeAttachment": {"volumeId": volume}});
    assert_eq!(
        harness.post(&format!("{SERVERS}/{server}/os-volume_attachments"), &body).token(MEMBER).send().await.status,
        200
    );
    harness.until(&volume, "in-use").await;
    let attached = ask("GET", &format!("/os-volumes/{volume}"), Value::Null, 200).await;
    let row = json!([{"id": volume, "volumeId": volume, "serverId": server, "device": "/dev/vdb"}]);
    assert_eq!(attached["volume"]["attachments"], row);
    ask("DELETE", &format!("/os-volumes/{volume}"), Value::Null, 400).await;
    ask("DELETE", &format!("/os-volumes/{other}"), Value::Null, 202).await;
    harness.until(&other, "gone").await;

    for (body, code) in [
        (json!({}), 400),
        (json!({"volume": 1}), 400),
        (json!({"volume": {"size": "#"}}), 400),
        (json!({"volume": {"size": 0}}), 400),
        (json!({"volume": {"size": ""}}), 400),
    ] {
        ask("POST", "/os-volumes", body, code).await;
    }
    ask("POST", "/os-snapshots", json!({"snapshot": {}}), 400).await;
    for path in ["/os-volumes/x", "/os-volumes/", "/os-snapshots/x"] {
        ask("GET", path, Value::Null, 404).await;
    }
    for path in ["/os-volumes", "/os-snapshots"] {
        let at = async |version: &str| {
            harness.ask("GET", &format!("/compute/v2.1{path}")).token(MEMBER).compute(version).send().await.status
        };
        assert_eq!((at("2.35").await, at("2.36").await), (200, 404), "{path}");
    }
    harness.stop().await;
}
