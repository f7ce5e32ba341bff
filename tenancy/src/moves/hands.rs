//! The connections of a move: one to the control plane's database, one to each home's.
//!
//! INVARIANT: whatever a move does in a database it does on a connection that holds the lock of its role there. A
//! process that is gone may have left a statement running; its lock ends with that statement, and whoever goes on waits
//! for it, so nothing of the old one can come after anything of the new.

use std::fmt;

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgQueryResult};

use super::{MoveError, MoveFault, MoveRefusal};
use crate::{ControlPlane, TenantId, databases::MAIN, fleet::RUN};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The registry and the ledger.
    Main,
    /// The home that is left.
    Source,
    /// The home that is moved to.
    Target,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "main",
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// A connection with its lock. Dropped, it is closed.
pub(crate) struct Hand {
    pub(crate) conn: PgConnection,
}

impl Hand {
    pub(crate) async fn open(
        control: &ControlPlane,
        role: Role,
        database: &str,
        tenant: TenantId,
    ) -> Result<Self, MoveFault> {
        let pool = control.pool_of(database).map_err(MoveRefusal::UnknownDatabase)?;
        let options = pool.connect_options().as_ref().clone().disable_statement_logging();
        let conn = options.application_name("formwork-move").connect().await?;
        let mut this = Self { conn };
        // Values are written and read back as text, and compared as text.
        let settings = format!(
            "set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set timezone = 'UTC';
             set extra_float_digits = 3; set bytea_output = 'hex'; set statement_timeout = 0;
             set client_min_messages = warning;
             set row_security = on; set app.current_tenant = '{tenant}'; set app.current_org_id = '{tenant}';
             set lock_timeout = '10s'"
        );
        this.run(&settings).await?;
        // So that a statement of a process that is gone ends soon. Not every system can.
        let _ = this.run("set client_connection_check_interval = '500ms'").await;
        let migrations = match role {
            Role::Main => String::new(),
            Role::Source | Role::Target => format!(", pg_advisory_lock_shared({RUN})"),
        };
        let lock = format!(
            "select pg_advisory_lock(hashtextextended('formwork.move.{role}.{tenant}', 0)){migrations}"
        );
        match this.run(&lock).await {
            Ok(_) => Ok(this),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55P03") => {
                Err(MoveRefusal::Busy.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn main(control: &ControlPlane, tenant: TenantId) -> Result<Self, MoveError> {
        Self::open(control, Role::Main, MAIN, tenant).await.map_err(MoveFault::before_the_move)
    }

    /// Runs statements without parameters.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<PgQueryResult, sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.conn).await
    }

    /// Begins a transaction in which names are the home's. One that fails ends with its connection.
    pub(crate) async fn begin_in(&mut self, schema: &str, how: &str) -> Result<(), sqlx::Error> {
        self.run(&format!("begin {how}; set local search_path = {schema}, pg_temp")).await?;
        Ok(())
    }

    pub(crate) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.run("commit").await?;
        Ok(())
    }

    /// Is the lock still held?
    pub(crate) async fn is_alive(&mut self) -> Result<(), MoveFault> {
        Ok(self.conn.ping().await?)
    }
}
