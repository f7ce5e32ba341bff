//! A schema as functions and a view of a tenant's home, for those who live in SQL.
//!
//! INVARIANT: they run with the rights of whoever calls them, so that row security holds; what they do not know is an
//! error, and never either answer.

use crate::schema::Schema;
use crate::sql::formula::{Formula, Inexpressible};
use crate::sql::text::{Asked, Text, literal};

/// What raises for the functions that cannot.
const FAIL: &str = "create or replace function authz_fail(message text) returns boolean
language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception '%', message using errcode = 'invalid_parameter_value';
end;
$$;
";
/// Ids have no separator in them.
const SUBJECT: &str = r"'^[^:#*\s]+:([^:#*\s]+(#[^:#*\s]+)?|\*)$'";
const OBJECT: &str = r"'^[^:#*\s]+:[^:#*\s]+$'";

impl Schema {
    /// A migration of a tenant's home, for these relations and permissions (type and name):
    ///
    /// - `authz_check(subject, permission, object)`, as `authz_check('user:anna', 'view', 'rfi:7')`, is whether it holds;
    /// - `authz_objects(subject, permission, object_type)` gives the ids of all objects on which it holds;
    /// - `authz_access(subject)` gives all that a subject holds, on which objects;
    /// - the view `authz_effective_access` gives that for every subject that is stored, for auditors: ask it for one
    ///   subject, or read it with a cursor.
    ///
    /// They see what the caller may see: its own tenant. Put the text into a migration of your home set, after
    /// `permission_tuples`, and make it anew when the schema changes; it replaces what was there. A malformed subject or
    /// object, and a permission that is not among these, raises `invalid_parameter_value`.
    ///
    /// ```
    /// let schema = formwork_authz::Schema::parse("
    ///     definition user {}
    ///     definition rfi { relation viewer: user permission view = viewer }
    /// ")?;
    /// let migration = schema.sql_functions(&[("rfi", "view")])?;
    /// assert!(migration.contains("function authz_check(subject text, permission text, object text)"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Inexpressible`] for the first permission that one statement cannot tell, or that the schema does not have.
    pub fn sql_functions(&self, permissions: &[(&str, &str)]) -> Result<String, Inexpressible> {
        let formulas: Result<Vec<Formula>, Inexpressible> =
            permissions.iter().map(|(object_type, name)| self.formula(object_type, name)).collect();
        let formulas = formulas?;
        let of = || permissions.iter().zip(&formulas);
        let text = |asked: &Asked, which: &dyn Fn(&Text<'_>) -> String| which(&Text { schema: self, asked });
        // A case needs a branch, also when there is nothing to choose.
        let mut checks = String::from("      when null then false\n");
        checks.extend(of().map(|((object_type, name), formula)| {
            let holds = text(&asked(), &|text| text.check(formula));
            format!("      when {} then {holds}\n", key(object_type, name))
        }));
        let lists: String = of()
            .map(|((object_type, name), formula)| {
                let list = text(&asked(), &|text| text.list(formula));
                let key = key(object_type, name);
                format!("  union all select l.id from {list} l (id) where object_type || '#' || permission = {key}\n")
            })
            .collect();
        let all: String = of()
            .map(|((object_type, name), formula)| {
                let list = text(&asked(), &|text| text.list(formula));
                let (object_type, name) = (literal(object_type), literal(name));
                format!("  union all select {object_type}, l.id, {name} from {list} l (id)\n")
            })
            .collect();
        let keys: Vec<String> =
            permissions.iter().map(|(object_type, name)| key(object_type, name)).collect();
        let keys = if keys.is_empty() { "''".to_owned() } else { keys.join(", ") };
        Ok(written(&checks, &lists, &all, &keys))
    }

    /// Whether one SQL statement can tell a relation or permission, and if not, why.
    ///
    /// # Errors
    ///
    /// [`Inexpressible`] says what stands in the way.
    pub fn sql_expressible(&self, object_type: &str, permission: &str) -> Result<(), Inexpressible> {
        self.formula(object_type, permission).map(drop)
    }

    fn formula(&self, object_type: &str, name: &str) -> Result<Formula, Inexpressible> {
        let info = self.type_id(object_type).and_then(|id| self.type_info(id));
        let slot = info.and_then(|info| info.slot_ids.get(name));
        let slot = slot.ok_or_else(|| Inexpressible::unknown(object_type, name))?;
        Formula::of(self, slot)
    }
}

fn key(object_type: &str, name: &str) -> String {
    literal(&format!("{object_type}#{name}"))
}

/// The arguments of the functions. The time is that of the statement: a transaction may be long.
fn asked() -> Asked {
    Asked {
        subject_type: "split_part(subject, ':', 1)".to_owned(),
        subject_id: "split_part(split_part(subject, ':', 2), '#', 1)".to_owned(),
        subject_relation: "nullif(split_part(subject, '#', 2), '')".to_owned(),
        object_id: "split_part(object, ':', 2)".to_owned(),
        now: "statement_timestamp()".to_owned(),
    }
}

fn written(checks: &str, lists: &str, all: &str, keys: &str) -> String {
    let unknown = "authz_fail('no such permission in these functions: ' ||";
    format!(
        "-- Made from the schema of permissions: make it anew when that changes, and edit it not.
{FAIL}
create or replace function authz_check(subject text, permission text, object text) returns boolean
language sql stable security invoker
begin atomic
  select case
    when subject !~ {SUBJECT} or subject is null then authz_fail('not a subject: ' || coalesce(subject, 'null'))
    when object !~ {OBJECT} or object is null then authz_fail('not an object: ' || coalesce(object, 'null'))
    else case split_part(object, ':', 1) || '#' || permission
{checks}      else {unknown} coalesce(split_part(object, ':', 1) || '#' || permission, 'null')) end
    end;
end;

create or replace function authz_objects(subject text, permission text, object_type text) returns setof text
language sql stable security invoker
begin atomic
  select null::text where case
    when subject !~ {SUBJECT} or subject is null then authz_fail('not a subject: ' || coalesce(subject, 'null'))
    when object_type || '#' || permission in ({keys}) then false
    else {unknown} coalesce(object_type || '#' || permission, 'null')) end
{lists};
end;

create or replace function authz_access(subject text)
returns table (object_type text, object_id text, permission text)
language sql stable security invoker
begin atomic
  select null::text, null::text, null::text where case
    when subject !~ {SUBJECT} or subject is null then authz_fail('not a subject: ' || coalesce(subject, 'null'))
    else false end
{all};
end;

create or replace view authz_effective_access with (security_invoker = true) as
  select s.subject, a.object_type, a.object_id, a.permission
    from (select distinct subject_ns || ':' || subject_id || coalesce('#' || subject_rel, '') as subject
            from permission_tuples) s
    cross join lateral authz_access(s.subject) a;
revoke execute on function authz_fail(text), authz_check(text, text, text), authz_objects(text, text, text),
  authz_access(text) from public;
grant execute on function authz_fail(text), authz_check(text, text, text), authz_objects(text, text, text),
  authz_access(text) to formwork_app;
grant select on authz_effective_access to formwork_app;
"
    )
}
