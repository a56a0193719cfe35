//! Reads the records, the backends' inventories and the guests' devices.

use std::sync::Arc;

use super::compare::{BackendInventory, GuestInventory, Survey};
use crate::domain::backend::Guest;
use crate::domain::server::{HypervisorKind, Server};
use crate::domain::volume::VolumeState;
use crate::drivers::{Backend, Hypervisor};
use crate::store::{Direction, Extent, ListError, Paging, ServerQuery, Store, StoreError, VolumeQuery};

/// Rows read at a time, so that a large database is no large answer.
const PAGE: u64 = 1000;

/// A survey could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A page of records.
    #[error("the records cannot be listed")]
    List(#[from] ListError),
}

/// Where everything is read from.
pub struct Sources {
    /// The records.
    pub store: Arc<dyn Store>,
    /// Every backend of the settings with its `host@backend#pool`.
    pub backends: Vec<(String, Arc<dyn Backend>)>,
    /// The hypervisors that there are.
    pub hypervisors: Vec<(HypervisorKind, Arc<dyn Hypervisor>)>,
}

impl Sources {
    /// Reads everything once.
    pub async fn survey(&self) -> Result<Survey, SurveyError> {
        self.store.settled().await?;
        let volumes = self.volumes().await?;
        let servers = self.servers().await?;
        let usage = self.store.usage_audit().await?;
        let mut backends = Vec::with_capacity(self.backends.len());
        for (host, backend) in &self.backends {
            let volumes = Arc::clone(backend).inventory().await;
            backends.push(BackendInventory { host: host.clone(), volumes });
        }
        let mut guests = Vec::new();
        for server in servers.iter().filter(|server| server.has_guest()) {
            let Some((_, hypervisor)) = self.hypervisors.iter().find(|(kind, _)| *kind == server.hypervisor) else {
                continue;
            };
            let devices = Arc::clone(hypervisor).inventory(guest(server)).await;
            guests.push(GuestInventory { server_id: server.id.clone(), devices });
        }
        Ok(Survey { volumes, servers, usage, backends, guests })
    }

    async fn volumes(&self) -> Result<Vec<VolumeState>, SurveyError> {
        let mut volumes: Vec<VolumeState> = Vec::new();
        loop {
            let paging = Paging {
                sort: vec![("created_at".to_owned(), Direction::Ascending), ("id".to_owned(), Direction::Ascending)],
                marker: volumes.last().map(|state| state.id().to_string()),
                offset: 0,
                limit: PAGE,
            };
            let query =
                VolumeQuery { project_id: None, filters: Vec::new(), paging, with_count: false, extent: Extent::Whole };
            let page = match self.store.volume_list(query).await {
                Ok(page) => page,
                // the last volume of the page was deleted meanwhile: begin again
                Err(ListError::MarkerNotFound(_)) => {
                    volumes.clear();
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if page.rows.is_empty() {
                return Ok(volumes);
            }
            volumes.extend(page.rows);
        }
    }

    async fn servers(&self) -> Result<Vec<Server>, SurveyError> {
        let mut servers: Vec<Server> = Vec::new();
        loop {
            let marker = servers.last().map(|server| server.id.clone());
            let query = ServerQuery { project_id: None, vm_states: Vec::new(), marker, limit: PAGE };
            let page = match self.store.server_list(query).await {
                Ok(page) => page,
                Err(ListError::MarkerNotFound(_)) => {
                    servers.clear();
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if page.rows.is_empty() {
                return Ok(servers);
            }
            servers.extend(page.rows);
        }
    }
}

fn guest(server: &Server) -> Guest {
    Guest {
        server_id: server.id.clone(),
        hypervisor: server.hypervisor,
        qmp_socket: server.qmp_socket.clone(),
        check_uuid: server.qmp_check_uuid,
    }
}
