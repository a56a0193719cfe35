"""python-cinderclient against a running service, as it is used without Keystone."""

import os

from cinderclient import client, exceptions
from cinderclient.contrib import noauth
from keystoneauth1 import session
from keystoneauth1.noauth import NoAuth

from checks import equal, eventually, refused

NOWHERE = "00000000-0000-0000-0000-000000000000"
URL = os.environ["HEARTH_URL"]


def connect(version, project="demo"):
    """`--os-auth-type noauth`: the project is in the URL and in the token."""
    plugin = noauth.CinderNoAuthPlugin("me", project, endpoint=f"{URL}/v3")
    return client.Client(version, session=session.Session(auth=plugin))


def without_a_token(version):
    """`--os-auth-type none`."""
    return client.Client(version, session=session.Session(auth=NoAuth(endpoint=f"{URL}/v3")))


cinder = connect("3.70")


def status(volume, word):
    return eventually(word, lambda: cinder.volumes.get(volume.id), lambda found: found.status == word)


# create, show, list, set, extend
first = cinder.volumes.create(1, name="first", description="d", metadata={"k": "v"})
equal((first.status, first.size), ("creating", 1))
first = status(first, "available")
equal((first.name, first.metadata, getattr(first, "os-vol-tenant-attr:tenant_id")), ("first", {"k": "v"}, "demo"))
cinder.volumes.update(first, name="renamed", description="")
equal(cinder.volumes.get(first.id).name, "renamed")
cinder.volumes.extend(first, 2)
eventually("grown", lambda: cinder.volumes.get(first.id), lambda found: (found.size, found.status) == (2, "available"))
others = [cinder.volumes.create(1, name=f"page-{number}") for number in range(4)]
for volume in others:
    status(volume, "available")
expected = [volume.id for volume in reversed(others)] + [first.id]
equal([volume.id for volume in cinder.volumes.list(limit=3)], expected[:3])
equal([volume.id for volume in cinder.volumes.list(limit=3, marker=expected[2])], expected[3:])
equal([volume.name for volume in cinder.volumes.list(sort="name:asc")], [f"page-{n}" for n in range(4)] + ["renamed"])
equal([volume.id for volume in cinder.volumes.list(search_opts={"name": "page-2"})], [others[2].id])
equal([volume.id for volume in cinder.volumes.list(search_opts={"metadata": {"k": "v"}})], [first.id])
equal(cinder.volumes.find(name="renamed").id, first.id)

# projects do not see each other's volumes; an administrator may ask for all of them
equal(connect("3.70", "other").volumes.list(), [])
equal(len(connect("3.70", "other").volumes.list(search_opts={"all_tenants": 1})), 5)

# the members that a microversion brings
for version, member, there in [
    ("3.12", "group_id", False), ("3.13", "group_id", True),
    ("3.47", "shared_targets", False), ("3.48", "shared_targets", True),
    ("3.60", "cluster_name", False), ("3.61", "cluster_name", True),
    ("3.62", "volume_type_id", False), ("3.63", "volume_type_id", True),
    ("3.64", "consumes_quota", False), ("3.65", "consumes_quota", True),
]:
    equal((version, member in connect(version).volumes.get(first.id).to_dict()), (version, there))
with refused(exceptions.VersionNotFoundForAPIMethod):
    connect("3.26").attachments.list()

# types and messages
equal([kind.name for kind in cinder.volume_types.list()], ["__DEFAULT__"])
equal(cinder.volume_types.default().name, "__DEFAULT__")
equal(cinder.messages.list(), [])
with refused(exceptions.NotFound):
    cinder.messages.get(NOWHERE)

# attachments at the versions that change them
connector = {"host": "h1", "initiator": "iqn.2005-03.org.open-iscsi:1", "ip": "10.0.0.1", "multipath": False,
             "os_type": "linux", "platform": "x86_64"}
for version in ["3.27", "3.44", "3.54", "3.70"]:
    at = connect(version)
    made = at.attachments.create(first.id, None, NOWHERE)
    row = made["attachment"]["id"] if "attachment" in made else made["id"]
    status(first, "reserved")
    updated = at.attachments.update(row, connector)
    assert updated.connection_info["driver_volume_type"], updated.to_dict()
    if version == "3.27":
        equal([found.id for found in at.attachments.list(search_opts={"volume_id": first.id})], [row])
    else:
        at.attachments.complete(row)
        status(first, "in-use")
        equal(at.attachments.show(row).status, "attached")
    at.attachments.delete(row)
    status(first, "available")

# wrong inputs
with refused(exceptions.NotFound, NOWHERE):
    cinder.volumes.get(NOWHERE)
with refused(exceptions.BadRequest):
    cinder.volumes.create(0)
with refused(exceptions.BadRequest):
    cinder.volumes.extend(first, 1)
with refused(exceptions.OverLimit, "VolumeSizeExceedsAvailableQuota"):
    cinder.volumes.create(99)
with refused(exceptions.NotFound):
    cinder.volumes.create(1, volume_type="no such type")
with refused(exceptions.NotFound):
    cinder.attachments.show(NOWHERE)
with refused(exceptions.NotFound):
    cinder.volumes.list(marker=NOWHERE)

# the token's project is the URL's: without one the service's own project answers
equal(without_a_token("3.70").volumes.list(), [])

# delete, also of what is in error
cinder.volumes.reset_state(first, "error_deleting")
equal(cinder.volumes.get(first.id).status, "error_deleting")
with refused(exceptions.BadRequest):
    cinder.volumes.delete(first)
for volume in [first, *others]:
    cinder.volumes.force_delete(volume)
eventually("nothing is left", cinder.volumes.list, lambda volumes: volumes == [])
with refused(exceptions.NotFound):
    cinder.volumes.force_delete(NOWHERE)
print("everything held")
