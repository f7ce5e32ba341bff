//! Is a pool's connection as clean as a new one? Asked by a plain query, as other code would run it.

use std::fmt;

use sqlx::{AssertSqlSafe, Executor, PgConnection, PgPool, Row, postgres::PgRow};
use uuid::Uuid;

/// What a connection of a pool still carried.
pub struct PoolLeak {
    round: Option<usize>,
    what: String,
}

impl PoolLeak {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { round: None, what: what.into() }
    }

    pub(super) fn in_round(self, round: usize) -> Self {
        Self { round: Some(round), ..self }
    }

    /// What it carried.
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl fmt::Display for PoolLeak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(round) = self.round {
            write!(f, "after round {round}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// As people read it: it is met in a failed test.
impl fmt::Debug for PoolLeak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for PoolLeak {}

/// Looks at every connection that the pool has, those too that are on their way back, and answers how many: no
/// tenant in `app.current_tenant`, no open transaction, no answer that nobody has read, one search path for all.
///
/// Nobody else may hold a connection meanwhile.
///
/// # Errors
///
/// The first [`PoolLeak`].
pub async fn examine_pool(pool: &PgPool) -> Result<usize, PoolLeak> {
    Examination::default().all(pool).await
}

/// What a clean connection looks like.
#[derive(Debug, Clone)]
pub(super) struct Examination {
    pub(super) setting: String,
    pub(super) search_path: Option<String>,
}

impl Default for Examination {
    fn default() -> Self {
        Self { setting: "app.current_tenant".to_owned(), search_path: None }
    }
}

impl Examination {
    /// Every connection there is.
    #[expect(clippy::disallowed_methods, reason = "looks at what the pool would hand out")]
    pub(super) async fn all(&mut self, pool: &PgPool) -> Result<usize, PoolLeak> {
        let mut held = vec![pool.acquire().await.map_err(lost)?];
        while held.len() < pool.size() as usize {
            held.push(pool.acquire().await.map_err(lost)?);
        }
        for conn in &mut held {
            self.one(conn).await?;
        }
        Ok(held.len())
    }

    /// Those that are idle now, and at least one.
    #[expect(clippy::disallowed_methods, reason = "looks at what the pool would hand out")]
    pub(super) async fn idle(&mut self, pool: &PgPool) -> Result<(), PoolLeak> {
        let mut held = vec![pool.acquire().await.map_err(lost)?];
        while let Some(conn) = pool.try_acquire() {
            held.push(conn);
        }
        for conn in &mut held {
            self.one(conn).await?;
        }
        Ok(())
    }

    async fn one(&mut self, conn: &mut PgConnection) -> Result<(), PoolLeak> {
        // In one simple message: outside a transaction both clocks are read at once, inside one the transaction's is
        // the older. What is echoed tells that the answer is to this question.
        let question = Uuid::new_v4().to_string();
        let sql = format!(
            "select '{question}', coalesce(current_setting('{}', true), ''), (now() = statement_timestamp())::text,
                    current_setting('search_path')",
            self.setting.replace('\'', "''"),
        );
        let row = conn.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        let row =
            row.map_err(|error| PoolLeak::new(format!("a connection of the pool cannot be used: {error}")))?;
        let [echo, tenant, outside, search_path] = texts(&row)?;
        if echo != question {
            return Err(PoolLeak::new("a connection of the pool answers an earlier question"));
        }
        if !tenant.is_empty() {
            let what = format!("a connection of the pool still carries `{tenant}` in `{}`", self.setting);
            return Err(PoolLeak::new(what));
        }
        if outside != "true" {
            return Err(PoolLeak::new("a connection of the pool is inside an open transaction"));
        }
        let expected = self.search_path.get_or_insert_with(|| search_path.clone());
        match *expected == search_path {
            true => Ok(()),
            false => {
                Err(PoolLeak::new(format!("a connection of the pool still has search path `{search_path}`")))
            }
        }
    }
}

fn lost(error: sqlx::Error) -> PoolLeak {
    PoolLeak::new(format!("the pool gives no connection: {error}"))
}

fn texts<const N: usize>(row: &PgRow) -> Result<[String; N], PoolLeak> {
    let mut texts = [const { String::new() }; N];
    for (index, text) in texts.iter_mut().enumerate() {
        *text = row
            .try_get(index)
            .map_err(|_| PoolLeak::new("a connection of the pool answers an earlier question"))?;
    }
    Ok(texts)
}
