"""The `openstack` command line against a running service: each of its volume commands that the service answers.

What a command sets going is awaited with the library, which looks faster than a command does.
"""

import os

import openstack as sdk

from checks import equal, eventually
from cli import openstack, shown

NOWHERE = "00000000-0000-0000-0000-000000000000"
SERVER = os.environ["HEARTH_SERVER"]
CONNECTOR = ["--host", "h1", "--ip", "10.0.0.1", "--initiator", "iqn.2005-03.org.open-iscsi:1", "--platform", "x86_64",
             "--os-type", "linux", "--mountpoint", "/dev/vdb"]

cloud = sdk.connect(block_storage_default_microversion="3.70")
storage = cloud.block_storage


def status(name, word):
    volume = storage.find_volume(name, ignore_missing=False)
    return eventually(f"{name} is {word}", lambda: storage.get_volume(volume.id), lambda found: found.status == word)


def snapshot_status(name, word):
    row = storage.find_snapshot(name, ignore_missing=False)
    return eventually(f"{name} is {word}", lambda: storage.get_snapshot(row.id), lambda found: found.status == word)


def gone(name, find):
    eventually(f"{name} is gone", lambda: find(name), lambda found: found is None)


def volumes():
    first = shown("volume", "create", "--size", 1, "--description", "d", "--property", "k=v", "first")
    equal((first["status"], first["size"], first["description"], first["properties"]), ("creating", 1, "d", {"k": "v"}))
    status("first", "available")
    openstack("volume", "set", "--name", "renamed", "--description", "e", "--property", "a=1", "--property", "b=2",
              "--image-property", "os_type=linux", "first")
    volume = shown("volume", "show", "renamed")
    equal((volume["id"], volume["description"]), (first["id"], "e"))
    equal(volume["properties"], {"k": "v", "a": "1", "b": "2"})
    equal(volume["volume_image_metadata"], {"os_type": "linux"})
    openstack("volume", "unset", "--property", "a", "--image-property", "os_type", "renamed")
    volume = shown("volume", "show", "renamed")
    equal((volume["properties"], volume.get("volume_image_metadata")), ({"k": "v", "b": "2"}, None))
    openstack("volume", "unset", "--property", "never set", "renamed", fails="Failed to unset volume properties")
    openstack("volume", "set", "--no-property", "renamed")
    equal(shown("volume", "show", "renamed")["properties"], {})
    openstack("volume", "set", "--property", "colour=red", "renamed")
    for flag, expected in [("--bootable", "true"), ("--non-bootable", "false")]:
        openstack("volume", "set", flag, "renamed")
        equal(str(shown("volume", "show", "renamed")["bootable"]).lower(), expected)
    for flag, expected in [("--read-only", "True"), ("--read-write", "False")]:
        openstack("volume", "set", flag, "renamed")
        equal(shown("volume", "show", "renamed")["properties"], {"colour": "red", "readonly": expected})
    openstack("volume", "set", "--size", 2, "renamed")
    equal(status("renamed", "available").size, 2)
    openstack("volume", "set", "--size", 2, "renamed", fails="New size must be greater than 2 GB")
    for state in ["error", "maintenance", "available"]:
        openstack("volume", "set", "--state", state, "renamed")
        equal(shown("volume", "show", "renamed")["status"], state)
    openstack("volume", "set", "--state", "in-use", "renamed", fails="does not have any attachment")
    openstack("volume", "set", "--detached", "renamed")
    equal(shown("volume", "show", "renamed")["status"], "available")
    rows = shown("volume", "list", "--long", "--status", "available", "--name", "renamed")
    equal([(row["Name"], row["Size"], row["Type"], row["Properties"]) for row in rows],
          [("renamed", 2, "__DEFAULT__", {"colour": "red", "readonly": "False"})])
    equal(shown("volume", "list", "--property", "k=v"), [])
    equal([row["ID"] for row in shown("volume", "list", "--project", "admin", login=True)], [first["id"]])
    equal(shown("volume", "list", "--project", "demo", login=True), [])
    openstack("volume", "create", "--size", 1, "--bootable", "--read-only", "flagged")
    volume = shown("volume", "show", "flagged")
    equal((str(volume["bootable"]).lower(), volume["properties"]), ("true", {"readonly": "True"}))
    summary = shown("volume", "summary")
    equal((summary["Total Count"], summary["Total Size"]), (2, 3))
    equal(summary["Metadata"], {"colour": ["red"]})
    openstack("volume", "delete", "flagged")
    gone("flagged", storage.find_volume)
    openstack("volume", "show", "flagged", fails="No Volume found for flagged")
    openstack("volume", "delete", NOWHERE, fails="1 of 1 volumes failed to delete")


