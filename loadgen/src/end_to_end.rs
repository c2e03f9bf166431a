//! `loadgen end-to-end`: records that carry the time at which they ought to have been sent, written and read back by one process.

use crate::backlog::{Backlog, Looks};
use crate::cluster::{Broker, Fault, LATEST, offsets, open_topic};
use crate::compression::plain;
use crate::consume::{self, Readers};
use crate::fetch::Span;
use crate::load::{Load, MS_NS, Outcome};
use crate::mark::{Book, MARK_BYTES, Mark};
use crate::options::EndToEnd;
use crate::produce::{on_schedule, own, schedules};
use crate::producer;
use crate::report::{DELIVERY, Report};
use crate::run::{DividedTally, Run, Watched, deal, endings, start, watch};
use crate::tally::{SharedTally, Tally};
use klamm::wire::batch::Batch;
use klamm::wire::error::ErrorCode;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// How long records are awaited at most that were acknowledged and have not arrived.
const ARRIVAL_NS: u64 = 10_000_000_000;
/// How long none of another host's records has arrived when no more are awaited: all hosts end together.
const ACROSS_QUIET_NS: u64 = 1_000_000_000;

pub fn end_to_end(options: &EndToEnd) -> Result<Report, Fault> {
    run(options).map(|(report, _)| report)
}

/// Gives besides what was due and not acknowledged while it went on.
pub fn run(options: &EndToEnd) -> Result<(Report, Backlog), Fault> {
    let EndToEnd { target, fetching, shape, .. } = options;
    let mut writing = options.writing.clone();
    writing.batch_bytes = Some(writing.batch_bytes.unwrap_or(0));
    producer::check(&writing)?;
    if writing.rate.is_none() {
        return Err(Fault::Other("end-to-end needs a --rate".to_string()));
    }
    if (writing.record_bytes.min() as usize) < MARK_BYTES || shape.tombstones > 0.0 {
        return Err(Fault::Other(format!(
            "end-to-end needs --record-bytes of at least {MARK_BYTES}, and no --tombstones"
        )));
    }
    let mut broker = Broker::bootstrap(target)?;
    let layout = open_topic(&mut broker, target, true)?;
    let starts = offsets(&layout, LATEST)?;
    let span = |partition: i32| Span { next: starts[&partition], end: i64::MAX };
    let consumers = consume::connect(&layout, options.consumers as usize, fetching, span)?;
    let shares = producer::shares(&layout, target, shape);
    let writing = producer::fit(&writing, &shares);
    let book = Arc::new(Book::new(run_id(target.held), shares.len()));
    let producers = producer::connect(&mut broker, &layout, shares, (target, &writing, shape), Some(book.clone()))?;
    let (writers, readers) = (target.threads(producers.len()), target.threads(consumers.len()));
    let mut watched = vec![Watched::divided(Some("ack"), writers), Watched::divided(Some("delivery"), readers)];
    watched.extend(on_schedule(&writing, writers));
    watched.extend(target.held.map(|_| Watched::divided(Some("across"), readers)));
    let run = Arc::new(Run::begin(target, target.seconds_of(writing.rate)));
    let (arrival_ns, deliveries) = (run.drain_ns.min(ARRIVAL_NS), watched[1].divided_tally(&run, 0));
    let mut flow = Flow::new(book, (writers, writers + readers), arrival_ns, deliveries);
    flow.across.number = target.held;
    let flow = Arc::new(flow);
    let (ended, endings) = endings();
    let mut handles = Vec::new();
    for (thread, consumers) in deal(consumers, readers).into_iter().enumerate() {
        let (run, flow, tally) = (run.clone(), flow.clone(), watched[1].divided_tally(&run, thread));
        let across = watched.get(4).map(|across| across.divided_tally(&run, thread));
        let place = (target.clone(), fetching.clone());
        handles.push(start(&ended, move || {
            let (look, clock) = (arrival(flow.clone(), (tally, across)), run.clock);
            let fetches = DividedTally::whole(flow.fetches.clone());
            let result = Readers::new(run, fetches, consumers, place)
                .and_then(|readers| readers.run(look, |_, now_ns| flow.goes_on(now_ns)));
            flow.thread_ended(clock.now_ns());
            result.map(|_| Looks::new())
        }));
    }
    for (thread, producers) in deal(producers, writers).into_iter().enumerate() {
        let tally = (watched[0].divided_tally(&run, thread), own(&watched[2..4], &run, thread));
        let (run, flow) = (run.clone(), flow.clone());
        let schedules = schedules(&writing, &run, (thread, writers), producers.len());
        let writing = writing.clone();
        handles.push(start(&ended, move || {
            let clock = run.clock;
            let outcome = Load::new(run, tally, producers, schedules, &writing).and_then(Load::run);
            flow.writer_ended(outcome.as_ref().ok(), clock.now_ns());
            flow.thread_ended(clock.now_ns());
            outcome.map(|outcome| outcome.backlog)
        }));
    }
    drop(ended);
    let (mut report, mut totals) = watch(target, &run, &watched, writers + readers, &endings)?;
    let mut looks = Vec::new();
    for handle in handles {
        let result = handle.join().expect("a thread of load does not panic");
        looks.push(result.map_err(|error| Fault::Io("load".to_string(), error))?);
    }
    flow.complete(&mut report, totals.remove(0));
    Ok((report, Backlog::of(&looks)))
}

