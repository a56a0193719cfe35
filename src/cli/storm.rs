//! `hearth storm`: arguments in, a storm with everything around it, exit code out.
//!
//! Prepare (volumes, servers) → run → audit → clean up → report. Nothing of it reads the settings: it works against any
//! endpoint.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde_json::json;

use crate::runtime::Randomness;
use crate::settings::parse_duration;
use crate::storm::client::Waits;
use crate::storm::endpoint::EndpointError;
use crate::storm::errand::{Session, volumes_make};
use crate::storm::variants::Variant;
use crate::storm::{
    AuditOptions, Cycle, DRAIN, Endpoint, Limit, Pace, Plan, Progress, Report, Service, Site, StormError, Unit, audit,
    plot,
};

/// Exit code when the volumes are not as they must be afterwards.
const EXIT_FINDINGS: u8 = 3;
/// Without `--duration`, `--requests` and `--cycles`.
const DURATION: Duration = Duration::from_secs(10);
/// `noauth` takes `user:project`: volumes of a storm have a project of their own.
const TOKEN: &str = "storm:storm";
/// The environment variable that OpenStack's own clients read.
const TOKEN_VARIABLE: &str = "OS_TOKEN";

/// Arguments of `hearth storm`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["variant", "cycle"])))]
pub struct Arguments {
    /// What the clients do: attachments (reserve, connect, complete, delete), compute (attach and detach through Compute),
    /// hot (everybody wants one volume), mixed (create, extend, attach, detach, delete), show, list.
    #[arg(value_parser = variant_parser())]
    variant: Option<Variant>,
    /// A cycle of your own instead of a variant: a JSON file.
    #[arg(long, value_name = "FILE")]
    cycle: Option<PathBuf>,

    /// Block Storage; without a path /v3.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8776", help_heading = "Where")]
    endpoint: String,
    /// Compute; without it /compute/v2.1 on the host of --endpoint.
    #[arg(long, value_name = "URL", help_heading = "Where")]
    compute_endpoint: Option<String>,
    /// Sent as X-Auth-Token. Better in the environment variable OS_TOKEN, since everybody can read a command line; without
    /// both "storm:storm", which `noauth` takes.
    #[arg(long, help_heading = "Where")]
    token: Option<String>,
    /// Block Storage's.
    #[arg(long, default_value = "3.44", help_heading = "Where")]
    microversion: String,
    /// Compute's.
    #[arg(long, default_value = "2.60", help_heading = "Where")]
    compute_microversion: String,

    /// Simulated clients, each with a connection of its own.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = "How much")]
    clients: u32,
    /// Threads of the load generator; it shares the machine with what it measures.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256), help_heading = "How much")]
    threads: u32,
    /// Open loop: rounds due a second, whatever the service does; latency counts from when a round was due. Without it every
    /// client begins its next round when its last one has ended.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate, help_heading = "How much")]
    rate: Option<f64>,
    /// How long, for example 30s. [default: 10s]
    #[arg(long, value_parser = parse_duration, conflicts_with_all = ["requests", "cycles"], help_heading = "How much")]
    duration: Option<Duration>,
    /// Begin no round after so many requests.
    #[arg(long, value_name = "COUNT", conflicts_with = "cycles", help_heading = "How much")]
    requests: Option<u64>,
    /// Exactly so many rounds.
    #[arg(long, value_name = "COUNT", help_heading = "How much")]
    cycles: Option<u64>,
    /// At the beginning, not measured.
    #[arg(long, default_value = "0s", value_parser = parse_duration, conflicts_with_all = ["requests", "cycles"], help_heading = "How much")]
    warmup: Duration,

    /// Volumes to make and use. [default: one for each client; hot, show and list: 1]
    #[arg(long, value_name = "COUNT", help_heading = "On what")]
    volumes: Option<u32>,
    /// Size of each, GiB.
    #[arg(long, default_value_t = 1, value_name = "GIB", help_heading = "On what")]
    size: u32,
    /// compute: an existing server to attach to; repeatable. Without it one server for each client is registered at
    /// /admin/servers, which only Hearth has.
    #[arg(long = "server", value_name = "ID", help_heading = "On what")]
    servers: Vec<String>,
    /// compute: the hypervisor of servers that are registered: none (their hosts connect by themselves) or sim.
    #[arg(long, default_value = "none", value_parser = ["none", "sim"], help_heading = "On what")]
    hypervisor: String,
    /// Leave the volumes and servers there.
    #[arg(long, help_heading = "On what")]
    keep: bool,

