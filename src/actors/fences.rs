//! Hosts that operators have declared dead: `hearth host fence`. The word is on disk, then in force, then whatever the host has is
//! released, volume by volume, until nothing is left; after a restart, too. Nothing is ever released without such a word, however
//! long a host has been silent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt;

use super::core::{Core, system_caller};
use super::service::Service;
use crate::domain::host::HostFence;
use crate::domain::ids::{ServerId, VolumeId};
use crate::domain::volume::command::FenceHost;
use crate::domain::volume::{Caller, Command};
use crate::store::{Store, StoreError};

/// Volumes that are told at the same time.
const TOLD_AT_ONCE: usize = 256;
/// Between the first and the second look at what is left, and at most between two later ones.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The words in force, and those that were taken back.
#[derive(Default)]
pub(super) struct FenceBook {
    by_host: ArcSwap<BTreeMap<String, HostFence>>,
    /// One write or refresh at a time: an older reading never replaces a younger word.
    writing: tokio::sync::Mutex<()>,
    /// The words, by host and epoch, that are being carried out: each by one task.
    under_way: Mutex<BTreeSet<(String, u64)>>,
}

impl FenceBook {
    /// Whether a host is fenced.
    pub(super) fn is_fenced(&self, host: &str) -> bool {
        self.by_host.load().get(host).is_some_and(HostFence::stands)
    }

    fn standing(&self, host: &str) -> Option<HostFence> {
        self.by_host.load().get(host).filter(|fence| fence.stands()).cloned()
    }

    /// Reads the words again.
    pub(super) async fn refresh(&self, store: &dyn Store) -> Result<(), StoreError> {
        let _one = self.writing.lock().await;
        let fences = store.host_fences().await?.into_iter();
        self.by_host.store(Arc::new(fences.map(|fence| (fence.host.clone(), fence)).collect()));
        Ok(())
    }

    /// Every word in force.
    fn all_standing(&self) -> Vec<HostFence> {
        self.by_host.load().values().filter(|fence| fence.stands()).cloned().collect()
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeSet<(String, u64)>> {
        // every change is one step
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put(&self, store: &dyn Store, fence: HostFence) -> Result<(), StoreError> {
        store.host_fence_put(fence.clone()).await?;
        let mut fences = BTreeMap::clone(&self.by_host.load());
        fences.insert(fence.host.clone(), fence);
        self.by_host.store(Arc::new(fences));
        Ok(())
    }
}

/// What is known of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostStanding {
    /// Its name.
    pub host: String,
    /// The word that it is dead, if that is in force.
    pub fence: Option<HostFence>,
    /// The servers on it.
    pub servers: Vec<ServerId>,
    /// The volumes that it has something of.
    pub volumes: Vec<VolumeId>,
}

/// Why a host is not taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FenceError {
    /// It is not fenced.
    #[error("host {0} is not fenced")]
    NotFenced(String),
    /// Something is not released yet: whoever came back now could reach it.
    #[error("{left} volumes of host {host} are not released yet")]
    NotReleased {
        /// The host.
        host: String,
        /// How many.
        left: usize,
    },
    /// The record cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Core {
    /// Goes on with what every word in force asks for, in the background.
    pub(super) fn fences_resume(self: &Arc<Self>) {
        self.fences.all_standing().into_iter().for_each(|fence| self.carry_out(fence));
    }

    /// Releases what a fenced host has, in the background, unless that is being done already.
    fn carry_out(self: &Arc<Self>, fence: HostFence) {
        let word = (fence.host.clone(), fence.epoch);
        if !self.fences.under_way().insert(word.clone()) {
            return;
        }
        let core = Arc::clone(self);
        actix_rt::spawn(async move {
            core.release_all_of(fence).await;
            core.fences.under_way().remove(&word);
        });
    }

    /// Releases what a fenced host has, until nothing is left or the word is taken back.
    async fn release_all_of(self: &Arc<Self>, fence: HostFence) {
        let mut pause = PAUSES.0;
        while !self.is_stopping() && self.fences.standing(&fence.host).is_some_and(|now| now.epoch == fence.epoch) {
            match self.release_once(&fence).await {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => tracing::warn!(host = fence.host, %error, "what a fenced host has cannot be read"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Tells every volume that the host has something of; how many there were.
    async fn release_once(self: &Arc<Self>, fence: &HostFence) -> Result<usize, StoreError> {
        let servers = self.world.store.servers_on_host(fence.host.clone()).await?;
        let volumes = self.world.store.volumes_on_host(fence.host.clone()).await?;
        let request =
            Arc::new(FenceHost { host: fence.host.clone(), epoch: fence.epoch, proof: fence.proof.clone(), servers });
        let mut caller = system_caller();
        caller.requester.request_id = fence.request_id.clone();
        caller.requester.user_id = fence.user_id.clone();
        let told = volumes
            .iter()
            .map(|id| Arc::clone(self).send_surely(*id, Command::FenceHost(Arc::clone(&request)), caller.clone()));
        futures_util::stream::iter(told).buffer_unordered(TOLD_AT_ONCE).for_each(|()| std::future::ready(())).await;
        Ok(volumes.len())
    }
}

impl Service {
    /// The hosts that are fenced.
    pub fn hosts_fenced(&self) -> Vec<HostFence> {
        self.core.fences.all_standing()
    }

    /// What is known of a host; also of one that nobody has heard of.
    pub async fn host_show(&self, host: &str) -> Result<HostStanding, StoreError> {
        let store = &self.core.world.store;
        Ok(HostStanding {
            host: host.to_owned(),
            fence: self.core.fences.standing(host),
            servers: store.servers_on_host(host.to_owned()).await?,
            volumes: store.volumes_on_host(host.to_owned()).await?,
        })
    }

    /// Takes an operator's word that a host is dead. In force when this returns, also after a restart; what the host has is
    /// released from then on. Said again it changes nothing.
    pub async fn host_fence(&self, host: &str, proof: &str, caller: &Caller) -> Result<HostFence, StoreError> {
        let core = &self.core;
        let _one = core.fences.writing.lock().await;
        if let Some(standing) = core.fences.standing(host) {
            return Ok(standing);
        }
        let epoch = core.fences.by_host.load().get(host).map_or(0, |fence| fence.epoch) + 1;
        let fence = HostFence {
            host: host.to_owned(),
            epoch,
            proof: proof.to_owned(),
            user_id: caller.requester.user_id.clone(),
            request_id: caller.requester.request_id.clone(),
            fenced_at: core.world.clock.now(),
            lifted_at: None,
        };
        core.fences.put(core.world.store.as_ref(), fence.clone()).await?;
        tracing::warn!(host, epoch, proof, request_id = %fence.request_id, "a host is fenced");
        core.carry_out(fence.clone());
        Ok(fence)
    }

    /// Takes a host back: volumes are connected to it again.
    pub async fn host_unfence(&self, host: &str) -> Result<(), FenceError> {
        let core = &self.core;
        let _one = core.fences.writing.lock().await;
        let mut fence = core.fences.standing(host).ok_or_else(|| FenceError::NotFenced(host.to_owned()))?;
        let left = core.world.store.volumes_on_host(host.to_owned()).await?.len();
        if left > 0 {
            return Err(FenceError::NotReleased { host: host.to_owned(), left });
        }
        fence.lifted_at = Some(core.world.clock.now());
        core.fences.put(core.world.store.as_ref(), fence).await?;
        tracing::info!(host, "a host is taken back");
        Ok(())
    }
}
