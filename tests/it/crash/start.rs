//! A database that cannot be used: a clear word and a failing exit code, and nothing is served.

use std::path::Path;

use crate::e2e::hearth::{Environment, run};

fn settings(state: &Path) -> Environment {
    Environment::default().set("state.path", state.to_str().expect("utf-8")).set("server.listen", "127.0.0.1:0")
}

async fn refused(state: &Path, words: &[&str]) {
    let output = run(&settings(state), &["serve"]).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{stdout}{stderr}");
    assert!(!stdout.contains("listening"), "{stdout}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not said: {stderr}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let state = tempfile::tempdir().expect("temporary directory");
    let database = state.path().join("hearth.db");
    let text = "this is not a database, and perhaps somebody needs it\n".repeat(100);
    std::fs::write(&database, &text).expect("write");
    refused(state.path(), &["hearth: cannot", "database", "not a database"]).await;
    assert_eq!(std::fs::read_to_string(&database).expect("readable"), text);
}

#[tokio::test]
async fn a_damaged_database_is_refused() {
    let state = tempfile::tempdir().expect("temporary directory");
    let database = state.path().join("hearth.db");
    let made = run(&settings(state.path()), &["migrate"]).await;
    assert!(made.status.success(), "{made:?}");
    let mut bytes = std::fs::read(&database).expect("readable");
    assert!(bytes.len() > 8_192, "{} bytes", bytes.len());
    // the header stays; the schema behind it does not
    bytes[100..4_096].fill(0x5a);
    std::fs::write(&database, bytes).expect("write");
    refused(state.path(), &["hearth: cannot", "database", "malformed"]).await;
}

#[tokio::test]
async fn a_database_that_somebody_else_has_locked_is_refused() {
    let state = tempfile::tempdir().expect("temporary directory");
    let database = state.path().join("hearth.db");
    let lock = Lock::hold(&database);
    refused(state.path(), &["hearth: cannot", "database", "locked"]).await;
    drop(lock);
}

/// An exclusive lock, as an operator's shell may hold.
struct Lock(*mut libsqlite3_sys::sqlite3);

impl Lock {
    fn hold(path: &Path) -> Self {
        let path = std::ffi::CString::new(path.to_str().expect("utf-8")).expect("no NUL");
        let mut connection = std::ptr::null_mut();
        let statements = c"CREATE TABLE t (x); BEGIN EXCLUSIVE;";
        // SAFETY: both texts end with NUL and outlive the calls; the connection is closed once, by drop
        unsafe {
            assert_eq!(libsqlite3_sys::sqlite3_open(path.as_ptr(), &raw mut connection), libsqlite3_sys::SQLITE_OK);
            let none = std::ptr::null_mut();
            let code = libsqlite3_sys::sqlite3_exec(connection, statements.as_ptr(), None, none, std::ptr::null_mut());
            assert_eq!(code, libsqlite3_sys::SQLITE_OK);
        }
        Self(connection)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // SAFETY: opened by `hold`
        unsafe { libsqlite3_sys::sqlite3_close(self.0) };
    }
}
