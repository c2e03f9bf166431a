//! Requests that are right to the letter, composed of what is extreme, against the running broker: entries of an array up to a
//! million times, strings and numbers at their limits, several requests that only together do harm, and restarts in between.
//! The broker stays alive, answers others, keeps to the memory that README allows, and has after a restart what it had
//! before.
//!
//! `KLAMM_FUZZ=COUNT` has a third as many requests composed; `KLAMM_FUZZ_SEED=SEED` says where to begin, to repeat a failure. A
//! life of the broker begins with an empty directory at every 2000th seed, so what a failure names repeats all that led to
//! it.

use crate::batches::batch;
use crate::client::{Client, Produce, fetch_once, read_frame};
use crate::compose::frame;
use crate::fuzz::number;
use crate::fuzz_stored::{Stored, exchange, stored, topics};
use crate::fuzz_values::{Chooser, Known, TOPICS, remember};
use crate::memory::{MEMORY, REQUEST, allowed, peak};
use crate::process::{Broker, cores};
use crate::sample::{Message, Random, messages};
use klamm::wire::codec::{DecodeError, Reader};
use klamm::wire::frame::{Head, request_frame};
use klamm::wire::messages::*;
use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, Instant};

const COUNT_DEFAULT: u64 = 4_500;
/// Composed requests are dearer than mutated ones, so there are so many times fewer.
const DEARER: u64 = 3;
/// Seeds of one life of a broker, which begins with an empty directory and is restarted in the middle.
const LIFE: u64 = 2000;
/// After so many cases the broker must still serve a client that behaves.
const ROUND: u64 = 25;
/// After so many rounds topics are deleted that are too many.
const ROUNDS_KEPT: u64 = 10;
const PARTITIONS_KEPT: i32 = 2000;
/// Correlation id of the request behind each case.
const LAST: i32 = 0x7e57_1a57;
/// How long an answer is waited for that may never come: to a request that may be meant to wait, to any other below 64 KiB,
/// and to a larger one.
const PATIENCE_WAITING: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_millis(20);
const PATIENCE_LARGE: Duration = Duration::from_secs(5);
const LARGE_BYTES: usize = 64 << 10;
/// Connections that wait for an answer, and are left to wait.
const WAITING_MAX: usize = 8;
const GROUP_MEMORY: usize = 16 << 20;

/// Requests that do together what none does alone.
const CHAINS: [&[ApiKey]; 16] = {
    use ApiKey::*;
    [
        &[IncrementalAlterConfigs, IncrementalAlterConfigs, DescribeConfigs],
        &[AlterConfigs, IncrementalAlterConfigs, DescribeConfigs, ListConfigResources],
        &[JoinGroup, JoinGroup, ListGroups, DescribeGroups],
        &[JoinGroup, SyncGroup, Heartbeat, OffsetCommit, DescribeGroups],
        &[JoinGroup, SyncGroup, LeaveGroup, DeleteGroups, ListGroups],
        &[OffsetCommit, OffsetFetch, OffsetDelete, OffsetFetch],
        &[OffsetCommit, DeleteGroups, OffsetCommit, OffsetFetch],
        &[FindCoordinator, JoinGroup, JoinGroup, SyncGroup, SyncGroup],
        &[CreateTopics, DeleteTopics, CreateTopics, Produce, Fetch],
        &[CreateTopics, CreatePartitions, DescribeTopicPartitions, Metadata, DescribeLogDirs],
        &[CreateTopics, OffsetCommit, DeleteTopics, OffsetFetch],
        &[InitProducerId, Produce, Produce, DescribeProducers],
        &[Produce, DeleteRecords, ListOffsets, Fetch],
        &[Produce, Produce, Fetch, Fetch, OffsetForLeaderEpoch],
        &[CreateTopics, AlterPartitionReassignments, ElectLeaders, ListPartitionReassignments],
        &[Fetch, Fetch, Fetch, DeleteTopics, Fetch],
    ]
};

