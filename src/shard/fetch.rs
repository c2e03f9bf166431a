//! Fetch: owners are asked for what they have; too little of it parks the request until bytes or deadline; older data is
//! read by the connection's core; then everything leaves as it lies in memory.

use super::connection::{ConnectionId, Slot};
use super::message::{Answer, Ask, Data, Op, RequestId};
use super::session::{Begun, Key, SessionError, TopicRef, Wanted};
use super::{Output, Pending, Shard, plan_of};
use crate::types::{Now, Offset, PartitionId, Time, Uuid};
use crate::wire::codec::{DecodeError, Reader, Records};
use crate::wire::error::ErrorCode;
use crate::wire::frame::{Head, response_frame};
use crate::wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use crate::wire::messages::{ApiKey, FetchRequest, FetchResponse};
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;

/// Fetches name topics by id from this version on.
const VERSION_TOPIC_IDS: i16 = 13;

/// A Fetch request in progress.
pub struct Fetch {
    connection: ConnectionId,
    slot: Slot,
    version: i16,
    correlation_id: i32,
    bytes_min: usize,
    bytes_max: usize,
    deadline: Time,
    session: Begun,
    parts: Vec<Part>,
    outstanding: usize,
    /// Everything is there that will be there: reads from the disk are under way.
    reading: bool,
}

struct Part {
    key: Key,
    wanted: Wanted,
    /// Where to ask; `None` if the topic is not known.
    partition: Option<PartitionId>,
    code: ErrorCode,
    high_watermark: Offset,
    log_start: Offset,
    data: Data,
    watched: bool,
}

impl Part {
    fn bytes(&self) -> usize {
        self.data.bytes(self.wanted.bytes_max.max(1) as usize)
    }
}

impl Shard {
    pub(super) fn fetch(
        &mut self,
        now: Now,
        connection: ConnectionId,
        head: &Head<'static>,
        frame: BytesMut,
    ) -> Result<(), DecodeError> {
        let request = FetchRequest::decode(&mut Reader::new(&frame[head.body_start..]), head.version)?;
        let slot = self.begin(connection);
        let (wanted, forgotten) = wanted(&request, head.version);
        let session = match self.sessions.begin(request.session_id, request.session_epoch, wanted, &forgotten) {
            Ok(session) => session,
            Err(error) => {
                let response = session_error(head, error);
                self.respond(connection, slot, response);
                return Ok(());
            }
        };
        let parts: Vec<Part> = session.partitions.iter().map(|(key, wanted)| self.part(key, *wanted)).collect();
        let deadline = now.mono.after_ms(request.max_wait_ms.max(0) as u64);
        let fetch = Fetch {
            connection,
            slot,
            version: head.version,
            correlation_id: head.correlation_id,
            bytes_min: request.min_bytes.max(0) as usize,
            bytes_max: request.max_bytes.clamp(0, self.node.config.fetch_bytes_max as i32) as usize,
            deadline,
            session,
            outstanding: 0,
            parts,
            reading: false,
        };
        let id = self.start(Pending::Fetch(Box::new(fetch)));
        self.deadlines.insert((deadline, id));
        self.connections.get_mut(&connection).expect("it has sent the request").fetches.push(id);
        self.fetch_ask(now, id);
        Ok(())
    }

    /// Answers fetches at the end of the turn with what there is.
    pub(super) fn fetch_hurry(&mut self, now: Now, fetches: &[RequestId]) {
        for id in fetches {
            let Some(Pending::Fetch(fetch)) = self.requests.get_mut(id) else { continue };
            // Those that read have none any more.
            if self.deadlines.remove(&(fetch.deadline, *id)) {
                fetch.deadline = now.mono;
                self.deadlines.insert((now.mono, *id));
            }
        }
    }

    /// Ends fetches whose connection is gone.
    pub(super) fn fetch_forget(&mut self, fetches: &[RequestId]) {
        for id in fetches {
            let Some(Pending::Fetch(fetch)) = self.requests.remove(id) else { continue };
            self.deadlines.remove(&(fetch.deadline, *id));
            let watched = fetch.parts.iter().filter(|part| part.watched).filter_map(|part| part.partition);
            self.fetch_unwatch(*id, watched.collect());
        }
    }

