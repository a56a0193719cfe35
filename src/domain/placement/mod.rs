//! Which backend gets a new volume: filters over what is known of each, then the one with the most room.
//!
//! Total and pure; decided in the step that creates the volume, so that a backend which an administrator has closed meanwhile
//! gets none. Rooms are as old as their last measurement: the backend itself has the last word.

mod specs;

use serde_json::{Map, Value, json};

use crate::domain::text::Text;
use crate::domain::volume_type::ExtraSpecs;

/// GiB, as backends measure it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    /// All of it.
    pub total_gib: f64,
    /// What is free.
    pub free_gib: f64,
}

/// How a backend stands at this instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// `host@backend#pool`.
    pub host: Text,
    /// Availability zone.
    pub zone: String,
    /// An administrator lets it take new volumes.
    pub enabled: bool,
    /// An administrator has frozen it: nothing is created or deleted there.
    pub frozen: bool,
    /// It answers.
    pub up: bool,
    /// As last measured; none: not yet.
    pub room: Option<Room>,
    /// What is promised to volumes, GiB.
    pub provisioned_gib: u64,
    /// How many volumes there are.
    pub volumes: u64,
    /// Percent of the room that new volumes do not get.
    pub reserved_percentage: u8,
    /// Its volumes are thin: so many times the room may be promised.
    pub max_over_subscription_ratio: f64,
    /// `nbd`…
    pub storage_protocol: String,
    /// Volumes can grow while they are attached.
    pub online_extend: bool,
}

impl Standing {
    /// `host@backend`: the service that the backend is.
    pub fn service(&self) -> &str {
        self.host.split('#').next().unwrap_or_default()
    }

    /// `backend` of `host@backend#pool`.
    pub fn backend_name(&self) -> &str {
        self.service().split_once('@').map_or("", |(_, backend)| backend)
    }

    /// The pool.
    pub fn pool_name(&self) -> &str {
        self.host.split_once('#').map_or("", |(_, pool)| pool)
    }

    /// What types can ask for, and what `get_pools` shows.
    pub fn capabilities(&self) -> Map<String, Value> {
        let gib = |of: fn(Room) -> f64| self.room.map_or(json!("unknown"), |room| json!(of(room)));
        let shown = json!({
            "volume_backend_name": self.backend_name(),
            "pool_name": self.pool_name(),
            "vendor_name": VENDOR,
            "driver_version": env!("CARGO_PKG_VERSION"),
            "storage_protocol": self.storage_protocol,
            "total_capacity_gb": gib(|room| room.total_gib),
            "free_capacity_gb": gib(|room| room.free_gib),
            "allocated_capacity_gb": self.provisioned_gib,
            "provisioned_capacity_gb": self.provisioned_gib,
            "max_over_subscription_ratio": self.max_over_subscription_ratio.to_string(),
            "reserved_percentage": self.reserved_percentage,
            "total_volumes": self.volumes,
            "thin_provisioning_support": true,
            "thick_provisioning_support": false,
            "multiattach": true,
            "online_extend_support": self.online_extend,
            "QoS_support": false,
            "replication_enabled": false,
            "consistencygroup_support": false,
            "sparse_copy_volume": false,
            "backend_state": if self.up { "up" } else { "down" },
            "filter_function": null,
            "goodness_function": null,
        });
        match shown {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }

    /// Takes new volumes at all.
    pub fn is_open(&self) -> bool {
        self.enabled && !self.frozen && self.up
    }

    /// What may still be promised, GiB; none: nobody knows.
    fn promisable_gib(&self) -> Option<f64> {
        let room = self.room?;
        let kept = (room.total_gib * f64::from(self.reserved_percentage) / 100.0).floor();
        Some((room.total_gib - kept) * self.max_over_subscription_ratio - gib_of(self.provisioned_gib))
    }

    /// The volume fits: into what may be promised, and what is really free times the ratio.
    fn has_room(&self, size_gib: u32) -> bool {
        let size = f64::from(size_gib);
        let Some((room, promisable)) = self.room.zip(self.promisable_gib()) else { return true };
        let kept = (room.total_gib * f64::from(self.reserved_percentage) / 100.0).floor();
        promisable >= size && (room.free_gib - kept) * self.max_over_subscription_ratio >= size
    }
}

/// Who made it, as types and clients see it.
pub const VENDOR: &str = "Hearth";

/// Sizes are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "GiB: a sum that large has no exact meaning")]
fn gib_of(sum: u64) -> f64 {
    sum as f64
}

/// What a new volume asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Availability zone.
    pub zone: String,
    /// GiB.
    pub size_gib: u32,
    /// The type's.
    pub extra_specs: ExtraSpecs,
    /// At a backend of one of these (the hint `same_host`); none: it was not said.
    pub same_host: Option<Vec<Text>>,
    /// At none of these (the hint `different_host`).
    pub different_host: Vec<Text>,
    /// On this machine (the hint `local_to_instance`); none: it was not said, the inner none: the server has no host.
    pub local_to: Option<Option<String>>,
}

