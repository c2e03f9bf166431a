//! `loadgen verify`: numbered records through the broker's deaths and restarts, then all of them read back.

mod ledger;
mod reading;
mod seal;
mod writer;

use crate::cluster::{Broker, Fault, LATEST, Layout, offsets, open_topic};
use crate::options::{Acks, Verify};
use crate::produce::schedule;
use crate::producer;
use crate::report::Report;
use crate::run::{Run, Watched, endings, start, watch};
use ledger::{Flaw, Ledger};
use reading::Reading;
use seal::SEAL_BYTES;
use serde_json::json;
use std::sync::Arc;
use writer::{Writer, Written};

/// The report says why, if the broker did not do what it had promised or not all could be seen.
pub fn verify(options: &Verify) -> Result<Report, Fault> {
    let mut options = options.clone();
    options.writing.partitions_per_request = 1;
    let options = &options;
    let Verify { target, writing, .. } = options;
    producer::check(writing)?;
    if writing.acks == Acks::None {
        return Err(Fault::Other("verify needs acknowledgements: --acks 1 or all".to_string()));
    }
    if (writing.record_bytes as usize) < SEAL_BYTES {
        return Err(Fault::Other(format!("verify needs --record-bytes of at least {SEAL_BYTES}")));
    }
    let run_id: u64 = rand::random();
    let mut broker = Broker::bootstrap(target)?;
    let layout = open_topic(&mut broker, target, true)?;
    let starts = offsets(&layout, LATEST)?;
    let (mut report, written) = write(options, &layout, run_id)?;
    let (mut streams, mut interruptions, mut why) = (Vec::new(), 0, Vec::new());
    for writer in written {
        streams.extend(writer.streams);
        interruptions += writer.interruptions;
        why.extend(writer.fault.map(|fault| format!("writing: {fault}")));
    }
    let ledger = Ledger::new(run_id, streams, writing.idempotent);
    let mut reading = Reading::new(ledger, &target.topic, starts);
    why.extend(reading.run(target, options.timeout_seconds).err().map(|fault| format!("reading: {fault}")));
    report.why.extend(why);
    judge(&mut report, &reading, interruptions);
    Ok(report)
}

/// Writes until the run is over; gives what each writer leaves behind.
fn write(options: &Verify, layout: &Layout, run_id: u64) -> Result<(Report, Vec<Written>), Fault> {
    let Verify { target, writing, .. } = options;
    let shares = layout.share(target.connections as usize);
    let watched = [Watched::new(None, shares.len())];
    let run = Arc::new(Run::begin(target, target.seconds(false)));
    let (ended, endings) = endings();
    let (mut handles, mut stream_first) = (Vec::new(), 0);
    let writers = shares.len();
    for (i, (_, partitions)) in shares.into_iter().enumerate() {
        let (run, tally) = (run.clone(), watched[0].tallies[i].clone());
        let (options, schedule) = (options.clone(), schedule(writing, i, writers));
        let count = partitions.len() as u32;
        handles.push(start(&ended, move || {
            let written = Writer::new(run.clone(), tally, &options, schedule, partitions, run_id, stream_first).run();
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
