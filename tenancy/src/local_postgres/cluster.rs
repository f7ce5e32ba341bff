//! A cluster's folder: its data, its socket, its passwords and its log.
//!
//! INVARIANT: `data` is there whole or not at all (`initdb` fills `data.new`, which is then renamed), and the
//! passwords are on disk before it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::account::Account;
use super::error::{FolderError, LocalPostgresError, OnPath, StartError};
use super::secrets::{Secrets, remove_if_there, write_private};
use super::{Durability, LocalRole, Settings};

/// A socket has no port; Postgres still puts one into the name of its file.
pub(super) const PORT: u16 = 5432;

/// The kernel takes 108 bytes for a socket's path (104 on macOS and the BSDs), the last of them zero.
const LONGEST_SOCKET_PATH: usize = 103;

/// A log that has grown beyond this is put aside when the server starts.
const LOG_LIMIT: u64 = 10 * 1024 * 1024;

/// A cluster's folder, ready to be served from.
#[derive(Clone)]
pub(super) struct Cluster {
    settings: Settings,
    account: Account,
    secrets: Secrets,
    socket_folder: PathBuf,
}

impl Cluster {
    /// Opens the cluster in `settings.dir`, where another process serves it.
    pub(super) fn attach(settings: Settings, own_uid: u32) -> Result<Self, LocalPostgresError> {
        let secrets = Secrets::read(&settings.dir)?.ok_or_else(|| {
            FolderError::because("read", &Secrets::path(&settings.dir), ": it is missing".to_owned())
        })?;
        let account = Account::choose(own_uid, &settings.dir.join("data"))?;
        let socket_folder = socket_folder(&settings.dir, &secrets.id);
        Ok(Self { settings, account, secrets, socket_folder })
    }

    /// Opens the cluster in `settings.dir` and makes what is missing of it. The caller holds its owner lock.
    pub(super) fn open_or_create(settings: Settings, own_uid: u32) -> Result<Self, LocalPostgresError> {
        let data = settings.dir.join("data");
        let account = Account::choose(own_uid, &data)?;
        let mode = if account.is_other() { 0o711 } else { 0o700 };
        fs::set_permissions(&settings.dir, Permissions::from_mode(mode))
            .on("set the mode of", &settings.dir)?;
        account.must_reach(&settings.dir)?;
        account.must_reach(&settings.binaries.program("postgres"))?;
        let secrets = match Secrets::read(&settings.dir)? {
            Some(secrets) => secrets,
            None if data.exists() => {
                let path = Secrets::path(&settings.dir);
                let hint =
                    format!(": it is missing, and without it nobody may log in to `{}`", data.display());
                return Err(FolderError::because("read", &path, hint).into());
            }
            None => Secrets::generate(&settings.dir)?,
        };
        let socket_folder = socket_folder(&settings.dir, &secrets.id);
        let cluster = Self { settings, account, secrets, socket_folder };
        if data.exists() {
            cluster.must_match_binaries()?;
        } else {
            cluster.init()?;
        }
        cluster.make_socket_folder()?;
        Ok(cluster)
    }

    /// The same logins and settings in another folder.
    #[cfg(feature = "testing")]
    pub(super) fn moved_to(&self, dir: PathBuf, durability: Durability) -> Self {
        let id = dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let socket_folder = socket_folder(&dir, &id);
        let settings = Settings { dir, durability, ..self.settings.clone() };
        Self { settings, socket_folder, ..self.clone() }
    }

    /// Makes what a server needs besides its data.
    #[cfg(feature = "testing")]
    pub(super) fn open_folder(&self) -> Result<(), FolderError> {
        let mode = if self.account.is_other() { 0o711 } else { 0o700 };
        let dir = &self.settings.dir;
        fs::set_permissions(dir, Permissions::from_mode(mode)).on("set the mode of", dir)?;
        self.make_socket_folder()
    }

    #[cfg(feature = "testing")]
    pub(super) fn give_away(&self, path: &Path) -> Result<(), FolderError> {
        self.account.own(path)
    }