    fn part(&self, key: &Key, wanted: Wanted) -> Part {
        let topic = match &key.0 {
            TopicRef::Name(name) => self.image.topic(name),
            TopicRef::Id(id) => self.image.topic_by_id(*id),
        };
        let (partition, code) = match (topic, &key.0) {
            (Some(topic), _) if self.partition_topic(topic, key.1) => {
                (Some(PartitionId { topic: topic.id, index: key.1 }), ErrorCode::None)
            }
            (None, TopicRef::Id(_)) => (None, ErrorCode::UnknownTopicId),
            _ => (None, ErrorCode::UnknownTopicOrPartition),
        };
        let (high_watermark, log_start) = (-1, -1);
        Part { key: key.clone(), wanted, partition, code, high_watermark, log_start, data: Data::None, watched: false }
    }

    /// Asks the owners of all parts for their batches.
    fn fetch_ask(&mut self, now: Now, id: RequestId) {
        let Some(Pending::Fetch(mut fetch)) = self.requests.remove(&id) else { return };
        let mut asks = Vec::with_capacity(fetch.parts.len());
        for (number, part) in (0..).zip(&fetch.parts) {
            asks.extend(self.fetch_op(
                number,
                part,
                Op::Read {
                    offset: part.wanted.offset,
                    bytes_max: part.wanted.bytes_max.max(1) as usize,
                    leader_epoch: part.wanted.leader_epoch,
                },
            ));
        }
        fetch.outstanding = asks.len();
        let nothing = asks.is_empty();
        self.requests.insert(id, Pending::Fetch(fetch));
        self.ask_all(now, id, asks);
        if nothing {
            self.fetch_gathered(now, id);
        }
    }

    fn fetch_op(&mut self, number: u32, part: &Part, op: Op) -> Option<Ask> {
        let partition = part.partition?;
        let topic = self.image.topic_by_id(partition.topic)?.clone();
        Some(Ask { part: number, partition, topic: self.rules_of(&topic), op })
    }

    pub(super) fn fetch_answered(&mut self, now: Now, id: RequestId, number: u32, answer: Answer) {
        let Some(Pending::Fetch(fetch)) = self.requests.get_mut(&id) else { return };
        if fetch.reading {
            return;
        }
        let part = &mut fetch.parts[number as usize];
        match answer {
            Answer::Woken => {
                part.watched = false;
                fetch.outstanding += 1;
                return self.fetch_again(now, id, number);
            }
            Answer::Read(read) => {
                (part.high_watermark, part.log_start) = (read.high_watermark, read.log_start);
                part.data = read.data;
                part.code = ErrorCode::None;
            }
            Answer::Failed(code) => {
                part.code = code;
                part.data = Data::None;
            }
            other => panic!("a fetch is not answered by {other:?}"),
        }
        fetch.outstanding -= 1;
        if fetch.outstanding == 0 {
            self.fetch_gathered(now, id);
        }
    }

    fn fetch_again(&mut self, now: Now, id: RequestId, number: u32) {
        let Some(Pending::Fetch(fetch)) = self.requests.remove(&id) else { return };
        let wanted = fetch.parts[number as usize].wanted;
        let op = Op::Read {
            offset: wanted.offset,
            bytes_max: wanted.bytes_max.max(1) as usize,
            leader_epoch: wanted.leader_epoch,
        };
        let ask = self.fetch_op(number, &fetch.parts[number as usize], op);
        self.requests.insert(id, Pending::Fetch(fetch));
        match ask {
            Some(ask) => self.ask_all(now, id, vec![ask]),
            // The topic was deleted meanwhile.
            None => self.fetch_answered(now, id, number, Answer::Failed(ErrorCode::UnknownTopicOrPartition)),
        }
    }

