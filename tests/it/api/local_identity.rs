//! Hearth's own identity service: who gets a token, what a token is worth, and what is none.

use std::sync::Arc;
use std::time::Duration;

use hearth::api::ApiOptions;
use hearth::domain::quota::Limits;
use hearth::domain::time::Timestamp;
use hearth::identity::local::{Assignment, Claims, FileError, Method, Project, Records, Role, User, password};
use hearth::identity::{Local, LocalOptions, Strategy};
use hearth::runtime::{Clock, Randomness};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{Asking, Got, Harness};

const TOKENS: &str = "/identity/v3/auth/tokens";
const WORDS: &str = "The request you have made requires authentication.";

/// A server with the users of [`records`], each with its own name as the password.
struct Cloud {
    harness: Harness,
    local: Arc<Local>,
    directory: TempDir,
}

fn records() -> Records {
    let randomness = Randomness::from_seed(1);
    let project = |id: &str| Project {
        id: id.to_owned(),
        name: format!("project {id}"),
        description: String::new(),
        enabled: true,
    };
    let user = |name: &str, default: Option<&str>| User {
        id: format!("{name}-id"),
        name: name.to_owned(),
        password: Some(password::hash(name, &randomness)),
        password_set_at: Timestamp(0),
        default_project: default.map(str::to_owned),
        enabled: true,
    };
    let given = |user: &str, project: &str, role: &str| Assignment {
        user: format!("{user}-id"),
        project: project.to_owned(),
        roles: vec![role.to_owned()],
    };
    let role = |name: &str| Role { id: format!("{name}-role"), name: name.to_owned() };
    Records {
        projects: ["p", "q", "service"].map(project).into(),
        users: vec![
            user("root", Some("p")),
            user("mia", Some("p")),
            user("rita", Some("p")),
            user("sam", Some("q")),
            user("ned", None),
            user("nova", Some("service")),
        ],
        roles: ["admin", "member", "reader", "service"].map(role).into(),
        assignments: vec![
            given("root", "p", "admin"),
            given("mia", "p", "member"),
            given("rita", "p", "reader"),
            given("sam", "q", "member"),
            given("nova", "service", "service"),
        ],
        application_credentials: Vec::new(),
    }
}

fn open(directory: &TempDir) -> Arc<Local> {
    let options = LocalOptions {
        token_ttl: Duration::from_secs(3600),
        service_token_roles: vec!["service".to_owned()],
        www_authenticate_uri: "http://identity.example.org/v3".to_owned(),
    };
    Arc::new(Local::open(directory.path(), options, Clock::System, Randomness::from_os()).unwrap())
}

impl Cloud {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let local = open(&directory);
        let filled = local.change(|_, empty| {
            *empty = records();
            Ok::<_, FileError>(())
        });
        filled.unwrap();
        Self::start_on(directory, local).await
    }

    async fn start_on(directory: TempDir, local: Arc<Local>) -> Self {
        let options = ApiOptions { auth: Strategy::Local(local.clone()), ..ApiOptions::default() };
        Self { harness: Harness::start_with(options, Limits::NONE).await, local, directory }
    }

    /// Another service on the same records and key.
    async fn restarted(self) -> Self {
        self.harness.stop().await;
        let local = open(&self.directory);
        Self::start_on(self.directory, local).await
    }

    async fn log_in(&self, body: &Value) -> Got {
        self.harness.post(TOKENS, body).send().await
    }

    /// A token of `name` for their default project.
    async fn token(&self, name: &str) -> String {
        token_of(&self.log_in(&by_password(name, Value::Null)).await)
    }

    async fn status(&self, method: &str, path: &str, token: &str) -> u16 {
        self.harness.ask(method, path).token(token).send().await.status
    }

    /// What the token is worth at Block Storage.
    async fn worth(&self, token: &str) -> u16 {
        self.status("GET", "/v3/volumes", token).await
    }

    fn change(&self, change: impl FnOnce(&mut Records)) {
        let changed = self.local.change(|_, records| {
            change(records);
            Ok::<_, FileError>(())
        });
        changed.unwrap();
    }

    fn user(&self, name: &str, change: impl FnOnce(&mut User)) {
        self.change(|records| change(records.users.iter_mut().find(|user| user.name == name).unwrap()));
    }
}

