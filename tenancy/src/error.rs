//! Errors, made for the reader who must act.

use std::sync::Arc;

use crate::{
    AdministratorRefusal, ApiKeyRefusal, InvalidHost, ReplicaFault, Source, Status, TenantId,
    UnsupportedHome, WrongRegion, admission::Busy, databases::UnknownDatabase,
};

/// What `platform.hold_home` raises: the home is frozen, or has not been reached yet.
const MOVING: &str = "TH001";
/// The home has been left.
const MOVED: &str = "TH002";

/// The database failed. The cause is kept as `source`; what a caller may decide on are the getters.
///
/// Cheap to clone, since several waiters of one lookup share its failure.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", refusal(source).map_or("the database did not do what was asked", |_| "no transaction was begun"))]
pub struct StorageError {
    source: Arc<sqlx::Error>,
}

/// Why a transaction was not begun, though the database could have done it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The session is an administrator's, whose grant is not in force. HTTP 403.
    #[error(transparent)]
    Administrator(AdministratorRefusal),
    /// The tenant's home is at a version that this program cannot work with. HTTP 503.
    #[error(transparent)]
    Home(UnsupportedHome),
    /// The tenant is not in service. HTTP 403 when it is suspended, 410 when it will not come back.
    #[error("the tenant is {0}: no transaction is begun for it")]
    NotActive(Status),
    /// The tenant is served in another region. HTTP 421.
    #[error(transparent)]
    WrongRegion(WrongRegion),
    /// The registry does not know the tenant any more. HTTP 404.
    #[error("the registry does not know the tenant any more")]
    Gone,
}

/// A limit that a statement met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// It took too long and was cancelled: it would again.
    Statement,
    /// It waited too long for a lock: run again, it has a chance.
    Lock,
}

impl From<Refusal> for StorageError {
    fn from(refusal: Refusal) -> Self {
        sqlx::Error::Configuration(Box::new(refusal)).into()
    }
}

fn refusal(error: &sqlx::Error) -> Option<&Refusal> {
    match error {
        sqlx::Error::Configuration(source) => source.downcast_ref(),
        _ => None,
    }
}

fn busy(error: &sqlx::Error) -> Option<&Busy> {
    match error {
        sqlx::Error::Configuration(source) => source.downcast_ref(),
        _ => None,
    }
}

impl From<sqlx::Error> for StorageError {
    fn from(source: sqlx::Error) -> Self {
        Self { source: Arc::new(source) }
    }
}

impl StorageError {
    /// Would the same transaction, run again from its start, have a chance?
    ///
    /// True for serialization failures, deadlocks, a lock that was not had in time, a result type that changed under a
    /// prepared statement, a tenant that is being moved, and a database that cannot be reached.
    pub fn is_retryable(&self) -> bool {
        is_retryable(&self.source)
    }

    /// Was no transaction begun, and why?
    pub fn refusal(&self) -> Option<&Refusal> {
        refusal(&self.source)
    }

    /// Was a statement stopped by a limit: the transaction's, or its tenant's plan's?
    pub fn limit(&self) -> Option<Limit> {
        match self.sql_state().as_deref() {
            Some("57014") => Some(Limit::Statement),
            Some("55P03") => Some(Limit::Lock),
            _ => None,
        }
    }

    /// Did a unique, foreign or exclusion constraint refuse the row?
    pub fn is_conflict(&self) -> bool {
        matches!(self.sql_state().as_deref(), Some("23505" | "23503" | "23P01"))
    }

    /// Was a value refused because no column of its type can hold it (SQLSTATE class 22)?
    pub fn is_bad_value(&self) -> bool {
        self.sql_state().is_some_and(|code| code.starts_with("22"))
    }

    /// Could the database not be reached, or has it no connection to give ([`busy`](Self::busy))?
    pub fn is_unavailable(&self) -> bool {
        is_unavailable(&self.source)
    }

    /// Is the tenant being moved to another home, or has it been? The transaction wrote nothing; run again with the
    /// registry's newest entry, as [`Tenants::run`](crate::Tenants::run) does, it ends in the new home.
    pub fn is_moving(&self) -> bool {
        self.sql_state().is_some_and(|code| code == MOVING || code == MOVED)
    }

