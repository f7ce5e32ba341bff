//! Integration tests, on a real Postgres and over real HTTP.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod audit;
mod audit_kill;
mod auth;
mod cli;
mod cli_archive;
mod cli_audit;
mod cli_audit_trail;
mod cli_authz;
mod cli_authz_schema;
mod cli_demo;
mod cli_doctor;
mod cli_errors;
mod cli_life;
mod cli_move;
mod cli_outage;
mod cli_resolution;
mod cli_sinks;
mod import_kill;
mod import_read;
mod import_write;
mod isolation;
mod kit;
mod links;
mod openapi;
mod policy;
mod problems;
mod projects;
mod routing;
mod row_security;
mod tasks;
mod tenant;