def snapshots():
    made = shown("volume", "snapshot", "create", "--volume", "renamed", "--description", "d", "--property", "k=v", "one")
    equal((made["status"], made["size"], made["description"], made["properties"]), ("creating", 2, "d", {"k": "v"}))
    snapshot_status("one", "available")
    openstack("volume", "snapshot", "set", "--name", "uno", "--description", "e", "--property", "a=1", "one")
    row = shown("volume", "snapshot", "show", "uno")
    equal((row["id"], row["description"], row["properties"]), (made["id"], "e", {"k": "v", "a": "1"}))
    openstack("volume", "snapshot", "unset", "--property", "k", "uno")
    equal(shown("volume", "snapshot", "show", "uno")["properties"], {"a": "1"})
    openstack("volume", "snapshot", "set", "--no-property", "--property", "z=26", "uno")
    equal(shown("volume", "snapshot", "show", "uno")["properties"], {"z": "26"})
    openstack("volume", "snapshot", "set", "--state", "error", "uno")
    equal(shown("volume", "snapshot", "show", "uno")["status"], "error")
    openstack("volume", "snapshot", "set", "--state", "available", "uno")
    rows = shown("volume", "snapshot", "list", "--long", "--volume", "renamed", "--status", "available")
    equal([(row["Name"], row["Size"], row["Volume"], row["Properties"]) for row in rows],
          [("uno", 2, storage.find_volume("renamed").id, {"z": "26"})])
    equal(shown("volume", "snapshot", "list", "--name", "no such name"), [])

    # volumes out of it, and out of each other
    copy = shown("volume", "create", "--snapshot", "uno", "copy")
    equal((copy["size"], copy["snapshot_id"]), (2, made["id"]))
    status("copy", "available")
    clone = shown("volume", "create", "--source", "renamed", "--size", 3, "clone")
    equal((clone["size"], clone["source_volid"]), (3, storage.find_volume("renamed").id))
    status("clone", "available")
    openstack("volume", "delete", "copy", "clone")
    for name in ["copy", "clone"]:
        gone(name, storage.find_volume)

    openstack("volume", "revert", "uno")
    status("renamed", "available")
    snapshot_status("uno", "available")
    openstack("volume", "delete", "renamed", fails="failed to delete")
    shown("volume", "snapshot", "create", "--volume", "renamed", "two")
    snapshot_status("two", "available")
    openstack("volume", "revert", "uno", fails="400")
    openstack("volume", "snapshot", "set", "--state", "error", "two")
    openstack("volume", "snapshot", "delete", "--force", "two")
    gone("two", storage.find_snapshot)
    openstack("volume", "snapshot", "delete", "uno")
    gone("uno", storage.find_snapshot)
    openstack("volume", "snapshot", "show", "uno", fails="No Snapshot found for uno")

    # of a volume in use: with --force below 3.66
    row = shown("volume", "attachment", "create", "renamed", "--server", SERVER, "--connect", *CONNECTOR)
    openstack("volume", "attachment", "complete", row["ID"])
    status("renamed", "in-use")
    openstack("volume", "snapshot", "create", "--volume", "renamed", "live", version="3.65", fails="400")
    equal(shown("volume", "snapshot", "create", "--volume", "renamed", "--force", "live", version="3.65")["size"], 2)
    snapshot_status("live", "available")
    openstack("volume", "attachment", "delete", row["ID"])
    status("renamed", "available")

    # all of it at once
    openstack("volume", "delete", "--purge", "renamed")
    gone("renamed", storage.find_volume)
    gone("live", storage.find_snapshot)
    openstack("volume", "create", "--size", 1, "stuck")
    openstack("volume", "set", "--state", "deleting", "stuck", fails="cannot reset-state to deleting")
    openstack("volume", "set", "--state", "maintenance", "stuck")
    openstack("volume", "delete", "stuck", fails="1 of 1 volumes failed to delete")
    openstack("volume", "delete", "--force", "stuck")
    gone("stuck", storage.find_volume)


