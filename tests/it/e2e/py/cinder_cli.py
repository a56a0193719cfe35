"""The `cinder` command line against a running service, each command once; and the calls of its library that have none."""

import os

from cinderclient import client, exceptions
from cinderclient.contrib import noauth
from keystoneauth1 import session

from checks import equal, eventually, refused
from cli import URL, cinder, fields, table

NOWHERE = "00000000-0000-0000-0000-000000000000"
SERVER = os.environ["HEARTH_SERVER"]
CONNECTOR = {"host": "h1", "initiator": "iqn.2005-03.org.open-iscsi:1", "ip": "10.0.0.1", "multipath": False,
             "os_type": "linux", "platform": "x86_64"}

plugin = noauth.CinderNoAuthPlugin("me", "demo", endpoint=f"{URL}/v3")
library = client.Client("3.70", session=session.Session(auth=plugin))


def by_name(manager, name):
    return next((row for row in manager.list() if row.name == name), None)


def status(name, word):
    return eventually(f"{name} is {word}", lambda: by_name(library.volumes, name), lambda row: row and row.status == word)


def snapshot_status(name, word):
    find = lambda: by_name(library.volume_snapshots, name)  # noqa: E731
    return eventually(f"{name} is {word}", find, lambda row: row and row.status == word)


def gone(manager, *names):
    for name in names:
        eventually(f"{name} is gone", lambda: by_name(manager, name), lambda row: row is None)


def show(name, version="3.70"):
    return fields(cinder("show", name, version=version))


def properties(text):
    """A printed table of names and values, whatever its titles."""
    return {row[next(iter(row))]: row["Value"] for row in table(text)}


def volumes():
    made = fields(cinder("create", "--name", "first", "--description", "d", "--metadata", "k=v", "--", 1))
    equal((made["status"], made["size"], made["description"]), ("creating", "1", "d"))
    status("first", "available")
    cinder("rename", "--description", "e", "first", "renamed")
    shown = show("renamed")
    equal((shown["id"], shown["description"], shown["metadata"]), (made["id"], "e", "k : v"))
    cinder("metadata", "renamed", "set", "a=1", "b=2")
    equal(properties(cinder("metadata-show", "renamed")), {"k": "v", "a": "1", "b": "2"})
    cinder("metadata", "renamed", "unset", "a")
    equal(properties(cinder("metadata-show", "renamed")), {"k": "v", "b": "2"})
    equal(properties(cinder("metadata-update-all", "renamed", "only=this")), {"only": "this"})
    cinder("image-metadata", "renamed", "set", "os_type=linux", "min_ram=1")
    cinder("image-metadata", "renamed", "unset", "min_ram")
    equal(properties(cinder("image-metadata-show", "renamed")), {"os_type": "linux"})
    equal([row["Name"] for row in table(cinder("list", "--image_metadata", "os_type=linux", version="3.70"))], ["renamed"])
    for word in ["True", "False"]:
        cinder("set-bootable", "renamed", word)
        equal(show("renamed")["bootable"], word.lower())
        cinder("readonly-mode-update", "renamed", word)
        equal(show("renamed")["readonly"], word)
    cinder("extend", "renamed", 2)
    equal(status("renamed", "available").size, 2)
    cinder("extend", "renamed", 2, fails="New size for extend must be greater than current size")
    for state in ["error", "available"]:
        cinder("reset-state", "--state", state, "renamed")
        equal(show("renamed")["status"], state)
    cinder("reset-state", "--attach-status", "detached", "--reset-migration-status", "renamed")
    cinder("reset-state", "--state", "no-state", "renamed", fails="Unable to reset the state")

    rows = table(cinder("list", "--filters", "name~=enam", "status=available"))
    equal([(row["Name"], row["Size"], row["Bootable"]) for row in rows], [("renamed", "2", "false")])
    equal(table(cinder("list", "--filters", "status=error")), [])
    equal([row["ID"] for row in table(cinder("list", "--metadata", "only=this", version="3.0"))], [made["id"]])
    assert "Volume in total: 1" in cinder("list", "--with-count")
    summary = fields(cinder("summary"))
    equal((summary["total_count"], summary["total_size"]), ("1", "2"))
    assert "only" in summary["metadata"], summary
    for version, member, there in [("3.12", "group_id", False), ("3.13", "group_id", True), ("3.47", "service_uuid", False),
                                   ("3.48", "service_uuid", True), ("3.65", "consumes_quota", True)]:
        equal((version, member in show("renamed", version)), (version, there))
    filters = {row["Resource"]: row["Filters"] for row in table(cinder("list-filters"))}
    assert "volume" in filters and "snapshot" in filters, filters


