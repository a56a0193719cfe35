"""A stand-in for Keystone, for commands that look projects up or ask a catalogue which services there are.

It logs everybody in as `USER:PROJECT`, which is what the service's mode without Keystone reads in a token, and knows of one
service: block storage. Every name is also an id.
"""

import http.server
import json
import threading
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    volume_url = ""

    def answer(self, status, body, **headers):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        if parts == ["v3"]:
            link = {"rel": "self", "href": f"http://{self.headers['Host']}/v3/"}
            self.answer(200, {"version": {"id": "v3.14", "status": "stable", "links": [link], "media-types": []}})
        elif parts == ["v3", "projects"]:
            name = urllib.parse.parse_qs(url.query).get("name", [""])[0]
            self.answer(200, {"projects": [self.project(name)], "links": {}})
        elif parts[:2] == ["v3", "projects"]:
            self.answer(200, {"project": self.project(parts[2])})
        else:
            self.answer(404, {"error": {"code": 404, "title": "Not Found", "message": self.path}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        user = body["auth"]["identity"]["password"]["user"]["name"]
        project = body["auth"]["scope"]["project"]["name"]
        domain = {"id": "default", "name": "Default"}
        catalogue = [
            {"type": kind, "name": kind, "id": kind, "endpoints": [
                {"id": kind, "interface": "public", "region": "here", "region_id": "here", "url": url}]}
            for kind, url in [("identity", f"http://{self.headers['Host']}/v3"),
                              ("block-storage", f"{self.volume_url}/v3/{project}"),
                              ("volumev3", f"{self.volume_url}/v3/{project}")]]
        token = {"methods": ["password"], "user": {"id": user, "name": user, "domain": domain},
                 "project": self.project(project) | {"domain": domain}, "roles": [{"id": "admin", "name": "admin"}],
                 "issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2999-01-01T00:00:00.000000Z",
                 "audit_ids": ["a"], "catalog": catalogue}
        self.answer(201, {"token": token}, X_Subject_Token=f"{user}:{project}")

    @staticmethod
    def project(name):
        return {"id": name, "name": name, "domain_id": "default", "enabled": True, "is_domain": False, "links": {}}

    def log_message(self, *_):
        pass


def start(volume_url):
    """Starts it for as long as this process runs; the URL that clients authenticate at."""
    Handler.volume_url = volume_url
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v3"
