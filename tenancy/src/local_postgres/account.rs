//! Whom Postgres runs as. It refuses to be root, so a root process hands it to an unprivileged account and
//! gives that account the folders it writes to.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{AccountError, FolderError, LocalPostgresError, OnPath};

/// The account that owns the data and runs the server, or this process's own.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// `None`: whoever we are.
    unprivileged: Option<PasswdEntry>,
    /// Our own user id.
    own_uid: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PasswdEntry {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// For a process of user `own_uid` and a cluster whose data lie in `data`, once they are there: as root,
    /// the account that made the data goes on, whatever accounts were added since.
    pub(super) fn choose(own_uid: u32, data: &Path) -> Result<Self, LocalPostgresError> {
        if own_uid != 0 {
            return Ok(Self { unprivileged: None, own_uid });
        }
        let owner = fs::metadata(data).ok().filter(|metadata| metadata.uid() != 0);
        let unprivileged = match owner {
            Some(metadata) => PasswdEntry {
                name: format!("user {}", metadata.uid()),
                uid: metadata.uid(),
                gid: metadata.gid(),
            },
            None => usual_account()?,
        };
        Ok(Self { unprivileged: Some(unprivileged), own_uid })
    }

    pub(super) fn is_other(&self) -> bool {
        self.unprivileged.is_some()
    }

    pub(super) fn uid(&self) -> u32 {
        self.unprivileged.as_ref().map_or(self.own_uid, |entry| entry.uid)
    }

    pub(super) fn own_uid(&self) -> u32 {
        self.own_uid
    }

    /// Makes `command` run as this account (std drops the supplementary groups of root with it).
    pub(super) fn applied_to(&self, command: &mut Command) {
        if let Some(entry) = &self.unprivileged {
            command.uid(entry.uid).gid(entry.gid);
        }
    }

    /// Gives `path` to this account.
    pub(super) fn own(&self, path: &Path) -> Result<(), FolderError> {
        match &self.unprivileged {
            Some(entry) => chown(path, Some(entry.uid), Some(entry.gid)).on("change the owner of", path),
            None => Ok(()),
        }
    }

    /// Every folder above `path` must let the account through: a home of root does not.
    pub(super) fn must_reach(&self, path: &Path) -> Result<(), LocalPostgresError> {
        let Some(entry) = &self.unprivileged else { return Ok(()) };
        match first_closed_folder(path, entry)? {
            None => Ok(()),
            Some(folder) => Err(AccountError {
                reason: format!(
                    "`{}` may not enter `{}`, on the way to `{}`, and Postgres refuses to run as root: choose a \
                     folder elsewhere, such as under `/var/lib`",
                    entry.name,
                    folder.display(),
                    path.display()
                ),
                source: None,
            }
            .into()),
        }
    }
}

/// `postgres`, which Debian's package makes, else `nobody`.
fn usual_account() -> Result<PasswdEntry, AccountError> {
    let passwd = fs::read_to_string("/etc/passwd").map_err(|source| AccountError {
        reason: "cannot read `/etc/passwd`, and Postgres refuses to run as root".to_owned(),
        source: Some(source),
    })?;
    ["postgres", "nobody"].iter().find_map(|name| find_entry(&passwd, name)).ok_or_else(|| AccountError {
        reason: "Postgres refuses to run as root and there is neither an account `postgres` nor `nobody`: run this \
                 program as another user"
            .to_owned(),
        source: None,
    })
}

fn first_closed_folder(path: &Path, entry: &PasswdEntry) -> Result<Option<PathBuf>, FolderError> {
    let path = path.canonicalize().on("find", path)?;
    for folder in path.ancestors().skip(1) {
        let metadata = fs::metadata(folder).on("read", folder)?;
        let bit = match () {
            () if metadata.uid() == entry.uid => 0o100,
            () if metadata.gid() == entry.gid => 0o010,
            () => 0o001,
        };
        if metadata.mode() & bit == 0 {
            return Ok(Some(folder.to_path_buf()));
        }
    }
    Ok(None)
}

fn find_entry(passwd: &str, name: &str) -> Option<PasswdEntry> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        found.then(|| PasswdEntry { name: name.to_owned(), uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nnobody:x:65534:65533::/:/usr/sbin/nologin\n";
        let nobody = PasswdEntry { name: "nobody".to_owned(), uid: 65534, gid: 65533 };
        assert_eq!(find_entry(passwd, "nobody"), Some(nobody));
        assert_eq!(find_entry(passwd, "postgres"), None);
    }
}