def snapshots():
    made = fields(cinder("snapshot-create", "--name", "one", "--description", "d", "--metadata", "k=v", "--", "renamed"))
    equal((made["status"], made["size"], made["metadata"]), ("creating", "2", "{'k': 'v'}"))
    snapshot_status("one", "available")
    cinder("snapshot-rename", "--description", "e", "one", "uno")
    shown = fields(cinder("snapshot-show", "uno"))
    equal((shown["id"], shown["description"]), (made["id"], "e"))
    cinder("snapshot-metadata", "uno", "set", "a=1")
    equal(properties(cinder("snapshot-metadata-show", "uno")), {"k": "v", "a": "1"})
    cinder("snapshot-metadata", "uno", "unset", "k")
    equal(properties(cinder("snapshot-metadata-show", "uno")), {"a": "1"})
    cinder("snapshot-metadata-update-all", "uno", "z=26")
    equal(properties(cinder("snapshot-metadata-show", "uno")), {"z": "26"})
    for state in ["error", "available"]:
        cinder("snapshot-reset-state", "--state", state, "uno")
        equal(fields(cinder("snapshot-show", "uno"))["status"], state)
    cinder("reset-state", "--type", "snapshot", "--state", "error", made["id"])
    equal(fields(cinder("snapshot-show", "uno"))["status"], "error")
    cinder("snapshot-reset-state", "uno")
    rows = table(cinder("snapshot-list", "--filters", "name~=un", "status=available"))
    equal([(row["ID"], row["Name"], row["Size"]) for row in rows], [(made["id"], "uno", "2")])
    equal(table(cinder("snapshot-list", "--volume-id", NOWHERE)), [])
    equal(len(table(cinder("snapshot-list", "--metadata", "z=26", version="3.22"))), 1)

    copy = fields(cinder("create", "--snapshot-id", made["id"], "--name", "copy"))
    equal((copy["size"], copy["snapshot_id"]), ("2", made["id"]))
    clone = fields(cinder("create", "--source-volid", show("renamed")["id"], "--name", "clone", 3))
    equal((clone["size"], clone["source_volid"]), ("3", show("renamed")["id"]))
    for name in ["copy", "clone"]:
        status(name, "available")
    cinder("delete", "copy", "clone")
    gone(library.volumes, "copy", "clone")

    cinder("revert-to-snapshot", "uno")
    status("renamed", "available")
    snapshot_status("uno", "available")
    cinder("delete", "renamed", fails="Unable to delete any of the specified volumes")
    cinder("snapshot-create", "--name", "two", "renamed")
    snapshot_status("two", "available")
    cinder("snapshot-reset-state", "--state", "updating", "two")
    cinder("snapshot-delete", "two", fails="Unable to delete any of the specified snapshots")
    cinder("snapshot-delete", "--force", "two")
    gone(library.volume_snapshots, "two")
    cinder("snapshot-create", "--force", "True", "--name", "three", "renamed", version="3.65")
    snapshot_status("three", "available")
    cinder("snapshot-delete", "three")
    gone(library.volume_snapshots, "three")

    cinder("delete", "--cascade", "renamed")
    gone(library.volumes, "renamed")
    gone(library.volume_snapshots, "uno")
    cinder("show", "renamed", fails="No volume with a name or ID of 'renamed' exists")
    cinder("create", "--name", "stuck", 1)
    status("stuck", "available")
    cinder("reset-state", "--state", "maintenance", "stuck")
    cinder("delete", "stuck", fails="Unable to delete any of the specified volumes")
    cinder("force-delete", "stuck")
    gone(library.volumes, "stuck")


