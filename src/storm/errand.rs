//! What is done around a storm: a cycle once for each unit, and single questions.

use std::cell::Cell;
use std::sync::Mutex;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;

use super::client::{Client, Commons, Waits};
use super::cycle::{Cycle, Service, Step};
use super::endpoint::Site;
use super::http::Connection;
use super::program::Program;
use super::record::{Ending, Recorder};
use super::{StormError, Unit};

/// A unit that its errand is done for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// With what the cycle captured.
    pub unit: Unit,
    /// Why it did not go through.
    pub complaint: Option<String>,
}

/// Carries `cycle` out once for each unit, `clients` at a time.
pub fn once_each(
    site: &Site,
    cycle: &Cycle,
    units: &[Unit],
    clients: usize,
    waits: Waits,
) -> Result<Vec<Done>, StormError> {
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let given = units.first().into_iter().flat_map(Unit::keys).map(String::as_str);
    let program = Program::new(cycle, site, given)?;
    let (commons, recorder) = (Commons::default(), Mutex::new(Recorder::new(program.steps.len())));
    let next = Cell::new(0);
    let work = async || {
        let mut client = Client::new(&program, waits, &commons, &recorder)?;
        let mut done = Vec::new();
        while let Some(unit) = units.get(next.replace(next.get() + 1)) {
            let mut slots = program.slots(unit);
            let ending = client.round(&mut slots, Instant::now(), false).await;
            let values = program.variables.iter().cloned().zip(slots);
            let mut unit = unit.clone();
            unit.extend(values.filter_map(|(name, value)| value.map(|value| (name, value))));
            let complaint = (ending != Ending::Answered).then(|| client.complaint.take().unwrap_or_default());
            done.push(Done { unit, complaint });
        }
        Ok::<_, StormError>(done)
    };
    runtime()?.block_on(async {
        let mut workers: FuturesUnordered<_> = (0..clients.clamp(1, units.len())).map(|_| work()).collect();
        let mut all = Vec::with_capacity(units.len());
        while let Some(done) = workers.next().await {
            all.extend(done?);
        }
        Ok(all)
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, StormError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StormError::Thread)
}

/// Makes `count` volumes and waits until they are available. On the first failure those that exist are left to
/// [`super::audit::clean_up`].
pub fn volumes_make(
    site: &Site,
    name: &str,
    size_gib: u32,
    count: usize,
    clients: usize,
    waits: Waits,
) -> Result<Vec<Unit>, StormError> {
    let body = serde_json::json!({"volume": {"name": "{name}", "size": size_gib}});
    let steps = vec![
        Step::new("create", "POST", "/volumes", &[202]).body(body).capture("volume", "volume.id"),
        Step::wait("available", "/volumes/{volume}", "volume.status", "available"),
    ];
    let named = Unit::from([("name".to_owned(), name.to_owned())]);
    let done = once_each(site, &Cycle::new("make", steps), &vec![named; count], clients, waits)?;
    let failed: Vec<&String> = done.iter().filter_map(|done| done.complaint.as_ref()).collect();
    if let Some(first) = failed.first() {
        return Err(StormError::Errand(format!("{} of {count} volumes cannot be made: {first}", failed.len())));
    }
    Ok(done.into_iter().map(|done| done.unit).collect())
}

/// One question at a time, answered in full.
pub struct Session {
    runtime: tokio::runtime::Runtime,
    site: Site,
    block_storage: Connection,
    compute: Connection,
    waits: Waits,
}

impl Session {
    /// Connects when it first asks.
    pub fn new(site: &Site, waits: Waits) -> Result<Self, StormError> {
        Ok(Self {
            runtime: runtime()?,
            block_storage: Connection::new(site.block_storage.address),
            compute: Connection::new(site.compute.address),
            site: site.clone(),
            waits,
        })
    }

    /// Asks: the status and the body, null when it is no JSON.
    pub fn ask(
        &mut self,
        service: Service,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), StormError> {
        let mut step = Step::new("ask", method, path, &[]).at(service);
        step.body = body.cloned();
        let program = Program::new(&Cycle::new("ask", vec![step]), &self.site, [])?;
        let mut request = Vec::new();
        program.steps[0].render(&program.slots(&Unit::new()), &mut request);
        let (connection, endpoint) = match service {
            Service::Compute => (&mut self.compute, &self.site.compute),
            Service::BlockStorage | Service::Root => (&mut self.block_storage, &self.site.block_storage),
        };
        let unreachable = |source| StormError::Unreachable { authority: endpoint.authority.clone(), source };
        let timeout = self.waits.timeout;
        let answer = self.runtime.block_on(async {
            match tokio::time::timeout(timeout, connection.exchange(&request)).await {
                Ok(answered) => answered,
                Err(_) => Err(super::http::ExchangeError::TimedOut),
            }
        });
        let answer = answer.map_err(unreachable)?;
        let body = serde_json::from_slice(connection.body(&answer)).unwrap_or(Value::Null);
        Ok((answer.status, body))
    }

    /// The body of a `GET` that must be answered 200.
    pub fn get(&mut self, service: Service, path: &str) -> Result<Value, StormError> {
        match self.ask(service, "GET", path, None)? {
            (200, body) => Ok(body),
            (status, body) => Err(StormError::Errand(format!("GET {path}: {status} {body}"))),
        }
    }

    /// Waits until it is time to look again.
    pub fn wait_for_next_look(&self) {
        self.runtime.block_on(tokio::time::sleep(self.waits.poll));
    }
}
