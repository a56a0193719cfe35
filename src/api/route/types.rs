//! The routes of volume types and of what belongs to them.

use super::super::microversion::Microversion;

/// Below `/types` and `/default-types`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeRoute {
    /// `GET /types`.
    List,
    /// `POST /types`.
    Create,
    /// `GET /types/{id}`.
    Show(String),
    /// `PUT /types/{id}`.
    Update(String),
    /// `DELETE /types/{id}`.
    Delete(String),
    /// `POST /types/{id}/action`.
    Action(String),
    /// `GET /types/{id}/os-volume-type-access`.
    AccessList(String),
    /// `GET /types/{id}/extra_specs`.
    SpecList(String),
    /// `POST /types/{id}/extra_specs`.
    SpecCreate(String),
    /// `GET /types/{id}/extra_specs/{key}`.
    SpecShow(String, String),
    /// `PUT /types/{id}/extra_specs/{key}`.
    SpecUpdate(String, String),
    /// `DELETE /types/{id}/extra_specs/{key}`.
    SpecDelete(String, String),
    /// `GET /types/{id}/encryption`.
    EncryptionShow(String),
    /// `POST /types/{id}/encryption`.
    EncryptionCreate(String),
    /// `GET /types/{id}/encryption/{field}`.
    EncryptionField(String, String),
    /// `PUT /types/{id}/encryption/{anything}`.
    EncryptionUpdate(String),
    /// `DELETE /types/{id}/encryption/{anything}`.
    EncryptionDelete(String),
    /// `GET /default-types`.
    DefaultList,
    /// `GET /default-types/{project}`.
    DefaultShow(String),
    /// `PUT /default-types/{project}`.
    DefaultSet(String),
    /// `DELETE /default-types/{project}`.
    DefaultUnset(String),
}

impl TypeRoute {
    /// The route of `method` on the segments below the version and the project.
    pub(super) fn find(method: &str, rest: &[&str]) -> Option<Self> {
        if rest.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let own = |text: &&str| (*text).to_owned();
        Some(match (method, rest) {
            ("GET", ["types"]) => Self::List,
            ("POST", ["types"]) => Self::Create,
            ("GET", ["types", id]) => Self::Show(own(id)),
            ("PUT", ["types", id]) => Self::Update(own(id)),
            ("DELETE", ["types", id]) => Self::Delete(own(id)),
            ("POST", ["types", id, "action"]) => Self::Action(own(id)),
            ("GET", ["types", id, "os-volume-type-access"]) => Self::AccessList(own(id)),
            ("GET", ["types", id, "extra_specs"]) => Self::SpecList(own(id)),
            ("POST", ["types", id, "extra_specs"]) => Self::SpecCreate(own(id)),
            ("GET", ["types", id, "extra_specs", key]) => Self::SpecShow(own(id), own(key)),
            ("PUT", ["types", id, "extra_specs", key]) => Self::SpecUpdate(own(id), own(key)),
            ("DELETE", ["types", id, "extra_specs", key]) => Self::SpecDelete(own(id), own(key)),
            ("GET", ["types", id, "encryption"]) => Self::EncryptionShow(own(id)),
            ("POST", ["types", id, "encryption"]) => Self::EncryptionCreate(own(id)),
            ("GET", ["types", id, "encryption", field]) => Self::EncryptionField(own(id), own(field)),
            ("PUT", ["types", id, "encryption", _]) => Self::EncryptionUpdate(own(id)),
            ("DELETE", ["types", id, "encryption", _]) => Self::EncryptionDelete(own(id)),
            ("GET", ["default-types"]) => Self::DefaultList,
            ("GET", ["default-types", project]) => Self::DefaultShow(own(project)),
            ("PUT", ["default-types", project]) => Self::DefaultSet(own(project)),
            ("DELETE", ["default-types", project]) => Self::DefaultUnset(own(project)),
            _ => return None,
        })
    }

    /// The lowest microversion that has the route.
    pub(super) fn since(&self) -> Option<Microversion> {
        match self {
            Self::DefaultList | Self::DefaultShow(_) | Self::DefaultSet(_) | Self::DefaultUnset(_) => {
                Some(Microversion::v3(62))
            }
            _ => None,
        }
    }

    /// The label of metrics.
    pub(super) fn template(&self) -> &'static str {
        match self {
            Self::List | Self::Create => "/types",
            Self::Show(_) | Self::Update(_) | Self::Delete(_) => "/types/{type_id}",
            Self::Action(_) => "/types/{type_id}/action",
            Self::AccessList(_) => "/types/{type_id}/os-volume-type-access",
            Self::SpecList(_) | Self::SpecCreate(_) => "/types/{type_id}/extra_specs",
            Self::SpecShow(..) | Self::SpecUpdate(..) | Self::SpecDelete(..) => "/types/{type_id}/extra_specs/{key}",
            Self::EncryptionShow(_) | Self::EncryptionCreate(_) => "/types/{type_id}/encryption",
            Self::EncryptionField(..) | Self::EncryptionUpdate(_) | Self::EncryptionDelete(_) => {
                "/types/{type_id}/encryption/{encryption_id}"
            }
            Self::DefaultList => "/default-types",
            Self::DefaultShow(_) | Self::DefaultSet(_) | Self::DefaultUnset(_) => "/default-types/{project_id}",
        }
    }

    /// Whether a JSON body is needed besides an action's.
    pub(super) fn needs_body(&self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::Update(_)
                | Self::SpecCreate(_)
                | Self::SpecUpdate(..)
                | Self::DefaultSet(_)
                | Self::EncryptionCreate(_)
                | Self::EncryptionUpdate(_)
        )
    }
}
