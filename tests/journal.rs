//! The journal written to files in memory and read back: order, recycling, generations, torn blocks; and its bytes, and
//! those of a checkpoint, as they were written down, so that no change of format goes unnoticed.

use bytes::Bytes;
use klamm::journal::{
    ALIGNMENT, BLOCK_BYTES_MAX, BLOCK_HEADER_BYTES, BlockHeader, BlockWrite, Damage, Entry, EntryKind, FileIndex,
    HEAD_BYTES, Journal, Limits, Replay, Spot, decode_entries, generation_next,
};
use klamm::log::{
    Cut, Producer, ProducerBatch, Producers, Restored, Segment, SegmentId, Unsound, decode_skip, encode_skip,
};
use klamm::shard::checkpoint::{CheckpointBuilder, CheckpointHead, decode};
use klamm::types::{Epoch, PartitionId, ProducerEpoch, ProducerId, Sequence, Uuid};
use std::collections::BTreeMap;

const FILE_BYTES: usize = 2 * BLOCK_BYTES_MAX;
const LIMITS: Limits = Limits { file_bytes: FILE_BYTES as u64, files_max: 4, waiting_bytes_max: 1 << 20 };
const CORE: u16 = 3;

fn partition() -> PartitionId {
    PartitionId { topic: Uuid(std::array::from_fn(|i| i as u8)), index: 2 }
}

fn entry(offset: i64, payload: &[u8]) -> Entry {
    let payload_bytes = payload.len() as u32;
    Entry { kind: EntryKind::Batch, roll: false, partition: partition(), epoch: Epoch(0), offset, payload_bytes }
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
        Bench { journal: Journal::new(LIMITS, CORE, 1, vec![0], 1), files, offset: 0 }
    }

    fn restart(&mut self, generation: u64) {
        let files: Vec<FileIndex> = self.files.keys().copied().collect();
        let file_next = files.len() as FileIndex;
        self.journal = Journal::new(LIMITS, CORE, generation, files, file_next);
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
        let (found, damages) = self.replay_with_damage(covered);
        assert_eq!(damages, []);
        found
    }

    fn replay_with_damage(&self, covered: (u64, u64)) -> (Vec<(u64, i64)>, Vec<Damage>) {
        let heads: Vec<_> = self.files.iter().map(|(file, bytes)| (*file, bytes[..HEAD_BYTES].to_vec())).collect();
        let Some(mut replay) = Replay::new(CORE, &heads, &[covered], false) else { return Default::default() };
        let mut found = Vec::new();
        while let Some(want) = replay.want() {
            let content = &self.files[&want.file];
            let from = (want.position as usize).min(content.len());
            let content = &content[from..(from + want.bytes).min(content.len())];
            let Some(block) = replay.feed(content) else { continue };
            for (entry, payload) in block.entries {
                let sound = content[payload].iter().all(|byte| *byte == entry.offset as u8);
                assert!(sound || block.damaged, "the payload at {}", entry.offset);
                found.extend(sound.then_some((block.sequence, entry.offset)));
            }
        }
        (found, replay.damages().to_vec())
    }

    /// One block after the other has come to its end before the next one is made, unless `overlapping`.
    fn several(&mut self, count: usize, bytes: usize, overlapping: bool) -> Vec<BlockWrite> {
        let mut writes = Vec::new();
        for _ in 0..count {
            let payload = vec![self.offset as u8; bytes];
            append(&mut self.journal, &entry(self.offset, &payload), payload);
            self.offset += 1;
            self.prepare();
            let block = self.journal.plan_block().expect("room");
            self.write(&block);
            if !overlapping {
                self.journal.written(block.sequence);
            }
            writes.push(block);
        }
        writes
    }

    /// As if none of these blocks had been durable when another was made: a journal that begins more than one in a file at a time.
    fn put_under_way(&mut self, blocks: &[BlockWrite]) {
        for block in blocks {
            let (start, file) = (block.position as usize, self.files.get_mut(&block.file).expect("a file of the ring"));
            let header = BlockHeader::decode(&file[start..]).expect("a block");
            let entries = crc32c::crc32c(&file[start + BLOCK_HEADER_BYTES..start + header.bytes as usize]);
            let under_way = BlockHeader { in_flight: header.sequence as u16 - 1, ..header };
            file[start..start + BLOCK_HEADER_BYTES].copy_from_slice(&under_way.encode(entries));
            assert!(decode_entries(&file[start..start + header.bytes as usize]).is_some(), "a sound block");
        }
    }

    fn spoil(&mut self, file: FileIndex, position: u64, bytes: usize) {
        let content = self.files.get_mut(&file).expect("a file of the ring");
        content[position as usize..position as usize + bytes].iter_mut().for_each(|byte| *byte ^= 0x5a);
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
        assert_eq!(append(&mut bench.journal, &entry(offset, &[offset as u8; 3]), vec![offset as u8; 3]), 1);
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
    for torn_at in [0, 40, 100_000, 500_000] {
        let mut bench = Bench::new();
        bench.several(3, 100, false);
        // Four at a time, the first of which is torn: nothing says that it was durable.
        let torn = bench.several(3, BLOCK_BYTES_MAX / 2, true).remove(0);
        assert_eq!(bench.replay((0, 0)).len(), 6);
        bench.spoil(torn.file, torn.position + torn_at, 16);
        assert_eq!(bench.replay((0, 0)), counted(0, 3), "torn at byte {torn_at}");
    }
}

