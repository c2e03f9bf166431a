//! Fetch: owners are asked for what they have; too little of it parks the request until bytes or deadline; older data is
//! read by the connection's core; then everything leaves as it lies in memory.

use super::gather::{Begun, Incoming, Next, Reply, ReplyHead, Scatter, Work};
use super::session::{Key, SessionError, TopicRef, Wanted};
use crate::metadata::Topic;
use crate::shard::message::{Answer, Data, Op, ReadBy};
use crate::shard::port::ReadPlan;
use crate::shard::view::View;
use crate::types::{Epoch, Offset, PartitionId, Time, Uuid};
use crate::wire::batch::batches;
use crate::wire::codec::{DecodeError, Reader, Records};
use crate::wire::error::ErrorCode;
use crate::wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use crate::wire::messages::{FetchRequest, FetchResponse};
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Fetches name topics by id from this version on.
const VERSION_TOPIC_IDS: i16 = 13;
/// Reads from the disk that a request has under way at the same time: enough that the drive is never idle between them (one
/// serves some tens at once), and so few that other requests' reads are among them.
const READS_MAX: usize = 64;

/// A Fetch request in progress.
struct Fetch {
    head: ReplyHead,
    bytes_min: usize,
    bytes_max: usize,
    deadline: Time,
    /// 0: no session.
    session: i32,
    /// Only what is new goes into the answer.
    incremental: bool,
    parts: Vec<Part>,
    stage: Stage,
}

enum Stage {
    /// Owners say what there is, or tell when there is more.
    Waiting,
    /// There are enough records, or there is no more time: batches are read from the disk.
    Reading {
        /// Parts that are still to be read, in order, and how much of each at the most.
        queue: VecDeque<(u32, ReadPlan)>,
    },
}

struct Part {
    key: Key,
    /// Who reads.
    by: ReadBy,
    wanted: Wanted,
    /// The partition that is asked; `None` if the topic is not known.
    partition: Option<PartitionId>,
    code: ErrorCode,
    high_watermark: Offset,
    last_stable: Offset,
    log_start: Offset,
    data: Data,
    watched: bool,
    /// What may be read of it: bytes, and whether it is one batch at least.
    share: (usize, bool),
    /// A read has failed, and the owner was asked again.
    again: bool,
}

impl Part {
    fn limit(&self) -> usize {
        self.wanted.bytes_max.max(0) as usize
    }

    /// How many bytes of batches this part has to offer, up to its limit, but one batch at least.
    fn bytes(&self) -> usize {
        self.data.bytes(self.limit().max(1))
    }

    /// The read of its share, if that is on the disk.
    fn plan(&self) -> Option<ReadPlan> {
        let Data::Disk { partition, name, read } = &self.data else { return None };
        let (name, read, offset) = (name.clone(), read.clone(), self.wanted.offset);
        Some(ReadPlan { partition: *partition, name, read, offset, bytes_max: self.share.0.max(1) })
    }

    fn ask(&self, scatter: &mut Scatter<'_>, number: u32, op: Op) -> bool {
        let Some((partition, topic)) = self.partition.and_then(|p| Some((p, topic(scatter.view, p)?))) else {
            return false;
        };
        scatter.ask(number, partition, &topic, op);
        true
    }

    fn ask_read(&self, scatter: &mut Scatter<'_>, number: u32) -> bool {
        let Wanted { offset, leader_epoch, .. } = self.wanted;
        self.ask(scatter, number, Op::Read { offset, bytes_max: self.limit().max(1), leader_epoch, by: self.by })
    }
}

/// The largest answer, unless its first batch is larger: so that no answer takes all the memory that there is for
/// answers.
fn answer_bytes_max(view: &View) -> usize {
    let config = &view.node().config;
    (config.fetch_bytes_max as usize).min(config.core_memory_bytes_max as usize / 2)
}

