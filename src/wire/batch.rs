//! Record batches, version 2: a header of 61 bytes, then records, which may be compressed together (KIP-98, KIP-32, KIP-87).
//!
//! A batch is used as the bytes that it came in. [`BatchHeader`] is a view of the first 61; what the broker sets in them lies
//! before the checksum's range, so that the producer's checksum stands. Nothing here trusts a length or a count.

use super::codec::{DecodeError, Reader, Writer};
use super::crc::combine;
use bytes::{Bytes, BytesMut};
use std::fmt;
use zerocopy::byteorder::big_endian::{I16, I32, I64, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the header, record count included.
pub const HEADER_BYTES: usize = 61;
/// Bytes before what `batch_length` counts: the base offset and that length.
pub const LENGTH_OVERHEAD: usize = 12;
/// The checksum covers everything from here.
pub const CRC_START: usize = 21;
/// Below it, going over the bytes takes no longer than [`combine`].
const COMBINE_BYTES_MIN: usize = 8 << 10;
/// The version of the format in `magic`; Kafka 4 knows no other on the wire.
pub const MAGIC: i8 = 2;
/// `producer_id` of a batch from a producer that is not idempotent.
pub const NO_PRODUCER_ID: i64 = -1;
/// `base_sequence` of such a batch.
pub const NO_SEQUENCE: i32 = -1;

const COMPRESSION_MASK: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i16)]
pub enum Compression {
    /// As they are.
    None = 0,
    /// By gzip.
    Gzip = 1,
    /// By Snappy, in the blocks of snappy-java.
    Snappy = 2,
    /// By LZ4, in its frame format.
    Lz4 = 3,
    /// By Zstandard.
    Zstd = 4,
}

/// The first 61 bytes of a batch of format 2 (KIP-98), in Kafka's words. Numbers are big-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BatchHeader {
    /// Offset of the first record; a producer sends 0.
    pub base_offset: I64,
    /// Bytes that follow this field.
    pub batch_length: I32,
    /// Epoch of the leader that appended the batch; a producer sends -1.
    pub partition_leader_epoch: I32,
    /// The format: 2.
    pub magic: i8,
    /// CRC-32C of everything behind this field.
    pub crc: U32,
    /// Bits 0 to 2: compression; 3: the time is the broker's; 4: transactional; 5: control; 6: delete horizon.
    pub attributes: I16,
    /// Offset of the last record less that of the first.
    pub last_offset_delta: I32,
    /// Time of the first record, or the delete horizon if that attribute is set (KIP-534).
    pub base_timestamp: I64,
    /// The latest time of a record, in milliseconds since 1970.
    pub max_timestamp: I64,
    /// Who produced it; -1: a producer that is not idempotent.
    pub producer_id: I64,
    /// The producer's epoch; -1 without a producer id.
    pub producer_epoch: I16,
    /// The first record's number in the producer's sequence; -1 without a producer id.
    pub base_sequence: I32,
    /// How many records follow.
    pub records_count: I32,
}

const _: () = assert!(size_of::<BatchHeader>() == HEADER_BYTES);

impl BatchHeader {
    /// Bytes of the whole batch, as claimed; `None` if the claim is too small for a header.
    pub fn size(&self) -> Option<usize> {
        let size = usize::try_from(self.batch_length.get()).ok()? + LENGTH_OVERHEAD;
        (size >= HEADER_BYTES).then_some(size)
    }

    /// Offset of the last record; wraps on hostile values, so check `last_offset_delta` and `base_offset` first.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.get().wrapping_add(i64::from(self.last_offset_delta.get()))
    }

    /// Sequence of the last record. Sequences go round from `i32::MAX` to 0.
    pub fn last_sequence(&self) -> i32 {
        let base = self.base_sequence.get();
        if base == NO_SEQUENCE { NO_SEQUENCE } else { base.wrapping_add(self.last_offset_delta.get()) & i32::MAX }
    }

    /// `None` for a number that stands for no compression that Kafka has.
    pub fn compression(&self) -> Option<Compression> {
        Some(match self.attributes.get() & COMPRESSION_MASK {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            _ => return None,
        })
    }

    /// Whether every record's time is `max_timestamp`, which the broker set.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes.get() & LOG_APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes.get() & TRANSACTIONAL != 0
    }

    /// Whether its records are markers that brokers write, not users' records.
    pub fn is_control(&self) -> bool {
        self.attributes.get() & CONTROL != 0
    }

    /// Whether `base_timestamp` is the time after which compaction may drop the batch's tombstones and markers.
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes.get() & DELETE_HORIZON != 0
    }
}

