//! Look-ups of what is not remembered: each key asked for once, and all that wait in one question.
//!
//! INVARIANT: one question at a time is on its way to the control plane's database, and a bounded number of keys waits
//! for the next, however many hosts are made up.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::{Key, memory::Source, metrics::Counters, postgres};
use crate::{
    StorageError, Tenant, Tenants,
    databases::{MAIN, UnknownDatabase},
    tenant::{HomeStanding, TenantEntry},
};

/// Keys in one question.
const TOGETHER: usize = 128;
/// Keys that wait for the next questions.
const WAITING: usize = 1_024;

type Answer = Result<Option<Tenant>, StorageError>;
type Waiting = Vec<oneshot::Sender<Answer>>;

#[derive(Debug, Default)]
pub(super) struct Asking(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Key>,
    /// INVARIANT: has the keys of the queue.
    queued: HashMap<Key, Question>,
    /// Those that came while their key was being asked for, and take the answer to that.
    joined: HashMap<Key, (u64, Waiting)>,
    batches: u64,
    is_running: bool,
}

impl State {
    /// Those who have joined the question of this batch, unless a later one is to answer them.
    fn joined_to(&mut self, batch: u64, key: &Key) -> Waiting {
        let is_last = self.joined.get(key).is_some_and(|(number, _)| *number == batch);
        let joined = is_last.then(|| self.joined.remove(key)).flatten();
        joined.map(|(_, waiting)| waiting).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Question {
    /// Of the control plane's database itself, and not before now.
    now: bool,
    waiting: Waiting,
}

/// Keys that are asked for together.
struct Batch {
    number: u64,
    questions: HashMap<Key, Question>,
}

/// What was found for some of them.
struct Finding {
    batch: u64,
    /// When it was asked for, in nanoseconds.
    at: u64,
    /// The same by the Redis's clock, in microseconds, when there is one to tell of it.
    time: Option<u64>,
    found: Vec<(Key, TenantEntry, Question)>,
}

impl Asking {
    /// A place among those who wait, and whether somebody must begin to ask. None: too many wait.
    fn enter(&self, key: Key, now: bool) -> Option<(oneshot::Receiver<Answer>, bool)> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        if let (false, Some((_, joined))) = (now, state.joined.get_mut(&key)) {
            joined.push(sender);
            return Some((receiver, false));
        }
        if !state.queued.contains_key(&key) {
            if state.queue.len() >= WAITING {
                return None;
            }
            state.queue.push_back(key.clone());
        }
        let question = state.queued.entry(key).or_default();
        question.now |= now;
        question.waiting.push(sender);
        Some((receiver, !std::mem::replace(&mut state.is_running, true)))
    }

    /// The next that are asked for; none: nobody waits, and whoever comes next begins anew.
    fn next(&self) -> Option<Batch> {
        let mut state = self.state();
        if state.queue.is_empty() {
            state.is_running = false;
            return None;
        }
        state.batches += 1;
        let number = state.batches;
        let mut questions = HashMap::new();
        while let Some(key) = state.queue.pop_front() {
            let question = state.queued.remove(&key).unwrap_or_default();
            // Who has joined an earlier batch that still has the key is answered by this one.
            state.joined.entry(key.clone()).or_default().0 = number;
            questions.insert(key, question);
            if questions.len() == TOGETHER {
                break;
            }
        }
        Some(Batch { number, questions })
    }

    fn answer(&self, batch: u64, key: &Key, question: Question, answer: &Answer) {
        let joined = self.state().joined_to(batch, key);
        for waiting in question.waiting.into_iter().chain(joined) {
            let _ = waiting.send(answer.clone());
        }
    }

    /// Puts them all among those who wait, for the database itself. Must somebody begin to ask?
    fn again(&self, batch: u64, key: Key, question: Question) -> bool {
        let mut state = self.state();
        let joined = state.joined_to(batch, &key);
        if !state.queued.contains_key(&key) {
            // One that was let in before: it may be one more than those who wait for the first time.
            state.queue.push_back(key.clone());
        }
        let queued = state.queued.entry(key).or_default();
        queued.now = true;
        queued.waiting.extend(question.waiting.into_iter().chain(joined));
        !std::mem::replace(&mut state.is_running, true)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever asks. Cut off, it leaves nobody waiting.
struct Running<'a>(&'a Asking);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.is_running {
            let batches = state.batches;
            *state = State { batches, ..State::default() };
        }
    }
}

