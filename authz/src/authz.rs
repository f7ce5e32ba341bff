//! The handle that a service holds, and its questions.

use std::fmt;
use std::sync::Arc;

use formwork_tenancy::TenantTx;
use rustc_hash::FxHashSet;

use crate::cache::Cache;
use crate::consistency::Consistency;
use crate::context::{Clock, Context, SystemClock};
use crate::decision::Decision;
use crate::error::{CheckError, Denied, RequireError};
use crate::filter::Filter;
use crate::follow::Looks;
use crate::grant::Grant;
use crate::graph::Graph;
use crate::metrics::Counters;
use crate::object::Object;
use crate::relationship::Relationship;
use crate::schema::{Schema, deny};
use crate::sql::{self, Budget, Statements, Way};
use crate::subject::AsSubject;
use crate::view;

/// How much memory the graphs of all tenants may take together, unless told otherwise.
const DEFAULT_MEMORY: u64 = 1 << 30;

/// Permissions of the tenants of a service: writes relationships and answers questions, inside the
/// caller's transaction. Cheap to clone.
///
/// Questions are answered in memory. The first question of a transaction asks the database what has
/// changed since the tenant's graph was last brought up to date, in one round trip; later ones ask
/// nothing. They see the state at the first question and the transaction's own writes through this
/// handle. Whoever writes to `permission_tuples` by SQL in between calls [`Authz::resync`].
/// With another [`Consistency`] the first question need not ask either, where a [`Following`](crate::Following)
/// keeps the graphs up to date.
///
/// # May this actor edit the RFI, and who says so?
///
/// ```no_run
/// # use formwork_authz::{Authz, Object, Schema, rel};
/// # async fn example(
/// #     tenants: formwork_tenancy::Tenants,
/// #     session: formwork_tenancy::Session,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let authz = Authz::new(Schema::parse("
///     definition user {}
///     definition rfi {
///         relation assignee: user
///         permission edit = assignee
///     }
/// ")?);
/// let mut tx = tenants.begin(&session).await?;
/// let (actor, rfi) = (session.actor(), Object::new("rfi", 7));
/// let grant = authz.require(&mut tx, actor, "edit", &rfi).await?;
/// let bob = "bob";
/// authz.touch(&mut tx, &rel!("rfi:7#assignee@user:{bob}")).await?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Authz {
    inner: Arc<Inner>,
    consistency: Consistency,
}

pub(crate) struct Inner {
    pub(crate) schema: Arc<Schema>,
    pub(crate) cache: Cache,
    pub(crate) clock: Arc<dyn Clock>,
    /// The relations whose relationships, newly stored, can take a permission away.
    pub(crate) denying: FxHashSet<u32>,
    pub(crate) looks: Looks,
    pub(crate) counters: Counters,
    pub(crate) budget: Budget,
    pub(crate) statements: Statements,
}

impl Authz {
    /// A handle for one schema, with at most one gigabyte of graphs in memory.
    pub fn new(schema: impl Into<Arc<Schema>>) -> Self {
        Self::with_memory(schema, DEFAULT_MEMORY)
    }

    /// A handle whose graphs take at most so many bytes together; the least used are dropped.
    pub fn with_memory(schema: impl Into<Arc<Schema>>, bytes: u64) -> Self {
        Self::made(schema.into(), bytes, Arc::new(SystemClock), Budget::unlimited())
    }

    fn made(schema: Arc<Schema>, bytes: u64, clock: Arc<dyn Clock>, budget: Budget) -> Self {
        let denying = deny::denying(&schema);
        let (looks, counters) = (Looks::default(), Counters::default());
        let (cache, statements) = (Cache::new(bytes), Statements::new(&schema, &clock));
        let inner = Inner { schema, cache, clock, denying, looks, counters, budget, statements };
        Self { inner: Arc::new(inner), consistency: Consistency::Full }
    }

    /// The same handle, whose answers are as fresh as this: [`Consistency::Full`] where nothing is said.
    #[must_use]
    pub fn with_consistency(&self, consistency: Consistency) -> Self {
        Self { inner: Arc::clone(&self.inner), consistency }
    }

