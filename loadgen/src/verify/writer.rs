//! A writer of numbered records: one thread, which rebuilds its connections after any trouble and knows what was acknowledged.

use crate::cluster::Attempts;
use crate::cluster::{Broker, Fault, topic_layout};
use crate::epoll::{Epoll, Event};
use crate::link::{ANSWER_MS, Asking};
use crate::options::Verify;
use crate::producer::wall_ms;
use crate::request::{TIMEOUT_MS, Topic};
use crate::run::{DividedTally, Run};
use crate::schedule::Schedule;
use crate::tally::Miss;
use crate::verify::file::LedgerFile;
use crate::verify::ledger::{Promise, Stream};
use crate::verify::seal::{Seal, Sealer};
use klamm::client::meaning::Meaning;
use klamm::wire::codec::{DecodeError, Reader, Records};
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm::wire::messages::{ApiKey, ProduceRequest, ProduceResponse};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait without a look at the clock.
const WAIT_MAX: Duration = Duration::from_millis(20);

/// What a writer leaves behind.
pub struct Written {
    pub streams: Vec<Stream>,
    /// Times that its connections were made again.
    pub interruptions: u64,
    /// Why it gave up, if it did.
    pub fault: Option<Fault>,
}

/// A request that is not acknowledged yet, sent or to be sent again.
struct Pending {
    /// Which of the writer's partitions.
    slot: usize,
    numbers: Range<u64>,
    base_sequence: i32,
    intended_ns: u64,
    /// The time that its records carry, however often it is sent.
    created_ms: i64,
    /// Tells it from all others of its writer.
    number: u64,
}

/// What belongs to one span of uninterrupted connections.
struct Session {
    topic: Topic,
    epoll: Epoll,
    /// Each leader's connection and the version of Produce that it speaks.
    links: Vec<(Asking<u64>, i16)>,
    /// The connection of each of the writer's partitions.
    leaders: Vec<usize>,
}

pub struct Writer {
    run: Arc<Run>,
    tally: DividedTally,
    options: Verify,
    schedule: Option<Schedule>,
    partitions: Vec<i32>,
    run_id: u64,
    /// Number of the first partition's stream.
    stream_first: u32,
    file: Option<Arc<LedgerFile>>,
    streams: Vec<Stream>,
    /// Next sequence of each partition.
    sequences: Vec<i32>,
    identity: Option<(i64, i16)>,
    pending: VecDeque<Pending>,
    sealer: Sealer,
    batch_records: usize,
    slot_next: usize,
    taken: u64,
    attempts: Attempts,
    /// When the requests were due that have another outcome than an acknowledgement.
    missed: Vec<u64>,
}

impl Writer {
    pub fn new(
        run: Arc<Run>,
        tally: DividedTally,
        options: &Verify,
        schedule: Option<Schedule>,
        partitions: Vec<i32>,
        run_id: u64,
        (stream_first, file): (u32, Option<Arc<LedgerFile>>),
    ) -> Self {
        let (records, record_bytes) = (options.writing.batch_records(), options.writing.record_bytes.min() as usize);
        Writer {
            run,
            tally,
            schedule,
            run_id,
            stream_first,
            file,
            streams: partitions.iter().map(|&partition| Stream::new(partition)).collect(),
            sequences: vec![0; partitions.len()],
            partitions,
            identity: None,
            pending: VecDeque::new(),
            sealer: Sealer::new(records, record_bytes, options.writing.compression.into()),
            batch_records: records,
            slot_next: 0,
            taken: 0,
            missed: Vec::new(),
            attempts: Attempts::new(options.timeout_seconds),
            options: options.clone(),
        }
    }

    /// Writes until the run is over and everything is settled, or until the broker has stayed away too long.
    pub fn run(mut self) -> Written {
        let (mut interruptions, mut given_up) = (0, None);
        loop {
            match self.session().and_then(|mut session| self.write(&mut session)) {
                Ok(()) => break,
                Err(fault) => {
                    interruptions += 1;
                    self.settle();
                    if let Err(fault) = self.attempts.failed(fault) {
                        given_up = Some(fault);
                        break;
                    }
                }
            }
            if self.pending.is_empty() && !self.run.goes_on(self.run.clock.now_ns()) {
                break;
            }
        }
        self.finish();
        Written { streams: self.streams, interruptions, fault: given_up }
    }

    /// Decides about requests whose answers will not come. Those of an idempotent producer are sent again as they are, because the
    /// broker can tell; others stay unknown, and their numbers are not used again.
    fn settle(&mut self) {
        let (code, now_ns) = (ErrorCode::NetworkException.code(), self.run.clock.now_ns());
        self.tally.at(now_ns).with(|tally| tally.error(code, 1));
        if self.identity.is_none() {
            for pending in std::mem::take(&mut self.pending) {
                self.miss(Miss::Lost, pending.intended_ns);
            }
            self.sequences.fill(0);
        }
    }