fn by_password(name: &str, scope: Value) -> Value {
    let user = json!({"name": name, "domain": {"id": "default"}, "password": name});
    let mut body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}});
    if !scope.is_null() {
        body["auth"]["scope"] = scope;
    }
    body
}

fn by_token(token: &str, scope: Value) -> Value {
    json!({"auth": {"identity": {"methods": ["token"], "token": {"id": token}}, "scope": scope}})
}

fn project(id: &str) -> Value {
    json!({"project": {"id": id}})
}

#[track_caller]
fn token_of(got: &Got) -> String {
    assert_eq!(got.status, 201, "{}", got.text);
    got.header("x-subject-token").unwrap().to_owned()
}

#[track_caller]
fn is_refused(got: &Got, status: u16, words: &str) {
    let error = &got.json()["error"];
    assert_eq!((got.status, error["message"].as_str()), (status, Some(words)), "{}", got.text);
    assert_eq!(error["code"], status);
    let challenge = "Keystone uri=\"http://identity.example.org/v3\"";
    assert_eq!(got.header("www-authenticate"), (status == 401).then_some(challenge));
}

#[actix_web::test]
async fn a_password_gives_a_token_for_a_project() {
    let cloud = Cloud::start().await;
    let by_name = json!({"project": {"name": "project p", "domain": {"name": "Default"}}});
    for scope in [Value::Null, project("p"), by_name] {
        let got = cloud.log_in(&by_password("mia", scope)).await;
        let body = got.json();
        let token = &body["token"];
        assert_eq!(token["user"]["id"], "mia-id");
        assert_eq!(
            token["project"],
            json!({"id": "p", "name": "project p", "domain": {"id": "default", "name": "Default"}})
        );
        let roles: Vec<&str> =
            token["roles"].as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap()).collect();
        assert_eq!(roles, ["member", "reader"]);
        assert_eq!(token["methods"], json!(["password"]));
        let base = format!("http://{}", cloud.harness.address);
        for (kind, url) in [
            ("identity", "/identity/v3"),
            ("block-storage", "/v3/p"),
            ("volumev3", "/v3/p"),
            ("image", "/image"),
            ("compute", "/compute/v2.1"),
        ] {
            let services = token["catalog"].as_array().unwrap();
            let service = services.iter().find(|service| service["type"] == kind).unwrap();
            for endpoint in service["endpoints"].as_array().unwrap() {
                assert_eq!(endpoint["url"], format!("{base}{url}"), "{kind}");
                assert_eq!(endpoint["region"], "RegionOne");
            }
        }
        let token = token_of(&got);
        assert_eq!(cloud.worth(&token).await, 200);
        let seen = cloud.harness.ask("GET", TOKENS).token(&token).header("X-Subject-Token", &token).send().await;
        assert_eq!((seen.status, &seen.json()["token"]), (200, &body["token"]));
        let short = cloud.harness.ask("GET", &format!("{TOKENS}?nocatalog"));
        let short = short.token(&token).header("X-Subject-Token", &token).send().await.json();
        assert_eq!(short["token"].get("catalog"), None);
    }
    cloud.harness.stop().await;
}

