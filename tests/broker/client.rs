//! A raw client: requests by hand, any bytes, any order.

use crate::process::{DEADLINE, wait_for};
use bytes::Bytes;
use klamm::types::Uuid;
use klamm::wire::codec::{Reader, Writer};
use klamm::wire::frame::{LENGTH_BYTES, request_frame};
use klamm::wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use klamm::wire::messages::{ApiKey, CreateTopicsRequest, ResponseHeader};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

pub struct Client {
    pub stream: TcpStream,
    pub correlation: i32,
}

impl Client {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, correlation: 0 }
    }

    /// Sends a request without waiting; its correlation id.
    pub fn send(&mut self, api: ApiKey, version: i16, body: impl FnOnce(&mut Writer)) -> i32 {
        self.correlation += 1;
        let frame = request_frame(api, version, self.correlation, Some("test"), body).concat();
        self.stream.write_all(&frame).expect("the broker takes the request");
        self.correlation
    }

    /// The next frame, without its length; `None` if the broker has closed the connection.
    pub fn frame(&mut self) -> Option<Vec<u8>> {
        read_frame(&mut self.stream).unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// The next answer, whose request was of this API and version: its correlation id and body.
    #[track_caller]
    pub fn receive(&mut self, api: ApiKey, version: i16) -> (i32, &'static [u8]) {
        let frame: &'static [u8] = self.frame().expect("the connection is open").leak();
        let mut reader = Reader::new(frame);
        let header = ResponseHeader::decode(&mut reader, api.header_versions(version).1).expect("a header");
        (header.correlation_id, &frame[frame.len() - reader.remaining()..])
    }

    /// The body of the answer to a request. It lives as long as the test.
    #[track_caller]
    pub fn exchange(&mut self, api: ApiKey, version: i16, body: impl FnOnce(&mut Writer)) -> &'static [u8] {
        let sent = self.send(api, version, body);
        let (correlation, body) = self.receive(api, version);
        assert_eq!(correlation, sent, "answers come in order");
        body
    }

    /// Whether the broker closes the connection without another answer.
    #[track_caller]
    pub fn is_closed(&mut self) -> bool {
        match read_frame(&mut self.stream) {
            Ok(frame) => frame.is_none(),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => true,
            Err(error) => panic!("neither an answer nor an end: {error}"),
        }
    }

    /// Makes a topic that is not there yet; its id.
    #[track_caller]
    pub fn create(&mut self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Uuid {
        let setting = |&(name, value): &(&str, &str)| CreatableTopicConfig {
            name: name.to_string().into(),
            value: Some(value.to_string().into()),
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: settings.iter().map(setting).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
        let response = ask!(self, CreateTopics, 7, CreateTopicsResponse, request);
        let result = &response.topics[0];
        assert_eq!(result.error_code, 0, "{:?}", result.error_message);
        // Kafka is not always ready for a topic that it has just made.
        wait_for("a leader", || (fetch_once(self, name, partitions.max(1) - 1, 0, 1).0 == 0).then_some(()));
        result.topic_id
    }
}

/// The next frame's content; `None` at the end of the stream.
pub fn read_frame(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; LENGTH_BYTES];
    if stream.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[1..])?;
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("a length")];
    stream.read_exact(&mut frame)?;
    Ok(Some(frame))
}

/// Sends a request and decodes the answer, all of it: `ask!(client, Metadata, 9, MetadataResponse, request)`.
macro_rules! ask {
    ($client:expr, $api:ident, $version:expr, $response:ident, $request:expr) => {{
        let (version, request) = ($version, $request);
        let body = $client.exchange(klamm::wire::messages::ApiKey::$api, version, |w| request.encode(w, version));
        let mut reader = klamm::wire::codec::Reader::new(body);
        let response = klamm::wire::messages::$response::decode(&mut reader, version).expect("a response");
        assert_eq!(reader.remaining(), 0, "bytes behind the response");
        response
    }};
}
pub(crate) use ask;

/// What one partition answered to a Produce request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Produced {
    pub code: i16,
    pub offset: i64,
    pub records: Vec<i32>,
    pub message: Option<String>,
    pub log_append_time: i64,
}

/// A Produce request to one partition.
#[derive(Clone)]
pub struct Produce<'a> {
    pub version: i16,
    pub acks: i16,
    pub topic: &'a str,
    pub id: Uuid,
    pub partition: i32,
    pub records: Option<Bytes>,
}