    /// A request is censored; it enters the histogram in the end.
    fn miss(&mut self, miss: Miss, intended_ns: u64) {
        self.missed.push(intended_ns);
        self.tally.at(intended_ns).with(|tally| tally.miss(miss, self.batch_records as u64));
    }

    /// Gives an outcome to all that was due and has none, and each censored request its latency.
    fn finish(&mut self) {
        let end_ns = self.run.clock.now_ns();
        for pending in std::mem::take(&mut self.pending) {
            self.miss(Miss::Unanswered, pending.intended_ns);
        }
        while let Some(schedule) = &self.schedule {
            let intended_ns = schedule.intended_ns();
            let is_due = intended_ns < self.run.end_ns.min(end_ns);
            if !is_due || !self.run.take(self.batch_records as u64, intended_ns) {
                break;
            }
            self.taken();
            self.miss(Miss::Unsent, intended_ns);
        }
        for &intended_ns in &self.missed {
            self.tally.at(intended_ns).with(|tally| {
                tally.latency.saturating_record(end_ns.saturating_sub(intended_ns));
                tally.last_ns = tally.last_ns.max(end_ns);
            });
        }
    }

    /// Takes the number of the next request.
    fn taken(&mut self) -> u64 {
        if let Some(schedule) = &mut self.schedule {
            schedule.advance();
        }
        self.taken += 1;
        self.taken - 1
    }

    /// Connects to the leaders of this writer's partitions, and sends again what is pending.
    fn session(&mut self) -> Result<Session, Fault> {
        let target = &self.options.target;
        let mut broker = Broker::bootstrap(target)?;
        let layout = topic_layout(&mut broker, &target.topic, target.partitions)?;
        if self.options.writing.idempotent && self.identity.is_none() {
            self.identity = Some(broker.producer_id()?);
        }
        let mut session = Session {
            topic: layout.topic.clone(),
            epoll: Epoll::new(false).map_err(|error| Fault::Io("epoll".to_string(), error))?,
            links: Vec::new(),
            leaders: Vec::new(),
        };
        let mut links: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for partition in &self.partitions {
            let leader = layout.leaders.iter().find(|(_, partitions)| partitions.contains(partition));
            let Some((&address, _)) = leader else {
                return Err(Fault::Other(format!("partition {partition} is gone")));
            };
            let index = match links.get(&address) {
                Some(&index) => index,
                None => session.connect(address)?,
            };
            links.insert(address, index);
            session.leaders.push(index);
        }
        for pending in std::mem::take(&mut self.pending) {
            self.push(&mut session, &pending);
            self.pending.push_back(pending);
        }
        Ok(session)
    }

    /// Writes until the run is over and all is acknowledged, or until the first trouble.
    fn write(&mut self, session: &mut Session) -> Result<(), Fault> {
        let fault = |error| Fault::Io("connection".to_string(), error);
        let mut events: Vec<Event> = Vec::new();
        loop {
            let now_ns = self.run.clock.now_ns();
            let sending = self.run.goes_on(now_ns);
            if !sending && self.pending.is_empty() {
                return Ok(());
            }
            if sending {
                self.fill(session, now_ns);
            }
            for (link, _) in &mut session.links {
                link.check(now_ns).and_then(|()| link.flush()).map_err(fault)?;
            }
            let wait = match &self.schedule {
                Some(schedule) if self.pending.len() < self.options.writing.in_flight as usize => {
                    Duration::from_nanos(schedule.intended_ns().saturating_sub(now_ns)).min(WAIT_MAX)
                }
                _ => WAIT_MAX,
            };
            session.epoll.wait(wait, &mut events).map_err(fault)?;
            for event in &events {
                if event.readable {
                    self.receive(session, event.token)?;
                }
            }
        }
    }

    /// Makes new requests, to the partitions in turn.
    fn fill(&mut self, session: &mut Session, now_ns: u64) {
        while self.pending.len() < self.options.writing.in_flight as usize {
            let intended_ns = self.schedule.as_ref().map_or(now_ns, Schedule::intended_ns);
            if intended_ns > now_ns || !self.run.take(self.batch_records as u64, intended_ns) {
                return;
            }
            let slot = self.slot_next;
            self.slot_next = (slot + 1) % self.partitions.len();
            let number = self.taken();
            let base_sequence = self.sequences[slot];
            self.sequences[slot] = base_sequence.wrapping_add(self.batch_records as i32) & i32::MAX;
            let numbers = self.streams[slot].send(self.batch_records);
            let pending = Pending { slot, numbers, base_sequence, intended_ns, created_ms: wall_ms(), number };
            self.push(session, &pending);
            self.pending.push_back(pending);
        }
    }

