//! The volumes of a fill, each led through its life by the same decisions that a service makes, so that a record differs in
//! nothing from one that a service has written.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::FillOptions;
use crate::domain::backend::{Answer, Cause, CauseKind, Outcome, Request};
use crate::domain::ids::{ProjectId, ServerId, VolumeId, VolumeTypeId};
use crate::domain::operation::Requester;
use crate::domain::quota::Limits;
use crate::domain::time::Timestamp;
use crate::domain::volume::command::CreateVolume;
use crate::domain::volume::{Caller, Command, Facts, Job, Verdict, VolumeState, decide};
use crate::runtime::Randomness;

/// Steps that a life takes at most until nothing is open.
const STEPS_MAX: usize = 16;
/// Between two steps of a life.
const STEP_TIME: Duration = Duration::from_millis(150);
/// What volumes are for.
const ROLES: [&str; 8] = ["root", "data", "db", "logs", "cache", "backup", "pvc", "scratch"];
const ENVIRONMENTS: [&str; 4] = ["prod", "staging", "dev", "ci"];
/// Volumes that make up one deployment, and share the number in their names.
const DEPLOYMENT: u64 = 12;

/// In which operations volumes are left open, in turn.
pub const OPEN_KINDS: [&str; 5] = ["create", "connect", "extend", "disconnect", "delete"];

/// A decision was not the one that was counted on: the rules have changed and the fill has not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{command} of a filled volume was not decided as a commit: {verdict}")]
pub struct Undecided {
    command: &'static str,
    verdict: String,
}

/// Makes one volume after the other.
pub(super) struct Builder<'a> {
    options: &'a FillOptions,
    type_id: Option<VolumeTypeId>,
    randomness: &'a Randomness,
    made: u64,
}

/// How far a volume is led.
enum Fate {
    Available,
    InUse,
    Error,
    /// Left with an open operation of this kind.
    Open(&'static str),
}

/// A volume under way: its state, the jobs that its last decision started, and its clock.
struct Life<'a> {
    id: VolumeId,
    caller: Caller,
    state: Option<Arc<VolumeState>>,
    jobs: Vec<Job>,
    now: Timestamp,
    randomness: &'a Randomness,
}

impl<'a> Builder<'a> {
    pub(super) fn new(options: &'a FillOptions, type_id: Option<VolumeTypeId>, randomness: &'a Randomness) -> Self {
        Self { options, type_id, randomness, made: 0 }
    }

    /// The next volume, a little younger than the one before.
    pub(super) fn next(&mut self) -> Result<VolumeState, Undecided> {
        let number = self.made;
        self.made += 1;
        let fate = self.fate(number);
        let project =
            ProjectId::from(format!("fill-{}", self.randomness.below(u64::from(self.options.projects.max(1)))));
        let requester = Requester {
            request_id: format!("req-{}", self.randomness.uuid()).into(),
            user_id: format!("{project}-user").into(),
            project_id: project,
        };
        let mut life = Life {
            id: VolumeId(self.randomness.uuid()),
            caller: Caller { requester, is_admin: false, is_service: false },
            state: None,
            jobs: Vec::new(),
            now: self.born(number, &fate),
            randomness: self.randomness,
        };
        life.ask(Command::Create(Box::new(self.request(number, life.id))))?;
        match fate {
            Fate::Open("create") => {}
            Fate::Error => {
                let cause = Cause::new(CauseKind::NoSpace, "the backend has no room");
                life.answer(&|_| Outcome::Refused { cause: cause.clone() })?;
            }
            Fate::Available => life.work()?,
            Fate::InUse => life.attach(number)?,
            Fate::Open("connect") => {
                life.work()?;
                life.ask(life.connect(number))?;
            }
            Fate::Open("extend") => {
                life.work()?;
                let new_size_gib = self.options.size_gib + 1;
                life.ask(Command::Extend { new_size_gib, in_use_allowed: true })?;
            }
            Fate::Open("disconnect") => {
                life.attach(number)?;
                life.ask(Command::AttachmentDelete { attachment_id: life.attachment_id()? })?;
            }
            Fate::Open(_) => {
                life.work()?;
                life.ask(Command::Delete { force: false, cascade: false })?;
            }
        }
        let state = life.state.map(Arc::unwrap_or_clone);
        state.ok_or(Undecided { command: "create", verdict: "nothing".to_owned() })
    }

    /// The volumes with open operations are the youngest: they are what was under way when the process died.
    fn fate(&self, number: u64) -> Fate {
        let settled = self.options.volumes.saturating_sub(self.options.open_operations);
        if let Some(index) = number.checked_sub(settled) {
            let kinds = OPEN_KINDS.len() as u64;
            return Fate::Open(OPEN_KINDS[usize::try_from(index % kinds).unwrap_or(0)]);
        }
        let lot = self.randomness.below(100);
        let attached = u64::from(self.options.attached_percent);
        match lot {
            _ if lot < attached => Fate::InUse,
            _ if lot < attached + u64::from(self.options.error_percent) => Fate::Error,
            _ => Fate::Available,
        }
    }

