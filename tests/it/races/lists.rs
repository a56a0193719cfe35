//! Lists while volumes come and go (`spec/races.md`).

use std::collections::BTreeSet;

use hearth::domain::ids::VolumeId;
use hearth::store::{Direction, Extent, ListError, Paging, Store, VolumeQuery};

use super::scenario::{Client, accepted, in_world};

async fn page(client: &Client<'_>, marker: Option<VolumeId>) -> Result<Vec<VolumeId>, ListError> {
    let sort = [("created_at", Direction::Ascending), ("id", Direction::Ascending)];
    let paging = Paging {
        sort: sort.map(|(key, direction)| (key.to_owned(), direction)).to_vec(),
        marker: marker.map(|id| id.to_string()),
        offset: 0,
        limit: 3,
    };
    let query =
        VolumeQuery { project_id: None, filters: Vec::new(), paging, with_count: false, extent: Extent::Volume };
    let page = client.world.store().volume_list(query).await?;
    Ok(page.rows.iter().map(|state| state.id()).collect())
}

#[test]
fn r118_pages_never_repeat_a_volume_and_a_deleted_marker_is_404() {
    for seed in 0..5 {
        in_world(seed, async |client| {
            let mut lasting = BTreeSet::new();
            let mut doomed = Vec::new();
            for n in 0..12 {
                let id = client.available(1).await;
                if n % 4 == 3 { doomed.push(id) } else { assert!(lasting.insert(id)) }
            }
            let mut seen: Vec<VolumeId> = Vec::new();
            loop {
                let next = page(client, seen.last().copied()).await.expect("the marker lives");
                if next.is_empty() {
                    break;
                }
                seen.extend(next);
                // behind the reader and before it: one comes, one that is not the marker goes
                if seen.len() < 20 {
                    client.available(1).await;
                }
                if let Some(at) = doomed.iter().position(|id| seen.last() != Some(id)) {
                    let id = doomed.remove(at);
                    accepted(client.delete(id).await);
                    client.wait_gone(id).await.expect("alive");
                }
            }
            let distinct: BTreeSet<VolumeId> = seen.iter().copied().collect();
            assert_eq!(distinct.len(), seen.len(), "none twice");
            assert!(lasting.is_subset(&distinct), "none that was there all the time is missing");
            let marker = *seen.last().expect("volumes");
            accepted(client.delete(marker).await);
            client.wait_gone(marker).await.expect("alive");
            assert_eq!(page(client, Some(marker)).await, Err(ListError::MarkerNotFound(marker.to_string())));
        });
    }
}
