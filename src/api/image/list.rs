//! Lists of images: filters, order and pages. All images are in memory, and there are not many.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::{Value, json};

use super::fault::Fault;
use super::view;
use crate::api::call::url_id;
use crate::api::percent;
use crate::api::query::{PARAMETERS_MAX, word};
use crate::api::views::time;
use crate::domain::ids::ImageId;
use crate::domain::time::Timestamp;
use crate::images::{Image, ImageCaller, Visibility};

/// The page of a client that names none, and the largest one.
const LIMIT_DEFAULT: usize = 25;
const LIMIT_MAX: usize = 1000;

/// What can be sorted by.
const SORTABLE: [&str; 8] =
    ["name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at"];

/// What a client asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    filters: Vec<Filter>,
    visibility: Option<Visible>,
    /// Hidden images, or the others.
    hidden: bool,
    /// Keys and whether each is descending.
    sort: Vec<(&'static str, bool)>,
    limit: usize,
    marker: Option<ImageId>,
    /// The query without the marker, for links.
    query: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visible {
    All,
    As(Visibility),
}

/// One condition.
#[derive(Debug)]
enum Filter {
    /// A member or property has one of these values.
    Is(String, Vec<String>),
    Protected(bool),
    Tag(String),
    SizeMin(u64),
    SizeMax(u64),
    /// An instant compares so with this one.
    Created(Comparison, Timestamp),
    Updated(Comparison, Timestamp),
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Eq,
    Neq,
    Gt,
    Gte,
    Lt,
    Lte,
}

impl Comparison {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Eq => ordering.is_eq(),
            Self::Neq => ordering.is_ne(),
            Self::Gt => ordering.is_gt(),
            Self::Gte => ordering.is_ge(),
            Self::Lt => ordering.is_lt(),
            Self::Lte => ordering.is_le(),
        }
    }
}

impl Wanted {
    /// Reads a query.
    pub(super) fn parse(query: &str) -> Result<Self, Fault> {
        let pairs: Vec<(String, String)> = query
            .split('&')
            .filter(|part| !part.is_empty())
            .map(|part| part.split_once('=').unwrap_or((part, "")))
            .map(|(name, value)| (percent::decode_query(name), percent::decode_query(value)))
            .collect();
        if pairs.len() > PARAMETERS_MAX {
            return Err(Fault::new(400, format!("More than {PARAMETERS_MAX} query parameters.")));
        }
        let mut wanted = Self {
            filters: Vec::new(),
            visibility: None,
            hidden: false,
            sort: sort(&pairs)?,
            limit: LIMIT_DEFAULT,
            marker: None,
            query: String::new(),
        };
        for (name, value) in &pairs {
            match name.as_str() {
                "sort" | "sort_key" | "sort_dir" | "member_status" => {}
                "limit" => wanted.limit = limit(value)?,
                "marker" => wanted.marker = Some(marker(value)?),
                "visibility" => wanted.visibility = Some(visible(value)?),
                "os_hidden" => wanted.hidden = flag(name, value)?,
                _ => wanted.filters.push(filter(name, value)?),
            }
        }
        let without_marker = pairs.iter().filter(|(name, _)| name != "marker");
        let coded = without_marker.map(|(name, value)| format!("{}={}", percent::encode(name), percent::encode(value)));
        wanted.query = coded.collect::<Vec<_>>().join("&");
        Ok(wanted)
    }

    /// The page of it that these images make.
    pub(super) fn page(&self, caller: &ImageCaller, mut images: Vec<Arc<Image>>) -> Result<Value, Fault> {
        let marker = match self.marker {
            None => None,
            Some(id) => {
                let found = images.iter().find(|image| image.id == id).cloned();
                Some(found.ok_or_else(|| Fault::new(400, format!("No image found with ID {id}")))?)
            }
        };
        images.retain(|image| self.takes(caller, image));
        images.sort_by(|left, right| self.order(left, right));
        let after = |image: &&Arc<Image>| marker.as_ref().is_none_or(|marker| self.order(marker, image).is_lt());
        let page: Vec<&Arc<Image>> = images.iter().filter(after).take(self.limit).collect();
        let link =
            |query: String| if query.is_empty() { "/v2/images".to_owned() } else { format!("/v2/images?{query}") };
        let mut body = json!({
            "images": page.iter().map(|image| view::image(image)).collect::<Vec<_>>(),
            "schema": "/v2/schemas/images",
            "first": link(self.query.clone()),
        });
        if let Some(last) = page.last().filter(|_| page.len() == self.limit) {
            let separator = if self.query.is_empty() { "" } else { "&" };
            body["next"] = json!(link(format!("{}{separator}marker={}", self.query, last.id)));
        }
        Ok(body)
    }

