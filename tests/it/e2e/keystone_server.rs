//! A real Keystone, started by `keystone/serve.py` on a free loopback port; it ends with the test.

use std::path::Path;
use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::hearth::{PATIENCE, binary};

const ADMIN_PASSWORD: &str = "admin-password";

pub struct Keystone {
    child: Child,
    port: u16,
    client: reqwest::Client,
    /// An administrator's token.
    admin: String,
    dir: TempDir,
}

/// Who logs in; passwords are `<name>-password`.
pub struct Login {
    user: String,
    scope: Value,
    /// Of the token, in seconds.
    life: Option<u32>,
}

impl Login {
    pub fn new(user: &str, project: &str) -> Self {
        let scope = json!({"project": {"name": project, "domain": {"id": "default"}}});
        Self { user: user.to_owned(), scope, life: None }
    }

    pub fn system(user: &str) -> Self {
        Self { user: user.to_owned(), scope: json!({"system": {"all": true}}), life: None }
    }

    /// The token is soon over.
    pub fn for_seconds(self, seconds: u32) -> Self {
        Self { life: Some(seconds), ..self }
    }
}

impl Keystone {
    /// Starts one that has a user `hearth` for the service.
    pub async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("keystone").tempdir().expect("a directory");
        let (child, port) = launch(dir.path(), 0).await;
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let mut keystone = Self { child, port, client, admin: String::new(), dir };
        keystone.admin = keystone.token(&Login::new("admin", "admin")).await;
        keystone.endpoint("identity", &keystone.url()).await;
        let service = keystone.project("service").await;
        keystone.user("hearth", &service, "service").await;
        keystone
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v3", self.port)
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("killed");
    }

    /// On the same port, with what it knew.
    pub async fn start_again(&mut self) {
        (self.child, self.port) = launch(self.dir.path(), self.port).await;
    }

    async fn ask(&self, method: Method, path: &str, token: &str, body: Option<&Value>) -> Value {
        let mut request = self.client.request(method, format!("{}{path}", self.url())).header("X-Auth-Token", token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.expect("an answer of Keystone");
        let (status, text) = (answer.status(), answer.text().await.expect("a body"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Makes a thing; its id.
    async fn make(&self, kind: &str, members: Value) -> String {
        let made = self.ask(Method::POST, &format!("/{kind}s"), &self.admin, Some(&json!({ kind: members }))).await;
        made[kind]["id"].as_str().expect("an id").to_owned()
    }

    async fn id_of(&self, kind: &str, name: &str) -> String {
        let found = self.ask(Method::GET, &format!("/{kind}s?name={name}"), &self.admin, None).await;
        found[format!("{kind}s")][0]["id"].as_str().unwrap_or_else(|| panic!("no {kind} {name}")).to_owned()
    }

    pub async fn project(&self, name: &str) -> String {
        self.make("project", json!({"name": name, "domain_id": "default"})).await
    }

    pub async fn project_named(&self, name: &str) -> String {
        self.id_of("project", name).await
    }

    /// Makes a user with a role in a project.
    pub async fn user(&self, name: &str, project: &str, role: &str) {
        let password = format!("{name}-password");
        self.make("user", json!({"name": name, "domain_id": "default", "password": password})).await;
        self.grant(name, project, role).await;
    }

    /// Gives a user a role in a project.
    pub async fn grant(&self, user: &str, project: &str, role: &str) {
        let (user, role) = (self.id_of("user", user).await, self.id_of("role", role).await);
        self.ask(Method::PUT, &format!("/projects/{project}/users/{user}/roles/{role}"), &self.admin, None).await;
    }

    /// Makes a service with its public and internal endpoint in the catalogue.
    pub async fn endpoint(&self, kind: &str, url: &str) {
        let service = self.make("service", json!({"name": kind, "type": kind})).await;
        for interface in ["public", "internal"] {
            self.make("endpoint", json!({"service_id": service, "interface": interface, "url": url})).await;
        }
    }

    pub async fn token(&self, login: &Login) -> String {
        let user = json!({
            "name": login.user, "domain": {"id": "default"}, "password": format!("{}-password", login.user),
        });
        let identity = json!({"methods": ["password"], "password": {"user": user}});
        self.log_in(&json!({"auth": {"identity": identity, "scope": login.scope}}), login.life).await
    }

    async fn log_in(&self, body: &Value, life: Option<u32>) -> String {
        let mut request = self.client.post(format!("{}/auth/tokens", self.url())).json(body);
        if let Some(seconds) = life {
            request = request.header("X-Life", seconds.to_string());
        }
        let answer = request.send().await.expect("an answer of Keystone");
        let token = answer.headers().get("x-subject-token").map(|token| token.to_str().expect("text").to_owned());
        token.unwrap_or_else(|| panic!("no token: {}", answer.status()))
    }

    pub async fn revoke(&self, token: &str) {
        let request = self.client.delete(format!("{}/auth/tokens", self.url()));
        let request = request.header("X-Auth-Token", &self.admin).header("X-Subject-Token", token);
        let answer = request.send().await.expect("an answer of Keystone");
        assert_eq!(answer.status(), 204);
    }

    /// Sets the password of the service's user to what it is, which ends every token of it.
    pub async fn disturb_service_user(&self) {
        let user = self.id_of("user", "hearth").await;
        for password in ["another-password", "hearth-password"] {
            let body = json!({"user": {"password": password}});
            self.ask(Method::PATCH, &format!("/users/{user}"), &self.admin, Some(&body)).await;
        }
    }

    /// A token by an application credential of the user with this token.
    pub async fn application_credential(&self, token: &str, name: &str, rules: Option<Value>) -> String {
        let request = self.client.get(format!("{}/auth/tokens", self.url()));
        let shown = request.header("X-Auth-Token", token).header("X-Subject-Token", token).send().await;
        let shown: Value = shown.expect("an answer of Keystone").json().await.expect("a token");
        let user = shown["token"]["user"]["id"].as_str().expect("an id");
        let mut members = json!({"name": name});
        if let Some(rules) = rules {
            members["access_rules"] = rules;
        }
        let path = format!("/users/{user}/application_credentials");
        let body = json!({"application_credential": members});
        let made = self.ask(Method::POST, &path, token, Some(&body)).await;
        let made = &made["application_credential"];
        let credential = json!({"id": made["id"], "secret": made["secret"]});
        let identity = json!({"methods": ["application_credential"], "application_credential": credential});
        self.log_in(&json!({"auth": {"identity": identity}}), None).await
    }
}

/// Starts it and waits until it listens; its port.
async fn launch(dir: &Path, port: u16) -> (Child, u16) {
    let python = binary().ancestors().nth(2).expect("target directory").join("keystone-venv/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/setup.sh test", python.display());
    let said = std::fs::File::options().create(true).append(true).open(dir.join("said")).expect("a file");
    let mut command = Command::new(python);
    command.env_clear().env("HOME", dir).env("PATH", "/usr/bin:/bin").env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/e2e/keystone/serve.py"));
    command.arg(dir).arg(port.to_string()).arg(ADMIN_PASSWORD).current_dir(dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said).kill_on_drop(true);
    let mut child = command.spawn().expect("Python starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it listens in time").expect("readable");
    let what_it_said = || std::fs::read_to_string(dir.join("said")).unwrap_or_default();
    let line = line.unwrap_or_else(|| panic!("Keystone ended: {}", what_it_said()));
    let port = line.strip_prefix("listening on ").and_then(|port| port.parse().ok());
    (child, port.unwrap_or_else(|| panic!("{line}")))
}
