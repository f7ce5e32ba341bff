//! The control plane's part of an archive: who signs in to the tenant, and its domains.
//!
//! INVARIANT: nothing of it gives rights that its importer did not choose. A person who is known here keeps name,
//! address and password; a password hash comes in only when it was asked for; a domain comes in unverified.

use tokio::io::AsyncRead;

use super::{
    ImportError, ImportOptions, ImportRefusal,
    format::{Column, SectionHead},
    load::{Progress, feed, pass, refused},
    read::Reader,
};
use crate::{TenantId, moves::hands::Hand};

const DOMAINS: &str = "platform.tenant_domains";
const MEMBERS: &str = "platform.members";

const DOMAIN_COLUMNS: &[(&str, &str)] = &[("host", "text"), ("verified_at", "timestamp with time zone")];
const MEMBER_COLUMNS: &[(&str, &str)] = &[
    ("user_id", "uuid"),
    ("email", "text"),
    ("display_name", "text"),
    ("status", "text"),
    ("password_hash", "text"),
    ("member_since", "timestamp with time zone"),
];

/// Is this section the control plane's? No table of a home has such a name: its dot would be quoted.
pub(super) fn is_part(name: &str) -> bool {
    name == DOMAINS || name == MEMBERS
}

/// Both, in their order, behind the tables of the home.
pub(super) fn heads() -> Vec<SectionHead> {
    let head = |name: &str, columns: &[(&str, &str)]| SectionHead {
        name: name.to_owned(),
        columns: columns
            .iter()
            .map(|(name, type_name)| Column { name: (*name).to_owned(), type_name: (*type_name).to_owned() })
            .collect(),
    };
    vec![head(DOMAINS, DOMAIN_COLUMNS), head(MEMBERS, MEMBER_COLUMNS)]
}

/// What is written into each.
pub(super) fn selects(tenant: TenantId, password_hashes: bool) -> [(&'static str, String); 2] {
    let hash = if password_hashes { "u.password_hash" } else { "null::text" };
    let domains = format!(
        "select host, verified_at from platform.tenant_domains where tenant_id = '{tenant}'
          order by host collate \"C\""
    );
    let members = format!(
        "select u.id, u.email, u.display_name, u.status, {hash}, m.created_at
           from platform.memberships m join platform.users u on u.id = m.user_id
          where m.tenant_id = '{tenant}' order by u.id"
    );
    [(DOMAINS, domains), (MEMBERS, members)]
}

/// Takes both in, into the transaction of the control plane's connection.
pub(super) async fn take<R: AsyncRead + Unpin>(
    main: &mut Hand,
    reader: &mut Reader<R>,
    tenant: TenantId,
    options: &ImportOptions,
    progress: Progress<'_>,
) -> Result<(), ImportError> {
    for head in &heads() {
        let rows = reader.section(head, None).await?;
        if options.without_people || (options.is_copy && head.name == DOMAINS) {
            pass(rows, progress).await?;
            continue;
        }
        let columns: Vec<_> =
            head.columns.iter().map(|column| format!("{} {}", column.name, column.type_name)).collect();
        let stage = format!("create temporary table formwork_part ({}) on commit drop", columns.join(", "));
        main.run(&stage).await?;
        feed(rows, &mut main.conn, "copy pg_temp.formwork_part from stdin", progress).await?;
        match head.name.as_str() {
            DOMAINS => take_domains(main, tenant).await?,
            _ => take_members(main, tenant, options.password_hashes).await?,
        }
        main.run("drop table pg_temp.formwork_part").await?;
    }
    Ok(())
}

async fn take_domains(main: &mut Hand, tenant: TenantId) -> Result<(), ImportError> {
    let others: Option<String> = sqlx::query_scalar(
        "select d.host from pg_temp.formwork_part p join platform.tenant_domains d on d.host = p.host
          where d.tenant_id <> $1 and d.verified_at is not null limit 1",
    )
    .bind(tenant.as_uuid())
    .fetch_optional(&mut main.conn)
    .await?;
    if let Some(host) = others {
        return Err(ImportRefusal::Domain { host }.into());
    }
    sqlx::query(
        "insert into platform.tenant_domains (host, tenant_id)
         select host, $1 from pg_temp.formwork_part on conflict do nothing",
    )
    .bind(tenant.as_uuid())
    .execute(&mut main.conn)
    .await
    .map_err(|error| refused(DOMAINS, None, error))?;
    Ok(())
}

async fn take_members(main: &mut Hand, tenant: TenantId, hashes: bool) -> Result<(), ImportError> {
    // Who has one of the two alone is another person, whom nobody here has let in.
    let other: Option<String> = sqlx::query_scalar(
        "select p.email from pg_temp.formwork_part p
           join platform.users u on u.email = p.email or u.id = p.user_id
          where (u.id, u.email) is distinct from (p.user_id, p.email) limit 1",
    )
    .fetch_optional(&mut main.conn)
    .await?;
    if let Some(email) = other {
        return Err(ImportRefusal::Identity { email }.into());
    }
    for statement in [
        "insert into platform.users (id, email, display_name, status, password_hash)
         select user_id, email, display_name, status, case when $2 then password_hash end
           from pg_temp.formwork_part where $1::uuid is not null on conflict (id) do nothing",
        "insert into platform.memberships (tenant_id, user_id, created_at)
         select $1, user_id, member_since from pg_temp.formwork_part where $2::boolean is not null
         on conflict do nothing",
    ] {
        let done = sqlx::query(statement).bind(tenant.as_uuid()).bind(hashes).execute(&mut main.conn).await;
        done.map_err(|error| refused(MEMBERS, None, error))?;
    }
    Ok(())
}