impl Tenants {
    /// Asks for a key, together with whoever else does. `now`: of the database itself, whatever others have heard.
    pub(super) async fn ask(&self, key: Key, now: bool) -> Answer {
        let registry = &self.registry().0;
        Counters::add(&registry.counters.misses);
        let Some((answer, begins)) = registry.asking.enter(key, now) else {
            Counters::add(&registry.counters.refused);
            return Err(out_of_reach("too many look-ups of tenants wait: try again in a moment"));
        };
        if begins {
            drop(tokio::spawn(run(self.clone())));
        }
        answer.await.unwrap_or_else(|_| Err(out_of_reach("the look-up of a tenant was cut off")))
    }
}

fn out_of_reach(why: &'static str) -> StorageError {
    sqlx::Error::Io(io::Error::other(why)).into()
}

async fn run(tenants: Tenants) {
    let registry = tenants.registry();
    let running = Running(&registry.0.asking);
    while let Some(batch) = registry.0.asking.next() {
        answer(&tenants, batch).await;
    }
    // Nobody waits, and somebody else may be running already.
    std::mem::forget(running);
}

async fn answer(tenants: &Tenants, mut batch: Batch) {
    let registry = tenants.registry();
    let time = from_redis(tenants, &mut batch).await;
    if batch.questions.is_empty() {
        return;
    }
    let refuse = |questions: HashMap<Key, Question>, error: StorageError| {
        let answer = Err(error);
        for (key, question) in questions {
            registry.0.asking.answer(batch.number, &key, question, &answer);
        }
    };
    if let Some(error) = registry.0.database.error() {
        return refuse(batch.questions, error);
    }
    let at = registry.now();
    Counters::add(&registry.0.counters.questions);
    let answered = postgres::by_keys(tenants, batch.questions.keys()).await;
    registry.0.database.note(&answered);
    let mut entries = match answered {
        Ok(entries) => entries,
        Err(error) => return refuse(batch.questions, error),
    };
    let mut found = Vec::new();
    for (key, question) in batch.questions {
        match entries.remove(&key) {
            Some(entry) => found.push((key, entry, question)),
            None => {
                registry.0.memory.keep_unknown(key.clone(), at);
                registry.0.asking.answer(batch.number, &key, question, &Ok(None));
            }
        }
    }
    judge(tenants, Finding { batch: batch.number, at, time, found }).await;
}

/// Answers those that a Redis knows, and says what time it has.
#[cfg(feature = "redis")]
async fn from_redis(tenants: &Tenants, batch: &mut Batch) -> Option<u64> {
    let registry = tenants.registry();
    let redis = registry.0.redis.as_ref()?;
    let keys = batch.questions.iter().filter(|(_, question)| !question.now).map(|(key, _)| key);
    let read = redis.read(tenants, keys.cloned().collect()).await?;
    Counters::add_many(&registry.0.counters.redis_unbelieved, read.unbelieved);
    for (key, entry, at) in read.found {
        let standing = judged(tenants, &entry);
        let tenant = Tenant::new(entry, standing, registry.0.clock.clone(), at);
        // Of another version than is known here: the database is asked.
        let Some(kept) = registry.0.memory.keep(key.clone(), tenant, Source::Shared) else { continue };
        let Some(question) = batch.questions.remove(&key) else { continue };
        Counters::add(&registry.0.counters.redis_hits);
        registry.0.asking.answer(batch.number, &key, question, &Ok(Some(kept)));
    }
    Some(read.time)
}

