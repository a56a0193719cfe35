//! Every route for every persona: who may is said by the table below `who-may` and by the policy, and each pair is asked over the wire.
//! `docs/who-may.md` is the print.
//!
//! A line's words are `METHOD TEMPLATE [ACTION] · WHO`, its code is what those who may are answered, and WHO is one of these:
//!
//! | who | others |
//! |---|---|
//! | `everybody`: a token is not asked for | – |
//! | `anyone`: with any token | 401 |
//! | `own RULE, RULE`: by the policy, in the caller's own project | 403 |
//! | `of p RULE`: by the policy, in the project that the path names | 403 |
//! | `object [RULE, RULE]`: by the policy, about an object of project p | 404 in other projects, which do not see it, else 403 |
//! | `object after RULE`: the same, but the policy is asked before the object is looked for | 403, then 404 |
//! | `unseen RULE`: the same, and who is refused is not told from who does not see it | 404 |
//! | `private RULE`: by the policy, about an object that no other project sees, not even its administrators | the same |
//! | `only PERSONA, PERSONA` | 403 |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hearth::actors::{ActorOptions, PlacementOptions};
use hearth::api::ApiOptions;
use hearth::domain::ids::{ProjectId, UserId};
use hearth::domain::quota::Limits;
use hearth::domain::time::Timestamp;
use hearth::identity::local::{
    ApplicationCredential, Assignment, Claims, FileError, Method, Project, Records, Role, User, password, with_implied,
};
use hearth::identity::{Local, LocalOptions, MappedToken, Noauth, RequestContext, Strategy};
use hearth::images::StoreLimits;
use hearth::policy::{Policy, Rule};
use hearth::runtime::{Clock, Randomness};
use tempfile::TempDir;
use uuid::Uuid;

use super::stage::{Stage, words_of};
use super::table::{Contract, File, Line, Played, Proof, Section};
use crate::api::coverage::{labels_below, served};
use crate::api::harness::Harness;
use crate::api::images::{LIMITS, open};
use crate::policy::{caller, judged};

const TABLE: File = File { name: "who-may", title: "Who may" };

/// What answers without being a route of the tables of calls.
const BESIDE: &[&str] = &["GET /metrics"];

/// Somebody with these roles on a project.
struct Persona {
    name: &'static str,
    project: &'static str,
    roles: &'static [&'static str],
}

const PERSONAS: &[Persona] = &[
    Persona { name: "admin of p", project: "p", roles: &["admin"] },
    Persona { name: "member of p", project: "p", roles: &["member"] },
    Persona { name: "reader of p", project: "p", roles: &["reader"] },
    Persona { name: "no role in p", project: "p", roles: &[] },
    Persona { name: "admin of q", project: "q", roles: &["admin"] },
    Persona { name: "member of q", project: "q", roles: &["member"] },
    Persona { name: "reader of q", project: "q", roles: &["reader"] },
    Persona { name: "service", project: "services", roles: &["service"] },
];

impl Persona {
    fn id(&self) -> String {
        self.name.replace(' ', "-")
    }

    /// The token at the service without an identity service: a word with a colon.
    fn token(&self) -> String {
        format!("token:{}", self.id())
    }

    fn roles(&self) -> Vec<String> {
        self.roles.iter().map(|role| (*role).to_owned()).collect()
    }

    fn context(&self, policy: &Policy) -> RequestContext {
        let roles = with_implied(&self.roles());
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        judged(policy, caller(&self.id(), self.project, &roles))
    }
}

enum Who {
    Everybody,
    Anyone,
    Own(Vec<Rule>),
    Of(ProjectId, Rule),
    Object { rules: Vec<Rule>, rule_first: bool },
    Unseen(Rule),
    Private(Rule),
    Only(BTreeSet<String>),
}

/// A line of the table, understood.
struct Call<'a> {
    /// `METHOD TEMPLATE [ACTION]`
    name: &'a str,
    who: Who,
    played: &'a Played,
}