    /// How long a request may take.
    #[arg(long, default_value = "60s", value_parser = parse_duration, help_heading = "Waiting")]
    timeout: Duration,
    /// Between two looks at a volume that is to reach a status: latencies of such steps are no more precise than that.
    #[arg(long, default_value = "5ms", value_parser = parse_duration, help_heading = "Waiting")]
    poll: Duration,
    /// How long the volumes may take to become stable afterwards.
    #[arg(long, default_value = "30s", value_parser = parse_duration, help_heading = "Waiting")]
    settle: Duration,

    /// Write everything measured as JSON; "-" is standard output, in place of the table.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    json: Option<PathBuf>,
    /// Draw throughput and latency over time.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    svg: Option<PathBuf>,
}

fn variant_parser() -> impl clap::builder::TypedValueParser<Value = Variant> {
    let names = Variant::ALL.iter().map(|(name, _)| *name);
    PossibleValuesParser::new(names).map(|name| {
        let found = Variant::ALL.iter().find(|(known, _)| *known == name);
        found.expect("one of the possible values").1
    })
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("a number above zero".to_owned()),
    }
}

/// The storm cannot be.
#[derive(Debug, thiserror::Error)]
enum StormFailure {
    /// Arguments that do not go together.
    #[error("{0}")]
    Arguments(String),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Storm(#[from] StormError),
    #[error("{} cannot be written", path.display())]
    Output { path: PathBuf, source: io::Error },
}

/// Everything that is known before the first request.
struct Setting {
    site: Site,
    waits: Waits,
    clients: usize,
    /// The name of the storm's volumes, and no others.
    name: String,
    /// None: a cycle of the user's own.
    variant: Option<Variant>,
    own_cycle: Option<Cycle>,
    /// To be made before.
    volumes: usize,
}

/// Storms, reports, and says whether all was well.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let ended = setting(arguments).and_then(|setting| storm(arguments, &setting));
    match ended {
        Ok(code) => code,
        Err(error @ (StormFailure::Arguments(_) | StormFailure::Endpoint(_))) => {
            super::failure(&error);
            ExitCode::from(super::EXIT_SETTINGS)
        }
        Err(error) => super::failure(&error),
    }
}

fn setting(arguments: &Arguments) -> Result<Setting, StormFailure> {
    let block_storage = Endpoint::parse(&arguments.endpoint, "/v3")?;
    let compute = match &arguments.compute_endpoint {
        Some(text) => Endpoint::parse(text, "/compute/v2.1")?,
        None => Endpoint { path: "/compute/v2.1".to_owned(), ..block_storage.clone() },
    };
    let of_environment = || std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
    let token = arguments.token.clone().or_else(of_environment).unwrap_or_else(|| TOKEN.to_owned());
    let versions = format!("volume {}, compute {}", arguments.microversion, arguments.compute_microversion);
    let headers =
        [("X-Auth-Token", token), ("OpenStack-API-Version", versions), ("Accept", "application/json".to_owned())];
    let own_cycle = arguments.cycle.as_deref().map(read_cycle).transpose()?;
    let clients = arguments.clients as usize;
    let asked = arguments.volumes.map(|count| count as usize);
    Ok(Setting {
        site: Site { block_storage, compute, headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec() },
        waits: Waits { timeout: arguments.timeout, poll: arguments.poll, ..Waits::default() },
        clients,
        name: format!("storm-{}", Randomness::from_os().uuid()),
        volumes: match arguments.variant {
            Some(variant) => variant.volumes(asked, clients).map_err(StormFailure::Arguments)?,
            None => asked.unwrap_or(0),
        },
        variant: arguments.variant,
        own_cycle,
    })
}

fn read_cycle(path: &Path) -> Result<Cycle, StormFailure> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
    text.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()))
        .map_err(|error| StormFailure::Arguments(format!("{} is no cycle: {error}", path.display())))
}

