//! The `clouds.yaml` that lets stock OpenStack clients talk to this service without Keystone.

use std::net::SocketAddr;

use crate::settings::ComputeMode;

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "clouds.yaml";

/// The cloud `hearth` for a service that listens on `listen`.
///
/// `auth_type: none` has no catalogue, so each service's address stands in an override of its own; openstacksdk then finds the
/// microversions by the version document at that address, which needs no token (`spec/auth-and-policy.md` §5).
pub fn clouds_yaml(listen: SocketAddr, compute: ComputeMode) -> String {
    let mut text = format!(
        "# Written by `hearth serve`. Use: OS_CLIENT_CONFIG_FILE=<this file> openstack --os-cloud hearth volume list\n\
         clouds:\n  hearth:\n    auth_type: none\n    \
         block_storage_endpoint_override: http://{listen}/v3\n"
    );
    if compute == ComputeMode::Embedded {
        text.push_str(&format!("    compute_endpoint_override: http://{listen}/compute/v2.1\n"));
    }
    text
}
