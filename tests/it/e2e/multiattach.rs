//! One volume and two real guests: a multiattach volume is the same disk in both, and a plain one stays where it is, whatever an
//! administrator sets by hand.

use reqwest::Method;
use serde_json::{Value, json};

use super::guest::Guest;
use super::hearth::{Hearth, wait_until};
use super::host::{Host, NbdAttachment};
use super::writer::Writer;
use crate::drivers::file::NbdClient;

/// Where the guests talk to each other: far behind the records of a [`Writer`].
const TALK_BLOCK: u32 = 1_000_000;

/// How often the word goes to and fro.
const ROUNDS: u32 = 10;

/// Writes a word past every cache.
async fn say(guest: &mut Guest, word: &str) {
    let (_, written) = guest
        .run(&format!(
            "echo {word} | dd of=/dev/vda bs=512 seek={TALK_BLOCK} conv=sync,notrunc oflag=direct 2>/dev/null"
        ))
        .await;
    assert!(written, "{word} is not written");
}

/// Reads it, past every cache.
async fn hear(guest: &mut Guest) -> String {
    let (said, read) = guest
        .run(&format!("dd if=/dev/vda bs=512 skip={TALK_BLOCK} count=1 iflag=direct 2>/dev/null | head -n 1"))
        .await;
    assert!(read, "nothing can be read");
    said
}

/// The names that the storage daemon of a connection serves.
async fn served(connection: &Value) -> Vec<String> {
    let path = connection["path"].as_str().expect("a socket");
    let output = tokio::process::Command::new("qemu-nbd").args(["--list", "--socket", path]).output().await;
    let output = output.expect("qemu-nbd runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("export: '")?.strip_suffix('\''));
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names
}

/// What its rows say that it is connected by, the attachments' ids first.
async fn connections(hearth: &Hearth, volume: &str) -> Vec<(String, Value)> {
    let shown = hearth.admin(Method::GET, &format!("/v3/attachments/detail?volume_id={volume}"), None).await;
    let rows = shown["attachments"].as_array().expect("attachments");
    rows.iter().map(|row| (row["id"].as_str().expect("an id").to_owned(), row["connection_info"].clone())).collect()
}

async fn assert_serves_its_rows_only(hearth: &Hearth, volume: &str, count: usize) {
    let rows = connections(hearth, volume).await;
    let mut expected: Vec<String> =
        rows.iter().map(|(_, info)| info["export"].as_str().expect("one").to_owned()).collect();
    expected.sort();
    assert_eq!((served(&rows[0].1).await, expected.len()), (expected, count));
}

async fn act(hearth: &Hearth, volume: &str, body: Value) -> u16 {
    let path = format!("/v3/volumes/{volume}/action");
    hearth.ask(Method::POST, &path, Some(body)).await.expect("an answer").0
}

/// Compute's attach: the status, and what it says.
async fn attach(hearth: &Hearth, server: &str, volume: &str) -> (u16, String) {
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let body = json!({"volumeAttachment": {"volumeId": volume}});
    let (status, said) = hearth.ask(Method::POST, &path, Some(body)).await.expect("an answer");
    (status, said.to_string())
}

async fn until_attached(hearth: &Hearth, volume: &str, count: usize) {
    wait_until("the volume is in use by so many", async || {
        let shown = hearth.volume(volume).await.expect("there");
        let rows = shown["attachments"].as_array().map_or(0, Vec::len);
        shown["status"] == "in-use" && rows == count
    })
    .await;
}

