use super::*;
use crate::types::{ProducerEpoch, ProducerId, Sequence, Uuid};
use crate::wire::batch::{BatchBuilder, batches, patch_base_offset_and_epoch};
use crate::wire::compression::Workspace;
use bytes::BytesMut;

mod retention;
mod truncation;

const SEEN_MS: TimestampMs = 1;

fn settings() -> Settings {
    Settings {
        segment_bytes: 1000,
        segment_ms: 10_000,
        segment_jitter_ms: 0,
        index_bytes_max: 1 << 20,
        index_interval: 100,
        retention_ms: None,
        retention_bytes: None,
        delete_delay_ms: 0,
        ack_memory: false,
    }
}

fn log_with(settings: Settings) -> Log {
    Log::new(PartitionId { topic: Uuid([1; 16]), index: 0 }, "t-0".into(), Arc::new(settings))
}

/// A batch of records with these times, each with a value of so many bytes.
fn batch(times: &[TimestampMs], value_bytes: usize) -> (BytesMut, BatchInfo) {
    let value = vec![7; value_bytes];
    let builder = times.iter().fold(BatchBuilder::new(0), |b, time| b.record(*time, None, Some(&value)));
    let bytes = builder.build();
    let info = check::info(&bytes).unwrap();
    (BytesMut::from(&bytes[..]), info)
}

/// Appends as the store does; returns where the batch went.
fn append(log: &mut Log, times: &[TimestampMs], value_bytes: usize, journal: u64) -> Placement {
    let (mut bytes, info) = batch(times, value_bytes);
    let at = log.decide(&info, bytes.len(), times[0]);
    patch_base_offset_and_epoch(&mut bytes, at.offset, at.epoch.0);
    log.apply(at, &info, bytes.freeze(), journal, SEEN_MS);
    at
}

/// Ten batches of two records, 200 bytes and more each: offsets 0 to 19, times 1000, 1005 and on.
fn ten() -> Log {
    let mut log = log_with(settings());
    for i in 0..10 {
        append(&mut log, &[1000 + 10 * i, 1005 + 10 * i], 80, 1 + i as u64);
    }
    log
}

fn flush_all(log: &mut Log) -> Vec<Close> {
    log.durable(log.end());
    let mut closed = Vec::new();
    while let Some(flush) = log.plan_flush() {
        assert_eq!(flush.bytes, flush.parts.iter().map(Bytes::len).sum::<usize>());
        closed.extend(log.flushed(flush.offset_end));
    }
    closed
}

fn bases(log: &Log) -> Vec<Offset> {
    log.segments().map(|segment| segment.base).collect()
}

/// The base offsets of batches that were read from memory.
fn read_bases(read: Read) -> Vec<Offset> {
    let Read::Memory { parts, bytes } = read else { panic!("{read:?} is not from memory") };
    assert_eq!(bytes, parts.iter().map(Bytes::len).sum::<usize>());
    parts.iter().map(|part| i64::from_be_bytes(part[..8].try_into().unwrap())).collect()
}

#[test]
fn segments_roll_by_bytes_time_index_and_span() {
    let log = ten();
    let bytes = log.segments().map(|segment| segment.bytes).max().unwrap();
    assert!(bytes <= 1000 && log.segments().count() == 3, "{:?}", bases(&log));
    assert_eq!(log.bytes(), log.segments().map(|segment| u64::from(segment.bytes)).sum::<u64>());

    let (late, info) = batch(&[1000 + 10 * 8 + 10_000], 1);
    assert!(!log.decide(&info, late.len(), 0).roll, "segment.ms is not over for the segment's first batch");
    let (late, info) = batch(&[1005 + 10 * 8 + 10_001], 1);
    assert!(log.decide(&info, late.len(), 0).roll);

    let mut log = log_with(Settings { index_bytes_max: 24, segment_bytes: 1 << 20, ..settings() });
    let rolls: Vec<bool> = (0..6).map(|i| append(&mut log, &[1000], 80, i).roll).collect();
    assert_eq!(rolls, [true, false, false, true, false, false], "an index of two entries");

    let mut log = log_with(settings());
    append(&mut log, &[1], 1, 1);
    let (bytes, mut info) = batch(&[1], 1);
    (info.last_offset_delta, info.records) = (i32::MAX - 1, i32::MAX);
    assert!(!log.decide(&info, bytes.len(), 1).roll);
    log.end += 1;
    assert!(log.decide(&info, bytes.len(), 1).roll, "relative offsets of an index have 31 bits");
}

