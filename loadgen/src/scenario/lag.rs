//! The lag of a group, looked at from outside: what its topic has behind what it has committed.

use crate::cluster::{Broker, EARLIEST, Fault, LATEST, Layout, offsets, topic_layout};
use crate::options::{From, LoadCommand, Target};
use klamm::client::partition::TopicPartition;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often it is looked at, and how soon it is noticed that the group is gone.
const PERIOD: Duration = Duration::from_secs(1);
const NAP: Duration = Duration::from_millis(20);
/// How long an answer may take before a look has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is tried to look before a group begins.
const START_LOOKS: usize = 20;
const START_PAUSE: Duration = Duration::from_millis(100);

type Offsets = BTreeMap<i32, i64>;

/// One group while it reads.
pub struct Observed {
    group: String,
    target: Target,
    from: From,
    /// When it began: where it reads from what it has no position of, and what there was to read.
    start: Option<(Offsets, Offsets)>,
    connection: Option<(Broker, Layout)>,
}

/// What was seen of a group.
#[derive(Clone, Debug)]
pub struct Lag {
    group: String,
    topic: String,
    /// Records that were there when it began, if they could be counted.
    backlog: Option<u64>,
    /// When it began, and when all of the backlog was committed, in seconds of the run.
    begin_seconds: f64,
    drained_seconds: Option<f64>,
    /// At seconds of the run; nothing where it could not be seen.
    series: Vec<(f64, Option<u64>)>,
}

impl Observed {
    /// The groups of a load that read.
    pub fn of(command: &LoadCommand) -> Vec<Observed> {
        let LoadCommand::Group(options) = command else { return Vec::new() };
        if !options.read && options.writing.rate.is_none() {
            return Vec::new();
        }
        let observed = |group| Observed {
            group,
            target: options.target.clone(),
            from: options.from,
            start: None,
            connection: None,
        };
        options.names().into_iter().map(observed).collect()
    }

    /// Looks at what there is to read before the group begins. A coordinator may need a moment to be one.
    pub fn start(mut self) -> Observed {
        for _ in 0..START_LOOKS {
            self.start = self.look_at_start().ok();
            if self.start.is_some() {
                break;
            }
            self.connection = None;
            sleep(START_PAUSE);
        }
        self
    }

    fn look_at_start(&mut self) -> Result<(Offsets, Offsets), Fault> {
        let (_, layout) = self.connected()?;
        let ends = offsets(layout, LATEST)?;
        let starts = if self.from == From::Latest { ends.clone() } else { offsets(&self.connected()?.1, EARLIEST)? };
        let committed = self.committed()?;
        let begins = starts.iter().map(|(partition, start)| (*partition, *committed.get(partition).unwrap_or(start)));
        Ok((begins.collect(), ends))
    }

    fn connected(&mut self) -> Result<&mut (Broker, Layout), Fault> {
        if self.connection.is_none() {
            let mut broker = Broker::bootstrap_within(&self.target, PATIENCE)?;
            broker.wait_for(PATIENCE);
            let layout = topic_layout(&mut broker, &self.target.topic, self.target.partitions)?;
            self.connection = Some((broker, layout));
        }
        Ok(self.connection.as_mut().expect("it was just made"))
    }

    /// The positions of the group; partitions without one are not in it.
    fn committed(&mut self) -> Result<Offsets, Fault> {
        let group = self.group.clone();
        let (broker, layout) = self.connected()?;
        let topic = &layout.topic.name;
        let of = |&partition: &i32| TopicPartition { topic: topic.clone(), partition };
        let partitions: Vec<TopicPartition> = layout.leaders.values().flatten().map(of).collect();
        let address = broker.coordinator_at_once(&group)?;
        let committed = Broker::connect_within(address, PATIENCE)?.committed(&group, &partitions)?;
        Ok(committed.into_iter().filter(|(_, next)| *next >= 0).map(|(at, next)| (at.partition, next)).collect())
    }

    /// How far the group and its topic are, or why that cannot be seen.
    fn look(&mut self) -> Result<(Offsets, Offsets), Fault> {
        // Positions first: a lag may be too great by what is committed meanwhile, and never too small.
        let committed = self.committed()?;
        let ends = offsets(&self.connected()?.1, LATEST)?;
        Ok((committed, ends))
    }

    /// Looks until the group is gone.
    pub fn watch(mut self, begin: Instant, over: &AtomicBool) -> Lag {
        let backlog = self.start.as_ref().map(|(begins, ends)| behind(begins, begins, ends));
        let mut lag = Lag {
            group: self.group.clone(),
            topic: self.target.topic.clone(),
            backlog,
            begin_seconds: begin.elapsed().as_secs_f64(),
            drained_seconds: None,
            series: Vec::new(),
        };
        let mut next = Instant::now();
        while !over.load(Ordering::SeqCst) {
            if Instant::now() < next {
                sleep(NAP);
                continue;
            }
            next = Instant::now() + PERIOD;
            let seen = self.look();
            let seconds = begin.elapsed().as_secs_f64();
            if seen.is_err() {
                self.connection = None;
            }
            lag.take(seconds, self.start.as_ref(), seen.ok());
        }
        lag
    }
}