fn topic(view: &View, partition: PartitionId) -> Option<Arc<Topic>> {
    view.image().topic_by_id(partition.topic).cloned()
}

pub fn begin(scatter: &mut Scatter<'_>, incoming: &Incoming<'_>, frame: BytesMut) -> Result<Begun, DecodeError> {
    let head = &incoming.head;
    let request = FetchRequest::decode(&mut Reader::new(&frame[head.body_start..]), head.version)?;
    let reply = ReplyHead::new(head);
    let replica = if head.version < 15 { request.replica_id } else { request.replica_state.replica_id };
    let by = ReadBy::new(replica, request.isolation_level);
    let (wanted, forgotten) = wanted(&request, head.version);
    let session = match scatter.sessions.begin(request.session_id, request.session_epoch, wanted, &forgotten) {
        Ok(session) => session,
        Err(error) => return Ok(Begun::Answered(session_error(&reply, error))),
    };
    let parts: Vec<Part> =
        session.partitions.iter().map(|(key, wanted)| part(scatter.view, by, key, *wanted)).collect();
    let deadline = scatter.now.mono.after_ms(request.max_wait_ms.max(0) as u64);
    let fetch = Fetch {
        head: reply,
        bytes_min: request.min_bytes.max(0) as usize,
        bytes_max: answer_bytes_max(scatter.view).min(request.max_bytes.max(0) as usize),
        deadline,
        session: session.id,
        incremental: session.incremental,
        parts,
        stage: Stage::Waiting,
    };
    for (number, part) in (0..).zip(&fetch.parts) {
        part.ask_read(scatter, number);
    }
    Ok(Begun::Started { work: Box::new(fetch), deadline: Some(deadline), silent: false })
}

fn part(view: &View, by: ReadBy, key: &Key, wanted: Wanted) -> Part {
    let topic = match &key.0 {
        TopicRef::Name(name) => view.image().topic(name),
        TopicRef::Id(id) => view.image().topic_by_id(*id),
    };
    let partition = topic.and_then(|topic| view.led(topic, key.1));
    let code = match (&key.0, topic, partition) {
        (_, _, Some(_)) => ErrorCode::None,
        (TopicRef::Id(_), None, _) => ErrorCode::UnknownTopicId,
        _ => ErrorCode::UnknownTopicOrPartition,
    };
    let (high_watermark, last_stable, log_start) = (-1, -1, -1);
    let (data, share, watched, again) = (Data::None, (0, false), false, false);
    Part {
        key: key.clone(),
        by,
        wanted,
        partition,
        code,
        high_watermark,
        last_stable,
        log_start,
        data,
        watched,
        share,
        again,
    }
}

impl Fetch {
    /// Cuts the parts to the size of the answer, and has those read that are on the disk.
    ///
    /// KIP-74: the answer holds what fits into its limit and each part's own, in the order of the request. Only the first
    /// part that is not empty may exceed them, by one batch, so that a reader gets on.
    fn read_older(&mut self, scatter: &mut Scatter<'_>) -> Next {
        self.abandoned(scatter);
        self.parts.iter_mut().for_each(|part| part.watched = false);
        let mut queue = VecDeque::new();
        let mut left = self.bytes_max;
        let mut first = true;
        for (number, part) in (0..).zip(&mut self.parts) {
            let limit = part.limit().min(left);
            part.share = (limit, first);
            match &part.data {
                Data::None => continue,
                Data::Memory { .. } => cut(&mut part.data, limit, first),
                Data::Disk { .. } if limit == 0 && !first => part.data = Data::None,
                Data::Disk { .. } => queue.extend(part.plan().map(|plan| (number, plan))),
            }
            let bytes = part.data.bytes(limit.max(1));
            first &= bytes == 0;
            left = left.saturating_sub(bytes);
        }
        let reads = queue.drain(..queue.len().min(READS_MAX)).collect::<Vec<_>>();
        let next = if reads.is_empty() { Next::Reply } else { Next::Wait };
        reads.into_iter().for_each(|(part, plan)| scatter.read(part, plan));
        self.stage = Stage::Reading { queue };
        next
    }

