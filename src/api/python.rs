//! Python's spelling of values: fault texts print them as `repr` does, and list filters are written as literals.

use std::fmt::Write;

use serde_json::{Map, Number, Value};

/// Deepest nesting of a literal in a filter.
const DEPTH_MAX: usize = 16;

/// `repr(value)`.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    repr_into(&mut out, value);
    out
}

/// `str(value)`: as `repr`, but a string is itself.
pub fn display(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

fn repr_into(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => {
            let _ = write!(out, "{number}");
        }
        Value::String(text) => repr_str(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                repr_into(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                repr_str(out, name);
                out.push_str(": ");
                repr_into(out, member);
            }
            out.push('}');
        }
    }
}

fn repr_str(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            character if character == quote => {
                out.push('\\');
                out.push(character);
            }
            character if character.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(character));
            }
            character => out.push(character),
        }
    }
    out.push(quote);
}

/// A Python literal: `None`, `True`, numbers, strings, lists, tuples, dicts with string keys. None if the text is no literal.
pub fn literal(text: &str) -> Option<Value> {
    let mut parser = Parser { rest: text.trim(), depth: 0 };
    let value = parser.value()?;
    parser.rest.trim_start().is_empty().then_some(value)
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn eat(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Option<Value> {
        self.rest = self.rest.trim_start();
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let value = match self.rest.chars().next()? {
            '\'' | '"' => Value::String(self.string()?),
            '[' => Value::Array(self.items("[", "]")?),
            '(' => Value::Array(self.items("(", ")")?),
            '{' => self.dict()?,
            _ => self.word()?,
        };
        self.depth -= 1;
        Some(value)
    }

    fn word(&mut self) -> Option<Value> {
        let end = self.rest.find(|c: char| matches!(c, ',' | ']' | ')' | '}' | ':') || c.is_whitespace());
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match word {
            "None" => Some(Value::Null),
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            _ => {
                // Python has no leading zeros in integers, and a uuid such as 1e5-… must stay a string.
                let digits = word.strip_prefix('-').unwrap_or(word);
                if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                if let Ok(integer) = word.parse::<i64>() {
                    return Some(Value::Number(Number::from(integer)));
                }
                if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
                    return None;
                }
                word.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number)
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let mut characters = self.rest.char_indices();
        let (_, quote) = characters.next()?;
        let mut out = String::new();
        while let Some((at, character)) = characters.next() {
            match character {
                character if character == quote => {
                    self.rest = &self.rest[at + character.len_utf8()..];
                    return Some(out);
                }
                '\\' => match characters.next()?.1 {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'r' => out.push('\r'),
                    other => out.push(other),
                },
                character => out.push(character),
            }
        }
        None
    }

    fn items(&mut self, open: &str, close: &str) -> Option<Vec<Value>> {
        self.eat(open);
        let mut items = Vec::new();
        loop {
            if self.eat(close) {
                return Some(items);
            }
            items.push(self.value()?);
            if !self.eat(",") {
                return self.eat(close).then_some(items);
            }
        }
    }

    fn dict(&mut self) -> Option<Value> {
        self.eat("{");
        let mut members = Map::new();
        loop {
            if self.eat("}") {
                return Some(Value::Object(members));
            }
            let Value::String(name) = self.value()? else { return None };
            if !self.eat(":") {
                return None;
            }
            let member = self.value()?;
            members.insert(name, member);
            if !self.eat(",") {
                return self.eat("}").then_some(Value::Object(members));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_print_as_python_prints_them() {
        let cases = [
            (json!(null), "None"),
            (json!(true), "True"),
            (json!(5), "5"),
            (json!(1.5), "1.5"),
            (json!("it"), "'it'"),
            (json!("it's"), "\"it's\""),
            (json!("it's \"x\""), "'it\\'s \"x\"'"),
            (json!("a\nb\\"), "'a\\nb\\\\'"),
            (json!("\u{1}"), "'\\x01'"),
            (json!([1, "a", null]), "[1, 'a', None]"),
            (json!({"a": {"b": []}}), "{'a': {'b': []}}"),
        ];
        for (value, expected) in cases {
            assert_eq!(repr(&value), expected);
        }
        assert_eq!(display(&json!("x")), "x");
    }

    #[test]
    fn literals_of_filters() {
        let cases = [
            ("5", Some(json!(5))),
            ("-5", Some(json!(-5))),
            ("1.5", Some(json!(1.5))),
            ("007", None),
            ("None", Some(json!(null))),
            ("True", Some(json!(true))),
            ("true", None),
            ("'x'", Some(json!("x"))),
            ("\"it's\"", Some(json!("it's"))),
            ("['available', 'error',]", Some(json!(["available", "error"]))),
            ("('a', 1)", Some(json!(["a", 1]))),
            ("{'k1': 'v1', 'k2': 'v2'}", Some(json!({"k1": "v1", "k2": "v2"}))),
            ("{1: 'v'}", None),
            ("available", None),
            ("in-use", None),
            ("'open", None),
            ("[1", None),
            ("[1] x", None),
            ("", None),
            ("nan", None),
            ("1e999", None),
            ("3b8b6631-1cf7-4fd7-9afb-c01e541a345c", None),
        ];
        for (text, expected) in cases {
            assert_eq!(literal(text), expected, "{text:?}");
        }
        assert_eq!(literal(&"[".repeat(100_000)), None);
    }
}
