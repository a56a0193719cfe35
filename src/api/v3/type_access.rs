//! Which projects may use a type that is not public (types-qos-encryption §2).

use serde_json::{Value, json};

use super::types::{Named, type_edit, type_visible};
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::schema;
use crate::domain::ids::ProjectId;
use crate::domain::volume_type::VolumeType;
use crate::rule;

/// The actions on types.
pub const ADD: &str = "addProjectAccess";
/// See [`ADD`].
pub const REMOVE: &str = "removeProjectAccess";

/// `POST /types/{id}/action`; the name of the action has been checked.
pub async fn type_action(call: &Call, id: &str, action: &str) -> Result<Answer, Problem> {
    let adds = action == ADD;
    let (schema, rule) = if adds {
        (&schema::TYPE_ADD_ACCESS, rule!("volume_extension:volume_type_access:addProjectAccess"))
    } else {
        (&schema::TYPE_REMOVE_ACCESS, rule!("volume_extension:volume_type_access:removeProjectAccess"))
    };
    schema.check(call.version, &call.body)?;
    call.enforce_own(rule)?;
    let project = ProjectId::from(call.body[action]["project"].as_str().unwrap_or_default());
    type_edit(call, id, None, |row| {
        refuse_public(row)?;
        let of = || format!("{} / {project}", row.id);
        match adds {
            true if row.projects.contains(&project) => {
                Err(Problem::Conflict(format!("Volume type access for {} combination already exists.", of())))
            }
            false if !row.projects.contains(&project) => {
                Err(Problem::NotFoundText(format!("Volume type access not found for {} combination.", of())))
            }
            true => {
                row.projects.insert(project.clone());
                Ok(())
            }
            false => {
                row.projects.remove(&project);
                Ok(())
            }
        }
    })
    .await?;
    Ok(Answer::empty(202))
}

fn refuse_public(row: &VolumeType) -> Result<(), Problem> {
    if row.is_public {
        return Err(Problem::BadRequest(
            "Invalid volume type: Type access modification is not applicable to public volume type.".to_owned(),
        ));
    }
    Ok(())
}

/// `GET /types/{id}/os-volume-type-access`
pub async fn access_list(call: &Call, id: &str) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:volume_type_access:get_all_for_type"))?;
    let row = type_visible(call, Named::Id(id)).await?;
    if row.is_public {
        return Err(Problem::NotFoundText("Access list not available for public volume types.".to_owned()));
    }
    let access = row.projects.iter().map(|project| json!({"volume_type_id": row.id, "project_id": project}));
    Ok(Answer::ok(json!({"volume_type_access": access.collect::<Vec<Value>>()})))
}
