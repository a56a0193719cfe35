//! The policy of the shipped binary: files at start, on SIGHUP, and after they have changed; its command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use super::hearth::{Environment, Hearth, run, wait_until};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("temporary directory");
    let file = folder.path().join("policy.yaml");
    (folder, file)
}

fn environment(file: &Path) -> Environment {
    Environment::default().set("policy.file", file.to_str().expect("utf-8"))
}

async fn status(hearth: &Hearth) -> u16 {
    hearth.ask(Method::GET, "/v3/volumes", None).await.expect("an answer").0
}

async fn error(hearth: &Hearth) -> Value {
    hearth.admin(Method::GET, "/admin/policy", None).await["policy"]["error"].clone()
}

/// Requests go on all the while, and each is answered by the rules of before or after.
#[tokio::test]
async fn sighup_reads_the_policy_again_and_a_wrong_file_changes_nothing() {
    let (_folder, file) = folder();
    fs::write(&file, "volume:get_all: '@'\n").expect("written");
    let hearth = Hearth::start(environment(&file)).await;
    assert_eq!(status(&hearth).await, 200);

    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let clients = async {
        while !over.load(Ordering::Relaxed) {
            let found = status(&hearth).await;
            assert!(matches!(found, 200 | 403), "{found}");
            asked.fetch_add(1, Ordering::Relaxed);
        }
    };
    let operator = async {
        for round in 0..10 {
            let (rule, expected) = if round % 2 == 0 { ("!", 403) } else { ("@", 200) };
            // as long and as old as before: only the signal tells that there is something new
            let age = fs::metadata(&file).and_then(|data| data.modified()).expect("an age");
            fs::write(&file, format!("volume:get_all: '{rule}'\n")).expect("written");
            fs::File::options().write(true).open(&file).and_then(|file| file.set_modified(age)).expect("aged");
            hearth.hang_up();
            wait_until("the file is in force", async || status(&hearth).await == expected).await;
        }
        fs::write(&file, "volume:get_all: '!\n").expect("written");
        hearth.hang_up();
        wait_until("the mistake is told", async || error(&hearth).await.is_string()).await;
        assert_eq!(status(&hearth).await, 200);
        let told = error(&hearth).await.as_str().expect("a text").to_owned();
        assert!(told.starts_with(&format!("{}:", file.display())), "{told}");
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(clients, operator);
    assert!(asked.load(Ordering::Relaxed) > 10);

    // nobody says that it has changed
    fs::write(&file, "# mended\nvolume:get_all: '!'\n").expect("written");
    wait_until("the change is noticed", async || status(&hearth).await == 403).await;
    assert_eq!(error(&hearth).await, Value::Null);
    let (status, _) = hearth.terminate().await;
    assert_eq!(status.code(), Some(0), "{status}");
}

#[tokio::test]
async fn a_policy_that_cannot_be_used_is_refused_like_wrong_settings() {
    let (folder, file) = folder();
    let state = folder.path().join("state");
    let environment = environment(&file).set("state.path", state.to_str().expect("utf-8"));
    for (text, reason) in [
        (None, "cannot be read: No such file"),
        (Some("volume:get: role:a or\nx: '@'\n"), "policy.yaml:1: rule volume:get: the expression ends"),
        (Some("a: rule:b\nb: rule:a\n"), "refer to each other in a circle: a → b → a"),
    ] {
        if let Some(text) = text {
            fs::write(&file, text).expect("written");
        }
        for command in ["serve", "check-config"] {
            let output = run(&environment, &[command]).await;
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{command}: {stderr}");
            assert!(stderr.contains(reason), "{command}: {stderr}");
        }
    }
    assert!(!state.join("hearth.db").exists(), "nothing was begun");
}

/// `policy.yaml` beside the settings file is taken without being named.
#[tokio::test]
async fn decisions_are_explained() {
    let (folder, file) = folder();
    let settings = folder.path().join("hearth.toml");
    fs::write(
        &settings,
        "state.path = \"/nonexistent-but-unused\"\n[[auth.tokens]]\ntoken = \"t\"\nuser = \"mia\"\nproject = \"p\"\nroles = [\"member\"]\n"
            .replace("/nonexistent-but-unused", folder.path().join("state").to_str().expect("utf-8")),
    )
    .expect("written");
    fs::write(&file, "volume:delete: rule:mine or role:janitor\nmine: user_id:%(user_id)s\nvolume:gte: '@'\n")
        .expect("written");
    fs::create_dir(folder.path().join("policy.d")).expect("made");
    fs::write(folder.path().join("policy.d/more.yaml"), "volume:update: '!'\n").expect("written");
    let settings = settings.to_str().expect("utf-8");
    let hearth = async |arguments: &[&str]| {
        let all = [&["policy", arguments[0], "--config", settings], &arguments[1..]].concat();
        let output = run(&Environment::default(), &all).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };

    let own = hearth(&["check", "--token", "t", "volume:delete"]).await;
    let place = |name: &str, line: usize| format!("{}:{line}", folder.path().join(name).display());
    let expected = format!(
        "allowed: volume:delete for user mia of project p (roles: member, reader; is_admin: false)\n  \
         volume:delete = \"rule:mine or role:janitor\": true (overridden at {})\n    \
         mine = \"user_id:%(user_id)s\": true (overridden at {})\n      \
         user_id:%(user_id)s: true (the caller's is \"mia\"; it has to be \"mia\")\n",
        place("policy.yaml", 1),
        place("policy.yaml", 2)
    );
    assert_eq!(own, (Some(0), expected, String::new()));

    let foreign = hearth(&[
        "check",
        "--roles",
        "member,Reader",
        "--project",
        "p",
        "--user",
        "u",
        "--target",
        "user_id=v,project_id=p",
        "volume:delete",
    ]);
    let (code, stdout, _) = foreign.await;
    assert_eq!(code, Some(3), "{stdout}");
    for line in [
        "denied: volume:delete for user u of project p (roles: member, reader; is_admin: false)",
        "      user_id:%(user_id)s: false (the caller's is \"u\"; it has to be \"v\")",
        "    role:janitor: false (the caller has member, reader)",
    ] {
        assert!(stdout.lines().any(|found| found == line), "{line:?} in\n{stdout}");
    }
    // by the default rules: through two of them to the check that decided
    let (code, stdout, _) =
        hearth(&["check", "--roles", "member", "--project", "q", "--target", "project_id=p", "volume:extend"]).await;
    assert_eq!(code, Some(3), "{stdout}");
    assert!(
        stdout.contains("volume:extend = \"rule:xena_system_admin_or_project_member\": false (default)"),
        "{stdout}"
    );
    assert!(
        stdout.contains("project_id:%(project_id)s: false (the caller's is \"q\"; it has to be \"p\")"),
        "{stdout}"
    );
    assert!(!stdout.contains("role:member: true"), "what was true did not decide: {stdout}");

    let (code, _, stderr) = hearth(&["check", "volume:gets"]).await;
    assert_eq!((code, stderr.as_str()), (Some(1), "hearth: there is no rule volume:gets, and none named default\n"));

    let (code, stdout, _) = hearth(&["list", "--changed"]).await;
    assert_eq!(code, Some(0));
    let expected = format!(
        "# volume:gte is no rule that Hearth asks, and no rule refers to it (overridden at {})\n\
         \"volume:update\": \"!\"  # overridden at {}\n\
         \"volume:delete\": \"rule:mine or role:janitor\"  # overridden at {}\n\
         \"mine\": \"user_id:%(user_id)s\"  # overridden at {}\n\
         \"volume:gte\": \"@\"  # overridden at {}\n",
        place("policy.yaml", 3),
        place("policy.d/more.yaml", 1),
        place("policy.yaml", 1),
        place("policy.yaml", 2),
        place("policy.yaml", 3)
    );
    assert_eq!(stdout, expected);
    let (_, stdout, _) = hearth(&["list"]).await;
    assert!(stdout.contains("\"volume:force_delete\": \"rule:admin_api\"  # default\n"), "{stdout}");
    assert_eq!(stdout.lines().filter(|line| line.starts_with('"')).count(), 209);
}
