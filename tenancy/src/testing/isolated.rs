//! Can one tenant see, change, count or infer another's rows? In every pairing of homes.
//!
//! What was answered is compared with two worlds in which there was nothing to find: before B had any row, and with
//! keys that exist nowhere. Each world has an attacker of its own, so that what one leaves does not speak for another.

use std::fmt::Debug;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use super::{
    Knowledge, Leak, TestActor, TestDatabase,
    state::{State, difference, seen, sequences, stored, written},
};
use crate::{HomePlace, Isolation, Tenant, TenantTx, Tenants, local_postgres::LocalRole};

/// What can be provisioned in every database; each is tried against all others.
const MODES: [Isolation; 2] = [Isolation::Shared, Isolation::Schema];

/// Tenant A's try to reach tenant B's rows. See [`assert_isolated!`](crate::assert_isolated).
#[derive(Debug, Clone)]
pub struct IsolationTest<'a> {
    db: &'a TestDatabase,
    pairings: Vec<(Isolation, Isolation)>,
    shared_sequences: Vec<String>,
}

/// What was tried without a leak.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IsolationReport {
    /// A's home and B's.
    pub pairings: Vec<(Isolation, Isolation)>,
    /// Relations of B's homes that A also went for by their full names.
    pub relations: usize,
}

impl<'a> IsolationTest<'a> {
    /// In this database, with tenants of its own, in every pairing of homes: with one in another database too when the
    /// test has one ([`TestDatabase::with_databases`]).
    pub fn new(db: &'a TestDatabase) -> Self {
        let elsewhere = db.other_database().map(|_| Isolation::Database);
        let modes: Vec<Isolation> = MODES.into_iter().chain(elsewhere).collect();
        let pairings = modes.iter().flat_map(|a| modes.iter().map(move |b| (*a, *b))).collect();
        Self { db, pairings, shared_sequences: Vec::new() }
    }

    /// In this pairing alone.
    #[must_use]
    pub fn only(mut self, attacker: Isolation, victim: Isolation) -> Self {
        self.pairings = vec![(attacker, victim)];
        self
    }

    /// Accepts that a sequence (`shared.invoices_number_seq`) tells a tenant how much the others write.
    #[must_use]
    pub fn accept_shared_sequence(mut self, name: impl Into<String>) -> Self {
        self.shared_sequences.push(name.into());
        self
    }

    /// Runs `seed` as B, which is committed and answers what identifies its rows; then `attack` as A with that, and
    /// as other As with nothing to find. Whatever `attack` answers is an observation: it must depend on rows alone,
    /// so leave out clocks and random values. An error is an observation too.
    ///
    /// All of it goes over one connection, as in a pool under load.
    ///
    /// # Errors
    ///
    /// The first [`Leak`].
    ///
    /// # Panics
    ///
    /// When `seed` writes nothing, or the database fails.
    pub async fn run<K: Knowledge, T: Debug>(
        &self,
        seed: impl AsyncFn(&mut TenantTx) -> K,
        attack: impl AsyncFn(&mut TenantTx, &K) -> T,
    ) -> Result<IsolationReport, Leak> {
        let tenants = self.db.connect(Tenants::builder().max_connections(1)).await;
        let mut report = IsolationReport { pairings: Vec::new(), relations: 0 };
        for &(attacker, victim) in &self.pairings {
            let scene = Scene::new(self, &tenants, attacker, victim).await;
            let mut root = scene.connect(LocalRole::Superuser).await;
            report.relations += scene.play(&mut root, &seed, &attack).await?;
            report.pairings.push((attacker, victim));
        }
        tenants.close().await;
        Ok(report)
    }
}

/// One pairing.
struct Scene<'a> {
    test: &'a IsolationTest<'a>,
    victim: TestActor,
    /// Two before B has rows, one after, one with B's keys.
    attackers: [TestActor; 4],
}

impl<'a> Scene<'a> {
    async fn new(
        test: &'a IsolationTest<'a>,
        tenants: &Tenants,
        attacker: Isolation,
        victim: Isolation,
    ) -> Self {
        let actor = async |role: &str, isolation| {
            let slug = format!("{role}-{}", Uuid::new_v4().simple());
            let tenant = match (isolation, test.db.other_database()) {
                (Isolation::Database, Some(name)) => {
                    test.db.tenant_at(&slug, HomePlace::database(name)).await
                }
                _ => test.db.tenant(&slug, isolation).await,
            };
            TestActor::new(tenants, test.db.service(&tenant).session().clone())
        };
        Self {
            test,
            victim: actor("b", victim).await,
            attackers: [
                actor("a1", attacker).await,
                actor("a2", attacker).await,
                actor("a3", attacker).await,
                actor("a4", attacker).await,
            ],
        }
    }

