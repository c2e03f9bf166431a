//! Checkpoints of coordinators, in files beside their partitions' segments, let a start read little.
//!
//! A checkpoint holds what is durable. It is written when the log behind the one before it has grown as large as that,
//! so that checkpoints cost no more than the log itself. A runtime makes one at a time.

use super::load::Load;
use super::{Coordinator, Output, Runtime};
use crate::shard::store::{LogIndex, Store};
use crate::types::{Offset, PartitionIndex};
use std::collections::VecDeque;

/// While the log behind a checkpoint is shorter, none is made but at a clean end.
const TAIL_BYTES_MIN: u64 = 4 << 20;
/// A checkpoint grows by this much a turn.
const PART_BYTES: usize = 256 << 10;

/// How much of a coordinator's log its checkpoint covers.
#[derive(Default)]
pub struct Saved {
    /// Bytes of the log behind the checkpoint.
    pub tail_bytes: u64,
    pub checkpoint_bytes: u64,
    /// Another checkpoint waits to be made, is being made, or is being written.
    pub queued: bool,
}

impl Saved {
    pub fn is_due(&self) -> bool {
        !self.queued && self.tail_bytes >= TAIL_BYTES_MIN.max(self.checkpoint_bytes)
    }
}

/// A checkpoint in the making.
struct Capture<P> {
    partition: PartitionIndex,
    growing: P,
    /// All is in the checkpoint, which may be written once the log is durable up to here.
    complete: Option<Offset>,
}

/// The checkpoints of a runtime's coordinators.
pub struct Captures<P> {
    current: Option<Capture<P>>,
    queue: VecDeque<PartitionIndex>,
    /// Files that are being written.
    writing: usize,
    /// The last checkpoints before the end have been queued.
    ending: bool,
}

impl<P> Default for Captures<P> {
    fn default() -> Self {
        Captures { current: None, queue: VecDeque::new(), writing: 0, ending: false }
    }
}

impl<P> Captures<P> {
    pub fn queue(&mut self, partition: PartitionIndex) {
        self.queue.push_back(partition);
    }

    /// All coordinators are gone.
    pub fn clear(&mut self) {
        self.current = None;
        self.queue.clear();
    }

    pub fn is_capturing(&self) -> bool {
        match &self.current {
            Some(capture) => capture.complete.is_none(),
            None => !self.queue.is_empty(),
        }
    }

    /// Nothing is left to be written.
    fn is_over(&self) -> bool {
        self.ending && self.current.is_none() && self.queue.is_empty() && self.writing == 0
    }
}

impl<C: Coordinator> Runtime<C> {
    /// Goes on with the checkpoint that is being made, or begins the next one.
    pub(super) fn capture(&mut self, store: &Store) {
        let captures = &mut self.captures;
        if captures.current.is_none() {
            let Some(partition) = captures.queue.pop_front() else { return };
            let host = self.hosts.get_mut(&partition).expect("the queue names hosts that are there");
            host.saved.tail_bytes = 0;
            captures.current = Some(Capture { partition, growing: host.coordinator.checkpoint(), complete: None });
        }
        let capture = captures.current.as_mut().expect("it is there");
        let host = self.hosts.get_mut(&capture.partition).expect("a capture is of a host that is there");
        if capture.complete.is_none() && !host.coordinator.checkpoint_part(&mut capture.growing, PART_BYTES) {
            capture.complete = Some(host.coordinator.offset_end());
        }
        let Some(log) = store.log(host.log) else { return };
        if capture.complete.is_some_and(|end| end <= log.durable_end()) {
            let bytes = C::checkpoint_finish(captures.current.take().expect("it is there").growing);
            host.saved.checkpoint_bytes = bytes.len() as u64;
            captures.writing += 1;
            let (name, topic) = (log.name().clone(), log.id().topic);
            self.out.push(Output::CheckpointWrite { log: host.log, name, topic, bytes });
        }
    }

    /// An [`Output::CheckpointWrite`] is over, well or not: if not, the older checkpoint still holds.
    pub fn checkpoint_written(&mut self, log: LogIndex) {
        assert!(self.captures.writing > 0);
        self.captures.writing -= 1;
        if let Some((_, host)) = self.host_of(log) {
            host.saved.queued = false;
        }
    }

    /// At a clean end, when all segments are written, queues a checkpoint of each coordinator that knows more than its last
    /// one.
    pub(super) fn queue_last_captures(&mut self, store: &Store) {
        if self.captures.ending || !store.is_drained() || store.is_failed() {
            return;
        }
        self.captures.ending = true;
        for (partition, host) in &mut self.hosts {
            if host.load == Load::Done && host.saved.tail_bytes > 0 && !host.saved.queued {
                host.saved.queued = true;
                self.captures.queue.push_back(*partition);
            }
        }
    }

    /// Whether the checkpoints of a clean end are written; false before the store is drained.
    pub fn is_saved(&self) -> bool {
        self.captures.is_over()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_when_the_log_has_grown_as_large() {
        let saved = |tail_bytes, checkpoint_bytes, queued| Saved { tail_bytes, checkpoint_bytes, queued };
        assert!(!saved(TAIL_BYTES_MIN - 1, 0, false).is_due());
        assert!(saved(TAIL_BYTES_MIN, 0, false).is_due());
        assert!(!saved(TAIL_BYTES_MIN, TAIL_BYTES_MIN + 1, false).is_due());
        assert!(!saved(u64::MAX, 0, true).is_due(), "one at a time");
    }
}
