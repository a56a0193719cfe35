//! A model of everything around `decide`: a backend with a truth of its own, guests, calls under way, crashes.
//!
//! | file | |
//! |---|---|
//! | `backend` | what is true at the backend and in the guests |
//! | `acts` | what is asked |
//! | `jobs` | the jobs of decisions, and how their ends are told |
//! | `world` | everything that may happen next, and its happening |
//! | `invariants` | the promises, looked at after everything that happens |
//! | `fingerprint` | when two worlds are the same |

pub mod acts;
pub mod backend;
pub mod fingerprint;
pub mod invariants;
pub mod jobs;
pub mod world;
