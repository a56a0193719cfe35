//! Pages of lists: `limit`, `marker`, `offset`, `sort…` and the link to the next page (errors-and-http §7).

use std::cmp::Ordering;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::fault::Problem;
use super::links::{Link, Links};
use super::query::Query;
use crate::store::{Direction, Paging};

/// `osapi_max_limit`: the default and the largest page.
pub const LIMIT_MAX: u64 = 1000;
const OFFSET_MAX: u64 = 2_147_483_647;

/// The parameters which are never filters.
pub const PARAMETERS: &[&str] = &["limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants"];

/// What the columns of a list are called.
pub struct Columns {
    /// Names that the API uses and the columns they mean.
    pub aliases: &'static [(&'static str, &'static str)],
    /// Columns that can be sorted by.
    pub sortable: &'static [&'static str],
}

impl Columns {
    /// The column behind a name.
    pub fn of<'a>(&self, name: &'a str) -> &'a str {
        self.aliases.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, column)| column)
    }
}

/// `limit`.
pub fn limit(query: &Query) -> Result<u64, Problem> {
    let Some(text) = query.get("limit") else { return Ok(LIMIT_MAX) };
    Ok(integer(text, "limit param must be an integer", "limit param must be positive")?.min(LIMIT_MAX))
}

/// `offset`.
pub fn offset(query: &Query) -> Result<u64, Problem> {
    let Some(text) = query.get("offset") else { return Ok(0) };
    match integer(text, "offset must be an integer", "offset must be >= 0")? {
        offset if offset <= OFFSET_MAX => Ok(offset),
        _ => Err(Problem::BadRequest(format!("offset must be <= {OFFSET_MAX}"))),
    }
}

/// An integer ≥ 0; one beyond 64 bits is as good as the largest.
fn integer(text: &str, no_integer: &str, negative: &str) -> Result<u64, Problem> {
    let trimmed = text.trim();
    let (minus, digits) = match trimmed.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::BadRequest(no_integer.to_owned()));
    }
    if minus && digits.bytes().any(|byte| byte != b'0') {
        return Err(Problem::BadRequest(negative.to_owned()));
    }
    Ok(digits.parse().unwrap_or(u64::MAX))
}

fn direction(text: &str) -> Result<Direction, Problem> {
    match text {
        "asc" => Ok(Direction::Ascending),
        "desc" => Ok(Direction::Descending),
        _ => Err(Problem::InvalidInput("Unknown sort direction, must be 'desc' or 'asc'.".to_owned())),
    }
}

/// The sort keys as they are asked for; without any, `default` downwards.
pub fn sort_asked(query: &Query, default: &str) -> Result<Vec<(String, Direction)>, Problem> {
    let single = (query.get("sort_key"), query.get("sort_dir"));
    let mut keys: Vec<(String, Direction)> = Vec::new();
    match (query.get("sort"), single) {
        (Some(_), (Some(_), _) | (_, Some(_))) => {
            return Err(Problem::BadRequest(
                "The \"sort_key\" and \"sort_dir\" parameters are deprecated and cannot be used with the \"sort\" \
                 parameter."
                    .to_owned(),
            ));
        }
        (Some(list), _) => {
            for element in list.split(',') {
                let (key, dir) = element.trim().split_once(':').unwrap_or((element.trim(), "desc"));
                keys.push((key.trim().to_owned(), direction(dir.trim())?));
            }
        }
        (None, (key, dir)) => {
            keys.push((key.unwrap_or(default).trim().to_owned(), direction(dir.unwrap_or("desc").trim())?));
        }
    }
    Ok(keys)
}

/// The sort keys, with `created_at` and `id` appended in the first one's direction.
pub fn sort(query: &Query, columns: &Columns) -> Result<Vec<(String, Direction)>, Problem> {
    let mut sort: Vec<(String, Direction)> = Vec::new();
    for (key, dir) in sort_asked(query, "created_at")? {
        let column = columns.of(&key);
        if !columns.sortable.contains(&column) {
            return Err(Problem::InvalidInput("Invalid sort key".to_owned()));
        }
        // A key that is named twice sorts by its first place only.
        if sort.iter().all(|(known, _)| known != column) {
            sort.push((column.to_owned(), dir));
        }
    }
    let first = sort[0].1;
    for tie_breaker in ["created_at", "id"] {
        if sort.iter().all(|(known, _)| known != tie_breaker) {
            sort.push((tie_breaker.to_owned(), first));
        }
    }
    Ok(sort)
}

/// The page that a query asks for.
pub fn paging(query: &Query, columns: &Columns) -> Result<Paging, Problem> {
    Ok(Paging {
        limit: limit(query)?,
        offset: offset(query)?,
        sort: sort(query, columns)?,
        marker: query.get("marker").map(str::to_owned),
    })
}

/// A list: rows, the next link when the page is full, the count when asked for.
pub struct ListBody<T> {
    /// The members' names: the rows', the links'.
    pub names: (&'static str, &'static str),
    /// The rows of the page.
    pub rows: Vec<T>,
    /// Where the next page is.
    pub next: Option<String>,
    /// All matching rows.
    pub count: Option<u64>,
}

impl<T: Serialize> Serialize for ListBody<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry(self.names.0, &self.rows)?;
        if let Some(href) = &self.next {
            members.serialize_entry(self.names.1, &[Link { rel: "next", href: href.clone() }])?;
        }
        if let Some(count) = self.count {
            members.serialize_entry("count", &count)?;
        }
        members.end()
    }
}

