//! What else is to happen when a tenant's status changes: certificates, queues, invoices.
//!
//! INVARIANT: a hook may be called more than once for one change, never after a later change's was done, and what comes
//! after a change is called until it has succeeded.

use std::{error::Error, fmt, time::Duration};

use async_trait::async_trait;

use super::{Transition, ledger::Entry};
use crate::{Status, TenantId};

/// What a hook says when it does not do it.
pub type HookError = Box<dyn Error + Send + Sync>;

/// Called around every change of a tenant's status. While it runs, no other change of this tenant's is begun: it must
/// not ask for one.
///
/// ```
/// use async_trait::async_trait;
/// use formwork_tenancy::lifecycle::{Change, HookError, LifecycleHook, Transition};
///
/// #[derive(Debug)]
/// struct Invoices;
///
/// #[async_trait]
/// impl LifecycleHook for Invoices {
///     fn name(&self) -> &'static str {
///         "invoices"
///     }
///
///     async fn before(&self, change: &Change) -> Result<(), HookError> {
///         match change.transition() {
///             Transition::Delete => Err("the last invoice is not written".into()),
///             _ => Ok(()),
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait LifecycleHook: fmt::Debug + Send + Sync {
    /// By which the ledger remembers that it was done: never changed.
    fn name(&self) -> &'static str;

    /// Before anything is done. An error, or no answer in time, refuses the change.
    ///
    /// # Errors
    ///
    /// Why the change is refused.
    async fn before(&self, change: &Change) -> Result<(), HookError> {
        let _ = change;
        Ok(())
    }

    /// After the change is in force. An error, or no answer in time, undoes nothing: it is called again.
    ///
    /// # Errors
    ///
    /// Why it is to be called again.
    async fn after(&self, change: &Change) -> Result<(), HookError> {
        let _ = change;
        Ok(())
    }
}

/// A change of a tenant's status, as a hook sees it.
#[derive(Debug, Clone)]
pub struct Change {
    entry: Entry,
}

impl Change {
    pub(super) fn of(entry: &Entry) -> Self {
        Self { entry: entry.clone() }
    }

    /// Identity of this change, the same however often it is gone on with.
    pub fn id(&self) -> uuid::Uuid {
        self.entry.id
    }

    /// Whose.
    pub fn tenant(&self) -> TenantId {
        self.entry.tenant
    }

    /// The tenant's slug.
    pub fn slug(&self) -> &str {
        &self.entry.slug
    }

    /// Which.
    pub fn transition(&self) -> Transition {
        self.entry.transition
    }

    /// From where.
    pub fn from(&self) -> Status {
        self.entry.from
    }

    /// To where.
    pub fn to(&self) -> Status {
        self.entry.to
    }

    /// Who wants it, as `kind:id`.
    pub fn actor(&self) -> &str {
        &self.entry.actor
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.entry.reason
    }
}

/// A hook that did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookFailure {
    pub(super) hook: &'static str,
    pub(super) why: String,
}

impl HookFailure {
    /// Its name.
    pub fn hook(&self) -> &str {
        self.hook
    }

    /// What it said.
    pub fn why(&self) -> &str {
        &self.why
    }
}

impl fmt::Display for HookFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hook `{}`: {}", self.hook, self.why)
    }
}

/// When a hook is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

pub(super) async fn call(
    hook: &dyn LifecycleHook,
    moment: Moment,
    change: &Change,
    limit: Duration,
) -> Result<(), HookFailure> {
    let called = match moment {
        Moment::Before => hook.before(change),
        Moment::After => hook.after(change),
    };
    let why = match tokio::time::timeout(limit, called).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} ms", limit.as_millis()),
    };
    Err(HookFailure { hook: hook.name(), why })
}
