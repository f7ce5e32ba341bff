//! What every module's routes share: how a route is declared, guarded, read and answered.

pub mod caller;
pub mod error;
pub mod extract;
pub mod guard;
mod moving;
pub mod openapi;
pub mod page;
mod reports;
pub mod route;

pub use reports::Reports;
