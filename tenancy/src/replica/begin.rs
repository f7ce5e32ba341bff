//! Where a read is begun.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Row, postgres::PgRow};

use super::{
    Replica, ReplicaFault, Replicas, ServedBy, WalPosition,
    identity::{IDENTITY, Identity},
    standing::Prospect,
};
use crate::{
    ConnectError, Session, StorageError, Tenants, TxOptions, conn::TenantConn, databases::Database,
    tenants::refuse_privileged_login, tx::settings,
};

const POSITION: &str = "select pg_catalog.pg_is_in_recovery(), pg_catalog.pg_last_wal_replay_lsn()::text";

/// What a transaction needs of the server that it is begun on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Primary,
    /// The primary, which is to say where its log stands: a replica would do, if it were known how old it is.
    Mark,
    /// Any that has replayed the log up to here.
    Position(WalPosition),
}

/// Why nothing was begun on a replica.
enum Failure {
    /// It has no room: nothing is wrong with it.
    Busy,
    Fault(ReplicaFault),
    Refused(Box<ConnectError>),
    Storage(StorageError),
    TimedOut(Duration),
}

impl Replicas {
    /// What the session and the options ask for. A token of another epoch of the home says nothing about this one, so
    /// that the primary is asked.
    pub(crate) fn needs(&self, session: &Session, options: &TxOptions, usual: Option<Duration>) -> Needs {
        if self.replicas.is_empty() || !options.may_be_on_replica() {
            return Needs::Primary;
        }
        let epoch = session.tenant().epoch();
        let tokens = [session.required(), options.required_of(session.tenant_id())];
        let mut needed = None;
        for (of_epoch, position) in tokens.into_iter().flatten() {
            if of_epoch != epoch {
                return Needs::Primary;
            }
            needed = needed.max(Some(position));
        }
        let age = options.staleness().or(usual.filter(|_| needed.is_none()));
        match age.map(|age| self.marks.within(age, Instant::now())) {
            Some(None) => Needs::Mark,
            Some(mark) => Needs::Position(needed.max(mark).unwrap_or_default()),
            None => needed.map_or(Needs::Primary, Needs::Position),
        }
    }
}

impl Tenants {
    /// Begins on a replica that has come as far as `needed`, if there is one: those that had when they were last heard
    /// of, and one that may have since.
    pub(crate) async fn begin_on_replica(
        &self,
        database: &Database,
        session: &Session,
        options: &TxOptions,
        needed: WalPosition,
    ) -> Option<(TenantConn, ServedBy)> {
        let mut chance = None;
        for replica in database.replicas.in_turn() {
            match replica.prospect(needed) {
                Prospect::Sure => {
                    let begun = self.try_replica(database, replica, session, options, needed).await;
                    if begun.is_some() {
                        return begun;
                    }
                }
                Prospect::Chance if chance.is_none() => chance = Some(replica),
                Prospect::Chance | Prospect::Hopeless => {}
            }
        }
        let replica = chance?;
        replica.standing.claim(Instant::now());
        if replica.found().is_none() {
            self.look_again(database, replica.number);
            return None;
        }
        self.try_replica(database, replica, session, options, needed).await
    }

    /// Whether one that failed can be used again is nothing that a read should wait for.
    fn look_again(&self, database: &Database, number: usize) {
        let (tenants, database) = (self.clone(), database.clone());
        drop(tokio::spawn(async move {
            let Some(replica) = database.replicas.replicas.get(number) else { return };
            match tenants.within(tenants.verify_replica(&database, replica)).await {
                Ok(()) => replica.standing.answered(WalPosition::default(), true, Instant::now()),
                Err(failure) => replica.is_left_out(&database, &failure),
            }
        }));
    }

    async fn try_replica(
        &self,
        database: &Database,
        replica: &Replica,
        session: &Session,
        options: &TxOptions,
        needed: WalPosition,
    ) -> Option<(TenantConn, ServedBy)> {
        let failure = match self.begin_there(replica, session, options, needed).await {
            Ok(begun) => return begun.map(|conn| (conn, ServedBy::Replica { number: replica.number })),
            Err(Failure::Busy) => return None,
            Err(failure) => failure,
        };
        replica.is_left_out(database, &failure);
        None
    }

    /// `None` when it is not far enough.
    async fn begin_there(
        &self,
        replica: &Replica,
        session: &Session,
        options: &TxOptions,
        needed: WalPosition,
    ) -> Result<Option<TenantConn>, Failure> {
        let within = self.replica_patience;
        let entering = replica.server.admission.enter(session.tenant_id());
        let admitted = match tokio::time::timeout(within, entering).await {
            Ok(Ok(admitted)) => admitted,
            Ok(Err(_)) | Err(_) => return Err(Failure::Busy),
        };
        let begun = self.within(self.begin_asking_position(replica, session, options)).await?;
        let (mut conn, row, asked) = begun;
        let position = replica.judge(&row, asked)?;
        conn.set_verified();
        let is_enough = position >= needed;
        replica.standing.answered(position, is_enough, Instant::now());
        Ok(is_enough.then(|| conn.keep(admitted)))
    }

