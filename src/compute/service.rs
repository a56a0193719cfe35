//! What is asked of a Compute elsewhere.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::domain::compute::{ComputeNotice, UseQuestion};
use crate::domain::ids::{RequestId, VolumeId};

/// Why Compute has not done what it was asked. The words hold no secret, and may be shown to the volume's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComputeError {
    /// It cannot be asked now, or makes no sense; the log says why. It may help to try again.
    #[error("the Compute service is temporarily unavailable")]
    Unavailable,
    /// It refuses, and would again.
    #[error("the Compute service refused the request")]
    Refused,
}

/// A Compute elsewhere. Its calls may be repeated.
pub trait ComputeService: Send + Sync + 'static {
    /// Whether the server has the volume by the attachment that the question names. A server that is not there has nothing.
    fn is_used(
        self: Arc<Self>,
        volume_id: VolumeId,
        question: UseQuestion,
        request_id: RequestId,
    ) -> BoxFuture<'static, Result<bool, ComputeError>>;

    /// Tells it what has happened to the volume. What its servers make of that, it does not say.
    fn notify(
        self: Arc<Self>,
        volume_id: VolumeId,
        notice: ComputeNotice,
        request_id: RequestId,
    ) -> BoxFuture<'static, Result<(), ComputeError>>;

    /// How long a call may take.
    fn timeout(&self) -> Duration;
}
