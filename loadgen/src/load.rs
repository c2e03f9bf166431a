//! One thread that writes: keeps its connections full, or on schedule, and counts what became of each request.
//!
//! With a schedule a request is due at its time, whatever the broker does; without one it is due when it is sent. Each request that
//! was due has an outcome: it is answered, or it is censored, and then its latency is at least the time from when it was due to the
//! end of the drain, which is what enters the histogram. A connection that is lost, or whose partitions have moved, finds its
//! leaders again while the others go on. A request is never sent twice.

use crate::backlog::{Looks, PERIOD_NS};
use crate::cluster::Fault;
use crate::epoll::Epoll;
use crate::link::lost_code;
use crate::live::say;
use crate::options::{Acks, Writing};
use crate::producer::{Births, Making, Placed, Producer, Sent, State, place, wall_ms};
use crate::request::decode_codes;
use crate::run::{DividedTally, Run};
use crate::schedule::Schedule;
use crate::shape::Stream;
use crate::tally::Miss;
use klamm::client::meaning::Meaning;
use klamm::types::Time;
use klamm::wire::codec::Reader;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Longest wait without a look at the clock, and while leaders are looked for.
const WAIT_MAX: Duration = Duration::from_millis(100);
const WAIT_PLACING: Duration = Duration::from_millis(5);
/// Rounds of one connection before the others get a turn.
const ROUNDS_MAX: usize = 16;
/// Requests that are censored are told apart by the milliseconds in which they were due.
pub const MS_NS: u64 = 1_000_000;
/// Connections to leaders that one connection of the load may become.
const LANES_MAX: usize = 1 << 16;

/// What a thread came to, in records.
#[derive(Clone, Default, Debug)]
pub struct Outcome {
    pub written: u64,
    /// Those that were due and could not be sent.
    pub unsent: u64,
    /// The same by the milliseconds in which they were due.
    pub unsent_ms: BTreeMap<u64, u64>,
    /// Records without an answer while more were due, of a load on schedule.
    pub backlog: Looks,
}

/// Records of a request that are counted in one place.
struct Part<'a> {
    births: &'a [u64],
    records: u64,
    bytes: u64,
}

/// Leaders that were found, or not, each with the producer that needs them.
type Found = Vec<(usize, Result<Placed, Fault>)>;

/// Where a load on schedule counts its own lag, and the time that the broker takes for what is written.
#[derive(Clone)]
pub struct Own {
    pub lag: DividedTally,
    pub service: DividedTally,
}

/// One thread's connections.
pub struct Load {
    run: Arc<Run>,
    tally: DividedTally,
    /// Of a load on schedule.
    own: Option<Own>,
    epoll: Epoll,
    producers: Vec<Producer>,
    /// Of these, the ones that look for no leaders.
    ready: usize,
    making: Option<Arc<Making>>,
    /// The records of each connection of a load on schedule, else none.
    streams: Vec<Stream>,
    /// Of the request that is being made: when its records were born.
    births: Vec<u64>,
    /// When to look at a connection's schedule: not after its next request is due.
    dues: BinaryHeap<Reverse<(u64, usize)>>,
    /// When the requests were due that a connection has just noticed.
    noticed_ns: Vec<u64>,
    backlog: Looks,
    /// Records in requests without an answer.
    under_way: u64,
    /// The answers that have just come, with the places of their codes among those of all.
    answers: Vec<(Sent, Range<usize>)>,
    codes: Vec<i16>,
    /// Connections that stopped only to let others have a turn.
    again: Vec<usize>,
    /// The end has come, and what was due before it may still go.
    closing: bool,
    found: (Sender<Found>, Receiver<Found>),
    is_placing: bool,
    /// Censored requests, by the milliseconds in which they were due.
    missed: BTreeMap<u64, u64>,
    in_flight: usize,
    acks: bool,
    batch_records: u64,
    /// Records that a request has at most, which without a schedule are those of each.
    request_records: usize,
    written: u64,
}

