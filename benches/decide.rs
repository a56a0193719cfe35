//! What the pure core costs: it runs once for every request and every result.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use hearth::domain::backend::{Answer, Outcome};
use hearth::domain::ids::{ProjectId, RequestId, ServerId, UserId, VolumeId};
use hearth::domain::metadata::Metadata;
use hearth::domain::operation::Requester;
use hearth::domain::quota::Limits;
use hearth::domain::time::Timestamp;
use hearth::domain::volume::command::CreateVolume;
use hearth::domain::volume::{Caller, Command, Facts, Job, Verdict, VolumeState, decide};
use serde_json::json;
use uuid::Uuid;

const VOLUME: VolumeId = VolumeId(Uuid::from_u128(1));

fn caller() -> Caller {
    let requester = Requester {
        request_id: RequestId::from("req-1"),
        user_id: UserId::from("user"),
        project_id: ProjectId::from("project"),
    };
    Caller { requester, is_admin: false, is_service: false }
}

fn facts() -> Facts {
    Facts {
        now: Timestamp(1_000),
        ids: [2, 3, 4, 5].map(Uuid::from_u128),
        limits: Limits::default(),
        drain_deadline: Duration::from_secs(30),
        hosts: Default::default(),
        compute: Default::default(),
    }
}

/// What a command commits.
fn committed(state: Option<&VolumeState>, command: &Command) -> (Arc<VolumeState>, Vec<Job>) {
    match decide(VOLUME, state, command, &caller(), &facts()) {
        Verdict::Commit(decision) => (decision.next, decision.jobs),
        other => panic!("{other:?}"),
    }
}

/// The result of a decision's job.
fn result(jobs: &[Job], answer: Answer) -> Command {
    let Some(Job::Step { ticket, .. }) = jobs.first() else { panic!("no job") };
    Command::JobResult { ticket: ticket.clone(), outcome: Outcome::Done { answer } }
}

fn decisions(criterion: &mut Criterion) {
    let create = Command::Create(Box::new(CreateVolume {
        volume_id: VOLUME,
        size_gib: 1,
        name: Some("data".to_owned()),
        description: None,
        metadata: Metadata::from([("owner", "somebody")]),
        volume_type_id: None,
        type_revision: None,
        multiattach: false,
        availability_zone: "nova".to_owned(),
        host: Some("host@local#pool".to_owned()),
        wanted: None,
        bootable: false,
        origin: None,
        image: None,
        adopts: None,
    }));
    let (creating, jobs) = committed(None, &create);
    let created = result(&jobs, Answer::Size { size_gib: 1 });
    let (available, _) = committed(Some(&creating), &created);
    let attach = Command::AttachmentCreate {
        instance_uuid: Some(ServerId::from("server")),
        connector: Some(json!({"host": "compute-1", "ip": "10.0.0.1", "initiator": "iqn.1993-08.org.debian:01:1"})),
        mode: None,
    };
    let (connecting, jobs) = committed(Some(&available), &attach);
    let info = json!({"driver_volume_type": "nbd", "export": "name", "path": "/run/exports.sock"});
    let exported = result(&jobs, Answer::Connection { info });
    let extend = Command::Extend { new_size_gib: 2, in_use_allowed: true };

    let mut group = criterion.benchmark_group("decide");
    for (name, state, command) in [
        ("attachment_create", &available, &attach),
        ("job_result", &connecting, &exported),
        ("extend", &available, &extend),
        ("refused", &connecting, &extend),
    ] {
        let (caller, facts) = (caller(), facts());
        group.bench_function(name, |bencher| {
            bencher.iter(|| decide(VOLUME, Some(black_box(state)), black_box(command), &caller, &facts));
        });
    }
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
