//! Every rule of Block Storage against every persona, expected by hand: the letters of the specification's table, not its
//! expressions.

use hearth::domain::ids::ProjectId;
use hearth::identity::RequestContext;
use hearth::policy::rules::{CINDER, RULES};
use hearth::policy::{Policy, Rule};

use super::{caller, judged, overrides, policy, scoped};

/// Who reads the project, and every admin.
const READER: &str = "
    message:get_all message:get volume:get_snapshot_metadata volume:get_all_snapshots
    volume_extension:extended_snapshot_attributes volume:get_snapshot backup:get_all backup:get
    group:get_all group:get group:get_all_group_snapshots group:get_group_snapshot
    volume_extension:quotas:show limits_extension:used_limits volume_extension:type_get
    volume_extension:type_get_all volume_extension:access_types_extra_specs volume:get_all_transfers
    volume:get_transfer volume:get_volume_metadata volume_extension:volume_image_metadata:show
    volume_extension:types_extra_specs:index volume_extension:types_extra_specs:show volume:get
    volume:get_all volume_extension:volume_tenant_attribute volume_extension:volume_encryption_metadata
";

/// Who is a member of the project, and every admin.
const MEMBER: &str = "
    volume:attachment_create volume:attachment_update volume:attachment_delete
    volume:attachment_complete volume:multiattach_bootable_volume message:delete
    volume:update_snapshot_metadata volume:delete_snapshot_metadata volume:create_snapshot
    volume:update_snapshot volume:delete_snapshot
    snapshot_extension:snapshot_actions:update_snapshot_status backup:create backup:update backup:delete
    backup:restore group:create group:update group:create_group_snapshot group:delete_group_snapshot
    group:update_group_snapshot group:delete group:enable_replication group:disable_replication
    group:failover_replication group:list_replication_targets volume_extension:volume_type_access
    volume:extend volume:extend_attached_volume volume:revert_to_snapshot volume:retype
    volume:update_readonly_flag volume_extension:volume_actions:upload_image
    volume_extension:volume_actions:initialize_connection
    volume_extension:volume_actions:terminate_connection volume_extension:volume_actions:roll_detaching
    volume_extension:volume_actions:reserve volume_extension:volume_actions:unreserve
    volume_extension:volume_actions:begin_detaching volume_extension:volume_actions:attach
    volume_extension:volume_actions:detach volume:reimage volume:reimage_reserved volume:create_transfer
    volume:accept_transfer volume:delete_transfer volume:create_volume_metadata
    volume:update_volume_metadata volume:delete_volume_metadata
    volume_extension:volume_image_metadata:set volume_extension:volume_image_metadata:remove
    volume:create volume:create_from_image volume:update volume:delete volume:multiattach
";

/// Admins alone.
const ADMIN: &str = "
    clusters:get_all clusters:get clusters:update workers:cleanup
    volume_extension:snapshot_admin_actions:reset_status
    volume_extension:snapshot_admin_actions:force_delete snapshot_extension:list_manageable
    snapshot_extension:snapshot_manage snapshot_extension:snapshot_unmanage
    backup:backup_project_attribute backup:backup-import backup:export-import
    volume_extension:backup_admin_actions:reset_status
    volume_extension:backup_admin_actions:force_delete group:group_project_attribute
    group:group_types:create group:group_types:update group:group_types:delete
    group:access_group_types_specs group:group_types_specs:get group:group_types_specs:get_all
    group:group_types_specs:create group:group_types_specs:update group:group_types_specs:delete
    group:group_snapshot_project_attribute group:reset_group_snapshot_status group:reset_status
    volume_extension:qos_specs_manage:get_all volume_extension:qos_specs_manage:get
    volume_extension:qos_specs_manage:create volume_extension:qos_specs_manage:update
    volume_extension:qos_specs_manage:delete volume_extension:quota_classes:get
    volume_extension:quota_classes:update volume_extension:quotas:update volume_extension:quotas:delete
    volume_extension:capabilities volume_extension:services:index volume_extension:services:update
    volume:freeze_host volume:thaw_host volume:failover_host
    scheduler_extension:scheduler_stats:get_pools volume_extension:hosts
    volume_extension:list_manageable volume_extension:volume_manage volume_extension:volume_unmanage
    volume_extension:type_create volume_extension:type_update volume_extension:type_delete
    volume_extension:access_types_qos_specs_id volume_extension:volume_type_encryption
    volume_extension:volume_type_encryption:create volume_extension:volume_type_encryption:get
    volume_extension:volume_type_encryption:update volume_extension:volume_type_encryption:delete
    volume_extension:volume_type_access:addProjectAccess
    volume_extension:volume_type_access:removeProjectAccess
    volume_extension:volume_type_access:get_all_for_type
    volume_extension:volume_admin_actions:extend_volume_completion
    volume_extension:volume_admin_actions:reset_status
    volume_extension:volume_admin_actions:force_delete volume_extension:volume_actions:upload_public
    volume_extension:volume_admin_actions:force_detach
    volume_extension:volume_admin_actions:migrate_volume
    volume_extension:volume_admin_actions:migrate_volume_completion volume:update_volume_admin_metadata
    volume_extension:types_extra_specs:create volume_extension:types_extra_specs:read_sensitive
    volume_extension:types_extra_specs:update volume_extension:types_extra_specs:delete
    volume:force_delete volume_extension:volume_host_attribute
    volume_extension:volume_mig_status_attribute volume_extension:default_set_or_update
    volume_extension:default_get volume_extension:default_get_all volume_extension:default_unset
