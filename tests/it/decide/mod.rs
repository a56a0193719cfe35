//! The pure core (`domain::volume::decide`), proved without a service: tables from the specification, every small history,
//! long random ones, and any state at all.
//!
//! | file | proves |
//! |---|---|
//! | `histories` | the promises in every interleaving of requests, results, faults and crashes up to a bound |
//! | `transitions` | what is decided in every situation about everything that can be asked, by tables; prints `docs/transitions.md` |
//! | `walks` | the same promises in long random histories, from seeds; and that no message whatever breaks a volume |
//! | `writes` | what clients may write about a volume, by its status |
//! | `model` | the world of these histories: a backend and guests with a truth of their own, and the promises |

mod build;
mod histories;
mod model;
mod transitions;
mod walks;
mod writes;