impl<'a> Produce<'a> {
    pub fn to(topic: &'a str, partition: i32, records: Bytes) -> Produce<'a> {
        Produce { version: 9, acks: -1, topic, id: Uuid::ZERO, partition, records: Some(records) }
    }

    pub fn send(&self, client: &mut Client) -> i32 {
        use klamm::wire::codec::Records;
        use klamm::wire::messages::ProduceRequest;
        use klamm::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
        let records = self.records.clone().map(|bytes| Records::Spans(vec![bytes]));
        let partition = PartitionProduceData { index: self.partition, records };
        let topic = TopicProduceData { name: self.topic.into(), topic_id: self.id, partition_data: vec![partition] };
        let request =
            ProduceRequest { acks: self.acks, timeout_ms: 60_000, topic_data: vec![topic], ..Default::default() };
        client.send(ApiKey::Produce, self.version, |w| request.encode(w, self.version))
    }

    #[track_caller]
    pub fn receive(&self, client: &mut Client) -> (i32, Produced) {
        use klamm::wire::messages::ProduceResponse;
        let (correlation, body) = client.receive(ApiKey::Produce, self.version);
        let response = ProduceResponse::decode(&mut Reader::new(body), self.version).expect("a response");
        let partition = &response.responses[0].partition_responses[0];
        let produced = Produced {
            code: partition.error_code,
            offset: partition.base_offset,
            records: partition.record_errors.iter().map(|error| error.batch_index).collect(),
            message: partition.error_message.as_deref().map(str::to_string),
            log_append_time: partition.log_append_time_ms,
        };
        (correlation, produced)
    }

    #[track_caller]
    pub fn ask(&self, client: &mut Client) -> Produced {
        let sent = self.send(client);
        let (correlation, produced) = self.receive(client);
        assert_eq!(correlation, sent);
        produced
    }

    /// Writes it; the offset of the first record.
    #[track_caller]
    pub fn write(&self, client: &mut Client) -> i64 {
        let produced = self.ask(client);
        assert_eq!(produced.code, 0, "{:?}", produced.message);
        produced.offset
    }
}

/// All batches of a partition from `offset` on, read until the high watermark.
#[track_caller]
pub fn read_all(client: &mut Client, topic: &str, partition: i32, mut offset: i64) -> Vec<u8> {
    use klamm::wire::batch::batches;
    let mut all = Vec::new();
    wait_for("the whole partition", || {
        let (code, high_watermark, bytes) = fetch_once(client, topic, partition, offset, 1 << 20);
        assert_eq!(code, 0, "fetch of {topic}-{partition} at {offset}");
        let mut walk = batches(&bytes);
        let last = walk.by_ref().last().map(|batch| batch.header.last_offset());
        offset = last.map_or(offset, |last| last + 1);
        all.extend_from_slice(&bytes[..walk.position()]);
        (offset >= high_watermark).then_some(())
    });
    all
}

/// One fetch without waiting: error code, high watermark and records.
#[track_caller]
pub fn fetch_once(
    client: &mut Client,
    topic: &str,
    partition: i32,
    offset: i64,
    bytes_max: i32,
) -> (i16, i64, Vec<u8>) {
    use klamm::wire::codec::Records;
    use klamm::wire::messages::fetch_request::{FetchPartition, FetchTopic};
    use klamm::wire::messages::{FetchRequest, FetchResponse};
    let wanted = FetchPartition {
        partition,
        current_leader_epoch: -1,
        fetch_offset: offset,
        partition_max_bytes: bytes_max,
        ..Default::default()
    };
    let topics = vec![FetchTopic { topic: topic.to_string().into(), partitions: vec![wanted], ..Default::default() }];
    let request = FetchRequest { max_bytes: bytes_max, topics, session_epoch: -1, ..Default::default() };
    let body = client.exchange(ApiKey::Fetch, 11, |w| request.encode(w, 11));
    let response = FetchResponse::decode(&mut Reader::new(body), 11).expect("a response");
    assert_eq!(response.error_code, 0);
    let data = &response.responses[0].partitions[0];
    let bytes = match &data.records {
        Some(Records::Slice(bytes)) => bytes.to_vec(),
        _ => Vec::new(),
    };
    (data.error_code, data.high_watermark, bytes)
}
