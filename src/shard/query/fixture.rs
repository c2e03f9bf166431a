//! A node with a controller, for tests of queries and commands.

use bytes::Bytes;

use crate::config::Config;
use crate::metadata::{Broker, Controller, Defaults, Listener, Terms, TopicSpec};
use crate::shard::admin::Admin;
use crate::shard::node::Node;
use crate::shard::query;
use crate::types::Uuid;
use crate::wire::codec::{DecodeError, Reader, Writer};
use crate::wire::frame::{Head, LENGTH_BYTES, request_frame};
use crate::wire::messages::{ApiKey, ResponseHeader};

pub const NODE_ID: i32 = 1;
const CORRELATION_ID: i32 = 77;

pub struct World {
    pub node: Node,
    pub controller: Controller,
    pub admin: Admin,
    ids: u8,
}

impl World {
    /// Of one broker with the id 1 and these settings, which is registered.
    pub fn new(settings: &[(&str, &str)]) -> World {
        let own = [("node.id", "1"), ("broker.rack", "r1")];
        let settings = own.iter().chain(settings);
        let overrides: Vec<(String, String)> =
            settings.map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let config = Config::load(None, std::iter::empty(), &overrides).expect("valid").config;
        let mut controller = Controller::recover(None, &[]).expect("new").controller;
        let listener = Listener { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port: 9092 };
        let broker = Broker { listeners: vec![listener], rack: config.rack.clone() };
        controller.register_broker(NODE_ID, broker).expect("registered");
        World {
            node: Node {
                id: NODE_ID,
                cluster_id: "4L6g3nShT-eMCtK--X86sw".into(),
                config: config.into(),
                advertised: vec![("broker.example".into(), 19092)],
                shards: 1,
            },
            controller,
            admin: Admin::default(),
            ids: 0,
        }
    }

    /// Creates a topic; its id is that of the next number.
    pub fn topic(&mut self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Uuid {
        let settings = settings.iter().map(|(name, value)| (name.to_string(), Some(value.to_string())));
        let spec = TopicSpec {
            name: name.into(),
            partitions,
            replication_factor: 1,
            assignments: vec![],
            settings: settings.collect(),
        };
        let defaults = Defaults { partitions: 1, replication_factor: 1 };
        self.ids += 1;
        let id = Uuid([self.ids; 16]);
        let terms = Terms { defaults, setting: &|_, _| Ok(()), policy: &|_, _, _| Ok(()) };
        let answers = self.controller.create_topics(&[spec], false, terms, &mut || id);
        answers[0].as_ref().expect("created").id
    }

    /// Asks the query room, of the image that is decided. Returns the body of the answer.
    pub fn query(&self, api: ApiKey, version: i16, request: impl FnOnce(&mut Writer)) -> &'static [u8] {
        exchange(api, version, request, |head, body| {
            query::answer(&self.node, self.controller.image_decided(), 0, head, body)
        })
    }

    /// Asks about the quorum at this time, in milliseconds. Returns the body of the answer.
    pub fn quorum(&self, version: i16, now_ms: i64, request: impl FnOnce(&mut Writer)) -> &'static [u8] {
        exchange(ApiKey::DescribeQuorum, version, request, |head, body| {
            query::quorum::answer(&self.node, self.controller.image_decided(), head, body, now_ms)
        })
    }

    /// Asks the admin room. Returns the body of the answer.
    pub fn command(&mut self, api: ApiKey, version: i16, request: impl FnOnce(&mut Writer)) -> &'static [u8] {
        exchange(api, version, request, |head, body| {
            let ids = &mut self.ids;
            let mut next = || {
                *ids += 1;
                Uuid([*ids; 16])
            };
            self.admin.answer(&self.node, &mut self.controller, &mut next, head, body, 0)
        })
    }

    /// The names of all topics that are decided, in order.
    pub fn topic_names(&self) -> Vec<String> {
        let topics = self.controller.image_decided().topics();
        topics.map(|topic| topic.name.to_string()).collect()
    }
}

/// Sends a request through its frame and the answer through its own. The body lives as long as the test process.
pub fn exchange(
    api: ApiKey,
    version: i16,
    request: impl FnOnce(&mut Writer),
    answer: impl FnOnce(&Head<'_>, &[u8]) -> Result<Vec<Bytes>, DecodeError>,
) -> &'static [u8] {
    let frame = request_frame(api, version, CORRELATION_ID, Some("test"), request).concat();
    let frame = &frame[LENGTH_BYTES..];
    let head = Head::decode(frame).expect("a request");
    let parts = answer(&head, &frame[head.body_start..]).expect("a whole request");
    body_of(parts, api.header_versions(version).1)
}

/// The body of an answer with a header of this version.
pub fn body_of(parts: Vec<Bytes>, header_version: i16) -> &'static [u8] {
    let bytes: &'static [u8] = parts.concat().leak();
    let length = i32::from_be_bytes(*bytes.first_chunk().expect("a length"));
    assert_eq!(length as usize, bytes.len() - LENGTH_BYTES);
    let mut reader = Reader::new(&bytes[LENGTH_BYTES..]);
    let header = ResponseHeader::decode(&mut reader, header_version).expect("a header");
    assert_eq!(header.correlation_id, CORRELATION_ID);
    &bytes[bytes.len() - reader.remaining()..]
}

/// Asks a [`World`] by `query` or `command` and decodes the answer: `ask!(world.query(version), Metadata, request)`.
macro_rules! ask {
    ($world:ident . $room:ident ($version:expr), $api:ident, $response:ident, $request:expr) => {{
        let (version, request) = ($version, $request);
        let body = $world.$room(crate::wire::messages::ApiKey::$api, version, |w| request.encode(w, version));
        let mut reader = crate::wire::codec::Reader::new(body);
        let response = crate::wire::messages::$response::decode(&mut reader, version).expect("a response");
        assert_eq!(reader.remaining(), 0);
        response
    }};
}
pub(in crate::shard) use ask;
