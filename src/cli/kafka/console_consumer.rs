//! `kafka-console-consumer`: records to standard output.

use super::admin::arguments::{Given, Spec, flag, refused, value};
use super::admin::{End, Pattern, Tool, connect};
use super::formatter::Formatter;
use super::settings::Settings;
use crate::cli::client::Client;
use crate::cli::consuming::{Ended, Order, consume};
use crate::cli::failure::Failure;
use crate::cli::reading::{Place, Reset};
use crate::cli::sending::find_topic;
use crate::types::PartitionIndex;
use std::time::Duration;

/// What a shell expects of a program that SIGINT has ended.
const STOPPED_STATUS: i32 = 130;
const SPECS: [Spec; 22] = [
    value("bootstrap-server", "REQUIRED: The brokers to connect to: HOST1:PORT1,HOST2:PORT2."),
    value("topic", "The topic to consume."),
    value("include", "A regular expression of topics."),
    value("partition", "Only this partition, from its end unless --offset or --from-beginning is given."),
    value("offset", "Where to begin in the partition: an offset, earliest or latest."),
    flag("from-beginning", "Begin with the earliest record where the group has no place yet."),
    value("max-messages", "End after so many records."),
    value("timeout-ms", "End when no record has come for so long."),
    value("group", "The group to be a member of."),
    value("isolation-level", "read_committed or read_uncommitted."),
    flag("skip-message-on-error", "Leave out a record that cannot be printed."),
    value(
        "formatter",
        "DefaultMessageFormatter, NoOpMessageFormatter, OffsetsMessageFormatter or GroupMetadataMessageFormatter.",
    ),
    value(
        "formatter-property",
        "print.timestamp, print.partition, print.offset, print.epoch, print.headers, print.key, print.value, key.separator, line.separator, headers.separator, null.literal, key.deserializer, value.deserializer, headers.deserializer.",
    ),
    value("property", "The same as --formatter-property."),
    value("formatter-config", "A file of such properties."),
    value("key-deserializer", "How keys are read: StringDeserializer, Short..., Integer..., Long..."),
    value("value-deserializer", "The same for values."),
    value(
        "command-property",
        "Of the consumer: group.id, auto.offset.reset, enable.auto.commit, isolation.level; others are without effect.",
    ),
    value("consumer-property", "The same as --command-property."),
    value("command-config", "A file of such properties."),
    value("consumer.config", "The same as --command-config."),
    refused("enable-systest-events", "it is for Kafka's own tests"),
];

pub(super) const TOOL: Tool = Tool {
    name: "kafka-console-consumer",
    about: "This tool helps to read data from Kafka topics and outputs it to standard output.",
    specs: &SPECS,
    run,
};

fn run(given: &Given) -> Result<(), End> {
    check(given)?;
    let formatter = make_formatter(given)?;
    let mut order = order(given)?;
    let mut client = connect(given)?;
    order.topics = topics(given, &mut client)?;
    let skips = given.has("skip-message-on-error");
    let (records, ended) = consume(&mut client, &order, |record, out| {
        let length = out.len();
        match formatter.write(record, out) {
            Err(why) if skips => {
                eprintln!("Error processing message, skipping this message: {why}");
                out.truncate(length);
                Ok(())
            }
            result => result.map_err(Failure::Other),
        }
    })?;
    match ended {
        Ended::Idle => eprintln!(
            "Error processing message, terminating consumer process: org.apache.kafka.common.errors.TimeoutException"
        ),
        Ended::Closed => eprintln!("Unable to write to standard out, closing consumer."),
        Ended::Done | Ended::Stopped => {}
    }
    eprintln!("Processed a total of {records} messages");
    if ended == Ended::Stopped {
        std::process::exit(STOPPED_STATUS);
    }
    Ok(())
}

/// Options that must be there, or must not be together.
fn check(given: &Given) -> Result<(), End> {
    let wrong = |message: &str| Err(End::Usage(message.into()));
    if given.count(&["topic", "include"]) != 1 {
        return wrong("Exactly one of the following arguments is required: [topic], [include]");
    }
    if given.has("partition") && !given.has("topic") {
        return wrong("The topic is required when partition is specified.");
    }
    if given.has("offset") && !given.has("partition") {
        return wrong("The partition is required when offset is specified.");
    }
    if given.has("offset") && given.has("from-beginning") {
        return wrong("Options from-beginning and offset cannot be specified together.");
    }
    if given.has("partition") && given.has("group") {
        return wrong("Options group and partition cannot be specified together.");
    }
    given.require(&["bootstrap-server"])
}

