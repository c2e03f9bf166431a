//! librdkafka through rust-rdkafka: klamm-client-rdkafka HOST:PORT (see ../suite.py).

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_executor::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(30);
/// A failure that is not the broker's refusal.
const CODE_OTHER: i64 = -1000;

struct Refusal {
    code: i64,
    reason: String,
}

type Result<T> = std::result::Result<T, Refusal>;

impl From<RDKafkaErrorCode> for Refusal {
    fn from(code: RDKafkaErrorCode) -> Refusal {
        Refusal { code: code as i64, reason: code.to_string() }
    }
}

impl From<KafkaError> for Refusal {
    fn from(error: KafkaError) -> Refusal {
        // An error of librdkafka's own, which stands for the broker's: its policy is not to look for another offset.
        let code = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset) => RDKafkaErrorCode::OffsetOutOfRange as i64,
            Some(code) => code as i64,
            None => CODE_OTHER,
        };
        Refusal { code, reason: error.to_string() }
    }
}

fn other(reason: &str) -> Refusal {
    Refusal { code: CODE_OTHER, reason: reason.into() }
}

/// What became of each record: its number, and its offset or why not.
#[derive(Default)]
struct Delivered {
    results: Mutex<Vec<(usize, std::result::Result<i64, KafkaError>)>>,
}

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<usize>) {
        let result = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        self.results.lock().expect("no holder panics").push((*number, result));
    }
}

struct Driver {
    config: ClientConfig,
    admin: AdminClient<DefaultClientContext>,
    options: AdminOptions,
    consumer: BaseConsumer,
}

fn main() {
    let bootstrap = std::env::args().nth(1).expect("HOST:PORT");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    let mut reading = config.clone();
    reading.set("group.id", "unused").set("enable.auto.commit", "false").set("auto.offset.reset", "error");
    reading.set("check.crcs", "true").set("fetch.wait.max.ms", "50").set("topic.metadata.propagation.max.ms", "500");
    let driver = Driver {
        admin: config.create().expect("an admin client"),
        options: AdminOptions::new().operation_timeout(Some(TIMEOUT)),
        consumer: reading.create().expect("a consumer"),
        config,
    };
    for line in std::io::stdin().lines() {
        let request: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let topic = request["topic"].as_str().expect("a topic");
        answer(&match driver.step(topic, &request) {
            Ok(answer) => answer,
            Err(refusal) => json!({ "error": refusal.code, "reason": refusal.reason }),
        });
    }
}

fn answer(answer: &Value) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{answer}").and_then(|()| output.flush()).expect("somebody listens");
}

fn number(value: &Value) -> i64 {
    value.as_i64().expect("a number")
}

fn partition(value: &Value) -> i32 {
    i32::try_from(number(value)).expect("a partition")
}

fn settings(value: &Value) -> Vec<(&str, &str)> {
    let settings = value.as_object().expect("settings").iter();
    settings.map(|(name, value)| (name.as_str(), value.as_str().expect("text"))).collect()
}

fn encoded(bytes: Option<&[u8]>) -> Value {
    bytes.map(|bytes| STANDARD.encode(bytes)).into()
}

fn decoded(value: &Value) -> Option<Vec<u8>> {
    value.as_str().map(|text| STANDARD.decode(text).expect("base64"))
}

fn one<T>(results: Vec<std::result::Result<T, (impl Sized, RDKafkaErrorCode)>>) -> Result<Value> {
    for result in results {
        result.map_err(|(_, code)| code)?;
    }
    Ok(json!({}))
}

impl Driver {
    fn step(&self, topic: &str, request: &Value) -> Result<Value> {
        let (admin, options) = (&self.admin, &self.options);
        match request["op"].as_str().expect("an operation") {
            "create" => {
                let partitions = partition(&request["partitions"]);
                let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
                for (name, value) in settings(&request["config"]) {
                    new = new.set(name, value);
                }
                one(block_on(admin.create_topics([&new], options))?)
            }
            "delete" => one(block_on(admin.delete_topics(&[topic], options))?),
            "grow" => {
                let partitions = usize::try_from(number(&request["partitions"])).expect("a count");
                one(block_on(admin.create_partitions([&NewPartitions::new(topic, partitions)], options))?)
            }
            "trim" => {
                let mut until = TopicPartitionList::new();
                let offset = Offset::Offset(number(&request["offset"]));
                until.add_partition_offset(topic, partition(&request["partition"]), offset)?;
                for element in block_on(admin.delete_records(&until, options))?.elements() {
                    element.error()?;
                }
                Ok(json!({}))
            }
            "alter" => {
                let mut alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
                for (name, value) in settings(&request["config"]) {
                    alter = alter.set(name, value);
                }
                one(block_on(admin.alter_configs([&alter], options))?)
            }
            "describe" => self.describe(topic),
            "produce" => self.produce(topic, request),
            "read" => self.read(topic, request),
            "offsets" => self.offsets(topic, partition(&request["partition"]), &request["when"]),
            "stream" => self.stream(topic, partition(&request["partitions"]), number(&request["count"])),
            operation => panic!("unknown operation {operation}"),
        }
    }

    fn describe(&self, topic: &str) -> Result<Value> {
        let mut config = Map::new();
        for resource in block_on(self.admin.describe_configs([&ResourceSpecifier::Topic(topic)], &self.options))? {
            config.extend(resource?.entries.into_iter().map(|entry| (entry.name, entry.value.into())));
        }
        Ok(json!({ "config": config }))
    }

