//! Reads on a real streaming standby: what a token buys, and what happens when the standby does not do its part.

use std::{path::PathBuf, sync::Arc, time::Duration};

use formwork_migrations::TENANCY;
use formwork_tenancy::{
    Actor, CommitToken, ConnectError, Isolation, IsolationLevel, ReplicaFault, ServedBy, Session, Tenant,
    TenantTx, Tenants, TenantsBuilder, TxOptions,
    local_postgres::LocalRole,
    testing::{Replica, TestDatabase, examine_pool},
};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

use crate::isolation::NOTES;

const FIRST: ServedBy = ServedBy::Replica { number: 0 };

async fn replica() -> Option<Replica> {
    let replica = Replica::start().await;
    if replica.is_none() {
        eprintln!("pg_basebackup is not installed beside the server: not tested");
    }
    replica
}

/// A standby, a database that it has, and a tenant with one note.
struct Setting {
    replica: Replica,
    db: TestDatabase,
    tenant: Tenant,
    token: CommitToken,
}

impl Setting {
    async fn new() -> Option<Self> {
        let replica = replica().await?;
        let db = TestDatabase::new(&[TENANCY, NOTES]).await;
        let tenant = db.tenant("a", Isolation::Shared).await;
        let session = db.session(&tenant, Actor::system("test"));
        let token = write(db.tenants(), &session, "one").await;
        replica.has_replayed(token.wal()).await;
        Some(Self { replica, db, tenant, token })
    }

    fn session(&self) -> Session {
        self.db.session(&self.tenant, Actor::system("test"))
    }

    /// A handle with the standby behind it, however busy the machine is.
    async fn tenants(&self) -> Tenants {
        let builder = Tenants::builder().replica("main", self.replica.options(LocalRole::App, &self.db));
        self.db.connect(patient(builder)).await
    }

    async fn standby(&self) -> PgConnection {
        let options = self.replica.options(LocalRole::Superuser, &self.db);
        PgConnection::connect_with(&options).await.unwrap()
    }

    async fn pause(&self) {
        let mut standby = self.standby().await;
        sqlx::raw_sql("select pg_wal_replay_pause()").execute(&mut standby).await.unwrap();
        // A pause is asked for, and then comes.
        let state = "select pg_get_wal_replay_pause_state()";
        while sqlx::query_scalar::<_, String>(state).fetch_one(&mut standby).await.unwrap() != "paused" {
            tokio::task::yield_now().await;
        }
    }

    async fn resume(&self) {
        sqlx::raw_sql("select pg_wal_replay_resume()").execute(&mut self.standby().await).await.unwrap();
    }
}

fn patient(builder: TenantsBuilder) -> TenantsBuilder {
    builder.replica_patience(Duration::from_secs(60))
}

async fn write(tenants: &Tenants, session: &Session, body: &str) -> CommitToken {
    let mut tx = tenants.begin(session).await.unwrap();
    assert_eq!(tx.served_by(), ServedBy::Primary);
    sqlx::query("insert into notes (body) values ($1)").bind(body).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap()
}

async fn notes(tx: &mut TenantTx) -> Vec<String> {
    sqlx::query_scalar("select body from notes order by body").fetch_all(&mut **tx).await.unwrap()
}

async fn read(tenants: &Tenants, session: &Session, options: TxOptions) -> (ServedBy, Vec<String>) {
    let mut tx = tenants.begin_with(session, options.read_only()).await.unwrap();
    let answer = (tx.served_by(), notes(&mut tx).await);
    tx.commit().await.unwrap();
    answer
}

/// Reads until it is `by` that answers; every answer on the way must be right.
async fn read_until(
    by: impl Fn(ServedBy) -> bool,
    tenants: &Tenants,
    session: &Session,
    expected: &[&str],
) -> ServedBy {
    loop {
        let (served_by, notes) = read(tenants, session, TxOptions::new()).await;
        assert_eq!(notes, expected, "{served_by:?}");
        if by(served_by) {
            return served_by;
        }
        tokio::task::yield_now().await;
    }
}

