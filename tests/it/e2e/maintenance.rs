//! `hearth daemons` and `hearth fsck` beside a running service, and after its end.

use std::fs::{self, OpenOptions};

use serde_json::{Value, json};
use uuid::Uuid;

use super::hearth::{Environment, Hearth, run};
use super::host::NbdAttachment;
use crate::drivers::file::GIB;

struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

async fn say(hearth: &Hearth, arguments: &[&str]) -> Said {
    let output = run(hearth.environment(), arguments).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        code: output.status.code().expect("it ended by itself"),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

async fn assert_says(hearth: &Hearth, arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let said = say(hearth, arguments).await;
    assert_eq!((said.code, said.stdout.trim(), said.stderr.trim()), (code, stdout, stderr), "{arguments:?}");
}

#[tokio::test]
async fn storage_daemons_are_listed_and_never_stopped_while_a_volume_is_attached() {
    let mut hearth = Hearth::start(Environment::default().set("backends.0.daemons_per_pool", "1")).await;
    hearth.wait_until_ready().await;
    assert_says(&hearth, &["daemons", "list"], 0, "", "").await;

    let volume = hearth.volume_create(1).await;
    let attachment = NbdAttachment::connect(&hearth, &volume, "another-host").await;
    attachment.complete(&hearth).await;
    let mut client = attachment.client().await;
    let pid = hearth.daemon_pids()[0];
    let line = |exports: u32| format!("hearth@local#local 0 pid {pid} exports {exports}");
    let refusal = "hearth: hearth@local#local 0: the daemon serves 1 exports: detach the volumes first";
    assert_says(&hearth, &["daemons", "list"], 0, &line(1), "").await;
    assert_says(&hearth, &["daemons", "stop"], 1, "", refusal).await;
    assert!(client.write(1, 0).await, "nobody has noticed");

    // The service's end changes nothing: the daemon outlives it, and so does the refusal.
    hearth.kill().await;
    assert_says(&hearth, &["daemons", "list"], 0, &line(1), "").await;
    assert_says(&hearth, &["daemons", "stop"], 1, "", refusal).await;
    assert!(client.write(2, 0).await);

    hearth.start_again().await;
    hearth.wait_until_ready().await;
    drop(client);
    attachment.delete(&hearth).await;
    hearth.wait_for_status(&volume, "available").await;
    assert_says(&hearth, &["daemons", "list"], 0, &line(0), "").await;
    assert_says(&hearth, &["daemons", "stop"], 0, "hearth@local#local 0 stopped", "").await;
    assert_says(&hearth, &["daemons", "list"], 0, "", "").await;
    assert_eq!(hearth.daemon_pids(), Vec::<i32>::new());

    // The service starts another when it needs one.
    let attachment = NbdAttachment::connect(&hearth, &volume, "another-host").await;
    assert!(attachment.client().await.reads(2, 0).await);
    attachment.delete(&hearth).await;
}

#[tokio::test]
async fn fsck_finds_what_was_changed_by_hand_beside_the_running_service() {
    let hearth = Hearth::start(Environment::default()).await;
    hearth.wait_until_ready().await;
    let (removed, grown, attached) =
        (hearth.volume_create(1).await, hearth.volume_create(1).await, hearth.volume_create(1).await);
    let attachment = NbdAttachment::connect(&hearth, &attached, "another-host").await;
    attachment.complete(&hearth).await;
    assert_eq!(hearth.fsck().await, [] as [Value; 0]);
    assert_says(&hearth, &["fsck"], 0, "0 differences, 0 explained by open work", "").await;

    fs::remove_file(hearth.volume_file(&removed)).expect("removed");
    let file = OpenOptions::new().write(true).open(hearth.volume_file(&grown)).expect("there");
    file.set_len(3 * GIB).expect("grown");
    let strange = Uuid::new_v4().to_string();
    fs::File::create(hearth.volume_file(&strange)).and_then(|file| file.set_len(GIB)).expect("made");

    let host = "hearth@local#local";
    let mut found = hearth.fsck().await;
    found.sort_by_key(|difference| difference["difference"].to_string());
    let expected = [
        json!({"difference": "size_differs", "volume_id": grown, "recorded_gib": 1, "actual_gib": 3}),
        json!({"difference": "volume_missing", "volume_id": removed, "host": host, "status": "available"}),
        json!({"difference": "volume_unowned", "volume_id": strange, "host": host}),
    ];
    assert_eq!(found, expected);
    let said = say(&hearth, &["fsck"]).await;
    assert_eq!(said.code, 3);
    for line in [
        format!("volume {grown} has 1 GiB by its record and 3 GiB in fact"),
        format!("volume {removed} (available) is missing at {host}"),
        format!("{host} has volume {strange} without a record"),
        "3 differences, 0 explained by open work".to_owned(),
    ] {
        assert!(said.stdout.lines().any(|found| found == line), "{line}\n{}", said.stdout);
    }
}
