//! What a log does not keep.

use super::*;

/// Three segments, of batches with these times each, all written and readable.
fn log_of(settings: Settings, times: [[TimestampMs; 2]; 3]) -> Log {
    let mut log = log_with(Settings { segment_bytes: 600, segment_ms: i64::MAX, ..settings });
    for (journal, time) in times.iter().flatten().enumerate() {
        append(&mut log, &[*time], 200, 1 + journal as u64);
    }
    flush_all(&mut log);
    log.commit(log.end());
    assert_eq!(bases(&log), [0, 2, 4]);
    log
}

fn aged(retention_ms: i64) -> Settings {
    Settings { retention_ms: Some(retention_ms), ..settings() }
}

#[test]
fn segments_go_from_the_front_when_their_youngest_record_is_too_old() {
    let log = log_of(aged(100), [[1000, 900], [950, 1100], [500, 600]]);
    assert_eq!(log.retention_due(), Some(1101));
    assert_eq!(log.find_expired(1100), None, "it has just reached the age");
    let first = log.segments().next().unwrap().bytes;
    let expired = Expired { start: 2, segments: 1, oversized: 0, bytes: first.into() };
    assert_eq!(log.find_expired(1101), Some(expired), "a young one keeps those behind it");
    assert_eq!(log.find_expired(1201).map(|expired| (expired.start, expired.segments)), Some((6, 3)));
    assert_eq!(log.find_expired(0), None, "the clock was set back");

    let mut log = log_of(aged(100), [[1000, 900], [950, 1100], [500, 600]]);
    log.commit_end = 3;
    assert_eq!(log.find_expired(9000).map(|expired| expired.start), Some(2), "what cannot be read yet stays");
    log.set_settings(Arc::new(Settings { retention_ms: None, ..settings() }));
    assert_eq!((log.find_expired(i64::MAX), log.retention_due()), (None, None));
}

#[test]
fn records_without_a_time_age_from_when_they_came() {
    let mut log = log_of(aged(100), [[-1, -1], [-1, -1], [-1, 7000]]);
    assert_eq!(log.retention_due(), Some(SEEN_MS + 101));
    assert_eq!(log.find_expired(SEEN_MS + 101).map(|expired| expired.start), Some(4));
    let made = log.checkpoint();
    assert_eq!(made.segments[0].modified_ms, SEEN_MS);
    log = Log::restore(log.id(), log.name().clone(), Arc::new(aged(100)), made);
    assert_eq!(log.retention_due(), Some(SEEN_MS + 101));

    let mut log = log_with(settings());
    append(&mut log, &[-1], 1, 1);
    let (bytes, info) = batch(&[-1], 1);
    let waited = settings().segment_ms;
    assert!(
        !log.decide(&info, bytes.len(), SEEN_MS + waited).roll
            && log.decide(&info, bytes.len(), SEEN_MS + waited + 1).roll
    );
}

#[test]
fn a_log_keeps_as_many_bytes_as_it_should_and_only_whole_segments_go() {
    let sized = |most| Settings { retention_bytes: Some(most), ..settings() };
    let whole = log_of(settings(), [[1, 1]; 3]).bytes();
    for (most, start) in [
        (0, Some(6)),
        (1, Some(4)),
        (whole / 3, Some(4)),
        (whole / 3 + 1, Some(2)),
        (2 * whole / 3 + 1, None),
        (u64::MAX, None),
    ] {
        let log = log_of(sized(most), [[1, 1]; 3]);
        let expired = log.find_expired(0);
        assert_eq!(expired.map(|expired| expired.start), start, "{most} of {whole}");
        assert_eq!(log.is_oversized(), start.is_some());
        assert!(expired.is_none_or(|expired| whole - expired.bytes >= most && expired.oversized == expired.segments));
    }
    let both = log_of(Settings { retention_ms: Some(100), ..sized(whole / 3 + 1) }, [[1, 1], [1, 1], [1000, 1]]);
    let expired = both.find_expired(500).unwrap();
    assert_eq!((expired.start, expired.segments, expired.oversized), (4, 2, 1), "one is too much, one too old");
}

#[test]
fn an_empty_log_goes_on_at_its_end_in_another_segment() {
    let mut log = log_of(aged(100), [[1, 1]; 3]);
    append(&mut log, &[1], 10, 9);
    log.durable(7);
    log.commit(7);
    assert!(!log.is_flushed());
    assert_eq!(log.find_expired(1000).map(|expired| expired.start), Some(7));
    assert_eq!(log.set_start(7).len(), 3, "the last one may be written to");
    log.seal();
    assert_eq!(log.take_outlived().iter().map(|segment| segment.base).collect::<Vec<_>>(), [6]);
    assert!(log.is_flushed() && log.plan_flush().is_none() && log.journal_oldest().is_none(), "nobody needs it");
    assert_eq!((log.bytes(), log.unflushed_bytes(), log.retention_due()), (0, 0, None));
    log.check();
    let made = log.checkpoint();
    assert_eq!((made.start, made.flushed_end, made.segments.len()), (7, 7, 0));
    let mut restored = Log::restore(log.id(), log.name().clone(), Arc::new(settings()), made);
    for log in [&mut log, &mut restored] {
        assert_eq!((log.read(7, 7, 1), log.read(6, 7, 1)), (Read::Empty, Read::OutOfRange));
        let at = append(log, &[1], 10, 10);
        assert!(at.roll && at.offset == 7);
        assert_eq!(bases(log), [7]);
        log.check();
    }
}

#[test]
fn a_sealed_segment_takes_no_batch_and_what_is_not_durable_stays() {
    let mut log = log_with(aged(100));
    append(&mut log, &[1], 10, 1);
    log.seal();
    assert!(append(&mut log, &[1], 10, 2).roll);
    log.commit(2);
    assert!(log.set_start(1).is_empty(), "a crash may bring the start back, and then the batch is needed");
    log.durable(1);
    assert_eq!(log.take_outlived().len(), 1);
    log.check();
    assert_eq!((bases(&log), log.unflushed_batches()), (vec![1], 1));
    assert_eq!(flush_all(&mut log).len(), 0);
}

#[test]
fn jitter_shortens_each_segment_by_another_part() {
    let jittered = Settings { segment_ms: 10_000, segment_jitter_ms: 4000, segment_bytes: u32::MAX >> 1, ..settings() };
    let mut log = log_with(jittered);
    let mut begins = Vec::new();
    for ms in (0..400_000).step_by(100) {
        if append(&mut log, &[ms], 1, 1).roll {
            begins.push(ms);
        }
    }
    let lengths: Vec<_> = begins.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(lengths.iter().all(|length| (6000..=10_200).contains(length)), "{lengths:?}");
    assert!(lengths.iter().max().unwrap() - lengths.iter().min().unwrap() > 1000, "{lengths:?}");
}
