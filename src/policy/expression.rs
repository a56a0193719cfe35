//! A rule as it is written: the tree of its expression.

use std::fmt;

use super::template::Template;

/// What a rule demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// `@`, or nothing at all.
    Always,
    /// `!`.
    Never,
    /// `not X`.
    Not(Box<Self>),
    /// `X and Y`; two or more.
    All(Vec<Self>),
    /// `X or Y`; two or more.
    Any(Vec<Self>),
    /// `rule:NAME`: another rule.
    Rule(String),
    /// `role:NAME`: the caller has the role.
    Role(Template),
    /// `LEFT:RIGHT`: both are the same text.
    Same(Left, Template),
}

/// The left side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// A text, in the quotes it was written in if there were any.
    Literal {
        /// As it was written.
        written: String,
        /// What is compared.
        text: String,
    },
    /// The name of an attribute of the caller; a dotted one walks into it.
    Attribute(String),
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Literal { written, .. } => written,
            Self::Attribute(name) => name,
        })
    }
}

/// In the language itself, with brackets around whatever has parts: it reads back as the same tree.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Self], word: &str| {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    write!(f, " {word} ")?;
                }
                Part(part).fmt(f)?;
            }
            Ok(())
        };
        match self {
            Self::Always => f.write_str("@"),
            Self::Never => f.write_str("!"),
            Self::Not(part) => write!(f, "not {}", Part(part)),
            Self::All(parts) => joined(f, parts, "and"),
            Self::Any(parts) => joined(f, parts, "or"),
            Self::Rule(name) => write!(f, "rule:{name}"),
            Self::Role(name) => write!(f, "role:{name}"),
            Self::Same(left, right) => write!(f, "{left}:{right}"),
        }
    }
}

/// An expression within another one.
struct Part<'a>(&'a Expression);

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            whole @ (Expression::All(_) | Expression::Any(_)) => write!(f, "({whole})"),
            single => single.fmt(f),
        }
    }
}
