//! Every call of Block Storage v3, and those of Compute that concern volumes: whether Hearth serves it, and if not, why.
//!
//! A line is `METHOD PATH [action] [@MINOR]`, MINOR being the first microversion that has the call; what is not served says
//! why after `-`. A section begins with `# BASE: TITLE`; a reason in its heading (after `-`) holds for all its lines.

pub const SURFACE: &str = "
# /: Finding the service
GET /
GET /v3
GET /v3/
GET /healthcheck
GET /compute/
GET /compute/v2.1/

# /v3: Extensions, zones, limits, messages, filters
GET /extensions
GET /extensions/{alias}
GET /os-availability-zone
GET /limits
GET /messages @3
GET /messages/{id} @3
DELETE /messages/{id} @3
GET /resource_filters @33

# /v3: Volumes
GET /volumes
GET /volumes/detail
GET /volumes/summary @12
POST /volumes
GET /volumes/{id}
PUT /volumes/{id}
DELETE /volumes/{id}
GET /volumes/{id}/metadata
POST /volumes/{id}/metadata
PUT /volumes/{id}/metadata
GET /volumes/{id}/metadata/{key}
PUT /volumes/{id}/metadata/{key}
DELETE /volumes/{id}/metadata/{key}
GET /volumes/{id}/encryption
GET /volumes/{id}/encryption/{key}

# /v3: Actions on volumes
POST /volumes/{id}/action os-attach
POST /volumes/{id}/action os-detach
POST /volumes/{id}/action os-reserve
POST /volumes/{id}/action os-unreserve
POST /volumes/{id}/action os-begin_detaching
POST /volumes/{id}/action os-roll_detaching
POST /volumes/{id}/action os-initialize_connection
POST /volumes/{id}/action os-terminate_connection
POST /volumes/{id}/action os-volume_upload_image
POST /volumes/{id}/action os-extend
POST /volumes/{id}/action os-extend_volume_completion
POST /volumes/{id}/action os-update_readonly_flag
POST /volumes/{id}/action os-retype
POST /volumes/{id}/action os-set_bootable
POST /volumes/{id}/action os-set_image_metadata
POST /volumes/{id}/action os-unset_image_metadata
POST /volumes/{id}/action os-show_image_metadata
POST /volumes/{id}/action os-reimage @68
POST /volumes/{id}/action revert @40
POST /volumes/{id}/action os-reset_status
POST /volumes/{id}/action os-force_delete
POST /volumes/{id}/action os-force_detach
POST /volumes/{id}/action os-migrate_volume
POST /volumes/{id}/action os-migrate_volume_completion
POST /volumes/{id}/action os-unmanage

# /v3: Attachments
GET /attachments @27
GET /attachments/detail @27
POST /attachments @27
GET /attachments/{id} @27
PUT /attachments/{id} @27
DELETE /attachments/{id} @27
POST /attachments/{id}/action os-complete @44

# /v3: Snapshots
GET /snapshots
GET /snapshots/detail
POST /snapshots
GET /snapshots/{id}
PUT /snapshots/{id}
DELETE /snapshots/{id}
GET /snapshots/{id}/metadata
POST /snapshots/{id}/metadata
PUT /snapshots/{id}/metadata
GET /snapshots/{id}/metadata/{key}
PUT /snapshots/{id}/metadata/{key}
DELETE /snapshots/{id}/metadata/{key}
POST /snapshots/{id}/action os-reset_status
POST /snapshots/{id}/action os-update_snapshot_status
POST /snapshots/{id}/action os-force_delete
POST /snapshots/{id}/action os-unmanage

# /v3: Volume types
GET /types
POST /types
GET /types/default
GET /types/{id}
PUT /types/{id}
DELETE /types/{id}
GET /types/{id}/extra_specs
POST /types/{id}/extra_specs
GET /types/{id}/extra_specs/{key}
PUT /types/{id}/extra_specs/{key}
DELETE /types/{id}/extra_specs/{key}
GET /types/{id}/os-volume-type-access
POST /types/{id}/action addProjectAccess
POST /types/{id}/action removeProjectAccess
GET /types/{id}/encryption
POST /types/{id}/encryption
GET /types/{id}/encryption/{field}
PUT /types/{id}/encryption/{id}
DELETE /types/{id}/encryption/{id}
GET /default-types @62
GET /default-types/{project} @62
PUT /default-types/{project} @62
DELETE /default-types/{project} @62

# /v3: QoS specs
GET /qos-specs
POST /qos-specs
GET /qos-specs/{id}
PUT /qos-specs/{id}
DELETE /qos-specs/{id}
PUT /qos-specs/{id}/delete_keys
GET /qos-specs/{id}/associations
GET /qos-specs/{id}/associate
GET /qos-specs/{id}/disassociate
GET /qos-specs/{id}/disassociate_all

# /v3: Quotas
GET /os-quota-sets/{project}
GET /os-quota-sets/{project}/defaults
PUT /os-quota-sets/{project}
DELETE /os-quota-sets/{project}
GET /os-quota-class-sets/{class}
PUT /os-quota-class-sets/{class}

