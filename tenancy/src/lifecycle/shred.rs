//! The tenant's keys go first: whatever copy of its rows there is, its sealed fields open no more.

use super::{Lifecycle, LifecycleFault, LifecycleRefusal, ledger::Entry, steps::Whereabouts};
use crate::moves::hands::Hand;

/// By what keys are destroyed, if by anything.
#[derive(Debug, Clone, Default)]
pub(super) struct Shredder {
    #[cfg(feature = "keys")]
    with: Option<(crate::Tenants, crate::keys::Keys)>,
}

impl Shredder {
    #[cfg(feature = "keys")]
    pub(super) fn new(tenants: crate::Tenants, keys: crate::keys::Keys) -> Self {
        Self { with: Some((tenants, keys)) }
    }

    /// Destroys the tenant's keys, for good and in every backup. Answers whether there was anybody to do it.
    #[cfg(feature = "keys")]
    async fn shred(&self, entry: &Entry) -> Result<bool, LifecycleFault> {
        use crate::{Actor, Session};
        let Some((tenants, keys)) = &self.with else { return Ok(false) };
        let tenant = tenants.by_id_now(entry.tenant).await?.ok_or(LifecycleFault::Disturbed)?;
        let session = Session::new(&tenant, Actor::system("lifecycle"));
        let done = keys.shred(tenants, &session).await;
        done.map(|()| true).map_err(|error| LifecycleFault::Shred(Box::new(error)))
    }

    #[cfg(not(feature = "keys"))]
    async fn shred(&self, _: &Entry) -> Result<bool, LifecycleFault> {
        Ok(false)
    }

    fn is_there(&self) -> bool {
        #[cfg(feature = "keys")]
        return self.with.is_some();
        #[cfg(not(feature = "keys"))]
        return false;
    }
}

impl Lifecycle {
    pub(super) async fn shred(
        &self,
        entry: &Entry,
        place: &Whereabouts,
        home: &mut Hand,
    ) -> Result<(), LifecycleFault> {
        if self.shredder.shred(entry).await? {
            return Ok(());
        }
        self.keys_can_go(place, home).await
    }

    /// Is there nothing to be destroyed, or somebody who can?
    pub(super) async fn keys_can_go(
        &self,
        place: &Whereabouts,
        home: &mut Hand,
    ) -> Result<(), LifecycleFault> {
        if self.shredder.is_there() {
            return Ok(());
        }
        let table = format!("{}.tenant_keys", place.schema);
        let exists: bool = sqlx::query_scalar("select to_regclass($1) is not null")
            .bind(&table)
            .fetch_one(&mut home.conn)
            .await?;
        if !exists {
            return Ok(());
        }
        let sealed = format!("select exists (select from {table} where destroyed_at is null)");
        let sealed: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(sealed)).fetch_one(&mut home.conn).await?;
        if sealed { Err(LifecycleRefusal::NoKeys.into()) } else { Ok(()) }
    }
}
