//! `klamm produce`, `klamm consume`, and Kafka's console tools: what goes in comes out.

#![allow(unsafe_code)]

use crate::process::{klamm, wait_for};
use crate::stage::{Stage, alone};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};

/// The program, or one of Kafka's tools, with the broker's address.
fn command(stage: &Stage, name: &str, line: &str) -> Command {
    let mut command = klamm(&[]);
    command.arg0(name).args(line.split(' ')).arg("--bootstrap-server").arg(stage.broker.address.to_string());
    command
}

/// Runs a program with `input`, which it reads to the end.
fn piped(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn produce(stage: &Stage, line: &str, input: &[u8]) {
    let output = piped(command(stage, "klamm", &format!("produce {line}")), input);
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[track_caller]
fn consume(stage: &Stage, line: &str) -> String {
    stage.told(&format!("consume {line}"))
}

#[test]
fn records_come_back_as_they_went_in() {
    let stage = Stage::new();
    for (codec, manner) in [
        ("none", "--acks 0"),
        ("gzip:9", "--acks 1"),
        ("snappy", "--idempotent"),
        ("lz4", "--acks all"),
        ("zstd", "--idempotent"),
    ] {
        let topic = format!("t-{}", codec.split(':').next().unwrap());
        stage.told(&format!("topic create {topic} --partitions 3"));
        let lines: String =
            (0..3000).map(|n| format!("a={n},b=NULL|key {}|value {n} {}\n", n % 50, "x".repeat(n % 97))).collect();
        let options = format!("{topic} -f %h|%k|%v\\n --null NULL -z {codec} {manner}");
        produce(&stage, &options, lines.as_bytes());
        let read = wait_for("all records", || {
            let read = consume(&stage, &format!("{topic} -f %h|%k|%v\\n --null NULL"));
            (read.lines().count() == 3000).then_some(read)
        });
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
            lines.sort();
            lines
        };
        assert!(sorted(&read) == sorted(&lines), "{codec}");
        // Those of one key are in one partition, in order.
        let one: Vec<&str> = read.lines().filter(|line| line.contains("|key 7|")).collect();
        let sent: Vec<&str> = lines.lines().filter(|line| line.contains("|key 7|")).collect();
        assert_eq!(one, sent, "{codec}");
    }
    let batches = alone(&format!("dump {}/data/journal --format json", stage.dir.path().display())).well();
    assert!(
        ["gzip", "snappy", "lz4", "zstd"].iter().all(|codec| batches.contains(&format!("\"compression\":\"{codec}\"")))
    );
}

#[test]
fn json_goes_in_as_it_comes_out() {
    let stage = Stage::new();
    stage.told("topic create a --partitions 2");
    stage.told("topic create b --partitions 2");
    let bytes = [&b"\xff\x00k|"[..], b"plain\n"].concat();
    produce(&stage, "a -f %k|%v -H h=1 --partition 1 --timestamp 1700000000000", &bytes);
    let object = r#"{"key":null,"value":null,"headers":[["n",null],["h",{"hex":"ff"}]],"partition":0,"timestamp":1700000000001}"#;
    produce(&stage, "a --format json", object.as_bytes());
    let printed = consume(&stage, "a --format json");
    assert!(
        printed.contains(r#""timestamp":1700000000000,"key":{"hex":"ff006b"},"value":"plain","headers":[["h","1"]]"#)
    );
    produce(&stage, "b --format json", printed.as_bytes());
    assert_eq!(consume(&stage, "b --format json"), printed.replace("\"topic\":\"a\"", "\"topic\":\"b\""));
}

#[test]
fn a_topic_is_copied_to_one_with_fewer_partitions() {
    let stage = Stage::with(&[]);
    stage.told("topic create orders --partitions 6");
    let lines: String = (0..300).map(|n| format!("key {}|{n}\n", n % 20)).collect();
    produce(&stage, "orders -f %k|%v", lines.as_bytes());
    produce(&stage, "copy --format json", consume(&stage, "orders --format json").as_bytes());
    let of = |topic: &str, key: usize| {
        let all = consume(&stage, &format!("{topic} -f %k|%v\\n"));
        let start = format!("key {key}|");
        all.lines().filter(|line| line.starts_with(&start)).map(str::to_string).collect::<Vec<_>>()
    };
    for key in 0..20 {
        assert_eq!((of("copy", key), of("copy", key).len()), (of("orders", key), 15), "the order of key {key}");
    }
}

#[test]
fn places_bound_what_is_read() {
    let stage = Stage::new();
    stage.told("topic create t --partitions 1");
    for n in 0..10 {
        produce(&stage, &format!("t --timestamp {}", 1_700_000_000_000i64 + n * 1000), format!("{n}\n").as_bytes());
    }
    let read = |options: &str| consume(&stage, &format!("t {options}")).replace('\n', "");
    assert_eq!(read(""), "0123456789");
    assert_eq!(read("--from 7"), "789");
    assert_eq!(read("--from -2"), "89");
    assert_eq!(read("--from latest"), "");
    assert_eq!(read("--from 99"), "");
    assert_eq!(read("--from @1700000004500"), "56789");
    assert_eq!(read("--from 2023-11-14T22:13:25Z --until 2023-11-14T22:13:27Z"), "56");
    assert_eq!(read("--until 3 --follow --from earliest"), "012");
    assert_eq!(read("--count 4"), "0123");
    assert_eq!(read("--count 0"), "");
    stage.told("offsets delete t:0 --before 5");
    assert_eq!(read("--from 2 --until 7"), "56");
    assert_eq!(
        read("-f %p@%o,%T,%K,%V;"),
        "0@5,1700000005000,-1,1;0@6,1700000006000,-1,1;0@7,1700000007000,-1,1;0@8,1700000008000,-1,1;0@9,1700000009000,-1,1;"
    );
}

#[test]
fn what_is_wrong_is_said() {
    let stage = Stage::new();
    stage.told("topic create t --partitions 1 --config max.message.bytes=100");
    let ill = |line: &str, status| stage.klamm(line).ill(status);
    assert!(ill("consume nope", 1).contains("topic nope: UNKNOWN_TOPIC_OR_PARTITION"));
    assert!(ill("consume t --partition 5", 1).contains("partition 5 of topic t: UNKNOWN_TOPIC_OR_PARTITION"));
    assert!(ill("consume t --from tomorrow", 2).contains("tomorrow"));
    assert!(ill("consume t -f %z", 2).contains("%z is no field"));
    assert!(ill("produce t -z lz5", 2).contains("lz5"));
    assert!(ill("produce t -z zstd:99", 2).contains("levels of zstd are -131072 to 22"));
    assert!(ill("produce t --idempotent --acks 1", 2).contains("--acks all"));
    let fails = |line: &str, input: &str| {
        let output = piped(command(&stage, "klamm", line), input.as_bytes());
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(fails("produce t", &"x".repeat(200)).contains("records for t-0: MESSAGE_TOO_LARGE"));
    assert_eq!(fails("produce t -f %k:%v", "a:1\nb\n"), "klamm: line 2: no \":\" in it\n");
    assert!(fails("produce t --partition 3", "x\n").contains("no partition 3"));
    assert_eq!(consume(&stage, "t -f %k=%v;"), "a=1;", "the line before is there");
}

#[test]
fn a_missing_topic_is_made_unless_told_not_to() {
    let told = |stage: &Stage, line: &str, status| {
        let output = piped(command(stage, "klamm", line), b"x\n");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{line}: {error}");
        error
    };
    let stage = Stage::with(&[]);
    let none = "klamm: topic t: UNKNOWN_TOPIC_OR_PARTITION: there is no such topic or partition";
    assert_eq!(told(&stage, "produce t --no-create", 1), format!("{none}\n"));
    assert_eq!(told(&stage, "produce t", 0), "");
    assert_eq!(consume(&stage, "t"), "x\n");
    assert_eq!(told(&stage, "produce t --no-create", 0), "");
    // A broker that makes none says so at once.
    let stage = Stage::new();
    let why = "the broker makes no topics by itself (auto.create.topics.enable): klamm topic create t";
    assert_eq!(told(&stage, "produce t", 1), format!("{none}; {why}\n"));
}

#[test]
fn reading_ends_when_nothing_comes_any_more() {
    let stage = Stage::new();
    stage.told("topic create t --partitions 1");
    produce(&stage, "t", b"one\n");
    let mut reader = Running::start(command(&stage, "klamm", "consume t --idle-timeout 2s"));
    assert_eq!(reader.line(), "one\n");
    // It has read what was there, and waits.
    produce(&stage, "t", b"two\n");
    assert_eq!((reader.line(), reader.line()), ("two\n".to_string(), String::new()));
    assert_eq!(reader.child.wait().unwrap().code(), Some(0));
    assert_eq!(consume(&stage, "t --follow --idle-timeout 10ms"), "", "--follow begins at the end");
    assert_eq!(consume(&stage, "t --group g --idle-timeout 10ms"), "one\ntwo\n");
}

/// A program that runs until it is told to stop.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(mut command: Command) -> Running {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn stop(mut self) -> (Option<i32>, String) {
        // SAFETY: a system call without memory; the child has not been waited for, so its id is its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) }, 0);
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

#[test]
fn members_share_a_topic_and_go_on_where_they_were() {
    let stage = Stage::new();
    stage.told("topic create t --partitions 2");
    let pattern = "-f %p:%v\\n";
    let member = || Running::start(command(&stage, "klamm", &format!("consume t --group g --follow {pattern}")));
    let mut first = member();
    produce(&stage, "t --partition 0", b"one\n");
    assert_eq!(first.line(), "0:one\n");
    let mut second = member();
    wait_for("a second member", || {
        let members = stage.json("group describe g --members");
        let members = members[0]["members"].as_array()?.clone();
        let shared = members.len() == 2
            && members.iter().all(|member| member["assignment"].as_array().is_none_or(|a| a.len() == 1));
        (shared && stage.json("group describe g --state")[0]["state"] == "Stable").then_some(())
    });
    produce(&stage, "t --partition 0", b"two\n");
    produce(&stage, "t --partition 1", b"three\n");
    let mut both = [first.line(), second.line()];
    both.sort();
    assert_eq!(both, ["0:two\n", "1:three\n"]);
    assert_eq!(second.stop(), (Some(0), String::new()));
    // The member that is left gets both partitions without waiting for a session to end.
    produce(&stage, "t --partition 0", b"four\n");
    produce(&stage, "t --partition 1", b"five\n");
    let mut both = [first.line(), first.line()];
    both.sort();
    assert_eq!(both, ["0:four\n", "1:five\n"]);
    assert_eq!(first.stop(), (Some(0), String::new()));
    assert_eq!(consume(&stage, "t --group g"), "", "everything was committed");
    produce(&stage, "t --partition 0", b"six\n");
    assert_eq!(consume(&stage, "t --group g --no-commit"), "six\n");
    assert_eq!(consume(&stage, "t --group g"), "six\n");
    assert_eq!(consume(&stage, "t --group g"), "");
}

#[test]
fn a_reader_that_goes_away_is_a_clean_end() {
    let stage = Stage::new();
    stage.told("topic create t --partitions 1");
    let lines: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    produce(&stage, "t", lines.as_bytes());
    let mut reader = Running::start(command(&stage, "klamm", "consume t"));
    assert_eq!(reader.line(), "0\n");
    drop(reader.lines);
    assert_eq!(reader.child.wait().unwrap().code(), Some(0));
}

#[test]
fn kafkas_console_tools_have_their_flags_and_their_output() {
    let stage = Stage::new();
    stage.told("topic create t --partitions 1");
    let flags = "--topic t --reader-property parse.key=true --property parse.headers=true --property null.marker=NULL";
    for extra in ["--compression-codec", "--producer-property acks=1", "--request-required-acks -1 --sync"] {
        let output = piped(
            command(&stage, "kafka-console-producer.sh", &format!("{flags} {extra}")),
            b"h1:v1,h2:\tk1\tvalue one\nNULL\tNULL\tthree\ty\r\n",
        );
        assert_eq!((output.status.code(), output.stdout, output.stderr), (Some(0), vec![], vec![]), "{extra}");
    }
    let read = |line: &str| {
        let ran = stage.tool("kafka-console-consumer", &format!("--topic t {line}"));
        (ran.status, ran.out, ran.err)
    };
    let told = |count: usize| format!("Processed a total of {count} messages\n");
    assert_eq!(read("--from-beginning --max-messages 2"), (Some(0), "value one\nthree\ty\n".into(), told(2)));
    let shown = "--formatter-property print.key=true --property print.headers=true --property print.offset=true --property print.partition=true --property key.separator=|";
    assert_eq!(
        read(&format!("--partition 0 --offset 4 --max-messages 2 {shown}")),
        (
            Some(0),
            "Partition:0|Offset:4|h1:v1,h2:|k1|value one\nPartition:0|Offset:5|NO_HEADERS|null|three\ty\n".into(),
            told(2)
        )
    );
    let (status, out, err) = read("--group g --from-beginning --timeout-ms 2000 --consumer-property client.id=x");
    assert_eq!((status, out.lines().count(), err.ends_with(&told(6))), (Some(0), 6, true), "{err}");
    let committed = stage.tool(
        "kafka-console-consumer",
        "--topic __consumer_offsets --from-beginning --timeout-ms 1000 --formatter org.apache.kafka.tools.consumer.OffsetsMessageFormatter",
    );
    let expected = r#"{"key":{"type":1,"data":{"group":"g","topic":"t","partition":0}},"value":{"version":3,"data":{"offset":6,"leaderEpoch":-1,"metadata":"","commitTimestamp":"#;
    assert!(committed.out.contains(expected), "{}", committed.out);
    let refused = |name: &str, line: &str| {
        let ran = stage.tool(name, line);
        assert_eq!((ran.status, ran.out.as_str()), (Some(1), ""), "{line}");
        ran.err
    };
    let consumer = |line: &str| refused("kafka-console-consumer", &format!("--topic t {line}"));
    assert!(consumer("--offset 5").starts_with("The partition is required when offset is specified.\n"));
    assert!(consumer("--bogus").contains("bogus"));
    assert!(consumer("--formatter a.Mine").contains("a.Mine"));
    assert!(consumer("--consumer-property sasl.mechanism=PLAIN").contains("sasl.mechanism"));
    let producer = |line: &str| refused("kafka-console-producer", &format!("--topic t {line}"));
    assert!(producer("--line-reader a.Mine").contains("line-reader"));
    assert!(producer("--producer-property transactional.id=x").contains("transactional.id"));
}