#[actix_web::test]
async fn nobody_is_told_what_was_wrong_with_a_log_in() {
    let cloud = Cloud::start().await;
    let change = |pointer: &str, value: Value| {
        let mut body = by_password("mia", project("p"));
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let user = "/auth/identity/password/user";
    let refused = [
        change(&format!("{user}/password"), json!("Mia")),
        change(&format!("{user}/password"), json!("")),
        change(&format!("{user}/password"), json!("x".repeat(5000))),
        change(&format!("{user}/name"), json!("nobody")),
        change(&format!("{user}/domain"), json!({"name": "Other"})),
        change("/auth/scope", project("q")),
        change("/auth/scope", project("../p")),
        change("/auth/scope", json!({"project": {"name": "project p", "domain": {"id": "other"}}})),
        change("/auth/scope", json!({"domain": {"id": "default"}})),
        change("/auth/scope", json!({"system": {"all": true}})),
        change("/auth/identity/methods", json!(["kerberos"])),
        by_password("ned", project("p")),
        by_token("nonsense", project("p")),
        by_token("", json!("unscoped")),
    ];
    for body in &refused {
        is_refused(&cloud.log_in(body).await, 401, WORDS);
    }
    let malformed = [
        json!({}),
        json!({"auth": {}}),
        change("/auth/identity", json!("x")),
        change("/auth/identity/methods", json!([])),
        change("/auth/identity/methods", json!(["password", "token"])),
        change(&format!("{user}/password"), json!(5)),
        change(user, json!({"password": "mia"})),
        change(user, json!({"name": "mia", "password": "mia"})),
        change("/auth/scope", json!(["p"])),
        change("/auth/scope", json!({"project": {}})),
    ];
    for body in &malformed {
        let got = cloud.log_in(body).await;
        assert_eq!((got.status, &got.json()["error"]["title"]), (400, &json!("Bad Request")), "{body}");
    }
    let got = cloud.harness.ask("POST", TOKENS).raw("{").send().await;
    assert_eq!(got.status, 400);
    assert_eq!(cloud.harness.ask("POST", TOKENS).raw(vec![b' '; 300_000]).send().await.status, 413);
    cloud.user("mia", |mia| mia.enabled = false);
    is_refused(&cloud.log_in(&by_password("mia", project("p"))).await, 401, WORDS);
    cloud.harness.stop().await;
}

#[actix_web::test]
async fn an_unscoped_token_finds_projects_and_becomes_one_of_a_project() {
    let cloud = Cloud::start().await;
    for scope in [json!("unscoped"), json!({"unscoped": {}})] {
        let got = cloud.log_in(&by_password("mia", scope)).await;
        assert_eq!(got.json()["token"].get("project"), None);
        let unscoped = token_of(&got);
        for path in ["/identity/v3/auth/projects", "/identity/v3/users/mia-id/projects"] {
            let got = cloud.harness.ask("GET", path).token(&unscoped).send().await.json();
            assert_eq!(
                (&got["projects"][0]["id"], got["projects"].as_array().unwrap().len()),
                (&json!("p"), 1),
                "{path}"
            );
        }
        assert_eq!(cloud.worth(&unscoped).await, 403, "no project, no role");
        let got = cloud.log_in(&by_token(&unscoped, project("p"))).await;
        assert_eq!(cloud.worth(&token_of(&got)).await, 200);
        let body = got.json();
        assert_eq!(body["token"]["methods"], json!(["token", "password"]));
        let first = cloud.harness.ask("GET", TOKENS).token(&unscoped).header("X-Subject-Token", &unscoped).send().await;
        assert_eq!(
            body["token"]["expires_at"],
            first.json()["token"]["expires_at"],
            "no token lives longer than the first"
        );
    }
    assert_eq!(cloud.log_in(&by_password("ned", Value::Null)).await.json()["token"].get("project"), None);
    cloud.harness.stop().await;
}

#[actix_web::test]
async fn a_token_is_worth_what_the_records_say_now() {
    let cloud = Cloud::start().await;
    type Change = fn(&Cloud);
    let changes: [(&str, Change); 5] = [
        ("the user is disabled", |cloud| cloud.user("mia", |mia| mia.enabled = false)),
        ("the password is another", |cloud| cloud.user("mia", |mia| mia.password_set_at = Timestamp(i64::MAX))),
        ("the project is disabled", |cloud| cloud.change(|records| records.projects[0].enabled = false)),
        ("the role is taken away", |cloud| {
            cloud.change(|records| records.assignments.retain(|given| given.user != "mia-id"));
        }),
        ("the user is gone", |cloud| {
            cloud.change(|records| {
                records.assignments.retain(|given| given.user != "mia-id");
                records.users.retain(|user| user.name != "mia");
            });
        }),
    ];
    for (what, change) in changes {
        let token = cloud.token("mia").await;
        assert_eq!(cloud.worth(&token).await, 200);
        change(&cloud);
        is_refused(&cloud.harness.ask("GET", "/v3/volumes").token(&token).send().await, 401, WORDS);
        cloud.change(|now| *now = records());
        assert_eq!(cloud.worth(&token).await, 200, "{what}, and back");
    }
    cloud.harness.stop().await;
}

#[actix_web::test]
async fn a_token_ends_by_time_or_by_hand_and_survives_a_restart() {
    let cloud = Cloud::start().await;
    let (kept, ended, roots) = (cloud.token("mia").await, cloud.token("mia").await, cloud.token("root").await);
    let revoke = async |cloud: &Cloud, by: &str, token: &str| {
        cloud.harness.ask("DELETE", TOKENS).token(by).header("X-Subject-Token", token).send().await.status
    };
    assert_eq!(revoke(&cloud, &cloud.token("rita").await, &ended).await, 403, "somebody else's");
    assert_eq!(revoke(&cloud, &ended, &ended).await, 204);
    assert_eq!((cloud.worth(&ended).await, cloud.worth(&kept).await), (401, 200));
    assert_eq!(revoke(&cloud, &roots, &ended).await, 404, "it is none any more");
    let cloud = cloud.restarted().await;
    assert_eq!((cloud.worth(&ended).await, cloud.worth(&kept).await), (401, 200));
    let now = cloud.local.now();
    let claims = |expires_at: Timestamp| Claims {
        audit_id: "a".to_owned(),
        user: "mia-id".to_owned(),
        project: Some("p".to_owned()),
        application_credential: None,
        methods: vec![Method::Password],
        issued_at: Timestamp(1),
        expires_at,
    };
    assert_eq!(cloud.worth(&cloud.local.sign(&claims(now))).await, 401, "expired");
    let expired = cloud.local.sign(&claims(now));
    let seen = cloud.harness.ask("GET", &format!("{TOKENS}?allow_expired=1")).token(&roots);
    assert_eq!(seen.header("X-Subject-Token", &expired).send().await.status, 200);
    let seen = cloud.harness.ask("GET", TOKENS).token(&roots).header("X-Subject-Token", &expired).send().await;
    assert_eq!(seen.status, 404);
    assert_eq!(cloud.worth(&cloud.local.sign(&claims(now.plus(Duration::from_secs(60))))).await, 200);
    cloud.harness.stop().await;
}

#[actix_web::test]
async fn what_is_not_signed_here_is_no_token() {
    let cloud = Cloud::start().await;
    let token = cloud.token("mia").await;
    let elsewhere = Cloud::start().await;
    let (body, tag) = token.split_once('.').unwrap();
    let mut forged = vec![
        elsewhere.token("root").await,
        body.to_owned(),
        format!("{body}."),
        format!(".{tag}"),
        format!("eyJhbGciOiJub25lIn0.{body}."),
        format!("eyJhbGciOiJIUzI1NiJ9.{body}.{tag}"),
        "root:p".to_owned(),
        "admin".to_owned(),
        token.to_uppercase(),
        "A".repeat(8000),
    ];
    for at in [0, body.len() / 2, body.len() - 1, body.len() + 1, token.len() - 1] {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        forged.push(String::from_utf8(changed).unwrap());
    }
    for forged in &forged {
        for path in
            ["/v3/volumes", "/admin/actors", "/compute/v2.1/servers", "/identity/v3/auth/projects", "/image/v2/images"]
        {
            assert_eq!(cloud.status("GET", path, forged).await, 401, "{path} with {forged}");
        }
    }
    // what a proxy of Keystone would add is nobody's word here
    let claims = [
        ("X-User-Id", "root-id"),
        ("X-Roles", "admin"),
        ("X-Project-Id", "p"),
        ("X-Identity-Status", "Confirmed"),
        ("X-Is-Admin-Project", "True"),
    ];
    assert_eq!(with_claims(cloud.harness.ask("GET", "/v3/volumes"), &claims).send().await.status, 401);
    let rita = cloud.token("rita").await;
    assert_eq!(with_claims(cloud.harness.ask("GET", "/admin/actors").token(&rita), &claims).send().await.status, 403);
    cloud.harness.stop().await;
    elsewhere.harness.stop().await;
}

fn with_claims<'a>(asking: Asking<'a>, claims: &[(&str, &str)]) -> Asking<'a> {
    claims.iter().fold(asking, |asking, (name, value)| asking.header(name, value))
}

