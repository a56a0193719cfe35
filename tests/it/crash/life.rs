//! One volume and its owner, who remembers what was answered and looks after every request without an answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::ledger::{Change, Known, Row};
use super::site::{Said, Site};

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// Answered as documented: it holds from now on.
    Effect,
    /// Refused: nothing has changed.
    Refused(u16),
    /// Not answered, and carried out as a whole.
    LostWithEffect,
    /// Not answered, and nothing of it is there.
    LostWithout,
}

pub struct Owner {
    site: Arc<Site>,
    name: String,
    pub id: String,
    /// Where the volume is made from what is there, and what that is called.
    pub adopts: Option<(String, String)>,
    /// None: there is no volume.
    pub known: Option<Known>,
}

impl Owner {
    pub fn new(site: &Arc<Site>, name: impl Into<String>) -> Self {
        Self { site: Arc::clone(site), name: name.into(), id: String::new(), adopts: None, known: None }
    }

    /// Asks for a volume under a name that nobody had before.
    pub async fn create(&mut self, name: String, size: u64) -> Took {
        assert_eq!(self.known, None);
        self.name = name;
        let known = Some(Known { size, row: Row::Nobody });
        let (path, body) = self.creation(size);
        match self.site.ask("POST", path, &body).await {
            Said::Answer(202, body) => {
                self.id = body["volume"]["id"].as_str().expect("an id").to_owned();
                self.known = known;
                Took::Effect
            }
            Said::Answer(status @ 400..500, _) => Took::Refused(status),
            Said::Answer(status, body) => panic!("{}: {status} {body}", self.name),
            Said::NotSent => Took::LostWithout,
            Said::Lost => match self.site.named(&self.name).await.as_slice() {
                [] => Took::LostWithout,
                [id] => {
                    self.id.clone_from(id);
                    self.known = known;
                    self.assert_as_known().await;
                    Took::LostWithEffect
                }
                several => panic!("one request made {several:?}"),
            },
        }
    }

    /// Path and body of the request for a volume.
    fn creation(&self, size: u64) -> (&'static str, Value) {
        match &self.adopts {
            None => ("/v3/volumes", json!({"volume": {"name": self.name, "size": size}})),
            Some((host, reference)) => {
                let volume = json!({"name": self.name, "host": host, "ref": {"source-name": reference}});
                ("/v3/manageable_volumes", json!({"volume": volume}))
            }
        }
    }

    /// Asks for a change of the volume, which is there.
    pub async fn change(&mut self, change: &Change) -> Took {
        let before = self.known.clone().expect("there is a volume");
        let (method, path, body, expected) = change.request(&self.id);
        match self.site.ask(method, &path, &body).await {
            Said::Answer(status, body) if status == expected => {
                self.known = change.after(&before);
                if let Some(Known { row: Row::Reserved(id), .. }) = &mut self.known
                    && *change == Change::Reserve
                {
                    body["attachment"]["id"].as_str().expect("an id").clone_into(id);
                }
                Took::Effect
            }
            Said::Answer(status @ 400..500, _) => Took::Refused(status),
            Said::Answer(status, body) => panic!("{change:?} of {}: {status} {body}", self.id),
            Said::NotSent => Took::LostWithout,
            Said::Lost => {
                let seen = self.site.settled(&self.id).await;
                let after = change.after(&before);
                let had_effect = agree(after.as_ref(), seen.as_ref());
                assert!(
                    had_effect || agree(Some(&before), seen.as_ref()),
                    "{change:?} of {} without an answer left {seen:?} of {before:?}: half of it",
                    self.id
                );
                self.known = seen;
                if had_effect { Took::LostWithEffect } else { Took::LostWithout }
            }
        }
    }

    /// Waits until nothing is under way: then the volume is what was answered.
    pub async fn assert_as_known(&self) {
        let seen = self.site.settled(&self.id).await;
        let agrees = agree(self.known.as_ref(), seen.as_ref());
        assert!(agrees, "{} ({}) is {seen:?}, and its owner was told {:?}", self.id, self.name, self.known);
    }

    /// The change which frees whatever has the volume.
    pub fn freeing(&self) -> Option<Change> {
        match self.known.as_ref().map(|known| &known.row)? {
            Row::Nobody => None,
            Row::Server(server) => Some(Change::ServerDetach(server.clone())),
            Row::Reserved(id) | Row::Connected(id) | Row::Attached(id) => Some(Change::Release(id.clone())),
        }
    }

