"""Runs tempest's volume tests and Cinder's plugin against the shipped binary: run.py [--filter REGEX] [IDENTITY …].

Once with Hearth's own identity service, once in front of a Keystone. What does not pass is compared with docs/tempest.md: a
failure, skip or pass that is not expected there ends with exit code 1. HEARTH_WRITE_DOCS=1 writes the figures of that page.
"""

import argparse
import configparser
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import page
import subunit
import testtools
import yaml
from services import BACKENDS, REGION, TARGET, Hearth, Keystone, ask, environment_of, log_in

# Of Compute's tests those that speak of volumes.
SUITES = r"^(tempest\.api\.volume\.|tempest\.api\.compute\..*([Vv]olume|_bfv_|_bdm_)|cinder_tempest_plugin\.)"
# Of one identity's run and of one test, in seconds: beyond it something hangs.
RUN_TIMEOUT, TEST_TIMEOUT = 1800, 300
# Of one project.
QUOTAS = {"quota.volumes": 50, "quota.snapshots": 50}
# Of servers without a guest, which tempest makes itself.
SERVERS = {"compute.simulated_servers": "true"}
FLAVOR, MULTIATTACH = "1", "multiattach"


class Accounts:
    """Users of Hearth's own, which tempest finds in a file. It takes the first that fits."""

    def __init__(self, hearth):
        self.hearth, self.projects = hearth, set()

    def make(self, project, *roles, is_any=False):
        """One user; `is_any` is the one that is meant where the role does not matter."""
        if project not in self.projects:
            self.hearth.command("project", "create", project)
            self.projects.add(project)
        user = "-".join([project, *roles])
        password = f"password-of-{user}"
        given = [word for role in roles for word in ["--role", role]]
        self.hearth.command("user", "create", user, "--project", project, *given, "--password-stdin", said=password)
        return {
            "username": user,
            "password": password,
            "project_name": project,
            "roles": [] if is_any else [*roles],
        }