#[tokio::test]
async fn a_multiattach_volume_is_one_disk_of_two_guests_and_each_comes_and_goes_alone() {
    let mut host = Host::start().await;
    let (first, second) = (host.boot("vm-1").await, host.boot("vm-2").await);
    let ids = [first, second].map(|index| host.guests[index].id.clone());
    let kind = json!({"volume_type": {"name": "shared", "extra_specs": {"multiattach": "<is> True"}}});
    host.hearth.admin(Method::POST, "/v3/types", Some(kind)).await;
    let body = json!({"volume": {"size": 1, "volume_type": "shared"}});
    let made = host.hearth.admin(Method::POST, "/v3/volumes", Some(body)).await;
    let volume = made["volume"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(host.hearth.wait_for_status(&volume, "available").await["multiattach"], true);

    // both at once
    let answers = tokio::join!(attach(&host.hearth, &ids[0], &volume), attach(&host.hearth, &ids[1], &volume));
    assert_eq!((answers.0.0, answers.1.0), (200, 200), "{answers:?}");
    until_attached(&host.hearth, &volume, 2).await;
    for server in &mut host.guests {
        server.guest.until("[ -b /dev/vda ]").await;
    }
    assert_serves_its_rows_only(&host.hearth, &volume, 2).await;
    for round in 1..=ROUNDS {
        for (from, to) in [(first, second), (second, first)] {
            let word = format!("word-{round}-of-{from}");
            say(&mut host.guests[from].guest, &word).await;
            assert_eq!(hear(&mut host.guests[to].guest).await, word);
        }
    }
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);

    // One goes and comes again while the other one writes.
    Writer::start(&mut host.guests[second].guest).await;
    let path = format!("/compute/v2.1/servers/{}/os-volume_attachments/{volume}", ids[0]);
    host.hearth.admin(Method::DELETE, &path, None).await;
    until_attached(&host.hearth, &volume, 1).await;
    host.guests[first].guest.until("[ ! -e /dev/vda ]").await;
    assert_serves_its_rows_only(&host.hearth, &volume, 1).await;
    let safe = Writer::advance(&mut host.guests[second].guest).await;
    assert_eq!(attach(&host.hearth, &ids[0], &volume).await.0, 200);
    until_attached(&host.hearth, &volume, 2).await;
    host.guests[first].guest.until("[ -b /dev/vda ]").await;
    let read = format!("dd if=/dev/vda bs=512 skip={safe} count=1 iflag=direct 2>/dev/null | head -n 1");
    let (record, _) = host.guests[first].guest.run(&read).await;
    assert!(record.starts_with(&format!("R {safe} ")), "{record:?} is not what the other one has written");

    // One of them dies: the other one does not notice.
    host.guests[first].guest.kill();
    Writer::advance(&mut host.guests[second].guest).await;
    host.hearth.admin(Method::DELETE, &path, None).await;
    until_attached(&host.hearth, &volume, 1).await;
    assert_serves_its_rows_only(&host.hearth, &volume, 1).await;
    Writer::advance(&mut host.guests[second].guest).await;
    let safe = Writer::stop(&mut host.guests[second].guest).await;
    Writer::check(&host.hearth.volume_file(&volume), safe);
    host.hearth.server_remove_volume(&ids[1], &volume).await;
    host.guests[second].guest.until("[ ! -e /dev/vda ]").await;
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);
    host.hearth.volume_delete(&volume).await;
}

