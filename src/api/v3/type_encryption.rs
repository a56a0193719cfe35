//! How volumes of a type are to be encrypted (types-qos-encryption §4). It is kept and shown; since there is no key manager, no
//! volume of such a type is made.

use serde_json::{Value, json};

use super::types::{Named, type_edit, type_visible};
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::schema;
use crate::api::views::time;
use crate::domain::volume_type::{Encryption, VolumeType};
use crate::rule;

fn missing(id: &str) -> Problem {
    Problem::NotFoundText(format!("Volume type encryption for type {id} does not exist."))
}

fn in_use(verb: &str) -> String {
    format!("Cannot {verb} encryption specs. Volume type in use.")
}

/// All of it; without any, an object without members.
fn shown(row: &VolumeType) -> Value {
    let Some(encryption) = &row.encryption else { return json!({}) };
    json!({
        "volume_type_id": row.id,
        "encryption_id": encryption.id,
        "provider": encryption.provider,
        "control_location": encryption.control_location,
        "cipher": encryption.cipher,
        "key_size": encryption.key_size,
        "created_at": time::micros(encryption.created_at),
        "updated_at": encryption.updated_at.map(time::micros),
        "deleted": false,
        "deleted_at": null,
    })
}

/// `GET /types/{id}/encryption`
pub async fn encryption_show(call: &Call, id: &str) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:volume_type_encryption:get"))?;
    Ok(Answer::ok(shown(&type_visible(call, Named::Id(id)).await?)))
}

/// `GET /types/{id}/encryption/{field}`
pub async fn encryption_field(call: &Call, id: &str, field: &str) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:volume_type_encryption:get"))?;
    let body = shown(&type_visible(call, Named::Id(id)).await?);
    let value = body.get(field).ok_or_else(|| missing(id))?;
    Ok(Answer::ok(json!({field: value})))
}

/// `POST /types/{id}/encryption`
pub async fn encryption_create(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::TYPE_ENCRYPTION_CREATE.check(call.version, &call.body)?;
    call.enforce_own(rule!("volume_extension:volume_type_encryption:create"))?;
    let members = &call.body["encryption"];
    let new = Encryption {
        id: call.api.randomness.uuid(),
        provider: text(members, "provider").unwrap_or_default(),
        control_location: text(members, "control_location").unwrap_or_default(),
        cipher: text(members, "cipher"),
        key_size: key_size(members),
        created_at: call.api.clock.now(),
        updated_at: None,
    };
    let words = in_use("create");
    let row = type_edit(call, id, Some(&words), |row| match row.encryption {
        None => {
            row.encryption = Some(new.clone());
            Ok(())
        }
        Some(_) => {
            let text = format!("Volume type encryption for type {} already exists.", row.id);
            Err(Problem::BadRequest(text))
        }
    });
    let row = row.await?;
    let mut body = members.clone();
    if let Some(asked) = body.get_mut("key_size") {
        *asked = json!(new.key_size);
    }
    body["volume_type_id"] = json!(row.id);
    body["encryption_id"] = json!(new.id);
    Ok(Answer::ok(json!({"encryption": body})))
}

/// `PUT /types/{id}/encryption/{anything}`
pub async fn encryption_update(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::TYPE_ENCRYPTION_UPDATE.check(call.version, &call.body)?;
    call.enforce_own(rule!("volume_extension:volume_type_encryption:update"))?;
    let members = &call.body["encryption"];
    let now = call.api.clock.now();
    type_edit(call, id, Some(&in_use("update")), |row| {
        let encryption = row.encryption.as_mut().ok_or_else(|| missing(id))?;
        if let Some(provider) = text(members, "provider") {
            encryption.provider = provider;
        }
        if let Some(location) = text(members, "control_location") {
            encryption.control_location = location;
        }
        if members.get("cipher").is_some() {
            encryption.cipher = text(members, "cipher");
        }
        if members.get("key_size").is_some() {
            encryption.key_size = key_size(members);
        }
        encryption.updated_at = Some(now);
        Ok(())
    })
    .await?;
    Ok(Answer::ok(&call.body))
}

/// `DELETE /types/{id}/encryption/{anything}`
pub async fn encryption_delete(call: &Call, id: &str) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:volume_type_encryption:delete"))?;
    let remove = |row: &mut VolumeType| row.encryption.take().map(drop).ok_or_else(|| missing(id));
    type_edit(call, id, Some(&in_use("delete")), remove).await?;
    Ok(Answer::empty(202))
}

fn text(members: &Value, name: &str) -> Option<String> {
    members.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// A number, or its digits; the schema has judged it.
fn key_size(members: &Value) -> Option<u64> {
    let size = members.get("key_size")?;
    size.as_u64().or_else(|| size.as_str()?.parse().ok())
}