impl Load {
    pub fn new(
        run: Arc<Run>,
        (tally, own): (DividedTally, Option<Own>),
        producers: Vec<Producer>,
        schedules: Vec<Schedule>,
        writing: &Writing,
    ) -> io::Result<Self> {
        assert!(schedules.is_empty() || schedules.len() == producers.len());
        let request_records = writing.batch_records() * writing.partitions_per_request as usize;
        let stream = |schedule| Stream::new(schedule, request_records, (writing.linger_ms * MS_NS as f64) as u64);
        let streams: Vec<Stream> = schedules.into_iter().map(stream).collect();
        let load = Load {
            tally,
            own,
            epoll: Epoll::new(run.busy_poll)?,
            run,
            making: producers.first().map(Producer::making),
            ready: producers.len(),
            producers,
            dues: streams.iter().enumerate().map(|(i, stream)| Reverse((stream.next_ns(), i))).collect(),
            streams,
            births: Vec::new(),
            noticed_ns: Vec::new(),
            backlog: Looks::new(),
            under_way: 0,
            answers: Vec::new(),
            codes: Vec::new(),
            again: Vec::new(),
            closing: false,
            found: channel(),
            is_placing: false,
            missed: BTreeMap::new(),
            in_flight: writing.in_flight as usize,
            acks: writing.acks != Acks::None,
            batch_records: writing.batch_records() as u64,
            request_records,
            written: 0,
        };
        for (i, producer) in load.producers.iter().enumerate() {
            (0..producer.lanes.len()).try_for_each(|lane| load.watch(i, lane))?;
        }
        Ok(load)
    }

    /// From here on the events of a connection come.
    fn watch(&self, i: usize, lane: usize) -> io::Result<()> {
        assert!(lane < LANES_MAX);
        let asking = self.producers[i].lanes[lane].asking.as_ref();
        asking.map_or(Ok(()), |asking| self.epoll.add(asking.stream(), i * LANES_MAX + lane))
    }

    /// Runs to the end.
    pub fn run(mut self) -> io::Result<Outcome> {
        let mut events = Vec::new();
        let mut ended_ns = None;
        let mut look_ns = 0;
        (0..self.producers.len()).for_each(|i| self.pump(i));
        loop {
            let now_ns = self.run.clock.now_ns();
            let sending = self.run.goes_on(now_ns);
            if !sending {
                if ended_ns.is_none() {
                    self.close();
                }
                let idle = self.producers.iter().all(|producer| producer.under_way() == 0);
                // Without an end in time, the end of the records is noticed here first.
                let end_ns = *ended_ns.get_or_insert(now_ns.min(self.run.end_ns));
                if idle || now_ns > end_ns.saturating_add(self.run.drain_ns) {
                    break;
                }
            }
            if look_ns <= now_ns {
                look_ns = now_ns + PERIOD_NS;
                (0..self.producers.len()).for_each(|i| self.look(i, now_ns));
                self.look_at_backlog(now_ns);
            }
            if sending {
                if !self.find_leaders(now_ns)? {
                    break;
                }
                self.announce(now_ns);
            }
            for i in std::mem::take(&mut self.again) {
                self.pump(i);
            }
            let wait = if self.again.is_empty() { self.wait(now_ns, sending) } else { Duration::ZERO };
            self.epoll.wait(wait, &mut events)?;
            for event in &events {
                let (i, lane) = (event.token / LANES_MAX, event.token % LANES_MAX);
                if event.readable {
                    self.receive(i, lane);
                }
                self.pump(i);
            }
        }
        Ok(self.finish())
    }

    /// Gives up connections on which an answer is overdue.
    fn look(&mut self, i: usize, now_ns: u64) {
        for lane in 0..self.producers[i].lanes.len() {
            let asking = self.producers[i].lanes[lane].asking.as_ref();
            if let Some(Err(error)) = asking.map(|asking| asking.check(now_ns)) {
                self.lose(i, lane, error);
            }
        }
    }

    /// Takes down how many records are due or under way.
    fn look_at_backlog(&mut self, now_ns: u64) {
        if self.streams.is_empty() || !self.run.goes_on(now_ns) || now_ns < self.run.measure_ns {
            return;
        }
        let unmade: u64 = self.streams.iter().map(Stream::due).sum();
        self.backlog.insert((now_ns - self.run.measure_ns) / PERIOD_NS, unmade + self.under_way);
    }

    /// Has the leaders looked for that are to be, and takes up those that were found. False when there is nothing to go on with.
    fn find_leaders(&mut self, now_ns: u64) -> io::Result<bool> {
        if self.ready == self.producers.len() {
            return Ok(self.ready > 0);
        }
        while let Ok(found) = self.found.1.try_recv() {
            self.is_placing = false;
            for (i, placed) in found {
                self.ready += 1;
                match placed {
                    Ok(placed) => {
                        for lane in self.producers[i].install(placed) {
                            self.watch(i, lane)?;
                        }
                        self.pump(i);
                    }
                    Err(fault) => {
                        say(format!("no leader yet: {fault}"));
                        self.producers[i].state = State::Ready;
                        self.trouble(i);
                    }
                }
            }
        }
        let is_due = |state| matches!(state, State::Troubled { retry_ns } if retry_ns <= now_ns);
        if !self.is_placing && self.producers.iter().any(|producer| is_due(producer.state)) {
            let mut troubled: Vec<usize> = (0..self.producers.len()).collect();
            troubled.retain(|&i| is_due(self.producers[i].state));
            troubled.iter().for_each(|&i| self.producers[i].state = State::Placing);
            let needs = troubled.iter().map(|&i| self.producers[i].need()).collect();
            let (making, found) = (self.making.clone().expect("there are producers"), self.found.0.clone());
            self.is_placing = true;
            // The load may have ended when the answer comes, and wants none.
            std::thread::spawn(move || found.send(troubled.into_iter().zip(place(&making, needs)).collect()));
        }
        Ok(self.producers.iter().any(|producer| producer.state != State::GivenUp))
    }

