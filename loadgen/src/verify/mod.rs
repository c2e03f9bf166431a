//! `loadgen verify`: numbered records through the broker's deaths and restarts, then all of them read back.

mod file;
mod ledger;
mod readers;
mod reading;
mod seal;
mod writer;

use crate::cluster::{Broker, Fault, LATEST, Shares, offsets, open_topic};
use crate::options::{Acks, Target, Verify};
use crate::produce::pace;
use crate::producer;
use crate::report::Report;
use crate::run::{Run, Watched, endings, start, watch};
use crate::tally::Tally;
use file::{Head, Kept, LedgerFile};
use ledger::{Flaw, Ledger};
use readers::{Readers, Sightings};
use reading::Reading;
use seal::SEAL_BYTES;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use writer::{Writer, Written};

/// The report says why, if the broker did not do what it had promised or not all could be seen.
pub fn verify(options: &Verify) -> Result<Report, Fault> {
    match &options.check {
        Some(path) => check(&options.target, options.timeout_seconds, path),
        None => write_and_read(options),
    }
}

fn write_and_read(options: &Verify) -> Result<Report, Fault> {
    let mut options = options.clone();
    options.writing.partitions_per_request = 1;
    let options = &options;
    let Verify { target, writing, .. } = options;
    producer::check(writing)?;
    if writing.acks == Acks::None {
        return Err(Fault::Other("verify needs acknowledgements: --acks 1 or all".to_string()));
    }
    if writing.record_bytes.fixed().is_none_or(|bytes| (bytes as usize) < SEAL_BYTES) {
        return Err(Fault::Other(format!("verify needs --record-bytes of at least {SEAL_BYTES}, all of one size")));
    }
    let run_id: u64 = rand::random();
    let mut broker = Broker::bootstrap(target)?;
    let layout = open_topic(&mut broker, target, true)?;
    let starts = offsets(&layout, LATEST)?;
    let shares = layout.share(target.connections as usize);
    let head = Head {
        run_id,
        topic: target.topic.clone(),
        exactly_once: writing.idempotent,
        starts: starts.clone(),
        streams: shares.iter().flat_map(|(_, partitions)| partitions.clone()).collect(),
    };
    let file = options.ledger.as_ref().map(|path| LedgerFile::create(path, &head)).transpose()?;
    let readers = Readers::start(options, &starts);
    let (mut report, written) = write(options, shares, run_id, file.as_ref())?;
    let (mut streams, mut interruptions, mut why) = (Vec::new(), 0, Vec::new());
    for writer in written {
        streams.extend(writer.streams);
        interruptions += writer.interruptions;
        why.extend(writer.fault.map(|fault| format!("writing: {fault}")));
    }
    why.extend(file.and_then(|file| file.finish(&streams).err()).map(|fault| format!("ledger: {fault}")));
    let (sightings, faults) = readers.stop();
    why.extend(faults.iter().map(|fault| format!("readers: {fault}")));
    let ledger = Ledger::new(run_id, streams, writing.idempotent);
    let mut reading = Reading::new(ledger, &target.topic, starts, sightings);
    why.extend(reading.run(target, options.timeout_seconds).err().map(|fault| format!("reading: {fault}")));
    report.why.extend(why);
    judge(&mut report, &reading, interruptions);
    Ok(report)
}

/// Writes until the run is over; gives what each writer leaves behind.
fn write(
    options: &Verify,
    shares: Shares,
    run_id: u64,
    file: Option<&Arc<LedgerFile>>,
) -> Result<(Report, Vec<Written>), Fault> {
    let Verify { target, writing, .. } = options;
    let watched = [Watched::divided(None, shares.len())];
    let run = Arc::new(Run::begin(target, target.seconds_of(writing.rate)));
    let (ended, endings) = endings();
    let (mut handles, mut stream_first) = (Vec::new(), 0);
    let (writers, pace) = (shares.len(), pace(writing, &run, writing.batch_records()));
    for (i, (_, partitions)) in shares.into_iter().enumerate() {
        let (run, tally) = (run.clone(), watched[0].divided_tally(&run, i));
        let (options, schedule) = (options.clone(), pace.map(|pace| pace.schedule(i, writers)));
        let (count, entries) = (partitions.len() as u32, (stream_first, file.cloned()));
        handles.push(start(&ended, move || {
            let writer = Writer::new(run.clone(), tally, &options, schedule, partitions, run_id, entries);
            let written = writer.run();
            if written.fault.is_some() {
                run.end();
            }
            written
        }));
        stream_first += count;
    }
    drop(ended);
    let (report, _) = watch(target, &run, &watched, writers, &endings)?;
    let written = handles.into_iter().map(|handle| handle.join().expect("a writer does not panic"));
    Ok((report, written.collect()))
}

/// Reads back what a ledger says.
fn check(target: &Target, timeout_seconds: f64, path: &Path) -> Result<Report, Fault> {
    let Kept { topic, starts, ledger } = file::read(path)?;
    // A broker that is not there is no fault of what it kept.
    Broker::bootstrap(target)?;
    let begin = Instant::now();
    let mut reading = Reading::new(ledger, &topic, starts, Sightings::default());
    let fault = reading.run(target, timeout_seconds).err();
    let tally = Tally { records: reading.records, bytes: reading.bytes, ..Tally::new() };
    let seconds = begin.elapsed().as_secs_f64();
    let why = fault.iter().map(|fault| format!("reading: {fault}")).collect();
    let mut report = Report { why, ..Report::new(tally, seconds) };
    judge(&mut report, &reading, 0);
    Ok(report)
}

/// Adds what was found to the report.
fn judge(report: &mut Report, reading: &Reading, interruptions: u64) {
    let counts = reading.ledger.counts();
    report.more.push(("acknowledged", json!(counts.acknowledged)));
    report.more.push(("unknown", json!(counts.unknown)));
    report.more.push(("unknown_present", json!(counts.unknown_present)));
    report.more.push(("unknown_duplicated", json!(counts.unknown_duplicated)));
    for (flaw, name) in Flaw::ALL {
        let count = counts.flaws.count(flaw);
        report.more.push((name, json!(count)));
        report.why.extend((count > 0).then(|| format!("{} {count}", name.replace('_', " "))));
    }
    report.more.push(("interruptions", json!(interruptions + reading.interruptions)));
    if counts.acknowledged == 0 {
        report.why.push("nothing was acknowledged".to_string());
    }
}