    /// To the database of B's home.
    async fn connect(&self, role: LocalRole) -> PgConnection {
        let options = self.test.db.options_of(self.victim.tenant().database_name(), role).await;
        PgConnection::connect_with(&options).await.expect("the login connects")
    }

    async fn play<K: Knowledge, T: Debug>(
        &self,
        root: &mut PgConnection,
        seed: &impl AsyncFn(&mut TenantTx) -> K,
        attack: &impl AsyncFn(&mut TenantTx, &K) -> T,
    ) -> Result<usize, Leak> {
        // What B will know must be had to ask for its twin, so B's rows are tried once and undone.
        let (known, _) = self.seeded(seed, false).await;
        let [first, second, after, armed] = &self.attackers;
        let (nowhere, begun) = (known.nowhere(), sequences(root).await);
        let expected = observe(first, &nowhere, attack).await;
        let attacked = sequences(root).await;
        let repeated = observe(second, &known.nowhere(), attack).await;

        let (empty, before_seed) = (stored(root, self.victim.tenant()).await, sequences(root).await);
        let (known, before) = self.seeded(seed, true).await;
        let kept = stored(root, self.victim.tenant()).await;
        let wrote = written(&empty, &kept);
        assert!(!wrote.is_empty(), "the seed wrote no row of B's: there is nothing to protect");

        let seeded = sequences(root).await;
        for (name, value) in &seeded {
            let moved_by_a = begun.get(name) != attacked.get(name);
            let moved_by_b = before_seed.get(name) != Some(value);
            if moved_by_a && moved_by_b && !self.test.shared_sequences.contains(name) {
                let what = "the numbers that it gives to A tell how much B writes";
                return Err(self.leak(&[format!("sequence {name}")], what));
            }
        }
        if expected != repeated {
            let what = format!(
                "two tenants who asked the same before B had a row were answered differently: either they saw each \
                 other's rows, or the answer has a clock or a random value in it\n    one:     {expected}\n    other:   {repeated}"
            );
            return Err(self.leak(&wrote, &what));
        }
        let unarmed = observe(after, &known.nowhere(), attack).await;
        self.same(
            "the answer changed once B had rows, though nothing was known of them",
            &expected,
            &unarmed,
            &wrote,
        )?;
        let answer = observe(armed, &known, attack).await;
        self.same(
            "B's keys are answered otherwise than keys that exist nowhere",
            &expected,
            &answer,
            &wrote,
        )?;

        let relations = self.direct(armed).await?;
        self.unchanged("B's session now sees", &before, &self.seen_by_victim().await)?;
        self.unchanged("there is now, stored as B's,", &kept, &stored(root, self.victim.tenant()).await)?;
        Ok(relations)
    }

    /// What the seed answers, and what B then sees.
    async fn seeded<K>(&self, seed: &impl AsyncFn(&mut TenantTx) -> K, keep: bool) -> (K, State) {
        let mut tx = self.victim.begin().await;
        let known = seed(&mut tx).await;
        if !keep {
            tx.rollback().await.expect("the trial of the seed is undone");
            return (known, State::new());
        }
        tx.commit().await.expect("B's rows are stored");
        (known, self.seen_by_victim().await)
    }

    async fn seen_by_victim(&self) -> State {
        let mut tx = self.victim.begin_read().await;
        let state = seen(&mut tx).await;
        tx.rollback().await.expect("the reading ends");
        state
    }

    fn same(&self, problem: &str, expected: &str, answer: &str, tables: &[String]) -> Result<(), Leak> {
        match expected == answer {
            true => Ok(()),
            false => {
                Err(self.leak(tables, &format!("{problem}\n    without: {expected}\n    with:    {answer}")))
            }
        }
    }

    fn unchanged(&self, subject: &str, before: &State, after: &State) -> Result<(), Leak> {
        match difference(before, after) {
            None => Ok(()),
            Some((table, how)) => Err(self.leak(&[table], &format!("{subject} something else: {how}"))),
        }
    }

