//! The row of a user message.

use diesel::prelude::*;
use uuid::Uuid;

use super::super::schema::messages;
use super::super::{Message, StoreError};
use super::parse;
use crate::domain::time::Timestamp;

/// The level of every user message (`spec/services-hosts-pools.md`).
const MESSAGE_LEVEL: &str = "ERROR";

#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = messages)]
pub(in super::super) struct MessageRow {
    pub id: String,
    pub project_id: String,
    pub request_id: String,
    pub resource_type: String,
    pub resource_uuid: Option<String>,
    pub action_id: String,
    pub detail_id: String,
    pub event_id: String,
    pub message_level: String,
    pub cause: Option<String>,
    pub created_at: i64,
    pub expires_at: i64,
}

impl MessageRow {
    pub(in super::super) fn of(message: &Message) -> Self {
        Self {
            id: message.id.to_string(),
            project_id: message.project_id.to_string(),
            request_id: message.request_id.to_string(),
            resource_type: message.resource_type.clone(),
            resource_uuid: message.resource_uuid.clone(),
            action_id: message.action_id.clone(),
            detail_id: message.detail_id.clone(),
            event_id: format!("VOLUME_{}_{}_{}", message.resource_type, message.action_id, message.detail_id),
            message_level: MESSAGE_LEVEL.to_owned(),
            cause: message.cause.clone(),
            created_at: message.created_at.0,
            expires_at: message.expires_at.0,
        }
    }

    pub(in super::super) fn into_message(self) -> Result<Message, StoreError> {
        Ok(Message {
            id: parse::<Uuid>(&self.id, || format!("message {}", self.id))?,
            project_id: self.project_id.into(),
            request_id: self.request_id.into(),
            resource_type: self.resource_type,
            resource_uuid: self.resource_uuid,
            action_id: self.action_id,
            detail_id: self.detail_id,
            cause: self.cause,
            created_at: Timestamp(self.created_at),
            expires_at: Timestamp(self.expires_at),
        })
    }
}
