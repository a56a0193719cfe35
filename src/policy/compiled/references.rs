//! How rules refer to each other: no rule to itself, and none through so many others that judging it would take long.

use super::{Names, Written, resolved};
use crate::policy::attribute::Attribute;
use crate::policy::expression::{Expression, Left};
use crate::policy::rules::{RULES, Rule};

/// Rules that refer to each other in a row.
pub const DEPTH_MAX: usize = 32;

/// Checks that judging one rule may take, with all that it refers to.
pub const CHECKS_MAX: usize = 10_000;

/// The rules cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Each refers to the next, and the last to the first.
    #[error("rules that refer to each other in a circle: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// See `DEPTH_MAX`.
    #[error("rule {0} refers to others through more than {DEPTH_MAX} rules")]
    TooDeep(String),
    /// See `CHECKS_MAX`.
    #[error("rule {0} takes more than {CHECKS_MAX} checks")]
    TooLarge(String),
}

/// Looks at all rules; the warnings are about what has a meaning, though hardly the intended one.
pub(super) fn check(rules: &[Written<'_>], names: &Names<'_>) -> Result<Vec<String>, Unusable> {
    let mut walk = Walk { rules, names, sizes: vec![None; rules.len()], path: Vec::new() };
    for index in 0..rules.len() {
        walk.size(index)?;
    }
    Ok(warnings(rules, names))
}

struct Walk<'a> {
    rules: &'a [Written<'a>],
    names: &'a Names<'a>,
    /// The checks and the depth of the rules that were seen to the end.
    sizes: Vec<Option<(usize, usize)>>,
    path: Vec<usize>,
}

impl Walk<'_> {
    fn name(&self, index: usize) -> String {
        self.rules[index].name.to_string()
    }

    fn size(&mut self, index: usize) -> Result<(usize, usize), Unusable> {
        if let Some(size) = self.sizes[index] {
            return Ok(size);
        }
        if let Some(start) = self.path.iter().position(|other| *other == index) {
            let circle = self.path[start..].iter().chain([&index]);
            return Err(Unusable::Cycle(circle.map(|index| self.name(*index)).collect()));
        }
        // bounds this walk itself, too
        if self.path.len() > DEPTH_MAX {
            return Err(Unusable::TooDeep(self.name(self.path[0])));
        }
        self.path.push(index);
        let (mut checks, mut depth) = (0_usize, 0);
        for reference in references(&self.rules[index].expression, &mut checks) {
            if let Some(other) = resolved(reference, self.names) {
                let (more, deeper) = self.size(other)?;
                checks = checks.saturating_add(more);
                depth = depth.max(deeper + 1);
            }
        }
        self.path.pop();
        if depth > DEPTH_MAX {
            return Err(Unusable::TooDeep(self.name(index)));
        }
        if checks > CHECKS_MAX {
            return Err(Unusable::TooLarge(self.name(index)));
        }
        self.sizes[index] = Some((checks, depth));
        Ok((checks, depth))
    }
}

/// The rules that an expression names; counts its checks.
fn references<'e>(expression: &'e Expression, checks: &mut usize) -> Vec<&'e str> {
    *checks += 1;
    match expression {
        Expression::Rule(name) => vec![name],
        Expression::Not(part) => references(part, checks),
        Expression::All(parts) | Expression::Any(parts) => {
            parts.iter().flat_map(|part| references(part, checks)).collect()
        }
        _ => Vec::new(),
    }
}

fn warnings(rules: &[Written<'_>], names: &Names<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let referred: Vec<&str> = rules.iter().flat_map(|rule| references(&rule.expression, &mut 0)).collect();
    let is_old = |name: &str| RULES.iter().filter_map(|rule| rule.old).any(|old| old.name == Some(name));
    for rule in &rules[RULES.len()..] {
        let name = &*rule.name;
        if name != super::FALL_BACK && !is_old(name) && !referred.contains(&name) {
            warnings.push(format!("{name} is no rule that Hearth asks, and no rule refers to it ({})", rule.origin));
        }
    }
    for rule in rules.iter().filter(|rule| Rule::find(&rule.name).is_none() || rule.origin.is_override()) {
        for name in references(&rule.expression, &mut 0) {
            if !names.contains_key(name) {
                let meaning = if names.contains_key(super::FALL_BACK) { "what default says" } else { "always false" };
                let name = &name;
                warnings.push(format!("{} refers to rule:{name}, which there is not: {meaning}", rule.name));
            }
        }
        for name in unknown_attributes(&rule.expression) {
            warnings.push(format!("{} asks for {name}, which no caller has: always false", rule.name));
        }
    }
    warnings
}

fn unknown_attributes(expression: &Expression) -> Vec<&str> {
    match expression {
        Expression::Same(Left::Attribute(name), _) if Attribute::named(name).is_none() => vec![name],
        Expression::Not(part) => unknown_attributes(part),
        Expression::All(parts) | Expression::Any(parts) => parts.iter().flat_map(unknown_attributes).collect(),
        _ => Vec::new(),
    }
}
