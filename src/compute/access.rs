//! Where Nova is, and the token that it is asked with.

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;

/// What a call needs.
#[derive(Clone)]
pub struct Grant {
    /// The service's own token.
    pub token: String,
    /// Nova's address with its version.
    pub endpoint: String,
}

/// Gives both.
pub trait Access: Send + Sync + 'static {
    /// For the next call. After a call with `rejected` was answered 401 it is asked again, once: the same token again means
    /// that there is no better one.
    fn grant(self: Arc<Self>, rejected: Option<String>) -> BoxFuture<'static, io::Result<Grant>>;
}