/// Records between what is committed, or where is begun without that, and the ends.
fn behind(committed: &Offsets, begins: &Offsets, ends: &Offsets) -> u64 {
    let of = |(partition, end): (&i32, &i64)| {
        let begin = begins.get(partition).copied().unwrap_or(0);
        u64::try_from(end - committed.get(partition).copied().unwrap_or(begin)).unwrap_or(0)
    };
    ends.iter().map(of).sum()
}

impl Lag {
    /// One look.
    fn take(&mut self, seconds: f64, start: Option<&(Offsets, Offsets)>, seen: Option<(Offsets, Offsets)>) {
        let none = Offsets::new();
        let (begins, backlog) = start.map_or((&none, &none), |(begins, ends)| (begins, ends));
        let lag = seen.as_ref().map(|(committed, ends)| behind(committed, begins, ends));
        self.series.push((seconds, lag));
        if let Some((committed, _)) = seen
            && self.drained_seconds.is_none()
            && self.backlog.is_some_and(|backlog| backlog > 0)
            && behind(&committed, begins, backlog) == 0
        {
            self.drained_seconds = Some(seconds);
        }
    }

    /// Why it is not what it seems.
    pub fn doubt(&self) -> Option<String> {
        let unseen = self.series.iter().filter(|(_, lag)| lag.is_none()).count();
        let all = self.series.len();
        if self.backlog.is_none() {
            return Some(format!("group {}: its backlog could not be seen", self.group));
        }
        (unseen > 0 || all == 0)
            .then(|| format!("group {}: its lag could not be seen at {unseen} of {all} looks", self.group))
    }

    fn max(&self) -> Option<u64> {
        self.series.iter().filter_map(|(_, lag)| *lag).max()
    }

    fn last(&self) -> Option<u64> {
        self.series.last().and_then(|(_, lag)| *lag)
    }

    /// From its begin until the backlog was committed.
    fn drain_seconds(&self) -> Option<f64> {
        self.drained_seconds.map(|drained| drained - self.begin_seconds)
    }

    pub fn json(&self) -> Value {
        json!({
            "group": self.group,
            "topic": self.topic,
            "backlog": self.backlog,
            "drain_seconds": self.drain_seconds(),
            "max": self.max(),
            "last": self.last(),
            "series": self.series.iter().map(|(seconds, lag)| json!([seconds, lag])).collect::<Vec<_>>(),
        })
    }

    pub fn text(&self) -> String {
        let number = |lag: Option<u64>| lag.map_or("unknown".to_string(), |lag| lag.to_string());
        let drained = match (self.backlog, self.drain_seconds()) {
            (Some(0), _) => "no backlog".to_string(),
            (backlog, Some(seconds)) => format!("backlog {} drained in {seconds:.1} s", number(backlog)),
            (backlog, None) => format!("backlog {} not drained", number(backlog)),
        };
        let series: Vec<String> =
            self.series.iter().map(|(seconds, lag)| format!("{seconds:.0}:{}", number(*lag))).collect();
        let (max, last) = (number(self.max()), number(self.last()));
        let head = format!("== lag of {} on {}\n", self.group, self.topic);
        head + &format!("{:<22}{drained}, max {max}, last {last}\n{:<22}{}\n", "lag", "at seconds", series.join("  "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(backlog: u64) -> Lag {
        Lag {
            group: "g".to_string(),
            topic: "t".to_string(),
            backlog: Some(backlog),
            begin_seconds: 10.0,
            drained_seconds: None,
            series: Vec::new(),
        }
    }

    #[test]
    fn a_backlog_is_drained_when_all_of_it_is_committed() {
        let of = |first: i64, second: i64| Offsets::from([(0, first), (1, second)]);
        let start = (of(100, 0), of(150, 20));
        assert_eq!(behind(&Offsets::new(), &start.0, &start.1), 70);
        let mut lag = lag(70);
        // Nothing is committed, then one partition, then both of what there was, while more came.
        for (seconds, committed, ends, expected) in [
            (10.5, Offsets::new(), of(160, 20), 80),
            (11.5, Offsets::from([(0, 160)]), of(160, 30), 30),
            (12.5, of(160, 20), of(170, 40), 30),
            (13.5, of(170, 40), of(170, 40), 0),
        ] {
            lag.take(seconds, Some(&start), Some((committed, ends)));
            assert_eq!(lag.last(), Some(expected), "{seconds}");
        }
        assert_eq!((lag.drain_seconds(), lag.max(), lag.doubt()), (Some(2.5), Some(80), None));
        assert!(lag.text().contains("backlog 70 drained in 2.5 s, max 80, last 0"), "{}", lag.text());
    }

    #[test]
    fn what_could_not_be_seen_is_said() {
        assert!(Lag { backlog: None, ..lag(0) }.doubt().unwrap().contains("backlog"));
        let mut lag = lag(5);
        assert!(lag.doubt().is_some(), "nobody looked");
        lag.take(11.0, None, None);
        let start = (Offsets::from([(0, 0)]), Offsets::from([(0, 5)]));
        lag.take(12.0, Some(&start), Some((Offsets::new(), Offsets::from([(0, 9)]))));
        assert!(lag.doubt().unwrap().contains("1 of 2 looks"));
        assert_eq!(lag.json()["series"], json!([[11.0, null], [12.0, 9]]));
        assert!(lag.text().contains("not drained"), "{}", lag.text());
    }
}
