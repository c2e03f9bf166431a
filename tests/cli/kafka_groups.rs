//! `kafka-consumer-groups`: output as Kafka's own tool gives it (compared with Kafka 4.3's against this broker).

use crate::member::join;
use crate::stage::{Ran, Stage, tool_alone};

fn groups(stage: &Stage, line: &str) -> Ran {
    stage.tool("kafka-consumer-groups", line)
}

/// A topic, a group with an offset of it, and a group with a member, whose id this is.
fn stage() -> (Stage, crate::client::Client, String) {
    let stage = Stage::new();
    stage.topic("t");
    stage.told("group reset-offsets g --topic t:0 --to-offset 4 --execute");
    stage.told("group reset-offsets g --topic t:1 --to-earliest --execute");
    let (client, id) = join(&stage.broker, "live", "t");
    (stage, client, id)
}

#[test]
fn groups_are_listed() {
    let (stage, _client, _) = stage();
    let mut listed: Vec<String> = groups(&stage, "--list").well().lines().map(str::to_string).collect();
    listed.sort();
    assert_eq!(listed, ["g", "live"]);
    assert_eq!(
        groups(&stage, "--list --state empty --type").well(),
        "GROUP                     TYPE                 STATE               \n\
        g                         Classic              Empty               \n"
    );
    assert!(
        groups(&stage, "--list --state bogus").ill(1).starts_with("Invalid state list 'bogus'. Valid states are: ")
    );
}

#[test]
fn groups_are_described() {
    let (stage, _client, id) = stage();
    let ran = groups(&stage, "--describe --group g");
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), "\nConsumer group 'g' has no active members.\n"));
    assert_eq!(
        ran.out,
        "\nGROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID\n\
        g               t               0          4               10              6               -               -               -\n\
        g               t               1          0               0               0               -               -               -\n"
    );
    let wide = id.len();
    assert_eq!(
        groups(&stage, "--describe --group live").well(),
        format!(
            "\nGROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             {:<wide$} HOST            CLIENT-ID\n\
            live            t               0          -               10              -               {id} /127.0.0.1      test\n\
            live            t               1          -               0               -               {id} /127.0.0.1      test\n",
            "CONSUMER-ID"
        )
    );
    assert_eq!(
        groups(&stage, "--describe --group live --members --verbose").well(),
        format!(
            "\nGROUP           {:<wide$} HOST            CLIENT-ID       #PARTITIONS     CURRENT-EPOCH   CURRENT-ASSIGNMENT   TARGET-EPOCH    TARGET-ASSIGNMENT   \n\
            live            {id} /127.0.0.1      test            2               -               t:0,1                -               -                   \n",
            "CONSUMER-ID"
        )
    );
    let address = format!("{}  (1)", stage.broker.address);
    assert_eq!(
        groups(&stage, "--describe --group live --state").well(),
        format!(
            "\nGROUP           COORDINATOR (ID)          ASSIGNMENT-STRATEGY  STATE                #MEMBERS\n\
            live            {address:<25} range                Stable               1\n"
        )
    );
    let ran = groups(&stage, "--describe --group nope");
    let failed = "\nError: Executing consumer group command failed due to org.apache.kafka.common.errors.GroupIdNotFoundException: Group nope not found.\n";
    assert_eq!((ran.status, ran.out.as_str()), (Some(0), failed));
}

#[test]
fn offsets_are_reset() {
    let (stage, _client, _) = stage();
    let planned =
        "\nGROUP           TOPIC           PARTITION  NEW-OFFSET\ng               t               0          10\n";
    let ran = groups(&stage, "--reset-offsets --group g --topic t:0 --to-latest");
    assert_eq!((ran.status, ran.out.as_str()), (Some(0), planned));
    assert!(ran.err.starts_with("WARN: No action will be performed as the --execute option is missing."));
    let offset = || stage.json("group describe g")[0]["offsets"][0]["committed"].as_i64();
    assert_eq!(offset(), Some(4));
    assert_eq!(groups(&stage, "--reset-offsets --group g --topic t:0 --to-latest --execute").well(), planned);
    assert_eq!(offset(), Some(10));
    let export = groups(&stage, "--reset-offsets --group g --all-topics --to-current --export --dry-run").well();
    let mut lines: Vec<&str> = export.lines().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["t,0,10", "t,1,0"]);
    let file = stage.file("plan", "t,0,3\n");
    let planned = groups(&stage, &format!("--reset-offsets --group g --from-file {file} --dry-run")).well();
    assert!(planned.ends_with("\ng               t               0          3\n"), "{planned}");
    let refused = groups(&stage, "--reset-offsets --group live --topic t --to-latest --execute").well();
    assert!(refused.starts_with(
        "\nError: Assignments can only be reset if the group 'live' is inactive, but the current state is Stable.\n"
    ));
    assert_eq!(
        groups(&stage, "--reset-offsets --group g --topic t:9 --to-latest --dry-run").out,
        "\nError: Executing consumer group command failed due to The partitions \"t-9\" do not exist\n"
    );
    let scope = groups(&stage, "--reset-offsets --group g --to-latest --dry-run").ill(1);
    assert!(scope.starts_with("One of the reset scopes should be defined: --all-topics, --topic.\n"), "{scope}");
}

#[test]
fn groups_and_offsets_are_deleted() {
    let (stage, _client, _) = stage();
    assert_eq!(
        groups(&stage, "--delete-offsets --group g --topic t:0").well(),
        "Request succeeded for deleting offsets from group g.\n\n\
        TOPIC           PARTITION  STATUS         \nt               0          Successful     \n"
    );
    assert_eq!(
        groups(&stage, "--delete --group live").well(),
        "\nError: Deletion of some consumer groups failed:\n\
        * Group 'live' could not be deleted due to: org.apache.kafka.common.errors.GroupNotEmptyException: The group is not empty.\n"
    );
    assert_eq!(
        groups(&stage, "--delete --group g").well(),
        "Deletion of requested consumer groups ('g') was successful.\n"
    );
    let usage = tool_alone("kafka-consumer-groups", "--list --bootstrap-server x:1 --members").ill(1);
    assert!(usage.contains("members"), "{usage}");
}
