"""The `openstack image` commands against the embedded image service."""

import hashlib
import pathlib
import subprocess

import openstack as sdk

from checks import equal
from cli import openstack, shown

NOWHERE = "00000000-0000-0000-0000-000000000000"

images = sdk.connect().image
work = pathlib.Path.cwd()


def file(name, data):
    path = work / name
    path.write_bytes(data)
    return path


def life():
    data = bytes(range(256)) * 20_000
    raw = file("raw.img", data)
    made = shown("image", "create", "--file", raw, "--disk-format", "raw", "--container-format", "bare", "--min-disk", 1,
                 "--min-ram", 64, "--property", "os_type=linux", "--tag", "first", "--private", "one")
    equal((made["name"], made["status"], made["size"], made["visibility"]), ("one", "active", len(data), "private"))
    equal((made["min_disk"], made["min_ram"], made["tags"]), (1, 64, ["first"]))
    equal(made["checksum"], hashlib.md5(data).hexdigest())
    equal((made["properties"]["os_type"], made["properties"]["os_hash_value"]),
          ("linux", hashlib.sha512(data).hexdigest()))
    equal(shown("image", "show", made["id"]), shown("image", "show", "one"))
    saved = work / "saved.img"
    openstack("image", "save", "--file", saved, "one")
    assert saved.read_bytes() == data, "it comes back as it went in"

    openstack("image", "set", "--name", "uno", "--property", "a=1", "--tag", "second", "--min-ram", 128, "--protected", "one")
    image = shown("image", "show", "uno")
    equal((image["id"], image["min_ram"], image["protected"]), (made["id"], 128, True))
    equal((image["properties"]["a"], sorted(image["tags"])), ("1", ["first", "second"]))
    openstack("image", "delete", "uno", fails="is protected and cannot be deleted")
    openstack("image", "unset", "--property", "a", "--tag", "first", "uno")
    image = shown("image", "show", "uno")
    equal((image["properties"].get("a"), image["tags"]), (None, ["second"]))
    openstack("image", "set", "--unprotected", "--public", "uno")
    openstack("image", "delete", "uno")
    openstack("image", "show", "uno", fails="No Image found for uno")
    # (this client speaks of stores whenever it does not find an image to delete)
    openstack("image", "delete", NOWHERE, fails="Multi Backend support not enabled")


def lists():
    for name, options in [("a", ["--public"]), ("b", ["--tag", "t"]), ("c", ["--property", "k=v", "--hidden"])]:
        hidden = "--hidden" in options
        path = file(f"{name}.img", name.encode() * 512)
        openstack("image", "create", "--file", path, *(word for word in options if word != "--hidden"), name)
        if hidden:
            openstack("image", "set", "--hidden", name)

    def listed(*options):
        return [row["Name"] for row in shown("image", "list", *options)]

    equal(listed("--sort", "name:asc"), ["a", "b"])
    equal(listed("--sort", "name:desc", "--limit", "1"), ["b"])
    equal(listed("--public"), ["a"])
    equal(listed("--shared"), ["b"])
    equal(listed("--tag", "t"), ["b"])
    equal(listed("--name", "b"), ["b"])
    equal(listed("--status", "queued"), [])
    equal(listed("--hidden"), ["c"])
    equal(listed("--hidden", "--property", "k=v"), ["c"])
    (row,) = shown("image", "list", "--long", "--name", "a")
    equal((row["Status"], row["Disk Format"], row["Size"], row["Visibility"]), ("active", "raw", 512, "public"))
    openstack("image", "delete", "a", "b", images.find_image("c").id)
    equal(listed("--all"), [])


def pages():
    for number in range(30):
        images.create_image(f"n{number:02}", data=b"x" * 512, disk_format="raw", container_format="bare",
                            validate_checksum=False)
    equal([image.name for image in images.images(sort="name:asc")], [f"n{number:02}" for number in range(30)])
    equal([image.name for image in images.images(sort="name:asc", limit=7)], [f"n{number:02}" for number in range(30)])
    for image in list(images.images()):
        images.delete_image(image.id)


def formats():
    qcow2 = work / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", qcow2, "64M"], check=True)
    made = shown("image", "create", "--file", qcow2, "--disk-format", "qcow2", "--container-format", "bare", "disk")
    equal((made["disk_format"], images.get_image(made["id"]).virtual_size), ("qcow2", 64 << 20))
    openstack("image", "create", "--file", qcow2, "--disk-format", "raw", "liar", fails="400")
    backed = work / "backed.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", backed], check=True)
    openstack("image", "create", "--file", backed, "--disk-format", "qcow2", "thief", fails="400")
    equal([row["Name"] for row in shown("image", "list", "--all")], ["disk"])
    openstack("image", "delete", "disk")


life()
lists()
pages()
formats()
print("everything held")
