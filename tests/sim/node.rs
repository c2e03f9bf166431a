//! The process: as many cores as wanted in one thread, on the simulated disk. Every step is chosen by the seed: which
//! work of the disk goes on, which message between cores arrives, and when it all ends.

use crate::device::{Job, Outcome, Work, journal_path, metadata_path, metadata_write};
use crate::disk::Disk;
use bytes::{Bytes, BytesMut};
use klamm::config::Config;
use klamm::journal::{ALIGNMENT, HEAD_BYTES};
use klamm::metadata::{Broker, Controller, Listener, Recovered, Written, file_index};
use klamm::shard::message::Message;
use klamm::shard::node::Node;
use klamm::shard::port::ConnectionId;
use klamm::shard::recovery::{Found, Recovery};
use klamm::shard::store::{DiskOp, LogIndex};
use klamm::shard::{Input, Output, Shard};
use klamm::types::{BrokerId, Now, PartitionId, ShardId, Time};
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

pub const WALL_MS: i64 = 1_700_000_000_000;

/// The process has ended in the middle of what it did.
#[derive(Debug)]
pub struct Crashed;

/// What outlives the process, and chance.
pub struct World {
    pub disk: Disk,
    pub random: StdRng,
    pub now: Now,
    /// Steps until power fails.
    pub steps_left: u64,
    /// One step of the disk in so many fails; 0: none.
    pub fault_one_in: u32,
    /// What the disk is slow at.
    pub slow: Slow,
    pub steps: u64,
    pub config: Arc<Config>,
    cores: u16,
    jobs: Vec<Job>,
    /// When somebody outside has something to do, so that time does not run past it.
    pub wake: Option<Time>,
    removed: HashSet<(u16, LogIndex)>,
    /// Partitions whose directories are out of the way: their names may be others' by now.
    gone: HashSet<PartitionId>,
    trace: bool,
}

/// Work that seldom gets on, so that the rest runs ahead of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slow {
    Nothing,
    Journal,
    Segments,
}

/// Slow work gets on once in so many times.
const SLOW_ONE_IN: u32 = 12;

pub struct Process {
    pub shards: Vec<Shard>,
    mail: BTreeMap<(u16, u16), VecDeque<Message>>,
    /// Answers that have left, with the core and connection that they left by.
    pub answers: VecDeque<(u16, ConnectionId, Bytes)>,
}

impl World {
    pub fn new(seed: u64, config: Config, trace: bool) -> World {
        World {
            disk: Disk::default(),
            random: StdRng::seed_from_u64(seed),
            now: Now { mono: Time(1), wall_ms: WALL_MS },
            steps_left: 0,
            fault_one_in: 0,
            slow: Slow::Nothing,
            steps: 0,
            config: Arc::new(config),
            cores: 0,
            jobs: Vec::new(),
            wake: None,
            removed: HashSet::new(),
            gone: HashSet::new(),
            trace,
        }
    }

    pub fn trace(&self, line: impl FnOnce() -> String) {
        if self.trace {
            println!("{:6} {}", self.steps, line());
        }
    }

    pub fn pass_time(&mut self, nanoseconds: u64) {
        self.now.mono.0 += nanoseconds;
        self.now.wall_ms = WALL_MS + (self.now.mono.0 / Time::MILLISECOND) as i64;
    }

    /// One step further towards the end.
    pub fn tick(&mut self) -> Result<(), Crashed> {
        self.steps += 1;
        let nanoseconds = self.random.random_range(0..200_000);
        self.pass_time(nanoseconds);
        match self.steps_left.checked_sub(1) {
            Some(left) => self.steps_left = left,
            None => return Err(Crashed),
        }
        Ok(())
    }

    /// Power fails: what was under way stops, the disk keeps what it keeps.
    pub fn crash(&mut self) {
        let kept = self.disk.crash(&mut self.random);
        self.trace(|| format!("CRASH with {} jobs under way: {kept}", self.jobs.len()));
        self.jobs.clear();
        self.removed.clear();
        self.gone.clear();
        self.wake = None;
    }

