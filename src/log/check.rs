//! What a batch must be before it may be appended (KIP-98, KIP-467, Kafka's `LogValidator`).
//!
//! A [`Check`] walks the records of a batch, decompressed where they are not plain, in steps that are bounded by the bytes
//! that they look at: what a batch decompresses to is bounded by its topic alone (`max.decompressed.message.bytes`).

use super::records::{Outline, Records, RecordsError};
use super::{BatchInfo, ProducerStamp};
use crate::types::{ProducerEpoch, ProducerId, Sequence, TimestampMs};
use crate::wire::batch::{self, Batch, BatchError, BatchHeader, Compression, HEADER_BYTES};
use crate::wire::compression::{Codec, Pack, Unpack, UnpackError, WINDOW_BYTES_MAX, Workspace};
use crate::wire::error::ErrorCode;
use bytes::BytesMut;

/// How many records of a batch may be named as being at fault.
const FAULTS_MAX: usize = 1000;
const NO_TIMESTAMP: TimestampMs = -1;
/// What it costs to look at a record, and how many bytes are summed in the same time: nanoseconds, about.
const RECORD_COST: usize = 8;
const CHECKSUM_BYTES: usize = 8;
/// What it costs to compress a byte anew.
const PACK_COST: usize = 20;

/// What a topic's settings say of batches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// `max.message.bytes`
    pub message_bytes_max: usize,
    /// `max.decompressed.message.bytes`: of one record, and of all records of a batch.
    pub decompressed_bytes_max: usize,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `message.timestamp.type=LogAppendTime`
    pub log_append_time: bool,
    /// The topic is compacted: each record has a key.
    pub key_required: bool,
    /// `compression.type`; `None` keeps what the producer chose.
    pub codec: Option<Codec>,
    /// `ack.validation=header`: records are looked at only where another rule depends on them.
    pub header_only: bool,
}

/// Why a batch is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Kafka's code for the answer.
    pub code: ErrorCode,
    /// The reason, for people.
    pub message: String,
    /// The records at fault, by their index in the batch, and what is wrong with each (KIP-467).
    pub faults: Vec<(i32, &'static str)>,
}

impl Refusal {
    /// A refusal of the batch as a whole.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), faults: Vec::new() }
    }
}

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, message))
}

/// A batch that may be appended: compressed and with times as its topic wants them.
#[derive(Debug)]
pub struct Checked {
    /// The batch's bytes; offset and epoch are still the producer's.
    pub batch: BytesMut,
    /// What the log needs to know of it.
    pub info: BatchInfo,
}

/// A check that is under way.
pub struct Check {
    batch: BytesMut,
    info: BatchInfo,
    wall_ms: TimestampMs,
    /// The walk over the records; `None` if they are not looked at.
    walk: Option<Walk>,
}

/// Checks `batch`, the records of one partition of a Produce request of `version`, all at once.
pub fn check(
    batch: BytesMut,
    version: i16,
    rules: &Rules,
    wall_ms: TimestampMs,
    workspace: &mut Workspace,
) -> Result<Checked, Refusal> {
    let mut check = Check::new(batch, version, rules, wall_ms)?;
    let walked = check.step(rules, workspace, &mut { usize::MAX })?;
    assert!(walked, "a batch does not decompress to more than there are numbers");
    check.finish(rules, workspace)
}

impl Check {
    /// Begins to check `batch`, the records of one partition of a Produce request of `version`: it must be exactly one
    /// batch with a header that is sound. `rules` are the same in all calls.
    pub fn new(batch: BytesMut, version: i16, rules: &Rules, wall_ms: TimestampMs) -> Result<Check, Refusal> {
        let found = check_bytes(&batch, rules)?;
        let info = check_header(&found, version)?;
        let compression = found.header.compression().expect("it was just checked");
        let times = Times::new(found.header, rules, wall_ms);
        let codec = rules.codec.filter(|codec| codec.compression != compression);
        let needed = !rules.header_only || codec.is_some() || rules.key_required || !times.holds_header(found.header);
        let walk = needed.then(|| Walk::new(compression, codec, info.records, times, rules));
        Ok(Check { batch, info, wall_ms, walk })
    }

