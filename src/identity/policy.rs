//! The rules of the calls that exist, with Cinder's, Nova's and Glance's new defaults (auth-and-policy §6, volume-actions §0.3).
//!
//! A rule that is not in the table denies everybody but does so loudly in tests: the table is the list of what is checked.

use std::collections::BTreeMap;

use crate::domain::ids::ProjectId;

use super::context::RequestContext;

/// Who passes a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// `role:admin`, or `role:reader` on the target's project.
    Reader,
    /// `role:admin`, or `role:member` on the target's project.
    Member,
    /// `role:admin`, or the role `service`.
    Service,
    /// `role:admin`.
    Admin,
    /// Nobody: the rule `!`.
    Nobody,
}

/// Every rule that is asked, with its default.
pub const RULES: &[(&str, Check)] = &[
    ("volume:create", Check::Member),
    ("volume:create_from_image", Check::Member),
    ("volume:multiattach", Check::Member),
    ("volume:get", Check::Reader),
    ("volume:get_all", Check::Reader),
    ("volume:update", Check::Member),
    ("volume:delete", Check::Member),
    ("volume:get_volume_metadata", Check::Reader),
    ("volume:create_volume_metadata", Check::Member),
    ("volume:update_volume_metadata", Check::Member),
    ("volume:delete_volume_metadata", Check::Member),
    ("volume:update_readonly_flag", Check::Member),
    ("volume_extension:volume_image_metadata:show", Check::Reader),
    ("volume_extension:volume_image_metadata:set", Check::Member),
    ("volume_extension:volume_image_metadata:remove", Check::Member),
    ("volume_extension:volume_encryption_metadata", Check::Reader),
    ("volume:force_delete", Check::Admin),
    ("volume_extension:volume_manage", Check::Admin),
    ("volume_extension:volume_unmanage", Check::Admin),
    ("volume_extension:list_manageable", Check::Admin),
    ("snapshot_extension:snapshot_manage", Check::Admin),
    ("snapshot_extension:snapshot_unmanage", Check::Admin),
    ("snapshot_extension:list_manageable", Check::Admin),
    ("volume:extend", Check::Member),
    ("volume:extend_attached_volume", Check::Member),
    ("volume_extension:volume_admin_actions:extend_volume_completion", Check::Admin),
    ("volume_extension:volume_admin_actions:reset_status", Check::Admin),
    ("volume_extension:volume_admin_actions:force_delete", Check::Admin),
    ("volume_extension:volume_actions:upload_image", Check::Member),
    ("volume_extension:volume_actions:upload_public", Check::Admin),
    ("volume:reimage", Check::Member),
    ("volume:reimage_reserved", Check::Member),
    ("volume_extension:volume_actions:reserve", Check::Member),
    ("volume_extension:volume_actions:unreserve", Check::Member),
    ("volume_extension:volume_actions:begin_detaching", Check::Member),
    ("volume_extension:volume_actions:roll_detaching", Check::Member),
    ("volume_extension:volume_actions:attach", Check::Member),
    ("volume_extension:volume_actions:detach", Check::Member),
    ("volume_extension:volume_actions:initialize_connection", Check::Member),
    ("volume_extension:volume_actions:terminate_connection", Check::Member),
    ("volume_extension:volume_admin_actions:force_detach", Check::Admin),
    ("volume_extension:volume_host_attribute", Check::Admin),
    ("volume_extension:volume_tenant_attribute", Check::Reader),
    ("volume_extension:volume_mig_status_attribute", Check::Admin),
    ("volume:revert_to_snapshot", Check::Member),
    ("volume:retype", Check::Member),
    ("volume_extension:volume_admin_actions:migrate_volume", Check::Admin),
    ("volume_extension:volume_admin_actions:migrate_volume_completion", Check::Admin),
    ("volume:create_snapshot", Check::Member),
    ("volume:get_snapshot", Check::Reader),
    ("volume:get_all_snapshots", Check::Reader),
    ("volume:update_snapshot", Check::Member),
    ("volume:get_snapshot_metadata", Check::Reader),
    ("volume:update_snapshot_metadata", Check::Member),
    ("volume:delete_snapshot_metadata", Check::Member),
    ("volume:delete_snapshot", Check::Member),
    ("volume_extension:extended_snapshot_attributes", Check::Reader),
    ("volume_extension:snapshot_admin_actions:reset_status", Check::Admin),
    ("volume_extension:snapshot_admin_actions:force_delete", Check::Admin),
    ("snapshot_extension:snapshot_actions:update_snapshot_status", Check::Member),
    ("volume:attachment_create", Check::Member),
    ("volume:attachment_update", Check::Member),
    ("volume:attachment_delete", Check::Member),
    ("volume:attachment_complete", Check::Member),
    ("volume:multiattach_bootable_volume", Check::Member),
    ("volume_extension:type_get", Check::Reader),
    ("volume_extension:type_get_all", Check::Reader),
    ("volume_extension:access_types_extra_specs", Check::Reader),
    ("volume_extension:types_extra_specs:read_sensitive", Check::Admin),
    ("volume_extension:access_types_qos_specs_id", Check::Admin),
    ("volume_extension:volume_type_access", Check::Member),
    ("volume_extension:services:index", Check::Admin),
    ("volume_extension:services:update", Check::Admin),
    ("volume:freeze_host", Check::Admin),
    ("volume:thaw_host", Check::Admin),
    ("volume:failover_host", Check::Admin),
    ("volume_extension:hosts", Check::Admin),
    ("scheduler_extension:scheduler_stats:get_pools", Check::Admin),
    ("volume_extension:capabilities", Check::Admin),
    ("clusters:get_all", Check::Admin),
    ("clusters:get", Check::Admin),
    ("clusters:update", Check::Admin),
    ("workers:cleanup", Check::Admin),
    ("volume_extension:volume_type_access:addProjectAccess", Check::Admin),
    ("volume_extension:volume_type_access:removeProjectAccess", Check::Admin),
    ("volume_extension:volume_type_access:get_all_for_type", Check::Admin),
    ("volume_extension:type_create", Check::Admin),
    ("volume_extension:type_update", Check::Admin),
    ("volume_extension:type_delete", Check::Admin),
    ("volume_extension:types_extra_specs:index", Check::Reader),
    ("volume_extension:types_extra_specs:show", Check::Reader),
    ("volume_extension:types_extra_specs:create", Check::Admin),
    ("volume_extension:types_extra_specs:update", Check::Admin),
    ("volume_extension:types_extra_specs:delete", Check::Admin),
    ("volume_extension:volume_type_encryption:create", Check::Admin),
    ("volume_extension:volume_type_encryption:get", Check::Admin),
    ("volume_extension:volume_type_encryption:update", Check::Admin),
    ("volume_extension:volume_type_encryption:delete", Check::Admin),
    ("volume_extension:qos_specs_manage:get_all", Check::Admin),
    ("volume_extension:qos_specs_manage:get", Check::Admin),
    ("volume_extension:qos_specs_manage:create", Check::Admin),
    ("volume_extension:qos_specs_manage:update", Check::Admin),
    ("volume_extension:qos_specs_manage:delete", Check::Admin),
    ("volume_extension:quotas:show", Check::Reader),
    ("volume_extension:quotas:update", Check::Admin),
    ("volume_extension:quotas:delete", Check::Admin),
    ("volume_extension:quota_classes:get", Check::Admin),
    ("volume_extension:quota_classes:update", Check::Admin),
    ("limits_extension:used_limits", Check::Reader),
    ("volume_extension:default_set_or_update", Check::Admin),
    ("volume_extension:default_get", Check::Admin),
    ("volume_extension:default_get_all", Check::Admin),
    ("volume_extension:default_unset", Check::Admin),
    ("message:get_all", Check::Reader),
    ("message:get", Check::Reader),
    ("message:delete", Check::Member),
    ("os_compute_api:servers:index", Check::Reader),
    ("os_compute_api:servers:detail", Check::Reader),
    ("os_compute_api:servers:index:get_all_tenants", Check::Admin),
    ("os_compute_api:servers:show", Check::Reader),
    ("os_compute_api:os-volumes-attachments:index", Check::Reader),
    ("os_compute_api:os-volumes-attachments:show", Check::Reader),
    ("os_compute_api:os-volumes-attachments:create", Check::Member),
    ("os_compute_api:os-volumes-attachments:update", Check::Member),
    ("os_compute_api:os-volumes-attachments:swap", Check::Service),
    ("os_compute_api:os-volumes-attachments:delete", Check::Member),
    ("hearth:admin", Check::Admin),
    ("get_images", Check::Reader),
    ("get_image", Check::Reader),
    ("download_image", Check::Reader),
    ("add_image", Check::Member),
    ("modify_image", Check::Member),
    ("upload_image", Check::Member),
    ("delete_image", Check::Member),
];

