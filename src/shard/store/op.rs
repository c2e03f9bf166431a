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
    JournalPrepare {
        file: FileIndex,
        bytes: u64,
    },
    SegmentWrite {
        log: LogIndex,
        name: Arc<str>,
        topic: Uuid,
        segment_bytes: u32,
        flush: Flush,
    },
    SegmentClose {
        log: LogIndex,
        name: Arc<str>,
        topic: Uuid,
        close: Close,
    },
    /// Makes all completed segment writes durable, with their files' sizes and names.
    Sync,
    Checkpoint(Vec<u8>),
    /// Removes a segment's files.
    SegmentRemove {
        log: LogIndex,
        name: Arc<str>,
        partition: PartitionId,
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
    JournalWrite { sequence: u64, ok: bool },
    JournalPrepare { file: FileIndex, ok: bool },
    SegmentWrite { log: LogIndex, offset_end: Offset, ok: bool },
    SegmentClose { log: LogIndex, segment: SegmentId, ok: bool },
    Sync { ok: bool },
    Checkpoint { ok: bool },
    SegmentRemove { log: LogIndex, segment: SegmentId, ok: bool },
}
