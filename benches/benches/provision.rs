//! What does it cost to make a tenant with a schema of its own: by one message of all steps, as `provision` does; by
//! the same steps one after the other; by a script that was written from a template schema's catalogue?
//!
//! The script is a true clone: columns, defaults, constraints, indexes, row security, policies, grants, functions and
//! triggers; that it agrees with the steps' home is looked at by the drift report before anything is timed. Once with
//! the reference service's steps, once with a history of sixty more. Commits are durable (`fsync` on), the three take
//! turns, each in a transaction with its registry row and its lines in the ledger.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use formwork_migrations::{AUDIT, AUTHZ, ENTITY_LINKS, Migration, SERVICE, Set, TENANCY};
use formwork_tenancy::{
    ControlPlane, Isolation, NewTenant,
    local_postgres::{Durability, LocalPostgres, LocalRole, PgBinaries, Settings},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

const TENANTS: usize = 60;
const HISTORY: i32 = 60;

fn main() {
    // `cargo test --benches` only asks whether it can be begun.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // On a disk: in memory every commit is durable at once.
    let folder = Folder(std::env::temp_dir().join(format!("formwork-bench-{}", std::process::id())));
    fs::create_dir(&folder.0).unwrap();
    // As root, Postgres runs as another user, who has to come through here.
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o711)).unwrap();
    runtime.block_on(compare(&folder));
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn compare(folder: &Folder) {
    let explicit = std::env::var_os("PG_BIN_DIR").map(PathBuf::from);
    let settings = Settings::new(PgBinaries::find(explicit.as_deref()).unwrap(), folder.0.join("cluster"));
    let postgres = LocalPostgres::start(settings.durability(Durability::Durable)).await.unwrap();
    let own = [TENANCY, AUTHZ, AUDIT, ENTITY_LINKS];
    let short: Vec<Set> = own.into_iter().chain(SERVICE.iter().copied()).collect();
    let mut long = short.clone();
    long.push(history());
    for (name, sets) in [("short", short), ("long", long)] {
        postgres.create_database(name, None).await.unwrap();
        measure(&postgres, name, &sets).await;
    }
    postgres.stop().await;
}

/// What years leave: columns that come, are filled with a default, and go; indexes that are made anew.
fn history() -> Set {
    let step = |version: i32| {
        let sql = match version % 3 {
            0 => format!("alter table tasks add column extra_{version} integer not null default 0"),
            1 => format!(
                "create index tasks_extra_{version} on tasks (tenant_id, created_at);
                 drop index tasks_extra_{version}"
            ),
            _ => format!(
                "alter table projects add column old_{version} text; alter table projects drop column old_{version}"
            ),
        };
        Migration { version, name: "history", sql: sql.leak() }
    };
    Set {
        name: "bench/history",
        platform: &[],
        database: &[],
        home: (1..=HISTORY).map(step).collect::<Vec<_>>().leak(),
    }
}

