//! Which QMP sockets may be used: those beneath the configured directories, after every symbolic link is resolved. A QMP
//! socket is full power over a guest, and a server record is data that somebody wrote.

use std::io;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// Why a socket is not used.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum SocketError {
    /// The server has none.
    #[error("the server has no QMP socket")]
    Missing,
    /// It lies elsewhere.
    #[error("the server's QMP socket is not in a permitted directory")]
    NotPermitted,
    /// It would be permitted, and does not exist.
    #[error("the guest is not running")]
    NotThere,
    /// It cannot be looked at.
    #[error("the server's QMP socket cannot be reached")]
    Unreadable,
}

/// The permitted directories.
pub(super) struct SocketRules {
    dirs: Vec<PathBuf>,
}

impl SocketRules {
    pub(super) const fn new(dirs: Vec<PathBuf>) -> Self {
        Self { dirs }
    }

    /// The resolved path of a permitted socket.
    pub(super) async fn check(&self, path: &Path) -> Result<PathBuf, SocketError> {
        let (path, dirs) = (path.to_owned(), self.dirs.clone());
        tokio::task::spawn_blocking(move || check(&path, &dirs)).await.unwrap_or(Err(SocketError::Unreadable))
    }
}

fn check(path: &Path, dirs: &[PathBuf]) -> Result<PathBuf, SocketError> {
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(SocketError::NotPermitted);
    }
    // A directory that does not exist permits nothing that exists.
    let resolved_dirs: Vec<PathBuf> = dirs.iter().filter_map(|dir| dir.canonicalize().ok()).collect();
    match path.canonicalize() {
        Ok(resolved) if resolved_dirs.iter().any(|dir| resolved.starts_with(dir)) => Ok(resolved),
        Ok(_) => Err(SocketError::NotPermitted),
        // The socket of a guest that is gone: only where it could have been tells whether to believe that.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let below = dirs.iter().chain(&resolved_dirs).any(|dir| path.starts_with(dir));
            let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
            let escapes = parent.is_some_and(|parent| !resolved_dirs.iter().any(|dir| parent.starts_with(dir)));
            if below && !escapes { Err(SocketError::NotThere) } else { Err(SocketError::NotPermitted) }
        }
        Err(_) => Err(SocketError::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_sockets_beneath_the_directories_are_permitted() {
        let root = tempfile::tempdir().expect("a directory");
        let (inside, outside) = (root.path().join("qmp"), root.path().join("other"));
        for dir in [&inside, &outside] {
            std::fs::create_dir(dir).expect("made");
            std::fs::write(dir.join("a.sock"), "").expect("made");
        }
        symlink(outside.join("a.sock"), inside.join("link.sock")).expect("made");
        symlink(&outside, inside.join("way")).expect("made");
        let dirs = [inside.clone(), root.path().join("absent")];
        let resolved = inside.join("a.sock").canonicalize().expect("there");
        assert_eq!(check(&inside.join("a.sock"), &dirs), Ok(resolved));
        assert_eq!(check(&inside.join("gone.sock"), &dirs), Err(SocketError::NotThere));
        assert_eq!(check(&root.path().join("absent/gone.sock"), &dirs), Err(SocketError::NotThere));
        for bad in [
            outside.join("a.sock"),
            outside.join("gone.sock"),
            inside.join("../other/a.sock"),
            inside.join("link.sock"),
            inside.join("way/a.sock"),
            inside.join("way/gone.sock"),
            PathBuf::from("a.sock"),
        ] {
            assert_eq!(check(&bad, &dirs), Err(SocketError::NotPermitted), "{}", bad.display());
        }
    }
}