#[cfg(not(feature = "redis"))]
async fn from_redis(_: &Tenants, _: &mut Batch) -> Option<u64> {
    None
}

/// Whether this program can work with the homes. Those that stand with their ledger in another database are asked
/// about there, which nobody else waits for.
async fn judge(tenants: &Tenants, finding: Finding) {
    let mut elsewhere: HashMap<String, Vec<_>> = HashMap::new();
    let mut here = Vec::new();
    let Finding { batch, at, time, found } = finding;
    for (key, entry, question) in found {
        match entry.database_name == MAIN || tenants.supported().is_empty() {
            true => here.push((key, entry, question)),
            false => elsewhere.entry(entry.database_name.clone()).or_default().push((key, entry, question)),
        }
    }
    for (database, found) in elsewhere {
        let finding = Finding { batch, at, time, found };
        drop(tokio::spawn(judge_elsewhere(tenants.clone(), database, finding)));
    }
    deliver(tenants, Finding { batch, at, time, found: here }).await;
}

async fn deliver(tenants: &Tenants, finding: Finding) {
    let registry = tenants.registry();
    #[cfg(feature = "redis")]
    let mut shared = Vec::new();
    for (key, entry, question) in finding.found {
        #[cfg(feature = "redis")]
        if entry.database_name == MAIN || !entry.home_versions.is_empty() {
            shared.push((key.clone(), entry.clone()));
        }
        let standing = judged(tenants, &entry);
        let tenant = Tenant::new(entry, standing, registry.0.clock.clone(), finding.at);
        tenants.deliver(finding.batch, key, question, tenant);
    }
    #[cfg(feature = "redis")]
    if let (Some(redis), Some(time)) = (&registry.0.redis, finding.time) {
        redis.write(time, shared).await;
    }
}

async fn judge_elsewhere(tenants: Tenants, database: String, mut finding: Finding) {
    match versions_elsewhere(&tenants, &database, &finding).await {
        Ok(mut versions) => {
            for (_, entry, _) in &mut finding.found {
                entry.home_versions = versions.remove(&entry.id.as_uuid()).unwrap_or_default();
            }
            deliver(&tenants, finding).await;
        }
        // Refused where a transaction is begun, unless it can be judged then.
        Err(error) if error.is_unavailable() || error.unknown_database().is_some() => {
            let registry = tenants.registry();
            for (key, entry, question) in finding.found {
                let standing = HomeStanding::Unjudged(error.clone());
                let tenant = Tenant::new(entry, standing, registry.0.clock.clone(), finding.at);
                tenants.deliver(finding.batch, key, question, tenant);
            }
        }
        Err(error) => {
            let answer = Err(error);
            for (key, _, question) in finding.found {
                tenants.registry().0.asking.answer(finding.batch, &key, question, &answer);
            }
        }
    }
}

async fn versions_elsewhere(
    tenants: &Tenants,
    database: &str,
    finding: &Finding,
) -> Result<HashMap<uuid::Uuid, std::collections::BTreeMap<String, i32>>, StorageError> {
    let outages = &tenants.registry().0.homes;
    let outage = outages.get(database).ok_or_else(|| UnknownDatabase::new(database))?;
    if let Some(look) = outage.begins_look() {
        let (tenants, database) = (tenants.clone(), database.to_owned());
        drop(tokio::spawn(async move {
            let answer = postgres::home_versions(&tenants, &database, Vec::new()).await;
            if let Some(outage) = tenants.registry().0.homes.get(&database) {
                outage.note(&answer);
            }
            drop(look);
        }));
    }
    if let Some(error) = outage.error() {
        return Err(error);
    }
    let ids = finding.found.iter().map(|(_, entry, _)| entry.id.as_uuid()).collect();
    let answer = postgres::home_versions(tenants, database, ids).await;
    outage.note(&answer);
    answer
}

