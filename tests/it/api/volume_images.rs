//! Images over the wire: volumes made from them (volumes §3), `os-volume_upload_image` and `os-reimage` (volume-actions §2.16,
//! §2.19).

use hearth::api::ApiOptions;
use hearth::domain::ids::{ImageId, ProjectId};
use hearth::domain::quota::Limits;
use hearth::images::{Image, ImageError, ImageStatus, Visibility};
use hearth::sim::ImageCall;
use serde_json::{Value, json};
use uuid::Uuid;

use super::harness::{ADMIN, Got, Harness, MEMBER, READER, STRANGER};

const GIB: u64 = 1 << 30;
const NIL: &str = "00000000-0000-0000-0000-000000000000";

impl Harness {
    /// An active image that everybody sees.
    pub(super) fn image(&self, change: impl FnOnce(&mut Image)) -> String {
        let id = ImageId(Uuid::new_v4());
        self.images.put(id, b"a disk", change);
        id.to_string()
    }

    async fn create(&self, token: &str, version: &str, members: Value) -> Got {
        self.post("/v3/volumes", &json!({ "volume": members })).token(token).volume(version).send().await
    }

    /// A volume from the image, available.
    async fn volume_from(&self, image: &str) -> String {
        self.volume(MEMBER, json!({"size": 1, "imageRef": image})).await
    }

    async fn act_at(&self, token: &str, version: &str, volume: &str, body: &Value) -> Got {
        self.post(&format!("/v3/volumes/{volume}/action"), body).token(token).volume(version).send().await
    }

    async fn upload(&self, token: &str, version: &str, volume: &str, members: Value) -> Got {
        self.act_at(token, version, volume, &json!({ "os-volume_upload_image": members })).await
    }

    async fn reimage(&self, token: &str, volume: &str, members: Value) -> Got {
        self.act_at(token, "3.68", volume, &json!({ "os-reimage": members })).await
    }

    /// What the owner is told of a volume, the latest first.
    async fn told(&self, volume: &str) -> Value {
        let path = format!("/v3/messages?resource_uuid={volume}");
        self.ask("GET", &path).token(MEMBER).volume("3.31").send().await.json()["messages"].clone()
    }

    fn image_of(&self, id: &Value) -> Option<Image> {
        self.images.image(id.as_str().expect("an id").parse().expect("an id"))
    }
}

fn set(properties: &[(&str, &str)]) -> impl FnOnce(&mut Image) {
    let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    move |image| image.properties = properties
}

#[actix_web::test]
async fn a_volume_is_made_from_an_image_by_its_id_its_url_and_its_name() {
    let harness = Harness::start().await;
    let image = harness.image(|image| {
        set(&[("os_distro", "arch"), ("size", "a lie")])(image);
        image.name = Some("cirros".to_owned());
        image.checksum = Some("d41d8cd9".to_owned());
        (image.min_disk, image.min_ram, image.virtual_size) = (1, 64, Some(GIB));
    });
    for reference in [json!(image), json!(format!("http://image.example/v2/images/{image}")), json!("cirros")] {
        harness.hang("create_from_image");
        let got = harness.create(MEMBER, "3.0", json!({"size": 2, "imageRef": reference})).await;
        assert_eq!((got.status, &got.json()["volume"]["status"]), (202, &json!("creating")), "{}", got.text);
        assert_eq!(got.json()["volume"]["bootable"], "false");
        let id = got.json()["volume"]["id"].as_str().unwrap().to_owned();
        assert!(harness.until(&id, "downloading").await.get("volume_image_metadata").is_none());
        harness.until_released().await;
        let volume = harness.until(&id, "available").await;
        assert_eq!((&volume["bootable"], &volume["size"]), (&json!("true"), &json!(2)));
        assert_eq!(
            volume["volume_image_metadata"],
            json!({
                "image_id": image, "image_name": "cirros", "checksum": "d41d8cd9", "container_format": "bare",
                "disk_format": "raw", "min_disk": "1", "min_ram": "64", "size": "6", "os_distro": "arch",
                "signature_verified": "False",
            })
        );
        assert_eq!(harness.told(&id).await, json!([]));
    }
    let got = harness.create(MEMBER, "3.0", json!({"size": 1, "image_id": image})).await;
    assert_eq!(got.status, 202, "the other name of the member: {}", got.text);
    harness.stop().await;
}