    /// Evenly over the span, oldest first, with a jitter of one interval; what is under way began just now.
    fn born(&self, number: u64, fate: &Fate) -> Timestamp {
        let now = self.options.now.0;
        if let Fate::Open(_) = fate {
            return Timestamp(now);
        }
        let span = u64::try_from(self.options.span.as_micros()).unwrap_or(u64::MAX);
        let interval = span / self.options.volumes.max(1);
        let age = span - number * interval - self.randomness.below(interval.max(1));
        Timestamp(now.saturating_sub_unsigned(age))
    }

    fn request(&self, number: u64, volume_id: VolumeId) -> CreateVolume {
        let pick = |words: &[&str]| {
            let index = usize::try_from(self.randomness.below(words.len() as u64)).unwrap_or(0);
            words[index].to_owned()
        };
        let (role, environment) = (pick(&ROLES), pick(&ENVIRONMENTS));
        let deployment = number / DEPLOYMENT;
        let metadata =
            [("environment", environment.clone()), ("role", role.clone()), ("deployment", deployment.to_string())];
        let hosts = &self.options.hosts;
        let host = usize::try_from(number).ok().and_then(|number| hosts.get(number % hosts.len().max(1)));
        CreateVolume {
            volume_id,
            size_gib: self.options.size_gib,
            name: Some(format!("{environment}-{deployment:06}-{role}-{}", number % DEPLOYMENT)),
            description: number.is_multiple_of(4).then(|| format!("{role} of deployment {deployment} ({environment})")),
            metadata: metadata.into(),
            volume_type_id: self.type_id,
            type_revision: None,
            multiattach: false,
            availability_zone: self.options.availability_zone.clone(),
            host: host.cloned(),
            wanted: None,
            bootable: false,
            origin: None,
            image: None,
            adopts: None,
        }
    }
}

impl Life<'_> {
    /// Lets a command be decided, and takes its outcome as committed.
    fn ask(&mut self, command: Command) -> Result<(), Undecided> {
        let facts = Facts {
            now: self.now,
            ids: std::array::from_fn(|_| self.randomness.uuid()),
            limits: Limits::NONE,
            drain_deadline: Duration::from_secs(30),
            hosts: Default::default(),
            compute: Default::default(),
        };
        match decide(self.id, self.state.as_deref(), &command, &self.caller, &facts) {
            Verdict::Commit(decision) => {
                self.state = Some(decision.next);
                self.jobs = decision.jobs;
                self.now = self.now.plus(STEP_TIME);
                Ok(())
            }
            other => Err(Undecided { command: command.name(), verdict: format!("{other:?}") }),
        }
    }

    /// The backend does what was asked of it, until nothing is open.
    fn work(&mut self) -> Result<(), Undecided> {
        self.answer(&|request| match request {
            Request::Create { size_gib } => Outcome::Done { answer: Answer::Size { size_gib: *size_gib } },
            Request::Export { export, mode, .. } => {
                // in the form that the file backend gives; clients read it, and nothing in the service does
                let info = json!({
                    "driver_volume_type": "nbd",
                    "export": export.as_str(),
                    "access_mode": mode.as_str(),
                });
                Outcome::Done { answer: Answer::Connection { info } }
            }
            _ => Outcome::done(),
        })
    }

    /// Answers the backend calls of the last decision, and of those that follow from it.
    fn answer(&mut self, outcome_of: &dyn Fn(&Request) -> Outcome) -> Result<(), Undecided> {
        for _ in 0..STEPS_MAX {
            let asked = self.jobs.iter().find_map(|job| match job {
                Job::Step { ticket, call: Some(call), .. } => Some((ticket.clone(), outcome_of(&call.request))),
                _ => None,
            });
            let Some((ticket, outcome)) = asked else { return Ok(()) };
            self.ask(Command::JobResult { ticket, outcome })?;
        }
        Err(Undecided { command: "job_result", verdict: format!("still open: {:?}", self.jobs) })
    }

    /// From its creation to in-use, as a host does it that connects itself.
    fn attach(&mut self, number: u64) -> Result<(), Undecided> {
        self.work()?;
        self.ask(self.connect(number))?;
        self.work()?;
        self.ask(Command::AttachmentComplete { attachment_id: self.attachment_id()? })
    }

    fn connect(&self, number: u64) -> Command {
        let host = format!("compute-{:03}", number % 500);
        let connector: Value = json!({
            "host": host,
            "ip": format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255),
            "initiator": format!("iqn.1994-05.com.redhat:{host}"),
            "platform": "x86_64",
            "os_type": "linux",
            "multipath": false,
            "mountpoint": "/dev/vdb",
        });
        let instance_uuid = Some(ServerId::from(self.randomness.uuid().to_string()));
        Command::AttachmentCreate { instance_uuid, connector: Some(connector), mode: None }
    }

    fn attachment_id(&self) -> Result<crate::domain::ids::AttachmentId, Undecided> {
        let row = self.state.as_ref().and_then(|state| state.attachments.first());
        row.map(|row| row.id).ok_or(Undecided { command: "attachment_create", verdict: "no row".to_owned() })
    }
}
