//! What clients may write about a volume, by its status (`spec/volumes.md` §4, `spec/volume-actions.md` §2.5, §2.6, §2.18).

use std::sync::Arc;

use hearth::domain::metadata::Metadata;
use hearth::domain::status::VolumeStatus::{self, Available, Maintenance, Uploading};
use hearth::domain::volume::decide::{METADATA_LOCKED, READONLY_CHANGEABLE};
use hearth::domain::volume::metadata::{MetadataChange, MetadataKind, MetadataWrite, metadata_tag};
use hearth::domain::volume::{Command, Refusal, Verdict, VolumeState, decide};

use super::build;
use super::model::acts::Act;
use super::model::world::{Budget, Event, World};

fn volume(status: VolumeStatus) -> VolumeState {
    let mut world = World::new(Budget { acts: 1, faults: 0, crashes: 0 });
    world.happen(Event::Ask(Act::Create { multiattach: false })).expect("created");
    while let Some(event) = world.next_without_faults() {
        world.happen(event).expect("a good past");
    }
    let mut state = VolumeState::clone(world.live().expect("a volume"));
    state.volume.status = status;
    state.volume.metadata = Metadata::from([("k", "v")]);
    state.volume.image_metadata = Metadata::from([("i", "v")]);
    state.volume.admin_metadata = Metadata::from([("attached_mode", "rw")]);
    state
}

fn ask(state: &VolumeState, command: &Command) -> Verdict {
    decide(build::VOLUME, Some(state), command, &build::member(), &build::facts_of(9, 9))
}

fn write(kind: MetadataKind, change: MetadataChange, tag: Option<&str>) -> Command {
    let if_match = tag.map(|tag| vec!["another".to_owned(), tag.to_owned()]);
    Command::WriteMetadata(Box::new(MetadataWrite { kind, change, if_match }))
}

#[track_caller]
fn committed(verdict: Verdict) -> Arc<VolumeState> {
    match verdict {
        Verdict::Commit(decision) => {
            assert!(decision.jobs.is_empty(), "nothing is to be done");
            decision.next
        }
        other => panic!("not committed: {other:?}"),
    }
}

#[track_caller]
fn refused(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Refuse(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn statuses_in_which_it_is_refused() {
    assert_eq!((METADATA_LOCKED, READONLY_CHANGEABLE), (&[Maintenance, Uploading][..], &[Available][..]));
    let pair = || Metadata::from([("new", "v")]);
    for status in VolumeStatus::ALL {
        let state = volume(*status);
        for kind in [MetadataKind::User, MetadataKind::Image] {
            for change in [MetadataChange::Merge(pair()), MetadataChange::Replace(pair())] {
                let verdict = ask(&state, &write(kind, change, None));
                if [Maintenance, Uploading].contains(status) {
                    assert!(matches!(refused(verdict), Refusal::InvalidVolume(_)), "{status} {kind:?}");
                } else {
                    committed(verdict);
                }
            }
        }
        let bootable = ask(&state, &Command::SetBootable { bootable: true });
        if *status == Maintenance {
            assert!(matches!(refused(bootable), Refusal::InvalidVolume(_)));
        } else {
            assert!(committed(bootable).volume.bootable, "{status}");
        }
        let readonly = ask(&state, &Command::SetReadonly { readonly: true });
        if *status == Available {
            let expected = Metadata::from([("attached_mode", "rw"), ("readonly", "True")]);
            assert_eq!(committed(readonly).volume.admin_metadata, expected);
        } else {
            assert!(matches!(refused(readonly), Refusal::InvalidVolume(_)), "{status}");
        }
    }
}

#[test]
fn changes_of_metadata() {
    use MetadataChange::{Merge, Remove, Replace};
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Metadata>();
    let cases = [
        (Merge(pairs(&[("k", "w"), ("l", "x")])), pairs(&[("k", "w"), ("l", "x")])),
        (Merge(pairs(&[("l", "x")])), pairs(&[("k", "v"), ("l", "x")])),
        (Replace(pairs(&[("l", "x")])), pairs(&[("l", "x")])),
        (Replace(pairs(&[])), pairs(&[])),
        (Remove("k".into()), pairs(&[])),
    ];
    for (change, expected) in cases {
        let next = committed(ask(&volume(Available), &write(MetadataKind::User, change.clone(), None)));
        assert_eq!(next.volume.metadata, expected, "{change:?}");
        assert_eq!(next.volume.image_metadata, Metadata::from([("i", "v")]), "the other metadata stay");
        assert_eq!(next.volume.admin_metadata, Metadata::from([("attached_mode", "rw")]));
        assert!(next.volume.updated_at.is_some());
    }
    let nothing = [Merge(pairs(&[])), Merge(pairs(&[("k", "v")])), Replace(pairs(&[("k", "v")]))];
    for change in nothing {
        let verdict = ask(&volume(Available), &write(MetadataKind::User, change.clone(), None));
        assert!(matches!(verdict, Verdict::Nothing { .. }), "{change:?} writes what is there: {verdict:?}");
    }
    // What is not there is said before the status is looked at.
    let locked = volume(Maintenance);
    let gone = refused(ask(&locked, &write(MetadataKind::User, Remove("i".into()), None)));
    assert_eq!(gone, Refusal::MetadataNotFound { volume_id: build::VOLUME, key: "i".to_owned() });
    let gone = refused(ask(&locked, &write(MetadataKind::Image, Remove("k".into()), None)));
    assert_eq!(gone, Refusal::ImageMetadataNotFound(build::VOLUME));
}

#[test]
fn a_tag_is_of_the_present_metadata() {
    let replace = || MetadataChange::Replace(Metadata::default());
    let state = volume(Available);
    let tag = metadata_tag(&state.volume.metadata);
    committed(ask(&state, &write(MetadataKind::User, replace(), Some(&tag))));
    assert_eq!(refused(ask(&state, &write(MetadataKind::User, replace(), Some("old")))), Refusal::TagDiffers);
    // The client that has seen something else is told so, whatever the status.
    let locked = volume(Maintenance);
    assert_eq!(refused(ask(&locked, &write(MetadataKind::User, replace(), Some("old")))), Refusal::TagDiffers);
}