    /// Cuts what was read to what the answer may hold: the first part may have taken more than its share.
    fn fit(&mut self) {
        let mut left = self.bytes_max;
        let mut first = true;
        for part in &mut self.parts {
            let limit = part.limit().min(left);
            cut(&mut part.data, limit, first);
            let bytes = part.data.bytes(0);
            first &= bytes == 0;
            left = left.saturating_sub(bytes);
        }
    }
}

impl Work for Fetch {
    fn kept_bytes(&self) -> usize {
        self.parts.len() * size_of::<Part>()
    }

    fn answer_bytes_max(&self) -> usize {
        self.parts.iter().map(Part::limit).sum::<usize>().min(self.bytes_max)
    }

    fn answered(&mut self, scatter: &mut Scatter<'_>, number: u32, answer: Answer) {
        let reading = matches!(self.stage, Stage::Reading { .. });
        let part = &mut self.parts[number as usize];
        match answer {
            // A watch ended while it was given up.
            Answer::Woken if reading => return,
            Answer::Woken => {
                part.watched = false;
                if !part.ask_read(scatter, number) {
                    // The topic was deleted meanwhile.
                    part.code = ErrorCode::UnknownTopicOrPartition;
                    part.data = Data::None;
                }
            }
            Answer::Read(read) => {
                (part.high_watermark, part.last_stable) = (read.high_watermark, read.last_stable);
                part.log_start = read.log_start;
                part.data = read.data;
                part.code = ErrorCode::None;
            }
            Answer::Failed(code) => {
                part.code = code;
                part.data = Data::None;
            }
            other => panic!("a fetch is not answered by {other:?}"),
        }
        if reading {
            assert!(part.again, "nothing else was asked");
            cut(&mut part.data, part.share.0, part.share.1);
            if let Some(plan) = part.plan() {
                scatter.read(number, plan);
            }
        }
    }

    fn read(&mut self, scatter: &mut Scatter<'_>, number: u32, data: Option<Vec<Bytes>>) {
        let Stage::Reading { queue } = &mut self.stage else { panic!("nothing was read") };
        let part = &mut self.parts[number as usize];
        match data {
            Some(parts) => {
                let bytes = parts.iter().map(Bytes::len).sum();
                part.data = Data::Memory { parts, bytes };
                // A read brings a whole batch, however small its limit: what is too much goes at once.
                cut(&mut part.data, part.share.0, part.share.1);
            }
            // What the owner had may be gone by now: it then says so.
            None if !std::mem::replace(&mut part.again, true) && part.ask_read(scatter, number) => {}
            None => {
                part.data = Data::None;
                part.code = ErrorCode::KafkaStorageError;
            }
        }
        if let Some((part, plan)) = queue.pop_front() {
            scatter.read(part, plan);
        }
    }

    /// Goes on when all owners have answered, or everything is read: replies, or waits for more.
    fn gathered(&mut self, scatter: &mut Scatter<'_>) -> Next {
        if let Stage::Reading { .. } = self.stage {
            return Next::Reply;
        }
        let bytes: usize = self.parts.iter().map(Part::bytes).sum();
        let error = self.parts.iter().any(|part| part.code != ErrorCode::None);
        let enough = bytes >= self.bytes_min || error || self.parts.is_empty();
        if enough || scatter.now.mono >= self.deadline {
            return self.read_older(scatter);
        }
        for (number, part) in (0..).zip(&mut self.parts).filter(|(_, part)| !part.watched) {
            part.watched = true;
            part.ask(scatter, number, Op::Watch { high_watermark: part.high_watermark });
        }
        Next::Wait
    }

    fn late(&mut self, scatter: &mut Scatter<'_>) -> Next {
        // If an owner's answer is on its way, it ends the request.
        self.deadline = self.deadline.min(scatter.now.mono);
        match self.is_parked() {
            true => self.read_older(scatter),
            false => Next::Wait,
        }
    }

