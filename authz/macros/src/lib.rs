//! Macros of formwork-authz.
