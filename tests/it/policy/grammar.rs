//! The language: what is read, what it means, and what is refused at which character.

use std::borrow::Cow;

use hearth::domain::ids::ProjectId;
use hearth::identity::RequestContext;
use hearth::policy::compiled::Unusable;
use hearth::policy::overrides::Overrides;
use hearth::policy::parse::{NESTING_MAX, parse, parse_lists};
use hearth::policy::{Own, Policy, Target};

use super::{caller, policy, scoped};

/// Each prints as the tree that it is, with brackets around whatever has parts.
#[test]
fn precedence_brackets_and_keywords() {
    let cases = [
        ("", "@"),
        ("@", "@"),
        ("!", "!"),
        ("role:a", "role:a"),
        ("  role:a\t\n", "role:a"),
        ("role:a or role:b and role:c", "role:a or (role:b and role:c)"),
        ("role:a and role:b or role:c", "(role:a and role:b) or role:c"),
        ("(role:a or role:b) and role:c", "(role:a or role:b) and role:c"),
        ("not role:a and role:b", "not role:a and role:b"),
        ("not (role:a and role:b)", "not (role:a and role:b)"),
        ("not not role:a", "not not role:a"),
        ("role:a or not role:b or role:c", "role:a or not role:b or role:c"),
        ("((role:a))", "role:a"),
        ("( ( role:a ) AND (NOT role:b) )", "role:a and not role:b"),
        ("role:a Or role:b", "role:a or role:b"),
        ("rule:volume:get", "rule:volume:get"),
        ("role:compute:admin", "role:compute:admin"),
        ("project_id:%(project_id)s", "project_id:%(project_id)s"),
        ("(project_id:%(project_id)s)", "project_id:%(project_id)s"),
        ("user_id:x%(a)sy%%%(b)s", "user_id:x%(a)sy%%%(b)s"),
        ("'a-b':%(x)s", "'a-b':%(x)s"),
        ("\"a\":%(x)s", "\"a\":%(x)s"),
        ("True:%(x)s", "True:%(x)s"),
        ("None:%(x)s", "None:%(x)s"),
        ("-12:%(x)s", "-12:%(x)s"),
        ("user.domain.id:%(x)s", "user.domain.id:%(x)s"),
        ("user_id:", "user_id:"),
        ("role:", "role:"),
    ];
    for (text, expected) in cases {
        let read = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(read.to_string(), expected, "{text:?}");
        assert_eq!(parse(expected).unwrap(), read, "{text:?} read back");
    }
}

#[test]
fn what_cannot_be_read_is_refused_at_its_character() {
    let deep = "(".repeat(NESTING_MAX + 1);
    let cases = [
        (" ", 2, "the expression ends where a check is expected"),
        ("role:a and", 11, "the expression ends where a check is expected"),
        ("role:a or or role:b", 11, "expected a check"),
        ("and role:a", 1, "expected a check"),
        ("role:a role:b", 8, "expected 'and' or 'or'"),
        ("role:a not role:b", 8, "expected 'and' or 'or'"),
        ("(role:a", 1, "a bracket that is not closed"),
        ("role:b or (role:a", 11, "a bracket that is not closed"),
        ("(role:a role:b)", 9, "expected 'and', 'or' or a closing bracket"),
        ("role:a)", 7, "a closing bracket without an opening one"),
        ("()", 2, "expected a check"),
        ("é or admin", 1, "\"é\" is no check: it has no colon between two sides"),
        ("role:é or admin", 11, "\"admin\" is no check: it has no colon between two sides"),
        ("'a:b'", 1, "\"'a:b'\" is no check: it has no colon between two sides"),
        ("rule:", 1, "rule: names no rule"),
        ("role:a or http://x/y", 11, "remote checks (http:, https:) are not supported"),
        ("https://x/%(y)s", 1, "remote checks (http:, https:) are not supported"),
        (":x", 1, "\"\" is neither an attribute of a caller nor a literal"),
        ("1.5:x", 1, "\"1.5\" is neither an attribute of a caller nor a literal"),
        ("007:x", 1, "\"007\" is neither an attribute of a caller nor a literal"),
        ("a..b:x", 1, "\"a..b\" is neither an attribute of a caller nor a literal"),
        ("'a\\n':x", 1, "'a\\n' has a quote or a backslash within its quotes"),
        ("user_id:%(x)", 9, "%(name)s has no closing bracket"),
        ("user_id:a%(x)d", 10, "the s of %(name)s is missing"),
        ("user_id:%s", 9, "only %(name)s and %% can follow a per cent sign"),
        ("user_id:100%", 12, "only %(name)s and %% can follow a per cent sign"),
        ("role:%()s", 6, "%(name)s names no column"),
        (&deep, NESTING_MAX + 1, "more than 64 brackets and 'not' within one another"),
    ];
    for (text, at, reason) in cases {
        let error = parse(text).expect_err(text);
        assert_eq!((error.at, error.reason.as_str()), (at, reason), "{text:?}");
    }
    let as_deep_as_allowed = format!("{}role:a{}", "(".repeat(NESTING_MAX), ")".repeat(NESTING_MAX));
    assert!(parse(&as_deep_as_allowed).is_ok());
    assert!(parse(&"not ".repeat(100_000)).is_err(), "and no stack is exhausted");
}