#[test]
fn damage_before_blocks_that_prove_it_was_durable_is_told_from_a_torn_end() {
    // The block's header, an entry's header, a payload; and a block that is gone.
    for (damaged_at, bytes, complete, kept) in
        [(4, 16, true, true), (44, 16, false, false), (90, 16, true, false), (0, ALIGNMENT, false, false)]
    {
        let mut bench = Bench::new();
        let blocks = bench.several(40, 100, false);
        bench.spoil(blocks[7].file, blocks[7].position + damaged_at, bytes);
        let (found, damages) = bench.replay_with_damage((0, 0));
        let spot = Spot { file: blocks[7].file, position: blocks[7].position };
        let expected: Vec<_> = counted(0, 40).into_iter().filter(|(sequence, _)| *sequence != 8 || kept).collect();
        assert_eq!(found, expected, "damaged at byte {damaged_at}");
        assert_eq!(damages, [Damage { spot, sequence_first: 8, sequence_last: 8, complete }]);
        // What a checkpoint covers is not needed.
        let behind = counted(20, 40);
        assert_eq!(bench.replay_with_damage((1, 20)), (behind, Vec::new()));
    }
}

#[test]
fn the_last_block_is_a_torn_end_and_the_one_before_is_damage() {
    let mut bench = Bench::new();
    let blocks = bench.several(5, 100, false);
    let mut torn = Bench { journal: Journal::new(LIMITS, CORE, 1, vec![], 0), files: bench.files.clone(), offset: 0 };
    torn.spoil(0, blocks[4].position, 16);
    assert_eq!(torn.replay((0, 0)), counted(0, 4));
    bench.spoil(0, blocks[3].position + 60, 16);
    let (found, damages) = bench.replay_with_damage((0, 0));
    assert_eq!((found.len(), damages.len(), damages[0].sequence_first), (4, 1, 4));
}

#[test]
fn damage_at_the_beginning_of_files_hides_no_other_blocks() {
    let mut bench = Bench::new();
    let blocks = bench.several(12, 600_000, false);
    let files: Vec<FileIndex> = bench.files.keys().copied().collect();
    assert!(files.len() >= 4);
    for file in [0, 1, 2] {
        let mut bench =
            Bench { journal: Journal::new(LIMITS, CORE, 1, vec![], 0), files: bench.files.clone(), offset: 0 };
        let first = blocks.iter().find(|block| block.file == file).expect("each file is used");
        bench.spoil(file, 0, ALIGNMENT);
        let (found, damages) = bench.replay_with_damage((0, 0));
        let expected: Vec<_> = counted(0, 12).into_iter().filter(|(sequence, _)| *sequence != first.sequence).collect();
        assert_eq!(found, expected, "file {file}");
        assert!(damages.iter().all(|damage| damage.sequence_first == first.sequence), "{damages:?}");
        assert!(!damages.is_empty());
    }
}

#[test]
fn a_generation_whose_first_block_is_lost_has_ended() {
    let mut bench = Bench::new();
    bench.several(2, 900_000, false);
    bench.restart(2);
    // All at a time, in two files; the first one does not reach the device, and its place holds what it held before.
    let before = bench.files[&0].clone();
    let blocks = bench.several(3, BLOCK_BYTES_MAX - 100, false);
    bench.put_under_way(&blocks);
    let other = blocks.iter().find(|block| block.file != 0).expect("the second file is used");
    assert_eq!(other.position, 0);
    bench.files.insert(0, before);
    assert_eq!(bench.replay((1, 2)), [], "nothing of it was acknowledged");
}

#[test]
fn a_generation_is_never_the_same_twice() {
    assert!(generation_next(0, 7) > 7);
    let (first, again) = (generation_next(5 << 32 | 9, 1), generation_next(5 << 32 | 9, 2));
    assert!(first != again && first > 5 << 32 | u64::from(u32::MAX));
    // The start before has left a torn block only, and this one writes at the same places.
    let mut bench = Bench::new();
    bench.restart(first);
    bench.several(2, 100, false);
    bench.spoil(0, 0, 16);
    bench.restart(again);
    bench.several(1, 100, false);
    assert_eq!(bench.replay((0, 0)), [(1, 2)], "the second block is of the start before");
}

#[test]
fn a_block_that_claims_more_than_its_file_is_none() {
    let mut bench = Bench::new();
    let last = bench.several(2, 5000, false).remove(1);
    bench.files.get_mut(&0).unwrap().truncate(HEAD_BYTES.max(last.position as usize + ALIGNMENT));
    bench.files.get_mut(&0).unwrap()[last.position as usize + ALIGNMENT..].fill(0);
    assert_eq!(bench.replay((0, 0)), counted(0, 1));
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
    assert_eq!(bench.replay((2, 1)), [], "what the checkpoint covers is not shown");
    assert_eq!(bench.replay((3, 0)), [], "a later start's checkpoint covers all of it");
    bench.block(10).unwrap();
    assert_eq!(bench.replay((1, 7)), [(1, 7), (2, 8)]);
}