    fn takes(&self, caller: &ImageCaller, image: &Image) -> bool {
        let is_visible = match self.visibility {
            None => caller.lists(image),
            Some(Visible::All) => true,
            Some(Visible::As(visibility)) => image.visibility == visibility,
        };
        is_visible && image.hidden == self.hidden && self.filters.iter().all(|filter| filter.takes(image))
    }

    fn order(&self, left: &Image, right: &Image) -> Ordering {
        let by_key = self.sort.iter().map(|(key, is_descending)| {
            let ordering = compare(key, left, right);
            if *is_descending { ordering.reverse() } else { ordering }
        });
        by_key.fold(Ordering::Equal, Ordering::then)
    }
}

fn compare(key: &str, left: &Image, right: &Image) -> Ordering {
    match key {
        "name" => left.name.cmp(&right.name),
        "status" => left.status.as_str().cmp(right.status.as_str()),
        "container_format" => left.container_format.cmp(&right.container_format),
        "disk_format" => left.disk_format.cmp(&right.disk_format),
        "size" => left.size.cmp(&right.size),
        "created_at" => left.created_at.cmp(&right.created_at),
        "updated_at" => left.updated_at.cmp(&right.updated_at),
        _ => left.id.cmp(&right.id),
    }
}

impl Filter {
    fn takes(&self, image: &Image) -> bool {
        match self {
            Self::Is(name, values) => member(image, name).is_some_and(|found| values.contains(&found)),
            Self::Protected(wanted) => image.protected == *wanted,
            Self::Tag(tag) => image.tags.contains(tag),
            Self::SizeMin(bytes) => image.size.is_some_and(|size| size >= *bytes),
            Self::SizeMax(bytes) => image.size.is_some_and(|size| size <= *bytes),
            Self::Created(comparison, at) => comparison.holds(whole_seconds(image.created_at).cmp(&whole_seconds(*at))),
            Self::Updated(comparison, at) => comparison.holds(whole_seconds(image.updated_at).cmp(&whole_seconds(*at))),
        }
    }
}

/// Clients see whole seconds, and ask for what they have seen.
fn whole_seconds(at: Timestamp) -> i64 {
    at.0.div_euclid(1_000_000)
}

/// A member as clients write it in a filter.
fn member(image: &Image, name: &str) -> Option<String> {
    match name {
        "id" => Some(image.id.to_string()),
        "name" => image.name.clone(),
        "status" => Some(image.status.as_str().to_owned()),
        "owner" => image.owner.as_ref().map(ToString::to_string),
        "disk_format" => image.disk_format.clone(),
        "container_format" => image.container_format.clone(),
        "checksum" => image.checksum.clone(),
        "os_hash_algo" => image.os_hash_algo.clone(),
        "os_hash_value" => image.os_hash_value.clone(),
        "size" => image.size.map(|bytes| bytes.to_string()),
        "min_disk" => Some(image.min_disk.to_string()),
        "min_ram" => Some(image.min_ram.to_string()),
        _ => image.properties.get(name).cloned(),
    }
}

fn filter(name: &str, value: &str) -> Result<Filter, Fault> {
    Ok(match name {
        "protected" => Filter::Protected(flag(name, value)?),
        "tag" => Filter::Tag(value.to_owned()),
        "size_min" => Filter::SizeMin(bytes(value)?),
        "size_max" => Filter::SizeMax(bytes(value)?),
        "created_at" | "updated_at" => {
            let (comparison, at) = instant(name, value)?;
            if name == "created_at" { Filter::Created(comparison, at) } else { Filter::Updated(comparison, at) }
        }
        "id" | "name" | "status" | "container_format" | "disk_format" => match value.strip_prefix("in:") {
            Some(list) => Filter::Is(name.to_owned(), split_list(list)?),
            None => Filter::Is(name.to_owned(), vec![value.strip_prefix("eq:").unwrap_or(value).to_owned()]),
        },
        _ => Filter::Is(name.to_owned(), vec![value.to_owned()]),
    })
}

/// `a,"b,c",d`
fn split_list(list: &str) -> Result<Vec<String>, Fault> {
    let bad = || Fault::new(400, format!("Invalid filter value {list}. The quote is not closed."));
    let mut values = Vec::new();
    let mut rest = list;
    loop {
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').map(|(value, after)| (value, after)).ok_or_else(bad)?,
            None => rest.find(',').map_or((rest, ""), |at| rest.split_at(at)),
        };
        values.push(value.to_owned());
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(values),
            None => return Err(bad()),
        }
    }
}

