//! Formulas and tables as text of statements.
//!
//! INVARIANT: what comes from outside stands in a statement as a bound value; the text has names of the schema only,
//! quoted.

use std::fmt::Write as _;

use crate::schema::Schema;
use crate::sql::formula::Formula;
use crate::sql::tables::{Counts, Tables};

/// The expressions by which a statement knows what it is asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) subject_type: String,
    pub(crate) subject_id: String,
    /// Null for none.
    pub(crate) subject_relation: String,
    pub(crate) object_id: String,
    pub(crate) now: String,
}

impl Asked {
    /// Four values as text from `$first` on: type, id and relation of the subject (empty for none), and the time.
    pub(crate) fn bound(first: usize, object_id: &str) -> Self {
        Self {
            subject_type: format!("${first}::text"),
            subject_id: format!("${}::text", first + 1),
            subject_relation: format!("nullif(${}::text, '')", first + 2),
            now: format!("${}::text::timestamptz", first + 3),
            object_id: object_id.to_owned(),
        }
    }
}

/// An id that no relationship of a graph has: see `check_id`. Such rows come from SQL of the caller's own.
const NO_ID: &str =
    r"'[:#*\u005b\u0001-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]|^$'";

pub(crate) struct Text<'s> {
    pub(crate) schema: &'s Schema,
    pub(crate) asked: &'s Asked,
}

/// Whether a row has to count, or only to be found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    Counting,
    All,
}

