//! The guarded transaction: the only way to a tenant's tables.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Instant,
};

use sqlx::{PgConnection, Row};

use crate::{
    CommitError, CommitToken, ServedBy, Session, StorageError, Tenant, TenantId, TxOptions,
    conn::{CommitAnswer, TenantConn, ends_connection},
    own_role,
    replica::{Marks, WalPosition},
    stream::CHANNEL,
};

/// A transaction of one session's tenant.
///
/// Made by [`Tenants::begin`](crate::Tenants::begin) in one round trip: the message that begins the
/// transaction also sets the tenant and the schema, for this transaction only. It dereferences to
/// [`TenantConn`], which executes statements; table names are unqualified in every isolation mode.
///
/// Dropped without [`commit`](Self::commit), at any await, it is rolled back, and no later user of the
/// connection finds anything of it.
pub struct TenantTx {
    pub(crate) conn: TenantConn,
    session: Session,
    read_only: bool,
    serializable: bool,
    pub(crate) extensions: http::Extensions,
    /// INVARIANT: zero when no savepoint is open, and when one was given up in the middle, not zero.
    pub(crate) open_savepoints: u32,
    /// Whoever appends to a stream wakes its followers.
    pub(crate) notifies: bool,
    /// The commit wakes followers, where transactions notify.
    wakes: bool,
    served_by: ServedBy,
    /// Where the commit says how far the primary's log is, for whoever reads on a replica.
    marks: Option<Arc<Marks>>,
}

/// The settings that make a transaction a tenant's. Only a UUID and a checked identifier are formatted.
pub(crate) fn settings(tenant: &Tenant) -> String {
    let id = tenant.id();
    let schema = tenant.schema_name();
    let mut text = format!(
        "; set local app.current_tenant = '{id}'; set local app.current_org_id = '{id}'; \
         set local search_path = {schema}, pg_temp"
    );
    text.push_str("; set local role ");
    if tenant.has_own_role() {
        text.push_str(&own_role::name(id));
    } else {
        // Whatever role statements of an earlier transaction have left on the connection.
        text.push_str("none");
    }
    text
}

impl TenantTx {
    pub(crate) fn new(conn: TenantConn, session: &Session, options: &TxOptions, notifies: bool) -> Self {
        Self {
            conn,
            session: session.clone(),
            read_only: options.is_read_only(),
            serializable: options.is_serializable(),
            extensions: http::Extensions::new(),
            open_savepoints: 0,
            notifies,
            wakes: false,
            served_by: ServedBy::Primary,
            marks: None,
        }
    }

    pub(crate) fn served(mut self, by: ServedBy, marks: Option<&Arc<Marks>>) -> Self {
        self.served_by = by;
        self.marks = marks.cloned();
        self
    }

    /// Who answers its statements: the primary, or a replica that was far enough. What a replica shows may be older
    /// than what the primary does, and `pg_current_snapshot()` there does not name what is still running.
    pub fn served_by(&self) -> ServedBy {
        self.served_by
    }

    /// Whose work this is.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The tenant.
    pub fn tenant(&self) -> &Tenant {
        self.session.tenant()
    }

    /// The tenant's identity.
    pub fn tenant_id(&self) -> TenantId {
        self.session.tenant_id()
    }

    /// Slots by type, for what another crate keeps for the length of this transaction.
    pub fn extensions(&mut self) -> &mut http::Extensions {
        &mut self.extensions
    }

    /// The commit wakes whoever follows a stream, where transactions notify
    /// ([`TenantsBuilder::notify_followers`](crate::TenantsBuilder::notify_followers)): for who has appended to one by
    /// other means than [`publish`](Self::publish). It is a part of the commit's message.
    pub fn wake_followers(&mut self) {
        self.wakes = true;
    }

    /// The connection without its guard. Whoever ends the transaction or sets the tenant on it breaks
    /// the isolation; [`commit`](Self::commit) notices and fails. What is answered on it cannot be watched, so
    /// the transaction's connection is closed when it is dropped right after this.
    pub fn raw_connection_unguarded(&mut self) -> &mut PgConnection {
        self.conn.owe_answer();
        self.conn.raw()
    }

    /// Stores everything or nothing, in one round trip, and tells the point in history that holds it. One that may
    /// not write has nothing to store: its token asks for nothing, and it ends well also after a failed statement.
    ///
    /// # Errors
    ///
    /// [`CommitError::RolledBack`] when nothing was stored: a deferred constraint, a statement that had
    /// failed before, a tenant that was changed under way, a home that is being left
    /// ([`StorageError::is_moving`]). [`CommitError::Unknown`] when the answer was
    /// lost. [`CommitError::WithoutToken`] when it is stored but the token could not be taken.
    pub async fn commit(mut self) -> Result<CommitToken, CommitError> {
        if self.open_savepoints > 0 {
            let abandoned = sqlx::Error::Protocol("a savepoint was given up before it had ended".to_owned());
            return Err(CommitError::RolledBack(abandoned.into()));
        }
        if self.read_only {
            let ended = self.conn.commit_read(self.serializable).await;
            return ended
                .map(|()| CommitToken::of_a_read(self.tenant()))
                .map_err(|error| CommitError::RolledBack(error.into()));
        }
        let (id, epoch) = (self.tenant_id(), self.tenant().epoch());
        let wake =
            if self.wakes && self.notifies { format!(", pg_notify('{CHANNEL}', '')") } else { String::new() };
        let confirm = format!("select platform.confirm_tenant('{id}', {epoch}){wake}");
        let sent = self.marks.as_ref().map(|_| Instant::now());
        let answer = self.conn.commit(confirm).await;
        let token = token_of(self.tenant(), answer)?;
        if let (Some(marks), Some(sent)) = (&self.marks, sent) {
            marks.set(sent, WalPosition::of(&token));
        }
        Ok(token)
    }

    /// Undoes everything, and waits until it is undone.
    ///
    /// # Errors
    ///
    /// When the connection is lost, in which case the server undoes it by itself.
    pub async fn rollback(self) -> Result<(), StorageError> {
        Ok(self.conn.rollback().await?)
    }
}

fn token_of(tenant: &Tenant, answer: CommitAnswer) -> Result<CommitToken, CommitError> {
    let read = |rows: &[sqlx::postgres::PgRow]| -> Result<CommitToken, sqlx::Error> {
        let [confirmed, state] = rows else {
            return Err(sqlx::Error::RowNotFound);
        };
        let xid = confirmed.try_get::<Option<&str>, _>(0)?.and_then(|text| text.parse().ok());
        Ok(CommitToken::new(tenant, xid, state.try_get(0)?, state.try_get(1)?))
    };
    match answer.error {
        None => read(&answer.rows).map_err(|error| CommitError::WithoutToken(error.into())),
        Some(error) if answer.completed >= 2 => Err(CommitError::WithoutToken(error.into())),
        Some(error) if !ends_connection(&error) => Err(CommitError::RolledBack(error.into())),
        Some(error) => Err(CommitError::Unknown(error.into())),
    }
}

impl Deref for TenantTx {
    type Target = TenantConn;

    fn deref(&self) -> &TenantConn {
        &self.conn
    }
}

impl DerefMut for TenantTx {
    fn deref_mut(&mut self) -> &mut TenantConn {
        &mut self.conn
    }
}

impl fmt::Debug for TenantTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantTx")
            .field("tenant", &self.tenant_id())
            .field("conn", &self.conn)
            .finish_non_exhaustive()
    }
}