/// Why bytes are no batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchError {
    /// The bytes end before the batch does.
    Incomplete,
    /// The batch claims less than a header.
    Length,
    /// A format other than version 2.
    Magic(i8),
    /// The checksum is another one.
    Crc,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::Incomplete => f.write_str("record batch ends early"),
            BatchError::Length => f.write_str("record batch is shorter than its header"),
            BatchError::Magic(magic) => write!(f, "record batch has format {magic}, not {MAGIC}"),
            BatchError::Crc => f.write_str("record batch does not match its checksum"),
        }
    }
}

impl std::error::Error for BatchError {}

/// One whole batch in bytes that may hold several.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Where the batch begins in the bytes that were walked.
    pub position: usize,
    /// The batch's header.
    pub header: &'a BatchHeader,
    /// The batch, header included.
    pub bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch that `bytes` begin with. Its length and format are checked, not its checksum.
    pub fn first(bytes: &'a [u8]) -> Result<Self, BatchError> {
        // Formats 0 and 1 have the magic at the same place but shorter headers.
        match bytes.get(16).map(|&magic| magic as i8) {
            None => return Err(BatchError::Incomplete),
            Some(MAGIC) => {}
            Some(magic) => return Err(BatchError::Magic(magic)),
        }
        let (header, _) = BatchHeader::ref_from_prefix(bytes).map_err(|_| BatchError::Incomplete)?;
        let size = header.size().ok_or(BatchError::Length)?;
        let bytes = bytes.get(..size).ok_or(BatchError::Incomplete)?;
        Ok(Batch { position: 0, header, bytes })
    }

    /// The batch's records, which must not be compressed.
    pub fn records(&self) -> RecordCursor<'a> {
        RecordCursor::new(&self.bytes[HEADER_BYTES..], self.header.records_count.get())
    }
}

/// Walks consecutive batches; made by [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
}

/// The batches that lie in `bytes` one behind the other. Ends at the first that is incomplete or no batch, which
/// [`Batches::position`] then points at; it is the length of `bytes` if nothing is left over.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, position: 0 }
}

impl Batches<'_> {
    /// Where the next batch begins, or where the walk ended.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Batch<'a>;

    fn next(&mut self) -> Option<Batch<'a>> {
        let batch = Batch::first(&self.bytes[self.position..]).ok()?;
        let batch = Batch { position: self.position, ..batch };
        self.position += batch.bytes.len();
        Some(batch)
    }
}

/// Whether the checksum of one whole batch is right.
pub fn crc_ok(batch: &[u8]) -> bool {
    match BatchHeader::ref_from_prefix(batch) {
        Ok((header, _)) => header.crc.get() == crc32c::crc32c(&batch[CRC_START..]),
        Err(_) => false,
    }
}

/// The CRC-32C of all bytes of one whole batch whose own checksum is right: most of it is that.
pub fn checksum(batch: &[u8]) -> u32 {
    match BatchHeader::ref_from_prefix(batch) {
        Ok((header, _)) if batch.len() >= COMBINE_BYTES_MIN => {
            combine(crc32c::crc32c(&batch[..CRC_START]), header.crc.get(), batch.len() - CRC_START)
        }
        _ => crc32c::crc32c(batch),
    }
}

fn header_mut(batch: &mut [u8]) -> &mut BatchHeader {
    let (header, _) = BatchHeader::mut_from_prefix(batch).expect("a batch that was checked has a header");
    header
}

/// Sets what the leader decides; both fields are outside the checksum. `batch` is at least a header.
pub fn patch_base_offset_and_epoch(batch: &mut [u8], base_offset: i64, epoch: i32) {
    let header = header_mut(batch);
    header.base_offset = base_offset.into();
    header.partition_leader_epoch = epoch.into();
}

/// Makes `ms` the time of all records of one whole batch, and the checksum right again (KIP-32).
pub fn set_log_append_time(batch: &mut [u8], ms: i64) {
    let header = header_mut(batch);
    header.attributes = (header.attributes.get() | LOG_APPEND_TIME).into();
    header.max_timestamp = ms.into();
    let crc = crc32c::crc32c(&batch[CRC_START..]);
    header_mut(batch).crc = crc.into();
}

