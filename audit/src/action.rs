//! Actions that are known when the program is compiled.

use crate::{AuditError, FieldRules, event::is_action};

/// What can be done, and how it is told. Made in a `const`: a name of another form does not compile.
///
/// ```
/// use formwork_audit::{Action, Actions, FieldRules};
///
/// const RENAMED: Action = Action::new("project.renamed").fields(FieldRules::all().omitting(&["updated_at"]));
/// const VIEWED: Action = Action::new("project.viewed").fail_open();
/// const ACTIONS: Actions = Actions::new(&[RENAMED, VIEWED]);
/// assert!(ACTIONS.find("project.renamed").is_some());
/// ```
///
/// ```compile_fail
/// const RENAMED: formwork_audit::Action = formwork_audit::Action::new("Renamed");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    name: &'static str,
    fails_open: bool,
    fields: FieldRules,
}

impl Action {
    /// `noun.verb` in the past tense; it fails closed, and shows all fields.
    ///
    /// # Panics
    ///
    /// When the name has another form: in a `const`, that is an error of the compiler.
    pub const fn new(name: &'static str) -> Self {
        assert!(is_action(name.as_bytes()), "an action is written as `noun.verb`, lower case");
        Self { name, fails_open: false, fields: FieldRules::all() }
    }

    /// When its event cannot be written, the work goes on without: for what is told and not proved.
    #[must_use]
    pub const fn fail_open(mut self) -> Self {
        self.fails_open = true;
        self
    }

    /// How the fields of a [diff](crate::Event::diff) are told.
    #[must_use]
    pub const fn fields(mut self, rules: FieldRules) -> Self {
        self.fields = rules;
        self
    }

    /// As it is stored.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Does the work go on when its event cannot be written?
    pub const fn fails_open(&self) -> bool {
        self.fails_open
    }

    pub(crate) const fn rules(&self) -> FieldRules {
        self.fields
    }
}

/// All actions of a program. Two of one name do not compile.
///
/// ```compile_fail
/// use formwork_audit::{Action, Actions};
///
/// const A: Action = Action::new("project.renamed");
/// const ACTIONS: Actions = Actions::new(&[A, A]);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Actions(&'static [Action]);

impl Actions {
    /// These and no others.
    ///
    /// # Panics
    ///
    /// When two have one name: in a `const`, that is an error of the compiler.
    #[expect(clippy::indexing_slicing, reason = "within bounds, and a const function has no iterators")]
    pub const fn new(actions: &'static [Action]) -> Self {
        let mut at = 0;
        while at < actions.len() {
            let mut other = at + 1;
            while other < actions.len() {
                let (a, b) = (actions[at].name.as_bytes(), actions[other].name.as_bytes());
                assert!(!is_same(a, b), "two actions have one name");
                other += 1;
            }
            at += 1;
        }
        Self(actions)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &'static Action> {
        self.0.iter()
    }

    /// The one with this name.
    pub fn find(&self, name: &str) -> Option<&'static Action> {
        self.0.iter().find(|action| action.name == name)
    }

    pub(crate) fn require(&self, name: &str) -> Result<(), AuditError> {
        match self.find(name) {
            Some(_) => Ok(()),
            None => Err(AuditError::UnknownAction { action: name.to_owned() }),
        }
    }
}

#[expect(clippy::indexing_slicing, reason = "within bounds, and a const function has no iterators")]
const fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}
