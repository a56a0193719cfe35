"""The stock clients with a real Keystone: each way to log in, and the service found by its catalogue."""

import os

import openstack as sdk

from checks import equal, eventually
from cli import openstack, shown

KEYSTONE = os.environ["KEYSTONE_URL"]
AT = ["--os-cloud", "", "--os-auth-url", KEYSTONE]
DEMO = ["--os-project-name", "demo", "--os-project-domain-name", "Default"]


def password(user, project=DEMO):
    return [*AT, "--os-auth-type", "password", "--os-username", user, "--os-password", f"{user}-password",
            "--os-user-domain-name", "Default", *project]


MIA, RITA, ROOT = password("mia"), password("rita"), password("root")

# by password: the way of most people
made = shown(*MIA, "volume", "create", "--size", 1, "first")
eventually("first is available", lambda: shown(*MIA, "volume", "show", "first"), lambda row: row["status"] == "available")
names = [row["Name"] for row in shown(*MIA, "volume", "list")]
assert "first" in names, names

# by the file that the service writes, which says where to log in
by_file = ["--os-cloud", "hearth", "--os-username", "mia", "--os-password", "mia-password", "--os-project-name", "demo"]
equal(shown(*by_file, "volume", "show", "first")["id"], made["id"])

# what the roles allow
equal([row["ID"] for row in shown(*RITA, "volume", "list", "--name", "first")], [made["id"]])
openstack(*RITA, "volume", "create", "--size", 1, "second", fails="Policy doesn't allow volume:create to be performed.")
openstack(*RITA, "volume", "delete", "first", fails="Policy doesn't allow volume:delete to be performed.")
everything = shown(*ROOT, "volume", "list", "--all-projects")
assert len(everything) > len(names), everything

# by a token
token = shown(*MIA, "token", "issue")["id"]
by_token = [*AT, "--os-auth-type", "v3token", "--os-token", token, *DEMO]
equal(shown(*by_token, "volume", "show", "first")["id"], made["id"])

# by an application credential, which knows its project
credential = {name.lower(): value for name, value in shown(*MIA, "application", "credential", "create", "mine").items()}
by_credential = [*AT, "--os-auth-type", "v3applicationcredential", "--os-application-credential-id", credential["id"],
                 "--os-application-credential-secret", credential["secret"]]
equal(shown(*by_credential, "volume", "show", "first")["id"], made["id"])

# as a program
cloud = sdk.connect(auth_type="password", auth=dict(
    auth_url=KEYSTONE, username="mia", password="mia-password", user_domain_name="Default", project_name="demo",
    project_domain_name="Default"))
equal(cloud.block_storage.get_volume(made["id"]).name, "first")
equal([image.name for image in cloud.image.images()], ["i"])
openstack(*by_credential, "volume", "delete", "first")
eventually("first is gone", lambda: cloud.block_storage.find_volume("first"), lambda found: found is None)

# a wrong password is Keystone's to refuse
openstack(*[word.replace("mia-password", "wrong") for word in MIA], "volume", "list", fails="HTTP 401")

print("everything held")
