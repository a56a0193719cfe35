-- Hearth's records. The same tables, columns and names as in migrations/sqlite, but for what makes commits cheap here.
-- Text sorts by its bytes, as in SQLite, whatever locale the cluster was made with.
-- Ids are text, instants are microseconds since the Unix epoch, structured values are JSON text.

-- Attach and detach move a volume between four statuses, and most commits are of those: to lists by status they are one.
CREATE FUNCTION class_of_status(status TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT CASE WHEN status IN ('reserved', 'attaching', 'in-use', 'detaching') THEN 'held' ELSE status END $$;

-- fillfactor: room for the next version of a row in its own page. Where an update changes no indexed column (HOT), that
-- version costs no index anything.
CREATE TABLE volumes (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    project_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    display_name TEXT COLLATE "C",
    display_description TEXT COLLATE "C",
    size BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    previous_status TEXT COLLATE "C",
    attach_status TEXT COLLATE "C" NOT NULL,
    migration_status TEXT COLLATE "C",
    bootable BOOLEAN NOT NULL,
    multiattach BOOLEAN NOT NULL,
    volume_type_id TEXT COLLATE "C",
    availability_zone TEXT COLLATE "C" NOT NULL,
    host TEXT COLLATE "C",
    metadata TEXT COLLATE "C" NOT NULL,
    image_metadata TEXT COLLATE "C" NOT NULL,
    admin_metadata TEXT COLLATE "C" NOT NULL,
    consumes_quota BOOLEAN NOT NULL,
    -- the volume, and the snapshot of it, that it was made from
    origin_volume_id TEXT COLLATE "C",
    snapshot_id TEXT COLLATE "C",
    provider_id TEXT COLLATE "C",
    -- volumes that are being made from its contents
    loans TEXT COLLATE "C" NOT NULL,
    orphan_exports TEXT COLLATE "C" NOT NULL,
    outstanding TEXT COLLATE "C" NOT NULL,
    -- marks and connections of clients of the old actions; null: none
    claims TEXT COLLATE "C",
    -- outstanding calls, orphan exports or loans are there: found at start without reading every row
    unsettled BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    terminated_at BIGINT,
    deleted BOOLEAN NOT NULL,
    deleted_at BIGINT,
    -- Part of the index on the status and never read: an index on an expression would count as one on the status itself,
    -- and no change of status would be HOT.
    status_class TEXT COLLATE "C" NOT NULL GENERATED ALWAYS AS (class_of_status(status)) STORED
) WITH (fillfactor = 90);

-- Keyset paging: cost independent of the size of the table. The id, which makes the order of lists total, is in none of
-- these: rows of one instant are sorted as they are read (an incremental sort). So entries are half as big, and the
-- planner has only the primary key to find rows by their ids.
CREATE INDEX volumes_by_project ON volumes (project_id, deleted, created_at);
CREATE INDEX volumes_by_creation ON volumes (deleted, created_at);
CREATE INDEX volumes_by_status ON volumes (project_id, status_class, deleted, created_at);
CREATE INDEX volumes_by_name ON volumes (project_id, display_name, deleted, created_at);
CREATE INDEX volumes_unsettled ON volumes (id) WHERE unsettled;
-- purging
CREATE INDEX volumes_by_deletion ON volumes (deleted_at) WHERE deleted_at IS NOT NULL;

-- Rows of attachments and operations belong to a volume, and no foreign key says so: checking it would read and lock the
-- volume's row once for each. A commit writes such rows only together with their live volume, whose row it changes, and
-- a volume's row is removed only long after its end and only when nothing belongs to it.

-- Block Storage's attachment and Compute's block-device mapping in one row: they can only change together.
CREATE TABLE attachments (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    volume_id TEXT COLLATE "C" NOT NULL,
    -- the volume's, for paging inside of a project
    project_id TEXT COLLATE "C" NOT NULL,
    -- orders the rows of one volume as they were made, also within one instant
    ordinal BIGINT NOT NULL,
    instance_uuid TEXT COLLATE "C",
    attached_host TEXT COLLATE "C",
    mountpoint TEXT COLLATE "C",
    attach_time BIGINT,
    attach_status TEXT COLLATE "C" NOT NULL,
    attach_mode TEXT COLLATE "C",
    connector TEXT COLLATE "C",
    connection_info TEXT COLLATE "C",
    export_name TEXT COLLATE "C",
    bdm_uuid TEXT COLLATE "C",
    device TEXT COLLATE "C",
    tag TEXT COLLATE "C",
    delete_on_termination BOOLEAN,
    detaching BOOLEAN,
    -- the attachment that the guest's device is named after, where that is another one: after a swap
    guest_device TEXT COLLATE "C",
    created_at BIGINT NOT NULL
) WITH (fillfactor = 50); -- as for volumes; a row grows to twice its size while it lives

-- one device name is used once in a server, and a server has a volume once (R-02, R-25); a swapped disk has the name of the row before
-- it, which goes a moment later
CREATE UNIQUE INDEX attachments_server_device ON attachments (instance_uuid, device)
    WHERE bdm_uuid IS NOT NULL AND device IS NOT NULL AND guest_device IS NULL;
CREATE UNIQUE INDEX attachments_server_volume ON attachments (instance_uuid, volume_id)
    WHERE bdm_uuid IS NOT NULL;
CREATE INDEX attachments_by_volume ON attachments (volume_id, ordinal);
CREATE INDEX attachments_by_server ON attachments (instance_uuid, created_at) WHERE instance_uuid IS NOT NULL;
CREATE INDEX attachments_by_project ON attachments (project_id, created_at);
CREATE INDEX attachments_by_creation ON attachments (created_at);

-- A snapshot belongs to its volume, and changes in the same commits.
CREATE TABLE snapshots (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    volume_id TEXT COLLATE "C" NOT NULL,
    project_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    -- orders the snapshots of one volume as they were made, also within one instant
    ordinal BIGINT NOT NULL,
    display_name TEXT COLLATE "C",
    display_description TEXT COLLATE "C",
    status TEXT COLLATE "C" NOT NULL,
    progress BIGINT NOT NULL,
    volume_size BIGINT NOT NULL,
    metadata TEXT COLLATE "C" NOT NULL,
    consumes_quota BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT
);

CREATE INDEX snapshots_by_volume ON snapshots (volume_id, ordinal);
CREATE INDEX snapshots_by_project ON snapshots (project_id, created_at);
CREATE INDEX snapshots_by_creation ON snapshots (created_at);

-- Open operations only: a row goes in the commit that settles the volume.
CREATE TABLE operations (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    volume_id TEXT COLLATE "C" NOT NULL,
    epoch BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    step TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    reserved_gib BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    -- what a migration promises or leaves there counts as its room
    other_backend TEXT COLLATE "C",
    -- the volume counts for this type as well
    retyping_to TEXT COLLATE "C",
    -- the whole operation
    body TEXT COLLATE "C" NOT NULL
);

CREATE INDEX operations_by_volume ON operations (volume_id, epoch);
CREATE INDEX operations_by_age ON operations (started_at);

CREATE TABLE servers (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    project_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    host TEXT COLLATE "C",
    hypervisor TEXT COLLATE "C" NOT NULL,
    qmp_socket TEXT COLLATE "C",
    qmp_check_uuid BOOLEAN NOT NULL,
    vm_state TEXT COLLATE "C" NOT NULL,
    task_state TEXT COLLATE "C",
    locked BOOLEAN NOT NULL,
    availability_zone TEXT COLLATE "C" NOT NULL,
    root_device_name TEXT COLLATE "C" NOT NULL,
    launched_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    epoch BIGINT NOT NULL,
    deleted BOOLEAN NOT NULL
);

CREATE INDEX servers_by_project ON servers (project_id, deleted, created_at);
CREATE INDEX servers_by_creation ON servers (deleted, created_at);

-- Two kinds of rows: of a project's volumes of one type, and of all of them together. Their keys are in the order in which
-- they are locked: what most commits meet in comes last.
CREATE TABLE quota_usages (
    -- '<type>/<project>', or 'total/<project>'
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    project_id TEXT COLLATE "C" NOT NULL,
    volume_type_id TEXT COLLATE "C",
    volumes BIGINT NOT NULL,
    snapshots BIGINT NOT NULL,
    gigabytes BIGINT NOT NULL,
    snapshot_gigabytes BIGINT NOT NULL,
    reserved_gigabytes BIGINT NOT NULL,
    -- also those that do not count: a type with any is in use
    live_volumes BIGINT NOT NULL
) WITH (fillfactor = 50);

CREATE INDEX quota_usages_by_project ON quota_usages (project_id);
CREATE INDEX quota_usages_by_type ON quota_usages (volume_type_id) WHERE volume_type_id IS NOT NULL;

-- What an administrator has said; where there is no row, the class 'default' holds, else the settings.
CREATE TABLE quota_limits (
    -- 'project/<id>', or 'class/<name>'
    owner TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    -- '': of all types together
    volume_type_id TEXT COLLATE "C" NOT NULL,
    hard_limit BIGINT NOT NULL,
    PRIMARY KEY (owner, resource, volume_type_id)
);

-- What types may say of the speed of their volumes.
CREATE TABLE qos_specs (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    -- every write is guarded by it
    revision BIGINT NOT NULL,
    consumer TEXT COLLATE "C" NOT NULL,
    specs TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT
);

CREATE TABLE volume_types (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    -- every write, and every volume that is made with the type, is guarded by it
    revision BIGINT NOT NULL,
    description TEXT COLLATE "C",
    is_public BOOLEAN NOT NULL,
    -- who may use it although it is not public
    projects TEXT COLLATE "C" NOT NULL,
    extra_specs TEXT COLLATE "C" NOT NULL,
    encryption TEXT COLLATE "C",
    qos_specs_id TEXT COLLATE "C" REFERENCES qos_specs (id),
    created_at BIGINT NOT NULL,
    updated_at BIGINT
);

INSERT INTO volume_types (id, name, revision, description, is_public, projects, extra_specs, created_at)
VALUES ('6f5a1d0e-7b7c-4c55-9a3f-1f0f4d1c2b3a', '__DEFAULT__', 1, 'Default Volume Type', TRUE, '[]', '{}', 0);

-- The type of a project's volumes that name none.
CREATE TABLE default_volume_types (
    project_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    volume_type_id TEXT COLLATE "C" NOT NULL REFERENCES volume_types (id)
);

CREATE TABLE messages (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    project_id TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    resource_type TEXT COLLATE "C" NOT NULL,
    resource_uuid TEXT COLLATE "C",
    action_id TEXT COLLATE "C" NOT NULL,
    detail_id TEXT COLLATE "C" NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    message_level TEXT COLLATE "C" NOT NULL,
    cause TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX messages_by_project ON messages (project_id, created_at, id);
CREATE INDEX messages_by_resource ON messages (project_id, resource_uuid, created_at, id);
CREATE INDEX messages_by_expiry ON messages (expires_at);

-- What administrators said of the parts of the service; of which there is no row, nothing was said.
CREATE TABLE services (
    host TEXT COLLATE "C" NOT NULL,
    program TEXT COLLATE "C" NOT NULL,
    disabled BOOLEAN NOT NULL,
    disabled_reason TEXT COLLATE "C",
    frozen BOOLEAN NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (host, program)
);

-- Operators' words that a host is dead. A row stays when the host is taken back: its epoch counts on.
CREATE TABLE host_fences (
    host TEXT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    proof TEXT NOT NULL,
    user_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    fenced_at BIGINT NOT NULL,
    lifted_at BIGINT
);

-- The history: the committed transitions of a volume up to a generation, in order, as a JSON array of [generation, instant,
-- command, request, status before, status after, cause]. One row for each transition, or for several settled together.
CREATE TABLE events (
    volume_id TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    -- when the last of them was committed
    at BIGINT NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (volume_id, generation)
);

CREATE INDEX events_by_time ON events (at);

-- The idempotency keys that were used, each with what its request made.
CREATE TABLE idempotency_keys (
    -- user, project, route and key
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- a digest of the body
    request TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    volume_id TEXT COLLATE "C" NOT NULL,
    -- the snapshot, the attachment or the connection
    object_id TEXT COLLATE "C",
    expires_at BIGINT NOT NULL
);

CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);
