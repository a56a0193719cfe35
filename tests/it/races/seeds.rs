//! Many clients, random requests, random faults and random crashes, from a seed: whatever happens, promises I1, I2, I4 and
//! I5 hold. `HEARTH_SEEDS=from..to` runs other seeds than the fixed budget.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use hearth::domain::backend::{CauseKind, Guest};
use hearth::domain::ids::{AttachmentId, VolumeId};
use hearth::domain::server::HypervisorKind;
use hearth::domain::volume::Command;
use hearth::domain::volume::command::RetypeVolume;
use hearth::domain::volume_type::VolumeType;
use hearth::drivers::sim::{Fault, FaultRule, Latency, When};
use hearth::sim::{BACKEND, OTHER_BACKEND, World, WorldOptions, simulate};
use hearth::store::TypeChange;

use super::images::{assert_images_whole, from_image};
use super::manage::copies;
use super::scenario::{Client, PATIENCE, volume_type};

/// Seeds of an ordinary run.
const BUDGET: std::ops::Range<u64> = 1_000..1_060;
/// Requests of one client in one incarnation.
const REQUESTS: u64 = 12;
const CLIENTS: u64 = 4;
const SERVERS: [&str; 3] = ["a", "b", "c"];

/// What lies at the backend from the start, and what is written in it.
const OBJECT: &str = "lvol0";
const KEPT: &str = "kept";

/// What the clients know because it was answered.
#[derive(Default)]
struct Known {
    /// The largest size that an answered request asked for and that no fault may have prevented.
    created: BTreeMap<VolumeId, bool>,
    deleted: Vec<VolumeId>,
    let_go: Vec<VolumeId>,
    rows: Vec<(VolumeId, AttachmentId)>,
    /// What guests were told is written.
    written: BTreeMap<VolumeId, Vec<String>>,
}

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("HEARTH_SEEDS") else { return BUDGET };
    let (from, to) = text.split_once("..").expect("HEARTH_SEEDS=from..to");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
fn random_histories_with_faults_and_crashes_keep_the_promises() {
    for seed in seeds() {
        let run = std::panic::catch_unwind(|| history(seed));
        assert!(run.is_ok(), "seed {seed} breaks a promise: HEARTH_SEEDS={seed}..{}", seed + 1);
    }
}

fn history(seed: u64) {
    simulate(WorldOptions::seeded(seed), async |world: &World| {
        let multi = world.volume_id();
        let plain = [world.volume_id(), world.volume_id()];
        let volumes = [plain[0], plain[1], multi, world.volume_id()];
        let known = RefCell::new(Known::default());
        let incarnations = 1 + world.randomness().below(4);
        for incarnation in 0..incarnations {
            for (_, backend) in world.backends() {
                backend.faults().set(faults(world)).expect("the rules make sense");
            }
            let node = world.start().await;
            let client = Client::new(world, &node);
            let life = Duration::from_millis(200 + world.randomness().below(15_000));
            let working = async {
                for server in SERVERS {
                    client.server(server).await;
                }
                if incarnation == 0 {
                    client.place(OBJECT, KEPT);
                }
                let clients = (0..CLIENTS).map(|_| work(&client, &volumes, multi, &known));
                futures_util::future::join_all(clients).await;
            };
            // Killed at a random instant, or after the work.
            let _ = node.run(async { tokio::time::timeout(life, working).await }).await;
            node.crash();
        }
        for (_, backend) in world.backends() {
            backend.faults().clear();
            backend.faults().release(None);
        }
        let node = world.start().await;
        let client = Client::new(world, &node);
        if std::env::var_os("HEARTH_TRACE").is_some() {
            trace(world, &volumes).await;
        }
        client.assert_clean().await;
        for (_, backend) in world.backends() {
            let two_writers = backend.truth().violations(|overlap| overlap.volume_id != multi);
            assert!(two_writers.is_empty(), "I1: {two_writers:#?}");
        }
        assert_images_whole(world);
        let known = known.into_inner();
        for id in &known.deleted {
            let left = client.view(*id).await;
            let undone = left.is_some_and(|state| !state.volume.status.as_str().starts_with("error"));
            assert!(!undone, "I4: an answered delete was undone");
        }
        for (id, written) in &known.written {
            let is_there = client.view(*id).await.is_some_and(|state| !state.volume.status.is_error());
            let contents = client.contents(*id);
            let lost = written.iter().filter(|marker| is_there && !contents.contains(marker)).collect::<Vec<_>>();
            assert!(lost.is_empty(), "{id}: writes are lost: {lost:?} of {written:?}, there are {contents:?}");
        }
        if !known.deleted.contains(&volumes[3]) {
            assert_eq!(copies(world, KEPT), 1, "what nobody asked to delete is lost, or there twice");
        }
        for (id, certain) in &known.created {
            let was_to_go = known.deleted.contains(id) || known.let_go.contains(id);
            let gone = client.view(*id).await.is_none() && !was_to_go;
            assert!(!(*certain && gone), "I4: an answered create is lost");
        }
        node.settle(PATIENCE).await.expect("alive");
    });
}

