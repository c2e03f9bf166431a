//! The files of the metadata log, `DATA/metadata/log-INDEX`, and its snapshot, `DATA/metadata/snapshot`.

use super::disk::sync_dir;
use crate::metadata::{
    Controller, LogError, Part, RecoverError, Recovered, SNAPSHOT_NAME, Write, Written, decode_head, file_index,
    file_name,
};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The log's only file in format 1, beside the snapshot.
const OLD_NAME: &str = "log";
/// Zeros are written in pieces of this size.
const ZEROS_BYTES: usize = 64 << 10;

/// Where the files are.
#[derive(Clone)]
pub struct Files {
    dir: PathBuf,
}

/// Why the files cannot be opened.
pub enum OpenError {
    Io(io::Error),
    Content(RecoverError),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        OpenError::Io(error)
    }
}

fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Files {
    /// Opens the files below `root`, whose directory is made if it is not there, and reads what they say.
    pub fn open(root: &Path) -> Result<(Files, Controller), OpenError> {
        let files = Files { dir: root.join("metadata") };
        fs::create_dir_all(&files.dir)?;
        if let Some(bytes) = read_if_there(&files.dir.join(OLD_NAME))?.filter(|bytes| !bytes.is_empty()) {
            let error = decode_head(&bytes).err().unwrap_or(LogError::Foreign);
            return Err(OpenError::Content(RecoverError { file: OLD_NAME.into(), error }));
        }
        let mut logs = Vec::new();
        for entry in fs::read_dir(&files.dir)? {
            let entry = entry?;
            if let Some(index) = entry.file_name().to_str().and_then(file_index) {
                logs.push((index, fs::read(entry.path())?));
            }
        }
        let views: Vec<(u64, &[u8])> = logs.iter().map(|(index, bytes)| (*index, &bytes[..])).collect();
        let snapshot = read_if_there(&files.dir.join(SNAPSHOT_NAME))?;
        let recovered = Controller::recover(snapshot.as_deref(), &views).map_err(OpenError::Content)?;
        let Recovered { controller, last, remove } = recovered;
        for file in remove {
            fs::remove_file(files.path(file))?;
        }
        if let Some((file, end)) = last {
            let (_, bytes) = logs.iter().find(|(index, _)| *index == file).expect("it was read above");
            let log = files.write(file)?;
            if bytes[end..].iter().any(|byte| *byte != 0) {
                write_zeros(&log, end as u64, bytes.len() as u64)?;
            }
            log.sync_all()?;
        }
        sync_dir(&files.dir)?;
        Ok((files, controller))
    }

    fn path(&self, file: u64) -> PathBuf {
        self.dir.join(file_name(file))
    }

    fn write(&self, file: u64) -> io::Result<fs::File> {
        fs::OpenOptions::new().write(true).open(self.path(file))
    }

    /// Writes and syncs. What fails for want of space leaves no trace.
    pub fn write_now(&self, write: &Write) -> Written {
        let result = match write {
            Write::Begin { file, bytes, room, remove } => {
                let begun = self.begin(*file, bytes, *room);
                match &begun {
                    Ok(()) => remove.iter().for_each(|file| self.remove(*file)),
                    Err(_) => self.remove(*file),
                }
                begun
            }
            Write::Grow { file, from, to } => self.cut_if_full(*file, *from, |log| write_zeros(log, *from, *to)),
            Write::Append { file, position, bytes } => {
                self.cut_if_full(*file, *position, |log| log.write_all_at(bytes, *position))
            }
        };
        match result {
            Ok(()) => Written::Synced,
            Err(error) if is_full(&error) => Written::Full,
            Err(error) => {
                tracing::error!("the metadata log: {error}");
                Written::Failed
            }
        }
    }

    fn begin(&self, file: u64, bytes: &[u8], room: u64) -> io::Result<()> {
        let log = fs::OpenOptions::new().write(true).create(true).truncate(true).open(self.path(file))?;
        log.write_all_at(bytes, 0)?;
        write_zeros(&log, bytes.len() as u64, room)?;
        log.sync_all()?;
        sync_dir(&self.dir)
    }

    /// A file that is not needed, so that its removal may fail: it is tried again when the next one goes.
    fn remove(&self, file: u64) {
        if let Err(error) = fs::remove_file(self.path(file))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("{}: cannot be removed: {error}", self.path(file).display());
        }
    }

    /// Work on a file, and its sync. If there is no space for the work the file is cut to `end`; the error is another one
    /// if it cannot be cut.
    fn cut_if_full(&self, file: u64, end: u64, work: impl FnOnce(&fs::File) -> io::Result<()>) -> io::Result<()> {
        let log = self.write(file)?;
        match work(&log).and_then(|()| log.sync_data()) {
            Err(error) if is_full(&error) => {
                log.set_len(end)?;
                log.sync_all()?;
                Err(error)
            }
            result => result,
        }
    }

    pub async fn carry_out(&self, write: Write) -> Written {
        let files = self.clone();
        glommio::executor().spawn_blocking(move || files.write_now(&write)).await
    }

    /// Writes a part of a snapshot; the last one is synced and takes the snapshot's place. Says whether it did not fail.
    pub async fn snapshot(&self, part: Part) -> bool {
        let files = self.clone();
        let result = glommio::executor().spawn_blocking(move || files.snapshot_now(&part)).await;
        if let Err(error) = &result {
            tracing::error!("the metadata snapshot: {error}");
        }
        result.is_ok()
    }

    fn snapshot_now(&self, part: &Part) -> io::Result<()> {
        let temporary = self.dir.join("snapshot.tmp");
        let write = || {
            let begins = part.position == 0;
            let file = fs::OpenOptions::new().write(true).create(begins).truncate(begins).open(&temporary)?;
            file.write_all_at(&part.bytes, part.position)?;
            if part.last {
                file.sync_all()?;
                fs::rename(&temporary, self.dir.join(SNAPSHOT_NAME))?;
                sync_dir(&self.dir)?;
            }
            Ok(())
        };
        let written = write();
        if written.is_err() {
            // Its space is needed.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn write_zeros(file: &fs::File, from: u64, to: u64) -> io::Result<()> {
    let zeros = [0; ZEROS_BYTES];
    let mut position = from;
    while position < to {
        let bytes = zeros.len().min((to - position) as usize);
        file.write_all_at(&zeros[..bytes], position)?;
        position += bytes as u64;
    }
    Ok(())
}