def types():
    made = shown("volume", "type", "create", "--private", "--description", "d", "--property", "k=v", "gold")
    equal((made["name"], made["description"], made["is_public"], made["properties"]), ("gold", "d", False, {"k": "v"}))
    openstack("volume", "type", "set", "--name", "silver", "--description", "e", "--property", "a=1", "gold")
    kind = shown("volume", "type", "show", "silver")
    equal((kind["id"], kind["description"], kind["properties"]), (made["id"], "e", {"k": "v", "a": "1"}))
    openstack("volume", "type", "unset", "--property", "k", "silver")
    equal(shown("volume", "type", "show", "silver")["properties"], {"a": "1"})
    openstack("volume", "type", "set", "--project", "demo", "silver", login=True)
    equal(shown("volume", "type", "show", "silver")["access_project_ids"], ["demo"])
    openstack("volume", "type", "set", "--project", "demo", "silver", login=True, fails="Failed to set volume type access")
    openstack("volume", "type", "unset", "--project", "demo", "silver", login=True)
    equal(shown("volume", "type", "show", "silver")["access_project_ids"], [])
    rows = shown("volume", "type", "list", "--long")
    equal(sorted((row["Name"], row["Is Public"]) for row in rows), [("__DEFAULT__", True), ("silver", False)])
    equal([row["Name"] for row in shown("volume", "type", "list", "--private")], ["silver"])
    equal([row["Name"] for row in shown("volume", "type", "list", "--default")], ["__DEFAULT__"])
    # (this client's --public sends the member of a create, which an update has never taken)
    openstack("volume", "type", "set", "--public", "silver", fails="Additional properties are not allowed")
    openstack("volume", "type", "create", "silver", fails="409")

    # (a property that no backend has would keep volumes of this type from being made)
    openstack("volume", "type", "unset", "--property", "a", "silver")

    # what a project takes when it names none: a call of the library, since no command has it
    storage.set_default_type("admin", "silver")
    equal([(row.project_id, row.volume_type_id) for row in storage.default_types()], [("admin", made["id"])])
    equal(storage.show_default_type("admin").volume_type_id, made["id"])
    equal([row["Name"] for row in shown("volume", "type", "list", "--default")], ["silver"])
    equal(shown("volume", "create", "--size", 1, "typed")["type"], "silver")
    status("typed", "available")
    storage.unset_default_type("admin")
    equal([row["Name"] for row in shown("volume", "type", "list", "--default")], ["__DEFAULT__"])
    openstack("volume", "type", "delete", "silver", fails="400")
    openstack("volume", "delete", "typed")
    gone("typed", storage.find_volume)
    openstack("volume", "type", "delete", "silver")
    equal([row["Name"] for row in shown("volume", "type", "list")], ["__DEFAULT__"])
    openstack("volume", "type", "delete", "__DEFAULT__", fails="failed to delete")


def quotas():
    def limits(*options):
        rows = shown("quota", "show", "--volume", *options, "demo", login=True)
        return {row["Resource"]: row["Limit"] for row in rows}

    before = limits()
    equal((before["volumes"], before["gigabytes"]), (20, 100))
    openstack("quota", "set", "--volumes", 7, "--snapshots", -1, "demo", login=True)
    openstack("quota", "set", "--volumes", 3, "--volume-type", "__DEFAULT__", "demo", login=True)
    after = limits()
    equal((after["volumes"], after["snapshots"], after["volumes___DEFAULT__"], after["gigabytes"]), (7, -1, 3, 100))
    usage = {row["Resource"]: row for row in shown("quota", "show", "--volume", "--usage", "demo", login=True)}
    equal((usage["volumes"]["Limit"], usage["volumes"]["In Use"], usage["volumes"]["Reserved"]), (7, 0, 0))
    openstack("quota", "delete", "--volume", "demo", login=True)
    equal(limits(), before)
    openstack("quota", "set", "--default", "--backups", 5, login=True)
    equal(limits("--default")["backups"], 5)
    found = {row["Name"]: row["Value"] for row in shown("limits", "show", "--absolute", login=True)}
    equal((found["max_total_volumes"], found["total_volumes_used"], found["max_total_backups"]), (20, 0, 5))
    equal(shown("limits", "show", "--rate", login=True), [])


