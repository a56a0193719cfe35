"""Stock clients that log in to Hearth's own identity service: by password, application credential and token; and what their
users, projects and roles may then do."""

import os
import subprocess

import openstack as sdk
from cinderclient import client as cinderclient
from cinderclient import exceptions as cinder_exceptions
from keystoneauth1 import exceptions, session
from keystoneauth1.identity import v3
from keystoneclient.v3 import client as keystoneclient

from checks import equal, eventually, refused
from cli import openstack, shown

URL = os.environ["HEARTH_URL"]
AUTH = f"{URL}/identity/v3"
HEARTH = os.environ["HEARTH_BINARY"]
# whatever lets somebody in
SECRETS = set()


def hearth(*words, stdin=None):
    """A command of the binary, on the state of the running service; what it prints."""
    done = subprocess.run([HEARTH, *words], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def names(*login):
    """The names of the volumes that `openstack volume list` shows to somebody who logs in by these options alone."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("OS_")}
    try:
        return openstack(*login, "volume", "list", "-f", "value", "-c", "Name").split("\n")[:-1]
    finally:
        os.environ.update(kept)


def available(storage, volume):
    return eventually("it is available", lambda: storage.get_volume(volume.id), lambda found: found.status == "available")


# the clouds that `hearth serve` has written
admin, demo = sdk.connect(cloud="hearth"), sdk.connect(cloud="hearth-demo")
mine = demo.block_storage.create_volume(size=1, name="mine")
available(demo.block_storage, mine)
equal([volume.id for volume in admin.block_storage.volumes(all_projects=True)], [mine.id])
equal(list(admin.block_storage.volumes()), [])
equal([project.name for project in admin.identity.projects()], ["admin", "demo"])
equal(sorted(user.name for user in admin.identity.users()), ["admin", "demo"])
equal([role.name for role in admin.identity.roles()], ["admin", "member", "reader", "service"])
with refused(sdk.exceptions.ForbiddenException):
    list(demo.identity.users())
equal(demo.current_project.name, "demo")
equal([server.id for server in admin.compute.servers()], [])
equal(list(demo.image.images()), [])

# users that the operator makes while the service runs
lab = hearth("project", "create", "lab").split()[0]
told = hearth("user", "create", "mia", "--project", "lab", "--role", "member")
mia, password = told.split()[0], told.split()[-1]
hearth("user", "create", "rita", "--project", "lab", "--role", "reader", "--password-stdin", stdin="rita's secret\n")


def as_user(name, secret, project="lab", **more):
    return v3.Password(auth_url=AUTH, username=name, password=secret, project_name=project, user_domain_name="Default",
                       project_domain_id="default", **more)


def works(plugin):
    try:
        token = session.Session(auth=plugin).get_token()
        SECRETS.add(token)
        return token
    except exceptions.Unauthorized:
        return None


eventually("the service knows mia", lambda: works(as_user("mia", password)), bool)
member, reader = session.Session(auth=as_user("mia", password)), session.Session(auth=as_user("rita", "rita's secret"))
cinder = cinderclient.Client("3.70", session=member)
volume = cinder.volumes.create(1, name="of the lab")
eventually("it is available", lambda: cinder.volumes.get(volume.id), lambda found: found.status == "available")
equal(getattr(cinder.volumes.get(volume.id), "os-vol-tenant-attr:tenant_id"), lab)
read = cinderclient.Client("3.70", session=reader)
equal([found.id for found in read.volumes.list()], [volume.id])
with refused(cinder_exceptions.Forbidden, "Policy doesn't allow volume:create to be performed"):
    read.volumes.create(1)
with refused(cinder_exceptions.NotFound):
    cinder.volumes.get(mine.id)
equal(works(as_user("mia", "wrong")), None)
equal(works(as_user("mia", password, project="demo")), None)

# a token that somebody hands on, what it may, and its end
token = member.get_token()
told = hearth("policy", "check", "--token", token, "volume:delete")
assert told.startswith(f"allowed: volume:delete for user {mia} of project {lab} (roles: member, reader;"), told
denied = subprocess.run([HEARTH, "policy", "check", "--token", token, "volume:force_delete"], capture_output=True, timeout=60)
equal(denied.returncode, 3)
handed = session.Session(auth=v3.Token(auth_url=AUTH, token=token, project_id=lab))
equal([found.id for found in cinderclient.Client("3.70", session=handed).volumes.list()], [volume.id])
keystone = keystoneclient.Client(session=member, endpoint_override=AUTH)
equal(keystone.tokens.validate(token).user_id, mia)
openstack_token = shown("token", "issue")
assert openstack_token["id"] and openstack_token["expires"], openstack_token
keystone.tokens.revoke_token(handed.get_token())
equal(works(v3.Token(auth_url=AUTH, token=handed.get_token(), project_id=lab)), None)
ended = subprocess.run([HEARTH, "policy", "check", "--token", handed.get_token(), "volume:delete"], capture_output=True, text=True,
                       timeout=60)
equal((ended.returncode, ended.stderr), (1, "hearth: the service would not take this token: not authenticated\n"))

# application credentials: by the API, by the command line of clients, by the operator
made = keystone.application_credentials.create("ci", roles=[{"name": "reader"}], user=mia)


def by_credential(one, secret):
    return v3.ApplicationCredential(auth_url=AUTH, application_credential_id=one, application_credential_secret=secret)


ci = cinderclient.Client("3.70", session=session.Session(auth=by_credential(made.id, made.secret)))
equal([found.id for found in ci.volumes.list()], [volume.id])
with refused(cinder_exceptions.Forbidden):
    ci.volumes.create(1)
keystone.application_credentials.delete(made.id, user=mia)
equal(works(by_credential(made.id, made.secret)), None)
told = hearth("application-credential", "create", "terraform", "--user", "mia", "--project", "lab").split()
one, secret = told[0], told[-1]
eventually("the service knows it", lambda: works(by_credential(one, secret)), bool)
equal(names("--os-auth-type", "v3applicationcredential", "--os-auth-url", AUTH, "--os-application-credential-id", one,
            "--os-application-credential-secret", secret), ["of the lab"])
token = session.Session(auth=as_user("mia", password)).get_token()
equal(names("--os-auth-type", "token", "--os-auth-url", AUTH, "--os-token", token, "--os-project-id", lab), ["of the lab"])
equal(names("--os-auth-type", "password", "--os-auth-url", AUTH, "--os-username", "mia", "--os-password", password,
            "--os-user-domain-id", "default", "--os-project-domain-id", "default", "--os-project-name", "lab"),
      ["of the lab"])
for kind, login in [
    ("password", dict(username="mia", password=password, project_name="lab", user_domain_id="default", project_domain_id="default")),
    ("v3applicationcredential", dict(application_credential_id=one, application_credential_secret=secret)),
    ("token", dict(token=token, project_id=lab)),
]:
    cloud = sdk.connect(load_yaml_config=False, load_envvars=False, auth_type=kind, auth=dict(auth_url=AUTH, **login))
    equal((kind, [found.name for found in cloud.block_storage.volumes()]), (kind, ["of the lab"]))
catalog = shown("catalog", "list")
equal(sorted(row["Type"] for row in catalog), ["block-storage", "compute", "identity", "image", "volumev3"])
equal([row["Name"] for row in shown("project", "list")], ["admin", "demo", "lab"])
assert {"Resource": "volumes", "Limit": 10} in shown("quota", "show", "--volume", "lab")

# what the operator takes away is gone
hearth("user", "disable", "rita")
eventually("rita is out", lambda: works(as_user("rita", "rita's secret")), lambda token: token is None)
with refused(exceptions.Unauthorized):
    cinderclient.Client("3.70", session=reader).volumes.list()
password = hearth("user", "set-password", "mia").split()[-1]
eventually("mia has another password", lambda: works(as_user("mia", password)), bool)
equal(works(v3.Token(auth_url=AUTH, token=token, project_id=lab)), None)
assert "mia lab member" in hearth("role", "list")
hearth("role", "remove", "member", "--user", "mia", "--project", "lab")
eventually("mia has no role", lambda: works(as_user("mia", password)), lambda token: token is None)
assert hearth("actors", "list").startswith((mine.id, volume.id))

SECRETS.update([password, secret, made.secret, "rita's secret", handed.get_token(), openstack_token["id"]])
SECRETS.update(cloud.config.auth["password"] for cloud in [admin, demo])
# what an operator looks at tells nobody how to get in
for page in ["actors", f"actors/{volume.id}", f"volumes/{volume.id}/history", "operations", "drivers", "servers", "policy"]:
    told = admin.session.get(f"{URL}/admin/{page}")
    equal(told.status_code, 200)
    assert not [secret for secret in SECRETS if secret in told.text], page
metrics = admin.session.get(f"{URL}/metrics").text
assert "hearth_" in metrics and not [secret for secret in SECRETS if secret in metrics]

with open("secrets.txt", "w") as file:
    file.write("".join(f"{secret}\n" for secret in SECRETS))
print("everything held")