/// One page of rows that are all in memory: sorted by the keys that were asked for (`compare` is told the key), after the
/// marker, from the offset. None: no row has the marker as its `id`.
pub fn page_of<T>(
    mut rows: Vec<T>,
    page: &Paging,
    compare: impl Fn(&str, &T, &T) -> Ordering,
    id: impl Fn(&T) -> String,
) -> Option<Vec<T>> {
    for (key, direction) in page.sort.iter().rev() {
        rows.sort_by(|one, other| {
            let order = compare(key, one, other);
            if *direction == Direction::Descending { order.reverse() } else { order }
        });
    }
    let start = match &page.marker {
        None => 0,
        Some(marker) => rows.iter().position(|row| id(row) == *marker)? + 1,
    };
    let skip = start.saturating_add(usize::try_from(page.offset).unwrap_or(usize::MAX));
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    Some(rows.into_iter().skip(skip).take(limit).collect())
}

/// The next link, when the page is full and not empty.
pub fn next_href(
    query: &Query,
    links: &Links,
    path: &str,
    limit: u64,
    rows: usize,
    last: Option<String>,
) -> Option<String> {
    let last = last?;
    (rows as u64 >= limit).then(|| format!("{}?{}", links.href(path), query.with("marker", &last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns =
        Columns { aliases: &[("name", "display_name")], sortable: &["id", "created_at", "display_name", "size"] };

    fn query(text: &str) -> Query {
        Query::parse(text).unwrap()
    }

    #[test]
    fn limits_and_offsets() {
        type Expected<'a> = Result<(u64, u64), &'a str>;
        let cases: &[(&str, Expected<'_>)] = &[
            ("", Ok((1000, 0))),
            ("limit=0", Ok((0, 0))),
            ("limit=5&offset=3", Ok((5, 3))),
            ("limit=1001", Ok((1000, 0))),
            ("limit=99999999999999999999999", Ok((1000, 0))),
            ("limit=-0", Ok((0, 0))),
            ("limit=", Err("limit param must be an integer")),
            ("limit=1.5", Err("limit param must be an integer")),
            ("limit=x", Err("limit param must be an integer")),
            ("limit=-1", Err("limit param must be positive")),
            ("offset=-1", Err("offset must be >= 0")),
            ("offset=x", Err("offset must be an integer")),
            ("offset=2147483647", Ok((1000, 2_147_483_647))),
            ("offset=2147483648", Err("offset must be <= 2147483647")),
            ("offset=99999999999999999999999", Err("offset must be <= 2147483647")),
        ];
        for (text, expected) in cases {
            let found = paging(&query(text), &COLUMNS).map(|paging| (paging.limit, paging.offset));
            let expected = (*expected).map_err(|text| Problem::BadRequest(text.to_owned()));
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn sorts() {
        use Direction::{Ascending as Asc, Descending as Desc};
        type Keys<'a> = &'a [(&'a str, Direction)];
        let bad_key = || Problem::InvalidInput("Invalid sort key".to_owned());
        let bad_dir = || Problem::InvalidInput("Unknown sort direction, must be 'desc' or 'asc'.".to_owned());
        let cases: &[(&str, Result<Keys, Problem>)] = &[
            ("", Ok(&[("created_at", Desc), ("id", Desc)])),
            ("sort=name", Ok(&[("display_name", Desc), ("created_at", Desc), ("id", Desc)])),
            ("sort=size:asc,name:desc", Ok(&[("size", Asc), ("display_name", Desc), ("created_at", Asc), ("id", Asc)])),
            ("sort=id:asc", Ok(&[("id", Asc), ("created_at", Asc)])),
            ("sort=size,size:asc", Ok(&[("size", Desc), ("created_at", Desc), ("id", Desc)])),
            ("sort_key=size", Ok(&[("size", Desc), ("created_at", Desc), ("id", Desc)])),
            ("sort_dir=asc", Ok(&[("created_at", Asc), ("id", Asc)])),
            ("sort=", Err(bad_key())),
            ("sort=nope", Err(bad_key())),
            ("sort_key=nope", Err(bad_key())),
            ("sort=size:up", Err(bad_dir())),
            ("sort_dir=up", Err(bad_dir())),
        ];
        for (text, expected) in cases {
            let found = sort(&query(text), &COLUMNS);
            let expected = expected
                .clone()
                .map(|keys| keys.iter().map(|(key, dir)| ((*key).to_owned(), *dir)).collect::<Vec<_>>());
            assert_eq!(found, expected, "{text:?}");
        }
        for text in ["sort=size&sort_key=id", "sort=size&sort_dir=asc"] {
            assert!(matches!(sort(&query(text), &COLUMNS), Err(Problem::BadRequest(_))), "{text}");
        }
    }

    #[test]
    fn the_next_link_is_there_when_the_page_is_full() {
        let links = Links { base: "http://h".to_owned(), service: "/v3", project: None };
        let href = |limit, rows, last: Option<&str>| {
            next_href(&query("limit=2&marker=old"), &links, "volumes", limit, rows, last.map(str::to_owned))
        };
        assert_eq!(href(2, 2, Some("x")).as_deref(), Some("http://h/v3/volumes?limit=2&marker=x"));
        assert_eq!(href(3, 2, Some("x")), None);
        assert_eq!(href(0, 0, None), None);
    }
}
