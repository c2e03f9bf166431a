//! librdkafka through rust-rdkafka: klamm-client-rdkafka HOST:PORT

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 3;
const COUNT: i64 = 300;
const BASE_MS: i64 = 1_700_000_000_000;
const TIMEOUT: Duration = Duration::from_secs(60);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let bootstrap = std::env::args().nth(1).expect("HOST:PORT");
    let mut cases = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        cases.extend(["0", "1", "all"].map(|acks| (codec, acks, false)));
    }
    cases.push(("snappy", "all", true));
    let mut failed = false;
    for (codec, acks, idempotent) in cases {
        let name = format!("{codec}-acks-{acks}{}", if idempotent { "-idempotent" } else { "" });
        match check(&bootstrap, &format!("rust-rdkafka-{name}"), codec, acks, idempotent) {
            Ok(()) => println!("pass rust-rdkafka/{name}"),
            Err(error) => {
                failed = true;
                println!("fail rust-rdkafka/{name} {}", error.to_string().replace('\n', " "));
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

fn check(bootstrap: &str, topic: &str, codec: &str, acks: &str, idempotent: bool) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    for result in futures_executor::block_on(admin.create_topics([&new], &options))? {
        result.map_err(|(topic, code)| format!("creating {topic}: {code}"))?;
    }
    let mut writing = config.clone();
    writing.set("compression.type", codec).set("acks", acks).set("linger.ms", "20");
    writing.set("enable.idempotence", idempotent.to_string());
    let producer: BaseProducer = writing.create()?;
    for number in 0..COUNT {
        let (partition, key, value, ms) = record(number);
        let record = BaseRecord::to(topic).partition(partition).key(&key).payload(&value).timestamp(ms);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(TIMEOUT)?;
    config.set("group.id", "unused").set("enable.auto.commit", "false").set("check.crcs", "true");
    read(&config.create()?, topic)
}

/// Partition, key, value and time.
fn record(number: i64) -> (i32, String, Vec<u8>, i64) {
    let value = (0..200 + number).map(|at| ((number * 7 + at) % 251) as u8).collect();
    ((number % i64::from(PARTITIONS)) as i32, format!("k{number}"), value, BASE_MS + number * 1000)
}

fn read(consumer: &BaseConsumer, topic: &str) -> Result<()> {
    let mut from_start = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        from_start.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&from_start)?;
    let mut next = [0; PARTITIONS as usize];
    for _ in 0..COUNT {
        let message = poll(consumer)?;
        let offset = &mut next[message.partition() as usize];
        let (_, key, value, ms) = record(*offset * i64::from(PARTITIONS) + i64::from(message.partition()));
        let found = (message.offset(), message.key(), message.payload(), message.timestamp().to_millis());
        if found != (*offset, Some(key.as_bytes()), Some(&value[..]), Some(ms)) {
            return Err(format!("record {key} at offset {offset} differs: offset {}", message.offset()).into());
        }
        *offset += 1;
    }
    let watermarks = consumer.fetch_watermarks(topic, 0, TIMEOUT)?;
    if watermarks != (0, COUNT / i64::from(PARTITIONS)) {
        return Err(format!("watermarks {watermarks:?}").into());
    }
    let mut by_time = TopicPartitionList::new();
    by_time.add_partition_offset(topic, 0, Offset::Offset(BASE_MS + 150_000))?;
    let found = consumer.offsets_for_times(by_time, TIMEOUT)?;
    let offset = found.find_partition(topic, 0).map(|found| found.offset());
    if offset != Some(Offset::Offset(50)) {
        return Err(format!("by time: {offset:?}").into());
    }
    let mut by_offset = TopicPartitionList::new();
    by_offset.add_partition_offset(topic, 1, Offset::Offset(50))?;
    consumer.assign(&by_offset)?;
    let first = poll(consumer)?;
    if first.key() != Some(b"k151") {
        return Err(format!("by offset: {:?}", first.key()).into());
    }
    Ok(())
}

fn poll(consumer: &BaseConsumer) -> Result<BorrowedMessage<'_>> {
    let end = Instant::now() + TIMEOUT;
    while Instant::now() < end {
        if let Some(message) = consumer.poll(Duration::from_millis(500)) {
            return Ok(message?);
        }
    }
    Err("no record within a minute".into())
}
