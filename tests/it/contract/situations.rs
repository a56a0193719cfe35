//! What a line begins with: situations by name, and the steps that lead to them.
//!
//! A step is one of these; a call must be answered with 2xx.
//!
//! | step | |
//! |---|---|
//! | another situation | |
//! | `volume JSON [-> NAME]` | a member's volume, waited for |
//! | `server [-> NAME]` | a server of the project, registered for Compute |
//! | `image JSON [-> NAME]` | an image of the image service |
//! | `word STATUS` | the volume's status, set by hand |
//! | `plain` | `{plain}` is the volume's id without dashes |
//! | `keep attachment` | the volume's first attachment, by this name |
//! | `until [RESOURCE] STATUS [JSON]`, `until [RESOURCE] JSON` | waits |
//! | `hang REQUEST`, `fail REQUEST` | the next such call of a backend is not answered, or fails |
//! | `busy REQUEST` | every such call is refused, because what it is about is in use |
//! | `release` | waits for the call that hangs, and lets it go on |
//! | a call | as in the column |

use hearth::domain::ids::{ImageId, ProjectId};
use hearth::images::{Image, ImageStatus, Visibility};
use serde_json::Value;
use uuid::Uuid;

use super::stage::Stage;

/// The situations of all files.
pub const COMMON: &[(&str, &str)] = &[
    ("available", r#"volume {"size": 1}"#),
    ("2 GiB", r#"volume {"size": 2}"#),
    (
        "reserved",
        r#"available; POST /attachments {"attachment": {"volume_uuid": "{volume}", "instance_uuid": "{instance}"}} -> attachment"#,
    ),
    ("attaching", "available; os-reserve {}"),
    ("in-use", r#"available; os-attach {"instance_uuid": "{instance}", "mountpoint": "/dev/vdb"}"#),
    ("in-use by a host", r#"available; os-attach {"host_name": "h", "mountpoint": "/mnt"}"#),
    ("detaching", "in-use; os-begin_detaching {}"),
    (
        "attached by Compute",
        r#"available; server; POST /compute/v2.1/servers/{server}/os-volume_attachments {"volumeAttachment": {"volumeId": "{volume}"}}; until in-use"#,
    ),
    (
        "connected",
        r#"available; POST /attachments {"attachment": {"volume_uuid": "{volume}", "instance_uuid": "{instance}", "connector": {"host": "h"}}} -> attachment; of attachment os-complete {}"#,
    ),
    (
        "multiattach type",
        r#"ADMIN POST /types {"volume_type": {"name": "multi-{unique}", "extra_specs": {"multiattach": "<is> True"}}} -> type"#,
    ),
    ("multiattach", r#"multiattach type; volume {"size": 1, "volume_type": "{type}"}"#),
    ("multiattach in-use", r#"multiattach; os-attach {"instance_uuid": "{instance}", "mountpoint": "/dev/vdb"}"#),
    (
        "multiattach in-use twice",
        r#"multiattach in-use; os-attach {"instance_uuid": "{instance2}", "mountpoint": "/dev/vdb"}"#,
    ),
    (
        "snapshot",
        r#"available; POST /snapshots {"snapshot": {"volume_id": "{volume}"}} -> snapshot; until snapshot available"#,
    ),
    (
        "never scheduled",
        r#"ADMIN POST /types {"volume_type": {"name": "nowhere-{unique}", "extra_specs": {"volume_backend_name": "nowhere"}}} -> type; POST /volumes {"volume": {"size": 1, "volume_type": "{type}"}} -> volume; until error"#,
    ),
    ("creating", r#"hang create; POST /volumes {"volume": {"size": 1}} -> volume; until creating"#),
    ("extending", r#"available; hang extend; os-extend {"new_size": 2}; until extending"#),
    ("deleting", "available; hang delete; DELETE /volumes/{volume}; until deleting"),
];

/// What stands for itself in every line.
pub fn constants() -> Vec<(&'static str, String)> {
    vec![
        ("nil", Uuid::nil().to_string()),
        ("instance", "95d9ef50-507d-11e5-b970-0800200c9a66".to_owned()),
        ("instance2", "0dc5ab4e-4c1c-4b5e-a7c0-f5ba8cd9d3a1".to_owned()),
        ("volume", Uuid::nil().to_string()),
        ("project", "p".to_owned()),
    ]
}

impl Stage<'_> {
    /// Brings about a situation: its steps, one after the other.
    pub async fn bring_about(&mut self, situation: &str) {
        for step in situation.split("; ").map(str::trim).filter(|step| *step != "-") {
            match self.steps_of(step) {
                Some(steps) => Box::pin(self.bring_about(&steps)).await,
                None => self.step(step).await,
            }
        }
    }

    /// Carries out one step.
    pub async fn step(&mut self, step: &str) {
        let (step, kept) = step.split_once(" -> ").map_or((step, None), |(step, name)| (step, Some(name)));
        let (word, rest) = step.split_once(' ').unwrap_or((step, ""));
        match word {
            "volume" => {
                let body = format!(r#"POST /volumes {{"volume": {rest}}} -> {}"#, kept.unwrap_or("volume"));
                self.must(&body).await;
                self.until(&format!("{} available", kept.unwrap_or("volume"))).await;
            }
            "server" => {
                let id = self.harness.server("s").await;
                self.keep(kept.unwrap_or("server"), id);
            }
            "image" => {
                let id = Uuid::new_v4();
                let members: Value = serde_json::from_str(&self.filled(rest)).expect("an image is JSON");
                self.harness.images.put(ImageId(id), b"a disk", |image| describe(image, &members));
                self.keep(kept.unwrap_or("image"), id.to_string());
            }
            "word" => self.must(&format!(r#"ADMIN os-reset_status {{"status": "{rest}"}}"#)).await,
            "keep" => {
                let path = format!("/v3/attachments?volume_id={}", self.filled("{volume}"));
                let listed = self.harness.get(&path).volume("3.71").send().await.json();
                let id = listed["attachments"][0]["id"].as_str().unwrap_or_else(|| panic!("no attachment: {listed}"));
                self.keep(rest, id.to_owned());
            }
            "plain" => {
                let plain = self.filled("{volume}").replace('-', "");
                self.keep("plain", plain);
            }
            "until" => self.until(rest).await,
            "hang" => {
                self.harness.hang(rest);
                self.is_disturbed = true;
            }
            "fail" => {
                self.harness.fail(rest);
                self.is_disturbed = true;
            }
            "busy" => {
                self.harness.busy(rest);
                self.is_disturbed = true;
            }
            "release" => self.harness.until_released().await,
            _ => {
                let kept = kept.map(|name| format!(" -> {name}")).unwrap_or_default();
                self.must(&format!("{step}{kept}")).await;
            }
        }
    }
}

fn describe(image: &mut Image, members: &Value) {
    let number = |name: &str| members[name].as_u64();
    let text = |name: &str| members[name].as_str().map(str::to_owned);
    image.name = text("name");
    image.min_disk = number("min_disk").unwrap_or(image.min_disk);
    image.size = number("size").or(image.size);
    image.virtual_size = number("virtual_size");
    image.owner = text("owner").map(|owner| ProjectId::from(owner.as_str()));
    image.disk_format = text("disk_format").or(image.disk_format.take());
    if members["status"] == "queued" {
        image.status = ImageStatus::Queued;
    }
    if members["visibility"] == "private" {
        image.visibility = Visibility::Private;
    }
    if let Some(properties) = members["properties"].as_object() {
        let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        image.properties = properties.iter().map(|(name, one)| (name.clone(), value(one))).collect();
    }
}
