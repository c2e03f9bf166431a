//! The journal written to files in memory and read back: order, recycling, generations, torn blocks; and its bytes, and
//! those of a checkpoint, as they were written down, so that no change of format goes unnoticed.

use bytes::Bytes;
use klamm::journal::{
    ALIGNMENT, BLOCK_BYTES_MAX, BlockWrite, Entry, EntryKind, FileIndex, Journal, Limits, Replay, ReplayStep,
    decode_entries,
};
use klamm::log::{Producer, ProducerBatch, Producers, Restored, Segment};
use klamm::shard::checkpoint::{CheckpointBuilder, CheckpointHead, decode};
use klamm::types::{PartitionId, Uuid};
use std::collections::BTreeMap;

const FILE_BYTES: usize = 2 * BLOCK_BYTES_MAX;
const LIMITS: Limits = Limits { file_bytes: FILE_BYTES as u64, files_max: 4, waiting_bytes_max: 1 << 20 };
const CORE: u16 = 3;

fn partition() -> PartitionId {
    PartitionId { topic: Uuid(std::array::from_fn(|i| i as u8)), index: 2 }
}

fn entry(offset: i64, payload: &[u8]) -> Entry {
    let payload_bytes = payload.len() as u32;
    Entry { kind: EntryKind::Batch, roll: false, partition: partition(), epoch: 0, offset, payload_bytes }
}

/// A journal with its files.
fn append(journal: &mut Journal, entry: &Entry, payload: impl Into<Bytes>) -> u64 {
    let payload = payload.into();
    let crc = crc32c::crc32c(&payload);
    journal.append(entry, payload, crc)
}

struct Bench {
    journal: Journal,
    files: BTreeMap<FileIndex, Vec<u8>>,
    offset: i64,
}

impl Bench {
    fn new() -> Bench {
        let files = BTreeMap::from([(0, vec![0; FILE_BYTES])]);
        Bench { journal: Journal::new(LIMITS, CORE, 1, vec![0]), files, offset: 0 }
    }

    fn restart(&mut self, generation: u64) {
        let files = self.files.keys().copied().collect();
        self.journal = Journal::new(LIMITS, CORE, generation, files);
    }

    fn prepare(&mut self) {
        while let Some((file, bytes)) = self.journal.plan_prepare() {
            self.files.insert(file, vec![0; bytes as usize]);
            self.journal.prepared(file);
        }
    }

    fn write(&mut self, block: &BlockWrite) {
        let (start, content) = (block.position as usize, block.parts.concat());
        let file = self.files.get_mut(&block.file).expect("a file of the ring");
        file[start..start + content.len()].copy_from_slice(&content);
        file[start + content.len()..start + block.bytes].fill(0);
    }

    /// One block with one batch of so many bytes; `None` if the ring has no room.
    fn block(&mut self, bytes: usize) -> Option<BlockWrite> {
        let payload = vec![self.offset as u8; bytes];
        append(&mut self.journal, &entry(self.offset, &payload), payload);
        self.offset += 1;
        self.prepare();
        let block = self.journal.plan_block()?;
        self.write(&block);
        self.journal.written(block.sequence);
        Some(block)
    }

    /// What a start finds: the sequences, and the offsets of the batches in them.
    fn replay(&self, covered: (u64, u64)) -> Vec<(u64, i64)> {
        let heads: Vec<_> = self.files.iter().map(|(file, bytes)| (*file, bytes[..ALIGNMENT].to_vec())).collect();
        let Some(mut replay) = Replay::new(&heads, covered.0, covered.1) else { return Vec::new() };
        let mut found = Vec::new();
        let mut want = replay.want();
        while let ReplayStep::Want { file, position, bytes } = want {
            let content = &self.files[&file][(position as usize).min(FILE_BYTES)..];
            want = match replay.feed(&content[..bytes.min(content.len())]) {
                ReplayStep::Block { bytes, sequence } => {
                    match decode_entries(&content[..bytes]) {
                        Some(entries) => {
                            found.extend(entries.iter().map(|(entry, _)| (sequence, entry.offset)));
                            replay.accept(bytes);
                        }
                        None => replay.stop(),
                    }
                    replay.want()
                }
                step => step,
            };
        }
        found
    }
}

