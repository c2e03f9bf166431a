//! What is cut off, what is passed over, and what a replay makes of both.

use super::*;

/// Cuts the log at `to` with what is in memory, and what is not from `read`.
fn truncate(log: &mut Log, to: Offset, read: impl Fn(&DiskRead) -> Vec<Bytes>) -> (Cut, Truncated) {
    let mut search = log.find_cut(to);
    while let Some((plan, offset)) = log.search_cut(&mut search) {
        let parts = read(&plan);
        let first = batches(&parts[0]).next().unwrap().header;
        assert!((first.base_offset.get()..=first.last_offset()).contains(&offset));
        search.feed(&parts);
    }
    let cut = *search.cut().unwrap();
    assert_eq!(Cut::decode(cut.end, &cut.encode()), Ok(cut));
    (cut, log.truncate(&cut))
}

/// Writes all that there is and closes what is complete.
fn settle(log: &mut Log) {
    flush_all(log).into_iter().for_each(|close| log.closed(close.segment, true));
}

fn none(_: &DiskRead) -> Vec<Bytes> {
    panic!("all is in memory")
}

#[test]
fn what_follows_is_gone_from_memory_segments_and_ends() {
    for to in 0..=20 {
        let mut log = ten();
        log.durable(14);
        log.commit(12);
        let (held, unflushed) = (log.held_bytes(), log.unflushed_bytes());
        let (cut, truncated) = truncate(&mut log, to, none);
        let end = if to == 20 { 20 } else { to / 2 * 2 };
        assert_eq!((cut.end, log.end()), (end, end), "whole batches go");
        assert_eq!(truncated.batches as i64, (20 - end) / 2);
        assert_eq!((held - log.held_bytes(), unflushed - log.unflushed_bytes()), (truncated.bytes, truncated.bytes));
        assert_eq!((log.durable_end(), log.high_watermark()), (end.min(14), end.min(12)));
        assert_eq!(truncated.segments, [], "nothing was written");
        assert_eq!(log.timestamp_max().map(|(_, offset)| offset + 1), (end > 0).then_some(end));
        // What is appended there is read there, and is in the right place of its segment.
        let at = append(&mut log, &[5000], 80, 20);
        assert_eq!(at.offset, end);
        log.check();
        flush_all(&mut log);
        assert_eq!(read_bases(log.read(end, log.end(), 1)), [end]);
    }
}

#[test]
fn a_cut_in_segments_is_found_by_reading_from_the_last_index_entry() {
    for to in 1..20 {
        let mut log = ten();
        let all: Vec<Bytes> = log.tail.iter().map(|batch| batch.bytes.clone()).collect();
        let places: Vec<(SegmentId, u32)> = log.tail.iter().map(|batch| (batch.segment, batch.position)).collect();
        settle(&mut log);
        assert!((0..8).all(|_| log.evict().is_some()));
        let read = |plan: &DiskRead| {
            let at =
                places.iter().position(|place| *place == (plan.segment, plan.position)).expect("a batch begins there");
            let end = places.iter().rposition(|place| place.0 == plan.segment && place.1 < plan.position_end).unwrap();
            all[at..=end].to_vec()
        };
        let before: Vec<Segment> = log.segments().cloned().collect();
        let (cut, truncated) = truncate(&mut log, to, read);
        let end = to / 2 * 2;
        assert_eq!((log.end(), log.flushed_end), (end, end));
        let gone: Vec<SegmentId> = before.iter().rev().map(Segment::id).filter(|id| id.base >= end).collect();
        assert_eq!(truncated.segments, gone);
        let bytes: usize = all.iter().take((end / 2) as usize).map(Bytes::len).sum();
        assert_eq!(log.bytes(), bytes as u64, "{cut:?}");
        let last = log.timestamp_max();
        assert_eq!(last, (end > 0).then(|| (1005 + 5 * (end - 2), end - 1)));
        assert!(log.segments().all(|segment| segment.indexed == (segment.base < log.unclosed)));
        // A new segment of the same base has other files, until the old ones are gone.
        let mut again = Vec::new();
        for i in 0..10 {
            let at = append(&mut log, &[9000 + i], 180, 30);
            again.extend(at.roll.then(|| log.segments().last().unwrap().id()));
        }
        assert!(
            again.iter().all(|id| !gone.contains(id) && (id.generation > 0) == gone.iter().any(|g| g.base == id.base))
        );
        gone.iter().for_each(|id| log.dropped(*id));
        assert!(!log.has_leftovers());
        log.check();
        let mut first = true;
        log.durable(log.end());
        while let Some(flush) = log.plan_flush() {
            let into = before.iter().any(|segment| segment.id() == flush.segment && segment.base < end);
            assert!(!flush.cut || (first && into), "the file is cut before it is written again");
            assert!(flush.cut || !first || !into || cut.position == 0 || before.iter().any(|s| s.base == end));
            log.flushed(flush.offset_end);
            first = false;
        }
    }
}

