//! Clients that join, leave, die, pause, restart and lose messages, a disk that is slow or fails, and a coordinator that
//! crashes, all from a seed. What must hold: at most one owner of each partition in a generation; commits never go back;
//! every request is answered, and the members that are left come to rest; the log makes the state that there is.

use crate::bench::{Bench, Disk, beat, checkpoint, commit, describe, fetch, join, leave, restore, sync};
use klamm::group::{Answer, Coordinator, Request, Response, Settings, Ticket};
use klamm::wire::error::ErrorCode;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, HashMap};

const CLIENTS: usize = 6;
const PARTITIONS: i32 = 4;
const STEP_MS: u64 = 100;
/// Longest that a client waits for an answer before it gives the request up.
const PATIENCE_MS: u64 = 8_000;
const PATIENCE_JOIN_MS: u64 = 30_000;
/// No answer may be outstanding for longer: a new member may wait for five minutes.
const ANSWER_MS_MAX: u64 = 320_000;
const TROUBLE_STEPS: usize = 3_000;
const CALM_STEPS: usize = 1_500;

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Out,
    Joined {
        shares: Vec<(String, String)>,
    },
    /// What of the owned partitions has been committed is to be learnt.
    Assigned,
    Reading,
}

#[derive(Clone, Debug)]
struct Client {
    name: String,
    instance: Option<String>,
    id: String,
    generation: i32,
    phase: Phase,
    owned: Vec<i32>,
    positions: BTreeMap<i32, i64>,
    waits: Option<(Ticket, u64)>,
    silent_until: u64,
    beat_at: u64,
    commit_at: u64,
    retry_at: u64,
}

struct Simulator {
    seed: u64,
    random: StdRng,
    bench: Bench,
    clients: Vec<Client>,
    /// Requests without an answer, with the time at which they were sent.
    outstanding: HashMap<Ticket, (usize, u64)>,
    /// Who was given what, by generation and partition.
    owners: HashMap<(i32, i32), String>,
    /// What has been acknowledged as committed.
    acknowledged: BTreeMap<i32, i64>,
    commits: usize,
    generations: usize,
    trouble: bool,
}

impl Simulator {
    fn new(seed: u64) -> Simulator {
        let client = |i: usize| Client {
            name: format!("c{i}"),
            instance: (i >= 4).then(|| format!("s{i}")),
            id: String::new(),
            generation: -1,
            phase: Phase::Out,
            owned: Vec::new(),
            positions: BTreeMap::new(),
            waits: None,
            silent_until: 0,
            beat_at: 0,
            commit_at: 0,
            retry_at: 0,
        };
        Simulator {
            seed,
            random: StdRng::seed_from_u64(seed),
            bench: Bench::new(Settings::default()),
            clients: (0..CLIENTS).map(client).collect(),
            outstanding: HashMap::new(),
            owners: HashMap::new(),
            acknowledged: BTreeMap::new(),
            commits: 0,
            generations: 0,
            trouble: true,
        }
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.trouble && self.random.random_ratio(1, one_in)
    }

    fn send(&mut self, at: usize, version: i16, request: Request<'_>) {
        let patience = if matches!(request, Request::JoinGroup(_)) { PATIENCE_JOIN_MS } else { PATIENCE_MS };
        let give_up = self.bench.now_ms + patience;
        let name = self.clients[at].name.clone();
        if self.chance(50) {
            // Lost on its way there: a ticket that nobody knows.
            let ticket = self.bench.ticket();
            self.clients[at].waits = Some((ticket, give_up));
            return;
        }
        let ticket = self.bench.send(&name, version, &request);
        self.outstanding.insert(ticket, (at, self.bench.now_ms));
        self.clients[at].waits = Some((ticket, give_up));
    }

    fn act(&mut self, at: usize) {
        let now = self.bench.now_ms;
        let client = self.clients[at].clone();
        if client.silent_until > now || client.retry_at > now {
            return;
        }
        if let Some((_, give_up)) = client.waits {
            if give_up <= now {
                (self.clients[at].waits, self.clients[at].phase) = (None, Phase::Out);
            }
            return;
        }
        let (id, instance, generation) = (&*client.id, client.instance.as_deref(), client.generation);
        match client.phase {
            Phase::Out => {
                let version = if instance.is_some() { [5, 8, 9][self.random.random_range(0..3)] } else { 9 };
                let mut request = join("g", id, instance, "range:@t");
                request.rebalance_timeout_ms = 15_000;
                self.send(at, version, Request::JoinGroup(request));
            }
            Phase::Joined { shares } => {
                self.send(at, 5, Request::SyncGroup(sync("g", id, instance, generation, &shares)));
            }
            Phase::Assigned => {
                let asked: Vec<(&str, i32)> = client.owned.iter().map(|&partition| ("t", partition)).collect();
                self.send(at, 9, fetch("g", Some(&asked)));
            }
            Phase::Reading if client.commit_at <= now && !client.owned.is_empty() => {
                self.clients[at].commit_at = now + 1_000;
                self.clients[at].positions.values_mut().for_each(|position| *position += 1);
                let positions = self.clients[at].positions.clone();
                let positions: Vec<_> =
                    positions.iter().map(|(&partition, &offset)| ("t", partition, offset, "")).collect();
                self.send(at, 9, Request::OffsetCommit(commit("g", id, instance, generation, &positions)));
            }
            Phase::Reading if client.beat_at <= now => {
                self.clients[at].beat_at = now + 3_000;
                self.send(at, 4, Request::Heartbeat(beat("g", id, instance, generation)));
            }
            Phase::Reading => {}
        }
    }

