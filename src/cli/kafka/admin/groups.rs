//! `kafka-consumer-groups`.

use super::arguments::{Given, Spec, flag, maybe, value};
use super::groups_print as show;
use super::java::{CAPACITY, hash_order, hash_place, hash_text};
use super::{End, Tool, connect, exception, say};
use crate::cli::client::Client;
use crate::cli::codes::default_message;
use crate::cli::failure::{Failure, Result};
use crate::cli::operation::groups::{self, Described, Listed};
use crate::cli::operation::reset::{self, Note, Plan, Target, parse_places};
use crate::cli::operation::{TopicPartition, lag};
use crate::cli::time::{now_ms, parse_datetime, parse_iso_duration};
use crate::wire::error::ErrorCode;
use std::collections::BTreeMap;
use std::time::Duration;

const SPECS: [Spec; 29] = [
    value("bootstrap-server", "The brokers to connect to. REQUIRED but for --validate-regex."),
    value("command-config", "A file of settings of the client."),
    value("timeout", "How long to wait for a broker, in milliseconds."),
    flag("list", "List groups."),
    flag("describe", "Describe groups: offsets and lag."),
    flag("delete", "Delete groups that have no members."),
    flag("reset-offsets", "Show, or with --execute commit, new offsets of a group without members."),
    flag("delete-offsets", "Forget a group's offsets."),
    value("validate-regex", "Check a regular expression."),
    value("group", "The group."),
    flag("all-groups", "All groups."),
    value("topic", "The topic, or topic:0,1,2 for some of its partitions."),
    flag("all-topics", "All topics that the group has offsets of."),
    flag("dry-run", "Only show what would be done."),
    flag("execute", "Do it."),
    flag("export", "Show it as lines that --from-file takes."),
    value("to-offset", "Reset to this offset."),
    value("from-file", "Reset to the offsets in a file."),
    value("to-datetime", "Reset to a time: YYYY-MM-DDThh:mm:ss.sss"),
    value("by-duration", "Reset to a time so long ago: PnDTnHnMnS"),
    flag("to-earliest", "Reset to the first record."),
    flag("to-latest", "Reset to the end."),
    flag("to-current", "Reset to what is committed."),
    value("shift-by", "Reset by so many records, forward or back."),
    flag("members", "Describe members."),
    flag("verbose", "Describe more."),
    flag("offsets", "Describe offsets, as without any of these."),
    maybe("state", "Describe the state; or list by state."),
    maybe("type", "List by type."),
];
const ACTIONS: [&str; 6] = ["list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex"];
const SCENARIOS: [&str; 8] =
    ["to-offset", "to-datetime", "by-duration", "to-earliest", "to-latest", "to-current", "shift-by", "from-file"];
/// States in the tool's spelling, which may be asked for in any case.
const STATES: [&str; 7] =
    ["Stable", "Assigning", "Reconciling", "PreparingRebalance", "CompletingRebalance", "Dead", "Empty"];

pub(super) const TOOL: Tool = Tool {
    name: "kafka-consumer-groups",
    about: "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset consumer group offsets.",
    specs: &SPECS,
    run,
};

fn run(given: &Given) -> std::result::Result<(), End> {
    check(given)?;
    if let Some(pattern) = given.one("validate-regex")? {
        return say(&match regex_lite::Regex::new(pattern) {
            Ok(_) => format!("The regular expression `{pattern}` is valid."),
            Err(error) => format!("The regular expression `{pattern}` is invalid: {error}."),
        });
    }
    match act(given) {
        // The tool says so and ends as if all were well.
        Err(End::Failure(failure)) if !matches!(failure, Failure::Usage(_)) => {
            let text = format!("Executing consumer group command failed due to {}", reason(&failure));
            say(&format!("\nError: {text}"))?;
            eprintln!("{}", exception::text(&failure));
            Ok(())
        }
        Err(End::Failure(failure)) => Err(End::Usage(exception::message(&failure))),
        result => result,
    }
}

/// What is thrown around an answer of a group's coordinator is named by Kafka's tool, other messages stand alone.
fn reason(failure: &Failure) -> String {
    match failure.code() {
        Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::LeaderNotAvailable) => exception::message(failure),
        _ => exception::text(failure),
    }
}

