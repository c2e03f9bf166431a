//! `kafka-get-offsets`.

use super::arguments::{Given, Spec, flag, value};
use super::{End, Pattern, Tool, connect, exception};
use crate::cli::client::Client;
use crate::cli::operation::TopicPartition;
use crate::cli::operation::offsets::{
    self, EARLIEST, EARLIEST_LOCAL, EARLIEST_PENDING_UPLOAD, LATEST, LATEST_TIERED, MAX_TIMESTAMP,
};
use crate::cli::output::print;
use crate::types::TimestampMs;
use std::ops::Range;

const SPECS: [Spec; 7] = [
    value("bootstrap-server", "REQUIRED. The brokers to connect to."),
    value("command-config", "A file of settings of the client."),
    value("topic-partitions", "Topics and partitions: t1:1,t2:0-3,t3,t4:5-,t5:-3"),
    value("topic", "The topic, or a regular expression for several."),
    value("partitions", "Which partitions, between commas."),
    value(
        "time",
        "A time in milliseconds, -1 or latest, -2 or earliest, -3 or max-timestamp, -4 or earliest-local, ...",
    ),
    flag("exclude-internal-topics", "Leave out internal topics."),
];
const TIMES: [(&str, TimestampMs); 6] = [
    ("latest", LATEST),
    ("earliest", EARLIEST),
    ("max-timestamp", MAX_TIMESTAMP),
    ("earliest-local", EARLIEST_LOCAL),
    ("latest-tiered", LATEST_TIERED),
    ("earliest-pending-upload", EARLIEST_PENDING_UPLOAD),
];

pub(super) const TOOL: Tool = Tool {
    name: "kafka-get-offsets",
    about: "An interactive shell for getting topic-partition offsets.",
    specs: &SPECS,
    run,
};

/// Partitions of topics that a pattern matches.
struct Rule {
    topic: Pattern,
    partitions: Vec<Range<i32>>,
}

fn run(given: &Given) -> Result<(), End> {
    given.require(&["bootstrap-server"])?;
    list(given).map_err(|end| match end {
        End::Said(message) => End::Said(format!("Error occurred: {message}")),
        End::Failure(failure) => End::Said(format!("Error occurred: {}", exception::message(&failure))),
        end => end,
    })
}

fn list(given: &Given) -> Result<(), End> {
    if given.has("topic-partitions") && given.count(&["topic", "partitions"]) > 0 {
        return Err(End::Said("--topic-partitions cannot be used with --topic or --partitions".into()));
    }
    let time = time(given.one("time")?.unwrap_or("latest"))?;
    let rules = match given.one("topic-partitions")? {
        Some(list) => list.split(',').map(rule).collect::<Result<_, _>>()?,
        None => vec![Rule {
            topic: Pattern::new(given.one("topic")?.unwrap_or(".*"))?,
            partitions: numbers(given.one("partitions")?.unwrap_or_default())?,
        }],
    };
    let mut client: Client = connect(given)?;
    let mut cluster = client.cluster(None)?;
    cluster.topics.retain(|topic| !(topic.is_internal && given.has("exclude-internal-topics")));
    let is_wanted = |place: &TopicPartition| {
        let in_any = |rule: &Rule| rule.partitions.iter().any(|range| range.contains(&place.partition));
        rules.iter().any(|rule| rule.topic.matches(&place.topic) && in_any(rule))
    };
    let mut places = offsets::partitions(&cluster);
    places.retain(is_wanted);
    if places.is_empty() {
        return Err(End::Said("Could not match any topic-partitions with the specified filters".into()));
    }
    let mut lines: Vec<(String, String)> = Vec::new();
    for (place, found) in offsets::list(&mut client, &cluster, &places, time)? {
        let line = |offset| format!("{}:{}:{offset}\n", place.topic, place.partition);
        match found {
            Ok(found) => lines.extend(found.offset.map(|offset| (place.to_string(), line(offset)))),
            Err(failure) => eprintln!(
                "Skip getting offsets for topic-partition {place} due to error: {}",
                exception::text(&failure)
            ),
        }
    }
    // By their text: partition 10 stands before 2.
    lines.sort();
    Ok(print(&lines.into_iter().map(|(_, line)| line).collect::<String>())?)
}

fn time(text: &str) -> Result<TimestampMs, End> {
    let named = TIMES.iter().find(|(name, _)| *name == text).map(|(_, time)| *time);
    named.or_else(|| text.parse().ok()).ok_or_else(|| {
        let known: Vec<String> = TIMES.iter().map(|(name, time)| format!("{time} or {name}")).collect();
        let known = known.join(" / ");
        End::Said(format!("Malformed time argument {text}. Please use {known}, or a specified long format timestamp"))
    })
}

/// `0,2`; all partitions if there is none.
fn numbers(list: &str) -> Result<Vec<Range<i32>>, End> {
    if list.is_empty() {
        return Ok(std::iter::once(0..i32::MAX).collect());
    }
    let wrong = || {
        let what = "--partitions expects a comma separated list of numeric partition ids, but received";
        End::Said(format!("{what}: {list}"))
    };
    list.split(',').map(|number| number.parse().map(|n: i32| n..n.saturating_add(1)).map_err(|_| wrong())).collect()
}

/// `TOPIC`, `TOPIC:2`, `TOPIC:0-3` (3 is not among them), `TOPIC:5-`, `TOPIC:-3`; the topic may be left out.
fn rule(text: &str) -> Result<Rule, End> {
    let wrong = || End::Said(format!("Invalid rule specification: {text}"));
    let (topic, range) = text.split_once(':').unwrap_or((text, ""));
    let bound = |text: &str, default| match text {
        "" => Ok(default),
        number => number.parse::<i32>().map_err(|_| wrong()),
    };
    let range = match range.split_once('-') {
        Some((from, to)) => bound(from, 0)?..bound(to, i32::MAX)?,
        None if range.is_empty() => 0..i32::MAX,
        None => {
            let one = bound(range, 0)?;
            one..one.saturating_add(1)
        }
    };
    let topic = Pattern::new(if topic.is_empty() { ".*" } else { topic }).map_err(End::Failure)?;
    Ok(Rule { topic, partitions: vec![range] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let ranges = |text: &str| rule(text).ok().map(|rule| rule.partitions[0].clone());
        assert_eq!(ranges("t"), Some(0..i32::MAX));
        assert_eq!(ranges("t:2"), Some(2..3));
        assert_eq!(ranges(":0-3"), Some(0..3));
        assert_eq!(ranges("t:5-"), Some(5..i32::MAX));
        assert_eq!(ranges("t:-3"), Some(0..3));
        assert_eq!(ranges("t:x"), None);
    }
}
