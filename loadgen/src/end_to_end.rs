//! `loadgen end-to-end`: records that carry the time at which they ought to have been sent, written and read back by one process.

use crate::cluster::{Broker, Fault, LATEST, offsets, open_topic};
use crate::compression::plain;
use crate::consume::{self, Readers};
use crate::fetch::Span;
use crate::load::Load;
use crate::options::EndToEnd;
use crate::produce::schedule;
use crate::producer::{self, MARK_BYTES, Mark};
use crate::report::Report;
use crate::run::{DividedTally, Run, Watched, deal, endings, start, watch};
use crate::tally::{SharedTally, Tally};
use klamm::wire::batch::Batch;
use klamm::wire::error::ErrorCode;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How long records are awaited that were acknowledged and have not arrived.
const ARRIVAL_NS: u64 = 10_000_000_000;

pub fn end_to_end(options: &EndToEnd) -> Result<Report, Fault> {
    let EndToEnd { target, fetching, .. } = options;
    let mut writing = options.writing.clone();
    writing.batch_bytes = Some(writing.batch_bytes.unwrap_or(0));
    producer::check(&writing)?;
    if writing.rate.is_none() {
        return Err(Fault::Other("end-to-end needs a --rate".to_string()));
    }
    if (writing.record_bytes as usize) < MARK_BYTES {
        return Err(Fault::Other(format!("end-to-end needs --record-bytes of at least {MARK_BYTES}")));
    }
    let run_id: u64 = rand::random();
    let mut broker = Broker::bootstrap(target)?;
    let layout = open_topic(&mut broker, target, true)?;
    let starts = offsets(&layout, LATEST)?;
    let span = |partition: i32| Span { next: starts[&partition], end: i64::MAX };
    let consumers = consume::connect(&layout, options.consumers as usize, fetching, span)?;
    let shares = layout.share(target.connections as usize);
    let writing = producer::fit(&writing, &shares);
    let producers = producer::connect(&mut broker, &layout, shares, (target, &writing), Some(run_id))?;
    let (writers, readers) = (target.threads(producers.len()), target.threads(consumers.len()));
    let watched = [Watched::divided(Some("ack"), writers), Watched::divided(Some("delivery"), readers)];
    let flow = Arc::new(Flow::new(writers));
    let run = Arc::new(Run::begin(target, target.seconds(false)));
    let (ended, endings) = endings();
    let mut handles = Vec::new();
    for (thread, consumers) in deal(consumers, readers).into_iter().enumerate() {
        let (run, flow, tally) = (run.clone(), flow.clone(), watched[1].divided_tally(&run, thread));
        let place = (target.clone(), fetching.clone());
        handles.push(start(&ended, move || {
            let look = arrival(flow.clone(), tally.clone(), run_id);
            // The latencies of the fetches themselves are of no interest: a waiting fetch is a good one.
            let fetches = DividedTally::whole(SharedTally::new());
            Readers::new(run, fetches, consumers, place)?.run(look, |_, now_ns| flow.goes_on(now_ns))
        }));
    }
    for (thread, producers) in deal(producers, writers).into_iter().enumerate() {
        let (run, flow, tally) = (run.clone(), flow.clone(), watched[0].divided_tally(&run, thread));
        let (schedule, writing) = (schedule(&writing, thread, writers), writing.clone());
        handles.push(start(&ended, move || {
            let clock = run.clock;
            let outcome = Load::new(run, tally, producers, schedule, &writing).and_then(Load::run);
            let written = outcome.as_ref().map_or(0, |outcome| outcome.written);
            flow.writer_ended(written, clock.now_ns());
            flow.unsent.fetch_add(outcome?.unsent, Ordering::Relaxed);
            Ok(())
        }));
    }
    drop(ended);
    let (mut report, mut totals) = watch(target, &run, &watched, writers + readers, &endings)?;
    for handle in handles {
        let result = handle.join().expect("a thread of load does not panic");
        result.map_err(|error| Fault::Io("load".to_string(), error))?;
    }
    flow.complete(&mut report, totals.remove(0));
    Ok(report)
}

/// What the threads that write tell those that read.
struct Flow {
    /// Threads that still write.
    writers: AtomicUsize,
    written: AtomicU64,
    unsent: AtomicU64,
    /// When the last writer ended.
    ended_ns: AtomicU64,
    delivered: AtomicU64,
}

