//! The same questions to oslo.policy: random expressions, and the whole table with random files over it.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use hearth::identity::RequestContext;
use hearth::policy::files::Sources;
use hearth::policy::rules::RULES;
use hearth::policy::{LivePolicy, Policy, Rule};
use serde_json::{Value, json};

use super::random::{Object, Random, credentials, overrides};
use super::{caller, scoped};

/// Sets of rules that refer to each other, and how many callers and targets each of the rules is asked for.
const RULE_SETS: u64 = 250;
const QUESTIONS: usize = 4;

/// Sets of policy files.
const FILES: u64 = 24;

/// Rules that random files change: some of each kind of default, old names, and one that there is not.
const CHANGED: [&str; 12] = [
    "volume:get",
    "volume:delete",
    "volume:create",
    "volume:force_delete",
    "admin_api",
    "context_is_admin",
    "xena_system_admin_or_project_reader",
    "volume_extension:types_manage",
    "volume_extension:volume_image_metadata",
    "volume_extension:volume_image_metadata:set",
    "group:group_types_manage",
    "default",
];

/// A set of files and who wrote it: the random rules of a seed.
struct FileCase {
    directory: tempfile::TempDir,
    enforce_new_defaults: bool,
}

impl FileCase {
    fn new(seed: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("policy.d")).unwrap();
        for (name, salt) in [("policy.yaml", 1_000), ("policy.d/b.yaml", 2_000), ("policy.d/a.yaml", 3_000)] {
            let mut random = Random::new(seed + salt);
            let chosen = CHANGED.iter().filter(|_| random.chance(25)).collect::<Vec<_>>();
            let lines = chosen.iter().map(|name| {
                // what sample files say of old names: no override
                let alias = **name == "volume_extension:types_manage" && random.chance(50);
                let rule = if alias { "rule:volume_extension:type_create".to_owned() } else { random.expression(0) };
                // a missing rule stands for `default`, which would be a circle
                let rule = rule.replace("rule:missing", if **name == "default" { "@" } else { "rule:missing" });
                format!("{}: {}\n", json!(name), json!(rule))
            });
            fs::write(directory.path().join(name), lines.collect::<String>()).unwrap();
        }
        Self { directory, enforce_new_defaults: seed.is_multiple_of(2) }
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("policy.yaml")
    }

    fn policy(&self) -> std::sync::Arc<Policy> {
        let sources = Sources {
            file: Some(self.file()),
            is_file_required: true,
            directory: Some(self.directory.path().join("policy.d")),
        };
        LivePolicy::open(sources, self.enforce_new_defaults).unwrap().current()
    }
}

/// Those whose rights differ by the defaults.
fn callers() -> Vec<RequestContext> {
    let mut callers = vec![
        caller("u", "p", &[]),
        caller("u", "p", &["reader"]),
        caller("v", "p", &["member", "reader"]),
        caller("v", "q", &["member", "reader"]),
        caller("v", "q", &["admin"]),
        scoped(caller("v", "q", &["admin"]), |scope| scope.is_admin_project = false),
        scoped(caller("v", "q", &["admin"]), |scope| {
            scope.is_admin_project = false;
            scope.system_scope = Some("all".to_owned());
        }),
    ];
    let mut random = Random::new(77);
    callers.extend((0..5).map(|_| random.caller()));
    callers
}

fn ask(question: &Value) -> Value {
    // scripts/setup.sh puts it beside the build's profiles
    let target = Path::new(env!("CARGO_BIN_EXE_hearth")).ancestors().nth(2).unwrap();
    let python = target.join("openstack-venv/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/setup.sh test", python.display());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/policy/oracle.py");
    let mut child = Command::new(python)
        .arg(script)
        .env_clear()
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn oslo_policy_decides_the_same() {
    let sets: Vec<_> = (0..RULE_SETS)
        .map(|seed| {
            let mut random = Random::new(seed);
            let rules = random.rules();
            (rules, (0..QUESTIONS).map(|_| (random.caller(), random.target())).collect::<Vec<_>>())
        })
        .collect();
    let files: Vec<FileCase> = (0..FILES).map(FileCase::new).collect();
    let (callers, target) = (callers(), Random::new(78).target());
    let table = RULES.iter().map(|rule| {
        let old = rule.old.map(|old| json!({"name": old.name, "check": old.check}));
        json!({"name": rule.name, "check": rule.check, "old": old})
    });
    let said = ask(&json!({
        "sets": sets.iter().map(|(rules, questions)| json!({
            "rules": rules,
            "questions": questions.iter().map(|(caller, target)| {
                json!({"caller": credentials(caller), "target": target.to_json()})
            }).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "table": table.collect::<Vec<_>>(),
        "files": files.iter().map(|case| json!({
            "file": case.file(),
            "directory": case.directory.path().join("policy.d"),
            "enforce_new_defaults": case.enforce_new_defaults,
        })).collect::<Vec<_>>(),
        "callers": callers.iter().map(credentials).collect::<Vec<_>>(),
        "target": target.to_json(),
    }));

    let mut outcomes = [0; 2];
    for (seed, (rules, questions)) in sets.iter().enumerate() {
        let policy = Policy::new(&overrides(rules), true).unwrap();
        for (index, (caller, target)) in questions.iter().enumerate() {
            for (place, (rule, _)) in rules.iter().enumerate() {
                let ours = policy.explain(rule, caller, target).unwrap();
                let theirs = said["sets"][seed][index][place].as_bool().unwrap();
                assert_eq!(ours.allowed, theirs, "seed {seed}, {rule}: {rules:#?}\n{caller:?}\n{:#?}", ours.reasons);
                outcomes[usize::from(theirs)] += 1;
            }
        }
    }
    assert!(outcomes.iter().all(|count| *count > 1_000), "denied and allowed {outcomes:?}");
    files_agree(&files, &callers, &target, &said["files"]);
}

fn files_agree(files: &[FileCase], callers: &[RequestContext], target: &Object, said: &Value) {
    let mut overridden = 0;
    for (seed, case) in files.iter().enumerate() {
        let policy = case.policy();
        overridden += policy.overridden();
        for (index, caller) in callers.iter().enumerate() {
            for (place, rule) in RULES.iter().enumerate() {
                let ours = policy.allows(caller, Rule::find(rule.name).unwrap(), target);
                let theirs = said[seed][index][place].as_bool().unwrap();
                assert_eq!(ours, theirs, "set {seed}: {}: {caller:?}\n{:#?}", rule.name, policy.rules()[place]);
            }
        }
    }
    assert!(overridden > 60, "{overridden} overrides in all");
}
