//! Where Postgres' own programs are: what a developer, Debian, Homebrew or `script/bootstrap` installed.
//!
//! INVARIANT: a `PgBinaries` names a folder whose `postgres` was run once and said a version of 15 or newer.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{BinariesNotFound, LocalPostgresError};

/// The oldest major version that the SQL of these crates runs on (`UNIQUE NULLS NOT DISTINCT`).
const OLDEST_MAJOR: u32 = 15;

/// A folder with `initdb` and `postgres`, and their version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgBinaries {
    folder: PathBuf,
    major: u32,
}

impl PgBinaries {
    /// Finds binaries: in `explicit` and nowhere else when that is given (a caller's `PG_BIN_DIR`), else as
    /// [`BinarySearch`] says.
    ///
    /// # Errors
    ///
    /// [`LocalPostgresError::BinariesNotFound`], whose text says what to type.
    pub fn find(explicit: Option<&Path>) -> Result<Self, LocalPostgresError> {
        BinarySearch { explicit: explicit.map(Path::to_path_buf), ..BinarySearch::default() }.find()
    }

    /// The folder that holds the programs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The major version, such as 15.
    pub fn major(&self) -> u32 {
        self.major
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Asks the programs of `folder` for their version.
    fn inspect(folder: &Path) -> Result<Self, String> {
        // They run in the data folder, where a relative path would lead elsewhere.
        let folder = &std::path::absolute(folder).map_err(|error| error.to_string())?;
        if !holds_programs(folder) {
            return Err("holds no `initdb` and `postgres`".to_owned());
        }
        let output = Command::new(folder.join("postgres"))
            .arg("--version")
            .output()
            .map_err(|error| format!("`postgres --version` does not run ({error})"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let major = parse_major(&text).ok_or_else(|| "`postgres --version` names no version".to_owned())?;
        if major < OLDEST_MAJOR {
            return Err(format!("version {major} is too old"));
        }
        Ok(Self { folder: folder.clone(), major })
    }
}

/// Where to look for Postgres binaries; the first folder that can be used wins.
///
/// In order: every folder of `PATH`; `/usr/lib/postgresql/*/bin`, newest first; `/usr/local/lib/postgresql`;
/// Homebrew's `opt/postgresql@*`; folders added with [`cache`](Self::cache); and, for a program that lies in
/// a Cargo target folder, `pg/*/bin` in that folder, which is where `script/bootstrap` puts them.
///
/// `PATH` is the one environment variable that this crate reads.
#[derive(Clone, Debug, Default)]
pub struct BinarySearch {
    explicit: Option<PathBuf>,
    caches: Vec<PathBuf>,
    prefer_major: Option<u32>,
}

impl BinarySearch {
    /// A search in the usual places.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks in this folder and nowhere else.
    #[must_use]
    pub fn only_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.explicit = Some(folder.into());
        self
    }

    /// Looks in `folder/*/bin` too, after the system's places.
    #[must_use]
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.caches.push(folder.into());
        self
    }

    /// Takes the version that made the cluster in `dir` when it is still installed, whatever stands before it
    /// in the order: the data files of one major version cannot be read by another.
    #[must_use]
    pub fn for_cluster(mut self, dir: &Path) -> Self {
        self.prefer_major = super::cluster::data_major(dir);
        self
    }

    /// Runs the search.
    ///
    /// # Errors
    ///
    /// [`LocalPostgresError::BinariesNotFound`], whose text says what to type and which folders were no good.
    pub fn find(&self) -> Result<PgBinaries, LocalPostgresError> {
        let folders = match &self.explicit {
            Some(folder) => vec![folder.clone()],
            None => self.usual_folders(),
        };
        let mut rejected = Vec::new();
        let mut first = None;
        for folder in folders {
            match PgBinaries::inspect(&folder) {
                Ok(found) if self.prefer_major.is_none_or(|major| major == found.major) => return Ok(found),
                Ok(found) => first = first.or(Some(found)),
                Err(reason) => rejected.push((folder, reason)),
            }
        }
        first.ok_or_else(|| BinariesNotFound { rejected }.into())
    }

    fn usual_folders(&self) -> Vec<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> =
            env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
        folders.extend(versioned(Path::new("/usr/lib/postgresql"), ""));
        folders.push("/usr/local/lib/postgresql/bin".into());
        folders.push("/usr/local/lib/postgresql".into());
        for prefix in ["/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"] {
            folders.extend(versioned(Path::new(prefix), "postgresql@"));
        }
        for cache in self.caches.iter().cloned().chain(target_cache()) {
            folders.extend(versioned(&cache, ""));
        }
        folders.retain(|folder| holds_programs(folder));
        folders
    }
}

fn holds_programs(folder: &Path) -> bool {
    folder.join("initdb").is_file() && folder.join("postgres").is_file()
}

/// `parent/<prefix><number>/bin`, the highest number first.
fn versioned(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = parent.read_dir() else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?.split('.').next()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// `pg` in the Cargo target folder in which the running program lies. Cargo's tag file is what tells a target
/// folder, so that a program installed elsewhere never runs binaries from a folder that happens to be there.
fn target_cache() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    let target = program.ancestors().skip(1).take(5).find(|folder| folder.join("CACHEDIR.TAG").is_file())?;
    Some(target.join("pg"))
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` or `.. 18beta1`.
fn parse_major(text: &str) -> Option<u32> {
    let version = text.split("(PostgreSQL)").nth(1)?.trim_start();
    let end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_distributions_print_them() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18.4\n"), Some(18));
        assert_eq!(parse_major("postgres (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(parse_major("postgres (PostgreSQL) 9.6.24\n"), Some(9));
        assert_eq!(parse_major("something else"), None);
    }
}