#[actix_web::test]
async fn an_image_that_cannot_become_the_volume_is_refused_before_anything_is_written() {
    let harness = Harness::start().await;
    let unknown = "Invalid image identifier or unable to access requested image.";
    let foreign = harness.image(|image| {
        (image.visibility, image.owner) = (Visibility::Private, Some(ProjectId::from("q")));
    });
    for name in ["twin", "twin"] {
        harness.image(|image| image.name = Some(name.to_owned()));
    }
    let source = harness.volume(MEMBER, json!({"size": 1})).await;
    let good = harness.image(|_| {});
    for (reference, more, (status, words)) in [
        (json!(NIL), json!({}), (400, unknown.to_owned())),
        (json!(foreign), json!({}), (400, unknown.to_owned())),
        (json!("cirros"), json!({}), (400, unknown.to_owned())),
        (
            json!("twin"),
            json!({}),
            (409, "Multiple matches found for 'twin', use an ID to be more specific.".to_owned()),
        ),
        (
            json!(harness.image(|image| image.status = ImageStatus::Queued)),
            json!({}),
            (400, "is not active.".to_owned()),
        ),
        (
            json!(harness.image(|image| image.status = ImageStatus::Deactivated)),
            json!({}),
            (400, "is not active.".to_owned()),
        ),
        (
            json!(harness.image(|image| image.size = Some(GIB + 1))),
            json!({}),
            (400, "Size of specified image 2GB is larger than volume size 1GB.".to_owned()),
        ),
        (
            json!(harness.image(|image| image.min_disk = 2)),
            json!({}),
            (400, "Volume size 1GB cannot be smaller than the image minDisk size 2GB.".to_owned()),
        ),
        (
            json!(harness.image(|image| image.virtual_size = Some(1 << 40))),
            json!({}),
            (400, "Image virtual size is 1024GB and doesn't fit in a volume of size 1GB.".to_owned()),
        ),
        (
            json!(good),
            json!({"source_volid": source}),
            (400, "May specify only one of snapshot, imageRef or source volume".to_owned()),
        ),
        (json!(good), json!({"size": null}), (400, "Volume size must be specified".to_owned())),
    ] {
        let mut members = json!({"size": 1, "imageRef": reference});
        for (key, value) in more.as_object().unwrap() {
            members[key] = value.clone();
        }
        let got = harness.create(MEMBER, "3.60", members.clone()).await;
        let (found, message) = got.fault();
        assert!(found == status && message.contains(&words), "{members}: {message}");
    }
    assert_eq!(harness.create(READER, "3.0", json!({"size": 1, "imageRef": good})).await.status, 403);
    let owner = harness.create(STRANGER, "3.0", json!({"size": 1, "imageRef": foreign})).await;
    assert_eq!(owner.status, 202, "its own project sees it: {}", owner.text);
    let volumes = harness.ask("GET", "/v3/volumes").token(MEMBER).send().await.json();
    assert_eq!(volumes["volumes"].as_array().unwrap().len(), 1, "only the source");
    harness.stop().await;
}

