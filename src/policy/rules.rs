//! Every rule with its default: the table of the specification (auth-and-policy §6.3), and below it the rules of the calls
//! that are not Block Storage's.
//!
//! Code names a rule by [`crate::rule!`], which looks it up when it is compiled: a name that is not here does not build.

use std::fmt;

/// READER: the role `reader` on the target's project, or any admin.
const R: &str = "rule:xena_system_admin_or_project_reader";
/// MEMBER: the role `member` on the target's project, or any admin.
const M: &str = "rule:xena_system_admin_or_project_member";
/// ADMIN.
const A: &str = "rule:admin_api";
/// The old defaults.
const ANYONE: &str = "";
const OWNER: &str = "rule:admin_or_owner";

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRule {
    /// Its name.
    pub name: &'static str,
    /// What it demands.
    pub check: &'static str,
    /// What it demanded before, if that was something else or it had another name.
    pub old: Option<OldDefault>,
}

/// What a rule was before the present defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldDefault {
    /// Its name, if it was another one: an override under it still counts.
    pub name: Option<&'static str>,
    /// What it demanded; in force beside the new default unless `policy.enforce_new_defaults`.
    pub check: &'static str,
}

/// No old default.
const NEW: Option<OldDefault> = None;

const fn was(check: &'static str) -> Option<OldDefault> {
    Some(OldDefault { name: None, check })
}

const fn renamed(name: &'static str, check: &'static str) -> Option<OldDefault> {
    Some(OldDefault { name: Some(name), check })
}

const fn rule(name: &'static str, check: &'static str, old: Option<OldDefault>) -> DefaultRule {
    DefaultRule { name, check, old }
}

/// A rule of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rule(u16);

impl Rule {
    /// By its name, which must be in the table. Meant for constants: see [`crate::rule!`].
    pub const fn named(name: &str) -> Self {
        let mut index = 0;
        while index < RULES.len() {
            if is_same(RULES[index].name, name) {
                return Self(index as u16);
            }
            index += 1;
        }
        panic!("no rule of this name is in the table")
    }

    /// By its name.
    pub fn find(name: &str) -> Option<Self> {
        let index = RULES.iter().position(|rule| rule.name == name)?;
        u16::try_from(index).ok().map(Self)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        RULES[self.0 as usize].name
    }

    /// Its place in the table.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    // from the end: names that begin alike are the common case
    let mut left = one.len();
    while left > 0 {
        left -= 1;
        if one[left] != other[left] {
            return false;
        }
    }
    true
}

/// The rule of this name, looked up when the code is compiled.
#[macro_export]
macro_rules! rule {
    ($name:literal) => {
        const { $crate::policy::Rule::named($name) }
    };
}

/// How many of [`RULES`] are Cinder's.
pub const CINDER: usize = 167;

