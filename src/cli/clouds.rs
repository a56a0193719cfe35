//! The `clouds.yaml` that lets stock OpenStack clients talk to this service without Keystone.

use std::net::SocketAddr;

use crate::settings::ComputeMode;

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "clouds.yaml";

/// The cloud `hearth` for a service that listens on `listen`.
///
/// `auth_type: none` has no catalogue, so each service's address stands in an override of its own; openstacksdk finds the
/// microversions by the version document at that address, which needs no token (`spec/auth-and-policy.md` §5). The
/// identity and image services are there because `openstack volume list`, `volume create` and `server list` make clients for
/// them before they ask anything else, and end when there is no version document; no other option avoids that.
pub fn clouds_yaml(listen: SocketAddr, compute: ComputeMode) -> String {
    let mut text = format!(
        "# Written by `hearth serve`. Use: OS_CLIENT_CONFIG_FILE=<this file> openstack --os-cloud hearth volume list\n\
         clouds:\n\
         \x20 hearth:\n\
         \x20   auth_type: none\n\
         \x20   block_storage_endpoint_override: http://{listen}/v3\n\
         \x20   identity_endpoint_override: http://{listen}/identity/v3\n\
         \x20   image_endpoint_override: http://{listen}/image/v2\n"
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
        let text = clouds_yaml(SocketAddr::from(([127, 0, 0, 1], 8776)), ComputeMode::Embedded);
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
        let text = clouds_yaml(SocketAddr::from(([127, 0, 0, 1], 1)), ComputeMode::None);
        assert!(!text.contains("compute"), "{text}");
    }
}