    /// A connection stops until its leaders are found.
    fn trouble(&mut self, i: usize) {
        let now = Time(self.run.clock.now_ns());
        let producer = &mut self.producers[i];
        if producer.state == State::Ready {
            self.ready -= 1;
            let retry = producer.patience.failed(now);
            producer.state = retry.map_or(State::GivenUp, |at| State::Troubled { retry_ns: at.0 });
        }
    }

    /// Wakes the connections whose scheduled time has come.
    fn announce(&mut self, now_ns: u64) {
        while self.next_due_ns() <= now_ns {
            let Reverse((_, i)) = self.dues.pop().expect("it is the next");
            self.pump(i);
            // At the end there are none any more that could be noticed.
            self.dues.push(Reverse((self.streams[i].next_ns().max(now_ns + 1), i)));
        }
    }

    /// When the next request is due that was not noticed to be.
    fn next_due_ns(&mut self) -> u64 {
        while let Some(mut top) = self.dues.peek_mut() {
            let Reverse((at_ns, i)) = *top;
            let due_ns = self.streams[i].next_ns();
            if due_ns <= at_ns {
                return at_ns;
            }
            // The connection has noticed more since.
            *top = Reverse((due_ns, i));
        }
        u64::MAX
    }

    /// Sends what came due between the last look at the clock and the end, as far as the requests in flight allow.
    fn close(&mut self) {
        self.closing = true;
        self.close_streams();
        (0..self.producers.len()).for_each(|i| self.pump(i));
        self.closing = false;
    }

    /// Takes down what has come due; nothing comes due any more.
    fn close_streams(&mut self) {
        let now_ns = self.run.clock.now_ns();
        (0..self.streams.len()).for_each(|i| self.notice(i, now_ns));
        self.count_lag();
        self.streams.iter_mut().for_each(|stream| stream.close(now_ns.min(self.run.end_ns)));
    }

    fn wait(&mut self, now_ns: u64, sending: bool) -> Duration {
        let is_troubled = sending && self.ready < self.producers.len();
        let longest = if is_troubled { WAIT_PLACING } else { WAIT_MAX };
        match sending {
            true => {
                let next_ns = self.next_due_ns().min(self.run.end_ns);
                Duration::from_nanos(next_ns.saturating_sub(now_ns)).min(longest)
            }
            false => longest,
        }
    }

    /// Looks when the records of a connection's next request were born, if one is due.
    fn find_births(&mut self, i: usize, now_ns: u64) -> bool {
        self.births.clear();
        match self.streams.get(i) {
            None => self.births.push(now_ns),
            Some(stream) => stream.births(&mut self.births),
        }
        !self.births.is_empty()
    }

    /// Makes what requests a connection may have and writes what its sockets take.
    fn pump(&mut self, i: usize) {
        let wall_ms = wall_ms();
        for _ in 0..ROUNDS_MAX {
            let now_ns = self.run.clock.now_ns();
            let sending = self.closing || self.run.goes_on(now_ns);
            self.notice(i, now_ns);
            while sending && self.producers[i].may_push(self.in_flight) {
                let is_due = self.find_births(i, now_ns) && self.births[0] < self.run.end_ns;
                let records = if self.streams.is_empty() { self.request_records } else { self.births.len() };
                if !is_due || !self.run.take(records as u64, self.births[0]) {
                    break;
                }
                self.producers[i].push((now_ns, wall_ms), records, &self.births);
                self.under_way += records as u64;
                self.streams.iter_mut().skip(i).take(1).for_each(|stream| stream.make(records));
            }
            let mut sent = 0;
            for lane in 0..self.producers[i].lanes.len() {
                let asking = self.producers[i].lanes[lane].asking.as_mut();
                match asking.map_or(Ok(0), |asking| asking.flush()) {
                    Ok(0) => {}
                    Ok(count) if self.acks => sent += count,
                    Ok(count) => {
                        sent += count;
                        self.count_sent(i, lane, count);
                    }
                    Err(error) => self.lose(i, lane, error),
                }
            }
            self.count_lag();
            if self.acks || sent == 0 {
                return;
            }
        }
        self.again.push(i);
    }

