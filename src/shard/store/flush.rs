//! Batches on their way from memory to their segments.

use super::op::DiskOp;
use super::{LogIndex, Store};
use crate::types::{Now, Offset};

/// How many bytes of a partition wait before they are written to its segment.
const FLUSH_BYTES: usize = 256 << 10;
/// How many segment writes may be under way at the same time.
const FLUSHES_MAX: usize = 4;
/// How long until a partition is tried again whose segment could not be written.
pub(super) const RETRY_MS: u64 = 1000;

/// So many batches may be remembered of logs that are gone.
const HELD_MIN: usize = 4096;

impl Store {
    /// Has the log written to its segment as soon as writes may start, if none of it is waiting for another try.
    pub(super) fn queue_flush(&mut self, index: LogIndex) {
        if let Some(stored) = self.stored(index)
            && !stored.queued
            && !stored.failed
        {
            stored.queued = true;
            self.flush_queue.push_back(index);
        }
    }

    pub(super) fn queue_flush_if_due(&mut self, index: LogIndex) {
        if self.log(index).is_some_and(|log| log.unflushed_bytes() >= FLUSH_BYTES) {
            self.queue_flush(index);
        }
    }

    /// Tries writes again that failed some time ago.
    pub(super) fn retry_flushes(&mut self, now: Now) {
        while self.retry.front().is_some_and(|(time, _)| *time <= now.mono) {
            let (_, index) = self.retry.pop_front().expect("it is there");
            if let Some(stored) = self.stored(index)
                && !std::mem::replace(&mut stored.queued, true)
            {
                self.flush_queue.push_back(index);
            }
        }
    }

    /// Puts out the next segment writes, up to [`FLUSHES_MAX`] at a time.
    pub(super) fn plan_flushes(&mut self, out: &mut Vec<DiskOp>) {
        while self.flushes < FLUSHES_MAX
            && let Some(index) = self.flush_queue.pop_front()
        {
            let Some(stored) = self.stored(index) else { continue };
            stored.queued = false;
            if let Some(flush) = stored.log.plan_flush() {
                let name = stored.log.name().clone();
                let topic = stored.log.id().topic;
                let segment_bytes = stored.log.settings().segment_bytes;
                let op = DiskOp::SegmentWrite { log: index, name, topic, segment_bytes, flush };
                self.flushes += 1;
                out.push(op);
            }
        }
    }

    /// Drops the oldest batches beyond the memory limit; those in no segment yet are queued to be written.
    pub(super) fn evict(&mut self) {
        while self.held_bytes > self.limits.memory_bytes
            && let Some(&index) = self.held.front()
        {
            match self.stored(index).map(|stored| stored.log.evict()) {
                // The log is gone, and its batches with it: their bytes were taken off when it went.
                None => {}
                Some(Some(bytes)) => self.held_bytes -= bytes,
                Some(None) => {
                    self.queue_flush(index);
                    break;
                }
            }
            self.held.pop_front();
        }
        self.forget_stale();
    }

    /// Logs that are gone must not be remembered for ever, however little is held: they go whenever so many may have gathered
    /// as there are others.
    fn forget_stale(&mut self) {
        if self.held_stale && self.held.len() > 2 * self.held_length + HELD_MIN {
            let logs = &self.logs;
            self.held.retain(|index| logs.get(*index).is_some());
            (self.held_stale, self.held_length) = (false, self.held.len());
        }
    }

    pub(super) fn flush_done(&mut self, now: Now, index: LogIndex, offset_end: Offset, ok: bool) {
        self.flushes -= 1;
        let Some(stored) = self.stored(index) else { return };
        let failed = std::mem::replace(&mut stored.failed, !ok);
        if !ok {
            stored.log.flush_failed();
            self.failures += usize::from(!failed);
            self.refused = self.draining;
            self.retry.push_back((now.mono.after_ms(RETRY_MS), index));
            return;
        }
        let closes = stored.log.flushed(offset_end);
        let (name, topic) = (stored.log.name().clone(), stored.log.id().topic);
        self.failures -= usize::from(failed);
        self.closes += closes.len();
        let close = |close| DiskOp::SegmentClose { log: index, name: name.clone(), topic, close };
        self.ops.extend(closes.into_iter().map(close));
        self.note_outlived(index);
        self.note_grown(index);
        self.note_oldest(index);
        self.queue_flush_if_due(index);
    }
}