#[actix_web::test]
async fn a_volume_whose_image_does_not_arrive_is_in_error_and_its_owner_is_told() {
    let harness = Harness::start().await;
    let image = harness.image(|_| {});
    harness.images.fail(ImageCall::Fetch, ImageError::Invalid("the disk in the image has 7 bytes".to_owned()));
    let got = harness.create(MEMBER, "3.0", json!({"size": 1, "imageRef": image})).await;
    let id = got.json()["volume"]["id"].as_str().unwrap().to_owned();
    let volume = harness.until(&id, "error").await;
    assert_eq!((&volume["bootable"], volume.get("volume_image_metadata")), (&json!("false"), None));
    let told = harness.told(&id).await;
    assert_eq!(told[0]["event_id"], "VOLUME_VOLUME_005_012");
    let words = "copy image to volume:Driver failed to create the volume. the disk in the image has 7 bytes";
    assert_eq!(told[0]["user_message"], words);
    assert_eq!(told[0]["message_level"], "ERROR");
    let delete = harness.ask("DELETE", &format!("/v3/volumes/{id}")).token(MEMBER).send().await;
    assert_eq!(delete.status, 202);
    harness.until(&id, "gone").await;
    harness.stop().await;
}

#[actix_web::test]
async fn an_image_of_compute_without_data_stands_for_its_snapshot_from_3_46_on() {
    let harness = Harness::start().await;
    let source = harness.volume(MEMBER, json!({"size": 1})).await;
    let got = harness.post("/v3/snapshots", &json!({"snapshot": {"volume_id": source}})).token(MEMBER).send().await;
    let snapshot = got.json()["snapshot"]["id"].as_str().unwrap().to_owned();
    let is_there = || async {
        let got = harness.ask("GET", &format!("/v3/snapshots/{snapshot}")).token(MEMBER).send().await;
        got.json()["snapshot"]["status"] == "available"
    };
    while !is_there().await {
        tokio::task::yield_now().await;
    }
    let devices = json!([
        {"source_type": "blank", "boot_index": 1},
        {"source_type": "snapshot", "boot_index": 0, "snapshot_id": snapshot},
    ]);
    let image = harness.image(|image| {
        set(&[("block_device_mapping", &devices.to_string())])(image);
        image.size = Some(0);
    });
    let got = harness.create(MEMBER, "3.46", json!({"size": 1, "imageRef": image})).await;
    assert_eq!((got.status, &got.json()["volume"]["snapshot_id"]), (202, &json!(snapshot)), "{}", got.text);
    let got = harness.create(MEMBER, "3.45", json!({"size": 1, "imageRef": image})).await;
    assert_eq!(got.json()["volume"]["snapshot_id"], Value::Null);
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    assert_eq!(harness.reimage(MEMBER, &volume, json!({"image_id": image})).await.fault().0, 400);
    harness.stop().await;
}

/// Row 16: the type is asked for by the image, if its caller sees it.
#[actix_web::test]
async fn an_image_can_ask_for_a_type() {
    let harness = Harness::start().await;
    let got = harness.post("/v3/types", &json!({"volume_type": {"name": "fast"}})).token(ADMIN).send().await;
    assert_eq!(got.status, 200, "{}", got.text);
    for (named, more, expected) in [
        ("fast", json!({}), "fast"),
        ("absent", json!({}), "__DEFAULT__"),
        ("fast", json!({"volume_type": "__DEFAULT__"}), "__DEFAULT__"),
    ] {
        let image = harness.image(set(&[("cinder_img_volume_type", named)]));
        let mut members = json!({"size": 1, "imageRef": image});
        for (key, value) in more.as_object().unwrap() {
            members[key] = value.clone();
        }
        let got = harness.create(MEMBER, "3.0", members).await;
        assert_eq!(got.json()["volume"]["volume_type"], expected, "{named}: {}", got.text);
    }
    harness.stop().await;
}

