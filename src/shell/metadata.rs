//! The files of the metadata log: `DATA/metadata/log` and `DATA/metadata/snapshot`.

use super::disk::replace_file;
use crate::metadata::{Append, Controller, RecoverError, Snapshot};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub struct Files {
    snapshot: PathBuf,
    log: Arc<fs::File>,
}

fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub enum OpenError {
    Io(io::Error),
    Content(RecoverError),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        OpenError::Io(error)
    }
}

impl Files {
    /// Opens the files below `root`, made if they are not there, and reads what they say.
    pub fn open(root: &Path) -> Result<(Files, Controller), OpenError> {
        let dir = root.join("metadata");
        fs::create_dir_all(&dir)?;
        let snapshot = dir.join("snapshot");
        let path = dir.join("log");
        let log = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let bytes = fs::read(&path)?;
        let recovered =
            Controller::recover(read_if_there(&snapshot)?.as_deref(), &bytes).map_err(OpenError::Content)?;
        if recovered.log_bytes_valid < bytes.len() {
            log.set_len(recovered.log_bytes_valid as u64)?;
        }
        log.sync_all()?;
        fs::File::open(&dir)?.sync_all()?;
        Ok((Files { snapshot, log: Arc::new(log) }, recovered.controller))
    }

    pub fn append_now(&self, append: &Append) -> io::Result<()> {
        self.log.write_all_at(&append.bytes, append.position)?;
        self.log.sync_data()
    }

    pub async fn append(&self, append: Append) -> bool {
        let files = Files { snapshot: self.snapshot.clone(), log: self.log.clone() };
        let result = glommio::executor().spawn_blocking(move || files.append_now(&append)).await;
        report("the metadata log", result)
    }

    pub async fn snapshot(&self, snapshot: Snapshot) -> bool {
        let (path, log) = (self.snapshot.clone(), self.log.clone());
        let work = move || {
            replace_file(&path, &snapshot.bytes)?;
            log.set_len(0)?;
            log.sync_data()
        };
        report("the metadata snapshot", glommio::executor().spawn_blocking(work).await)
    }
}

fn report(what: &str, result: io::Result<()>) -> bool {
    if let Err(error) = &result {
        tracing::error!("{what}: {error}");
    }
    result.is_ok()
}