#[test]
fn only_durable_batches_of_one_segment_are_flushed_one_write_at_a_time() {
    let mut log = ten();
    assert!(log.plan_flush().is_none(), "nothing is durable");
    log.durable(6);
    let flush = log.plan_flush().unwrap();
    assert_eq!((flush.segment.base, flush.position, flush.offset_end, flush.parts.len()), (0, 0, 6, 3));
    assert!(log.plan_flush().is_none() && log.is_flushing());
    log.flush_failed();
    let again = log.plan_flush().unwrap();
    assert_eq!((again.position, again.offset_end), (0, 6));
    let unflushed = log.unflushed_bytes();
    assert!(log.flushed(6).is_empty(), "the segment goes on");
    assert_eq!(log.unflushed_bytes(), unflushed - again.bytes);
    assert_eq!(log.journal_oldest(), Some(4));

    let closed = flush_all(&mut log);
    let segments: Vec<(Offset, u32)> = log.segments().map(|segment| (segment.base, segment.bytes)).collect();
    assert_eq!(closed.iter().map(|close| (close.segment.base, close.bytes)).collect::<Vec<_>>(), segments[..2]);
    assert!(log.is_flushed() && log.journal_oldest().is_none());
    log.closed(SegmentId::new(0, 0), true);
    assert!(log.segments().next().unwrap().indexed);
}

#[test]
fn every_offset_is_found_in_memory_and_on_disk() {
    let mut log = ten();
    log.durable(14);
    for offset in 0..14 {
        let found = read_bases(log.read(offset, 14, 1));
        assert_eq!(found, [offset / 2 * 2], "one batch at least, the one that holds {offset}");
    }
    assert_eq!(read_bases(log.read(3, 14, usize::MAX)), [2, 4, 6, 8, 10, 12], "nothing above the limit");
    assert_eq!(log.read(14, 14, 1), Read::Empty);
    assert_eq!(log.read(15, 14, 1), Read::OutOfRange);
    assert_eq!(log.read(-1, 14, 1), Read::OutOfRange);

    let held = log.held_bytes();
    assert_eq!(log.evict(), None, "what is in no segment stays");
    flush_all(&mut log);
    let evicted: usize = (0..5).map(|_| log.evict().unwrap()).sum();
    assert_eq!(log.held_bytes(), held - evicted);
    assert_eq!(read_bases(log.read(10, 20, 1)), [10]);
    for offset in 0..10 {
        let Read::Disk(read) = log.read(offset, 20, 1) else { panic!("{offset} has left memory") };
        let segment = log.segments().filter(|segment| segment.base <= offset).last().unwrap();
        assert_eq!((read.segment, read.position_end), (segment.id(), segment.bytes));
        let batches_before = (offset - segment.base) / 2;
        let position = batches_before as u32 * (segment.bytes / 4);
        assert!(read.position <= position && !read.indexed, "{offset}: {read:?}");
    }
}

#[test]
fn a_time_is_looked_for_where_it_may_be() {
    let mut log = ten();
    flush_all(&mut log);
    log.commit(20);
    let (from, _) = log.find_time(0).unwrap();
    assert_eq!(from, 0);
    let (from, read) = log.find_time(1045).unwrap();
    assert!(from <= 9, "the record of 1045 is at 9");
    let found = first_at(read_parts(read), 1045, log.start());
    assert_eq!(found, Some((1045, 9)));
    assert_eq!(log.find_time(1096), None);
    assert_eq!(log.timestamp_max(), Some((1095, 19)));
    assert_eq!(log_with(settings()).timestamp_max(), None);
    log.set_start(15);
    let (from, read) = log.find_time(0).unwrap();
    assert_eq!((from, first_at(read_parts(read), 0, log.start())), (15, Some((1075, 15))));
}