    /// Asks until the change is there, as often as answers get lost. What retries of lost answers were told goes into
    /// `retries`.
    pub async fn insist(&mut self, change: &Change, retries: &mut BTreeMap<&'static str, u16>) {
        match self.change(change).await {
            Took::Effect => {}
            // it is certain that it did not happen, so that asking again is not a retry of something done
            Took::LostWithout => assert_eq!(self.change(change).await, Took::Effect, "{change:?} of {}", self.id),
            Took::LostWithEffect => {
                let (method, path, body, _) = change.request(&self.id);
                let again = self.site.ask(method, &path, &body).await;
                retries.insert(change.name(), again.status());
                // a second attachment of the same server is allowed (live migration); nobody needs it here
                if let (Change::Reserve, Said::Answer(200, body)) = (change, &again) {
                    let second = Change::Release(body["attachment"]["id"].as_str().expect("an id").to_owned());
                    let (method, path, body, expected) = second.request(&self.id);
                    self.site.ask(method, &path, &body).await.body(expected);
                }
            }
            Took::Refused(status) => panic!("{change:?} of {} ({:?}): {status}", self.id, self.known),
        }
        self.assert_as_known().await;
    }

    /// As [`Self::insist`], for the first request.
    pub async fn insist_on_creation(&mut self, size: u64, retries: &mut BTreeMap<&'static str, u16>) {
        let name = self.name.clone();
        match self.create(name.clone(), size).await {
            Took::Effect => {}
            Took::LostWithout => assert_eq!(self.create(name, size).await, Took::Effect),
            Took::LostWithEffect if self.adopts.is_some() => {
                let (path, body) = self.creation(size);
                retries.insert("manage", self.site.ask("POST", path, &body).await.status());
            }
            Took::LostWithEffect => {
                // there is no idempotency key here: a retry makes a second volume
                let mut second = Owner::new(&self.site, "second");
                assert_eq!(second.create("second".to_owned(), size).await, Took::Effect);
                retries.insert("create", 202);
                second.assert_as_known().await;
                assert_eq!(second.change(&Change::Delete).await, Took::Effect);
                second.assert_as_known().await;
            }
            Took::Refused(status) => panic!("create: {status}"),
        }
        self.assert_as_known().await;
    }
}

fn agree(known: Option<&Known>, seen: Option<&Known>) -> bool {
    match (known, seen) {
        (None, None) => true,
        (Some(known), Some(seen)) => known.is(seen),
        _ => false,
    }
}

/// The requests of a life after its creation: every kind, through both APIs.
pub async fn life(site: &Arc<Site>, each: &mut impl AsyncFnMut(&mut Owner)) -> BTreeMap<&'static str, u16> {
    let mut retries = BTreeMap::new();
    site.server("server-1").await;
    let mut owner = Owner::new(site, "volume");
    owner.insist_on_creation(1, &mut retries).await;
    each(&mut owner).await;
    for change in [
        Change::ServerAttach("server-1".to_owned()),
        Change::Extend(2),
        Change::ServerDetach("server-1".to_owned()),
        Change::Reserve,
    ] {
        owner.insist(&change, &mut retries).await;
        each(&mut owner).await;
    }
    let Some(Known { row: Row::Reserved(id), .. }) = owner.known.clone() else { panic!("{:?}", owner.known) };
    let (_, shown) = site.get(&format!("/v3/volumes/{}", owner.id)).await;
    let host = shown["volume"]["os-vol-host-attr:host"].as_str().expect("a host").to_owned();
    for change in [
        Change::Connect(id.clone()),
        Change::Complete(id.clone()),
        Change::Release(id),
        Change::Extend(3),
        Change::Unmanage,
    ] {
        owner.insist(&change, &mut retries).await;
        each(&mut owner).await;
    }
    let mut again = Owner::new(site, "again");
    again.adopts = Some((host, format!("volume-{}", owner.id)));
    again.insist_on_creation(3, &mut retries).await;
    each(&mut again).await;
    again.insist(&Change::Delete, &mut retries).await;
    each(&mut again).await;
    site.assert_sound().await;
    assert!(site.stored().await.is_empty(), "{:?}", site.stored().await);
    retries
}
