//! One subject's questions: whoever acts in a request is named once.

use formwork_tenancy::TenantTx;

use crate::authz::Authz;
use crate::context::Context;
use crate::decision::Decision;
use crate::error::{CheckError, RequireError, Undecided};
use crate::grant::Grant;
use crate::object::Object;
use crate::sql::{self, ObjectFilter};
use crate::subject::{AsSubject, Subject};
use crate::typed::{AsPermission, ObjectType, Permission};

/// A subject who asks, made by [`Authz::for_subject`]; keep it for a request. Cheap to clone, but for the context.
#[derive(Debug, Clone)]
pub struct Asker {
    authz: Authz,
    subject: Subject,
    context: Context,
}

impl Authz {
    /// One subject's questions, of permissions by name or of those that the compiler knows.
    ///
    /// # How does a request ask?
    ///
    /// ```no_run
    /// # struct Row { id: i64 }
    /// # async fn example(
    /// #     tenants: formwork_tenancy::Tenants,
    /// #     session: formwork_tenancy::Session,
    /// #     page: Vec<Row>,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// mod access {
    ///     formwork_authz::schema!("
    ///         definition user {}
    ///         definition document {
    ///             relation owner: user
    ///             relation viewer: user
    ///             permission edit = owner
    ///             permission view = viewer + edit
    ///         }");
    /// }
    /// use access::Document;
    /// use formwork_authz::Authz;
    ///
    /// let authz = Authz::new(access::schema()?);
    /// let actor = authz.for_subject(session.actor());
    /// let mut tx = tenants.begin(&session).await?;
    /// let grant = actor.require(&mut tx, Document::CAN.edit, &Document::new(7)).await?;
    /// let seen = actor.filter(&mut tx, Document::CAN.view, page, |row| Document::new(row.id)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn for_subject<S: AsSubject + ?Sized>(&self, subject: &S) -> Asker {
        Asker { authz: self.clone(), subject: subject.as_subject().into_owned(), context: Context::new() }
    }
}

impl Asker {
    /// The same subject, whose questions come with values for conditions, or as of a time.
    #[must_use]
    pub fn with_context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Who asks.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// As [`Authz::check`].
    ///
    /// # Errors
    ///
    /// As [`Authz::check`].
    pub async fn check<P: AsPermission>(
        &self,
        tx: &mut TenantTx,
        permission: P,
        object: &P::Object,
    ) -> Result<Decision, CheckError> {
        self.authz.check_in(tx, &self.context, &self.subject, permission.name(), object.as_ref()).await
    }

    /// As [`Authz::require`].
    ///
    /// # Errors
    ///
    /// As [`Authz::require`].
    pub async fn require<P: AsPermission>(
        &self,
        tx: &mut TenantTx,
        permission: P,
        object: &P::Object,
    ) -> Result<Grant, RequireError> {
        self.authz.require_in(tx, &self.context, &self.subject, permission.name(), object.as_ref()).await
    }

    /// As [`Authz::require_at_commit`]: nobody takes the permission away before the commit.
    ///
    /// # Errors
    ///
    /// As [`Authz::require_at_commit`].
    pub async fn require_at_commit<P: AsPermission>(
        &self,
        tx: &mut TenantTx,
        permission: P,
        object: &P::Object,
    ) -> Result<Grant, RequireError> {
        let (context, name) = (&self.context, permission.name());
        self.authz.require_at_commit(tx, context, &self.subject, name, object.as_ref()).await
    }

    /// Those of the rows on whose objects the subject holds the permission, in their order: a page that was loaded, in
    /// one question.
    ///
    /// A page that was filtered is shorter than it was: where pages are to be full, let the database filter,
    /// with [`Asker::sql_filter`].
    ///
    /// # Errors
    ///
    /// [`CheckError::Undecided`] when it depends on values that were not given whether a row is among them; otherwise as
    /// [`Authz::check`].
    pub async fn filter<P: AsPermission, R>(
        &self,
        tx: &mut TenantTx,
        permission: P,
        rows: Vec<R>,
        object: impl FnMut(&R) -> P::Object,
    ) -> Result<Vec<R>, CheckError> {
        let objects: Vec<P::Object> = rows.iter().map(object).collect();
        let objects: Vec<Object> = objects.iter().map(|object| object.as_ref().clone()).collect();
        let (context, name) = (&self.context, permission.name());
        let answers = self.authz.check_many_in(tx, context, &self.subject, name, &objects).await?;
        allowed(rows, answers)
    }

    /// The same as a condition in the caller's own query: as [`Authz::filter`].
    ///
    /// # Errors
    ///
    /// As [`Authz::filter`].
    pub async fn sql_filter<T: ObjectType>(
        &self,
        tx: &mut TenantTx,
        permission: Permission<T>,
    ) -> Result<ObjectFilter, CheckError> {
        self.authz.filter_in(tx, &self.context, &self.subject, permission.name(), T::NAME).await
    }

    /// Every object on which the subject holds the permission, by id.
    ///
    /// # Errors
    ///
    /// As [`Asker::filter`].
    pub async fn lookup_objects<T: ObjectType>(
        &self,
        tx: &mut TenantTx,
        permission: Permission<T>,
    ) -> Result<Vec<T>, CheckError> {
        let (context, subject) = (&self.context, &self.subject);
        let ids = sql::decided(&self.authz, tx, context, subject, permission.name(), T::NAME).await?;
        Ok(ids.iter().map(|id| T::from_id(id)).collect())
    }
}

/// The rows with a yes; none is left out because nobody knows.
pub(crate) fn allowed<R>(rows: Vec<R>, answers: Vec<Decision>) -> Result<Vec<R>, CheckError> {
    let mut open = answers.iter().filter_map(|answer| match answer {
        Decision::Conditional { missing } => Some(missing),
        _ => None,
    });
    if let Some(missing) = open.next() {
        let missing = missing.clone();
        return Err(CheckError::Undecided(Undecided::new(1 + open.count(), missing)));
    }
    let kept = rows.into_iter().zip(answers).filter(|(_, answer)| answer.is_allowed());
    Ok(kept.map(|(row, _)| row).collect())
}
