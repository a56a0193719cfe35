//! What the settings accept, what they refuse, and that the annotated files are true.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

fn in_repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn load(toml: &str, environment: &[(&str, &str)]) -> Result<Loaded, Invalid> {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("temporary file");
    file.write_all(toml.as_bytes()).expect("write");
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Settings::load_from(Some(file.path()), environment)
}

fn settings(toml: &str, environment: &[(&str, &str)]) -> Settings {
    load(toml, environment).expect("valid settings").settings
}

/// The one problem of these settings.
#[track_caller]
fn refused(toml: &str, environment: &[(&str, &str)], key: &str, reason: &str, origin: &str) {
    let Invalid(problems) = load(toml, environment).expect_err("invalid settings");
    assert_eq!(problems.len(), 1, "{problems:#?}");
    is_problem(&problems[0], key, reason, origin);
}

#[track_caller]
fn is_problem(problem: &Problem, key: &str, reason: &str, origin: &str) {
    assert_eq!(problem.key, key, "{problem}");
    assert!(problem.reason.contains(reason), "{problem}");
    let from = problem.origin.as_deref().unwrap_or("built-in default");
    assert!(from.contains(origin), "{problem}");
}

const FILE: &str = ".toml";

#[test]
fn the_annotated_file_parses_and_equals_the_built_in_defaults() {
    let defaults = Settings::load_from(None, Vec::new()).expect("defaults").settings;
    let file = Settings::load_from(Some(&in_repository("config/hearth.toml")), Vec::new()).expect("annotated file");
    assert_eq!(file.settings, defaults);
}