    /// Takes down the requests of a connection that have come due.
    fn notice(&mut self, i: usize, now_ns: u64) {
        let Some(stream) = self.streams.get_mut(i) else { return };
        let last_ns = now_ns.min(self.run.end_ns - 1);
        while stream.next_ns() <= last_ns {
            self.noticed_ns.push(stream.notice());
        }
    }

    /// The lag of those that were noticed: from when each was due to this moment, at which it is written, or has to wait for the
    /// broker.
    fn count_lag(&mut self) {
        let (Some(own), false) = (&self.own, self.noticed_ns.is_empty()) else { return self.noticed_ns.clear() };
        let now_ns = self.run.clock.now_ns();
        for intended_ns in self.noticed_ns.drain(..) {
            let lag_ns = now_ns.saturating_sub(intended_ns);
            own.lag.at(intended_ns).with(|tally| tally.latency.saturating_record(lag_ns));
        }
    }

    /// Without acknowledgements a request is done when the socket has taken it.
    fn count_sent(&mut self, i: usize, lane: usize, sent: usize) {
        let now_ns = self.run.clock.now_ns();
        for _ in 0..sent {
            let asking = self.producers[i].lanes[lane].asking.as_mut();
            let Some(sent) = asking.and_then(|asking| asking.unanswered()) else { return };
            self.count(i, now_ns, sent);
        }
    }

    /// A request is done, and all of it is written.
    fn count(&mut self, i: usize, now_ns: u64, sent: Sent) {
        self.producers[i].acknowledged(&sent);
        self.under_way = self.under_way.saturating_sub(sent.records);
        if let Some(own) = &self.own {
            let service_ns = now_ns.saturating_sub(sent.sent_ns);
            own.service.at(sent.intended_ns()).with(|tally| tally.latency.saturating_record(service_ns));
        }
        self.written += sent.records;
        let is_late = now_ns > self.run.end_ns;
        // It counts where its first record does.
        let mut requests = 1;
        for Part { births, records, bytes } in self.parts(&sent, 0..sent.records) {
            self.tally.at(births[0]).with(|tally| {
                tally.requests += std::mem::take(&mut requests);
                births.iter().for_each(|birth_ns| tally.answer(now_ns, now_ns.saturating_sub(*birth_ns)));
                tally.records += records;
                tally.bytes += bytes;
                if is_late {
                    tally.late_records += records;
                    tally.late_bytes += bytes;
                }
            });
        }
    }

