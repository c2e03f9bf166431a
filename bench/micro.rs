//! What the machines cost without a kernel below them: `cargo bench`. The figures are medians of one thread.

mod drive;

use bytes::{Bytes, BytesMut};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use klamm::journal::{self, Journal};
use klamm::log::check::Rules;
use klamm::log::{self, BatchInfo, Read, Settings};
use klamm::shard::store::{DiskOp, Limits, LogIndex, Store};
use klamm::types::{Now, PartitionId, Time, Uuid};
use klamm::wire::batch::{BatchBuilder, Compression, HEADER_BYTES, crc_ok, replace_records};
use klamm::wire::codec::Reader;
use klamm::wire::compression::{Codec, Workspace, compress};
use klamm::wire::frame::{request_frame, response_frame};
use klamm::wire::messages::{
    ApiKey, MetadataResponse, ProduceRequest, RequestHeader, metadata_response, produce_request,
};
use std::hint::black_box;
use std::sync::Arc;

fn main() {
    drive::print();
    divan::main();
}

const PARTITIONS: u32 = 16;
const RECORD_BYTES: usize = 1024;
const NOW: Now = Now { mono: Time(0), wall_ms: 1_700_000_000_000 };

fn batch(bytes: usize) -> Bytes {
    let value = vec![7; RECORD_BYTES.min(bytes)];
    (0..(bytes / RECORD_BYTES).max(1))
        .fold(BatchBuilder::new(0), |builder, _| builder.record(NOW.wall_ms, None, Some(&value)))
        .build()
}

/// A store whose disk does everything at once.
struct Bench {
    store: Store,
    logs: Vec<LogIndex>,
    ops: Vec<DiskOp>,
}

impl Bench {
    fn new() -> Bench {
        let limits = journal::Limits { file_bytes: 64 << 20, files_max: 4, waiting_bytes_max: 64 << 20 };
        let limits_store = Limits { memory_bytes: 64 << 20, cores: 1, core: 0 };
        let mut store = Store::new(limits_store, Journal::new(limits, 0, 1, vec![0, 1, 2, 3], 4));
        let settings = Arc::new(Settings {
            segment_bytes: 1 << 30,
            segment_ms: i64::MAX,
            segment_jitter_ms: 0,
            index_bytes_max: 10 << 20,
            index_interval: 4096,
            retention_ms: None,
            retention_bytes: None,
            delete_delay_ms: 0,
            ack_memory: false,
        });
        let logs = (0..PARTITIONS).map(|index| {
            let id = PartitionId { topic: Uuid([1; 16]), index: index as i32 };
            store.open(id, &Arc::from(format!("bench-{index}")), &settings)
        });
        let logs = logs.collect();
        Bench { store, logs, ops: Vec::new() }
    }

    fn append(&mut self, partition: u32, batch: &[u8], info: &BatchInfo) {
        self.store.append(NOW, self.logs[partition as usize], BytesMut::from(batch), info).expect("nothing fails");
    }

    /// Plans and completes until nothing is left to do.
    fn settle(&mut self) {
        loop {
            self.store.plan(NOW, &mut self.ops);
            if self.ops.is_empty() {
                break;
            }
            for op in std::mem::take(&mut self.ops) {
                let done = black_box(op).done(true);
                self.store.done(NOW, done);
            }
        }
        self.store.take_advanced();
    }
}

/// Placing, journalling and flushing batches: all that an append costs but the copies into the device's buffers.
#[divan::bench(args = [1024, 65536, 262144])]
fn append(bencher: Bencher, bytes: usize) {
    let batch = batch(bytes);
    let info = log::check::info(&batch).expect("the batch is whole");
    let mut bench = Bench::new();
    let mut turn = 0;
    bencher.counter(BytesCount::new(batch.len())).bench_local(|| {
        bench.append(turn % PARTITIONS, &batch, &info);
        turn += 1;
        if turn % PARTITIONS == 0 {
            bench.settle();
        }
    });
}