fn storm(arguments: &Arguments, setting: &Setting) -> Result<ExitCode, StormFailure> {
    let site = &setting.site;
    let mut session = Session::new(site, setting.waits)?;
    // nobody listening, or a token that is refused, is told before anything is made
    let is_own = setting.own_cycle.is_some() && setting.volumes == 0;
    if !is_own {
        session.get(Service::BlockStorage, "/volumes?limit=1")?;
    }
    let mut servers = Servers::default();
    let stormed = prepared(arguments, setting, &mut session, &mut servers).and_then(|(cycle, units)| {
        let plan = plan(arguments, setting, cycle, units);
        let stop = stop_by_signal();
        let mut report = crate::storm::run(&plan, &stop, &mut show_progress())?;
        if !is_own {
            let name = setting.name.clone();
            let units = plan.units.clone();
            let options = AuditOptions { name, units, settle: arguments.settle, waits: setting.waits };
            report.audit = Some(audit::audit(site, &options, &plan.cycle, &report)?);
        }
        Ok(report)
    });
    let mut stuck = Vec::new();
    if !is_own && !arguments.keep {
        // what failed before is told first: it is why something may be stuck
        match audit::clean_up(site, &setting.name, setting.clients, setting.waits) {
            Ok(left) => stuck = left,
            Err(error) => stuck.push(error.to_string()),
        }
        stuck.extend(servers.remove(&mut session));
    }
    let ended = stormed.and_then(|report| {
        write_outputs(arguments, &report)?;
        Ok(verdict(&report))
    });
    for text in &stuck {
        eprintln!("hearth: {text}");
    }
    match ended {
        Ok(code) if code == ExitCode::SUCCESS && !stuck.is_empty() => Ok(ExitCode::FAILURE),
        other => other,
    }
}

/// The cycle and what it works on.
fn prepared(
    arguments: &Arguments,
    setting: &Setting,
    session: &mut Session,
    servers: &mut Servers,
) -> Result<(Cycle, Vec<Unit>), StormFailure> {
    let Setting { site, waits, clients, name, .. } = setting;
    let mut units = volumes_make(site, name, arguments.size, setting.volumes, *clients, *waits)?;
    if setting.variant == Some(Variant::Compute) {
        let ids = match &arguments.servers[..] {
            [] => servers.register(session, arguments, setting)?,
            known => known.to_vec(),
        };
        for (unit, server) in units.iter_mut().zip(ids.iter().cycle()) {
            unit.insert("server".to_owned(), server.clone());
        }
    }
    if setting.variant == Some(Variant::Mixed) {
        units.push(Unit::from([("name".to_owned(), name.clone())]));
    }
    let cycle = match (&setting.own_cycle, setting.variant) {
        (Some(cycle), _) => cycle.clone(),
        (None, Some(variant)) => {
            let has_snapshots = variant == Variant::Mixed
                && session.ask(Service::BlockStorage, "GET", "/snapshots?limit=1", None)?.0 == 200;
            variant.cycle(has_snapshots)
        }
        (None, None) => return Err(StormFailure::Arguments("neither a variant nor a cycle".to_owned())),
    };
    Ok((cycle, units))
}

/// The servers that were registered for the storm.
#[derive(Default)]
struct Servers(Vec<String>);

impl Servers {
    fn register(
        &mut self,
        session: &mut Session,
        arguments: &Arguments,
        setting: &Setting,
    ) -> Result<Vec<String>, StormFailure> {
        // they must belong to the volumes' project, which only the service knows from the token
        let token = setting.site.headers[0].1.clone();
        let project = token.split_once(':').map_or("admin", |(_, project)| project);
        for number in 0..setting.clients {
            let body = json!({"server": {
                "name": format!("{}-{number}", setting.name),
                "project_id": project,
                "host": format!("storm-{number}"),
                "hypervisor": arguments.hypervisor,
                "vm_state": "active",
            }});
            let (status, answer) = session.ask(Service::Root, "POST", "/admin/servers", Some(&body))?;
            match answer["server"]["id"].as_str() {
                Some(id) if status == 201 => self.0.push(id.to_owned()),
                _ => {
                    return Err(StormFailure::Storm(StormError::Errand(format!(
                        "no server can be registered (POST /admin/servers: {status} {answer}); name existing ones with \
                         --server"
                    ))));
                }
            }
        }
        Ok(self.0.clone())
    }

