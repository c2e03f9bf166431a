//! Stores for tests.

use super::{Limits, LogIndex, Store};
use crate::journal::{BLOCK_BYTES_MAX, Journal, Limits as JournalLimits};
use crate::log::Settings;
use crate::types::{PartitionId, Uuid};
use std::sync::Arc;

/// The one partition of [`store`].
pub(super) const PARTITION: PartitionId = PartitionId { topic: Uuid([1; 16]), index: 0 };

/// A store with one log, and a journal of `files` files that are there and two at most.
pub(super) fn store(files: u32) -> (Store, LogIndex) {
    let limits = JournalLimits { file_bytes: 2 * BLOCK_BYTES_MAX as u64, files_max: 2, waiting_bytes_max: 1 << 20 };
    let journal = Journal::new(limits, 0, 1, (0..files).collect(), files);
    let mut store = Store::new(Limits { memory_bytes: 1 << 20, cores: 1, core: 0 }, journal);
    let settings = Settings {
        segment_bytes: 1 << 20,
        segment_ms: i64::MAX,
        segment_jitter_ms: 0,
        index_bytes_max: 1 << 20,
        index_interval: 4096,
        retention_ms: None,
        retention_bytes: None,
        delete_delay_ms: 0,
        ack_memory: false,
    };
    let index = store.open(PARTITION, &"t-0".into(), &Arc::new(settings));
    (store, index)
}
