//! Why a caller passes a rule or does not: the branches that decided, with what was compared.

use std::fmt;

use super::attribute::Attribute;
use super::compiled::{Names, Policy, resolved};
use super::expression::{Expression, Left};
use super::target::Target;
use crate::identity::RequestContext;

/// A decision with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the caller passes.
    pub allowed: bool,
    /// The reasons, each under what it is a reason for.
    pub reasons: Vec<Reason>,
}

/// One expression and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// How many reasons it stands under.
    pub depth: usize,
    /// The expression, or the rule.
    pub text: String,
    /// Whether it is true.
    pub holds: bool,
    /// Where a rule comes from, or what was compared.
    pub note: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:indent$}{}: {}", "", self.text, self.holds, indent = 2 * self.depth)?;
        if self.note.is_empty() { Ok(()) } else { write!(f, " ({})", self.note) }
    }
}

impl Policy {
    /// What the policy says, and why; none: there is no such rule, and none named `default`.
    pub fn explain(&self, name: &str, context: &RequestContext, target: &dyn Target) -> Option<Decision> {
        let mut walk = Walk { policy: self, names: self.names(), context, target, reasons: Vec::new() };
        let allowed = walk.rule(name, 0)?;
        Some(Decision { allowed, reasons: walk.reasons })
    }
}

struct Walk<'a> {
    policy: &'a Policy,
    names: Names<'a>,
    context: &'a RequestContext,
    target: &'a dyn Target,
    reasons: Vec<Reason>,
}

impl Walk<'_> {
    fn rule(&mut self, name: &str, depth: usize) -> Option<bool> {
        let policy = self.policy;
        let rule = &policy.rules()[resolved(name, &self.names)?];
        let holds = self.holds(&rule.expression);
        let text = if rule.name == name {
            format!("{name} = {:?}", rule.text)
        } else {
            format!("{name}, which there is not, so that {} = {:?}", rule.name, rule.text)
        };
        self.reasons.push(Reason { depth, text, holds, note: rule.origin.to_string() });
        // the rule's own line shows it whole already
        match &rule.expression {
            whole @ (Expression::All(_) | Expression::Any(_)) => self.decisive(whole, holds, depth + 1),
            other => self.part(other, depth + 1),
        }
        Some(holds)
    }

    fn holds(&self, part: &Expression) -> bool {
        self.policy.part_holds(part, &self.names, self.context, self.target)
    }

    /// The parts that decided: the first one that is enough, or all of them.
    fn decisive(&mut self, expression: &Expression, holds: bool, depth: usize) {
        let (parts, enough) = match expression {
            Expression::All(parts) => (parts, false),
            Expression::Any(parts) => (parts, true),
            _ => return,
        };
        if holds == enough {
            let is_enough = |part: &&Expression| self.holds(part) == enough;
            if let Some(part) = parts.iter().find(is_enough) {
                self.part(part, depth);
            }
        } else {
            parts.iter().for_each(|part| self.part(part, depth));
        }
    }

    fn part(&mut self, expression: &Expression, depth: usize) {
        if let Expression::Rule(name) = expression {
            if self.rule(name, depth).is_none() {
                let note = "there is no such rule".to_owned();
                self.reasons.push(Reason { depth, text: expression.to_string(), holds: false, note });
            }
            return;
        }
        let holds = self.holds(expression);
        self.reasons.push(Reason { depth, text: expression.to_string(), holds, note: self.compared(expression) });
        match expression {
            Expression::Not(part) => self.part(part, depth + 1),
            whole => self.decisive(whole, holds, depth + 1),
        }
    }

    fn compared(&self, expression: &Expression) -> String {
        match expression {
            Expression::Role(_) if self.context.roles.is_empty() => "the caller has no role".to_owned(),
            Expression::Role(_) => format!("the caller has {}", self.context.roles.join(", ")),
            Expression::Same(left, template) => {
                let right = template.filled(self.context, self.target);
                let right = right.map_or("what the target has not".to_owned(), |right| format!("{right:?}"));
                match left {
                    Left::Literal { text, .. } => format!("{text:?} and {right}"),
                    Left::Attribute(name) => match Attribute::named(name) {
                        None => format!("no caller has {name}"),
                        Some(attribute) => {
                            let values = std::cell::RefCell::new(Vec::new());
                            attribute.any(self.context, |value| {
                                values.borrow_mut().push(format!("{value:?}"));
                                false
                            });
                            format!("the caller's is {}; it has to be {right}", values.into_inner().join(", "))
                        }
                    },
                }
            }
            _ => String::new(),
        }
    }
}
