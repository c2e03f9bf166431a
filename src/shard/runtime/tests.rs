//! A coordinator that adds numbers, on a store whose disk does what the test says.

use super::*;
use crate::journal::{self, Journal};
use crate::shard::query::fixture::World;
use crate::shard::store::{DiskOp, Limits};
use crate::types::PartitionId;
use std::convert::Infallible;
use std::fmt;

const TOPIC: &str = "numbers";
const OTHER: PartitionId = PartitionId { topic: Uuid([9; 16]), index: 3 };
const NOW: Now = Now { mono: Time(1_000_000), wall_ms: 1_700_000_000_000 };

#[derive(Debug)]
struct NoSum;

impl fmt::Display for NoSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no sum")
    }
}

#[derive(Clone, Copy)]
enum Request {
    /// Adds to the sum; answered with it when it is durable.
    Add(u8),
    /// Asks other partitions, and answers when all have said something.
    Ask(u32),
    Wake(Time),
}

#[derive(Default)]
struct Sum {
    active: bool,
    decided: Vec<u8>,
    planned: VecDeque<(u64, Vec<u8>)>,
    plans: u64,
    sum: u64,
    offset_end: Offset,
    answers: Vec<String>,
    originated: Vec<Originated<u32>>,
    heard: Vec<(u64, u32, &'static str)>,
    forgetting: bool,
    missing: Vec<&'static str>,
    deadline: Option<Time>,
    ticks: usize,
    openings: usize,
}

impl Coordinator for Sum {
    type Settings = ();
    type Request<'a> = Request;
    type Answer = String;
    type Event = Infallible;
    type AppendId = u64;
    type Checkpoint = Vec<u8>;
    type Ask = u32;
    type AskAnswer = &'static str;
    type Error = NoSum;

    fn new((): &()) -> Sum {
        Sum::default()
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<Offset, NoSum> {
        let (sum, end) = bytes.split_first_chunk::<8>().ok_or(NoSum)?;
        self.sum = u64::from_be_bytes(*sum);
        self.offset_end = Offset::from_be_bytes(end.try_into().map_err(|_| NoSum)?);
        Ok(self.offset_end)
    }

    fn replay(&mut self, offset: Offset, key: &[u8], value: Option<&[u8]>) {
        assert!(!self.active && offset >= self.offset_end && value.is_none());
        self.sum += u64::from(key[0]);
        self.offset_end = offset + 1;
    }

    fn offset_end(&self) -> Offset {
        self.offset_end
    }

    fn loaded(&mut self, _: Now, exists: &dyn Fn(&str) -> bool) -> bool {
        self.missing = ["a", "b"].into_iter().filter(|topic| !exists(topic)).collect();
        self.openings += 1;
        // It takes two turns.
        self.active = self.openings == 2;
        self.active
    }

    fn handle(&mut self, _: Now, elsewhere: Memory, request: Request) {
        match request {
            _ if !self.active => self.answers.push("loading".into()),
            Request::Add(number) => self.decided.push(number),
            Request::Ask(asks) => {
                let asks = (0..asks).map(|ask| (OTHER, ask)).collect();
                self.originated.push(Originated { number: elsewhere.live_bytes as u64, asks });
            }
            Request::Wake(time) => self.deadline = Some(time),
        }
    }

    fn memory(&self) -> Memory {
        Memory { live_bytes: self.sum as usize, durable_bytes: 1 }
    }

    fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    fn tick(&mut self, now: Now) {
        assert!(self.deadline.take().is_some_and(|deadline| deadline <= now.mono));
        self.ticks += 1;
    }

    fn topics_deleted(&mut self, topics: &BTreeSet<Arc<str>>) {
        assert!(self.active && !topics.is_empty());
        self.decided.push(0);
        self.forgetting = true;
    }

    fn is_forgetting(&self) -> bool {
        self.forgetting
    }

    fn plan_append(&mut self, record: &mut ShowRecord<'_>) -> Option<u64> {
        if self.decided.is_empty() {
            return None;
        }
        let numbers = std::mem::take(&mut self.decided);
        numbers.iter().for_each(|&number| record(&[number], None));
        self.plans += 1;
        self.planned.push_back((self.plans, numbers));
        Some(self.plans)
    }

    fn appended(&mut self, _: Now, id: u64, result: Result<Offset, ErrorCode>) {
        let (expected, numbers) = self.planned.pop_front().unwrap();
        assert_eq!(id, expected, "appends are over in their order");
        self.forgetting = false;
        match result {
            Ok(end) => {
                self.offset_end = end;
                self.sum += numbers.iter().map(|&number| u64::from(number)).sum::<u64>();
                self.answers.push(format!("{}", self.sum));
            }
            Err(code) => self.answers.push(code.to_string()),
        }
    }

    fn unload(&mut self) {
        self.answers.push("gone".into());
    }

    fn take_answers(&mut self) -> Vec<String> {
        std::mem::take(&mut self.answers)
    }

    fn take_events(&mut self) -> Vec<Infallible> {
        Vec::new()
    }

    fn take_requests(&mut self) -> Vec<Originated<u32>> {
        std::mem::take(&mut self.originated)
    }

    fn answered(&mut self, _: Now, number: u64, part: u32, answer: &'static str) {
        self.heard.push((number, part, answer));
    }

    fn checkpoint(&self) -> Vec<u8> {
        [self.sum.to_be_bytes(), self.offset_end.to_be_bytes()].concat()
    }

    fn checkpoint_part(&self, _: &mut Vec<u8>, _: usize) -> bool {
        false
    }

    fn checkpoint_finish(checkpoint: Vec<u8>) -> Vec<u8> {
        checkpoint
    }
}

/// A runtime, and the store that it works on.
struct Bench {
    world: World,
    store: Store,
    runtime: Runtime<Sum>,
    ops: Vec<DiskOp>,
    answers: Vec<String>,
    /// Other outputs.
    rest: Vec<Output<Sum>>,
}

impl Bench {
    fn new(partitions: i32) -> Bench {
        let mut world = World::new(&[]);
        world.topic(TOPIC, partitions, &[]);
        world.topic("a", 1, &[]);
        let limits = journal::Limits { file_bytes: 64 << 20, files_max: 4, waiting_bytes_max: 1 << 20 };
        let journal = Journal::new(limits, 0, 1, vec![0, 1, 2, 3], 4);
        let store = Store::new(Limits { memory_bytes: 16 << 20, cores: 1, core: 0 }, journal);
        let runtime = Runtime::new((), None, ShardId(0), 1);
        let mut bench = Bench { world, store, runtime, ops: Vec::new(), answers: Vec::new(), rest: Vec::new() };
        bench.follow();
        bench
    }

