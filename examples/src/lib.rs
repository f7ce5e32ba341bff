//! Whole programs, one task each: under `src/bin`, and in `add-to-an-existing-app` the steps from one tenant to many.
//! They run on a Postgres of their own, and CI runs them.
//!
//! The example of the project's README is compiled here:
//!
#![doc = include_str!("../../README.md")]

/// The pages whose examples are compiled here, and run where they need no server.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../docs/consistency.md")]
    mod consistency {}
    #[doc = include_str!("../../docs/from-openfga.md")]
    mod from_openfga {}
    #[doc = include_str!("../../docs/from-roles.md")]
    mod from_roles {}
    #[doc = include_str!("../../docs/from-spicedb.md")]
    mod from_spicedb {}
    #[doc = include_str!("../../docs/lists-as-sql.md")]
    mod lists_as_sql {}
    #[doc = include_str!("../../docs/model-your-app.md")]
    mod model_your_app {}
    #[doc = include_str!("../../docs/operating.md")]
    mod operating {}
}
