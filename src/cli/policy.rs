//! `hearth policy list|check`: the rules in force, and why a caller passes one or does not.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::auth;
use crate::domain::ids::{ProjectId, RequestId, UserId};
use crate::identity::{Presented, RequestContext, Scope, Strategy};
use crate::policy::files::Sources;
use crate::policy::live::PolicyError;
use crate::policy::{LivePolicy, Policy, Target};
use crate::settings::{AuthStrategy, Loaded, Settings};
use crate::telemetry::Metrics;

/// Exit code of `check` when the caller does not pass.
const EXIT_DENIED: u8 = 3;

/// What to tell.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Every rule in force, as a policy file, with where each comes from.
    List {
        /// Only those that differ from their defaults.
        #[arg(long)]
        changed: bool,
    },
    /// Whether a caller passes a rule, and which part of it decided. Exit code 0: allowed, 3: denied.
    Check(Box<Check>),
}

/// A caller, a target and a rule.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Who asks, by a token that the service would take.
    #[arg(long, conflicts_with_all = ["roles", "user", "is_admin_project", "domain", "system_scope", "service_roles"])]
    token: Option<String>,
    /// The caller's roles.
    #[arg(long, value_delimiter = ',')]
    roles: Vec<String>,
    /// The caller's project; with a token, the one of the URL.
    #[arg(long)]
    project: Option<String>,
    /// The caller.
    #[arg(long, default_value = "user")]
    user: String,
    /// The domain that the caller's token is for.
    #[arg(long)]
    domain: Option<String>,
    /// `all`: the caller's token is for the whole system.
    #[arg(long)]
    system_scope: Option<String>,
    /// Whether the caller's project is one whose admins are the cloud's.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    is_admin_project: bool,
    /// Roles of a service token.
    #[arg(long, value_delimiter = ',')]
    service_roles: Vec<String>,
    /// Columns of the object, `project_id=P,user_id=U`; without it, the caller's own project and user.
    #[arg(long, value_delimiter = ',', value_parser = column)]
    target: Vec<(String, String)>,
    /// The rule.
    rule: String,
}

fn column(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads the policy that these settings name.
pub(super) fn open(loaded: &Loaded) -> Result<LivePolicy, PolicyError> {
    let written = &loaded.settings.policy;
    let beside = |name: &str| loaded.directory.as_deref().map(|directory: &Path| directory.join(name));
    let sources = Sources {
        is_file_required: written.file.is_some(),
        file: written.file.clone().or_else(|| beside("policy.yaml")),
        directory: written.directory.clone().or_else(|| beside("policy.d")),
    };
    LivePolicy::open(sources, written.enforce_new_defaults)
}

/// Runs one action.
pub(super) fn run(settings: &Settings, policy: &LivePolicy, action: &Action) -> ExitCode {
    let policy = policy.current();
    match action {
        Action::List { changed } => {
            print!("{}", listed(&policy, *changed));
            ExitCode::SUCCESS
        }
        Action::Check(check) => match explained(settings, &policy, check) {
            Ok((allowed, text)) => {
                print!("{text}");
                if allowed { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DENIED) }
            }
            Err(reason) => {
                eprintln!("hearth: {reason}");
                ExitCode::FAILURE
            }
        },
    }
}

fn listed(policy: &Policy, changed_alone: bool) -> String {
    let warnings = policy.warnings().iter().map(|warning| format!("# {warning}\n"));
    let rules = policy.rules().iter().filter(|rule| !changed_alone || rule.origin.is_override());
    let rules = rules.map(|rule| {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        format!("{}: {}  # {}\n", quoted(&rule.name), quoted(&rule.text), rule.origin)
    });
    warnings.chain(rules).collect()
}

fn explained(settings: &Settings, policy: &Policy, check: &Check) -> Result<(bool, String), String> {
    let mut context = match &check.token {
        Some(token) => {
            let presented =
                Presented { token: Some(token), url_project: check.project.as_deref(), ..Presented::default() };
            let strategy = strategy(settings)?;
            let id = RequestId::from("req-policy-check");
            let found = actix_web::rt::System::new().block_on(strategy.authenticate(presented, &id));
            found.map_err(|refusal| format!("the service would not take this token: {refusal}"))?
        }
        None => check.caller(settings),
    };
    context.is_admin = context.is_admin || policy.is_admin(&context);
    let target = Columns::of(&check.target, &context);
    let missing = || format!("there is no rule {}, and none named default", check.rule);
    let decision = policy.explain(&check.rule, &context, &target).ok_or_else(missing)?;
    let outcome = if decision.allowed { "allowed" } else { "denied" };
    let roles = if context.roles.is_empty() { "none".to_owned() } else { context.roles.join(", ") };
    let mut text = format!(
        "{outcome}: {} for user {} of project {} (roles: {roles}; is_admin: {})\n",
        check.rule, context.user_id, context.project_id, context.is_admin
    );
    for reason in decision.reasons {
        text.push_str(&format!("  {reason}\n"));
    }
    Ok((decision.allowed, text))
}

/// Who knows what a token is worth. Changes nothing, and makes no files.
fn strategy(settings: &Settings) -> Result<Strategy, String> {
    match settings.auth.strategy {
        AuthStrategy::Basic => Err("nobody has a token by this strategy: use --roles".to_owned()),
        AuthStrategy::Local if !settings.auth.local.path.is_dir() => {
            Err(format!("{} is not there: the service has never run", settings.auth.local.path.display()))
        }
        AuthStrategy::Local => {
            let local = auth::open_local(&settings.auth, String::new()).map_err(|error| error.to_string())?;
            Ok(Strategy::Local(Arc::new(local)))
        }
        AuthStrategy::Noauth | AuthStrategy::Keystone => {
            let auth = auth::strategy(settings, settings.server.listen, &Metrics::default());
            Ok(auth.map_err(|error| error.to_string())?.strategy)
        }
    }
}

impl Check {
    /// The caller that the arguments describe: with these roles and no others.
    fn caller(&self, settings: &Settings) -> RequestContext {
        let lower = |roles: &[String]| roles.iter().map(|role| role.to_lowercase()).collect::<Vec<_>>();
        let service_roles = lower(&self.service_roles);
        RequestContext {
            user_id: UserId::from(self.user.as_str()),
            project_id: ProjectId::from(self.project.as_deref().unwrap_or(&settings.auth.noauth_project)),
            roles: lower(&self.roles).into(),
            is_admin: false,
            is_service: service_roles.iter().any(|role| role == "service"),
            scope: Arc::new(Scope {
                domain_id: self.domain.clone(),
                system_scope: self.system_scope.clone(),
                is_admin_project: self.is_admin_project,
                service_roles,
                ..Scope::default()
            }),
            request_id: RequestId::from("req-policy-check"),
        }
    }
}

/// The target of the arguments.
struct Columns<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Columns<'a> {
    /// What is not said is the caller's own.
    fn of(columns: &'a [(String, String)], context: &'a RequestContext) -> Self {
        let own = [("project_id", context.project_id.as_str()), ("user_id", context.user_id.as_str())];
        let said = columns.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Self(own.into_iter().chain(said).collect())
    }
}

impl Target for Columns<'_> {
    fn project_id(&self) -> &str {
        self.0.get("project_id").copied().unwrap_or_default()
    }

    fn user_id<'a>(&'a self, _: &'a RequestContext) -> Option<&'a str> {
        self.0.get("user_id").copied()
    }

    fn column(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.get(name).map(|value| Cow::Borrowed(*value))
    }
}
