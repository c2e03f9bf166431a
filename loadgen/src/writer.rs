//! A writer of numbered records: one thread, which rebuilds its connections after any trouble and knows what was acknowledged.

use crate::cluster::Attempts;
use crate::cluster::{Broker, Fault, topic_layout};
use crate::epoll::{Epoll, Event};
use crate::ledger::Stream;
use crate::link::{ANSWER_MS, Asking};
use crate::options::Verify;
use crate::payload::{Draft, Stamp, random};
use crate::producer::wall_ms;
use crate::request::{Template, Topic};
use crate::run::Run;
use crate::schedule::Schedule;
use crate::tally::SharedTally;
use crate::verify::Seal;
use klamm::client::meaning::Meaning;
use klamm::wire::codec::{DecodeError, Reader};
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::{ApiKey, ProduceResponse};
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
}

/// A request that is not acknowledged yet, sent or to be sent again.
struct Pending {
    /// Which of the writer's partitions.
    slot: usize,
    numbers: Range<u64>,
    base_sequence: i32,
    intended_ns: u64,
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
    tally: SharedTally,
    options: Verify,
    schedule: Option<Schedule>,
    partitions: Vec<i32>,
    run_id: u64,
    /// Number of the first partition's stream.
    stream_first: u32,
    streams: Vec<Stream>,
    /// Next sequence of each partition.
    sequences: Vec<i32>,
    identity: Option<(i64, i16)>,
    pending: VecDeque<Pending>,
    draft: Draft,
    batch_records: usize,
    slot_next: usize,
    taken: u64,
    attempts: Attempts,
}

impl Writer {
    pub fn new(
        run: Arc<Run>,
        tally: SharedTally,
        options: &Verify,
        schedule: Option<Schedule>,
        partitions: Vec<i32>,
        run_id: u64,
        stream_first: u32,
    ) -> Self {
        let (records, record_bytes) = (options.writing.batch_records(), options.writing.record_bytes as usize);
        Writer {
            run,
            tally,
            schedule,
            run_id,
            stream_first,
            streams: vec![Stream::default(); partitions.len()],
            sequences: vec![0; partitions.len()],
            partitions,
            identity: None,
            pending: VecDeque::new(),
            draft: Draft::new(records, record_bytes, &mut random()),
            batch_records: records,
            slot_next: 0,
            taken: 0,
            attempts: Attempts::new(options.timeout_seconds),
            options: options.clone(),
        }
    }

    /// Writes until the run is over and everything is settled; fails when the broker stays away too long.
    pub fn run(mut self) -> Result<Written, Fault> {
        let mut interruptions = 0;
        loop {
            match self.session().and_then(|mut session| self.write(&mut session)) {
                Ok(()) => break,
                Err(fault) => {
                    interruptions += 1;
                    self.settle();
                    self.attempts.failed(fault)?;
                }
            }
            if self.pending.is_empty() && !self.run.goes_on(self.run.clock.now_ns()) {
                break;
            }
        }
        Ok(Written { streams: self.streams, interruptions })
    }

    /// Decides about requests whose answers will not come. Those of an idempotent producer are sent again as they are, because the
    /// broker can tell; others stay unknown, and their numbers are not used again.
    fn settle(&mut self) {
        let code = ErrorCode::NetworkException.code();
        self.tally.with(|tally| tally.error(code, 1));
        if self.identity.is_none() {
            self.pending.clear();
            self.sequences.fill(0);
        }
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
            let wait = match self.schedule {
                Some(schedule) if self.pending.len() < self.options.writing.in_flight as usize => {
                    Duration::from_nanos(schedule.intended_ns(self.taken).saturating_sub(now_ns)).min(WAIT_MAX)
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
            let intended_ns = self.schedule.map_or(now_ns, |schedule| schedule.intended_ns(self.taken));
            if intended_ns > now_ns || !self.run.take(self.batch_records as u64, intended_ns) {
                return;
            }
            let slot = self.slot_next;
            self.slot_next = (slot + 1) % self.partitions.len();
            let number = self.taken;
            self.taken += 1;
            let base_sequence = self.sequences[slot];
            self.sequences[slot] = base_sequence.wrapping_add(self.batch_records as i32) & i32::MAX;
            let numbers = self.streams[slot].send(self.batch_records);
            let pending = Pending { slot, numbers, base_sequence, intended_ns, number };
            self.push(session, &pending);
            self.pending.push_back(pending);
        }
    }

    /// Puts a request in the queue of its leader's connection.
    fn push(&mut self, session: &mut Session, pending: &Pending) {
        let (run_id, stream) = (self.run_id, self.stream_first + pending.slot as u32);
        let first = pending.numbers.start;
        self.draft.write_values(|i, value| {
            let number = first + i as u64;
            Seal { run_id, stream, number }.write(value)
        });
        let writing = &self.options.writing;
        let payload = self.draft.payload(writing.compression.into());
        let (link, version) = &mut session.links[session.leaders[pending.slot]];
        let batches = vec![(self.partitions[pending.slot], payload)];
        let plain = Stamp::plain(wall_ms());
        let stamp = self.identity.map_or(plain, |(producer_id, producer_epoch)| Stamp {
            producer_id,
            producer_epoch,
            base_sequence: pending.base_sequence,
            ..plain
        });
        let template = Template::new(*version, writing.acks.number(), &session.topic, batches);
        let (of, times) = ((ApiKey::Produce, *version), (self.run.clock.now_ns(), ANSWER_MS));
        link.push_filled(of, times, pending.number, |frame, id| template.fill(frame, id, |_| stamp));
    }

    fn receive(&mut self, session: &mut Session, index: usize) -> Result<(), Fault> {
        let now_ns = self.run.clock.now_ns();
        let mut answers = Vec::new();
        let result = session.links[index].0.receive(|answered, body| {
            answers.push((answered.what, decode(body, answered.version)?));
            Ok(())
        });
        // Answers that arrived before the connection broke count.
        for (number, code) in answers {
            self.answered(number, code, now_ns)?;
        }
        result.map_err(|error| Fault::Io("connection".to_string(), error))
    }

    fn answered(&mut self, number: u64, code: i16, now_ns: u64) -> Result<(), Fault> {
        let at = self.pending.iter().position(|pending| pending.number == number);
        let at = at.expect("a request is pending until it is answered");
        let meaning = match self.identity {
            Some(_) => Meaning::of_produce(code),
            None => Meaning::of(code),
        };
        if meaning != Meaning::Done {
            self.tally.with(|tally| tally.error(code, 1));
            if !meaning.is_passing() {
                // The broker does not know this producer as it was: what is pending stays unknown, and a new producer goes on.
                self.identity = None;
            }
            return Err(Fault::Kafka("Produce".to_string(), code));
        }
        let pending = self.pending.remove(at).expect("it was found");
        let records = pending.numbers.end - pending.numbers.start;
        let bytes = records * u64::from(self.options.writing.record_bytes);
        self.streams[pending.slot].acknowledge(pending.numbers);
        self.attempts.renew();
        self.tally.with(|tally| {
            tally.request(now_ns, now_ns.saturating_sub(pending.intended_ns));
            tally.records += records;
            tally.bytes += bytes;
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

/// The code of an answer about one partition.
fn decode(body: &[u8], version: i16) -> Result<i16, DecodeError> {
    let answer = ProduceResponse::decode(&mut Reader::new(body), version)?;
    let partition = answer.responses.iter().flat_map(|topic| &topic.partition_responses).next();
    Ok(partition.map_or(ErrorCode::UnknownServerError.code(), |partition| partition.error_code))
}