def types():
    (made,) = table(cinder("type-create", "--description", "d", "--is-public", "false", "gold"))
    equal((made["Name"], made["Description"], made["Is_Public"]), ("gold", "d", "False"))
    cinder("type-update", "--name", "silver", "--description", "e", made["ID"])
    shown = fields(cinder("type-show", "silver"))
    equal((shown["id"], shown["description"]), (made["ID"], "e"))
    cinder("type-key", "silver", "set", "k=v", "a=1")
    specs = {row["Name"]: row["extra_specs"] for row in table(cinder("extra-specs-list"))}
    equal(specs, {"__DEFAULT__": "{}", "silver": "{'a': '1', 'k': 'v'}"})
    equal([row["Name"] for row in table(cinder("type-list", "--filters", "extra_specs={k:v}"))], ["silver"])
    cinder("type-key", "silver", "unset", "k", "a")
    equal({row["extra_specs"] for row in table(cinder("extra-specs-list"))}, {"{}"})
    cinder("type-access-add", "--volume-type", "silver", "--project-id", "demo")
    rows = table(cinder("type-access-list", "--volume-type", "silver"))
    equal([row["Project_ID"] for row in rows], ["demo"])
    cinder("type-access-add", "--volume-type", "silver", "--project-id", "demo", fails="exist")
    cinder("type-access-remove", "--volume-type", "silver", "--project-id", "demo")
    equal(table(cinder("type-access-list", "--volume-type", "silver")), [])
    cinder("type-update", "--is-public", "true", made["ID"])
    equal(fields(cinder("type-show", "silver"))["is_public"], "True")
    equal(sorted(row["Name"] for row in table(cinder("type-list"))), ["__DEFAULT__", "silver"])
    equal([row["Name"] for row in table(cinder("type-default"))], ["__DEFAULT__"])

    cinder("default-type-set", "silver", "demo")
    equal([(row["Volume Type ID"], row["Project ID"]) for row in table(cinder("default-type-list"))], [(made["ID"], "demo")])
    equal(fields(cinder("default-type-list", "--project-id", "demo"))["volume_type_id"], made["ID"])
    equal(fields(cinder("create", "--name", "typed", 1))["volume_type"], "silver")
    status("typed", "available")
    cinder("default-type-unset", "demo")
    equal(table(cinder("default-type-list")), [])
    cinder("type-delete", "silver", fails="Unable to delete any of the specified types")
    cinder("delete", "typed")
    gone(library.volumes, "typed")
    cinder("type-delete", "silver")
    equal([row["Name"] for row in table(cinder("type-list"))], ["__DEFAULT__"])


def quotas():
    before = fields(cinder("quota-show", "demo"))
    equal((before["volumes"], before["gigabytes"]), ("20", "100"))
    cinder("quota-update", "--volumes", 7, "--snapshots", -1, "demo")
    cinder("quota-update", "--volumes", 3, "--volume-type", "__DEFAULT__", "demo")
    after = fields(cinder("quota-show", "demo"))
    equal((after["volumes"], after["snapshots"], after["volumes___DEFAULT__"], after["gigabytes"]), ("7", "-1", "3", "100"))
    cinder("create", "--name", "counted", 1)
    status("counted", "available")
    usage = {row["Type"]: row for row in table(cinder("quota-usage", "demo"))}
    equal((usage["volumes"]["In_use"], usage["volumes"]["Reserved"], usage["volumes"]["Limit"]), ("1", "0", "7"))
    cinder("delete", "counted")
    gone(library.volumes, "counted")
    cinder("quota-delete", "demo")
    equal(fields(cinder("quota-show", "demo")), before)
    cinder("quota-class-update", "--backups", 5, "default")
    equal(fields(cinder("quota-class-show", "default"))["backups"], "5")
    equal(fields(cinder("quota-defaults", "demo"))["backups"], "5")
    limits = {row["Name"]: row["Value"] for row in table(cinder("absolute-limits"))}
    equal((limits["maxTotalVolumes"], limits["totalVolumesUsed"], limits["maxTotalBackups"]), ("20", "0", "5"))
    equal({row["Name"]: row["Value"] for row in table(cinder("absolute-limits", "demo", version="3.39"))}, limits)
    equal(table(cinder("rate-limits")), [])