/// The caller may not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy doesn't allow {0} to be performed")]
pub struct Denied(pub &'static str);

/// The rules in force: the defaults, but for those that an operator has set.
#[derive(Clone, Debug, Default)]
pub struct Policy(BTreeMap<&'static str, Check>);

impl Policy {
    /// The same with another check for a rule of the table.
    pub fn with(mut self, rule: &str, check: Check) -> Self {
        let known = RULES.iter().find(|(name, _)| *name == rule);
        debug_assert!(known.is_some(), "rule {rule} is not in the table");
        self.0.extend(known.map(|(name, _)| (*name, check)));
        self
    }

    /// Whether the caller passes `rule` on an object of `target`.
    pub fn allows(&self, context: &RequestContext, rule: &str, target: &ProjectId) -> bool {
        let on_project = context.project_id == *target;
        let default = || RULES.iter().find(|(name, _)| *name == rule).map(|(_, check)| check);
        match self.0.get(rule).or_else(default) {
            Some(Check::Reader) => context.is_admin || (on_project && context.has_role("reader")),
            Some(Check::Member) => context.is_admin || (on_project && context.has_role("member")),
            Some(Check::Service) => context.is_admin || context.has_role("service"),
            Some(Check::Admin) => context.is_admin,
            Some(Check::Nobody) => false,
            None => {
                debug_assert!(false, "rule {rule} is not in the table");
                false
            }
        }
    }

    /// The same as an error.
    pub fn enforce(&self, context: &RequestContext, rule: &'static str, target: &ProjectId) -> Result<(), Denied> {
        if self.allows(context, rule, target) { Ok(()) } else { Err(Denied(rule)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{RequestId, UserId};

    fn persona(roles: &[&str], project: &str) -> RequestContext {
        RequestContext {
            user_id: UserId::from("u"),
            project_id: ProjectId::from(project),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            is_admin: roles.contains(&"admin"),
            is_service: false,
            request_id: RequestId::from("r"),
        }
    }

    #[test]
    fn personas_pass_what_their_role_says() {
        let cases: &[(&[&str], &str, [bool; 3])] = &[
            (&[], "p", [false, false, false]),
            (&["reader"], "p", [true, false, false]),
            (&["member", "reader"], "p", [true, true, false]),
            // Keystone implies roles; a bare member without reader fails reader rules, as in Cinder.
            (&["member"], "p", [false, true, false]),
            (&["member", "reader"], "other", [false, false, false]),
            (&["admin"], "other", [true, true, true]),
            (&["service"], "p", [false, false, false]),
        ];
        for (roles, project, expected) in cases {
            let context = persona(roles, project);
            let target = ProjectId::from("p");
            let found = ["volume:get", "volume:delete", "volume:force_delete"]
                .map(|rule| Policy::default().allows(&context, rule, &target));
            assert_eq!(found, *expected, "{roles:?} of {project}");
        }
    }

    #[test]
    fn a_rule_that_is_set_takes_the_place_of_its_default_and_of_no_other() {
        let (admin, target) = (persona(&["admin"], "p"), ProjectId::from("p"));
        let policy = Policy::default().with("volume:delete", Check::Nobody);
        let allowed = ["volume:delete", "volume:get"].map(|rule| policy.allows(&admin, rule, &target));
        assert_eq!(allowed, [false, true]);
    }

    #[test]
    fn no_rule_is_named_twice() {
        for (index, (name, _)) in RULES.iter().enumerate() {
            assert!(RULES[..index].iter().all(|(other, _)| other != name), "{name}");
        }
    }
}