fn rule(name: &str) -> Rule {
    Rule::find(name).unwrap_or_else(|| panic!("there is no rule {name}"))
}

impl<'a> Call<'a> {
    fn of(line: &'a Line) -> Self {
        let (name, who) = line.words.split_once(" · ").expect("a call and who may");
        let Proof::Call(played) = &line.proof else { panic!("{name}: only a call shows who may") };
        let (word, rest) = who.split_once(' ').unwrap_or((who, ""));
        let who = match word {
            "everybody" => Who::Everybody,
            "anyone" => Who::Anyone,
            "own" => Who::Own(rest.split(", ").map(rule).collect()),
            "of" => {
                let (project, name) = rest.split_once(' ').expect("a project and a rule");
                Who::Of(ProjectId::from(project), rule(name))
            }
            "object" => {
                let (first, name) = rest.strip_prefix("after ").map_or((false, rest), |name| (true, name));
                let names = name.split(", ").filter(|name| !name.is_empty());
                Who::Object { rules: names.map(rule).collect(), rule_first: first }
            }
            "unseen" => Who::Unseen(rule(rest)),
            "private" => Who::Private(rule(rest)),
            "only" => Who::Only(rest.split(", ").map(str::to_owned).collect()),
            _ => panic!("{name}: nobody is called {who}"),
        };
        Self { name, who, played }
    }

    /// The rules that are asked, one after the other.
    fn rules(&self) -> &[Rule] {
        match &self.who {
            Who::Of(_, rule) | Who::Unseen(rule) | Who::Private(rule) => std::slice::from_ref(rule),
            Who::Own(rules) | Who::Object { rules, .. } => rules,
            Who::Everybody | Who::Anyone | Who::Only(_) => &[],
        }
    }

    /// What somebody is answered who has this persona, and the rule that refuses; none: who has no token.
    fn code(&self, persona: Option<&Persona>, policy: &Policy) -> (&str, Option<Rule>) {
        let may = self.played.answer.as_str();
        let Some(persona) = persona else {
            return (if matches!(self.who, Who::Everybody) { may } else { "401" }, None);
        };
        let context = persona.context(policy);
        let of_p = ProjectId::from("p");
        let denied = |target| self.rules().iter().copied().find(|rule| !policy.allows(&context, *rule, target));
        let refused = match &self.who {
            Who::Own(_) | Who::Object { rule_first: true, .. } => denied(&context.project_id),
            Who::Of(project, _) => denied(project),
            Who::Unseen(_) | Who::Private(_) | Who::Object { .. } => denied(&of_p),
            Who::Everybody | Who::Anyone | Who::Only(_) => None,
        };
        let is_unseen = match self.who {
            Who::Object { .. } | Who::Unseen(_) => !context.sees(&of_p),
            Who::Private(_) => context.project_id != of_p,
            _ => false,
        };
        match &self.who {
            Who::Only(names) if !names.contains(persona.name) => ("403", None),
            Who::Object { rule_first: true, .. } if refused.is_some() => ("403", refused),
            _ if is_unseen => ("404", None),
            Who::Unseen(_) if refused.is_some() => ("404", None),
            _ if refused.is_some() => ("403", refused),
            _ => (may, None),
        }
    }

    /// What a client of Block Storage or Compute reads when this rule refuses.
    fn words(&self, rule: Rule) -> String {
        // upstream names no rule where default types are refused
        if self.name.contains("/default-types") {
            return " You are not authorized to perform this operation.".to_owned();
        }
        let told = ["/v3/", "/compute/", "/admin/"].iter().any(|base| self.name.contains(&format!(" {base}")));
        if told { format!(" Policy doesn't allow {} to be performed.", rule.name()) } else { String::new() }
    }
}

fn calls(contract: &Contract) -> impl Iterator<Item = Call<'_>> {
    contract.sections.iter().flat_map(Section::lines).map(Call::of)
}

