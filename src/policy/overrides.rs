//! What an operator has written: rules by name, and where each of them stands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::expression::Expression;
use super::parse::{SyntaxError, parse};

/// A place in a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<PathBuf>,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// One rule that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// What it demands.
    pub expression: Expression,
    /// As it was written; rules in the old form of lists are shown in the language.
    pub text: String,
    /// Where; none: not in a file.
    pub place: Option<Place>,
}

/// Rules by name, of all files: a later file wins over an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(pub(super) BTreeMap<String, Override>);

impl Overrides {
    /// No rule is changed.
    pub fn none() -> Self {
        Self::default()
    }

    /// The same with one rule more, from no file.
    pub fn with(mut self, name: &str, text: &str) -> Result<Self, SyntaxError> {
        let expression = parse(text)?;
        self.0.insert(name.to_owned(), Override { expression, text: text.to_owned(), place: None });
        Ok(self)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