    fn producer(&self, settings: &[(&str, &str)]) -> Result<BaseProducer<Delivered>> {
        let mut config = self.config.clone();
        for (name, value) in settings {
            config.set(*name, *value);
        }
        Ok(config.create_with_context(Delivered::default())?)
    }

    fn produce(&self, topic: &str, request: &Value) -> Result<Value> {
        let text = |name: &str| request[name].as_str().expect("text");
        let idempotent = request["idempotent"].to_string();
        let producer = self.producer(&[
            ("acks", text("acks")),
            ("compression.type", text("codec")),
            ("enable.idempotence", &idempotent),
            ("linger.ms", "20"),
        ])?;
        let records = request["records"].as_array().expect("records");
        for (at, record) in records.iter().enumerate() {
            let (key, value) = (decoded(&record["key"]), decoded(&record["value"]));
            let mut headers = OwnedHeaders::new();
            for header in record["headers"].as_array().expect("headers") {
                let (name, value) = (header[0].as_str().expect("a name"), decoded(&header[1]));
                headers = headers.insert(Header { key: name, value: value.as_ref() });
            }
            let mut message =
                BaseRecord::with_opaque_to(topic, Box::new(at)).partition(partition(&record["partition"]));
            message = message.timestamp(number(&record["time"])).headers(headers);
            message.key = key.as_deref();
            message.payload = value.as_deref();
            producer.send::<[u8], [u8]>(message).map_err(|(error, _)| error)?;
        }
        producer.flush(TIMEOUT)?;
        let mut results = std::mem::take(&mut *producer.context().results.lock().expect("no holder panics"));
        results.sort_by_key(|(at, _)| *at);
        let offsets = results.into_iter().map(|(_, result)| result).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(json!({ "offsets": offsets }))
    }

    fn read(&self, topic: &str, request: &Value) -> Result<Value> {
        let mut from = TopicPartitionList::new();
        let offset = Offset::Offset(number(&request["offset"]));
        from.add_partition_offset(topic, partition(&request["partition"]), offset)?;
        self.consumer.assign(&from)?;
        let records: Result<Vec<Value>> = (0..number(&request["count"])).map(|_| self.poll()).collect();
        self.consumer.unassign()?;
        Ok(json!({ "records": records? }))
    }

    fn poll(&self) -> Result<Value> {
        let end = Instant::now() + TIMEOUT;
        while Instant::now() < end {
            if let Some(message) = self.consumer.poll(Duration::from_millis(500)) {
                return Ok(found(&message?));
            }
        }
        Err(other("no record"))
    }

    fn offsets(&self, topic: &str, partition: i32, when: &Value) -> Result<Value> {
        if let Some(end) = when.as_str() {
            let (low, high) = self.consumer.fetch_watermarks(topic, partition, TIMEOUT)?;
            return Ok(json!({ "offset": if end == "earliest" { low } else { high } }));
        }
        let mut times = TopicPartitionList::new();
        times.add_partition_offset(topic, partition, Offset::Offset(number(when)))?;
        let found = self.consumer.offsets_for_times(times, TIMEOUT)?;
        match found.find_partition(topic, partition).map(|found| found.offset()) {
            Some(Offset::Offset(offset)) => Ok(json!({ "offset": offset })),
            Some(Offset::End) => Ok(json!({ "offset": -1 })),
            found => Err(other(&format!("{found:?}"))),
        }
    }

    fn stream(&self, topic: &str, partitions: i32, count: i64) -> Result<Value> {
        let producer = self.producer(&[
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("linger.ms", "1"),
            ("batch.num.messages", "50"),
            ("reconnect.backoff.max.ms", "200"),
            ("retry.backoff.ms", "50"),
            ("retry.backoff.max.ms", "200"),
        ])?;
        for at in 0..count {
            while producer.in_flight_count() >= 1000 {
                producer.poll(Duration::from_millis(100));
                tell(&producer)?;
            }
            let text = at.to_string();
            let opaque = Box::new(usize::try_from(at).expect("a number"));
            let partition = i32::try_from(at % i64::from(partitions)).expect("a partition");
            let record = BaseRecord::<(), _, _>::with_opaque_to(topic, opaque).partition(partition).payload(&text);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        let end = Instant::now() + TIMEOUT * 2;
        while producer.in_flight_count() > 0 && Instant::now() < end {
            producer.poll(Duration::from_millis(100));
            tell(&producer)?;
        }
        tell(&producer)?;
        Ok(json!({}))
    }
}

fn tell(producer: &BaseProducer<Delivered>) -> Result<()> {
    for (at, result) in producer.context().results.lock().expect("no holder panics").drain(..) {
        answer(&json!({ "ack": [at, result?] }));
    }
    Ok(())
}

fn found(message: &BorrowedMessage<'_>) -> Value {
    let headers = message.headers().map_or(Vec::new(), |headers| {
        headers.iter().map(|header| json!([header.key, encoded(header.value)])).collect()
    });
    json!({
        "partition": message.partition(), "offset": message.offset(), "time": message.timestamp().to_millis(),
        "key": encoded(message.key()), "value": encoded(message.payload()), "headers": headers,
    })
}
