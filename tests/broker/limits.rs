//! Limits: at each of them the peer is slowed or refused, and nobody else notices.

use crate::batches::{batch, now_ms};
use crate::client::{Client, Produce, ask, fetch_once, read_frame};
use crate::process::{Broker, DEADLINE, cores, wait_for};
use bytes::Bytes;
use klamm::wire::batch::{BatchBuilder, batches};
use klamm::wire::codec::{Reader, Records, Writer};
use klamm::wire::frame::request_frame;
use klamm::wire::messages::delete_topics_request::DeleteTopicState;
use klamm::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm::wire::messages::metadata_request::MetadataRequestTopic;
use klamm::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm::wire::messages::{
    ApiKey, ApiVersionsRequest, DeleteTopicsRequest, FetchRequest, FetchResponse, ListOffsetsRequest, MetadataRequest,
    ProduceRequest, ProduceResponse,
};
use std::io::Write;
use std::time::{Duration, Instant};

const MEBIBYTE: usize = 1 << 20;

/// A batch of one record of that size.
fn large(bytes: usize) -> Bytes {
    BatchBuilder::new(0).record(now_ms(), Some(b"key"), Some(&vec![7; bytes])).build()
}

fn fetch_of(
    topic: &'static str,
    offset: i64,
    bytes_max: i32,
    max_wait_ms: i32,
    min_bytes: i32,
) -> FetchRequest<'static> {
    let wanted = FetchPartition {
        current_leader_epoch: -1,
        fetch_offset: offset,
        partition_max_bytes: bytes_max,
        ..Default::default()
    };
    let topics = vec![FetchTopic { topic: topic.into(), partitions: vec![wanted], ..Default::default() }];
    FetchRequest { max_bytes: bytes_max, max_wait_ms, min_bytes, topics, session_epoch: -1, ..Default::default() }
}

#[test]
fn who_does_not_read_holds_up_nobody_else() {
    const BATCHES: usize = 24;
    const FETCHES: usize = 400;
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[("connection.outgoing.bytes.max", "4194304")]);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    for _ in 0..BATCHES {
        Produce::to("t", 0, large(MEBIBYTE - 100)).write(&mut client);
    }
    let before = broker.memory();
    let mut slow = Client::connect(broker.address);
    // All at once, so that the broker has all of them before it has sent anything.
    let requests = (0..FETCHES).flat_map(|number| {
        let request = fetch_of("t", (number % BATCHES) as i64, MEBIBYTE as i32, 0, 1);
        request_frame(ApiKey::Fetch, 11, number as i32 + 1, None, |w| request.encode(w, 11)).concat()
    });
    slow.stream.write_all(&requests.collect::<Vec<u8>>()).unwrap();
    // Far more than sockets hold is asked for; others are served meanwhile, for longer than a connection that others wait for
    // would be kept.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(6) {
        let offset = Produce::to("t", 0, batch(1)).write(&mut client);
        assert_eq!(fetch_once(&mut client, "t", 0, offset, 1000).0, 0);
        std::thread::sleep(Duration::from_millis(50));
    }
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 150 << 20, "{grown} bytes for a reader that does not read");
    for number in 0..FETCHES {
        // Not by `receive`, whose answers live as long as the test: these are too large.
        let frame = slow.frame().expect("it is open");
        assert_eq!(frame[..4], (number as i32 + 1).to_be_bytes());
        let response = FetchResponse::decode(&mut Reader::new(&frame[4..]), 11).expect("a response");
        let data = &response.responses[0].partitions[0];
        let Some(Records::Slice(bytes)) = &data.records else { panic!("no records") };
        let first = batches(bytes).next().expect("a batch").header.base_offset.get();
        assert_eq!((data.error_code, first), (0, (number % BATCHES) as i64));
    }
}

#[test]
fn who_only_writes_is_slowed() {
    const BATCHES: i64 = 300;
    let dir = tempfile::tempdir().unwrap();
    // Far below what is written, and what the broker needs besides.
    let settings = [("core.memory.bytes", "16777216"), ("journal.file.bytes", "8388608"), ("journal.files.max", "4")];
    let broker = Broker::start(dir.path(), &settings);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    let mut writer = Client::connect(broker.address);
    // The drive alone says how long it takes.
    writer.stream.set_write_timeout(None).unwrap();
    writer.stream.set_read_timeout(None).unwrap();
    let request = Produce::to("t", 0, large(MEBIBYTE - 100));
    let before = broker.memory();
    let mut most = 0;
    for _ in 0..BATCHES {
        request.send(&mut writer);
        most = most.max(broker.memory());
    }
    for offset in 0..BATCHES {
        let (_, body) = writer.receive(ApiKey::Produce, 9);
        let response = ProduceResponse::decode(&mut Reader::new(body), 9).expect("a response");
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, offset));
    }
    most = most.max(broker.memory());
    let grown = most.saturating_sub(before);
    assert!(grown < 200 << 20, "{grown} bytes for {BATCHES} MiB written");
    assert_eq!(fetch_once(&mut client, "t", 0, BATCHES - 1, 1000).0, 0);
}

