//! How far a consumer has read, and the fetches that follow from it: incremental sessions as clients have them (KIP-227).

use crate::options::Fetching;
use crate::request::Topic;
use klamm::client::meaning::Meaning;
use klamm::wire::batch::{Batch, batches};
use klamm::wire::codec::Records;
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use klamm::wire::messages::fetch_response::PartitionData;
use klamm::wire::messages::{FetchRequest, FetchResponse};
use std::collections::{BTreeMap, BTreeSet};

/// A request that has no session yet has this session and this epoch.
const NO_SESSION: i32 = 0;
const FIRST_EPOCH: i32 = 0;

/// Where a partition is to be read from and to; the end is exclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub next: i64,
    pub end: i64,
}

/// What an answer brought.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Brought {
    pub records: u64,
    /// Bytes of whole batches.
    pub bytes: u64,
    pub errors: Vec<i16>,
}

/// Partitions that are still to be read: where each is read on, and where it is begun again if it is to be.
pub type Rest = BTreeMap<i32, (Span, Option<i64>)>;

#[derive(Debug)]
pub struct Positions {
    topic: Topic,
    limits: Fetching,
    /// The partitions that are still to be read.
    open: BTreeMap<i32, Span>,
    session_id: i32,
    epoch: i32,
    /// Partitions whose positions the broker does not know.
    changed: BTreeSet<i32>,
    /// Partitions that the session still has and that are no longer open.
    forgotten: Vec<i32>,
    /// Where partitions that are read to their ends are begun again.
    again: BTreeMap<i32, i64>,
    /// Partitions that cannot be read here: somebody else leads them, or nobody for now.
    moved: BTreeMap<i32, Span>,
}

impl Positions {
    pub fn new(topic: Topic, limits: Fetching, spans: BTreeMap<i32, Span>) -> Self {
        let open = spans.into_iter().filter(|(_, span)| span.next < span.end).collect();
        Positions {
            topic,
            limits,
            open,
            session_id: NO_SESSION,
            epoch: FIRST_EPOCH,
            changed: BTreeSet::new(),
            forgotten: Vec::new(),
            again: BTreeMap::new(),
            moved: BTreeMap::new(),
        }
    }

    /// Goes on with what others have left.
    pub fn resume(topic: Topic, limits: Fetching, rest: &Rest) -> Self {
        let spans = rest.iter().map(|(&partition, &(span, _))| (partition, span));
        let mut positions = Positions::new(topic, limits, spans.collect());
        positions.again = rest.iter().filter_map(|(&partition, &(_, again))| Some((partition, again?))).collect();
        positions
    }

    /// Takes out what cannot be read here.
    pub fn leave_moved(&mut self) -> Rest {
        let again = |partition| self.again.get(&partition).copied();
        let moved = std::mem::take(&mut self.moved).into_iter();
        moved.map(|(partition, span)| (partition, (span, again(partition)))).collect()
    }

    /// Takes out all that is still to be read.
    pub fn leave_all(&mut self) -> Rest {
        self.moved.append(&mut self.open);
        self.leave_moved()
    }

    /// What is read to its end is read again from where it began, without end.
    pub fn repeat(&mut self) {
        self.again = self.open.iter().map(|(partition, span)| (*partition, span.next)).collect();
    }

    /// Whether a partition is still to be read here.
    pub fn reads(&self, partition: i32) -> bool {
        self.open.contains_key(&partition)
    }

    /// Whether all is read.
    pub fn done(&self) -> bool {
        self.open.is_empty()
    }