/// What a token buys, on one standby, which is promoted at the end: it takes a second to make.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_on_a_standby() {
    let Some(setting) = Setting::new().await else { return };
    let tenants = setting.tenants().await;
    a_token_that_was_replayed_is_read_on_the_replica_and_nothing_else_is(&setting, &tenants).await;
    what_was_written_is_read_at_once_and_on_the_replica_when_it_has_it(&setting, &tenants).await;
    the_walls_stand_on_the_replica(&setting, &tenants).await;
    a_bound_is_held_by_what_the_primary_was_seen_to_have(&setting, &tenants).await;
    several_take_turns(&setting).await;
    a_job_reads_what_was_written_before_it(&setting, &tenants).await;
    a_token_of_another_epoch_is_read_on_the_primary(&setting, &tenants).await;
    after_a_promotion_the_primary_answers(&setting, &tenants).await;
    setting.replica.stop().await;
}

async fn a_token_that_was_replayed_is_read_on_the_replica_and_nothing_else_is(
    setting: &Setting,
    tenants: &Tenants,
) {
    let (session, expected) = (setting.session(), vec!["one".to_owned()]);
    let known = session.clone().at_least(&setting.token);
    assert_eq!(known.token(), Some(&setting.token));
    assert_eq!(read(tenants, &known, TxOptions::new()).await, (FIRST, expected.clone()));
    let by_options = TxOptions::new().at_least(&setting.token);
    assert_eq!(read(tenants, &session, by_options).await, (FIRST, expected.clone()));
    let repeatable = TxOptions::new().isolation_level(IsolationLevel::RepeatableRead);
    assert_eq!(read(tenants, &known, repeatable).await, (FIRST, expected.clone()));

    let primary = (ServedBy::Primary, expected);
    assert_eq!(read(tenants, &session, TxOptions::new()).await, primary, "no token");
    assert_eq!(read(tenants, &known, TxOptions::new().on_primary()).await, primary);
    let serializable = TxOptions::new().isolation_level(IsolationLevel::Serializable);
    assert_eq!(read(tenants, &known, serializable).await, primary, "a standby has no such transactions");
    let mut tx = tenants.begin(&known).await.unwrap();
    assert_eq!((tx.served_by(), notes(&mut tx).await), primary, "it may write");
}

async fn what_was_written_is_read_at_once_and_on_the_replica_when_it_has_it(
    setting: &Setting,
    tenants: &Tenants,
) {
    setting.pause().await;
    let session = setting.session();
    let token = write(tenants, &session, "two").await;
    let (before, after) = (session.clone().at_least(&setting.token), session.at_least(&token));
    for _ in 0..20 {
        let (by, seen) = read(tenants, &after, TxOptions::new()).await;
        assert_eq!(
            (by, seen.as_slice()),
            (ServedBy::Primary, ["one".to_owned(), "two".to_owned()].as_slice())
        );
        let repeatable = TxOptions::new().isolation_level(IsolationLevel::RepeatableRead);
        assert_eq!(read(tenants, &after, repeatable).await.0, ServedBy::Primary);
        assert_eq!(read(tenants, &before, TxOptions::new()).await, (FIRST, vec!["one".to_owned()]));
    }
    let both = before.clone().at_least(&token).at_least(&setting.token);
    assert_eq!(both.token(), Some(&token), "the later one counts");
    setting.resume().await;
    setting.replica.has_replayed(token.wal()).await;
    read_until(ServedBy::is_replica, tenants, &after, &["one", "two"]).await;
    assert_eq!(read(tenants, &after, TxOptions::new()).await.0, FIRST, "it is known to be that far");
}