#[actix_web::test]
async fn each_project_sees_its_own() {
    let cloud = Cloud::start().await;
    let (mia, sam, rita, root) =
        (cloud.token("mia").await, cloud.token("sam").await, cloud.token("rita").await, cloud.token("root").await);
    let body = json!({"volume": {"size": 1}});
    let made = cloud.harness.post("/v3/volumes", &body).token(&mia).send().await;
    assert_eq!(made.status, 202, "{}", made.text);
    let path = format!("/v3/volumes/{}", made.json()["volume"]["id"].as_str().unwrap());
    for (token, status) in [(&mia, 200), (&rita, 200), (&root, 200), (&sam, 404)] {
        assert_eq!(cloud.status("GET", &path, token).await, status);
    }
    assert_eq!(cloud.harness.post("/v3/volumes", &body).token(&rita).send().await.status, 403);
    assert_eq!(cloud.status("GET", "/v3/p/volumes", &mia).await, 200);
    assert_eq!(cloud.status("GET", "/v3/q/volumes", &mia).await, 400, "the URL's project is not the token's");
    for (token, status) in [(&mia, 403), (&rita, 403), (&sam, 403), (&root, 200)] {
        assert_eq!(cloud.status("GET", "/admin/actors", token).await, status);
        for path in
            ["/identity/v3/users", "/identity/v3/projects", "/identity/v3/roles", "/identity/v3/role_assignments"]
        {
            assert_eq!(cloud.status("GET", path, token).await, status, "{path}");
        }
    }
    for (path, status) in [
        ("/identity/v3/users/mia-id", 200),
        ("/identity/v3/users/root-id", 403),
        ("/identity/v3/users/..%2Fkey", 403),
        ("/identity/v3/projects/p", 200),
        ("/identity/v3/projects/q", 403),
        ("/identity/v3/domains/default", 200),
        ("/identity/v3/domains/other", 404),
        ("/identity/v3/nothing", 404),
    ] {
        assert_eq!(cloud.status("GET", path, &mia).await, status, "{path}");
    }
    cloud.harness.stop().await;
}

