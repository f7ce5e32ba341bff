//! Finding a tenant's member by what they sign in with.

use sqlx::FromRow;
use uuid::Uuid;

use crate::{StorageError, TenantId, Tenants, TxOptions};

/// A member who may sign in. Their hash is not shown by `Debug`.
#[derive(Clone, FromRow)]
pub struct MemberLogin {
    user_id: Uuid,
    display_name: String,
    password_hash: Option<String>,
}

impl MemberLogin {
    /// Identity.
    pub fn user(&self) -> Uuid {
        self.user_id
    }

    /// Name for people.
    pub fn display_name(&self) -> &str {
        &self.display_name
    }

    /// Hash of the password, as it was stored; none when they sign in otherwise.
    pub fn password_hash(&self) -> Option<&str> {
        self.password_hash.as_deref()
    }
}

impl std::fmt::Debug for MemberLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberLogin").field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

impl Tenants {
    /// The tenant's active member with exactly this address, letter case apart.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn member_by_email(
        &self,
        tenant: TenantId,
        email: &str,
    ) -> Result<Option<MemberLogin>, StorageError> {
        let mut conn = self.begin_outside(TxOptions::new().read_only()).await?;
        Ok(sqlx::query_as("select * from platform.member_by_email($1, $2)")
            .bind(tenant.as_uuid())
            .bind(email)
            .fetch_optional(&mut conn)
            .await?)
    }
}
