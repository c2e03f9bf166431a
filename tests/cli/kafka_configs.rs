//! `kafka-configs`: output as Kafka's own tool gives it (compared with Kafka 4.3's against this broker).

use crate::stage::{Ran, Stage, tool_alone};

fn configs(stage: &Stage, line: &str) -> Ran {
    stage.tool("kafka-configs.sh", line)
}

#[test]
fn settings_are_described_and_altered() {
    let stage = Stage::new();
    stage.told("topic create t");
    assert_eq!(
        configs(&stage, "--alter --topic t --add-config retention.ms=77,cleanup.policy=[compact,delete]").well(),
        "Completed updating config for topic t.\n"
    );
    assert_eq!(
        configs(&stage, "--describe --entity-type topics --entity-name t").well(),
        "Dynamic configs for topic t are:\n  \
        cleanup.policy=compact,delete sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete, DEFAULT_CONFIG:log.cleanup.policy=delete}\n  \
        retention.ms=77 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=77, DEFAULT_CONFIG:log.retention.hours=168}\n"
    );
    configs(&stage, "--alter --entity-type topics --entity-name t --delete-config cleanup.policy,retention.ms").well();
    assert_eq!(configs(&stage, "--describe --topic t").well(), "Dynamic configs for topic t are:\n");
    let all = configs(&stage, "--describe --topic t --all").well();
    assert!(all.starts_with("All configs for topic t are:\n  "), "{all}");
    let policy = "\n  cleanup.policy=delete sensitive=false synonyms={DEFAULT_CONFIG:log.cleanup.policy=delete}\n";
    assert!(all.contains(policy), "{all}");

    assert_eq!(
        configs(&stage, "--alter --broker-defaults --add-config log.retention.ms=6666").well(),
        "Completed updating default config for brokers in the cluster.\n"
    );
    let shown = configs(&stage, "--describe --entity-type brokers --entity-default").well();
    assert!(
        shown.starts_with("Default configs for brokers in the cluster are:\n  log.retention.ms=6666 sensitive=false ")
    );
    assert_eq!(
        configs(&stage, "--describe --topic nope").well(),
        "The topic 'nope' doesn't exist and doesn't have dynamic config.\n"
    );
}

#[test]
fn groups_and_subscriptions_have_settings() {
    let stage = Stage::new();
    let session = "consumer.session.timeout.ms=50000";
    let missing = |noun: &str| format!("The {noun} 'g' doesn't exist and doesn't have dynamic config.\n");
    assert_eq!(configs(&stage, "--describe --group g").well(), missing("group"));
    let altered = configs(&stage, &format!("--alter --group g --add-config {session}")).well();
    assert_eq!(altered, "Completed updating config for group g.\n");
    let described = configs(&stage, "--describe --entity-type groups").well();
    assert!(
        described.starts_with(&format!("Dynamic configs for group g are:\n  {session} sensitive=false ")),
        "{described}"
    );
    assert_eq!(stage.json("config describe --group g")[0]["source"], "DYNAMIC_GROUP_CONFIG");
    assert_eq!(configs(&stage, "--describe --client-metrics g").well(), missing("client-metric"));
}

#[test]
fn a_file_of_settings_is_taken() {
    let stage = Stage::new();
    stage.told("topic create t");
    let file = stage.file("t.properties", "# settings\nretention.ms = 88\n\nsegment.ms=99999\n");
    configs(&stage, &format!("--alter --topic t --add-config-file {file}")).well();
    let found = stage.json("config describe --topic t");
    assert_eq!((&found[0]["value"], &found[1]["value"]), (&"88".into(), &"99999".into()));
}

#[test]
fn refusals_are_kafkas() {
    let stage = Stage::new();
    stage.told("topic create t");
    let ran = configs(&stage, "--alter --topic t --add-config foo=1").ill(1);
    let lines: Vec<&str> = ran.lines().collect();
    let address = stage.broker.address;
    let command = format!("--bootstrap-server {address} --alter --topic t --add-config foo=1");
    assert_eq!(lines[0], format!("Error while executing config command with args '{command}'"));
    assert!(lines[1].starts_with(
        "java.util.concurrent.ExecutionException: org.apache.kafka.common.errors.InvalidConfigurationException: "
    ));
    let said = |line: &str, message: &str| {
        let err = configs(&stage, line).ill(1);
        assert!(err.starts_with(message), "{err}");
    };
    said("--describe", "At least one entity type must be specified\n");
    said(
        "--alter --topic t",
        "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter\n",
    );
    said("--alter --describe", "Command must include exactly one action: --describe, --alter\n");
    said("--describe --entity-type foo", "Invalid entity type foo, the entity type must be one of topics, ");
    said("--describe --topic t --entity-type topics", "--entity-{type,name,default} should not be used");
    said("--describe --user alice", "Option --user is not supported: ");
    said("--describe --entity-type users", "Entity type users is not supported: ");
    said(
        "--alter --broker x --add-config a=b",
        "The entity name for brokers must be a valid integer broker id, but it is: x\n",
    );
    assert!(tool_alone("kafka-configs", "--describe --topic t").ill(1).starts_with("Either --bootstrap-server or "));
}