fn act(given: &Given) -> std::result::Result<(), End> {
    let mut client = connect(given)?;
    if let Some(ms) = given.number::<u64>("timeout")? {
        client.patience(Duration::from_millis(ms));
    }
    match ACTIONS.into_iter().find(|action| given.has(action)) {
        Some("list") => list(&mut client, given),
        Some("describe") => describe(&mut client, given),
        Some("delete") => delete(&mut client, given),
        Some("delete-offsets") => delete_offsets(&mut client, given),
        _ => reset_offsets(&mut client, given),
    }
}

/// Which options go with which.
fn check(given: &Given) -> std::result::Result<(), End> {
    let usage = |text: String| Err(End::Usage(text));
    if !given.has("validate-regex") {
        given.require(&["bootstrap-server"])?;
    }
    let bound =
        [("members", &["describe"][..]), ("verbose", &["describe"]), ("offsets", &["describe"]), ("type", &["list"])];
    for (name, with) in bound.into_iter().chain([("state", &["describe", "list"][..])]) {
        if given.has(name) && given.count(with) == 0 {
            return Err(End::Said(format!(
                "Option(s) [{name}] are unavailable given other options on the command line"
            )));
        }
    }
    let scope = "takes one of these options: [group], [all-groups]";
    for action in ["describe", "delete", "reset-offsets"] {
        if given.has(action) && given.count(&["group", "all-groups"]) == 0 {
            return usage(format!("Option [{action}] {scope}"));
        }
    }
    if given.has("describe") {
        if given.count(&["members", "offsets", "state"]) > 1 {
            return usage("Option [describe] takes at most one of these options: [members], [offsets], [state]".into());
        }
        if !given.all("state").is_empty() {
            return usage("Option [describe] does not take a value for [state]".into());
        }
    }
    if given.has("delete") && given.has("topic") {
        return usage("The consumer does not support topic-specific offset deletion from a consumer group.".into());
    }
    if given.has("delete-offsets") && given.count(&["group", "topic"]) < 2 {
        return usage("Option [delete-offsets] takes the following options: [group], [topic]".into());
    }
    if given.has("reset-offsets") {
        if given.count(&["dry-run", "execute"]) == 2 {
            return usage("Option [reset-offsets] only accepts one of [execute] and [dry-run]".into());
        }
        if given.count(&["dry-run", "execute"]) == 0 {
            eprintln!(
                "WARN: No action will be performed as the --execute option is missing. In version 5.0, this command will require either --dry-run or --execute to be specified. You should add the --dry-run option explicitly if you are scripting this command and want to keep the current default behavior without prompting."
            );
        }
        for scenario in SCENARIOS {
            given.exclude(scenario, &SCENARIOS)?;
        }
    }
    given.exclude("group", &["all-groups", "list"])?;
    given.exclude("topic", &["list", "describe"])?;
    match given.count(&ACTIONS) {
        1 => Ok(()),
        _ => usage(format!("Command must include exactly one action: --{}", ACTIONS.join(", --"))),
    }
}

/// Names between commas in Kafka's spelling.
fn names(given: &Given, option: &str, known: &[&str], what: &str) -> std::result::Result<Vec<String>, End> {
    let Some(text) = given.one(option)? else { return Ok(Vec::new()) };
    let name = |word: &str| {
        let found = known.iter().find(|name| name.eq_ignore_ascii_case(word.trim()));
        let all = known.join(", ");
        let wrong = || Failure::Usage(format!("Invalid {what} list '{text}'. Valid {what}s are: {all}"));
        found.map(|name| name.to_string()).ok_or_else(wrong)
    };
    Ok(text.split(',').map(name).collect::<Result<_>>()?)
}

/// Groups of consumers, in the order of Kafka's tool.
fn listed(client: &mut Client, states: &[String], types: &[String]) -> Result<Vec<Listed>> {
    let mut listed = groups::list(client, states, types)?;
    listed.retain(Listed::is_of_consumers);
    Ok(hash_order(listed, CAPACITY, |group| hash_text(&group.id)))
}