fn counted(from: i64, to: i64) -> Vec<(u64, i64)> {
    (from..to).map(|offset| (offset as u64 + 1, offset)).collect()
}

#[test]
fn blocks_come_back_in_order_and_whole() {
    let mut bench = Bench::new();
    let sizes = [10, 5000, 1 << 20, 1, 700_000, 4096, 300_000, 900_000];
    let blocks: Vec<BlockWrite> = sizes.iter().map(|bytes| bench.block(*bytes).expect("room")).collect();
    assert!(blocks.iter().all(|block| block.position.is_multiple_of(ALIGNMENT as u64)));
    assert!(blocks.iter().any(|block| block.file > 0), "the blocks fill more than one file");
    assert_eq!(bench.replay((0, 0)), counted(0, sizes.len() as i64));
}

#[test]
fn what_gathers_becomes_one_block() {
    let mut bench = Bench::new();
    for offset in 0..3 {
        assert_eq!(append(&mut bench.journal, &entry(offset, b"abc"), Bytes::from_static(b"abc")), 1);
    }
    let block = bench.journal.plan_block().unwrap();
    assert_eq!((block.bytes, block.sequence), (ALIGNMENT, 1));
    bench.write(&block);
    assert_eq!(bench.replay((0, 0)), [(1, 0), (1, 1), (1, 2)]);
}

#[test]
fn the_ring_is_reused_and_what_was_released_does_not_come_back() {
    let mut bench = Bench::new();
    let mut written = 0;
    while bench.block(400_000).is_some() {
        written += 1;
    }
    assert_eq!(bench.files.len(), LIMITS.files_max as usize, "the ring is full");
    assert_eq!(bench.replay((0, 0)), counted(0, written));
    let release = bench.journal.release_wanted().expect("the ring is short of files");
    bench.journal.release(release);
    let waiting = bench.journal.plan_block().expect("room again");
    assert_eq!(waiting.position, 0);
    bench.write(&waiting);
    bench.journal.written(waiting.sequence);
    let last = bench.block(10).unwrap();
    let replayed = bench.replay((1, release));
    assert_eq!(replayed, counted(release as i64, last.sequence as i64), "after what a checkpoint covers");
}

#[test]
fn a_torn_block_ends_the_replay() {
    for torn_at in [0, 40, 600, 5000] {
        let mut bench = Bench::new();
        (0..3).for_each(|_| drop(bench.block(100)));
        let torn = bench.block(6000).unwrap();
        bench.block(10).unwrap();
        assert_eq!(bench.replay((0, 0)).len(), 5);
        let from = torn.position as usize + torn_at;
        let file = bench.files.get_mut(&torn.file).unwrap();
        file[from..from + 16].fill(0xee);
        assert_eq!(bench.replay((0, 0)), counted(0, 3), "torn at byte {torn_at}");
    }
}

#[test]
fn a_block_that_claims_more_than_its_file_is_none() {
    let mut bench = Bench::new();
    bench.block(10).unwrap();
    let last = bench.block(10).unwrap();
    let file = bench.files.get_mut(&0).unwrap();
    file.truncate(last.position as usize + ALIGNMENT);
    let length = last.position as usize + 24;
    file[length..length + 4].copy_from_slice(&(1u32 << 30).to_le_bytes());
    let heads = [(0, file[..ALIGNMENT].to_vec())];
    let mut replay = Replay::new(&heads, 0, 0).unwrap();
    let ReplayStep::Block { bytes, .. } = replay.feed(&file[..ALIGNMENT]) else { panic!("the first block is whole") };
    replay.accept(bytes);
    let step = replay.feed(&file[ALIGNMENT..]);
    assert_eq!(step, ReplayStep::Want { file: 0, position: ALIGNMENT as u64, bytes: 1 << 30 });
}

