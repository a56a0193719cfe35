//! Filters of lists by caller and microversion (volumes §5).

use hearth::api::fault::{Fault, Problem};
use hearth::api::filters::{self, ATTACHMENTS, VOLUMES};
use hearth::api::microversion::Microversion;
use hearth::api::query::Query;
use hearth::domain::time::Timestamp;
use hearth::store::Filter;

fn found(query: &str, minor: u32, is_admin: bool) -> Result<Vec<Filter>, String> {
    let query = Query::parse(query).unwrap();
    filters::filters(&query, &VOLUMES, Microversion::v3(minor), is_admin).map_err(words)
}

fn words(problem: Problem) -> String {
    let fault = Fault::from(problem);
    assert_eq!(fault.status, 400);
    fault.message
}

fn one_of(column: &str, values: &[Option<&str>]) -> Filter {
    let values = values.iter().map(|value| value.map(str::to_owned)).collect();
    Filter::OneOf { column: column.to_owned(), values }
}

#[test]
fn values_are_literals_where_they_parse_as_such() {
    let cases: &[(&str, Filter)] = &[
        ("status=available", one_of("status", &[Some("available")])),
        ("status=%27available%27", one_of("status", &[Some("available")])),
        ("status=[%27a%27,%27b%27]", one_of("status", &[Some("a"), Some("b")])),
        ("size=5", one_of("size", &[Some("5")])),
        ("migration_status=None", one_of("migration_status", &[None])),
        ("name=5", one_of("display_name", &[Some("5")])),
        ("name=None", one_of("display_name", &[Some("None")])),
        ("bootable=True", one_of("bootable", &[Some("true")])),
        ("bootable=0", one_of("bootable", &[Some("false")])),
        ("metadata={%27k%27:%27v%27}", Filter::Metadata(vec![("k".to_owned(), "v".to_owned())])),
        ("metadata=nonsense", Filter::Nothing),
        ("status={%27k%27:1}", Filter::Nothing),
    ];
    for (query, expected) in cases {
        assert_eq!(found(query, 71, false), Ok(vec![expected.clone()]), "{query}");
    }
    assert_eq!(found("limit=1&marker=x&offset=0&sort=id&all_tenants=1&with_count=1", 71, false), Ok(vec![]));
}

#[test]
fn unknown_names_are_dropped_refused_or_match_nothing() {
    let refused = |names: &str| Err(format!("Invalid filters {names} are found in query options."));
    assert_eq!(found("host=h&x=1", 30, false), Ok(vec![]));
    assert_eq!(found("host=h&x=1", 31, false), refused("host,x"));
    assert_eq!(found("name~=a", 30, false), Ok(vec![]));
    assert_eq!(found("name~=a", 34, false), refused("name~"));
    assert_eq!(found("host=h", 71, true), Ok(vec![Filter::Host("h".to_owned())]));
    assert_eq!(found("x=1", 0, true), Ok(vec![one_of("x", &[Some("1")])]), "the store knows no such column: nothing");
    assert_eq!(found("with_count=1", 44, false), refused("with_count"));
    assert_eq!(found("%C3%A9=1", 31, true), Err("Filter keys can only contain ASCII characters.".to_owned()));
    assert_eq!(found("%C3%A9=1", 30, false), Ok(vec![]));
    let like = Filter::Like { column: "display_name".to_owned(), pattern: "a%".to_owned() };
    assert_eq!(found("name~=a%25", 31, true), Ok(vec![like]));
    assert_eq!(found("name~=a", 30, true), Ok(vec![]));
}

#[test]
fn booleans_change_at_3_2() {
    let truth = |value| Ok(vec![one_of("bootable", &[Some(value)])]);
    assert_eq!(found("bootable=nonsense", 1, false), truth("true"));
    assert_eq!(found("bootable=False", 1, false), truth("false"));
    assert_eq!(found("bootable=", 1, false), Ok(vec![Filter::Nothing]));
    assert_eq!(found("bootable=f", 2, false), truth("false"));
    assert_eq!(found("bootable=nonsense", 2, false), Err("Invalid input received: bootable=nonsense".to_owned()));
    assert_eq!(found("bootable=", 2, false), Err("Invalid input received: bootable=".to_owned()));
    assert_eq!(found("consumes_quota=true", 30, false), Ok(vec![Filter::Nothing]));
    assert_eq!(found("consumes_quota=true", 31, false), Ok(vec![one_of("consumes_quota", &[Some("true")])]));
}

#[test]
fn several_time_terms_must_all_hold() {
    let time = |operator: &str| Filter::Time {
        column: "created_at".to_owned(),
        operator: operator.to_owned(),
        at: Timestamp(1_700_000_000_000_000),
    };
    let at = "2023-11-14T22:13:20";
    let both = format!("created_at=gte:{at},lt:{at}");
    assert_eq!(found(&both, 60, false), Ok(vec![time("gte"), time("lt")]));
    assert_eq!(found(&both, 30, false), Ok(vec![]));
    for bad in ["created_at=2023", &format!("created_at=since:{at}"), "created_at=gt:never", "updated_at="] {
        assert!(found(bad, 60, false).is_err(), "{bad}");
    }
}

#[test]
fn attachment_status_is_an_alias() {
    let query = Query::parse("status=attached&instance_id=s").unwrap();
    let found = filters::filters(&query, &ATTACHMENTS, Microversion::v3(71), false);
    let expected = vec![one_of("attach_status", &[Some("attached")]), one_of("instance_uuid", &[Some("s")])];
    assert_eq!(found, Ok(expected));
}
