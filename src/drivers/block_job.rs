//! Block jobs of a QMP server: found, awaited and ended by their names, which outlive whoever has begun them.

use std::time::Duration;

use qapi::qmp::{self, Event, JobInfo, JobStatus};
use tokio::sync::broadcast::Receiver;

use super::qmp::{Qmp, QmpError};

/// A job is looked at this often for its progress, and whether it is still wanted; its events are seen at once.
pub const POLL: Duration = Duration::from_millis(200);

/// The job of this name.
pub async fn find(qmp: &Qmp, id: &str) -> Result<Option<JobInfo>, QmpError> {
    Ok(qmp.run(qmp::query_jobs {}).await?.into_iter().find(|job| job.id == id))
}

/// Waits until something happens to the job, or it is time to look. `events` are those since the last look.
pub async fn changed(events: Option<Receiver<Event>>, id: &str) {
    let changed = async {
        let Some(mut events) = events else { return };
        while let Ok(event) = events.recv().await {
            if matches!(event, Event::JOB_STATUS_CHANGE { data, .. } if data.id == id) {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(POLL, changed).await;
}

/// Ends the job, however far it is, and returns when there is none of this name.
pub async fn end(qmp: &Qmp, id: &str) -> Result<(), QmpError> {
    let mut events = qmp.subscribe();
    let mut cancelled = false;
    while let Some(job) = find(qmp, id).await? {
        if job.status == JobStatus::concluded {
            unless_refused(qmp.run(qmp::job_dismiss { id: id.into() }).await)?;
        } else if !cancelled {
            cancelled = true;
            unless_refused(qmp.run(qmp::block_job_cancel { device: id.into(), force: Some(true) }).await)?;
        } else if let Some(events) = &mut events {
            let _ = tokio::time::timeout(POLL, events.recv()).await;
        } else {
            return Err(QmpError::Broken("closed".into()));
        }
    }
    Ok(())
}

/// For what need not be there: a refusal says that it is not.
pub fn unless_refused<T>(result: Result<T, QmpError>) -> Result<(), QmpError> {
    match result {
        Ok(_) | Err(QmpError::Refused { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