    /// What it costs to begin a check of so many bytes.
    pub fn cost(bytes: usize) -> usize {
        1 + bytes / CHECKSUM_BYTES
    }

    /// Walks on until the records end (`true`) or `budget` is spent. What the walk costs is taken from it: nanoseconds, about.
    pub fn step(&mut self, rules: &Rules, workspace: &mut Workspace, budget: &mut usize) -> Result<bool, Refusal> {
        match &mut self.walk {
            Some(walk) => walk.step(&self.batch[HEADER_BYTES..], rules, workspace, budget),
            None => Ok(true),
        }
    }

    /// Forgets what was walked and begins anew with the next step; what the walk held in memory is free.
    pub fn restart(&mut self, rules: &Rules, workspace: &mut Workspace) {
        if let Some(walk) = self.walk.take() {
            let fresh = Walk::new(walk.compression, walk.codec, self.info.records, walk.times, rules);
            walk.unpack.end(workspace);
            self.walk = Some(fresh);
        }
    }

    /// After the last step: the batch as it is to be stored.
    pub fn finish(self, rules: &Rules, workspace: &mut Workspace) -> Result<Checked, Refusal> {
        let Check { mut batch, mut info, wall_ms, walk } = self;
        let header = Batch::first(&batch).expect("it was checked").header;
        let (claimed, log_append_time) = (header.max_timestamp.get(), header.is_log_append_time());
        if let Some(walk) = walk {
            walk.unpack.end(workspace);
            info.timestamp_max = walk.seen.timestamp_max;
            if let (Some(codec), Some(pack)) = (walk.codec, walk.pack) {
                batch = batch::replace_records(&batch, codec.compression, &pack.finish());
                check_size(&batch, rules)?;
            }
        }
        if rules.log_append_time {
            info.timestamp_max = wall_ms;
            batch::set_log_append_time(&mut batch, wall_ms);
        } else if info.timestamp_max != claimed || log_append_time {
            batch::set_create_time(&mut batch, info.timestamp_max);
        }
        Ok(Checked { batch, info })
    }
}

/// How far the records of a batch have been walked.
struct Walk {
    compression: Compression,
    /// How the records are to be compressed, if otherwise than they came.
    codec: Option<Codec>,
    times: Times,
    unpack: Unpack,
    pack: Option<Pack>,
    records: Records,
    /// Decompressed bytes so far.
    bytes: usize,
    seen: Seen,
}

/// What the records showed that were walked.
struct Seen {
    timestamp_max: TimestampMs,
    code: ErrorCode,
    faults: Vec<(i32, &'static str)>,
}

impl Walk {
    fn new(compression: Compression, codec: Option<Codec>, records: i32, times: Times, rules: &Rules) -> Walk {
        // Of a record that is not compressed `max.message.bytes` is the limit.
        let length_max = if compression == Compression::None { usize::MAX } else { rules.decompressed_bytes_max };
        Walk {
            compression,
            codec,
            times,
            unpack: Unpack::new(compression),
            pack: codec.map(Pack::new),
            records: Records::new(records, length_max),
            bytes: 0,
            seen: Seen { timestamp_max: NO_TIMESTAMP, code: ErrorCode::InvalidRecord, faults: Vec::new() },
        }
    }

