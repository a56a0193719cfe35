//! The right side of a comparison: text with columns of the target in it, `%(project_id)s`.

use std::borrow::Cow;
use std::fmt;

use super::target::Target;
use crate::identity::RequestContext;

/// Text and columns, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    /// The two that nearly every rule asks for.
    ProjectId,
    UserId,
    Column(Box<str>),
}

/// What is wrong with a template: the byte where, and why.
pub(super) type Malformed = (usize, &'static str);

impl Template {
    /// Reads it. Only `%(name)s` and `%%` mean anything after a per cent sign; the other forms of Python's formatting have no
    /// use in a rule and are refused.
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            let here = text.len() - rest.len() + at;
            plain.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix('%') {
                plain.push('%');
                rest = after;
                continue;
            }
            let named = after.strip_prefix('(').ok_or((here, "only %(name)s and %% can follow a per cent sign"))?;
            let (name, after) = named.split_once(')').ok_or((here, "%(name)s has no closing bracket"))?;
            let after = after.strip_prefix('s').ok_or((here, "the s of %(name)s is missing"))?;
            if name.is_empty() {
                return Err((here, "%(name)s names no column"));
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
            }
            pieces.push(match name {
                "project_id" => Piece::ProjectId,
                "user_id" => Piece::UserId,
                _ => Piece::Column(name.into()),
            });
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into()));
        }
        Ok(Self(pieces))
    }

    /// The text, if there are no columns in it.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it is `text` on this target. A column that the target has not makes it false.
    pub(super) fn is(&self, text: &str, context: &RequestContext, target: &dyn Target) -> bool {
        let mut rest = text;
        for piece in &self.0 {
            let left = match piece.value(context, target) {
                Some(value) => rest.strip_prefix(&*value),
                None => None,
            };
            match left {
                Some(left) => rest = left,
                None => return false,
            }
        }
        rest.is_empty()
    }

    /// The text on this target; none: a column is missing.
    pub(super) fn filled(&self, context: &RequestContext, target: &dyn Target) -> Option<String> {
        self.0.iter().map(|piece| piece.value(context, target)).collect()
    }
}

impl Piece {
    fn value<'a>(&'a self, context: &'a RequestContext, target: &'a dyn Target) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::ProjectId => Some(Cow::Borrowed(target.project_id())),
            Self::UserId => target.user_id(context).map(Cow::Borrowed),
            Self::Column(name) => target.column(name),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => f.write_str(&text.replace('%', "%%"))?,
                Piece::ProjectId => f.write_str("%(project_id)s")?,
                Piece::UserId => f.write_str("%(user_id)s")?,
                Piece::Column(name) => write!(f, "%({name})s")?,
            }
        }
        Ok(())
    }
}
