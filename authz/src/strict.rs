//! A grant that holds when the transaction commits, or the transaction does not get that far.
//!
//! INVARIANT: a granted permission rests on rows that nobody can change or remove before this transaction ends, and where
//! it could be taken away by what is not stored yet, nobody can store that before it ends.

use formwork_tenancy::TenantTx;
use sqlx::Row as _;

use crate::authz::Authz;
use crate::consistency::Consistency;
use crate::context::Context;
use crate::error::{CheckError, RequireError};
use crate::grant::Grant;
use crate::lock;
use crate::object::Object;
use crate::relationship::Relationship;
use crate::subject::AsSubject;
use crate::view;
use crate::write::bind_rows;

impl Authz {
    /// As [`Authz::require`], and what is granted cannot be revoked before the transaction ends: whoever tries waits for
    /// it. One round trip more; two where something is excluded from the permission, or it has conditions.
    ///
    /// A plain [`Authz::require`] is ordered before a revocation that commits after it was asked, as any read is at READ
    /// COMMITTED. Here the relationships of the proof are locked (FOR SHARE, so that their conditions and expiries stay
    /// as they are, too), and against bans that are not stored yet stands a lock of the tenant: shared by strict checks,
    /// held alone by writes through [`Authz`] of what stands under an exclusion. SQL of your own that stores or deletes
    /// such relationships calls [`Authz::hold_revocations`] first. Time goes on: an expiry is compared when it is asked.
    ///
    /// # Errors
    ///
    /// As [`Authz::require`]; [`CheckError::Isolation`] at another isolation level than READ COMMITTED. A deadlock
    /// between strict checks and revocations ends as one of them failing with a retryable
    /// [`StorageError`](formwork_tenancy::StorageError).
    pub async fn require_at_commit<S: AsSubject + ?Sized>(
        &self,
        tx: &mut TenantTx,
        context: &Context,
        subject: &S,
        permission: &str,
        object: &Object,
    ) -> Result<Grant, RequireError> {
        if self.can_be_banned(permission, object)? {
            lock::share_revocations(tx).await.map_err(CheckError::from)?;
        }
        // Whatever this handle is content with: the state of the locked rows is the newest one.
        let now = self.with_consistency(Consistency::Full);
        loop {
            view::forget(tx);
            let grant = now.require_in(tx, context, subject, permission, object).await?;
            if self.locked(tx, grant.relationships()).await? {
                return Ok(grant);
            }
            // Somebody has taken away a part of this proof since: perhaps there is another one.
        }
    }

    /// Waits for strict checks that are going on, and keeps new ones of this tenant waiting until the transaction ends:
    /// before SQL of your own that stores relationships by which something is excluded.
    ///
    /// # Errors
    ///
    /// [`CheckError::Storage`] when the database failed.
    pub async fn hold_revocations(&self, tx: &mut TenantTx) -> Result<(), CheckError> {
        Ok(lock::hold_revocations(tx).await?)
    }

    /// Could a relationship that is not stored yet take the permission away?
    fn can_be_banned(&self, permission: &str, object: &Object) -> Result<bool, CheckError> {
        let schema = self.schema();
        let type_id = schema
            .type_id(object.object_type())
            .ok_or_else(|| CheckError::unknown_type(schema, object.object_type()))?;
        let slot = schema.type_info(type_id).and_then(|info| info.slot_ids.get(permission));
        let slot = slot.ok_or_else(|| CheckError::unknown_permission(schema, type_id, permission))?;
        Ok(schema.group(slot).is_none_or(|group| !group.plain))
    }

    /// Locks the proof's rows; are they all there, as they were read?
    async fn locked(&self, tx: &mut TenantTx, proof: &[Relationship]) -> Result<bool, CheckError> {
        const LOCK: &str = "
            with held as materialized (
              select t.id
                from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                            $7::text[], $8::text[], $9::timestamptz[])
                     as n (namespace, object_id, relation, subject_ns, subject_id, subject_rel,
                           condition, context, expires_at)
                join permission_tuples t using (namespace, object_id, relation, subject_ns, subject_id)
               where t.subject_rel is not distinct from n.subject_rel
                 and t.condition is not distinct from n.condition
                 and t.context is not distinct from n.context::jsonb
                 and t.expires_at is not distinct from n.expires_at
                 for share of t)
            select count(*), current_setting('transaction_isolation') from held";
        let rows: Vec<&Relationship> = proof.iter().collect();
        let (held, level): (i64, String) = bind_rows(sqlx::query(LOCK), &rows)
            .fetch_one(&mut **tx)
            .await
            .and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?)))?;
        if level != "read committed" {
            return Err(CheckError::Isolation);
        }
        Ok(usize::try_from(held) == Ok(rows.len()))
    }
}
