//! The rules in force, ready to judge: names are places in a list, texts are parsed, and nothing is allocated to decide by the
//! defaults.

mod references;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use super::attribute::Attribute;
use super::expression::{Expression, Left};
use super::overrides::{Override, Overrides, Place};
use super::parse::parse;
use super::rules::{DefaultRule, RULES, Rule};
use super::target::{Own, Target};
use super::template::Template;
use crate::identity::RequestContext;
use crate::rule;

pub use references::Unusable;

/// The caller may not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy doesn't allow {0} to be performed")]
pub struct Denied(pub &'static str);

/// The name of the rule that stands for every rule there is not.
const FALL_BACK: &str = "default";

/// Where rules are, by their names.
pub(super) type Names<'a> = BTreeMap<&'a str, usize>;

/// A set of rules.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Those of the table in its order, then those that only files have.
    rules: Vec<InForce>,
    overridden: usize,
    warnings: Vec<String>,
}

/// A rule as it holds now.
#[derive(Clone, Debug)]
pub struct InForce {
    /// Its name.
    pub name: Cow<'static, str>,
    /// What it demands, in the language.
    pub text: Cow<'static, str>,
    /// Why it is this and no other.
    pub origin: Origin,
    /// What it demands.
    pub expression: Expression,
    check: Check,
}

/// Where a rule comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table.
    Default,
    /// The table: the present default or the old one.
    OldDefault,
    /// A file has it.
    Override(Option<Place>),
    /// A file has it under its old name.
    OldName(&'static str, Option<Place>),
}

impl Origin {
    /// Whether an operator has said so.
    pub const fn is_override(&self) -> bool {
        matches!(self, Self::Override(_) | Self::OldName(..))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |place: &Option<Place>| place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default();
        match self {
            Self::Default => f.write_str("default"),
            Self::OldDefault => f.write_str("default, or the old default"),
            Self::Override(place) => write!(f, "overridden{}", at(place)),
            Self::OldName(name, place) => write!(f, "overridden by its old name {name}{}", at(place)),
        }
    }
}

/// An expression with its references resolved.
#[derive(Clone, Debug)]
enum Check {
    Fixed(bool),
    Not(Box<Self>),
    All(Box<[Self]>),
    Any(Box<[Self]>),
    Rule(usize),
    /// A role, lower case.
    Role(Box<str>),
    RoleOf(Template),
    Literal(Box<str>, Template),
    Attribute(Attribute, Template),
}

/// Who asks, and for what.
#[derive(Clone, Copy)]
struct Question<'a> {
    context: &'a RequestContext,
    target: &'a dyn Target,
}

impl Default for Policy {
    fn default() -> Self {
        Self::new(&Overrides::none(), true).expect("the table holds no rule that cannot be used")
    }
}

impl Policy {
    /// The table with these overrides. Without `enforce_new_defaults`, who passes a rule's old default passes the rule.
    ///
    /// # Errors
    /// Rules that refer to themselves, or through too many others.
    pub fn new(overrides: &Overrides, enforce_new_defaults: bool) -> Result<Self, Unusable> {
        let mut written: Vec<Written<'_>> =
            RULES.iter().map(|rule| Written::of(rule, overrides, enforce_new_defaults)).collect();
        let added = overrides.0.iter().filter(|(name, _)| Rule::find(name).is_none());
        written.extend(added.map(|(name, said)| Written {
            name: Cow::Owned(name.clone()),
            expression: Cow::Borrowed(&said.expression),
            text: Cow::Owned(said.text.clone()),
            origin: Origin::Override(said.place.clone()),
        }));
        let names: Names<'_> = written.iter().enumerate().map(|(index, rule)| (&*rule.name, index)).collect();
        let warnings = references::check(&written, &names)?;
        let checks: Vec<Check> = written.iter().map(|rule| Check::of(&rule.expression, &names)).collect();
        let rules = written.into_iter().zip(checks).map(|(rule, check)| InForce {
            name: rule.name,
            text: rule.text,
            origin: rule.origin,
            expression: rule.expression.into_owned(),
            check,
        });
        Ok(Self { rules: rules.collect(), overridden: overrides.len(), warnings })
    }

    /// The defaults but for one rule. For tests.
    ///
    /// # Panics
    /// When `text` cannot be read.
    pub fn with(name: &str, text: &str) -> Self {
        let overrides = Overrides::none().with(name, text).expect("an expression");
        Self::new(&overrides, true).expect("no cycle")
    }

    /// Whether the caller passes `rule` on `target`.
    pub fn allows(&self, context: &RequestContext, rule: Rule, target: &dyn Target) -> bool {
        self.holds(&self.rules[rule.index()].check, Question { context, target })
    }

    /// The same as an error.
    pub fn enforce(&self, context: &RequestContext, rule: Rule, target: &dyn Target) -> Result<(), Denied> {
        if self.allows(context, rule, target) { Ok(()) } else { Err(Denied(rule.name())) }
    }

