//! The policy that requests are judged by, which can be replaced between two of them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::compiled::{Policy, Unusable};
use super::files::{FileError, Sources, Stamp};

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The files.
    #[error(transparent)]
    File(#[from] FileError),
    /// The rules in them.
    #[error("policy: {0}")]
    Rules(#[from] Unusable),
}

/// The rules in force. A request takes them once and is judged by these to its end.
pub struct LivePolicy {
    current: ArcSwap<Policy>,
    sources: Sources,
    enforce_new_defaults: bool,
    last: Mutex<LastLoad>,
}

/// How the files were read for the last time.
struct LastLoad {
    stamp: Stamp,
    error: Option<String>,
}

/// What there is to tell of the policy.
#[derive(Clone, Debug)]
pub struct Status {
    /// The rules in force.
    pub policy: Arc<Policy>,
    /// The files that were there when they were read last.
    pub files: Vec<PathBuf>,
    /// Old defaults count no more.
    pub enforce_new_defaults: bool,
    /// Why the files as they are now are not in force.
    pub error: Option<String>,
}

impl LivePolicy {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be read or understood, a circle of rules.
    pub fn open(sources: Sources, enforce_new_defaults: bool) -> Result<Self, PolicyError> {
        let stamp = sources.stamp();
        let policy = load(&sources, enforce_new_defaults)?;
        let last = Mutex::new(LastLoad { stamp, error: None });
        Ok(Self { current: ArcSwap::from_pointee(policy), sources, enforce_new_defaults, last })
    }

    /// These rules, for good.
    pub fn fixed(policy: Policy) -> Self {
        let sources = Sources::default();
        let last = Mutex::new(LastLoad { stamp: sources.stamp(), error: None });
        Self { current: ArcSwap::from_pointee(policy), sources, enforce_new_defaults: true, last }
    }

    /// The rules in force now.
    pub fn current(&self) -> Arc<Policy> {
        self.current.load_full()
    }

    /// Reads the files again. When they cannot be used, the rules in force stay, and [`Self::status`] says why.
    pub fn reload(&self) -> Result<Arc<Policy>, PolicyError> {
        // one reader at a time, so that the older of two never wins
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // before they are read: what changes meanwhile is seen by the next look
        last.stamp = self.sources.stamp();
        match load(&self.sources, self.enforce_new_defaults) {
            Ok(policy) => {
                let policy = Arc::new(policy);
                self.current.store(Arc::clone(&policy));
                last.error = None;
                Ok(policy)
            }
            Err(error) => {
                last.error = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// The same if the files have changed since they were read; none: they have not.
    pub fn reload_changed(&self) -> Option<Result<Arc<Policy>, PolicyError>> {
        let is_same = self.sources.stamp() == self.last.lock().unwrap_or_else(PoisonError::into_inner).stamp;
        if is_same { None } else { Some(self.reload()) }
    }

    /// What there is to tell.
    pub fn status(&self) -> Status {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Status {
            policy: self.current(),
            files: last.stamp.files().map(Path::to_owned).collect(),
            enforce_new_defaults: self.enforce_new_defaults,
            error: last.error.clone(),
        }
    }
}

fn load(sources: &Sources, enforce_new_defaults: bool) -> Result<Policy, PolicyError> {
    Ok(Policy::new(&sources.read()?, enforce_new_defaults)?)
}

impl Default for LivePolicy {
    fn default() -> Self {
        Self::fixed(Policy::default())
    }
}

impl fmt::Debug for LivePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LivePolicy").field("sources", &self.sources).finish_non_exhaustive()
    }
}
