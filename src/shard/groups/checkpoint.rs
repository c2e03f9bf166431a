//! Checkpoints of coordinators, `group.checkpoint` beside their partitions' segments: so that loading reads little.
//!
//! One holds what is durable, and is written when the log after the last one has grown as large as that, so that writing
//! them costs no more than the log itself.

use crate::group::Checkpoint;
use crate::shard::store::LogIndex;
use crate::shard::{Output, Shard};
use crate::types::{Offset, PartitionIndex};

/// Of less log no checkpoint is made but at the end.
const TAIL_BYTES_MIN: u64 = 4 << 20;
/// A checkpoint grows by this much a turn.
const PART_BYTES: usize = 256 << 10;

/// What is in a coordinator's checkpoint, and what is not.
#[derive(Default)]
pub struct Saved {
    /// Bytes of the log that came after the checkpoint.
    pub tail_bytes: u64,
    pub checkpoint_bytes: u64,
    /// One is to be made, or is being made or written.
    pub queued: bool,
}

impl Saved {
    pub fn is_due(&self) -> bool {
        !self.queued && self.tail_bytes >= TAIL_BYTES_MIN.max(self.checkpoint_bytes)
    }
}

/// A checkpoint in the making.
pub struct Capture {
    partition: PartitionIndex,
    growing: Checkpoint,
    /// It is complete, and true once the log is durable up to here.
    complete: Option<Offset>,
}

/// A checkpoint of more than the log has: it was lost with `ack.durability=memory`.
pub fn is_ahead(checkpoint_end: Offset, high_watermark: Offset) -> bool {
    checkpoint_end > high_watermark
}

impl super::Groups {
    pub(super) fn is_capturing(&self) -> bool {
        match &self.capture {
            Some(capture) => capture.complete.is_none(),
            None => !self.capture_queue.is_empty(),
        }
    }

    /// Nothing is left to be written.
    fn is_saved(&self) -> bool {
        self.ending && self.capture.is_none() && self.capture_queue.is_empty() && self.saving == 0
    }
}

impl Shard {
    /// Goes on with the checkpoint that is being made, or begins the next one.
    pub(super) fn groups_capture(&mut self) {
        let groups = &mut self.groups;
        if groups.capture.is_none() {
            let Some(partition) = groups.capture_queue.pop_front() else { return };
            let host = groups.hosts.get_mut(&partition).expect("the queue names hosts that are there");
            host.saved.tail_bytes = 0;
            groups.capture = Some(Capture { partition, growing: host.coordinator.checkpoint(), complete: None });
        }
        let capture = groups.capture.as_mut().expect("it is there");
        let host = groups.hosts.get_mut(&capture.partition).expect("a capture is of a host that is there");
        if capture.complete.is_none() && !host.coordinator.checkpoint_part(&mut capture.growing, PART_BYTES) {
            capture.complete = Some(host.coordinator.offset_end());
        }
        let Some(log) = self.store.log(host.log) else { return };
        if capture.complete.is_some_and(|end| end <= log.durable_end()) {
            let bytes = groups.capture.take().expect("it is there").growing.finish();
            host.saved.checkpoint_bytes = bytes.len() as u64;
            groups.saving += 1;
            let (name, topic) = (log.name().clone(), log.id().topic);
            self.out.push(Output::GroupCheckpointWrite { log: host.log, name, topic, bytes });
        }
    }

    /// An [`Output::GroupCheckpointWrite`] is over, well or not: if not, the older checkpoint still holds.
    pub(in crate::shard) fn group_checkpoint_written(&mut self, log: LogIndex) {
        assert!(self.groups.saving > 0);
        self.groups.saving -= 1;
        if let Some((_, host)) = self.groups.host_of(log) {
            host.saved.queued = false;
        }
    }

    /// All that is in memory alone goes to checkpoints; the segments are written by then, and their directories there.
    pub(super) fn groups_end(&mut self) {
        if self.groups.ending || !self.store.is_drained() || self.store.is_failed() {
            return;
        }
        self.groups.ending = true;
        for (partition, host) in &mut self.groups.hosts {
            if host.load == super::Load::Done && host.saved.tail_bytes > 0 && !host.saved.queued {
                host.saved.queued = true;
                self.groups.capture_queue.push_back(*partition);
            }
        }
    }

    /// What [`Shard::drain`] asked for is done, or cannot be done because the disk fails.
    pub fn is_drained(&self) -> bool {
        self.store.is_drained() && (self.groups.is_saved() || self.store.is_failed())
    }
}
