//! Reads the files of a data directory's metadata.

use super::alone::{Alone, LogFile};
use super::controller::Controller;
use super::decided::Entry;
use super::delta::Delta;
use super::image::Image;
use super::log::{self, Decoded, Kind, LogError};
use super::snapshot;
use std::collections::VecDeque;
use std::fmt;

/// The snapshot's name.
pub const SNAPSHOT_NAME: &str = "snapshot";

/// Why the metadata of a data directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoverError {
    /// The name of the file that is at fault.
    pub file: String,
    /// What is wrong with it.
    pub error: LogError,
}

impl fmt::Display for RecoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the metadata file {} cannot be read: {}", self.file, self.error)
    }
}

impl std::error::Error for RecoverError {}

/// What recovery found. Before anything is written the shell does what the fields say.
#[derive(Debug)]
pub struct Recovered {
    /// The controller, with everything applied that was read.
    pub controller: Controller,
    /// The last file of the log, and where its entries end: what stands behind is overwritten with zeros, and the file is
    /// synced.
    pub last: Option<(u64, usize)>,
    /// Files that were being made when the node ended: they are removed.
    pub remove: Vec<u64>,
}

impl Controller {
    /// The controller of a data directory with this snapshot and these log files, each behind the index of the entry
    /// before its first. A new directory has neither.
    pub fn recover(snapshot: Option<&[u8]>, logs: &[(u64, &[u8])]) -> Result<Recovered, RecoverError> {
        let mut image = Image::default();
        if let Some(bytes) = snapshot {
            let with = |error| RecoverError { file: SNAPSHOT_NAME.into(), error };
            image = snapshot::decode(bytes).map_err(with)?;
        }
        let snapshot = (image.index(), snapshot.map_or(0, |bytes| bytes.len() as u64));
        let mut logs = logs.to_vec();
        logs.sort_unstable();
        let mut decoded = Vec::new();
        for (file, bytes) in &logs {
            let with = |error| RecoverError { file: log::file_name(*file), error };
            decoded.push(log::decode_log(bytes, *file).map_err(with)?);
        }
        let mut remove = Vec::new();
        while decoded.last().is_some_and(|decoded| decoded.bytes_valid == 0) {
            decoded.pop();
            remove.extend(logs.pop().map(|(file, _)| file));
        }
        check_row(&logs, &decoded, image.index())?;
        for ((file, _), decoded) in logs.iter().zip(&decoded) {
            apply(&mut image, decoded).map_err(|error| RecoverError { file: log::file_name(*file), error })?;
        }
        let files: VecDeque<LogFile> = logs
            .iter()
            .zip(&decoded)
            .map(|((index_before, bytes), decoded)| LogFile {
                index_before: *index_before,
                bytes: decoded.bytes_valid as u64,
                room: bytes.len() as u64,
            })
            .collect();
        let last = files.back().map(|file| (file.index_before, file.bytes as usize));
        let log = Alone::new((image.index(), image.term()), files, snapshot);
        Ok(Recovered { controller: Controller::new(log, image), last, remove })
    }
}

/// Checks that each file goes on where the one before it ends, and that the first one begins where the snapshot ends,
/// or before.
fn check_row(logs: &[(u64, &[u8])], decoded: &[Decoded<'_>], index_snapshot: u64) -> Result<(), RecoverError> {
    let mut index_end = index_snapshot;
    // The first file was there before there was a snapshot, and a later one before an older one went.
    if logs.is_empty() && index_snapshot > 0 {
        return Err(RecoverError { file: "log-*".into(), error: LogError::Missing });
    }
    for (i, ((file, _), decoded)) in logs.iter().zip(decoded).enumerate() {
        let with = |error| Err(RecoverError { file: log::file_name(*file), error });
        let index_last = file + decoded.frames.len() as u64;
        if i == 0 && *file > index_snapshot {
            return with(LogError::Gap { position: 0, index: file + 1, index_expected: index_snapshot + 1 });
        }
        // A file is begun when all before it is synced.
        match logs.get(i + 1) {
            Some((next, _)) if index_last < *next => {
                return with(LogError::Corrupt { position: decoded.bytes_valid });
            }
            Some((next, _)) if index_last > *next => {
                let (position, frame) = decoded.frames[(*next - file) as usize];
                return with(LogError::Gap { position, index: frame.index, index_expected: *next });
            }
            _ => index_end = index_last,
        }
    }
    match logs.last() {
        // The snapshot was made of entries that were synced in the log.
        Some((file, _)) if index_end < index_snapshot => {
            let position = decoded.last().map_or(0, |decoded| decoded.bytes_valid);
            Err(RecoverError { file: log::file_name(*file), error: LogError::Corrupt { position } })
        }
        _ => Ok(()),
    }
}

fn apply(image: &mut Image, decoded: &Decoded<'_>) -> Result<(), LogError> {
    for (position, frame) in &decoded.frames {
        if frame.index <= image.index() {
            continue;
        }
        let wrong = |error| LogError::Record { position: *position, error };
        let records = match frame.kind {
            Kind::Records => Entry::decode_records(frame.payload).map_err(wrong)?,
            Kind::TermBegins => Vec::new(),
            Kind::SnapshotEnds | Kind::Later(_) => {
                return Err(LogError::Kind { position: *position, kind: frame.kind.code() });
            }
        };
        if frame.term < image.term() {
            let (term, term_before) = (frame.term, image.term());
            return Err(LogError::Term { position: *position, term, term_before });
        }
        image.apply(frame.index, frame.term, &records, &mut Delta::default()).map_err(wrong)?;
    }
    Ok(())
}
