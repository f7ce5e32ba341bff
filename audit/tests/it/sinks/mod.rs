//! Sinks.

mod deliver;
mod file;
mod kit;
mod ocsf;
mod redis;
mod webhook;