    async fn within<T, E: Into<Failure>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.replica_patience, work).await {
            Ok(done) => done.map_err(Into::into),
            Err(_) => Err(Failure::TimedOut(self.replica_patience)),
        }
    }

    /// One message; connections that rested while the server ended are used up first. Answers whether it was asked who
    /// it is, as each new connection is: an address may lead elsewhere from one day to the next. Behind a pooler each
    /// transaction may be on another one.
    async fn begin_asking_position(
        &self,
        replica: &Replica,
        session: &Session,
        options: &TxOptions,
    ) -> Result<(TenantConn, PgRow, bool), StorageError> {
        let connections = &replica.server.connections;
        let mut spare = self.max_connections;
        loop {
            let conn = connections.take().await?;
            let asks = !conn.is_verified || self.pooler_within.is_none();
            let text = text(options, asks) + &settings(session.tenant());
            match TenantConn::begin(connections, conn, text, self.prepared).await {
                Ok((conn, row)) => return Ok((conn, row.ok_or(sqlx::Error::RowNotFound)?, asks)),
                Err(error) => {
                    let error = StorageError::from(error);
                    if !error.is_unavailable() || spare == 0 {
                        return Err(error);
                    }
                    spare -= 1;
                }
            }
        }
    }

    /// Looks at the login and at the server: is it a standby of this database?
    async fn verify_replica(&self, database: &Database, replica: &Replica) -> Result<(), ConnectError> {
        refuse_privileged_login(self, &replica.server).await?;
        let (_, primary) = self.identity_of(database).await?;
        let (is_standby, here) = self.identity_of(&replica.server).await?;
        if !is_standby {
            return Err(ReplicaFault::NotAStandby.into());
        }
        here.check(&primary)?;
        replica.set_found(Some(here));
        Ok(())
    }

    async fn identity_of(&self, server: &Database) -> Result<(bool, Identity), StorageError> {
        let mut conn = self.outside_of(server, TxOptions::new().read_only()).await?;
        let question = format!("select pg_catalog.pg_is_in_recovery(), {IDENTITY}");
        let row = sqlx::query(AssertSqlSafe(question)).persistent(false).fetch_one(&mut conn).await?;
        let answer = (row.try_get(0)?, Identity::read(&row, 1)?);
        conn.rollback().await?;
        Ok(answer)
    }

    /// Looks at every replica when the service starts. What can only be a mistake of whoever set it up is refused;
    /// whatever may pass is left to the first read.
    pub(crate) async fn verify_replicas(&self, database: &Database) -> Result<(), ConnectError> {
        for replica in &database.replicas.replicas {
            let refused = match self.within(self.verify_replica(database, replica)).await {
                Ok(()) => continue,
                Err(Failure::Refused(error)) if !matches!(*error, ConnectError::Storage(_)) => error,
                Err(Failure::Fault(fault @ ReplicaFault::OtherDatabase)) => Box::new(fault.into()),
                Err(failure) => {
                    replica.is_left_out(database, &failure);
                    continue;
                }
            };
            let database = database.name.to_string();
            return Err(ConnectError::Replica { database, number: replica.number, source: refused });
        }
        Ok(())
    }
}

/// What begins the transaction, asks how far the server is, and who it is.
fn text(options: &TxOptions, asks_identity: bool) -> String {
    let begin = options.begin_text();
    let identity = if asks_identity { format!(", {IDENTITY}") } else { String::new() };
    if options.is_read_committed() {
        format!("{begin}; {POSITION}{identity}")
    } else {
        // A question inside would take the snapshot before it is answered: what is replayed in between would be counted
        // and not seen.
        format!("begin read only; {POSITION}{identity}; commit; {begin}")
    }
}

impl Replica {
    fn prospect(&self, needed: WalPosition) -> Prospect {
        match self.standing.prospect(needed, Instant::now()) {
            Prospect::Sure if self.found().is_none() => Prospect::Chance,
            prospect => prospect,
        }
    }

    fn is_left_out(&self, database: &Database, failure: &Failure) {
        self.set_found(None);
        self.standing.failed(Instant::now());
        tracing::warn!(database = %database.name, replica = self.number, %failure, "a replica is left out");
    }

    /// How far the server is, if it is the one that was meant.
    fn judge(&self, row: &PgRow, was_asked: bool) -> Result<WalPosition, Failure> {
        if !row.try_get::<bool, _>(0)? {
            return Err(Failure::Fault(ReplicaFault::NotAStandby));
        }
        if was_asked {
            let here = Identity::read(row, 2)?;
            // Somebody else may have found fault with it meanwhile.
            let found = self.found().ok_or(Failure::Busy)?;
            if !found.is_same_database(&here) {
                return Err(Failure::Fault(ReplicaFault::OtherDatabase));
            }
        }
        let replayed: Option<&str> = row.try_get(1)?;
        Ok(replayed.and_then(WalPosition::parse).unwrap_or_default())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Busy => f.write_str("it has no room"),
            Self::Fault(fault) => fault.fmt(f),
            Self::Refused(error) => error.fmt(f),
            Self::Storage(error) => match std::error::Error::source(error) {
                Some(source) => write!(f, "{source}"),
                None => error.fmt(f),
            },
            Self::TimedOut(after) => write!(f, "it did not answer within {after:?}"),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::NotAReplica(fault) => Self::Fault(fault),
            ConnectError::Storage(error) => error.into(),
            other => Self::Refused(Box::new(other)),
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        if error.busy().is_some() { Self::Busy } else { Self::Storage(error) }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        StorageError::from(error).into()
    }
}