#[actix_web::test]
async fn a_service_token_lets_an_expired_one_pass_and_a_bad_one_spoils_a_good_one() {
    let cloud = Cloud::start().await;
    let (mia, nova, sam) = (cloud.token("mia").await, cloud.token("nova").await, cloud.token("sam").await);
    let expired = cloud.local.sign(&Claims {
        audit_id: "a".to_owned(),
        user: "mia-id".to_owned(),
        project: Some("p".to_owned()),
        application_credential: None,
        methods: vec![Method::Password],
        issued_at: Timestamp(1),
        expires_at: Timestamp(2),
    });
    for (user, service, status) in [
        (&mia, nova.as_str(), 200),
        (&mia, sam.as_str(), 401),
        (&mia, "nonsense", 401),
        (&expired, nova.as_str(), 200),
        (&expired, sam.as_str(), 401),
        (&expired, "", 401),
    ] {
        let asking = cloud.harness.ask("GET", "/v3/volumes").token(user).header("X-Service-Token", service);
        assert_eq!(asking.send().await.status, status, "{service}");
    }
    let asking = cloud.harness.ask("GET", "/v3/volumes").header("X-Service-Token", &nova);
    assert_eq!(asking.send().await.status, 401, "a service alone is no user");
    cloud.harness.stop().await;
}

