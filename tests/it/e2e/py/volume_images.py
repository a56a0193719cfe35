"""Volumes from images and images of volumes, byte by byte, as people ask for them: `openstack` and `cinder`."""

import pathlib
import subprocess

import openstack as sdk

from checks import equal, eventually
from cli import cinder, fields, openstack, shown

GIB = 1 << 30
NOWHERE = "00000000-0000-0000-0000-000000000000"

cloud = sdk.connect()
images = cloud.image
work = pathlib.Path.cwd()


def disk(name, seed):
    """A file of 20 MiB with data at both ends and in the middle."""
    data = bytearray(20 << 20)
    for at in (0, 7 << 20, (20 << 20) - 4096):
        data[at:at + 4096] = bytes((seed + number) % 256 for number in range(4096))
    path = work / name
    path.write_bytes(data)
    return path, bytes(data)


def contents(volume):
    """What the volume holds, by its file in the pool."""
    data = (work / "pools" / "local" / f"{volume}.raw").read_bytes()
    equal(len(data), GIB)
    return data


def holds(volume, data):
    found = contents(volume)
    assert found.startswith(data), "the image's bytes"
    assert not found[len(data):].strip(b"\0"), "and nothing else"


def status(volume, word):
    look = lambda: shown("volume", "show", volume)  # noqa: E731
    return eventually(f"{volume} is {word}", look, lambda row: row["status"] in (word, "error") and row)


def active(image):
    return eventually(f"{image} is active", lambda: images.get_image(image), lambda found: found.status == "active")


def image(name, path, disk_format="raw", *options):
    return shown("image", "create", "--file", path, "--disk-format", disk_format, *options, name)["id"]


def from_images():
    path, data = disk("one.raw", 1)
    one = image("one", path, "raw", "--min-ram", "64", "--property", "os_distro=arch")
    packed = work / "one.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", path, packed], check=True)
    image("packed", packed, "qcow2")
    for number, (name, disk_format) in enumerate([("one", "raw"), ("packed", "qcow2")]):
        made = shown("volume", "create", "--image", name, "--size", "1", f"of-{name}")
        equal(made["status"], "creating")
        volume = status(made["id"], "available")
        equal((volume["status"], volume["bootable"]), ("available", True))
        kept = volume["volume_image_metadata"]
        equal((kept["image_name"], kept["disk_format"]), (name, disk_format))
        holds(made["id"], data)
    equal(shown("volume", "show", "of-one")["volume_image_metadata"]["os_distro"], "arch")
    openstack("image", "set", "--min-disk", "2", "one")
    openstack("volume", "create", "--image", "one", "--size", "1", "small", fails="minDisk size 2GB")
    openstack("image", "set", "--min-disk", "0", "one")
    openstack("volume", "create", "--image", "absent", "--size", "1", "x", fails="No Image found for absent")
    return one, data


def to_images(data):
    volume = shown("volume", "show", "of-one")["id"]
    openstack("image", "create", "--volume", "of-one", "--disk-format", "qcow2", "copy")
    found = active(images.find_image("copy").id)
    status(volume, "available")
    equal((found.disk_format, found.container_format, found.visibility), ("qcow2", "bare", "private"))
    equal((found.properties.get("os_distro") or found.os_distro, found.virtual_size), ("arch", GIB))
    saved = work / "copy.qcow2"
    openstack("image", "save", "--file", saved, "copy")
    back = work / "copy.raw"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", saved, back], check=True)
    assert back.read_bytes() == contents(volume), "what the volume holds"
    again = shown("volume", "create", "--image", "copy", "--size", "1", "again")["id"]
    equal(status(again, "available")["status"], "available")
    assert contents(again) == contents(volume)

    cinder("upload-to-image", volume, "by-cinder", "--disk-format", "vmdk", "--visibility", "private", project="admin")
    found = active(images.find_image("by-cinder").id)
    equal(found.disk_format, "vmdk")
    status(volume, "available")
    cinder("upload-to-image", volume, "ploop", "--disk-format", "ploop", project="admin", fails="ploop")
    equal(images.find_image("ploop"), None)


def reimage(one, data):
    path, other = disk("two.raw", 100)
    two = image("two", path)
    volume = shown("volume", "show", "of-one")["id"]
    cinder("reimage", volume, two, project="admin")
    found = status(volume, "available")
    equal((found["status"], found["volume_image_metadata"]["image_name"]), ("available", "two"))
    holds(volume, other)
    cinder("reimage", volume, NOWHERE, project="admin", fails="could not be found")
    holds(volume, other)
    blank = shown("volume", "create", "--size", "1", "blank")["id"]
    status(blank, "available")
    cinder("reimage", blank, one, project="admin")
    equal(status(blank, "available")["bootable"], True)
    holds(blank, data)


def hostile():
    """What an owner learns of an image that is not what it says: nothing of the machine."""
    bomb = work / "bomb.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", bomb, "1T"], check=True)
    image("bomb", bomb, "qcow2")
    openstack("volume", "create", "--image", "bomb", "--size", "1", "boom", fails="doesn't fit in a volume")
    openstack("volume", "create", "--image", "bomb", "--size", "1024", "boom", fails="VolumeSizeExceedsAvailableQuota")
    pool = sorted(path.name for path in (work / "pools" / "local").iterdir() if path.suffix == ".tmp")
    equal(pool, [])


def goodbye():
    for volume in shown("volume", "list"):
        openstack("volume", "delete", volume["ID"])
    eventually("they are gone", lambda: shown("volume", "list"), lambda rows: rows == [])
    left = [path.name for path in (work / "pools" / "local").iterdir() if not path.name.startswith(".")]
    equal(left, [])


the_image, the_data = from_images()
to_images(the_data)
reimage(the_image, the_data)
hostile()
goodbye()
print("everything held")
