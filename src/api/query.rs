//! The query of a URL: names and values in order, and the words that mean yes and no.

use super::fault::Problem;
use super::percent;

/// More parameters than this are refused with 400: nothing needs them, and each one costs a condition.
pub const PARAMETERS_MAX: usize = 256;

/// A parsed query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses; a repeated parameter keeps its last value.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (percent::decode_query(name), percent::decode_query(value));
            match pairs.iter().position(|(known, _)| *known == name) {
                Some(at) => pairs[at].1 = value,
                None if pairs.len() == PARAMETERS_MAX => {
                    return Err(Problem::BadRequest(format!("More than {PARAMETERS_MAX} query parameters.")));
                }
                None => pairs.push((name, value)),
            }
        }
        Ok(Self(pairs))
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A boolean word; none when absent. Other words are 400.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => word(value)
                .map(Some)
                .ok_or_else(|| Problem::BadRequest(format!("Value '{value}' for '{name}' is not a boolean."))),
        }
    }

    /// The same query with `name` set, coded for a URL.
    pub fn with(&self, name: &str, value: &str) -> String {
        let mut parts: Vec<String> = self
            .0
            .iter()
            .filter(|(known, _)| known != name)
            .map(|(known, value)| format!("{}={}", percent::encode(known), percent::encode(value)))
            .collect();
        parts.push(format!("{}={}", percent::encode(name), percent::encode(value)));
        parts.join("&")
    }
}

/// A boolean word of a query (errors-and-http §8), case-insensitive.
pub fn word(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Some(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_repeated_parameter_wins() {
        let query = Query::parse("limit=1&name=a+b&limit=2&&flag").unwrap();
        assert_eq!(query.get("limit"), Some("2"));
        assert_eq!(query.get("name"), Some("a b"));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.with("marker", "x/y"), "limit=2&name=a%20b&flag=&marker=x%2Fy");
        assert_eq!(query.with("limit", "3"), "name=a%20b&flag=&limit=3");
    }

    #[test]
    fn too_many_parameters_are_refused() {
        let text = (0..=PARAMETERS_MAX).map(|index| format!("p{index}=1")).collect::<Vec<_>>().join("&");
        assert!(Query::parse(&text).is_err());
    }

    #[test]
    fn boolean_words() {
        for (text, expected) in
            [("TRUE", Some(true)), ("y", Some(true)), ("Off", Some(false)), ("0", Some(false)), ("", None), ("2", None)]
        {
            assert_eq!(word(text), expected, "{text:?}");
        }
    }
}
