//! Flavors: there is one for servers that are made elsewhere, and one for simulated ones.

use serde_json::{Value, json};

use crate::api::links::Links;
use crate::api::microversion::Microversion;
use crate::domain::server::{SIMULATED_HOST, Server};

/// A flavor.
#[derive(Debug, PartialEq, Eq)]
pub struct Flavor {
    /// Its id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Processors.
    pub vcpus: u64,
    /// MiB.
    pub ram_mib: u64,
    /// GiB; 0: as large as the image.
    pub disk_gib: u64,
}

/// Of servers that are made elsewhere: nothing is known of it.
const EXTERNAL: Flavor = Flavor { id: "0", name: "external", vcpus: 0, ram_mib: 0, disk_gib: 0 };

/// Of servers that clients make for themselves. They use nothing of it.
pub const SIMULATED: Flavor = Flavor { id: "1", name: "simulated", vcpus: 1, ram_mib: 512, disk_gib: 0 };

impl Flavor {
    /// That of a server.
    pub fn of(server: &Server) -> &'static Self {
        if server.host.as_deref() == Some(SIMULATED_HOST) { &SIMULATED } else { &EXTERNAL }
    }

    /// As a server shows it: whole from 2.47 on.
    pub fn embedded(&self, version: Microversion, links: &Links) -> Value {
        if version < Microversion::v2(47) {
            let bookmark = format!("{}/compute/flavors/{}", links.base, self.id);
            return json!({"id": self.id, "links": [{"rel": "bookmark", "href": bookmark}]});
        }
        let mut flavor = json!({
            "vcpus": self.vcpus,
            "ram": self.ram_mib,
            "disk": self.disk_gib,
            "ephemeral": 0,
            "swap": 0,
            "original_name": self.name,
        });
        if version >= Microversion::v2(61) {
            flavor["extra_specs"] = json!({});
        }
        flavor
    }

    /// A line of a list.
    pub fn summary(&self, version: Microversion, links: &Links) -> Value {
        let mut flavor = json!({"id": self.id, "name": self.name, "links": links.of("flavors", self.id)});
        if version >= Microversion::v2(55) {
            flavor["description"] = Value::Null;
        }
        flavor
    }

    /// All of it.
    pub fn detail(&self, version: Microversion, links: &Links) -> Value {
        let mut flavor = self.summary(version, links);
        let swap = if version >= Microversion::v2(75) { json!(0) } else { json!("") };
        for (name, value) in [
            ("vcpus", json!(self.vcpus)),
            ("ram", json!(self.ram_mib)),
            ("disk", json!(self.disk_gib)),
            ("swap", swap),
            ("rxtx_factor", json!(1.0)),
            ("OS-FLV-EXT-DATA:ephemeral", json!(0)),
            ("OS-FLV-DISABLED:disabled", json!(false)),
            ("os-flavor-access:is_public", json!(true)),
        ] {
            flavor[name] = value;
        }
        if version >= Microversion::v2(61) {
            flavor["extra_specs"] = json!({});
        }
        flavor
    }
}
