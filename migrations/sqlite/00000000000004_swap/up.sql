-- the attachment that the guest's device is named after, where that is another one: after a swap
ALTER TABLE attachments ADD COLUMN guest_device TEXT;

-- a swapped disk has the name of the row before it, which goes a moment later
DROP INDEX attachments_server_device;
CREATE UNIQUE INDEX attachments_server_device ON attachments (instance_uuid, device)
    WHERE bdm_uuid IS NOT NULL AND device IS NOT NULL AND guest_device IS NULL;
