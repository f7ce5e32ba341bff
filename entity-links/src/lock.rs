//! Locks under which what one row cannot say is counted: they are held until the transaction ends.
//!
//! INVARIANT: the locks of a call are taken in one statement, in the order of their names; whatever is counted is
//! counted by a later statement, which under READ COMMITTED sees what those have stored that held them before.

use formwork_tenancy::TenantTx;

use crate::LinkError;

/// Takes the locks with these names, each the tenant's own.
pub(crate) async fn hold(tx: &mut TenantTx, mut names: Vec<String>) -> Result<(), LinkError> {
    if names.is_empty() {
        return Ok(());
    }
    names.sort();
    names.dedup();
    let tenant = tx.tenant_id();
    let names: Vec<String> = names.into_iter().map(|name| format!("entity-links/{tenant}/{name}")).collect();
    let held: Vec<(String, String)> = sqlx::query_as(
        "select current_setting('transaction_isolation'), pg_advisory_xact_lock(hashtextextended(k.name, 0))::text
           from (select name from unnest($1::text[]) with ordinality as n (name, nth) order by nth) as k",
    )
    .bind(names)
    .fetch_all(&mut **tx)
    .await?;
    // An older snapshot would not see what was stored while we waited, and nobody would notice; a serializable
    // transaction notices by itself.
    match held.first() {
        Some((isolation, _)) if isolation == "repeatable read" => Err(LinkError::Isolation),
        _ => Ok(()),
    }
}