    /// All owners have answered: enough, or wait for more.
    fn fetch_gathered(&mut self, now: Now, id: RequestId) {
        let Some(Pending::Fetch(fetch)) = self.requests.get_mut(&id) else { return };
        let bytes: usize = fetch.parts.iter().map(Part::bytes).sum();
        let error = fetch.parts.iter().any(|part| part.code != ErrorCode::None);
        let enough = bytes >= fetch.bytes_min || error || fetch.parts.is_empty();
        if enough || now.mono >= fetch.deadline {
            return self.fetch_read_older(now, id);
        }
        let Some(Pending::Fetch(mut fetch)) = self.requests.remove(&id) else { return };
        let mut asks = Vec::new();
        for (number, part) in (0..).zip(&mut fetch.parts).filter(|(_, part)| !part.watched) {
            part.watched = true;
            asks.extend(self.fetch_op(number, part, Op::Watch { high_watermark: part.high_watermark }));
        }
        self.requests.insert(id, Pending::Fetch(fetch));
        self.ask_all(now, id, asks);
    }

    pub(super) fn fetch_late(&mut self, now: Now, id: RequestId) {
        if let Some(Pending::Fetch(fetch)) = self.requests.get_mut(&id)
            && !fetch.reading
        {
            if fetch.outstanding > 0 {
                // An owner's answer is on its way; it ends the request.
                return;
            }
            self.fetch_read_older(now, id);
        }
    }

    /// Cuts the parts to the size of the answer and reads those that are on the disk.
    fn fetch_read_older(&mut self, now: Now, id: RequestId) {
        let Some(Pending::Fetch(fetch)) = self.requests.get_mut(&id) else { return };
        fetch.reading = true;
        fetch.outstanding = 0;
        self.deadlines.remove(&(fetch.deadline, id));
        let mut left = fetch.bytes_max;
        let mut first = true;
        let mut watched = Vec::new();
        for (number, part) in (0..).zip(&mut fetch.parts) {
            if part.watched {
                watched.extend(part.partition);
            }
            // One batch is answered at least, however large, so that a reader gets on (KIP-74).
            let bytes_max = if first { left.max(1) } else { left };
            cut(&mut part.data, bytes_max);
            let limit = bytes_max.min(part.wanted.bytes_max.max(1) as usize);
            if let Some(plan) = plan_of(&part.data, part.wanted.offset, limit) {
                self.out.push(Output::Read { request: id, part: number, plan });
                fetch.outstanding += 1;
            }
            let bytes = part.data.bytes(limit);
            first &= bytes == 0;
            left = left.saturating_sub(bytes);
        }
        let nothing = fetch.outstanding == 0;
        self.fetch_unwatch(id, watched);
        if nothing {
            self.fetch_finish(now, id);
        }
    }

    fn fetch_unwatch(&mut self, request: RequestId, mut partitions: Vec<PartitionId>) {
        if partitions.is_empty() {
            return;
        }
        let shards = self.node.shards;
        partitions.sort_unstable_by_key(|partition| partition.shard(shards));
        for group in partitions.chunk_by(|a, b| a.shard(shards) == b.shard(shards)) {
            match group[0].shard(shards) {
                owner if owner == self.id => self.unwatch(owner, request, group),
                owner => self.send(owner, super::Message::Unwatch { request, partitions: group.to_vec() }),
            }
        }
    }

    pub(super) fn fetch_read(&mut self, now: Now, id: RequestId, number: u32, data: Option<Vec<Bytes>>) {
        let Some(Pending::Fetch(fetch)) = self.requests.get_mut(&id) else { return };
        let part = &mut fetch.parts[number as usize];
        match data {
            Some(parts) => {
                let bytes = parts.iter().map(Bytes::len).sum();
                part.data = Data::Memory { parts, bytes };
            }
            None => {
                part.data = Data::None;
                part.code = ErrorCode::KafkaStorageError;
            }
        }
        fetch.outstanding -= 1;
        if fetch.outstanding == 0 {
            self.fetch_finish(now, id);
        }
    }