/// Finding what a fetch of 1 MiB returns, in memory.
#[divan::bench(args = [1024, 65536])]
fn fetch(bencher: Bencher, batch_bytes: usize) {
    let batch = batch(batch_bytes);
    let info = log::check::info(&batch).expect("the batch is whole");
    let mut bench = Bench::new();
    while bench.store.log(bench.logs[0]).expect("it is open").end() * (RECORD_BYTES as i64) < 16 << 20 {
        bench.append(0, &batch, &info);
        bench.settle();
    }
    let log = bench.store.log(bench.logs[0]).expect("it is open");
    let (end, mut offset) = (log.high_watermark(), 0);
    bencher.bench_local(|| {
        let read = log.read(offset, end, 1 << 20);
        assert!(matches!(read, Read::Memory { .. }));
        offset = (offset + 1000) % (end - 2000);
        black_box(read);
    });
}

#[divan::bench(args = [1024, 262144])]
fn check_crc(bencher: Bencher, bytes: usize) {
    let batch = batch(bytes);
    bencher.counter(BytesCount::new(batch.len())).bench_local(|| assert!(crc_ok(black_box(&batch))));
}

/// A batch of 1,000 records whose values of 100 bytes compress about as logs do.
fn text_batch(compression: Compression) -> Bytes {
    let mut state = 1u32;
    let mut word = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("{:03} ", (state >> 16) % 500)
    };
    let mut value = || (0..25).map(|_| word()).collect::<String>();
    let plain = (0..1000)
        .fold(BatchBuilder::new(0), |builder, _| builder.record(NOW.wall_ms, None, Some(value().as_bytes())))
        .build();
    let payload = compress(Codec { compression, level: None }, &plain[HEADER_BYTES..]);
    replace_records(&plain, compression, &payload).freeze()
}

/// The full check of a batch before it is appended; the throughput is that of the decompressed records.
#[divan::bench(args = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd])]
fn check_records(bencher: Bencher, compression: Compression) {
    let batch = text_batch(compression);
    let rules = Rules {
        message_bytes_max: 1 << 20,
        decompressed_bytes_max: 1 << 30,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        log_append_time: false,
        key_required: false,
        codec: None,
        header_only: false,
    };
    let mut workspace = Workspace::default();
    let plain = text_batch(Compression::None).len();
    bencher.counter(BytesCount::new(plain)).with_inputs(|| BytesMut::from(&batch[..])).bench_local_values(|batch| {
        let checked = log::check::check(batch, 9, &rules, NOW.wall_ms, &mut workspace);
        black_box(checked.expect("it is sound"));
    });
}

fn produce_frame(partitions: usize) -> Vec<u8> {
    let batch = batch(1024);
    let partition = |index| produce_request::PartitionProduceData {
        index,
        records: Some(klamm::wire::codec::Records::Slice(&batch)),
    };
    let topic = produce_request::TopicProduceData {
        name: "bench".into(),
        partition_data: (0..partitions as i32).map(partition).collect(),
        ..Default::default()
    };
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    request_frame(ApiKey::Produce, 9, 1, Some("bench"), |w| request.encode(w, 9)).concat()
}

#[divan::bench(args = [1, 100])]
fn decode_produce(bencher: Bencher, partitions: usize) {
    let frame = produce_frame(partitions);
    bencher.counter(ItemsCount::new(partitions)).bench_local(|| {
        let mut reader = Reader::new(&frame[4..]);
        RequestHeader::decode(&mut reader, 2).expect("a header");
        black_box(ProduceRequest::decode(&mut reader, 9).expect("a request"));
    });
}

#[divan::bench(args = [1, 1000])]
fn encode_metadata(bencher: Bencher, partitions: usize) {
    let partition = |partition_index| metadata_response::MetadataResponsePartition {
        partition_index,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        ..Default::default()
    };
    let topic = metadata_response::MetadataResponseTopic {
        name: Some("bench".into()),
        partitions: (0..partitions as i32).map(partition).collect(),
        ..Default::default()
    };
    let response = MetadataResponse { topics: vec![topic], ..Default::default() };
    bencher.counter(ItemsCount::new(partitions)).bench_local(|| {
        black_box(response_frame(ApiKey::Metadata.header_versions(12).1, 1, |w| response.encode(w, 12)));
    });
}
