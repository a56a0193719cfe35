//! The form of a JSON value: which members, of which kinds.
//!
//! `{id:string size:number name:string? links:[{href:string rel:string}]}`: `?` is what may be null. `{*:string}` is a map
//! with any names, `{volumes_*:number}` one with names that begin so; it has at least one member. `{}` and `[]` are empty,
//! `[a | b]` has elements of both forms, and no others.

use serde_json::{Map, Value};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    String,
    Number,
    Bool,
    Null,
    Any,
    Nullable(Box<Self>),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Shape {
    /// Reads the notation.
    pub fn parse(text: &str) -> Self {
        let mut rest = text;
        let shape = value(&mut rest);
        assert!(rest.trim().is_empty(), "{rest:?} is left of {text}");
        shape
    }

    /// What in `found` is not of this form.
    pub fn differences(&self, found: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        self.compare("", found, &mut differences);
        differences
    }

    /// Whether further members are further entries of a map.
    pub fn is_map(&self) -> bool {
        matches!(self, Self::Object(members) if members.iter().any(|(name, _)| name.ends_with('*')))
    }

    /// What the only member is.
    pub fn only_member(&self) -> Option<&Self> {
        match self {
            Self::Object(members) if members.len() == 1 => members.first().map(|(_, member)| member),
            _ => None,
        }
    }

    fn compare(&self, place: &str, found: &Value, differences: &mut Vec<String>) {
        match (self, found) {
            (Self::Nullable(_), Value::Null) | (Self::Any, _) => {}
            (Self::Nullable(inner), _) => inner.compare(place, found, differences),
            (Self::Object(expected), Value::Object(members)) => compare_members(expected, place, members, differences),
            (Self::Array(forms), Value::Array(elements)) => compare_elements(forms, place, elements, differences),
            (Self::String, Value::String(_))
            | (Self::Number, Value::Number(_))
            | (Self::Bool, Value::Bool(_))
            | (Self::Null, Value::Null) => {}
            _ => differences.push(format!("{place} is no {self:?}: {found}")),
        }
    }
}

fn is_named(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

fn compare_members(
    expected: &[(String, Shape)],
    place: &str,
    members: &Map<String, Value>,
    differences: &mut Vec<String>,
) {
    // whole names go before patterns
    let form_of = |name: &str| {
        let whole = expected.iter().find(|(pattern, _)| pattern == name);
        whole.or_else(|| expected.iter().find(|(pattern, _)| is_named(pattern, name)))
    };
    for (name, member) in members {
        match form_of(name) {
            Some((_, form)) => form.compare(&format!("{place}.{name}"), member, differences),
            None => differences.push(format!("{place}.{name} is too much")),
        }
    }
    for (pattern, _) in expected {
        let is_there = |name: &String| form_of(name).is_some_and(|(found, _)| found == pattern);
        if !members.keys().any(is_there) {
            differences.push(format!("{place}.{pattern} is missing"));
        }
    }
}

fn compare_elements(forms: &[Shape], place: &str, elements: &[Value], differences: &mut Vec<String>) {
    let fits = |form: &Shape, element: &Value| form.differences(element).is_empty();
    for (index, element) in elements.iter().enumerate() {
        match forms {
            [only] => only.compare(&format!("{place}[{index}]"), element, differences),
            _ if forms.iter().any(|form| fits(form, element)) => {}
            _ => differences.push(format!("{place}[{index}] is of none of the forms: {element}")),
        }
    }
    for form in forms.iter().filter(|form| !elements.iter().any(|element| fits(form, element))) {
        differences.push(format!("{place} has no element {form:?}"));
    }
}

/// Takes `sign` away if it comes next.
fn take(rest: &mut &str, sign: char) -> bool {
    let stripped = rest.trim_start().strip_prefix(sign);
    if let Some(stripped) = stripped {
        *rest = stripped;
    }
    stripped.is_some()
}

fn value(rest: &mut &str) -> Shape {
    let shape = if take(rest, '{') {
        let mut members = Vec::new();
        while !take(rest, '}') {
            members.push(member(rest));
        }
        Shape::Object(members)
    } else if take(rest, '[') {
        let mut forms = Vec::new();
        while !take(rest, ']') {
            forms.push(value(rest));
            take(rest, '|');
        }
        Shape::Array(forms)
    } else {
        *rest = rest.trim_start();
        let end = rest.find(|sign: char| !sign.is_ascii_lowercase()).unwrap_or(rest.len());
        let (kind, tail) = rest.split_at(end);
        *rest = tail;
        match kind {
            "string" => Shape::String,
            "number" => Shape::Number,
            "bool" => Shape::Bool,
            "null" => Shape::Null,
            "any" => Shape::Any,
            _ => panic!("{kind:?} is no kind, before {tail}"),
        }
    };
    if take(rest, '?') { Shape::Nullable(Box::new(shape)) } else { shape }
}

/// `name:form`; colons may be part of a name.
fn member(rest: &mut &str) -> (String, Shape) {
    let text = rest.trim_start();
    let end = text.find([' ', '{', '[', '}', ']']).unwrap_or(text.len());
    let colon = text[..end].rfind(':').unwrap_or_else(|| panic!("a name and a form: {text}"));
    *rest = &text[colon + 1..];
    (text[..colon].to_owned(), value(rest))
}

#[test]
fn what_differs_is_found() {
    let shape = Shape::parse("{a:string b:number? x:y:[{c:bool} | {d:null}] m:{k_*:string k_1:number} e:[] o:{}}");
    let good = serde_json::json!({
        "a": "", "b": null, "x:y": [{"c": true}, {"d": null}], "m": {"k_1": 1, "k_2": ""}, "e": [], "o": {},
    });
    assert_eq!(shape.differences(&good), [] as [&str; 0]);
    let differs = |change: fn(&mut Value), expected: &str| {
        let mut bad = good.clone();
        change(&mut bad);
        let found = shape.differences(&bad);
        assert!(found.iter().any(|text| text.starts_with(expected)), "{found:?}");
    };
    differs(|bad| bad["a"] = Value::Null, ".a is no String");
    differs(|bad| bad["a"] = 1.into(), ".a is no String");
    differs(|bad| bad["b"] = "1".into(), ".b is no Number");
    differs(|bad| drop(bad.as_object_mut().unwrap().remove("b")), ".b is missing");
    differs(|bad| bad["z"] = 1.into(), ".z is too much");
    differs(|bad| bad["x:y"] = serde_json::json!([{"c": true}]), ".x:y has no element");
    differs(|bad| bad["x:y"][1] = 1.into(), ".x:y[1] is of none");
    differs(|bad| bad["m"]["k_1"] = "".into(), ".m.k_1 is no Number");
    differs(|bad| bad["m"]["k_2"] = 2.into(), ".m.k_2 is no String");
    differs(|bad| bad["m"] = serde_json::json!({"k_1": 1}), ".m.k_* is missing");
    differs(|bad| bad["e"] = serde_json::json!([1]), ".e[0] is of none");
    differs(|bad| bad["o"]["z"] = 1.into(), ".o.z is too much");
}
