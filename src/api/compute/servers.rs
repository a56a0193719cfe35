//! `/servers` (nova-volume-attachments §8.2).

use serde_json::{Value, json};

use super::server_filters::{self, Filters};
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::{Kind, Problem};
use crate::api::paging::{self, ListBody};
use crate::api::query::word;
use crate::api::views::server as view;
use crate::domain::attachment::mapped;
use crate::domain::ids::{ProjectId, ServerId};
use crate::domain::server::Server;
use crate::domain::status::VmState;
use crate::rule;
use crate::store::{ListError, ServerQuery};

/// Rows read at once while a name is searched for.
const BATCH: u64 = 1000;
const SORT_KEYS: &[&str] = &[
    "created_at",
    "display_name",
    "uuid",
    "host",
    "updated_at",
    "vm_state",
    "task_state",
    "locked",
    "project_id",
    "user_id",
    "launched_at",
    "root_device_name",
    "availability_zone",
];

/// A live server that the caller sees; else 404.
pub async fn server_visible(call: &Call, id: &str) -> Result<Server, Problem> {
    server_seen(call, id).await?.ok_or_else(|| Problem::NotFound(Kind::Server, id.to_owned()))
}

/// A live server, if the caller sees it.
pub(super) async fn server_seen(call: &Call, id: &str) -> Result<Option<Server>, Problem> {
    let found = call.service().store().server_get(ServerId::from(id)).await?;
    Ok(found.filter(|server| !server.deleted && call.context.sees(&server.project_id)))
}

/// `GET /servers/{id}`
pub async fn server_show(call: &Call, id: &str) -> Result<Answer, Problem> {
    let server = match server_seen(call, id).await? {
        Some(server) => server,
        None => server_ending(call, id).await?,
    };
    call.enforce(rule!("os_compute_api:servers:show"), &server)?;
    Ok(Answer::ok(json!({"server": detail(call, &server, true).await?})))
}

/// A simulated server that is deleted is shown until it has let its volumes go, so that whoever waits for its end finds them free; else
/// 404.
async fn server_ending(call: &Call, id: &str) -> Result<Server, Problem> {
    let store = call.service().store();
    let found = store.server_record(ServerId::from(id)).await?;
    let ended = found.filter(|server| server.deleted && server.is_simulated() && call.context.sees(&server.project_id));
    let missing = || Problem::NotFound(Kind::Server, id.to_owned());
    let server = ended.ok_or_else(missing)?;
    if store.server_attachments(server.id.clone()).await?.is_empty() {
        return Err(missing());
    }
    Ok(Server { task_state: Some("deleting".to_owned()), ..server })
}

async fn detail(call: &Call, server: &Server, is_show: bool) -> Result<Value, Problem> {
    let rows = mapped(call.service().store().server_attachments(server.id.clone()).await?);
    Ok(view::detail(server, &rows, call.version, call.context.is_admin, is_show, &call.links))
}

/// What a list asks for.
struct Wanted {
    project: Option<ProjectId>,
    states: Vec<VmState>,
    filters: Filters,
    limit: usize,
    marker: Option<ServerId>,
    /// A sort that is not "newest first", with whether it ascends.
    sort: Option<(String, bool)>,
    nothing: bool,
}

/// `GET /servers[/detail]`
pub async fn server_list(call: &Call, is_detail: bool) -> Result<Answer, Problem> {
    let wanted = wanted(call)?;
    let rule = if is_detail { rule!("os_compute_api:servers:detail") } else { rule!("os_compute_api:servers:index") };
    call.enforce_own(rule)?;
    let servers = if wanted.nothing || wanted.limit == 0 { Vec::new() } else { servers(call, &wanted).await? };
    let last = servers.last().map(|server| server.id.to_string());
    let path = if is_detail { "servers/detail" } else { "servers" };
    let limit = u64::try_from(wanted.limit).unwrap_or(u64::MAX);
    let next = paging::next_href(&call.query, &call.links, path, limit, servers.len(), last);
    let mut rows = Vec::with_capacity(servers.len());
    for server in &servers {
        rows.push(if is_detail { detail(call, server, false).await? } else { view::summary(server, &call.links) });
    }
    Ok(Answer::ok(ListBody { names: ("servers", "servers_links"), rows, next, count: None }))
}

/// The page. The store gives "newest first"; a search by name or another order reads on in batches.
async fn servers(call: &Call, wanted: &Wanted) -> Result<Vec<Server>, Problem> {
    let mut found = Vec::new();
    let mut marker = if wanted.sort.is_some() { None } else { wanted.marker.clone() };
    loop {
        let query = ServerQuery {
            project_id: wanted.project.clone(),
            vm_states: wanted.states.clone(),
            marker: marker.clone(),
            limit: BATCH,
        };
        let page = call.service().store().server_list(query).await.map_err(marker_fault)?;
        let is_last = (page.rows.len() as u64) < BATCH;
        marker = page.rows.last().map(|server| server.id.clone());
        found.extend(page.rows.into_iter().filter(|server| wanted.filters.matches(server)));
        if is_last || (wanted.sort.is_none() && found.len() >= wanted.limit) {
            break;
        }
    }
    if let Some((key, ascending)) = &wanted.sort {
        // Stable, on rows that are newest first.
        found.sort_by(|a, b| {
            let order = sort_value(a, key).cmp(&sort_value(b, key));
            if *ascending { order } else { order.reverse() }
        });
        if let Some(marker) = &wanted.marker {
            let at = found.iter().position(|server| server.id == *marker);
            let at = at.ok_or_else(|| marker_fault(ListError::MarkerNotFound(marker.to_string())))?;
            found.drain(..=at);
        }
    }
    found.truncate(wanted.limit);
    Ok(found)
}