/// Makes the records' own times those of one whole batch, the latest of which is `ms`, and the checksum right again.
pub fn set_create_time(batch: &mut [u8], ms: i64) {
    let header = header_mut(batch);
    header.attributes = (header.attributes.get() & !LOG_APPEND_TIME).into();
    header.max_timestamp = ms.into();
    let crc = crc32c::crc32c(&batch[CRC_START..]);
    header_mut(batch).crc = crc.into();
}

/// The whole batch with its records as `records`, which are compressed so.
pub fn replace_records(batch: &[u8], compression: Compression, records: &[u8]) -> BytesMut {
    let mut replaced = BytesMut::with_capacity(HEADER_BYTES + records.len());
    replaced.extend_from_slice(&batch[..HEADER_BYTES]);
    replaced.extend_from_slice(records);
    let length = i32::try_from(replaced.len() - LENGTH_OVERHEAD).expect("a batch is shorter than 2 GiB");
    let header = header_mut(&mut replaced);
    header.batch_length = length.into();
    header.attributes = (header.attributes.get() & !COMPRESSION_MASK | compression as i16).into();
    let crc = crc32c::crc32c(&replaced[CRC_START..]);
    header_mut(&mut replaced).crc = crc.into();
    replaced
}

/// One record of a batch. Times and offsets count from the batch's base.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record<'a> {
    /// Milliseconds since the batch's `base_timestamp`.
    pub timestamp_delta: i64,
    /// Offset less the batch's `base_offset`.
    pub offset_delta: i32,
    /// The key; `None` is Kafka's null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is Kafka's null.
    pub value: Option<&'a [u8]>,
    /// Names and values, in order; names may repeat.
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

impl<'a> Record<'a> {
    fn decode(batch: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let length = usize::try_from(batch.varint()?).map_err(|_| DecodeError::Length)?;
        let mut r = Reader::new(batch.take(length)?);
        let _attributes = r.i8()?;
        let (timestamp_delta, offset_delta) = (r.varlong()?, r.varint()?);
        let (key, value) = (nullable(&mut r)?, nullable(&mut r)?);
        let count = usize::try_from(r.varint()?).map_err(|_| DecodeError::Length)?;
        let mut headers = Vec::new();
        for _ in 0..count {
            let key = nullable(&mut r)?.ok_or(DecodeError::Null)?;
            headers.push((std::str::from_utf8(key).map_err(|_| DecodeError::Utf8)?, nullable(&mut r)?));
        }
        if r.remaining() > 0 {
            return Err(DecodeError::Length);
        }
        Ok(Record { timestamp_delta, offset_delta, key, value, headers })
    }

    fn encode(&self, batch: &mut Writer) {
        let mut w = Writer::new();
        w.put_i8(0);
        w.put_varlong(self.timestamp_delta);
        w.put_varint(self.offset_delta);
        put_nullable(&mut w, self.key);
        put_nullable(&mut w, self.value);
        w.put_varint(self.headers.len() as i32);
        for &(key, value) in &self.headers {
            put_nullable(&mut w, Some(key.as_bytes()));
            put_nullable(&mut w, value);
        }
        let record = w.into_bytes();
        batch.put_varint(i32::try_from(record.len()).expect("a record is shorter than 2 GiB"));
        batch.put_slice(&record);
    }
}

fn nullable<'a>(r: &mut Reader<'a>) -> Result<Option<&'a [u8]>, DecodeError> {
    match r.varint()? {
        -1 => Ok(None),
        length => r.take(usize::try_from(length).map_err(|_| DecodeError::Length)?).map(Some),
    }
}

fn put_nullable(w: &mut Writer, bytes: Option<&[u8]>) {
    w.put_varint(bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).expect("a field is shorter than 2 GiB")));
    w.put_slice(bytes.unwrap_or_default());
}

/// The records of an uncompressed batch, in order. Ends after the first error.
#[derive(Clone, Debug)]
pub struct RecordCursor<'a> {
    reader: Reader<'a>,
    left: i32,
}

