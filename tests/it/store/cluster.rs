//! One temporary PostgreSQL cluster for the whole test binary, with a database for each test.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

#[path = "../../support/cluster.rs"]
mod support;

pub use support::url;
use support::{Cluster, find_binaries};

const SKIP: &str = "HEARTH_TEST_NO_POSTGRES";

/// What is lost with the power does not matter to a test.
const SETTINGS: &str = "-c fsync=off -c max_connections=300 -c shared_buffers=32MB";

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

fn cluster() -> &'static Cluster {
    CLUSTER.get_or_init(|| {
        assert!(find_binaries().is_some(), "no PostgreSQL found; set {SKIP}=1 to leave its tests out");
        Cluster::start(&std::env::temp_dir(), SETTINGS)
    })
}

/// The url of a new, empty database; none when the environment says that this machine has no PostgreSQL.
pub fn fresh_database() -> Option<String> {
    if std::env::var_os(SKIP).is_some() {
        return None;
    }
    Some(cluster().create_database(&format!("store_{}", DATABASES.fetch_add(1, Ordering::Relaxed))))
}

/// The directory of the cluster's socket.
pub fn socket_directory() -> PathBuf {
    cluster().directory.clone()
}