    #[cfg(feature = "testing")]
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.settings.binaries.program(name)
    }

    /// A program of the cluster's binaries, run as its account, from a folder that the account may enter.
    #[cfg(feature = "testing")]
    pub(super) fn command(&self, name: &str, folder: &Path) -> Command {
        let mut command = tied_to_parent(&self.program(name));
        self.prepare(&mut command, folder);
        command.process_group(0);
        command
    }

    pub(super) fn dir(&self) -> &Path {
        &self.settings.dir
    }

    pub(super) fn data(&self) -> PathBuf {
        self.settings.dir.join("data")
    }

    pub(super) fn socket_folder(&self) -> &Path {
        &self.socket_folder
    }

    pub(super) fn log(&self) -> PathBuf {
        self.settings.dir.join("postgres.log")
    }

    pub(super) fn password(&self, role: LocalRole) -> &str {
        self.secrets.password(role)
    }

    /// Whether some server listens on the socket.
    pub(super) fn answers(&self) -> bool {
        UnixStream::connect(self.socket_folder.join(format!(".s.PGSQL.{PORT}"))).is_ok()
    }

    /// The process that Postgres' own lock file names; it may be long gone.
    pub(super) fn recorded_pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// `postgres` with this cluster's settings, its output at the end of the log.
    pub(super) fn server(&self) -> Result<Command, FolderError> {
        let mut command = tied_to_parent(&self.settings.binaries.program("postgres"));
        // Postgres reads a list here: quotes keep a comma or a space in the path from ending an entry.
        let sockets = self.socket_folder.to_string_lossy().replace('"', "\"\"");
        command.arg("-D").arg(self.data());
        let mut options = vec![
            format!("unix_socket_directories=\"{sockets}\""),
            "unix_socket_permissions=0700".to_owned(),
            "listen_addresses=".to_owned(),
            format!("port={PORT}"),
            "wal_level=logical".to_owned(),
            "max_connections=200".to_owned(),
            "max_locks_per_transaction=256".to_owned(),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
            "logging_collector=off".to_owned(),
        ];
        if self.settings.durability == Durability::Fast {
            options
                .extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
        }
        for option in options {
            command.arg("-c").arg(option);
        }
        let log = self.open_log()?;
        let output = log.try_clone().on("open", &self.log())?;
        command.stdin(Stdio::null()).stdout(output).stderr(log);
        // A group of its own: Ctrl-C in a terminal reaches the program, which drains first and stops Postgres last.
        command.process_group(0);
        self.prepare(&mut command, &self.data());
        Ok(command)
    }

    /// The end of the log, from `offset` on, on one line.
    pub(super) fn log_tail(&self, offset: u64) -> String {
        let mut text = Vec::new();
        if let Ok(mut log) = File::open(self.log()) {
            let _ = log.seek(SeekFrom::Start(offset)).and_then(|_| log.read_to_end(&mut text));
        }
        last_lines(&String::from_utf8_lossy(&text))
    }

    /// How long the log is now.
    pub(super) fn log_length(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |metadata| metadata.len())
    }

    /// Deletes everything; for a cluster that was only lent.
    pub(super) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.socket_folder);
        let _ = fs::remove_dir_all(&self.settings.dir);
    }

    /// The data files of one major version cannot be read by another.
    fn must_match_binaries(&self) -> Result<(), LocalPostgresError> {
        let binaries = &self.settings.binaries;
        match data_major(&self.settings.dir) {
            Some(made_by) if made_by != binaries.major() => Err(StartError {
                reason: format!(
                    "the cluster in `{}` was made by Postgres {made_by} and `{}` holds version {}: set PG_BIN_DIR to \
                     a Postgres {made_by}, or move the folder away to begin anew",
                    self.settings.dir.display(),
                    binaries.folder().display(),
                    binaries.major()
                ),
                log_tail: String::new(),
                source: None,
            }
            .into()),
            _ => Ok(()),
        }
    }

    fn init(&self) -> Result<(), LocalPostgresError> {
        let unfinished = self.settings.dir.join("data.new");
        let password_file = self.settings.dir.join("initdb.password");
        remove_if_there(&unfinished)?;
        remove_if_there(&password_file)?;
        DirBuilder::new().mode(0o700).create(&unfinished).on("create", &unfinished)?;
        self.account.own(&unfinished)?;
        write_private(&password_file, self.password(LocalRole::Superuser))?;
        self.account.own(&password_file)?;
        let made = self.run_initdb(&unfinished, &password_file);
        remove_if_there(&password_file)?;
        made?;
        fs::rename(&unfinished, self.data()).on("rename", &unfinished)?;
        sync_folder(&self.settings.dir)
    }

    fn run_initdb(&self, data: &Path, password_file: &Path) -> Result<(), LocalPostgresError> {
        let mut command = tied_to_parent(&self.settings.binaries.program("initdb"));
        command.arg("-D").arg(data).arg("--pwfile").arg(password_file);
        command.args(["-U", "postgres", "-A", "scram-sha-256", "--encoding", "UTF8", "--locale=C"]);
        command.arg("--no-instructions").stdin(Stdio::null()).process_group(0);
        if self.settings.durability == Durability::Fast {
            command.arg("--no-sync");
        }
        self.prepare(&mut command, data);
        let output = command.output().map_err(|source| StartError {
            reason: format!("cannot run `{}`", self.settings.binaries.program("initdb").display()),
            log_tail: String::new(),
            source: Some(source),
        })?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(StartError {
            reason: format!("`initdb` failed for `{}` ({})", data.display(), output.status),
            log_tail: last_lines(&String::from_utf8_lossy(&said)),
            source: None,
        }
        .into())
    }

    /// What `initdb` and `postgres` need alike: an account, a folder that it may enter, and nothing of the
    /// caller's Postgres environment.
    fn prepare(&self, command: &mut Command, folder: &Path) {
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").current_dir(folder);
        self.account.applied_to(command);
    }

    fn make_socket_folder(&self) -> Result<(), FolderError> {
        let folder = &self.socket_folder;
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.on("create", folder)?,
        }
        // Outside our own folder a stranger may have made it, or put a link there: it would see every login.
        let found = fs::symlink_metadata(folder).on("read", folder)?;
        let is_ours = folder.starts_with(&self.settings.dir)
            || [self.account.uid(), self.account.own_uid()].contains(&found.uid());
        if !found.is_dir() || !is_ours {
            return Err(FolderError::because("use", folder, ": it belongs to somebody else"));
        }
        fs::set_permissions(folder, Permissions::from_mode(0o700)).on("set the mode of", folder)?;
        self.account.own(folder)
    }

    fn open_log(&self) -> Result<File, FolderError> {
        let path = self.log();
        if self.log_length() > LOG_LIMIT {
            fs::rename(&path, path.with_extension("log.old")).on("rename", &path)?;
        }
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path).on("open", &path)
    }
}