/// Prints what was committed, for a seed that fails.
async fn trace(world: &World, volumes: &[VolumeId]) {
    for id in volumes {
        let mut events = world.store_now().events(*id, None, 1_000).await.expect("the store reads");
        events.reverse();
        for event in events {
            let from = event.from_status.unwrap_or_default();
            let cause = event.cause.unwrap_or_default();
            eprintln!(
                "{id} {} #{} {} {from} -> {} {cause}",
                event.at.0, event.generation, event.command, event.to_status
            );
        }
    }
    for state in world.volumes().await {
        eprintln!("{}", serde_json::to_string(&state).expect("a state is JSON"));
    }
    for (name, backend) in world.backends() {
        eprintln!("{name} {:#}", backend.truth().snapshot());
    }
}

/// A few rules, each for some of the calls.
fn faults(world: &World) -> Vec<FaultRule> {
    let pick = world.randomness();
    let requests = [
        "create",
        "delete",
        "extend",
        "export",
        "unexport",
        "plug",
        "unplug",
        "resize_guest",
        "probe",
        "copy_from_backend",
        "create_mirror_target",
        "mirror_guest",
        "pivot_guest",
        "unmirror_guest",
        "create_from_image",
        "reimage",
        "create_image",
        "upload_image",
        "discard_image",
        "adopt",
        "disown",
    ];
    let count = pick.below(4);
    (0..count)
        .map(|_| {
            let request = requests[usize::try_from(pick.below(requests.len() as u64)).expect("small")];
            let fault = match pick.below(8) {
                0 => Fault::Delay { latency: Latency::Fixed { us: 1_000 + pick.below(8_000_000) } },
                1 => Fault::Hang { effect_first: pick.below(2) == 0 },
                2 => Fault::Fail { kind: CauseKind::Other },
                3 => Fault::Refuse { kind: CauseKind::Other },
                4 => Fault::AnswerLost,
                5 => Fault::NothingDone,
                6 => Fault::EffectLater { after_us: 1_000 + pick.below(20_000_000), hidden: false },
                _ => Fault::Twice { after_us: 1_000 + pick.below(3_000_000) },
            };
            FaultRule::on(request, fault).when(When::Every { n: 2 + pick.below(4) })
        })
        .collect()
}

