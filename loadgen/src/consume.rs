//! `loadgen consume`: fetches, one after the other on each connection, as fast as they are answered. What a lost connection was to
//! read, and partitions that move, go on with new connections to whoever leads them then.

use crate::cluster::{Broker, EARLIEST, Fault, LATEST, Layout, Leaders, offsets, open_topic, topic_layout};
use crate::epoll::Epoll;
use crate::fetch::{Brought, Positions, Rest, Span};
use crate::link::{ANSWER_MS, Asking, lost_code};
use crate::live::say;
use crate::options::{Consume, Fetching, From, Target};
use crate::report::Report;
use crate::run::{DividedTally, Run, Watched, deal, endings, start, watch};
use klamm::client::patience::Patience;
use klamm::types::Time;
use klamm::wire::batch::{Batch, crc_ok};
use klamm::wire::codec::Reader;
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::{ApiKey, FetchResponse};
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

/// Longest wait without a look at the clock, and while leaders are looked for.
const WAIT_MAX: Duration = Duration::from_millis(50);
const WAIT_PLACING: Duration = Duration::from_millis(5);
/// Pauses between two attempts to find leaders, and how long nothing may work before a load without a planned end gives up.
const PAUSES_MS: RangeInclusive<u64> = 20..=500;
const GONE_MS: u64 = 60_000;

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
    let watched = [Watched::divided(None, threads)];
    let run = Arc::new(Run::begin(target, target.seconds(options.to_end)));
    let (ended, endings) = endings();
    let mut handles = Vec::new();
    for (thread, consumers) in deal(consumers, threads).into_iter().enumerate() {
        let (run, tally) = (run.clone(), watched[0].divided_tally(&run, thread));
        let (check_crc, found) = (options.check_crc, (target.clone(), options.fetching.clone()));
        handles.push(start(&ended, move || {
            let corrupt = tally.clone();
            let look = move |batch: &Batch<'_>, now_ns: u64| {
                if check_crc && !crc_ok(batch.bytes) {
                    corrupt.at(now_ns).with(|tally| tally.error(ErrorCode::CorruptMessage.code(), 1));
                }
            };
            Readers::new(run, tally, consumers, found)?.run(look, Run::goes_on)
        }));
    }
    drop(ended);
    let (mut report, _) = watch(target, &run, &watched, threads, &endings)?;
    report.latency_name = ("fetch_ms", "fetch, waits included");
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
    let mut speaking = Leaders::new(ApiKey::Fetch);
    let mut consumers = Vec::new();
    for (address, partitions) in layout.share(connections.min(layout.partitions())) {
        let spans = partitions.iter().map(|&partition| (partition, span(partition)));
        let positions = Positions::new(layout.topic.clone(), limits.clone(), spans.collect());
        consumers.push(Consumer::connect(address, positions, &mut speaking)?);
    }
    Ok(consumers)
}

/// Connections that read on, one to each leader of what is left. Waits for answers, so not in a thread that others wait for.
fn place(target: &Target, limits: &Fetching, rest: &Rest) -> Result<Vec<Consumer>, Fault> {
    let mut broker = Broker::bootstrap_beside(target)?;
    let layout = topic_layout(&mut broker, &target.topic, target.partitions)?;
    let mut speaking = Leaders::while_others_go_on(ApiKey::Fetch);
    let mut fault = None;
    let mut consumers = Vec::new();
    for (&address, partitions) in &layout.leaders {
        let mine: Rest = partitions.iter().filter_map(|partition| Some((*partition, *rest.get(partition)?))).collect();
        if !mine.is_empty() {
            let positions = Positions::resume(layout.topic.clone(), limits.clone(), &mine);
            match Consumer::connect(address, positions, &mut speaking) {
                Ok(consumer) => consumers.push(consumer),
                Err(why) => fault = Some(why),
            }
        }
    }
    // What some lead can be read, whoever else is away.
    fault.filter(|_| consumers.is_empty()).map_or(Ok(consumers), Err)
}