/// The table.
pub const RULES: &[DefaultRule] = &[
    // What the others are made of
    rule("admin_or_owner", "is_admin:True or (role:admin and is_admin_project:True) or project_id:%(project_id)s", NEW),
    rule(
        "system_or_domain_or_project_admin",
        "(role:admin and system_scope:all) or (role:admin and domain_id:%(domain_id)s) or (role:admin and project_id:%(project_id)s)",
        NEW,
    ),
    rule("context_is_admin", "role:admin", NEW),
    rule("admin_api", "is_admin:True or (role:admin and is_admin_project:True)", NEW),
    rule("xena_system_admin_or_project_reader", "(role:admin) or (role:reader and project_id:%(project_id)s)", NEW),
    rule("xena_system_admin_or_project_member", "(role:admin) or (role:member and project_id:%(project_id)s)", NEW),
    // Attachments
    rule("volume:attachment_create", M, was(ANYONE)),
    rule("volume:attachment_update", M, was(OWNER)),
    rule("volume:attachment_delete", M, was(OWNER)),
    rule("volume:attachment_complete", M, was(OWNER)),
    rule("volume:multiattach_bootable_volume", M, was(OWNER)),
    // Messages
    rule("message:get_all", R, was(OWNER)),
    rule("message:get", R, was(OWNER)),
    rule("message:delete", M, was(OWNER)),
    // Clusters and workers
    rule("clusters:get_all", A, NEW),
    rule("clusters:get", A, NEW),
    rule("clusters:update", A, NEW),
    rule("workers:cleanup", A, NEW),
    // Snapshots
    rule("volume:get_snapshot_metadata", R, was(OWNER)),
    rule("volume:update_snapshot_metadata", M, was(OWNER)),
    rule("volume:delete_snapshot_metadata", M, was(OWNER)),
    rule("volume:get_all_snapshots", R, was(OWNER)),
    rule("volume_extension:extended_snapshot_attributes", R, was(OWNER)),
    rule("volume:create_snapshot", M, was(OWNER)),
    rule("volume:get_snapshot", R, was(OWNER)),
    rule("volume:update_snapshot", M, was(OWNER)),
    rule("volume:delete_snapshot", M, was(OWNER)),
    rule("volume_extension:snapshot_admin_actions:reset_status", A, NEW),
    rule("snapshot_extension:snapshot_actions:update_snapshot_status", M, was(ANYONE)),
    rule("volume_extension:snapshot_admin_actions:force_delete", A, NEW),
    rule("snapshot_extension:list_manageable", A, NEW),
    rule("snapshot_extension:snapshot_manage", A, NEW),
    rule("snapshot_extension:snapshot_unmanage", A, NEW),
    // Backups
    rule("backup:get_all", R, was(OWNER)),
    rule("backup:backup_project_attribute", A, NEW),
    rule("backup:create", M, was(ANYONE)),
    rule("backup:get", R, was(OWNER)),
    rule("backup:update", M, was(OWNER)),
    rule("backup:delete", M, was(OWNER)),
    rule("backup:restore", M, was(OWNER)),
    rule("backup:backup-import", A, NEW),
    rule("backup:export-import", A, NEW),
    rule("volume_extension:backup_admin_actions:reset_status", A, NEW),
    rule("volume_extension:backup_admin_actions:force_delete", A, NEW),
    // Groups, their types and their snapshots
    rule("group:get_all", R, was(OWNER)),
    rule("group:create", M, was(ANYONE)),
    rule("group:get", R, was(OWNER)),
    rule("group:update", M, was(OWNER)),
    rule("group:group_project_attribute", A, NEW),
    rule("group:group_types:create", A, renamed("group:group_types_manage", A)),
    rule("group:group_types:update", A, renamed("group:group_types_manage", A)),
    rule("group:group_types:delete", A, renamed("group:group_types_manage", A)),
    rule("group:access_group_types_specs", A, NEW),
    rule("group:group_types_specs:get", A, renamed("group:group_types_specs", A)),
    rule("group:group_types_specs:get_all", A, renamed("group:group_types_specs", A)),
    rule("group:group_types_specs:create", A, renamed("group:group_types_specs", A)),
    rule("group:group_types_specs:update", A, renamed("group:group_types_specs", A)),
    rule("group:group_types_specs:delete", A, renamed("group:group_types_specs", A)),
    rule("group:get_all_group_snapshots", R, was(OWNER)),
    rule("group:create_group_snapshot", M, was(ANYONE)),
    rule("group:get_group_snapshot", R, was(OWNER)),
    rule("group:delete_group_snapshot", M, was(OWNER)),
    rule("group:update_group_snapshot", M, was(OWNER)),
    rule("group:group_snapshot_project_attribute", A, NEW),
    rule("group:reset_group_snapshot_status", A, NEW),
    rule("group:delete", M, was(OWNER)),
    rule("group:reset_status", A, NEW),
    rule("group:enable_replication", M, was(OWNER)),
    rule("group:disable_replication", M, was(OWNER)),
    rule("group:failover_replication", M, was(OWNER)),
    rule("group:list_replication_targets", M, was(OWNER)),
    // QoS specs
    rule("volume_extension:qos_specs_manage:get_all", A, NEW),
    rule("volume_extension:qos_specs_manage:get", A, NEW),
    rule("volume_extension:qos_specs_manage:create", A, NEW),
    rule("volume_extension:qos_specs_manage:update", A, NEW),
    rule("volume_extension:qos_specs_manage:delete", A, NEW),
    // Quotas
    rule("volume_extension:quota_classes:get", A, renamed("volume_extension:quota_classes", A)),
    rule("volume_extension:quota_classes:update", A, renamed("volume_extension:quota_classes", A)),
    rule("volume_extension:quotas:show", R, was(OWNER)),
    rule("volume_extension:quotas:update", A, NEW),
    rule("volume_extension:quotas:delete", A, NEW),
    // Backends, services and hosts
    rule("volume_extension:capabilities", A, NEW),
    rule("volume_extension:services:index", A, NEW),
    rule("volume_extension:services:update", A, NEW),
    rule("volume:freeze_host", A, NEW),
    rule("volume:thaw_host", A, NEW),
    rule("volume:failover_host", A, NEW),
    rule("scheduler_extension:scheduler_stats:get_pools", A, NEW),
    rule("volume_extension:hosts", A, NEW),
    // Limits
    rule("limits_extension:used_limits", R, was(OWNER)),
    // Manageable volumes
    rule("volume_extension:list_manageable", A, NEW),
    rule("volume_extension:volume_manage", A, NEW),
    rule("volume_extension:volume_unmanage", A, NEW),
    // Types
    rule("volume_extension:type_create", A, renamed("volume_extension:types_manage", A)),
    rule("volume_extension:type_update", A, renamed("volume_extension:types_manage", A)),
    rule("volume_extension:type_delete", A, renamed("volume_extension:types_manage", A)),
    rule("volume_extension:type_get", R, was(ANYONE)),
    rule("volume_extension:type_get_all", R, was(ANYONE)),
    rule("volume_extension:access_types_extra_specs", R, was(A)),
    rule("volume_extension:access_types_qos_specs_id", A, NEW),
    rule("volume_extension:volume_type_encryption", A, NEW),
    rule("volume_extension:volume_type_encryption:create", A, was("rule:volume_extension:volume_type_encryption")),
    rule("volume_extension:volume_type_encryption:get", A, was("rule:volume_extension:volume_type_encryption")),
    rule("volume_extension:volume_type_encryption:update", A, was("rule:volume_extension:volume_type_encryption")),
    rule("volume_extension:volume_type_encryption:delete", A, was("rule:volume_extension:volume_type_encryption")),
    rule("volume_extension:volume_type_access", M, was(OWNER)),
    rule("volume_extension:volume_type_access:addProjectAccess", A, NEW),
    rule("volume_extension:volume_type_access:removeProjectAccess", A, NEW),
    rule("volume_extension:volume_type_access:get_all_for_type", A, was("volume_extension:volume_type_access")),
    // Actions on volumes
    rule("volume:extend", M, was(OWNER)),
    rule("volume:extend_attached_volume", M, was(OWNER)),
    rule("volume_extension:volume_admin_actions:extend_volume_completion", A, NEW),
    rule("volume:revert_to_snapshot", M, was(OWNER)),
    rule("volume_extension:volume_admin_actions:reset_status", A, NEW),
    rule("volume:retype", M, was(OWNER)),
    rule("volume:update_readonly_flag", M, was(OWNER)),
    rule("volume_extension:volume_admin_actions:force_delete", A, NEW),
    rule("volume_extension:volume_actions:upload_public", A, NEW),
    rule("volume_extension:volume_actions:upload_image", M, was(OWNER)),
    rule("volume_extension:volume_admin_actions:force_detach", A, NEW),
    rule("volume_extension:volume_admin_actions:migrate_volume", A, NEW),
    rule("volume_extension:volume_admin_actions:migrate_volume_completion", A, NEW),
    rule("volume_extension:volume_actions:initialize_connection", M, was(OWNER)),
    rule("volume_extension:volume_actions:terminate_connection", M, was(OWNER)),
    rule("volume_extension:volume_actions:roll_detaching", M, was(OWNER)),
    rule("volume_extension:volume_actions:reserve", M, was(OWNER)),
    rule("volume_extension:volume_actions:unreserve", M, was(OWNER)),
    rule("volume_extension:volume_actions:begin_detaching", M, was(OWNER)),
    rule("volume_extension:volume_actions:attach", M, was(OWNER)),
    rule("volume_extension:volume_actions:detach", M, was(OWNER)),
    rule("volume:reimage", M, NEW),
    rule("volume:reimage_reserved", M, NEW),
    // Transfers
    rule("volume:get_all_transfers", R, was(OWNER)),
    rule("volume:create_transfer", M, was(OWNER)),
    rule("volume:get_transfer", R, was(OWNER)),
    rule("volume:accept_transfer", M, was(ANYONE)),
    rule("volume:delete_transfer", M, was(OWNER)),
    // Metadata of volumes
    rule("volume:get_volume_metadata", R, was(OWNER)),
    rule("volume:create_volume_metadata", M, was(OWNER)),
    rule("volume:update_volume_metadata", M, was(OWNER)),
    rule("volume:delete_volume_metadata", M, was(OWNER)),
    rule("volume_extension:volume_image_metadata:show", R, renamed("volume_extension:volume_image_metadata", OWNER)),
    rule("volume_extension:volume_image_metadata:set", M, renamed("volume_extension:volume_image_metadata", OWNER)),
    rule("volume_extension:volume_image_metadata:remove", M, renamed("volume_extension:volume_image_metadata", OWNER)),
    rule("volume:update_volume_admin_metadata", A, NEW),
    // Extra specs of types
    rule("volume_extension:types_extra_specs:index", R, was(ANYONE)),
    rule("volume_extension:types_extra_specs:create", A, NEW),
    rule("volume_extension:types_extra_specs:show", R, was(ANYONE)),
    rule("volume_extension:types_extra_specs:read_sensitive", A, NEW),
    rule("volume_extension:types_extra_specs:update", A, NEW),
    rule("volume_extension:types_extra_specs:delete", A, NEW),
    // Volumes
    rule("volume:create", M, was(ANYONE)),
    rule("volume:create_from_image", M, was(ANYONE)),
    rule("volume:get", R, was(OWNER)),
    rule("volume:get_all", R, was(OWNER)),
    rule("volume:update", M, was(OWNER)),
    rule("volume:delete", M, was(OWNER)),
    rule("volume:force_delete", A, NEW),
    rule("volume_extension:volume_host_attribute", A, NEW),
    rule("volume_extension:volume_tenant_attribute", R, was(OWNER)),
    rule("volume_extension:volume_mig_status_attribute", A, NEW),
    rule("volume_extension:volume_encryption_metadata", R, was(OWNER)),
    rule("volume:multiattach", M, was(OWNER)),
    // Default types of projects
    rule("volume_extension:default_set_or_update", A, was("rule:system_or_domain_or_project_admin")),
    rule("volume_extension:default_get", A, was("rule:system_or_domain_or_project_admin")),
    rule("volume_extension:default_get_all", A, was("role:admin and system_scope:all")),
    rule("volume_extension:default_unset", A, was("rule:system_or_domain_or_project_admin")),
    // Compute, as in Nova
    rule("os_compute_api:servers:index", R, NEW),
    rule("os_compute_api:servers:detail", R, NEW),
    rule("os_compute_api:servers:index:get_all_tenants", A, NEW),
    rule("os_compute_api:servers:show", R, NEW),
    rule("os_compute_api:ips:index", R, NEW),
    rule("os_compute_api:servers:create", M, NEW),
    rule("os_compute_api:servers:delete", M, NEW),
    rule("os_compute_api:servers:start", M, NEW),
    rule("os_compute_api:servers:stop", M, NEW),
    rule("os_compute_api:servers:reboot", M, NEW),
    rule("os_compute_api:os-pause-server:pause", M, NEW),
    rule("os_compute_api:os-pause-server:unpause", M, NEW),
    rule("os_compute_api:os-suspend-server:suspend", M, NEW),
    rule("os_compute_api:os-suspend-server:resume", M, NEW),
    rule("os_compute_api:os-shelve:shelve", M, NEW),
    rule("os_compute_api:os-shelve:shelve_offload", A, NEW),
    rule("os_compute_api:os-shelve:unshelve", M, NEW),
    rule("os_compute_api:os-lock-server:lock", M, NEW),
    rule("os_compute_api:os-lock-server:unlock", M, NEW),
    rule("os_compute_api:os-volumes-attachments:index", R, NEW),
    rule("os_compute_api:os-volumes-attachments:show", R, NEW),
    rule("os_compute_api:os-volumes-attachments:create", M, NEW),
    rule("os_compute_api:os-volumes-attachments:update", M, NEW),
    rule("os_compute_api:os-volumes-attachments:swap", "rule:admin_api or role:service", NEW),
    rule("os_compute_api:os-volumes-attachments:delete", M, NEW),
    rule("os_compute_api:os-instance-actions:list", R, NEW),
    rule("os_compute_api:os-instance-actions:show", R, NEW),
    rule("os_compute_api:os-instance-actions:events", A, NEW),
    rule("os_compute_api:os-instance-actions:events:details", A, NEW),
    rule("os_compute_api:os-server-external-events:create", "rule:admin_api or role:service", NEW),
    // Image, as in Glance
    rule("get_images", R, NEW),
    rule("get_image", R, NEW),
    rule("download_image", R, NEW),
    rule("add_image", M, NEW),
    rule("modify_image", M, NEW),
    rule("upload_image", M, NEW),
    rule("delete_image", M, NEW),
    rule("deactivate", M, NEW),
    rule("reactivate", M, NEW),
    // Hearth's own: everything under /admin
    rule("hearth:admin", A, NEW),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rule_is_named_twice_and_each_is_found() {
        for (index, rule) in RULES.iter().enumerate() {
            assert_eq!(Rule::find(rule.name).map(Rule::index), Some(index), "{}", rule.name);
            assert_eq!(Rule::named(rule.name).index(), index, "{}", rule.name);
        }
        assert_eq!(Rule::find("volume:gets"), None);
    }

    #[test]
    fn cinders_rules_are_all_there() {
        assert_eq!(RULES.iter().position(|rule| rule.name.starts_with("os_compute_api:")), Some(CINDER));
        let old = |rule: &&DefaultRule| rule.old.is_some();
        assert_eq!(RULES.iter().filter(old).count(), 103);
        let names = RULES.iter().filter_map(|rule| rule.old).filter_map(|old| old.name);
        assert!(names.clone().all(|name| Rule::find(name).is_none()), "an old name is no rule");
        assert_eq!(names.count(), 16);
    }
}
