//! Reading partitions: where each one begins and ends, and one request after the other to their leaders.

use super::client::{Client, Cluster, leader, sleep_until};
use super::failure::{Failure, Result};
use super::operation::offsets::{EARLIEST, LATEST, list};
use super::operation::{TopicPartition, by_topic};
use super::pattern::Consumed;
use super::time::{mono, parse_time};
use crate::client::meaning::Meaning;
use crate::client::metadata::Metadata;
use crate::types::{BrokerId, Offset, TimestampMs, Uuid};
use crate::wire::batch::{Batch, HEADER_BYTES, RecordCursor, batches, crc_ok};
use crate::wire::codec::Records;
use crate::wire::compression::decompress;
use crate::wire::error::ErrorCode;
use crate::wire::messages::FetchRequest;
use crate::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use crate::wire::messages::fetch_response::{AbortedTransaction, PartitionData};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What one answer and one partition of it may hold.
const ANSWER_BYTES_MAX: i32 = 16 << 20;
const PARTITION_BYTES_MAX: i32 = 2 << 20;
/// A batch's records take at most this much when decompressed.
const RECORDS_BYTES_MAX: usize = 256 << 20;

/// A place in a partition, as people say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Earliest,
    Latest,
    Offset(Offset),
    /// So many records before the end.
    Last(Offset),
    Time(TimestampMs),
}

impl Place {
    /// `earliest`, `latest`, an offset, `-5` (the last five), `@MILLISECONDS` or a time.
    pub fn parse(text: &str, now_ms: TimestampMs) -> Result<Place, String> {
        match text {
            "earliest" | "beginning" | "start" => return Ok(Place::Earliest),
            "latest" | "end" => return Ok(Place::Latest),
            _ => {}
        }
        if let Some(ms) = text.strip_prefix('@') {
            return parse_time(ms, now_ms).map(Place::Time);
        }
        match text.parse::<Offset>() {
            Ok(offset) if offset >= 0 => Ok(Place::Offset(offset)),
            Ok(offset) => Ok(Place::Last(offset.saturating_neg())),
            Err(_) => parse_time(text, now_ms).map(Place::Time).map_err(|_| {
                format!("{text:?} is no place: earliest, latest, an offset, -5 (the last five), -1h or 2026-01-31T12:00:00Z are")
            }),
        }
    }
}

/// What to do where the offset that is asked for is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reset {
    Earliest,
    Latest,
}

/// Whether to go on with the next record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    Go,
    Stop,
}

/// A partition that is read.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Position {
    place: TopicPartition,
    /// The next offset to be shown.
    next: Offset,
    /// Where to stop; `None` for never.
    end: Option<Offset>,
}

impl Position {
    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

pub struct Reading {
    metadata: Metadata,
    positions: Vec<Position>,
    /// Records of aborted or unfinished transactions are left out.
    pub committed_only: bool,
    /// Records of this time or later end their partition.
    pub until_ms: Option<TimestampMs>,
    pub reset: Reset,
}

impl Reading {
    pub fn new(client: &Client, cluster: Cluster) -> Reading {
        let (positions, committed_only, until_ms) = (Vec::new(), false, None);
        let metadata = Metadata::new(cluster, client.attempts());
        Reading { metadata, positions, committed_only, until_ms, reset: Reset::Earliest }
    }

    /// Reads these partitions and no others.
    pub fn assign(&mut self, offsets: BTreeMap<TopicPartition, (Offset, Option<Offset>)>) {
        let position = |(place, (next, end))| Position { place, next, end };
        self.positions = offsets.into_iter().map(position).collect();
    }

    /// The next offset of each partition.
    pub fn positions(&self) -> BTreeMap<TopicPartition, Offset> {
        self.positions.iter().map(|position| (position.place.clone(), position.next)).collect()
    }

    pub fn is_done(&self) -> bool {
        self.positions.iter().all(Position::is_done)
    }