    /// Whether the caller is an admin, by the rule `context_is_admin`, who sees the objects of every project.
    pub fn is_admin(&self, context: &RequestContext) -> bool {
        self.allows(context, rule!("context_is_admin"), &Own(context))
    }

    /// Every rule: those of the table in its order, then those that only files have.
    pub fn rules(&self) -> &[InForce] {
        &self.rules
    }

    /// Rules that files have.
    pub fn overridden(&self) -> usize {
        self.overridden
    }

    /// What looks like a slip of the pen but has a meaning.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether a part of a rule holds.
    pub(super) fn part_holds(
        &self,
        part: &Expression,
        names: &Names<'_>,
        context: &RequestContext,
        target: &dyn Target,
    ) -> bool {
        self.holds(&Check::of(part, names), Question { context, target })
    }

    /// Where each rule is.
    pub(super) fn names(&self) -> Names<'_> {
        self.rules.iter().enumerate().map(|(index, rule)| (&*rule.name, index)).collect()
    }

    fn holds(&self, check: &Check, question: Question<'_>) -> bool {
        let Question { context, target } = question;
        match check {
            Check::Fixed(truth) => *truth,
            Check::Not(part) => !self.holds(part, question),
            Check::All(parts) => parts.iter().all(|part| self.holds(part, question)),
            Check::Any(parts) => parts.iter().any(|part| self.holds(part, question)),
            Check::Rule(index) => self.holds(&self.rules[*index].check, question),
            Check::Role(role) => context.has_role(role),
            Check::RoleOf(template) => {
                template.filled(context, target).is_some_and(|role| context.has_role(&role.to_lowercase()))
            }
            Check::Literal(text, template) => template.is(text, context, target),
            Check::Attribute(attribute, template) => attribute.any(context, |text| template.is(text, context, target)),
        }
    }
}

/// A rule before its references are resolved.
struct Written<'a> {
    name: Cow<'static, str>,
    expression: Cow<'a, Expression>,
    text: Cow<'static, str>,
    origin: Origin,
}

impl<'a> Written<'a> {
    /// The override under the rule's name, else the one under its old name, else the default.
    fn of(rule: &DefaultRule, overrides: &'a Overrides, enforce_new_defaults: bool) -> Self {
        let said = |said: &'a Override, origin: Origin| Self {
            name: Cow::Borrowed(rule.name),
            expression: Cow::Borrowed(&said.expression),
            text: Cow::Owned(said.text.clone()),
            origin,
        };
        if let Some(new) = overrides.0.get(rule.name) {
            return said(new, Origin::Override(new.place.clone()));
        }
        if let Some(name) = rule.old.and_then(|old| old.name)
            && let Some(old) = overrides.0.get(name)
            // what generators of sample files write: the old name as another word for the new one
            && old.expression != Expression::Rule(rule.name.to_owned())
        {
            return said(old, Origin::OldName(name, old.place.clone()));
        }
        let old = rule.old.filter(|old| !enforce_new_defaults && old.check != rule.check);
        let (expression, text, origin) = match old {
            None => (default(rule.check), Cow::Borrowed(rule.check), Origin::Default),
            Some(old) => {
                let either = Expression::Any(vec![default(rule.check), default(old.check)]);
                let text = either.to_string();
                (either, Cow::Owned(text), Origin::OldDefault)
            }
        };
        Self { name: Cow::Borrowed(rule.name), expression: Cow::Owned(expression), text, origin }
    }
}

fn default(text: &str) -> Expression {
    parse(text).expect("the table holds expressions")
}

impl Check {
    fn of(expression: &Expression, names: &Names<'_>) -> Self {
        let all = |parts: &[Expression]| parts.iter().map(|part| Self::of(part, names)).collect();
        match expression {
            Expression::Always => Self::Fixed(true),
            Expression::Never => Self::Fixed(false),
            Expression::Not(part) => Self::Not(Box::new(Self::of(part, names))),
            Expression::All(parts) => Self::All(all(parts)),
            Expression::Any(parts) => Self::Any(all(parts)),
            Expression::Rule(name) => resolved(name, names).map_or(Self::Fixed(false), Self::Rule),
            Expression::Role(template) => match template.literal() {
                Some(role) => Self::Role(role.to_lowercase().into()),
                None => Self::RoleOf(template.clone()),
            },
            Expression::Same(Left::Literal { text, .. }, template) => {
                Self::Literal(text.as_str().into(), template.clone())
            }
            Expression::Same(Left::Attribute(name), template) => {
                let attribute = Attribute::named(name);
                attribute.map_or(Self::Fixed(false), |attribute| Self::Attribute(attribute, template.clone()))
            }
        }
    }
}

/// The rule that `rule:NAME` means: the one named so, else the one named `default`.
pub(super) fn resolved(name: &str, names: &Names<'_>) -> Option<usize> {
    names.get(name).or_else(|| names.get(FALL_BACK)).copied()
}