impl Text<'_> {
    /// An expression: does the subject hold it on the object?
    pub(crate) fn check(&self, formula: &Formula) -> String {
        let each = |all: &[Formula], operator: &str| {
            let parts: Vec<String> = all.iter().map(|one| self.check(one)).collect();
            format!("({})", parts.join(operator))
        };
        match formula {
            Formula::Reach(tables) => self.reaches(tables),
            Formula::Any(all) => each(all, " or "),
            Formula::All(all) => each(all, " and "),
            Formula::Except(from, taken) => {
                format!("({} and not {})", self.check(from), self.check(taken))
            }
        }
    }

    /// A query in parentheses: the ids of all objects on which the subject holds it, each once.
    pub(crate) fn list(&self, formula: &Formula) -> String {
        let each = |all: &[Formula], operator: &str| {
            let parts: Vec<String> = all.iter().map(|one| self.list(one)).collect();
            format!("({})", parts.join(operator))
        };
        match formula {
            Formula::Reach(tables) => self.reached(tables),
            Formula::Any(all) => each(all, " union "),
            Formula::All(all) => each(all, " intersect "),
            Formula::Except(from, taken) => format!("({} except {})", self.list(from), self.list(taken)),
        }
    }

    fn reaches(&self, tables: &Tables) -> String {
        let Asked { subject_type, subject_id, subject_relation, object_id, .. } = self.asked;
        let mut hits = Vec::new();
        if !tables.probes.is_empty() {
            hits.push(format!(
                "exists (select from {} cross join lateral (select from permission_tuples t
                   where t.namespace = p.ns and t.object_id = n.id and t.relation = p.relation
                     and t.subject_ns = p.subject_ns and t.subject_id = {} and t.subject_rel is null
                     and {} offset 0) t
                  where p.g = n.g and p.subject_ns = {subject_type} and {subject_relation} is null)",
                self.probes(tables, false),
                self.probed_id(),
                self.counts("p"),
            ));
        }
        if !tables.own.is_empty() {
            hits.push(format!(
                "exists (select from {} where o.g = n.g and o.ns = {subject_type}
                   and o.rel is not distinct from {subject_relation} and n.id = {subject_id})",
                self.own(tables),
            ));
        }
        if hits.is_empty() {
            return "false".to_owned();
        }
        let start = format!("select 0, {object_id}");
        let nodes = self.down(tables, &start, Rows::Counting);
        format!(
            "exists (with recursive node (g, id) as ({nodes}) select from node n where {})",
            hits.join(" or ")
        )
    }

    fn reached(&self, tables: &Tables) -> String {
        let nodes = self.up(tables, "node", Rows::Counting);
        format!("(with recursive node (g, id) as ({nodes}) select id from node where g = 0)")
    }

    /// Nodes from objects on: every object and group that is asked about.
    fn down(&self, tables: &Tables, start: &str, rows: Rows) -> String {
        if tables.walks.iter().all(|walk| walk.to.is_none()) {
            return start.to_owned();
        }
        let counts = self.counting("w", rows);
        format!(
            "{start} union select s.g, s.id from node n cross join lateral (
               select w.to_g as g, t.id from {} cross join lateral (
                 select t.subject_id::text as id from permission_tuples t
                  where t.namespace = w.ns and t.object_id = n.id and t.relation = w.relation
                    and t.subject_ns = w.subject_ns and t.subject_rel is not distinct from w.subject_rel
                    and t.subject_id !~ {NO_ID} and {counts} offset 0) t
                where w.g = n.g and w.to_g is not null) s",
            self.walks(tables, false),
        )
    }

    /// Nodes from the subject on: every object and group that it may hold. The recursion has a name.
    fn up(&self, tables: &Tables, name: &str, rows: Rows) -> String {
        let Asked { subject_type, subject_id, subject_relation, .. } = self.asked;
        let mut starts = Vec::new();
        if tables.probes.iter().any(|probe| probe.adds) {
            starts.push(format!(
                "select p.g, t.id from {} cross join lateral (
                   select t.object_id::text as id from permission_tuples t
                    where t.subject_ns = p.subject_ns and t.subject_id = {} and t.subject_rel is null
                      and t.namespace = p.ns and t.relation = p.relation
                      and t.object_id !~ {NO_ID} and {} offset 0) t
                  where p.subject_ns = {subject_type} and {subject_relation} is null",
                self.probes(tables, true),
                self.probed_id(),
                self.counting("p", rows),
            ));
        }
        if !tables.own.is_empty() {
            starts.push(format!(
                "select o.g, {subject_id} from {} where o.ns = {subject_type} and {subject_id} <> '*'
                   and o.rel is not distinct from {subject_relation}",
                self.own(tables),
            ));
        }
        if starts.is_empty() {
            return "select 0, null::text where false".to_owned();
        }
        let start = format!("({})", starts.join(" union all "));
        if !tables.walks.iter().any(|walk| walk.adds && walk.to.is_some()) {
            return format!("{start} union select 0, null::text where false");
        }
        let counts = self.counting("w", rows);
        // A way each, so that each is one range of the index.
        let adding = || tables.walks.iter().filter(|walk| walk.adds && walk.to.is_some());
        let mut ways = Vec::new();
        for (is_there, relation) in [
            (adding().any(|walk| walk.subject_relation.is_some()), "t.subject_rel = w.subject_rel"),
            (
                adding().any(|walk| walk.subject_relation.is_none()),
                "w.subject_rel is null and t.subject_rel is null",
            ),
        ] {
            if is_there {
                ways.push(format!(
                    "(select t.object_id::text as id from permission_tuples t
                       where t.subject_ns = w.subject_ns and t.subject_id = n.id and {relation}
                         and t.namespace = w.ns and t.relation = w.relation
                         and t.object_id !~ {NO_ID} and {counts})"
                ));
            }
        }
        format!(
            "{start} union select s.g, s.id from {name} n cross join lateral (
               select w.g, t.id from {} cross join lateral ({} offset 0) t
                where w.to_g = n.g) s",
            self.walks(tables, true),
            ways.join(" union all "),
        )
    }

    /// The relationships that can matter on objects: one of the first group, whose id is `$first`, or several, of which
    /// two arrays, of their groups and ids, begin there.
    pub(crate) fn fetch_for_objects(
        &self,
        tables: &Tables,
        first: usize,
        is_one: bool,
        limit: usize,
    ) -> String {
        let start = if is_one {
            format!("select 0, ${first}::text")
        } else {
            format!("select s.g, s.id from unnest(${first}::int[], ${}::text[]) s (g, id)", first + 1)
        };
        let nodes = self.down(tables, &start, Rows::All);
        format!("with recursive node (g, id) as ({nodes}) {} limit {}", self.rows(tables), limit + 1)
    }

    /// The relationships that can matter to whether the subject holds the first group on any object; a row of nulls
    /// when it leads to more than `limit` objects.
    pub(crate) fn fetch_for_subject(&self, tables: &Tables, limit: usize) -> String {
        let above = self.up(tables, "up", Rows::All);
        let start = format!("select 0, id from (select g, id from up limit {}) u where g = 0", limit + 1);
        let nodes = self.down(tables, &start, Rows::All);
        format!(
            "with recursive up (g, id) as ({above}), node (g, id) as ({nodes})
             select null as namespace, null as object_id, null as relation, null as subject_ns, null as subject_id,
                    null as subject_rel, null as condition, null as context, null::bigint as expires_at
              where (select count(*) from (select from up limit {0}) u) > {limit}
             union all ({1} limit {0})",
            limit + 1,
            self.rows(tables),
        )
    }

    /// The relationships of the nodes: those that lead on, and those of the subject or everyone.
    fn rows(&self, tables: &Tables) -> String {
        const COLUMNS: &str = "t.namespace, t.object_id, t.relation, t.subject_ns, t.subject_id, t.subject_rel,
            t.condition, t.context::text as context, (extract(epoch from t.expires_at) * 1000000)::bigint as expires_at";
        let Asked { subject_type, subject_id, .. } = self.asked;
        let mut parts = Vec::new();
        if !tables.walks.is_empty() {
            parts.push(format!(
                "select t.* from node n cross join lateral (
                   select t.* from {} cross join lateral (
                     select {COLUMNS} from permission_tuples t
                      where t.namespace = w.ns and t.object_id = n.id and t.relation = w.relation
                        and t.subject_ns = w.subject_ns and t.subject_rel is not distinct from w.subject_rel
                     offset 0) t where w.g = n.g offset 0) t",
                self.walks(tables, false),
            ));
        }
        if !tables.probes.is_empty() {
            parts.push(format!(
                "select t.* from node n cross join lateral (
                   select t.* from {} cross join lateral (
                     select {COLUMNS} from permission_tuples t
                      where t.namespace = p.ns and t.object_id = n.id and t.relation = p.relation
                        and t.subject_ns = p.subject_ns and t.subject_id in ({subject_id}, '*')
                        and t.subject_rel is null
                     offset 0) t where p.g = n.g and p.subject_ns = {subject_type} offset 0) t",
                self.probes(tables, false),
            ));
        }
        if parts.is_empty() {
            parts.push(format!("select {COLUMNS} from permission_tuples t where false"));
        }
        parts.join(" union all ")
    }

    /// The id under which the subject stands in a relation: its own, or that of everyone.
    fn probed_id(&self) -> String {
        format!("case when p.wildcard then '*' else nullif({}, '*') end", self.asked.subject_id)
    }

    fn counting(&self, alias: &str, rows: Rows) -> String {
        if rows == Rows::All { "true".to_owned() } else { self.counts(alias) }
    }

    fn counts(&self, alias: &str) -> String {
        format!(
            "t.condition is null and case when t.expires_at is null then {alias}.bare
             else {alias}.expiring and t.expires_at > {} end",
            self.asked.now
        )
    }

    fn probes(&self, tables: &Tables, adding: bool) -> String {
        let rows = tables.probes.iter().filter(|probe| probe.adds || !adding).map(|probe| {
            let (object_type, relation) = self.place(probe.relation);
            let subject_type = literal(self.schema.type_name(probe.subject_type));
            let Counts { bare, expiring } = probe.counts;
            format!(
                "({}, {object_type}, {relation}, {subject_type}, {}, {bare}, {expiring})",
                probe.group, probe.wildcard
            )
        });
        values("p (g, ns, relation, subject_ns, wildcard, bare, expiring)", rows)
    }

    fn walks(&self, tables: &Tables, adding: bool) -> String {
        let rows =
            tables.walks.iter().filter(|walk| !adding || (walk.adds && walk.to.is_some())).map(|walk| {
                let (object_type, relation) = self.place(walk.relation);
                let subject_type = literal(self.schema.type_name(walk.subject_type));
                let to = walk.to.map_or_else(|| "null::int".to_owned(), |to| to.to_string());
                let Counts { bare, expiring } = walk.counts;
                format!(
                    "({}, {object_type}, {relation}, {subject_type}, {}, {bare}, {expiring}, {to})",
                    walk.group,
                    self.relation(walk.subject_relation)
                )
            });
        values("w (g, ns, relation, subject_ns, subject_rel, bare, expiring, to_g)", rows)
    }

    fn own(&self, tables: &Tables) -> String {
        let rows = tables.own.iter().map(|own| {
            let object_type = literal(self.schema.type_name(own.object_type));
            format!("({}, {object_type}, {})", own.group, self.relation(own.relation))
        });
        values("o (g, ns, rel)", rows)
    }

    fn place(&self, slot: u32) -> (String, String) {
        let info = self.schema.slot(slot);
        let object_type = info.map_or("", |info| self.schema.type_name(info.type_id));
        (literal(object_type), literal(info.map_or("", |info| &info.name)))
    }

    fn relation(&self, slot: Option<u32>) -> String {
        let name = slot.and_then(|slot| self.schema.slot(slot)).map(|info| literal(&info.name));
        name.unwrap_or_else(|| "null::text".to_owned())
    }
}

fn values(columns: &str, rows: impl Iterator<Item = String>) -> String {
    let rows: Vec<String> = rows.collect();
    format!("(values {}) {columns}", rows.join(", "))
}

/// A text in quotes.
pub(crate) fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    let _ = write!(quoted, "'{}'", text.replace('\'', "''"));
    quoted
}
