//! The rows of quotas: usages and limits.

use diesel::prelude::*;

use super::super::StoreError;
use super::super::schema::{quota_limits, quota_usages};
use super::{damaged, parse};
use crate::domain::ids::VolumeTypeId;
use crate::domain::quota::{QuotaKey, QuotaOwner, Resource, Scope, StoredLimit, Usage};

#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = quota_usages, treat_none_as_null = true, treat_none_as_default_value = false)]
pub(in super::super) struct UsageRow {
    pub id: String,
    pub project_id: String,
    pub volume_type_id: Option<String>,
    pub volumes: i64,
    pub snapshots: i64,
    pub gigabytes: i64,
    pub snapshot_gigabytes: i64,
    pub reserved_gigabytes: i64,
    pub live_volumes: i64,
}

impl UsageRow {
    pub(in super::super) fn of(scope: &Scope, usage: Usage) -> Self {
        Self {
            id: Self::key_of(scope),
            project_id: scope.project_id.to_string(),
            volume_type_id: scope.volume_type_id.map(|id| id.to_string()),
            volumes: usage.volumes,
            snapshots: usage.snapshots,
            gigabytes: usage.gigabytes,
            snapshot_gigabytes: usage.snapshot_gigabytes,
            reserved_gigabytes: usage.reserved_gigabytes,
            live_volumes: usage.live_volumes,
        }
    }

    /// The key: those of types, which begin with a hexadecimal digit, come before those of all types together.
    pub(in super::super) fn key_of(scope: &Scope) -> String {
        match scope.volume_type_id {
            Some(id) => format!("{id}/{}", scope.project_id),
            None => format!("total/{}", scope.project_id),
        }
    }

    pub(in super::super) fn usage(&self) -> Usage {
        Usage {
            volumes: self.volumes,
            snapshots: self.snapshots,
            gigabytes: self.gigabytes,
            snapshot_gigabytes: self.snapshot_gigabytes,
            reserved_gigabytes: self.reserved_gigabytes,
            live_volumes: self.live_volumes,
        }
    }

    pub(in super::super) fn scope(&self) -> Result<Scope, StoreError> {
        let what = || format!("usage {:?}", self.id);
        let volume_type_id = self.volume_type_id.as_deref().map(|id| parse(id, what).map(VolumeTypeId)).transpose()?;
        Ok(Scope { project_id: self.project_id.as_str().into(), volume_type_id })
    }
}

#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = quota_limits)]
pub(in super::super) struct LimitRow {
    pub owner: String,
    pub resource: String,
    pub volume_type_id: String,
    pub hard_limit: i64,
}

const PROJECT: &str = "project/";
const CLASS: &str = "class/";

impl LimitRow {
    pub(in super::super) fn of(owner: &QuotaOwner, key: QuotaKey, limit: i64) -> Self {
        Self {
            owner: Self::owner_key(owner),
            resource: key.resource.as_str().to_owned(),
            volume_type_id: key.volume_type_id.map(|id| id.to_string()).unwrap_or_default(),
            hard_limit: limit,
        }
    }

    pub(in super::super) fn owner_key(owner: &QuotaOwner) -> String {
        match owner {
            QuotaOwner::Project(id) => format!("{PROJECT}{id}"),
            QuotaOwner::Class(name) => format!("{CLASS}{name}"),
        }
    }

    pub(in super::super) fn into_limit(self) -> Result<StoredLimit, StoreError> {
        let what = || format!("limit of {:?} of {:?}", self.resource, self.owner);
        let owner = match (self.owner.strip_prefix(PROJECT), self.owner.strip_prefix(CLASS)) {
            (Some(id), _) => QuotaOwner::Project(id.into()),
            (None, Some(name)) => QuotaOwner::Class(name.to_owned()),
            (None, None) => return Err(damaged(what(), "an owner of no kind")),
        };
        let resource = Resource::parse(&self.resource).ok_or_else(|| damaged(what(), "an unknown resource"))?;
        let volume_type_id = match self.volume_type_id.as_str() {
            "" => None,
            id => Some(VolumeTypeId(parse(id, what)?)),
        };
        Ok(StoredLimit { owner, key: QuotaKey { resource, volume_type_id }, limit: self.hard_limit })
    }
}