impl<'a> RecordCursor<'a> {
    /// The records of a batch that says that there are `records`, decompressed.
    pub fn new(bytes: &'a [u8], records: i32) -> RecordCursor<'a> {
        RecordCursor { reader: Reader::new(bytes), left: records }
    }

    /// What has not been read: so many bytes, and the records that they are said to hold.
    pub fn rest(&self) -> (usize, i32) {
        (self.reader.remaining(), self.left)
    }
}

impl<'a> Iterator for RecordCursor<'a> {
    type Item = Result<Record<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            // Bytes that no record accounts for are an error once, at the end.
            let rest = self.reader.remaining();
            self.reader.skip();
            return (rest > 0).then_some(Err(DecodeError::Length));
        }
        let record = Record::decode(&mut self.reader);
        self.left -= 1;
        if record.is_err() {
            self.left = 0;
            self.reader.skip();
        }
        Some(record)
    }
}

/// Makes an uncompressed batch of records.
#[derive(Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    records: Writer,
    first_timestamp: Option<i64>,
}

impl BatchBuilder {
    /// A batch without records that begins at an offset.
    pub fn new(base_offset: i64) -> Self {
        let header = BatchHeader {
            base_offset: base_offset.into(),
            batch_length: 0.into(),
            partition_leader_epoch: (-1).into(),
            magic: MAGIC,
            crc: 0.into(),
            attributes: 0.into(),
            last_offset_delta: (-1).into(),
            base_timestamp: (-1).into(),
            max_timestamp: (-1).into(),
            producer_id: NO_PRODUCER_ID.into(),
            producer_epoch: (-1).into(),
            base_sequence: NO_SEQUENCE.into(),
            records_count: 0.into(),
        };
        BatchBuilder { header, records: Writer::new(), first_timestamp: None }
    }