    /// The runtime takes over what there is, like one that has just started.
    fn follow(&mut self) {
        let image = self.world.controller.image_decided();
        let rules = image.topic(TOPIC).map(|topic| Arc::new(TopicRules::new(topic, &self.world.node.config, 1 << 20)));
        self.runtime.follow(image, rules);
    }

    fn turn(&mut self) {
        self.turn_at(NOW);
    }

    fn turn_at(&mut self, now: Now) {
        self.runtime.begin_turn(now, &mut self.store);
        loop {
            while self.store.has_advanced() {
                for log in self.store.take_advanced() {
                    self.runtime.advanced(now, &self.store, log);
                }
            }
            if !self.runtime.append(now, &mut self.store) {
                break;
            }
        }
        self.runtime.end_turn(&self.store);
        self.runtime.check();
        self.store.plan(now, &mut self.ops);
        for output in self.runtime.take_output() {
            match output {
                Output::Answer(answer) => self.answers.push(answer),
                output => self.rest.push(output),
            }
        }
    }

    /// The disk does all that it is asked, or fails.
    fn disk(&mut self, ok: bool) {
        for op in std::mem::take(&mut self.ops) {
            let done = op.done(ok);
            self.store.done(NOW, done);
        }
    }

    fn handle(&mut self, request: Request) {
        assert!(self.runtime.handle(NOW, 0, request));
    }

    fn sum(&self, partition: PartitionIndex) -> &Sum {
        &self.runtime.hosts[&partition].coordinator
    }

    /// All coordinators are active.
    fn opened(partitions: i32) -> Bench {
        let mut bench = Bench::new(partitions);
        while bench.runtime.hosts.len() < partitions as usize || bench.runtime.deadline().is_some() {
            bench.turn();
        }
        bench
    }