    /// What could not be removed.
    fn remove(&self, session: &mut Session) -> Vec<String> {
        let mut stuck = Vec::new();
        for id in &self.0 {
            match session.ask(Service::Root, "DELETE", &format!("/admin/servers/{id}"), None) {
                Ok((200..300 | 404, _)) => {}
                Ok((status, body)) => stuck.push(format!("server {id} cannot be removed: {status} {body}")),
                Err(error) => stuck.push(format!("server {id} cannot be removed: {error}")),
            }
        }
        stuck
    }
}

fn plan(arguments: &Arguments, setting: &Setting, cycle: Cycle, units: Vec<Unit>) -> Plan {
    Plan {
        site: setting.site.clone(),
        cycle,
        units,
        clients: setting.clients,
        threads: arguments.threads as usize,
        pace: arguments.rate.map_or(Pace::Closed, |per_second| Pace::Open { per_second }),
        limit: match (arguments.requests, arguments.cycles) {
            (Some(count), _) => Limit::Requests(count),
            (None, Some(count)) => Limit::Cycles(count),
            (None, None) => Limit::Duration(arguments.duration.unwrap_or(DURATION)),
        },
        warmup: arguments.warmup,
        drain: DRAIN,
        waits: setting.waits,
    }
}

/// Set by the first Ctrl-C, so that the storm still ends with its report and leaves nothing behind; the second one ends the
/// process.
fn stop_by_signal() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    // without the thread Ctrl-C ends the process at once, as it does everywhere
    let _ = std::thread::Builder::new().name("storm-signal".to_owned()).spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            told.store(true, Ordering::Relaxed);
            // SAFETY: gives the signal its default effect back; no handler of ours is left in use
            unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        }
    });
    stop
}

/// One line on a terminal, written over every second.
fn show_progress() -> impl FnMut(&Progress<'_>) {
    let is_shown = io::stderr().is_terminal();
    move |progress| {
        if is_shown {
            let second = progress.last;
            let warmup = if progress.is_warmup { " (warm-up)" } else { "" };
            #[expect(clippy::cast_precision_loss, reason = "microseconds, far below 2^53")]
            let p99 = second.latency_us.p99 as f64 / 1_000.0;
            eprint!(
                "\r\x1b[K{:.0} s{warmup}: {:.0} requests/s, {:.0} cycles/s, p99 {p99:.1} ms, {} failed",
                second.at, second.requests_per_second, second.cycles_per_second, second.failed
            );
            // the end of the line is the storm's report
            let _ = io::stderr().flush();
        }
    }
}

fn write_outputs(arguments: &Arguments, report: &Report) -> Result<(), StormFailure> {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    let json = || serde_json::to_string_pretty(report).expect("a report has text keys") + "\n";
    let is_stdout = arguments.json.as_deref() == Some(Path::new("-"));
    // a reader that has seen enough (`| head`) is no failure
    let _ = io::stdout().write_all(if is_stdout { json() } else { report.to_string() }.as_bytes());
    let files = [(arguments.json.as_ref().filter(|_| !is_stdout), json()), (arguments.svg.as_ref(), plot::svg(report))];
    for (path, text) in files {
        if let Some(path) = path {
            std::fs::write(path, text).map_err(|source| StormFailure::Output { path: path.clone(), source })?;
        }
    }
    Ok(())
}

/// Tells what the audit found, and the exit code.
fn verdict(report: &Report) -> ExitCode {
    let Some(audit) = &report.audit else {
        return if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    };
    for finding in &audit.findings {
        eprintln!("audit: {finding}");
    }
    if audit.more > 0 {
        eprintln!("audit: {} more", audit.more);
    }
    if !audit.is_clean() {
        eprintln!("audit: {} volumes, {} findings", audit.volumes, audit.findings.len() + audit.more);
        return ExitCode::from(EXIT_FINDINGS);
    }
    eprintln!("audit: {} volumes, all available, nothing left over, counts equal", audit.volumes);
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
