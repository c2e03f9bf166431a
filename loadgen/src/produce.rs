//! `loadgen produce`: requests as fast as their answers allow, or on schedule whatever the broker does.

use crate::cluster::{Broker, Fault, Layout, open_topic, resolve};
use crate::epoll::Epoll;
use crate::link::Link;
use crate::options::{Acks, Produce, Writing};
use crate::payload::{Payload, Stamp, random};
use crate::report::Report;
use crate::request::Template;
use crate::run::{Run, Watched, endings, start, watch};
use crate::schedule::Schedule;
use crate::tally::SharedTally;
use klamm::wire::codec::Reader;
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::{ApiKey, ProduceResponse, ResponseHeader};
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Different batches that are prepared, if their bytes allow; more would not stay in a core's cache.
const PAYLOADS_MAX: usize = 16;
const PAYLOADS_BYTES: usize = 1 << 20;
/// Requests in flight that a broker keeps apart for an idempotent producer.
const IDEMPOTENT_IN_FLIGHT_MAX: u32 = 5;
/// How long answers are awaited after the end.
const DRAIN_NS: u64 = 60_000_000_000;
/// Longest wait without a look at the clock.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// Rounds of one connection before the others get a turn.
const ROUNDS_MAX: usize = 16;

pub fn produce(options: &Produce) -> Result<Report, Fault> {
    let Produce { target, writing } = options;
    if writing.idempotent && writing.in_flight > IDEMPOTENT_IN_FLIGHT_MAX {
        return Err(Fault::Other(
            "--idempotent allows at most 5 requests --in-flight".to_string(),
        ));
    }
    if writing.idempotent && writing.acks != Acks::All {
        return Err(Fault::Other("--idempotent needs --acks all".to_string()));
    }
    let mut broker = Broker::connect(resolve(&target.bootstrap)?)?;
    let layout = open_topic(&mut broker, target, true)?;
    let producers = connect(&mut broker, &layout, target.connections as usize, writing)?;
    let threads = target.threads(producers.len());
    let watched = [Watched::new(None, threads)];
    let mut shares: Vec<Vec<Producer>> = (0..threads).map(|_| Vec::new()).collect();
    for (i, producer) in producers.into_iter().enumerate() {
        shares[i % threads].push(producer);
    }
    let run = Arc::new(Run::begin(target));
    let (ended, endings) = endings();
    let mut handles = Vec::new();
    for (thread, producers) in shares.into_iter().enumerate() {
        let (run, tally) = (run.clone(), watched[0].tallies[thread].clone());
        let schedule = schedule(writing, thread, threads);
        let writing = writing.clone();
        handles.push(start(&ended, move || {
            Load::new(run, tally, producers, schedule, &writing)?.run()
        }));
    }
    drop(ended);
    let (mut report, _) = watch(target, &run, &watched, threads, &endings)?;
    let mut unsent = 0;
    for handle in handles {
        unsent += handle
            .join()
            .expect("a thread of load does not panic")
            .map_err(|error| Fault::Io("load".to_string(), error))?;
    }
    if writing.rate.is_some() {
        report.more.push(("records_unsent", json!(unsent)));
    }
    Ok(report)
}

/// The share of a thread in the rate that is asked for, if one is.
pub fn schedule(writing: &Writing, thread: usize, threads: usize) -> Option<Schedule> {
    let records = writing.batch_records() * writing.partitions_per_request as usize;
    let rate = writing.rate? / records as f64;
    Some(Schedule::new(0, rate, thread, threads))
}

/// Makes the connections, each with its requests prepared.
fn connect(
    broker: &mut Broker,
    layout: &Layout,
    connections: usize,
    writing: &Writing,
) -> Result<Vec<Producer>, Fault> {
    let mut random = random();
    let (records, record_bytes) = (writing.batch_records(), writing.record_bytes as usize);
    let count = (PAYLOADS_BYTES / (records * record_bytes).max(1)).clamp(1, PAYLOADS_MAX);
    let payloads: Vec<Payload> = (0..count)
        .map(|_| Payload::random(records, record_bytes, writing.compression.into(), &mut random))
        .collect();
    let mut payloads = payloads.iter().cycle();
    let mut versions: BTreeMap<SocketAddr, i16> = BTreeMap::new();
    let mut producers = Vec::new();
    for (address, partitions) in layout.share(connections) {
        let version = match versions.get(&address) {
            Some(&version) => version,
            None => Broker::connect(address)?.versions.of(ApiKey::Produce)?,
        };
        versions.insert(address, version);
        let identity = writing.idempotent.then(|| broker.producer_id()).transpose()?;
        let link = Link::connect(address).map_err(|error| Fault::Io(address.to_string(), error))?;
        let groups = partitions
            .chunks(writing.partitions_per_request as usize)
            .map(|partitions| {
                let batches = partitions
                    .iter()
                    .map(|&index| (index, payloads.next().expect("endless").clone()));
                Group {
                    template: Template::new(version, writing.acks.number(), &layout.topic, batches.collect()),
                    sequence: 0,
                }
            })
            .collect();
        producers.push(Producer {
            link,
            version,
            groups,
            group_next: 0,
            identity,
            correlation_id: 0,
            waiting: VecDeque::new(),
            taken: 0,
            alive: true,
        });
    }
    Ok(producers)
}