def image_make(hearth, token):
    """An image that everybody sees; its id."""
    url = f"{hearth.address}/image/v2/images"
    members = {"name": "tempest", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
    image = ask("POST", url, token, members)[1]["id"]
    ask("PUT", f"{url}/{image}/file", token, bytes(range(256)) * 4096, "application/octet-stream")
    return image


def multiattach_type_make(hearth, token):
    """The volume type for tests of volumes that several servers have."""
    specs = {"name": MULTIATTACH, "extra_specs": {"multiattach": "<is> True"}}
    ask("POST", f"{hearth.address}/v3/types", token, {"volume_type": specs})


def configuration(directory, identity, auth, image):
    """tempest.conf."""
    config = configparser.RawConfigParser()
    config.read_dict(
        {
            "DEFAULT": {"log_dir": directory, "log_file": "tempest.log"},
            "oslo_concurrency": {"lock_path": directory / "locks"},
            "identity": {"uri_v3": identity, "region": REGION},
            "auth": {"create_isolated_networks": False, **auth},
            # neutron: or whole classes are skipped of which one test would make a network for a server
            "service_available": {"cinder": True, "glance": True, "neutron": True, "nova": True, "swift": False},
            "enforce_scope": {"cinder": True, "nova": True},
            # build_interval is for volumes, too, where their own is 0: one is there within milliseconds
            "compute": {
                "image_ref": image,
                "image_ref_alt": image,
                "flavor_ref": FLAVOR,
                "flavor_ref_alt": FLAVOR,
                "min_microversion": "2.1",
                "max_microversion": "2.104",
                "shelved_offload_time": -1,
                "build_interval": 0,
                "build_timeout": 60,
            },
            # what a server without a guest has, and what it has not
            "compute-feature-enabled": {
                "volume_multiattach": True,
                "swap_volume": True,
                "snapshot": False,
                "rescue": False,
                "attach_encrypted_volume": False,
                "console_output": False,
                "config_drive": False,
            },
            "validation": {"run_validation": False},
            "volume": {
                "max_microversion": "3.71",
                "vendor_name": "Hearth",
                "storage_protocol": "nbd",
                "backend_names": ",".join(BACKENDS),
                "volume_type_multiattach": MULTIATTACH,
                "build_interval": 0,
                "build_timeout": 60,
            },
            "volume-feature-enabled": {
                "multi_backend": True,
                "manage_volume": True,
                "manage_snapshot": True,
                "volume_revert": True,
                "concurrency_tests": True,
                "extend_attached_volume": True,
            },
        }
    )
    path = directory / "tempest.conf"
    with open(path, "w", encoding="utf-8") as file:
        config.write(file)
    return path


def say(text):
    print(text, flush=True)


def stestr(directory, *arguments, into="stestr.log"):
    """Runs stestr in its own process group to its end, or ends it; what it prints goes to a file."""
    packages = Path(testtools.__file__).parents[1]
    command = [TARGET / "tempest-venv" / "bin" / "stestr", "--test-path", packages / "tempest" / "test_discover"]
    command += ["--top-dir", packages, "--group_regex", r"([^\.]*\.)*", *arguments]
    more = {
        "TEMPEST_CONFIG_DIR": directory,
        "TEMPEST_CONFIG": "tempest.conf",
        "OS_TEST_TIMEOUT": TEST_TIMEOUT,
        "PYTHONPATH": Path(__file__).parent / "marks",
    }
    environment = environment_of(directory, ((name, str(value)) for name, value in more.items()))
    with (
        open(directory / into, "wb") as file,
        subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=file, start_new_session=True
        ) as process,
    ):
        try:
            process.wait(RUN_TIMEOUT)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def outcomes_of(directory, tests):
    """What became of each test, and of the set-up and clean-up of classes that failed; the reasons."""
    words = {"success": "passed", "skip": "skipped"}
    outcomes, reasons = {}, {}

    def keep(test):
        name = test["id"].split("[")[0]
        if test["status"] == "exists":
            return
        outcomes[name] = words.get(test["status"], "failed")
        reasons[name] = "\n".join(detail.as_text() for detail in test["details"].values())

    result = testtools.StreamToDict(keep)
    result.startTestRun()
    with open(directory / "last.subunit", "rb") as file:
        subunit.ByteStreamToStreamResult(file).run(result)
    result.stopTestRun()
    for test in tests:
        # a class whose set-up is skipped or fails says nothing of its tests
        setup = f"setUpClass ({test.rpartition('.')[0]})"
        if test not in outcomes:
            outcomes[test] = outcomes.get(setup, "failed")
            reasons[test] = reasons.get(setup, "it did not run")
    return {name: outcome for name, outcome in outcomes.items() if not name.startswith("setUpClass (")}, reasons


def tests_matching(directory, pattern):
    """The names of tests, each with what tempest says of it in brackets."""
    stestr(directory, "init")
    stestr(directory, "list", SUITES, into="tests")
    tests = [test for test in (directory / "tests").read_text().splitlines() if re.search(pattern, test)]
    say(f"{len(tests)} tests")
    return tests


def tempest_run(directory, tests, workers):
    """Runs these tests; what became of each, and why."""
    if not tests:
        return {}, {}
    (directory / "wanted").write_text("\n".join(tests) + "\n")
    stestr(directory, "run", "--concurrency", str(workers), "--load-list", "wanted", into="run.log")
    stestr(directory, "last", "--subunit", into="last.subunit")
    return outcomes_of(directory, [test.split("[")[0] for test in tests])