async fn the_walls_stand_on_the_replica(setting: &Setting, tenants: &Tenants) {
    let other = setting.db.tenant("b", Isolation::Schema).await;
    let others = setting.db.session(&other, Actor::system("test"));
    let token = write(tenants, &others, "another's").await;
    setting.replica.has_replayed(token.wal()).await;
    let others = others.at_least(&token);
    read_until(ServedBy::is_replica, tenants, &others, &["another's"]).await;
    let session = setting.session().at_least(&setting.token);
    assert_eq!(
        session.clone().at_least(&token).token(),
        Some(&setting.token),
        "another tenant's says nothing"
    );

    let mut tx = tenants.begin_read(&session).await.unwrap();
    assert_eq!(tx.served_by(), FIRST);
    let seen: i64 = sqlx::query_scalar("select count(*) from shared.notes where tenant_id = $1")
        .bind(other.id().as_uuid())
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(seen, 0);
    let schema = format!("select count(*) from {}.notes", other.schema_name());
    let seen: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(schema)).fetch_one(&mut *tx).await.unwrap();
    assert_eq!(seen, 0, "the other's schema has its wall there as well");
    let error = sqlx::query("insert into notes (body) values ('x')").execute(&mut *tx).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().unwrap(), "25006", "{error}");
    drop(tx);
    examine_pool(tenants.pool_unguarded()).await.unwrap();
}

async fn a_bound_is_held_by_what_the_primary_was_seen_to_have(setting: &Setting, _: &Tenants) {
    let builder = Tenants::builder().replica("main", setting.replica.options(LocalRole::App, &setting.db));
    let tenants = setting.db.connect(patient(builder).read_staleness(Duration::from_secs(3_600))).await;
    let session = setting.session();
    let (by, seen) = read(&tenants, &session, TxOptions::new()).await;
    assert_eq!(by, ServedBy::Primary, "nobody knows how far the primary is");
    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    read_until(ServedBy::is_replica, &tenants, &session, &seen).await;
    setting.pause().await;
    let token = write(&tenants, &session, "three").await;
    let (by, stale) = read(&tenants, &session, TxOptions::new()).await;
    assert_eq!((by, stale.len()), (FIRST, seen.len()), "as old as was allowed");
    let now = TxOptions::new().at_most_stale(Duration::ZERO);
    assert_eq!(read(&tenants, &session, now).await.0, ServedBy::Primary);
    let (by, fresh) = read(&tenants, &session.clone().at_least(&token), TxOptions::new()).await;
    assert_eq!((by, fresh.len()), (ServedBy::Primary, seen.len() + 1), "a token asks for more");
    setting.resume().await;
    setting.replica.has_replayed(token.wal()).await;
}

async fn several_take_turns(setting: &Setting) {
    let there = || setting.replica.options(LocalRole::App, &setting.db);
    let builder = Tenants::builder().replica("main", there()).replica("main", there());
    let tenants = setting.db.connect(patient(builder)).await;
    let session = setting.session().at_least(&setting.token);
    let mut served = Vec::new();
    // The first time each is a chance.
    while served.len() < 6 {
        served.push(read(&tenants, &session, TxOptions::new()).await.0);
    }
    for number in [0, 1] {
        let times = served.iter().filter(|by| **by == ServedBy::Replica { number }).count();
        assert_eq!(times, 3, "{served:?}");
    }
}

async fn a_job_reads_what_was_written_before_it(setting: &Setting, tenants: &Tenants) {
    let session = setting.session();
    let envelope = session.envelope(Some(&setting.token));
    let job = tenants.session_of(&envelope).await.unwrap();
    assert_eq!(job.token(), Some(&setting.token));
    assert_eq!(read(tenants, &job, TxOptions::new()).await.0, FIRST);
}

