//! The variants of `hearth storm`, as data.

use serde_json::json;

use super::cycle::{Cycle, Service, Step};

/// A variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Attachment without a connector, connect, complete, delete.
    Attachments,
    /// Compute's attach until in-use, detach until available.
    Compute,
    /// Everybody wants one volume.
    Hot,
    /// Whole lives of volumes: create, extend, attach, snapshot (where there are snapshots), detach, delete.
    Mixed,
    /// `GET` of a volume.
    Show,
    /// `GET` of a page of volumes.
    List,
}

impl Variant {
    /// Every variant with its name.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("attachments", Self::Attachments),
        ("compute", Self::Compute),
        ("hot", Self::Hot),
        ("mixed", Self::Mixed),
        ("show", Self::Show),
        ("list", Self::List),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, variant)| *variant == self).map_or("", |(name, _)| name)
    }

    /// How many volumes must exist before it, for so many clients and as many as are asked for. More clients than volumes
    /// would fight over them, which is what `hot` is for.
    pub fn volumes(self, asked: Option<usize>, clients: usize) -> Result<usize, String> {
        match self {
            Self::Hot if asked.is_none_or(|asked| asked == 1) => Ok(1),
            Self::Hot => Err("hot has one volume for everybody".to_owned()),
            Self::Mixed if asked.is_none() => Ok(0),
            Self::Mixed => Err("mixed makes and removes its volumes itself".to_owned()),
            Self::Show | Self::List => Ok(asked.unwrap_or(1)),
            Self::Attachments | Self::Compute => match asked {
                Some(asked) if asked < clients => Err(format!("{clients} clients need at least as many volumes")),
                asked => Ok(asked.unwrap_or(clients)),
            },
        }
    }

    /// Its cycle, over units with `volume`, `name` and, for [`Self::Compute`], `server`.
    pub fn cycle(self, has_snapshots: bool) -> Cycle {
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        match self {
            Self::Attachments => Cycle {
                balanced: vec![pair("create", "delete")],
                ..Cycle::new(
                    self.name(),
                    vec![
                        reserve(),
                        Step::new("connect", "PUT", "/attachments/{attachment}", &[200])
                            .body(json!({"attachment": {"connector": connector()}})),
                        complete(),
                        release(),
                    ],
                )
            },
            Self::Compute => compute(),
            Self::Hot => {
                let held = Step::wait("held", "/volumes/{volume}", "volume.status", "reserved");
                Cycle {
                    balanced: vec![pair("create", "delete")],
                    exclusive: Some(pair("create", "delete")),
                    ..Cycle::new(self.name(), vec![reserve().refused(&[400, 409]), held, release()])
                }
            }
            Self::Mixed => mixed(has_snapshots),
            Self::Show => Cycle::new(self.name(), vec![Step::new("show", "GET", "/volumes/{volume}", &[200])]),
            Self::List => Cycle::new(self.name(), vec![Step::new("list", "GET", "/volumes/detail?limit=100", &[200])]),
        }
    }
}

/// What a host says of itself.
fn connector() -> serde_json::Value {
    json!({
        "host": "storm",
        "ip": "127.0.0.1",
        "initiator": "iqn.2010-10.org.openstack:storm",
        "platform": "x86_64",
        "os_type": "linux",
        "multipath": false,
        "mountpoint": "/dev/vdb",
    })
}

fn reserve() -> Step {
    Step::new("create", "POST", "/attachments", &[200])
        .body(json!({"attachment": {"volume_uuid": "{volume}"}}))
        .capture("attachment", "attachment.id")
}

fn complete() -> Step {
    Step::new("complete", "POST", "/attachments/{attachment}/action", &[200, 202, 204])
        .body(json!({"os-complete": null}))
}

fn release() -> Step {
    Step::new("delete", "DELETE", "/attachments/{attachment}", &[200]).undoes("create")
}