macro_rules! decoders {
    ($($api:ident $request:ident $response:ident;)*) => {
        /// Whether a body is a response of this API, and nothing besides.
        fn decode(api: ApiKey, version: i16, body: &mut Reader<'_>) -> Result<bool, DecodeError> {
            match api {
                $(ApiKey::$api => { $response::decode(body, version)?; })*
            }
            Ok(body.remaining() == 0)
        }
    };
}
klamm::for_each_api!(decoders);

/// What becomes of a case, or of the connection that it came on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fate {
    Answered,
    Closed,
    /// Somebody waits.
    Open,
}

/// A request that was sent.
struct Sent {
    api: ApiKey,
    version: i16,
    correlation: i32,
    frame: Vec<u8>,
}

/// What has been seen so far.
#[derive(Default)]
struct Tally {
    requests: u64,
    answered: BTreeMap<&'static str, u64>,
    fates: BTreeMap<Fate, u64>,
    /// What took longest to be answered: time, seed and requests.
    slowest: Vec<(Duration, u64, String)>,
    /// The longest turns by cause, in milliseconds.
    turns: BTreeMap<String, u64>,
    peak: u64,
    restarts: u64,
}

impl Tally {
    fn took(&mut self, time: Duration, seed: u64, what: impl FnOnce() -> String) {
        if self.slowest.len() < 8 || self.slowest.last().is_some_and(|(slow, ..)| *slow < time) {
            self.slowest.push((time, seed, what()));
            self.slowest.sort_by_key(|slow| std::cmp::Reverse(slow.0));
            self.slowest.truncate(8);
        }
    }

    /// Reads `core 0: 3 turns with a Fetch request took more than 5 ms, the longest 9 ms`.
    fn turns(&mut self, log: &str) {
        for line in log.lines() {
            let parts = line
                .split_once(" turns with ")
                .and_then(|(_, rest)| rest.split_once(" took more than 5 ms, the longest "));
            let Some((cause, ms)) = parts else { continue };
            let ms: u64 = ms.trim_end_matches(" ms").parse().expect("milliseconds");
            let longest = self.turns.entry(cause.to_string()).or_default();
            *longest = ms.max(*longest);
        }
    }

    fn print(&self) {
        eprintln!(
            "{} requests, {:?}, {} restarts, at most {} MiB",
            self.requests,
            self.fates,
            self.restarts,
            self.peak >> 20
        );
        eprintln!("answered: {:?}", self.answered);
        self.turns.iter().for_each(|(cause, ms)| eprintln!("longest turn with {cause}: {ms} ms"));
        self.slowest.iter().for_each(|(time, seed, what)| eprintln!("{} ms: seed {seed}: {what}", time.as_millis()));
    }
}

/// Says how a failure is repeated.
struct Place {
    life: u64,
    seed: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Place { life, seed } = *self;
            eprintln!(
                "at seed {seed}: KLAMM_FUZZ_SEED={life} KLAMM_FUZZ={} repeats it",
                5 * DEARER * (seed - life + ROUND)
            );
        }
    }
}

#[test]
fn composed_requests_do_no_harm() {
    let (first, count) = (number("KLAMM_FUZZ_SEED", 0), number("KLAMM_FUZZ", COUNT_DEFAULT) / DEARER);
    let mut tally = Tally::default();
    let mut life = first;
    while tally.requests < count {
        tally = live(life, count, tally);
        life += LIFE;
        eprintln!("seeds to {life}, {} requests, {} MiB", tally.requests, tally.peak >> 20);
    }
    tally.print();
    let served = tally.answered.len();
    assert!(served > 35 || count < COUNT_DEFAULT / DEARER, "only {served} APIs have answered: {:?}", tally.answered);
    let [answered, others] = [&[Fate::Answered][..], &[Fate::Closed, Fate::Open]]
        .map(|of| of.iter().filter_map(|fate| tally.fates.get(fate)).sum::<u64>());
    assert!(4 * answered > others, "much is answered: {:?}", tally.fates);
}

