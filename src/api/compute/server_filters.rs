//! The filters of `GET /servers` which are looked at one server at a time (nova-volume-attachments §8.2).

use regex::{Regex, RegexBuilder};

use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::query::word;
use crate::api::views::flavor::Flavor;
use crate::api::views::time;
use crate::domain::server::Server;
use crate::domain::time::Timestamp;

/// Largest compiled regular expression, bytes.
const REGEX_MAX: usize = 64 * 1024;

/// Filters that everybody has at every version, and paging.
const ALWAYS: &[&str] = &[
    "limit",
    "marker",
    "sort_key",
    "sort_dir",
    "all_tenants",
    "name",
    "status",
    "uuid",
    "project_id",
    "tenant_id",
    "deleted",
    "changes-since",
    "host",
    "ip",
    "ip6",
    "flavor",
    "image",
    "reservation_id",
    "user_id",
    "vm_state",
    "task_state",
    "power_state",
    "availability_zone",
    "key_name",
    "config_drive",
    "launched_at",
    "terminated_at",
    "created_at",
    "progress",
    "description",
];

/// Filters by the version that has brought them.
const SINCE: &[(u32, &[&str])] =
    &[(26, &["tags", "tags-any", "not-tags", "not-tags-any"]), (66, &["changes-before"]), (73, &["locked"])];

/// From this version on members may use filters that were the administrators' before.
const FOR_MEMBERS: u32 = 83;

/// Refuses what is no filter; before 2.75 it is not looked at.
pub fn refuse_unknown(call: &Call) -> Result<(), Problem> {
    if !call.compute_since(75) {
        return Ok(());
    }
    let is_known = |name: &str| {
        ALWAYS.contains(&name) || SINCE.iter().any(|(since, names)| call.compute_since(*since) && names.contains(&name))
    };
    super::only(call, is_known)
}

/// What a server must be like.
#[derive(Default)]
pub struct Filters {
    name: Option<Regex>,
    id: Option<String>,
    host: Option<String>,
    user_id: Option<String>,
    availability_zone: Option<String>,
    locked: Option<bool>,
    flavor: Option<String>,
    changed_since: Option<Timestamp>,
    changed_before: Option<Timestamp>,
    /// It is asked for what no server here has.
    pub nothing: bool,
}

impl Filters {
    /// Reads them.
    pub fn of(call: &Call) -> Result<Self, Problem> {
        let text = |name: &str| call.query.get(name);
        // Members may name the others, and they mean nothing for them.
        let of_admin = |name: &str| text(name).filter(|_| call.context.is_admin).map(str::to_owned);
        let for_members = |name: &str| {
            text(name).filter(|_| call.context.is_admin || call.compute_since(FOR_MEMBERS)).map(str::to_owned)
        };
        let name = match text("name") {
            None => None,
            Some(text) => Some(
                RegexBuilder::new(text)
                    .size_limit(REGEX_MAX)
                    .build()
                    .map_err(|_| refused("name", text, &format!("'{text}' is not a 'regex'")))?,
            ),
        };
        let locked = match text("locked").filter(|_| call.compute_since(73)) {
            None => None,
            Some(text) => Some(word(text).ok_or_else(|| refused("locked", text, "it is not a boolean"))?),
        };
        let is_since = |since| call.compute_since(since);
        let instant = |name: &str| match text(name) {
            None => Ok(None),
            Some(text) => match time::parse(text) {
                Some(at) => Ok(Some(at)),
                None => Err(refused(name, text, &format!("'{text}' is not a 'date-time'"))),
            },
        };
        let tagged = is_since(26) && ["tags", "tags-any"].iter().any(|name| text(name).is_some());
        let unheard = ["ip", "image"].iter().any(|name| text(name).is_some_and(|value| !value.is_empty()));
        Ok(Self {
            name,
            id: of_admin("uuid"),
            host: of_admin("host"),
            user_id: for_members("user_id"),
            availability_zone: for_members("availability_zone"),
            locked,
            flavor: text("flavor").map(str::to_owned),
            changed_since: instant("changes-since")?,
            changed_before: if is_since(66) { instant("changes-before")? } else { None },
            // servers here have no addresses, images or tags
            nothing: tagged || unheard,
        })
    }

    /// Whether `server` is meant.
    pub fn matches(&self, server: &Server) -> bool {
        let changed_at = server.updated_at.unwrap_or(server.created_at);
        self.name.as_ref().is_none_or(|name| name.is_match(&server.name))
            && self.id.as_ref().is_none_or(|id| server.id.as_str() == id)
            && self.host.as_ref().is_none_or(|host| server.host.as_ref() == Some(host))
            && self.user_id.as_ref().is_none_or(|user| server.user_id.as_str() == user)
            && self.availability_zone.as_ref().is_none_or(|zone| server.availability_zone == *zone)
            && self.locked.is_none_or(|locked| server.locked == locked)
            && self.flavor.as_ref().is_none_or(|flavor| Flavor::of(server).id == flavor)
            && self.changed_since.is_none_or(|since| changed_at >= since)
            && self.changed_before.is_none_or(|before| changed_at <= before)
    }
}

fn refused(name: &str, value: &str, reason: &str) -> Problem {
    Problem::BadRequest(format!("Invalid input for query parameters {name}. Value: {value}. {reason}"))
}