    /// Some records of a request: those that were born in the warm-up, and those that were born after it.
    fn parts<'a>(&self, sent: &'a Sent, of: Range<u64>) -> impl Iterator<Item = Part<'a>> + use<'a> {
        let births = match &sent.births[..] {
            births if births.len() as u64 == sent.records => &births[of.start as usize..of.end as usize],
            births => births,
        };
        let warmup = births.partition_point(|&birth_ns| birth_ns < self.run.measure_ns);
        let (records, bytes, all) = (of.end - of.start, sent.bytes, sent.records);
        let parts = [&births[..warmup], &births[warmup..]].into_iter().filter(|part| !part.is_empty());
        parts.map(move |part| {
            let records = records * part.len() as u64 / births.len() as u64;
            Part { births: part, records, bytes: bytes * records / all }
        })
    }

    fn receive(&mut self, i: usize, lane: usize) {
        let Some(asking) = &mut self.producers[i].lanes[lane].asking else { return };
        let now_ns = self.run.clock.now_ns();
        let (mut answers, mut codes) = (std::mem::take(&mut self.answers), std::mem::take(&mut self.codes));
        let mut unreadable = None;
        let result = asking.receive(|answered, body| {
            match decode_codes(&mut Reader::new(body), answered.version, &mut codes) {
                Ok(of) => answers.push((answered.what, of)),
                Err(error) => {
                    unreadable = Some(answered.what);
                    return Err(error);
                }
            }
            Ok(())
        });
        unreadable.into_iter().for_each(|sent| self.miss(Miss::Lost, sent));
        let mut is_troubled = false;
        for (sent, of) in answers.drain(..) {
            match self.answered(i, now_ns, sent, &codes[of]) {
                true => self.producers[i].patience.renew(),
                false => is_troubled = true,
            }
        }
        codes.clear();
        (self.answers, self.codes) = (answers, codes);
        match result {
            Ok(()) if is_troubled => self.trouble(i),
            Ok(()) => {}
            Err(error) => self.lose(i, lane, error),
        }
    }

    /// Counts an answer; gives whether all of its batches are written.
    fn answered(&mut self, i: usize, now_ns: u64, sent: Sent, codes: &[i16]) -> bool {
        let is_done = |code: &&i16| Meaning::of_produce(**code) == Meaning::Done;
        let written = (codes.iter().filter(is_done).count() as u64).min(sent.batches);
        if written == sent.batches {
            self.count(i, now_ns, sent);
            return true;
        }
        self.under_way = self.under_way.saturating_sub(sent.records);
        for (batch, code) in (0..sent.batches).zip(codes) {
            let first = batch * self.batch_records;
            let of = first..sent.records.min(first + self.batch_records);
            match is_done(&code) {
                false => {
                    self.tally.at(sent.intended_ns()).with(|tally| tally.error(*code, 1));
                    self.miss_some(Miss::Refused, &sent, of);
                }
                true => {
                    self.written += of.end - of.start;
                    for Part { births, records, bytes } in self.parts(&sent, of) {
                        // The request is not done, and so has no latency.
                        self.tally.at(births[0]).with(|tally| {
                            tally.records += records;
                            tally.bytes += bytes;
                        });
                    }
                }
            }
        }
        let answered = sent.records.min(codes.len() as u64 * self.batch_records);
        self.miss_some(Miss::Refused, &sent, answered..sent.records);
        false
    }

    /// A request is censored; each record enters the histogram in the end.
    fn miss(&mut self, miss: Miss, sent: Sent) {
        self.under_way = self.under_way.saturating_sub(sent.records);
        self.miss_some(miss, &sent, 0..sent.records);
    }

    fn miss_some(&mut self, miss: Miss, sent: &Sent, of: Range<u64>) {
        if of.is_empty() {
            return;
        }
        for Part { births, records, .. } in self.parts(sent, of) {
            for birth_ns in births.iter().filter(|birth_ns| **birth_ns >= self.run.measure_ns) {
                *self.missed.entry(birth_ns / MS_NS).or_default() += 1;
            }
            self.tally.at(births[0]).with(|tally| tally.miss(miss, records));
        }
    }

    /// A connection is lost, and with it the requests that it had in flight.
    fn lose(&mut self, i: usize, lane: usize, error: io::Error) {
        let now_ns = self.run.clock.now_ns();
        let lane = &mut self.producers[i].lanes[lane];
        let Some(mut asking) = lane.asking.take() else { return };
        let (address, lost) = (lane.address, asking.give_up().collect::<Vec<Sent>>());
        say(format!("connection to {address} lost: {error}"));
        self.tally.at(now_ns).with(|tally| {
            tally.error(lost_code(&error), lost.len().max(1) as u64);
            tally.lose(error.to_string());
        });
        lost.into_iter().for_each(|sent| self.miss(Miss::Lost, sent));
        self.trouble(i);
    }

    /// Gives an outcome to all that has none yet, and each censored request its latency.
    fn finish(mut self) -> Outcome {
        self.close_streams();
        let end_ns = self.run.clock.now_ns();
        let (mut unsent, mut unsent_ms) = (0, BTreeMap::new());
        for i in 0..self.producers.len() {
            let lanes = self.producers[i].lanes.iter_mut().filter_map(|lane| lane.asking.as_mut());
            let unanswered: Vec<Sent> = lanes.flat_map(|asking| asking.give_up().collect::<Vec<_>>()).collect();
            unanswered.into_iter().for_each(|sent| self.miss(Miss::Unanswered, sent));
            while self.streams.len() > i && self.find_births(i, end_ns) {
                let (births, records) = (self.births.clone(), self.births.len());
                if !self.run.take(records as u64, births[0]) {
                    break;
                }
                self.streams[i].make(records);
                unsent += records as u64;
                births.iter().for_each(|birth_ns| *unsent_ms.entry(birth_ns / MS_NS).or_default() += 1);
                let births = Births::from(&births[..]);
                let sent = Sent { births, sent_ns: end_ns, batches: 0, records: records as u64, bytes: 0, first: 0 };
                self.miss(Miss::Unsent, sent);
            }
        }
        self.tally.at(u64::MAX).with(|tally| {
            for (&due_ms, &requests) in &self.missed {
                tally.latency.saturating_record_n(end_ns.saturating_sub(due_ms * MS_NS), requests);
                tally.last_ns = tally.last_ns.max(end_ns);
            }
        });
        Outcome { written: self.written, unsent, unsent_ms, backlog: self.backlog }
    }
}
