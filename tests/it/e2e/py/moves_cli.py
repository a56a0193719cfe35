"""What brings a volume to another backend or type: both command lines, and the calls of the library that have none."""

from cinderclient import client, exceptions
from cinderclient.contrib import noauth
from keystoneauth1 import session

from checks import equal, eventually, refused
from cli import URL, cinder, fields, openstack, shown

HERE, THERE = "hearth@simulated#simulated", "hearth@other#other"

plugin = noauth.CinderNoAuthPlugin("me", "admin", endpoint=f"{URL}/v3")
library = client.Client("3.71", session=session.Session(auth=plugin))


def at(volume, host, migration="success"):
    """Waits until it has arrived; what the library shows of it."""
    def there(row):
        return row.status == "available" and getattr(row, "os-vol-host-attr:host") == host
    row = eventually(f"it is at {host}", lambda: library.volumes.get(volume), there)
    equal(row.migration_status, migration)
    return row


def elsewhere(host):
    return HERE if host == THERE else THERE


cinder("type-create", "there")
cinder("type-key", "there", "set", "volume_backend_name=other")
cinder("type-create", "here")
cinder("type-key", "here", "set", "volume_backend_name=simulated")

volume = fields(cinder("create", "--name", "moves", "--volume-type", "here", 1, project="admin"))["id"]
at(volume, HERE, None)
with refused(exceptions.BadRequest, "is no backend"):
    library.volumes.migrate_volume(volume, "hearth@nowhere#nowhere", False, False)

# A volume without a type of its own goes anywhere.
free = fields(cinder("create", "--name", "free", 1, project="admin"))["id"]
eventually("it is made", lambda: library.volumes.get(free), lambda row: row.status == "available")
host = getattr(library.volumes.get(free), "os-vol-host-attr:host")
cinder("migrate", "--lock-volume", "True", free, elsewhere(host), project="admin")
at(free, elsewhere(host))
openstack("volume", "migrate", "--host", host, free)
row = at(free, host)
# Compute asks when it is over, and may ask twice.
for _ in range(2):
    equal(library.volumes.migrate_volume_completion(row, free, False)["save_volume_id"], free)
with refused(exceptions.BadRequest):
    library.volumes.extend_volume_completion(row)

cinder("retype", "--migration-policy", "never", volume, "there", project="admin")
eventually("the owner is told", lambda: library.messages.list(), lambda rows: any(row.resource_uuid == volume for row in rows))
equal(at(volume, HERE, None).volume_type, "here")
cinder("retype", "--migration-policy", "on-demand", volume, "there", project="admin")
equal(at(volume, THERE).volume_type, "there")
openstack("volume", "set", "--type", "here", "--retype-policy", "on-demand", volume)
equal(at(volume, HERE).volume_type, "here")
equal(shown("volume", "show", volume)["type"], "here")

cinder("delete", volume, free, project="admin")
eventually("they are gone", lambda: library.volumes.list(), lambda rows: rows == [])
print("everything held")