    /// How fresh its answers are.
    pub fn consistency(&self) -> &Consistency {
        &self.consistency
    }

    /// A handle of its own, whose graphs compare expiries with this clock.
    #[must_use]
    pub fn with_clock(&self, bytes: u64, clock: Arc<dyn Clock>) -> Self {
        Self::made(Arc::clone(&self.inner.schema), bytes, clock, self.inner.budget)
    }

    /// A handle of its own, which keeps only so much of each tenant in memory, and answers the rest through SQL.
    ///
    /// Answers through SQL are the same, at about the price of a query; they are of what is committed when they are
    /// asked, and of the transaction's own writes, whatever the [`Consistency`].
    ///
    /// # How does a node without memory to spare answer?
    ///
    /// ```
    /// use formwork_authz::{Authz, Budget, Schema};
    ///
    /// let authz = Authz::new(Schema::parse("definition user {}")?);
    /// let small = authz.with_budget(64 << 20, Budget::relationships(1_000_000).loading_after(3));
    /// let none = authz.with_budget(0, Budget::none());
    /// # Ok::<(), formwork_authz::SchemaError>(())
    /// ```
    #[must_use]
    pub fn with_budget(&self, bytes: u64, budget: Budget) -> Self {
        Self::made(Arc::clone(&self.inner.schema), bytes, Arc::clone(&self.inner.clock), budget)
    }