/// A service and its personas' tokens.
struct Cloud {
    harness: Harness,
    /// The identity service of its own, if there is one.
    local: Option<Arc<Local>>,
    tokens: BTreeMap<&'static str, String>,
    password: String,
    /// The password's.
    hash: String,
    _directory: TempDir,
}

impl Cloud {
    /// The service that a section's calls need.
    async fn start(section: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if section == "Identity" {
            Self::with_identity(directory).await
        } else {
            Self::without_identity(directory).await
        }
    }

    async fn without_identity(directory: TempDir) -> Self {
        let mapped = |persona: &Persona| MappedToken {
            user_id: UserId::from(persona.id()),
            project_id: ProjectId::from(persona.project),
            roles: persona.roles(),
        };
        let tokens = PERSONAS.iter().map(|persona| (persona.token(), mapped(persona))).collect();
        let options = ApiOptions {
            auth: Strategy::Noauth(Noauth { tokens, ..Noauth::default() }),
            image_store: Some(open(&directory, StoreLimits { images_max: 1000, ..LIMITS })),
            faults_enabled: true,
            ..ApiOptions::default()
        };
        let backends = ["h@a#a", "h@b#b"];
        // new volumes go to the first one, which may promise more
        let small = PlacementOptions { reserved_percentage: 50, ..PlacementOptions::default() };
        let placement = backends.map(str::to_owned).into_iter().zip([PlacementOptions::default(), small]).collect();
        let actors = ActorOptions { limits: Limits::NONE, placement, ..ActorOptions::default() };
        let harness = Harness::start_full(options, actors, &backends).await;
        let tokens = PERSONAS.iter().map(|persona| (persona.name, persona.token())).collect();
        Self { harness, local: None, tokens, password: String::new(), hash: String::new(), _directory: directory }
    }

    async fn with_identity(directory: TempDir) -> Self {
        let options = LocalOptions {
            token_ttl: Duration::from_secs(3600),
            service_token_roles: vec!["service".to_owned()],
            www_authenticate_uri: String::new(),
        };
        let randomness = Randomness::from_os();
        let local = Arc::new(Local::open(directory.path(), options, Clock::System, randomness.clone()).unwrap());
        let password = randomness.secret();
        let hash = password::hash(&password, &randomness);
        change(&local, |records| *records = people(&hash));
        let tokens = PERSONAS.iter().map(|persona| (persona.name, signed(&local, persona))).collect();
        let options = ApiOptions { auth: Strategy::Local(local.clone()), ..ApiOptions::default() };
        let harness = Harness::start_with(options, Limits::NONE).await;
        Self { harness, local: Some(local), tokens, password, hash, _directory: directory }
    }

    /// Asks one call as somebody, and judges the answer.
    async fn ask(
        &self,
        contract: &Contract,
        call: &Call<'_>,
        persona: Option<&Persona>,
        policy: &Policy,
    ) -> Result<(), String> {
        let mut stage = Stage::new(&self.harness, contract);
        stage.keep("unique", Uuid::new_v4().simple().to_string());
        if let Some(local) = &self.local {
            // a token and a credential that may be taken away
            stage.keep("subject", signed(local, &PERSONAS[1]));
            stage.keep("password", self.password.clone());
            change(local, |records| records.application_credentials = credentials(&self.hash).into());
        }
        stage.bring_about(&call.played.situation).await;
        stage.asker = persona.map(|persona| self.tokens[persona.name].clone());
        let (code, refused) = call.code(persona, policy);
        let words = refused.map(|rule| call.words(rule)).unwrap_or_default();
        let got = stage.judge(&call.played.call, &format!("{code}{words}")).await?;
        let sees = persona.is_some_and(|persona| persona.context(policy).sees(&ProjectId::from("p")));
        if !sees && got.status < 300 {
            let told = stage
                .ids_of(&["volume", "snapshot", "attachment", "message", "server", "image"])
                .into_iter()
                .find(|id| got.text.contains(id));
            told.map_or(Ok(()), |id| Err(format!("it tells of {id}: {}", got.text)))?;
        }
        stage.clear();
        Ok(())
    }
}

