//! One thread that writes: keeps its connections full, or on schedule, and counts their answers.

use crate::epoll::Epoll;
use crate::link::lost_code;
use crate::options::{Acks, Writing};
use crate::producer::Producer;
use crate::run::Run;
use crate::schedule::Schedule;
use crate::tally::SharedTally;
use klamm::wire::codec::{DecodeError, Reader};
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::ProduceResponse;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long answers are awaited after the end.
const DRAIN_NS: u64 = 60_000_000_000;
/// Longest wait without a look at the clock.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// How often it is looked whether answers are overdue.
const LOOK_NS: u64 = 100_000_000;
/// Rounds of one connection before the others get a turn.
const ROUNDS_MAX: usize = 16;

/// What a thread came to, in records.
#[derive(Clone, Copy, Default, Debug)]
pub struct Outcome {
    pub written: u64,
    /// Those that were due and could not be sent.
    pub unsent: u64,
}

/// One thread's connections.
pub struct Load {
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
    /// The end has come, and what was due before it may still go.
    closing: bool,
    in_flight: usize,
    acks: bool,
    batch_records: u64,
    batch_bytes: u64,
    partitions_per_request: u64,
    written: u64,
}

impl Load {
    pub fn new(
        run: Arc<Run>,
        tally: SharedTally,
        producers: Vec<Producer>,
        schedule: Option<Schedule>,
        writing: &Writing,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(run.busy_poll)?;
        for (token, producer) in producers.iter().enumerate() {
            epoll.add(producer.asking.stream(), token)?;
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
            closing: false,
            in_flight: writing.in_flight as usize,
            acks: writing.acks != Acks::None,
            batch_records: writing.batch_records() as u64,
            batch_bytes: writing.batch_records() as u64 * u64::from(writing.record_bytes),
            partitions_per_request: writing.partitions_per_request.into(),
            written: 0,
        })
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
                let idle = self.producers.iter().all(|producer| producer.asking.under_way() == 0);
                // Without an end in time, the end of the records is noticed here first.
                let end_ns = *ended_ns.get_or_insert(now_ns.min(self.run.end_ns));
                if idle || now_ns > end_ns + DRAIN_NS {
                    break;
                }
            }
            if look_ns <= now_ns {
                look_ns = now_ns + LOOK_NS;
                (0..self.producers.len()).for_each(|i| self.look(i, now_ns));
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
            let wait = if self.again.is_empty() { self.wait(now_ns, sending) } else { Duration::ZERO };
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

    /// Gives up a connection on which an answer is overdue.
    fn look(&mut self, i: usize, now_ns: u64) {
        if let Err(error) = self.producers[i].asking.check(now_ns) {
            self.lose(i, error);
        }
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

    /// Sends what came due between the last look at the clock and the end, as far as the requests in flight allow.
    fn close(&mut self) {
        self.closing = true;
        (0..self.producers.len()).for_each(|i| self.pump(i));
        self.closing = false;
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
            let sending = self.closing || self.run.goes_on(now_ns);
            let count = self.producers.len() as u64;
            let producer = &mut self.producers[i];
            if !producer.alive {
                return;
            }
            while sending && producer.asking.under_way() < self.in_flight {
                let intended_ns = match self.schedule {
                    Some(schedule) => schedule.intended_ns(producer.taken * count + i as u64),
                    None => now_ns,
                };
                let due = intended_ns <= now_ns && intended_ns < self.run.end_ns;
                if !due || !self.run.take(self.batch_records * self.partitions_per_request) {
                    break;
                }
                producer.push(now_ns, intended_ns);
            }
            let sent = match producer.asking.flush() {
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
            for intended_ns in (0..sent).map_while(|_| producer.asking.unanswered()) {
                tally.request(now_ns, now_ns.saturating_sub(intended_ns));
                tally.records += records * self.partitions_per_request;
                self.written += records * self.partitions_per_request;
                tally.bytes += bytes * self.partitions_per_request;
            }
        });
    }

    fn receive(&mut self, i: usize) {
        let producer = &mut self.producers[i];
        if !producer.alive {
            return;
        }
        let now_ns = self.run.clock.now_ns();
        let result = producer.asking.receive(|answered, body| {
            let codes = decode_codes(&mut Reader::new(body), answered.version)?;
            self.tally.with(|tally| {
                let written = codes.iter().filter(|&&code| code == 0).count() as u64;
                if written > 0 {
                    tally.request(now_ns, now_ns.saturating_sub(answered.what));
                    tally.records += written * self.batch_records;
                    self.written += written * self.batch_records;
                    tally.bytes += written * self.batch_bytes;
                }
                codes.iter().filter(|&&code| code != 0).for_each(|&code| tally.error(code, 1));
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
        let lost = producer.asking.give_up().count().max(1) as u64;
        eprintln!("connection lost: {error}");
        self.tally.with(|tally| tally.error(lost_code(&error), lost));
    }

    fn finish(self) -> Outcome {
        let unanswered: usize = self.producers.iter().map(|producer| producer.asking.under_way()).sum();
        if unanswered > 0 {
            let code = ErrorCode::RequestTimedOut.code();
            self.tally.with(|tally| tally.error(code, unanswered as u64));
        }
        let taken: u64 = self.producers.iter().map(|producer| producer.taken).sum();
        // A request due at the very end is not to be sent.
        let last_ns = self.run.end_ns.saturating_sub(1).min(self.run.clock.now_ns());
        let due = match self.schedule {
            Some(schedule) if self.run.end_ns < u64::MAX => schedule.due(last_ns),
            _ => taken,
        };
        Outcome {
            written: self.written,
            unsent: due.saturating_sub(taken) * self.batch_records * self.partitions_per_request,
        }
    }
}

/// The error code of each partition in an answer.
fn decode_codes(reader: &mut Reader<'_>, version: i16) -> Result<Vec<i16>, DecodeError> {
    let answer = ProduceResponse::decode(reader, version)?;
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    Ok(partitions.map(|partition| partition.error_code).collect())
}
