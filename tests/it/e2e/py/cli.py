"""Stock command lines, run inside of this process: a Python started for each command would be most of a test's time."""

import contextlib
import io
import json
import logging
import os

import keystone
from cinderclient.shell import OpenStackCinderShell
from openstackclient.shell import OpenStackShell
from osc_lib.clientmanager import ClientCache, ClientManager

URL = os.environ["HEARTH_URL"]


def captured(run):
    """What run() returns (or exits with), what it printed, and what it complained of."""
    # each shell adds a handler of its own, which would hold on to the stream of its run
    logging.getLogger().handlers.clear()
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        try:
            code = run()
        except SystemExit as end:
            code = end.code
    return code, said.getvalue(), complained.getvalue()


KEYSTONE = keystone.start(URL)
LOGIN = ["--os-cloud", "", "--os-auth-type", "password", "--os-auth-url", KEYSTONE, "--os-username", "admin",
         "--os-password", "p", "--os-project-name", "admin", "--os-user-domain-id", "default",
         "--os-project-domain-id", "default", "--os-region-name", "here"]


def openstack(*words, version="3.70", fails=None, login=False):
    """`openstack WORDS…`: what it prints. `fails`: words of the error it must end with. `login`: by way of a Keystone."""
    arguments = [*(LOGIN if login else []), "--os-volume-api-version", version, *map(str, words)]
    # its clients are kept by the class, for a process that runs one command
    for kept in vars(ClientManager).values():
        if isinstance(kept, ClientCache):
            kept._handle = None
    code, said, complained = captured(lambda: OpenStackShell().run(arguments))
    told = f"openstack {' '.join(arguments)}: {code}\n{said}{complained}"
    if fails is not None:
        assert code not in (0, None), f"should fail: {told}"
        assert fails in complained, f"{fails!r} is not in what it complains of: {told}"
        return None
    assert code == 0, told
    return said


def shown(*words, **options):
    """The object or the list that a command answers with."""
    return json.loads(openstack(*words, "-f", "json", **options))


def cinder(*words, version="3.70", project="demo", fails=None):
    """`cinder WORDS…`: what it prints. `fails`: words of the error it must end with."""
    arguments = ["--os-auth-type", "noauth", "--os-user-id", "me", "--os-project-id", project,
                 "--os-endpoint", f"{URL}/v3", "--os-volume-api-version", version, *map(str, words)]
    error = None
    try:
        code, said, complained = captured(lambda: OpenStackCinderShell().main(arguments))
    except Exception as raised:  # what its own start turns into a line and the exit code 1
        code, said, complained, error = 1, "", "", raised
    told = f"cinder {' '.join(arguments)}: {code} {error!r}\n{said}{complained}"
    if fails is None:
        assert not code, told
        return said
    assert code, f"should fail: {told}"
    assert fails in f"{error}{said}{complained}", f"{fails!r} is not in what it complains of: {told}"
    return None


def table(text):
    """The rows of a printed table, each by its column's title."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], row, strict=True)) for row in lines[1:]]


def fields(text):
    """A printed table of properties and values as one object; a value printed over several lines is joined."""
    found, last = {}, None
    for row in table(text):
        name, value = row["Property"], row["Value"]
        if name:
            found[name], last = value, name
        else:
            found[last] = f"{found[last]}\n{value}"
    return found
