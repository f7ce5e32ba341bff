//! What a home consists of, by the catalogue, and in which order its foreign keys let it be filled.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::FromRow;

use super::{MoveFault, hands::Hand};

/// A table of tenants' rows. Names are quoted as SQL needs them.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// Those that are copied, by name.
    pub(crate) columns: Vec<String>,
    /// Their types, in the same order.
    pub(crate) types: Vec<String>,
    /// Those of them that a sequence of the table's own counts.
    pub(crate) counted: Vec<String>,
}

impl Table {
    pub(crate) fn column_list(&self) -> String {
        self.columns.join(", ")
    }
}

/// The tables of a home, parents first.
pub(crate) async fn of_home(hand: &mut Hand, schema: &str) -> Result<Vec<Table>, MoveFault> {
    let tables: Vec<Table> = sqlx::query_as(
        "select format('%I', c.relname) as name,
                array_agg(format('%I', a.attname) order by a.attname) as columns,
                array_agg(format_type(a.atttypid, a.atttypmod) order by a.attname) as types,
                coalesce(array_agg(a.attname::text order by a.attname) filter (
                  where pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname) is not null), '{}')
                  as counted
           from pg_class c
           join pg_namespace n on n.oid = c.relnamespace
           join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
          where n.nspname = $1 and c.relkind in ('r', 'p') and not c.relispartition
            and a.attgenerated = '' and not (a.atttypid = 'xid8'::regtype and a.atthasdef)
            and exists (select from pg_attribute t
                         where t.attrelid = c.oid and t.attname = 'tenant_id' and not t.attisdropped)
          group by c.oid, c.relname order by c.relname",
    )
    .bind(schema)
    .fetch_all(&mut hand.conn)
    .await?;
    let keys: Vec<Key> = sqlx::query_as(
        "select distinct format('%I', child.relname) as child, format('%I', parent.relname) as parent,
                k.condeferrable as is_deferrable
           from pg_constraint k
           join pg_class child on child.oid = k.conrelid
           join pg_class parent on parent.oid = k.confrelid
          where k.contype = 'f' and k.conparentid = 0 and child.oid <> parent.oid
            and child.relnamespace = parent.relnamespace
            and child.relnamespace = (select oid from pg_namespace where nspname = $1)",
    )
    .bind(schema)
    .fetch_all(&mut hand.conn)
    .await?;
    in_order(tables, &keys)
}

#[derive(Debug, FromRow)]
struct Key {
    child: String,
    parent: String,
    is_deferrable: bool,
}

/// Keys that can be checked at the end count only as long as they do not stand in the way.
fn in_order(tables: Vec<Table>, keys: &[Key]) -> Result<Vec<Table>, MoveFault> {
    let mut waiting: BTreeMap<String, Table> =
        tables.into_iter().map(|table| (table.name.clone(), table)).collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    let mut keys: Vec<&Key> = keys.iter().collect();
    while !waiting.is_empty() {
        let blocked: BTreeSet<&str> = keys
            .iter()
            .filter(|key| waiting.contains_key(&key.parent) && waiting.contains_key(&key.child))
            .map(|key| key.child.as_str())
            .collect();
        let ready: Vec<String> =
            waiting.keys().filter(|name| !blocked.contains(name.as_str())).cloned().collect();
        if ready.is_empty() {
            if keys.iter().any(|key| key.is_deferrable) {
                keys.retain(|key| !key.is_deferrable);
                continue;
            }
            return Err(MoveFault::CircularKeys { tables: waiting.into_keys().collect() });
        }
        ordered.extend(ready.iter().filter_map(|name| waiting.remove(name)));
    }
    Ok(ordered)
}

/// The tables of both homes, which must be the same.
pub(crate) async fn of_both(
    source: (&mut Hand, &str),
    target: (&mut Hand, &str),
) -> Result<Vec<Table>, MoveFault> {
    let from = of_home(source.0, source.1).await?;
    let to = of_home(target.0, target.1).await?;
    if from == to {
        return Ok(to);
    }
    let named = |tables: &[Table]| -> BTreeMap<String, Table> {
        tables.iter().map(|table| (table.name.clone(), table.clone())).collect()
    };
    let (there, here) = (named(&from), named(&to));
    match there.keys().chain(here.keys()).find(|name| there.get(*name) != here.get(*name)) {
        Some(table) => Err(MoveFault::Different { table: table.clone() }),
        // Only their keys differ; those that are filled count.
        None => Ok(to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(names: &[&str]) -> Vec<Table> {
        let table = |name: &&str| Table {
            name: (*name).to_owned(),
            columns: Vec::new(),
            types: Vec::new(),
            counted: Vec::new(),
        };
        names.iter().map(table).collect()
    }

    fn key(child: &str, parent: &str, is_deferrable: bool) -> Key {
        Key { child: child.to_owned(), parent: parent.to_owned(), is_deferrable }
    }

    #[test]
    fn parents_come_first() {
        let keys = [key("a", "b", false), key("b", "c", false), key("a", "c", false)];
        let ordered = in_order(tables(&["a", "b", "c", "d"]), &keys).unwrap();
        let names: Vec<_> = ordered.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["c", "d", "b", "a"]);
    }

    #[test]
    fn a_circle_needs_a_key_that_can_wait() {
        let circle = |deferrable| [key("a", "b", false), key("b", "a", deferrable)];
        let ordered = in_order(tables(&["a", "b"]), &circle(true)).unwrap();
        assert_eq!(ordered.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        let stuck = in_order(tables(&["a", "b", "c"]), &circle(false)).unwrap_err();
        assert!(matches!(stuck, MoveFault::CircularKeys { tables } if tables == ["a", "b"]));
    }
}
