//! The tables, as diesel sees them: the same in both databases (`migrations/`) but for the journal, which is SQLite's.

#![allow(missing_docs)] // the macro's items; the columns are described in the migrations

diesel::table! {
    volumes (id) {
        id -> Text,
        generation -> BigInt,
        epoch -> BigInt,
        project_id -> Text,
        user_id -> Text,
        display_name -> Nullable<Text>,
        display_description -> Nullable<Text>,
        size -> BigInt,
        status -> Text,
        previous_status -> Nullable<Text>,
        attach_status -> Text,
        migration_status -> Nullable<Text>,
        bootable -> Bool,
        multiattach -> Bool,
        volume_type_id -> Nullable<Text>,
        availability_zone -> Text,
        host -> Nullable<Text>,
        metadata -> Text,
        image_metadata -> Text,
        admin_metadata -> Text,
        consumes_quota -> Bool,
        origin_volume_id -> Nullable<Text>,
        snapshot_id -> Nullable<Text>,
        provider_id -> Nullable<Text>,
        loans -> Text,
        orphan_exports -> Text,
        outstanding -> Text,
        claims -> Nullable<Text>,
        unsettled -> Bool,
        created_at -> BigInt,
        updated_at -> Nullable<BigInt>,
        terminated_at -> Nullable<BigInt>,
        deleted -> Bool,
        deleted_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    attachments (id) {
        id -> Text,
        volume_id -> Text,
        project_id -> Text,
        ordinal -> BigInt,
        instance_uuid -> Nullable<Text>,
        attached_host -> Nullable<Text>,
        mountpoint -> Nullable<Text>,
        attach_time -> Nullable<BigInt>,
        attach_status -> Text,
        attach_mode -> Nullable<Text>,
        connector -> Nullable<Text>,
        connection_info -> Nullable<Text>,
        export_name -> Nullable<Text>,
        bdm_uuid -> Nullable<Text>,
        device -> Nullable<Text>,
        tag -> Nullable<Text>,
        delete_on_termination -> Nullable<Bool>,
        detaching -> Nullable<Bool>,
        guest_device -> Nullable<Text>,
        created_at -> BigInt,
    }
}

diesel::table! {
    snapshots (id) {
        id -> Text,
        volume_id -> Text,
        project_id -> Text,
        user_id -> Text,
        ordinal -> BigInt,
        display_name -> Nullable<Text>,
        display_description -> Nullable<Text>,
        status -> Text,
        progress -> BigInt,
        volume_size -> BigInt,
        metadata -> Text,
        consumes_quota -> Bool,
        created_at -> BigInt,
        updated_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    operations (id) {
        id -> Text,
        volume_id -> Text,
        epoch -> BigInt,
        kind -> Text,
        step -> Text,
        attempt -> BigInt,
        reserved_gib -> BigInt,
        started_at -> BigInt,
        other_backend -> Nullable<Text>,
        retyping_to -> Nullable<Text>,
        body -> Text,
    }
}

diesel::table! {
    servers (id) {
        id -> Text,
        name -> Text,
        project_id -> Text,
        user_id -> Text,
        host -> Nullable<Text>,
        hypervisor -> Text,
        qmp_socket -> Nullable<Text>,
        qmp_check_uuid -> Bool,
        vm_state -> Text,
        task_state -> Nullable<Text>,
        locked -> Bool,
        availability_zone -> Text,
        root_device_name -> Text,
        launched_at -> Nullable<BigInt>,
        created_at -> BigInt,
        updated_at -> Nullable<BigInt>,
        epoch -> BigInt,
        deleted -> Bool,
    }
}

diesel::table! {
    quota_usages (id) {
        id -> Text,
        project_id -> Text,
        volume_type_id -> Nullable<Text>,
        volumes -> BigInt,
        snapshots -> BigInt,
        gigabytes -> BigInt,
        snapshot_gigabytes -> BigInt,
        reserved_gigabytes -> BigInt,
        live_volumes -> BigInt,
    }
}

diesel::table! {
    quota_limits (owner, resource, volume_type_id) {
        owner -> Text,
        resource -> Text,
        volume_type_id -> Text,
        hard_limit -> BigInt,
    }
}

diesel::table! {
    qos_specs (id) {
        id -> Text,
        name -> Text,
        revision -> BigInt,
        consumer -> Text,
        specs -> Text,
        created_at -> BigInt,
        updated_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    volume_types (id) {
        id -> Text,
        name -> Text,
        revision -> BigInt,
        description -> Nullable<Text>,
        is_public -> Bool,
        projects -> Text,
        extra_specs -> Text,
        encryption -> Nullable<Text>,
        qos_specs_id -> Nullable<Text>,
        created_at -> BigInt,
        updated_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    default_volume_types (project_id) {
        project_id -> Text,
        volume_type_id -> Text,
    }
}

diesel::table! {
    messages (id) {
        id -> Text,
        project_id -> Text,
        request_id -> Text,
        resource_type -> Text,
        resource_uuid -> Nullable<Text>,
        action_id -> Text,
        detail_id -> Text,
        event_id -> Text,
        message_level -> Text,
        cause -> Nullable<Text>,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    host_fences (host) {
        host -> Text,
        epoch -> BigInt,
        proof -> Text,
        user_id -> Text,
        request_id -> Text,
        fenced_at -> BigInt,
        lifted_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    services (host, program) {
        host -> Text,
        program -> Text,
        disabled -> Bool,
        disabled_reason -> Nullable<Text>,
        frozen -> Bool,
        updated_at -> BigInt,
    }
}

diesel::table! {
    events (volume_id, generation) {
        volume_id -> Text,
        generation -> BigInt,
        at -> BigInt,
        body -> Text,
    }
}

diesel::table! {
    server_actions (id) {
        id -> Text,
        server_id -> Text,
        started_at -> BigInt,
        action -> Text,
        request_id -> Text,
        user_id -> Text,
        project_id -> Text,
        ended_at -> Nullable<BigInt>,
        failure -> Nullable<Text>,
    }
}

diesel::table! {
    journal (sequence) {
        sequence -> BigInt,
        body -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(volumes, attachments, operations, snapshots);
diesel::allow_tables_to_appear_in_same_query!(attachments, servers);