#[actix_web::test]
async fn a_volume_is_uploaded_and_the_answer_is_cinder_s() {
    let harness = Harness::start().await;
    let source = harness.image(set(&[("os_distro", "arch"), ("os_glance_importing_to_stores", "x")]));
    let got = harness.create(MEMBER, "3.0", json!({"size": 1, "imageRef": source, "description": "d"})).await;
    let id = got.json()["volume"]["id"].as_str().unwrap().to_owned();
    harness.until(&id, "available").await;

    harness.hang("upload_image");
    let got = harness.upload(MEMBER, "3.0", &id, json!({"image_name": "copy", "force": "true"})).await;
    assert_eq!(got.status, 202, "{}", got.text);
    let answer = got.json()["os-volume_upload_image"].clone();
    assert_eq!(
        (&answer["id"], &answer["status"], &answer["size"], &answer["display_description"]),
        (&json!(id), &json!("uploading"), &json!(1), &json!("d"))
    );
    assert_eq!(
        (&answer["image_name"], &answer["disk_format"], &answer["container_format"]),
        (&json!("copy"), &json!("raw"), &json!("bare"))
    );
    assert_eq!((&answer["visibility"], &answer["protected"]), (&json!("shared"), &json!(false)));
    assert_eq!(answer["volume_type"]["name"], "__DEFAULT__");

    // While it runs: no second one, no metadata, no delete; the rest goes on.
    assert_eq!(harness.upload(MEMBER, "3.0", &id, json!({"image_name": "more"})).await.fault().0, 400);
    let path = format!("/v3/volumes/{id}/metadata");
    assert_eq!(harness.post(&path, &json!({"metadata": {"k": "v"}})).token(MEMBER).send().await.fault().0, 400);
    assert_eq!(harness.ask("DELETE", &format!("/v3/volumes/{id}")).token(MEMBER).send().await.fault().0, 400);
    let rename = json!({"volume": {"name": "renamed"}});
    assert_eq!(harness.put(&format!("/v3/volumes/{id}"), &rename).token(MEMBER).send().await.status, 200);
    assert_eq!(harness.image_of(&answer["image_id"]).unwrap().status, ImageStatus::Queued);
    harness.until_released().await;
    harness.until(&id, "available").await;

    let image = harness.image_of(&answer["image_id"]).unwrap();
    assert_eq!((image.status, image.name.as_deref()), (ImageStatus::Active, Some("copy")));
    assert_eq!((image.owner, image.visibility), (Some(ProjectId::from("p")), Visibility::Shared));
    let kept: Vec<&str> = image.properties.keys().map(String::as_str).collect();
    assert_eq!(kept, ["os_distro"], "what is not the first image's own");
    harness.stop().await;
}

#[actix_web::test]
async fn visibility_and_protection_of_an_upload_come_with_3_1() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    for member in [json!({"visibility": "private"}), json!({"protected": true})] {
        let mut members = member.clone();
        members["image_name"] = json!("copy");
        assert_eq!(harness.upload(MEMBER, "3.0", &id, members.clone()).await.fault().0, 400, "{member}");
        let got = harness.upload(MEMBER, "3.1", &id, members).await;
        assert_eq!(got.status, 202, "{member}: {}", got.text);
        let answer = got.json()["os-volume_upload_image"].clone();
        assert_eq!(answer["visibility"], "private", "the default of 3.1");
        assert_eq!(answer["protected"], member.get("protected").is_some());
        harness.until(&id, "available").await;
        let image = harness.image_of(&answer["image_id"]).unwrap();
        assert_eq!((image.visibility, image.protected), (Visibility::Private, member.get("protected").is_some()));
    }
    let public = json!({"image_name": "copy", "visibility": "public"});
    assert_eq!(harness.upload(MEMBER, "3.1", &id, public.clone()).await.fault().0, 403);
    assert_eq!(harness.upload(ADMIN, "3.1", &id, public).await.status, 202);
    harness.until(&id, "available").await;
    harness.stop().await;
}

#[actix_web::test]
async fn an_upload_that_cannot_be_is_refused() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    for members in [
        json!({}),
        json!({"image_name": ""}),
        json!({"image_name": "x".repeat(256)}),
        json!({"image_name": "x", "disk_format": "iso"}),
        json!({"image_name": "x", "disk_format": "ploop"}),
        json!({"image_name": "x", "container_format": "compressed"}),
        json!({"image_name": "x", "force": 1}),
        json!({"image_name": "x", "more": 1}),
    ] {
        assert_eq!(harness.upload(MEMBER, "3.71", &id, members.clone()).await.fault().0, 400, "{members}");
    }
    let name = || json!({"image_name": "x"});
    assert_eq!(harness.upload(READER, "3.71", &id, name()).await.fault().0, 403);
    assert_eq!(harness.upload(STRANGER, "3.71", &id, name()).await.fault().0, 404);
    assert_eq!(harness.upload(MEMBER, "3.71", NIL, name()).await.fault().0, 404);
    harness.images.fail(ImageCall::Create, ImageError::OverLimit("there are too many images".to_owned()));
    let (status, words) = harness.upload(MEMBER, "3.71", &id, name()).await.fault();
    assert!(status == 400 && words.contains("too many images"), "{words}");
    assert_eq!(harness.images.images().len(), 0);
    harness.until(&id, "available").await;
    harness.stop().await;
}

