//! The `clouds.yaml` that lets stock OpenStack clients talk to this service without Keystone.

use std::net::SocketAddr;

use crate::settings::{ComputeMode, ImageServiceSettings};

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "clouds.yaml";

/// The cloud `hearth` for a service that listens on `listen`.
///
/// `auth_type: none` has no catalogue, so each service's address stands in an override of its own; openstacksdk finds the
/// microversions by the version document at that address, which needs no token (`spec/auth-and-policy.md` §5). The
/// identity and image services are there, whether they are served or not, because `openstack volume list`, `volume create` and
/// `server list` make clients for them before they ask anything else, and end when there is no version document; no other
/// option avoids that.
pub fn clouds_yaml(listen: SocketAddr, compute: ComputeMode, image: &ImageServiceSettings) -> String {
    let images = match image {
        ImageServiceSettings::Glance(glance) => format!("{}/v2", glance.endpoint),
        ImageServiceSettings::Embedded(_) | ImageServiceSettings::None => format!("http://{listen}/image/v2"),
    };
    let mut text = format!(
        "# Written by `hearth serve`. Use: OS_CLIENT_CONFIG_FILE=<this file> openstack --os-cloud hearth volume list\n\
         clouds:\n\
         \x20 hearth:\n\
         \x20   auth_type: none\n\
         \x20   block_storage_endpoint_override: http://{listen}/v3\n\
         \x20   identity_endpoint_override: http://{listen}/identity/v3\n\
         \x20   image_endpoint_override: {images}\n"
    );
    if compute == ComputeMode::Embedded {
        text.push_str(&format!("    compute_endpoint_override: http://{listen}/compute/v2.1\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_that_the_clients_touch_has_its_address() {
        let text =
            clouds_yaml(SocketAddr::from(([127, 0, 0, 1], 8776)), ComputeMode::Embedded, &ImageServiceSettings::None);
        assert_eq!(
            text.lines().skip(1).collect::<Vec<_>>(),
            [
                "clouds:",
                "  hearth:",
                "    auth_type: none",
                "    block_storage_endpoint_override: http://127.0.0.1:8776/v3",
                "    identity_endpoint_override: http://127.0.0.1:8776/identity/v3",
                "    image_endpoint_override: http://127.0.0.1:8776/image/v2",
                "    compute_endpoint_override: http://127.0.0.1:8776/compute/v2.1",
            ]
        );
    }

    #[test]
    fn without_compute_there_is_no_address_of_it() {
        let text = clouds_yaml(SocketAddr::from(([127, 0, 0, 1], 1)), ComputeMode::None, &ImageServiceSettings::None);
        assert!(!text.contains("compute"), "{text}");
    }

    #[test]
    fn images_elsewhere_are_asked_for_there() {
        let toml = [("IMAGE__SERVICE", "glance"), ("IMAGE__ENDPOINT", "https://image.example.org/")];
        let environment = toml.map(|(key, value)| (format!("HEARTH__{key}"), value.to_owned()));
        let settings = crate::settings::Settings::load_from(None, environment.to_vec()).expect("valid").settings;
        let listen = SocketAddr::from(([127, 0, 0, 1], 1));
        let text = clouds_yaml(listen, ComputeMode::None, &settings.image.service);
        assert!(text.contains("image_endpoint_override: https://image.example.org/v2\n"), "{text}");
    }
}
