//! Policy files: their order, their form, what is said of wrong ones, and that they can be read again.

use std::fs;
use std::path::Path;

use hearth::domain::ids::ProjectId;
use hearth::policy::compiled::Origin;
use hearth::policy::files::{FILE_BYTES_MAX, Sources, file_parse};
use hearth::policy::{LivePolicy, Policy};
use hearth::rule;
use tempfile::TempDir;

use super::caller;

fn sources(directory: &TempDir) -> Sources {
    Sources {
        file: Some(directory.path().join("policy.yaml")),
        is_file_required: false,
        directory: Some(directory.path().join("policy.d")),
    }
}

fn write(directory: &TempDir, name: &str, text: &str) {
    let path = directory.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What a rule is in force as, and where it stands.
fn in_force(policy: &Policy, name: &str) -> (String, String) {
    let rule = policy.rules().iter().find(|rule| rule.name == name).unwrap();
    (rule.text.to_string(), rule.origin.to_string())
}

#[test]
fn every_form_of_a_file() {
    let cases = [
        ("", vec![]),
        ("# only a comment\n", vec![]),
        ("---\n...\n", vec![]),
        ("{}", vec![]),
        ("null\n", vec![]),
        ("\"a\": \"role:x\"\n", vec![("a", "role:x", 1)]),
        ("# first\n\na: role:x\n'b': '!'\n", vec![("a", "role:x", 3), ("b", "!", 4)]),
        ("volume:get: role:x or role:y\n", vec![("volume:get", "role:x or role:y", 1)]),
        ("a: \"\"\nb: \"@\"\n", vec![("a", "", 1), ("b", "@", 2)]),
        ("{\"a\": \"role:x\",\n \"b\": []}", vec![("a", "role:x", 1), ("b", "@", 2)]),
        ("a: [[\"role:x\", \"role:y\"], \"role:z\"]", vec![("a", "(role:x and role:y) or role:z", 1)]),
        ("a: >-\n  role:x\n  or role:y\n", vec![("a", "role:x or role:y", 1)]),
        ("a:\n- - role:x\n- - role:y\n", vec![("a", "role:x or role:y", 1)]),
    ];
    for (text, expected) in cases {
        let read = file_parse(text, "policy.yaml".into()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let found: Vec<_> = read
            .iter()
            .map(|(name, rule)| (name.as_str(), rule.text.as_str(), rule.place.as_ref().unwrap().line))
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }
}

#[test]
fn a_wrong_file_is_refused_with_its_line() {
    let cases = [
        ("a: role:x and\n", "p.yaml:1: rule a: the expression ends where a check is expected (at character 11)"),
        (
            "a: '@'\nb: role:x or admin\n",
            "p.yaml:2: rule b: \"admin\" is no check: it has no colon between two sides (at character 11)",
        ),
        ("a: '@'\n\na: '!'\n", "p.yaml:3: rule a stands in line 1 already"),
        ("a:\nb: '@'\n", "p.yaml:1: rule a has no expression; \"@\" is everybody, and \"!\" is nobody"),
        ("a: ~\n", "p.yaml:1: rule a has no expression; \"@\" is everybody, and \"!\" is nobody"),
        ("a: !\n", "p.yaml:1: rule a has no expression; \"@\" is everybody, and \"!\" is nobody"),
        ("a: true\n", "p.yaml:1: rule a: \"true\" is no check: it has no colon between two sides (at character 1)"),
        ("a: {b: c}\n", "p.yaml:1: rule a must be a text or a list of lists of texts"),
        ("a: [[[\"role:x\"]]]\n", "p.yaml:1: rule a must be a text or a list of lists of texts"),
        ("a: &x role:x\nb: *x\n", "p.yaml:2: rule b must be a text or a list of lists of texts"),
        ("[a]: role:x\n", "p.yaml:1: the name of a rule must be a text"),
        ("- a\n", "p.yaml:1: a policy maps names of rules to expressions"),
        ("a\n", "p.yaml:1: a policy maps names of rules to expressions"),
        ("a: '@'\n---\nb: '@'\n", "p.yaml:2: a policy is one document"),
    ];
    for (text, expected) in cases {
        let error = file_parse(text, "p.yaml".into()).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text:?}");
    }
    for text in ["a: \"role:x\nb: '@'\n", "a: @\n", "a: [\n", "a: 'x'y\n"] {
        let error = file_parse(text, "p.yaml".into()).expect_err(text).to_string();
        assert!(error.starts_with("p.yaml:") && error.contains(": this is no YAML: "), "{text:?}: {error}");
    }
}

#[test]
fn later_files_win_and_hidden_ones_are_not_read() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "policy.yaml", "volume:get: role:main\nvolume:delete: role:main\nvolume:update: role:main\n");
    write(&directory, "policy.d/20-b.yaml", "volume:get: role:b\n");
    write(&directory, "policy.d/10-a.yaml", "volume:get: role:a\nvolume:delete: role:a\n");
    write(&directory, "policy.d/.swap.yaml", "this is not: [even YAML\n");
    fs::create_dir(directory.path().join("policy.d/sub")).unwrap();
    let live = LivePolicy::open(sources(&directory), true).unwrap();
    let policy = live.current();
    let place = |name: &str, line: usize| format!("overridden at {}:{line}", directory.path().join(name).display());
    assert_eq!(in_force(&policy, "volume:get"), ("role:b".to_owned(), place("policy.d/20-b.yaml", 1)));
    assert_eq!(in_force(&policy, "volume:delete"), ("role:a".to_owned(), place("policy.d/10-a.yaml", 2)));
    assert_eq!(in_force(&policy, "volume:update"), ("role:main".to_owned(), place("policy.yaml", 3)));
    assert_eq!(in_force(&policy, "volume:create").1, "default");
    assert_eq!(live.status().files.len(), 3);
    assert_eq!(policy.overridden(), 3);
}

