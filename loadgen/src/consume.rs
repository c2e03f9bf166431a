//! `loadgen consume`: fetches, one after the other on each connection, as fast as they are answered.

use crate::cluster::{Broker, EARLIEST, Fault, LATEST, Layout, offsets, open_topic};
use crate::epoll::Epoll;
use crate::fetch::{Brought, Positions, Span};
use crate::link::{ANSWER_MS, Asking, lost_code};
use crate::options::{Consume, Fetching, From};
use crate::report::Report;
use crate::run::{Run, Watched, deal, endings, start, watch};
use crate::tally::SharedTally;
use klamm::wire::batch::{Batch, crc_ok};
use klamm::wire::codec::Reader;
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::{ApiKey, FetchResponse};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait without a look at the clock.
const WAIT_MAX: Duration = Duration::from_millis(50);

pub fn consume(options: &Consume) -> Result<Report, Fault> {
    let target = &options.target;
    let mut broker = Broker::bootstrap(target)?;
    let layout = open_topic(&mut broker, target, false)?;
    let ends = if options.to_end || options.repeat { Some(offsets(&layout, LATEST)?) } else { None };
    let starts = match (options.from, &ends) {
        (From::Latest, Some(ends)) => ends.clone(),
        (From::Latest, None) => offsets(&layout, LATEST)?,
        (From::Earliest, _) => offsets(&layout, EARLIEST)?,
    };
    let span = |partition: i32| Span {
        next: starts[&partition],
        end: ends.as_ref().map_or(i64::MAX, |ends| ends[&partition]),
    };
    let mut consumers = connect(&layout, target.connections as usize, &options.fetching, span)?;
    if options.repeat {
        consumers.iter_mut().for_each(|consumer| consumer.positions.repeat());
    }
    let threads = target.threads(consumers.len());
    let watched = [Watched::new(None, threads)];
    let run = Arc::new(Run::begin(target, target.seconds(options.to_end)));
    let (ended, endings) = endings();
    let mut handles = Vec::new();
    for (thread, consumers) in deal(consumers, threads).into_iter().enumerate() {
        let (run, tally) = (run.clone(), watched[0].tallies[thread].clone());
        let check_crc = options.check_crc;
        handles.push(start(&ended, move || {
            let corrupt = tally.clone();
            let look = move |batch: &Batch<'_>, _: u64| {
                if check_crc && !crc_ok(batch.bytes) {
                    corrupt.with(|tally| tally.error(ErrorCode::CorruptMessage.code(), 1));
                }
            };
            Readers::new(run, tally, consumers)?.run(look, Run::goes_on)
        }));
    }
    drop(ended);
    let (report, _) = watch(target, &run, &watched, threads, &endings)?;
    for handle in handles {
        let result = handle.join().expect("a thread of load does not panic");
        result.map_err(|error| Fault::Io("load".to_string(), error))?;
    }
    Ok(report)
}

/// Connections that read disjoint partitions, at most one a partition, from and to where `span` says.
pub fn connect(
    layout: &Layout,
    connections: usize,
    limits: &Fetching,
    span: impl Fn(i32) -> Span,
) -> Result<Vec<Consumer>, Fault> {
    let mut versions = BTreeMap::new();
    let mut consumers = Vec::new();
    for (address, partitions) in layout.share(connections.min(layout.partitions())) {
        let version = match versions.get(&address) {
            Some(&version) => version,
            None => Broker::connect(address)?.versions.common(ApiKey::Fetch)?,
        };
        versions.insert(address, version);
        let spans = partitions.iter().map(|&partition| (partition, span(partition)));
        consumers.push(Consumer {
            asking: Asking::connect(address).map_err(|error| Fault::Io(address.to_string(), error))?,
            version,
            positions: Positions::new(layout.topic.clone(), limits.clone(), spans.collect()),
            alive: true,
        });
    }
    Ok(consumers)
}

