//! The store's conformance suite: the same cases on SQLite (threads), SQLite inline, and PostgreSQL; then what only one of
//! them can show: power loss, a failing disk, crashes under virtual time, a connection lost at COMMIT.

mod bench;
pub mod build;
pub mod cluster;
mod commits;
mod failing_disk;
mod groups;
mod histories;
mod hosts;
mod inline;
mod journal;
mod keys;
mod lists;
mod log;
mod lost_connection;
mod postgres;
mod qos;
mod quotas;
mod records;
mod server_actions;
mod services;
mod types;
pub mod vfs;

/// Runs each case on every database.
macro_rules! on_every_store {
    ($($case:ident),+ $(,)?) => {
        mod sqlite { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case(crate::store::bench::Bench::sqlite()).await; }
        )+ }
        mod inline { $(
            #[tokio::test]
            async fn $case() { super::$case(crate::store::bench::Bench::inline()).await; }
        )+ }
        mod postgres { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(bench) = crate::store::bench::Bench::postgres() { super::$case(bench).await; }
            }
        )+ }
    };
}
use on_every_store;
