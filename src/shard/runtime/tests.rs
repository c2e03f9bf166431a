//! A coordinator that adds numbers, on a store whose disk does what the test says.

use super::*;
use crate::journal::{self, Journal};
use crate::shard::message::{Acks, Message, Origin};
use crate::shard::node::Node;
use crate::shard::query::fixture::World;
use crate::shard::store::{DiskOp, Limits};
use crate::shard::view::View;
use crate::shard::{Input, Shard, port};
use crate::types::PartitionId;
use std::convert::Infallible;
use std::fmt;

const TOPIC: &str = "numbers";
/// An answer that a coordinator waits for longer is asked for again.
const PATIENCE_MS: u64 = 500;
const NOW: Now = Now { mono: Time(1_000_000), wall_ms: 1_700_000_000_000 };

#[derive(Debug)]
struct NoSum;

impl fmt::Display for NoSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no sum")
    }
}

#[derive(Clone)]
enum Request {
    /// Adds to the sum; answered with it when it is durable.
    Add(u8),
    /// Writes a record into each of other partitions; answered when it is there in all of them.
    Mark(Vec<PartitionId>),
    Wake(Time),
}

/// What is written into other partitions.
struct Marking {
    number: u64,
    partitions: Vec<PartitionId>,
    /// Those that have not answered.
    missing: BTreeSet<u32>,
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
    originated: Vec<Originated>,
    marking: Option<Marking>,
    marks: u64,
    heard: Vec<(u64, u32, String)>,
    forgetting: bool,
    missing: Vec<&'static str>,
    deadline: Option<Time>,
    ticks: usize,
    openings: usize,
    unloads: usize,
    elsewhere: Memory,
}

impl Sum {
    /// Asks the partitions' owners, and asks again those who do not answer in time.
    fn mark(&mut self, now: Now, partitions: Vec<PartitionId>) {
        self.marks += 1;
        let number = self.marks;
        let append = |&partition: &PartitionId| {
            let batch = BytesMut::from(&BatchBuilder::new(0).record(now.wall_ms, None, Some(b"mark")).build()[..]);
            let info = check::info(&batch).expect("it was just made");
            (partition, Op::Append { batch, info, acks: Acks::All })
        };
        self.originated.push(Originated::Ask { number, asks: partitions.iter().map(append).collect() });
        let missing = (0..partitions.len() as u32).collect();
        self.marking = Some(Marking { number, partitions, missing });
        self.deadline = Some(now.mono.after_ms(PATIENCE_MS));
    }
}

impl Coordinator for Sum {
    type Settings = ();
    type Request<'a> = Request;
    type Answer = String;
    type Event = Infallible;
    type AppendId = u64;
    type Checkpoint = Vec<u8>;
    type Restoring = Vec<u8>;
    type Error = NoSum;

    fn new((): &()) -> Sum {
        Sum::default()
    }

    fn restore_begin(bytes: Vec<u8>) -> Result<(Vec<u8>, Offset), NoSum> {
        let end = bytes.last_chunk::<8>().ok_or(NoSum)?;
        let offset_end = Offset::from_be_bytes(*end);
        Ok((bytes, offset_end))
    }