/// One life of a broker, from its first seed.
fn live(first: u64, count: u64, tally: Tally) -> Tally {
    let dir = tempfile::tempdir().unwrap();
    let mut fuzzer = Fuzzer::start(dir.path(), first, tally);
    let mut place = Place { life: first, seed: first };
    for seed in first..first + LIFE {
        place.seed = seed;
        fuzzer.case(seed);
        let cases = seed - first + 1;
        if cases.is_multiple_of(ROUND) {
            fuzzer.look(cases / ROUND);
        }
        let over = fuzzer.tally.requests >= count || cases == LIFE;
        if over || cases == LIFE / 2 {
            // Each life has one kind end and one that is none.
            let kindly = over == (first / LIFE).is_multiple_of(2);
            fuzzer = fuzzer.restart(dir.path(), kindly);
        }
        if over {
            break;
        }
    }
    fuzzer.tally
}

struct Fuzzer {
    life: u64,
    broker: Broker,
    declared: BTreeMap<ApiKey, (Message, i16, i16)>,
    known: Known,
    witness: Client,
    spare: Vec<Client>,
    waiting: VecDeque<Client>,
    stalls: usize,
    tally: Tally,
}

impl Fuzzer {
    fn start(dir: &Path, life: u64, tally: Tally) -> Fuzzer {
        let broker = start(dir, life);
        let mut witness = Client::connect(broker.address);
        witness.create("witness", 2, &[("max.message.bytes", "1000000"), ("message.timestamp.type", "CreateTime")]);
        Fuzzer::of(broker, witness, life, tally)
    }

    fn of(broker: Broker, mut witness: Client, life: u64, tally: Tally) -> Fuzzer {
        let served = exchange(&mut witness, 0, &ApiVersionsRequest::default(), |answer| {
            answer
                .api_keys
                .iter()
                .map(|api| (api.api_key, (api.min_version, api.max_version)))
                .collect::<BTreeMap<_, _>>()
        });
        let message = |message: Message| {
            let api = ApiKey::from_i16(message.key?)?;
            let (min, max) = *served.get(&message.key?)?;
            let (min, max) = (min.max(message.valid.from), max);
            message.name.ends_with("Request").then_some((api, (message, min, max)))
        };
        let declared = messages().into_iter().filter_map(message).collect();
        let (spare, waiting) = (Vec::new(), VecDeque::new());
        Fuzzer { life, broker, declared, known: Known::default(), witness, spare, waiting, stalls: 0, tally }
    }

    /// The requests of one seed.
    fn case(&mut self, seed: u64) {
        let mut random = Random(seed);
        let apis = self.apis(&mut random);
        let how = random.below(4);
        let mut sent = Vec::new();
        let mut known = std::mem::take(&mut self.known);
        let begun = Instant::now();
        let mut bytes = 0;
        // All at once on one connection, or one after the other on one or two.
        for (number, api) in apis.iter().enumerate() {
            let mut chooser = Chooser::new(&mut random, &known);
            chooser.begin();
            let (message, min, max) = &self.declared[api];
            let version = min + chooser.random.below((max - min + 1) as usize) as i16;
            let correlation = number as i32;
            let client_id = if chooser.random.below(100) == 0 { "é".repeat(16_000) } else { "fuzz".into() };
            let frame = frame(message, version, correlation, &client_id, &mut chooser);
            bytes += frame.len();
            sent.push(Sent { api: *api, version, correlation, frame });
            if how > 0 || number + 1 == apis.len() {
                self.offer(std::mem::take(&mut sent), if how == 3 { number % 2 } else { 0 }, &mut known);
            }
        }
        self.known = known;
        self.tally.requests += apis.len() as u64;
        let names = || format!("{:?}, {bytes} bytes", apis.iter().map(|api| api.name()).collect::<Vec<_>>());
        self.tally.took(begun.elapsed(), seed, names);
    }

    fn apis(&self, random: &mut Random) -> Vec<ApiKey> {
        let all: Vec<ApiKey> = self.declared.keys().copied().collect();
        let mut one = || all[random.below(all.len())];
        let (a, b) = (one(), one());
        match random.below(10) {
            0..4 => vec![a],
            4 => vec![a; 2 + random.below(4)],
            5 => vec![a, b],
            _ => CHAINS[random.below(CHAINS.len())].to_vec(),
        }
    }