fn read_parts(read: Read) -> Vec<Bytes> {
    let Read::Memory { parts, .. } = read else { panic!("{read:?} is not from memory") };
    parts
}

#[test]
fn a_new_start_drops_written_segments_below_it() {
    let mut log = ten();
    let (second, third) = (bases(&log)[1], bases(&log)[2]);
    assert!(log.set_start(second).is_empty(), "the first segment is not written");
    assert_eq!(log.start(), second);
    assert_eq!(log.read(second - 1, log.durable_end(), 1), Read::OutOfRange);
    flush_all(&mut log);
    let removed = log.set_start(third + 1);
    assert_eq!(removed.iter().map(|segment| segment.base).collect::<Vec<_>>(), [0, second]);
    assert!(log.set_start(3).is_empty());
    assert_eq!(log.start(), third + 1, "the start does not go back");
    assert!(log.set_start(log.end()).is_empty(), "the active segment stays");
    assert_eq!(log.read(20, 20, 1), Read::Empty);
}

#[test]
fn batches_are_carried_with_their_place_and_the_begin_of_a_segment() {
    let mut log = ten();
    let second = bases(&log)[1];
    log.durable(second - 2);
    let flush = log.plan_flush().unwrap();
    log.flushed(flush.offset_end);
    let mut carried = Vec::new();
    log.carry(|at, _, bytes| {
        carried.push((at.offset, at.roll));
        (99, bytes.clone())
    });
    let expected: Vec<_> = (second - 2..20).step_by(2).map(|base| (base, bases(&log).contains(&base))).collect();
    assert_eq!(carried, expected);
    assert_eq!(log.journal_oldest(), Some(99));
}

#[test]
fn what_a_checkpoint_says_is_durable_and_restores() {
    let mut log = ten();
    log.durable(14);
    for _ in 0..2 {
        let flush = log.plan_flush().unwrap();
        log.flushed(flush.offset_end);
    }
    let stamp =
        ProducerStamp { id: ProducerId(5), epoch: ProducerEpoch(0), sequence_first: Sequence::FIRST, records: 2 };
    log.producers.apply(&stamp, 12, 1, SEEN_MS);
    log.producers.apply(&ProducerStamp { sequence_first: Sequence(2), ..stamp }, 14, 1, SEEN_MS);
    log.set_start(13);
    log.commit(20);
    let made = log.checkpoint();
    assert_eq!((made.start, made.flushed_end, made.commit_end), (13, 14, 14), "what is not durable may be lost");
    let last = made.segments.last().unwrap();
    let whole = log.segments().next().unwrap().bytes;
    assert_eq!((last.base, last.bytes), (8, whole / 4 * 3), "up to the flushed end");
    let (timestamp, offset) = (last.timestamp_max, last.timestamp_offset);
    assert_eq!((timestamp, offset), (1065, 13), "not that of a batch which is not written");
    let (_, producer) = made.producers.iter().next().unwrap();
    assert_eq!(producer.batches.len(), 1, "the batch at 14 may still be lost");

    let mut restored = Log::restore(log.id(), log.name().clone(), Arc::new(settings()), made);
    assert_eq!((restored.start(), restored.end(), restored.high_watermark()), (13, 14, 14));
    let Read::Disk(read) = restored.read(13, 14, 1) else { panic!("nothing is in memory") };
    assert!(read.position < read.position_end);

    let Read::Memory { parts, .. } = log.read(14, 20, usize::MAX) else { panic!("it is in memory") };
    let replay = |log: &mut Log, part: &Bytes, roll| {
        let offset = i64::from_be_bytes(part[..8].try_into().unwrap());
        log.replay(Placement { offset, epoch: Epoch(0), roll }, &check::info(part).unwrap(), part.clone(), SEEN_MS)
    };
    assert!(!replay(&mut restored, &parts[1], false), "a batch is missing");
    for part in &parts {
        let offset = i64::from_be_bytes(part[..8].try_into().unwrap());
        assert!(replay(&mut restored, part, bases(&log).contains(&offset)));
        assert!(replay(&mut restored, part, false), "twice changes nothing");
    }
    assert_eq!((restored.end(), restored.durable_end()), (20, 20));
    assert_eq!(restored.segments().last().unwrap().bytes, log.segments().last().unwrap().bytes);
}