fn compute() -> Cycle {
    let volume = "/volumes/{volume}";
    let steps = vec![
        Step::new("attach", "POST", "/servers/{server}/os-volume_attachments", &[200])
            .at(Service::Compute)
            .body(json!({"volumeAttachment": {"volumeId": "{volume}"}})),
        Step::wait("in-use", volume, "volume.status", "in-use"),
        Step::new("detach", "DELETE", "/servers/{server}/os-volume_attachments/{volume}", &[202])
            .at(Service::Compute)
            .undoes("attach"),
        Step::wait("available", volume, "volume.status", "available").undoes("detach"),
    ];
    Cycle { balanced: vec![("attach".to_owned(), "detach".to_owned())], ..Cycle::new(Variant::Compute.name(), steps) }
}

fn mixed(has_snapshots: bool) -> Cycle {
    let volume = "/volumes/{volume}";
    let mut steps = vec![
        Step::new("create", "POST", "/volumes", &[202])
            .body(json!({"volume": {"name": "{name}", "size": 1}}))
            .capture("volume", "volume.id"),
        Step::wait("created", volume, "volume.status", "available"),
        Step::new("extend", "POST", "/volumes/{volume}/action", &[202]).body(json!({"os-extend": {"new_size": 2}})),
        Step::wait("extended", volume, "volume.status", "available"),
    ];
    if has_snapshots {
        let snapshot = "/snapshots/{snapshot}";
        steps.extend([
            Step::new("snapshot", "POST", "/snapshots", &[202])
                .body(json!({"snapshot": {"volume_id": "{volume}", "name": "{name}"}}))
                .capture("snapshot", "snapshot.id"),
            Step::wait("snapshot made", snapshot, "snapshot.status", "available"),
            Step::new("snapshot delete", "DELETE", snapshot, &[202]).undoes("snapshot"),
            Step::wait_gone("snapshot gone", snapshot).undoes("snapshot delete"),
        ]);
    }
    steps.extend([
        Step::new("attach", "POST", "/attachments", &[200])
            .body(json!({"attachment": {"volume_uuid": "{volume}", "connector": connector()}}))
            .capture("attachment", "attachment.id"),
        complete(),
        Step::new("detach", "DELETE", "/attachments/{attachment}", &[200]).undoes("attach"),
        Step::new("delete", "DELETE", volume, &[202]).undoes("create"),
        Step::wait_gone("gone", volume).undoes("delete"),
    ]);
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    let balanced = vec![pair("create", "delete"), pair("attach", "detach")];
    Cycle { balanced, ..Cycle::new(Variant::Mixed.name(), steps) }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::endpoint::Site;
    use super::super::program::Program;
    use super::*;

    #[test]
    fn every_variant_is_usable_and_survives_its_way_through_json() {
        let site = Site::bare(SocketAddr::from(([127, 0, 0, 1], 1)));
        for (name, variant) in Variant::ALL {
            for has_snapshots in [false, true] {
                let cycle = variant.cycle(has_snapshots);
                assert_eq!(cycle.name, *name);
                Program::new(&cycle, &site, ["name", "volume", "server"]).expect(name);
                let text = serde_json::to_string(&cycle).expect("JSON");
                assert_eq!(serde_json::from_str::<Cycle>(&text).expect("a cycle"), cycle);
            }
        }
    }

    #[test]
    fn volumes_fit_the_variant() {
        assert_eq!(Variant::Attachments.volumes(None, 8), Ok(8));
        assert_eq!(Variant::Attachments.volumes(Some(20), 8), Ok(20));
        assert!(Variant::Compute.volumes(Some(7), 8).is_err());
        assert_eq!(Variant::Hot.volumes(None, 8), Ok(1));
        assert!(Variant::Hot.volumes(Some(2), 8).is_err());
        assert_eq!(Variant::Mixed.volumes(None, 8), Ok(0));
        assert_eq!(Variant::Show.volumes(None, 8), Ok(1));
    }
}
