//! Where the file is, and that no other process writes it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

use super::Error;

/// The path that stands for memory.
const MEMORY: &str = ":memory:";

/// How long a connection waits for another: only in memory, and at checkpoints, does one wait at all.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// The journal's place, locked while this is held.
pub(super) struct Place {
    path: PathBuf,
    /// What SQLite opens.
    name: String,
    /// A lock on a file beside the journal's: SQLite's own locks would be lost with any handle of the file.
    _lock: Option<File>,
}

impl Place {
    /// This file; in memory where there is none.
    pub(super) fn new(path: Option<&Path>) -> Self {
        let path = path.unwrap_or(Path::new(MEMORY)).to_owned();
        // All connections of one process to the same name of this file system share one database.
        let in_memory = || format!("file:/undertone-{}?vfs=memdb", Uuid::new_v4());
        let name = if path == Path::new(MEMORY) { in_memory() } else { path.to_string_lossy().into_owned() };
        Self { path, name, _lock: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn in_memory(&self) -> bool {
        self.path == Path::new(MEMORY)
    }

    /// Takes it for this process, which makes the file where there is none. What it holds is of people: only the owner may read it.
    pub(super) fn lock(mut self) -> Result<Self, Error> {
        if self.in_memory() {
            return Ok(self);
        }
        let mut beside = self.path.clone().into_os_string();
        beside.push(".lock");
        let lock = self.private(Path::new(&beside))?;
        match lock.try_lock() {
            Ok(()) => self._lock = Some(lock),
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { path: self.path }),
            Err(TryLockError::Error(error)) => return Err(self.refused(&error)),
        }
        self.private(&self.path)?;
        Ok(self)
    }

    /// A connection that may write.
    pub(super) fn open(&self) -> Result<Connection, Error> {
        self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// A connection that may not.
    pub(super) fn open_to_read(&self) -> Result<Connection, Error> {
        // Memory has no read-only handle that sees the same tables.
        let flags = if self.in_memory() { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
        let connection = self.connect(flags)?;
        connection.pragma_update(None, "query_only", true).map_err(|error| self.refused(&error))?;
        Ok(connection)
    }

    fn connect(&self, flags: OpenFlags) -> Result<Connection, Error> {
        let uri = if self.in_memory() { OpenFlags::SQLITE_OPEN_URI } else { OpenFlags::empty() };
        let flags = flags | uri | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.name, flags).map_err(|error| self.refused(&error))?;
        connection.busy_timeout(BUSY).map_err(|error| self.refused(&error))?;
        Ok(connection)
    }

    fn private(&self, path: &Path) -> Result<File, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path).map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &impl std::fmt::Display) -> Error {
        Error::Open { path: self.path.clone(), problem: error.to_string() }
    }
}