    fn step(
        &mut self,
        payload: &[u8],
        rules: &Rules,
        workspace: &mut Workspace,
        budget: &mut usize,
    ) -> Result<bool, Refusal> {
        while *budget > 0 {
            let Some(piece) = self.unpack.next(payload, workspace).or_else(refuse_packed)? else {
                self.records.finish().or_else(refuse_records)?;
                return self.seen.verdict().map(|()| true);
            };
            let before = self.records.seen();
            let (times, seen) = (&self.times, &mut self.seen);
            let look = |index, record| seen.look(index, record, times, rules.key_required);
            self.records.feed(piece.bytes, look).or_else(refuse_records)?;
            let records = (self.records.seen() - before) as usize;
            *budget = budget.saturating_sub(piece.cost + RECORD_COST * records);
            self.bytes += piece.bytes.len();
            if self.compression != Compression::None && self.bytes > rules.decompressed_bytes_max {
                let message = format!(
                    "the records decompress to more than max.decompressed.message.bytes of {}",
                    rules.decompressed_bytes_max
                );
                // A producer that is told so sends less at a time.
                return refuse(ErrorCode::MessageTooLarge, message);
            }
            if let Some(pack) = &mut self.pack {
                pack.write(piece.bytes);
                *budget = budget.saturating_sub(PACK_COST * piece.bytes.len());
                check_bytes_max(HEADER_BYTES + pack.bytes(), rules)?;
            }
        }
        Ok(false)
    }
}

impl Seen {
    #[inline(always)]
    fn look(&mut self, index: i32, record: Outline, times: &Times, key_required: bool) {
        let timestamp = times.base.saturating_add(record.timestamp_delta);
        self.timestamp_max = self.timestamp_max.max(timestamp);
        let fault = if record.offset_delta != index {
            "the offset delta is not the record's place in the batch"
        } else if key_required && !record.has_key {
            "a compacted topic takes no record without a key"
        } else if !times.hold(timestamp) {
            self.code = ErrorCode::InvalidTimestamp;
            "the timestamp is out of the range that the topic allows"
        } else {
            return;
        };
        if self.faults.len() < FAULTS_MAX {
            self.faults.push((index, fault));
        }
    }

    fn verdict(&mut self) -> Result<(), Refusal> {
        match self.faults.first() {
            None => Ok(()),
            Some((_, fault)) => {
                Err(Refusal { code: self.code, message: (*fault).into(), faults: std::mem::take(&mut self.faults) })
            }
        }
    }
}

fn refuse_packed<T>(error: UnpackError) -> Result<T, Refusal> {
    match error {
        UnpackError::Corrupt => refuse(ErrorCode::InvalidRecord, "the records cannot be decompressed"),
        UnpackError::Lz4Frame => {
            let message = "not every client reads such an lz4 frame: its blocks depend on each other or on a dictionary, \
                           or its header's checksum is that of Kafka before 0.10";
            refuse(ErrorCode::InvalidRecord, message)
        }
        // Smaller batches are read whatever window they declare.
        UnpackError::Window => refuse(
            ErrorCode::MessageTooLarge,
            format!("the compressed records refer back by more than {WINDOW_BYTES_MAX} bytes"),
        ),
    }
}

fn refuse_records<T>(error: RecordsError) -> Result<T, Refusal> {
    let message = match error {
        RecordsError::NotWhole(index) => format!("record {index} of the batch is not whole, or too much"),
        RecordsError::TooLong(index) => {
            format!("record {index} of the batch is longer than max.decompressed.message.bytes")
        }
    };
    refuse(ErrorCode::InvalidRecord, message)
}

/// The one batch that `bytes` are.
fn check_bytes<'a>(bytes: &'a [u8], rules: &Rules) -> Result<Batch<'a>, Refusal> {
    let batch = match Batch::first(bytes) {
        Ok(batch) => batch,
        // Formats that older versions of the protocol had.
        Err(error @ (BatchError::Magic(0..batch::MAGIC) | BatchError::Incomplete)) => {
            return refuse(ErrorCode::InvalidRecord, error.to_string());
        }
        Err(error) => return refuse(ErrorCode::CorruptMessage, error.to_string()),
    };
    if batch.bytes.len() != bytes.len() {
        return refuse(ErrorCode::InvalidRecord, "a partition's records must be exactly one batch");
    }
    if batch.header.base_offset.get() != 0 {
        return refuse(ErrorCode::InvalidRecord, "the base offset of a batch that is produced must be 0");
    }
    check_size(bytes, rules)?;
    match batch::crc_ok(bytes) {
        true => Ok(batch),
        false => refuse(ErrorCode::CorruptMessage, "the record batch does not match its checksum"),
    }
}

fn check_size(batch: &[u8], rules: &Rules) -> Result<(), Refusal> {
    check_bytes_max(batch.len(), rules)
}