/// Partitions that are written to together.
struct Group {
    template: Template,
    /// Sequence of the next batch of each of them; they advance together.
    sequence: i32,
}

/// A request without its answer.
struct Waiting {
    correlation_id: i32,
    intended_ns: u64,
}

/// One connection and its partitions.
struct Producer {
    link: Link,
    version: i16,
    groups: Vec<Group>,
    group_next: usize,
    /// Id and epoch of an idempotent producer.
    identity: Option<(i64, i16)>,
    correlation_id: i32,
    waiting: VecDeque<Waiting>,
    /// Requests made so far.
    taken: u64,
    alive: bool,
}

impl Producer {
    /// Puts the next request in the queue of the connection.
    fn push(&mut self, intended_ns: u64, batch_records: i32) {
        let groups = self.groups.len();
        let group = &mut self.groups[self.group_next];
        self.group_next = (self.group_next + 1) % groups;
        self.correlation_id = self.correlation_id.wrapping_add(1);
        self.taken += 1;
        let plain = Stamp::plain(wall_ms());
        let stamp = match self.identity {
            None => plain,
            Some((producer_id, producer_epoch)) => Stamp {
                producer_id,
                producer_epoch,
                base_sequence: group.sequence,
                ..plain
            },
        };
        group.sequence = group.sequence.wrapping_add(batch_records) & i32::MAX;
        let mut frame = self.link.outgoing();
        group.template.fill(&mut frame, self.correlation_id, |_| stamp);
        self.link.push(frame);
        self.waiting.push_back(Waiting {
            correlation_id: self.correlation_id,
            intended_ns,
        });
    }
}

/// The time of day that records carry.
pub fn wall_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as i64)
}

/// One thread's connections.
struct Load {
    run: Arc<Run>,
    tally: SharedTally,
    epoll: Epoll,
    producers: Vec<Producer>,
    /// Producers whose connections are.
    alive: usize,
    schedule: Option<Schedule>,
    /// Requests of the schedule whose connections know that they are due.
    announced: u64,
    /// Connections that stopped only to let others have a turn.
    again: Vec<usize>,
    in_flight: usize,
    acks: bool,
    batch_records: u64,
    batch_bytes: u64,
    partitions_per_request: u64,
}

impl Load {
    fn new(
        run: Arc<Run>,
        tally: SharedTally,
        producers: Vec<Producer>,
        schedule: Option<Schedule>,
        writing: &Writing,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        for (token, producer) in producers.iter().enumerate() {
            epoll.add(producer.link.stream(), token)?;
        }
        Ok(Load {
            run,
            tally,
            epoll,
            alive: producers.len(),
            producers,
            schedule,
            announced: 0,
            again: Vec::new(),
            in_flight: writing.in_flight as usize,
            acks: writing.acks != Acks::None,
            batch_records: writing.batch_records() as u64,
            batch_bytes: writing.batch_records() as u64 * u64::from(writing.record_bytes),
            partitions_per_request: writing.partitions_per_request.into(),
        })
    }

    /// Runs to the end; gives the records that were due and could not be sent.
    fn run(mut self) -> io::Result<u64> {
        let mut events = Vec::new();
        let mut ended_ns = None;
        (0..self.producers.len()).for_each(|i| self.pump(i));
        loop {
            let now_ns = self.run.clock.now_ns();
            let sending = self.run.goes_on(now_ns);
            if !sending {
                let idle = self.producers.iter().all(|producer| producer.waiting.is_empty());
                // Without an end in time, the end of the records is noticed here first.
                let end_ns = *ended_ns.get_or_insert(now_ns.min(self.run.end_ns));
                if idle || now_ns > end_ns + DRAIN_NS {
                    break;
                }
            }
            if self.alive == 0 {
                break;
            }
            if sending {
                self.announce(now_ns);
            }
            for i in std::mem::take(&mut self.again) {
                self.pump(i);
            }
            let wait = if self.again.is_empty() {
                self.wait(now_ns, sending)
            } else {
                Duration::ZERO
            };
            self.epoll.wait(wait, &mut events)?;
            for event in &events {
                if event.readable {
                    self.receive(event.token);
                }
                self.pump(event.token);
            }
        }
        Ok(self.finish())
    }

    /// Wakes the connections whose scheduled time has come.
    fn announce(&mut self, now_ns: u64) {
        let Some(schedule) = self.schedule else { return };
        let due = schedule.due(now_ns);
        let count = self.producers.len() as u64;
        // More than one round would wake the same ones again.
        let from = self.announced.max(due.saturating_sub(count));
        self.announced = due;
        (from..due).for_each(|n| self.pump((n % count) as usize));
    }

