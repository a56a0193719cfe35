//! Where the token comes from.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// A token in a file is no longer than this.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// Gives the service's own token.
pub trait TokenSource: Send + Sync + 'static {
    /// The token for the next call; none: the image service is asked without one. After a call with `rejected` was answered
    /// 401 it is asked again, once: the same token again means that there is no better one.
    fn token(self: Arc<Self>, rejected: Option<String>) -> BoxFuture<'static, io::Result<Option<String>>>;
}

/// No token.
#[derive(Debug)]
pub struct NoToken;

impl TokenSource for NoToken {
    fn token(self: Arc<Self>, _: Option<String>) -> BoxFuture<'static, io::Result<Option<String>>> {
        std::future::ready(Ok(None)).boxed()
    }
}

/// The token in a file, which whatever renews it replaces.
#[derive(Debug)]
pub struct TokenFile(pub PathBuf);

impl TokenSource for TokenFile {
    fn token(self: Arc<Self>, _: Option<String>) -> BoxFuture<'static, io::Result<Option<String>>> {
        async move {
            let length = tokio::fs::metadata(&self.0).await?.len();
            if length > TOKEN_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long for a token"));
            }
            let text = tokio::fs::read_to_string(&self.0).await?;
            Ok(Some(text.trim().to_owned()))
        }
        .boxed()
    }
}
