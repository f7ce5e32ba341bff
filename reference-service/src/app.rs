//! What every request shares.

use formwork_audit::{Audit, Denials};
use formwork_authz::Authz;
use formwork_entity_links::Links;
use formwork_tenancy::Tenants;

use crate::{
    http::Reports,
    modules::{self, ModuleError},
    password::Passwords,
    token::Tokens,
};

/// The service's parts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    /// Tenants and their transactions.
    pub tenants: Tenants,
    /// Permissions.
    pub authz: Authz,
    /// The audit trail.
    pub audit: Audit,
    /// Who was denied what, until it is written.
    pub denials: Denials,
    /// Links between entities.
    pub links: Links,
    /// Access tokens.
    pub tokens: Tokens,
    /// Password hashes.
    pub passwords: Passwords,
    /// What is told of after an answer.
    pub reports: Reports,
}

impl App {
    /// Puts the parts together.
    ///
    /// # Errors
    ///
    /// [`ModuleError`] when the modules do not fit together.
    pub fn new(tenants: Tenants, tokens: Tokens) -> Result<Self, ModuleError> {
        let authz = Authz::new(modules::schema()?);
        let audit = Audit::new();
        let links =
            Links::new(authz.clone(), audit.clone(), modules::links::types()?, modules::links::Tables);
        let denials = Denials::new(audit.clone());
        let (passwords, reports) = (Passwords::new(), Reports::default());
        Ok(Self { tenants, authz, audit, denials, links, tokens, passwords, reports })
    }
}