    /// The database that this process was not told of, when that is why.
    pub fn unknown_database(&self) -> Option<&UnknownDatabase> {
        match &*self.source {
            sqlx::Error::Configuration(source) => source.downcast_ref(),
            _ => None,
        }
    }

    /// Had the tenant as much under way as it may have, so that no connection was taken for it? HTTP 503 or 429.
    pub fn busy(&self) -> Option<&Busy> {
        busy(&self.source)
    }

    /// The constraint that refused the row. For the program, not for people: it can tell of rows
    /// that the asker may not see.
    pub fn constraint(&self) -> Option<&str> {
        self.source.as_database_error().and_then(|error| error.constraint())
    }

    /// Was it refused since the tenant is being imported?
    pub(crate) fn is_while_imported(&self) -> bool {
        self.constraint() == Some("refuse_while_imported")
    }

    /// The server's own words, or a pooler's.
    pub(crate) fn database_message(&self) -> Option<&str> {
        self.source.as_database_error().map(|error| error.message())
    }

    fn sql_state(&self) -> Option<String> {
        self.source.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
    }
}

/// Serialization failure, deadlock, lock not available, changed result type under a prepared statement; or out of reach.
pub(crate) fn is_retryable(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    is_unavailable(error)
        || matches!(code.as_deref(), Some("40001" | "40P01" | "55P03" | "0A000" | MOVING | MOVED))
}

fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Configuration(source) => source.is::<Busy>(),
        // Class 08: connection; 53300: too many connections; 57P01-57P03: shutting down, starting up.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08") || matches!(&*code, "53300" | "57P01" | "57P02" | "57P03")
        }),
        _ => false,
    }
}

/// No tenant could be made out for a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Nothing names a tenant. HTTP 404.
    #[error("the request names no tenant: call the tenant's own host name")]
    Unnamed,
    /// The request names several hosts, or one that cannot be read. HTTP 400.
    #[error("the request must name one host that can be read: {0}")]
    BadHost(InvalidHost),
    /// The path goes up or stays, plain or encoded, so that another program might read another tenant in it. HTTP 400.
    #[error("the path must not have `.` or `..` in it")]
    AmbiguousPath,
    /// No tenant answers to this host. HTTP 404.
    #[error("no tenant answers to host `{host}`")]
    UnknownHost {
        /// The host, in normal form.
        host: String,
    },
    /// No tenant has the name that the path or a header gives. HTTP 404.
    #[error("no tenant has the name in the {by}")]
    UnknownName {
        /// What gave it.
        by: Source,
    },
    /// The tenant of a token, or of an API key, does not exist. HTTP 403.
    #[error("the token is of a tenant that does not exist")]
    UnknownTenant,
    /// Two sources name different tenants. HTTP 403 `tenant-mismatch`.
    #[error("{claimed_by} and {named_by} name different tenants{}", at(host.as_deref()))]
    Mismatch {
        /// The host, in normal form, when it was read.
        host: Option<String>,
        /// The tenant that was named first.
        named: TenantId,
        /// By what.
        named_by: Source,
        /// The other one.
        claimed: TenantId,
        /// By what.
        claimed_by: Source,
    },
    /// A source that is required says nothing. HTTP 401 for a credential, 404 for a name.
    #[error("the request must name its tenant by {by}")]
    Missing {
        /// The source, or the first of those of which one is required.
        by: Source,
    },
    /// The token's subject is a member of no tenant, or not of this one. HTTP 403.
    #[error("you are not a member of this tenant")]
    NotAMember,
    /// The token's subject is a member of several tenants. HTTP 403 `choose-tenant`.
    #[error("you are a member of several tenants: choose one, by calling its own host name")]
    SeveralMemberships,
    /// An API key that does not hold. HTTP 401.
    #[error("{why}")]
    ApiKey {
        /// Why not.
        why: ApiKeyRefusal,
    },
    /// A header that only trusted callers may send. HTTP 403.
    #[error("header `{header}` is for trusted callers")]
    Untrusted {
        /// Its name.
        header: String,
    },
    /// The tenant exists and is not served. HTTP 403 suspended, 410 archived or deleted, 503 provisioning.
    #[error("the tenant is {status}")]
    NotActive {
        /// Where it stands.
        status: Status,
    },
    /// The tenant's home is at a version that this program cannot work with. HTTP 503.
    #[error(transparent)]
    Unsupported(UnsupportedHome),
    /// The tenant is served in another region. HTTP 421, with the place to go.
    #[error(transparent)]
    WrongRegion(WrongRegion),
    /// The registry could not be asked.
    #[error("the tenant registry could not be asked")]
    Storage(#[from] StorageError),
}

