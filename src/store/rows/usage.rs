//! The row of a usage.

use diesel::prelude::*;

use super::super::schema::quota_usages;
use crate::domain::quota::Usage;

#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = quota_usages)]
pub(in super::super) struct UsageRow {
    pub project_id: String,
    pub volumes: i64,
    pub gigabytes: i64,
    pub reserved_gigabytes: i64,
}

impl UsageRow {
    pub(in super::super) fn of(project_id: &str, usage: Usage) -> Self {
        Self {
            project_id: project_id.to_owned(),
            volumes: usage.volumes,
            gigabytes: usage.gigabytes,
            reserved_gigabytes: usage.reserved_gigabytes,
        }
    }

    pub(in super::super) fn usage(&self) -> Usage {
        Usage { volumes: self.volumes, gigabytes: self.gigabytes, reserved_gigabytes: self.reserved_gigabytes }
    }
}
