//! The catalog: where each service is.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::api::percent;

/// What the catalog says beside the addresses of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogOptions {
    /// The region of every endpoint.
    pub region: String,
    /// Whether the Compute API is served, and in it.
    pub compute: bool,
    /// Where images are, if another service has them.
    pub image_endpoint: Option<String>,
}

impl Default for CatalogOptions {
    fn default() -> Self {
        Self { region: "RegionOne".to_owned(), compute: true, image_endpoint: None }
    }
}

struct Entry {
    kind: &'static str,
    name: &'static str,
    url: String,
}

const INTERFACES: [&str; 3] = ["public", "internal", "admin"];

/// Both names of Block Storage are in it: clients ask for the one or the other.
fn entries(options: &CatalogOptions, base: &str, project: &str) -> Vec<Entry> {
    let volumes = format!("{base}/v3/{}", percent::encode(project));
    let images = options.image_endpoint.clone().unwrap_or_else(|| format!("{base}/image"));
    let mut all = vec![
        Entry { kind: "identity", name: "keystone", url: format!("{base}/identity/v3") },
        Entry { kind: "block-storage", name: "cinder", url: volumes.clone() },
        Entry { kind: "volumev3", name: "cinderv3", url: volumes },
        Entry { kind: "image", name: "glance", url: images },
    ];
    if options.compute {
        all.push(Entry { kind: "compute", name: "nova", url: format!("{base}/compute/v2.1") });
    }
    all
}

/// An id that is the same at every start.
fn id(of: &[&str]) -> String {
    let digest = Sha256::digest(of.join("\n"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The catalog of a token for `project`.
pub(super) fn catalog(options: &CatalogOptions, base: &str, project: &str) -> Value {
    let region = &options.region;
    let services = entries(options, base, project).into_iter().map(|Entry { kind, name, url }| {
        let endpoints: Vec<Value> = INTERFACES
            .iter()
            .map(|interface| {
                json!({"id": id(&[kind, interface]), "interface": interface, "region": region, "region_id": region, "url": url})
            })
            .collect();
        json!({"id": id(&[kind]), "type": kind, "name": name, "endpoints": endpoints})
    });
    services.collect()
}

/// The services, as an administrator sees them.
pub(super) fn services(options: &CatalogOptions, base: &str) -> Vec<Value> {
    let service = |entry: Entry| {
        json!({
            "id": id(&[entry.kind]), "type": entry.kind, "name": entry.name, "enabled": true, "description": "",
            "links": {"self": format!("{base}/identity/v3/services/{}", id(&[entry.kind]))},
        })
    };
    entries(options, base, "").into_iter().map(service).collect()
}

/// The endpoints, as an administrator sees them.
pub(super) fn endpoints(options: &CatalogOptions, base: &str) -> Vec<Value> {
    let region = &options.region;
    let endpoint = |entry: &Entry, interface: &str| {
        let own = id(&[entry.kind, interface]);
        json!({
            "id": own, "service_id": id(&[entry.kind]), "interface": interface, "region": region, "region_id": region,
            "enabled": true, "url": entry.url, "links": {"self": format!("{base}/identity/v3/endpoints/{own}")},
        })
    };
    let entries = entries(options, base, "$(project_id)s");
    entries.iter().flat_map(|entry| INTERFACES.iter().map(move |interface| endpoint(entry, interface))).collect()
}
