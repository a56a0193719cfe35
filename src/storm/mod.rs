//! The load generator behind `hearth storm`: simulated clients that go through a cycle of requests over and over, against
//! any endpoint that speaks HTTP/1.1.
//!
//! It knows nothing of the service (no other folder of the library): what it measures and checks, it sees as every client
//! does. It must be cheap, because it usually shares its cores with what it measures: a few threads, one connection for each
//! client, requests that are copied together from prepared pieces, answers that are not parsed beyond the one member that is
//! needed. Called by `cli` and by benches.
//!
//! | file | holds |
//! |---|---|
//! | `cycle` | a cycle as data: [`Cycle`], [`Step`]; every variant is one, and a bench may bring its own |
//! | `variants` | the variants |
//! | `program` | a cycle made ready for sending |
//! | `endpoint`, `http`, `member` | addresses, connections, one member out of a JSON answer |
//! | `client` | one simulated client |
//! | `engine`, `timer` | many of them: closed and open loop |
//! | `record`, `report`, `plot` | what was measured, as JSON, table and SVG |
//! | `errand` | a cycle once for each unit: making and removing the volumes |
//! | `audit` | what must be true of the volumes afterwards |

pub mod audit;
pub mod client;
pub mod cycle;
pub mod endpoint;
pub mod engine;
pub mod errand;
pub mod http;
mod member;
pub mod plot;
mod program;
pub mod record;
pub mod report;
mod timer;
pub mod variants;

pub use audit::{Audit, AuditOptions};
pub use cycle::{Cycle, Service, Step, Until};
pub use endpoint::{Endpoint, Site};
pub use engine::{DRAIN, Limit, Pace, Plan, Progress, run};
pub use program::CycleError;
pub use report::Report;

use std::collections::BTreeMap;

/// The variables of one unit of a storm: `volume`, `server` and whatever else the templates of a cycle name.
pub type Unit = BTreeMap<String, String>;

/// The storm cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum StormError {
    /// The cycle is not usable.
    #[error(transparent)]
    Cycle(#[from] CycleError),
    /// A thread, its runtime or a timer cannot be made.
    #[error("a thread of the load generator cannot run")]
    Thread(#[source] std::io::Error),
    /// Nobody answers at an endpoint.
    #[error("cannot reach {authority}")]
    Unreachable {
        /// Host and port.
        authority: String,
        /// Why.
        #[source]
        source: http::ExchangeError,
    },
    /// An errand was answered otherwise than it must be.
    #[error("{0}")]
    Errand(String),
}