    fn wait(&self, now_ns: u64, sending: bool) -> Duration {
        match self.schedule {
            Some(schedule) if sending => {
                let next_ns = schedule.intended_ns(self.announced).min(self.run.end_ns);
                Duration::from_nanos(next_ns.saturating_sub(now_ns)).min(WAIT_MAX)
            }
            _ => WAIT_MAX,
        }
    }

    /// Makes what requests a connection may have and writes what its socket takes.
    fn pump(&mut self, i: usize) {
        for _ in 0..ROUNDS_MAX {
            let now_ns = self.run.clock.now_ns();
            let sending = self.run.goes_on(now_ns);
            let count = self.producers.len() as u64;
            let producer = &mut self.producers[i];
            if !producer.alive {
                return;
            }
            while sending && producer.waiting.len() < self.in_flight {
                let intended_ns = match self.schedule {
                    Some(schedule) => schedule.intended_ns(producer.taken * count + i as u64),
                    None => now_ns,
                };
                if intended_ns > now_ns || !self.run.take(self.batch_records * self.partitions_per_request) {
                    break;
                }
                producer.push(intended_ns, self.batch_records as i32);
            }
            let sent = match producer.link.flush() {
                Ok(sent) => sent,
                Err(error) => return self.lose(i, error),
            };
            if self.acks || sent == 0 {
                return;
            }
            self.count_sent(i, sent);
        }
        self.again.push(i);
    }

    /// Without acknowledgements a request is done when the socket has taken it.
    fn count_sent(&mut self, i: usize, sent: usize) {
        let now_ns = self.run.clock.now_ns();
        let (records, bytes) = (self.batch_records, self.batch_bytes);
        let producer = &mut self.producers[i];
        self.tally.with(|tally| {
            for waiting in producer.waiting.drain(..sent) {
                tally.request(now_ns, now_ns.saturating_sub(waiting.intended_ns));
                tally.records += records * self.partitions_per_request;
                tally.bytes += bytes * self.partitions_per_request;
            }
        });
    }

    fn receive(&mut self, i: usize) {
        let producer = &mut self.producers[i];
        if !producer.alive {
            return;
        }
        let (waiting, version) = (&mut producer.waiting, producer.version);
        let now_ns = self.run.clock.now_ns();
        let result = producer.link.receive(|response| {
            let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
            let mut reader = Reader::new(response);
            let (_, header_version) = ApiKey::Produce.header_versions(version);
            let decode = |reader: &mut Reader<'_>| {
                let header = ResponseHeader::decode(reader, header_version)?;
                Ok((header.correlation_id, decode_codes(reader, version)?))
            };
            let (correlation_id, codes) = decode(&mut reader).map_err(|error: klamm::wire::codec::DecodeError| {
                invalid(format!("an answer that cannot be read: {error}"))
            })?;
            let request = waiting
                .pop_front()
                .ok_or_else(|| invalid("an answer to no request".to_string()))?;
            if request.correlation_id != correlation_id {
                return Err(invalid("answers out of order".to_string()));
            }
            self.tally.with(|tally| {
                let written = codes.iter().filter(|&&code| code == 0).count() as u64;
                if written > 0 {
                    tally.request(now_ns, now_ns.saturating_sub(request.intended_ns));
                    tally.records += written * self.batch_records;
                    tally.bytes += written * self.batch_bytes;
                }
                codes
                    .iter()
                    .filter(|&&code| code != 0)
                    .for_each(|&code| tally.error(code, 1));
            });
            Ok(())
        });
        if let Err(error) = result {
            self.lose(i, error);
        }
    }

    /// Gives a connection up, and with it the requests that it had in flight.
    fn lose(&mut self, i: usize, error: io::Error) {
        let producer = &mut self.producers[i];
        producer.alive = false;
        self.alive -= 1;
        let lost = producer.waiting.len().max(1) as u64;
        producer.waiting.clear();
        eprintln!("connection lost: {error}");
        self.tally
            .with(|tally| tally.error(ErrorCode::NetworkException.code(), lost));
    }

    fn finish(self) -> u64 {
        let unanswered: usize = self.producers.iter().map(|producer| producer.waiting.len()).sum();
        if unanswered > 0 {
            let code = ErrorCode::RequestTimedOut.code();
            self.tally.with(|tally| tally.error(code, unanswered as u64));
        }
        let taken: u64 = self.producers.iter().map(|producer| producer.taken).sum();
        let due = self.schedule.map_or(taken, |schedule| {
            schedule.due(self.run.clock.now_ns().min(self.run.end_ns))
        });
        due.saturating_sub(taken) * self.batch_records * self.partitions_per_request
    }
}

/// The error code of each partition in an answer.
fn decode_codes(reader: &mut Reader<'_>, version: i16) -> Result<Vec<i16>, klamm::wire::codec::DecodeError> {
    let answer = ProduceResponse::decode(reader, version)?;
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    Ok(partitions.map(|partition| partition.error_code).collect())
}