async fn a_token_of_another_epoch_is_read_on_the_primary(setting: &Setting, tenants: &Tenants) {
    let old = setting.session().at_least(&setting.token);
    assert_eq!(read(tenants, &old, TxOptions::new()).await.0, FIRST);
    setting.db.control().raise_epochs("main").await.unwrap();
    let newest = setting.db.connect(Tenants::builder()).await;
    let tenant = newest.by_id(setting.tenant.id()).await.unwrap().unwrap();
    let session = setting.db.session(&tenant, Actor::system("test"));
    let old = session.clone().at_least(&setting.token);
    assert_eq!(read(tenants, &old, TxOptions::new()).await.0, ServedBy::Primary);
    let token = write(tenants, &session, "four").await;
    setting.replica.has_replayed(token.wal()).await;
    let new = old.at_least(&token);
    assert_eq!(new.token(), Some(&token), "the later epoch counts");
    read_until(ServedBy::is_replica, tenants, &new, &["four", "one", "three", "two"]).await;
    let by_options = TxOptions::new().at_least(&setting.token);
    assert_eq!(read(tenants, &new, by_options).await.0, ServedBy::Primary, "one of the two is old");
}

async fn after_a_promotion_the_primary_answers(setting: &Setting, tenants: &Tenants) {
    let newest = setting.db.connect(Tenants::builder()).await;
    let tenant = newest.by_id(setting.tenant.id()).await.unwrap().unwrap();
    let session = setting.db.session(&tenant, Actor::system("test"));
    let token = write(tenants, &session, "zero").await;
    setting.replica.has_replayed(token.wal()).await;
    let session = session.at_least(&token);
    let expected = ["four", "one", "three", "two", "zero"];
    read_until(ServedBy::is_replica, tenants, &session, &expected).await;
    setting.replica.promote().await;
    for _ in 0..20 {
        assert_eq!(
            read(tenants, &session, TxOptions::new()).await.0,
            ServedBy::Primary,
            "it takes writes now"
        );
    }
    let again = setting.tenants().await;
    assert_eq!(
        read(&again, &session, TxOptions::new()).await.0,
        ServedBy::Primary,
        "and is no reason not to start"
    );
}

/// Between a service and the standby: what it can cut, hold up and let through again.
struct Link {
    folder: tempfile::TempDir,
    to: PathBuf,
    task: JoinHandle<()>,
}

impl Link {
    fn to(options: &PgConnectOptions) -> Self {
        let folder = options.get_socket().unwrap();
        let to = folder.join(format!(".s.PGSQL.{}", options.get_port()));
        let mut this = Self { folder: tempfile::tempdir().unwrap(), to, task: tokio::spawn(async {}) };
        this.let_through();
        this
    }

    fn options(&self, options: PgConnectOptions) -> PgConnectOptions {
        options.socket(self.folder.path()).port(1)
    }

    fn listener(&self) -> UnixListener {
        let path = self.folder.path().join(".s.PGSQL.1");
        let _ = std::fs::remove_file(&path);
        UnixListener::bind(path).unwrap()
    }

