//! What several clients write about one volume at once (`spec/races.md`).

use hearth::domain::attachment::AttachMode;
use hearth::domain::ids::VolumeId;
use hearth::domain::metadata::Metadata;
use hearth::domain::volume::command::UpdateVolume;
use hearth::domain::volume::metadata::{MetadataChange, MetadataKind, MetadataWrite, metadata_tag};
use hearth::domain::volume::{Command, Refusal};
use serde_json::json;

use super::scenario::{Client, accepted, alive, in_world, refusal};

fn pairs(pairs: &[(&str, &str)]) -> Metadata {
    pairs.iter().copied().collect()
}

fn write(change: MetadataChange, tag: Option<&str>) -> Command {
    let if_match = tag.map(|tag| vec![tag.to_owned()]);
    Command::WriteMetadata(Box::new(MetadataWrite { kind: MetadataKind::User, change, if_match }))
}

async fn with_metadata(client: &Client<'_>, metadata: &Metadata) -> VolumeId {
    let id = client.available(1).await;
    accepted(client.ask(id, write(MetadataChange::Replace(metadata.clone()), None)).await);
    id
}

#[test]
fn r19_the_readonly_flag_and_an_attach_see_each_other() {
    let mut flag_won = 0;
    for seed in 0..20 {
        in_world(seed, async |client| {
            let id = client.available(1).await;
            let attach = || client.attachment_create(id, Some("a"), Some(json!({"host": "h", "mode": "rw"})));
            let flag = || client.ask(id, Command::SetReadonly { readonly: true });
            let (attached, flagged) = if seed % 2 == 0 {
                futures_util::join!(attach(), flag())
            } else {
                let (flagged, attached) = futures_util::join!(flag(), attach());
                (attached, flagged)
            };
            accepted(attached);
            let state = alive(client.view(id).await);
            let row = &state.attachments[0];
            let flag = state.volume.admin_metadata.get("readonly");
            match flagged.expect("alive") {
                Ok(_) => {
                    flag_won += 1;
                    assert_eq!((flag, row.attach_mode), (Some("True"), Some(AttachMode::ReadOnly)));
                }
                Err(_) => assert_eq!((flag, row.attach_mode), (None, Some(AttachMode::ReadWrite))),
            }
            client.assert_clean().await;
        });
    }
    assert!(flag_won > 0 && flag_won < 20, "both orders were seen: {flag_won}");
}

#[test]
fn r115_of_two_who_have_seen_the_same_one_replaces_it() {
    for seed in 0..20 {
        in_world(seed, async |client| {
            let seen = pairs(&[("k", "v")]);
            let id = with_metadata(client, &seen).await;
            let tag = metadata_tag(&seen);
            let replace =
                |value: &str| client.ask(id, write(MetadataChange::Replace(pairs(&[("by", value)])), Some(&tag)));
            let (first, second) = futures_util::join!(replace("first"), replace("second"));
            let (winner, loser) = if matches!(first, Some(Ok(_))) { (first, second) } else { (second, first) };
            let written = accepted(winner).state.volume.metadata.clone();
            assert_eq!(refusal(loser), Refusal::TagDiffers);
            assert_eq!(alive(client.view(id).await).volume.metadata, written);
        });
    }
}

#[test]
fn r116_a_replace_and_a_key_delete_follow_one_another() {
    for seed in 0..20 {
        in_world(seed, async |client| {
            let id = with_metadata(client, &pairs(&[("a", "1"), ("b", "1")])).await;
            let replace = || client.ask(id, write(MetadataChange::Replace(pairs(&[("a", "2"), ("c", "2")])), None));
            let delete = || client.ask(id, write(MetadataChange::Remove("a".into()), None));
            let (replaced, deleted, expected) = if seed % 2 == 0 {
                let (replaced, deleted) = futures_util::join!(replace(), delete());
                (replaced, deleted, pairs(&[("c", "2")]))
            } else {
                let (deleted, replaced) = futures_util::join!(delete(), replace());
                (replaced, deleted, pairs(&[("a", "2"), ("c", "2")]))
            };
            accepted(replaced);
            accepted(deleted);
            assert_eq!(alive(client.view(id).await).volume.metadata, expected);
        });
    }
}

#[test]
fn r117_no_write_of_a_user_touches_the_administrators_keys() {
    in_world(117, async |client| {
        let id = with_metadata(client, &pairs(&[("k", "v")])).await;
        let update = UpdateVolume { metadata: Some(pairs(&[("readonly", "False")])), ..UpdateVolume::default() };
        let (flagged, updated, merged, attached) = futures_util::join!(
            client.ask(id, Command::SetReadonly { readonly: true }),
            client.ask(id, Command::Update(update)),
            client.ask(id, write(MetadataChange::Merge(pairs(&[("attached_mode", "mine")])), None)),
            client.attachment_create(id, Some("a"), Some(json!({"host": "h"}))),
        );
        for answer in [flagged, updated, merged, attached] {
            accepted(answer);
        }
        let state = alive(client.view(id).await);
        assert_eq!(state.volume.admin_metadata.get("readonly"), Some("True"));
        assert_eq!(state.volume.metadata, pairs(&[("attached_mode", "mine"), ("readonly", "False")]));
        assert_eq!(state.attachments[0].attach_mode, Some(AttachMode::ReadOnly));
        client.assert_clean().await;
    });
}