    fn restore_some(&mut self, bytes: &mut Vec<u8>, _: usize) -> Result<bool, NoSum> {
        // It takes a turn for each number.
        self.offset_end = Offset::from_be_bytes(*bytes.last_chunk().expect("it was there"));
        let Some(sum) = bytes.first_chunk::<8>().filter(|_| bytes.len() == 16) else { return Err(NoSum) };
        let is_over = self.sum == u64::from_be_bytes(*sum);
        self.sum = u64::from_be_bytes(*sum);
        Ok(is_over)
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

    fn handle(&mut self, now: Now, elsewhere: Memory, request: Request) {
        match request {
            _ if !self.active => self.answers.push("loading".into()),
            Request::Add(number) => self.decided.push(number),
            Request::Mark(partitions) => {
                self.elsewhere = elsewhere;
                self.mark(now, partitions);
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
        if let Some(Marking { number, partitions, missing }) = self.marking.take() {
            self.originated.push(Originated::Forget { number });
            self.mark(now, missing.into_iter().map(|part| partitions[part as usize]).collect());
        }
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

    fn unload(&mut self) -> bool {
        // It takes two turns.
        self.unloads += 1;
        self.answers.push("gone".into());
        self.unloads == 2
    }

    fn take_answers(&mut self) -> Vec<String> {
        std::mem::take(&mut self.answers)
    }

    fn take_events(&mut self) -> Vec<Infallible> {
        Vec::new()
    }

    fn take_originated(&mut self) -> Vec<Originated> {
        std::mem::take(&mut self.originated)
    }

    fn answered(&mut self, _: Now, number: u64, part: u32, answer: Answer) {
        let marking = self.marking.as_mut().expect("nothing else is asked");
        assert!(marking.number == number && marking.missing.contains(&part), "each part is answered once");
        self.heard.push((number, part, format!("{answer:?}")));
        if matches!(answer, Answer::Appended { .. }) {
            marking.missing.remove(&part);
        }
        if marking.missing.is_empty() {
            (self.marking, self.deadline) = (None, None);
            self.answers.push("marked".into());
        }
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
            self.store.done(NOW, op.done(ok));
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
    bench.runtime.checkpoint_read(&bench.store, log, checkpoint);
    while !bench.sum(0).active {
        assert!(bench.runtime.deadline().is_none_or(|deadline| deadline <= NOW.mono));
        bench.handle(Request::Add(1));
        bench.turn();
        assert_eq!(bench.take_answers(), ["loading"], "whatever becomes of the checkpoint in this turn");
    }
    bench
}

#[test]
fn a_coordinator_knows_its_checkpoint_and_the_log_behind_it() {
    let sum_and_end = |sum: u64, end: Offset| Some([sum.to_be_bytes(), end.to_be_bytes()].concat());
    let cases = [
        (None, 42),
        (Some(vec![1]), 42),
        // Harmed behind its head.
        (Some(vec![0; 24]), 42),
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
fn a_large_batch_is_replayed_over_several_turns() {
    const RECORDS: usize = 3 * load::REPLAYED_PER_TURN;
    let mut bench = Bench::opened(1);
    (0..RECORDS).for_each(|_| bench.handle(Request::Add(1)));
    bench.turn();
    bench.disk(true);
    bench.turn();
    bench.runtime = Runtime::new((), None, ShardId(0), 1);
    bench.follow();
    bench.turn();
    let Some(Output::CheckpointRead { log, .. }) = bench.rest.pop() else { panic!("no checkpoint is read") };
    bench.runtime.checkpoint_read(&bench.store, log, None);
    let mut sums = Vec::new();
    while !bench.sum(0).active {
        bench.turn();
        sums.push(bench.sum(0).sum as usize);
    }
    assert!(sums.len() > 5 && sums.windows(2).all(|sums| sums[1] - sums[0] <= load::REPLAYED_PER_TURN), "{sums:?}");
    assert_eq!(sums.last(), Some(&RECORDS));
}

#[test]
fn appends_that_are_over_together_are_told_over_several_turns() {
    let mut bench = Bench::opened(1);
    for _ in 0..3 * SETTLED_PER_TURN {
        bench.handle(Request::Add(1));
        bench.turn();
    }
    let mut told = Vec::new();
    while told.iter().sum::<usize>() < 3 * SETTLED_PER_TURN {
        bench.disk(true);
        bench.turn();
        told.push(bench.take_answers().len());
        assert!(told.len() < 20, "{told:?}");
    }
    // What was left from the turn before, and what has become durable since.
    assert!(told.len() > 2 && told.iter().all(|told| *told <= 2 * SETTLED_PER_TURN), "{told:?}");
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

/// The request that a coordinator has made of owners of partitions, if there is one.
fn asked(bench: &mut Bench) -> Option<(OriginId, Vec<(PartitionId, Op)>)> {
    match bench.rest.pop()? {
        Output::Originate { request, asks } => Some((request, asks)),
        _ => panic!("something else is wanted"),
    }
}

fn partitions(topic: Uuid, indexes: &[i32]) -> Vec<PartitionId> {
    indexes.iter().map(|&index| PartitionId { topic, index }).collect()
}

const APPENDED: Answer = Answer::Appended { offset: 0, log_start: 0 };

#[test]
fn a_coordinator_asks_owners_of_partitions_and_hears_each_once() {
    let mut bench = Bench::opened(2);
    let others = partitions(Uuid([9; 16]), &[3, 4]);
    bench.handle(Request::Mark(others.clone()));
    bench.turn();
    let (request, asks) = asked(&mut bench).expect("they are asked");
    assert_eq!(asks.iter().map(|(partition, _)| *partition).collect::<Vec<_>>(), others);
    bench.runtime.answered(NOW, request, 1, APPENDED);
    bench.runtime.answered(NOW, request, 1, APPENDED);
    bench.runtime.answered(NOW, request, 2, APPENDED);
    bench.turn();
    assert!(bench.take_answers().is_empty(), "one is missing");
    bench.runtime.answered(NOW, request, 0, APPENDED);
    bench.runtime.answered(NOW, request, 0, APPENDED);
    bench.turn();
    assert_eq!(bench.take_answers(), ["marked"]);
    let heard: Vec<(u64, u32)> = bench.sum(0).heard.iter().map(|(number, part, _)| (*number, *part)).collect();
    assert_eq!(heard, [(1, 1), (1, 0)]);
    assert_eq!((bench.sum(0).elsewhere, bench.runtime.deadline()), (Memory { live_bytes: 0, durable_bytes: 1 }, None));
}

#[test]
fn a_coordinator_decides_when_to_ask_again() {
    let mut bench = Bench::opened(1);
    bench.handle(Request::Mark(partitions(Uuid([9; 16]), &[3, 4])));
    bench.turn();
    let (first, _) = asked(&mut bench).expect("they are asked");
    bench.runtime.answered(NOW, first, 0, APPENDED);
    let late = Now { mono: NOW.mono.after_ms(PATIENCE_MS), ..NOW };
    bench.turn();
    assert_eq!(bench.runtime.deadline(), Some(late.mono));
    bench.turn_at(late);
    let (second, asks) = asked(&mut bench).expect("who has not answered is asked again");
    assert_eq!((asks.len(), asks[0].0.index), (1, 4));
    bench.runtime.answered(late, first, 1, APPENDED);
    bench.turn_at(late);
    assert!(bench.take_answers().is_empty(), "nobody waits for that answer any more");
    bench.runtime.answered(late, second, 0, APPENDED);
    bench.turn_at(late);
    assert_eq!(bench.take_answers(), ["marked"]);
}

/// A shard that owns partitions which a coordinator of another shard asks.
struct Elsewhere {
    shard: Shard,
    messages: Vec<Message>,
}

const HERE: ShardId = ShardId(0);
const THERE: ShardId = ShardId(1);

impl Elsewhere {
    fn new(world: &World) -> (Elsewhere, View) {
        let node = Arc::new(Node { shards: 2, ..world.node.clone() });
        let limits = journal::Limits { file_bytes: 64 << 20, files_max: 4, waiting_bytes_max: 1 << 20 };
        let store = Store::new(
            Limits { memory_bytes: 16 << 20, cores: 2, core: THERE.0 },
            Journal::new(limits, 0, 1, vec![0, 1, 2, 3], 4),
        );
        let (image, config) = (world.controller.image_decided().clone(), node.config.clone());
        let view = View::new(HERE, node.clone(), image.clone(), config.clone(), 1 << 20, crate::shard::api::versions);
        let shard = Shard::new(THERE, node, image, config, store, 7, None);
        (Elsewhere { shard, messages: Vec::new() }, view)
    }

    /// One turn, and all that the disk is asked; what the shard tells the coordinator's.
    fn turn(&mut self) -> Vec<Message> {
        for message in std::mem::take(&mut self.messages) {
            self.shard.step(NOW, Input::Message { from: HERE, message });
        }
        let mut told = Vec::new();
        for _ in 0..4 {
            self.shard.end_turn(NOW);
            for output in self.shard.take_output() {
                match output {
                    port::Output::Disk(op) => {
                        self.shard.step(NOW, Input::DiskDone(op.done(true)));
                    }
                    port::Output::Mesh { to: HERE, message } => told.push(message),
                    _ => {}
                }
            }
        }
        told
    }
}

#[test]
fn a_coordinator_writes_into_partitions_of_another_shard() {
    let mut bench = Bench::opened(1);
    let topic = bench.world.topic("marked", 16, &[]);
    let (mut elsewhere, mut view) = Elsewhere::new(&bench.world);
    let mut marked = partitions(topic, &(0..16).collect::<Vec<i32>>());
    marked.retain(|partition| view.owner(*partition) == THERE);
    assert!(marked.len() > 2);
    // There is no such partition.
    let wanted = [&marked[..], &partitions(topic, &[16])].concat();
    bench.handle(Request::Mark(wanted.clone()));
    bench.turn();
    let (request, asks) = asked(&mut bench).expect("they are asked");
    let Scattered { messages, absent } = scatter(&mut view, request, asks);
    assert_eq!(messages.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [THERE]);
    elsewhere.messages.extend(messages.into_iter().map(|(_, message)| message));
    for (part, answer) in absent {
        bench.runtime.answered(NOW, request, part, answer);
    }
    let mut answered = 0;
    for message in elsewhere.turn() {
        let Message::Answers { origin: Origin::Coordinator(to), answers } = message else { continue };
        assert_eq!(to, request);
        answered += answers.len();
        answers.into_iter().for_each(|(part, answer)| bench.runtime.answered(NOW, to, part, answer));
    }
    bench.turn();
    assert_eq!(answered, marked.len());
    let heard = &bench.sum(0).heard;
    assert!(heard[0].2.contains("UnknownTopicOrPartition"), "{heard:?}");
    assert!(heard[1..].iter().all(|(_, _, answer)| answer.starts_with("Appended")), "{heard:?}");
    let ends =
        elsewhere.shard.store().logs().filter(|(_, log)| log.id().topic == topic).map(|(_, log)| log.high_watermark());
    assert_eq!(ends.collect::<Vec<_>>(), vec![1; marked.len()]);
    assert!(bench.take_answers().is_empty(), "one is missing, and the coordinator is still going to ask again");
    let late = Now { mono: NOW.mono.after_ms(PATIENCE_MS), ..NOW };
    bench.turn_at(late);
    let (_, asks) = asked(&mut bench).expect("the one that is missing is asked again");
    assert_eq!(asks.iter().map(|(partition, _)| *partition).collect::<Vec<_>>(), wanted[marked.len()..]);
}

/// Answers that come to a shard where nobody has asked are dropped.
#[test]
fn an_answer_that_nobody_waits_for_does_no_harm() {
    let (mut elsewhere, _) = Elsewhere::new(&Bench::opened(1).world);
    let answers = vec![(0, APPENDED)];
    elsewhere.messages.push(Message::Answers { origin: Origin::Coordinator(OriginId(5)), answers });
    assert!(!elsewhere.turn().iter().any(|message| matches!(message, Message::Answers { .. })));
}

#[test]
fn coordinators_go_with_their_topic() {
    let mut bench = Bench::opened(2);
    bench.handle(Request::Mark(partitions(Uuid([9; 16]), &[3])));
    bench.handle(Request::Add(1));
    bench.turn();
    let (request, _) = asked(&mut bench).expect("it is asked");
    let log = bench.runtime.hosts[&0].log;
    bench.runtime.follow(bench.world.controller.image_decided(), None);
    bench.runtime.answered(NOW, request, 0, APPENDED);
    bench.disk(true);
    for answers in [1, 2, 1] {
        assert_eq!(bench.runtime.deadline(), Some(Time(0)));
        bench.turn();
        assert_eq!(bench.take_answers(), vec!["gone"; answers]);
    }
    assert!(!bench.runtime.handle(NOW, 0, Request::Add(1)) && bench.runtime.topic().is_none());
    bench.runtime.checkpoint_read(&bench.store, log, None);
    bench.runtime.read_done(NOW, log, None);
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