/// One connection and what it reads.
pub struct Consumer {
    asking: Asking<()>,
    version: i16,
    positions: Positions,
    alive: bool,
}

impl Consumer {
    fn ask(&mut self, now_ns: u64) -> io::Result<()> {
        let of = (ApiKey::Fetch, self.version);
        let request = self.positions.request();
        let answer_ms = ANSWER_MS + u64::try_from(request.max_wait_ms).unwrap_or(0);
        self.asking.push(of, (now_ns, answer_ms), (), |w| request.encode(w, of.1));
        self.asking.flush().map(drop)
    }
}

/// One thread's connections.
pub struct Readers {
    run: Arc<Run>,
    tally: SharedTally,
    epoll: Epoll,
    consumers: Vec<Consumer>,
}

impl Readers {
    pub fn new(run: Arc<Run>, tally: SharedTally, consumers: Vec<Consumer>) -> io::Result<Self> {
        let epoll = Epoll::new(run.busy_poll)?;
        for (token, consumer) in consumers.iter().enumerate() {
            epoll.add(consumer.asking.stream(), token)?;
        }
        Ok(Readers { run, tally, epoll, consumers })
    }

    /// Reads until all is read or `goes_on` says no. `look` gets every batch, and when it arrived.
    pub fn run(mut self, mut look: impl FnMut(&Batch<'_>, u64), goes_on: impl Fn(&Run, u64) -> bool) -> io::Result<()> {
        let mut events = Vec::new();
        for i in 0..self.consumers.len() {
            self.ask(i);
        }
        while goes_on(&self.run, self.run.clock.now_ns()) && self.consumers.iter().any(|consumer| consumer.alive) {
            self.epoll.wait(WAIT_MAX, &mut events)?;
            let now_ns = self.run.clock.now_ns();
            for i in 0..self.consumers.len() {
                if let Err(error) = self.consumers[i].asking.check(now_ns) {
                    self.lose(i, error);
                }
            }
            for event in &events {
                let consumer = &mut self.consumers[event.token];
                if !consumer.alive {
                    continue;
                }
                if event.readable {
                    match receive(&self.run, &self.tally, consumer, &mut look) {
                        Ok(false) => {}
                        Ok(true) => self.ask(event.token),
                        Err(error) => self.lose(event.token, error),
                    }
                } else if let Err(error) = consumer.asking.flush() {
                    self.lose(event.token, error);
                }
            }
        }
        Ok(())
    }

    fn ask(&mut self, i: usize) {
        let consumer = &mut self.consumers[i];
        if consumer.positions.done() {
            consumer.alive = false;
        } else if let Err(error) = consumer.ask(self.run.clock.now_ns()) {
            self.lose(i, error);
        }
    }

    fn lose(&mut self, i: usize, error: io::Error) {
        self.consumers[i].alive = false;
        let lost = self.consumers[i].asking.give_up().count().max(1) as u64;
        eprintln!("connection lost: {error}");
        self.tally.with(|tally| tally.error(lost_code(&error), lost));
    }
}

/// Takes the answer if it has arrived; gives whether it has.
fn receive(
    run: &Run,
    tally: &SharedTally,
    consumer: &mut Consumer,
    look: &mut impl FnMut(&Batch<'_>, u64),
) -> io::Result<bool> {
    let mut answered = false;
    let Consumer { asking, positions, .. } = consumer;
    asking.receive(|fetch, body| {
        let answer = FetchResponse::decode(&mut Reader::new(body), fetch.version)?;
        let now_ns = run.clock.now_ns();
        let Brought { records, bytes, errors } = positions.absorb(&answer, |_, batch| look(batch, now_ns));
        run.take(records);
        tally.with(|tally| {
            tally.request(now_ns, now_ns.saturating_sub(fetch.sent.0));
            tally.records += records;
            tally.bytes += bytes;
            errors.iter().for_each(|&code| tally.error(code, 1));
        });
        answered = true;
        Ok(())
    })?;
    Ok(answered)
}
