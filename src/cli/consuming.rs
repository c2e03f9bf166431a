//! From partitions to standard output, alone or as a member of a group, until there is enough.

use super::client::{Client, Cluster, leader_of, topic};
use super::failure::{Failure, Result};
use super::member::{Begin, Member};
use super::operation::TopicPartition;
use super::operation::offsets::partitions;
use super::pattern::Consumed;
use super::progress::Progress;
use super::reading::{Flow, Place, Reading, Reset};
use crate::shell::{block_signals, wait_for_signal};
use crate::types::{Offset, PartitionIndex};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a broker may hold a request back that it has no records for; a signal is noticed after it.
const WAIT: Duration = Duration::from_millis(250);
const OUTPUT_BYTES: usize = 256 << 10;

/// What is to be consumed.
pub struct Order {
    pub topics: Vec<String>,
    /// Only these; all if empty.
    pub partitions: Vec<PartitionIndex>,
    pub from: Place,
    /// `from` counts only where the group has committed nothing.
    pub group: Option<String>,
    pub commit: bool,
    pub until: Option<Place>,
    /// Waits for what is yet to be written.
    pub follow: bool,
    pub count: Option<u64>,
    /// How long to wait for the next record.
    pub idle: Option<Duration>,
    pub committed_only: bool,
    /// An offset that is not there is moved to the nearest one at the start.
    pub clamp: bool,
    pub reset: Reset,
}

/// Why it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Done,
    /// By a signal.
    Stopped,
    /// No record came for as long as was asked for.
    Idle,
    /// Nobody reads the output any more.
    Closed,
}

/// Consumes; gives the number of records that were written, and why there were no more.
pub fn consume(
    client: &mut Client,
    order: &Order,
    print: impl FnMut(&Consumed<'_>, &mut Vec<u8>) -> Result<()>,
) -> Result<(u64, Ended)> {
    let topics: Vec<&str> = order.topics.iter().map(String::as_str).collect();
    let cluster = client.cluster(Some(&topics))?;
    let all = choose(&cluster, order)?;
    let mut reading = Reading::new(client, cluster);
    reading.committed_only = order.committed_only;
    reading.reset = order.reset;
    if let Some(Place::Time(ms)) = order.until {
        reading.until_ms = Some(ms);
    }
    let stopped = stop_flag();
    let member = order.group.as_ref().map(|group| Member::new(client, group, &order.topics, order.commit));
    let progress = Progress::new(io::stdout().is_terminal());
    let output = Vec::with_capacity(OUTPUT_BYTES * 2);
    let mut consumer = Consumer { order, reading, member, output, print, records: 0, progress };
    if consumer.member.is_none() {
        let bounds = consumer.bounds(client, &all)?;
        consumer.reading.assign(bounds);
    }
    let ended = consumer.run(client, &stopped);
    if let Some(member) = &mut consumer.member {
        let left = member.leave(client);
        return ended.and_then(|ended| left.map(|()| (consumer.records, ended)));
    }
    ended.map(|ended| (consumer.records, ended))
}

/// Set by SIGINT and SIGTERM; a second one ends the program.
fn stop_flag() -> Arc<AtomicBool> {
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = stopped.clone();
    // Without them blocked, the first one ends the program.
    let Ok(set) = block_signals() else { return stopped };
    std::thread::spawn(move || {
        wait_for_signal(&set);
        flag.store(true, Ordering::Release);
        wait_for_signal(&set);
        std::process::exit(130);
    });
    stopped
}

/// The partitions that are asked for.
fn choose(cluster: &Cluster, order: &Order) -> Result<Vec<TopicPartition>> {
    for name in &order.topics {
        let topic = topic(cluster, name)?;
        order.partitions.iter().try_for_each(|index| leader_of(topic, *index).map(drop))?;
    }
    let is_wanted = |place: &TopicPartition| order.partitions.is_empty() || order.partitions.contains(&place.partition);
    Ok(partitions(cluster).into_iter().filter(is_wanted).collect())
}

struct Consumer<'a, P> {
    order: &'a Order,
    reading: Reading,
    member: Option<Member>,
    output: Vec<u8>,
    print: P,
    records: u64,
    progress: Progress,
}