#[test]
fn the_old_form_of_lists() {
    let lists = |lists: &[&[&str]]| {
        let owned: Vec<Vec<String>> =
            lists.iter().map(|list| list.iter().map(|text| (*text).to_owned()).collect()).collect();
        parse_lists(&owned).map(|read| read.to_string()).map_err(|error| error.to_string())
    };
    let cases: [(&[&[&str]], &str); 6] = [
        (&[], "@"),
        (&[&[]], "!"),
        (&[&["role:a"]], "role:a"),
        (&[&["role:a", "role:b"], &["role:c"]], "(role:a and role:b) or role:c"),
        (&[&["role:a"], &[], &["@"]], "role:a or @"),
        (&[&["role:cloud admin"]], "role:cloud admin"),
    ];
    for (written, expected) in cases {
        assert_eq!(lists(written).as_deref(), Ok(expected), "{written:?}");
    }
    assert!(lists(&[&["role:a or role:b"]]).is_ok(), "a role of that name, as oslo.policy reads it");
    assert!(lists(&[&["not role:a"]]).is_err());
    assert!(lists(&[&["nothing"]]).is_err());
}

/// A target with these columns.
struct Object(&'static [(&'static str, &'static str)]);

impl Target for Object {
    fn project_id(&self) -> &str {
        "p"
    }
    fn user_id<'a>(&'a self, _: &'a RequestContext) -> Option<&'a str> {
        Some("u")
    }
    fn column(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| Cow::Borrowed(*value))
    }
}

#[test]
fn what_an_expression_means() {
    let object = Object(&[("status", "in-use"), ("kind", "Member"), ("n", "5"), ("nothing", "None"), ("a.b", "u")]);
    let context = scoped(caller("u", "p", &["member", "reader", "größe"]), |scope| {
        scope.system_scope = Some("all".to_owned());
        scope.service_roles = vec!["service".to_owned(), "other".to_owned()];
        scope.service_user_id = Some("nova".to_owned());
        scope.domain_id = Some("d".to_owned());
    });
    let cases = [
        ("@", true),
        ("!", false),
        ("not !", true),
        ("@ and !", false),
        ("! or @", true),
        ("! and ! or @", true),
        ("! and (! or @)", false),
        ("not @ or @", true),
        ("role:member", true),
        ("role:MEMBER", true),
        ("role:GRÖSSE", false),
        ("role:GRÖßE", true),
        ("role:mem", false),
        ("role:%(kind)s", true),
        ("role:%(absent)s", false),
        ("not role:%(absent)s", true),
        ("user_id:u", true),
        ("user_id:%(user_id)s", true),
        ("user_id:%(a.b)s", true),
        ("user_id:%(absent)s", false),
        ("project_id:%(project_id)s and user_id:%(user_id)s", true),
        ("project_id:%(status)s", false),
        ("'in-use':%(status)s", true),
        ("\"in-use\":%(status)s", true),
        ("'in':%(status)s", false),
        ("'inuse':%(status)s", false),
        ("'x-in-use-y':x-%(status)s-y", true),
        ("'in-use5':%(status)s%(n)s", true),
        ("'5%':%(n)s%%", true),
        ("5:%(n)s", true),
        ("+5:%(n)s", true),
        ("-5:%(n)s", false),
        ("None:%(nothing)s", true),
        ("None:%(absent)s", false),
        ("'x':x%(absent)s", false),
        ("'':%(absent)s", false),
        ("True:%(n)s", false),
        ("is_admin:False", true),
        ("is_admin:True", false),
        ("is_admin_project:True", true),
        ("roles:reader", true),
        ("roles:Reader", false),
        ("service_roles:other", true),
        ("service_user_id:nova", true),
        ("service_project_id:None", true),
        ("system_scope:all", true),
        ("system:all", true),
        ("domain_id:d", true),
        ("user_domain_id:None", true),
        ("user.id:u", false),
        ("user_id.x:u", false),
        ("colour:red", false),
        ("rule:volume:get", true),
        ("rule:volume:force_delete", false),
        ("rule:there_is_none", false),
        ("not rule:there_is_none", true),
    ];
    for (text, expected) in cases {
        let policy = policy(&[("t", text)]);
        let decision = policy.explain("t", &context, &object).expect("the rule is there");
        assert_eq!(decision.allowed, expected, "{text:?}: {:#?}", decision.reasons);
        assert_eq!(decision.reasons[0].holds, expected);
        // and by the way that requests go
        let asked = Policy::with("volume:get", &text.replace("rule:volume:get", "rule:volume:get_all"));
        assert_eq!(asked.allows(&context, hearth::rule!("volume:get"), &object), expected, "{text:?}");
    }
}