/// The word that an administrator sets is a word; who has the volume is what the rows say, in both APIs.
#[tokio::test]
async fn r84_a_plain_volume_has_one_guest_whatever_is_reset_by_hand() {
    let mut host = Host::start().await;
    let (first, second) = (host.boot("vm-1").await, host.boot("vm-2").await);
    let ids = [first, second].map(|index| host.guests[index].id.clone());
    let volume = host.hearth.volume_create(1).await;
    let attachment = host.plug_only_disk(first, &volume).await;
    Writer::start(&mut host.guests[first].guest).await;
    let reset = async |host: &Host, words: Value| {
        assert_eq!(act(&host.hearth, &volume, json!({"os-reset_status": words})).await, 202);
    };
    let connector = json!({"host": "elsewhere"});
    let everybody_else_is_refused = async |host: &Host, words: &Value| {
        let (status, said) = attach(&host.hearth, &ids[1], &volume).await;
        assert_eq!(status, 400, "{words}: {said}");
        for asked in [json!({}), json!({"connector": connector}), json!({"instance_uuid": ids[1]})] {
            let mut body = asked.clone();
            body["volume_uuid"] = volume.as_str().into();
            let made = host.hearth.ask(Method::POST, "/v3/attachments", Some(json!({"attachment": body}))).await;
            let (status, said) = made.expect("an answer");
            assert_eq!(status, 400, "{words}, attachment with {asked}: {said}");
        }
        for action in [
            json!({"os-reserve": {}}),
            json!({"os-attach": {"instance_uuid": ids[1], "mountpoint": "/dev/vdb"}}),
            json!({"os-attach": {"host_name": "elsewhere", "mountpoint": "/mnt"}}),
            json!({"os-initialize_connection": {"connector": connector}}),
            json!({"os-force_delete": {}}),
        ] {
            assert_eq!(act(&host.hearth, &volume, action.clone()).await, 400, "{words}: {action}");
        }
        assert_serves_its_rows_only(&host.hearth, &volume, 1).await;
    };
    for words in [
        json!({"status": "available"}),
        json!({"status": "error"}),
        json!({"status": "available", "attach_status": "attached"}),
        json!({"status": "available", "migration_status": "none"}),
        json!({"status": "attaching"}),
    ] {
        reset(&host, words.clone()).await;
        everybody_else_is_refused(&host, &words).await;
        Writer::advance(&mut host.guests[first].guest).await;
    }

    // A row of the guest's own server, made by hand, is nobody else's way in; nor is its connection from another host.
    reset(&host, json!({"status": "in-use"})).await;
    let body = json!({"attachment": {"volume_uuid": volume, "instance_uuid": ids[0]}});
    let made = host.hearth.admin(Method::POST, "/v3/attachments", Some(body)).await;
    let path = format!("/v3/attachments/{}", made["attachment"]["id"].as_str().expect("an id"));
    let body = json!({"attachment": {"connector": connector}});
    let (status, said) = host.hearth.ask(Method::PUT, &path, Some(body)).await.expect("an answer");
    assert_eq!(status, 409, "{said}");
    for status in ["in-use", "available"] {
        reset(&host, json!({"status": status})).await;
        assert_eq!(attach(&host.hearth, &ids[1], &volume).await.0, 400, "{status}");
    }
    host.hearth.admin(Method::DELETE, &path, None).await;
    Writer::advance(&mut host.guests[first].guest).await;
    assert_serves_its_rows_only(&host.hearth, &volume, 1).await;
    assert_eq!(connections(&host.hearth, &volume).await[0].0, attachment, "the row that it always had");
    let safe = Writer::stop(&mut host.guests[first].guest).await;
    Writer::check(&host.hearth.volume_file(&volume), safe);
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);
    host.hearth.server_remove_volume(&ids[0], &volume).await;
    host.guests[first].guest.until("[ ! -e /dev/vda ]").await;
    assert_eq!(attach(&host.hearth, &ids[1], &volume).await.0, 200);
    host.guests[second].guest.until("[ -b /dev/vda ]").await;
}

/// `attach_status: detached` says that nobody has it: the rows go, and whoever has the disk all the same is cut off before anybody
/// else gets it.
#[tokio::test]
async fn r85_a_guest_whose_volume_is_reset_to_detached_is_cut_off_before_the_next_one_has_it() {
    const NEW_OWNERS: u8 = 0x77;
    const WRITTEN_BYTES: usize = 1 << 20;
    let mut host = Host::start().await;
    let server = host.boot("vm-1").await;
    let volume = host.hearth.volume_create(1).await;
    let old = host.plug_only_disk(server, &volume).await;
    Writer::start(&mut host.guests[server].guest).await;
    let words = json!({"status": "available", "attach_status": "detached"});
    let before = connections(&host.hearth, &volume).await[0].1.clone();
    assert_eq!(act(&host.hearth, &volume, json!({"os-reset_status": words})).await, 202);
    // It waits for the end of the old one, if need be.
    let next = NbdAttachment::connect(&host.hearth, &volume, "elsewhere").await;
    next.complete(&host.hearth).await;
    assert!(NbdClient::connect(&before, 0).await.is_err(), "nobody finds the old export any more");
    assert_serves_its_rows_only(&host.hearth, &volume, 1).await;
    let mut owner = next.client().await;
    let written = owner.run(&format!("write -P {NEW_OWNERS:#x} 0 {WRITTEN_BYTES}")).await;
    assert!(written.contains(&format!("wrote {WRITTEN_BYTES}/{WRITTEN_BYTES}")), "{written}");
    assert!(!owner.run("flush").await.contains("error"));
    let bytes = std::fs::read(host.hearth.volume_file(&volume)).map(|all| all[..WRITTEN_BYTES].to_vec());
    assert!(bytes.expect("readable").iter().all(|byte| *byte == NEW_OWNERS), "the new owner's bytes alone");
    // Its hypervisor goes on to look for the export of that name.
    let expected = json!([{"difference": "device_unowned", "attachment_id": old, "server_id": host.guests[server].id}]);
    assert_eq!(Value::Array(host.hearth.fsck().await), expected, "what is left in the guest is told");
    drop(owner);
    next.delete(&host.hearth).await;
    host.hearth.wait_for_status(&volume, "available").await;
}