    fn fetch_finish(&mut self, _now: Now, id: RequestId) {
        let Some(Pending::Fetch(mut fetch)) = self.requests.remove(&id) else { return };
        if let Some(state) = self.connections.get_mut(&fetch.connection) {
            state.fetches.retain(|other| *other != id);
        }
        if fetch.session.id != 0 {
            let (id, incremental) = (fetch.session.id, fetch.session.incremental);
            fetch.parts.retain(|part| {
                let ok = part.code == ErrorCode::None;
                let offsets = (part.high_watermark, part.log_start);
                let news = self.sessions.tell(id, &part.key, part.bytes() > 0, ok, offsets);
                news || !incremental
            });
        }
        self.respond(fetch.connection, fetch.slot, encode(&fetch));
    }
}

/// The partitions that a request names, and those that it no longer wants.
fn wanted(request: &FetchRequest<'_>, version: i16) -> (Vec<(Key, Wanted)>, Vec<Key>) {
    let reference = |name: &str, id: Uuid| match version >= VERSION_TOPIC_IDS {
        true => TopicRef::Id(id),
        false => TopicRef::Name(name.into()),
    };
    let mut wanted = Vec::new();
    for topic in &request.topics {
        let reference = reference(&topic.topic, topic.topic_id);
        for p in &topic.partitions {
            let want = Wanted {
                offset: p.fetch_offset,
                bytes_max: p.partition_max_bytes,
                leader_epoch: p.current_leader_epoch,
            };
            wanted.push(((reference.clone(), p.partition), want));
        }
    }
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
        let reference = reference(&topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |index| (reference.clone(), *index))
    });
    (wanted, forgotten.collect())
}

/// Drops the batches beyond `bytes_max`; a batch is kept if anything may be answered.
fn cut(data: &mut Data, bytes_max: usize) {
    match data {
        Data::Memory { parts, bytes } if *bytes > bytes_max => {
            let mut kept = 0;
            let mut all = 0;
            while kept < parts.len() && bytes_max > 0 && (kept == 0 || all + parts[kept].len() <= bytes_max) {
                all += parts[kept].len();
                kept += 1;
            }
            parts.truncate(kept);
            *bytes = all;
        }
        Data::Disk { .. } if bytes_max == 0 => *data = Data::None,
        _ => {}
    }
}

fn session_error(head: &Head<'_>, error: SessionError) -> Vec<Bytes> {
    let code = match error {
        SessionError::NotFound => ErrorCode::FetchSessionIdNotFound,
        SessionError::Epoch => ErrorCode::InvalidFetchSessionEpoch,
    };
    let response = FetchResponse { error_code: code.code(), ..Default::default() };
    let (_, header_version) = ApiKey::Fetch.header_versions(head.version);
    response_frame(header_version, head.correlation_id, |w| response.encode(w, head.version))
}

fn encode(fetch: &Fetch) -> Vec<Bytes> {
    let mut responses: Vec<FetchableTopicResponse<'_>> = Vec::new();
    let mut last: Option<&TopicRef> = None;
    for part in &fetch.parts {
        if last != Some(&part.key.0) {
            let mut topic = FetchableTopicResponse::default();
            match &part.key.0 {
                TopicRef::Name(name) => topic.topic = Cow::Borrowed(name),
                TopicRef::Id(id) => topic.topic_id = *id,
            }
            responses.push(topic);
            last = Some(&part.key.0);
        }
        responses.last_mut().expect("one was pushed").partitions.push(encode_part(part));
    }
    let response = FetchResponse { session_id: fetch.session.id, responses, ..Default::default() };
    let (_, header_version) = ApiKey::Fetch.header_versions(fetch.version);
    response_frame(header_version, fetch.correlation_id, |w| response.encode(w, fetch.version))
}

fn encode_part(part: &Part) -> PartitionData<'_> {
    let ok = part.code == ErrorCode::None;
    let spans = match &part.data {
        Data::Memory { parts, .. } => parts.clone(),
        Data::None | Data::Disk { .. } => Vec::new(),
    };
    PartitionData {
        partition_index: part.key.1,
        error_code: part.code.code(),
        high_watermark: if ok { part.high_watermark } else { -1 },
        last_stable_offset: if ok { part.high_watermark } else { -1 },
        log_start_offset: if ok { part.log_start } else { -1 },
        aborted_transactions: None,
        records: Some(Records::Spans(spans)),
        ..Default::default()
    }
}