/// The run's number in its marks. Those of several hosts' runs have the front of it in common.
fn run_id(held: Option<u32>) -> u64 {
    held.map_or_else(rand::random, |number| u64::from(number) << 32 | u64::from(rand::random::<u32>()))
}

/// Records that other hosts of the run wrote, each of which is counted once.
#[derive(Default)]
struct Across {
    number: Option<u32>,
    /// By run and number, 64 in each.
    seen: Mutex<BTreeMap<(u64, u64), u64>>,
    count: AtomicU64,
    last_ns: AtomicU64,
}

impl Across {
    /// Whether a record is of another host of the run, and has not been seen.
    fn see(&self, mark: &Mark, now_ns: u64) -> bool {
        if self.number.is_none_or(|number| u64::from(number) != mark.run_id >> 32) {
            return false;
        }
        let (place, bit) = ((mark.run_id, mark.number / 64), 1 << (mark.number % 64));
        let mut seen = self.seen.lock().expect("no thread panics while it holds it");
        let bits = seen.entry(place).or_default();
        let is_first = *bits & bit == 0;
        *bits |= bit;
        self.count.fetch_add(is_first.into(), Ordering::SeqCst);
        self.last_ns.fetch_max(now_ns, Ordering::SeqCst);
        is_first
    }

    /// Whether some may be on their way that were written before `ended_ns`.
    fn goes_on(&self, ended_ns: u64, now_ns: u64) -> bool {
        self.number.is_some() && now_ns < ended_ns.max(self.last_ns.load(Ordering::SeqCst)) + ACROSS_QUIET_NS
    }
}

/// What the threads that write tell those that read.
struct Flow {
    book: Arc<Book>,
    /// Threads that still write, and all that still run.
    writers: AtomicUsize,
    threads: AtomicUsize,
    /// Records that were due and not sent, by the milliseconds in which they were due.
    unsent_ms: Mutex<BTreeMap<u64, u64>>,
    /// When the last writer ended, and how long records are awaited from then on.
    ended_ns: AtomicU64,
    arrival_ns: u64,
    deliveries: DividedTally,
    across: Across,
    /// Of the fetches themselves. Their latencies are of no interest: a waiting fetch is a good one.
    fetches: SharedTally,
}

impl Flow {
    fn new(book: Arc<Book>, (writers, threads): (usize, usize), arrival_ns: u64, deliveries: DividedTally) -> Self {
        Flow {
            book,
            writers: AtomicUsize::new(writers),
            threads: AtomicUsize::new(threads),
            unsent_ms: Mutex::default(),
            ended_ns: AtomicU64::new(0),
            arrival_ns,
            deliveries,
            across: Across::default(),
            fetches: SharedTally::new(),
        }
    }

