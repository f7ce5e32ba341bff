//! How fresh an answer has to be.

use std::time::Duration;

use formwork_tenancy::CommitToken;

/// How fresh an answer has to be.
///
/// | | sees | costs |
/// |---|---|---|
/// | [`Full`](Self::Full) | all that was committed before the question | one round trip a transaction |
/// | [`AtLeast`](Self::AtLeast) | at least what the token's commit left | nothing once the node has seen that commit, else a round trip |
/// | [`MinimizeLatency`](Self::MinimizeLatency) | a state that was the newest at most so long ago | nothing while the node follows the log, or has asked within the bound; else a round trip |
/// | [`Exact`](Self::Exact) | what the token's commit left and nothing later | a round trip, and undoing what has come since |
///
/// Inside a transaction its own writes through [`Authz`](crate::Authz) are seen as well, whatever is chosen (not by
/// `Exact`, which is of the past). What SQL of its own has written is seen after [`Authz::resync`](crate::Authz::resync).
///
/// A transaction that a replica answers asks the replica, and sees no more than that shows: give the token to the session
/// ([`Session::at_least`](formwork_tenancy::Session::at_least)) as well, or begin it on the primary.
///
/// A revocation of which nobody has told (no token, no message) may be missed by `MinimizeLatency` for as long as its
/// bound: what is decided on it is as old as that. Zanzibar calls what goes wrong then the new enemy problem ("Zanzibar:
/// Google's Consistent, Global Authorization System", section 2.2); the way out is its own: keep the token of the commit
/// with what was written after it, and ask with [`AtLeast`](Self::AtLeast).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[doc(alias = "zookie")]
#[doc(alias = "ZedToken")]
pub enum Consistency {
    /// All that was committed before the question was asked.
    #[default]
    Full,
    /// At least what this commit left. A token of another tenant is an error; one of an earlier epoch of the home, of
    /// before a move for instance, means `Full`.
    AtLeast(CommitToken),
    /// What this commit left and nothing later, while the log reaches back to it.
    Exact(CommitToken),
    /// A state that was the newest at most so long ago.
    MinimizeLatency(Duration),
}