fn make_formatter(given: &Given) -> Result<Formatter, End> {
    let mut settings = Settings::of(given, &["formatter-config"], &["property", "formatter-property"])?;
    let mut class = |option, property| -> Result<Option<String>, End> {
        let of_property = settings.take(property);
        Ok(given.one(option)?.map(str::to_string).or(of_property))
    };
    let key = class("key-deserializer", "key.deserializer")?;
    let value = class("value-deserializer", "value.deserializer")?;
    Formatter::of(given.one("formatter")?, key.as_deref(), value.as_deref(), settings)
}

fn order(given: &Given) -> Result<Order, End> {
    let properties = &["consumer-property", "command-property"];
    let mut settings = Settings::of(given, &["consumer.config", "command-config"], properties)?;
    let group = given.one("group")?.map(str::to_string);
    let of_property = settings.take("group.id");
    if group.is_some() && of_property.is_some() && group != of_property {
        let message = "The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') do not match.";
        return Err(End::Usage(message.into()));
    }
    if let Some(protocol) = settings.take("group.protocol").filter(|name| !name.eq_ignore_ascii_case("classic")) {
        return Err(End::Said(format!("group.protocol={protocol} is not supported: classic is")));
    }
    let reset = reset(settings.take("auto.offset.reset").as_deref(), given.has("from-beginning"))?;
    let start = if reset == Reset::Earliest { Place::Earliest } else { Place::Latest };
    let isolation = given.one("isolation-level")?.map(str::to_string).or_else(|| settings.take("isolation.level"));
    let committed_only = match isolation.as_deref() {
        None | Some("read_uncommitted") => false,
        Some("read_committed") => true,
        Some(other) => return Err(End::Said(format!("{other} is no isolation level"))),
    };
    let commit = settings.take_flag("enable.auto.commit").unwrap_or(true);
    settings.finish_client()?;
    let partition: Option<PartitionIndex> = given.number("partition")?;
    Ok(Order {
        topics: Vec::new(),
        partitions: partition.into_iter().collect(),
        from: given.one("offset")?.map_or(Ok(start), parse_offset)?,
        group: group.or(of_property).filter(|_| partition.is_none()),
        commit,
        until: None,
        follow: true,
        count: given.number::<i64>("max-messages")?.and_then(|count| u64::try_from(count).ok()),
        idle: given.number::<i64>("timeout-ms")?.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
        committed_only,
        clamp: false,
        reset,
    })
}

fn reset(property: Option<&str>, from_beginning: bool) -> Result<Reset, End> {
    match (property, from_beginning) {
        (Some("earliest"), _) | (None, true) => Ok(Reset::Earliest),
        (Some("latest"), false) | (None, false) => Ok(Reset::Latest),
        (Some(other), true) => Err(End::Said(format!(
            "Can't simultaneously specify --from-beginning and 'auto.offset.reset={other}', please remove one option"
        ))),
        (Some(other), false) => Err(End::Said(format!("auto.offset.reset={other} is not supported"))),
    }
}

/// The topic, which is made if the broker does that; or those of the regular expression, without internal ones.
fn topics(given: &Given, client: &mut Client) -> Result<Vec<String>, End> {
    if let Some(topic) = given.one("topic")? {
        return Ok(vec![find_topic(client, topic, true)?.name]);
    }
    let include = given.one("include")?.unwrap_or_default();
    let pattern = Pattern::new(include)?;
    let all = client.cluster(None)?.topics;
    let found = all.into_iter().filter(|topic| !topic.is_internal && pattern.matches(&topic.name));
    let names: Vec<String> = found.map(|topic| topic.name).collect();
    match names.is_empty() {
        true => Err(End::Said(format!("No topic matches {include}"))),
        false => Ok(names),
    }
}

fn parse_offset(text: &str) -> Result<Place, End> {
    match text.to_ascii_lowercase().as_str() {
        "earliest" => Ok(Place::Earliest),
        "latest" => Ok(Place::Latest),
        _ => match text.parse::<i64>() {
            Ok(offset) if offset >= 0 => Ok(Place::Offset(offset)),
            _ => Err(End::Usage(format!(
                "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
            ))),
        },
    }
}