    fn unsent_ms(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.unsent_ms.lock().expect("no thread panics while it holds it")
    }

    fn writer_ended(&self, outcome: Option<&Outcome>, now_ns: u64) {
        for (due_ms, records) in outcome.iter().flat_map(|outcome| &outcome.unsent_ms) {
            *self.unsent_ms().entry(*due_ms).or_default() += records;
        }
        self.ended_ns.fetch_max(now_ns, Ordering::SeqCst);
        let before = self.writers.fetch_sub(1, Ordering::SeqCst);
        assert!(before > 0);
    }

    /// The last thread gives every record that was due and has not been delivered the time that it has waited.
    fn thread_ended(&self, now_ns: u64) {
        if self.threads.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        let waited = |intended_ns: u64, records: u64| {
            let latency_ns = now_ns.saturating_sub(intended_ns);
            let tally = self.deliveries.at(intended_ns);
            tally.with(|tally| tally.latency.saturating_record_n(latency_ns, records));
        };
        self.book.unseen(|intended_ns| waited(intended_ns, 1));
        self.unsent_ms().iter().for_each(|(due_ms, &records)| waited(due_ms * MS_NS, records));
    }

    /// Adds what arrived to the report of what was acknowledged. Counts are those of the whole run, the warm-up included.
    fn complete(&self, report: &mut Report, delivery: Tally) {
        let fetches = self.fetches.with(|fetches| fetches.clone());
        for (code, count) in delivery.errors.into_iter().chain(fetches.errors) {
            report.tally.error(code, count);
        }
        fetches.lost.into_iter().for_each(|(why, count)| *report.tally.lost.entry(why).or_default() += count);
        report.second_latency = Some((DELIVERY, "delivery", delivery.latency));
        let (delivered, duplicated, unknown) = self.book.counts();
        let undelivered = self.book.awaited();
        let unsent: u64 = self.unsent_ms().values().sum();
        report.more.push(("records_delivered", json!(delivered)));
        report.more.push(("records_undelivered", json!(undelivered)));
        report.more.push(("records_duplicated", json!(duplicated)));
        report.more.push(("records_unknown", json!(unknown)));
        report.more.push(("records_unsent", json!(unsent)));
        if self.across.number.is_some() {
            report.more.push(("records_across", json!(self.across.count.load(Ordering::SeqCst))));
        }
        let faults = [
            (undelivered, "acknowledged records were not delivered"),
            (duplicated, "records were delivered that had been before"),
            (unknown, "records were delivered that nobody sent"),
        ];
        let faults = faults.into_iter().filter(|(count, _)| *count > 0);
        report.why.extend(faults.map(|(count, what)| format!("{count} {what}")));
    }

    /// Whether there may be something to read yet.
    fn goes_on(&self, now_ns: u64) -> bool {
        let ended_ns = self.ended_ns.load(Ordering::SeqCst);
        let is_awaiting = self.book.awaited() > 0 || self.across.goes_on(ended_ns, now_ns);
        self.writers.load(Ordering::SeqCst) > 0 || (is_awaiting && now_ns < ended_ns + self.arrival_ns)
    }
}