fn list(client: &mut Client, given: &Given) -> std::result::Result<(), End> {
    let states = names(given, "state", &STATES, "state")?;
    let types = names(given, "type", &show::TYPES, "type")?;
    let listed = listed(client, &states, &types)?;
    show::listed(&listed, given.has("type"), given.has("state"))
}

/// The groups that were named, or all.
fn selected(client: &mut Client, given: &Given) -> Result<Vec<String>> {
    match given.has("all-groups") {
        true => Ok(listed(client, &[], &[])?.into_iter().map(|group| group.id).collect()),
        false => Ok(given.all("group").into_iter().map(str::to_string).collect()),
    }
}

fn describe(client: &mut Client, given: &Given) -> std::result::Result<(), End> {
    let mut names = selected(client, given)?;
    names.sort();
    names.dedup();
    let described: Vec<Described> = names.iter().map(|name| groups::describe(client, name)).collect::<Result<_>>()?;
    let verbose = given.has("verbose");
    if given.has("members") {
        return described.iter().try_for_each(|group| show::members(group, verbose));
    }
    if given.has("state") {
        return described.iter().try_for_each(|group| show::state(group, verbose));
    }
    let rows = described.iter().map(|group| lag::rows(client, group)).collect::<Result<Vec<_>>>()?;
    described.iter().zip(&rows).try_for_each(|(group, rows)| show::offsets(group, rows, verbose))
}

fn delete(client: &mut Client, given: &Given) -> std::result::Result<(), End> {
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for name in selected(client, given)? {
        match groups::delete(client, &name) {
            Ok(()) => deleted.push(name),
            Err(failure) => failed.push((name, failure)),
        }
    }
    let deleted = hash_order(deleted, CAPACITY, |name| hash_text(name));
    let quoted = deleted.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    if failed.is_empty() {
        return say(&format!("Deletion of requested consumer groups ({quoted}) was successful."));
    }
    say("\nError: Deletion of some consumer groups failed:")?;
    for (name, failure) in hash_order(failed, CAPACITY, |(name, _)| hash_text(name)) {
        say(&format!("* Group '{name}' could not be deleted due to: {}", exception::text(&failure)))?;
    }
    match deleted.is_empty() {
        true => Ok(()),
        false => say(&format!("\nThese consumer groups were deleted successfully: {quoted}")),
    }
}

fn delete_offsets(client: &mut Client, given: &Given) -> std::result::Result<(), End> {
    let group = given.one("group")?.unwrap_or_default();
    let words: Vec<String> = given.all("topic").into_iter().map(str::to_string).collect();
    let mut places = Vec::new();
    // A topic that is not there has a row of its own.
    let mut results: BTreeMap<TopicPartition, Option<String>> = BTreeMap::new();
    for word in words {
        match parse_places(client, std::slice::from_ref(&word)) {
            Ok(found) => places.extend(found),
            Err(failure @ Failure::Usage(_)) => return Err(failure.into()),
            Err(failure) => drop(results.insert(TopicPartition::new(&word, -1), Some(exception::text(&failure)))),
        }
    }
    let mut worst = None;
    match groups::delete_offsets(client, group, &places) {
        Ok(each) => {
            for (place, result) in each {
                let failure = result.err();
                results.insert(place, failure.as_ref().map(exception::text));
                worst = worst.or(failure);
            }
        }
        Err(failure) => {
            results.extend(places.into_iter().map(|place| (place, Some(exception::text(&failure)))));
            worst = Some(failure);
        }
    }
    say(&deletion(group, worst.as_ref()))?;
    show::deleted_offsets(&results)
}

/// What is said of a deletion of offsets before each partition's result.
fn deletion(group: &str, worst: Option<&Failure>) -> String {
    let Some(failure) = worst else { return format!("Request succeeded for deleting offsets from group {group}.") };
    let code = failure.code().unwrap_or(ErrorCode::UnknownServerError);
    let text = match code {
        ErrorCode::InvalidGroupId
        | ErrorCode::GroupIdNotFound
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::NonEmptyGroup => default_message(code),
        ErrorCode::GroupSubscribedToTopic
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::UnknownTopicOrPartition => {
            "Encountered some partition-level error, see the follow-up details.".to_string()
        }
        _ => format!("Encountered some unknown error: {code}"),
    };
    format!("\nError: {text}")
}

