//! Hosts that were declared dead, and what hosts have.

use hearth::domain::document::Document;
use hearth::domain::host::HostFence;
use hearth::domain::ids::{AttachmentId, ServerId};
use hearth::domain::operation::OperationKind;
use hearth::domain::time::Timestamp;
use serde_json::json;

use super::bench::Bench;
use super::build::*;

super::on_every_store!(a_word_about_a_host_is_kept, what_a_host_has_is_found);

async fn a_word_about_a_host_is_kept(bench: Bench) {
    assert_eq!(bench.store().host_fences().await.unwrap(), []);
    let fence = |host: &str, epoch| HostFence {
        host: host.to_owned(),
        epoch,
        proof: "it 'burns'".to_owned(),
        user_id: "u".into(),
        request_id: "req-1".into(),
        fenced_at: Timestamp(7),
        lifted_at: None,
    };
    for fence in [fence("h2", 1), fence("h1", 3)] {
        bench.store().host_fence_put(fence).await.unwrap();
    }
    let lifted = HostFence { epoch: 4, lifted_at: Some(Timestamp(9)), ..fence("h1", 3) };
    bench.store().host_fence_put(lifted.clone()).await.unwrap();
    assert_eq!(bench.store().host_fences().await.unwrap(), [lifted, fence("h2", 1)]);
}

async fn what_a_host_has_is_found(bench: Bench) {
    for (id, host, deleted) in [("s1", Some("h%1"), false), ("s2", Some("h2"), false), ("s3", None, false)] {
        let mut server = server(id, "p");
        server.host = host.map(str::to_owned);
        server.deleted = deleted;
        assert_committed(bench.commit(server_change(None, &server)).await);
    }
    // by the row's own word; by its server's, as long as it has none; not by a server that is nowhere
    let mut number = 0;
    let mut put = async |edit: &dyn Fn(&mut hearth::domain::volume::VolumeState)| {
        number += 1;
        let mut state = volume(number, "p", 1);
        edit(&mut state);
        assert_committed(bench.commit(insert(&state)).await);
        state.volume.id
    };
    let row = |n: u128, server: Option<&'static str>, host: Option<&'static str>| {
        move |state: &mut hearth::domain::volume::VolumeState| {
            let mut row = attachment(n, state, server, server.map(|_| format!("/dev/vd-{n}")).as_deref());
            row.attached_host = host.map(Into::into);
            state.attachments.push(row);
        }
    };
    let connected = put(&row(10, None, Some("h%1"))).await;
    let expected = put(&row(11, Some("s1"), None)).await;
    let moved = put(&row(12, Some("s2"), Some("h%1"))).await;
    put(&row(13, Some("s1"), Some("h2"))).await;
    put(&row(14, Some("s3"), None)).await;
    put(&|_| {}).await;
    // by a connection of the old actions
    let by_connection = put(&|state| {
        state.volume.claims = claims(21);
        state.volume.claims.as_mut().expect("claims").connections[0].host = "h%1".into();
    })
    .await;
    // by what is under way
    let by_work = put(&|state| {
        let mut operation = extend(30, state, 0);
        operation.kind = OperationKind::ServerAttach {
            attachment_id: AttachmentId(uuid(31)),
            server_id: ServerId::from("s9"),
            connector: Document::from(&json!({"host": "h%1"})),
            is_boot: false,
        };
        state.operations.push(operation);
    })
    .await;
    let mut found = bench.store().volumes_on_host("h%1".to_owned()).await.unwrap();
    let mut wanted = [connected, expected, moved, by_connection, by_work];
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    assert_eq!(bench.store().volumes_on_host("h_1".to_owned()).await.unwrap(), []);
    let servers = |host: &str| bench.store().servers_on_host(host.to_owned());
    assert_eq!(servers("h%1").await.unwrap(), [ServerId::from("s1")]);
    assert_eq!(servers("h3").await.unwrap(), []);
}