/// One connection and what it reads.
pub struct Consumer {
    /// `None` once it is lost, or all is read.
    asking: Option<Asking<()>>,
    version: i16,
    positions: Positions,
}

impl Consumer {
    fn connect(address: SocketAddr, positions: Positions, speaking: &mut Leaders) -> Result<Consumer, Fault> {
        let version = speaking.version(address)?;
        let asking = Asking::connect(address).map_err(|error| Fault::Io(address.to_string(), error))?;
        Ok(Consumer { asking: Some(asking), version, positions })
    }

    fn watch(&self, epoll: &Epoll, token: usize) -> io::Result<()> {
        self.asking.as_ref().map_or(Ok(()), |asking| epoll.add(asking.stream(), token))
    }

    fn ask(&mut self, now_ns: u64) -> io::Result<()> {
        let of = (ApiKey::Fetch, self.version);
        let Some(asking) = &mut self.asking else { return Ok(()) };
        let request = self.positions.request();
        let answer_ms = ANSWER_MS + u64::try_from(request.max_wait_ms).unwrap_or(0);
        asking.push(of, (now_ns, answer_ms), (), |w| request.encode(w, of.1));
        asking.flush().map(drop)
    }
}

/// What no connection reads at the moment.
struct Left {
    rest: Rest,
    retry_ns: u64,
    /// Of what was left when leaders were looked for last.
    found: Option<Receiver<Result<Vec<Consumer>, Fault>>>,
    patience: Patience,
    given_up: bool,
}

/// One thread's connections.
pub struct Readers {
    run: Arc<Run>,
    tally: DividedTally,
    epoll: Epoll,
    consumers: Vec<Consumer>,
    left: Left,
    /// Where leaders are looked for, and how is read there.
    place: (Target, Fetching),
}

impl Readers {
    pub fn new(
        run: Arc<Run>,
        tally: DividedTally,
        consumers: Vec<Consumer>,
        place: (Target, Fetching),
    ) -> io::Result<Self> {
        let epoll = Epoll::new(run.busy_poll)?;
        for (token, consumer) in consumers.iter().enumerate() {
            consumer.watch(&epoll, token)?;
        }
        let patience_ms = if run.end_ns < u64::MAX { u64::MAX } else { GONE_MS };
        let patience = Patience::new(patience_ms, PAUSES_MS);
        let left = Left { rest: Rest::new(), retry_ns: 0, found: None, patience, given_up: false };
        Ok(Readers { run, tally, epoll, consumers, left, place })
    }