#[actix_web::test]
async fn an_upload_that_fails_leaves_no_image_and_its_owner_is_told() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    harness.images.fail(ImageCall::Upload, ImageError::NoSpace);
    assert_eq!(harness.upload(MEMBER, "3.1", &id, json!({"image_name": "x"})).await.status, 202);
    harness.until(&id, "available").await;
    assert_eq!(harness.images.images().len(), 0);
    assert_eq!(harness.told(&id).await[0]["event_id"], "VOLUME_VOLUME_003_004");
    harness.stop().await;
}

#[actix_web::test]
async fn a_volume_in_use_is_uploaded_where_the_service_lets_clients_insist() {
    for force_upload in [false, true] {
        let options = ApiOptions { force_upload, ..ApiOptions::default() };
        let harness = Harness::start_with(options, Limits::NONE).await;
        let id = harness.volume(MEMBER, json!({"size": 1})).await;
        let connected = json!({"attachment": {"volume_uuid": id, "instance_uuid": NIL, "connector": {"host": "h"}}});
        let got = harness.post("/v3/attachments", &connected).token(MEMBER).volume("3.27").send().await;
        let row = got.json()["attachment"]["id"].as_str().unwrap().to_owned();
        let complete = harness.post(&format!("/v3/attachments/{row}/action"), &json!({"os-complete": null}));
        assert_eq!(complete.token(MEMBER).volume("3.44").send().await.status, 204);
        harness.until(&id, "in-use").await;
        let got = harness.upload(MEMBER, "3.1", &id, json!({"image_name": "x"})).await;
        assert_eq!(got.fault().0, 400, "nobody insists");
        let got = harness.upload(MEMBER, "3.1", &id, json!({"image_name": "x", "force": true})).await;
        assert_eq!(got.status, if force_upload { 202 } else { 400 }, "{}", got.text);
        harness.until(&id, "in-use").await;
        harness.stop().await;
    }
}

#[actix_web::test]
async fn an_upload_asked_for_again_is_the_same_image() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let ask = || async {
        let body = json!({"os-volume_upload_image": {"image_name": "x"}});
        let path = format!("/v3/volumes/{id}/action");
        harness.post(&path, &body).token(MEMBER).volume("3.1").header("Idempotency-Key", "once").send().await
    };
    let first = ask().await;
    assert_eq!(first.status, 202, "{}", first.text);
    harness.until(&id, "available").await;
    let again = ask().await;
    let image = |got: &Got| got.json()["os-volume_upload_image"]["image_id"].clone();
    assert_eq!((again.status, image(&again)), (202, image(&first)), "{}", again.text);
    assert_eq!(harness.images.images().len(), 1);
    harness.stop().await;
}