    /// Records still to come, as far as that is known.
    pub fn left(&self) -> Option<i64> {
        self.positions.iter().map(|position| Some(position.end?.saturating_sub(position.next).max(0))).sum()
    }

    /// Offsets of a place in partitions.
    pub fn resolve(
        &self,
        client: &mut Client,
        wanted: &[TopicPartition],
        place: Place,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        let mut at = |timestamp| -> Result<BTreeMap<TopicPartition, Option<Offset>>> {
            let found = list(client, self.metadata.cluster(), wanted, timestamp)?;
            found.into_iter().map(|(place, found)| Ok((place, found?.offset))).collect()
        };
        let ends = match place {
            Place::Offset(offset) => return Ok(wanted.iter().map(|place| (place.clone(), offset)).collect()),
            Place::Earliest => at(EARLIEST)?,
            Place::Latest => at(LATEST)?,
            Place::Last(count) => {
                let (starts, ends) = (at(EARLIEST)?, at(LATEST)?);
                let offset = |(place, end): (TopicPartition, Option<Offset>)| {
                    let start = starts.get(&place).copied().flatten().unwrap_or(0);
                    let last = end.map(|end| end.saturating_sub(count).max(start));
                    (place, last)
                };
                ends.into_iter().map(offset).collect()
            }
            Place::Time(ms) => {
                // Where no record is so late, what comes next is.
                let (found, ends) = (at(ms)?, at(LATEST)?);
                ends.into_iter()
                    .map(|(place, end)| (place.clone(), found.get(&place).copied().flatten().or(end)))
                    .collect()
            }
        };
        Ok(ends.into_iter().map(|(place, offset)| (place, offset.unwrap_or(0))).collect())
    }

