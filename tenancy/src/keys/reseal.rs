//! Sealing a column anew under the newest data key, page by page.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Field, KeyError, Keys, Purpose, Sealed,
    cache::Slot,
    seal::{open_with, seal_with},
    sealed::header,
};
use crate::{StorageError, TenantTx};

/// A sealed column of a table whose rows have a UUID.
#[derive(Debug, Clone, Copy)]
pub struct SealedColumn {
    table: &'static str,
    column: &'static str,
    key: &'static str,
    sealed_as: Option<(&'static str, &'static str)>,
}

/// One page of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    last: Option<Uuid>,
    resealed: u64,
}

impl SealedColumn {
    /// `column` of `table`, whose rows are told apart by `id`.
    pub const fn new(table: &'static str, column: &'static str) -> Self {
        Self { table, column, key: "id", sealed_as: None }
    }

    /// The column by which rows are told apart.
    #[must_use]
    pub const fn key(mut self, column: &'static str) -> Self {
        self.key = column;
        self
    }

    /// The names in the values' [`Field`], where table or column have been renamed since.
    #[must_use]
    pub const fn sealed_as(mut self, table: &'static str, column: &'static str) -> Self {
        self.sealed_as = Some((table, column));
        self
    }

    fn field(&self, row: Uuid) -> Field<'static> {
        let (table, column) = self.sealed_as.unwrap_or((self.table, self.column));
        Field::new(table, column, row)
    }

    /// The names come from the program, not from outside; quoted all the same.
    fn names(&self) -> [String; 3] {
        [self.table, self.column, self.key].map(|name| format!("\"{}\"", name.replace('"', "\"\"")))
    }
}

impl Page {
    /// Where the next page begins; none when there is no next one.
    pub fn next(&self) -> Option<Uuid> {
        self.last
    }

    /// How many values were sealed anew.
    pub fn resealed(&self) -> u64 {
        self.resealed
    }
}

impl Keys {
    /// Seals anew up to `limit` values of the column that are sealed under an older data key, in the order of their rows'
    /// identities from behind `after` on. Rows are locked until the transaction ends, so give each page its own one; a
    /// run that was cut off begins again at any row.
    ///
    /// ```no_run
    /// # use formwork_tenancy::{Session, Tenants, keys::{Keys, SealedColumn}};
    /// # async fn example(keys: Keys, tenants: Tenants, session: Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut after = None;
    /// loop {
    ///     let mut tx = tenants.begin(&session).await?;
    ///     let page = keys.reseal(&mut tx, &SealedColumn::new("people", "passport"), after, 500).await?;
    ///     tx.commit().await?;
    ///     after = page.next();
    ///     if after.is_none() {
    ///         break;
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyError`]: of the first value that cannot be opened; then nothing of the page is changed.
    pub async fn reseal(
        &self,
        tx: &mut TenantTx,
        column: &SealedColumn,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Page, KeyError> {
        // What this node remembers may have been retired by another one.
        self.inner.cache.forget(Slot { tenant: tx.tenant_id(), purpose: Purpose::Data, version: None }).await;
        let Some(newest) = self.newest(tx, Purpose::Data).await? else {
            return Ok(Page { last: None, resealed: 0 });
        };
        let [table, name, key] = column.names();
        let old: Vec<(Uuid, Sealed<Vec<u8>>)> = sqlx::query_as(AssertSqlSafe(format!(
            "select {key}, {name} from {table}
              where ($1::uuid is null or {key} > $1) and substr({name}, 1, 5) < $2
              order by {key} limit $3 for no key update"
        )))
        .bind(after)
        .bind(header(newest.version).as_slice())
        .bind(i64::from(limit.max(1)))
        .fetch_all(&mut **tx)
        .await?;
        let tenant = tx.tenant_id();
        let (mut ids, mut anew) = (Vec::with_capacity(old.len()), Vec::with_capacity(old.len()));
        for (id, sealed) in &old {
            let field = column.field(*id);
            let version = sealed.key_version().ok_or_else(|| KeyError::not_sealed_here(field))?;
            let plain = open_with(&*self.data_key(tx, version, field).await?, tenant, sealed, field)?;
            anew.push(seal_with(&newest, tenant, plain.as_slice(), field)?);
            ids.push(*id);
        }
        let done = sqlx::query(AssertSqlSafe(format!(
            "update {table} as r set {name} = n.sealed
               from unnest($1::uuid[], $2::bytea[]) as n (id, sealed) where r.{key} = n.id"
        )))
        .bind(&ids)
        .bind(&anew)
        .execute(&mut **tx)
        .await
        .map_err(StorageError::from)?;
        let full = old.len() >= usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        Ok(Page { last: ids.last().copied().filter(|_| full), resealed: done.rows_affected() })
    }
}