def operators():
    (service,) = table(cinder("service-list", "--binary", "cinder-volume"))
    equal((service["Zone"], service["Status"], service["State"], service["Backend State"]), ("nova", "enabled", "up", "up"))
    host = service["Host"]
    equal(len(table(cinder("service-list", "--withreplication", version="3.7"))), 2)
    (row,) = table(cinder("service-disable", "--reason", "new disks", host, "cinder-volume"))
    equal((row["Status"], row["Disabled Reason"]), ("disabled", "new disks"))
    (service,) = table(cinder("service-list", "--host", host))
    equal((service["Status"], service["Disabled Reason"]), ("disabled", "new disks"))
    cinder("create", "--name", "homeless", 1)
    status("homeless", "error")
    (row,) = table(cinder("service-enable", host, "cinder-volume"))
    equal(row["Status"], "enabled")
    (row,) = table(cinder("service-disable", host, "cinder-volume"))
    equal(row["Status"], "disabled")
    cinder("service-enable", host, "cinder-volume")
    cinder("service-enable", "nowhere", "cinder-volume", fails="Service cinder-volume could not be found on host nowhere")
    cinder("freeze-host", host)
    equal(table(cinder("get-pools")), [])
    cinder("thaw-host", host)

    (message,) = table(cinder("message-list"))
    shown = fields(cinder("message-show", message["ID"]))
    equal((shown["resource_uuid"], shown["event_id"]), (show("homeless")["id"], message["Event ID"]))
    equal(len(table(cinder("message-list", "--filters", "message_level=ERROR"))), 1)
    equal(table(cinder("message-list", "--resource_uuid", NOWHERE, version="3.5")), [])
    cinder("message-delete", message["ID"])
    equal(table(cinder("message-list")), [])
    cinder("message-show", message["ID"], fails="No message with a name or ID")
    cinder("delete", "homeless")
    gone(library.volumes, "homeless")

    pool = fields(cinder("get-pools", "--detail"))
    assert pool["name"].startswith(f"{host}#") and pool["volume_backend_name"], pool
    equal(fields(cinder("get-pools", "--filters", f"name={pool['name']}"))["name"], pool["name"])
    capabilities = cinder("get-capabilities", host)
    assert "OS::Storage::Capabilities" in capabilities and "thin_provisioning" in capabilities, capabilities
    cinder("get-capabilities", "nowhere", fails="Can't find service: nowhere")
    equal(table(cinder("availability-zone-list")), [{"Name": "nova", "Status": "available"}])
    equal(table(cinder("cluster-list")), [])
    assert "3.71" in cinder("version-list")
    assert "os-volume" in cinder("list-extensions") or table(cinder("list-extensions")), "extensions"


def attachments():
    cinder("create", "--name", "data", 1)
    volume = status("data", "available")
    for version in ["3.27", "3.54", "3.70"]:
        row = fields(cinder("attachment-create", "data", SERVER, version=version))
        equal((row["volume_id"], row["status"]), (volume.id, "reserved"))
        status("data", "reserved")
        connected = cinder("attachment-update", "--host", "h1", "--ip", "10.0.0.1", "--initiator", "iqn.1:1", row["id"],
                           version=version)
        assert "driver_volume_type" in connected, connected
        shown = fields(cinder("attachment-show", row["id"], version=version))
        equal((shown["status"], shown["instance"]), ("attaching" if version != "3.27" else shown["status"], SERVER))
        if version != "3.27":
            cinder("attachment-complete", row["id"], version=version)
            status("data", "in-use")
        rows = table(cinder("attachment-list", "--volume-id", volume.id, version=version))
        equal([(found["ID"], found["Server ID"]) for found in rows], [(row["id"], SERVER)])
        cinder("attachment-delete", row["id"], version=version)
        status("data", "available")
    equal(table(cinder("attachment-list", "--filters", "status=attached")), [])
    cinder("attachment-create", "data", SERVER, "--mode", "ro")
    (row,) = table(cinder("attachment-list"))
    equal(row["Status"], "reserved")
    cinder("attachment-delete", row["ID"])
    cinder("attachment-show", row["ID"], fails="could not be found")


