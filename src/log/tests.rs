use super::*;
use crate::types::Uuid;

fn log() -> Log {
    let settings = Settings {
        segment_bytes: 100,
        segment_ms: i64::MAX,
        index_bytes_max: 1000,
        index_interval: 10,
        ack_memory: false,
    };
    Log::new(PartitionId { topic: Uuid([1; 16]), index: 0 }, "t-0".into(), Arc::new(settings))
}

fn append(log: &mut Log, bytes: usize) {
    let info = BatchInfo { records: 1, last_offset_delta: 0, timestamp_max: log.end(), producer: None };
    let at = log.decide(&info, bytes, 0);
    log.apply(at, &info, vec![0; bytes].into(), 1, 0);
    log.durable(log.end());
}

/// Writes what there is; returns base and bytes of the segments that are to be closed.
fn flush(log: &mut Log) -> Vec<(Offset, u32)> {
    let mut closed = Vec::new();
    while let Some(flush) = log.plan_flush() {
        for close in log.flushed(flush.offset_end) {
            log.closed(close.segment);
            closed.push((close.segment, close.bytes));
        }
    }
    closed
}

#[test]
fn a_segment_is_closed_when_its_last_batch_is_written() {
    let mut log = log();
    (0..5).for_each(|_| append(&mut log, 40));
    assert_eq!(flush(&mut log), [(0, 80), (2, 80)]);
}

#[test]
fn a_segment_that_was_written_before_the_next_one_began_is_closed() {
    let mut log = log();
    (0..2).for_each(|_| append(&mut log, 40));
    assert_eq!(flush(&mut log), []);
    append(&mut log, 40);
    assert_eq!(flush(&mut log), [(0, 80)]);
    (0..2).for_each(|_| append(&mut log, 40));
    assert_eq!(flush(&mut log), [(2, 80)]);
}

#[test]
fn a_segment_that_was_not_closed_before_a_restart_is_closed_after_it() {
    let mut before = log();
    (0..2).for_each(|_| append(&mut before, 40));
    flush(&mut before);
    let mut after = Log::restore(before.id(), before.name().clone(), before.settings.clone(), before.checkpoint());
    append(&mut after, 40);
    assert_eq!(flush(&mut after), [(0, 80)]);
}
