//! The extra specs of a type (types-qos-encryption §3). They say what its volumes are, so that they change only while there
//! is none.

use serde_json::{Value, json};

use super::types::{Named, specs_of, type_edit, type_visible};
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::schema;
use crate::api::views::volume_type as view;
use crate::domain::volume_type::MULTIATTACH;
use crate::rule;

const CACHEABLE: &str = "cacheable";
const IN_USE: &str = "Volume Type is currently in use.";

async fn specs_seen(call: &Call, id: &str) -> Result<Value, Problem> {
    let row = type_visible(call, Named::Id(id)).await?;
    let rule = rule!("volume_extension:types_extra_specs:read_sensitive");
    Ok(view::specs(&row, call.allows_own(rule)))
}

fn missing(id: &str, key: &str) -> Problem {
    Problem::NotFoundText(format!("Volume Type {id} has no extra specs with key {key}."))
}

/// `GET /types/{id}/extra_specs`
pub async fn spec_list(call: &Call, id: &str) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:types_extra_specs:index"))?;
    Ok(Answer::ok(json!({"extra_specs": specs_seen(call, id).await?})))
}

/// `GET /types/{id}/extra_specs/{key}`
pub async fn spec_show(call: &Call, id: &str, key: &str) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:types_extra_specs:show"))?;
    let specs = specs_seen(call, id).await?;
    let value = specs.get(key).ok_or_else(|| missing(id, key))?;
    Ok(Answer::ok(json!({key: value})))
}

/// `POST /types/{id}/extra_specs`
pub async fn spec_create(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::TYPE_SPECS_CREATE.check(call.version, &call.body)?;
    call.enforce_own(rule!("volume_extension:types_extra_specs:create"))?;
    type_edit(call, id, Some(IN_USE), |row| {
        row.extra_specs.extend(specs_of(&call.body["extra_specs"]));
        if row.says_yes(MULTIATTACH) && row.says_yes(CACHEABLE) {
            return Err(Problem::BadRequest("cacheable cannot be set with multiattach.".to_owned()));
        }
        Ok(())
    })
    .await?;
    Ok(Answer::ok(&call.body))
}

/// `PUT /types/{id}/extra_specs/{key}`
pub async fn spec_update(call: &Call, id: &str, key: &str) -> Result<Answer, Problem> {
    schema::TYPE_SPEC_UPDATE.check(call.version, &call.body)?;
    call.enforce_own(rule!("volume_extension:types_extra_specs:update"))?;
    if call.body.get(key).is_none() {
        return Err(Problem::BadRequest("Request body and URI mismatch".to_owned()));
    }
    type_edit(call, id, Some(IN_USE), |row| {
        row.extra_specs.extend(specs_of(&call.body));
        Ok(())
    })
    .await?;
    Ok(Answer::ok(&call.body))
}

/// `DELETE /types/{id}/extra_specs/{key}`
pub async fn spec_delete(call: &Call, id: &str, key: &str) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:types_extra_specs:delete"))?;
    type_edit(call, id, Some(IN_USE), |row| row.extra_specs.remove(key).map(drop).ok_or_else(|| missing(id, key)))
        .await?;
    Ok(Answer::empty(202))
}
