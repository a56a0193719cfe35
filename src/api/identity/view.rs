//! What clients see of users, projects, roles, application credentials and tokens.

use serde_json::{Map, Value, json};

use crate::api::views::time;
use crate::domain::time::Timestamp;
use crate::identity::local::{ApplicationCredential, DOMAIN_ID, DOMAIN_NAME, Directory, Project, Role, User, Valid};

/// The version document.
pub(super) fn version(base: &str) -> Value {
    json!({
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": format!("{base}/identity/v3/")}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    })
}

/// An instant in a token.
fn instant(at: Timestamp) -> String {
    time::micros(at) + "Z"
}

fn domain_of() -> Value {
    json!({"id": DOMAIN_ID, "name": DOMAIN_NAME})
}

/// A token. `catalog`: none, it is not asked for.
pub(super) fn token(valid: &Valid, directory: &Directory, catalog: Option<Value>) -> Value {
    let claims = &valid.claims;
    let mut token = Map::new();
    let mut put = |name: &str, value: Value| token.insert(name.to_owned(), value);
    put("methods", json!(claims.methods));
    put(
        "user",
        json!({"id": valid.user.id, "name": valid.user.name, "domain": domain_of(), "password_expires_at": null}),
    );
    put("audit_ids", json!([claims.audit_id]));
    put("expires_at", json!(instant(claims.expires_at)));
    put("issued_at", json!(instant(claims.issued_at)));
    if let Some(project) = &valid.project {
        put("project", json!({"id": project.id, "name": project.name, "domain": domain_of()}));
        put("is_domain", json!(false));
        let role = |name: &String| {
            let id = directory.role(name).map_or(name, |role| &role.id);
            json!({"id": id, "name": name})
        };
        put("roles", valid.roles.iter().map(role).collect());
        if let Some(catalog) = catalog {
            put("catalog", catalog);
        }
    }
    if let Some(one) = &valid.application_credential {
        put("application_credential", json!({"id": one.id, "name": one.name, "restricted": true}));
    }
    json!({ "token": token })
}

fn own_link(base: &str, collection: &str, id: &str) -> Value {
    json!({"self": format!("{base}/identity/v3/{collection}/{id}")})
}

/// A user.
pub(super) fn user(user: &User, base: &str) -> Value {
    let mut view = json!({
        "id": user.id, "name": user.name, "domain_id": DOMAIN_ID, "enabled": user.enabled,
        "password_expires_at": null, "options": {}, "links": own_link(base, "users", &user.id),
    });
    if let Some(project) = &user.default_project {
        view["default_project_id"] = json!(project);
    }
    view
}

/// A project.
pub(super) fn project(project: &Project, base: &str) -> Value {
    json!({
        "id": project.id, "name": project.name, "domain_id": DOMAIN_ID, "parent_id": DOMAIN_ID, "is_domain": false,
        "description": project.description, "enabled": project.enabled, "tags": [], "options": {},
        "links": own_link(base, "projects", &project.id),
    })
}

/// A role.
pub(super) fn role(role: &Role, base: &str) -> Value {
    json!({
        "id": role.id, "name": role.name, "domain_id": null, "description": null, "options": {},
        "links": own_link(base, "roles", &role.id),
    })
}

/// The one domain.
pub(super) fn domain(base: &str) -> Value {
    json!({
        "id": DOMAIN_ID, "name": DOMAIN_NAME, "description": "The default domain", "enabled": true, "tags": [],
        "options": {}, "links": own_link(base, "domains", DOMAIN_ID),
    })
}

/// An application credential; `secret` is shown once, when it is made.
pub(super) fn application_credential(
    one: &ApplicationCredential,
    directory: &Directory,
    base: &str,
    secret: Option<&str>,
) -> Value {
    let role = |name: &String| {
        let id = directory.role(name).map_or(name, |role| &role.id);
        json!({"id": id, "name": name, "domain_id": null})
    };
    let mut view = json!({
        "id": one.id, "name": one.name, "user_id": one.user, "project_id": one.project, "system": null,
        "description": if one.description.is_empty() { Value::Null } else { json!(one.description) },
        "roles": one.roles.iter().map(role).collect::<Vec<_>>(),
        "expires_at": one.expires_at.map(time::micros), "unrestricted": false,
        "links": own_link(base, &format!("users/{}/application_credentials", one.user), &one.id),
    });
    if let Some(secret) = secret {
        view["secret"] = json!(secret);
    }
    view
}

/// A whole list: there is always one page.
pub(super) fn list(name: &str, rows: Vec<Value>, base: &str, path: &str) -> Value {
    let own = format!("{base}/identity{path}");
    json!({name: rows, "links": {"next": null, "previous": null, "self": own}})
}
