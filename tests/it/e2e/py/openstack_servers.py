"""The `openstack` command line against a running service: volumes of servers, and what was done to a server."""

import os

import openstack as sdk

from checks import equal, eventually
from cli import openstack, shown

SERVER = os.environ["HEARTH_SERVER"]

storage = sdk.connect(block_storage_default_microversion="3.70").block_storage


def compute(version, *words, **options):
    return openstack("--os-compute-api-version", version, "server", *words, **options)


def told(version, *words):
    return shown("--os-compute-api-version", version, "server", *words)


def status(volume, word):
    return eventually(word, lambda: storage.get_volume(volume.id), lambda found: found.status == word)


def detached(volume, name):
    compute("2.1", "remove", "volume", "vm-1", name)
    status(volume, "available")


def adding(volume):
    # by names, at the lowest version: the client prints what the answer says
    added = told("2.1", "add", "volume", "vm-1", "data", "--device", "/dev/vdf")
    equal((added["Server ID"], added["Volume ID"], added["Device"]), (SERVER, volume.id, "/dev/vdf"))
    status(volume, "in-use")
    listed = told("2.1", "volume", "list", "vm-1")
    equal([(row["Server ID"], row["Volume ID"], row["Device"]) for row in listed], [(SERVER, volume.id, "/dev/vdf")])
    equal([row["id"] for row in told("2.1", "show", SERVER)["volumes_attached"]], [volume.id])
    compute("2.1", "add", "volume", "vm-1", "data", fails="already attached")
    detached(volume, "data")
    equal(told("2.1", "volume", "list", "vm-1"), [])
    compute("2.1", "remove", "volume", "vm-1", "data", fails="not attached")


def tag_and_flag(volume):
    added = told("2.79", "add", "volume", SERVER, volume.id, "--tag", "blue", "--enable-delete-on-termination")
    equal((added["Tag"], added["Delete On Termination"]), ("blue", True))
    status(volume, "in-use")
    row, = told("2.89", "volume", "list", SERVER)
    equal((row["Tag"], row["Delete On Termination?"]), ("blue", True))
    equal(row["Attachment ID"], storage.get_volume(volume.id).attachments[0]["attachment_id"])
    assert row["BlockDeviceMapping UUID"], row
    for option, expected in [("--preserve-on-termination", False), ("--delete-on-termination", True),
                             ("--preserve-on-termination", False)]:
        compute("2.85", "volume", "update", option, SERVER, volume.id)
        equal([row["Delete On Termination?"] for row in told("2.85", "volume", "list", SERVER)], [expected])
    detached(volume, volume.id)


def events(volume):
    rows = told("2.84", "event", "list", "vm-1")
    equal([row["Action"] for row in rows], ["detach_volume", "attach_volume"] * 2)
    for row in rows:
        event = told("2.84", "event", "show", "vm-1", row["Request ID"])
        equal((event["action"], event["request_id"], event["message"]), (row["Action"], row["Request ID"], None))
        equal([one["result"] for one in event["events"]], ["Success"])
    compute("2.1", "event", "show", "vm-1", "req-nowhere", fails="not found")


def servers():
    equal([(row["Name"], row["Status"]) for row in told("2.96", "list")], [("vm-1", "ACTIVE")])
    equal([row["ID"] for row in told("2.96", "list", "--name", "^vm-1$")], [SERVER])
    equal(told("2.96", "list", "--name", "^vm$"), [])
    equal(told("2.96", "list", "--status", "SHUTOFF"), [])
    equal(told("2.96", "show", "vm-1")["id"], SERVER)


data = storage.create_volume(name="data", size=1)
status(data, "available")
adding(data)
tag_and_flag(data)
events(data)
servers()
print("everything held")