/// Takes down the records of this run in a batch, with the time that each took to arrive, and those of its other hosts, whose times
/// are as right as the hosts began together.
fn arrival(flow: Arc<Flow>, (tally, across): (DividedTally, Option<DividedTally>)) -> impl FnMut(&Batch<'_>, u64) {
    move |batch, now_ns| {
        let taken = plain(batch, |batch| {
            let values = batch.records().map_while(Result::ok).filter_map(|record| record.value);
            for mark in values.filter_map(Mark::read) {
                let latency_ns = now_ns.saturating_sub(mark.intended_ns);
                if mark.run_id == flow.book.run_id() {
                    if flow.book.see(mark.number) {
                        tally.at(mark.intended_ns).with(|tally| tally.request(now_ns, latency_ns));
                    }
                } else if let Some(across) = &across
                    && flow.across.see(&mark, now_ns)
                {
                    across.at(mark.intended_ns).with(|tally| tally.request(now_ns, latency_ns));
                }
            }
        });
        if taken.is_err() {
            tally.at(now_ns).with(|tally| tally.error(ErrorCode::CorruptMessage.code(), 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::compress;
    use klamm::wire::batch::{BatchBuilder, BatchHeader, Compression, HEADER_BYTES};

    #[test]
    fn arrivals_of_this_run_are_counted_and_timed() {
        // Number 5 is the run's, of which two hosts are 0x7 and 0x8.
        let run_id = |host: u64| 5 << 32 | host;
        let book = Arc::new(Book::new(run_id(7), 1));
        let first = book.send(0, [1_000_000; 2].into_iter());
        let value = |run_id, intended_ns, number| {
            let mut value = [0; 40];
            Mark { run_id, intended_ns, number }.write(&mut value);
            value
        };
        let batch = BatchBuilder::new(0)
            .record(0, None, Some(&value(run_id(7), 1_000_000, first)))
            .record(0, None, Some(&value(run_id(8), 2_000_000, first)))
            .record(0, None, Some(&value(6 << 32 | 8, 1_000_000, first)))
            .record(0, None, Some(b"foreign"))
            .record(0, None, Some(&value(run_id(7), 3_000_000, first + 1)))
            .build();
        let tally = SharedTally::new();
        let (whole, across) = (DividedTally::whole(tally.clone()), SharedTally::new());
        let mut flow = Flow::new(book.clone(), (1, 1), 0, whole.clone());
        flow.across.number = Some(5);
        let flow = Arc::new(flow);
        let mut look = arrival(flow.clone(), (whole, Some(DividedTally::whole(across.clone()))));
        look(&Batch::first(&batch).unwrap(), 5_000_000);
        // The same again, compressed.
        let mut header: BatchHeader = *Batch::first(&batch).unwrap().header;
        header.attributes = (Compression::Lz4 as i16).into();
        let bytes = [&batch[..HEADER_BYTES], &compress(&batch[HEADER_BYTES..], Compression::Lz4)].concat();
        let compressed = Batch { position: 0, header: &header, bytes: &bytes };
        look(&compressed, 5_000_000);
        assert_eq!((book.counts(), flow.across.count.load(Ordering::SeqCst)), ((2, 2, 0), 1));
        across.with(|tally| assert!((tally.latency.max() as f64 - 3e6).abs() < 3e4 && tally.latency.len() == 1));
        // Others may be on their way until none has come for a while, and nobody waits for them without other hosts.
        assert!(flow.across.goes_on(0, 5_000_000 + ACROSS_QUIET_NS - 1));
        assert!(!flow.across.goes_on(0, 5_000_000 + ACROSS_QUIET_NS) && !Across::default().goes_on(5, 5));
        tally.with(|tally| {
            assert_eq!((tally.latency.len(), tally.errors.len()), (2, 0));
            assert!((tally.latency.max() as f64 - 4e6).abs() < 4e4 && tally.latency.min() > 1_900_000);
        });
    }

    #[test]
    fn reading_goes_on_until_all_arrived_or_patience_ends() {
        let book = Arc::new(Book::new(7, 1));
        let tally = SharedTally::new();
        let flow = Flow::new(book.clone(), (2, 3), 1_000, DividedTally::whole(tally.clone()));
        let first = book.send(0, [50; 2].into_iter());
        flow.writer_ended(None, 100);
        flow.thread_ended(100);
        assert!(flow.goes_on(u64::MAX));
        book.acknowledge(first, 2);
        let unsent_ms = BTreeMap::from([(0, 3)]);
        flow.writer_ended(Some(&Outcome { unsent_ms, ..Default::default() }), 200);
        flow.thread_ended(200);
        assert!(flow.goes_on(200) && !flow.goes_on(200 + 1_000));
        assert!(book.see(first) && flow.goes_on(200) && tally.with(|tally| tally.latency.is_empty()));
        flow.thread_ended(2_000_000);
        assert_eq!(tally.with(|tally| tally.latency.len()), 4, "what did not arrive and what was not sent");
        assert!(book.see(first + 1) && !flow.goes_on(201));
    }
}
