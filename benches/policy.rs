//! One decision by the default rules: compiled from the language, against the same three checks written in Rust, found in the
//! table by the rule's name.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use hearth::domain::ids::{ProjectId, RequestId, UserId};
use hearth::identity::{RequestContext, Scope};
use hearth::policy::rules::RULES;
use hearth::policy::{LivePolicy, Policy, Rule};
use hearth::rule;

/// What every request asks; one early in the table, one in its middle, one at its end.
const ASKED: [Rule; 4] =
    [rule!("volume:attachment_create"), rule!("volume:get"), rule!("volume:extend"), rule!("hearth:admin")];

fn caller(roles: &[&str], is_admin: bool) -> RequestContext {
    RequestContext {
        user_id: UserId::from("u"),
        project_id: ProjectId::from("5b5ba8b28b3e4c3a8ea3f5c2c4a6b6a1"),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        is_admin,
        is_service: false,
        scope: Scope::none(),
        request_id: RequestId::from("req-1"),
    }
}

/// The three checks.
#[derive(Clone, Copy)]
enum Letter {
    Reader,
    Member,
    Admin,
}

/// The table, with each check as one of three.
fn letters() -> Vec<(&'static str, Letter)> {
    let letter = |check| match check {
        "rule:xena_system_admin_or_project_reader" => Letter::Reader,
        "rule:xena_system_admin_or_project_member" => Letter::Member,
        _ => Letter::Admin,
    };
    RULES.iter().map(|rule| (rule.name, letter(rule.check))).collect()
}

fn by_hand(letters: &[(&str, Letter)], context: &RequestContext, name: &str, target: &ProjectId) -> bool {
    let on_project = context.project_id == *target;
    match letters.iter().find(|(known, _)| *known == name) {
        Some((_, Letter::Reader)) => context.is_admin || (on_project && context.has_role("reader")),
        Some((_, Letter::Member)) => context.is_admin || (on_project && context.has_role("member")),
        Some((_, Letter::Admin)) => context.is_admin,
        None => false,
    }
}

fn decisions(criterion: &mut Criterion) {
    let (policy, letters) = (Policy::default(), letters());
    let target = ProjectId::from("5b5ba8b28b3e4c3a8ea3f5c2c4a6b6a1");
    let callers = [
        ("admin", caller(&["admin", "member", "reader"], true)),
        ("member", caller(&["member", "reader"], false)),
        ("denied", caller(&["auditor"], false)),
    ];
    let mut group = criterion.benchmark_group("policy");
    for (persona, context) in &callers {
        for rule in ASKED {
            let expected = by_hand(&letters, context, rule.name(), &target);
            assert_eq!(policy.allows(context, rule, &target), expected, "{rule:?} for {persona}");
        }
        group.bench_function(format!("{persona}, four rules by hand"), |bencher| {
            bencher.iter(|| ASKED.map(|rule| by_hand(&letters, black_box(context), rule.name(), black_box(&target))));
        });
        group.bench_function(format!("{persona}, four rules compiled"), |bencher| {
            bencher.iter(|| ASKED.map(|rule| policy.allows(black_box(context), rule, black_box(&target))));
        });
    }
    let live = LivePolicy::default();
    group.bench_function("the rules in force, taken once a request", |bencher| bencher.iter(|| live.current()));
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
