//! The rules of a guest's disk that becomes another volume's, for every hypervisor: `drivers::guest_swaps::<hypervisor>::<rule>`.
//! The calls are those of a migration, with the volume that takes the place in their keys.

use std::cell::Cell;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::{Answer, Call, CallKey, CauseKind, Outcome, Request};
use hearth::domain::ids::{ExportName, OperationId};
use hearth::domain::operation::Step;
use hearth::drivers::sim::{SimBackend, SimOptions};
use hearth::drivers::{Backend, Hypervisor};
use serde_json::Value;
use uuid::Uuid;

use super::subject::{
    assert_not_done, assert_refused, attachment, call, connection, export, export_name, guest, size, unexport, volume,
};
use crate::e2e::guest::Machine as Kind;
use crate::e2e::plug::Host;

/// The device is named after the attachment that it was plugged for, whatever volume it is of.
const DEVICE: u128 = 1;

/// What the guest writes lies in blocks of its own.
const BLOCK_BYTES: usize = 512;

/// A guest, and storage for its volumes.
struct Machine {
    parts: Parts,
    /// Everything in the service's memory is lost before each call to the guest.
    forgets: bool,
    words: u64,
    operation: Cell<u128>,
}

enum Parts {
    Simulated(Arc<SimBackend>),
    Real(Box<Host>),
}

async fn simulated() -> Machine {
    Machine::new(Parts::Simulated(SimBackend::new(SimOptions::in_memory(3))), false)
}

async fn qmp() -> Machine {
    Machine::new(Parts::Real(Box::new(Host::start(Kind::Pc).await)), false)
}

async fn qmp_restarted() -> Machine {
    Machine::new(Parts::Real(Box::new(Host::start(Kind::Pc).await)), true)
}

/// The connection to the volume that takes the place, and the epoch of the operation.
struct Place {
    number: u128,
    epoch: u64,
    export: ExportName,
    info: Value,
}

impl Machine {
    fn new(parts: Parts, forgets: bool) -> Self {
        Self { parts, forgets, words: 0, operation: Cell::new(1_000) }
    }

    /// A call about a volume to its storage.
    async fn storage(&self, number: u128, request: Request) -> Outcome {
        match &self.parts {
            Parts::Simulated(backend) => {
                self.operation.set(self.operation.get() + 1);
                Arc::clone(backend).call(call(volume(number), self.operation.get(), request)).await
            }
            Parts::Real(host) => host.pool.call(volume(number), request).await,
        }
    }

    async fn create(&self, number: u128, size_gib: u32) {
        assert_eq!(self.storage(number, Request::Create { size_gib }).await, size(size_gib));
    }

    async fn place(&self, number: u128, epoch: u64) -> Place {
        let info = connection(self.storage(number, export(number, epoch)).await);
        Place { number, epoch, export: export_name(number, epoch), info }
    }

    /// A call to the guest by the operation that the place belongs to.
    async fn ask(&mut self, place: &Place, request: Request) -> Outcome {
        if let Parts::Real(host) = &mut self.parts
            && self.forgets
        {
            host.restart();
        }
        self.operation.set(self.operation.get() + 1);
        let operation_id = OperationId(Uuid::from_u128(self.operation.get()));
        let key = CallKey { volume_id: volume(place.number), operation_id, epoch: place.epoch, step: Step::Drain };
        let call = Call { key, request };
        match &self.parts {
            Parts::Simulated(backend) => backend.hypervisor().call(guest("s1"), call).await,
            Parts::Real(host) => host.begin(&call).await,
        }
    }

    async fn mirror(&mut self, place: &Place) -> Outcome {
        let (attachment_id, connection_info) = (attachment(DEVICE), place.info.clone().into());
        let mode = AttachMode::ReadWrite;
        self.ask(place, Request::MirrorGuest { attachment_id, connection_info, mode }).await
    }

    async fn pivot(&mut self, place: &Place) -> Outcome {
        let (attachment_id, connection_info) = (attachment(DEVICE), place.info.clone().into());
        self.ask(place, Request::PivotGuest { attachment_id, connection_info }).await
    }

    async fn unmirror(&mut self, place: &Place) -> Outcome {
        let (attachment_id, connection_info) = (attachment(DEVICE), place.info.clone().into());
        self.ask(place, Request::UnmirrorGuest { attachment_id, connection_info }).await
    }

    /// The guest gets its disk, and writes its first word.
    async fn plug(&mut self, place: &Place) {
        let (attachment_id, connection_info) = (attachment(DEVICE), place.info.clone().into());
        let plug = Request::Plug { attachment_id, connection_info, mode: AttachMode::ReadWrite };
        assert_eq!(self.ask(place, plug).await, Outcome::done());
        if let Parts::Real(host) = &mut self.parts {
            host.guest.until("[ -b /dev/vda ]").await;
        }
        self.write().await;
    }

