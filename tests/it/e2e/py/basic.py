"""Stock clients with `http_basic`: openstacksdk, the `openstack` and the `cinder` command lines' way, python-cinderclient."""

import os

import openstack as sdk
from cinderclient import client as cinderclient
from cinderclient import exceptions as cinder_exceptions
from keystoneauth1 import http_basic, session

from checks import equal, eventually, refused
from cli import openstack

URL = os.environ["HEARTH_URL"]


def connect(name, password):
    plugin = http_basic.HTTPBasicAuth(endpoint=f"{URL}/v3", username=name, password=password)
    return cinderclient.Client("3.70", session=session.Session(auth=plugin))


root, rita = connect("root", "r00t"), connect("rita", "r1ta")
volume = root.volumes.create(1, name="first")
eventually("it is available", lambda: root.volumes.get(volume.id), lambda found: found.status == "available")
equal(getattr(root.volumes.get(volume.id), "os-vol-tenant-attr:tenant_id"), "home")
equal([found.id for found in rita.volumes.list()], [volume.id])
with refused(cinder_exceptions.Forbidden, "volume:create"):
    rita.volumes.create(1)
for name, password in [("root", "wrong"), ("nobody", "r00t"), ("root", "")]:
    with refused(cinder_exceptions.Unauthorized):
        connect(name, password).volumes.list()

# the cloud that `hearth serve` has written, and who it is: by arguments, by the environment
cloud = sdk.connect(cloud="hearth", username="root", password="r00t")
equal([found.name for found in cloud.block_storage.volumes()], ["first"])
os.environ.update(OS_USERNAME="root", OS_PASSWORD="r00t")
equal(openstack("volume", "list", "-f", "value", "-c", "Name"), "first\n")
equal(openstack("volume", "create", "--size", "1", "second", "-f", "value", "-c", "size"), "1\n")

print("everything held")
