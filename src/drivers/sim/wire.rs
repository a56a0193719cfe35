//! The language between the service and a simulated backend in a process of its own: one JSON object a line, answers in
//! any order, matched by id.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::backend::{Call, Cause, Guest, Outcome, Truth};
use crate::domain::ids::{AttachmentId, ExportName, VolumeId};
use crate::drivers::Capacity;

use super::consumers::Overlap;
use super::faults::{FaultRule, HungCall};
use super::latency::LatencyTable;
use super::state::{SimContents, SimObject, WriteRecord};

/// The longest line that either end reads; a longer one ends the connection.
pub const LINE_BOUND: usize = 64 << 20;

/// A request with its number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Given back in the answer.
    pub id: u64,
    /// What is asked.
    pub ask: Ask,
}

/// An answer with its question's number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The question's.
    pub id: u64,
    /// What is answered.
    pub say: Say,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// A storage call.
    Call {
        /// The call.
        call: Call,
    },
    /// A guest call.
    GuestCall {
        /// The guest.
        guest: Guest,
        /// The call.
        call: Call,
    },
    /// What a volume holds, for another backend.
    Contents {
        /// The volume.
        volume_id: VolumeId,
    },
    /// A copy of what another backend holds.
    Receive {
        /// The call.
        call: Call,
        /// What was read there, or why it could not be.
        contents: Result<SimContents, Cause>,
    },
    /// Its room.
    Capacity,
    /// Everything that exists.
    Inventory,
    /// The devices in a guest.
    GuestInventory {
        /// The guest.
        guest: Guest,
    },
    /// Something that only tests ask.
    Control {
        /// What.
        control: Control,
    },
}

/// What tests ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "control", rename_all = "snake_case")]
pub enum Control {
    /// The whole truth.
    Snapshot,
    /// Every moment at which a volume had consumers of several servers or hosts.
    Overlaps,
    /// The last writes.
    Writes,
    /// Replaces the fault rules.
    SetFaults {
        /// The rules.
        rules: Vec<FaultRule>,
    },
    /// Adds a fault rule.
    AddFault {
        /// The rule.
        rule: FaultRule,
    },
    /// Replaces the latencies.
    SetLatency {
        /// The table.
        latency: LatencyTable,
    },
    /// Lets hanging calls go on.
    Release {
        /// Those of this volume, or all.
        #[serde(default)]
        volume_id: Option<VolumeId>,
    },
    /// The calls that hang.
    Hung,
    /// Writes through an export, as a host does that connected itself.
    Write {
        /// The export.
        export: ExportName,
        /// What to write.
        marker: String,
    },
    /// Puts something at the backend that is not Hearth's.
    PlaceObject {
        /// What it is called.
        reference: String,
        /// What it is.
        object: SimObject,
    },
    /// Writes from a guest.
    GuestWrite {
        /// The guest.
        guest: Guest,
        /// Its device.
        attachment_id: AttachmentId,
        /// What to write.
        marker: String,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Say {
    /// To a call.
    Outcome {
        /// How it ended.
        result: Outcome,
    },
    /// To `Contents`: what it holds, or why that cannot be read.
    Contents {
        /// Either.
        contents: Result<SimContents, Cause>,
    },
    /// To `Capacity`.
    Capacity {
        /// The room.
        capacity: Capacity,
    },
    /// To `Inventory`.
    Inventory {
        /// Every volume.
        volumes: Vec<(VolumeId, Truth)>,
    },
    /// To `GuestInventory`.
    Devices {
        /// The attachments.
        attachments: Vec<AttachmentId>,
    },
    /// To `Snapshot`.
    Snapshot {
        /// The truth.
        truth: Value,
    },
    /// To `Overlaps`.
    Overlaps {
        /// The moments.
        overlaps: Vec<Overlap>,
    },
    /// To `Writes`, and to a write: none when there is no such device.
    Writes {
        /// The records.
        writes: Vec<WriteRecord>,
    },
    /// To `Hung`.
    Hung {
        /// The calls.
        calls: Vec<HungCall>,
    },
    /// To `Release`.
    Released {
        /// How many.
        count: usize,
    },
    /// It is done.
    Ok,
    /// It cannot be done.
    Error {
        /// Why.
        text: String,
    },
}