    /// Sends requests and behind them one whose answer says that they are dealt with.
    fn offer(&mut self, sent: Vec<Sent>, connection: usize, known: &mut Known) {
        while self.spare.len() <= connection {
            self.spare.push(Client::connect(self.broker.address));
        }
        let mut client = self.spare.swap_remove(connection);
        let large = sent.iter().map(|sent| sent.frame.len()).sum::<usize>() > LARGE_BYTES;
        let waits = |sent: &Sent| [ApiKey::Fetch, ApiKey::JoinGroup, ApiKey::SyncGroup].contains(&sent.api);
        let patience = match large {
            true => PATIENCE_LARGE,
            false if sent.iter().any(waits) => PATIENCE_WAITING,
            false => PATIENCE,
        };
        client.stream.set_read_timeout(Some(patience)).unwrap();
        client.stream.set_write_timeout(Some(PATIENCE_LARGE)).unwrap();
        let last = request_frame(ApiKey::ApiVersions, 0, LAST, None, |w| ApiVersionsRequest::default().encode(w, 0));
        let frames: Vec<&[u8]> = sent.iter().map(|sent| &*sent.frame).collect();
        let fate = match client.stream.write_all(&[&frames.concat(), &last.concat()[..]].concat()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Fate::Open,
            Err(_) => Fate::Closed,
            Ok(()) => loop {
                match read_frame(&mut client.stream) {
                    Ok(Some(answer)) if answer.starts_with(&LAST.to_be_bytes()) => break Fate::Answered,
                    Ok(Some(answer)) => self.answered(&answer, &sent, known),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break Fate::Open,
                    Ok(None) | Err(_) => break Fate::Closed,
                }
            },
        };
        *self.tally.fates.entry(fate).or_default() += 1;
        match fate {
            Fate::Answered => self.spare.push(client),
            Fate::Closed => {}
            Fate::Open => {
                self.waiting.push_back(client);
                self.waiting.drain(..self.waiting.len().saturating_sub(WAITING_MAX));
            }
        }
    }

    /// Looks at an answer, and remembers what it gives out.
    fn answered(&mut self, answer: &[u8], sent: &[Sent], known: &mut Known) {
        let correlation = i32::from_be_bytes(*answer.first_chunk().expect("a correlation id"));
        let of = sent.iter().find(|sent| sent.correlation == correlation).expect("an answer to what was asked");
        let Sent { api, version, frame, .. } = of;
        let mut reader = Reader::new(answer);
        ResponseHeader::decode(&mut reader, api.header_versions(*version).1).expect("a header");
        let body = &answer[answer.len() - reader.remaining()..];
        let whole = decode(*api, *version, &mut Reader::new(body));
        assert_eq!(whole, Ok(true), "an answer to {} {version}", api.name());
        *self.tally.answered.entry(api.name()).or_default() += 1;
        let (r, version) = (&mut Reader::new(body), *version);
        match api {
            ApiKey::JoinGroup => {
                let answer = JoinGroupResponse::decode(r, version).expect("it was decoded");
                let head = Head::decode(&frame[4..]).expect("a head");
                let request = JoinGroupRequest::decode(&mut Reader::new(&frame[4 + head.body_start..]), version);
                let group = request.expect("the broker has answered it").group_id.to_string();
                if answer.member_id.len() < 100 {
                    remember(&mut known.members, (group, answer.member_id.to_string(), answer.generation_id));
                }
            }
            ApiKey::InitProducerId => {
                let answer = InitProducerIdResponse::decode(r, version).expect("it was decoded");
                remember(&mut known.producers, (answer.producer_id, answer.producer_epoch));
            }
            ApiKey::Fetch => {
                let answer = FetchResponse::decode(r, version).expect("it was decoded");
                remember(&mut known.sessions, answer.session_id);
            }
            ApiKey::CreateTopics => {
                let answer = CreateTopicsResponse::decode(r, version).expect("it was decoded");
                let ids = answer.topics.iter().take(3).map(|topic| topic.topic_id.0);
                ids.for_each(|id| remember(&mut known.topic_ids, id));
            }
            _ => {}
        }
    }

