//! The process: as many cores as wanted in one thread, on the simulated disk. Every step is chosen by the seed: which
//! work of the disk goes on, which message between cores arrives, and when it all ends.

use crate::device::{Job, Outcome, Refusal, Work, journal_path, metadata_path, metadata_write};
use crate::disk::Disk;
use crate::segments::{Files, SegmentRead, whose_dir};
use bytes::{Bytes, BytesMut};
use klamm::config::Config;
use klamm::journal::{ALIGNMENT, HEAD_BYTES};
use klamm::log::SegmentId;
use klamm::log::directory::{PARTITION_METADATA, Whose, is_deleted, is_stray, is_unknown, stray_name};
use klamm::metadata::{Broker, Controller, Image, Listener, Recovered, file_index};
use klamm::shard::checkpoint;
use klamm::shard::message::Message;
use klamm::shard::node::Node;
use klamm::shard::port::ConnectionId;
use klamm::shard::recovery::{Found, Recovery};
use klamm::shard::{Input, Output, Shard};
use klamm::types::{BrokerId, Now, PartitionId, ShardId, Time};
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::collections::{BTreeMap, VecDeque};
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
    /// Nothing can be written that takes more space.
    pub full: bool,
    /// The journal and the metadata do not fail: a core that has lost its journal takes nothing more.
    pub mild: bool,
    /// The journal is damaged.
    pub damaged: bool,
    /// What the disk is slow at.
    pub slow: Slow,
    /// By how much the time of day is wrong, and the latest that it ever was.
    pub skew_ms: i64,
    pub wall_ms_max: i64,
    pub steps: u64,
    pub config: Arc<Config>,
    cores: u16,
    jobs: Vec<Job>,
    /// When somebody outside has something to do, so that time does not run past it.
    pub wake: Option<Time>,
    /// What each core has open.
    files: Vec<Files>,
    trace: bool,
}