    fn let_through(&mut self) {
        let (listener, to) = (self.listener(), self.to.clone());
        self.task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (mut here, _) = listener.accept().await.unwrap();
                let to = to.clone();
                open.spawn(async move {
                    let mut there = UnixStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                });
            }
        });
    }

    /// Whatever is connected is gone, and nobody answers.
    async fn cut(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Whoever connects is let in, and never answered.
    async fn hang(&mut self) {
        self.cut().await;
        let listener = self.listener();
        self.task = tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                held.push(listener.accept().await.unwrap());
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_gone_is_no_outage_and_is_used_again_when_it_is_back() {
    let Some(setting) = Setting::new().await else { return };
    let there = setting.replica.options(LocalRole::App, &setting.db);
    let mut link = Link::to(&there);
    let builder = || Tenants::builder().replica("main", link.options(there.clone()));
    let hasty = builder().replica_patience(Duration::from_millis(50));
    let tenants = Arc::new(setting.db.connect(patient(builder())).await);
    let session = setting.session().at_least(&setting.token);
    let is_primary = |by: ServedBy| !by.is_replica();
    read_until(ServedBy::is_replica, &tenants, &session, &["one"]).await;
    // Several connections rest when it goes away.
    let open = futures::future::join_all((0..4).map(|_| tenants.begin_read(&session))).await;
    drop(open);

    link.cut().await;
    read_until(is_primary, &tenants, &session, &["one"]).await;
    let started_without = setting.db.connect(hasty).await;
    assert_eq!(read(&started_without, &session, TxOptions::new()).await.0, ServedBy::Primary);
    link.let_through();
    read_until(ServedBy::is_replica, &tenants, &session, &["one"]).await;
    read_until(ServedBy::is_replica, &started_without, &session, &["one"]).await;

    link.hang().await;
    read_until(is_primary, &started_without, &session, &["one"]).await;
    link.cut().await;
    link.let_through();
    read_until(ServedBy::is_replica, &started_without, &session, &["one"]).await;

    // Dropped while a replica is asked, nothing is left behind, there or here.
    for polls in 1..40 {
        let mut beginning = Box::pin(tenants.begin_read(&session));
        for _ in 0..polls {
            if futures::poll!(&mut beginning).is_ready() {
                break;
            }
        }
        drop(beginning);
        let (_, seen) = read(&tenants, &session, TxOptions::new()).await;
        assert_eq!(seen, ["one"]);
    }
    drop((tenants, started_without));
    setting.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_primary_is_gone_a_replica_goes_on_answering() {
    let Some(setting) = Setting::new().await else { return };
    let main = setting.db.options(LocalRole::App).await;
    let mut link = Link::to(&main);
    let builder = Tenants::builder().replica("main", setting.replica.options(LocalRole::App, &setting.db));
    let builder = patient(builder).acquire_timeout(Duration::from_secs(1));
    let tenants = builder.connect_with(link.options(main)).await.unwrap();
    let tenant = tenants.by_id(setting.tenant.id()).await.unwrap().unwrap();
    let session = setting.db.session(&tenant, Actor::system("test")).at_least(&setting.token);
    read_until(ServedBy::is_replica, &tenants, &session, &["one"]).await;
    link.cut().await;
    assert_eq!(read(&tenants, &session, TxOptions::new()).await.0, FIRST);
    let error = tenants.begin(&session).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert_eq!(read(&tenants, &session, TxOptions::new()).await.0, FIRST, "the registry was asked in vain");
    setting.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_replica_of_this_database_is_not_used() {
    let Some(setting) = Setting::new().await else { return };
    let other = TestDatabase::new(&[TENANCY, NOTES]).await;
    let tenant = other.tenant("o", Isolation::Shared).await;
    let token = write(other.tenants(), &other.session(&tenant, Actor::system("test")), "o").await;
    setting.replica.has_replayed(token.wal()).await;
    let connect = async |of: &str, options: PgConnectOptions| {
        let main = setting.db.options(LocalRole::App).await;
        patient(Tenants::builder().replica(of, options)).connect_with(main).await
    };
    let there = |role| setting.replica.options(role, &setting.db);

    let error = connect("main", setting.replica.options(LocalRole::App, &other)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "replica 0 of database `main`: the server is a standby of another database: give the address of one that \
         follows this primary"
    );
    let ConnectError::Replica { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, ConnectError::NotAReplica(ReplicaFault::OtherDatabase)));
    for role in [LocalRole::Superuser, LocalRole::Owner] {
        let error = connect("main", there(role)).await.unwrap_err();
        let ConnectError::Replica { source, .. } = error else { panic!("{error}") };
        assert!(matches!(*source, ConnectError::PrivilegedLogin { .. }), "{source}");
    }
    let error = connect("elsewhere", there(LocalRole::App)).await.unwrap_err();
    assert!(matches!(&error, ConnectError::ReplicaOfNone { name } if name == "elsewhere"), "{error}");

    // The primary itself: it may have been a standby until a moment ago, so it does not keep the service from starting.
    let tenants = connect("main", setting.db.options(LocalRole::App).await).await.unwrap();
    let session = setting.session().at_least(&setting.token);
    assert_eq!(read(&tenants, &session, TxOptions::new()).await.0, ServedBy::Primary);
    setting.replica.stop().await;
}
