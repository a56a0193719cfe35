//! What a type's extra specs ask of a backend's capabilities: the operators that administrators know from Cinder.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::domain::volume_type::ExtraSpecs;

/// Whether every spec that speaks of capabilities is met. Keys with another scope than `capabilities:` mean something else.
pub(super) fn met(specs: &ExtraSpecs, capabilities: &Map<String, Value>) -> bool {
    specs.iter().all(|(key, asked)| match key.split_once(':') {
        None => capability_matches(capabilities.get(key), asked.as_deref()),
        // Capabilities have no parts here, which a second colon would name.
        Some(("capabilities", name)) => capability_matches(capabilities.get(name), asked.as_deref()),
        Some(_) => true,
    })
}

/// A capability that is not there meets nothing, and null only null.
fn capability_matches(value: Option<&Value>, asked: Option<&str>) -> bool {
    value.is_some_and(|value| asked.map_or(value.is_null(), |asked| matches(value, asked)))
}

fn matches(value: &Value, asked: &str) -> bool {
    let mut words = asked.split_whitespace();
    let operator = words.next().unwrap_or_default();
    let operand = words.next();
    if value.is_null() {
        return false;
    }
    let compared = |holds: fn(Ordering) -> bool| operand.is_some_and(|other| holds(text(value).as_str().cmp(other)));
    match operator {
        "<or>" => alternatives(asked).any(|word| text(value) == word),
        "<in>" => operand.is_some_and(|part| text(value).contains(part)),
        "<is>" => operand.is_some_and(|word| truth(&text(value)) == truth(word)),
        // An old way to say `>=`.
        "=" | ">=" => numbers(value, operand, |left, right| left >= right),
        "<=" => numbers(value, operand, |left, right| left <= right),
        "==" => numbers(value, operand, |left, right| (left - right).abs() < f64::EPSILON),
        "!=" => numbers(value, operand, |left, right| (left - right).abs() >= f64::EPSILON),
        "s==" => compared(Ordering::is_eq),
        "s!=" => compared(Ordering::is_ne),
        "s<" => compared(Ordering::is_lt),
        "s<=" => compared(Ordering::is_le),
        "s>" => compared(Ordering::is_gt),
        "s>=" => compared(Ordering::is_ge),
        _ => match value {
            Value::Bool(own) => truth(asked) == *own,
            other => text(other) == asked,
        },
    }
}

/// The words of `<or> a <or> b`.
fn alternatives(asked: &str) -> impl Iterator<Item = &str> {
    asked.split_whitespace().skip(1).step_by(2)
}

fn numbers(value: &Value, operand: Option<&str>, holds: fn(f64, f64) -> bool) -> bool {
    let own = value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    let other = operand.and_then(|text| text.parse::<f64>().ok());
    own.zip(other).is_some_and(|(own, other)| holds(own, other))
}

/// What is no word for yes is no.
fn truth(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "1" | "t" | "true" | "on" | "y" | "yes")
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operators() {
        let cases = [
            (json!("ssd"), "ssd", true),
            (json!("ssd"), "SSD", false),
            (json!("ssd"), "", false),
            (json!("two words"), "two words", true),
            (json!(true), "True", true),
            (json!(true), "1", true),
            (json!(false), "no", true),
            (json!(true), "maybe", false),
            (json!(5), "5", true),
            (json!(true), "<is> True", true),
            (json!("yes"), "<is> true", true),
            (json!(false), "<is> True", false),
            (json!(false), "<is> nonsense", true),
            (json!(true), "<is>", false),
            (json!("abcde"), "<in> bcd", true),
            (json!("abcde"), "<in> bd", false),
            (json!("abcde"), "<in>", false),
            (json!("b"), "<or> a <or> b", true),
            (json!("c"), "<or> a <or> b", false),
            (json!("or"), "<or> a or b", false),
            (json!("a"), "<or>", false),
            (json!(10), "= 9", true),
            (json!(10), "= 11", false),
            (json!(10), "== 10.0", true),
            (json!("10"), "== 10", true),
            (json!(10), "!= 10", false),
            (json!(10), "!= 11", true),
            (json!(10.5), ">= 10", true),
            (json!(9), ">= 10", false),
            (json!(10), "<= 10", true),
            (json!("x"), ">= 1", false),
            (json!(1), ">= x", false),
            (json!("b"), "s== b", true),
            (json!("b"), "s!= b", false),
            (json!("b"), "s< c", true),
            (json!("b"), "s<= b", true),
            (json!("b"), "s> a", true),
            (json!("a"), "s>= b", false),
            (json!("b"), "s==", false),
            (json!(null), "<is> False", false),
            (json!(null), "null", false),
        ];
        for (value, asked, expected) in cases {
            assert_eq!(matches(&value, asked), expected, "{value} {asked:?}");
        }
    }

    #[test]
    fn only_specs_about_capabilities_count() {
        let capabilities = match json!({"protocol": "nbd", "free": 5, "nothing": null}) {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[], true),
            (&[("protocol", "nbd")], true),
            (&[("capabilities:protocol", "<or> iSCSI <or> nbd")], true),
            (&[("capabilities:protocol", "iSCSI")], false),
            (&[("protocol", "nbd"), ("free", ">= 6")], false),
            (&[("no_such_thing", "x")], false),
            (&[("capabilities:no_such_thing", "<is> False")], false),
            (&[("capabilities:free:more", "5")], false),
            (&[("provisioning:min_vol_size", "7"), ("RESKEY:availability_zones", "mars"), ("vendor:x", "y")], true),
        ];
        for (specs, expected) in cases {
            let all = specs.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect();
            assert_eq!(met(&all, &capabilities), *expected, "{specs:?}");
        }
        let null = |key: &str| met(&ExtraSpecs::from([(key.to_owned(), None)]), &capabilities);
        assert_eq!((null("nothing"), null("protocol"), null("no_such_thing")), (true, false, false));
    }
}
