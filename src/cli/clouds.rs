//! The `clouds.yaml` that lets stock OpenStack clients talk to this service.

use std::net::SocketAddr;

use super::auth::Account;
use super::serve::endpoint;
use crate::settings::{AuthStrategy, ComputeMode, ImageServiceSettings, Settings};

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "clouds.yaml";

/// The clouds for a service that listens on `listen`: `hearth`, and with `auth.strategy = "local"` also `hearth-demo`, a member
/// who is no administrator.
pub fn clouds_yaml(listen: SocketAddr, settings: &Settings, accounts: &[Account]) -> String {
    let mut text =
        "# Written by `hearth serve`. Use: OS_CLIENT_CONFIG_FILE=<this file> openstack --os-cloud hearth volume list\n\
                    clouds:\n"
            .to_owned();
    let base = endpoint(settings, listen);
    match settings.auth.strategy {
        AuthStrategy::Noauth => {
            text.push_str("  hearth:\n    auth_type: none\n");
            text.push_str(&overrides(&base, settings));
        }
        AuthStrategy::Basic => {
            text.push_str(&format!(
                "  hearth:\n    # who: OS_USERNAME and OS_PASSWORD of the command line, username= and password= of openstacksdk\n    auth_type: http_basic\n    auth:\n      endpoint: {base}/v3\n"
            ));
            text.push_str(&overrides(&base, settings));
        }
        AuthStrategy::Keystone => {
            let auth_url = settings.auth.keystone.as_ref().map_or("", |keystone| &keystone.www_authenticate_uri);
            text.push_str(&format!(
                "  hearth:\n    # who: OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME of the command line; the catalog says where\n    \
                 auth:\n      auth_url: {auth_url}\n      user_domain_id: default\n      project_domain_id: default\n"
            ));
        }
        AuthStrategy::Local => accounts.iter().for_each(|account| text.push_str(&cloud(&base, settings, account))),
    }
    text
}

/// The cloud of an account: all the rest stands in the catalog.
fn cloud(base: &str, settings: &Settings, account: &Account) -> String {
    let Account { user, project, password } = account;
    let name = if user == "admin" { "hearth".to_owned() } else { format!("hearth-{user}") };
    let password = match password {
        Some(password) => format!("      password: {password}\n"),
        None => "      # the first password has been changed: OS_PASSWORD says it\n".to_owned(),
    };
    format!(
        "  {name}:\n\
         \x20   auth:\n\
         \x20     auth_url: {base}/identity/v3\n\
         \x20     username: {user}\n\
         {password}\
         \x20     project_name: {project}\n\
         \x20     user_domain_id: default\n\
         \x20     project_domain_id: default\n\
         \x20   region_name: {}\n",
        settings.auth.local.region
    )
}

/// Without an identity service there is no catalog, so each service's address stands in an override of its own; openstacksdk
/// finds the microversions by the version document at that address, which needs no token (`spec/auth-and-policy.md` §5). The
/// identity and image services are there, whether they are served or not, because `openstack volume list`, `volume create` and
/// `server list` make clients for them before they ask anything else, and end when there is no version document; no other
/// option avoids that.
fn overrides(base: &str, settings: &Settings) -> String {
    let images = match &settings.image.service {
        ImageServiceSettings::Glance(glance) => format!("{}/v2", glance.endpoint),
        ImageServiceSettings::Embedded(_) | ImageServiceSettings::None => format!("{base}/image/v2"),
    };
    let mut text = format!(
        "\x20   block_storage_endpoint_override: {base}/v3\n\
         \x20   identity_endpoint_override: {base}/identity/v3\n\
         \x20   image_endpoint_override: {images}\n"
    );
    if settings.compute.mode == ComputeMode::Embedded {
        text.push_str(&format!("    compute_endpoint_override: {base}/compute/v2.1\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(environment: &[(&str, &str)]) -> Settings {
        let environment = environment.iter().map(|(key, value)| (format!("HEARTH__{key}"), (*value).to_owned()));
        Settings::load_from(None, environment.collect()).expect("valid").settings
    }

    const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8776);

    #[test]
    fn every_service_that_the_clients_touch_has_its_address() {
        let text = clouds_yaml(LISTEN, &settings(&[]), &[]);
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
    fn with_an_identity_service_each_account_has_a_cloud() {
        let account = |user: &str, password: Option<&str>| Account {
            user: user.to_owned(),
            project: format!("{user}-project"),
            password: password.map(str::to_owned),
        };
        let settings = settings(&[("AUTH__STRATEGY", "local"), ("SERVER__PUBLIC_ENDPOINT", "https://v.example.org/")]);
        let text = clouds_yaml(LISTEN, &settings, &[account("admin", Some("pw")), account("demo", None)]);
        assert_eq!(
            text.lines().skip(1).collect::<Vec<_>>(),
            [
                "clouds:",
                "  hearth:",
                "    auth:",
                "      auth_url: https://v.example.org/identity/v3",
                "      username: admin",
                "      password: pw",
                "      project_name: admin-project",
                "      user_domain_id: default",
                "      project_domain_id: default",
                "    region_name: RegionOne",
                "  hearth-demo:",
                "    auth:",
                "      auth_url: https://v.example.org/identity/v3",
                "      username: demo",
                "      # the first password has been changed: OS_PASSWORD says it",
                "      project_name: demo-project",
                "      user_domain_id: default",
                "      project_domain_id: default",
                "    region_name: RegionOne",
            ]
        );
    }

    #[test]
    fn without_compute_there_is_no_address_of_it() {
        let text = clouds_yaml(LISTEN, &settings(&[("COMPUTE__MODE", "none")]), &[]);
        assert!(!text.contains("compute"), "{text}");
    }

    #[test]
    fn images_elsewhere_are_asked_for_there() {
        let glance = [("IMAGE__SERVICE", "glance"), ("IMAGE__ENDPOINT", "https://image.example.org/")];
        let text = clouds_yaml(LISTEN, &settings(&glance), &[]);
        assert!(text.contains("image_endpoint_override: https://image.example.org/v2\n"), "{text}");
    }
}
