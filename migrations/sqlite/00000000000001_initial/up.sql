-- Hearth's records. The same tables, columns and names as in migrations/postgres, and the journal.
-- Ids are text, instants are microseconds since the Unix epoch, structured values are JSON text.

CREATE TABLE volumes (
    id TEXT NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    project_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    display_name TEXT,
    display_description TEXT,
    size BIGINT NOT NULL,
    status TEXT NOT NULL,
    previous_status TEXT,
    attach_status TEXT NOT NULL,
    migration_status TEXT,
    bootable BOOLEAN NOT NULL,
    multiattach BOOLEAN NOT NULL,
    volume_type_id TEXT,
    availability_zone TEXT NOT NULL,
    host TEXT,
    metadata TEXT NOT NULL,
    image_metadata TEXT NOT NULL,
    admin_metadata TEXT NOT NULL,
    consumes_quota BOOLEAN NOT NULL,
    -- the volume, and the snapshot of it, that it was made from
    origin_volume_id TEXT,
    snapshot_id TEXT,
    provider_id TEXT,
    -- volumes that are being made from its contents
    loans TEXT NOT NULL,
    orphan_exports TEXT NOT NULL,
    outstanding TEXT NOT NULL,
    -- marks and connections of clients of the old actions; null: none
    claims TEXT,
    -- outstanding calls, orphan exports or loans are there: found at start without reading every row
    unsettled BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    terminated_at BIGINT,
    deleted BOOLEAN NOT NULL,
    deleted_at BIGINT
);

-- keyset paging: cost independent of the size of the table
CREATE INDEX volumes_by_project ON volumes (project_id, deleted, created_at, id);
CREATE INDEX volumes_by_creation ON volumes (deleted, created_at, id);
CREATE INDEX volumes_by_status ON volumes (project_id, status, deleted, created_at, id);
CREATE INDEX volumes_by_name ON volumes (project_id, display_name, deleted, created_at, id);
CREATE INDEX volumes_unsettled ON volumes (id) WHERE unsettled;
-- purging
CREATE INDEX volumes_by_deletion ON volumes (deleted_at) WHERE deleted_at IS NOT NULL;

-- Block Storage's attachment and Compute's block-device mapping in one row: they can only change together.
CREATE TABLE attachments (
    id TEXT NOT NULL PRIMARY KEY,
    volume_id TEXT NOT NULL REFERENCES volumes (id),
    -- the volume's, for paging inside of a project
    project_id TEXT NOT NULL,
    -- orders the rows of one volume as they were made, also within one instant
    ordinal BIGINT NOT NULL,
    instance_uuid TEXT,
    attached_host TEXT,
    mountpoint TEXT,
    attach_time BIGINT,
    attach_status TEXT NOT NULL,
    attach_mode TEXT,
    connector TEXT,
    connection_info TEXT,
    export_name TEXT,
    bdm_uuid TEXT,
    device TEXT,
    tag TEXT,
    delete_on_termination BOOLEAN,
    detaching BOOLEAN,
    -- the attachment that the guest's device is named after, where that is another one: after a swap
    guest_device TEXT,
    created_at BIGINT NOT NULL
);

-- one device name is used once in a server, and a server has a volume once (R-02, R-25); a swapped disk has the name of the row before
-- it, which goes a moment later
CREATE UNIQUE INDEX attachments_server_device ON attachments (instance_uuid, device)
    WHERE bdm_uuid IS NOT NULL AND device IS NOT NULL AND guest_device IS NULL;
CREATE UNIQUE INDEX attachments_server_volume ON attachments (instance_uuid, volume_id)
    WHERE bdm_uuid IS NOT NULL;
CREATE INDEX attachments_by_volume ON attachments (volume_id, ordinal);
CREATE INDEX attachments_by_server ON attachments (instance_uuid, created_at) WHERE instance_uuid IS NOT NULL;
CREATE INDEX attachments_by_project ON attachments (project_id, created_at, id);
CREATE INDEX attachments_by_creation ON attachments (created_at, id);

-- A snapshot belongs to its volume, and changes in the same commits.
CREATE TABLE snapshots (
    id TEXT NOT NULL PRIMARY KEY,
    volume_id TEXT NOT NULL REFERENCES volumes (id),
    project_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    -- orders the snapshots of one volume as they were made, also within one instant
    ordinal BIGINT NOT NULL,
    display_name TEXT,
    display_description TEXT,
    status TEXT NOT NULL,
    progress BIGINT NOT NULL,
    volume_size BIGINT NOT NULL,
    metadata TEXT NOT NULL,
    consumes_quota BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT
);

CREATE INDEX snapshots_by_volume ON snapshots (volume_id, ordinal);
CREATE INDEX snapshots_by_project ON snapshots (project_id, created_at, id);
CREATE INDEX snapshots_by_creation ON snapshots (created_at, id);

