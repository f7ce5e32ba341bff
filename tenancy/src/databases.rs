//! The databases that homes are in, by name. Names stand in the registry; addresses and passwords never do.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{admission::Admission, replica::Replicas, warm::Warm};

/// Name of the database that holds the control plane.
pub(crate) const MAIN: &str = "main";

/// One database, as the service login sees it.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) name: Arc<str>,
    pub(crate) connections: Arc<Warm>,
    pub(crate) admission: Admission,
    pub(crate) replicas: Arc<Replicas>,
    /// Whether its login has been found to be one that row security holds. One that could not be reached when the
    /// process started is looked at before its first transaction.
    checked: Arc<AtomicBool>,
}

impl Database {
    pub(crate) fn new(name: &str, connections: Arc<Warm>, admission: Admission) -> Self {
        Self { name: name.into(), connections, admission, replicas: Arc::default(), checked: Arc::default() }
    }

    pub(crate) fn with_replicas(mut self, servers: impl IntoIterator<Item = Self>) -> Self {
        self.replicas = Arc::new(Replicas::new(servers));
        self
    }

    pub(crate) fn is_checked(&self) -> bool {
        self.checked.load(Ordering::Acquire)
    }

    pub(crate) fn set_checked(&self) {
        self.checked.store(true, Ordering::Release);
    }
}

/// All of them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Databases {
    main: Database,
    others: Arc<BTreeMap<String, Database>>,
}

impl Databases {
    pub(crate) fn new(main: Database, others: BTreeMap<String, Database>) -> Self {
        Self { main, others: Arc::new(others) }
    }

    pub(crate) fn main(&self) -> &Database {
        &self.main
    }

    /// Those beside `main`.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Database> {
        self.others.values()
    }

    pub(crate) fn named(&self, name: &str) -> Result<&Database, UnknownDatabase> {
        match name {
            MAIN => Ok(&self.main),
            other => self.others.get(other).ok_or_else(|| UnknownDatabase::new(other)),
        }
    }
}

/// A tenant lives in a database that this process was not told of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("database `{name}` is not known here: name it with `database(\"{name}\", ..)` when connecting")]
pub struct UnknownDatabase {
    name: String,
}

impl UnknownDatabase {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// The name, as the registry has it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl From<UnknownDatabase> for crate::StorageError {
    fn from(error: UnknownDatabase) -> Self {
        sqlx::Error::Configuration(Box::new(error)).into()
    }
}

/// Is it a name that the registry takes?
pub(crate) fn is_database_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        && text.len() <= 63
}