#[test]
fn files_that_are_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let live = LivePolicy::open(sources(&directory), true).unwrap();
    assert_eq!((live.current().overridden(), live.status().files.len()), (0, 0));
    let required = Sources { is_file_required: true, ..sources(&directory) };
    let error = LivePolicy::open(required, true).expect_err("it is not there").to_string();
    assert!(error.contains("policy.yaml: cannot be read: No such file"), "{error}");
    let length = usize::try_from(FILE_BYTES_MAX).unwrap() + 1;
    write(&directory, "policy.yaml", &"#".repeat(length));
    let error = LivePolicy::open(sources(&directory), true).expect_err("too large").to_string();
    assert!(error.contains("more than 1048576 bytes"), "{error}");
    fs::write(directory.path().join("policy.yaml"), [0xff, 0xfe]).unwrap();
    assert!(LivePolicy::open(sources(&directory), true).is_err(), "no text");
}

#[test]
fn a_wrong_file_leaves_the_rules_in_force() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "policy.yaml", "volume:get: '!'\n");
    let live = LivePolicy::open(sources(&directory), true).unwrap();
    let (reader, target) = (caller("u", "p", &["reader"]), ProjectId::from("p"));
    let reads = || live.current().allows(&reader, rule!("volume:get"), &target);
    assert!(!reads());
    assert!(live.reload_changed().is_none(), "nothing has changed");

    write(&directory, "policy.d/open.yaml", "volume:get: '@'\n");
    assert!(live.reload_changed().expect("a new file").is_ok());
    assert!(reads());

    for (wrong, reason) in [
        ("volume:get: role:x role:y\n", "policy.yaml:1: rule volume:get: expected 'and' or 'or' (at character 8)"),
        ("a: rule:b\nb: rule:a\n", "policy: rules that refer to each other in a circle: a → b → a"),
    ] {
        write(&directory, "policy.yaml", wrong);
        let error = live.reload().expect_err(wrong).to_string();
        assert!(error.ends_with(reason), "{error}");
        assert_eq!(live.status().error.as_deref(), Some(error.as_str()));
        assert!(reads(), "the rules that held before hold still");
        assert!(live.reload_changed().is_none(), "it is tried again only when it has changed again");
    }

    fs::remove_dir_all(directory.path().join("policy.d")).unwrap();
    write(&directory, "policy.yaml", "volume:get: role:reader\n");
    assert!(live.reload_changed().expect("changed").is_ok());
    assert_eq!(live.status().error, None);
    assert!(reads());
    fs::remove_file(directory.path().join("policy.yaml")).unwrap();
    assert!(live.reload_changed().expect("gone").is_ok());
    assert_eq!(live.current().rules()[0].origin, Origin::Default);
}

/// A request is judged by the rules that it began with.
#[test]
fn who_has_taken_the_rules_keeps_them() {
    let directory = tempfile::tempdir().unwrap();
    let live = LivePolicy::open(sources(&directory), true).unwrap();
    let (reader, target) = (caller("u", "p", &["reader"]), ProjectId::from("p"));
    let taken = live.current();
    write(&directory, "policy.yaml", "volume:get: '!'\n");
    live.reload().unwrap();
    assert!(taken.allows(&reader, rule!("volume:get"), &target));
    assert!(!live.current().allows(&reader, rule!("volume:get"), &target));
}

#[test]
fn the_sample_changes_nothing_and_says_every_default() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("config/policy.yaml")).unwrap();
    assert!(file_parse(&text, "policy.yaml".into()).unwrap().is_empty());
    let uncommented: String =
        text.lines().filter_map(|line| line.strip_prefix("#\"")).map(|line| format!("\"{line}\n")).collect();
    let sample = file_parse(&uncommented, "policy.yaml".into()).unwrap();
    let defaults = Policy::default();
    assert_eq!(sample.len(), defaults.rules().len());
    for rule in defaults.rules() {
        assert_eq!(sample[&*rule.name].text, rule.text, "{}", rule.name);
    }
}