impl Flow {
    fn new(writers: usize) -> Self {
        Flow {
            writers: AtomicUsize::new(writers),
            written: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            ended_ns: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
        }
    }

    fn writer_ended(&self, written: u64, now_ns: u64) {
        self.written.fetch_add(written, Ordering::SeqCst);
        self.ended_ns.fetch_max(now_ns, Ordering::SeqCst);
        let before = self.writers.fetch_sub(1, Ordering::SeqCst);
        assert!(before > 0);
    }

    /// Adds what arrived to the report of what was acknowledged. Counts are those of the whole run, the warm-up included.
    fn complete(&self, report: &mut Report, delivery: Tally) {
        let (written, delivered) = (self.written.load(Ordering::SeqCst), self.delivered.load(Ordering::SeqCst));
        for (code, count) in delivery.errors {
            report.tally.error(code, count);
        }
        report.second_latency = Some(("delivery_ms", "delivery", delivery.latency));
        let undelivered = written.saturating_sub(delivered);
        report.more.push(("records_delivered", json!(delivered)));
        report.more.push(("records_undelivered", json!(undelivered)));
        report.more.push(("records_unsent", json!(self.unsent.load(Ordering::SeqCst))));
    }

    /// Whether there may be something to read yet.
    fn goes_on(&self, now_ns: u64) -> bool {
        self.writers.load(Ordering::SeqCst) > 0
            || (self.delivered.load(Ordering::SeqCst) < self.written.load(Ordering::SeqCst)
                && now_ns < self.ended_ns.load(Ordering::SeqCst) + ARRIVAL_NS)
    }
}

/// Counts the records of this run in a batch, with the time that each took to arrive.
fn arrival(flow: Arc<Flow>, tally: DividedTally, run_id: u64) -> impl FnMut(&Batch<'_>, u64) {
    move |batch, now_ns| {
        let counted = plain(batch, |batch| {
            let values = batch.records().map_while(Result::ok).filter_map(|record| record.value);
            let marks = values.filter_map(Mark::read).filter(|mark| mark.run_id == run_id);
            let count = |mark: Mark| {
                let latency_ns = now_ns.saturating_sub(mark.intended_ns);
                tally.at(mark.intended_ns).with(|tally| tally.request(now_ns, latency_ns))
            };
            marks.map(count).count() as u64
        });
        match counted {
            Ok(count) => {
                flow.delivered.fetch_add(count, Ordering::SeqCst);
            }
            Err(_) => tally.at(now_ns).with(|tally| tally.error(ErrorCode::CorruptMessage.code(), 1)),
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
        let value = |run_id, intended_ns| {
            let mut value = [0; 40];
            Mark { run_id, intended_ns, number: 0 }.write(&mut value);
            value
        };
        let batch = BatchBuilder::new(0)
            .record(0, None, Some(&value(7, 1_000_000)))
            .record(0, None, Some(&value(8, 1_000_000)))
            .record(0, None, Some(b"foreign"))
            .record(0, None, Some(&value(7, 3_000_000)))
            .build();
        let flow = Arc::new(Flow::new(1));
        let tally = SharedTally::new();
        let mut look = arrival(flow.clone(), DividedTally::whole(tally.clone()), 7);
        look(&Batch::first(&batch).unwrap(), 5_000_000);
        // The same again, compressed.
        let mut header: BatchHeader = *Batch::first(&batch).unwrap().header;
        header.attributes = (Compression::Lz4 as i16).into();
        let bytes = [&batch[..HEADER_BYTES], &compress(&batch[HEADER_BYTES..], Compression::Lz4)].concat();
        let compressed = Batch { position: 0, header: &header, bytes: &bytes };
        look(&compressed, 5_000_000);
        assert_eq!(flow.delivered.load(Ordering::SeqCst), 4);
        tally.with(|tally| {
            assert_eq!((tally.latency.len(), tally.errors.len()), (4, 0));
            assert!((tally.latency.max() as f64 - 4e6).abs() < 4e4 && tally.latency.min() > 1_900_000);
        });
    }

    #[test]
    fn reading_goes_on_until_all_arrived_or_patience_ends() {
        let flow = Flow::new(2);
        flow.writer_ended(5, 100);
        assert!(flow.goes_on(u64::MAX));
        flow.writer_ended(5, 200);
        assert!(flow.goes_on(200) && !flow.goes_on(200 + ARRIVAL_NS));
        flow.delivered.store(10, Ordering::SeqCst);
        assert!(!flow.goes_on(201));
    }
}