#[actix_web::test]
async fn a_volume_gets_another_image() {
    let harness = Harness::start().await;
    let (first, second) = (harness.image(set(&[("a", "1")])), harness.image(set(&[("b", "2")])));
    let id = harness.volume_from(&first).await;
    harness.hang("reimage");
    let got = harness.reimage(MEMBER, &id, json!({"image_id": second})).await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    harness.until(&id, "downloading").await;
    harness.until_released().await;
    let volume = harness.until(&id, "available").await;
    let kept = &volume["volume_image_metadata"];
    assert_eq!((&kept["image_id"], &kept["b"], kept.get("a")), (&json!(second), &json!("2"), None));
    assert_eq!(volume["bootable"], "true");

    let blank = harness.volume(MEMBER, json!({"size": 1})).await;
    assert_eq!(harness.reimage(MEMBER, &blank, json!({"image_id": second})).await.status, 202);
    assert_eq!(harness.until(&blank, "available").await["bootable"], "true");

    harness.images.fail(ImageCall::Fetch, ImageError::Corrupt);
    assert_eq!(harness.reimage(MEMBER, &id, json!({"image_id": first})).await.status, 202);
    let volume = harness.until(&id, "available").await;
    assert_eq!(
        volume["volume_image_metadata"]["image_id"],
        json!(second),
        "the old contents, and what is said of them"
    );
    assert_eq!(harness.told(&id).await[0]["event_id"], "VOLUME_VOLUME_016_001");
    harness.stop().await;
}

#[actix_web::test]
async fn a_reimage_that_cannot_be_is_refused_and_changes_nothing() {
    let harness = Harness::start().await;
    let image = harness.image(|_| {});
    let id = harness.volume_from(&image).await;
    let body = json!({"os-reimage": {"image_id": image}});
    assert_eq!(harness.act_at(MEMBER, "3.67", &id, &body).await.status, 404, "before its microversion");
    for members in [json!({}), json!({"image_id": "cirros"}), json!({"image_id": image, "more": 1})] {
        assert_eq!(harness.reimage(MEMBER, &id, members.clone()).await.fault().0, 400, "{members}");
    }
    let asked = |image: &str| json!({ "image_id": image });
    assert_eq!(
        harness.reimage(MEMBER, &id, asked(NIL)).await.fault(),
        (404, format!("Image {NIL} could not be found."))
    );
    let foreign = harness.image(|image| {
        (image.visibility, image.owner) = (Visibility::Private, Some(ProjectId::from("q")));
    });
    assert_eq!(harness.reimage(MEMBER, &id, asked(&foreign)).await.fault().0, 404);
    assert_eq!(harness.reimage(READER, &id, asked(&image)).await.fault().0, 403);
    assert_eq!(harness.reimage(STRANGER, &id, asked(&image)).await.fault().0, 404);
    for unfit in [
        harness.image(|image| image.status = ImageStatus::Saving),
        harness.image(|image| image.size = Some(GIB + 1)),
        harness.image(|image| image.min_disk = 2),
        harness.image(|image| image.virtual_size = Some(GIB + 1)),
    ] {
        assert_eq!(harness.reimage(MEMBER, &id, asked(&unfit)).await.fault().0, 400);
        harness.until(&id, "available").await;
    }
    let reserve = json!({"attachment": {"volume_uuid": id, "instance_uuid": NIL}});
    let reserve = || harness.post("/v3/attachments", &reserve).token(MEMBER).volume("3.27").send();
    assert_eq!(reserve().await.status, 200);
    assert_eq!(harness.reimage(MEMBER, &id, asked(&image)).await.fault().0, 400, "a reserved volume must be asked for");
    let reserved = json!({"image_id": image, "reimage_reserved": true});
    assert_eq!(harness.reimage(MEMBER, &id, reserved.clone()).await.status, 202);
    harness.until(&id, "reserved").await;
    assert_eq!(reserve().await.status, 200);
    assert_eq!(harness.reimage(MEMBER, &id, reserved).await.fault().0, 409, "more than one attachment");
    harness.stop().await;
}

#[actix_web::test]
async fn without_an_image_service_there_are_no_images() {
    let harness = Harness::start_without_images().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    assert_eq!(harness.create(MEMBER, "3.0", json!({"size": 1, "imageRef": NIL})).await.fault().0, 400);
    assert_eq!(harness.reimage(MEMBER, &id, json!({"image_id": NIL})).await.fault().0, 404);
    assert_eq!(harness.upload(MEMBER, "3.1", &id, json!({"image_name": "x"})).await.fault().0, 400);
    harness.until(&id, "available").await;
    harness.stop().await;
}