    /// The schema.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.inner.schema
    }

    /// Whether the relationship, newly stored, can take a permission away from somebody.
    pub(crate) fn may_deny(&self, relationship: &Relationship) -> bool {
        let schema = &self.inner.schema;
        let slot = || {
            let object_type = schema.type_id(relationship.object().object_type())?;
            schema.type_info(object_type)?.slot_ids.get(relationship.relation())
        };
        slot().is_some_and(|slot| self.inner.denying.contains(&slot))
    }

    /// Whether one that the filter lets through can.
    pub(crate) fn may_deny_by(&self, filter: &Filter) -> bool {
        let schema = &self.inner.schema;
        self.inner
            .denying
            .iter()
            .filter_map(|&slot| schema.slot(slot))
            .any(|slot| filter.may_let_through(schema.type_name(slot.type_id), &slot.name))
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Does the subject hold the permission, or relation, on the object?
    ///
    /// # Errors
    ///
    /// [`CheckError`] when that could not be decided; an error is neither answer.
    pub async fn check<S: AsSubject + ?Sized>(
        &self,
        tx: &mut TenantTx,
        subject: &S,
        permission: &str,
        object: &Object,
    ) -> Result<Decision, CheckError> {
        self.check_in(tx, &Context::new(), subject, permission, object).await
    }

    /// As [`Authz::check`], with values for conditions, or as of a time.
    ///
    /// # Errors
    ///
    /// As [`Authz::check`].
    pub async fn check_in<S: AsSubject + ?Sized>(
        &self,
        tx: &mut TenantTx,
        context: &Context,
        subject: &S,
        permission: &str,
        object: &Object,
    ) -> Result<Decision, CheckError> {
        let subject = subject.as_subject();
        match sql::way(self, tx).await? {
            Way::Memory(graph) => graph.check_in(context, &subject, permission, object),
            Way::Sql => sql::answer(self, tx, context, &subject, permission, object).await,
        }
    }

    /// What the transaction sees as one snapshot, for every question that a [`Graph`] answers: lists in
    /// pages, explanations, relationships that count for one question only.
    ///
    /// The snapshot does not change with the transaction's later writes.
    ///
    /// # Errors
    ///
    /// [`CheckError::Storage`] when the relationships could not be read, [`CheckError::OverBudget`] when there are more
    /// than may be in memory.
    pub async fn graph(&self, tx: &mut TenantTx) -> Result<Arc<Graph>, CheckError> {
        view::of(self, tx).await
    }

    /// As [`Authz::check`] for several objects; the answers are in the order of the objects.
    ///
    /// # Errors
    ///
    /// [`CheckError`] when one of them could not be decided.
    pub async fn check_many<S: AsSubject + ?Sized>(
        &self,
        tx: &mut TenantTx,
        subject: &S,
        permission: &str,
        objects: &[Object],
    ) -> Result<Vec<Decision>, CheckError> {
        self.check_many_in(tx, &Context::new(), subject, permission, objects).await
    }

    /// As [`Authz::check_many`], with values for conditions, or as of a time.
    ///
    /// # Errors
    ///
    /// As [`Authz::check_many`].
    pub async fn check_many_in<S: AsSubject + ?Sized>(
        &self,
        tx: &mut TenantTx,
        context: &Context,
        subject: &S,
        permission: &str,
        objects: &[Object],
    ) -> Result<Vec<Decision>, CheckError> {
        let subject = subject.as_subject();
        match sql::way(self, tx).await? {
            Way::Memory(graph) => graph.check_many_in(context, &subject, permission, objects),
            Way::Sql => sql::ask(self, tx, context, &subject, permission, objects).await,
        }
    }

    /// As [`Authz::check`], but only an allowed subject comes further: with the grant, which is
    /// evidence of the decision.
    ///
    /// # Errors
    ///
    /// [`RequireError::Denied`] when the answer is no, [`RequireError::Undecided`] when there is none.
    pub async fn require<S: AsSubject + ?Sized>(
        &self,
        tx: &mut TenantTx,
        subject: &S,
        permission: &str,
        object: &Object,
    ) -> Result<Grant, RequireError> {
        self.require_in(tx, &Context::new(), subject, permission, object).await
    }

    /// As [`Authz::require`], with values for conditions, or as of a time.
    ///
    /// # Errors
    ///
    /// As [`Authz::require`]; what depends on values that are not given is denied, and the denial names
    /// them.
    pub async fn require_in<S: AsSubject + ?Sized>(
        &self,
        tx: &mut TenantTx,
        context: &Context,
        subject: &S,
        permission: &str,
        object: &Object,
    ) -> Result<Grant, RequireError> {
        let subject = subject.as_subject();
        let graph = match sql::way(self, tx).await? {
            Way::Memory(graph) => graph,
            Way::Sql => {
                let objects = std::slice::from_ref(object);
                Arc::new(sql::passing(self, tx, context, &subject, permission, objects).await?)
            }
        };
        let proof = graph.prove_allowed(context, &subject, permission, object)?;
        let (subject, object) = (subject.into_owned(), object.clone());
        match proof {
            Ok(path) => Ok(Grant::new(subject, permission, object, path)),
            Err(decision) => Err(RequireError::Denied(Denied::new(subject, permission, object, decision))),
        }
    }

    /// Every object of a type on which the subject holds the permission, by id.
    ///
    /// # Errors
    ///
    /// [`CheckError`] when that could not be decided; never a part of the answer.
    pub async fn lookup_objects<S: AsSubject + ?Sized>(
        &self,
        tx: &mut TenantTx,
        subject: &S,
        permission: &str,
        object_type: &str,
    ) -> Result<Vec<Object>, CheckError> {
        let subject = subject.as_subject();
        match sql::way(self, tx).await? {
            Way::Memory(graph) => graph.lookup_objects(&subject, permission, object_type),
            Way::Sql => sql::list(self, tx, &subject, permission, object_type).await,
        }
    }

    /// Reads the relationships again, for this transaction: after SQL of its own has changed them, or
    /// to see what others have committed since its first question.
    ///
    /// # Errors
    ///
    /// [`CheckError::Storage`] when they could not be read.
    pub async fn resync(&self, tx: &mut TenantTx) -> Result<(), CheckError> {
        view::forget(tx);
        sql::way(self, tx).await.map(drop)
    }
}

impl fmt::Debug for Authz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authz").field("schema", &self.inner.schema).finish_non_exhaustive()
    }
}