    /// Whether the broker does what it should, after a round.
    fn look(&mut self, round: u64) {
        self.broker.assert_alive();
        let partition = (round % 2) as i32;
        let offset = Produce::to("witness", partition, batch(1)).write(&mut self.witness);
        assert_eq!(fetch_once(&mut self.witness, "witness", partition, offset, 1000).0, 0);
        self.look_at_memory();
        if round.is_multiple_of(ROUNDS_KEPT) {
            self.delete_surplus();
        }
    }

    fn look_at_memory(&mut self) {
        let cores = cores(2).split(',').count();
        let allowed = allowed(cores) + (cores * GROUP_MEMORY) as u64;
        let peak = peak(&self.broker);
        self.tally.peak = self.tally.peak.max(peak);
        assert!(peak < allowed, "{} MiB were used, {} are allowed", peak >> 20, allowed >> 20);
        let log = self.broker.log();
        let stalls: Vec<&str> = log.lines().filter(|line| line.contains("nobody was served")).collect();
        stalls[self.stalls..].iter().for_each(|line| eprintln!("life {}: {line}", self.life));
        self.stalls = stalls.len();
    }

    /// Deletes topics with names of their own, once they have many partitions.
    fn delete_surplus(&mut self) {
        let there = topics(&mut self.witness);
        if there.values().map(|(_, partitions)| partitions).sum::<i32>() < PARTITIONS_KEPT {
            return;
        }
        let usual = |name: &str| name == "witness" || TOPICS.contains(&name);
        let names: Vec<&String> = there.keys().filter(|name| !usual(name)).collect();
        for some in names.chunks(1000) {
            let topic_names = some.iter().map(|name| (**name).clone().into()).collect();
            let request = DeleteTopicsRequest { topic_names, timeout_ms: 60_000, ..Default::default() };
            exchange(&mut self.witness, 5, &request, |answer| assert_eq!(answer.responses.len(), some.len()));
        }
    }

    /// Ends the broker, kindly or not, and compares what the next one has stored.
    fn restart(mut self, dir: &Path, kindly: bool) -> Fuzzer {
        self.spare.clear();
        self.waiting.clear();
        self.look_at_memory();
        self.delete_surplus();
        let before = self.settled();
        if kindly {
            self.broker.signal(libc::SIGTERM);
            assert_eq!(self.broker.wait(), Some(0), "it stops cleanly");
            self.tally.turns(&self.broker.log());
        } else {
            self.broker.kill();
        }
        let broker = start(dir, self.life);
        let mut witness = Client::connect(broker.address);
        let after = stored(&mut witness);
        for (what, value) in &before {
            assert_eq!(after.get(what), Some(value), "{what}");
        }
        assert_eq!(before.len(), after.len(), "nothing has come besides");
        self.tally.restarts += 1;
        Fuzzer::of(broker, witness, self.life, self.tally)
    }

    /// What is stored once nothing changes any more.
    fn settled(&mut self) -> Stored {
        let mut before = stored(&mut self.witness);
        loop {
            let again = stored(&mut self.witness);
            if again == before {
                return before;
            }
            before = again;
        }
    }
}

fn start(dir: &Path, life: u64) -> Broker {
    let (cores, memory, request, groups) =
        (cores(2), MEMORY.to_string(), REQUEST.to_string(), GROUP_MEMORY.to_string());
    let settings = [
        ("cores", &*cores),
        ("core.memory.bytes", &*memory),
        ("socket.request.max.bytes", &*request),
        ("group.members.memory.bytes", &*groups),
        ("group.min.session.timeout.ms", "10"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("offsets.topic.num.partitions", "4"),
        ("journal.file.bytes", "8388608"),
        ("journal.files.max", "4"),
        ("log.segment.bytes", "1048576"),
        // A topic for every name that comes along, or not.
        ("auto.create.topics.enable", if (life / LIFE).is_multiple_of(2) { "true" } else { "false" }),
    ];
    Broker::start(dir, &settings)
}