    /// What goes wrong in this step.
    fn disturb(&mut self, at: usize) {
        let now = self.bench.now_ms;
        if self.chance(400) {
            self.clients[at].silent_until = now + self.random.random_range(1_000..25_000);
        }
        if self.chance(500) {
            // It dies, and is started again with nothing.
            let fresh = Simulator::new(0).clients[at].clone();
            self.clients[at] = Client { silent_until: now + self.random.random_range(0..20_000), ..fresh };
        }
        if self.chance(600) && !self.clients[at].id.is_empty() && self.clients[at].waits.is_none() {
            let client = self.clients[at].clone();
            let request = leave("g", &[(&client.id, client.instance.as_deref())]);
            let ticket = self.bench.send(&client.name, 5, &Request::LeaveGroup(request));
            self.outstanding.insert(ticket, (at, now));
            let fresh = Simulator::new(0).clients[at].clone();
            self.clients[at] = Client { silent_until: now + self.random.random_range(0..10_000), ..fresh };
        }
    }

    fn disturb_the_broker(&mut self) {
        if self.chance(100) {
            self.bench.disk = match self.random.random_range(0..4) {
                0 => Disk::Held,
                1 => Disk::Failing(ErrorCode::KafkaStorageError),
                _ => Disk::Durable,
            };
        }
        if self.bench.disk == Disk::Held && self.random.random_ratio(1, 4) {
            self.bench.write_one();
        }
        if self.chance(700) {
            self.bench.restart();
            // Their connections are gone.
            self.outstanding.clear();
        }
        if self.chance(40) {
            self.compare();
        }
    }

    /// The log alone, and a checkpoint with what follows it, make the state that there is.
    fn compare(&self) {
        let live = checkpoint(&self.bench.coordinator);
        let mut replayed = self.bench.replayed();
        replayed.loaded(self.bench.now());
        assert!(live == checkpoint(&replayed), "seed {}: replay differs", self.seed);
        let mut restored = Coordinator::new(self.bench.settings.clone());
        assert_eq!(restore(&mut restored, &live), Ok(self.bench.log.len() as i64));
        restored.loaded(self.bench.now());
        assert!(live == checkpoint(&restored), "seed {}: the checkpoint differs", self.seed);
    }

    fn answered(&mut self, answer: Answer) {
        let Answer { ticket, response } = answer;
        let Some((at, _)) = self.outstanding.remove(&ticket) else { return };
        self.check(at, &response);
        let lost = self.chance(50);
        if lost || self.clients[at].waits.map(|(waits, _)| waits) != Some(ticket) {
            return;
        }
        if self.clients[at].silent_until > self.bench.now_ms {
            // It finds the answer when it wakes up; by then it may be out of date.
            self.clients[at].beat_at = 0;
        }
        self.clients[at].waits = None;
        self.receive(at, response);
    }

    /// What must hold of an answer, whether anybody gets it or not.
    fn check(&mut self, at: usize, response: &Response) {
        let seed = self.seed;
        match response {
            Response::SyncGroup(r) if r.error_code == 0 => {
                let generation = self.clients[at].generation;
                // A client that was started again since does not know what it asked for.
                if self.clients[at].generation < 0 {
                    return;
                }
                let me = self.clients[at].instance.clone().unwrap_or(self.clients[at].id.clone());
                for partition in r.assignment.iter().map(|&digit| i32::from(digit - b'0')) {
                    let owner = self.owners.entry((generation, partition)).or_insert_with(|| me.clone());
                    assert_eq!(*owner, me, "seed {seed}: two owners of {partition} in generation {generation}");
                }
            }
            Response::OffsetFetch(r) => {
                for partition in r.topics.iter().flat_map(|topic| &topic.partitions) {
                    let least = self.acknowledged.get(&partition.partition_index).copied().unwrap_or(-1);
                    let told = partition.committed_offset;
                    assert!(r.error_code != 0 || told >= least, "seed {seed}: {told} after {least} was acknowledged");
                }
            }
            Response::OffsetCommit(r) if r.topics.iter().all(|topic| topic.partitions[0].error_code == 0) => {
                self.commits += 1;
            }
            _ => {}
        }
    }

