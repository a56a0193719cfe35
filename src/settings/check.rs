//! Checks that need this machine: run by `check-config` and before `serve` begins.

use std::fs;
use std::path::Path;

use super::reader::Origins;
use super::{
    AuthStrategy, ComputeMode, Database, DriverSettings, ImageServiceSettings, KeystonePassword, NovaCredentials,
    Problem, Settings, SimProcess,
};

/// `sun_path` of a unix socket has 108 bytes, the last of which is the terminating zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Room kept for the longest file name in the socket directory, with its separator: a backend's name (32) and the kind and
/// number of the daemon.
const SOCKET_NAME_BYTES_MAX: usize = 48;

/// See [`super::Loaded::problems_on_this_machine`].
pub(super) fn problems(settings: &Settings, origins: &Origins) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |key: String, reason: Option<String>| {
        // a path that was not written follows from state.path
        let origin = origins.of(&key).or_else(|| origins.of("state.path"));
        problems.extend(reason.map(|reason| Problem { key, reason, origin }));
    };
    add("state.path".to_owned(), unwritable(&settings.state.path));
    add("state.path".to_owned(), too_long(&settings.state.socket_dir(), SOCKET_NAME_BYTES_MAX));
    if let Database::Sqlite(file) = &settings.database
        && let Some(directory) = file.parent()
    {
        add("database.url".to_owned(), unwritable(directory));
    }
    if let Some(tls) = &settings.tls {
        add("tls.certificate".to_owned(), unreadable(&tls.certificate));
        add("tls.key".to_owned(), unreadable(&tls.key));
    }
    match settings.auth.strategy {
        AuthStrategy::Noauth | AuthStrategy::Keystone => {}
        AuthStrategy::Local => add("auth.local.path".to_owned(), unwritable(&settings.auth.local.path)),
        AuthStrategy::Basic => {
            add("auth.basic.file".to_owned(), settings.auth.basic.file.as_deref().and_then(unreadable));
        }
    }
    for (index, backend) in settings.backends.iter().enumerate() {
        match &backend.driver {
            DriverSettings::File(file) => add(format!("backends[{index}].path"), unwritable(&file.path)),
            DriverSettings::Sim(sim) => {
                if let Some(directory) = sim.truth.parent() {
                    add(format!("backends[{index}].truth"), unwritable(directory));
                }
                if let SimProcess::Separate { socket } = &sim.process {
                    add(format!("backends[{index}].socket"), too_long(socket, 0));
                }
            }
        }
    }
    match &settings.image.service {
        ImageServiceSettings::Embedded(store) => add("image.path".to_owned(), unwritable(&store.path)),
        ImageServiceSettings::Glance(glance) => {
            for (key, file) in [("image.ca_file", &glance.ca_file), ("image.token_file", &glance.token_file)] {
                add(key.to_owned(), file.as_deref().and_then(unreadable));
            }
        }
        ImageServiceSettings::None => {}
    }
    if let ComputeMode::External(nova) = &settings.compute.mode {
        let secret = |password: &KeystonePassword| match password {
            KeystonePassword::File(file) => Some(file.clone()),
            KeystonePassword::Text(_) => None,
        };
        let (key, file) = match &nova.credentials {
            NovaCredentials::User { password, .. } => ("password_file", secret(password)),
            NovaCredentials::ApplicationCredential { secret: text, .. } => {
                ("application_credential_secret_file", secret(text))
            }
            NovaCredentials::TokenFile(file) => ("token_file", Some(file.clone())),
            NovaCredentials::ServiceUser => ("", None),
        };
        for (key, file) in [("ca_file", nova.ca_file.clone()), (key, file)] {
            add(format!("compute.nova.{key}"), file.and_then(|file| unreadable(&file)));
        }
    }
    if let Some(keystone) = &settings.auth.keystone {
        let password = match &keystone.password {
            KeystonePassword::File(file) => Some(file),
            KeystonePassword::Text(_) => None,
        };
        for (key, file) in [("ca_file", keystone.ca_file.as_ref()), ("password_file", password)] {
            add(format!("auth.keystone.{key}"), file.and_then(|file| unreadable(file)));
        }
    }
    problems
}

fn unreadable(file: &Path) -> Option<String> {
    let opened = fs::File::open(file);
    opened.err().map(|error| format!("{} cannot be read: {error}", file.display()))
}

fn too_long(path: &Path, reserve: usize) -> Option<String> {
    let bytes = path.as_os_str().len() + reserve;
    (bytes > SOCKET_PATH_BYTES_MAX).then(|| {
        format!(
            "sockets under {} would have paths of up to {bytes} bytes; the system allows {SOCKET_PATH_BYTES_MAX}",
            path.display()
        )
    })
}

/// Whether the directory, or the nearest one above it that exists, takes a new file. Asking by doing is the only answer
/// that counts read-only mounts, ACLs and full disks in.
fn unwritable(directory: &Path) -> Option<String> {
    let existing = directory.ancestors().find(|path| path.symlink_metadata().is_ok())?;
    if !existing.is_dir() {
        return Some(format!("{} is not a directory", existing.display()));
    }
    let probe = existing.join(format!(".hearth-probe-{}", std::process::id()));
    match fs::File::create_new(&probe) {
        Ok(_) => {
            // a probe that cannot be removed again is no reason to refuse
            let _ = fs::remove_file(&probe);
            None
        }
        Err(error) => Some(format!("{} cannot be written: {error}", existing.display())),
    }
}