    /// Everything in B's home that has a tenant, by its full name: as A, and as the login without a tenant.
    async fn direct(&self, attacker: &TestActor) -> Result<usize, Leak> {
        let victim = self.victim.tenant();
        let mut tx = attacker.begin().await;
        let relations: Vec<(String, bool)> = sqlx::query_as(RELATIONS)
            .bind(victim.schema_name())
            .fetch_all(&mut *tx)
            .await
            .expect("the catalogue is read");
        let mut nobody = self.connect(LocalRole::App).await;
        for (name, is_table) in &relations {
            let own = format!("{name} where tenant_id = '{}'", victim.id());
            let verbs: &[(&str, String)] = &[
                ("reads", format!("select from {own}")),
                (
                    "updates",
                    format!("update {}", own.replacen(" where", " set tenant_id = tenant_id where", 1)),
                ),
                ("deletes", format!("delete from {own}")),
            ];
            let verbs = if *is_table { verbs } else { verbs.get(..1).unwrap_or_default() };
            for (verb, sql) in verbs {
                let reached = reached(&mut tx, sql).await;
                if reached > 0 {
                    return Err(self.leak(
                        std::slice::from_ref(name),
                        &format!("A {verb} {reached} of B's rows: {sql}"),
                    ));
                }
            }
            let all = format!("select from {name}");
            let reached = sqlx::query(AssertSqlSafe(all))
                .execute(&mut nobody)
                .await
                .map_or(0, |done| done.rows_affected());
            if reached > 0 {
                let what = format!("the service's login reads {reached} rows without a tenant");
                return Err(self.leak(std::slice::from_ref(name), &what));
            }
        }
        tx.rollback().await.expect("the attacks are undone");
        nobody.close().await.expect("the connection closes");
        Ok(relations.len())
    }

    fn leak(&self, tables: &[String], what: &str) -> Leak {
        let [attacker, ..] = &self.attackers;
        Leak {
            attacker: attacker.tenant().isolation(),
            victim: self.victim.tenant().isolation(),
            tables: tables.to_vec(),
            what: what.to_owned(),
        }
    }
}

/// Relations of a schema with a column `tenant_id` that the session may read, partitions too; is it a table?
const RELATIONS: &str = "
  select format('%I.%I', n.nspname, c.relname), c.relkind in ('r', 'p')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'f') and has_table_privilege(c.oid, 'select')
     and exists (select from pg_attribute a
                  where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
   order by 1";

/// Rows that a statement reached; one that is refused reaches none.
async fn reached(tx: &mut TenantTx, sql: &str) -> u64 {
    let sql = sql.to_owned();
    let done = tx.savepoint(|tx| {
        Box::pin(async move { sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(&mut **tx).await })
    });
    done.await.expect("a savepoint is set").map_or(0, |done| done.rows_affected())
}

/// What the attacker gets to know, without what it knew before.
async fn observe<K: Knowledge, T: Debug>(
    attacker: &TestActor,
    known: &K,
    attack: &impl AsyncFn(&mut TenantTx, &K) -> T,
) -> String {
    let mut tx = attacker.begin().await;
    let answer = format!("{:?}", attack(&mut tx, known).await);
    let end = match tx.commit().await {
        Ok(_) => "stored".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    let mut text = format!("{answer}; {end}");
    for (index, word) in known.words().iter().enumerate() {
        text = text.replace(word, &format!("‹key {}›", index + 1));
    }
    for word in own_words(attacker.tenant()) {
        text = text.replace(&word, "‹own›");
    }
    text
}

fn own_words(tenant: &Tenant) -> [String; 3] {
    [tenant.id().to_string(), tenant.slug().to_owned(), tenant.id().as_uuid().simple().to_string()]
}

/// Fails the test at its own line.
#[doc(hidden)]
#[track_caller]
#[expect(clippy::panic, reason = "this is how a test fails")]
pub fn isolated(outcome: Result<IsolationReport, Leak>) -> IsolationReport {
    match outcome {
        Ok(report) => report,
        Err(leak) => panic!("{leak}"),
    }
}

/// Fails unless tenant A can neither see, change, count nor infer tenant B's rows, wherever the two have their homes.
///
/// Takes a [`TestDatabase`](crate::testing::TestDatabase), what writes B's rows and answers their keys, and what tries
/// to reach them as A; see [`IsolationTest::run`](crate::testing::IsolationTest::run). Beside the attack that is given,
/// A goes for every relation of B's home by its full name, and B's rows must be byte for byte what they were.
///
/// ```no_run
/// # async fn example() {
/// use formwork_tenancy::{TenantTx, assert_isolated, testing::TestDatabase};
///
/// let db = TestDatabase::new(&[formwork_migrations::TENANCY]).await;
/// let seed = async |b: &mut TenantTx| -> String {
///     let add = "insert into accounts (email) values ('ada@b.example') returning email";
///     sqlx::query_scalar(add).fetch_one(&mut **b).await.unwrap()
/// };
/// // Found, when the column is unique across tenants.
/// let attack = async |a: &mut TenantTx, email: &String| {
///     let add = sqlx::query("insert into accounts (email) values ($1)").bind(email);
///     add.execute(&mut **a).await.is_ok()
/// };
/// assert_isolated!(db, seed, attack);
/// # }
/// ```
#[macro_export]
macro_rules! assert_isolated {
    ($db:expr, $seed:expr, $attack:expr $(,)?) => {
        $crate::testing::isolated($crate::testing::IsolationTest::new(&$db).run($seed, $attack).await)
    };
}