#[actix_web::test]
async fn an_application_credential_logs_in_for_its_own_project_and_no_more() {
    let cloud = Cloud::start().await;
    let mia = cloud.token("mia").await;
    let path = "/identity/v3/users/mia-id/application_credentials";
    let body = |name: &str, roles: Value| json!({"application_credential": {"name": name, "roles": roles}});
    let make = async |token: &str, body: &Value| cloud.harness.post(path, body).token(token).send().await;
    let made = make(&mia, &body("ci", json!([{"name": "reader"}]))).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let one = made.json()["application_credential"].clone();
    let (id, secret) = (one["id"].as_str().unwrap(), one["secret"].as_str().unwrap());
    assert_eq!((&one["project_id"], &one["unrestricted"]), (&json!("p"), &json!(false)));
    assert_eq!(make(&mia, &body("ci", json!([]))).await.status, 409);
    assert_eq!(make(&mia, &body("more", json!([{"name": "admin"}]))).await.status, 400);
    assert_eq!(make(&cloud.token("root").await, &body("x", json!([]))).await.status, 403, "for somebody else");
    let unrestricted = json!({"application_credential": {"name": "u", "unrestricted": true}});
    assert_eq!(make(&mia, &unrestricted).await.status, 400);

    let by_id = |secret: &str| json!({"id": id, "secret": secret});
    let by_name = json!({"name": "ci", "user": {"name": "mia", "domain": {"id": "default"}}, "secret": secret});
    let log_in = async |shown: Value, scope: Value| {
        let identity = json!({"methods": ["application_credential"], "application_credential": shown});
        let mut body = json!({"auth": {"identity": identity}});
        if !scope.is_null() {
            body["auth"]["scope"] = scope;
        }
        cloud.log_in(&body).await
    };
    for shown in [by_id(secret), by_name] {
        let got = log_in(shown, Value::Null).await;
        let token = got.json()["token"].clone();
        assert_eq!(token["roles"], json!([{"id": "reader-role", "name": "reader"}]));
        assert_eq!(token["application_credential"], json!({"id": id, "name": "ci", "restricted": true}));
        let token = token_of(&got);
        assert_eq!(cloud.worth(&token).await, 200);
        let create = cloud.harness.post("/v3/volumes", &json!({"volume": {"size": 1}})).token(&token).send().await;
        assert_eq!(create.status, 403, "it has one role of its user's");
        assert_eq!(make(&token, &body("another", json!([]))).await.status, 403);
        let words = "Application credentials cannot request a scope.";
        is_refused(&cloud.log_in(&by_token(&token, project("q"))).await, 401, words);
        is_refused(&cloud.log_in(&by_token(&token, json!("unscoped"))).await, 401, words);
    }
    is_refused(&log_in(by_id("wrong"), Value::Null).await, 401, WORDS);
    is_refused(&log_in(json!({"id": "none", "secret": secret}), Value::Null).await, 401, WORDS);
    is_refused(&log_in(json!({"name": "ci", "secret": secret}), Value::Null).await, 401, WORDS);

    let listed = cloud.harness.ask("GET", path).token(&mia).send().await;
    assert!(!listed.text.contains(secret) && !listed.text.contains("argon2"), "{}", listed.text);
    assert_eq!(listed.json()["application_credentials"][0]["id"], id);
    let token = token_of(&log_in(by_id(secret), Value::Null).await);
    let one = format!("{path}/{id}");
    assert_eq!(cloud.status("GET", &one, &mia).await, 200);
    assert_eq!(cloud.status("DELETE", &one, &cloud.token("rita").await).await, 403);
    assert_eq!(cloud.status("DELETE", &one, &mia).await, 204);
    assert_eq!((cloud.status("GET", &one, &mia).await, cloud.worth(&token).await), (404, 401));
    is_refused(&log_in(by_id(secret), Value::Null).await, 401, WORDS);
    cloud.harness.stop().await;
}

#[actix_web::test]
async fn who_guesses_has_to_wait_and_the_owner_of_a_token_does_not() {
    let cloud = Cloud::start().await;
    let mia = cloud.token("mia").await;
    let mut wrong = by_password("mia", Value::Null);
    wrong["auth"]["identity"]["password"]["user"]["password"] = json!("guess");
    let mut tries = 0;
    let got = loop {
        let got = cloud.log_in(&wrong).await;
        if got.status != 401 {
            break got;
        }
        tries += 1;
        assert!(tries < 100, "nobody stops it");
    };
    assert_eq!(got.status, 429, "{}", got.text);
    assert!(got.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(cloud.log_in(&by_password("mia", Value::Null)).await.status, 429, "nor is the right one heard");
    assert_eq!(cloud.log_in(&by_password("sam", Value::Null)).await.status, 201, "others are");
    assert_eq!(cloud.worth(&mia).await, 200);
    cloud.harness.stop().await;
}

#[actix_web::test]
async fn without_this_strategy_there_is_only_the_version() {
    let harness = Harness::start().await;
    assert_eq!(harness.ask("GET", "/identity/v3").send().await.json()["version"]["id"], "v3.14");
    assert_eq!(harness.ask("GET", "/identity").send().await.status, 300);
    assert_eq!(harness.post(TOKENS, &by_password("mia", Value::Null)).send().await.status, 404);
    harness.stop().await;
}