    async fn unplug(&mut self, place: &Place) -> Outcome {
        self.ask(place, Request::Unplug { attachment_id: attachment(DEVICE) }).await
    }

    /// Which export the guest's disk uses; none: it has no such disk.
    async fn used(&mut self, place: &Place) -> Option<ExportName> {
        match self.ask(place, Request::ProbeGuest { attachment_id: attachment(DEVICE) }).await {
            Outcome::Done { answer: Answer::Plugged { plugged, export } } => {
                assert_eq!(plugged, export.is_some());
                export
            }
            other => panic!("a probe answers where the disk is, not {other:?}"),
        }
    }

    /// The guest writes its next word, and is told that it is done.
    async fn write(&mut self) {
        self.words += 1;
        let word = self.words;
        match &mut self.parts {
            Parts::Simulated(backend) => {
                let written =
                    backend.hypervisor().guest_write(&guest("s1"), attachment(DEVICE), &format!("word {word}"));
                let reached = written.expect("written").is_some_and(|write| write.reached.is_some());
                assert!(reached, "word {word} has reached no volume");
            }
            Parts::Real(host) => {
                let disk = format!("of=/dev/vda bs={BLOCK_BYTES} seek={word} conv=sync,fsync,notrunc");
                let (_, written) = host.guest.run(&format!("echo word {word} | dd {disk} 2>/dev/null")).await;
                assert!(written, "word {word} is not written");
            }
        }
    }

    /// The words that a volume has.
    fn words(&self, number: u128) -> Vec<u64> {
        let is_there = |word: &u64| match &self.parts {
            Parts::Simulated(backend) => backend.truth().markers(volume(number)).contains(&format!("word {word}")),
            Parts::Real(host) => {
                let text = format!("word {word}\n");
                let mut found = vec![0; text.len()];
                let file = std::fs::File::open(host.pool.file(volume(number))).expect("there");
                file.read_exact_at(&mut found, word * BLOCK_BYTES as u64).expect("within the file");
                found == text.as_bytes()
            }
        };
        (1..=self.words).filter(is_there).collect()
    }

    /// Volume 1 is the guest's, and there is a place in volume 2.
    async fn before(&mut self, old_gib: u32, new_gib: u32) -> (Place, Place) {
        self.create(1, old_gib).await;
        self.create(2, new_gib).await;
        let (old, new) = (self.place(1, 1).await, self.place(2, 1).await);
        self.plug(&old).await;
        (old, new)
    }
}

async fn a_disk_becomes_another_volumes_while_its_guest_goes_on(mut machine: Machine) {
    let (old, new) = machine.before(1, 2).await;
    assert_eq!(machine.mirror(&new).await, Outcome::done());
    assert_eq!(machine.used(&new).await.as_ref(), Some(&old.export), "it is level, and not moved");
    machine.write().await;
    assert_eq!((machine.words(1), machine.words(2)), (vec![1, 2], vec![1, 2]), "every write is on both");
    assert_eq!(machine.mirror(&new).await, Outcome::done(), "level already");
    assert_eq!(machine.pivot(&new).await, Outcome::done());
    assert_eq!(machine.used(&new).await.as_ref(), Some(&new.export));
    assert_eq!(machine.pivot(&new).await, Outcome::done(), "moved already");
    assert_eq!(machine.mirror(&new).await, Outcome::done(), "moved already");
    assert_refused(&machine.unmirror(&new).await, CauseKind::Guest);
    assert_eq!(machine.used(&new).await.as_ref(), Some(&new.export), "it stays where it is");
    // Nobody needs the old one.
    assert_eq!(machine.storage(1, unexport(1, 1)).await, Outcome::done());
    machine.write().await;
    assert_eq!((machine.words(1), machine.words(2)), (vec![1, 2], vec![1, 2, 3]));
    let resize = Request::ResizeGuest { attachment_id: attachment(DEVICE), new_size_gib: 2 };
    assert_eq!(machine.ask(&new, resize).await, Outcome::done());
    assert_eq!(machine.unplug(&new).await, Outcome::done());
    assert_eq!(machine.used(&new).await, None);
}

async fn a_disk_that_was_swapped_is_swapped_back(mut machine: Machine) {
    let (_, new) = machine.before(1, 1).await;
    for call in [machine.mirror(&new).await, machine.pivot(&new).await] {
        assert_eq!(call, Outcome::done());
    }
    assert_eq!(machine.storage(1, unexport(1, 1)).await, Outcome::done());
    machine.write().await;
    let back = machine.place(1, 2).await;
    assert_eq!(machine.mirror(&back).await, Outcome::done());
    machine.write().await;
    assert_eq!(machine.pivot(&back).await, Outcome::done());
    assert_eq!(machine.used(&back).await.as_ref(), Some(&back.export));
    assert_eq!(machine.storage(2, unexport(2, 1)).await, Outcome::done());
    machine.write().await;
    assert_eq!((machine.words(1), machine.words(2)), (vec![1, 2, 3, 4], vec![1, 2, 3]));
}