-- Open operations only: a row goes in the commit that settles the volume.
CREATE TABLE operations (
    id TEXT NOT NULL PRIMARY KEY,
    volume_id TEXT NOT NULL REFERENCES volumes (id),
    epoch BIGINT NOT NULL,
    kind TEXT NOT NULL,
    step TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    reserved_gib BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    -- what a migration promises or leaves there counts as its room
    other_backend TEXT,
    -- the volume counts for this type as well
    retyping_to TEXT,
    -- the whole operation
    body TEXT NOT NULL
);

CREATE INDEX operations_by_volume ON operations (volume_id, epoch);
CREATE INDEX operations_by_age ON operations (started_at, id);

CREATE TABLE servers (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    project_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    host TEXT,
    hypervisor TEXT NOT NULL,
    qmp_socket TEXT,
    qmp_check_uuid BOOLEAN NOT NULL,
    vm_state TEXT NOT NULL,
    task_state TEXT,
    locked BOOLEAN NOT NULL,
    availability_zone TEXT NOT NULL,
    root_device_name TEXT NOT NULL,
    launched_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    epoch BIGINT NOT NULL,
    deleted BOOLEAN NOT NULL
);

CREATE INDEX servers_by_project ON servers (project_id, deleted, created_at, id);
CREATE INDEX servers_by_creation ON servers (deleted, created_at, id);

-- Two kinds of rows: of a project's volumes of one type, and of all of them together. Their keys are in the order in which
-- they are locked: what most commits meet in comes last.
CREATE TABLE quota_usages (
    -- '<type>/<project>', or 'total/<project>'
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL,
    volume_type_id TEXT,
    volumes BIGINT NOT NULL,
    snapshots BIGINT NOT NULL,
    gigabytes BIGINT NOT NULL,
    snapshot_gigabytes BIGINT NOT NULL,
    reserved_gigabytes BIGINT NOT NULL,
    -- also those that do not count: a type with any is in use
    live_volumes BIGINT NOT NULL
);

CREATE INDEX quota_usages_by_project ON quota_usages (project_id);
CREATE INDEX quota_usages_by_type ON quota_usages (volume_type_id) WHERE volume_type_id IS NOT NULL;

-- What an administrator has said; where there is no row, the class 'default' holds, else the settings.
CREATE TABLE quota_limits (
    -- 'project/<id>', or 'class/<name>'
    owner TEXT NOT NULL,
    resource TEXT NOT NULL,
    -- '': of all types together
    volume_type_id TEXT NOT NULL,
    hard_limit BIGINT NOT NULL,
    PRIMARY KEY (owner, resource, volume_type_id)
);

-- What types may say of the speed of their volumes.
CREATE TABLE qos_specs (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- every write is guarded by it
    revision BIGINT NOT NULL,
    consumer TEXT NOT NULL,
    specs TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT
);

CREATE TABLE volume_types (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- every write, and every volume that is made with the type, is guarded by it
    revision BIGINT NOT NULL,
    description TEXT,
    is_public BOOLEAN NOT NULL,
    -- who may use it although it is not public
    projects TEXT NOT NULL,
    extra_specs TEXT NOT NULL,
    encryption TEXT,
    qos_specs_id TEXT REFERENCES qos_specs (id),
    created_at BIGINT NOT NULL,
    updated_at BIGINT
);

INSERT INTO volume_types (id, name, revision, description, is_public, projects, extra_specs, created_at)
VALUES ('6f5a1d0e-7b7c-4c55-9a3f-1f0f4d1c2b3a', '__DEFAULT__', 1, 'Default Volume Type', TRUE, '[]', '{}', 0);

-- The type of a project's volumes that name none.
CREATE TABLE default_volume_types (
    project_id TEXT NOT NULL PRIMARY KEY,
    volume_type_id TEXT NOT NULL REFERENCES volume_types (id)
);

CREATE TABLE messages (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_uuid TEXT,
    action_id TEXT NOT NULL,
    detail_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    message_level TEXT NOT NULL,
    cause TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX messages_by_project ON messages (project_id, created_at, id);
CREATE INDEX messages_by_resource ON messages (project_id, resource_uuid, created_at, id);
CREATE INDEX messages_by_expiry ON messages (expires_at);

-- What administrators said of the parts of the service; of which there is no row, nothing was said.
CREATE TABLE services (
    host TEXT NOT NULL,
    program TEXT NOT NULL,
    disabled BOOLEAN NOT NULL,
    disabled_reason TEXT,
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
    volume_id TEXT NOT NULL,
    generation BIGINT NOT NULL,
    -- when the last of them was committed
    at BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (volume_id, generation)
) WITHOUT ROWID;

CREATE INDEX events_by_time ON events (at);

-- The idempotency keys that were used, each with what its request made.
CREATE TABLE idempotency_keys (
    -- user, project, route and key
    id TEXT NOT NULL PRIMARY KEY,
    -- a digest of the body
    request TEXT NOT NULL,
    request_id TEXT NOT NULL,
    volume_id TEXT NOT NULL,
    -- the snapshot, the attachment or the connection
    object_id TEXT,
    expires_at BIGINT NOT NULL
);

CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

-- Committed changes that the tables do not show yet (src/store/journal): one row for each group of commits.
CREATE TABLE journal (
    sequence INTEGER NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
);