# /v3: Services, hosts, pools, clusters, workers
GET /os-services
PUT /os-services/enable
PUT /os-services/disable
PUT /os-services/disable-log-reason
PUT /os-services/freeze
PUT /os-services/thaw
PUT /os-services/failover_host
PUT /os-services/failover @26
PUT /os-services/set-log @32
PUT /os-services/get-log @32
GET /os-hosts
GET /os-hosts/{host}
PUT /os-hosts/{host}
GET /scheduler-stats/get_pools
GET /capabilities/{host}
GET /clusters @7
GET /clusters/detail @7
GET /clusters/{name} @7
PUT /clusters/enable @7
PUT /clusters/disable @7
POST /workers/cleanup @24

# /v3: What lies at backends
GET /manageable_volumes @8
GET /manageable_volumes/detail @8
POST /manageable_volumes @8
GET /os-volume-manage
GET /os-volume-manage/detail
POST /os-volume-manage
GET /manageable_snapshots @8
GET /manageable_snapshots/detail @8
POST /manageable_snapshots @8
GET /os-snapshot-manage
GET /os-snapshot-manage/detail
POST /os-snapshot-manage

# /v3: Backups - they are to come
GET /backups
GET /backups/detail
POST /backups
GET /backups/{id}
PUT /backups/{id} @9
DELETE /backups/{id}
POST /backups/{id}/restore
GET /backups/{id}/export_record
POST /backups/import_record
POST /backups/{id}/action os-reset_status
POST /backups/{id}/action os-force_delete

# /v3: Transfers - they are to come
GET /volume-transfers
GET /volume-transfers/detail
POST /volume-transfers
GET /volume-transfers/{id}
DELETE /volume-transfers/{id}
POST /volume-transfers/{id}/accept
GET /os-volume-transfer
GET /os-volume-transfer/detail
POST /os-volume-transfer
GET /os-volume-transfer/{id}
DELETE /os-volume-transfer/{id}
POST /os-volume-transfer/{id}/accept

# /v3: Group types - groups are to come
GET /group_types @11
POST /group_types @11
GET /group_types/{id} @11
PUT /group_types/{id} @11
DELETE /group_types/{id} @11
GET /group_types/{id}/group_specs @11
POST /group_types/{id}/group_specs @11
GET /group_types/{id}/group_specs/{key} @11
PUT /group_types/{id}/group_specs/{key} @11
DELETE /group_types/{id}/group_specs/{key} @11

# /v3: Groups - they are to come
GET /groups @13
GET /groups/detail @13
POST /groups @13
GET /groups/{id} @13
PUT /groups/{id} @13
POST /groups/action create-from-src @14
POST /groups/{id}/action delete @13
POST /groups/{id}/action reset_status @20
POST /groups/{id}/action enable_replication @38
POST /groups/{id}/action disable_replication @38
POST /groups/{id}/action failover_replication @38
POST /groups/{id}/action list_replication_targets @38
GET /group_snapshots @14
GET /group_snapshots/detail @14
POST /group_snapshots @14
GET /group_snapshots/{id} @14
DELETE /group_snapshots/{id} @14
POST /group_snapshots/{id}/action reset_status @19

# /v3: Consistency groups - old names of groups, which are to come
GET /consistencygroups
GET /consistencygroups/detail
POST /consistencygroups
GET /consistencygroups/{id}
PUT /consistencygroups/{id}/update
POST /consistencygroups/{id}/delete
POST /consistencygroups/create_from_src
GET /cgsnapshots
GET /cgsnapshots/detail
POST /cgsnapshots
GET /cgsnapshots/{id}
DELETE /cgsnapshots/{id}

# /compute/v2.1: Compute: servers and their volumes
GET /servers
GET /servers/detail
POST /servers
GET /servers/{id}
DELETE /servers/{id}
POST /servers/{id}/action os-start
POST /servers/{id}/action os-stop
POST /servers/{id}/action reboot
POST /servers/{id}/action pause
POST /servers/{id}/action unpause
POST /servers/{id}/action suspend
POST /servers/{id}/action resume
POST /servers/{id}/action shelve
POST /servers/{id}/action shelveOffload
POST /servers/{id}/action unshelve
POST /servers/{id}/action lock
POST /servers/{id}/action unlock
GET /servers/{id}/ips
GET /flavors
GET /flavors/detail
GET /flavors/{id}
GET /os-volumes
GET /os-volumes/detail
POST /os-volumes
GET /os-volumes/{id}
DELETE /os-volumes/{id}
GET /os-snapshots
GET /os-snapshots/detail
POST /os-snapshots
GET /os-snapshots/{id}
DELETE /os-snapshots/{id}
GET /servers/{id}/os-volume_attachments
POST /servers/{id}/os-volume_attachments
GET /servers/{id}/os-volume_attachments/{volume}
PUT /servers/{id}/os-volume_attachments/{volume}
DELETE /servers/{id}/os-volume_attachments/{volume}
GET /servers/{id}/os-instance-actions
GET /servers/{id}/os-instance-actions/{request}
POST /os-server-external-events
";