/// One client: random requests with random pauses.
async fn work(client: &Client<'_>, volumes: &[VolumeId; 4], multi: VolumeId, known: &RefCell<Known>) {
    let pick = client.world.randomness();
    for _ in 0..REQUESTS {
        client.world.pass_time(Duration::from_millis(pick.below(400))).await;
        let id = volumes[usize::try_from(pick.below(4)).expect("small")];
        let server = SERVERS[usize::try_from(pick.below(3)).expect("small")];
        let host = format!("host-of-{server}");
        guest_writes(client, id, known).await;
        match pick.below(20) {
            0 | 1 if id == volumes[3] => manage(client, id, known).await,
            0 | 1 => create(client, id, id == multi, known).await,
            2 | 3 => drop(client.server_attach(server, id).await),
            4 => drop(client.server_detach(server, id).await),
            5 => drop(client.extend(id, 2 + u32::try_from(pick.below(6)).expect("small")).await),
            6 => {
                let connector = (pick.below(2) == 0).then(|| serde_json::json!({"host": host}));
                if let Some(Ok(reply)) = client.attachment_create(id, Some(server), connector).await {
                    let row = reply.attachment_id.expect("a row");
                    known.borrow_mut().rows.push((id, row));
                }
            }
            7 | 8 => {
                let rows = known.borrow().rows.clone();
                if rows.is_empty() {
                    continue;
                }
                let (id, row) = rows[usize::try_from(pick.below(rows.len() as u64)).expect("small")];
                let owner = client.view(id).await.and_then(|state| state.attachment(row)?.instance_uuid.clone());
                let host = owner.map_or(host, |owner| format!("host-of-{owner}"));
                match pick.below(3) {
                    0 => drop(client.attachment_update(id, row, &host).await),
                    1 => drop(client.attachment_complete(id, row).await),
                    _ => drop(client.attachment_delete(id, row).await),
                }
            }
            9 | 10 => {
                if let Some(Ok(_)) = client.delete(id).await {
                    known.borrow_mut().deleted.push(id);
                }
            }
            11 | 12 => drop(client.migrate(id, if pick.below(2) == 0 { BACKEND } else { OTHER_BACKEND }).await),
            13 => drop(client.ask(id, retype(world_types(client).await, pick.below(3))).await),
            14 => drop(client.complete(id, pick.below(3) > 0).await),
            15 => {
                if let Some(Ok(_)) = client.unmanage(id).await {
                    known.borrow_mut().let_go.push(id);
                }
            }
            16 | 17 => drop(client.upload(id, client.image_id(), true).await),
            // What was taken under management must be there to the end.
            18 if id != volumes[3] => drop(client.reimage(id, client.image(), true).await),
            _ => {
                let update = hearth::domain::volume::command::UpdateVolume {
                    name: Some(Some(format!("n{}", pick.below(100)))),
                    ..Default::default()
                };
                drop(client.ask(id, Command::Update(update)).await);
            }
        }
    }
}

/// The guests that have the volume write to it.
async fn guest_writes(client: &Client<'_>, id: VolumeId, known: &RefCell<Known>) {
    let Some(state) = client.view(id).await else { return };
    for row in &state.attachments {
        let Some(bdm) = &row.bdm else { continue };
        let guest = Guest {
            server_id: bdm.server_id.clone(),
            hypervisor: HypervisorKind::Sim,
            qmp_socket: None,
            check_uuid: true,
        };
        let marker = format!("m{}", client.world.randomness().below(1 << 40));
        let written = client.world.hypervisor().guest_write(&guest, row.id, &marker).expect("written");
        if written.is_some_and(|write| write.reached == Some(id)) {
            known.borrow_mut().written.entry(id).or_default().push(marker);
        }
    }
}

/// The types of the world: of each backend, and of none. Made by whoever asks first.
async fn world_types(client: &Client<'_>) -> [VolumeType; 3] {
    let types = [Some("sim"), Some("other"), None].map(|backend| {
        let id = 0xe000 + backend.map_or(0, |name| name.len() as u128);
        volume_type(client.world, id, format!("type {backend:?}"), backend)
    });
    for new in &types {
        // It may be there already.
        drop(client.world.store_now().type_change(TypeChange::Create(new.clone())).await);
    }
    types
}

fn retype(types: [VolumeType; 3], which: u64) -> Command {
    let wanted = &types[usize::try_from(which).expect("small")];
    Command::Retype(Box::new(RetypeVolume {
        volume_type_id: wanted.id,
        type_revision: wanted.revision,
        multiattach: false,
        extra_specs: wanted.extra_specs.clone(),
        migration_allowed: true,
    }))
}

async fn create(client: &Client<'_>, id: VolumeId, multiattach: bool, known: &RefCell<Known>) {
    // An id is used once: what was deleted never comes back.
    if known.borrow().created.contains_key(&id) {
        return;
    }
    known.borrow_mut().created.insert(id, false);
    let Command::Create(mut request) = client.world.create_command(id, 1) else { unreachable!("it creates") };
    request.multiattach = multiattach;
    request.image = (client.world.randomness().below(3) == 0).then(|| from_image(client.image()));
    if let Some(Ok(_)) = client.ask(id, Command::Create(request)).await {
        known.borrow_mut().created.insert(id, true);
    }
}

async fn manage(client: &Client<'_>, id: VolumeId, known: &RefCell<Known>) {
    if known.borrow().created.contains_key(&id) {
        return;
    }
    known.borrow_mut().created.insert(id, false);
    if let Some(Ok(_)) = client.manage(id, OBJECT).await {
        known.borrow_mut().created.insert(id, true);
    }
}
