//! `/default-types` (3.62): the type of a project's volumes that name none (types-qos-encryption §6).

use serde_json::{Value, json};

use super::types::{Named, type_change, type_visible};
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::schema;
use crate::domain::ids::{ProjectId, VolumeTypeId};
use crate::policy::{Own, Rule, Target};
use crate::rule;
use crate::store::TypeChange;

fn enforce(call: &Call, rule: Rule, target: &dyn Target) -> Result<(), Problem> {
    if call.allows(rule, target) {
        Ok(())
    } else {
        Err(Problem::Forbidden("You are not authorized to perform this operation.".to_owned()))
    }
}

/// A project in a URL: as long as a project's id may be.
fn project_of(text: &str) -> Result<ProjectId, Problem> {
    if text.chars().count() <= schema::formats::TEXT_MAX && schema::formats::is_stored(text) {
        Ok(ProjectId::from(text))
    } else {
        Err(Problem::NotFoundText(format!("Project with id {text} not found.")))
    }
}

fn shown(project: &ProjectId, id: VolumeTypeId) -> Value {
    json!({"project_id": project, "volume_type_id": id})
}

/// `GET /default-types`
pub async fn default_list(call: &Call) -> Result<Answer, Problem> {
    enforce(call, rule!("volume_extension:default_get_all"), &Own(&call.context))?;
    let defaults = call.service().store().default_types().await?;
    let defaults: Vec<Value> = defaults.iter().map(|(project, id)| shown(project, *id)).collect();
    Ok(Answer::ok(json!({"default_types": defaults})))
}

/// `GET /default-types/{project}`
pub async fn default_show(call: &Call, project: &str) -> Result<Answer, Problem> {
    let project = project_of(project)?;
    enforce(call, rule!("volume_extension:default_get"), &project)?;
    let id = call.service().store().default_type(project.clone()).await?;
    let id = id.ok_or_else(|| Problem::NotFoundText(format!("Default type for project {project} not found.")))?;
    Ok(Answer::ok(json!({"default_type": shown(&project, id)})))
}

/// `PUT /default-types/{project}`
pub async fn default_set(call: &Call, project: &str) -> Result<Answer, Problem> {
    schema::DEFAULT_TYPE_SET.check(call.version, &call.body)?;
    let project = project_of(project)?;
    enforce(call, rule!("volume_extension:default_set_or_update"), &project)?;
    let wanted = call.body["default_type"]["volume_type"].as_str().unwrap_or_default();
    let unknown = || Problem::BadRequest(format!("Volume type {wanted} could not be found."));
    let row = match type_visible(call, Named::Any(wanted)).await {
        Err(Problem::NotFound(..)) => Err(unknown()),
        found => found,
    }?;
    let change = TypeChange::Default { project_id: project.clone(), volume_type_id: Some(row.id) };
    type_change(call, change).await?.map_err(|_| unknown())?;
    Ok(Answer::ok(json!({"default_type": shown(&project, row.id)})))
}

/// `DELETE /default-types/{project}`; also when there is none.
pub async fn default_unset(call: &Call, project: &str) -> Result<Answer, Problem> {
    let project = project_of(project)?;
    enforce(call, rule!("volume_extension:default_unset"), &project)?;
    let change = TypeChange::Default { project_id: project, volume_type_id: None };
    // there is nothing in it that could be refused
    let _ = type_change(call, change).await?;
    Ok(Answer::empty(204))
}