#[test]
fn idle_connections_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[("connections.max.idle.ms", "1000")]);
    let mut waiting = Client::connect(broker.address);
    waiting.create("t", 1, &[]);
    let mut idle = Client::connect(broker.address);
    // Who waits for an answer is not idle, however long it takes.
    let request = fetch_of("t", 0, 1000, 4000, 1);
    let sent = waiting.send(ApiKey::Fetch, 11, |w| request.encode(w, 11));
    let start = Instant::now();
    assert!(idle.is_closed());
    assert!(start.elapsed() < DEADLINE);
    broker.wait_for_log("connections.max.idle.ms");
    assert_eq!(waiting.receive(ApiKey::Fetch, 11).0, sent);
    assert!(waiting.is_closed());
}

/// A new connection, if it is served.
pub fn is_served(broker: &Broker) -> Option<Client> {
    let mut client = Client::connect(broker.address);
    let request = request_frame(ApiKey::ApiVersions, 0, 1, None, |w| ApiVersionsRequest::default().encode(w, 0));
    // The broker may have closed it already.
    client.stream.write_all(&request.concat()).ok()?;
    read_frame(&mut client.stream).ok()?.map(|_| client)
}

#[test]
fn connections_are_limited() {
    for (settings, limit) in [
        (&[("max.connections", "3")][..], 3),
        (&[("max.connections.per.ip", "2")], 2),
        (&[("max.connections.per.ip", "1"), ("max.connections.per.ip.overrides", "127.0.0.1:4")], 4),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(dir.path(), settings);
        let mut clients: Vec<Client> = (0..limit).map(|_| is_served(&broker).expect("within the limit")).collect();
        for _ in 0..20 {
            assert!(is_served(&broker).is_none(), "above {limit}");
        }
        // Those that are there go on, and who leaves makes room.
        ask!(clients[0], ApiVersions, 0, ApiVersionsResponse, ApiVersionsRequest::default());
        clients.pop();
        clients.push(wait_for("room", || is_served(&broker)));
        assert!(is_served(&broker).is_none());
    }
}

#[test]
fn many_requests_at_once_are_answered_in_order() {
    const REQUESTS: usize = 2000;
    let dir = tempfile::tempdir().unwrap();
    let cores = cores(2);
    let broker = Broker::start(dir.path(), &[("cores", &cores), ("connection.requests.max", "7")]);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(broker.address)).collect();
    clients[0].create("t", 4, &[]);
    for client in &mut clients {
        let mut writer = Client { stream: client.stream.try_clone().unwrap(), ..Client::connect(broker.address) };
        let sender = std::thread::spawn(move || {
            (0..REQUESTS).map(|number| send_one(&mut writer, number)).collect::<Vec<(ApiKey, i16, i32)>>()
        });
        let mut frames = Vec::new();
        while frames.len() < REQUESTS {
            let frame = client.frame().expect("open");
            frames.push(i32::from_be_bytes(*frame.first_chunk().unwrap()));
        }
        let sent: Vec<i32> = sender.join().unwrap().into_iter().map(|(_, _, correlation)| correlation).collect();
        assert_eq!(frames, sent);
    }
    // Each of the clients has written a quarter of its requests to each partition.
    for partition in 0..4 {
        let (code, high_watermark, _) = fetch_once(&mut clients[0], "t", partition, 0, 1000);
        assert_eq!((code, high_watermark), (0, 3 * REQUESTS as i64 / 8));
    }
}

/// One of several kinds of requests, which take their time on one core or the other.
fn send_one(client: &mut Client, number: usize) -> (ApiKey, i16, i32) {
    let partition = (number / 2 % 4) as i32;
    if number.is_multiple_of(2) {
        return (ApiKey::Produce, 9, Produce::to("t", partition, batch(1)).send(client));
    }
    match number / 2 % 3 {
        0 => {
            let request = MetadataRequest { topics: None, ..Default::default() };
            (ApiKey::Metadata, 9, client.send(ApiKey::Metadata, 9, |w| request.encode(w, 9)))
        }
        1 => {
            let request = ListOffsetsRequest { replica_id: -1, ..Default::default() };
            (ApiKey::ListOffsets, 7, client.send(ApiKey::ListOffsets, 7, |w| request.encode(w, 7)))
        }
        _ => {
            // At the end of the log: parked until another request of this connection's is answered, or for a moment.
            let request = fetch_of("t", 0, 100, 5, 1 << 20);
            (ApiKey::Fetch, 11, client.send(ApiKey::Fetch, 11, |w| request.encode(w, 11)))
        }
    }
}

