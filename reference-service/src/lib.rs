//! The construction-management API.
//!
//! A [`modules::Module`] is one folder that declares its permissions, its routes and its linkable types;
//! [`router`] puts them behind one pipeline; [`app::App`] is what they share; [`background`] is what runs beside them; [`cli`] is the program.

pub mod app;
pub mod background;
pub mod cli;
pub mod databases;
pub mod http;
pub mod import;
pub mod modules;
pub mod password;
pub mod router;
pub mod sinks;
pub mod token;
