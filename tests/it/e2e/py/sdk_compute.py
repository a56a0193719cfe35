"""openstacksdk's compute proxy against a running service: servers and their volume attachments."""

import os

import openstack
from openstack import exceptions

from checks import equal, eventually, refused

NOWHERE = "00000000-0000-0000-0000-000000000000"
SERVER = os.environ["HEARTH_SERVER"]

cloud = openstack.connect()
storage, compute = cloud.block_storage, cloud.compute


def status(volume, word):
    return eventually(word, lambda: storage.get_volume(volume.id), lambda found: found.status == word)


servers = list(compute.servers())
equal([(server.id, server.name, server.status) for server in servers], [(SERVER, "vm-1", "ACTIVE")])
equal([server.id for server in compute.servers(details=False)], [SERVER])
equal(compute.find_server("vm-1", ignore_missing=False).id, SERVER)
server = compute.get_server(SERVER)
equal((server.attached_volumes, server.vm_state, server.power_state), ([], "active", 1))
with refused(exceptions.NotFoundException):
    compute.get_server(NOWHERE)

volume = storage.create_volume(name="data", size=1)
status(volume, "available")

row = compute.create_volume_attachment(server, volume.id, tag="data", delete_on_termination=False)
equal((row.volume_id, row.tag, row.delete_on_termination), (volume.id, "data", False))
attached = status(volume, "in-use")
rows = list(compute.volume_attachments(server))
equal(len(rows), 1)
equal((rows[0].volume_id, rows[0].device, rows[0].tag), (volume.id, "/dev/vdb", "data"))
equal(rows[0].attachment_id, attached.attachments[0]["attachment_id"])
equal(compute.get_volume_attachment(server, volume.id).bdm_id, rows[0].bdm_id)
equal([found["id"] for found in compute.get_server(SERVER).attached_volumes], [volume.id])

compute.update_volume_attachment(server, volume.id, delete_on_termination=True)
equal(compute.get_volume_attachment(server, volume.id).delete_on_termination, True)
equal([found.delete_on_termination for found in compute.volume_attachments(server)], [True])

with refused(exceptions.BadRequestException, "already attached"):
    compute.create_volume_attachment(server, volume.id)
with refused(exceptions.ConflictException, "Compute API"):
    storage.delete_attachment(rows[0].attachment_id)
with refused(exceptions.NotFoundException):
    compute.create_volume_attachment(server, NOWHERE)
with refused(exceptions.NotFoundException):
    compute.get_volume_attachment(server, NOWHERE)
with refused(exceptions.NotFoundException):
    compute.delete_volume_attachment(server, NOWHERE, ignore_missing=False)

actions = list(compute.server_actions(server))
equal([action.action for action in actions], ["attach_volume"])
action = compute.get_server_action(actions[0].request_id, server)
equal([(event.event, event.result) for event in action.events], [("compute_attach_volume", "Success")])

storage.extend_volume(volume, 2)
eventually("grown in use", lambda: storage.get_volume(volume.id), lambda found: (found.size, found.status) == (2, "in-use"))

compute.delete_volume_attachment(server, volume.id, ignore_missing=False)
equal(status(volume, "available").attachments, [])
equal(list(compute.volume_attachments(server)), [])
equal([action.action for action in compute.server_actions(server)],
      ["detach_volume", "extend_volume", "attach_volume"])

# the cloud layer, as Ansible's modules call it
cloud.attach_volume(compute.get_server(SERVER), storage.get_volume(volume.id), wait=True, timeout=60)
equal(storage.get_volume(volume.id).status, "in-use")
cloud.detach_volume(compute.get_server(SERVER), storage.get_volume(volume.id), wait=True, timeout=60)
equal(storage.get_volume(volume.id).status, "available")
assert cloud.delete_volume(volume.id, wait=True, timeout=60)
print("everything held")
