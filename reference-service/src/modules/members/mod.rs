//! Who belongs to a tenant, and in which role.

use formwork_audit::Event;
use formwork_authz::{Object, Relationship};
use formwork_tenancy::{Actor, ControlPlane, EnsuredUser, Session, Tenant, TenantId, TenantTx};
use uuid::Uuid;

use super::Module;
use crate::{app::App, password::Passwords};

/// Members and their roles.
pub const MODULE: Module = Module {
    name: "members",
    dependencies: &["platform"],
    permissions: include_str!("permissions.zed"),
    linkable: &[],
    routes: Vec::new,
};

/// What a member is in the tenant: a relation of its organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Everything, also what cannot be undone.
    Owner,
    /// Settings and members.
    Admin,
    /// Makes projects.
    Manager,
    /// Takes part.
    Member,
    /// Pays.
    Billing,
    /// Reads the audit trail.
    Compliance,
}

impl Role {
    /// The relation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Manager => "manager",
            Self::Member => "member",
            Self::Billing => "billing",
            Self::Compliance => "compliance",
        }
    }
}

/// A person to be made a member.
#[derive(Debug, Clone)]
pub struct NewMember<'a> {
    /// Address, by which they sign in.
    pub email: &'a str,
    /// Name for people.
    pub name: &'a str,
    /// Password; without one they cannot sign in by it.
    pub password: Option<&'a str>,
    /// Role.
    pub role: Role,
}

/// A member could not be added.
#[derive(Debug, thiserror::Error)]
#[error("`{email}` could not be made a member of `{tenant}`")]
pub struct MemberError {
    email: String,
    tenant: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// The organization of a tenant, as permissions name it.
pub fn organization(tenant: TenantId) -> Object {
    Object::new("organization", tenant)
}

/// What came of making a person a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// Their identity.
    pub user: Uuid,
    /// Did they become a member just now? Otherwise they keep their role.
    pub is_new_member: bool,
    /// Was their identity made just now? Otherwise they keep their name and password.
    pub is_new_user: bool,
}

/// Makes a person a member. Done twice, it changes nothing.
///
/// # Errors
///
/// [`MemberError`] with its cause; run again, it goes on where it stopped.
pub async fn add(
    app: &App,
    control: &ControlPlane,
    tenant: &Tenant,
    member: &NewMember<'_>,
) -> Result<Added, MemberError> {
    add_steps(app, control, tenant, member).await.map_err(|source| MemberError {
        email: member.email.to_owned(),
        tenant: tenant.slug().to_owned(),
        source,
    })
}

async fn add_steps(
    app: &App,
    control: &ControlPlane,
    tenant: &Tenant,
    member: &NewMember<'_>,
) -> Result<Added, Box<dyn std::error::Error + Send + Sync>> {
    let hash = member.password.map(Passwords::hash).transpose()?;
    let EnsuredUser { id: user, is_new: is_new_user } =
        control.ensure_user(member.email, member.name, hash.as_deref()).await?;
    control.index_membership(tenant.id(), user).await?;
    let session = Session::new(tenant, Actor::system("provisioning"));
    let mut tx = app.tenants.begin(&session).await?;
    let inserted = sqlx::query(
        "insert into members (user_id, email, display_name, role) values ($1, lower($2), $3, $4)
         on conflict do nothing",
    )
    .bind(user)
    .bind(member.email)
    .bind(member.name)
    .bind(member.role.as_str())
    .execute(&mut *tx)
    .await?;
    let is_new_member = inserted.rows_affected() > 0;
    if is_new_member {
        let organization = organization(tenant.id());
        let role = Relationship::new(organization.clone(), member.role.as_str(), &Actor::user(user));
        app.authz.touch(&mut tx, &role).await?;
        let event = Event::new("member.added")
            .target(&organization)
            .after(serde_json::json!({"user": user, "email": member.email, "role": member.role.as_str()}));
        app.audit.record(&mut tx, event).await?;
    }
    tx.commit().await?;
    Ok(Added { user, is_new_member, is_new_user })
}

/// A member, as the tenant knows them.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Member {
    /// Identity.
    pub user_id: Uuid,
    /// Address.
    pub email: String,
}

/// The member with this address, or the first owner when none is given.
///
/// # Errors
///
/// When the database fails.
pub async fn find(tx: &mut TenantTx, email: Option<&str>) -> Result<Option<Member>, sqlx::Error> {
    sqlx::query_as(
        "select user_id, email from members
          where case when $1::text is null then role = 'owner' else email = lower($1) end
          order by created_at, user_id limit 1",
    )
    .bind(email)
    .fetch_optional(&mut **tx)
    .await
}
