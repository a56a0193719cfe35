//! From the text of a rule to its tree.
//!
//! What oslo.policy takes is taken and means the same; a difference test holds it. What it does not understand it calls false
//! and goes on; here it is an error which says where, so that a slip of the pen neither locks out nor lets in (`[R]`).

use super::expression::{Expression, Left};
use super::template::Template;

/// Brackets and `not` within one another; beyond it a rule is refused, so that no file can exhaust the stack.
pub const NESTING_MAX: usize = 64;

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (at character {at})")]
pub struct SyntaxError {
    /// The character where it stands, from 1.
    pub at: usize,
    /// Why.
    pub reason: String,
}

/// Reads a rule in the language. The empty text is always true.
pub fn parse(text: &str) -> Result<Expression, SyntaxError> {
    if text.is_empty() {
        return Ok(Expression::Always);
    }
    let parsed = tokens(text).and_then(|tokens| {
        let mut parser = Parser { tokens: &tokens, end: text.len(), depth: 0 };
        let expression = parser.any()?;
        match parser.tokens.first() {
            None => Ok(expression),
            Some((at, Token::Close)) => Err(Wrong::new(*at, "a closing bracket without an opening one")),
            Some((at, _)) => Err(Wrong::new(*at, "expected 'and' or 'or'")),
        }
    });
    parsed.map_err(|wrong| wrong.told(text))
}

/// Reads a rule in the old form: one of the outer list has to be true, and all of an inner one. No list at all is always true.
pub fn parse_lists(lists: &[Vec<String>]) -> Result<Expression, SyntaxError> {
    let mut any = Vec::new();
    for list in lists.iter().filter(|list| !list.is_empty()) {
        let all = list.iter().map(|text| check(text, 0).map_err(|wrong| wrong.told(text)));
        any.push(joined(all.collect::<Result<_, _>>()?, Expression::All));
    }
    Ok(match (lists, any.is_empty()) {
        ([], _) => Expression::Always,
        (_, true) => Expression::Never,
        _ => joined(any, Expression::Any),
    })
}

fn joined(mut parts: Vec<Expression>, join: impl FnOnce(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            join(parts)
        }
        None => join(parts),
    }
}

/// What is wrong, at a byte of the text.
struct Wrong {
    at: usize,
    reason: String,
}

impl Wrong {
    fn new(at: usize, reason: impl Into<String>) -> Self {
        Self { at, reason: reason.into() }
    }

    fn told(self, text: &str) -> SyntaxError {
        let before = text.char_indices().take_while(|(at, _)| *at < self.at).count();
        SyntaxError { at: before + 1, reason: self.reason }
    }
}

enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Check(Expression),
}

/// Words are divided by white space alone; brackets count where a word begins or ends, so that `%(name)s` stays whole.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Wrong> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(length) = rest.find(char::is_whitespace).or((!rest.is_empty()).then_some(rest.len())) else {
            return Ok(tokens);
        };
        let (word, after) = rest.split_at(length);
        let mut at = text.len() - rest.len();
        rest = after;
        let opened = word.trim_start_matches('(');
        tokens.extend((at..at + word.len() - opened.len()).map(|at| (at, Token::Open)));
        at += word.len() - opened.len();
        let clean = opened.trim_end_matches(')');
        if !clean.is_empty() {
            let token = match clean.to_ascii_lowercase().as_str() {
                "and" => Token::And,
                "or" => Token::Or,
                "not" => Token::Not,
                _ => Token::Check(check(clean, at)?),
            };
            tokens.push((at, token));
        }
        at += clean.len();
        tokens.extend((at..at + opened.len() - clean.len()).map(|at| (at, Token::Close)));
    }
}