def operators():
    rows = shown("volume", "service", "list", "--long", "--service", "cinder-volume")
    (service,) = rows
    equal((service["Binary"], service["Zone"], service["Status"], service["State"]), ("cinder-volume", "nova", "enabled", "up"))
    equal((service["Backend State"], service["Disabled Reason"]), ("up", None))
    host = service["Host"]
    openstack("volume", "service", "set", "--disable", "--disable-reason", "new disks", host, "cinder-volume")
    (service,) = shown("volume", "service", "list", "--long", "--host", host)
    equal((service["Status"], service["Disabled Reason"]), ("disabled", "new disks"))
    openstack("volume", "create", "--size", 1, "homeless")
    status("homeless", "error")
    openstack("volume", "service", "set", "--enable", host, "cinder-volume")
    (service,) = shown("volume", "service", "list", "--long", "--host", host)
    equal((service["Status"], service["Disabled Reason"]), ("enabled", None))
    openstack("volume", "service", "set", "--disable", "nowhere", "cinder-volume", fails="cinder-volume")

    # why it failed is told to its owner
    (message,) = shown("volume", "message", "list")
    equal((message["Resource Type"], message["Resource UUID"]), ("VOLUME", storage.find_volume("homeless").id))
    assert "weighted backend" in message["User Message"], message
    # (this client finds nothing in the answer but the id it asked for, since it looks for the list's member)
    equal(shown("volume", "message", "show", message["ID"])["ID"], message["ID"])
    openstack("volume", "message", "show", NOWHERE, fails="could not be found")
    openstack("volume", "message", "delete", message["ID"])
    equal(shown("volume", "message", "list"), [])
    openstack("volume", "delete", "homeless")

    (pool,) = shown("volume", "backend", "pool", "list", "--long")
    assert pool["Name"].startswith(f"{host}#"), pool
    equal([row["Name"] for row in shown("volume", "backend", "pool", "list")], [pool["Name"]])
    capabilities = shown("volume", "backend", "capability", "show", host)
    assert {row["Key"] for row in capabilities} >= {"thin_provisioning"}, capabilities
    for row in capabilities:
        assert row["Title"] and row["Type"] and row["Description"] is not None, row
    equal(shown("availability", "zone", "list", "--volume"), [{"Zone Name": "nova", "Zone Status": "available"}])
    rows = shown("block", "storage", "resource", "filter", "list")
    assert "name" in {row["Resource"]: row["Filters"] for row in rows}["volume"], rows
    row = shown("block", "storage", "resource", "filter", "show", "pool")
    equal(row["Filters"], ["name", "volume_type"])
    equal(shown("block", "storage", "cluster", "list"), [])
    openstack("volume", "host", "set", "--disable", host)
    openstack("volume", "host", "set", "--enable", host)


def attachments():
    volume = shown("volume", "create", "--size", 1, "data")
    status("data", "available")
    row = shown("volume", "attachment", "create", "data", "--server", "vm-1")
    equal((row["Volume ID"], row["Instance ID"], row["Status"]), (volume["id"], SERVER, "reserved"))
    row = shown("volume", "attachment", "set", row["ID"], *CONNECTOR)
    assert row["Properties"]["driver_volume_type"], row
    openstack("volume", "attachment", "complete", row["ID"])
    status("data", "in-use")
    equal(shown("volume", "attachment", "show", row["ID"])["Status"], "attached")
    rows = shown("volume", "attachment", "list", "--volume-id", volume["id"], "--status", "attached")
    equal([(found["ID"], found["Server ID"]) for found in rows], [(row["ID"], SERVER)])
    openstack("volume", "attachment", "delete", row["ID"])
    status("data", "available")
    equal(shown("volume", "attachment", "list"), [])
    openstack("volume", "attachment", "show", row["ID"], fails="could not be found")
    row = shown("volume", "attachment", "create", "data", "--server", SERVER, "--mode", "ro", "--connect", *CONNECTOR)
    equal((row["Attach Mode"], row["Status"]), ("ro", "attaching"))
    openstack("volume", "attachment", "delete", row["ID"])
    status("data", "available")
    openstack("volume", "delete", "data")
    gone("data", storage.find_volume)


def manageable():
    """What is let go of stays where it is, and is taken back."""
    made = shown("volume", "create", "--size", 1, "kept")
    status("kept", "available")
    (pool,) = shown("volume", "backend", "pool", "list")
    host = pool["Name"]
    point = shown("volume", "snapshot", "create", "--volume", "kept", "point")
    snapshot_status("point", "available")
    openstack("volume", "snapshot", "delete", "--remote", "point")
    gone("point", storage.find_snapshot)
    (row,) = shown("block", "storage", "snapshot", "manageable", "list", host)
    equal((row["reference"], row["safe_to_manage"]), ({"source-name": f"_snapshot-{point['id']}"}, True))
    openstack("volume", "snapshot", "create", "--remote-source", f"source-name=_snapshot-{point['id']}", "--volume", "kept", "point")
    snapshot_status("point", "available")
    openstack("volume", "snapshot", "delete", "--remote", "point")
    gone("point", storage.find_snapshot)

    openstack("volume", "delete", "--remote", "kept")
    gone("kept", storage.find_volume)
    (row,) = shown("block", "storage", "volume", "manageable", "list", "--long", host)
    equal((row["reference"], row["size"], row["safe_to_manage"], row["cinder_id"]),
          ({"source-name": f"volume-{made['id']}"}, 1, True, None))
    openstack("volume", "create", "--host", host, "--remote-source", f"source-name=volume-{made['id']}", "again")
    equal(status("again", "available").size, 1)
    openstack("volume", "delete", "again")
    gone("again", storage.find_volume)


for part in [volumes, snapshots, types, quotas, operators, attachments, manageable]:
    part()
equal(shown("volume", "list", "--all-projects"), [])
print("everything held")
