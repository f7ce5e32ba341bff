//! The file of a [`LocalKeyFile`](super::LocalKeyFile): what stands in it, and how it is read and replaced.
//!
//! INVARIANT: at its path there is always a whole file, of mode 0600 from its first moment on: it is written under
//! another name, brought to the disk and then renamed. Writers take turns by a lock on a file beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{SecretKey, secret::as_base64::Stored};

/// A key file cannot be used. Names the file and what to do; never shows what stands in it.
#[derive(Debug, thiserror::Error)]
#[error("key file `{}` {problem}", path.display())]
pub struct KeyFileError {
    path: PathBuf,
    problem: String,
    source: Option<io::Error>,
}

impl KeyFileError {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn random(path: &Path, source: io::Error) -> Self {
        Self::io(path, "given random keys", source)
    }

    fn because(path: &Path, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), problem: problem.into(), source: None }
    }

    fn io(path: &Path, what: &str, source: io::Error) -> Self {
        Self { path: path.to_owned(), problem: format!("cannot be {what}"), source: Some(source) }
    }
}

const FORMAT: u32 = 1;

/// What stands in the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    format: u32,
    /// Tells this file's keys from another one's.
    pub(super) id: Uuid,
    /// INVARIANT: never empty, versions rise.
    masters: Vec<Master>,
    pub(super) tenants: BTreeMap<Uuid, Stored>,
    /// Tenants whose secret has been destroyed: they never get another one.
    pub(super) destroyed: BTreeSet<Uuid>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Master {
    version: u32,
    key: Stored,
}

/// Which state of the file it was: every change puts another file in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    seconds: i64,
    nanos: i64,
    size: u64,
}

impl Content {
    pub(super) fn new() -> io::Result<Self> {
        let key = Stored(SecretKey::generate()?);
        Ok(Self {
            format: FORMAT,
            id: Uuid::new_v4(),
            masters: vec![Master { version: 1, key }],
            tenants: BTreeMap::new(),
            destroyed: BTreeSet::new(),
        })
    }

    pub(super) fn master(&self, version: u32) -> Option<&SecretKey> {
        self.masters.iter().find(|master| master.version == version).map(|master| &master.key.0)
    }

    pub(super) fn newest_master(&self) -> u32 {
        self.masters.iter().map(|master| master.version).max().unwrap_or_default()
    }

    pub(super) fn add_master(&mut self) -> io::Result<u32> {
        let version = self.newest_master() + 1;
        self.masters.push(Master { version, key: Stored(SecretKey::generate()?) });
        Ok(version)
    }
}

/// What stands in the file; when it is still the one that is known, nothing is read.
pub(super) fn read(
    path: &Path,
    known: Option<(Stamp, Arc<Content>)>,
) -> Result<(Stamp, Arc<Content>), KeyFileError> {
    let mut file = File::open(path).map_err(|error| KeyFileError::io(path, "opened", error))?;
    // Of the file that was opened, which may already not be the one at the path any more.
    let metadata = file.metadata().map_err(|error| KeyFileError::io(path, "read", error))?;
    if !metadata.is_file() {
        return Err(KeyFileError::because(path, "is not a file"));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let problem = format!(
            "may be used by others than its owner (mode {mode:04o}): take the rights away (chmod 600), and if \
             others could have read it, rotate its master key"
        );
        return Err(KeyFileError::because(path, problem));
    }
    refuse_open_folder(path)?;
    let stamp = Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        seconds: metadata.mtime(),
        nanos: metadata.mtime_nsec(),
        size: metadata.size(),
    };
    if let Some(known) = known.filter(|(known, _)| *known == stamp) {
        return Ok(known);
    }
    // One byte more than there is, so that the buffer is not moved and left behind while it is filled.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(stamp.size).unwrap_or(0) + 1));
    file.read_to_end(&mut text).map_err(|error| KeyFileError::io(path, "read", error))?;
    let content: Content = serde_json::from_slice(&text).map_err(|error| {
        // The text of the error could repeat what it did not expect.
        let problem = format!("is not a key file (line {}, column {})", error.line(), error.column());
        KeyFileError::because(path, problem)
    })?;
    if content.format != FORMAT || content.masters.is_empty() {
        let problem = format!("has format {}, and this program knows format {FORMAT}", content.format);
        return Err(KeyFileError::because(path, problem));
    }
    Ok((stamp, Arc::new(content)))
}

/// Whoever may write the folder could put a file of keys that they know in this one's place.
fn refuse_open_folder(path: &Path) -> Result<(), KeyFileError> {
    const STICKY: u32 = 0o1000;
    let folder = folder_of(path);
    let mode = fs::metadata(folder).map_err(|error| KeyFileError::io(path, "looked for", error))?.mode();
    if mode & 0o022 != 0 && mode & STICKY == 0 {
        let problem = format!("stands in a folder that others may write to: chmod go-w {}", folder.display());
        return Err(KeyFileError::because(path, problem));
    }
    Ok(())
}

/// Makes the file; false when there is one already.
pub(super) fn create(path: &Path) -> Result<bool, KeyFileError> {
    let content = Content::new().map_err(|error| KeyFileError::io(path, "made", error))?;
    let unfinished = write_beside(path, &content)?;
    // A link fails where a rename would replace what somebody else has just made.
    let linked = fs::hard_link(&unfinished, path);
    let removed = fs::remove_file(&unfinished);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        done => done.and(removed).map_err(|error| KeyFileError::io(path, "made", error))?,
    }
    bring_folder_to_disk(path)?;
    Ok(true)
}

/// Puts `content` in the file's place.
pub(super) fn replace(path: &Path, content: &Content) -> Result<(), KeyFileError> {
    let unfinished = write_beside(path, content)?;
    fs::rename(&unfinished, path).map_err(|error| KeyFileError::io(path, "replaced", error))?;
    bring_folder_to_disk(path)
}

/// Held until it is dropped: one writer at a time, on this machine.
pub(super) fn lock(path: &Path) -> Result<File, KeyFileError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let locked = || {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&beside)?;
        file.lock()?;
        Ok(file)
    };
    locked().map_err(|error| KeyFileError::io(path, "locked", error))
}

fn write_beside(path: &Path, content: &Content) -> Result<PathBuf, KeyFileError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", Uuid::new_v4().simple()));
    let beside = PathBuf::from(beside);
    // Large enough from the start: a buffer that is moved leaves keys behind.
    let size = 512 + 256 * content.masters.len() + 128 * (content.tenants.len() + content.destroyed.len());
    let mut text = Zeroizing::new(Vec::with_capacity(size));
    let written = (|| {
        serde_json::to_writer(&mut *text, content).map_err(io::Error::other)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(&text)?;
        file.sync_all()
    })();
    if let Err(error) = written {
        // Whether it can be removed changes nothing of what went wrong.
        let _ = fs::remove_file(&beside);
        return Err(KeyFileError::io(path, "written", error));
    }
    Ok(beside)
}

fn bring_folder_to_disk(path: &Path) -> Result<(), KeyFileError> {
    File::open(folder_of(path))
        .and_then(|folder| folder.sync_all())
        .map_err(|error| KeyFileError::io(path, "brought to the disk", error))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