#[test]
fn the_high_watermark_is_set_from_outside_and_does_not_go_back() {
    let mut log = log_with(settings());
    append(&mut log, &[1, 2], 10, 1);
    assert_eq!((log.high_watermark(), log.durable_end()), (0, 0));
    log.commit(2);
    log.commit(1);
    assert_eq!((log.high_watermark(), log.durable_end()), (2, 0));
    log.set_start(2);
    let made = log.checkpoint();
    assert_eq!((made.start, made.commit_end), (0, 0), "a crash may lose what the start stands behind");
}

#[test]
fn batches_keep_the_epoch_of_their_own() {
    let mut log = ten();
    log.epoch = Epoch(2);
    append(&mut log, &[1, 2], 10, 11);
    log.epoch = Epoch(7);
    let mut epochs = Vec::new();
    log.carry(|at, _, bytes| {
        epochs.push(at.epoch.0);
        (99, bytes.clone())
    });
    assert_eq!(epochs, [[0; 10].as_slice(), &[2]].concat());
    let made = log.checkpoint();
    assert_eq!(made.epochs, [], "no batch of an epoch is in a segment");
    log.durable(log.end());
    flush_all(&mut log);
    let made = log.checkpoint();
    assert_eq!(made.epochs, [(Epoch(0), 0), (Epoch(2), 20)]);
    let restored = Log::restore(log.id(), log.name().clone(), Arc::new(settings()), made);
    assert_eq!(restored.epoch(), Epoch(2));
}

#[test]
fn behind_lost_records_nothing_is_read_or_written() {
    let mut log = ten();
    log.durable(20);
    log.commit(20);
    flush_all(&mut log);
    log.lose();
    assert_eq!(log.lost_from(), Some(20));
    assert!(matches!(log.read(19, 20, 1), Read::Memory { .. }));
    assert_eq!((log.read(20, 20, 1), log.read(21, 20, 1)), (Read::Lost, Read::Lost));
    let made = log.checkpoint();
    let mut restored = Log::restore(log.id(), log.name().clone(), Arc::new(settings()), made);
    assert_eq!(restored.lost_from(), Some(20));
    let mut other = ten();
    append(&mut other, &[1, 2], 10, 11);
    let Read::Memory { parts, .. } = other.read(20, 22, 1) else { panic!("it is in memory") };
    let at = Placement { offset: 20, epoch: Epoch(0), roll: false };
    assert!(!restored.replay(at, &check::info(&parts[0]).unwrap(), parts[0].clone(), SEEN_MS));
}

fn first_at(batches: Vec<Bytes>, timestamp: TimestampMs, start: Offset) -> Option<(TimestampMs, Offset)> {
    let found = find::Find::new(batches, timestamp, start).step(&mut Workspace::default(), &mut { usize::MAX });
    found.expect("no step is the last but one").expect("sound")
}

#[test]
fn epochs_and_their_ends() {
    let mut log = ten();
    assert_eq!(log.epoch_end(Epoch(0)), Some((Epoch(0), 20)));
    assert_eq!(log.epoch_end(Epoch(1)), None);
    log.epoch = Epoch(3);
    assert_eq!(log.epoch_end(Epoch(2)), Some((Epoch(0), 20)));
    append(&mut log, &[2000], 10, 20);
    assert_eq!(log.epoch_end(Epoch(0)), Some((Epoch(0), 20)));
    assert_eq!(log.epoch_end(Epoch(3)), Some((Epoch(3), 21)));
    assert_eq!(log.epoch_end(Epoch(-1)), None);
}

mod batches {
    use super::*;
    use crate::log::check::{Refusal, Rules, check};
    use crate::wire::error::ErrorCode;