fn check_bytes_max(size: usize, rules: &Rules) -> Result<(), Refusal> {
    let max = rules.message_bytes_max;
    if size <= max {
        return Ok(());
    }
    let message = format!("the record batch of {size} bytes is larger than max.message.bytes of {max}");
    refuse(ErrorCode::MessageTooLarge, message)
}

fn check_header(batch: &Batch<'_>, version: i16) -> Result<BatchInfo, Refusal> {
    let header = batch.header;
    let (records, delta) = (header.records_count.get(), header.last_offset_delta.get());
    if records <= 0 || i64::from(delta) + 1 != i64::from(records) {
        return refuse(
            ErrorCode::InvalidRecord,
            format!("the batch counts {records} records, its last offset delta is {delta}"),
        );
    }
    if header.is_control() {
        return refuse(ErrorCode::InvalidRecord, "clients do not write control batches");
    }
    match header.compression() {
        None => return refuse(ErrorCode::InvalidRecord, "the batch has an unknown compression type"),
        Some(Compression::Zstd) if version < 7 => {
            return refuse(ErrorCode::UnsupportedCompressionType, "zstd needs version 7 of the Produce request");
        }
        Some(_) => {}
    }
    if header.is_transactional() {
        return refuse(ErrorCode::TransactionalIdAuthorizationFailed, "this broker has no transactions");
    }
    let id = header.producer_id.get();
    let (epoch, sequence_first) = (header.producer_epoch.get(), header.base_sequence.get());
    if id >= 0 && (sequence_first < 0 || epoch < 0) {
        return refuse(
            ErrorCode::InvalidRecord,
            format!("sequence {sequence_first} and epoch {epoch} of producer {id} must not be negative"),
        );
    }
    let producer = stamp(header, records);
    Ok(BatchInfo { records, last_offset_delta: delta, timestamp_max: header.max_timestamp.get(), producer })
}

/// Who produced a batch, if the producer is idempotent.
fn stamp(header: &BatchHeader, records: i32) -> Option<ProducerStamp> {
    (header.producer_id.get() >= 0).then(|| ProducerStamp {
        id: ProducerId(header.producer_id.get()),
        epoch: ProducerEpoch(header.producer_epoch.get()),
        sequence_first: Sequence(header.base_sequence.get()),
        records,
    })
}

/// The times that records may have.
#[derive(Clone, Copy)]
struct Times {
    base: TimestampMs,
    earliest: TimestampMs,
    latest: TimestampMs,
}

impl Times {
    fn new(header: &BatchHeader, rules: &Rules, wall_ms: TimestampMs) -> Times {
        let base = header.base_timestamp.get();
        if rules.log_append_time {
            return Times { base, earliest: TimestampMs::MIN, latest: TimestampMs::MAX };
        }
        let (before, after) = (rules.timestamp_before_max_ms, rules.timestamp_after_max_ms);
        Times { base, earliest: wall_ms.saturating_sub(before), latest: wall_ms.saturating_add(after) }
    }

    fn hold(&self, timestamp: TimestampMs) -> bool {
        (self.earliest..=self.latest).contains(&timestamp) || timestamp == NO_TIMESTAMP
    }

    /// Whether the times of the header hold.
    fn holds_header(&self, header: &BatchHeader) -> bool {
        self.hold(self.base) && self.hold(header.max_timestamp.get())
    }
}