fn sort_value(server: &Server, key: &str) -> String {
    let time = |at: Option<crate::domain::time::Timestamp>| at.map(|at| format!("{:020}", at.0)).unwrap_or_default();
    match key {
        "created_at" => time(Some(server.created_at)),
        "updated_at" => time(server.updated_at),
        "launched_at" => time(server.launched_at),
        "display_name" => server.name.clone(),
        "host" => server.host.clone().unwrap_or_default(),
        "vm_state" => server.vm_state.as_str().to_owned(),
        "task_state" => server.task_state.clone().unwrap_or_default(),
        "locked" => server.locked.to_string(),
        "project_id" => server.project_id.to_string(),
        "user_id" => server.user_id.to_string(),
        "root_device_name" => server.root_device_name.clone(),
        "availability_zone" => server.availability_zone.clone(),
        _ => server.id.to_string(),
    }
}

/// Compute answers 400 for an unknown marker, unlike Block Storage.
pub(super) fn marker_fault(error: ListError) -> Problem {
    match error {
        ListError::MarkerNotFound(marker) => Problem::BadRequest(format!("marker [{marker}] not found")),
        other => Problem::List(Kind::Server, other),
    }
}

fn wanted(call: &Call) -> Result<Wanted, Problem> {
    let query = &call.query;
    let parameter = |name: &str, value: &str, reason: String| {
        Problem::BadRequest(format!("Invalid input for query parameters {name}. Value: {value}. {reason}"))
    };
    server_filters::refuse_unknown(call)?;
    let limit = super::volume_attachments::digits(query, "limit")?;
    let filters = Filters::of(call)?;
    let everybody = match query.get("all_tenants") {
        None => false,
        Some("") => true,
        Some(text) => word(text).ok_or_else(|| parameter("all_tenants", text, format!("'{text}' is not a boolean")))?,
    };
    if everybody {
        call.enforce_own(rule!("os_compute_api:servers:index:get_all_tenants"))?;
    }
    let of_project = query.get("project_id").or_else(|| query.get("tenant_id")).filter(|_| everybody);
    let (states, nothing) = states(call)?;
    Ok(Wanted {
        project: match (everybody, of_project) {
            (true, Some(project)) => Some(ProjectId::from(project)),
            (true, None) => None,
            (false, _) => Some(call.context.project_id.clone()),
        },
        states,
        nothing: nothing || filters.nothing,
        filters,
        limit: limit.map_or(1000, |limit| usize::try_from(limit.min(paging::LIMIT_MAX)).unwrap_or(1000)),
        marker: query.get("marker").map(ServerId::from),
        sort: sort(call)?,
    })
}

/// The states behind the words `status` and `vm_state`, and whether nothing can match.
fn states(call: &Call) -> Result<(Vec<VmState>, bool), Problem> {
    let known = |matches: &dyn Fn(VmState) -> bool| -> Vec<VmState> {
        VmState::ALL.iter().copied().filter(|state| matches(*state)).collect()
    };
    let mut states = Vec::new();
    let mut nothing = false;
    if let Some(text) = call.query.get("status") {
        states = known(&|state| view::status(state).eq_ignore_ascii_case(text));
        if states.is_empty() {
            if call.compute_since(38) {
                return Err(Problem::BadRequest("Invalid status value".to_owned()));
            }
            nothing = true;
        }
    }
    if let Some(text) = call.query.get("vm_state").filter(|_| call.context.is_admin) {
        let named = known(&|state| state.as_str() == text);
        states = if call.query.get("status").is_some() {
            states.into_iter().filter(|state| named.contains(state)).collect()
        } else {
            named
        };
        nothing |= states.is_empty();
    }
    Ok((states, nothing))
}

/// None is "newest first".
fn sort(call: &Call) -> Result<Option<(String, bool)>, Problem> {
    let key = call.query.get("sort_key");
    let dir = call.query.get("sort_dir");
    if let Some(key) = key.filter(|key| !SORT_KEYS.contains(key)) {
        return Err(Problem::BadRequest(format!(
            "Invalid input for query parameters sort_key. Value: {key}. '{key}' is not one of the sort keys"
        )));
    }
    let ascending = match dir {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(dir) => {
            return Err(Problem::BadRequest(format!(
                "Invalid input for query parameters sort_dir. Value: {dir}. '{dir}' does not match '^(asc|desc)$'"
            )));
        }
    };
    match (key.unwrap_or("created_at"), ascending) {
        ("created_at", false) => Ok(None),
        (key, ascending) => Ok(Some((key.to_owned(), ascending))),
    }
}