#[test]
fn who_leaves_takes_his_requests_with_him() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    let mut before = 0;
    for round in 0..20 {
        for _ in 0..100 {
            let mut guest = Client::connect(broker.address);
            // It would wait for weeks.
            let request = fetch_of("t", 0, 1000, i32::MAX, i32::MAX);
            for _ in 0..10 {
                guest.send(ApiKey::Fetch, 11, |w| request.encode(w, 11));
            }
            // Both are there, so the broker has read them.
            let versions = ApiVersionsRequest::default();
            guest.send(ApiKey::ApiVersions, 0, |w| versions.encode(w, 0));
        }
        Produce::to("t", 0, batch(1)).write(&mut client);
        if round == 4 {
            before = broker.memory();
        }
    }
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 10 << 20, "{grown} bytes for clients that are gone");
}

#[test]
fn who_leaves_while_held_back_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[("max.connections", "1"), ("connection.requests.max", "2")]);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    for _ in 0..4 {
        let request = fetch_of("t", 0, 1000, i32::MAX, i32::MAX);
        client.send(ApiKey::Fetch, 11, |w| request.encode(w, 11));
    }
    assert!(is_served(&broker).is_none(), "there is room for one");
    drop(client);
    wait_for("room", || is_served(&broker));
}

/// What a request names is looked at in one turn, so its fields are short; records do not count among them.
// long: a request of each kind
#[test]
fn a_request_with_fields_above_two_mebibytes_closes_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path(), &[("auto.create.topics.enable", "false")]);
    let mut client = Client::connect(broker.address);
    client.create("t", 2, &[]);
    type Encode = Box<dyn Fn(usize, &mut Writer)>;
    let name = |number: usize| format!("{number:08}");
    // Bytes of each element.
    let requests: [(ApiKey, i16, usize, Encode); 5] = [
        (
            ApiKey::Metadata,
            1,
            10,
            Box::new(move |count, w| {
                let topic = |number| MetadataRequestTopic { name: Some(name(number).into()), ..Default::default() };
                MetadataRequest { topics: Some((0..count).map(topic).collect()), ..Default::default() }.encode(w, 1);
            }),
        ),
        (
            ApiKey::DeleteTopics,
            6,
            26,
            Box::new(move |count, w| {
                let topic = |number| DeleteTopicState { name: Some(name(number).into()), ..Default::default() };
                let topics = (0..count).map(topic).collect();
                DeleteTopicsRequest { topics, timeout_ms: 1000, ..Default::default() }.encode(w, 6);
            }),
        ),
        (
            ApiKey::ListOffsets,
            1,
            12,
            Box::new(|count, w| {
                let partition =
                    |number| ListOffsetsPartition { partition_index: number, timestamp: -1, ..Default::default() };
                let topic =
                    ListOffsetsTopic { name: "t".into(), partitions: (0..count as i32).map(partition).collect() };
                ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }.encode(w, 1);
            }),
        ),
        (
            ApiKey::Fetch,
            4,
            16,
            Box::new(|count, w| {
                let partition =
                    |number| FetchPartition { partition: number, partition_max_bytes: 1, ..Default::default() };
                let partitions = (0..count as i32).map(partition).collect();
                let topics = vec![FetchTopic { topic: "t".into(), partitions, ..Default::default() }];
                FetchRequest { max_bytes: 1, topics, ..Default::default() }.encode(w, 4);
            }),
        ),
        (
            ApiKey::Produce,
            9,
            6,
            Box::new(|count, w| {
                let records = vec![7; 3 * MEBIBYTE];
                let data = |number| PartitionProduceData {
                    index: number,
                    records: (number == 0).then(|| Records::Slice(&records)),
                };
                let partition_data = (0..count as i32).map(data).collect();
                let topic_data = vec![TopicProduceData { name: "t".into(), partition_data, ..Default::default() }];
                ProduceRequest { acks: -1, timeout_ms: 1000, topic_data, ..Default::default() }.encode(w, 9);
            }),
        ),
    ];
    for (api, version, element_bytes, encode) in &requests {
        let count = 2 * MEBIBYTE / element_bytes;
        for (count, is_closed) in [(count - 10, false), (count + 1, true)] {
            let mut peer = Client::connect(broker.address);
            peer.send(*api, *version, |w| encode(count, w));
            assert_eq!(peer.is_closed(), is_closed, "{} of {count}", api.name());
        }
    }
    Produce::to("t", 0, batch(1)).write(&mut client);
    broker.assert_alive();
}
