DROP INDEX attachments_server_device;
CREATE UNIQUE INDEX attachments_server_device ON attachments (instance_uuid, device)
    WHERE bdm_uuid IS NOT NULL AND device IS NOT NULL;
ALTER TABLE attachments DROP COLUMN guest_device;