#[test]
fn only_the_newest_generation_counts() {
    let mut bench = Bench::new();
    (0..7).for_each(|_| drop(bench.block(900_000)));
    assert!(bench.files.len() > 2);
    bench.restart(2);
    let first = bench.block(10).unwrap();
    assert_eq!((first.file, first.position, first.sequence), (0, 0, 1));
    assert_eq!(
        bench.replay((1, 7)),
        [(1, 7)],
        "the older blocks behind it in the file and in other files are not read"
    );
    assert_eq!(bench.replay((2, 1)), [(1, 7)], "a file is read from its begin");
    bench.block(10).unwrap();
    assert_eq!(bench.replay((1, 7)), [(1, 7), (2, 8)]);
}

#[test]
fn nothing_is_found_in_new_files() {
    assert_eq!(Bench::new().replay((0, 0)), []);
}

#[test]
fn room_is_counted_with_what_waits_and_without_a_release() {
    let mut bench = Bench::new();
    bench.block(10).unwrap();
    assert!(!bench.journal.has_room(10), "no other file is ready");
    bench.prepare();
    assert!(bench.journal.has_room(1000));
    assert!(!bench.journal.has_room(FILE_BYTES));
    append(&mut bench.journal, &entry(1, &[0; 1 << 20]), vec![0; 1 << 20]);
    assert!(!bench.journal.has_room(FILE_BYTES - (1 << 20)), "what waits goes first");
    bench.journal.plan_block().unwrap();
    while bench.journal.has_room(1) {
        append(&mut bench.journal, &entry(2, &[0; 900_000]), vec![0; 900_000]);
    }
    assert!(!bench.journal.has_room(0));
}

/// The bytes of a file of hexadecimal digits with comments.
fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let digits = text.lines().flat_map(|line| line.split('#').next().unwrap().split_whitespace());
    digits.map(|byte| u8::from_str_radix(byte, 16).expect("two digits")).collect()
}

#[track_caller]
fn same(bytes: &[u8], name: &str) {
    let hex = |bytes: &[u8]| -> Vec<String> {
        bytes.chunks(16).map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(hex(bytes).join("\n"), hex(&golden(name)).join("\n"), "{name}");
}

#[test]
fn a_block_has_the_bytes_that_were_written_down() {
    let mut journal = Journal::new(LIMITS, CORE, 9, vec![0]);
    let batch = Entry { roll: true, epoch: 5, ..entry(0x0102_0304, b"xyz") };
    append(&mut journal, &batch, Bytes::from_static(b"xyz"));
    append(&mut journal, &Entry { kind: EntryKind::Carried, ..entry(7, b"w") }, Bytes::from_static(b"w"));
    append(&mut journal, &Entry { kind: EntryKind::LogStart, ..entry(8, b"") }, Bytes::new());
    let block = journal.plan_block().unwrap().parts.concat();
    same(&block, "journal_block");
    let entries = decode_entries(&golden("journal_block")).unwrap();
    assert_eq!(entries[0], (batch, 80..83));
    assert_eq!(entries.iter().map(|(entry, _)| entry.offset).collect::<Vec<_>>(), [0x0102_0304, 7, 8]);
}

#[test]
fn a_checkpoint_has_the_bytes_that_were_written_down() {
    let mut segment = Segment::new(100);
    for i in 0..3 {
        segment.push(100 + i, 100 + i, 300 << 10, 5000 + i, 4096);
    }
    let mut producers = Producers::default();
    let known =
        ProducerBatch { sequence_first: 4, sequence_last: 6, offset_first: 100, offset_last: 102, timestamp: 5002 };
    producers.insert(77, Producer { epoch: 1, batches: [known].into(), seen_ms: 6000 });
    let log =
        Restored { start: 101, flushed_end: 103, segments: vec![segment], producers, epochs: vec![(0, 100), (2, 102)] };
    let head = CheckpointHead { generation: 3, core: 1, cores: 2, sequence: 88 };
    let mut builder = CheckpointBuilder::default();
    builder.add(partition(), &log);
    same(&builder.finish(head), "checkpoint");
    let (found_head, found) = decode(&golden("checkpoint")).unwrap();
    assert_eq!((found_head, found[0].0), (head, partition()));
    let (found, index) = (&found[0].1, log.segments[0].index_coarse(u32::MAX));
    assert_eq!(
        (found.start, found.flushed_end, &found.producers, &found.epochs),
        (101, 103, &log.producers, &log.epochs)
    );
    assert_eq!(found.segments[0].index(), index);
}
