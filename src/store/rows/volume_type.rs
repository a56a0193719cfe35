//! The row of a volume type.

use diesel::prelude::*;

use super::super::StoreError;
use super::super::schema::volume_types;
use super::{from_json, parse, to_i64, to_json, to_u64};
use crate::domain::ids::{QosSpecsId, VolumeTypeId};
use crate::domain::time::Timestamp;
use crate::domain::volume_type::VolumeType;

#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = volume_types, treat_none_as_null = true)]
pub(in super::super) struct VolumeTypeRow {
    pub id: String,
    pub name: String,
    pub revision: i64,
    pub description: Option<String>,
    pub is_public: bool,
    pub projects: String,
    pub extra_specs: String,
    pub encryption: Option<String>,
    pub qos_specs_id: Option<String>,
    pub created_at: i64,
    pub updated_at: Option<i64>,
}

impl VolumeTypeRow {
    pub(in super::super) fn of(volume_type: &VolumeType) -> Self {
        Self {
            id: volume_type.id.to_string(),
            name: volume_type.name.clone(),
            revision: to_i64(volume_type.revision),
            description: volume_type.description.clone(),
            is_public: volume_type.is_public,
            projects: to_json(&volume_type.projects),
            extra_specs: to_json(&volume_type.extra_specs),
            encryption: volume_type.encryption.as_ref().map(to_json),
            qos_specs_id: volume_type.qos_specs_id.map(|id| id.to_string()),
            created_at: volume_type.created_at.0,
            updated_at: volume_type.updated_at.map(|at| at.0),
        }
    }

    pub(in super::super) fn into_volume_type(self) -> Result<VolumeType, StoreError> {
        let what = || format!("volume type {}", self.id);
        Ok(VolumeType {
            id: VolumeTypeId(parse(&self.id, what)?),
            revision: to_u64(self.revision),
            projects: from_json(&self.projects, what)?,
            extra_specs: from_json(&self.extra_specs, what)?,
            encryption: self.encryption.as_deref().map(|text| from_json(text, what)).transpose()?,
            qos_specs_id: self.qos_specs_id.as_deref().map(|id| parse(id, what)).transpose()?.map(QosSpecsId),
            name: self.name,
            description: self.description,
            is_public: self.is_public,
            created_at: Timestamp(self.created_at),
            updated_at: self.updated_at.map(Timestamp),
        })
    }
}