    /// The next fetch. Its answer goes to `absorb` before another is made.
    pub fn request(&mut self) -> FetchRequest<'_> {
        let whole = self.epoch == FIRST_EPOCH;
        let partition = |(&partition, span): (&i32, &Span)| FetchPartition {
            partition,
            fetch_offset: span.next,
            partition_max_bytes: self.limits.fetch_partition_bytes,
            ..Default::default()
        };
        let partitions: Vec<FetchPartition> = self
            .open
            .iter()
            .filter(|(partition, _)| whole || self.changed.contains(partition))
            .map(partition)
            .collect();
        let forgotten = std::mem::take(&mut self.forgotten);
        self.changed.clear();
        let mut request = FetchRequest {
            replica_id: -1,
            max_wait_ms: self.limits.max_wait_ms,
            min_bytes: self.limits.min_bytes,
            max_bytes: self.limits.max_bytes,
            session_id: self.session_id,
            session_epoch: self.epoch,
            ..Default::default()
        };
        if !partitions.is_empty() {
            request.topics.push(FetchTopic {
                topic: self.topic.name.as_str().into(),
                topic_id: self.topic.id,
                partitions,
            });
        }
        if !whole && !forgotten.is_empty() {
            request.forgotten_topics_data.push(ForgottenTopic {
                topic: self.topic.name.as_str().into(),
                topic_id: self.topic.id,
                partitions: forgotten,
            });
        }
        request
    }

    /// Gives each batch that was not read before to `batch`, with its partition, and moves on behind it. A partition that fails
    /// otherwise than by a position that no longer exists is read no further here.
    pub fn absorb(&mut self, answer: &FetchResponse<'_>, mut batch: impl FnMut(i32, &Batch<'_>)) -> Brought {
        let mut brought = Brought::default();
        if answer.error_code != 0 {
            self.forget_session();
            let code = ErrorCode::from_code(answer.error_code);
            let harmless = [ErrorCode::FetchSessionIdNotFound, ErrorCode::InvalidFetchSessionEpoch];
            if !code.is_some_and(|code| harmless.contains(&code)) {
                brought.errors.push(answer.error_code);
            }
            return brought;
        }
        if answer.session_id == NO_SESSION {
            self.forget_session();
        } else {
            self.session_id = answer.session_id;
            self.epoch = self.epoch.checked_add(1).unwrap_or(FIRST_EPOCH + 1);
        }
        for partition in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            self.absorb_partition(partition, &mut brought, &mut batch);
        }
        brought
    }

    fn absorb_partition(
        &mut self,
        answer: &PartitionData<'_>,
        brought: &mut Brought,
        batch: &mut impl FnMut(i32, &Batch<'_>),
    ) {
        let index = answer.partition_index;
        let Some(span) = self.open.get_mut(&index) else { return };
        let mut failed = false;
        if answer.error_code != 0 {
            brought.errors.push(answer.error_code);
            let gone = answer.error_code == ErrorCode::OffsetOutOfRange.code() && answer.log_start_offset > span.next;
            span.next = if gone { answer.log_start_offset } else { span.next };
            failed = !gone;
        } else if let Some(Records::Slice(records)) = answer.records {
            let mut walk = batches(records);
            for found in walk.by_ref() {
                let last = found.header.last_offset();
                if last < span.next {
                    continue;
                }
                batch(index, &found);
                span.next = last.saturating_add(1);
                brought.records += u64::try_from(found.header.records_count.get()).unwrap_or(0);
                brought.bytes += found.bytes.len() as u64;
            }
            // The last batch may be cut, but a first one that is not whole leads nowhere.
            if walk.position() == 0 && !records.is_empty() {
                brought.errors.push(ErrorCode::CorruptMessage.code());
                failed = true;
            }
        }
        self.changed.insert(index);
        if let Some(start) = self.again.get(&index)
            && span.next >= span.end
        {
            span.next = *start;
        }
        if failed || span.next >= span.end {
            if failed && Meaning::of(answer.error_code).is_passing() {
                self.moved.insert(index, *span);
            }
            self.open.remove(&index);
            self.changed.remove(&index);
            self.forgotten.push(index);
        }
    }

    /// The next request names all partitions and asks for a new session.
    pub fn forget_session(&mut self) {
        (self.session_id, self.epoch) = (NO_SESSION, FIRST_EPOCH);
        self.forgotten.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm::types::Uuid;
    use klamm::wire::batch::BatchBuilder;
    use klamm::wire::messages::fetch_response::FetchableTopicResponse;

    fn positions(spans: &[(i32, i64, i64)]) -> Positions {
        let topic = Topic { name: "t".to_string(), id: Uuid([1; 16]) };
        let limits = Fetching { max_bytes: 1000, fetch_partition_bytes: 100, min_bytes: 1, max_wait_ms: 5 };
        let spans = spans.iter().map(|&(partition, next, end)| (partition, Span { next, end }));
        Positions::new(topic, limits, spans.collect())
    }

    fn asked(request: &FetchRequest<'_>) -> Vec<(i32, i64)> {
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| (partition.partition, partition.fetch_offset)).collect()
    }

    fn answer(session_id: i32, partitions: Vec<PartitionData<'_>>) -> FetchResponse<'_> {
        FetchResponse {
            session_id,
            responses: vec![FetchableTopicResponse { partitions, ..Default::default() }],
            ..Default::default()
        }
    }

    fn data(partition_index: i32, records: &[u8]) -> PartitionData<'_> {
        PartitionData { partition_index, records: Some(Records::Slice(records)), ..Default::default() }
    }

    fn batch(base_offset: i64, records: usize) -> Vec<u8> {
        let builder = BatchBuilder::new(base_offset);
        (0..records).fold(builder, |builder, _| builder.record(0, None, Some(b"x"))).build().to_vec()
    }

    #[test]
    fn a_session_names_only_what_changed() {
        let mut positions = positions(&[(0, 0, i64::MAX), (1, 7, i64::MAX), (2, 5, 5)]);
        assert_eq!(asked(&positions.request()), [(0, 0), (1, 7)]);
        let records = [batch(0, 3), batch(3, 2), batch(5, 9)[..50].to_vec()].concat();
        let mut seen = Vec::new();
        let brought = positions.absorb(&answer(9, vec![data(0, &records), data(1, &[])]), |partition, batch| {
            seen.push((partition, batch.header.base_offset.get()))
        });
        assert_eq!((brought.records, brought.errors.len(), seen), (5, 0, vec![(0, 0), (0, 3)]));
        let request = positions.request();
        assert_eq!((request.session_id, request.session_epoch), (9, 1));
        assert_eq!(asked(&request), [(0, 5), (1, 7)]);
        positions.absorb(&answer(9, vec![]), |_, _| ());
        let request = positions.request();
        assert_eq!((request.session_epoch, request.topics.len()), (2, 0));
    }

    #[test]
    fn a_lost_session_begins_again() {
        let mut positions = positions(&[(0, 4, i64::MAX)]);
        positions.request();
        positions.absorb(&answer(9, vec![]), |_, _| ());
        positions.request();
        let lost = FetchResponse { error_code: ErrorCode::FetchSessionIdNotFound.code(), ..Default::default() };
        assert_eq!(positions.absorb(&lost, |_, _| ()), Brought::default());
        let request = positions.request();
        assert_eq!((request.session_id, request.session_epoch, asked(&request)), (0, 0, vec![(0, 4)]));
    }

    #[test]
    fn reading_ends_at_the_end() {
        let mut positions = positions(&[(0, 1, 3), (1, 0, 2)]);
        positions.request();
        let records = batch(0, 3);
        let brought = positions.absorb(&answer(9, vec![data(0, &records)]), |_, _| ());
        assert_eq!(brought.records, 3);
        let request = positions.request();
        assert_eq!(request.forgotten_topics_data[0].partitions, [0]);
        let records = [batch(0, 1), batch(1, 1)].concat();
        assert!(!positions.done());
        positions.absorb(&answer(9, vec![data(1, &records)]), |_, _| ());
        assert!(positions.done());
    }

    #[test]
    fn repeated_reading_begins_again() {
        let mut positions = positions(&[(0, 1, 3)]);
        positions.repeat();
        for _ in 0..3 {
            assert_eq!(asked(&positions.request()), [(0, 1)]);
            let records = batch(1, 2);
            assert_eq!(positions.absorb(&answer(9, vec![data(0, &records)]), |_, _| ()).records, 2);
            assert!(!positions.done());
        }
    }

    #[test]
    fn batches_before_the_position_are_not_read_again() {
        let mut positions = positions(&[(0, 3, i64::MAX)]);
        let records = [batch(0, 3), batch(3, 1)].concat();
        let brought = positions.absorb(&answer(0, vec![data(0, &records)]), |_, _| ());
        assert_eq!(brought.records, 1);
        assert_eq!(asked(&positions.request()), [(0, 4)]);
    }

    #[test]
    fn failed_partitions_are_left_and_removed_offsets_skipped() {
        let mut positions = positions(&[(0, 3, i64::MAX), (1, 3, i64::MAX), (2, 0, i64::MAX)]);
        let failed = |partition_index, error: ErrorCode, log_start_offset| PartitionData {
            partition_index,
            error_code: error.code(),
            log_start_offset,
            ..Default::default()
        };
        let partitions = vec![
            failed(0, ErrorCode::NotLeaderOrFollower, -1),
            failed(1, ErrorCode::OffsetOutOfRange, 10),
            data(2, b"no batch"),
        ];
        let brought = positions.absorb(&answer(0, partitions), |_, _| ());
        assert_eq!(brought.errors, [6, 1, 2]);
        assert_eq!(asked(&positions.request()), [(1, 10)]);
        // Somebody else leads the first, and may be asked; the last one leads nowhere.
        let rest = positions.leave_moved();
        assert_eq!(rest, BTreeMap::from([(0, (Span { next: 3, end: i64::MAX }, None))]));
        assert_eq!(positions.leave_all().into_keys().collect::<Vec<_>>(), [1]);
        assert!(positions.done());
    }
}
