//! The file that is being written, and those that were ended.
//!
//! INVARIANT: the first `length` bytes are whole lines that are on the disk. What a failed write has left behind them is
//! cut off before the next one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::repair::repair;

#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    length: u64,
    is_torn: bool,
    /// Held for as long as this lives.
    _lock: File,
}

impl Log {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let lock = own().create(true).truncate(false).write(true).open(with_suffix(&path, "lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another process writes this file")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        let (file, length) = begin(&path)?;
        Ok(Self { path, file, length, is_torn: false, _lock: lock })
    }

    /// Appends whole lines. When this returns, they are on the disk.
    pub(super) fn append(&mut self, lines: &[u8], rotate_at: u64, keep: Option<usize>) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.length)?;
            self.is_torn = false;
        }
        let size = lines.len() as u64;
        if self.length > 0 && self.length.saturating_add(size) > rotate_at {
            self.rotate(keep)?;
        }
        self.is_torn = true;
        self.file.write_all(lines)?;
        self.file.sync_data()?;
        self.is_torn = false;
        self.length += size;
        Ok(())
    }

    fn rotate(&mut self, keep: Option<usize>) -> io::Result<()> {
        let ended = ended(&self.path)?;
        let next = ended.last().map_or(1, |last| last + 1);
        fs::rename(&self.path, with_suffix(&self.path, &next.to_string()))?;
        (self.file, self.length) = begin(&self.path)?;
        let too_many = keep.map_or(0, |keep| (ended.len() + 1).saturating_sub(keep));
        for number in ended.iter().chain([&next]).take(too_many) {
            fs::remove_file(with_suffix(&self.path, &number.to_string()))?;
        }
        Ok(())
    }
}

/// Opens it, mended, and makes sure that its name is on the disk as well.
fn begin(path: &Path) -> io::Result<(File, u64)> {
    let mut file = own().read(true).append(true).create(true).open(path)?;
    let length = repair(&mut file, path)?;
    file.sync_all()?;
    File::open(folder(path))?.sync_all()?;
    Ok((file, length))
}

fn own() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Numbers of the files that were ended, ascending.
fn ended(path: &Path) -> io::Result<Vec<u64>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned() + ".";
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder(path))? {
        let found = entry?.file_name();
        numbers.extend(found.to_string_lossy().strip_prefix(&name).and_then(|rest| rest.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
