//! The broker on a simulated disk that tears, loses what was not synced, and fails, with a crash after any step: all of
//! it from a seed. After each recovery every acknowledged record must be there, once, in order.
//!
//! In some seeds there are groups of consumers beside the others: see `groups.rs`; in others there are logs that follow a leader's:
//! see `replica.rs`.
//!
//! `KLAMM_SIM_SEEDS=5000` runs more seeds, `KLAMM_SIM_SEEDS=5000..9000` those; `KLAMM_SIM_SEED=17` runs one and prints what
//! happens.

mod client;
mod damage;
mod device;
mod disk;
mod groups;
mod loading;
mod member;
mod model;
mod node;
mod replay;
mod replica;
mod retention;
mod segments;

use client::Clients;
use damage::Harm;
use groups::Groups;
use klamm::config::Config;
use model::TopicState;
use node::{Crashed, Slow, World};
use rand::Rng;
use replica::Replicas;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 200;
/// Of the seeds that have groups, and of the others that have logs of followers.
const GROUPS_ONE_IN: u64 = 3;
const REPLICAS_AT: u64 = 1;
const LIVES_MAX: u64 = 5;
const CORES_MAX: u16 = 3;
/// The least that a journal takes.
const JOURNAL_FILE_BYTES: u32 = 2 * klamm::journal::BLOCK_BYTES_MAX as u32;
/// Names are used again.
const TOPICS: [&str; 3] = ["a", "b", "c"];

fn config(world: &mut rand::rngs::StdRng) -> Config {
    // What goes by itself is a matter of some topics.
    let given = [("node.id", "1"), ("log.retention.ms", "-1"), ("log.segment.delete.delay.ms", "0")];
    let given = given.map(|(name, value)| (name.to_string(), value.to_string()));
    let mut config = Config::load(None, std::iter::empty(), &given).expect("valid").config;
    config.log_initial_task_delay_ms = world.random_range(0..20);
    config.log_retention_check_ms = [1, 10, 60][world.random_range(0..3)];
    // Below what may be set, so that rings wrap and memory runs out soon.
    config.journal_file_bytes = JOURNAL_FILE_BYTES;
    // A ring of five and more is released while a file is free, so that batches are carried forward.
    config.journal_files_max = [2, 3, 5, 6][world.random_range(0..4)];
    config.offsets_topic_partitions = replay::PARTITIONS;
    (config.group_session_ms_min, config.group_gather_ms, config.group_gather_ms_max) = (1, 2, 10);
    config.core_memory_bytes_max = *[200 << 10, 1 << 20, 8 << 20].get(world.random_range(0..3)).expect("one of three");
    config
}

/// What goes wrong in a seed besides crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    Nothing,
    /// Single steps of the disk fail.
    Faults,
    /// The disk is full for a while.
    Full,
    /// Journals are damaged between two lives.
    Damage,
}

impl Trouble {
    fn choose(seed: u64, random: &mut rand::rngs::StdRng) -> Trouble {
        match random.random_range(0..8) {
            0 | 1 => Trouble::Faults,
            2 => Trouble::Full,
            // What damage takes from groups is not modelled.
            3 | 4 if !seed.is_multiple_of(GROUPS_ONE_IN) => Trouble::Damage,
            _ => Trouble::Nothing,
        }
    }
}

/// A step of the disk in so many fails, where steps do.
const FAULT_ONE_IN: u32 = 600;
/// How many of so many actions create and delete topics, where that is done often.
const CHURN_ONE_IN: u32 = 25;
/// How wrong the time of day may be.
const SKEW_MS_MAX: i64 = 500;

/// Who is there besides the clients.
type Beside = (Option<Groups>, Option<Replicas>);

