//! The same tuples in a table, over a local socket: one query by its key, and one statement that does a whole check.
//!
//! In the form that is best for Postgres: no tenant and no row security in the way, the primary key covers the
//! question, statements are prepared and their plans kept.

use std::{
    cell::RefCell,
    fmt::Write as _,
    time::{Duration, Instant},
};

use formwork_benches::{
    peers::World,
    report::{Cell, ONE_TUPLE},
    workload::{KINDS, LISTED, Question},
};
use formwork_tenancy::{local_postgres::LocalRole, testing::cluster};
use sqlx::{Connection, PgConnection};
use tokio::runtime::{Builder, Runtime};

use crate::{
    contestants::{QUESTIONS, crowd, questions},
    turns::{Contestant, Turn},
};

const TABLE: &str = "
  drop table if exists tuples;
  create table tuples (
    namespace text, object_id text, relation text, subject_ns text, subject_id text, subject_rel text,
    primary key (namespace, object_id, relation, subject_ns, subject_id, subject_rel));
  create index tuples_by_subject on tuples (subject_ns, subject_id, subject_rel, namespace, relation, object_id)";

/// Does `$3` hold the relation `$2` on the document `$1`, as a tuple says?
const DIRECT: &str = "
  select exists (select from tuples where namespace = 'document' and object_id = $1 and relation = $2
    and subject_ns = 'user' and subject_id = $3 and subject_rel = '')";

/// May `$3` view the document `$1`? What a schema compiles to: teams upwards, folders upwards, one answer.
const VIEW: &str = "
  with recursive teams (id) as (
    select object_id from tuples
     where subject_ns = 'user' and subject_id = $3 and subject_rel = '' and namespace = 'team' and relation = 'member'
    union
    select t.object_id from teams join tuples t on t.subject_ns = 'team' and t.subject_id = teams.id
       and t.subject_rel = 'member' and t.namespace = 'team' and t.relation = 'member'
  ), folders (id) as (
    select subject_id from tuples where namespace = 'document' and object_id = $1 and relation = 'parent'
    union
    select t.subject_id from folders join tuples t on t.namespace = 'folder' and t.object_id = folders.id
       and t.relation = 'parent'
  )
  select not exists (
    select from tuples where namespace = 'document' and object_id = $1 and relation = 'banned'
       and subject_ns = 'user' and subject_id = $3 and subject_rel = ''
  ) and (exists (
    select from tuples where namespace = 'document' and object_id = $1 and relation in ($2, 'owner', 'editor')
       and subject_ns = 'user' and subject_id = $3 and subject_rel = ''
  ) or exists (
    select from tuples where namespace = 'document' and object_id = $1 and relation = 'viewer'
       and subject_ns = 'user' and subject_id = '*' and subject_rel = ''
  ) or exists (
    select from teams join tuples t on t.namespace = 'document' and t.object_id = $1
       and t.relation in ('editor', 'viewer') and t.subject_ns = 'team' and t.subject_id = teams.id
       and t.subject_rel = 'member'
  ) or exists (
    select from folders join tuples t on t.namespace = 'folder' and t.object_id = folders.id
       and t.relation in ('owner', 'viewer') and t.subject_ns = 'user' and t.subject_id = $3 and t.subject_rel = ''
  ) or exists (
    select from folders join tuples t on t.namespace = 'folder' and t.object_id = folders.id
       and t.relation = 'viewer' and t.subject_ns = 'team' and t.subject_rel = 'member'
     where t.subject_id in (select id from teams)
  ) or exists (
    select from folders join tuples t on t.namespace = 'folder' and t.object_id = folders.id
       and t.relation = 'organization'
      join tuples admins on admins.namespace = 'organization' and admins.object_id = t.subject_id
       and admins.relation = 'admin' and admins.subject_ns = 'user' and admins.subject_id = $3
       and admins.subject_rel = ''
  ))";

/// Which documents may `$1` edit?
const DOCUMENTS: &str = "
  with recursive teams (id) as (
    select object_id from tuples
     where subject_ns = 'user' and subject_id = $1 and subject_rel = '' and namespace = 'team' and relation = 'member'
    union
    select t.object_id from teams join tuples t on t.subject_ns = 'team' and t.subject_id = teams.id
       and t.subject_rel = 'member' and t.namespace = 'team' and t.relation = 'member'
  ), documents (id) as (
    select object_id from tuples
     where subject_ns = 'user' and subject_id = $1 and subject_rel = '' and namespace = 'document'
       and relation in ('owner', 'editor')
    union
    select t.object_id from teams join tuples t on t.subject_ns = 'team' and t.subject_id = teams.id
       and t.subject_rel = 'member' and t.namespace = 'document' and t.relation = 'editor'
  )
  select id from documents
   where not exists (select from tuples where namespace = 'document' and object_id = documents.id
     and relation = 'banned' and subject_ns = 'user' and subject_id = $1 and subject_rel = '')";

/// Which users are viewers of the document `$1`?
const VIEWERS: &str = "
  with recursive teams (id) as (
    select subject_id from tuples
     where namespace = 'document' and object_id = $1 and relation = 'viewer' and subject_ns = 'team'
    union
    select t.subject_id from teams join tuples t on t.namespace = 'team' and t.object_id = teams.id
       and t.relation = 'member' and t.subject_ns = 'team'
  )
  select subject_id from tuples
   where namespace = 'document' and object_id = $1 and relation = 'viewer' and subject_ns = 'user'
  union
  select t.subject_id from teams join tuples t on t.namespace = 'team' and t.object_id = teams.id
     and t.relation = 'member' and t.subject_ns = 'user'";

/// A connection to a database of this program's own Postgres.
pub(crate) struct Database {
    runtime: Runtime,
    conn: RefCell<PgConnection>,
}

