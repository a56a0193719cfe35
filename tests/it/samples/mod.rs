//! The samples of the reference's documentation and Hearth's answers have the same members, of the same kinds, at every
//! microversion that changes them; Hearth takes requests of just the members that the samples have.
//!
//! `table` has every sample by name, as the form of its JSON without its values, under the call it belongs to. A form is
//! compared at its version and at the last version before the next form of the call, so that the forms of a call hold for all
//! of its versions. Rules of single views are in `api::views`; here is the whole of what comes over the wire.

mod actions;
mod attachments;
mod bench;
mod compute;
mod manage;
mod operators;
mod page;
mod quotas;
mod shape;
mod snapshots;
mod table;
mod types;
mod volumes;

use std::collections::BTreeSet;

use table::{State, areas};

use crate::api::coverage;

/// How many samples the reference's documentation has.
const SAMPLES: usize = 353;

#[test]
fn every_sample_is_in_the_tables_once() {
    let names: Vec<&str> = areas().iter().flat_map(|area| &area.entries).filter_map(|entry| entry.sample).collect();
    let different: BTreeSet<&&str> = names.iter().collect();
    assert_eq!((names.len(), different.len()), (SAMPLES, SAMPLES));
}

/// An exception for a call that is not served ends when the call is built.
#[test]
fn what_is_not_served_is_listed_so_and_everything_else_as_served() {
    let mut wrong = Vec::new();
    for entry in areas().iter().flat_map(|area| &area.entries) {
        let is_served = coverage::listed(entry.call).is_some_and(|listed| listed.is_served);
        if is_served == (entry.state == State::NotServed) {
            wrong.push(format!("{}: {} is served: {is_served}", entry.name(), entry.call));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn exceptions_have_reasons() {
    for entry in areas().iter().flat_map(|area| &area.entries) {
        let needs_one = entry.state != State::Held || entry.is_open || entry.sample.is_none();
        assert_eq!(needs_one, !entry.reason.is_empty(), "{}", entry.name());
    }
}
