//! `kafka-topics`: output as Kafka's own tool gives it (compared with Kafka 4.3's against this broker).

use crate::stage::{Ran, Stage, tool_alone};

fn topics(stage: &Stage, line: &str) -> Ran {
    stage.tool("kafka-topics.sh", line)
}

#[test]
fn topics_are_made_shown_changed_and_deleted() {
    let stage = Stage::new();
    assert_eq!(topics(&stage, "--list").well(), "\n");
    assert_eq!(
        topics(&stage, "--create --topic t --partitions 2 --config retention.ms=5").well(),
        "Created topic t.\n"
    );
    assert_eq!(
        topics(&stage, "--create --topic a.b").well(),
        "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. To avoid issues it is best to use either, but not both.\nCreated topic a.b.\n"
    );
    assert_eq!(topics(&stage, "--create --topic t --if-not-exists").well(), "");
    assert_eq!(topics(&stage, "--list").well(), "a.b\nt\n");
    let id = stage.json("topic describe t")[0]["id"].as_str().unwrap().to_string();
    let head = |partitions| {
        format!(
            "Topic: t\tTopicId: {id}\tPartitionCount: {partitions}\tReplicationFactor: 1\tConfigs: retention.ms=5\n"
        )
    };
    let line = |partition| {
        format!("\tTopic: t\tPartition: {partition}\tLeader: 1\tReplicas: 1\tIsr: 1\tElr: \tLastKnownElr: \n")
    };
    assert_eq!(topics(&stage, "--describe --topic t").well(), head(2) + &line(0) + &line(1));
    assert_eq!(topics(&stage, &format!("--describe --topic-id {id}")).well(), head(2) + &line(0) + &line(1));
    assert_eq!(topics(&stage, "--describe --topics-with-overrides").well(), head(2));
    assert_eq!(topics(&stage, "--describe --topic t --at-min-isr-partitions").well(), line(0) + &line(1));
    assert_eq!(topics(&stage, "--describe --under-replicated-partitions").well(), "");
    assert_eq!(topics(&stage, "--alter --topic t --partitions 3").well(), "");
    assert_eq!(topics(&stage, "--describe --topic 't|x'").well(), head(3) + &line(0) + &line(1) + &line(2));
    assert_eq!(topics(&stage, "--delete --topic 'a.*'").well(), "");
    assert_eq!(topics(&stage, "--list").well(), "t\n");
}

#[test]
fn settings_stand_in_javas_order() {
    let stage = Stage::new();
    let settings = "--config cleanup.policy=compact --config segment.bytes=2000000 --config max.message.bytes=5000";
    topics(&stage, &format!("--create --topic t {settings}")).well();
    let described = topics(&stage, "--describe --topic t").well();
    let configs = "\tConfigs: cleanup.policy=compact,segment.bytes=2000000,max.message.bytes=5000\n";
    assert!(described.contains(configs), "{described}");
}

#[test]
fn refusals_are_kafkas() {
    let stage = Stage::new();
    topics(&stage, "--create --topic t").well();
    let refused = |line: &str, message: &str| {
        let ran = topics(&stage, line);
        let expected = format!("Error while executing topic command : {message}\n");
        assert_eq!((ran.status, ran.out), (Some(1), expected), "{}", ran.err);
        assert!(ran.err.starts_with("ERROR ") && ran.err.contains(message), "{}", ran.err);
    };
    refused("--create --topic t", "Topic 't' already exists.");
    refused("--create --topic u --config foo=bar", "Unknown topic config name: foo");
    refused("--create --topic u --partitions 0", "The partitions must be greater than 0");
    refused("--create --topic u --partitions x", "Cannot parse argument 'x' of option partitions");
    refused("--alter --topic t --partitions 1", "Topic already has 1 partition(s).");
    refused("--delete --topic nope", "Topic 'nope' does not exist as expected");
    refused("--describe --topic nope", "Topic 'nope' does not exist as expected");
    refused("--describe --topic 't['", "t[ is an invalid regex.");
    assert_eq!(topics(&stage, "--delete --topic nope --if-exists").well(), "");

    let said = |line: &str, message: &str| {
        let err = topics(&stage, line).ill(1);
        assert!(err.starts_with(message), "{err}");
    };
    said("--create", "Missing required argument \"[topic]\"\nOption ");
    said(
        "--list --create",
        "Command must include exactly one action: --list, --describe, --create, --alter or --delete\n",
    );
    said("--foo", "foo is not a recognized option\n");
    said("--list --topic", "Option topic requires an argument\n");
    said("--list --partitions 1", "Option \"[partitions]\" can't be used with option \"[list]\"\n");
    assert_eq!(tool_alone("kafka-topics", "--list").ill(1), "--bootstrap-server must be specified\n");
    assert!(tool_alone("kafka-topics", "").ill(1).contains("--under-replicated-partitions"));
}
