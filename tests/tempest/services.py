"""The programs that tempest talks to: the shipped binary and, if asked for, a real Keystone, on free loopback ports."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
REGION = "RegionOne"
BACKENDS = ["one", "two"]


class Program:
    """A program that prints where it listens, with what it says in a file; it ends with the block."""

    def __init__(self, command, log, before, environment):
        self.log, self.before = log, before
        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file, text=True
            )

    def __enter__(self):
        for line in self.process.stdout:
            if line.startswith(self.before):
                self.address = line.removeprefix(self.before).strip()
                return self
        self.stop()
        sys.exit(f"{self.process.args[0]} ended before it listened:\n{self.log.read_text()}")

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def environment_of(directory, more=()):
    """Nothing of the caller's settings, proxies or home reaches what is tested."""
    usual = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(directory), "LANG": "C.UTF-8"}
    return {**usual, "PYTHONDONTWRITEBYTECODE": "1", **dict(more)}


def ask(method, url, token=None, body=None, kind="application/json"):
    """A call: the headers and what its body means."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
    if token:
        request.add_header("X-Auth-Token", token)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        text = answer.read()
        return answer.headers, json.loads(text) if text else None


def log_in(identity, user, password, project):
    """A token."""
    domain = {"id": "default"}
    who = {"methods": ["password"], "password": {"user": {"name": user, "domain": domain, "password": password}}}
    body = {"auth": {"identity": who, "scope": {"project": {"name": project, "domain": domain}}}}
    return ask("POST", f"{identity}/auth/tokens", body=body)[0]["X-Subject-Token"]


class Hearth(Program):
    """The shipped binary with two backends of files."""

    def __init__(self, directory, settings):
        self.directory, self.binary = directory, TARGET / "debug" / "hearth"
        settings = {
            "server.listen": "127.0.0.1:0",
            "state.path": directory / "state",
            "image.reserved_gib": 0,
            **{f"backends.{number}.name": name for number, name in enumerate(BACKENDS)},
            **{f"backends.{number}.driver": "file" for number, _ in enumerate(BACKENDS)},
            **settings,
        }
        names = (("HEARTH__" + key.upper().replace(".", "__"), str(value)) for key, value in settings.items())
        self.environment = environment_of(directory, names)
        super().__init__(
            [self.binary, "serve"], directory / "hearth.log", "hearth: listening on ", self.environment
        )

    def command(self, *arguments, said=""):
        """Runs a command of the binary beside the service; what it prints."""
        done = subprocess.run(
            [self.binary, *arguments], env=self.environment, input=said, text=True, capture_output=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"hearth {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def stop(self):
        super().stop()
        # they outlive the service on purpose
        self.command("daemons", "stop")


class Keystone(Program):
    """A Keystone with an administrator `admin` and a user `hearth` for the service; passwords are `<name>-password`."""

    def __init__(self, directory):
        script = ROOT / "tests" / "it" / "e2e" / "keystone" / "serve.py"
        python = TARGET / "keystone-venv" / "bin" / "python"
        # one thread: its SQLite has one writer, and turns the others away
        command = [python, script, directory, "0", "admin-password", "1"]
        super().__init__(command, directory / "keystone.said", "listening on ", environment_of(directory))

    def __enter__(self):
        super().__enter__()
        self.url = f"http://127.0.0.1:{self.address}/v3"
        self.token = log_in(self.url, "admin", "admin-password", "admin")
        self.make("region", {"id": REGION})
        self.endpoint("identity", self.url)
        domain = {"domain_id": "default"}
        project = self.make("project", {"name": "service", **domain})
        user = self.make("user", {"name": "hearth", "password": "hearth-password", **domain})
        role = ask("GET", f"{self.url}/roles?name=service", self.token)[1]["roles"][0]["id"]
        ask("PUT", f"{self.url}/projects/{project}/users/{user}/roles/{role}", self.token)
        return self

    def make(self, kind, members):
        """Makes a thing; its id."""
        return ask("POST", f"{self.url}/{kind}s", self.token, {kind: members})[1][kind]["id"]

    def endpoint(self, kind, url):
        """Makes a service with its endpoints in the catalogue."""
        service = self.make("service", {"name": kind, "type": kind})
        for interface in ["public", "internal"]:
            self.make("endpoint", {"service_id": service, "interface": interface, "url": url, "region_id": REGION})