    /// Makes the batch one of an idempotent producer.
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = id.into();
        self.header.producer_epoch = epoch.into();
        self.header.base_sequence = base_sequence.into();
        self
    }

    /// Says which leader's epoch the batch is of.
    pub fn leader_epoch(mut self, epoch: i32) -> Self {
        self.header.partition_leader_epoch = epoch.into();
        self
    }

    /// Makes the batch part of a transaction.
    pub fn transactional(self) -> Self {
        self.attribute(TRANSACTIONAL)
    }

    /// Makes the batch one of markers.
    pub fn control(self) -> Self {
        self.attribute(CONTROL)
    }

    fn attribute(mut self, bit: i16) -> Self {
        self.header.attributes = (self.header.attributes.get() | bit).into();
        self
    }

    /// Adds a record at the next offset.
    pub fn record(self, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        self.record_with_headers(timestamp_ms, key, value, &[])
    }

    /// Adds a record with headers at the next offset.
    pub fn record_with_headers(
        mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> Self {
        let offset_delta = self.header.last_offset_delta.get() + 1;
        let timestamp_delta = timestamp_ms - *self.first_timestamp.get_or_insert(timestamp_ms);
        Record { timestamp_delta, offset_delta, key, value, headers: headers.to_vec() }.encode(&mut self.records);
        self.header.last_offset_delta = offset_delta.into();
        self.header.records_count = (self.header.records_count.get() + 1).into();
        self.header.max_timestamp = self.header.max_timestamp.get().max(timestamp_ms).into();
        self
    }

    /// Bytes of the batch so far.
    pub fn size(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// The batch with its checksum. It has at least one record.
    pub fn build(mut self) -> Bytes {
        let size = self.size();
        self.header.base_timestamp = self.first_timestamp.expect("a batch has a record").into();
        let length = i32::try_from(size - LENGTH_OVERHEAD).expect("a batch is shorter than 2 GiB");
        self.header.batch_length = length.into();
        let records = self.records.into_bytes();
        let crc = crc32c::crc32c(&self.header.as_bytes()[CRC_START..]);
        self.header.crc = crc32c::crc32c_append(crc, &records).into();
        let mut batch = Vec::with_capacity(size);
        batch.extend_from_slice(self.header.as_bytes());
        batch.extend_from_slice(&records);
        batch.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(base_offset: i64) -> Bytes {
        BatchBuilder::new(base_offset)
            .producer(9, 1, i32::MAX)
            .record(1000, Some(b"key"), Some(b"value"))
            .record_with_headers(990, None, None, &[("h", Some(b"1")), ("n", None)])
            .build()
    }

    #[test]
    fn a_built_batch_reads_back() {
        let bytes = sample(42);
        let batch = Batch::first(&bytes).unwrap();
        assert!(crc_ok(batch.bytes));
        assert_eq!((batch.bytes.len(), batch.header.last_offset()), (bytes.len(), 43));
        assert_eq!(batch.header.last_sequence(), 0);
        assert_eq!((batch.header.base_timestamp.get(), batch.header.max_timestamp.get()), (1000, 1000));
        assert_eq!(batch.header.compression(), Some(Compression::None));
        let records: Result<Vec<_>, _> = batch.records().collect();
        let first = Record { key: Some(b"key"), value: Some(b"value"), ..Record::default() };
        let headers = vec![("h", Some(&b"1"[..])), ("n", None)];
        let second = Record { timestamp_delta: -10, offset_delta: 1, headers, ..Record::default() };
        assert_eq!(records, Ok(vec![first, second]));
    }

    #[test]
    fn the_leaders_fields_leave_the_checksum_alone() {
        let mut bytes = sample(0).to_vec();
        patch_base_offset_and_epoch(&mut bytes, 1 << 40, 7);
        assert!(crc_ok(&bytes));
        let header = Batch::first(&bytes).unwrap().header;
        assert_eq!((header.base_offset.get(), header.partition_leader_epoch.get()), (1 << 40, 7));
    }

    #[test]
    fn log_append_time_renews_the_checksum() {
        let mut bytes = sample(0).to_vec();
        set_log_append_time(&mut bytes, 5);
        assert!(crc_ok(&bytes));
        let header = Batch::first(&bytes).unwrap().header;
        assert!(header.is_log_append_time() && !header.is_control() && !header.is_transactional());
        assert_eq!((header.max_timestamp.get(), header.base_timestamp.get()), (5, 1000));
    }

    #[test]
    fn records_own_times_come_back() {
        let mut bytes = sample(0).to_vec();
        set_log_append_time(&mut bytes, 5);
        set_create_time(&mut bytes, 1000);
        assert_eq!(bytes, sample(0));
    }

    #[test]
    fn replaced_records_are_sealed() {
        let bytes = sample(0);
        let replaced = replace_records(&bytes, Compression::Zstd, b"other");
        let batch = Batch::first(&replaced).unwrap();
        assert!(crc_ok(&replaced) && batch.bytes.len() == HEADER_BYTES + 5);
        assert_eq!(
            (batch.header.compression(), &batch.bytes[HEADER_BYTES..]),
            (Some(Compression::Zstd), &b"other"[..])
        );
        assert_eq!(replace_records(&replaced, Compression::None, &bytes[HEADER_BYTES..]), bytes);
    }

    #[test]
    fn a_walk_ends_at_what_is_no_whole_batch() {
        let mut bytes = [sample(0), sample(2), sample(4)].concat();
        let size = sample(0).len();
        let mut walk = batches(&bytes);
        assert_eq!(walk.by_ref().map(|batch| batch.position).collect::<Vec<_>>(), [0, size, 2 * size]);
        assert_eq!(walk.position(), bytes.len());
        let mut short = batches(&bytes[..3 * size - 1]);
        assert_eq!((short.by_ref().count(), short.position()), (2, 2 * size));
        bytes[size + 16] = 1;
        assert_eq!(batches(&bytes).count(), 1);
        assert_eq!(Batch::first(&bytes[size..]).unwrap_err(), BatchError::Magic(1));
    }

    #[test]
    fn hostile_lengths_are_refused() {
        let mut bytes = sample(0).to_vec();
        for claim in [-1, 0, 48, i32::MIN] {
            bytes[8..12].copy_from_slice(&i32::to_be_bytes(claim));
            assert_eq!(Batch::first(&bytes).unwrap_err(), BatchError::Length);
        }
        bytes[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(Batch::first(&bytes).unwrap_err(), BatchError::Incomplete);
        assert_eq!(Batch::first(&bytes[..HEADER_BYTES - 1]).unwrap_err(), BatchError::Incomplete);
        assert!(!crc_ok(&bytes[..HEADER_BYTES - 1]));
    }

    #[test]
    fn every_changed_byte_of_the_records_is_survived() {
        let bytes = sample(0);
        for at in HEADER_BYTES - 4..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.to_vec();
                changed[at] = value;
                assert_eq!(crc_ok(&changed), changed == bytes);
                let records = Batch::first(&changed).unwrap().records();
                assert!(records.count() <= 4, "an error ends the walk");
            }
        }
    }
}