    fn is_parked(&self) -> bool {
        matches!(self.stage, Stage::Waiting) && self.parts.iter().all(|part| part.watched)
    }

    fn abandoned(&mut self, scatter: &mut Scatter<'_>) {
        let watched = self.parts.iter().filter(|part| part.watched);
        scatter.unwatch(watched.filter_map(|part| part.partition).collect());
    }

    fn reply(mut self: Box<Self>, scatter: &mut Scatter<'_>) -> Reply {
        self.fit();
        if self.session != 0 {
            let (session, incremental) = (self.session, self.incremental);
            self.parts.retain(|part| {
                let ok = part.code == ErrorCode::None;
                let offsets = (part.high_watermark, part.log_start);
                let news = scatter.sessions.tell(session, &part.key, part.bytes() > 0, ok, offsets);
                news || !incremental
            });
        }
        Reply::Send(encode(&self))
    }
}

/// The partitions that a request names, each once, with what was said of it last; and those that it no longer wants.
fn wanted(request: &FetchRequest<'_>, version: i16) -> (Vec<(Key, Wanted)>, Vec<Key>) {
    let reference = |name: &str, id: Uuid| match version >= VERSION_TOPIC_IDS {
        true => TopicRef::Id(id),
        false => TopicRef::Name(name.into()),
    };
    let mut wanted: Vec<(Key, Wanted)> = Vec::new();
    let mut seen: HashMap<Key, usize> = HashMap::new();
    for topic in &request.topics {
        let reference = reference(&topic.topic, topic.topic_id);
        for p in &topic.partitions {
            let want = Wanted {
                offset: p.fetch_offset,
                bytes_max: p.partition_max_bytes,
                leader_epoch: Epoch(p.current_leader_epoch),
            };
            let key = (reference.clone(), p.partition);
            match seen.get(&key) {
                Some(&at) => wanted[at].1 = want,
                None => {
                    seen.insert(key.clone(), wanted.len());
                    wanted.push((key, want));
                }
            }
        }
    }
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
        let reference = reference(&topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |index| (reference.clone(), *index))
    });
    (wanted, forgotten.collect())
}

/// Drops the batches beyond `bytes_max`; with `one` the first batch stays in any case.
fn cut(data: &mut Data, bytes_max: usize, one: bool) {
    let Data::Memory { parts, bytes } = data else { return };
    if *bytes <= bytes_max {
        return;
    }
    let mut kept = Vec::new();
    let mut all = 0;
    'parts: for part in parts.iter() {
        let mut end = 0;
        for batch in batches(part) {
            let length = batch.bytes.len();
            if all + length > bytes_max && !(one && all == 0) {
                break;
            }
            all += length;
            end += length;
        }
        if end > 0 {
            kept.push(part.slice(..end));
        }
        if end < part.len() {
            break 'parts;
        }
    }
    *data = if all == 0 { Data::None } else { Data::Memory { parts: kept, bytes: all } };
}

fn session_error(head: &ReplyHead, error: SessionError) -> Vec<Bytes> {
    let code = match error {
        SessionError::NotFound => ErrorCode::FetchSessionIdNotFound,
        SessionError::Epoch => ErrorCode::InvalidFetchSessionEpoch,
    };
    let response = FetchResponse { error_code: code.code(), ..Default::default() };
    head.frame(|w| response.encode(w, head.version))
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
    let response = FetchResponse { session_id: fetch.session, responses, ..Default::default() };
    fetch.head.frame(|w| response.encode(w, fetch.head.version))
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
        last_stable_offset: if ok { part.last_stable } else { -1 },
        log_start_offset: if ok { part.log_start } else { -1 },
        aborted_transactions: None,
        records: Some(Records::Spans(spans)),
        ..Default::default()
    }
}
