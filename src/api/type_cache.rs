//! Volume types in memory: every volume view needs a name, and types change rarely.
//!
//! What this node changes is seen by its next request; what another node changes within [`AGE_MAX`]. Nothing is decided on a
//! type that has changed: a change of a type and the commit of a new volume are guarded by its revision.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use crate::domain::ids::VolumeTypeId;
use crate::domain::volume_type::VolumeType;
use crate::store::{Store, StoreError};

/// Older than this, the types are read again.
pub const AGE_MAX: Duration = Duration::from_secs(1);

/// The types at one instant.
#[derive(Clone, Debug)]
pub struct Types {
    rows: Vec<VolumeType>,
    read_at: Instant,
}

impl Types {
    /// All, by name.
    pub fn all(&self) -> &[VolumeType] {
        &self.rows
    }

    /// By id.
    pub fn by_id(&self, id: VolumeTypeId) -> Option<&VolumeType> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// By name.
    pub fn by_name(&self, name: &str) -> Option<&VolumeType> {
        self.rows.iter().find(|row| row.name == name)
    }
}

/// The cache.
#[derive(Default)]
pub struct TypeCache {
    types: ArcSwapOption<Types>,
    /// Changes that this node has made. Held while the types are put down: a read from before a change is not kept after it.
    changes: Mutex<u64>,
}

impl TypeCache {
    /// The types, at most [`AGE_MAX`] old.
    pub async fn get(&self, store: &dyn Store) -> Result<Arc<Types>, StoreError> {
        if let Some(types) = self.types.load_full()
            && types.read_at.elapsed() < AGE_MAX
        {
            return Ok(types);
        }
        self.fresh(store).await
    }

    /// The types as they are now.
    pub async fn fresh(&self, store: &dyn Store) -> Result<Arc<Types>, StoreError> {
        let before = *self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let read_at = Instant::now();
        let types = Arc::new(Types { rows: store.volume_types().await?, read_at });
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if *changes == before {
            self.types.store(Some(Arc::clone(&types)));
        }
        Ok(types)
    }

    /// This node has changed a type: whoever asks from now on sees it.
    pub fn changed(&self) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes += 1;
        self.types.store(None);
    }
}
