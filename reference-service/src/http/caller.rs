//! Who calls, and the work that they do: a transaction in which asking is part of getting on.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{extract::FromRequestParts, http::request::Parts};
use formwork_audit::Target;
use formwork_authz::{Decision, Grant, Object, RequireError};
use formwork_tenancy::{CommitToken, Session, TenantTx};

use super::{error::ApiError, route::Access};
use crate::app::App;

/// The caller of a guarded route. Extracted; the transaction is begun by the handler once the body is read.
#[derive(Debug, Clone)]
pub struct Caller {
    app: App,
    session: Session,
    access: Access,
    asked: Arc<AtomicBool>,
    committed: Committed,
}

/// The token of a request's last commit, for its answer.
#[derive(Debug, Clone, Default)]
struct Committed(Arc<Mutex<Option<CommitToken>>>);

impl Committed {
    fn set(&self, token: &CommitToken) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
    }

    fn token(&self) -> Option<CommitToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Caller {
    pub(super) fn new(app: App, session: Session, access: Access) -> Self {
        Self { app, session, access, asked: Arc::default(), committed: Committed::default() }
    }

    /// Was the permission asked for?
    pub(super) fn has_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Was anything stored, or only looked at to its end?
    pub(super) fn has_committed(&self) -> bool {
        self.committed.token().is_some()
    }

    /// The token of the last commit; none when the request has written nothing.
    pub(super) fn committed(&self) -> Option<CommitToken> {
        self.committed.token().filter(|token| token.xid().is_some())
    }

    /// Begins the request's transaction.
    ///
    /// # Errors
    ///
    /// 503 when the database cannot be reached.
    pub async fn begin(&self) -> Result<Work, ApiError> {
        Ok(Work { tx: self.app.tenants.begin(&self.session).await?, caller: self.clone() })
    }

    /// Begins a transaction that only reads.
    ///
    /// # Errors
    ///
    /// 503 when the database cannot be reached.
    pub async fn begin_read(&self) -> Result<Work, ApiError> {
        Ok(Work { tx: self.app.tenants.begin_read(&self.session).await?, caller: self.clone() })
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| ApiError::internal("a public route asked who calls"))
    }
}

/// The caller's transaction. Dereferences to [`TenantTx`].
#[derive(Debug)]
pub struct Work {
    tx: TenantTx,
    caller: Caller,
}

impl Work {
    /// Asks for the permission that the route declares, on the object that the request names.
    ///
    /// # Errors
    ///
    /// 404 when the caller may not even see the object, 403 when they may see it but not do this.
    pub async fn authorize(&mut self, object: &Object) -> Result<Grant, ApiError> {
        let (Access::Permission { permission, .. } | Access::Entities { permission }) = self.caller.access
        else {
            return Err(ApiError::internal("a public route asked for a permission"));
        };
        let grant = self.require(permission, object).await?;
        self.caller.asked.store(true, Ordering::Relaxed);
        Ok(grant)
    }

    /// Says that the permission is asked elsewhere: of each row of a list, or by the crate that does the work.
    pub fn asked_elsewhere(&self) {
        self.caller.asked.store(true, Ordering::Relaxed);
    }

    /// Asks for another permission besides the declared one.
    ///
    /// # Errors
    ///
    /// As [`authorize`](Self::authorize).
    pub async fn require(&mut self, permission: &str, object: &Object) -> Result<Grant, ApiError> {
        let actor = self.tx.session().actor().clone();
        match self.caller.app.authz.require(&mut self.tx, &actor, permission, object).await {
            Ok(grant) => Ok(grant),
            Err(RequireError::Denied { .. }) => Err(self.refusal(permission, object).await?),
            Err(RequireError::Undecided(error)) => Err(error.into()),
        }
    }

    /// May the caller?
    ///
    /// # Errors
    ///
    /// When it cannot be decided.
    pub async fn may(&mut self, permission: &str, object: &Object) -> Result<bool, ApiError> {
        let actor = self.tx.session().actor().clone();
        let decision = self.caller.app.authz.check(&mut self.tx, &actor, permission, object).await?;
        Ok(decision == Decision::Allowed)
    }

    /// Which of these may the caller `permission`? In the order given.
    ///
    /// # Errors
    ///
    /// When it cannot be decided.
    pub async fn may_each(&mut self, permission: &str, objects: &[Object]) -> Result<Vec<bool>, ApiError> {
        let actor = self.tx.session().actor().clone();
        let decisions = self.caller.app.authz.check_many(&mut self.tx, &actor, permission, objects).await?;
        Ok(decisions.into_iter().map(|decision| decision == Decision::Allowed).collect())
    }

    /// Those of `permissions` that the caller holds on the object.
    ///
    /// # Errors
    ///
    /// When it cannot be decided.
    pub async fn permitted(
        &mut self,
        permissions: &[&'static str],
        object: &Object,
    ) -> Result<Vec<&'static str>, ApiError> {
        let mut held = Vec::new();
        for permission in permissions {
            if self.may(permission, object).await? {
                held.push(*permission);
            }
        }
        Ok(held)
    }

    /// The service.
    pub fn app(&self) -> &App {
        &self.caller.app
    }

    /// Stores everything.
    ///
    /// # Errors
    ///
    /// When nothing was stored, or it cannot be told whether it was.
    pub async fn commit(self) -> Result<CommitToken, ApiError> {
        let token = self.tx.commit().await?;
        self.caller.committed.set(&token);
        Ok(token)
    }

    /// Notes for the audit trail that the caller was denied: written when this transaction is long over.
    pub fn note_denial(&self, permission: &str, target: impl Into<Target>) {
        self.caller.app.denials.note(self.tx.session(), permission, target);
    }

    /// The one place that decides between 403 and 404.
    async fn refusal(&mut self, permission: &str, object: &Object) -> Result<ApiError, ApiError> {
        self.note_denial(permission, object);
        let visible = permission != "view" && self.may("view", object).await?;
        Ok(match visible {
            true => ApiError::permission_denied(permission, object.object_type()),
            false => ApiError::not_found(object.object_type()),
        })
    }
}

impl Deref for Work {
    type Target = TenantTx;

    fn deref(&self) -> &TenantTx {
        &self.tx
    }
}

impl DerefMut for Work {
    fn deref_mut(&mut self) -> &mut TenantTx {
        &mut self.tx
    }
}