    const NOW_MS: TimestampMs = 1_000_000;
    const VERSION: i16 = 9;

    fn rules() -> Rules {
        Rules {
            message_bytes_max: 1000,
            decompressed_bytes_max: 1 << 20,
            timestamp_before_max_ms: 5000,
            timestamp_after_max_ms: 1000,
            log_append_time: false,
            key_required: false,
            codec: None,
            header_only: false,
        }
    }

    fn one(time: TimestampMs) -> BatchBuilder {
        BatchBuilder::new(0).record(time, None, Some(b"v"))
    }

    fn code(bytes: &[u8], rules: &Rules) -> ErrorCode {
        checked(bytes, rules).map_or_else(|Refusal { code, .. }| code, |_| ErrorCode::None)
    }

    fn checked(bytes: &[u8], rules: &Rules) -> Result<BatchInfo, Refusal> {
        check(bytes.into(), VERSION, rules, NOW_MS, &mut Workspace::default()).map(|checked| checked.info)
    }

    /// With another value at a position behind the checksum, which is made right again.
    fn with(mut bytes: Vec<u8>, at: usize, value: &[u8]) -> Vec<u8> {
        bytes[at..at + value.len()].copy_from_slice(value);
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    #[test]
    fn what_is_sound_is_taken() {
        let bytes = one(NOW_MS).producer(9, 2, 77).build();
        let info = checked(&bytes, &rules()).unwrap();
        let producer = Some(ProducerStamp {
            id: ProducerId(9),
            epoch: ProducerEpoch(2),
            sequence_first: Sequence(77),
            records: 1,
        });
        assert_eq!(info, BatchInfo { records: 1, last_offset_delta: 0, timestamp_max: NOW_MS, producer });
        assert_eq!(super::check::info(&bytes), Some(info));
    }

    #[test]
    fn each_fault_has_kafkas_code() {
        let good = one(NOW_MS).build().to_vec();
        let rules = rules();
        let mut torn = good.clone();
        *torn.last_mut().unwrap() ^= 1;
        let faults: [(&str, Vec<u8>, ErrorCode); 12] = [
            ("checksum", torn, ErrorCode::CorruptMessage),
            ("cut off", good[..good.len() - 1].to_vec(), ErrorCode::InvalidRecord),
            ("empty", Vec::new(), ErrorCode::InvalidRecord),
            ("two batches", [&good[..], &good[..]].concat(), ErrorCode::InvalidRecord),
            ("old format", with(good.clone(), 16, &[1]), ErrorCode::InvalidRecord),
            ("no records", with(good.clone(), 57, &[0; 4]), ErrorCode::InvalidRecord),
            ("last offset delta", with(good.clone(), 23, &[0, 0, 0, 5]), ErrorCode::InvalidRecord),
            ("compression", with(good.clone(), 21, &[0, 7]), ErrorCode::InvalidRecord),
            ("control", one(NOW_MS).control().build().to_vec(), ErrorCode::InvalidRecord),
            (
                "transaction",
                one(NOW_MS).transactional().build().to_vec(),
                ErrorCode::TransactionalIdAuthorizationFailed,
            ),
            ("negative sequence", one(NOW_MS).producer(1, 0, -1).build().to_vec(), ErrorCode::InvalidRecord),
            ("too large", batch(&[NOW_MS], 1000).0.to_vec(), ErrorCode::MessageTooLarge),
        ];
        for (name, bytes, expected) in faults {
            assert_eq!(code(&bytes, &rules), expected, "{name}");
        }
        let zstd = with(good, 21, &[0, 4]);
        let old = check(zstd[..].into(), 6, &rules, NOW_MS, &mut Workspace::default()).unwrap_err();
        assert_eq!(old.code, ErrorCode::UnsupportedCompressionType);
    }

    #[test]
    fn times_have_limits_unless_the_broker_sets_them() {
        let at = |time, rules: &Rules| code(&one(time).build(), rules);
        let (before, after) = (NOW_MS - 5000, NOW_MS + 1000);
        assert_eq!([at(before, &rules()), at(after, &rules())], [ErrorCode::None; 2]);
        assert_eq!([at(before - 1, &rules()), at(after + 1, &rules())], [ErrorCode::InvalidTimestamp; 2]);
        assert_eq!(at(after + 1, &Rules { log_append_time: true, ..rules() }), ErrorCode::None);
    }

    #[test]
    fn a_compacted_topic_asks_for_keys() {
        let rules = Rules { key_required: true, ..rules() };
        let mixed = BatchBuilder::new(0).record(NOW_MS, Some(b"k"), None).record(NOW_MS, None, Some(b"v")).build();
        let refusal = checked(&mixed, &rules).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidRecord);
        assert_eq!(refusal.faults.iter().map(|(record, _)| *record).collect::<Vec<_>>(), [1]);
        let keyed = BatchBuilder::new(0).record(NOW_MS, Some(b"k"), None).build();
        assert_eq!(code(&keyed, &rules), ErrorCode::None);
    }
}