/// What goes from core to core.
enum Letter {
    Message(Message),
    /// Files that are removed are not to be held open.
    Forget(PartitionId, Option<SegmentId>),
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
    mail: BTreeMap<(u16, u16), VecDeque<Letter>>,
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
            full: false,
            mild: false,
            damaged: false,
            slow: Slow::Nothing,
            skew_ms: 0,
            wall_ms_max: WALL_MS,
            steps: 0,
            config: Arc::new(config),
            cores: 0,
            jobs: Vec::new(),
            wake: None,
            files: Vec::new(),
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
        self.now.wall_ms = WALL_MS + self.skew_ms + (self.now.mono.0 / Time::MILLISECOND) as i64;
        self.wall_ms_max = self.wall_ms_max.max(self.now.wall_ms);
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
        self.files.clear();
        self.wake = None;
    }

    fn submit(&mut self, core: u16, work: Work) {
        let job = Job::new(core, self.cores, work, &mut self.files[usize::from(core)]);
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
        let vital = matches!(self.jobs[at].work, Work::JournalWrite(_) | Work::Sync | Work::MetadataWrite(_));
        let fault = fault && !(self.mild && vital);
        let refusal = match self.full {
            _ if fault => Refusal::Everything,
            true => Refusal::Space,
            false => Refusal::Nothing,
        };
        let job = &mut self.jobs[at];
        let files = &mut self.files[usize::from(job.core)];
        let outcome = job.advance(files, &mut self.disk, refusal, &mut self.random)?;
        let job = self.jobs.swap_remove(at);
        self.trace(|| format!("core {} has done {}, refused: {refusal:?}", job.core, job.label()));
        let core = job.core;
        if let Outcome::PartitionRemoved { rest, .. } = &outcome {
            // A failure is tried again, however often.
            let next = rest.clone().map_or(job.work, Work::Unlink);
            self.submit(core, next);
        }
        Some((core, outcome))
    }

    pub fn found(&self) -> Found {
        let journals = self.disk.list("journal").into_iter().filter_map(|name| name[8..10].parse::<u16>().ok());
        let mut journals: Vec<u16> = journals.collect();
        journals.dedup();
        let names = self.disk.starting("").into_iter().filter(|name| checkpoint::cores_of(name).is_some());
        let checkpoints = names.map(|name| {
            let bytes = self.disk.read(&name).expect("it was just listed").to_vec();
            (name, bytes)
        });
        Found { journals, checkpoints: checkpoints.collect() }
    }

    pub fn journal_files(&self, core: u16) -> Vec<u32> {
        let names = self.disk.list(&format!("journal/{core:02}"));
        let names = names.iter().filter_map(|name| name.strip_suffix(".journal"));
        names.map(|name| name[11..17].parse().unwrap()).collect()
    }

    /// The files of a core's ring, and the number that the next one gets.
    fn own_files(&mut self, core: u16, recovery: &Recovery) -> (Vec<u32>, u32) {
        let bytes = self.config.journal_file_bytes as usize;
        let known = |file| self.disk.read(&journal_path(core, file)).expect("it was just listed").len();
        let all: Vec<_> = self.journal_files(core).into_iter().map(|file| (file, known(file) as u64)).collect();
        let (mut files, mut file_next) = recovery.reusable(&all);
        if files.is_empty() && !self.full {
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
            let (mut stamp, disk, random) = (0, &mut self.disk, &mut self.random);
            let refusal = if self.full { Refusal::Space } else { Refusal::Nothing };
            let step = |step| metadata_write(&write, step, &mut stamp, disk, refusal, random);
            let written = (1..).find_map(step).expect("it ends");
            if controller.written(written).lost {
                assert!(self.full && controller.image_durable().broker(BrokerId(1)).is_some());
                break;
            }
        }
        controller
    }

    /// Starts the broker on so many cores.
    pub fn boot(&mut self, cores: u16) -> Result<Process, Crashed> {
        self.trace(|| format!("BOOT on {cores} cores, {} steps to live, slow: {:?}", self.steps_left, self.slow));
        self.cores = cores;
        self.files = (0..cores).map(|_| Files::new()).collect();
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
        let image = controller.image_durable().clone();
        let mut controller = Some((controller, self.random.random()));
        let seed = self.random.random();
        let damaged: Vec<(u16, u32)> = recoveries.values().flat_map(Recovery::damaged_files).collect();
        let mut shards: Vec<Shard> = Vec::new();
        for recovery in recoveries.into_values() {
            match recovery.finish(seed, controller.take()) {
                Ok(shard) => shards.push(shard),
                // Partitions cannot change cores on a full disk.
                Err(error) => {
                    assert!(self.full, "recovery: {error}");
                    return Err(Crashed);
                }
            }
        }
        for (core, file) in damaged {
            let aside = format!("journal/damaged/{core:02}-{file:06}-{}.journal", self.steps);
            self.disk.rename(&journal_path(core, file), &aside);
            self.disk.sync_names();
            self.tick()?;
        }
        let (journals, checkpoints) = found.leftovers(cores);
        for core in journals {
            // At once: one that is there in part would be taken for a damaged one.
            self.disk.rename(&format!("journal/{core:02}"), &format!("journal-delete/{core:02}"));
            self.tick()?;
        }
        let files = self.disk.list("journal-delete").into_iter();
        self.unlink(files.chain(checkpoints.into_iter().map(String::from)).collect())?;
        self.clear(&shards, &image)?;
        Ok(Process { shards, mail: BTreeMap::new(), answers: VecDeque::new() })
    }

    /// Removes what an earlier process has left of partitions.
    fn clear(&mut self, shards: &[Shard], image: &Image) -> Result<(), Crashed> {
        for (dir, topic, named) in shards.iter().flat_map(|shard| shard.store().leftovers()) {
            if whose_dir(&self.disk, &dir, topic) != Whose::Ours {
                continue;
            }
            let unnamed = |path: &String| {
                SegmentId::of_file(&path[dir.len() + 1..]).is_some_and(|segment| !named.contains(&segment))
            };
            self.unlink(self.disk.list(&dir).into_iter().filter(unnamed).collect())?;
        }
        let paths: Vec<(String, String)> = self
            .disk
            .starting("")
            .into_iter()
            .filter_map(|path| {
                let (dir, file) = path.split_once('/')?;
                Some((dir.to_string(), file.to_string()))
            })
            .collect();
        let deleted = paths.iter().filter(|(dir, _)| is_deleted(dir)).map(|(dir, file)| format!("{dir}/{file}"));
        self.unlink(deleted.collect())?;
        for (dir, _) in paths.iter().filter(|(dir, file)| file == PARTITION_METADATA && !is_deleted(dir)) {
            let content = self.disk.read(&format!("{dir}/{PARTITION_METADATA}")).expect("it was just listed");
            if !is_stray(dir) && is_unknown(dir, content, |topic, index| image.topic_of(topic, index)) {
                self.disk.rename(dir, &stray_name(dir, self.steps));
                self.tick()?;
            }
        }
        Ok(())
    }

    fn unlink(&mut self, paths: Vec<String>) -> Result<(), Crashed> {
        paths.into_iter().try_for_each(|path| {
            self.disk.unlink(&path);
            self.tick()
        })
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
        let (files, file_next) = self.own_files(core, recovery);
        let random = self.random.random();
        recovery.ring(files, file_next, random);
        recovery.report().iter().for_each(|line| self.trace(|| format!("core {core} reports: {line}")));
        assert!(self.damaged || recovery.report().is_empty(), "core {core}: {:?}", recovery.report());
        if !recovery.drain() {
            return Ok(());
        }
        while !recovery.is_done() || !self.is_idle() {
            self.tick()?;
            let mut ops = Vec::new();
            if !recovery.is_refused() {
                recovery.plan(self.now, &mut ops);
            }
            ops.into_iter().for_each(|op| self.submit(core, op.into()));
            if !self.is_idle() {
                match self.job_step() {
                    Some((_, Outcome::Disk(done))) => recovery.done(self.now, done),
                    Some((_, Outcome::SegmentRemoved { done, .. })) => recovery.done(self.now, done),
                    None => {}
                    Some(_) => panic!("a recovery works on the disk alone"),
                }
            } else {
                let due = recovery.deadline().is_some_and(|time| time <= self.now.mono);
                assert!(due || recovery.is_done(), "core {core} recovers without end");
                assert!(!recovery.is_refused() || self.full, "core {core}: nothing has refused it");
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
        Outcome::PartitionRemoved { log, rest, .. } => Input::PartitionRemoved { log, ok: rest.is_some() },
        Outcome::GroupCheckpoint { log, bytes } => Input::GroupCheckpointRead { log, bytes },
        Outcome::GroupCheckpointWritten { log } => Input::GroupCheckpointWritten { log },
        Outcome::SegmentRemoved { done, .. } => Input::DiskDone(done),
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
                Output::Disk(op) => world.submit(core, op.into()),
                Output::Mesh { to, message } => self.post(core, to.0, Letter::Message(message)),
                Output::Read { reader, plan } => {
                    world.submit(core, Work::Read { reader, read: SegmentRead::new(plan) });
                }
                Output::MetadataWrite(write) => world.submit(core, Work::MetadataWrite(write)),
                Output::MetadataSnapshot(part) => world.submit(core, Work::MetadataSnapshot(part)),
                Output::GroupCheckpointRead { log, name: dir, topic } => {
                    world.submit(core, Work::GroupCheckpointRead { log, dir, topic });
                }
                Output::GroupCheckpointWrite { log, name: dir, topic, bytes } => {
                    world.submit(core, Work::GroupCheckpointWrite { log, dir, topic, bytes });
                }
                Output::PartitionRemove { log, name: dir, partition } => {
                    world.files[usize::from(core)].forsake(log);
                    world.submit(core, Work::PartitionRemove { log, dir, partition, renamed: None });
                }
            }
        }
    }

    fn post(&mut self, from: u16, to: u16, letter: Letter) {
        self.mail.entry((from, to)).or_default().push_back(letter);
    }

    /// No core holds files open that have been removed.
    fn forget(&mut self, world: &mut World, core: u16, partition: PartitionId, segment: Option<SegmentId>) {
        world.files[usize::from(core)].forget(partition, segment);
        for to in (0..self.shards.len() as u16).filter(|to| *to != core) {
            self.post(core, to, Letter::Forget(partition, segment));
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
            let letter = queue.pop_front().expect("queues are never empty");
            if queue.is_empty() {
                self.mail.remove(&(from, to));
            }
            match letter {
                Letter::Message(message) => {
                    self.shards[usize::from(to)].step(world.now, Input::Message { from: ShardId(from), message });
                    self.end_turn(world, to);
                }
                Letter::Forget(partition, segment) => {
                    world.files[usize::from(to)].forget(partition, segment);
                }
            }
        } else if let Some((core, outcome)) = world.job_step() {
            match &outcome {
                Outcome::SegmentRemoved { partition, segment, .. } => {
                    self.forget(world, core, *partition, Some(*segment));
                }
                Outcome::PartitionRemoved { partition, rest: Some(_), .. } => {
                    self.forget(world, core, *partition, None);
                }
                _ => {}
            }
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
