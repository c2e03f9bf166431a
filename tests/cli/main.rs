//! The commands of the real program, and Kafka's tools by their names, against the real broker.

#[path = "../broker/batches.rs"]
#[allow(dead_code)]
mod batches;
#[path = "../broker/client.rs"]
#[allow(dead_code)]
mod client;
mod configs;
mod dump;
mod groups;
mod kafka_configs;
mod kafka_groups;
mod kafka_offsets;
mod kafka_topics;
mod lines;
mod member;
mod offsets;
#[path = "../broker/process.rs"]
#[allow(dead_code)]
mod process;
mod produce_consume;
mod stage;
mod storage;
mod topics;
