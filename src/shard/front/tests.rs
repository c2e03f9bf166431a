//! What a front asks of owners and of the disk, and asks once more when a segment was deleted in between.

use super::*;
use crate::log::{DiskRead, SegmentId};
use crate::shard::api;
use crate::shard::message::{Ask, Data, Op, ReadAnswer};
use crate::shard::query::fixture::{NOW, World, body_of};
use crate::types::{Epoch, Offset, TimestampMs};
use crate::wire::batch::BatchBuilder;
use crate::wire::codec::{Reader as Bodies, Records, Writer};
use crate::wire::error::ErrorCode;
use crate::wire::frame::request_frame;
use crate::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use crate::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse};
use std::net::Ipv4Addr;

const A: ConnectionId = ConnectionId(1);
/// The correlation id of the fixture's answers.
const CORRELATION_ID: i32 = 77;
const FETCH: i16 = 11;
const LIST: i16 = 7;
const TIME: TimestampMs = 1_700_000_000_000;

struct Stage {
    front: Front,
    view: View,
    partition: PartitionId,
}

impl Stage {
    /// One connection, and a topic `t` of one partition.
    fn new() -> Stage {
        let mut world = World::new(&[]);
        let topic = world.topic("t", 1, &[]);
        let (config, image) = (world.node.config.clone(), world.controller.image_decided().clone());
        let mut view = View::new(ShardId(0), world.node.into(), image, config, 1 << 20, api::versions);
        let mut front = Front::new(api::api, 10, 1 << 20, ShardId(0), 1);
        front.connected(&view, A, 0, Ipv4Addr::LOCALHOST.into());
        assert!(view.led(&view.image().topic("t").expect("it was just made").clone(), 0).is_some());
        view.set_disk_bytes(1, 1);
        Stage { front, view, partition: PartitionId { topic, index: 0 } }
    }

    fn send(&mut self, api: ApiKey, version: i16, body: impl FnOnce(&mut Writer)) {
        let frame = request_frame(api, version, CORRELATION_ID, None, body).concat();
        self.front.frame(NOW, &mut self.view, A, BytesMut::from(&frame[4..]));
    }

    /// What the partition's owner is asked: exactly one thing.
    fn asked(&mut self) -> (RequestId, Op) {
        let mut mail = self.front.take_mail();
        mail.retain(|(_, message)| !matches!(message, Message::Unwatch { .. }));
        let [(to, Message::Asks { origin: Origin::Client(request), asks })] = &mut mail[..] else {
            panic!("one question: {mail:?}")
        };
        assert_eq!((*to, asks.len()), (ShardId(0), 1));
        let Ask { partition, op, .. } = asks.remove(0);
        assert_eq!(partition, self.partition);
        (*request, op)
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        self.front.answers(NOW, &mut self.view, request, vec![(0, answer)]);
    }

    /// Has the one read that was asked for bring this.
    fn read(&mut self, data: Option<Vec<Bytes>>) {
        let output = self.front.take_output();
        let [Output::Read { reader: Reader::Request { request, part }, plan }] = &output[..] else {
            panic!("one read: {output:?}")
        };
        let (request, part) = (*request, *part);
        assert_eq!((plan.partition, part), (self.partition, 0));
        self.front.read_done(NOW, &mut self.view, request, part, data);
    }