/// The users by the names of the personas, one password for all.
fn people(hash: &str) -> Records {
    let project =
        |id: &str| Project { id: id.to_owned(), name: id.to_owned(), description: String::new(), enabled: true };
    let user = |persona: &Persona| User {
        id: persona.id(),
        name: persona.id(),
        password: Some(hash.to_owned()),
        password_set_at: Timestamp(0),
        default_project: None,
        enabled: true,
    };
    let assignment = |persona: &Persona| Assignment {
        user: persona.id(),
        project: persona.project.to_owned(),
        roles: persona.roles(),
    };
    let role = |name: &str| Role { id: format!("{name}-role"), name: name.to_owned() };
    Records {
        projects: ["p", "q", "services"].map(project).into(),
        users: PERSONAS.iter().map(user).collect(),
        roles: ["admin", "member", "reader", "service"].map(role).into(),
        assignments: PERSONAS.iter().filter(|persona| !persona.roles.is_empty()).map(assignment).collect(),
        application_credentials: Vec::new(),
    }
}

/// Two of the member of p.
fn credentials(hash: &str) -> [ApplicationCredential; 2] {
    ["kept", "spare"].map(|name| ApplicationCredential {
        id: name.to_owned(),
        name: name.to_owned(),
        user: PERSONAS[1].id(),
        project: "p".to_owned(),
        secret: hash.to_owned(),
        roles: PERSONAS[1].roles(),
        description: String::new(),
        expires_at: None,
    })
}

fn change(local: &Local, change: impl FnOnce(&mut Records)) {
    let changed = local.change(|_, records| {
        change(records);
        Ok::<_, FileError>(())
    });
    changed.unwrap();
}

/// A token as a log-in gives it; for no project, if there are no roles on one.
fn signed(local: &Local, persona: &Persona) -> String {
    local.sign(&Claims {
        audit_id: Uuid::new_v4().simple().to_string(),
        user: persona.id(),
        project: (!persona.roles.is_empty()).then(|| persona.project.to_owned()),
        application_credential: None,
        methods: vec![Method::Password],
        issued_at: local.now(),
        expires_at: Timestamp(local.now().0 + 3_600_000_000),
    })
}

/// Asks every call of these sections as everybody.
async fn holds(titles: impl Fn(&str) -> bool) {
    let (contract, policy) = (TABLE.read(), Policy::default());
    let mut deviations = Vec::new();
    let mut asked = 0;
    for section in contract.sections.iter().filter(|section| titles(&section.title)) {
        let cloud = Cloud::start(&section.title).await;
        for call in section.lines().map(Call::of) {
            for persona in PERSONAS.iter().map(Some).chain([None]) {
                asked += 1;
                let outcome = AssertUnwindSafe(cloud.ask(&contract, &call, persona, &policy)).catch_unwind().await;
                if let Err(deviation) = outcome.unwrap_or_else(|panic| Err(words_of(panic))) {
                    let who = persona.map_or("without a token", |persona| persona.name);
                    deviations.push(format!("{} · {who}: {deviation}", call.name));
                }
            }
        }
        cloud.harness.stop().await;
    }
    assert!(asked > 100, "the table has been lost: {asked}");
    let count = deviations.len();
    assert!(count == 0, "{count} of {asked} do not hold:\n{}", deviations.join("\n"));
}

/// Those with most to prepare, apart from the others so that they are asked at the same time.
const VOLUMES: [&str; 3] = ["Volumes", "Actions on volumes", "Attachments"];

#[actix_web::test]
async fn volumes_answer_every_persona_as_the_policy_says() {
    holds(|title| VOLUMES.contains(&title)).await;
}