    fn receive(&mut self, at: usize, response: Response) {
        let now = self.bench.now_ms;
        let client = &mut self.clients[at];
        let code = match &response {
            Response::JoinGroup(r) => r.error_code,
            Response::SyncGroup(r) => r.error_code,
            Response::Heartbeat(r) => r.error_code,
            Response::OffsetCommit(r) => r.topics.iter().map(|topic| topic.partitions[0].error_code).max().unwrap_or(0),
            Response::OffsetFetch(r) => r.error_code,
            other => panic!("nobody asked for {other:?}"),
        };
        match ErrorCode::from_code(code).unwrap() {
            ErrorCode::None => {}
            ErrorCode::MemberIdRequired => {
                let Response::JoinGroup(r) = response else { panic!() };
                client.id = r.member_id.into_owned();
                client.phase = Phase::Out;
                return;
            }
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => {
                (client.id, client.phase, client.retry_at) = (String::new(), Phase::Out, now + STEP_MS);
                return;
            }
            ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress => {
                (client.phase, client.retry_at) = (Phase::Out, now + STEP_MS);
                return;
            }
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
                client.retry_at = now + STEP_MS;
                if !matches!(client.phase, Phase::Reading) {
                    client.phase = Phase::Out;
                }
                return;
            }
            other => panic!("seed {}: a client of good will got {other}", self.seed),
        }
        match response {
            Response::JoinGroup(r) => {
                (client.id, client.generation) = (r.member_id.to_string(), r.generation_id);
                let leads = r.leader == r.member_id && !r.skip_assignment;
                let count = r.members.len();
                let share =
                    |(i, m): (usize, &klamm::wire::messages::join_group_response::JoinGroupResponseMember<'_>)| {
                        let owned = (0..PARTITIONS).filter(|partition| *partition as usize % count == i);
                        (m.member_id.to_string(), owned.map(|partition| partition.to_string()).collect())
                    };
                let shares = if leads { r.members.iter().enumerate().map(share).collect() } else { Vec::new() };
                self.generations += usize::from(leads);
                client.phase = Phase::Joined { shares };
            }
            Response::SyncGroup(r) => {
                client.owned = r.assignment.iter().map(|&digit| i32::from(digit - b'0')).collect();
                (client.phase, client.beat_at) = (Phase::Assigned, now + 3_000);
            }
            Response::OffsetFetch(r) => {
                let partitions = r.topics.iter().flat_map(|topic| &topic.partitions);
                client.positions = partitions.map(|p| (p.partition_index, p.committed_offset.max(0))).collect();
                client.phase = Phase::Reading;
            }
            Response::OffsetCommit(_) => {
                for (&partition, &offset) in &client.positions {
                    let acknowledged = self.acknowledged.entry(partition).or_insert(offset);
                    *acknowledged = offset.max(*acknowledged);
                }
            }
            _ => {}
        }
    }

    fn step(&mut self) {
        for at in 0..CLIENTS {
            self.disturb(at);
            self.act(at);
        }
        self.disturb_the_broker();
        self.bench.flush();
        let answers = self.bench.coordinator.take_answers();
        answers.into_iter().for_each(|answer| self.answered(answer));
        let answers = self.bench.wait(STEP_MS);
        answers.into_iter().for_each(|answer| self.answered(answer));
        self.bench.coordinator.take_events();
        let now = self.bench.now_ms;
        for (ticket, (at, sent)) in &self.outstanding {
            assert!(now - sent <= ANSWER_MS_MAX, "seed {}: {ticket:?} of client {at} is not answered", self.seed);
        }
    }

    fn run(&mut self) {
        (0..TROUBLE_STEPS).for_each(|_| self.step());
        self.trouble = false;
        self.bench.disk = Disk::Durable;
        (0..CALM_STEPS).for_each(|_| self.step());
        let resting: Vec<bool> = self.clients.iter().map(|client| client.phase == Phase::Reading).collect();
        assert_eq!(resting, [true; CLIENTS], "seed {}: {:#?}", self.seed, self.clients);
        let mut owned: Vec<i32> = self.clients.iter().flat_map(|client| client.owned.clone()).collect();
        owned.sort_unstable();
        assert_eq!(owned, (0..PARTITIONS).collect::<Vec<_>>(), "seed {}", self.seed);
        assert!(self.outstanding.is_empty(), "seed {}", self.seed);
        self.compare();
        // A restart of a group at rest is not to be seen from outside.
        let before = self.bench.ask(6, &describe("g"));
        self.bench.restart();
        assert_eq!(self.bench.ask(6, &describe("g")), before, "seed {}", self.seed);
        assert!(self.commits > 100 && self.generations > 3, "nothing happened: {}, {}", self.commits, self.generations);
    }
}

/// `SEEDS=FROM-END` tries others.
#[test]
fn clients_in_trouble() {
    let seeds = std::env::var("SEEDS").unwrap_or("0-40".to_string());
    let (from, end) = seeds.split_once('-').expect("SEEDS=FROM-END");
    for seed in from.parse::<u64>().expect("a number")..end.parse().expect("a number") {
        Simulator::new(seed).run();
    }
}
