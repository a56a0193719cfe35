//! `/extensions` (services-hosts-pools §7): what older clients look for before they use it. All of it has been a part of the API
//! for long.

use serde_json::{Value, json};

use crate::api::answer::Answer;
use crate::api::fault::Problem;

/// Alias, name, what it is, when it last changed.
const EXTENSIONS: &[(&str, &str, &str, &str)] = &[
    ("OS-SCH-HNT", "SchedulerHints", "Hints to the scheduler in the create of a volume.", "2013-04-18T00:00:00+00:00"),
    ("backups", "Backups", "Backups of volumes.", "2012-12-12T00:00:00+00:00"),
    ("capabilities", "Capabilities", "What a backend can do.", "2015-08-31T00:00:00+00:00"),
    ("cgsnapshots", "Cgsnapshots", "Snapshots of consistency groups.", "2014-08-18T00:00:00+00:00"),
    ("consistencygroups", "Consistencygroups", "Consistency groups.", "2014-08-18T00:00:00+00:00"),
    ("encryption", "VolumeTypeEncryption", "Encryption of volume types.", "2013-07-01T00:00:00+00:00"),
    (
        "os-admin-actions",
        "AdminActions",
        "Actions of administrators: reset, force delete, migrate.",
        "2012-08-25T00:00:00+00:00",
    ),
    ("os-availability-zone", "AvailabilityZones", "The availability zones.", "2013-06-27T00:00:00+00:00"),
    ("os-extended-services", "ExtendedServices", "More of each service than its state.", "2014-01-10T00:00:00-00:00"),
    (
        "os-extended-snapshot-attributes",
        "ExtendedSnapshotAttributes",
        "Project and progress of snapshots.",
        "2012-06-19T00:00:00+00:00",
    ),
    ("os-hosts", "Hosts", "What lies at each host.", "2011-06-29T00:00:00+00:00"),
    ("os-quota-class-sets", "QuotaClasses", "The quotas of a class.", "2012-03-12T00:00:00+00:00"),
    ("os-quota-sets", "Quotas", "The quotas of a project.", "2011-08-08T00:00:00+00:00"),
    ("os-services", "Services", "The parts of the service, and what is said of them.", "2012-10-28T00:00:00-00:00"),
    ("os-snapshot-actions", "SnapshotActions", "Status updates of snapshots.", "2013-07-16T00:00:00+00:00"),
    ("os-snapshot-manage", "SnapshotManage", "Taking over snapshots that a backend has.", "2014-12-31T00:00:00+00:00"),
    ("os-snapshot-unmanage", "SnapshotUnmanage", "Letting go of snapshots.", "2014-12-31T00:00:00+00:00"),
    ("os-types-extra-specs", "TypesExtraSpecs", "What types ask of backends.", "2011-08-24T00:00:00+00:00"),
    ("os-types-manage", "TypesManage", "Making and removing of types.", "2011-08-24T00:00:00+00:00"),
    ("os-used-limits", "UsedLimits", "What is used of the limits.", "2013-10-03T00:00:00+00:00"),
    (
        "os-vol-host-attr",
        "VolumeHostAttribute",
        "The host of a volume, for administrators.",
        "2011-11-03T00:00:00+00:00",
    ),
    (
        "os-vol-image-meta",
        "VolumeImageMetadata",
        "The metadata of the image that a volume was made from.",
        "2012-12-07T00:00:00+00:00",
    ),
    (
        "os-vol-mig-status-attr",
        "VolumeMigStatusAttribute",
        "The migration of a volume, for administrators.",
        "2013-08-08T00:00:00+00:00",
    ),
    ("os-vol-tenant-attr", "VolumeTenantAttribute", "The project of a volume.", "2011-11-03T00:00:00+00:00"),
    ("os-volume-actions", "VolumeActions", "Actions on volumes.", "2012-05-31T00:00:00+00:00"),
    (
        "os-volume-encryption-metadata",
        "VolumeEncryptionMetadata",
        "How a volume is encrypted.",
        "2013-07-10T00:00:00+00:00",
    ),
    ("os-volume-manage", "VolumeManage", "Taking over volumes that a backend has.", "2014-02-10T00:00:00+00:00"),
    ("os-volume-transfer", "VolumeTransfer", "Handing volumes over to another project.", "2013-05-29T00:00:00+00:00"),
    ("os-volume-type-access", "VolumeTypeAccess", "Which projects may use a private type.", "2014-06-26T00:00:00Z"),
    ("os-volume-unmanage", "VolumeUnmanage", "Letting go of volumes.", "2012-05-31T00:00:00+00:00"),
    ("qos-specs", "Qos_specs_manage", "Quality of service of types.", "2013-08-02T00:00:00+00:00"),
    ("scheduler-stats", "Scheduler_stats", "The pools that the scheduler knows.", "2014-09-07T00:00:00+00:00"),
];

/// `GET /extensions`
pub fn extension_list() -> Answer {
    Answer::ok(json!({"extensions": EXTENSIONS.iter().map(shown).collect::<Vec<_>>()}))
}

/// `GET /extensions/{alias}`
pub fn extension_show(alias: &str) -> Result<Answer, Problem> {
    let found = EXTENSIONS.iter().find(|(known, ..)| *known == alias).ok_or(Problem::Hidden)?;
    Ok(Answer::ok(json!({"extension": shown(found)})))
}

fn shown((alias, name, description, updated): &(&str, &str, &str, &str)) -> Value {
    json!({"alias": alias, "name": name, "description": description, "updated": updated, "links": []})
}