def with_local(directory, pattern):
    """With users that stand ready in files."""
    with Hearth(directory, {"auth.strategy": "local", **QUOTAS, **SERVERS}) as hearth:
        accounts, workers = Accounts(hearth), range(2)
        # tests count what is in their project, and what another project sees: each worker finds three of its own
        apart = [accounts.make(f"alt{number}", "member", is_any=True) for number in workers]
        apart += [accounts.make(f"own{number}", role) for number in workers for role in ["member", "reader"]]
        apart += [accounts.make(f"admin{number}", "admin") for number in workers]
        # two for each worker: tempest takes them for plain administrators, too
        apart += [accounts.make(f"service{number}", "admin", "service") for number in range(2 * len(workers))]
        # those of the roles want all of them in one project, which only one worker can have then
        together = [accounts.make("all", role) for role in ["member", "reader", "admin"]]

        identity = f"{hearth.address}/identity/v3"
        admin = together[-1]
        token = log_in(identity, admin["username"], admin["password"], admin["project_name"])
        image = image_make(hearth, token)
        multiattach_type_make(hearth, token)
        outcomes, reasons = {}, {}
        tests = None
        for suite, users, workers in [("tempest.", apart, 2), ("cinder_tempest_plugin.", together, 1)]:
            file = directory / f"{suite}yaml"
            file.write_text(yaml.safe_dump(users))
            auth = {"use_dynamic_credentials": False, "test_accounts_file": file}
            configuration(directory, identity, auth, image)
            # names of tests depend on what is configured
            tests = tests or tests_matching(directory, pattern)
            found, why = tempest_run(directory, [test for test in tests if test.startswith(suite)], workers)
            outcomes.update(found)
            reasons.update(why)
        return outcomes, reasons


def with_keystone(directory, pattern):
    """With users that tempest makes itself, for each class of tests."""
    with Keystone(directory) as keystone:
        settings = {
            "auth.strategy": "keystone",
            "auth.keystone.auth_url": keystone.url,
            "auth.keystone.username": "hearth",
            "auth.keystone.password": "hearth-password",
            **QUOTAS,
            **SERVERS,
        }
        with Hearth(directory, settings) as hearth:
            # there is no network service; that it knows no security group of a project is the 404 that tempest expects
            paths = {"block-storage": "/v3", "image": "/image", "compute": "/compute/v2.1", "network": "/network"}
            for kind, path in paths.items():
                keystone.endpoint(kind, hearth.address + path)
            auth = {
                "use_dynamic_credentials": True,
                "admin_username": "admin",
                "admin_password": "admin-password",
                "admin_project_name": "admin",
            }
            multiattach_type_make(hearth, keystone.token)
            configuration(directory, keystone.url, auth, image_make(hearth, keystone.token))
            return tempest_run(directory, tests_matching(directory, pattern), workers=2)


IDENTITIES = {"local": with_local, "keystone": with_keystone}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filter", help="only the tests that match; the page is not compared")
    parser.add_argument("--why", action="store_true", help="print all of what failed tests said")
    parser.add_argument("identities", nargs="*", choices=[*IDENTITIES, []], help="local, keystone; both without one")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    unexpected, lines = [], []
    for identity in arguments.identities or IDENTITIES:
        with tempfile.TemporaryDirectory(prefix=f"tempest-{identity}-") as directory:
            outcomes, reasons = IDENTITIES[identity](Path(directory), arguments.filter or SUITES)
        counts = Counter(outcomes.values())
        say(f"\n{identity}: " + ", ".join(f"{counts[word]} {word}" for word in page.OUTCOMES))
        for test, outcome in sorted(outcomes.items()):
            if outcome != "passed":
                reason = reasons[test].strip().splitlines() or [""]
                say(f"  {outcome:8}{test}: {reason[-1]}")
                if arguments.why and outcome == "failed":
                    say(reasons[test])
        if not arguments.filter:
            unexpected += [f"{identity}: {line}" for line in page.surprises(outcomes, identity)]
            lines += page.figures(outcomes, identity)
    if os.environ.get("HEARTH_WRITE_DOCS") and len(lines) == len(IDENTITIES) * len(page.SUITES):
        page.figures_write(lines)
    unexpected += [f"figures: {line.strip()}" for line in lines if line not in page.PAGE.read_text()]
    if unexpected:
        sys.exit("\nnot as docs/tempest.md has it:\n  " + "\n  ".join(unexpected))


if __name__ == "__main__":
    main()