/// What one seed stands for: a broker that lives a few times on the same disk.
fn run(seed: u64, trace: bool) {
    use rand::SeedableRng;
    let config = config(&mut rand::rngs::StdRng::seed_from_u64(!seed));
    let mut world = World::new(seed, config, trace);
    let mut clients = Clients::new(&mut world);
    let mut cores = world.random.random_range(1..=CORES_MAX);
    let trouble = Trouble::choose(seed, &mut world.random);
    let churn = world.random.random_range(0..4) == 0;
    world.trace(|| format!("{trouble:?}, churn: {churn}"));
    let faulty = matches!(trouble, Trouble::Faults | Trouble::Full);
    let groups = seed.is_multiple_of(GROUPS_ONE_IN).then(|| Groups::new(&mut world, faulty));
    // What damage takes from these logs is not modelled.
    let follow = seed % GROUPS_ONE_IN == REPLICAS_AT && trouble != Trouble::Damage;
    let mut beside = (groups, follow.then(Replicas::new));
    clients.retains = trouble != Trouble::Damage && world.random.random();
    let wrong_clock = clients.retains && beside.0.is_none();
    let mut harms = Vec::new();
    for number in 0..LIVES_MAX {
        if world.random.random_range(0..3) == 0 {
            cores = world.random.random_range(1..=CORES_MAX);
        }
        // Many short lives: recovery is where crashes hurt most.
        let steps_max = *[30, 300, 3000].get(world.random.random_range(0..3)).expect("one of three");
        world.steps_left = world.random.random_range(1..steps_max);
        world.fault_one_in = 0;
        let slow = [Slow::Nothing, Slow::Nothing, Slow::Journal, Slow::Segments];
        world.slow = slow[world.random.random_range(0..slow.len())];
        world.mild = world.random.random_range(0..3) > 0;
        world.skew_ms = if wrong_clock { world.random.random_range(0..SKEW_MS_MAX) } else { 0 };
        let result = live(&mut world, &mut clients, &mut beside, &mut harms, (cores, trouble, churn));
        assert!(result.is_err(), "a life ends with a crash");
        world.trace(|| format!("life {number} ends"));
        world.crash();
        world.full &= world.random.random::<bool>();
        if beside.0.is_some() && world.random.random() {
            damage::damage_coordinators(&mut world);
        }
        if trouble == Trouble::Damage && harms.is_empty() && world.random.random() {
            harms = damage::damage(&mut world);
            world.damaged |= !harms.is_empty();
        }
    }
    // At the end a start that nothing disturbs, so that each crash has been looked at.
    world.steps_left = u64::MAX;
    world.fault_one_in = 0;
    world.slow = Slow::Nothing;
    world.full = false;
    let mut process = settle(&mut world, &mut clients, &mut beside, &mut harms, cores).expect("nothing ends it");
    clients.outlive(&mut world, &mut process).expect("nothing ends it");
    if let Some(groups) = &mut beside.0 {
        groups.rest(&mut world, &mut process, &mut clients).expect("nothing ends it");
        assert!(groups.compared > 0, "no group was ever compared with its log");
    }
}

fn settle(
    world: &mut World,
    clients: &mut Clients,
    (groups, replicas): &mut Beside,
    harms: &mut Vec<Harm>,
    cores: u16,
) -> Result<node::Process, Crashed> {
    let mut process = world.boot(cores)?;
    clients.connect(world, &mut process);
    clients.look_at_topics(&process);
    clients.harmed(&process, harms);
    if let Some(groups) = groups {
        groups.begin(world, &mut process);
        groups.verify(world, &mut process, clients)?;
    }
    if let Some(replicas) = replicas {
        replicas.begin(world, &mut process, clients)?;
    }
    let parts = clients.model.parts(TopicState::Live);
    for part in &parts {
        clients.verify(world, &mut process, *part)?;
    }
    // Each partition has shown what the damage has cost it, and no start forgets that.
    harms.clear();
    if world.full {
        world.full = false;
        clients.refused = true;
        clients.recover(world, &mut process)?;
    }
    for part in &parts {
        clients.retry(world, &mut process, *part)?;
    }
    check_memory(&process);
    Ok(process)
}

fn live(
    world: &mut World,
    clients: &mut Clients,
    beside: &mut Beside,
    harms: &mut Vec<Harm>,
    (cores, trouble, churn): (u16, Trouble, bool),
) -> Result<(), Crashed> {
    let mut process = settle(world, clients, beside, harms, cores)?;
    let (groups, replicas) = beside;
    let faulty = trouble == Trouble::Faults;
    world.fault_one_in = if faulty { FAULT_ONE_IN } else { 0 };
    clients.refused = faulty;
    let stop = world.random.random_range(0..4) == 0;
    let stop_at = world.steps + world.steps_left / 2;
    loop {
        if stop && world.steps >= stop_at {
            return shut_down(world, clients, process);
        }
        disturb(world, clients, &mut process, trouble)?;
        if let Some(groups) = groups {
            groups.receive(world, clients);
        }
        let parts = clients.model.parts(TopicState::Live);
        if churn && world.random.random_range(0..CHURN_ONE_IN) == 0 {
            match parts.get(world.random.random_range(0..2 * parts.len().max(1))) {
                Some(part) => clients.delete_topic(world, &mut process, part.topic),
                None => new_topic(world, clients, &mut process),
            }
            continue;
        }
        let some = world.random.random_range(0..parts.len().max(1));
        match world.random.random_range(0..100) {
            _ if parts.is_empty() => new_topic(world, clients, &mut process),
            0..12 => {
                let several = &parts[some..parts.len().min(some + 1 + some % 3)];
                clients.produce(world, &mut process, several);
            }
            12..25 => clients.produce(world, &mut process, &parts[some..=some]),
            25..28 => clients.produce_again(world, &mut process, parts[some]),
            28..33 => clients.fetch(world, &mut process, parts[some]),
            33 => clients.delete_records(world, &mut process, parts[some]),
            34 => new_topic(world, clients, &mut process),
            35 if world.random.random_range(0..5) == 0 => {
                clients.delete_topic(world, &mut process, parts[some].topic);
            }
            36..39 => clients.find(world, &mut process, parts[some]),
            _ => {}
        }
        if let Some(groups) = groups {
            groups.act(world, &mut process, clients);
            world.wake = groups.wake();
        }
        if let Some(replicas) = replicas {
            replicas.act(world, &mut process);
        }
        clients.step(world, &mut process)?;
        if let Some(groups) = groups {
            groups.receive(world, clients);
            world.wake = None;
            if !faulty && trouble != Trouble::Full && world.random.random_range(0..500) == 0 {
                groups.compare(world, &mut process, clients)?;
            }
        }
        if world.steps.is_multiple_of(64) {
            check_memory(&process);
        }
    }
}