#[actix_web::test]
async fn every_other_route_answers_every_persona_as_the_policy_says() {
    holds(|title| !VOLUMES.contains(&title)).await;
}

/// Whether a call that is in no table is none: whoever may do everything is answered that there is nothing.
async fn is_nothing(cloud: &Cloud, method: &str, label: &str) -> bool {
    let concrete = label.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>();
    let asking = cloud.harness.ask(method, &concrete.join("/")).token(&cloud.tokens["admin of p"]);
    matches!(asking.send().await.status, 404 | 405)
}

#[actix_web::test]
async fn no_route_is_missing_from_the_table_of_who_may() {
    let contract = TABLE.read();
    let listed: BTreeSet<String> = calls(&contract).map(|call| call.name.to_owned()).collect();
    // Block Storage and Compute: the table of calls, of which every line is asked over the wire
    let mut expected: BTreeSet<String> =
        served().into_iter().chain(BESIDE.iter().map(|name| (*name).to_owned())).collect();
    // the others: every label of the source with every method
    for (section, files, base) in [
        ("Images", &["image/route.rs"][..], "/image"),
        ("Hearth's own", &["route.rs", "route/host.rs"], ""),
        ("Identity", &["identity/route.rs"], "/identity"),
    ] {
        let cloud = Cloud::start(section).await;
        let labels = files.iter().flat_map(|file| labels_below(file)).map(|label| format!("{base}{label}"));
        let labels: Vec<String> = labels.filter(|label| !base.is_empty() || label.starts_with("/admin")).collect();
        assert!(labels.len() > 7, "the labels of {files:?} are not found any more: {labels:?}");
        for label in &labels {
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
                let name = format!("{method} {label}");
                if listed.contains(&name) || !is_nothing(&cloud, method, label).await {
                    expected.insert(name);
                }
            }
        }
        cloud.harness.stop().await;
    }
    let missing: Vec<_> = expected.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&expected).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not in the table: {missing:#?}\nno routes: {unknown:#?}");
}

const HEAD: &str = "\
# Who may

What every call answers every persona, with the policy as it is without overrides: *p* is the project of the object that the call is
about, *q* another one. Every cell is asked over the wire by every run of the tests. Printed from the tables in
`tests/it/contract/who-may`; to change it, change a table and run
`HEARTH_WRITE_DOCS=1 cargo nextest run -E 'test(/^contract::who_may/)'`.

401: there is no token. 403: the policy refuses. 404: what belongs to another project is not there. A call that has nothing to do in
this table's situations answers those who may with its 400 or 404.
";

fn page(contract: &Contract) -> String {
    let policy = Policy::default();
    let mut page = HEAD.to_owned();
    for section in &contract.sections {
        let names = PERSONAS.iter().map(|persona| persona.name).collect::<Vec<_>>().join(" | ");
        let _ = write!(
            page,
            "\n## {}\n\n| Call | Rule | {names} | no token |\n|---|---|{}\n",
            section.title,
            "---|".repeat(PERSONAS.len() + 1)
        );
        for call in section.lines().map(Call::of) {
            let rules = call.rules().iter().map(|rule| format!("`{}`", rule.name())).collect::<Vec<_>>().join(", ");
            let codes = PERSONAS.iter().map(Some).chain([None]).map(|persona| call.code(persona, &policy).0);
            let _ = writeln!(page, "| `{}` | {rules} | {} |", call.name, codes.collect::<Vec<_>>().join(" | "));
        }
    }
    page
}

#[test]
fn the_page_of_who_may_is_these_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/who-may.md");
    let page = page(&TABLE.read());
    if std::env::var_os("HEARTH_WRITE_DOCS").is_some() {
        fs::write(&path, &page).expect("the page is written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/who-may.md is not what the tables say: HEARTH_WRITE_DOCS=1 writes it");
}