    /// Puts a request in the queue of its leader's connection.
    fn push(&mut self, session: &mut Session, pending: &Pending) {
        let (run_id, stream) = (self.run_id, self.stream_first + pending.slot as u32);
        let first = Seal { run_id, stream, number: pending.numbers.start, created_ms: pending.created_ms };
        let producer = self.identity.map(|(id, epoch)| (id, epoch, pending.base_sequence));
        let batch = self.sealer.batch(first, producer);
        let index = self.partitions[pending.slot];
        let request = ProduceRequest {
            transactional_id: None,
            acks: self.options.writing.acks.number(),
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                name: session.topic.name.as_str().into(),
                topic_id: session.topic.id,
                partition_data: vec![PartitionProduceData { index, records: Some(Records::Slice(&batch)) }],
            }],
        };
        let (link, version) = &mut session.links[session.leaders[pending.slot]];
        let (of, times) = ((ApiKey::Produce, *version), (self.run.clock.now_ns(), ANSWER_MS));
        link.push(of, times, pending.number, |w| request.encode(w, of.1));
    }

    fn receive(&mut self, session: &mut Session, index: usize) -> Result<(), Fault> {
        let now_ns = self.run.clock.now_ns();
        let mut answers = Vec::new();
        let result = session.links[index].0.receive(|answered, body| {
            answers.push((answered.what, decode(body, answered.version)?));
            Ok(())
        });
        // Answers that arrived before the connection broke count.
        for (number, answer) in answers {
            self.answered(number, answer, now_ns)?;
        }
        result.map_err(|error| Fault::Io("connection".to_string(), error))
    }

    fn answered(&mut self, number: u64, answer: Option<Answer>, now_ns: u64) -> Result<(), Fault> {
        let at = self.pending.iter().position(|pending| pending.number == number);
        let at = at.expect("a request is pending until it is answered");
        let index = self.partitions[self.pending[at].slot];
        let Some(answer) = answer.filter(|answer| answer.partition == index) else {
            return Err(Fault::Other(format!("an answer to Produce without partition {index}")));
        };
        let code = answer.code;
        let meaning = match self.identity {
            Some(_) => Meaning::of_produce(code),
            None => Meaning::of(code),
        };
        if meaning != Meaning::Done {
            self.tally.at(now_ns).with(|tally| tally.error(code, 1));
            if !meaning.is_passing() {
                // The broker does not know this producer as it was: what is pending stays unknown, and a new producer goes on.
                self.identity = None;
            }
            return Err(Fault::Kafka("Produce".to_string(), code));
        }
        let pending = self.pending.remove(at).expect("it was found");
        let records = pending.numbers.end - pending.numbers.start;
        let bytes = records * u64::from(self.options.writing.record_bytes.min());
        // A broker that only knows that it has the batch does not say where.
        let offset = (code == 0).then_some(answer.base_offset);
        let promise = Promise { offset, append_ms: answer.append_ms };
        if let Some(file) = &self.file {
            file.acknowledge(self.stream_first + pending.slot as u32, &pending.numbers, &promise);
        }
        self.streams[pending.slot].acknowledge(pending.numbers, promise);
        self.attempts.renew();
        self.tally.at(pending.intended_ns).with(|tally| {
            tally.request(now_ns, now_ns.saturating_sub(pending.intended_ns));
            tally.records += records;
            tally.bytes += bytes;
            if now_ns > self.run.end_ns {
                tally.late_records += records;
                tally.late_bytes += bytes;
            }
        });
        Ok(())
    }
}

impl Session {
    fn connect(&mut self, address: SocketAddr) -> Result<usize, Fault> {
        let fault = |error| Fault::Io(address.to_string(), error);
        let version = Broker::connect(address)?.versions.common(ApiKey::Produce)?;
        let link = Asking::connect(address).map_err(fault)?;
        self.epoll.add(link.stream(), self.links.len()).map_err(fault)?;
        self.links.push((link, version));
        Ok(self.links.len() - 1)
    }
}

/// What was answered about a request's one partition.
struct Answer {
    partition: i32,
    code: i16,
    base_offset: i64,
    append_ms: i64,
}

/// `None` if it speaks of no partition.
fn decode(body: &[u8], version: i16) -> Result<Option<Answer>, DecodeError> {
    let answer = ProduceResponse::decode(&mut Reader::new(body), version)?;
    let partition = answer.responses.iter().flat_map(|topic| &topic.partition_responses).next();
    Ok(partition.map(|partition| Answer {
        partition: partition.index,
        code: partition.error_code,
        base_offset: partition.base_offset,
        append_ms: partition.log_append_time_ms,
    }))
}