/// A document, a relation and a user, by their ids.
struct Asked {
    statement: &'static str,
    parts: [String; 3],
}

impl Database {
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let conn = runtime.block_on(async {
            let options = cluster().await.connect_options(LocalRole::Superuser, "postgres");
            PgConnection::connect_with(&options).await.unwrap()
        });
        Self { runtime, conn: RefCell::new(conn) }
    }

    fn run(&self, sql: &'static str) {
        let mut conn = self.conn.borrow_mut();
        self.runtime.block_on(sqlx::raw_sql(sql).execute(&mut *conn)).unwrap();
    }

    /// How long the tuples took, and bytes a tuple.
    fn fill(&self, world: &World) -> (Duration, f64) {
        self.run(TABLE);
        let mut lines = String::new();
        for tuple in &world.relationships {
            let (object, subject) = (tuple.object(), tuple.subject());
            let (namespace, id, relation) = (object.object_type(), object.id(), tuple.relation());
            let (of, who, as_what) = (subject.subject_type(), subject.id(), subject.relation().unwrap_or(""));
            writeln!(lines, "{namespace}\t{id}\t{relation}\t{of}\t{who}\t{as_what}").unwrap();
        }
        let begun = Instant::now();
        self.runtime.block_on(async {
            let mut conn = self.conn.borrow_mut();
            let mut copy = conn.copy_in_raw("copy tuples from stdin").await.unwrap();
            for piece in lines.as_bytes().chunks(1 << 20) {
                copy.send(piece).await.unwrap();
            }
            copy.finish().await.unwrap();
        });
        let took = begun.elapsed();
        eprintln!("peers:   Postgres loaded in {took:.1?}");
        self.run("vacuum (freeze, analyze) tuples");
        // A plan that is kept, and one that goes by the indexes: it would read whole teams into a hash table otherwise.
        self.run(
            "set jit = off; set plan_cache_mode = force_generic_plan; set enable_seqscan = off; \
             set enable_hashjoin = off; set enable_mergejoin = off",
        );
        let size = sqlx::query_scalar::<_, i64>("select pg_total_relation_size('tuples')");
        let size = self.runtime.block_on(size.fetch_one(&mut *self.conn.borrow_mut())).unwrap();
        (took, size as f64 / world.relationships.len() as f64)
    }

    fn ask(&self, Asked { statement, parts: [document, relation, user] }: &Asked) -> bool {
        let query = sqlx::query_scalar(*statement).bind(document).bind(relation).bind(user);
        self.runtime.block_on(query.fetch_one(&mut *self.conn.borrow_mut())).unwrap()
    }

    fn list(&self, statement: &'static str, id: &str) -> usize {
        let query = sqlx::query_scalar::<_, String>(statement).bind(id);
        self.runtime.block_on(query.fetch_all(&mut *self.conn.borrow_mut())).unwrap().len()
    }

    fn kind<'a>(&'a self, world: &World, kind: &'static str, asked: impl Fn(&Question) -> Asked) -> Turn<'a> {
        let questions = questions(world, kind, QUESTIONS);
        let asked: Vec<Asked> = questions.iter().map(asked).collect();
        for (question, asked) in questions.iter().zip(&asked) {
            assert_eq!(self.ask(asked), question.answer.is_allowed(), "{kind}: {question:?}");
        }
        self.timed(QUESTIONS, move || {
            for asked in &asked {
                self.ask(asked);
            }
        })
    }

    fn timed<'a>(&'a self, count: usize, work: impl Fn() + 'a) -> Turn<'a> {
        Turn::Timed(Box::new(move || {
            let begun = Instant::now();
            work();
            (count, begun.elapsed())
        }))
    }

    fn listed<'a>(&'a self, statement: &'static str, id: String, expected: usize) -> Turn<'a> {
        assert_eq!(self.list(statement, &id), expected);
        self.timed(20, move || {
            for _ in 0..20 {
                self.list(statement, &id);
            }
        })
    }

    /// One indexed query, and one statement for a whole check.
    pub(crate) fn contestants<'a>(&'a self, world: &World) -> [Contestant<'a>; 2] {
        let (load, bytes) = self.fill(world);
        let known = || [Turn::Known(Cell::Nanos(load.as_nanos() as f64)), Turn::Known(Cell::Bytes(bytes))];
        let asked = |statement, relation: &str, question: &Question| Asked {
            statement,
            parts: [question.object.id(), relation, question.subject.id()].map(str::to_owned),
        };
        let one_query = KINDS.into_iter().map(|kind| match kind {
            "direct_hit" => self.kind(world, kind, |question| asked(DIRECT, "viewer", question)),
            "direct_miss" => self.kind(world, kind, |question| asked(DIRECT, "owner", question)),
            _ => Turn::Known(Cell::Empty(ONE_TUPLE)),
        });
        let no_lists = [ONE_TUPLE; 2].map(|reason| Turn::Known(Cell::Empty(reason)));
        let one_query = one_query.chain(no_lists).chain(known()).collect();
        let statement = KINDS.into_iter().map(|kind| match kind {
            "direct_miss" => self.kind(world, kind, |question| asked(DIRECT, "owner", question)),
            _ => self.kind(world, kind, |question| asked(VIEW, "viewer", question)),
        });
        let lists = [
            self.listed(DOCUMENTS, world.workload.lister().id().to_owned(), LISTED),
            self.listed(VIEWERS, world.workload.crowded().id().to_owned(), crowd(world)),
        ];
        let statement = statement.chain(lists).chain(known()).collect();
        [
            Contestant { name: "Postgres, one indexed query".to_owned(), turns: one_query },
            Contestant { name: "Postgres, one recursive statement".to_owned(), turns: statement },
        ]
    }
}