/// Every object of the schema on the search path, in an order in which they can be made, with names unqualified.
const SCRIPT: &str = "
with home as (select oid from pg_namespace where nspname = $1),
rel as (select c.* from pg_class c join home on home.oid = c.relnamespace where relkind = 'r'),
part (rank, nr, text) as (
  select 1, p.oid::bigint, replace(pg_get_functiondef(p.oid), $1 || '.', '')
    from pg_proc p join home on home.oid = p.pronamespace
  union all
  select 2, rel.oid::bigint, format('create table %I (%s)', relname, (
      select string_agg(format('%I %s%s%s', attname, format_type(atttypid, atttypmod),
               coalesce(' default ' || pg_get_expr(adbin, adrelid), ''),
               case when attnotnull then ' not null' else '' end), ', ' order by attnum)
        from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
       where attrelid = rel.oid and attnum > 0 and not attisdropped))
    from rel
  union all
  select case contype when 'f' then 5 else 3 end, c.oid::bigint,
         format('alter table %I add constraint %I %s', relname, conname, pg_get_constraintdef(c.oid))
    from pg_constraint c join rel on rel.oid = conrelid where contype in ('p', 'u', 'c', 'f')
  union all
  select 4, i.indexrelid::bigint, replace(pg_get_indexdef(i.indexrelid), $1 || '.', '')
    from pg_index i join rel on rel.oid = i.indrelid
   where not exists (select from pg_constraint c where c.conindid = i.indexrelid)
  union all
  select 6, rel.oid::bigint, format('alter table %1$I enable row level security; alter table %1$I force row level security', relname)
    from rel where relrowsecurity
  union all
  select 7, p.oid::bigint, format('create policy %I on %I as permissive for all to public using (%s) with check (%s)',
           polname, relname, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
    from pg_policy p join rel on rel.oid = polrelid
  union all
  select 8, t.oid::bigint, replace(pg_get_triggerdef(t.oid), $1 || '.', '')
           || case tgenabled when 'A' then format('; alter table %I enable always trigger %I', relname, tgname) else '' end
    from pg_trigger t join rel on rel.oid = tgrelid where not tgisinternal
  union all
  select 9, rel.oid::bigint, format('grant %s on %I to formwork_app', string_agg(privilege_type, ', '), relname)
    from rel cross join aclexplode(relacl) a where a.grantee = 'formwork_app'::regrole group by rel.oid, relname
)
select string_agg(text, E';\\n' order by rank, nr) || ';' from part";

struct Ways {
    control: ControlPlane,
    conn: PgConnection,
    script: String,
    steps: Vec<&'static str>,
}

async fn measure(postgres: &LocalPostgres, name: &str, sets: &[Set]) {
    let options = postgres.connect_options(LocalRole::Owner, name);
    let control = ControlPlane::connect_with(options.clone(), sets).await.unwrap();
    control.migrate().await.unwrap();
    let mut conn = PgConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("set search_path = shared, pg_temp").execute(&mut conn).await.unwrap();
    let script: String = sqlx::query_scalar(SCRIPT).bind("shared").fetch_one(&mut conn).await.unwrap();
    let steps: Vec<_> = sets.iter().flat_map(|set| set.home).map(|step| step.sql).collect();
    let mut ways = Ways { control, conn, script, steps };
    ways.by_script(0).await;
    ways.by_step(0).await;
    let drift = ways.control.fleet().drift().await.unwrap();
    // What the catalogue prints of a check on a varchar is not printed the same once it has been read again.
    let reprinted = |line: &String| line.starts_with("constraint tasks_priority_check on tasks: CHECK");
    for home in drift.drifted() {
        assert!(home.missing().iter().chain(home.extra()).all(reprinted), "{drift}");
    }

    let mut times = [const { Vec::new() }; 3];
    for nr in 1..=TENANTS {
        times[0].push(ways.by_message(nr).await);
        times[1].push(ways.by_step(nr).await);
        times[2].push(ways.by_script(nr).await);
    }
    let [message, steps, script] = times.map(|mut times: Vec<Duration>| {
        times.sort();
        times[TENANTS / 2].as_secs_f64() * 1_000.0
    });
    println!(
        "provision/{name}: a home of {} steps: one message {message:.1} ms; step by step {steps:.1} ms ({:.2} times); a \
         script from a template's catalogue {script:.1} ms ({:.2} times)",
        ways.steps.len(),
        steps / message,
        script / message
    );
    ways.control.close().await;
}

impl Ways {
    async fn by_message(&self, nr: usize) -> Duration {
        let slug = format!("message-{nr}");
        let begun = Instant::now();
        self.control.provision(&NewTenant::new(&slug, &slug, Isolation::Schema)).await.unwrap();
        begun.elapsed()
    }

    /// As a migrator does it: a transaction a step.
    async fn by_step(&mut self, nr: usize) -> Duration {
        let (schema, begin) = registered(&format!("step-{nr}"));
        let begun = Instant::now();
        self.send(format!("{begin}; commit; set search_path = {schema}, pg_temp")).await;
        for step in self.steps.clone() {
            self.send(format!("begin; {step}\n; commit")).await;
        }
        begun.elapsed()
    }

    async fn by_script(&mut self, nr: usize) -> Duration {
        let (schema, begin) = registered(&format!("script-{nr}"));
        let text = format!("{begin}; set local search_path = {schema}, pg_temp; {} commit", self.script);
        let begun = Instant::now();
        self.send(text).await;
        begun.elapsed()
    }

    async fn send(&mut self, text: String) {
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut self.conn).await.unwrap();
    }
}

/// The name of a schema, and what makes it, its registry row and its lines in the ledger.
fn registered(slug: &str) -> (String, String) {
    let id = Uuid::now_v7();
    let schema = format!("t_{}", id.simple());
    let begin = format!(
        "begin; set local row_security = off;
         insert into platform.tenants (id, slug, name, status, isolation, schema_name)
           values ('{id}', '{slug}', '{slug}', 'active', 'schema', '{schema}');
         insert into platform.homes (tenant_id, epoch, schema_name) values ('{id}', 1, '{schema}');
         insert into platform.migration_ledger (home, set_name, version, name, checksum)
           select '{schema}', set_name, version, name, checksum from platform.migration_ledger where home = 'shared';
         create schema {schema}; grant usage on schema {schema} to formwork_app"
    );
    (schema, begin)
}
