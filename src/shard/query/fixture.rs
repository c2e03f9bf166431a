//! A node with a controller, for tests of queries and commands.

use crate::config::Config;
use crate::metadata::{Broker, Controller, Defaults, Listener, Terms, TopicSpec};
use crate::shard::admin::{Decision, ProducerIds};
use crate::shard::api::{api as row, versions};
use crate::shard::context::{Caller, Context, Principal};
use crate::shard::front::route::Route;
use crate::shard::node::Node;
use crate::shard::view::dynamic_config;
use crate::types::{BrokerId, Now, Time, Uuid};
use crate::wire::codec::{DecodeError, Reader, Writer};
use crate::wire::frame::{Head, LENGTH_BYTES, request_frame};
use crate::wire::messages::{ApiKey, ResponseHeader};
use bytes::Bytes;
use std::net::{IpAddr, Ipv4Addr};

pub const NODE_ID: BrokerId = BrokerId(1);
const CORRELATION_ID: i32 = 77;
pub const NOW: Now = Now { mono: Time(0), wall_ms: 1_700_000_000_000 };
const CALLER: Caller = Caller { address: IpAddr::V4(Ipv4Addr::LOCALHOST), principal: Principal::Anonymous };

pub struct World {
    pub node: Node,
    pub controller: Controller,
    producer_ids: ProducerIds,
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
            producer_ids: ProducerIds::default(),
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

    /// Asks for what is answered from an image: the one that is decided. Returns the body of the answer.
    pub fn query(&self, api: ApiKey, version: i16, request: impl FnOnce(&mut Writer)) -> &'static [u8] {
        self.query_at(NOW, api, version, request)
    }

    /// As [`World::query`], at this time.
    pub fn query_at(&self, now: Now, api: ApiKey, version: i16, request: impl FnOnce(&mut Writer)) -> &'static [u8] {
        let (Route::Image(answer) | Route::Either { image: answer, .. }) = row(api).route else {
            panic!("{} is no query", api.name());
        };
        self.with_context(now, |context| exchange(api, version, request, |head, body| answer(context, head, body)))
    }

    /// What a query is answered with at this time, from the image that is decided.
    pub fn with_context<T>(&self, now: Now, ask: impl FnOnce(&Context<'_>) -> T) -> T {
        let image = self.controller.image_decided();
        let (node, config) = (&self.node, &*dynamic_config(&self.node, image));
        ask(&Context { now, node, image, config, apis: versions, listener: 0, caller: &CALLER, client_id: "test" })
    }

    /// Asks the controller. Returns the body of the answer.
    pub fn command(&mut self, api: ApiKey, version: i16, request: impl FnOnce(&mut Writer)) -> &'static [u8] {
        let (Route::Controller(decide) | Route::Either { controller: decide, .. }) = row(api).route else {
            panic!("{} is no command", api.name());
        };
        let World { node, controller, producer_ids, ids, .. } = self;
        let ids = &mut || {
            *ids += 1;
            Uuid([*ids; 16])
        };
        let (now, listener, caller, client_id) = (NOW, 0, &CALLER, "test");
        let decision =
            Decision { now, node, apis: versions, listener, caller, client_id, controller, producer_ids, ids };
        exchange(api, version, request, |head, body| decide(decision, head, body))
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
