//! The contract, line by line: what the API's specification says, with the call that shows it or the test that does.
//!
//! One folder of tables for each file of the specification, in its order; one section for each of its sections. A *line* is one
//! statement of it in our own words; section and words together are its name. The tables are text, and read when the tests run: to
//! change a line nothing is built. `docs/contract.md` and the pages below it are the print. Nothing else may call this.
//!
//! | file | |
//! |---|---|
//! | `table` | the notation, read |
//! | `situations` | what a line begins with |
//! | `stage` | a service, and one line played on it |
//! | `answers` | an answer held against what was expected |
//! | `sources` | the tests that lines name |
//! | `page` | the pages of the documentation |
//! | `who_may` | every route for every persona, in the same notation |
//!
//! # The notation
//!
//! A line that begins with `|` continues the one before.
//!
//! ```text
//! # 2.1 os-extend                           a section; `@ WORLD` chooses the service, `@ WORLD: SITUATION` prepares it once for
//!                                           all lines of the section, on a service of its own
//! = NAME: STEP; STEP                        a situation of this file
//! LINE | SITUATION | CALL | ANSWER | EFFECT | EFFECT
//! LINE | shown by module::test, module::test
//! LINE | except: REASON
//! [a; b; c] LINE {_} | …                    one line for each value, which stands for `{_}`
//! ```
//!
//! * SITUATION: names and steps, `; ` between them (`situations`); `-`: nothing.
//! * CALL: `[PERSONA] [VERSION] METHOD PATH [(Header: value)]… [BODY]` (paths of servers are Compute's), or the name of an action and its value in place of method and
//!   path: an action on `{volume}`, or on `{snapshot}` and so on behind `of snapshot`. Without a persona it is the member, without a
//!   version 3.71; `-` is no version; `PERSONA+service` adds the token of a service. `-> NAME` at the end keeps the id in the answer.
//!   A header of the value `-` is not sent (`Content-Type`, which a body has otherwise).
//! * ANSWER: `CODE [(Header: value)]… REST`. REST is the message of the fault, with `…` for any text; or JSON, of which each member
//!   must be in the answer; or `empty`; or `plain TEXT`; or nothing. `"@absent"`, `"@any"`, `"@uuid"`, `"@time"`, `"@text"`,
//!   `"@integer"` stand for values; `"@exactly": [names]` and `"@without": [names]` in an object are about its members; an array has
//!   to be the same, or `["@has", …]`.
//! * EFFECT: `=> [RESOURCE] STATUS [JSON]` waits until the volume (or `snapshot` …) has the status, and holds what it is then against the
//!   JSON; `now [RESOURCE] STATUS [JSON]` does not wait; `then CALL => ANSWER` asks further, `eventually CALL => ANSWER` until it is
//!   so; any STEP is carried out.
//! * `{name}` stands for what steps have kept; `{x*255}` for a repetition; `{unique}` for a name that nobody else has, the same within a line.
//!
//! A call that is refused must leave the volume as it was, in every member: that is checked behind each.

mod answers;
mod page;
mod situations;
mod sources;
mod stage;
mod table;
mod who_may;

use table::File;

/// The files of the specification that are held line by line, in the order of the documentation.
const FILES: &[&File] = &[
    &VOLUMES,
    &VOLUME_ACTIONS,
    &ATTACHMENTS,
    &COMPUTE,
    &RACES,
    &SNAPSHOTS,
    &TYPES,
    &QUOTAS,
    &SERVICES,
    &ERRORS,
    &MICROVERSIONS,
    &SURFACE,
];

const VOLUMES: File = File { name: "volumes", title: "Volumes" };

const VOLUME_ACTIONS: File = File { name: "volume-actions", title: "Rules of every call, and actions on volumes" };
const SNAPSHOTS: File = File { name: "snapshots", title: "Snapshots" };
const TYPES: File = File { name: "types-qos-encryption", title: "Volume types, encryption, default types, QoS specs" };
const QUOTAS: File = File { name: "quotas-limits", title: "Quotas and limits" };
const ATTACHMENTS: File = File { name: "attachments", title: "Attachments" };
const COMPUTE: File = File { name: "nova-volume-attachments", title: "Compute: volumes of servers" };
const SERVICES: File =
    File { name: "services-hosts-pools", title: "Services, hosts, pools, and what lies at backends" };
const ERRORS: File = File { name: "errors-and-http", title: "Faults, lists, formats" };
const MICROVERSIONS: File = File { name: "microversions", title: "Microversions" };
const SURFACE: File = File { name: "api-surface", title: "Every route: codes, versions, policy" };

const RACES: File = File { name: "races", title: "Races and crashes" };

#[actix_web::test]
async fn every_line_of_volume_actions_holds() {
    VOLUME_ACTIONS.holds().await;
}

#[actix_web::test]
async fn every_line_of_snapshots_holds() {
    SNAPSHOTS.holds().await;
}

#[actix_web::test]
async fn every_line_of_types_qos_encryption_holds() {
    TYPES.holds().await;
}

#[actix_web::test]
async fn every_line_of_quotas_limits_holds() {
    QUOTAS.holds().await;
}

#[actix_web::test]
async fn every_line_of_attachments_holds() {
    ATTACHMENTS.holds().await;
}

#[actix_web::test]
async fn every_line_of_nova_volume_attachments_holds() {
    COMPUTE.holds().await;
}

#[actix_web::test]
async fn every_line_of_services_hosts_pools_holds() {
    SERVICES.holds().await;
}

#[actix_web::test]
async fn every_line_of_errors_and_http_holds() {
    ERRORS.holds().await;
}

#[actix_web::test]
async fn every_line_of_microversions_holds() {
    MICROVERSIONS.holds().await;
}

#[actix_web::test]
async fn every_line_of_api_surface_holds() {
    SURFACE.holds().await;
}

#[actix_web::test]
async fn every_line_of_volumes_holds() {
    VOLUMES.holds().await;
}

#[actix_web::test]
async fn every_line_of_races_holds() {
    RACES.holds().await;
}