async fn a_swap_that_is_called_off_leaves_the_disk_where_it_was(mut machine: Machine) {
    let (old, new) = machine.before(1, 1).await;
    assert_eq!(machine.unmirror(&new).await, Outcome::done(), "there is none");
    // What was given up before it began never begins.
    assert_not_done(&machine.mirror(&new).await);
    let again = Place { epoch: 2, ..machine.place(2, 2).await };
    assert_eq!(machine.mirror(&again).await, Outcome::done());
    machine.write().await;
    for _ in 0..2 {
        assert_eq!(machine.unmirror(&again).await, Outcome::done());
        assert_eq!(machine.used(&again).await.as_ref(), Some(&old.export));
    }
    machine.write().await;
    assert_eq!((machine.words(1), machine.words(2)), (vec![1, 2, 3], vec![1, 2]));
    assert_not_done(&machine.pivot(&again).await);
    assert_not_done(&machine.mirror(&again).await);
    assert_eq!(machine.used(&again).await.as_ref(), Some(&old.export));
    // A later one may.
    let later = machine.place(2, 3).await;
    assert_eq!(machine.mirror(&later).await, Outcome::done());
    assert_eq!(machine.pivot(&later).await, Outcome::done());
    machine.write().await;
    assert_eq!(machine.words(2), [1, 2, 3, 4]);
}

async fn what_cannot_take_the_place_is_refused_and_the_disk_stays(mut machine: Machine) {
    let (old, smaller) = machine.before(2, 1).await;
    machine.create(3, 2).await;
    let ended = machine.place(3, 1).await;
    assert_eq!(machine.storage(3, unexport(3, 1)).await, Outcome::done());
    for place in [&smaller, &ended] {
        assert_not_done(&machine.mirror(place).await);
        assert_refused(&machine.pivot(place).await, CauseKind::Guest);
        assert_eq!(machine.used(place).await.as_ref(), Some(&old.export));
        machine.write().await;
    }
    assert_eq!((machine.words(1), machine.words(2), machine.words(3)), (vec![1, 2, 3], vec![], vec![]));
    // And there is nothing in the way of what can.
    let place = machine.place(3, 2).await;
    for call in [machine.mirror(&place).await, machine.pivot(&place).await] {
        assert_eq!(call, Outcome::done());
    }
    assert_eq!(machine.words(3), [1, 2, 3]);
}

async fn a_disk_that_goes_in_the_middle_is_moved_nowhere(mut machine: Machine) {
    let (_, new) = machine.before(1, 1).await;
    assert_eq!(machine.mirror(&new).await, Outcome::done());
    assert_eq!(machine.unplug(&new).await, Outcome::done());
    assert_refused(&machine.pivot(&new).await, CauseKind::Guest);
    assert_not_done(&machine.mirror(&new).await);
    assert_eq!(machine.unmirror(&new).await, Outcome::done(), "no disk, no mirror");
    assert_eq!(machine.used(&new).await, None);
    // Both connections are closed: nobody holds the exports.
    for number in [1, 2] {
        assert_eq!(machine.storage(number, unexport(number, 1)).await, Outcome::done());
        assert_eq!(machine.storage(number, Request::Delete).await, Outcome::done());
    }
}

macro_rules! rules {
    ($machine:ident, [$($rule:ident),* $(,)?]) => {
        mod $machine {
            $(
                #[test]
                fn $rule() {
                    super::super::subject::in_one_thread(async { super::$rule(super::$machine().await).await });
                }
            )*
        }
    };
}

macro_rules! all_rules {
    ($machine:ident) => {
        rules!(
            $machine,
            [
                a_disk_becomes_another_volumes_while_its_guest_goes_on,
                a_disk_that_was_swapped_is_swapped_back,
                a_swap_that_is_called_off_leaves_the_disk_where_it_was,
                what_cannot_take_the_place_is_refused_and_the_disk_stays,
                a_disk_that_goes_in_the_middle_is_moved_nowhere,
            ]
        );
    };
}

all_rules!(simulated);
all_rules!(qmp);
// What was given up is forgotten with those who could begin it.
rules!(
    qmp_restarted,
    [a_disk_becomes_another_volumes_while_its_guest_goes_on, a_disk_that_was_swapped_is_swapped_back]
);
