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

/// The three checks, written in Rust.
fn by_hand(context: &RequestContext, name: &str, target: &ProjectId) -> bool {
    let on_project = context.project_id == *target;
    let check = RULES.iter().find(|rule| rule.name == name).map(|rule| rule.check);
    match check {
        Some("rule:xena_system_admin_or_project_reader") => {
            context.is_admin || (on_project && context.has_role("reader"))
        }
        Some("rule:xena_system_admin_or_project_member") => {
            context.is_admin || (on_project && context.has_role("member"))
        }
        _ => context.is_admin,
    }
}

fn decisions(criterion: &mut Criterion) {
    let policy = Policy::default();
    let target = ProjectId::from("5b5ba8b28b3e4c3a8ea3f5c2c4a6b6a1");
    let callers = [
        ("admin", caller(&["admin", "member", "reader"], true)),
        ("member", caller(&["member", "reader"], false)),
        ("denied", caller(&["auditor"], false)),
    ];
    let mut group = criterion.benchmark_group("policy");
    for (persona, context) in &callers {
        for rule in ASKED {
            let expected = by_hand(context, rule.name(), &target);
            assert_eq!(policy.allows(context, rule, &target), expected, "{rule:?} for {persona}");
        }
        group.bench_function(format!("{persona}, four rules by hand"), |bencher| {
            bencher.iter(|| ASKED.map(|rule| by_hand(black_box(context), rule.name(), black_box(&target))));
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