/// One check: `@`, `!`, `rule:NAME`, `role:NAME` or `LEFT:RIGHT`.
fn check(text: &str, at: usize) -> Result<Expression, Wrong> {
    match text {
        "@" => return Ok(Expression::Always),
        "!" => return Ok(Expression::Never),
        _ => {}
    }
    let quoted = |quote| text.len() >= 2 && text.starts_with(quote) && text.ends_with(quote);
    let Some((left, right)) = text.split_once(':').filter(|_| !quoted('\'') && !quoted('"')) else {
        return Err(Wrong::new(at, format!("{text:?} is no check: it has no colon between two sides")));
    };
    let template = || {
        let start = at + left.len() + 1;
        Template::parse(right).map_err(|(within, reason)| Wrong::new(start + within, reason))
    };
    match left {
        "rule" if right.is_empty() => Err(Wrong::new(at, "rule: names no rule")),
        "rule" => Ok(Expression::Rule(right.to_owned())),
        "role" => Ok(Expression::Role(template()?)),
        "http" | "https" => Err(Wrong::new(at, "remote checks (http:, https:) are not supported")),
        _ => Ok(Expression::Same(left_side(left, at)?, template()?)),
    }
}

/// Python's literals as far as a rule can have a use for them, or the name of an attribute.
fn left_side(text: &str, at: usize) -> Result<Left, Wrong> {
    let literal = |value: &str| Ok(Left::Literal { written: text.to_owned(), text: value.to_owned() });
    if matches!(text, "True" | "False" | "None") {
        return literal(text);
    }
    for quote in ['\'', '"'] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return if inner.contains([quote, '\\']) {
                Err(Wrong::new(at, format!("{text} has a quote or a backslash within its quotes")))
            } else {
                literal(inner)
            };
        }
    }
    if let Some(number) = integer(text) {
        return literal(&number);
    }
    let is_name = |part: &str| {
        let mut letters = part.chars();
        letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-'))
    };
    if text.split('.').all(is_name) {
        return Ok(Left::Attribute(text.to_owned()));
    }
    Err(Wrong::new(at, format!("{text:?} is neither an attribute of a caller nor a literal")))
}

/// A whole number as Python prints it.
fn integer(text: &str) -> Option<String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if digits.is_empty() || !is_plain {
        return None;
    }
    let is_negative = text.starts_with('-') && digits != "0";
    Some(if is_negative { text.to_owned() } else { digits.to_owned() })
}

/// `not` binds closer than `and`, and `and` closer than `or`.
struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    end: usize,
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Expression, Wrong> {
        let mut parts = vec![self.all()?];
        while let Some(((_, Token::Or), rest)) = self.tokens.split_first() {
            self.tokens = rest;
            parts.push(self.all()?);
        }
        Ok(joined(parts, Expression::Any))
    }

    fn all(&mut self) -> Result<Expression, Wrong> {
        let mut parts = vec![self.single()?];
        while let Some(((_, Token::And), rest)) = self.tokens.split_first() {
            self.tokens = rest;
            parts.push(self.single()?);
        }
        Ok(joined(parts, Expression::All))
    }

    fn single(&mut self) -> Result<Expression, Wrong> {
        let Some(((at, token), rest)) = self.tokens.split_first() else {
            return Err(Wrong::new(self.end, "the expression ends where a check is expected"));
        };
        self.tokens = rest;
        match token {
            Token::Check(check) => Ok(check.clone()),
            Token::Not => Ok(Expression::Not(Box::new(self.nested(*at, Self::single)?))),
            Token::Open => {
                let inner = self.nested(*at, Self::any)?;
                match self.tokens.split_first() {
                    Some(((_, Token::Close), rest)) => {
                        self.tokens = rest;
                        Ok(inner)
                    }
                    Some((other, _)) => Err(Wrong::new(other.0, "expected 'and', 'or' or a closing bracket")),
                    None => Err(Wrong::new(*at, "a bracket that is not closed")),
                }
            }
            Token::Close | Token::And | Token::Or => Err(Wrong::new(*at, "expected a check")),
        }
    }

    fn nested(
        &mut self,
        at: usize,
        inner: impl FnOnce(&mut Self) -> Result<Expression, Wrong>,
    ) -> Result<Expression, Wrong> {
        if self.depth == NESTING_MAX {
            return Err(Wrong::new(at, format!("more than {NESTING_MAX} brackets and 'not' within one another")));
        }
        self.depth += 1;
        let found = inner(self);
        self.depth -= 1;
        found
    }
}
