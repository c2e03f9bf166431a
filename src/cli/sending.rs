//! Sending records: batches for each partition, and one request after the other to their leaders.

use super::client::{Client, Topic, leader_of, sleep_until, topic};
use super::failure::{Failure, Result};
use super::operation::configs;
use super::pattern::Produced;
use super::time::{mono, now_ms};
use crate::client::meaning::Meaning;
use crate::client::metadata;
use crate::client::partition::partition_of_key;
use crate::types::{BrokerId, PartitionIndex};
use crate::wire::batch::{BatchBuilder, Compression, HEADER_BYTES, replace_records};
use crate::wire::codec::Records;
use crate::wire::compression::{Codec, compress};
use crate::wire::error::ErrorCode;
use crate::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::wire::messages::produce_response::PartitionProduceResponse;
use crate::wire::messages::{InitProducerIdRequest, ProduceRequest};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// A batch is closed when it has reached this; a request takes what has gathered when it has reached that.
const BATCH_BYTES: usize = 512 << 10;
const REQUEST_BYTES: usize = 2 << 20;
/// Records without a key go to one partition until they are so many bytes, and then to the next.
const STICKY_BYTES: usize = 16 << 10;

/// How records are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manner {
    /// 0, 1 or -1 for all.
    pub acks: i16,
    /// Each record is written once, even if it is sent again.
    pub idempotent: bool,
    pub codec: Codec,
    /// A topic that is not there is made, if the broker does that.
    pub create: bool,
}

#[derive(Default)]
struct Partition {
    batch: Option<BatchBuilder>,
    records: u64,
    /// Closed, with the number of its records.
    closed: Vec<(Bytes, u64)>,
    sequence_next: i32,
}

pub struct Sending {
    topic: Topic,
    partitions: BTreeMap<PartitionIndex, Partition>,
    manner: Manner,
    /// Id and epoch of an idempotent producer.
    producer: Option<(i64, i16)>,
    /// The partition that records without a key go to, and their bytes so far.
    sticky: (usize, usize),
    gathered_bytes: usize,
    /// Records that the broker has acknowledged (or was told, with acks 0), and their bytes.
    pub records: u64,
    pub bytes: u64,
}

impl Sending {
    pub fn open(client: &mut Client, topic: &str, manner: Manner) -> Result<Sending> {
        let topic = find_topic(client, topic, manner.create)?;
        let mut producer = None;
        if manner.idempotent {
            let request =
                InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: -1, ..Default::default() };
            producer = Some(client.again(|client| {
                let answer = client.ask(&request)?;
                Failure::check("a producer's id", answer.error_code, None)?;
                Ok((answer.producer_id, answer.producer_epoch))
            })?);
        }
        let partitions = topic.partitions.iter().map(|partition| (partition.index, Partition::default())).collect();
        // Programs that begin at the same time do not all begin with the same partition.
        let sticky = (usize::try_from(now_ms()).unwrap_or(0), 0);
        Ok(Sending { topic, partitions, manner, producer, sticky, gathered_bytes: 0, records: 0, bytes: 0 })
    }

    /// The topic's partitions.
    pub fn partitions(&self) -> BTreeSet<PartitionIndex> {
        self.partitions.keys().copied().collect()
    }

    /// Takes a record; sends what has gathered if that is enough.
    pub fn add(&mut self, client: &mut Client, record: &Produced) -> Result<()> {
        let size = record_bytes(record);
        let index = self.choose(record, size)?;
        let producer = self.producer;
        let codec = self.manner.codec;
        let partition = self.partitions.get_mut(&index).expect("the partition was chosen");
        if partition.batch.as_ref().is_some_and(|batch| batch.size() + size > BATCH_BYTES) {
            partition.close(codec);
        }
        let batch = partition.batch.take().unwrap_or_else(|| match producer {
            Some((id, epoch)) => BatchBuilder::new(0).producer(id, epoch, partition.sequence_next),
            None => BatchBuilder::new(0),
        });
        let headers: Vec<(&str, Option<&[u8]>)> =
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let timestamp = record.timestamp.unwrap_or_else(now_ms);
        let batch = batch.record_with_headers(timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
        partition.batch = Some(batch);
        partition.records += 1;
        self.gathered_bytes += size;
        if self.gathered_bytes >= REQUEST_BYTES { self.flush(client) } else { Ok(()) }
    }

    fn choose(&mut self, record: &Produced, size: usize) -> Result<PartitionIndex> {
        let count = self.topic.partitions.len();
        let index = match (record.partition, &record.key) {
            (Some(index), _) => index,
            (None, Some(key)) => partition_of_key(key, count),
            (None, None) => {
                let (mut place, mut bytes) = self.sticky;
                if bytes >= STICKY_BYTES {
                    (place, bytes) = (place.wrapping_add(1), 0);
                }
                self.sticky = (place, bytes + size);
                self.topic.partitions[place % count].index
            }
        };
        match self.partitions.contains_key(&index) {
            true => Ok(index),
            false => Err(Failure::Other(format!("topic {} has no partition {index}: it has {count}", self.topic.name))),
        }
    }

    /// Sends all that has gathered and waits until it is acknowledged.
    pub fn flush(&mut self, client: &mut Client) -> Result<()> {
        for partition in self.partitions.values_mut() {
            partition.close(self.manner.codec);
        }
        self.gathered_bytes = 0;
        let mut attempts = client.attempts();
        while self.partitions.values().any(|partition| !partition.closed.is_empty()) {
            let mut refusal = None;
            let mut leaders: BTreeMap<BrokerId, Vec<PartitionIndex>> = BTreeMap::new();
            for (index, _) in self.partitions.iter().filter(|(_, partition)| !partition.closed.is_empty()) {
                match leader_of(&self.topic, *index) {
                    Ok(leader) => leaders.entry(leader).or_default().push(*index),
                    Err(failure) => refusal = Some(failure),
                }
            }
            for (leader, indexes) in leaders {
                if let Some(failure) = self.send(client, leader, &indexes)? {
                    refusal = Some(failure);
                }
            }
            if let Some(failure) = refusal {
                match attempts.failed(mono()) {
                    Some(at) => sleep_until(at),
                    None => return Err(failure),
                }
                self.topic = topic(&client.cluster(Some(&[&self.topic.name]))?, &self.topic.name)?.clone();
            }
        }
        Ok(())
    }

    /// Sends the first closed batch of each partition; a failure that may pass is inside.
    fn send(&mut self, client: &mut Client, leader: BrokerId, indexes: &[PartitionIndex]) -> Result<Option<Failure>> {
        let data = |index: &PartitionIndex| PartitionProduceData {
            index: *index,
            records: Some(Records::Spans(vec![self.partitions[index].closed[0].0.clone()])),
        };
        let topic = TopicProduceData {
            name: self.topic.name.clone().into(),
            topic_id: self.topic.id,
            partition_data: indexes.iter().map(data).collect(),
        };
        let request = ProduceRequest {
            transactional_id: None,
            acks: self.manner.acks,
            timeout_ms: client.timeout_ms(),
            topic_data: vec![topic],
        };
        let link = client.broker(leader)?;
        if self.manner.acks == 0 {
            link.tell(&request)?;
            indexes.iter().for_each(|index| self.sent(*index));
            return Ok(None);
        }
        let answer = link.ask(&request)?;
        let mut refusal = None;
        let mut sent = Vec::new();
        for result in answer.responses.iter().flat_map(|topic| &topic.partition_responses) {
            match Meaning::of_produce(result.error_code) {
                Meaning::Done => sent.push(result.index),
                Meaning::Again | Meaning::Moved => refusal = Some(refused(&self.topic.name, result)),
                Meaning::Refused => return Err(refused(&self.topic.name, result)),
            }
        }
        if sent.is_empty() && refusal.is_none() {
            return Err(Failure::Other("the answer says nothing of the records".into()));
        }
        sent.into_iter().filter(|index| indexes.contains(index)).for_each(|index| self.sent(index));
        Ok(refusal)
    }

    fn sent(&mut self, index: PartitionIndex) {
        let partition = self.partitions.get_mut(&index).expect("it was sent to");
        let (batch, records) = partition.closed.remove(0);
        self.records += records;
        self.bytes += batch.len() as u64;
    }
}

