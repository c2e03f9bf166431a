//! What a coordinator of groups costs: loading a million positions, from a checkpoint and from the log, and committing
//! (`cargo bench --bench groups`). Medians of one thread; the target is one second for a load.

mod drive;

use divan::Bencher;
use divan::counter::ItemsCount;
use klamm::group::{Caller, Coordinator, Request, Restoring, Settings, Ticket};
use klamm::types::{Now, RequestId, ShardId, Time};
use klamm::wire::messages::OffsetCommitRequest;
use klamm::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use std::hint::black_box;

fn main() {
    drive::print();
    divan::main();
}

const GROUPS: usize = 1000;
const TOPICS: usize = 250;
const PARTITIONS: i32 = 4;
const POSITIONS: usize = GROUPS * TOPICS * PARTITIONS as usize;
/// Commits that share an append, as under load.
const COMMITS_PER_APPEND: usize = 16;
/// Bytes of a checkpoint that are taken over at once, as in the broker.
const RESTORED_BYTES: usize = 256 << 10;
const NOW: Now = Now { mono: Time(0), wall_ms: 1_700_000_000_000 };

type Stored = (Vec<u8>, Option<Vec<u8>>);

fn topic(number: usize, partitions: i32) -> OffsetCommitRequestTopic<'static> {
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 12_345_678,
        committed_metadata: Some("".into()),
        ..Default::default()
    };
    OffsetCommitRequestTopic {
        name: format!("a-topic-of-some-length-{number:04}").into(),
        partitions: (0..partitions).map(partition).collect(),
        ..Default::default()
    }
}

fn group(number: usize) -> String {
    format!("application-group-{number:04}")
}

/// A commit by nobody.
fn commit(coordinator: &mut Coordinator, group: &str, topics: Vec<OffsetCommitRequestTopic<'_>>) {
    let request = OffsetCommitRequest { group_id: group.into(), topics, ..Default::default() };
    let ticket = Ticket { shard: ShardId(0), request: RequestId(0), part: 0 };
    let caller = Caller {
        ticket,
        version: 9,
        client_id: "bench",
        client_host: "/bench",
        random: [0; 16],
        member_bytes_elsewhere: 0,
        offset_bytes_elsewhere: 0,
    };
    coordinator.handle(NOW, &caller, &Request::OffsetCommit(request), &|_, _| true);
}

/// Makes durable what was decided; gives the records.
fn append(coordinator: &mut Coordinator, log: &mut Option<Vec<Stored>>) {
    let mut end = coordinator.offset_end();
    while let Some(append) = coordinator.plan_append() {
        let (id, count) = (append.id, append.records.len() as i64);
        if let Some(log) = log {
            log.extend(
                append.records.iter().map(|record| (record.key.to_vec(), record.value.as_deref().map(<[u8]>::to_vec))),
            );
        }
        end += count;
        coordinator.appended(NOW, id, Ok(end));
    }
    coordinator.take_answers();
}

fn active() -> Coordinator {
    let mut coordinator = Coordinator::new(Settings::default());
    coordinator.loaded(NOW);
    coordinator
}

/// A coordinator of a million positions, and its log.
fn full() -> (Coordinator, Vec<Stored>) {
    let (mut coordinator, mut log) = (active(), Some(Vec::with_capacity(POSITIONS)));
    for number in 0..GROUPS {
        commit(&mut coordinator, &group(number), (0..TOPICS).map(|number| topic(number, PARTITIONS)).collect());
        append(&mut coordinator, &mut log);
    }
    (coordinator, log.unwrap_or_default())
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn load_from_checkpoint(bencher: Bencher) {
    let (coordinator, _) = full();
    let mut checkpoint = coordinator.checkpoint();
    while coordinator.checkpoint_part(&mut checkpoint, usize::MAX / 2) {}
    let bytes = checkpoint.finish();
    bencher.counter(ItemsCount::new(POSITIONS)).bench_local(|| {
        let mut coordinator = Coordinator::new(Settings::default());
        let mut restoring = Restoring::new(black_box(bytes.clone())).expect("a head");
        while !coordinator.restore_some(&mut restoring, RESTORED_BYTES).expect("it is whole") {}
        coordinator.loaded(NOW);
        coordinator
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn load_from_log(bencher: Bencher) {
    let (_, log) = full();
    bencher.counter(ItemsCount::new(POSITIONS)).bench_local(|| {
        let mut coordinator = Coordinator::new(Settings::default());
        for (offset, (key, value)) in (0..).zip(&log) {
            coordinator.replay(offset, black_box(key), value.as_deref());
        }
        coordinator.loaded(NOW);
        coordinator
    });
}

#[divan::bench]
fn commits(bencher: Bencher) {
    let mut coordinator = active();
    let mut number = 0;
    bencher.counter(ItemsCount::new(COMMITS_PER_APPEND)).bench_local(|| {
        for _ in 0..COMMITS_PER_APPEND {
            number = (number + 1) % GROUPS;
            commit(&mut coordinator, &group(number), vec![topic(0, 1)]);
        }
        append(&mut coordinator, &mut None);
    });
}
