//! `compute`: whether Hearth serves Compute's volume attachments, and by which rules.

use super::AuthStrategy;
use super::nova::{self, NovaSettings};
use super::parse::one_of;
use super::reader::{Problem, Table};

/// `compute`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComputeSettings {
    /// `compute.mode`.
    pub mode: ComputeMode,
    /// A device name that a client asks for is not looked at: the next free one is taken.
    pub ignore_requested_device: bool,
    /// Disks that a server may have, its root among them; none: no limit.
    pub max_disk_devices_to_attach: Option<u32>,
    /// A volume may be of another availability zone than its server.
    pub cross_az_attach: bool,
    /// A volume is swapped only while it has a migration status, as Nova has it.
    pub swap_requires_migration: bool,
    /// Clients may make servers, which are simulated.
    pub simulated_servers: bool,
}

/// `compute.mode`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComputeMode {
    /// Hearth serves the volume-attachment part of the Compute API.
    Embedded,
    /// A Nova elsewhere has the servers, and Hearth is its Block Storage.
    External(Box<NovaSettings>),
    /// Only Block Storage is served, and there is nobody to ask.
    None,
}

const OPTIONS: [&str; 7] = [
    "mode",
    "nova",
    "ignore_requested_device",
    "max_disk_devices_to_attach",
    "cross_az_attach",
    "swap_requires_migration",
    "simulated_servers",
];

/// −1: no limit.
const DISKS: std::ops::RangeInclusive<i64> = -1..=10_000;

pub(super) fn parse(mut table: Table, strategy: AuthStrategy, problems: &mut Vec<Problem>) -> ComputeSettings {
    let chosen_at = table.origin_of("mode");
    let word = table.take(problems, "mode", "embedded", |value| one_of(value, &["embedded", "external", "none"]));
    let mode = match word {
        "external" => {
            let nova = table.table(problems, "nova");
            let has_keystone = strategy == AuthStrategy::Keystone;
            ComputeMode::External(Box::new(nova::parse(nova, has_keystone, chosen_at.as_deref(), problems)))
        }
        "none" => ComputeMode::None,
        _ => ComputeMode::Embedded,
    };
    let ignore_requested_device = table.flag(problems, "ignore_requested_device", false);
    let disks: i64 = table.number(problems, "max_disk_devices_to_attach", -1, DISKS);
    let cross_az_attach = table.flag(problems, "cross_az_attach", true);
    let swap_requires_migration = table.flag(problems, "swap_requires_migration", true);
    let simulated_servers = table.flag(problems, "simulated_servers", false);
    table.finish(problems, &OPTIONS);
    let max_disk_devices_to_attach = u32::try_from(disks).ok();
    ComputeSettings {
        mode,
        ignore_requested_device,
        max_disk_devices_to_attach,
        cross_az_attach,
        swap_requires_migration,
        simulated_servers,
    }
}
