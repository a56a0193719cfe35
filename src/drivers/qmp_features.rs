//! Whether a QMP server (a storage daemon, a guest's QEMU) has the commands, arguments and events that its client uses. It is
//! asked once, before anything depends on it: what is missing is then told by its name, instead of failing in the middle of a
//! volume's life in words that nobody understands.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use qapi::qmp::{QmpCommand, query_version};
use serde::Serialize;
use serde_json::Value;

use super::qmp::{Qmp, QmpError};

/// Versions of servers that are remembered as complete. There are one or two on a machine, a few more in the course of upgrades.
const VERSIONS_REMEMBERED: usize = 16;

/// What a server must have. A feature is written as a path: a command or event, then arguments, where `+` selects the
/// variant of a union (`blockdev-add/+nbd/reconnect-delay`).
pub struct Features {
    needed: Vec<&'static str>,
    /// Versions that have all of it: one server is like another of the same build.
    complete: Mutex<BTreeSet<String>>,
}

impl Features {
    /// A check for these.
    pub fn new(needed: &[&'static str]) -> Self {
        Self { needed: needed.to_vec(), complete: Mutex::new(BTreeSet::new()) }
    }

    /// What the server lacks; its schema is asked for (0.1 s) only when its version is not known to be complete.
    pub async fn lacking(&self, qmp: &Qmp) -> Result<Vec<&'static str>, QmpError> {
        let found = qmp.run(query_version {}).await?;
        let version = format!("{}.{}.{} {}", found.qemu.major, found.qemu.minor, found.qemu.micro, found.package);
        if self.complete().contains(&version) {
            return Ok(Vec::new());
        }
        let schema = match qmp.run(QueryQmpSchema {}).await {
            Ok(entries) => Schema::new(entries),
            Err(QmpError::Refused { .. }) => return Ok(vec![QueryQmpSchema::WORD]),
            Err(error) => return Err(error),
        };
        let lacking: Vec<&str> = self.needed.iter().copied().filter(|path| !schema.has(path)).collect();
        if lacking.is_empty() {
            let mut complete = self.complete();
            if complete.len() >= VERSIONS_REMEMBERED {
                complete.clear();
            }
            complete.insert(version);
        } else {
            tracing::error!(%version, ?lacking, "a QMP server lacks what is needed of it");
        }
        Ok(lacking)
    }

    fn complete(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.complete.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The generated type of the answer fails as a whole on an entry of a kind that a later QEMU adds.
#[derive(Debug, Serialize)]
struct QueryQmpSchema {}

impl QueryQmpSchema {
    const WORD: &'static str = "query-qmp-schema";
}

impl qapi::Command for QueryQmpSchema {
    type Ok = Vec<Value>;
    const NAME: &'static str = Self::WORD;
    const ALLOW_OOB: bool = false;
}

impl QmpCommand for QueryQmpSchema {}

/// The answer, by name. Commands and events have theirs, types have numbers.
struct Schema(HashMap<String, Value>);

impl Schema {
    fn new(entries: Vec<Value>) -> Self {
        let named = |entry: Value| Some((entry["name"].as_str()?.to_owned(), entry));
        Self(entries.into_iter().filter_map(named).collect())
    }

    fn has(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    fn find(&self, path: &str) -> Option<()> {
        let mut parts = path.split('/');
        let root = self.0.get(parts.next()?)?;
        if !matches!(root["meta-type"].as_str()?, "command" | "event") {
            return None;
        }
        let mut at = root["arg-type"].as_str()?;
        for part in parts {
            let (list, word, name) = match part.strip_prefix('+') {
                Some(case) => ("variants", "case", case),
                None => ("members", "name", part),
            };
            let found = self.0.get(at)?[list].as_array()?.iter().find(|entry| entry[word] == name)?;
            at = found["type"].as_str()?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_through_arguments_and_variants() {
        let entries = json!([
            {"name": "blockdev-add", "meta-type": "command", "arg-type": "1", "ret-type": "0"},
            {"name": "DELETED", "meta-type": "event", "arg-type": "3"},
            {"name": "1", "meta-type": "object", "tag": "driver", "members": [{"name": "driver", "type": "9"}],
             "variants": [{"case": "nbd", "type": "2"}, {"case": "file", "type": "0"}]},
            {"name": "2", "meta-type": "object", "members": [{"name": "reconnect-delay", "type": "int"}]},
            {"name": "0", "meta-type": "object", "members": []},
            {"name": "3", "meta-type": "object", "members": [{"name": "id", "type": "str"}]},
        ]);
        let Value::Array(entries) = entries else { unreachable!() };
        let schema = Schema::new(entries);
        for there in ["blockdev-add", "blockdev-add/driver", "blockdev-add/+nbd/reconnect-delay", "DELETED/id"] {
            assert!(schema.has(there), "{there}");
        }
        for missing in
            ["1", "block-export-add", "blockdev-add/+rbd", "blockdev-add/+file/reconnect-delay", "DELETED/+id"]
        {
            assert!(!schema.has(missing), "{missing}");
        }
    }
}