    /// Asks each leader once, and shows `each` the records that came, in the order of their offsets in each partition. Waits
    /// up to `wait` for the first.
    pub fn poll(
        &mut self,
        client: &mut Client,
        wait: Duration,
        mut each: impl FnMut(&Consumed<'_>) -> Result<Flow>,
    ) -> Result<Flow> {
        let mut leaders: BTreeMap<BrokerId, Vec<usize>> = BTreeMap::new();
        let mut refusal = None;
        for (index, position) in self.positions.iter().enumerate().filter(|(_, position)| !position.is_done()) {
            match leader(self.metadata.cluster(), &position.place) {
                Ok(leader) => leaders.entry(leader).or_default().push(index),
                Err(failure) if failure.code() == Some(ErrorCode::LeaderNotAvailable) => refusal = Some(failure),
                Err(failure) => return Err(failure),
            }
        }
        let wait = wait / u32::try_from(leaders.len().max(1)).unwrap_or(1);
        let mut flow = Flow::Go;
        for (leader, indexes) in leaders {
            if flow == Flow::Go {
                flow = self.fetch(client, leader, &indexes, wait, &mut refusal, &mut each)?;
            }
        }
        // The broker fills its answer in the order of the partitions: each is to be the first once.
        if !self.positions.is_empty() {
            self.positions.rotate_left(1);
        }
        match refusal {
            Some(failure) => match self.metadata.moved(mono()) {
                Some(at) => sleep_until(at),
                None => return Err(failure),
            },
            None => self.metadata.confirmed(),
        }
        if self.metadata.refresh_at().is_some() {
            let topics: BTreeSet<&str> = self.positions.iter().map(|position| position.place.topic.as_str()).collect();
            let cluster = client.cluster(Some(&topics.into_iter().collect::<Vec<_>>()))?;
            self.metadata.refreshed(cluster);
        }
        Ok(flow)
    }

    fn fetch(
        &mut self,
        client: &mut Client,
        leader: BrokerId,
        indexes: &[usize],
        wait: Duration,
        refusal: &mut Option<Failure>,
        each: &mut impl FnMut(&Consumed<'_>) -> Result<Flow>,
    ) -> Result<Flow> {
        let request = self.request(indexes, wait);
        let answer = client.broker(leader)?.ask(&request)?;
        Failure::check("Fetch", answer.error_code, None)?;
        let mut moved = Vec::new();
        let mut flow = Flow::Go;
        for topic in &answer.responses {
            for data in &topic.partitions {
                let is_it = |place: &TopicPartition| {
                    let is_named = place.topic == *topic.topic;
                    let is_known =
                        || self.metadata.cluster().topic(&place.topic).is_ok_and(|known| known.id == topic.topic_id);
                    place.partition == data.partition_index && (is_named || (topic.topic.is_empty() && is_known()))
                };
                let Some(&index) = indexes.iter().find(|&&index| is_it(&self.positions[index].place)) else { continue };
                let position = &mut self.positions[index];
                let refused = || Failure::refused(format_args!("records of {}", position.place), data.error_code);
                match Meaning::of(data.error_code) {
                    Meaning::Done => {
                        let rules = Rules { committed_only: self.committed_only, until_ms: self.until_ms };
                        if flow == Flow::Go {
                            flow = show(position, data, &rules, each)?;
                        }
                    }
                    Meaning::Moved => *refusal = Some(refused()),
                    _ if data.error_code == ErrorCode::OffsetOutOfRange.code() => moved.push(index),
                    Meaning::Again | Meaning::Refused => return Err(refused()),
                }
            }
        }
        for index in moved {
            self.move_into_range(client, index)?;
        }
        Ok(flow)
    }

    fn request(&self, indexes: &[usize], wait: Duration) -> FetchRequest<'static> {
        let wanted = indexes.iter().map(|&index| (&self.positions[index].place, self.positions[index].next));
        let topics = by_topic(wanted, |partition, fetch_offset| FetchPartition {
            partition,
            fetch_offset,
            partition_max_bytes: PARTITION_BYTES_MAX,
            ..Default::default()
        });
        let topic = |(name, partitions): (String, _)| FetchTopic {
            topic_id: self.metadata.cluster().topic(&name).map_or(Uuid::ZERO, |topic| topic.id),
            topic: name.into(),
            partitions,
        };
        FetchRequest {
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: ANSWER_BYTES_MAX,
            isolation_level: i8::from(self.committed_only),
            topics: topics.into_iter().map(topic).collect(),
            ..Default::default()
        }
    }

    /// The offset is not there (any more, or yet): goes to where `reset` says.
    fn move_into_range(&mut self, client: &mut Client, index: usize) -> Result<()> {
        let place = self.positions[index].place.clone();
        let to = if self.reset == Reset::Earliest { Place::Earliest } else { Place::Latest };
        let offset = self.resolve(client, std::slice::from_ref(&place), to)?.remove(&place).unwrap_or(0);
        let position = &mut self.positions[index];
        eprintln!("klamm: {place} has no offset {}: going on at {offset}", position.next);
        position.next = offset;
        Ok(())
    }
}

struct Rules {
    committed_only: bool,
    until_ms: Option<TimestampMs>,
}

/// Shows the records of one partition's answer that are wanted, and moves its position behind them.
fn show(
    position: &mut Position,
    data: &PartitionData<'_>,
    rules: &Rules,
    each: &mut impl FnMut(&Consumed<'_>) -> Result<Flow>,
) -> Result<Flow> {
    let bytes = match &data.records {
        Some(Records::Slice(bytes)) => *bytes,
        _ => &[],
    };
    if bytes.is_empty()
        && rules.committed_only
        && position.end.is_some_and(|_| position.next >= data.last_stable_offset)
    {
        // What follows belongs to transactions that are not finished.
        position.end = Some(position.next);
    }
    let mut aborted = Aborted::new(data.aborted_transactions.as_deref().filter(|_| rules.committed_only));
    for batch in batches(bytes) {
        let header = batch.header;
        if !crc_ok(batch.bytes) {
            let what = format!("{}: the batch at offset {} is damaged", position.place, header.base_offset.get());
            return Err(Failure::Other(what));
        }
        let is_left_out = aborted.leave_out(&batch);
        if header.last_offset() < position.next {
            continue;
        }
        if !is_left_out && show_batch(position, &batch, rules, each)? == Flow::Stop {
            return Ok(Flow::Stop);
        }
        if position.is_done() {
            return Ok(Flow::Go);
        }
        // Compaction may have taken the last records.
        position.next = position.next.max(header.last_offset().saturating_add(1));
    }
    Ok(Flow::Go)
}

fn show_batch(
    position: &mut Position,
    batch: &Batch<'_>,
    rules: &Rules,
    each: &mut impl FnMut(&Consumed<'_>) -> Result<Flow>,
) -> Result<Flow> {
    let header = batch.header;
    let unreadable = |what: &dyn std::fmt::Display| {
        Failure::Other(format!("{}: the batch at offset {}: {what}", position.place, header.base_offset.get()))
    };
    let compression = header.compression().ok_or_else(|| unreadable(&"its compression is unknown"))?;
    let records = decompress(compression, &batch.bytes[HEADER_BYTES..], RECORDS_BYTES_MAX)
        .map_err(|error| unreadable(&format!("it cannot be decompressed: {error:?}")))?;
    let cursor = RecordCursor::new(&records, header.records_count.get());
    let records = cursor.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(&error))?;
    for record in &records {
        let offset = header.base_offset.get().wrapping_add(record.offset_delta.into());
        if offset < position.next {
            continue;
        }
        let timestamp = match header.is_log_append_time() {
            true => header.max_timestamp.get(),
            false => header.base_timestamp.get().wrapping_add(record.timestamp_delta),
        };
        if position.end.is_some_and(|end| offset >= end) || rules.until_ms.is_some_and(|until| timestamp >= until) {
            position.end = Some(position.next);
            return Ok(Flow::Go);
        }
        let flow = each(&Consumed {
            topic: &position.place.topic,
            partition: position.place.partition,
            offset,
            timestamp,
            log_append_time: header.is_log_append_time(),
            key: record.key,
            value: record.value,
            headers: &record.headers,
        })?;
        position.next = offset.saturating_add(1);
        if flow == Flow::Stop {
            return Ok(Flow::Stop);
        }
    }
    Ok(Flow::Go)
}

/// Transactions that were aborted, as the broker names them for the batches that it sends (KIP-98).
struct Aborted<'a> {
    /// By their first offsets, descending.
    to_come: Vec<&'a AbortedTransaction>,
    producers: BTreeSet<i64>,
}

impl<'a> Aborted<'a> {
    fn new(transactions: Option<&'a [AbortedTransaction]>) -> Aborted<'a> {
        let mut to_come: Vec<&AbortedTransaction> = transactions.unwrap_or_default().iter().collect();
        to_come.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Aborted { to_come, producers: BTreeSet::new() }
    }

    /// Whether the records of the next batch are not for readers: those of an aborted transaction, and all markers.
    fn leave_out(&mut self, batch: &Batch<'_>) -> bool {
        let header = batch.header;
        let producer = header.producer_id.get();
        while let Some(next) = self.to_come.pop_if(|next| next.first_offset <= header.last_offset()) {
            self.producers.insert(next.producer_id);
        }
        if header.is_control() {
            let key = batch.records().next().and_then(|record| record.ok()?.key);
            // A version and a type, each int16; type 0 ends a transaction that was aborted.
            if key.is_some_and(|key| key.get(2..4) == Some(&[0, 0])) {
                self.producers.remove(&producer);
            }
            return true;
        }
        header.is_transactional() && self.producers.contains(&producer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::BatchBuilder;

    fn position(next: Offset, end: Option<Offset>) -> Position {
        Position { place: TopicPartition::new("t", 0), next, end }
    }

    fn shown(position: &mut Position, data: &PartitionData<'_>, rules: &Rules, stop_at: Offset) -> Vec<Offset> {
        let mut offsets = Vec::new();
        show(position, data, rules, &mut |record| {
            offsets.push(record.offset);
            Ok(if record.offset == stop_at { Flow::Stop } else { Flow::Go })
        })
        .unwrap();
        offsets
    }

    fn batch(base: Offset, times: &[TimestampMs]) -> Vec<u8> {
        times.iter().fold(BatchBuilder::new(base), |b, ms| b.record(*ms, None, Some(b"v"))).build().to_vec()
    }

    fn data(bytes: &[u8]) -> PartitionData<'_> {
        PartitionData { records: Some(Records::Slice(bytes)), ..Default::default() }
    }

    const ALL: Rules = Rules { committed_only: false, until_ms: None };

    #[test]
    fn places_are_understood() {
        let parse = |text| Place::parse(text, 10_000_000);
        assert_eq!(parse("earliest"), Ok(Place::Earliest));
        assert_eq!(parse("17"), Ok(Place::Offset(17)));
        assert_eq!(parse("-5"), Ok(Place::Last(5)));
        assert_eq!(parse("-1h"), Ok(Place::Time(6_400_000)));
        assert_eq!(parse("@17"), Ok(Place::Time(17)));
        assert_eq!(parse("1970-01-01T00:00:01Z"), Ok(Place::Time(1000)));
        assert!(parse("tomorrow").unwrap_err().contains("is no place"));
    }

    #[test]
    fn records_from_the_position_to_the_end_are_shown() {
        let bytes = [batch(10, &[1, 2, 3]), batch(20, &[4, 5])].concat();
        let mut at = position(11, Some(21));
        assert_eq!(shown(&mut at, &data(&bytes), &ALL, -1), [11, 12, 20]);
        assert!(at.is_done());
        let mut at = position(0, None);
        assert_eq!(shown(&mut at, &data(&bytes), &ALL, 11), [10, 11]);
        assert_eq!(at.next, 12, "what was not shown comes again");
        assert_eq!(
            shown(&mut at, &data(&bytes[..bytes.len() - 1]), &ALL, -1),
            [12],
            "a batch that is cut off is not read"
        );
        assert_eq!(at.next, 13);
        let until = Rules { until_ms: Some(3), ..ALL };
        let mut at = position(0, None);
        assert_eq!((shown(&mut at, &data(&bytes), &until, -1), at.is_done()), (vec![10, 11], true));
    }

    #[test]
    fn records_of_aborted_transactions_are_left_out() {
        let of = |id, base| BatchBuilder::new(base).producer(id, 0, 0).transactional().record(1, None, Some(b"v"));
        let marker = |id, base, kind| {
            let key = [0, 0, 0, kind];
            BatchBuilder::new(base).producer(id, 0, -1).transactional().control().record(1, Some(&key), None).build()
        };
        let parts = [
            of(7, 0).build(),
            of(8, 1).build(),
            marker(7, 2, 0),
            of(7, 3).build(),
            marker(8, 4, 1),
            batch(5, &[1]).into(),
        ];
        let bytes = parts.concat();
        let aborted = vec![AbortedTransaction { producer_id: 7, first_offset: 0 }];
        let data = PartitionData { aborted_transactions: Some(aborted), ..data(&bytes) };
        let committed = Rules { committed_only: true, ..ALL };
        assert_eq!(shown(&mut position(0, None), &data, &committed, -1), [1, 3, 5]);
        let mut at = position(0, Some(6));
        assert_eq!((shown(&mut at, &data, &ALL, -1), at.is_done()), (vec![0, 1, 3, 5], true));
    }

    #[test]
    fn damage_is_told() {
        let mut bytes = batch(10, &[1]);
        *bytes.last_mut().unwrap() ^= 1;
        let failure = show(&mut position(0, None), &data(&bytes), &ALL, &mut |_| Ok(Flow::Go)).unwrap_err();
        assert_eq!(failure.to_string(), "t-0: the batch at offset 10 is damaged");
    }
}