";

/// What everybody could do before, and what everybody of the project could.
const ANYONE_BEFORE: &str = "
    volume:attachment_create snapshot_extension:snapshot_actions:update_snapshot_status backup:create
    group:create group:create_group_snapshot volume_extension:type_get volume_extension:type_get_all
    volume:accept_transfer volume_extension:types_extra_specs:index
    volume_extension:types_extra_specs:show volume:create volume:create_from_image
";
const OWNER_BEFORE: &str = "
    volume:attachment_update volume:attachment_delete volume:attachment_complete
    volume:multiattach_bootable_volume message:get_all message:get message:delete
    volume:get_snapshot_metadata volume:update_snapshot_metadata volume:delete_snapshot_metadata
    volume:get_all_snapshots volume_extension:extended_snapshot_attributes volume:create_snapshot
    volume:get_snapshot volume:update_snapshot volume:delete_snapshot backup:get_all backup:get
    backup:update backup:delete backup:restore group:get_all group:get group:update
    group:get_all_group_snapshots group:get_group_snapshot group:delete_group_snapshot
    group:update_group_snapshot group:delete group:enable_replication group:disable_replication
    group:failover_replication group:list_replication_targets volume_extension:quotas:show
    limits_extension:used_limits volume_extension:volume_type_access volume:extend
    volume:extend_attached_volume volume:revert_to_snapshot volume:retype volume:update_readonly_flag
    volume_extension:volume_actions:upload_image volume_extension:volume_actions:initialize_connection
    volume_extension:volume_actions:terminate_connection volume_extension:volume_actions:roll_detaching
    volume_extension:volume_actions:reserve volume_extension:volume_actions:unreserve
    volume_extension:volume_actions:begin_detaching volume_extension:volume_actions:attach
    volume_extension:volume_actions:detach volume:get_all_transfers volume:create_transfer
    volume:get_transfer volume:delete_transfer volume:get_volume_metadata volume:create_volume_metadata
    volume:update_volume_metadata volume:delete_volume_metadata
    volume_extension:volume_image_metadata:show volume_extension:volume_image_metadata:set
    volume_extension:volume_image_metadata:remove volume:get volume:get_all volume:update volume:delete
    volume_extension:volume_tenant_attribute volume_extension:volume_encryption_metadata
    volume:multiattach
";

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split_whitespace()
}

#[track_caller]
fn allowed(policy: &Policy, context: &RequestContext, name: &str) -> bool {
    let rule = Rule::find(name).unwrap_or_else(|| panic!("{name} is not in the table"));
    policy.allows(context, rule, &ProjectId::from("p"))
}

/// Callers, asking for what project `p` has: whether they pass a READER rule, a MEMBER rule, an ADMIN rule, a rule for anyone
/// and one for the owner.
fn personas(policy: &Policy) -> Vec<(&'static str, RequestContext, [bool; 5])> {
    let of = |project: &str, roles: &[&str]| judged(policy, caller("u", project, roles));
    vec![
        ("without a role", of("p", &[]), [false, false, false, true, true]),
        ("reader", of("p", &["reader"]), [true, false, false, true, true]),
        ("member", of("p", &["member", "reader"]), [true, true, false, true, true]),
        // an identity service implies roles; without it, a member is no reader
        ("bare member", of("p", &["member"]), [false, true, false, true, true]),
        ("service", of("p", &["service"]), [false, false, false, true, true]),
        ("stranger", of("q", &["member", "reader"]), [false, false, false, true, false]),
        ("admin", of("p", &["admin", "member", "reader"]), [true, true, true, true, true]),
        ("admin of another project", of("q", &["admin"]), [true, true, true, true, true]),
        (
            "admin of a project that is not the cloud's",
            scoped(of("q", &["admin"]), |scope| scope.is_admin_project = false),
            [true, true, true, true, true],
        ),
    ]
}

#[test]
fn every_rule_is_what_its_letter_says() {
    let policy = Policy::default();
    let lists = [READER, MEMBER, ADMIN];
    // the six base rules have no letter
    assert_eq!(lists.iter().map(|list| names(list).count()).sum::<usize>(), CINDER - 6);
    for (persona, context, expected) in personas(&policy) {
        for (list, expected) in lists.iter().zip(expected) {
            for name in names(list) {
                assert_eq!(allowed(&policy, &context, name), expected, "{name} for {persona}");
            }
        }
    }
}

