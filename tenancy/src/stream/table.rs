//! Which table, and how its rows are told apart.

/// The type of a stream's column `id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKey {
    /// `uuid`
    Uuid,
    /// `bigint`
    Int,
}

impl StreamKey {
    fn type_name(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Int => "int8",
        }
    }

    pub(super) fn lowest(self) -> &'static str {
        match self {
            Self::Uuid => "00000000-0000-0000-0000-000000000000",
            Self::Int => "-9223372036854775808",
        }
    }

    pub(super) fn highest(self) -> &'static str {
        match self {
            Self::Uuid => "ffffffff-ffff-ffff-ffff-ffffffffffff",
            Self::Int => "9223372036854775807",
        }
    }
}

/// A table that can be followed: it has `tenant_id`, `xid xid8 not null default pg_current_xact_id()`, an `id` that is
/// unique within a transaction, and an index on `(xid, id)`. Its rows are inserted and never updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamTable {
    name: &'static str,
    key: StreamKey,
    columns: &'static [&'static str],
}

impl StreamTable {
    /// Events for the world outside, as [`publish`](crate::TenantTx::publish) appends them; its rows are read as
    /// [`PublishedEvent`](crate::PublishedEvent).
    pub const OUTBOX: Self = Self::new(
        "platform.outbox",
        StreamKey::Uuid,
        &["tenant_id", "id", "kind", "payload", "request_id", "at"],
    );

    /// Another one: its name with its schema, and what of each row is read.
    pub const fn new(name: &'static str, key: StreamKey, columns: &'static [&'static str]) -> Self {
        Self { name, key, columns }
    }

    /// Its name with its schema.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn key(&self) -> StreamKey {
        self.key
    }

    /// The statement that counts what was not read, and asks how old the oldest of it is.
    ///
    /// $1 the last snapshot, $2 below which everything was read, $3 the snapshot that is being read up to, or null, $4
    /// and $5 the row up to which its rows were read, $6 how many are counted.
    pub(crate) fn backlog_query(&self) -> String {
        let (name, key) = (self.name, self.key.type_name());
        format!(
            "select count(*), extract(epoch from clock_timestamp() - min(at))::float8
               from (select s.at from {name} s
                      where s.xid >= $2::text::xid8 and not pg_visible_in_snapshot(s.xid, $1::text::pg_snapshot)
                        and not ($3::text is not null and pg_visible_in_snapshot(s.xid, $3::text::pg_snapshot)
                                 and (s.xid, s.id) <= ($4::text::xid8, $5::text::{key}))
                      order by s.xid, s.id limit $6) unread"
        )
    }

    /// The statement that reads a page: one row with the state of the database, then rows of the stream.
    ///
    /// $1 transactions that ran in the last snapshot, $2 and $3 the row to go on behind among theirs, $4 and $5 the same
    /// among those of later transactions, $6 and $7 the snapshot to read up to and its xmax, or null for this
    /// statement's own, $8 how many rows, $9 the stream's name.
    pub(super) fn page_query(&self) -> String {
        let Self { name, columns, .. } = self;
        let key = self.key.type_name();
        let listed: String = columns.iter().map(|column| format!(", s.{column}")).collect();
        let repeated: String = columns.iter().map(|column| format!(", r.{column}")).collect();
        let nulls: String = columns.iter().map(|column| format!(", null as {column}")).collect();
        // What was not visible then: the few that ran, each by its own way into the index, and all that came later.
        // The last condition is of the transaction that asks: its own rows are not committed.
        let is_due = "s.xid < $7::text::xid8
              and ($6::text is null or pg_visible_in_snapshot(s.xid, $6::text::pg_snapshot))
              and s.xid is distinct from pg_current_xact_id_if_assigned()";
        // One lower bound for each way: of two, an index scan may begin at the lower one.
        format!(
            "select pg_current_snapshot()::text as snapshot, pg_current_xact_id_if_assigned()::text as own_xid,
                    pg_is_in_recovery() as standby,
                    (select system_identifier from pg_control_system()) as system,
                    (select oid::int8 from pg_database where datname = current_database()) as database,
                    case when not pg_is_in_recovery() then
                      substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) end as timeline,
                    platform.stream_floor($9)::text as floor,
                    null as stream_xid, null as stream_key{nulls}
             union all
             (select null, null, null, null, null, null, null, r.xid::text, r.stream_id::text{repeated} from (
                select x.*
                  from unnest($1::text[]::xid8[]) running (xid)
                 cross join lateral (select s.xid, s.id as stream_id{listed} from {name} s
                                      where s.xid = running.xid and (s.xid, s.id) > ($2::text::xid8, $3::text::{key}) and {is_due}
                                      order by s.id limit $8) x
                union all
                (select s.xid, s.id as stream_id{listed} from {name} s
                  where (s.xid, s.id) > ($4::text::xid8, $5::text::{key}) and {is_due} order by s.xid, s.id limit $8)
              ) r order by r.xid, r.stream_id limit $8)"
        )
    }
}