/// The major version that made the data in the cluster folder `dir`, if there are any.
pub(super) fn data_major(dir: &Path) -> Option<u32> {
    fs::read_to_string(dir.join("data/PG_VERSION")).ok()?.trim().parse().ok()
}

fn socket_folder(dir: &Path, id: &str) -> PathBuf {
    let inside = dir.join("socket");
    let name = format!("/.s.PGSQL.{PORT}");
    if inside.as_os_str().len() + name.len() <= LONGEST_SOCKET_PATH {
        inside
    } else {
        // Not the temporary folder of the environment, which may be as long.
        PathBuf::from(format!("/tmp/formwork-{id}"))
    }
}

/// `program`, run so that the kernel sends it SIGINT (Postgres' fast shutdown) when the thread that spawned it
/// dies, however that happens. Where util-linux is missing (macOS), only an orderly end stops it.
fn tied_to_parent(program: &Path) -> Command {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    let tie = ["--pdeathsig", "INT", "--"];
    let available = *AVAILABLE.get_or_init(|| {
        // Run, not looked for: another `setpriv`, BusyBox's, lacks the option.
        let mut trial = Command::new("setpriv");
        trial
            .args(tie)
            .args(["sh", "-c", ":"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        trial.status().is_ok_and(|status| status.success())
    });
    if !available {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(tie).arg(program);
    command
}

fn sync_folder(path: &Path) -> Result<(), LocalPostgresError> {
    Ok(File::open(path).and_then(|folder| folder.sync_all()).on("write", path)?)
}

/// The last lines of a log, joined for an error message of one line.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let skipped = lines.len().saturating_sub(8);
    lines.into_iter().skip(skipped).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_has_its_socket_elsewhere() {
        let short = Path::new("/var/lib/formwork/postgres");
        assert_eq!(socket_folder(short, "ab12"), short.join("socket"));
        let long = PathBuf::from(format!("/{}", "long/".repeat(20)));
        assert_eq!(socket_folder(&long, "ab12"), Path::new("/tmp/formwork-ab12"));
    }

    #[test]
    fn a_tail_is_one_short_line() {
        let log: String = (0..20).map(|n| format!("line {n}\n\n")).collect();
        let tail = last_lines(&log);
        assert!(tail.starts_with("line 12 | line 13") && tail.ends_with("| line 19"), "{tail}");
    }
}