/// By the versions that the entry has.
fn judged(tenants: &Tenants, entry: &TenantEntry) -> HomeStanding {
    let judgement = tenants.supported().judge(&entry.slug, &entry.home_versions);
    judgement.map_or(HomeStanding::Supported, HomeStanding::Unsupported)
}

impl Tenants {
    /// Answers with what the database has said. What arrives behind a newer version of the tenant is asked for again: it
    /// may have lost this key.
    fn deliver(&self, batch: u64, key: Key, question: Question, tenant: Tenant) {
        let registry = &self.registry().0;
        match registry.memory.keep(key.clone(), tenant, Source::Database) {
            Some(kept) => registry.asking.answer(batch, &key, question, &Ok(Some(kept))),
            None if registry.asking.again(batch, key, question) => drop(tokio::spawn(run(self.clone()))),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TenantId;

    fn slug(number: usize) -> Key {
        Key::Slug(number.to_string())
    }

    #[test]
    fn a_key_is_asked_for_once_and_who_comes_meanwhile_takes_that_answer() {
        let asking = Asking::default();
        let (mut first, begins) = asking.enter(slug(1), false).unwrap();
        assert!(begins);
        let (mut second, begins) = asking.enter(slug(1), false).unwrap();
        assert!(!begins);
        let mut batch = asking.next().unwrap();
        let (mut third, _) = asking.enter(slug(1), false).unwrap();
        // This one will not have what was asked for before it came.
        let (mut newest, _) = asking.enter(slug(1), true).unwrap();
        let question = batch.questions.remove(&slug(1)).unwrap();
        asking.answer(batch.number, &slug(1), question, &Ok(None));
        for answered in [&mut first, &mut second, &mut third] {
            assert!(matches!(answered.try_recv(), Ok(Ok(None))));
        }
        assert!(newest.try_recv().is_err());
        let again = asking.next().unwrap();
        assert!(again.questions[&slug(1)].now);
        assert!(asking.next().is_none());
        assert!(asking.enter(slug(2), false).unwrap().1, "whoever comes next begins");
    }

    #[test]
    fn what_waits_is_bounded_and_goes_together() {
        let asking = Asking::default();
        let waiting: Vec<_> = (0..2 * WAITING).map(|number| asking.enter(slug(number), false)).collect();
        assert_eq!(waiting.iter().flatten().count(), WAITING);
        // Whoever asks for one that waits already is let in.
        assert!(asking.enter(slug(0), false).is_some());
        assert!(asking.enter(Key::Id(TenantId::generate()), false).is_none());
        let mut batches = 0;
        while let Some(batch) = asking.next() {
            assert!(batch.questions.len() <= TOGETHER);
            batches += 1;
        }
        assert_eq!(batches, WAITING / TOGETHER);
    }

    #[test]
    fn what_is_asked_again_is_asked_of_the_database_for_all_who_wait() {
        let asking = Asking::default();
        let (mut first, _) = asking.enter(slug(1), false).unwrap();
        let mut batch = asking.next().unwrap();
        let (mut second, _) = asking.enter(slug(1), false).unwrap();
        assert!(asking.next().is_none());
        let question = batch.questions.remove(&slug(1)).unwrap();
        assert!(asking.again(batch.number, slug(1), question), "nobody is asking any more");
        let mut batch = asking.next().unwrap();
        let question = batch.questions.remove(&slug(1)).unwrap();
        assert!(question.now);
        asking.answer(batch.number, &slug(1), question, &Ok(None));
        assert!(first.try_recv().unwrap().unwrap().is_none());
        assert!(second.try_recv().unwrap().unwrap().is_none());
    }

    #[test]
    fn whoever_is_cut_off_leaves_nobody_waiting() {
        let asking = Asking::default();
        let (mut waits, _) = asking.enter(slug(1), false).unwrap();
        let running = Running(&asking);
        drop(asking.next());
        drop(running);
        assert!(matches!(waits.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        assert!(asking.enter(slug(1), false).unwrap().1);
    }
}