impl<P: FnMut(&Consumed<'_>, &mut Vec<u8>) -> Result<()>> Consumer<'_, P> {
    /// Does what a member of the group has to do, and waits until it has its share.
    fn take_part(&mut self, client: &mut Client) -> Result<()> {
        while let Some(member) = &mut self.member {
            let begin = member.turn(client)?;
            if !begin.is_empty() {
                self.begin(client, begin)?;
            } else if member.is_reading() {
                break;
            } else {
                // Nothing is read that may be another's.
                self.reading.assign(BTreeMap::new());
                member.pause();
            }
        }
        Ok(())
    }

    /// Reads its share and nothing else, and goes on where the group has committed.
    fn begin(&mut self, client: &mut Client, begin: Begin) -> Result<()> {
        let places: Vec<TopicPartition> = begin.iter().map(|(place, _)| place.clone()).collect();
        let mut positions = self.bounds(client, &places)?;
        for (place, committed) in begin {
            if let (Some((next, _)), Some(committed)) = (positions.get_mut(&place), committed) {
                *next = committed;
            }
        }
        self.reading.assign(positions);
        self.tell_positions();
        Ok(())
    }

    /// What has been written to standard output need not be read again by the group.
    fn tell_positions(&mut self) {
        let Some(member) = &mut self.member else { return };
        self.reading.positions().iter().for_each(|(place, next)| member.read(place, *next));
    }

    /// Where each partition begins and ends.
    fn bounds(
        &self,
        client: &mut Client,
        places: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, (Offset, Option<Offset>)>> {
        let Order { from, until, follow, .. } = *self.order;
        let mut starts = self.reading.resolve(client, places, from)?;
        let latest = match follow && !self.order.clamp {
            true => BTreeMap::new(),
            false => self.reading.resolve(client, places, Place::Latest)?,
        };
        if let (Place::Offset(_), true) = (from, self.order.clamp) {
            let earliest = self.reading.resolve(client, places, Place::Earliest)?;
            for (place, start) in &mut starts {
                let (low, high) = (earliest[place], latest[place]);
                *start = (*start).clamp(low, high.max(low));
            }
        }
        let until = match until {
            None | Some(Place::Time(_)) => BTreeMap::new(),
            Some(until) => self.reading.resolve(client, places, until)?,
        };
        let end = |place: &TopicPartition| {
            let latest = latest.get(place).copied().filter(|_| !follow);
            match (latest, until.get(place).copied()) {
                (Some(latest), Some(until)) => Some(latest.min(until)),
                (latest, until) => latest.or(until),
            }
        };
        Ok(starts.into_iter().map(|(place, start)| (place.clone(), (start, end(&place)))).collect())
    }

    fn run(&mut self, client: &mut Client, stopped: &AtomicBool) -> Result<Ended> {
        let mut last = Instant::now();
        while !stopped.load(Ordering::Acquire) {
            self.take_part(client)?;
            if self.order.count == Some(0) || (self.reading.is_done() && !self.waits_for_more()) {
                return Ok(Ended::Done);
            }
            let before = self.records;
            let flow = self.poll(client)?;
            if !self.write()? {
                return Ok(Ended::Closed);
            }
            self.tell_positions();
            if flow == Flow::Stop {
                return Ok(Ended::Done);
            }
            if self.records > before {
                last = Instant::now();
            } else if self.order.idle.is_some_and(|idle| last.elapsed() > idle) {
                return Ok(Ended::Idle);
            }
            let (records, left) = (self.records, self.reading.left());
            self.progress.show(|| match left {
                Some(left) => format!("{records} records, {left} to come"),
                None => format!("{records} records"),
            });
        }
        Ok(Ended::Stopped)
    }

    /// A member that has no partition at the moment may get some.
    fn waits_for_more(&self) -> bool {
        self.order.follow && self.order.until.is_none()
    }

    fn poll(&mut self, client: &mut Client) -> Result<Flow> {
        let Consumer { order, reading, output, print, records, .. } = self;
        let idle = order.idle.unwrap_or(WAIT).max(Duration::from_millis(1));
        if reading.is_done() {
            std::thread::sleep(WAIT.min(idle));
        }
        reading.poll(client, WAIT.min(idle), |record| {
            print(record, output)?;
            *records += 1;
            if order.count.is_some_and(|count| *records >= count) {
                return Ok(Flow::Stop);
            }
            // What does not fit is written before the next request.
            if output.len() >= OUTPUT_BYTES && !write(output)? {
                return Ok(Flow::Stop);
            }
            Ok(Flow::Go)
        })
    }

    fn write(&mut self) -> Result<bool> {
        write(&mut self.output)
    }
}

/// Writes what has gathered; `false` if nobody reads it any more: it stays then.
fn write(output: &mut Vec<u8>) -> Result<bool> {
    if output.is_empty() {
        return Ok(true);
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(output).and_then(|()| stdout.flush()) {
        Ok(()) => {
            output.clear();
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::File { path: "standard output".into(), error }),
    }
}
