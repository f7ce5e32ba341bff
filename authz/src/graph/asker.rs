//! One subject's questions of a graph: the subject is looked up once.

use crate::asker::allowed;
use crate::context::Context;
use crate::decision::Decision;
use crate::error::{CheckError, Undecided};
use crate::graph::Graph;
use crate::graph::explain::Explanation;
use crate::graph::search::{Question, Search, Target};
use crate::object::Object;
use crate::subject::{AsSubject, Subject};
use crate::typed::{AsPermission, ObjectType, Permission};

/// A subject who asks one graph, made by [`Graph::for_subject`].
#[derive(Debug, Clone)]
pub struct GraphAsker<'g> {
    graph: &'g Graph,
    subject: Subject,
    target: Target,
    context: Context,
}

impl Graph {
    /// One subject's questions, of permissions by name or of those that the compiler knows; also of a
    /// [`View`](crate::View).
    ///
    /// ```
    /// use formwork_authz::{Graph, Object, Schema, Subject, rel};
    ///
    /// let schema = Schema::parse("definition user {} definition document { relation viewer: user }")?;
    /// let graph = Graph::load(schema, [rel!("document:7#viewer@user:anna")]);
    /// let anna = graph.for_subject(&Subject::new("user", "anna"))?;
    /// let page = anna.filter("viewer", vec![7, 8], |id| Object::new("document", id))?;
    /// assert_eq!(page, [7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CheckError`] when the type of the subject is not in the schema, or its id cannot be one.
    pub fn for_subject<S: AsSubject + ?Sized>(&self, subject: &S) -> Result<GraphAsker<'_>, CheckError> {
        let subject = subject.as_subject().into_owned();
        Ok(GraphAsker { target: self.target(&subject)?, graph: self, subject, context: Context::new() })
    }
}

impl GraphAsker<'_> {
    /// The same subject, whose questions come with values for conditions, or as of a time.
    #[must_use]
    pub fn with_context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// As [`Graph::check`].
    ///
    /// # Errors
    ///
    /// As [`Graph::check`].
    pub fn check<P: AsPermission>(&self, permission: P, object: &P::Object) -> Result<Decision, CheckError> {
        let question = self.question(permission.name(), object.as_ref())?;
        Search::new(self.graph, question.target, &self.context).check(question)
    }

    /// As [`Graph::explain`].
    ///
    /// # Errors
    ///
    /// As [`Graph::explain`].
    pub fn explain<P: AsPermission>(
        &self,
        permission: P,
        object: &P::Object,
    ) -> Result<Explanation, CheckError> {
        self.graph.explain(&self.context, &self.subject, permission.name(), object.as_ref())
    }

    /// Those of the rows on whose objects the subject holds the permission, in their order, in one question: as
    /// [`Asker::filter`](crate::Asker::filter).
    ///
    /// # Errors
    ///
    /// [`CheckError::Undecided`] when it depends on values that were not given whether a row is among them; otherwise as
    /// [`Graph::check`].
    pub fn filter<P: AsPermission, R>(
        &self,
        permission: P,
        rows: Vec<R>,
        mut object: impl FnMut(&R) -> P::Object,
    ) -> Result<Vec<R>, CheckError> {
        let name = permission.name();
        let questions = rows.iter().map(|row| self.question(name, object(row).as_ref()));
        let questions: Vec<Question> = questions.collect::<Result<_, _>>()?;
        allowed(rows, self.graph.check_questions(&self.context, &questions)?)
    }

    /// Every object on which the subject holds the permission, by id.
    ///
    /// # Errors
    ///
    /// As [`GraphAsker::filter`].
    pub fn lookup_objects<T: ObjectType>(&self, permission: Permission<T>) -> Result<Vec<T>, CheckError> {
        let (context, name) = (&self.context, permission.name());
        let page = self.graph.lookup_objects_in(context, &self.subject, name, T::NAME, None, usize::MAX)?;
        match page.conditional.first() {
            None => Ok(page.items.iter().map(|object| T::from_id(object.id())).collect()),
            Some(first) => {
                let missing = match self.graph.check_in(context, &self.subject, name, first)? {
                    Decision::Conditional { missing } => missing,
                    _ => [].into(),
                };
                Err(CheckError::Undecided(Undecided::new(page.conditional.len(), missing)))
            }
        }
    }

    fn question(&self, permission: &str, object: &Object) -> Result<Question, CheckError> {
        self.graph.question_of(&self.subject, self.target, permission, object)
    }
}
