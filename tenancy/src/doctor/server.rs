//! The server: Postgres' own mistakes with row security.

use sqlx::PgConnection;

use super::{Finding, Rule};

const REMEDY: &str = "install the newest minor release of this major version";

pub(super) const RULES: &[Rule] = &[LEAKS, OUTDATED];
const LEAKS: Rule = Rule::error("server-leaks-statistics", REMEDY);
const OUTDATED: Rule = Rule::warning("server-outdated", REMEDY);

/// The first releases without CVE-2025-8713 (the planner's statistics show rows that row security hides, in
/// partitioned tables and in inheritance), which have the repairs of CVE-2023-2455 and CVE-2016-2193 as well.
const REPAIRED: [(i32, i32); 5] = [(13, 22), (14, 19), (15, 14), (16, 10), (17, 6)];

pub(super) async fn examine(conn: &mut PgConnection) -> Result<Option<Finding>, sqlx::Error> {
    let (number, hierarchies): (i32, bool) = sqlx::query_as(
        "select current_setting('server_version_num')::int,
                exists (select from pg_inherits i
                          join pg_attribute a on a.attrelid = i.inhparent and a.attname = 'tenant_id')",
    )
    .persistent(false)
    .fetch_one(conn)
    .await?;
    Ok(judge(number / 10_000, number % 10_000, hierarchies))
}

fn judge(major: i32, minor: i32, hierarchies: bool) -> Option<Finding> {
    let object = format!("server {major}.{minor}");
    let (oldest, _) = *REPAIRED.first()?;
    if major < oldest {
        let problem = "this major version gets no repairs any more".to_owned();
        return Some(Finding::new(OUTDATED, object, problem, None));
    }
    let (_, repaired) = *REPAIRED.iter().find(|(known, _)| *known == major)?;
    if minor >= repaired {
        return None;
    }
    let rule = if hierarchies { LEAKS } else { OUTDATED };
    let problem = format!("CVE-2025-8713 was repaired in {major}.{repaired}");
    Some(Finding::new(rule, object, problem, None))
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn the_minor_version_decides_and_partitions_make_it_worse() {
        let code = |major, minor, partitions| judge(major, minor, partitions).map(|finding| finding.code());
        for (major, repaired) in super::REPAIRED {
            assert_eq!(code(major, repaired, true), None);
            assert_eq!(code(major, repaired - 1, false), Some("server-outdated"));
            assert_eq!(code(major, repaired - 1, true), Some("server-leaks-statistics"));
        }
        assert_eq!(code(18, 0, true), None);
        assert_eq!(code(12, 22, false), Some("server-outdated"));
    }
}