impl Partition {
    fn close(&mut self, codec: Codec) {
        let Some(batch) = self.batch.take() else { return };
        let records = std::mem::take(&mut self.records);
        let mut batch = batch.build();
        if codec.compression != Compression::None {
            batch = replace_records(&batch, codec.compression, &compress(codec, &batch[HEADER_BYTES..])).freeze();
        }
        // Sequences go round from the largest int32 to 0.
        self.sequence_next = self.sequence_next.wrapping_add(records as i32) & i32::MAX;
        self.closed.push((batch, records));
    }
}

/// An upper bound of what the record takes in a batch.
fn record_bytes(record: &Produced) -> usize {
    const FIELDS_BYTES: usize = 32;
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers: usize = record.headers.iter().map(|(name, value)| FIELDS_BYTES + name.len() + length(value)).sum();
    FIELDS_BYTES + length(&record.key) + length(&record.value) + headers
}

/// Why a partition did not take its records.
fn refused(topic: &str, result: &PartitionProduceResponse<'_>) -> Failure {
    let of_record = result.record_errors.iter().find_map(|error| error.batch_index_error_message.as_deref());
    let message = result.error_message.as_deref().or(of_record).map(str::to_string);
    Failure::Refused { what: format!("records for {topic}-{}", result.index), code: result.error_code, message }
}

/// The topic with its leaders. With `create` a broker is asked to make it if it is not there, and it is waited for.
pub fn find_topic(client: &mut Client, name: &str, create: bool) -> Result<Topic> {
    let mut attempts = client.attempts();
    let mut is_asked = false;
    loop {
        if create {
            client.ask(&metadata::request(Some(&[name]), true))?;
        }
        let found = client.cluster(Some(&[name])).and_then(|cluster| topic(&cluster, name).cloned());
        let failure = match found {
            Ok(topic) if !topic.partitions.is_empty() => return Ok(topic),
            Err(failure)
                if create
                    && failure.code() == Some(ErrorCode::UnknownTopicOrPartition)
                    && !std::mem::replace(&mut is_asked, true)
                    && !configs::makes_topics(client) =>
            {
                let why = "the broker makes no topics by itself (auto.create.topics.enable)";
                return Err(Failure::Other(format!("{failure}; {why}: klamm topic create {name}")));
            }
            Err(failure) if !create || !failure.code().is_some_and(|code| Meaning::of(code.code()).is_passing()) => {
                return Err(failure);
            }
            Err(failure) => failure,
            Ok(_) => Failure::Other(format!("topic {name} has no partitions")),
        };
        match attempts.failed(mono()) {
            Some(at) => sleep_until(at),
            None => return Err(failure),
        }
    }
}