fn target(given: &Given, group: &str) -> std::result::Result<Target, End> {
    let scenario = SCENARIOS.into_iter().find(|scenario| given.has(scenario));
    let text = scenario.and_then(|scenario| given.all(scenario).first().copied()).unwrap_or_default();
    let wrong = |what: &str| End::Failure(Failure::Other(format!("{text}: {what}")));
    Ok(match scenario {
        Some("to-earliest") => Target::Earliest,
        Some("to-latest") => Target::Latest,
        Some("to-current") => Target::Current,
        Some("to-offset") => Target::Offset(given.number("to-offset")?.unwrap_or_default()),
        Some("shift-by") => Target::Shift(given.number("shift-by")?.unwrap_or_default()),
        Some("to-datetime") => Target::Time(parse_datetime(text).ok_or_else(|| wrong("no time"))?),
        Some("by-duration") => {
            let ms = parse_iso_duration(text).ok_or_else(|| wrong("Text cannot be parsed to a Duration"))?;
            Target::Time(now_ms().saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)))
        }
        Some("from-file") => {
            let file = std::fs::read_to_string(text).map_err(|error| Failure::File { path: text.into(), error })?;
            match reset::parse_plan(&file, group)?.remove(group) {
                Some(plan) => Target::Plan(plan),
                None => {
                    say(&format!("\nError: No reset plan for group {group} found"))?;
                    Target::Plan(BTreeMap::new())
                }
            }
        }
        _ => {
            let known = SCENARIOS.map(|scenario| format!("[{scenario}]")).join(", ");
            let text = format!("Option '[reset-offsets]' requires one of the following scenarios: [{known}]");
            return Err(End::Usage(text));
        }
    })
}

fn reset_offsets(client: &mut Client, given: &Given) -> std::result::Result<(), End> {
    let mut plans: Vec<(String, Plan)> = Vec::new();
    for group in selected(client, given)? {
        let plan = match groups::describe(client, &group) {
            Ok(described) if !groups::is_inactive(&described.state) => {
                let state = described.state;
                let text = format!("Assignments can only be reset if the group '{group}' is inactive");
                say(&format!("\nError: {text}, but the current state is {state}."))?;
                Plan::default()
            }
            Err(failure) if failure.code() != Some(ErrorCode::GroupIdNotFound) => return Err(failure.into()),
            _ => reset_group(client, given, &group)?,
        };
        plans.push((group, plan));
    }
    let plans = hash_order(plans, CAPACITY, |(group, _)| hash_text(group));
    match given.has("export") {
        true => show::exported(&plans, given.all("group").len() == 1),
        false => show::planned(&plans),
    }
}

fn reset_group(client: &mut Client, given: &Given, group: &str) -> std::result::Result<Plan, End> {
    let places: Vec<TopicPartition> = if given.has("all-topics") {
        groups::committed(client, group)?.into_keys().collect()
    } else if given.has("topic") {
        let words: Vec<String> = given.all("topic").into_iter().map(str::to_string).collect();
        parse_places(client, &words)?
    } else if given.has("from-file") {
        Vec::new()
    } else {
        return Err(End::Usage("One of the reset scopes should be defined: --all-topics, --topic.".into()));
    };
    let target = target(given, group)?;
    let plan = reset::plan(client, group, &places, &target)?;
    for note in hash_order(plan.notes.iter().collect(), CAPACITY, |note| hash_place(note.place())) {
        match note {
            Note::TooHigh { place, wanted, taken } => eprintln!(
                "WARN New offset ({wanted}) is higher than latest offset for topic partition {place}. Value will be set to {taken}"
            ),
            Note::TooLow { place, wanted, taken } => eprintln!(
                "WARN New offset ({wanted}) is lower than earliest offset for topic partition {place}. Value will be set to {taken}"
            ),
            Note::NoneSoLate(TopicPartition { topic, partition }) => say(&format!(
                "\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest known offset."
            ))?,
        }
    }
    if given.has("execute") && !plan.offsets.is_empty() {
        groups::commit(client, group, &plan.offsets)?;
    }
    Ok(plan)
}