#[test]
fn nothing_is_cut_while_something_is_written() {
    let mut log = ten();
    log.durable(20);
    assert!(log.plan_flush().is_some() && log.is_busy());
    log.flush_failed();
    assert!(!log.is_busy());
    let flush = log.plan_flush().unwrap();
    let closes = log.flushed(flush.offset_end);
    assert!(closes.len() == 1 && log.is_busy(), "its index is being written");
    log.closed(closes[0].segment, false);
    assert!(!log.is_busy());
}

#[test]
fn producers_and_epochs_follow_the_cut() {
    let mut log = log_with(settings());
    let stamp = |epoch, sequence| ProducerStamp {
        id: ProducerId(7),
        epoch: ProducerEpoch(epoch),
        sequence_first: Sequence(sequence),
        records: 1,
    };
    for (epoch, producer, sequence) in [(0, 0, 0), (0, 0, 1), (3, 0, 2), (5, 1, 0)] {
        let (bytes, info) = batch(&[1], 10);
        let info = BatchInfo { producer: Some(stamp(producer, sequence)), ..info };
        log.set_epoch(Epoch(epoch));
        let at = log.decide(&info, bytes.len(), 1);
        assert_eq!(at.epoch, Epoch(epoch));
        log.apply(at, &info, bytes.freeze(), 1, SEEN_MS);
    }
    assert_eq!(log.epochs, [(Epoch(0), 0), (Epoch(3), 2), (Epoch(5), 3)]);
    truncate(&mut log, 2, none);
    assert_eq!((&log.epochs[..], log.epoch_last(), log.epoch()), (&[(Epoch(0), 0)][..], Epoch(0), Epoch(5)));
    assert_eq!(log.epoch_end(Epoch(5)), Some((Epoch(5), 2)));
    assert_eq!(log.epoch_end(Epoch(4)), Some((Epoch(0), 2)));
    // All that is known of it is that it has begun a new epoch.
    assert_eq!(log.producers().check(&stamp(0, 2)), Err(SequenceError::StaleEpoch));
    assert_eq!(log.producers().check(&stamp(1, 0)), Ok(SequenceVerdict::Append));
    log.set_epoch(Epoch(4));
    assert_eq!(log.epoch(), Epoch(5), "an older leader changes nothing");
}

/// Ten batches, then none up to offset 30, then another one.
fn passed_over() -> Log {
    let mut log = ten();
    log.skip(25, 11);
    log.skip(30, 11);
    let (bytes, info) = batch(&[1, 2], 700);
    let at = log.decide(&info, bytes.len(), 1);
    assert!(at.offset == 30 && at.roll);
    log.apply(at, &info, bytes.freeze(), 11, SEEN_MS);
    log.check();
    log
}

#[test]
fn offsets_that_were_passed_over_are_no_loss_and_no_obstacle() {
    let mut log = passed_over();
    assert_eq!((log.end(), log.unflushed_skips()), (32, 1));
    let mut carried = Vec::new();
    log.carry(|at, skipped, bytes| {
        carried.push((at.offset, skipped));
        (12, bytes.clone())
    });
    assert_eq!(carried.iter().filter(|(_, skipped)| skipped.is_some()).collect::<Vec<_>>(), [&(30, Some(20))]);
    settle(&mut log);
    for offset in 20..30 {
        assert_eq!(log.read(offset, 32, 1), log.read(30, 32, 1));
    }
    while log.evict().is_some() {}
    for offset in 20..30 {
        let Read::Disk(read) = log.read(offset, 32, 1) else { panic!("{offset} has left memory") };
        assert_eq!((read.segment.base, read.position), (20, 0), "it is looked for in the segment behind it");
    }
    let after = Log::restore(log.id(), log.name().clone(), log.settings.clone(), log.checkpoint());
    assert_eq!((after.end(), after.flushed_end), (32, 32));
    after.check();
    for to in 21..=30 {
        let mut log = passed_over();
        truncate(&mut log, to, none);
        assert_eq!((log.end(), log.skipped_from), (20, None), "a log ends where its last batch does");
    }
}

#[test]
fn a_start_in_the_middle_of_a_batch_that_is_cut_off_is_the_end() {
    let mut log = ten();
    log.set_start(7);
    truncate(&mut log, 7, none);
    assert_eq!((log.start(), log.end()), (7, 7));
    assert_eq!(append(&mut log, &[1], 1, 20).offset, 7);
    log.check();
}