    /// Reads until all is read or `goes_on` says no. `look` gets every batch, and when it arrived.
    pub fn run(mut self, mut look: impl FnMut(&Batch<'_>, u64), goes_on: impl Fn(&Run, u64) -> bool) -> io::Result<()> {
        let mut events = Vec::new();
        for i in 0..self.consumers.len() {
            self.ask(i);
        }
        while goes_on(&self.run, self.run.clock.now_ns()) && self.has_work() {
            let wait = if self.left.rest.is_empty() { WAIT_MAX } else { WAIT_PLACING };
            self.epoll.wait(wait, &mut events)?;
            let now_ns = self.run.clock.now_ns();
            for i in 0..self.consumers.len() {
                let asking = self.consumers[i].asking.as_ref();
                if let Some(Err(error)) = asking.map(|asking| asking.check(now_ns)) {
                    self.lose(i, error);
                }
            }
            for event in &events {
                let Consumer { asking: Some(asking), positions, .. } = &mut self.consumers[event.token] else {
                    continue;
                };
                let result = match event.readable {
                    true => receive(&self.run, &self.tally, (asking, positions), &mut look),
                    false => asking.flush().map(|_| false),
                };
                match result {
                    Ok(false) => {}
                    Ok(true) => self.go_on(event.token),
                    Err(error) => self.lose(event.token, error),
                }
            }
            self.find_leaders(now_ns)?;
        }
        Ok(())
    }

    fn has_work(&self) -> bool {
        let waits = !self.left.rest.is_empty() && !self.left.given_up;
        waits || self.left.found.is_some() || self.consumers.iter().any(|consumer| consumer.asking.is_some())
    }

    /// After an answer: asks for more, of what can be read there.
    fn go_on(&mut self, i: usize) {
        let moved = self.consumers[i].positions.leave_moved();
        if moved.is_empty() {
            self.left.patience.renew();
        } else {
            self.leave(moved);
        }
        self.ask(i);
    }

    fn ask(&mut self, i: usize) {
        let consumer = &mut self.consumers[i];
        if consumer.positions.done() {
            consumer.asking = None;
        } else if let Err(error) = consumer.ask(self.run.clock.now_ns()) {
            self.lose(i, error);
        }
    }

    fn lose(&mut self, i: usize, error: io::Error) {
        let now_ns = self.run.clock.now_ns();
        let consumer = &mut self.consumers[i];
        let Some(mut asking) = consumer.asking.take() else { return };
        let lost = asking.give_up().count().max(1) as u64;
        let rest = consumer.positions.leave_all();
        say(format!("connection lost: {error}"));
        self.tally.at(now_ns).with(|tally| {
            tally.error(lost_code(&error), lost);
            tally.lose(error.to_string());
        });
        self.leave(rest);
    }

    /// Partitions are without a connection.
    fn leave(&mut self, rest: Rest) {
        self.left.rest.extend(rest);
        match self.left.patience.failed(Time(self.run.clock.now_ns())) {
            Some(at) => self.left.retry_ns = at.0,
            None => self.left.given_up = true,
        }
    }

    /// Has leaders looked for, for what is without a connection, and takes up the connections to them.
    fn find_leaders(&mut self, now_ns: u64) -> io::Result<()> {
        match self.left.found.as_ref().map(Receiver::try_recv) {
            Some(Err(TryRecvError::Empty)) => return Ok(()),
            Some(Ok(Ok(consumers))) => {
                for consumer in consumers {
                    self.left.rest.retain(|partition, _| !consumer.positions.reads(*partition));
                    consumer.watch(&self.epoll, self.consumers.len())?;
                    self.consumers.push(consumer);
                    self.ask(self.consumers.len() - 1);
                }
                if !self.left.rest.is_empty() {
                    self.leave(Rest::new());
                }
            }
            Some(Ok(Err(fault))) => {
                say(format!("no leader yet: {fault}"));
                self.leave(Rest::new());
            }
            Some(Err(TryRecvError::Disconnected)) | None => {}
        }
        self.left.found = None;
        if !self.left.rest.is_empty() && !self.left.given_up && self.left.retry_ns <= now_ns {
            let (sender, receiver) = channel();
            let ((target, limits), rest) = (self.place.clone(), self.left.rest.clone());
            self.left.found = Some(receiver);
            // The load may have ended when the answer comes, and wants none.
            std::thread::spawn(move || sender.send(place(&target, &limits, &rest)));
        }
        Ok(())
    }
}

/// Takes the answer if it has arrived; gives whether it has.
fn receive(
    run: &Run,
    tally: &DividedTally,
    (asking, positions): (&mut Asking<()>, &mut Positions),
    look: &mut impl FnMut(&Batch<'_>, u64),
) -> io::Result<bool> {
    let mut answered = false;
    asking.receive(|fetch, body| {
        let answer = FetchResponse::decode(&mut Reader::new(body), fetch.version)?;
        let now_ns = run.clock.now_ns();
        let Brought { records, bytes, errors } = positions.absorb(&answer, |_, batch| look(batch, now_ns));
        run.take(records, now_ns);
        tally.at(now_ns).with(|tally| {
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