/// Every setting stands in the annotated file, so that it is the list to read: no key can be taken out of it, and none
/// added to the code, without this test.
#[test]
fn the_annotated_file_names_every_setting() {
    let text = std::fs::read_to_string(in_repository("config/hearth.toml")).expect("annotated file");
    let mut section = String::new();
    let mut written = std::collections::BTreeSet::new();
    for line in text.lines() {
        // optional settings and those of other drivers stand there commented out: `#: key = value`
        let line = line.strip_prefix("#: ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_start_matches('[').split(']').next().unwrap_or_default().to_owned();
        } else if let Some((key, _)) = line.split_once(" = ")
            && !line.starts_with('#')
        {
            written.insert(if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") });
        }
    }
    let expected = [
        "actors.admission",
        "actors.arbiters",
        "actors.idle_ttl",
        "actors.max_active",
        "auth.basic.file",
        "auth.basic.users.name",
        "auth.basic.users.project",
        "auth.basic.users.roles",
        "auth.keystone.auth_url",
        "auth.keystone.ca_file",
        "auth.keystone.interface",
        "auth.keystone.max_cached_tokens",
        "auth.keystone.max_connections",
        "auth.keystone.max_waiting",
        "auth.keystone.password",
        "auth.keystone.password_file",
        "auth.keystone.project_domain_name",
        "auth.keystone.project_name",
        "auth.keystone.region_name",
        "auth.keystone.timeout",
        "auth.keystone.token_cache_time",
        "auth.keystone.user_domain_name",
        "auth.keystone.username",
        "auth.keystone.www_authenticate_uri",
        "auth.local.path",
        "auth.local.region",
        "auth.local.token_ttl",
        "auth.noauth_project",
        "auth.service_token_roles",
        "auth.strategy",
        "auth.tokens.project",
        "auth.tokens.roles",
        "auth.tokens.token",
        "auth.tokens.user",
        "availability_zone",
        "backends.availability_zone",
        "backends.daemons_per_pool",
        "backends.deadlines.copy_stall",
        "backends.deadlines.create",
        "backends.deadlines.delete",
        "backends.deadlines.export",
        "backends.deadlines.extend",
        "backends.deadlines.probe",
        "backends.deadlines.unexport",
        "backends.driver",
        "backends.latency_ms",
        "backends.max_outstanding",
        "backends.max_over_subscription_ratio",
        "backends.name",
        "backends.path",
        "backends.process",
        "backends.queue",
        "backends.reserved_percentage",
        "backends.seed",
        "backends.socket",
        "backends.target_ip_address",
        "backends.target_port",
        "backends.target_prefix",
        "backends.target_protocol",
        "backends.truth",
        "backends.workers",
        "compute.cross_az_attach",
        "compute.ignore_requested_device",
        "compute.max_disk_devices_to_attach",
        "compute.mode",
        "compute.nova.application_credential_id",
        "compute.nova.application_credential_secret",
        "compute.nova.application_credential_secret_file",
        "compute.nova.auth_url",
        "compute.nova.ca_file",
        "compute.nova.endpoint",
        "compute.nova.interface",
        "compute.nova.max_connections",
        "compute.nova.password",
        "compute.nova.password_file",
        "compute.nova.project_domain_name",
        "compute.nova.project_name",
        "compute.nova.region_name",
        "compute.nova.timeout",
        "compute.nova.token_file",
        "compute.nova.user_domain_name",
        "compute.nova.username",
        "compute.simulated_servers",
        "compute.swap_requires_migration",
        "connections.queue_deadline",
        "cors.allowed_origins",
        "database.url",
        "faults.crash_at",
        "faults.enabled",
        "faults.no_sync",
        "history.retention",
        "hypervisor.follow_guests",
        "hypervisor.qmp_dirs",
        "image.ca_file",
        "image.convert_timeout",
        "image.endpoint",
        "image.force_upload",
        "image.max_images",
        "image.max_size_gib",
        "image.path",
        "image.qemu_img",
        "image.reserved_gib",
        "image.service",
        "image.timeout",
        "image.token_file",
        "policy.directory",
        "policy.enforce_new_defaults",
        "policy.file",
        "quota.backup_gigabytes",
        "quota.backups",
        "quota.gigabytes",
        "quota.groups",
        "quota.no_snapshot_gb_quota",
        "quota.per_volume_gigabytes",
        "quota.snapshots",
        "quota.volumes",
        "server.listen",
        "server.max_connections",
        "server.public_endpoint",
        "server.workers",
        "state.path",
        "tls.certificate",
        "tls.key",
    ];
    assert_eq!(written.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn the_production_example_parses() {
    let loaded = Settings::load_from(Some(&in_repository("config/hearth.production.toml")), Vec::new());
    let settings = loaded.expect("production example").settings;
    assert!(matches!(settings.database, Database::Postgres(_)), "production runs on PostgreSQL");
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let settings = settings(
        "[actors]\nadmission = 7\nmax_active = 9\n",
        &[("HEARTH__ACTORS__MAX_ACTIVE", "11"), ("HEARTH__SERVER__LISTEN", "[::1]:0")],
    );
    assert_eq!(settings.actors.admission, 7);
    assert_eq!(settings.actors.max_active, 11);
    assert_eq!(settings.actors.idle_ttl, Duration::from_secs(600));
    assert_eq!(settings.server.listen, "[::1]:0".parse().expect("address"));
}

#[test]
fn what_follows_from_the_state_path_follows_it_and_is_absolute() {
    let settings = settings("", &[("HEARTH__STATE__PATH", "some/where")]);
    let state = std::env::current_dir().expect("working directory").join("some/where");
    assert_eq!(settings.state.path, state);
    assert_eq!(settings.database, Database::Sqlite(state.join("hearth.db")));
    assert_eq!(settings.backends[0].path(), state.join("pools/local"));
}

#[test]
fn a_single_member_of_the_default_backend_can_be_changed_by_the_environment() {
    let settings =
        settings("", &[("HEARTH__BACKENDS__0__WORKERS", "9"), ("HEARTH__BACKENDS__0__DEADLINES__EXTEND", "1500ms")]);
    assert_eq!(settings.backends.len(), 1);
    assert_eq!(settings.backends[0].name, "local");
    assert_eq!(settings.backends[0].workers, 9);
    assert_eq!(settings.backends[0].deadlines.extend, Duration::from_millis(1500));
}

#[test]
fn backends_of_the_file_replace_the_default_one() {
    let settings = settings(
        "[[backends]]\nname = \"a\"\ndriver = \"sim\"\nprocess = \"separate\"\nsocket = \"/run/a.sock\"\nlatency_ms = 0\nseed = 42\n\
         [[backends]]\nname = \"b\"\npath = \"/srv/b\"\n",
        &[("HEARTH__BACKENDS__0__TRUTH", "/srv/a.truth")],
    );
    let [a, b] = &settings.backends[..] else { panic!("{:#?}", settings.backends) };
    assert_eq!(
        a.driver,
        DriverSettings::Sim(SimDriverSettings {
            process: SimProcess::Separate { socket: "/run/a.sock".into() },
            truth: "/srv/a.truth".into(),
            latency: Duration::ZERO,
            seed: 42,
        })
    );
    assert_eq!(b.path(), Path::new("/srv/b"));
    assert!(super::tests::settings("backends = []\n", &[]).backends.is_empty());
}

#[test]
fn fixed_tokens_stand_for_identities() {
    let settings = settings(
        "[auth]\nnoauth_project = \"demo\"\n[[auth.tokens]]\ntoken = \"T0k\"\nuser = \"rita\"\nroles = [\"reader\"]\n",
        &[],
    );
    let rita = FixedToken { user: "rita".into(), project: "demo".into(), roles: vec!["reader".into()] };
    assert_eq!(settings.auth.tokens.get("T0k"), Some(&rita));
    assert!(!format!("{:?}", settings.auth).contains("T0k"), "a token is a secret");
}

#[test]
fn unknown_keys_are_refused_where_they_stand() {
    refused("[server]\nlistn = \"x\"\n", &[], "server.listn", "did you mean \"server.listen\"", FILE);
    refused("[sever]\nlisten = \"x\"\n", &[], "sever", "did you mean \"server\"", FILE);
    refused("[[backends]]\nname = \"a\"\nlatency_ms = 1\n", &[], "backends[0].latency_ms", "unknown", FILE);
    refused(
        "[[backends]]\nname = \"a\"\n[backends.deadlines]\nmove = \"1s\"\n",
        &[],
        "backends[0].deadlines.move",
        "unknown",
        FILE,
    );
    refused(
        "",
        &[("HEARTH__SERVER__PORT", "1")],
        "server.port",
        "unknown",
        "environment variable HEARTH__SERVER__PORT",
    );
    refused("", &[("HEARTH__SERVR__LISTEN", "1")], "servr", "unknown", "environment variable HEARTH__SERVR__LISTEN");
}

#[test]
fn noauth_is_refused_on_every_address_but_loopback() {
    for address in ["0.0.0.0:8776", "[::]:8776", "192.0.2.1:8776"] {
        let toml = format!("[server]\nlisten = \"{address}\"\n");
        refused(&toml, &[], "server.listen", "noauth", FILE);
    }
    refused("", &[("HEARTH__SERVER__LISTEN", "0.0.0.0:1")], "server.listen", "loopback", "HEARTH__SERVER__LISTEN");
    assert_eq!(settings("[server]\nlisten = \"127.8.9.1:80\"\n", &[]).server.listen.port(), 80);
}

#[test]
fn each_image_service_has_settings_of_its_own() {
    let service = |toml: &str| settings(toml, &[("HEARTH__STATE__PATH", "/srv/h")]).image.service;
    let ImageServiceSettings::Embedded(embedded) = service("") else { panic!("the embedded one is the default") };
    assert_eq!((embedded.path.as_path(), embedded.max_images), (Path::new("/srv/h/images"), 10_000));
    assert_eq!(service("[image]\nservice = \"none\"\n"), ImageServiceSettings::None);
    for (endpoint, expected) in [
        ("https://image.example.org/", "https://image.example.org"),
        ("http://10.0.0.2:9292/v2/", "http://10.0.0.2:9292"),
        ("https://cloud.example.org/image", "https://cloud.example.org/image"),
    ] {
        let toml = format!("[image]\nservice = \"glance\"\nendpoint = \"{endpoint}\"\n");
        let ImageServiceSettings::Glance(glance) = service(&toml) else { panic!("{toml}") };
        assert_eq!((glance.endpoint.as_str(), glance.token_file), (expected, None));
    }
    for endpoint in
        ["ftp://h", "image.example.org", "https://", "https://u:hunter2@h", "http://h/?x=hunter2", "http://h#x"]
    {
        let toml = format!("[image]\nservice = \"glance\"\nendpoint = \"{endpoint}\"\n");
        let Invalid(problems) = load(&toml, &[]).expect_err(endpoint);
        is_problem(&problems[0], "image.endpoint", "", FILE);
        assert!(!problems[0].to_string().contains("hunter2"), "{}", problems[0]);
    }
    refused("[image]\nservice = \"glance\"\n", &[], "image.endpoint", "must be the address", FILE);
    refused("[image]\nservice = \"s3\"\n", &[], "image.service", "one of embedded, glance, none", FILE);
    refused("[image]\nendpoint = \"http://h\"\n", &[], "image.endpoint", "unknown setting", FILE);
    refused("[image]\nservice = \"none\"\npath = \"x\"\n", &[], "image.path", "unknown setting", FILE);
}

/// The least that Keystone needs, and further lines of its section.
fn keystone(more: &str) -> String {
    let least = "auth_url = \"http://k:5000/v3/\"\npassword = \"hunter2\"\n";
    format!("[auth]\nstrategy = \"keystone\"\n[auth.keystone]\n{least}{more}")
}

#[test]
fn keystone_has_a_section_of_its_own() {
    let section = |more: &str| settings(&keystone(more), &[]).auth.keystone.expect("the strategy is keystone");
    let least = section("");
    assert_eq!(least.auth_url, "http://k:5000");
    assert_eq!(least.www_authenticate_uri, "http://k:5000");
    assert_eq!((least.interface.as_str(), least.region_name), ("internal", None));
    assert_eq!(section("www_authenticate_uri = \"https://k/v3\"").www_authenticate_uri, "https://k/v3");
    for (written, seconds) in [("\"90s\"", 90), ("\"0s\"", 0), ("0", 0), ("-1", 0), ("\"-1\"", 0)] {
        let time = section(&format!("token_cache_time = {written}")).token_cache_time;
        assert_eq!(time, Duration::from_secs(seconds), "{written}");
    }
    refused(&keystone("token_cache_time = 300"), &[], "auth.keystone.token_cache_time", "no unit", FILE);
    refused(&keystone("interface = \"secret\""), &[], "auth.keystone.interface", "one of internal", FILE);
    refused(&keystone("insecure = true"), &[], "auth.keystone.insecure", "unknown setting", FILE);
    refused(&keystone("password_file = \"x\""), &[], "auth.keystone.password", "one of them", FILE);
    refused("[auth.keystone]\nauth_url = \"http://k\"\n", &[], "auth.keystone", "unknown setting", FILE);
    let Invalid(problems) = load("[auth]\nstrategy = \"keystone\"\n", &[]).expect_err("nothing is said of it");
    is_problem(&problems[0], "auth.keystone.auth_url", "address of Keystone", FILE);
    is_problem(&problems[1], "auth.keystone.password", "password_file", FILE);
    for url in ["k:5000", "https://u:hunter2@k", "https://k/?hunter2"] {
        let toml = format!("[auth]\nstrategy = \"keystone\"\n[auth.keystone]\nauth_url = \"{url}\"\npassword = \"p\"");
        let Invalid(problems) = load(&toml, &[]).expect_err(url);
        assert!(problems.len() == 1 && !problems[0].to_string().contains("hunter2"), "{problems:?}");
    }
}

/// Only noauth is confined to loopback: others know who asks.
#[test]
fn with_keystone_every_address_can_be_served() {
    let settings = settings(&keystone(""), &[("HEARTH__SERVER__LISTEN", "0.0.0.0:8776")]);
    assert_eq!(settings.server.listen.port(), 8776);
    assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
    let file = in_repository("Cargo.toml");
    let toml = keystone("").replace("password = \"hunter2\"", &format!("password_file = \"{}\"", file.display()));
    let settings = load(&toml, &[]).expect("valid").settings;
    assert_eq!(settings.auth.keystone.map(|keystone| keystone.password), Some(KeystonePassword::File(file)));
}

#[test]
fn what_is_not_implemented_is_refused_by_name() {
    refused("[auth]\nstrategy = \"magic\"\n", &[], "auth.strategy", "one of noauth", FILE);
}

/// `[compute.nova]` with these lines.
fn nova(lines: &str) -> String {
    format!("[compute]\nmode = \"external\"\n[compute.nova]\n{lines}\n")
}

fn nova_of(toml: &str) -> NovaSettings {
    match settings(toml, &[]).compute.mode {
        ComputeMode::External(nova) => *nova,
        other => panic!("{other:?}"),
    }
}

#[test]
fn external_each_way_to_log_in_for_nova() {
    let file = nova_of(&nova("token_file = \"/t\"\nendpoint = \"http://n:8774/\"\npassword = \"\""));
    assert_eq!(file.credentials, NovaCredentials::TokenFile("/t".into()));
    assert_eq!(file.endpoint.as_deref(), Some("http://n:8774/v2.1"));
    assert_eq!((file.interface.as_str(), file.timeout.as_secs(), file.max_connections), ("internal", 10, 32));
    let own =
        nova_of(&nova("auth_url = \"https://k/v3\"\npassword = \"hunter2\"\nendpoint = \"https://c/compute/v2.1\""));
    assert_eq!(own.endpoint.as_deref(), Some("https://c/compute/v2.1"));
    assert!(!format!("{own:?}").contains("hunter2"), "{own:?}");
    match own.credentials {
        NovaCredentials::User { auth_url, username, .. } => {
            assert_eq!((&*auth_url, &*username), ("https://k", "hearth"))
        }
        other => panic!("{other:?}"),
    }
    let credential =
        "auth_url = \"https://k\"\napplication_credential_id = \"a\"\napplication_credential_secret = \"hunter2\"";
    let credential = nova_of(&nova(credential));
    assert!(matches!(credential.credentials, NovaCredentials::ApplicationCredential { .. }), "{credential:?}");
    assert!(!format!("{credential:?}").contains("hunter2"), "{credential:?}");
    let shared = format!("{}{}", keystone(""), nova(""));
    assert_eq!(nova_of(&shared).credentials, NovaCredentials::ServiceUser);
}

#[test]
fn external_what_is_missing_to_ask_nova_is_named() {
    let Invalid(problems) = load("[compute]\nmode = \"external\"\n", &[]).expect_err("nothing is said of it");
    is_problem(&problems[0], "compute.nova.auth_url", "auth.strategy", FILE);
    is_problem(&problems[1], "compute.nova.password", "password_file", FILE);
    refused(&nova("token_file = \"/t\""), &[], "compute.nova.endpoint", "no catalogue", FILE);
    refused(&nova("auth_url = \"http://k\""), &[], "compute.nova.password", "password_file", FILE);
    let both = "auth_url = \"http://k\"\npassword = \"hunter2\"\npassword_file = \"/p\"";
    refused(&nova(both), &[], "compute.nova.password", "one of them is enough", FILE);
    let secret = "auth_url = \"http://k\"\napplication_credential_id = \"a\"";
    refused(&nova(secret), &[], "compute.nova.application_credential_secret", "_secret_file", FILE);
    let both = "auth_url = \"http://k\"\npassword = \"hunter2\"\ntoken_file = \"/t\"";
    refused(&nova(both), &[], "compute.nova.token_file", "instead of a login", FILE);
    let both = "auth_url = \"http://k\"\npassword = \"p\"\napplication_credential_id = \"a\"\napplication_credential_secret = \"s\"";
    refused(&nova(both), &[], "compute.nova.password", "unknown setting", FILE);
    refused("[compute.nova]\nendpoint = \"http://n\"\n", &[], "compute.nova", "unknown setting", FILE);
}

#[test]
fn each_strategy_of_authentication_has_its_section() {
    let local = settings(
        "[auth]\nstrategy = \"local\"\n[server]\nlisten = \"0.0.0.0:80\"\n",
        &[("HEARTH__STATE__PATH", "/srv/h")],
    );
    assert_eq!(
        (local.auth.strategy, local.auth.local.path.as_path()),
        (AuthStrategy::Local, Path::new("/srv/h/identity"))
    );
    let basic = "[auth]\nstrategy = \"basic\"\n[auth.basic]\nfile = \"/etc/hearth.htpasswd\"\n";
    let users = "[[auth.basic.users]]\nname = \"rita\"\nroles = [\"reader\"]\n";
    let rita = FixedIdentity { project: "admin".into(), roles: vec!["reader".into()] };
    assert_eq!(settings(&format!("{basic}{users}"), &[]).auth.basic.users.get("rita"), Some(&rita));
    refused(&format!("{basic}{users}{users}"), &[], "auth.basic.users[1].name", "twice", FILE);
    refused("[auth]\nstrategy = \"basic\"\n", &[], "auth.basic.file", "htpasswd", FILE);
    refused("[auth.local]\ntoken_ttl = \"0s\"\n", &[], "auth.local.token_ttl", "", FILE);
    refused("[server]\npublic_endpoint = \"example.org\"\n", &[], "server.public_endpoint", "https://", FILE);
}

#[test]
fn the_listener_may_have_a_certificate_and_pages_of_other_origins() {
    let tls = settings("[tls]\ncertificate = \"/c.pem\"\nkey = \"/k.pem\"\n", &[]).tls;
    assert_eq!(tls, Some(TlsSettings { certificate: "/c.pem".into(), key: "/k.pem".into() }));
    assert_eq!(settings("", &[]).tls, None);
    refused("[tls]\ncertificate = \"/c.pem\"\n", &[], "tls.key", "tls.certificate", FILE);
    let local = "[auth]\nstrategy = \"local\"\n";
    let origins = |list: &str| format!("{local}[cors]\nallowed_origins = {list}\n");
    assert_eq!(settings(&origins("[\"https://d.example.org\"]"), &[]).cors, ["https://d.example.org"]);
    for bad in ["[\"*\"]", "[\"d.example.org\"]", "[\"https://d.example.org/path\"]"] {
        refused(&origins(bad), &[], "cors.allowed_origins", "no origin", FILE);
    }
    let noauth = "[cors]\nallowed_origins = [\"https://d.example.org\"]\n";
    refused(noauth, &[], "cors.allowed_origins", "noauth", FILE);
}

#[test]
fn wrong_values_are_refused_with_what_would_be_right() {
    refused("[server]\nlisten = \"localhost\"\n", &[], "server.listen", "127.0.0.1:8776", FILE);
    refused("[server]\nworkers = -1\n", &[], "server.workers", "from 0 to", FILE);
    refused("[server]\nworkers = 1.5\n", &[], "server.workers", "whole number", FILE);
    refused("[actors]\nidle_ttl = 600\n", &[], "actors.idle_ttl", "no unit", FILE);
    refused("[actors]\nidle_ttl = \"0s\"\n", &[], "actors.idle_ttl", "longer than zero", FILE);
    refused("[actors]\nadmission = 0\n", &[], "actors.admission", "from 1", FILE);
    refused("[quota]\nvolumes = -2\n", &[], "quota.volumes", "from -1", FILE);
    refused("[faults]\nenabled = \"yes\"\n", &[], "faults.enabled", "true or false", FILE);
    let enabled = "[faults]\nenabled = true\n";
    refused(&format!("{enabled}crash_at = \"commit:0\"\n"), &[], "faults.crash_at", "commit.after", FILE);
    refused("[faults]\ncrash_at = \"commit.after:1\"\n", &[], "faults.crash_at", "only with faults.enabled", FILE);
    refused("[faults]\nno_sync = true\n", &[], "faults.no_sync", "only with faults.enabled", FILE);
    refused("server = 3\n", &[], "server", "section", FILE);
    refused("[hypervisor]\nqmp_dirs = [\"run\"]\n", &[], "hypervisor.qmp_dirs", "not absolute", FILE);
    refused("[[backends]]\nname = \"a/b\"\n", &[], "backends[0].name", "letters", FILE);
    refused("[[backends]]\ndriver = \"file\"\n", &[], "backends[0].name", "must have a name", FILE);
    refused("[[backends]]\nname = \"a\"\ndriver = \"rbd\"\n", &[], "backends[0].driver", "one of file, sim", FILE);
    refused(
        "[[backends]]\nname = \"a\"\n[[backends]]\nname = \"a\"\n",
        &[],
        "backends[1].name",
        "named \"a\" already",
        FILE,
    );
    refused(
        "",
        &[("HEARTH__ACTORS__ADMISSION", "many")],
        "actors.admission",
        "whole number",
        "HEARTH__ACTORS__ADMISSION",
    );
}

#[test]
fn a_bad_database_url_is_refused_without_its_password() {
    for url in ["mysql://u:hunter2@h/d", "postgres://u:hunter2@h", "postgres://u:hunter2@h/?sslmode=require", "hunter2"]
    {
        let Invalid(problems) = load("", &[("HEARTH__DATABASE__URL", url)]).expect_err(url);
        is_problem(&problems[0], "database.url", "", "HEARTH__DATABASE__URL");
        assert!(!problems[0].to_string().contains("hunter2"), "{}", problems[0]);
    }
    refused("[database]\nurl = \"sqlite://\"\n", &[], "database.url", "names no file", FILE);
    let good = settings("[database]\nurl = \"postgres://u:hunter2@h/d\"\n", &[]);
    assert!(!format!("{good:?}").contains("hunter2"), "a password is a secret");
}

#[test]
fn all_problems_are_told_at_once() {
    let Invalid(problems) =
        load("[server]\nlisten = 1\nnope = 2\n[quota]\nvolumes = \"x\"\n", &[]).expect_err("invalid");
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["server.listen", "server.nope", "quota.volumes"]);
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_named() {
    let missing = Settings::load_from(Some(Path::new("/nonexistent/hearth.toml")), Vec::new()).expect_err("missing");
    is_problem(&missing.0[0], "", "cannot be read", "/nonexistent/hearth.toml");
    refused("[server\n", &[], "", "line 1", FILE);
}

#[test]
fn a_state_path_that_cannot_be_written_is_found() {
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    let below = file.path().join("data");
    let loaded = load("", &[("HEARTH__STATE__PATH", below.to_str().expect("utf-8"))]).expect("valid");
    let problems = loaded.problems_on_this_machine();
    is_problem(&problems[0], "state.path", "not a directory", "HEARTH__STATE__PATH");
}

#[test]
fn a_state_path_is_found_too_long_for_sockets_at_the_right_byte() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let base = directory.path().to_str().expect("utf-8");
    // run/ and the longest name behind it
    let room = 107 - 48 - "/run".len();
    let fits = format!("{base}/{}", "x".repeat(room - base.len() - 1));
    let problems = |path: &str| load("", &[("HEARTH__STATE__PATH", path)]).expect("valid").problems_on_this_machine();
    assert_eq!(problems(&fits), []);
    let too_long = problems(&format!("{fits}x"));
    assert_eq!(too_long.len(), 1, "{too_long:#?}");
    is_problem(&too_long[0], "state.path", "107", "HEARTH__STATE__PATH");
}

#[test]
fn a_separate_sim_backend_needs_a_socket_path_that_fits() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let toml = format!(
        "[state]\npath = {:?}\n[[backends]]\nname = \"s\"\ndriver = \"sim\"\nprocess = \"separate\"\nsocket = \"/{}\"\n",
        directory.path(),
        "s".repeat(107)
    );
    let problems = load(&toml, &[]).expect("valid").problems_on_this_machine();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    is_problem(&problems[0], "backends[0].socket", "108", FILE);
}

#[test]
fn attaches_have_rules_of_their_own() {
    let plain = settings("", &[]).compute;
    assert_eq!(
        (plain.ignore_requested_device, plain.max_disk_devices_to_attach, plain.cross_az_attach),
        (false, None, true)
    );
    let toml = "[compute]\nignore_requested_device = true\nmax_disk_devices_to_attach = 26\ncross_az_attach = false\n";
    let set = settings(toml, &[]).compute;
    assert_eq!(
        (set.ignore_requested_device, set.max_disk_devices_to_attach, set.cross_az_attach),
        (true, Some(26), false)
    );
    refused(
        "[compute]\nmax_disk_devices_to_attach = -2\n",
        &[],
        "compute.max_disk_devices_to_attach",
        "from -1 to",
        FILE,
    );
}