fn instant(name: &str, value: &str) -> Result<(Comparison, Timestamp), Fault> {
    const WORDS: [(&str, Comparison); 6] = [
        ("gte", Comparison::Gte),
        ("gt", Comparison::Gt),
        ("lte", Comparison::Lte),
        ("lt", Comparison::Lt),
        ("neq", Comparison::Neq),
        ("eq", Comparison::Eq),
    ];
    let operator = value.split_once(':').and_then(|(word, rest)| {
        WORDS.iter().find(|(known, _)| *known == word).map(|(_, comparison)| (*comparison, rest))
    });
    let (comparison, text) = operator.unwrap_or((Comparison::Eq, value));
    let at = time::parse(text).ok_or_else(|| Fault::new(400, format!("Invalid time format for {name}.")))?;
    Ok((comparison, at))
}

fn sort(pairs: &[(String, String)]) -> Result<Vec<(&'static str, bool)>, Fault> {
    let of = |name: &'static str| pairs.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str());
    let (keys, directions): (Vec<&str>, Vec<&str>) = (of("sort_key").collect(), of("sort_dir").collect());
    let mut sort: Vec<(&'static str, bool)> = Vec::new();
    let mut add = |key: &str, direction: &str| {
        let known = SORTABLE.iter().find(|known| **known == key.trim()).ok_or_else(|| {
            let known = SORTABLE.join(", ");
            Fault::new(400, format!("Invalid sort key: {key}. It must be one of the following: {known}."))
        })?;
        let is_descending = match direction.trim() {
            "asc" => false,
            "desc" => true,
            _ => return Err(Fault::new(400, format!("Invalid sort direction: {direction}"))),
        };
        if sort.iter().all(|(seen, _)| seen != known) {
            sort.push((known, is_descending));
        }
        Ok(())
    };
    match of("sort").last() {
        Some(_) if !keys.is_empty() || !directions.is_empty() => {
            return Err(Fault::new(400, "Old and new sorting syntax cannot be combined"));
        }
        Some(list) => {
            for element in list.split(',') {
                let (key, direction) = element.trim().split_once(':').unwrap_or((element.trim(), "desc"));
                add(key, direction)?;
            }
        }
        None => {
            if directions.len() > 1 && directions.len() != keys.len() {
                return Err(Fault::new(400, "Number of sort dirs does not match the number of sort keys"));
            }
            let first = directions.first().copied().unwrap_or("desc");
            if keys.is_empty() {
                add("created_at", first)?;
            }
            for (index, key) in keys.iter().enumerate() {
                add(key, directions.get(index).copied().unwrap_or(first))?;
            }
        }
    }
    let is_descending = sort.first().is_none_or(|(_, is_descending)| *is_descending);
    for key in ["created_at", "id"] {
        if sort.iter().all(|(seen, _)| *seen != key) {
            sort.push((key, is_descending));
        }
    }
    Ok(sort)
}

fn limit(value: &str) -> Result<usize, Fault> {
    match value.trim().parse::<i64>() {
        Ok(number) if number < 0 => Err(Fault::new(400, "limit param must be positive")),
        Ok(number) => Ok(usize::try_from(number).unwrap_or(LIMIT_MAX).min(LIMIT_MAX)),
        Err(_) => Err(Fault::new(400, "limit param must be an integer")),
    }
}

fn marker(value: &str) -> Result<ImageId, Fault> {
    url_id(value).map(ImageId).ok_or_else(|| Fault::new(400, format!("Invalid marker {value}")))
}

fn visible(value: &str) -> Result<Visible, Fault> {
    match value {
        "all" => Ok(Visible::All),
        _ => serde_json::from_value(json!(value))
            .map(Visible::As)
            .map_err(|_| Fault::new(400, format!("Invalid visibility value: {value}"))),
    }
}

fn flag(name: &str, value: &str) -> Result<bool, Fault> {
    word(value).ok_or_else(|| {
        Fault::new(
            400,
            format!("Invalid value '{value}' for '{name}' filter. Valid values are case sensitive 'true' or 'false'."),
        )
    })
}

fn bytes(value: &str) -> Result<u64, Fault> {
    value.trim().parse().map_err(|_| Fault::new(400, "Unable to filter on a range with a non-integer value."))
}
