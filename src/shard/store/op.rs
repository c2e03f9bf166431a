//! What a store asks of the disk, and what comes back.

use super::LogIndex;
use crate::journal::{BlockWrite, FileIndex};
use crate::log::{Close, Flush};
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
    /// Removes these segments' files.
    SegmentsRemove {
        log: LogIndex,
        name: Arc<str>,
        partition: PartitionId,
        segments: Vec<Offset>,
    },
}

/// The completion of a [`DiskOp`]. `ok` is false after any error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    JournalWrite { sequence: u64, ok: bool },
    JournalPrepare { file: FileIndex, ok: bool },
    SegmentWrite { log: LogIndex, offset_end: Offset, ok: bool },
    SegmentClose { log: LogIndex, segment: Offset, ok: bool },
    Sync { ok: bool },
    Checkpoint { ok: bool },
}
