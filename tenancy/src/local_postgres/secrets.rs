//! The generated passwords of a cluster, in a file that only its owner may read.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::LocalRole;
use super::error::{FolderError, OnPath};

/// What a cluster needs to know of itself, in a file that only its owner may read.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Secrets {
    /// Part of the name of a socket folder outside `dir`, where that path is too long for a socket.
    pub(super) id: String,
    postgres: String,
    formwork_owner: String,
    formwork_app: String,
    formwork_relay: String,
}

impl Secrets {
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join("cluster.json")
    }

    pub(super) fn read(dir: &Path) -> Result<Option<Self>, FolderError> {
        let path = Self::path(dir);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.on("read", &path)?,
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| FolderError::because("read", &path, format!(": {error}")))
    }

    /// New passwords, on disk on return.
    pub(super) fn generate(dir: &Path) -> Result<Self, FolderError> {
        let path = Self::path(dir);
        let password = || random_hex::<24>().on("find random bytes for", &path);
        let secrets = Self {
            id: random_hex::<8>().on("find random bytes for", &path)?,
            postgres: password()?,
            formwork_owner: password()?,
            formwork_app: password()?,
            formwork_relay: password()?,
        };
        let text = serde_json::to_string_pretty(&secrets)
            .map_err(|error| FolderError::because("write", &path, format!(": {error}")))?;
        let unfinished = dir.join("cluster.json.new");
        remove_if_there(&unfinished)?;
        write_private(&unfinished, &text)?;
        fs::rename(&unfinished, &path).on("rename", &unfinished)?;
        Ok(secrets)
    }

    pub(super) fn password(&self, role: LocalRole) -> &str {
        match role {
            LocalRole::Superuser => &self.postgres,
            LocalRole::Owner => &self.formwork_owner,
            LocalRole::App => &self.formwork_app,
            LocalRole::Relay => &self.formwork_relay,
        }
    }
}

/// Lower-case hexadecimal of `BYTES` random bytes: nothing in it needs escaping in SQL or in a URL.
pub(super) fn random_hex<const BYTES: usize>() -> std::io::Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(super) fn write_private(path: &Path, text: &str) -> Result<(), FolderError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).on("create", path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).on("write", path)
}

pub(super) fn remove_if_there(path: &Path) -> Result<(), FolderError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.on("remove", path),
    }
}
