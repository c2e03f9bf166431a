//! What a store asks of the disk, and what comes back.

use super::LogIndex;
use crate::journal::{BlockWrite, FileIndex};
use crate::log::{Close, Flush, SegmentId};
use crate::types::{Offset, PartitionId, Uuid};
use std::sync::Arc;

/// Work for the disk. Each is answered by one [`Done`].
#[derive(Debug)]
pub enum DiskOp {
    /// Durable when done.
    JournalWrite(BlockWrite),
    /// Makes a file of the journal: allocated and written once.
    JournalPrepare {
        /// The file.
        file: FileIndex,
        /// How long it is to be.
        bytes: u64,
    },
    /// Writes batches to a segment's file; not durable before a [`DiskOp::Sync`].
    SegmentWrite {
        /// The log that they are of.
        log: LogIndex,
        /// Its directory.
        name: Arc<str>,
        /// Whose directory it must be.
        topic: Uuid,
        /// How long the segment may become (`segment.bytes`).
        segment_bytes: u32,
        /// What is written, and where.
        flush: Flush,
    },
    /// Cuts a full segment's file to its length, and writes its index files.
    SegmentClose {
        /// The log that it is of.
        log: LogIndex,
        /// Its directory.
        name: Arc<str>,
        /// Whose directory it must be.
        topic: Uuid,
        /// The segment, its length, and its indexes.
        close: Close,
    },
    /// Makes all completed segment writes durable, with their files' sizes and names.
    Sync,
    /// Puts a checkpoint in the place of the last one, durably.
    Checkpoint(Vec<u8>),
    /// Removes a segment's files.
    SegmentRemove {
        /// The log that it was of.
        log: LogIndex,
        /// Its directory.
        name: Arc<str>,
        /// Whose directory it must be.
        partition: PartitionId,
        /// The segment.
        segment: SegmentId,
    },
}

impl DiskOp {
    /// What is told of the operation when it is over.
    pub fn done(&self, ok: bool) -> Done {
        match self {
            DiskOp::JournalWrite(write) => Done::JournalWrite { sequence: write.sequence, ok },
            DiskOp::JournalPrepare { file, .. } => Done::JournalPrepare { file: *file, ok },
            DiskOp::SegmentWrite { log, flush, .. } => {
                Done::SegmentWrite { log: *log, offset_end: flush.offset_end, ok }
            }
            DiskOp::SegmentClose { log, close, .. } => Done::SegmentClose { log: *log, segment: close.segment, ok },
            DiskOp::Sync => Done::Sync { ok },
            DiskOp::Checkpoint(_) => Done::Checkpoint { ok },
            DiskOp::SegmentRemove { log, segment, .. } => Done::SegmentRemove { log: *log, segment: *segment, ok },
        }
    }

    /// The log whose files it is about, if it is about one.
    pub fn log(&self) -> Option<LogIndex> {
        match self {
            DiskOp::SegmentWrite { log, .. } | DiskOp::SegmentClose { log, .. } | DiskOp::SegmentRemove { log, .. } => {
                Some(*log)
            }
            DiskOp::JournalWrite(_) | DiskOp::JournalPrepare { .. } | DiskOp::Sync | DiskOp::Checkpoint(_) => None,
        }
    }
}

/// The completion of a [`DiskOp`]. `ok` is false after any error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// Of a [`DiskOp::JournalWrite`].
    JournalWrite {
        /// The block.
        sequence: u64,
        /// Whether it is durable.
        ok: bool,
    },
    /// Of a [`DiskOp::JournalPrepare`].
    JournalPrepare {
        /// The file.
        file: FileIndex,
        /// Whether it can be written; nothing of it is left otherwise.
        ok: bool,
    },
    /// Of a [`DiskOp::SegmentWrite`].
    SegmentWrite {
        /// The log.
        log: LogIndex,
        /// The offset after the last batch that was to be written.
        offset_end: Offset,
        /// Whether the batches are in the file.
        ok: bool,
    },
    /// Of a [`DiskOp::SegmentClose`].
    SegmentClose {
        /// The log.
        log: LogIndex,
        /// The segment.
        segment: SegmentId,
        /// Whether its index files are there.
        ok: bool,
    },
    /// Of a [`DiskOp::Sync`].
    Sync {
        /// Whether everything written before is durable.
        ok: bool,
    },
    /// Of a [`DiskOp::Checkpoint`].
    Checkpoint {
        /// Whether it is in place.
        ok: bool,
    },
    /// Of a [`DiskOp::SegmentRemove`].
    SegmentRemove {
        /// The log.
        log: LogIndex,
        /// The segment.
        segment: SegmentId,
        /// Whether its files are gone.
        ok: bool,
    },
}