/// The parts that decided, and no others: the first that is enough, or all where none is.
#[test]
fn the_reasons_are_the_parts_that_decided() {
    let context = caller("u", "p", &["a", "b"]);
    let policy = policy(&[("t", "role:a or role:b"), ("f", "(role:x and role:y) or not (role:a and role:b)")]);
    let reasons = |rule: &str| {
        let decision = policy.explain(rule, &context, &Own(&context)).expect("the rule is there");
        decision.reasons.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let has = "(the caller has a, b)";
    let of_t = ["t = \"role:a or role:b\": true (overridden)".to_owned(), format!("  role:a: true {has}")];
    assert_eq!(reasons("t"), of_t);
    let of_f = [
        "f = \"(role:x and role:y) or not (role:a and role:b)\": false (overridden)".to_owned(),
        "  role:x and role:y: false".to_owned(),
        format!("    role:x: false {has}"),
        "  not (role:a and role:b): false".to_owned(),
        "    role:a and role:b: true".to_owned(),
        format!("      role:a: true {has}"),
        format!("      role:b: true {has}"),
    ];
    assert_eq!(reasons("f"), of_f);
}

#[test]
fn a_project_in_a_url_has_no_user_and_a_request_without_object_has_the_callers_own() {
    let context = caller("u", "p", &[]);
    let by_user = Policy::with("volume:get", "user_id:%(user_id)s");
    let rule = hearth::rule!("volume:get");
    assert!(by_user.allows(&context, rule, &Own(&context)));
    assert!(!by_user.allows(&context, rule, &ProjectId::from("p")));
    let by_project = Policy::with("volume:get", "project_id:%(project_id)s");
    assert!(by_project.allows(&context, rule, &Own(&context)));
    assert!(by_project.allows(&context, rule, &ProjectId::from("p")));
    assert!(!by_project.allows(&context, rule, &ProjectId::from("q")));
}

#[test]
fn circles_are_found_when_the_rules_are_loaded() {
    let refused = |rules: &[(&str, &str)]| Policy::new(&super::overrides(rules), true).expect_err("a circle");
    let circle = |names: &[&str]| Unusable::Cycle(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(refused(&[("a", "rule:a")]), circle(&["a", "a"]));
    assert_eq!(refused(&[("a", "role:x or not rule:b"), ("b", "(rule:a and @)")]), circle(&["a", "b", "a"]));
    assert_eq!(
        refused(&[("admin_api", "rule:volume:force_delete")]),
        circle(&["admin_api", "volume:force_delete", "admin_api"])
    );
    assert_eq!(refused(&[("default", "rule:missing")]), circle(&["default", "default"]));
    // not a circle: two ways to the same rule
    assert!(Policy::new(&super::overrides(&[("a", "rule:b or rule:c"), ("b", "rule:c"), ("c", "@")]), true).is_ok());
}

#[test]
fn rules_that_refer_to_too_much_are_refused() {
    let chain = |length: usize| {
        (0..length).fold(Overrides::none().with("r0", "@").unwrap(), |rules, index| {
            rules.with(&format!("r{}", index + 1), &format!("rule:r{index}")).unwrap()
        })
    };
    assert!(Policy::new(&chain(32), true).is_ok());
    assert!(matches!(Policy::new(&chain(33), true), Err(Unusable::TooDeep(_))));
    assert!(matches!(Policy::new(&chain(3_000), true), Err(Unusable::TooDeep(_))));
    let doubled = (0..30).fold(Overrides::none().with("r0", "!").unwrap(), |rules, index| {
        rules.with(&format!("r{:02}", index + 1), &format!("rule:r{index:02} or rule:r{index:02}")).unwrap()
    });
    let doubled = doubled.with("r00", "!").unwrap();
    assert!(matches!(Policy::new(&doubled, true), Err(Unusable::TooLarge(_))));
}

#[test]
fn the_rule_named_default_stands_for_rules_that_there_are_not() {
    let context = caller("u", "p", &["reader"]);
    let allowed =
        |policy: &Policy, rule: &str| policy.explain(rule, &context, &Own(&context)).map(|decision| decision.allowed);
    let without = policy(&[("t", "rule:missing")]);
    assert_eq!(allowed(&without, "missing"), None);
    assert_eq!(allowed(&without, "t"), Some(false));
    let with = policy(&[("t", "rule:missing"), ("default", "role:reader")]);
    assert_eq!(allowed(&with, "missing"), Some(true));
    assert_eq!(allowed(&with, "t"), Some(true));
    assert_eq!(allowed(&with, "volume:force_delete"), Some(false), "a rule of the table has its own default");
}

#[test]
fn what_looks_like_a_slip_is_told() {
    let told = policy(&[
        ("volume:gte", "@"),
        ("helper", "role:a"),
        ("volume:get", "rule:helper or rule:helpre or colour:red"),
        ("volume_extension:types_manage", "role:types"),
    ]);
    assert_eq!(
        told.warnings(),
        [
            "volume:gte is no rule that Hearth asks, and no rule refers to it (overridden)",
            "volume:get refers to rule:helpre, which there is not: always false",
            "volume:get asks for colour, which no caller has: always false",
        ]
    );
    assert!(Policy::default().warnings().is_empty());
    assert_eq!(told.overridden(), 4);
}
