//! Volume types in memory: every volume view needs a name, and types change rarely.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use crate::domain::ids::VolumeTypeId;
use crate::store::{Store, StoreError, VolumeType};

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
pub struct TypeCache(ArcSwapOption<Types>);

impl TypeCache {
    /// The types, at most [`AGE_MAX`] old.
    pub async fn get(&self, store: &dyn Store) -> Result<Arc<Types>, StoreError> {
        if let Some(types) = self.0.load_full()
            && types.read_at.elapsed() < AGE_MAX
        {
            return Ok(types);
        }
        self.fresh(store).await
    }

    /// The types as they are now.
    pub async fn fresh(&self, store: &dyn Store) -> Result<Arc<Types>, StoreError> {
        let read_at = Instant::now();
        let types = Arc::new(Types { rows: store.volume_types().await?, read_at });
        self.0.store(Some(types.clone()));
        Ok(types)
    }
}
