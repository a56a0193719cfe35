//! The row of an action of a server.

use diesel::prelude::*;
use uuid::Uuid;

use super::super::StoreError;
use super::super::schema::server_actions;
use super::{damaged, parse};
use crate::domain::operation::Requester;
use crate::domain::server_action::{ServerAction, ServerActionEnd, ServerActionKind};
use crate::domain::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = server_actions, treat_none_as_default_value = false)]
pub(in super::super) struct ServerActionRow {
    pub id: String,
    pub server_id: String,
    pub started_at: i64,
    pub action: String,
    pub request_id: String,
    pub user_id: String,
    pub project_id: String,
    pub ended_at: Option<i64>,
    pub failure: Option<String>,
}

impl ServerActionRow {
    pub(in super::super) fn of(action: &ServerAction) -> Self {
        Self {
            id: action.id.to_string(),
            server_id: action.server_id.to_string(),
            started_at: action.started_at.0,
            action: action.kind.as_str().to_owned(),
            request_id: action.requester.request_id.to_string(),
            user_id: action.requester.user_id.to_string(),
            project_id: action.requester.project_id.to_string(),
            ended_at: action.end.as_ref().map(|end| end.at.0),
            failure: action.end.as_ref().and_then(|end| end.failure.clone()),
        }
    }

    pub(in super::super) fn into_action(self) -> Result<ServerAction, StoreError> {
        let what = || format!("action {}", self.id);
        Ok(ServerAction {
            id: parse::<Uuid>(&self.id, what)?,
            kind: ServerActionKind::parse(&self.action)
                .ok_or_else(|| damaged(what(), format!("unknown action {:?}", self.action)))?,
            server_id: self.server_id.into(),
            requester: Requester {
                request_id: self.request_id.into(),
                user_id: self.user_id.into(),
                project_id: self.project_id.into(),
            },
            started_at: Timestamp(self.started_at),
            end: self.ended_at.map(|at| ServerActionEnd { at: Timestamp(at), failure: self.failure }),
        })
    }
}

/// The end of an action, to be written to its row.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct ActionEndRow {
    pub id: String,
    pub ended_at: Option<i64>,
    pub failure: Option<String>,
}

impl ActionEndRow {
    pub(in super::super) fn of(id: Uuid, end: &ServerActionEnd) -> Self {
        Self { id: id.to_string(), ended_at: Some(end.at.0), failure: end.failure.clone() }
    }
}
