//! What is read: users, projects, roles, domains, the catalog.

use actix_web::HttpResponse;
use serde_json::{Value, json};

use super::fault::Fault;
use super::route::Resource;
use super::{Asked, answered, catalog, view};
use crate::identity::local::{DOMAIN_ID, DOMAIN_NAME, Project};

/// Answers a GET.
pub(super) fn get(asked: &Asked<'_>, resource: &Resource) -> Result<HttpResponse, Fault> {
    let (base, directory) = (asked.base.as_str(), &asked.directory);
    let records = directory.records();
    let list = |name: &str, rows: Vec<Value>| Ok(answered(200, &view::list(name, rows, base, path(asked))));
    let projects = |found: Vec<&Project>| found.into_iter().map(|project| view::project(project, base)).collect();
    match resource {
        Resource::Catalog => {
            let caller = asked.caller()?;
            let project = caller.project.ok_or_else(|| Fault::new(403, "The token is for no project."))?;
            list("catalog", as_rows(catalog::catalog(asked.catalog, base, &project.id)))
        }
        Resource::OwnProjects => {
            let caller = asked.caller()?;
            let bound = caller.application_credential.map(|one| one.project);
            let usable = |project: &&Project| project.enabled && bound.as_ref().is_none_or(|own| project.id == *own);
            list("projects", projects(directory.projects_of(&caller.user.id).filter(usable).collect()))
        }
        Resource::OwnDomains => {
            asked.caller()?;
            list("domains", Vec::new())
        }
        Resource::ProjectsOf(user) => {
            asked.admin_or(user, "identity:list_user_projects")?;
            directory.user(user).ok_or_else(|| Fault::missing("user", user))?;
            list("projects", projects(directory.projects_of(user).collect()))
        }
        Resource::Users => {
            asked.admin("identity:list_users")?;
            let users = records.users.iter().filter(|user| is_wanted(asked, &user.name, user.enabled));
            list("users", users.map(|user| view::user(user, base)).collect())
        }
        Resource::User(id) => {
            asked.admin_or(id, "identity:get_user")?;
            let user = directory.user(id).ok_or_else(|| Fault::missing("user", id))?;
            Ok(answered(200, &json!({"user": view::user(user, base)})))
        }
        Resource::Projects => {
            asked.admin("identity:list_projects")?;
            let found = records.projects.iter().filter(|project| is_wanted(asked, &project.name, project.enabled));
            list("projects", projects(found.collect()))
        }
        Resource::Project(id) => {
            let caller = asked.caller()?;
            if !caller.has_role("admin") && directory.roles_on(&caller.user.id, id).is_none() {
                return Err(Fault::forbidden("identity:get_project"));
            }
            let project = directory.project(id).ok_or_else(|| Fault::missing("project", id))?;
            Ok(answered(200, &json!({"project": view::project(project, base)})))
        }
        Resource::Roles => {
            asked.admin("identity:list_roles")?;
            let roles = records.roles.iter().filter(|role| is_wanted(asked, &role.name, true));
            list("roles", roles.map(|role| view::role(role, base)).collect())
        }
        Resource::Role(id) => {
            asked.admin("identity:get_role")?;
            let role = records.roles.iter().find(|role| role.id == *id).ok_or_else(|| Fault::missing("role", id))?;
            Ok(answered(200, &json!({"role": view::role(role, base)})))
        }
        Resource::Domains => {
            asked.admin("identity:list_domains")?;
            let is_wanted = is_wanted(asked, DOMAIN_NAME, true);
            list("domains", is_wanted.then(|| view::domain(base)).into_iter().collect())
        }
        Resource::Domain(id) => {
            asked.caller()?;
            if id != DOMAIN_ID {
                return Err(Fault::missing("domain", id));
            }
            Ok(answered(200, &json!({"domain": view::domain(base)})))
        }
        Resource::Assignments => assignments(asked),
        Resource::Services => {
            asked.admin("identity:list_services")?;
            list("services", catalog::services(asked.catalog, base))
        }
        Resource::Endpoints => {
            asked.admin("identity:list_endpoints")?;
            list("endpoints", catalog::endpoints(asked.catalog, base))
        }
        _ => Err(Fault::unrouted()),
    }
}

fn path<'a>(asked: &'a Asked<'_>) -> &'a str {
    asked.path.strip_prefix("/identity").unwrap_or_default()
}

fn as_rows(list: Value) -> Vec<Value> {
    match list {
        Value::Array(rows) => rows,
        _ => Vec::new(),
    }
}

/// The filters that every list of Keystone has.
fn is_wanted(asked: &Asked<'_>, name: &str, enabled: bool) -> bool {
    asked.query.get("name").is_none_or(|wanted| wanted == name)
        && asked.query.get("enabled").is_none_or(|wanted| wanted.eq_ignore_ascii_case("true") == enabled)
        && asked.query.get("domain_id").is_none_or(|wanted| wanted == DOMAIN_ID)
}

fn assignments(asked: &Asked<'_>) -> Result<HttpResponse, Fault> {
    let (user, project) = (asked.query.get("user.id"), asked.query.get("scope.project.id"));
    asked.admin_or(user.unwrap_or_default(), "identity:list_role_assignments")?;
    let directory = &asked.directory;
    let has_names = asked.query.get("include_names").is_some();
    let mut rows = Vec::new();
    for given in &directory.records().assignments {
        if user.is_some_and(|user| user != given.user) || project.is_some_and(|project| project != given.project) {
            continue;
        }
        for name in &given.roles {
            let (mut who, mut what) = (json!({"id": given.user}), json!({"id": given.project}));
            let mut role = json!({"id": directory.role(name).map_or(name, |role| &role.id)});
            if has_names {
                let domain = json!({"id": DOMAIN_ID, "name": DOMAIN_NAME});
                who["name"] = json!(directory.user(&given.user).map(|user| &user.name));
                who["domain"] = domain.clone();
                what["name"] = json!(directory.project(&given.project).map(|project| &project.name));
                what["domain"] = domain;
                role["name"] = json!(name);
            }
            rows.push(json!({"role": role, "user": who, "scope": {"project": what}, "links": {}}));
        }
    }
    Ok(answered(200, &view::list("role_assignments", rows, &asked.base, path(asked))))
}
