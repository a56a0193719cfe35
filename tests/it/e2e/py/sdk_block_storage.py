"""openstacksdk's block storage proxy against a running service."""

import openstack
from openstack import exceptions

from checks import equal, eventually, refused

NOWHERE = "00000000-0000-0000-0000-000000000000"

cloud = openstack.connect()
storage = cloud.block_storage


def available(volume):
    return storage.wait_for_status(volume, "available", failures=["error"], interval=0.05, wait=60)


# create, show, find, set, extend
first = storage.create_volume(name="first", size=1, description="d", metadata={"k": "v"})
equal((first.status, first.size, first.is_bootable, first.is_multiattach), ("creating", 1, False, False))
first = available(first)
equal((first.name, first.description, first.metadata, first.attachments), ("first", "d", {"k": "v"}, []))
equal(first.volume_type, "__DEFAULT__")
equal(storage.find_volume("first", ignore_missing=False).id, first.id)
equal(storage.find_volume(first.id, ignore_missing=False).id, first.id)
equal(storage.find_volume("no such name"), None)
changed = storage.update_volume(first, name="renamed", description=None)
equal((changed.name, changed.description), ("renamed", None))
storage.extend_volume(first, 2)
eventually("the volume has grown", lambda: storage.get_volume(first.id), lambda v: v.size == 2 and v.status == "available")

# lists: pages, filters, sort, both views
others = [available(storage.create_volume(name=f"page-{number}", size=1)) for number in range(5)]
ids = [volume.id for volume in storage.volumes(limit=2)]
equal(ids, [volume.id for volume in reversed(others)] + [first.id])
equal(len(set(ids)), 6)
equal([volume.name for volume in storage.volumes(details=False, limit=1, name="page-3")], ["page-3"])
equal(len(list(storage.volumes(status="available"))), 6)
equal([volume.id for volume in storage.volumes(properties="{'k': 'v'}")], [first.id])
equal(list(storage.volumes(status="error")), [])
equal(len(list(storage.volumes(all_projects=True))), 6)

# types and messages
types = list(storage.types())
equal([kind.name for kind in types], ["__DEFAULT__"])
equal(storage.get_type(types[0].id).name, "__DEFAULT__")
equal(storage.find_type("__DEFAULT__").id, types[0].id)
# (messages are there since 3.3, which this client must be told)
equal(list(openstack.connect(block_storage_default_microversion="3.70").block_storage.messages()), [])

# attachments: reserve, connect, complete, delete
connector = {"host": "h1", "initiator": "iqn.2005-03.org.open-iscsi:1", "ip": "10.0.0.1", "multipath": False,
             "os_type": "linux", "platform": "x86_64"}
row = storage.create_attachment(first.id, instance=NOWHERE, connector=None)
equal((row.status, row.volume_id, row.instance), ("reserved", first.id, NOWHERE))
equal(storage.get_volume(first.id).status, "reserved")
row = storage.update_attachment(row, connector=connector)
assert row.connection_info["driver_volume_type"], row
storage.complete_attachment(row)
attached = eventually("in use", lambda: storage.get_volume(first.id), lambda v: v.status == "in-use")
equal([(shown["server_id"], shown["attachment_id"]) for shown in attached.attachments], [(NOWHERE, row.id)])
equal([found.id for found in storage.attachments(volume_id=first.id)], [row.id])
equal(storage.get_attachment(row.id).status, "attached")
with refused(exceptions.BadRequestException, "Invalid volume"):
    storage.delete_volume(first.id)
storage.delete_attachment(row.id)
available(first)
with refused(exceptions.NotFoundException, row.id):
    storage.get_attachment(row.id)
row = storage.create_attachment(first.id, instance=NOWHERE, connector=None)
storage.complete_attachment(storage.update_attachment(row, connector=connector))
eventually("in use", lambda: storage.get_volume(first.id), lambda v: v.status == "in-use")
storage.detach_volume(first, row.id, force=True, connector=connector)
equal(available(first).attachments, [])

# wrong inputs
with refused(exceptions.NotFoundException, NOWHERE):
    storage.get_volume(NOWHERE)
with refused(exceptions.BadRequestException):
    storage.create_volume(size=0)
with refused(exceptions.BadRequestException):
    storage.create_volume(size=1, availability_zone="nowhere")
with refused(exceptions.BadRequestException):
    storage.extend_volume(first, 1)
with refused(exceptions.NotFoundException):
    storage.create_volume(size=1, volume_type="no such type")
with refused(exceptions.HttpException, "413", "VolumeSizeExceedsAvailableQuota"):
    storage.create_volume(size=99)
with refused(exceptions.NotFoundException):
    storage.create_attachment(NOWHERE, instance=NOWHERE, connector=None)

# reset, delete
storage.reset_volume_status(first, status="error", attach_status=None, migration_status=None)
equal(storage.get_volume(first.id).status, "error")
for volume in [first, *others]:
    storage.delete_volume(volume, ignore_missing=False)
for volume in [first, *others]:
    storage.wait_for_delete(volume, interval=0.05, wait=60)
equal(list(storage.volumes()), [])
with refused(exceptions.NotFoundException):
    storage.delete_volume(NOWHERE, ignore_missing=False)
print("everything held")