/// The disk is full for a while, or fails no more: soon afterwards nothing is refused.
fn disturb(
    world: &mut World,
    clients: &mut Clients,
    process: &mut node::Process,
    trouble: Trouble,
) -> Result<(), Crashed> {
    match trouble {
        Trouble::Full if !world.full && world.random.random_range(0..400) == 0 => {
            world.trace(|| "the disk is full".into());
            (world.full, clients.refused) = (true, true);
        }
        Trouble::Full if world.full && world.random.random_range(0..400) == 0 => {
            world.full = false;
            clients.recover(world, process)?;
        }
        Trouble::Faults if world.mild && world.random.random_range(0..400) == 0 => {
            let faults = std::mem::take(&mut world.fault_one_in);
            clients.recover(world, process)?;
            (world.fault_one_in, clients.refused) = (faults, true);
        }
        _ => {}
    }
    Ok(())
}

/// What is counted against the memory limit is what the logs hold.
fn check_memory(process: &node::Process) {
    for shard in &process.shards {
        let held: usize = shard.store().logs().map(|(_, log)| log.held_bytes()).sum();
        assert_eq!(shard.store().held_bytes(), held, "bytes held by core {:?}", shard.id());
    }
}

fn new_topic(world: &mut World, clients: &mut Clients, process: &mut node::Process) {
    let name = TOPICS[world.random.random_range(0..TOPICS.len())];
    let taken = clients.model.topics.iter().any(|topic| topic.name == name && topic.state != TopicState::Gone);
    if !taken {
        clients.create_topic(world, process, name);
    }
}

/// A clean stop; then the power goes.
fn shut_down(world: &mut World, clients: &mut Clients, mut process: node::Process) -> Result<(), Crashed> {
    world.trace(|| "STOP".into());
    (world.fault_one_in, world.full, clients.refused) = (0, false, true);
    for shard in &mut process.shards {
        shard.step(world.now, klamm::shard::Input::Drain);
    }
    for core in 0..process.shards.len() {
        process.end_turn(world, core as u16);
    }
    while !process.shards.iter().all(klamm::shard::Shard::is_drained) {
        assert!(clients.step(world, &mut process)?, "the broker does not get to its end");
    }
    world.trace(|| "stopped".into());
    Err(Crashed)
}

fn seeds() -> Range<u64> {
    let Ok(seeds) = std::env::var("KLAMM_SIM_SEEDS") else { return 0..SEEDS };
    let (first, end) = seeds.split_once("..").unwrap_or(("0", &seeds));
    let [first, end] = [first, end].map(|number| number.parse().expect("KLAMM_SIM_SEEDS is a number, or two"));
    first..end
}

#[test]
fn what_was_acknowledged_survives() {
    if let Ok(seed) = std::env::var("KLAMM_SIM_SEED") {
        return run(seed.parse().expect("KLAMM_SIM_SEED is a number"), true);
    }
    let Range { start, end } = seeds();
    let next = AtomicU64::new(start);
    let work = || {
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return failed;
            }
            if catch_unwind(AssertUnwindSafe(|| run(seed, false))).is_err() {
                eprintln!(
                    "seed {seed} failed; again, with all that happens: KLAMM_SIM_SEED={seed} cargo test --test sim"
                );
                failed.push(seed);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("panics are caught")).collect()
    });
    let expired = retention::EXPIRED.load(Ordering::Relaxed);
    assert!(end - start < SEEDS || expired > 0, "no record went because it was old, or one too many");
    let (cuts, skips) = (replica::CUTS.load(Ordering::Relaxed), replica::SKIPS.load(Ordering::Relaxed));
    assert!(end - start < SEEDS || (cuts > 0 && skips > 0), "nothing was cut off or passed over");
    assert!(failed.is_empty(), "{} of the seeds {start}..{end} failed: {failed:?}", failed.len());
}