    fn take_answers(&mut self) -> Vec<String> {
        std::mem::take(&mut self.answers)
    }
}

#[test]
fn what_a_turn_decides_is_one_batch_and_answers_wait_for_it() {
    let mut bench = Bench::opened(1);
    bench.handle(Request::Add(2));
    bench.handle(Request::Add(3));
    bench.turn();
    assert!(bench.take_answers().is_empty(), "nothing is durable");
    let log = bench.store.log(bench.runtime.hosts[&0].log).unwrap();
    assert_eq!((log.end(), log.high_watermark()), (2, 0));
    bench.disk(true);
    bench.turn();
    assert_eq!(bench.take_answers(), ["5"], "one append, of two records");
    assert_eq!(bench.runtime.memory, Memory { live_bytes: 5, durable_bytes: 1 });
}

#[test]
fn what_cannot_be_stored_is_refused() {
    let mut bench = Bench::opened(1);
    bench.handle(Request::Add(2));
    bench.turn();
    bench.disk(false);
    bench.turn();
    assert_eq!(bench.take_answers(), [ErrorCode::KafkaStorageError.to_string()]);
    bench.handle(Request::Add(2));
    bench.turn();
    assert_eq!(bench.take_answers(), [ErrorCode::KafkaStorageError.to_string()], "at once");
}

#[test]
fn many_partitions_are_opened_over_several_turns() {
    let mut bench = Bench::new(OPENED_PER_TURN + 1);
    bench.turn();
    assert!(!bench.runtime.handle(NOW, OPENED_PER_TURN, Request::Add(1)), "nobody is there yet");
    assert_eq!((bench.runtime.hosts.len() as i32, bench.runtime.deadline()), (OPENED_PER_TURN, Some(Time(0))));
    bench.turn();
    assert_eq!(bench.runtime.hosts.len() as i32, OPENED_PER_TURN + 1);
    // The first were asked to become active in each turn until they were.
    assert_eq!((bench.sum(0).openings, bench.sum(OPENED_PER_TURN).openings), (2, 1));
}

/// A runtime that takes over the log of another one.
fn restarted(checkpoint: Option<Vec<u8>>) -> Bench {
    let mut bench = Bench::opened(1);
    for number in [40, 2] {
        bench.handle(Request::Add(number));
        bench.turn();
        bench.disk(true);
        bench.turn();
    }
    bench.answers.clear();
    bench.runtime = Runtime::new((), None, ShardId(0), 1);
    bench.follow();
    bench.turn();
    bench.handle(Request::Add(1));
    bench.turn();
    assert_eq!(bench.take_answers(), ["loading"]);
    let Some(Output::CheckpointRead { log, name, .. }) = bench.rest.pop() else { panic!("no checkpoint is read") };
    assert_eq!(&*name, "numbers-0");
    bench.runtime.checkpoint_read(NOW, &bench.store, log, checkpoint);
    while !bench.sum(0).active {
        assert!(bench.runtime.deadline().is_none_or(|deadline| deadline <= NOW.mono));
        bench.turn();
    }
    bench
}

#[test]
fn a_coordinator_knows_its_checkpoint_and_the_log_behind_it() {
    let sum_and_end = |sum: u64, end: Offset| Some([sum.to_be_bytes(), end.to_be_bytes()].concat());
    let cases = [
        (None, 42),
        (Some(vec![1]), 42),
        (sum_and_end(40, 1), 42),
        // As wrong as it is, it is believed.
        (sum_and_end(100, 2), 100),
        // Ahead of the log.
        (sum_and_end(100, 3), 42),
    ];
    for (checkpoint, expected) in cases {
        let bench = restarted(checkpoint.clone());
        assert_eq!((bench.sum(0).sum, bench.sum(0).offset_end), (expected, 2), "{checkpoint:?}");
        assert_eq!(bench.sum(0).missing, ["b"], "there is no such topic");
    }
}

#[test]
fn names_of_deleted_topics_are_held_back_until_they_are_forgotten() {
    let mut bench = Bench::opened(1);
    bench.runtime.topics_deleted(&BTreeSet::new());
    assert!(!bench.runtime.is_forgetting());
    bench.runtime.topics_deleted(&BTreeSet::from(["a".into()]));
    assert!(bench.runtime.is_forgetting());
    bench.turn();
    assert!(bench.runtime.is_forgetting(), "it is not durable");
    bench.disk(true);
    bench.turn();
    assert!(!bench.runtime.is_forgetting());
}

#[test]
fn topics_that_go_while_a_coordinator_loads_are_forgotten_by_it() {
    let mut bench = Bench::new(1);
    bench.turn();
    assert_eq!(bench.sum(0).openings, 1);
    bench.runtime.topics_deleted(&BTreeSet::from(["a".into()]));
    assert!(bench.runtime.is_forgetting());
    bench.turn();
    assert_eq!((bench.sum(0).missing.as_slice(), bench.runtime.is_forgetting()), (["a", "b"].as_slice(), false));
}

#[test]
fn timers_are_kept_for_each_coordinator() {
    let mut bench = Bench::opened(2);
    let later = |ms| NOW.mono.after_ms(ms);
    assert!(bench.runtime.handle(NOW, 0, Request::Wake(later(20))));
    assert!(bench.runtime.handle(NOW, 1, Request::Wake(later(10))));
    bench.turn();
    assert_eq!(bench.runtime.deadline(), Some(later(10)));
    bench.turn_at(Now { mono: later(10), ..NOW });
    assert_eq!((bench.sum(0).ticks, bench.sum(1).ticks), (0, 1));
    assert_eq!(bench.runtime.deadline(), Some(later(20)));
    bench.turn_at(Now { mono: later(30), ..NOW });
    assert_eq!((bench.sum(0).ticks, bench.runtime.deadline()), (1, None));
}

#[test]
fn a_coordinator_asks_owners_of_partitions_and_hears_each_once() {
    let mut bench = Bench::opened(2);
    bench.handle(Request::Ask(2));
    bench.turn();
    let Some(Output::Originate { request, asks }) = bench.rest.pop() else { panic!("nobody is asked") };
    assert_eq!(asks, [(OTHER, 0), (OTHER, 1)]);
    bench.runtime.answered(NOW, request, 1, "second");
    assert_eq!(bench.sum(0).heard, [(0, 1, "second")]);
    bench.runtime.answered(NOW, request, 0, "first");
    bench.runtime.answered(NOW, request, 0, "again");
    assert_eq!(bench.sum(0).heard, [(0, 1, "second"), (0, 0, "first")], "the request is over");
    bench.turn();
    assert!(bench.runtime.origins.is_empty());
}

#[test]
fn coordinators_go_with_their_topic() {
    let mut bench = Bench::opened(2);
    bench.handle(Request::Ask(1));
    bench.handle(Request::Add(1));
    bench.turn();
    let Some(Output::Originate { request, .. }) = bench.rest.pop() else { panic!("nobody is asked") };
    let log = bench.runtime.hosts[&0].log;
    bench.runtime.follow(bench.world.controller.image_decided(), None);
    bench.runtime.answered(NOW, request, 0, "too late");
    bench.disk(true);
    bench.turn();
    assert_eq!(bench.take_answers(), ["gone", "gone"]);
    assert!(!bench.runtime.handle(NOW, 0, Request::Add(1)) && bench.runtime.topic().is_none());
    bench.runtime.checkpoint_read(NOW, &bench.store, log, None);
    bench.runtime.read_done(NOW, &bench.store, log, None);
    assert_eq!((bench.runtime.memory, bench.runtime.deadline()), (Memory::default(), None));
}

#[test]
fn the_last_checkpoints_are_written_when_the_store_is_drained() {
    let mut bench = Bench::opened(2);
    bench.handle(Request::Add(7));
    bench.turn();
    bench.disk(true);
    bench.turn();
    bench.store.drain_all();
    for _ in 0..20 {
        bench.turn();
        bench.disk(true);
    }
    assert!(bench.store.is_drained() && !bench.runtime.is_saved());
    let Some(Output::CheckpointWrite { log, name, bytes, .. }) = bench.rest.pop() else { panic!("none is written") };
    assert_eq!((&*name, bytes), ("numbers-0", [7u64.to_be_bytes(), 1i64.to_be_bytes()].concat()));
    bench.runtime.checkpoint_written(log);
    assert!(bench.runtime.is_saved() && bench.rest.is_empty(), "the other partition has nothing to save");
}

#[test]
fn a_coordinator_that_loads_makes_no_checkpoint() {
    let mut host = Host::<Sum>::new(&(), LogIndex::default(), Image::default());
    host.saved.tail_bytes = u64::MAX;
    host.load = Load::Checkpoint;
    assert!(!host.is_checkpoint_due());
    host.load = Load::Done;
    assert!(host.is_checkpoint_due());
}