#[test]
fn nothing_is_found_in_new_files() {
    assert_eq!(Bench::new().replay((0, 0)), []);
}

#[test]
fn a_ring_that_cannot_grow_goes_on_with_what_it_has() {
    for ring in [1, 2] {
        let files: Vec<FileIndex> = (0..ring).collect();
        let mut journal = Journal::new(LIMITS, CORE, 1, files, ring);
        let mut written = 0;
        for offset in 0..50 {
            append(&mut journal, &entry(offset, &[0; 600_000]), vec![0; 600_000]);
            if let Some((file, _)) = journal.plan_prepare() {
                assert_eq!(file, ring, "a number is used again when no file was made");
                journal.prepare_failed(file);
            }
            let block = journal.plan_block().or_else(|| {
                // Everything is in segments, and a checkpoint says so.
                let wanted = journal.release_wanted().expect("the ring is short of files");
                journal.release(wanted);
                journal.plan_block()
            });
            let block = block.expect("room again");
            assert!(block.file < ring);
            journal.written(block.sequence);
            written += 1;
        }
        assert_eq!(written, 50);
        assert_eq!(journal.plan_prepare().map(|(file, _)| file), Some(ring), "it is tried again");
    }
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
    let mut journal = Journal::new(LIMITS, CORE, 9, vec![0], 1);
    let batch = Entry { roll: true, epoch: Epoch(5), ..entry(0x0102_0304, b"xyz") };
    append(&mut journal, &batch, Bytes::from_static(b"xyz"));
    append(&mut journal, &Entry { kind: EntryKind::Carried, ..entry(7, b"w") }, Bytes::from_static(b"w"));
    append(&mut journal, &Entry { kind: EntryKind::LogStart, ..entry(8, b"") }, Bytes::new());
    let cut = Cut { end: 5, segment: 2, position: 4711, timestamp_max: 1234, timestamp_offset: 4 };
    append(&mut journal, &Entry { kind: EntryKind::Truncate, ..entry(5, &cut.encode()) }, cut.encode());
    append(&mut journal, &Entry { kind: EntryKind::Skip, ..entry(9, &encode_skip(5)) }, encode_skip(5));
    let block = journal.plan_block().unwrap().parts.concat();
    same(&block, "journal_block");
    let entries = decode_entries(&golden("journal_block")).unwrap();
    assert_eq!(entries[0], (batch, 80..83));
    assert_eq!(entries.iter().map(|(entry, _)| entry.offset).collect::<Vec<_>>(), [0x0102_0304, 7, 8, 5, 9]);
    let payload = |at: usize| &block[entries[at].1.clone()];
    assert_eq!((entries[3].0.kind, Cut::decode(5, payload(3))), (EntryKind::Truncate, Ok(cut)));
    assert_eq!((entries[4].0.kind, decode_skip(payload(4))), (EntryKind::Skip, Ok(5)));
    let mut bad = payload(3).to_vec();
    bad[9] ^= 1;
    assert_eq!((Cut::decode(5, &bad), decode_skip(&bad)), (Err(Unsound), Err(Unsound)));
}

#[test]
fn a_checkpoint_has_the_bytes_that_were_written_down() {
    let mut segment = Segment::new(SegmentId::new(100, 2));
    for i in 0..3 {
        segment.push(100 + i, 100 + i, 300 << 10, 5000 + i, 4096);
    }
    let mut producers = Producers::default();
    let known = ProducerBatch {
        sequence_first: Sequence(4),
        sequence_last: Sequence(6),
        offset_first: 100,
        offset_last: 102,
        timestamp: 5002,
    };
    producers.insert(ProducerId(77), Producer { epoch: ProducerEpoch(1), batches: [known].into(), seen_ms: 6000 });
    let log = Restored {
        start: 101,
        flushed_end: 103,
        commit_end: 102,
        segments: vec![segment],
        producers,
        epochs: vec![(Epoch(0), 100), (Epoch(2), 102)],
        lost_from: Some(103),
        leftovers: true,
    };
    let head = CheckpointHead { generation: 3, core: 1, cores: 2, sequence: 88, ended: true };
    let mut builder = CheckpointBuilder::default();
    builder.add(partition(), &log);
    same(&builder.finish(head), "checkpoint");
    let (found_head, found) = decode(&golden("checkpoint")).unwrap();
    assert_eq!((found_head, found[0].0), (head, partition()));
    let (found, index) = (&found[0].1, log.segments[0].index_coarse(u32::MAX));
    assert_eq!(
        (found.start, found.flushed_end, found.commit_end, found.lost_from, &found.producers, &found.epochs),
        (101, 103, 102, Some(103), &log.producers, &log.epochs)
    );
    assert_eq!((found.segments[0].index(), found.segments[0].id()), (&index[..], SegmentId::new(100, 2)));
    assert!(found.leftovers);
}
