"""A real Keystone on a loopback port, with everything it has in one directory: serve.py DIRECTORY PORT ADMIN_PASSWORD [THREADS].

The first start makes database, keys and an administrator. PORT 0 is a free one; `listening on PORT` is printed when it answers.
A login with the header `X-Life: SECONDS` gets a token that lives so long, as if `[token] expiration` were that: nothing else can
make a token that is soon over.
"""

import os
import sys
import threading
import warnings

warnings.simplefilter("ignore")
directory, port, password = sys.argv[1], int(sys.argv[2]), sys.argv[3]
threads = int(sys.argv[4]) if len(sys.argv) > 4 else 4
# Keystone reads the command line too
sys.argv[1:] = []

SETTINGS = f"""
[DEFAULT]
log_file = {directory}/keystone.log
[database]
connection = sqlite:///{directory}/keystone.db
[fernet_tokens]
key_repository = {directory}/fernet
[fernet_receipts]
key_repository = {directory}/receipts
[credential]
key_repository = {directory}/credential
[cache]
enabled = true
backend = oslo_cache.dict
[identity]
password_hash_rounds = 4
"""
is_new = not os.path.exists(f"{directory}/keystone.conf")
if is_new:
    with open(f"{directory}/keystone.conf", "w", encoding="utf-8") as file:
        file.write(SETTINGS)
os.environ["OS_KEYSTONE_CONFIG_FILES"] = f"{directory}/keystone.conf"

import keystone.conf
import keystone.server
from keystone.cmd.bootstrap import Bootstrapper
from keystone.common import fernet_utils
from keystone.common.sql import upgrades
from keystone.server import wsgi
from waitress import create_server

CONF = keystone.conf.CONF


def prepare():
    """What `keystone-manage` does with db_sync, fernet_setup, credential_setup and bootstrap, without four Pythons."""
    keystone.server.configure(config_files=[f"{directory}/keystone.conf"])
    upgrades.offline_sync_database_to_version()
    for section in ["fernet_tokens", "fernet_receipts", "credential"]:
        keys = fernet_utils.FernetUtils(CONF[section].key_repository, 3, section)
        keys.create_key_directory()
        keys.initialize_key_repository()
    first = Bootstrapper()
    first.admin_username, first.admin_password, first.admin_role_name = "admin", password, "admin"
    first.project_name = "admin"
    first.bootstrap()


def with_life(environ, respond, lock=threading.Lock()):
    """The application; one login at a time whose token has a life of its own."""
    seconds = environ.get("HTTP_X_LIFE")
    if seconds is None:
        return application(environ, respond)
    with lock:
        CONF.set_override("expiration", int(seconds), "token")
        try:
            return list(application(environ, respond))
        finally:
            CONF.clear_override("expiration", "token")


if is_new:
    # in a process of its own, because settings can be read once
    child = os.fork()
    if child == 0:
        prepare()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "the first start failed"
application = wsgi.initialize_public_application()
server = create_server(with_life, listen=f"127.0.0.1:{port}", threads=threads)
print(f"listening on {server.effective_port}", flush=True)
server.run()