    fn submit(&mut self, core: u16, work: Work) {
        let job = Job::new(core, self.cores, work);
        self.trace(|| format!("core {core} begins {}", job.label()));
        self.jobs.push(job);
    }

    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// A step of a job that is under way; says whose and what came of it when it is done.
    fn job_step(&mut self) -> Option<(u16, Outcome)> {
        let at = self.random.random_range(0..self.jobs.len());
        let slow = self.jobs[at].is_slow(self.slow);
        if slow && self.random.random_range(0..SLOW_ONE_IN) > 0 {
            return None;
        }
        let fault = self.fault_one_in > 0 && self.random.random_range(0..self.fault_one_in) == 0;
        let job = &mut self.jobs[at];
        if let Work::Disk(DiskOp::SegmentWrite { log, .. } | DiskOp::SegmentClose { log, .. }) = &job.work {
            job.removed = self.removed.contains(&(job.core, *log));
        }
        // As the shell, which looks whose directory it is.
        if let Work::Disk(DiskOp::SegmentRemove { partition, .. }) = &job.work {
            job.removed = self.gone.contains(partition);
        }
        let outcome = job.advance(&mut self.disk, fault)?;
        let job = self.jobs.swap_remove(at);
        self.trace(|| format!("core {} has done {}{}", job.core, job.label(), if fault { ": FAULT" } else { "" }));
        if let Outcome::PartitionRemoved { log, rest } = &outcome {
            self.removed.insert((job.core, *log));
            let Work::PartitionRemove { partition, .. } = &job.work else { panic!("it has removed a partition") };
            self.gone.insert(*partition);
            self.submit(job.core, Work::Unlink(rest.clone()));
        }
        Some((job.core, outcome))
    }

    fn found(&self) -> Found {
        let journals = self.disk.list("journal").into_iter().map(|name| name[8..10].parse::<u16>().expect("a core"));
        let mut journals: Vec<u16> = journals.collect();
        journals.dedup();
        let names = self.disk.starting("checkpoint-").into_iter().filter(|name| !name.ends_with(".tmp"));
        let checkpoints = names.map(|name| {
            let bytes = self.disk.read(&name).expect("it was just listed").to_vec();
            (name, bytes)
        });
        Found { journals, checkpoints: checkpoints.collect() }
    }

    fn journal_files(&self, core: u16) -> Vec<u32> {
        let names = self.disk.list(&format!("journal/{core:02}"));
        names.iter().map(|name| name[11..17].parse().unwrap()).collect()
    }

    /// The files of a core's ring, and the number that the next one gets.
    fn own_files(&mut self, core: u16) -> (Vec<u32>, u32) {
        let bytes = self.config.journal_file_bytes as usize;
        let all = self.journal_files(core);
        let mut file_next = all.last().map_or(0, |file| file + 1);
        let whole = |file: &u32| self.disk.read(&journal_path(core, *file)).is_some_and(|known| known.len() == bytes);
        let mut files: Vec<u32> = all.into_iter().filter(whole).collect();
        if files.is_empty() {
            self.disk.create(&journal_path(core, file_next));
            self.disk.set_length(&journal_path(core, file_next), bytes);
            files.push(file_next);
            file_next += 1;
        }
        (files, file_next)
    }

    fn controller(&mut self) -> Controller {
        let names = self.disk.starting("metadata/log-");
        let logs: Vec<(u64, &[u8])> = names
            .iter()
            .map(|name| {
                (file_index(&name["metadata/".len()..]).expect("a file of the log"), self.disk.read(name).unwrap())
            })
            .collect();
        let recovered = Controller::recover(self.disk.read("metadata/snapshot"), &logs).expect("the metadata is sound");
        let Recovered { mut controller, last, remove } = recovered;
        remove.iter().for_each(|file| self.disk.unlink(&metadata_path(*file)));
        if let Some((file, end)) = last {
            let path = metadata_path(file);
            let zeros = vec![0; self.disk.read(&path).unwrap().len() - end];
            let stamp = self.disk.write(&path, end, zeros);
            self.disk.written(&path, stamp);
            self.disk.sync_file(&path);
        }
        let listener = Listener { name: "PLAINTEXT".into(), host: "sim".into(), port: 9092 };
        controller.register_broker(BrokerId(1), Broker { listeners: vec![listener], rack: None }).expect("registered");
        while let Some(write) = controller.plan_write() {
            let mut stamp = 0;
            let ended = (1..).any(|step| metadata_write(&write, step, &mut stamp, &mut self.disk));
            assert!(ended && !controller.written(Written::Synced).lost);
        }
        controller
    }