/// The backend for a new volume; none fits. Of equal ones the first.
pub fn place<'a>(wanted: &Wanted, backends: &'a [Standing]) -> Option<&'a Standing> {
    let mut best: Option<&Standing> = None;
    for backend in backends.iter().filter(|backend| fits(wanted, backend)) {
        // One whose room is not known yet may be empty.
        let weight = |backend: &Standing| backend.promisable_gib().unwrap_or(f64::MAX);
        if best.is_none_or(|best| weight(backend) > weight(best)) {
            best = Some(backend);
        }
    }
    best
}

/// Whether the backend passes every filter.
pub fn fits(wanted: &Wanted, backend: &Standing) -> bool {
    backend.is_open()
        && backend.zone == wanted.zone
        && backend.has_room(wanted.size_gib)
        && meets(wanted, backend)
        && wanted.same_host.as_ref().is_none_or(|hosts| hosts.contains(&backend.host))
        && !wanted.different_host.contains(&backend.host)
        && wanted.local_to.as_ref().is_none_or(|machine| machine.as_deref() == backend.host.split('@').next())
}

/// Whether the backend can do what the extra specs ask, whatever room it has.
pub fn meets(wanted: &Wanted, backend: &Standing) -> bool {
    wanted.extra_specs.is_empty() || specs::met(&wanted.extra_specs, &backend.capabilities())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(name: &str) -> Standing {
        Standing {
            host: format!("h@{name}#{name}").into(),
            zone: "nova".to_owned(),
            enabled: true,
            frozen: false,
            up: true,
            room: Some(Room { total_gib: 100.0, free_gib: 100.0 }),
            provisioned_gib: 0,
            volumes: 0,
            reserved_percentage: 0,
            max_over_subscription_ratio: 1.0,
            storage_protocol: "nbd".to_owned(),
            online_extend: true,
        }
    }

    fn wanted(size_gib: u32) -> Wanted {
        Wanted { zone: "nova".to_owned(), size_gib, ..Wanted::default() }
    }

    #[test]
    fn filters_one_by_one() {
        type Change = fn(&mut Standing, &mut Wanted);
        let cases: &[(&str, bool, Change)] = &[
            ("as it is", true, |_, _| {}),
            ("disabled", false, |backend, _| backend.enabled = false),
            ("frozen", false, |backend, _| backend.frozen = true),
            ("down", false, |backend, _| backend.up = false),
            ("another zone", false, |backend, _| backend.zone = "mars".to_owned()),
            ("as large as the room", true, |_, wanted| wanted.size_gib = 100),
            ("larger than the room", false, |_, wanted| wanted.size_gib = 101),
            ("room not known", true, |backend, wanted| {
                backend.room = None;
                wanted.size_gib = 1_000;
            }),
            ("promised already", false, |backend, wanted| {
                backend.provisioned_gib = 91;
                wanted.size_gib = 10;
            }),
            ("promised twice", true, |backend, wanted| {
                backend.provisioned_gib = 190;
                backend.max_over_subscription_ratio = 2.0;
                wanted.size_gib = 10;
            }),
            ("promised more than twice", false, |backend, wanted| {
                backend.provisioned_gib = 191;
                backend.max_over_subscription_ratio = 2.0;
                wanted.size_gib = 10;
            }),
            ("written by others", false, |backend, wanted| {
                backend.room = Some(Room { total_gib: 100.0, free_gib: 4.0 });
                backend.max_over_subscription_ratio = 2.0;
                wanted.size_gib = 10;
            }),
            ("reserved", false, |backend, wanted| {
                backend.reserved_percentage = 10;
                wanted.size_gib = 91;
            }),
            ("beside what is reserved", true, |backend, wanted| {
                backend.reserved_percentage = 10;
                wanted.size_gib = 90;
            }),
            ("a spec that is met", true, |_, wanted| spec(wanted, "volume_backend_name", "b")),
            ("a spec that is not", false, |_, wanted| spec(wanted, "volume_backend_name", "c")),
            ("multiattach", true, |_, wanted| spec(wanted, "multiattach", "<is> True")),
            ("at the same host", true, |_, wanted| wanted.same_host = Some(vec!["h@b#b".into()])),
            ("at the same host as one elsewhere", false, |_, wanted| wanted.same_host = Some(vec!["h@c#c".into()])),
            ("at the same host as none", false, |_, wanted| wanted.same_host = Some(vec![])),
            ("at a different host", true, |_, wanted| wanted.different_host = vec!["h@c#c".into()]),
            ("at a different host as one there", false, |_, wanted| wanted.different_host = vec!["h@b#b".into()]),
            ("local", true, |_, wanted| wanted.local_to = Some(Some("h".to_owned()))),
            ("local to another machine", false, |_, wanted| wanted.local_to = Some(Some("m".to_owned()))),
            ("local to none", false, |_, wanted| wanted.local_to = Some(None)),
        ];
        for (name, expected, change) in cases {
            let (mut backend, mut wanted) = (backend("b"), wanted(1));
            change(&mut backend, &mut wanted);
            assert_eq!(fits(&wanted, &backend), *expected, "{name}");
        }
    }

    fn spec(wanted: &mut Wanted, key: &str, value: &str) {
        wanted.extra_specs.insert(key.to_owned(), Some(value.to_owned()));
    }

    #[test]
    fn the_one_with_the_most_room_gets_it() {
        let with = |name: &str, provisioned_gib| Standing { provisioned_gib, ..backend(name) };
        let name = |backends: &[Standing]| place(&wanted(1), backends).map(|found| found.backend_name().to_owned());
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[with("a", 5), with("b", 3), with("c", 4)]).as_deref(), Some("b"));
        assert_eq!(name(&[with("a", 5), with("b", 5)]).as_deref(), Some("a"), "the first of equal ones");
        let unknown = Standing { room: None, ..backend("u") };
        assert_eq!(name(&[with("a", 0), unknown]).as_deref(), Some("u"));
        let thin = Standing { max_over_subscription_ratio: 2.0, ..with("t", 50) };
        assert_eq!(name(&[with("a", 0), thin]).as_deref(), Some("t"), "what may be promised counts");
        let closed = Standing { enabled: false, ..backend("x") };
        assert_eq!(name(&[closed, with("a", 99)]).as_deref(), Some("a"));
        assert_eq!(name(&[with("a", 100)]), None);
    }

    #[test]
    fn names_are_parts_of_the_host() {
        let backend = backend("b");
        assert_eq!((backend.service(), backend.backend_name(), backend.pool_name()), ("h@b", "b", "b"));
    }
}