def old_actions():
    """What Compute calls where it knows no attachments; the shell has no commands for them."""
    volume = by_name(library.volumes, "data")
    library.volumes.reserve(volume)
    status("data", "attaching")
    with refused(exceptions.BadRequest, "status must be available"):
        library.volumes.reserve(volume)
    library.volumes.unreserve(volume)
    status("data", "available")
    library.volumes.reserve(volume)
    info = library.volumes.initialize_connection(volume, CONNECTOR)
    assert info["driver_volume_type"] and info["data"], info
    library.volumes.attach(volume, SERVER, "/dev/vdb", mode="rw")
    (row,) = status("data", "in-use").attachments
    equal((row["server_id"], row["device"]), (SERVER, "/dev/vdb"))
    library.volumes.begin_detaching(volume)
    status("data", "detaching")
    library.volumes.roll_detaching(volume)
    status("data", "in-use")
    library.volumes.begin_detaching(volume)
    library.volumes.terminate_connection(volume, CONNECTOR)
    library.volumes.detach(volume, row["attachment_id"])
    equal(status("data", "available").attachments, [])
    equal(library.volumes.get_encryption_metadata(volume.id), {"encryption_key_id": None})


def snapshot_progress():
    """What tells how far a snapshot is: a driver on another host, by the library only."""
    cinder("snapshot-create", "--name", "slow", "data")
    snapshot = snapshot_status("slow", "available")
    cinder("snapshot-reset-state", "--state", "creating", "slow")
    library.volume_snapshots.update_snapshot_status(snapshot, {"status": "creating", "progress": "50%"})
    shown = fields(cinder("snapshot-show", "slow"))
    equal((shown["status"], shown["os-extended-snapshot-attributes:progress"]), ("creating", "50%"))
    library.volume_snapshots.update_snapshot_status(snapshot, {"status": "error"})
    equal(fields(cinder("snapshot-show", "slow"))["status"], "error")
    cinder("delete", "--cascade", "data")
    gone(library.volumes, "data")


def manageable():
    """What is let go of stays where it is, and is taken back."""
    made = fields(cinder("create", "--name", "kept", 1))
    status("kept", "available")
    host = show("kept")["os-vol-host-attr:host"]
    cinder("snapshot-create", "--name", "point", "kept")
    snapshot = snapshot_status("point", "available")
    cinder("unmanage", "kept", fails="400")
    cinder("snapshot-unmanage", "point")
    gone(library.volume_snapshots, "point")
    (row,) = table(cinder("snapshot-manageable-list", "--detailed", "True", host))
    equal((row["reference"], row["safe_to_manage"], row["cinder_id"]),
          (f"{{'source-name': '_snapshot-{snapshot.id}'}}", "True", "-"))
    made_of_it = fields(cinder("snapshot-manage", "--name", "point", "--metadata", "k=v", "--", "kept", f"_snapshot-{snapshot.id}"))
    equal((made_of_it["status"], made_of_it["size"]), ("creating", "1"))
    snapshot_status("point", "available")
    cinder("snapshot-unmanage", "point")
    gone(library.volume_snapshots, "point")

    cinder("unmanage", "kept")
    gone(library.volumes, "kept")
    for detail in ["True", "False"]:
        (row,) = table(cinder("manageable-list", "--detailed", detail, host))
        equal((row["reference"], row["size"], row["safe_to_manage"]),
              (f"{{'source-name': 'volume-{made['id']}'}}", "1", "True"))
    cinder("manage", "--name", "no", host, "nothing", fails="the backend has no object of this name")
    again = fields(cinder("manage", "--name", "again", "--metadata", "k=v", "--bootable", "--", host, f"volume-{made['id']}"))
    equal((again["status"], again["size"]), ("creating", "0"))
    equal(status("again", "available").size, 1)
    equal((show("again")["bootable"], show("again")["metadata"]), ("true", "k : v"))
    cinder("delete", "again")
    gone(library.volumes, "again")


for part in [volumes, snapshots, types, quotas, operators, attachments, old_actions, snapshot_progress, manageable]:
    part()
equal(table(cinder("list", "--all-tenants")), [])
print("everything held")