    /// Starts the broker on so many cores.
    pub fn boot(&mut self, cores: u16) -> Result<Process, Crashed> {
        self.trace(|| format!("BOOT on {cores} cores, {} steps to live, slow: {:?}", self.steps_left, self.slow));
        self.cores = cores;
        let controller = self.controller();
        let node = Arc::new(Node {
            id: BrokerId(1),
            cluster_id: "4L6g3nShT-eMCtK--X86sw".into(),
            config: self.config.clone(),
            advertised: vec![("sim".into(), 9092)],
            shards: cores,
        });
        let found = self.found();
        let mut order: Vec<u16> = (0..cores).collect();
        order.shuffle(&mut self.random);
        let mut recoveries = BTreeMap::new();
        for core in order {
            let image = controller.image_durable().clone();
            let recovery = Recovery::new(ShardId(core), node.clone(), image, &found);
            let mut recovery = recovery.unwrap_or_else(|error| panic!("core {core}: {error}"));
            self.recover(core, &mut recovery)?;
            recoveries.insert(core, recovery);
        }
        let mut controller = Some((controller, self.random.random()));
        let seed = self.random.random();
        let finished = recoveries.into_values().map(|recovery| recovery.finish(seed, controller.take()));
        let shards = finished.map(|shard| shard.unwrap_or_else(|error| panic!("recovery: {error}"))).collect();
        let ours = format!("-{cores:02}");
        let checkpoints = found.checkpoints.iter().map(|(name, _)| name.clone()).filter(|name| !name.ends_with(&ours));
        for core in found.journals.iter().filter(|core| **core >= cores) {
            // At once: one that is there in part would be taken for a damaged one.
            self.disk.rename(&format!("journal/{core:02}"), &format!("journal-delete/{core:02}"));
            self.tick()?;
        }
        let files = self.disk.list("journal-delete").into_iter();
        for name in files.chain(checkpoints).collect::<Vec<_>>() {
            self.disk.unlink(&name);
            self.tick()?;
        }
        Ok(Process { shards, mail: BTreeMap::new(), answers: VecDeque::new() })
    }

    fn recover(&mut self, core: u16, recovery: &mut Recovery) -> Result<(), Crashed> {
        for other in recovery.journals().to_vec() {
            let head =
                |file: u32| (file, self.disk.read_at(&journal_path(other, file), 0, HEAD_BYTES).unwrap().to_vec());
            let heads: Vec<_> = self.journal_files(other).into_iter().map(head).collect();
            recovery.heads(other, &heads);
        }
        self.tick()?;
        recovery.begin();
        let block_bytes = *[ALIGNMENT, 64 << 10, 4 << 20].choose_one(&mut self.random);
        while let Some((of, want)) = recovery.want() {
            let path = journal_path(of, want.file);
            let bytes = want.bytes.max(block_bytes);
            let content = self.disk.read_at(&path, want.position as usize, bytes).expect("the file is there");
            let content = Bytes::copy_from_slice(content);
            recovery.feed(self.now, &content).unwrap_or_else(|error| panic!("core {core} recovers: {error}"));
        }
        let (files, file_next) = self.own_files(core);
        let random = self.random.random();
        recovery.ring(files, file_next, random);
        assert!(recovery.report().is_empty(), "core {core}: {:?}", recovery.report());
        if !recovery.drain() {
            return Ok(());
        }
        while !recovery.is_done() {
            self.tick()?;
            let mut ops = Vec::new();
            recovery.plan(self.now, &mut ops);
            ops.into_iter().for_each(|op| self.submit(core, Work::Disk(op)));
            if !self.is_idle() {
                match self.job_step() {
                    Some((_, Outcome::Disk(done))) => recovery.done(self.now, done),
                    Some((_, Outcome::Nothing)) | None => {}
                    Some(_) => panic!("a recovery works on the disk alone"),
                }
            } else {
                let due = recovery.deadline().is_some_and(|time| time <= self.now.mono);
                assert!(due || recovery.is_done(), "core {core} recovers without end");
            }
        }
        Ok(())
    }
}

trait ChooseOne<T> {
    fn choose_one(&self, random: &mut StdRng) -> &T;
}

impl<T> ChooseOne<T> for [T] {
    fn choose_one(&self, random: &mut StdRng) -> &T {
        &self[random.random_range(0..self.len())]
    }
}

/// What a shard is told of work that is done.
fn input(outcome: Outcome) -> Option<Input> {
    Some(match outcome {
        Outcome::Disk(done) => Input::DiskDone(done),
        Outcome::Read { reader, data } => Input::ReadDone { reader, data },
        Outcome::MetadataWritten { written } => Input::MetadataWritten { written },
        Outcome::MetadataSnapshotted { ok } => Input::MetadataSnapshotted { ok },
        Outcome::PartitionRemoved { log, .. } => Input::PartitionRemoved { log, ok: true },
        Outcome::GroupCheckpoint { log, bytes } => Input::GroupCheckpointRead { log, bytes },
        Outcome::GroupCheckpointWritten { log } => Input::GroupCheckpointWritten { log },
        Outcome::Nothing => return None,
    })
}

