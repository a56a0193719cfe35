//! Rules, callers and targets from a seed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hearth::identity::RequestContext;
use hearth::policy::Target;
use hearth::policy::overrides::Overrides;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use super::{caller, scoped};

const ROLES: [&str; 5] = ["admin", "member", "reader", "größe", "x"];
const IDS: [&str; 4] = ["p", "q", "u", "v"];
const TEXTS: [&str; 7] = ["p", "u", "in-use", "5", "True", "None", "admin"];
const COLUMNS: [&str; 7] = ["project_id", "user_id", "status", "n", "role", "nothing", "absent"];
const ATTRIBUTES: [&str; 14] = [
    "user_id",
    "project_id",
    "roles",
    "is_admin",
    "is_admin_project",
    "domain_id",
    "user_domain_id",
    "system_scope",
    "system",
    "service_roles",
    "service_user_id",
    "service_project_id",
    "colour",
    "a.b",
];
const LITERALS: [&str; 9] = ["True", "False", "None", "5", "+5", "-0", "'in-use'", "\"p\"", "'admin'"];

pub struct Random(StdRng);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of.choose(&mut self.0).expect("not empty")
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    fn maybe(&mut self, of: &[&str]) -> Option<String> {
        self.chance(50).then(|| self.one(of).to_owned())
    }

    /// An expression that may name the rules `r0` to `r<below>`, and one that there is not.
    pub fn expression(&mut self, below: usize) -> String {
        if self.chance(2) { String::new() } else { self.part(4, below) }
    }

    fn part(&mut self, depth: usize, below: usize) -> String {
        let kind = if depth == 0 { 0 } else { self.0.random_range(0..8) };
        match kind {
            0..=2 => self.check(below),
            3 => format!("{} {}", self.one(&["not", "NOT", "Not"]), self.part(depth - 1, below)),
            4 => format!("({})", self.part(depth - 1, below)),
            5 => format!("( {} )", self.part(depth - 1, below)),
            _ => {
                let word = self.one(&["and", "or", "AND", "oR"]);
                let space = self.one(&[" ", "  ", "\t"]);
                format!("{}{space}{word} {}", self.part(depth - 1, below), self.part(depth - 1, below))
            }
        }
    }

    fn check(&mut self, below: usize) -> String {
        match self.0.random_range(0..20) {
            0 => "@".to_owned(),
            1 => "!".to_owned(),
            2..=5 => {
                format!("role:{}", self.one(&["admin", "Member", "READER", "GRÖßE", "%(role)s", "%(absent)s", ""]))
            }
            6..=8 if below > 0 => format!("rule:r{}", self.0.random_range(0..below)),
            9 => "rule:missing".to_owned(),
            10..=12 => format!("{}:{}", self.one(&LITERALS), self.right()),
            _ => format!("{}:{}", self.one(&ATTRIBUTES), self.right()),
        }
    }

    fn right(&mut self) -> String {
        match self.0.random_range(0..10) {
            0..=3 => self.one(&TEXTS).to_owned(),
            4..=7 => format!("%({})s", self.one(&COLUMNS)),
            8 => format!("{}%({})s", self.one(&["in-", "x", "%%", "(", ""]), self.one(&COLUMNS)),
            _ => format!("%({})s%({})s", self.one(&COLUMNS), self.one(&COLUMNS)),
        }
    }

    /// Rules that name only those before them, sometimes with one named `default`.
    pub fn rules(&mut self) -> Vec<(String, String)> {
        let mut rules: Vec<_> = (0..4).map(|index| (format!("r{index}"), self.expression(index))).collect();
        if self.chance(25) {
            rules.push(("default".to_owned(), self.expression(0).replace("rule:missing", "@")));
        }
        rules
    }

    pub fn caller(&mut self) -> RequestContext {
        let roles: Vec<&str> = ROLES.into_iter().filter(|_| self.chance(35)).collect();
        let mut context = scoped(caller(self.one(&IDS), self.one(&IDS), &roles), |scope| {
            scope.is_admin_project = self.chance(70);
            scope.domain_id = self.maybe(&IDS);
            scope.user_domain_id = self.maybe(&IDS);
            scope.system_scope = self.maybe(&["all"]);
            scope.service_user_id = self.maybe(&IDS);
            scope.service_project_id = self.maybe(&IDS);
            scope.service_roles = ROLES.into_iter().filter(|_| self.chance(20)).map(str::to_owned).collect();
        });
        context.is_admin = self.chance(30);
        context
    }

    pub fn target(&mut self) -> Object {
        let mut columns = BTreeMap::from([("project_id", Some(self.one(&IDS).to_owned())), ("nothing", None)]);
        if self.chance(80) {
            columns.insert("user_id", Some(self.one(&IDS).to_owned()));
        }
        columns.insert("status", Some(self.one(&["in-use", "p", ""]).to_owned()));
        columns.insert("n", Some("5".to_owned()));
        columns.insert("role", Some(self.one(&["Admin", "reader", "GRÖßE"]).to_owned()));
        Object(columns)
    }
}

/// A target with any columns; a null is one.
pub struct Object(BTreeMap<&'static str, Option<String>>);

impl Object {
    pub fn to_json(&self) -> Value {
        json!(self.0)
    }
}

impl Target for Object {
    fn project_id(&self) -> &str {
        self.0["project_id"].as_deref().expect("every target has one")
    }
    fn user_id<'a>(&'a self, _: &'a RequestContext) -> Option<&'a str> {
        self.0.get("user_id")?.as_deref()
    }
    fn column(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.get(name).map(|value| Cow::Borrowed(value.as_deref().unwrap_or("None")))
    }
}

/// The caller as oslo.policy gets it.
pub fn credentials(context: &RequestContext) -> Value {
    let scope = &context.scope;
    json!({
        "user_id": context.user_id,
        "project_id": context.project_id,
        "roles": &context.roles[..],
        "is_admin": context.is_admin,
        "is_admin_project": scope.is_admin_project,
        "user_domain_id": scope.user_domain_id,
        "project_domain_id": scope.project_domain_id,
        "domain_id": scope.domain_id,
        "system_scope": scope.system_scope,
        "service_user_id": scope.service_user_id,
        "service_user_domain_id": scope.service_user_domain_id,
        "service_project_id": scope.service_project_id,
        "service_project_domain_id": scope.service_project_domain_id,
        "service_roles": scope.service_roles,
    })
}

/// Overrides of these rules.
pub fn overrides(rules: &[(String, String)]) -> Overrides {
    rules.iter().fold(Overrides::none(), |all, (name, text)| {
        all.with(name, text).unwrap_or_else(|error| panic!("{name}: {text:?}: {error}"))
    })
}