#[test]
fn old_defaults_count_beside_the_new_ones_if_they_are_let() {
    let policy = Policy::new(&overrides(&[]), false).unwrap();
    let was = |list: &str, name: &str| names(list).any(|other| other == name);
    for (persona, context, [reader, member, admin, anyone, owner]) in personas(&policy) {
        for (list, new) in [(READER, reader), (MEMBER, member), (ADMIN, admin)] {
            for name in names(list) {
                let old = (was(ANYONE_BEFORE, name) && anyone) || (was(OWNER_BEFORE, name) && owner);
                assert_eq!(allowed(&policy, &context, name), new || old, "{name} for {persona}");
            }
        }
    }
}

/// The four whose old default is an expression of its own.
#[test]
fn old_defaults_of_default_types() {
    let policy = Policy::new(&overrides(&[]), false).unwrap();
    let domain_admin = scoped(caller("u", "q", &["admin"]), |scope| scope.domain_id = Some("d".to_owned()));
    for name in ["volume_extension:default_get", "volume_extension:default_set_or_update"] {
        assert!(!allowed(&policy, &caller("u", "p", &["member"]), name), "{name}");
        assert!(allowed(&policy, &domain_admin, name), "{name}: any admin");
    }
    // without a cloud admin's mark and without is_admin only the old defaults let in
    let half = |scope: &str| {
        let scope = scope.to_owned();
        scoped(caller("u", "q", &["admin"]), move |known| {
            known.is_admin_project = false;
            known.system_scope = Some(scope);
        })
    };
    assert!(allowed(&policy, &half("all"), "volume_extension:default_get_all"));
    assert!(!allowed(&policy, &half("some"), "volume_extension:default_get_all"));
    assert!(!allowed(&Policy::default(), &half("all"), "volume_extension:default_get_all"));
    assert!(allowed(&policy, &half("all"), "volume_extension:default_unset"));
    assert!(!allowed(&policy, &half("some"), "volume_extension:default_unset"));
}

#[test]
fn an_override_under_an_old_name_holds_for_its_new_names() {
    let clerk = caller("u", "p", &["clerk"]);
    let renamed: Vec<(&str, &str)> = RULES.iter().filter_map(|rule| Some((rule.name, rule.old?.name?))).collect();
    assert_eq!(renamed.len(), 16);
    for (new, old) in &renamed {
        let by_old = policy(&[(old, "role:clerk")]);
        assert!(allowed(&by_old, &clerk, new), "{old} for {new}");
        let by_both = policy(&[(old, "role:clerk"), (new, "role:nobody")]);
        assert!(!allowed(&by_both, &clerk, new), "{new} is overridden itself");
        // what generators of sample files write is no override
        let alias = format!("rule:{new}");
        assert!(!allowed(&policy(&[(old, &alias)]), &clerk, new), "{old} as another word for {new}");
    }
    let others = policy(&[("volume_extension:types_manage", "role:clerk")]);
    assert!(!allowed(&others, &clerk, "volume_extension:qos_specs_manage:create"));
}

#[test]
fn an_override_takes_the_place_of_both_defaults() {
    let member = caller("u", "p", &["member", "reader"]);
    for enforce_new_defaults in [true, false] {
        let policy = Policy::new(&overrides(&[("volume:delete", "!")]), enforce_new_defaults).unwrap();
        assert!(!allowed(&policy, &member, "volume:delete"));
        assert!(!allowed(&policy, &judged(&policy, caller("u", "p", &["admin"])), "volume:delete"));
        assert!(allowed(&policy, &member, "volume:get"));
    }
}

/// Who counts as an admin is a rule like the others, and all that depends on it follows.
#[test]
fn who_is_an_admin_is_a_rule() {
    let policy = policy(&[("context_is_admin", "role:operator")]);
    let operator = judged(&policy, caller("u", "q", &["operator"]));
    assert!(operator.is_admin && operator.sees(&ProjectId::from("p")));
    assert!(allowed(&policy, &operator, "volume:force_delete"));
    assert!(!allowed(&policy, &operator, "volume:get"), "READER asks for the role itself, as in Cinder");
    assert!(!judged(&policy, caller("u", "q", &["admin"])).is_admin);
}

#[test]
fn the_other_services_rules() {
    let policy = Policy::default();
    let cases = [
        ("os_compute_api:servers:show", [false, true, true, false, true]),
        ("os_compute_api:os-volumes-attachments:create", [false, false, true, false, true]),
        ("os_compute_api:os-volumes-attachments:swap", [false, false, false, true, true]),
        ("os_compute_api:servers:index:get_all_tenants", [false, false, false, false, true]),
        ("get_image", [false, true, true, false, true]),
        ("upload_image", [false, false, true, false, true]),
        ("hearth:admin", [false, false, false, false, true]),
    ];
    let roles: [&[&str]; 5] = [&[], &["reader"], &["member", "reader"], &["service"], &["admin"]];
    for (name, expected) in cases {
        let found = roles.map(|roles| allowed(&policy, &judged(&policy, caller("u", "p", roles)), name));
        assert_eq!(found, expected, "{name}");
    }
}