/// What the log needs to know of a batch that it holds already.
pub fn info(bytes: &[u8]) -> Option<BatchInfo> {
    let header = Batch::first(bytes).ok()?.header;
    let (records, last_offset_delta) = (header.records_count.get(), header.last_offset_delta.get());
    let producer = stamp(header, records);
    if records <= 0 || last_offset_delta < 0 || producer.is_some_and(|stamp| stamp.sequence_first.0 < 0) {
        return None;
    }
    Some(BatchInfo { records, last_offset_delta, timestamp_max: header.max_timestamp.get(), producer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::BatchBuilder;
    use crate::wire::compression::{compress, decompress};

    const NOW: TimestampMs = 1_000_000;

    fn rules() -> Rules {
        Rules {
            message_bytes_max: 1000,
            decompressed_bytes_max: 1 << 20,
            timestamp_before_max_ms: 100,
            timestamp_after_max_ms: 100,
            log_append_time: false,
            key_required: false,
            codec: None,
            header_only: false,
        }
    }

    fn batch(times: &[TimestampMs]) -> BytesMut {
        let build = |builder: BatchBuilder, ms: &TimestampMs| builder.record(*ms, None, Some(&[7; 100]));
        BytesMut::from(&times.iter().fold(BatchBuilder::new(0), build).build()[..])
    }

    fn codec(compression: Compression) -> Codec {
        Codec { compression, level: None }
    }

    fn packed(bytes: &[u8], compression: Compression) -> BytesMut {
        batch::replace_records(bytes, compression, &compress(codec(compression), &bytes[HEADER_BYTES..]))
    }

    fn checked(batch: BytesMut, rules: &Rules) -> Result<Checked, Refusal> {
        check(batch, 9, rules, NOW, &mut Workspace::default())
    }

    fn refusal(batch: BytesMut, rules: &Rules) -> (ErrorCode, Vec<i32>) {
        let refusal = checked(batch, rules).expect_err("refused");
        (refusal.code, refusal.faults.iter().map(|(index, _)| *index).collect())
    }

    const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    #[test]
    fn a_sound_batch_stays_as_it_is() {
        for compression in ALL {
            let sent = packed(&batch(&[NOW, NOW + 5, NOW - 5]), compression);
            let stored = checked(sent.clone(), &rules()).expect("sound");
            assert_eq!((stored.info.records, stored.info.timestamp_max, stored.batch), (3, NOW + 5, sent));
        }
    }

    #[test]
    fn records_at_fault_are_named() {
        let late = batch(&[NOW, NOW + 101, NOW, NOW - 101]);
        let compacted = Rules { key_required: true, ..rules() };
        for compression in ALL {
            assert_eq!(refusal(packed(&late, compression), &rules()), (ErrorCode::InvalidTimestamp, vec![1, 3]));
            let keyless = packed(&batch(&[NOW, NOW]), compression);
            assert_eq!(refusal(keyless, &compacted), (ErrorCode::InvalidRecord, vec![0, 1]));
        }
        let many = Rules { message_bytes_max: 1 << 20, ..compacted };
        assert_eq!(refusal(batch(&vec![NOW; FAULTS_MAX + 1]), &many).1.len(), FAULTS_MAX);
    }

    #[test]
    fn a_count_that_is_not_that_of_the_records_is_refused_in_every_codec() {
        let (one, two) = (batch(&[NOW]), batch(&[NOW, NOW]));
        for compression in ALL {
            let payload = |records: &[u8]| compress(codec(compression), records);
            let records = |batch: &BytesMut| batch[HEADER_BYTES..].to_vec();
            for wrong in
                [records(&one), [records(&two), records(&one)].concat(), Vec::new(), records(&two)[1..].to_vec()]
            {
                let batch = batch::replace_records(&two, compression, &payload(&wrong));
                assert_eq!(refusal(batch, &rules()), (ErrorCode::InvalidRecord, Vec::new()), "{compression:?}");
            }
            let twice = batch::replace_records(&two, compression, &payload(&[records(&one), records(&one)].concat()));
            assert_eq!(refusal(twice, &rules()), (ErrorCode::InvalidRecord, vec![1]));
        }
    }

    #[test]
    fn what_does_not_decompress_is_refused_unless_only_headers_count() {
        let trusting = Rules { header_only: true, ..rules() };
        let compacted = Rules { key_required: true, ..trusting.clone() };
        for compression in &ALL[1..] {
            let noise = batch::replace_records(&batch(&[NOW]), *compression, b"noise that claims to be compressed");
            assert_eq!(refusal(noise.clone(), &rules()).0, ErrorCode::InvalidRecord);
            assert!(checked(noise.clone(), &trusting).is_ok());
            assert_eq!(refusal(noise, &compacted).0, ErrorCode::InvalidRecord);
        }
    }

    #[test]
    fn the_header_follows_the_records() {
        for compression in ALL {
            let sent = packed(&batch(&[NOW, NOW + 5]), compression);
            let mut odd = sent.clone();
            batch::set_log_append_time(&mut odd, 3);
            let stored = checked(odd, &rules()).expect("sound");
            assert_eq!((stored.info.timestamp_max, &stored.batch), (NOW + 5, &sent));
            let mut unknown = sent.clone();
            batch::set_create_time(&mut unknown, NO_TIMESTAMP);
            assert_eq!(checked(unknown, &rules()).expect("sound").batch, sent);
        }
    }

    #[test]
    fn the_broker_stamps_and_compresses() {
        let sent = batch(&[5, 7]);
        for (from, to) in ALL.iter().flat_map(|from| ALL.map(|to| (*from, to))) {
            let rules = Rules { log_append_time: true, codec: Some(codec(to)), ..rules() };
            let stored = checked(packed(&sent, from), &rules).expect("sound");
            assert_eq!(stored.info.timestamp_max, NOW);
            let found = Batch::first(&stored.batch).unwrap();
            assert!(batch::crc_ok(&stored.batch) && found.header.is_log_append_time());
            assert_eq!(found.header.compression(), Some(to));
            let records = decompress(to, &stored.batch[HEADER_BYTES..], 1 << 20);
            assert_eq!(records.as_deref(), Ok(&sent[HEADER_BYTES..]));
        }
        // What becomes larger than allowed is refused, as it is in Kafka.
        let small = Rules { message_bytes_max: 200, codec: Some(codec(Compression::None)), ..rules() };
        assert_eq!(refusal(packed(&batch(&[NOW, NOW]), Compression::Gzip), &small).0, ErrorCode::MessageTooLarge);
    }

    #[test]
    fn a_bomb_is_refused_where_the_topic_says() {
        let value = vec![0; 10_000];
        let batch = BatchBuilder::new(0).record(NOW, None, Some(&value)).record(NOW, None, Some(&value)).build();
        for compression in &ALL[1..] {
            let bomb = packed(&batch, *compression);
            let with = |decompressed_bytes_max| Rules { decompressed_bytes_max, message_bytes_max: 1 << 20, ..rules() };
            let records = batch.len() - HEADER_BYTES;
            assert!(checked(bomb.clone(), &with(records)).is_ok());
            assert_eq!(refusal(bomb.clone(), &with(records - 1)).0, ErrorCode::MessageTooLarge);
            // A record alone is above the limit: Kafka's error.
            assert_eq!(refusal(bomb, &with(9_000)).0, ErrorCode::InvalidRecord);
        }
    }

    #[test]
    fn a_check_in_steps_is_the_same_and_each_step_is_bounded() {
        let value = vec![0; 1 << 20];
        let batch = (0..8).fold(BatchBuilder::new(0), |b, _| b.record(NOW, None, Some(&value))).build();
        for compression in ALL {
            let large = Rules { message_bytes_max: 16 << 20, decompressed_bytes_max: 16 << 20, ..rules() };
            let mut workspace = Workspace::default();
            let mut pack = Pack::new(codec(compression));
            batch[HEADER_BYTES..].chunks(64 << 10).for_each(|piece| pack.write(piece));
            let sent = batch::replace_records(&batch, compression, &pack.finish());
            let mut check = Check::new(sent.clone(), 9, &large, NOW).expect("sound");
            let mut steps = 0;
            let budget = if compression == Compression::None { 12_500 } else { 100_000 };
            while !check.step(&large, &mut workspace, &mut { budget }).expect("sound") {
                steps += 1;
                let walk = check.walk.as_ref().expect("it is walked");
                assert!(
                    walk.bytes <= (steps + 1) * (100_000 + (256 << 10)),
                    "{compression:?}: {} in {steps}",
                    walk.bytes
                );
                if steps == 20 {
                    check.restart(&large, &mut workspace);
                    assert_eq!(check.walk.as_ref().map(|walk| walk.bytes), Some(0));
                }
            }
            assert!(steps > 40, "{compression:?}: {steps}");
            let stored = check.finish(&large, &mut workspace).expect("sound");
            assert_eq!((stored.batch, stored.info.records), (sent, 8));
        }
    }
}