fn at(host: Option<&str>) -> String {
    host.map(|host| format!(" at host `{host}`")).unwrap_or_default()
}

impl From<sqlx::Error> for ResolveError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}

/// What became of a transaction whose commit did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing was stored.
    #[error("the transaction was rolled back")]
    RolledBack(#[source] StorageError),
    /// The answer was lost: the transaction may or may not be stored. Look before doing it again.
    #[error("the answer to the commit was lost: it may or may not be stored")]
    Unknown(#[source] StorageError),
    /// Stored; only the token is missing.
    #[error("the transaction is stored, but its token could not be taken")]
    WithoutToken(#[source] StorageError),
}

impl CommitError {
    /// The database's part.
    pub fn storage(&self) -> &StorageError {
        match self {
            Self::RolledBack(error) | Self::Unknown(error) | Self::WithoutToken(error) => error,
        }
    }
}

/// A connection could not be opened as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The login would not be held by row security.
    #[error(
        "login `{login}` {why}, so row security would not hold it: connect as a login like `formwork_app`"
    )]
    PrivilegedLogin {
        /// The login.
        login: String,
        /// What is wrong with it.
        why: String,
    },
    /// The login may do more than follow streams, or less.
    #[error("login `{login}` {why}: follow streams as a login like `formwork_relay`")]
    NotARelay {
        /// The login.
        login: String,
        /// What is wrong with it.
        why: String,
    },
    /// The address is no Postgres URL.
    #[error("the database address is not a Postgres URL: {reason}")]
    Address {
        /// What is wrong with it.
        reason: String,
    },
    /// The address is a pooler in transaction mode and was not said to be one: statements that are prepared by name
    /// would meet other clients' on the same server connection.
    #[error(
        "the address is a pooler in transaction mode: say so (`transaction_pooler`), or give the address of the database"
    )]
    UndeclaredPooler,
    /// The pooler does not take what every connection of sqlx sends first.
    #[error(
        "the pooler refuses `{parameter}`: set `ignore_startup_parameters = {parameter}` in its configuration"
    )]
    PoolerRefuses {
        /// The parameter.
        parameter: String,
    },
    /// A base domain that is none.
    #[error("`{domain}` is no base domain: use a name such as `example.com`")]
    BaseDomain {
        /// As given.
        domain: String,
    },
    /// The schema `platform` is not there.
    #[error("the database has no schema `platform`: run the migrations first")]
    NotMigrated,
    /// Another database than the main one was refused.
    #[error("database `{name}`: {source}")]
    Database {
        /// Its name.
        name: String,
        /// Why.
        source: Box<ConnectError>,
    },
    /// A replica was refused.
    #[error("replica {number} of database `{database}`: {source}")]
    Replica {
        /// The database.
        database: String,
        /// Counted from zero, in the order in which they were named.
        number: usize,
        /// Why.
        source: Box<ConnectError>,
    },
    /// A replica of a database that was not named.
    #[error("there is no database `{name}` of which there could be a replica: name it, or correct the name")]
    ReplicaOfNone {
        /// As given.
        name: String,
    },
    /// The server is not what a replica must be.
    #[error(transparent)]
    NotAReplica(#[from] ReplicaFault),
    /// A name that no database can have.
    #[error(
        "`{name}` cannot name a database: use lower-case letters, digits, `-` and `_`, each name once, not `main`"
    )]
    Name {
        /// As given.
        name: String,
    },
    /// The database failed.
    #[error("the database could not be reached")]
    Storage(#[from] StorageError),
}

impl From<sqlx::Error> for ConnectError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}
