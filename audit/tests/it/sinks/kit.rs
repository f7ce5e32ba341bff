//! A sink that keeps what it is given and fails when it is told to, and a clock that does not wait.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use formwork_audit::{
    Audit, Event,
    sink::{Clock, Deliverer, Message, SendError, Sink},
};
use formwork_tenancy::{Actor, Relay, Tenant, testing::TestDatabase};
use futures::future::BoxFuture;
use uuid::Uuid;

/// What the sink says to the next sends.
pub(crate) type Answers = VecDeque<Result<(), SendError>>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    taken: Arc<Mutex<Vec<Message>>>,
    answers: Arc<Mutex<Answers>>,
}

impl Kept {
    /// The next sends are answered so; whatever comes after is taken.
    pub(crate) fn answers(&self, answers: impl IntoIterator<Item = Result<(), SendError>>) {
        self.answers.lock().unwrap().extend(answers);
    }

    pub(crate) fn messages(&self) -> Vec<Message> {
        self.taken.lock().unwrap().clone()
    }

    pub(crate) fn events(&self) -> Vec<Uuid> {
        self.messages().iter().map(Message::event).collect()
    }

    pub(crate) fn actions(&self) -> Vec<String> {
        self.messages().iter().map(|message| message.action().to_owned()).collect()
    }
}

#[async_trait]
impl Sink for Kept {
    async fn send(&self, messages: &[Message]) -> Result<(), SendError> {
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(()));
        let taken = answer.as_ref().map_or_else(SendError::sent, |()| messages.len());
        self.taken.lock().unwrap().extend_from_slice(&messages[..taken]);
        answer
    }
}

/// Time passes when somebody sleeps.
#[derive(Debug, Clone)]
pub(crate) struct Hands {
    now: Arc<Mutex<DateTime<Utc>>>,
    slept: Arc<Mutex<Vec<Duration>>>,
}

impl Hands {
    pub(crate) fn at(seconds: i64) -> Self {
        let now = DateTime::from_timestamp(seconds, 0).unwrap();
        Self { now: Arc::new(Mutex::new(now)), slept: Arc::default() }
    }

    /// Pauses, in seconds.
    pub(crate) fn slept(&self) -> Vec<u64> {
        self.slept.lock().unwrap().iter().map(Duration::as_secs).collect()
    }
}

impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        *self.now.lock().unwrap()
    }

    fn sleep(&self, pause: Duration) -> BoxFuture<'_, ()> {
        self.slept.lock().unwrap().push(pause);
        *self.now.lock().unwrap() += pause;
        Box::pin(tokio::task::yield_now())
    }
}

pub(crate) fn unavailable() -> Result<(), SendError> {
    Err(SendError::unavailable("away"))
}

pub(crate) fn refused() -> Result<(), SendError> {
    Err(SendError::refused("too long"))
}

/// A deliverer whose sink has been seen once, so that what comes now goes to it.
pub(crate) async fn followed(db: &TestDatabase, relay: &Relay, name: &str, sink: &Kept) -> Deliverer {
    let deliverer = Deliverer::new(db.tenants(), relay, name, sink.clone());
    deliverer.run_once().await.unwrap();
    deliverer
}

/// Events in one transaction; their identities.
pub(crate) async fn recorded(db: &TestDatabase, tenant: &Tenant, actions: &[&str]) -> Vec<Uuid> {
    let events: Vec<Event> = actions.iter().map(|action| Event::new(*action)).collect();
    let ids = events.iter().map(Event::id).collect();
    let mut tx = db.tenants().begin(&db.session(tenant, Actor::system("test"))).await.unwrap();
    Audit::new().record_many(&mut tx, &events).await.unwrap();
    tx.commit().await.unwrap();
    ids
}