impl Process {
    /// An input to which the time is nothing.
    fn tell(&mut self, core: u16, input: Input) {
        self.shards[usize::from(core)].step(Now { mono: Time(0), wall_ms: 0 }, input);
    }

    pub fn connect(&mut self, core: u16, connection: ConnectionId) {
        self.tell(core, Input::Connected { connection, listener: 0, peer: Ipv4Addr::LOCALHOST.into() });
    }

    pub fn disconnect(&mut self, core: u16, connection: ConnectionId) {
        self.tell(core, Input::Disconnected { connection });
    }

    /// Nothing happens before time passes or somebody asks.
    pub fn is_idle(&self, world: &World) -> bool {
        let due = |shard: &Shard| shard.deadline().is_some_and(|time| time <= world.now.mono);
        world.is_idle() && self.mail.is_empty() && !self.shards.iter().any(due)
    }

    pub fn may_read(&self, core: u16, connection: ConnectionId) -> bool {
        self.shards[usize::from(core)].may_read(connection, usize::MAX)
    }

    pub fn send(&mut self, world: &mut World, core: u16, connection: ConnectionId, frame: &[Bytes]) {
        let mut whole = BytesMut::new();
        frame.iter().for_each(|part| whole.extend_from_slice(part));
        self.shards[usize::from(core)].step(world.now, Input::Frame { connection, frame: whole.split_off(4) });
        self.end_turn(world, core);
    }

    pub fn end_turn(&mut self, world: &mut World, core: u16) {
        let shard = &mut self.shards[usize::from(core)];
        shard.end_turn(world.now);
        for output in shard.take_output() {
            match output {
                Output::Send { connection, parts } => {
                    self.answers.push_back((core, connection, Bytes::from(parts.concat())));
                }
                Output::Close { reason, .. } => panic!("core {core} closes a connection: {reason}"),
                Output::Disk(op) => world.submit(core, Work::Disk(op)),
                Output::Mesh { to, message } => self.mail.entry((core, to.0)).or_default().push_back(message),
                Output::Read { reader, plan } => world.submit(core, Work::Read { reader, plan }),
                Output::MetadataWrite(write) => world.submit(core, Work::MetadataWrite(write)),
                Output::MetadataSnapshot(part) => world.submit(core, Work::MetadataSnapshot(part)),
                Output::GroupCheckpointRead { log, name, .. } => {
                    world.submit(core, Work::GroupCheckpointRead { log, name });
                }
                Output::GroupCheckpointWrite { log, name, bytes, .. } => {
                    world.submit(core, Work::GroupCheckpointWrite { log, name, bytes });
                }
                Output::PartitionRemove { log, name, partition } => {
                    world.submit(core, Work::PartitionRemove { log, name, partition });
                }
            }
        }
    }

    /// One thing happens of all that may; false if nothing can without an input from outside.
    pub fn step(&mut self, world: &mut World) -> Result<bool, Crashed> {
        world.tick()?;
        let mail: usize = self.mail.values().map(VecDeque::len).sum();
        let choice = world.jobs.len() + mail;
        if choice == 0 {
            return Ok(self.wait(world));
        }
        if world.random.random_range(0..choice) < mail {
            let keys: Vec<(u16, u16)> = self.mail.keys().copied().collect();
            let (from, to) = *keys.choose_one(&mut world.random);
            let queue = self.mail.get_mut(&(from, to)).expect("it was just listed");
            let message = queue.pop_front().expect("queues are never empty");
            if queue.is_empty() {
                self.mail.remove(&(from, to));
            }
            self.shards[usize::from(to)].step(world.now, Input::Message { from: ShardId(from), message });
            self.end_turn(world, to);
        } else if let Some((core, outcome)) = world.job_step() {
            if let Some(input) = input(outcome) {
                self.shards[usize::from(core)].step(world.now, input);
            }
            self.end_turn(world, core);
        }
        self.turns_due(world);
        Ok(true)
    }

    fn turns_due(&mut self, world: &mut World) {
        for core in 0..self.shards.len() {
            if self.shards[core].deadline().is_some_and(|time| time <= world.now.mono) {
                self.end_turn(world, core as u16);
            }
        }
    }

    /// Nothing happens until the next deadline, if there is one.
    fn wait(&mut self, world: &mut World) -> bool {
        let deadlines = self.shards.iter().filter_map(Shard::deadline);
        let Some(next) = deadlines.chain(world.wake).min() else { return false };
        let nanoseconds = next.0.saturating_sub(world.now.mono.0);
        world.pass_time(nanoseconds);
        self.turns_due(world);
        true
    }
}
