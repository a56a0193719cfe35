//! The row of QoS specs.

use diesel::prelude::*;

use super::super::StoreError;
use super::super::schema::qos_specs;
use super::{from_json, parse, to_i64, to_json, to_u64};
use crate::domain::ids::QosSpecsId;
use crate::domain::qos::{Consumer, QosSpecs};
use crate::domain::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = qos_specs, treat_none_as_null = true)]
pub(in super::super) struct QosRow {
    pub id: String,
    pub name: String,
    pub revision: i64,
    pub consumer: String,
    pub specs: String,
    pub created_at: i64,
    pub updated_at: Option<i64>,
}

impl QosRow {
    pub(in super::super) fn of(qos: &QosSpecs) -> Self {
        Self {
            id: qos.id.to_string(),
            name: qos.name.clone(),
            revision: to_i64(qos.revision),
            consumer: qos.consumer.as_str().to_owned(),
            specs: to_json(&qos.specs),
            created_at: qos.created_at.0,
            updated_at: qos.updated_at.map(|at| at.0),
        }
    }

    pub(in super::super) fn into_qos(self) -> Result<QosSpecs, StoreError> {
        let what = || format!("QoS specs {}", self.id);
        let unknown = || StoreError::Damaged { what: what(), reason: format!("unknown consumer {:?}", self.consumer) };
        Ok(QosSpecs {
            id: QosSpecsId(parse(&self.id, what)?),
            revision: to_u64(self.revision),
            consumer: Consumer::parse(&self.consumer).ok_or_else(unknown)?,
            specs: from_json(&self.specs, what)?,
            name: self.name,
            created_at: Timestamp(self.created_at),
            updated_at: self.updated_at.map(Timestamp),
        })
    }
}