/// What the journal holds: batches, cuts and skips, applied one after the other.
enum Entry {
    Batch(Placement, BatchInfo, Bytes),
    Cut(Cut),
    Skip(Offset, Offset),
}

/// The first entry that a start with a checkpoint of this log needs.
fn oldest(log: &Log, entries: &[Entry]) -> usize {
    let Some(batch) = log.tail.get(log.tail_flushed) else { return entries.len() };
    let is = |entry: &Entry| matches!(entry, Entry::Batch(at, ..) if at.offset == batch.base);
    let at = entries.iter().rposition(is).expect("it is in the journal");
    let skips = entries[..at].iter().rev().take_while(|entry| matches!(entry, Entry::Skip(..))).count();
    at - skips
}

/// A log after some operations, what the journal holds of them, and checkpoints that were made in between: after how many
/// entries, and the first entry that each needs.
fn history(seed: u64) -> (Log, Vec<Entry>, Vec<(usize, usize, Restored)>) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = |n: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % n
    };
    let (mut log, mut entries) = (log_with(settings()), Vec::new());
    let mut saved = vec![(0, 0, log.checkpoint())];
    for step in 0..40 {
        match draw(8) {
            0 if log.end() > 0 => {
                let to = log.end() - draw(log.end() as u64 + 1).min(draw(12)) as i64;
                let mut search = log.find_cut(to.max(log.start()));
                assert_eq!(log.search_cut(&mut search), None, "all is in memory");
                let cut = *search.cut().unwrap();
                // As the store: what takes nothing away is not told.
                if cut.end < log.end() {
                    let told = log.told(&cut);
                    log.truncate(&told);
                    entries.push(Entry::Cut(told));
                }
            }
            2 => settle(&mut log),
            3 => saved.push((entries.len(), oldest(&log, &entries), log.checkpoint())),
            other => {
                // A batch follows at once, as in the journal.
                if other == 4 {
                    let (from, to) = (log.end(), log.end() + 1 + draw(5) as i64);
                    log.skip(to, 1);
                    entries.push(Entry::Skip(from, to));
                }
                let (mut bytes, info) = batch(&[1000 + step], 50 + draw(400) as usize);
                log.set_epoch(Epoch(step as i32 / 8));
                let at = log.decide(&info, bytes.len(), 1000);
                patch_base_offset_and_epoch(&mut bytes, at.offset, at.epoch.0);
                let bytes = bytes.freeze();
                log.apply(at, &info, bytes.clone(), 1, SEEN_MS);
                log.durable(log.end());
                entries.push(Entry::Batch(at, info, bytes));
            }
        }
        log.check();
    }
    (log, entries, saved)
}

#[test]
fn a_replay_ends_with_what_was_there_whatever_the_checkpoint_knows() {
    for seed in 0..400 {
        let (log, entries, saved) = history(seed);
        let contents = |log: &Log| -> Vec<(Offset, Epoch, u32)> {
            log.tail.iter().map(|batch| (batch.base, batch.epoch, batch.position)).collect()
        };
        for (known, oldest, checkpoint) in saved {
            // A checkpoint covers the cuts that it knows of, unless the disk takes no segments: then they come again.
            let cut = entries[..known].iter().rposition(|entry| matches!(entry, Entry::Cut(_))).map_or(0, |at| at + 1);
            for from in [0, cut, oldest].into_iter().filter(|from| *from <= oldest) {
                let mut again = Log::restore(log.id(), log.name().clone(), log.settings.clone(), checkpoint.clone());
                for entry in &entries[from..] {
                    match entry {
                        Entry::Batch(at, info, bytes) => {
                            again.replay(*at, info, bytes.clone(), SEEN_MS);
                        }
                        Entry::Cut(cut) => {
                            again.replay_truncation(cut);
                        }
                        Entry::Skip(from, to) => {
                            again.replay_skip(*from, *to);
                        }
                    }
                }
                assert_eq!(again.end(), log.end(), "seed {seed}, a checkpoint at {known}, from {from}");
                let sizes = |log: &Log| log.segments().map(|s| (s.base, s.bytes, s.timestamp_max)).collect::<Vec<_>>();
                assert_eq!(sizes(&again), sizes(&log), "seed {seed}, a checkpoint at {known}, from {from}");
                let (found, all) = (contents(&again), contents(&log));
                assert!(all.ends_with(&found), "seed {seed}: {found:?} of {all:?}");
                assert_eq!(again.epochs, log.epochs);
                again.check();
            }
        }
    }
}