mod idempotent {
    use super::*;

    fn stamp(epoch: i16, sequence_first: i32) -> ProducerStamp {
        ProducerStamp {
            id: ProducerId(7),
            epoch: ProducerEpoch(epoch),
            sequence_first: Sequence(sequence_first),
            records: 1,
        }
    }

    /// Seven batches of one record at offsets 100 to 106.
    fn seven() -> Producers {
        let mut producers = Producers::default();
        (0..7).for_each(|i| producers.apply(&stamp(0, i), 100 + i64::from(i), 1, 10 + i64::from(i)));
        producers
    }

    #[test]
    fn the_last_five_are_answered_with_their_offsets_and_older_ones_are_out_of_order() {
        let producers = seven();
        for i in 0..2 {
            assert_eq!(producers.check(&stamp(0, i)), Err(SequenceError::OutOfOrder));
        }
        for i in 2..7 {
            let verdict = producers.check(&stamp(0, i));
            assert!(matches!(verdict, Ok(SequenceVerdict::Written(b)) if b.offset_first == 100 + i64::from(i)));
        }
        assert_eq!(producers.check(&stamp(0, 7)), Ok(SequenceVerdict::Append));
        assert_eq!(producers.check(&stamp(0, 8)), Err(SequenceError::OutOfOrder));
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_ends_the_old_one() {
        let mut producers = seven();
        assert_eq!(producers.check(&stamp(1, 7)), Err(SequenceError::OutOfOrder));
        assert_eq!(producers.check(&stamp(1, 0)), Ok(SequenceVerdict::Append));
        producers.apply(&stamp(1, 0), 107, 1, 20);
        assert_eq!(producers.check(&stamp(0, 7)), Err(SequenceError::StaleEpoch));
        assert_eq!(producers.check(&stamp(1, 1)), Ok(SequenceVerdict::Append));
    }

    #[test]
    fn an_unknown_or_expired_producer_may_begin_anywhere() {
        let mut producers = seven();
        producers.expire(16, 200);
        assert_eq!(producers.len(), 1, "last heard of at 16");
        producers.expire(17, 200);
        assert!(producers.is_empty());
        assert_eq!(producers.check(&stamp(4, 55)), Ok(SequenceVerdict::Append), "KIP-360");
    }

    #[test]
    fn batches_that_are_not_durable_are_left_out() {
        let durable = seven().durable(105);
        let (_, producer) = durable.iter().next().unwrap();
        assert_eq!(producer.batches.iter().map(|b| b.offset_first).collect::<Vec<_>>(), [102, 103, 104]);
        assert_eq!(durable.check(&stamp(0, 5)), Ok(SequenceVerdict::Append));
    }
}

mod closing {
    use super::*;

    fn log() -> Log {
        let settings = Settings {
            segment_bytes: 100,
            segment_ms: i64::MAX,
            segment_jitter_ms: 0,
            index_bytes_max: 1000,
            index_interval: 10,
            retention_ms: None,
            retention_bytes: None,
            delete_delay_ms: 0,
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
                log.closed(close.segment, true);
                closed.push((close.segment.base, close.bytes));
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
}