    /// The body of the answer, behind which nothing is left to do.
    fn answered(&mut self, api: ApiKey, version: i16) -> &'static [u8] {
        let output = self.front.take_output();
        let [Output::Send { parts, .. }] = &output[..] else { panic!("one answer: {output:?}") };
        self.front.take_mail();
        self.front.check();
        body_of(parts.clone(), api.header_versions(version).1)
    }

    /// Batches in the segment that begins at `base`.
    fn on_disk(&self, base: Offset) -> Data {
        let segment = SegmentId { base, generation: 0 };
        let read = DiskRead { segment, position: 0, position_end: 1000, indexed: false, timestamp: None };
        Data::Disk { partition: self.partition, name: "t-0".into(), read }
    }

    fn fetch(&mut self) -> RequestId {
        let wanted = FetchPartition { partition: 0, partition_max_bytes: 1000, ..Default::default() };
        let topics = vec![FetchTopic { topic: "t".into(), partitions: vec![wanted], ..Default::default() }];
        let request = FetchRequest { max_bytes: 1000, min_bytes: 1, session_epoch: -1, topics, ..Default::default() };
        self.send(ApiKey::Fetch, FETCH, |w| request.encode(w, FETCH));
        let (request, op) = self.asked();
        assert!(matches!(op, Op::Read { offset: 0, .. }), "{op:?}");
        request
    }

    /// Code and bytes of records of the answer to a fetch.
    fn fetched(&mut self) -> (ErrorCode, usize) {
        let body = self.answered(ApiKey::Fetch, FETCH);
        let response = FetchResponse::decode(&mut Bodies::new(body), FETCH).expect("a response");
        let part = &response.responses[0].partitions[0];
        let bytes = match &part.records {
            Some(Records::Slice(bytes)) => bytes.len(),
            _ => 0,
        };
        (ErrorCode::from_code(part.error_code).expect("a code of Kafka's"), bytes)
    }

    fn list(&mut self) -> RequestId {
        let wanted = ListOffsetsPartition { timestamp: TIME, ..Default::default() };
        let topics = vec![ListOffsetsTopic { name: "t".into(), partitions: vec![wanted] }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        self.send(ApiKey::ListOffsets, LIST, |w| request.encode(w, LIST));
        self.asked_for_time()
    }

    /// The owner is asked where a search for the time is to begin.
    fn asked_for_time(&mut self) -> RequestId {
        let (request, op) = self.asked();
        assert!(matches!(op, Op::ListOffset { timestamp: TIME, .. }), "{op:?}");
        request
    }

    fn search(&mut self, request: RequestId, from: Offset, data: Data) {
        self.answer(request, Answer::OffsetIn { timestamp: TIME, from, start: from, epoch: Epoch(3), data });
    }

    /// Code and offset of the answer to a search.
    fn listed(&mut self) -> (ErrorCode, Offset) {
        let body = self.answered(ApiKey::ListOffsets, LIST);
        let response = ListOffsetsResponse::decode(&mut Bodies::new(body), LIST).expect("a response");
        let part = &response.topics[0].partitions[0];
        (ErrorCode::from_code(part.error_code).expect("a code of Kafka's"), part.offset)
    }
}

fn batch(base: Offset, timestamp: TimestampMs) -> Bytes {
    BatchBuilder::new(base).record(timestamp, None, Some(b"value")).build()
}

fn found(data: Data) -> Answer {
    Answer::Read(ReadAnswer { high_watermark: 10, last_stable: 10, log_start: 0, data })
}

#[test]
fn a_fetch_whose_read_fails_asks_the_owner_once_more() {
    for (second, expected) in [
        (Some(vec![batch(0, TIME)]), (ErrorCode::None, batch(0, TIME).len())),
        (None, (ErrorCode::KafkaStorageError, 0)),
    ] {
        let mut stage = Stage::new();
        let request = stage.fetch();
        stage.answer(request, found(stage.on_disk(0)));
        stage.read(None);
        let (request, op) = stage.asked();
        assert!(matches!(op, Op::Read { offset: 0, .. }), "{op:?}");
        stage.answer(request, found(stage.on_disk(0)));
        stage.read(second);
        assert_eq!(stage.fetched(), expected);
    }
}

#[test]
fn a_fetch_of_what_was_deleted_while_it_was_read_is_out_of_range() {
    let mut stage = Stage::new();
    let request = stage.fetch();
    stage.answer(request, found(stage.on_disk(0)));
    stage.read(None);
    let (request, _) = stage.asked();
    stage.answer(request, Answer::Failed(ErrorCode::OffsetOutOfRange));
    assert_eq!(stage.fetched(), (ErrorCode::OffsetOutOfRange, 0));
}

#[test]
fn a_search_that_a_deletion_overtakes_begins_again() {
    let mut stage = Stage::new();
    let request = stage.list();
    stage.search(request, 0, stage.on_disk(0));
    // Too old: it goes on behind them, where nothing is any more.
    stage.read(Some(vec![batch(0, TIME - 2), batch(1, TIME - 1)]));
    let (request, op) = stage.asked();
    assert!(matches!(op, Op::Read { offset: 2, .. }), "{op:?}");
    stage.answer(request, Answer::Failed(ErrorCode::OffsetOutOfRange));
    let request = stage.asked_for_time();
    let there = batch(7, TIME + 1);
    stage.search(request, 7, Data::Memory { bytes: there.len(), parts: vec![there] });
    assert_eq!(stage.listed(), (ErrorCode::None, 7));
}

#[test]
fn a_search_whose_read_fails_begins_again_once() {
    for (second, expected) in
        [(Some(vec![batch(5, TIME)]), (ErrorCode::None, 5)), (None, (ErrorCode::KafkaStorageError, -1))]
    {
        let mut stage = Stage::new();
        let request = stage.list();
        stage.search(request, 0, stage.on_disk(0));
        stage.read(None);
        let request = stage.asked_for_time();
        stage.search(request, 5, stage.on_disk(5));
        stage.read(second);
        assert_eq!(stage.listed(), expected);
    }
}
