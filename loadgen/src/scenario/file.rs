//! A file of loads: each table becomes the words of a command line, so that both have the same options, checks and defaults.

use crate::options::{Command, LoadCommand, Options, Scenario};
use clap::{CommandFactory, Parser};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Component, Path};
use toml::{Table, Value};

/// Options that are the whole run's.
const REFUSED: [&str; 5] = ["json", "live", "out", "agents", "held"];
const NAME: &str = "name";
const AFTER: &str = "after-seconds";
const SECONDS: &str = "seconds";

#[derive(Debug)]
pub struct Load {
    pub name: String,
    /// When it begins.
    pub after_seconds: f64,
    pub command: LoadCommand,
    /// The command line that it is.
    pub words: Vec<OsString>,
}

impl Load {
    /// Whether it uses the topic that it names, which is made when it is missing.
    pub fn needs_topic(&self) -> bool {
        !matches!(self.command, LoadCommand::Churn(_))
            && !matches!(&self.command, LoadCommand::Verify(verify) if verify.check.is_some())
    }
}

/// The loads of a file, with those options that are the whole run's.
pub fn loads(text: &str, whole: &Scenario) -> Result<Vec<Load>, String> {
    let mut file: Table = text.parse().map_err(|error: toml::de::Error| error.to_string().trim_end().to_string())?;
    let mut tables = Vec::new();
    for command in LoadCommand::names() {
        match file.remove(&command) {
            None => {}
            Some(Value::Array(all)) if all.iter().all(Value::is_table) => {
                let numbered = all.into_iter().enumerate();
                tables.extend(numbered.filter_map(|(i, table)| match table {
                    Value::Table(table) => Some((command.clone(), format!("{command}-{}", i + 1), table)),
                    _ => None,
                }));
            }
            Some(_) => return Err(format!("{command} is a load, and so a table [[{command}]]")),
        }
    }
    if tables.is_empty() {
        return Err("there is no load in it".to_string());
    }
    let mut used = BTreeSet::new();
    let read = |(command, name, table): (String, _, _)| load(&command, name, table, (&file, whole), &mut used);
    let loads: Vec<Load> = tables.into_iter().map(read).collect::<Result<_, _>>()?;
    if let Some(key) = file.keys().find(|key| !used.contains(*key)) {
        return Err(format!("no load has an option {key}"));
    }
    let names: BTreeSet<&str> = loads.iter().map(|load| load.name.as_str()).collect();
    if names.len() < loads.len() { Err("two loads have the same name".to_string()) } else { Ok(loads) }
}

fn load(
    command: &str,
    default_name: String,
    mut table: Table,
    (common, whole): (&Table, &Scenario),
    used: &mut BTreeSet<String>,
) -> Result<Load, String> {
    let name = match table.remove(NAME) {
        None => default_name,
        Some(Value::String(name)) => name,
        Some(_) => return Err(format!("{default_name}: a name is a text")),
    };
    let fault = |why: String| format!("{name}: {why}");
    let after_seconds = table.remove(AFTER).map_or(Ok(0.0), |value| seconds(&value)).map_err(fault)?;
    let all = Options::command();
    let options = all.find_subcommand(command).expect("the names are those of commands");
    let known: BTreeSet<&str> = options.get_arguments().filter_map(|argument| argument.get_long()).collect();
    for (key, value) in common.iter().filter(|(key, _)| known.contains(key.as_str())) {
        used.insert(key.clone());
        if !table.contains_key(key) {
            let value = if key == SECONDS { left(value, after_seconds).map_err(fault)? } else { value.clone() };
            table.insert(key.clone(), value);
        }
    }
    if command == "group" && !table.contains_key("group") {
        // Its lag is asked for by its name.
        table.insert("group".to_string(), Value::String(format!("loadgen-{:08x}", rand::random::<u32>())));
    }
    let mut words: Vec<OsString> = vec!["loadgen".into(), command.into(), format!("--name={name}").into()];
    for (key, value) in &table {
        if REFUSED.contains(&key.as_str()) {
            return Err(fault(format!("{key} is no option of a load in a file")));
        }
        words.extend(as_words(key, value).map_err(fault)?.into_iter().map(OsString::from));
    }
    words.extend(whole.live.then(|| "--live".into()));
    if let Some(directory) = &whole.out {
        if Path::new(&name).components().collect::<Vec<_>>() != [Component::Normal(name.as_ref())] {
            return Err(fault("a name that no directory can have".to_string()));
        }
        words.extend(["--out".into(), directory.join(&name).into_os_string()]);
    }
    let mut command = parsed(&words).map_err(fault)?;
    if command.is_for_agents() && !whole.agents.is_empty() {
        words.push(format!("--agents={}", whole.agents.join(",")).into());
        command = parsed(&words).map_err(fault)?;
    }
    Ok(Load { after_seconds, command, words, name })
}

fn parsed(words: &[OsString]) -> Result<LoadCommand, String> {
    match Options::try_parse_from(words) {
        Ok(Options { command: Command::Load(load) }) => Ok(*load),
        Ok(_) => unreachable!("the word is that of a load"),
        Err(error) => {
            let text = error.to_string();
            Err(text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_string())
        }
    }
}

/// What is left of so many seconds for a load that begins later.
fn left(value: &Value, after_seconds: f64) -> Result<Value, String> {
    match seconds(value)? - after_seconds {
        left if left > 0.0 => Ok(Value::Float(left)),
        _ => Err("it begins when all is over".to_string()),
    }
}

fn seconds(value: &Value) -> Result<f64, String> {
    let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
    let number = number.filter(|number| number.is_finite() && (0.0..=1e9).contains(number));
    number.ok_or_else(|| format!("{value:?} is not a number of seconds"))
}

fn as_words(key: &str, value: &Value) -> Result<Vec<String>, String> {
    Ok(match value {
        Value::Boolean(true) => vec![format!("--{key}")],
        Value::Boolean(false) => Vec::new(),
        Value::String(text) => vec![format!("--{key}={text}")],
        Value::Integer(number) => vec![format!("--{key}={number}")],
        Value::Float(number) => vec![format!("--{key}={number}")],
        Value::Array(all) => {
            let words: Result<Vec<_>, _> = all.iter().map(|value| as_words(key, value)).collect();
            words?.concat()
        }
        Value::Datetime(_) | Value::Table(_) => return Err(format!("{key} has a value that no option has")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(words: &str) -> Scenario {
        let words = ["loadgen", "run", "x.toml"].into_iter().chain(words.split_whitespace());
        let Command::Run(options) = Options::parse_from(words).command else { panic!("run") };
        options
    }

    #[test]
    fn tables_are_command_lines() {
        let text = r#"
            bootstrap-server = ["a:1", "b:2"]
            seconds = 60
            acks = "1"
            [[produce]]
            topic = "x"
            rate = 500
            idempotent = false
            topic-config = ["a=b", "c=d"]
            [[produce]]
            name = "large"
            acks = "all"
            record-bytes = "10..20"
            seconds = 5
            [[group]]
            read = true
            topic = "x"
            after-seconds = 12.5
        "#;
        let loads = loads(text, &whole("")).unwrap();
        let names: Vec<&str> = loads.iter().map(|load| load.name.as_str()).collect();
        assert_eq!(names, ["produce-1", "large", "group-1"]);
        let (LoadCommand::Produce(first), LoadCommand::Produce(second), LoadCommand::Group(group)) =
            (&loads[0].command, &loads[1].command, &loads[2].command)
        else {
            panic!("{loads:?}")
        };
        assert_eq!(
            (first.target.seconds, second.target.seconds, group.target.seconds),
            (Some(60.0), Some(5.0), Some(47.5))
        );
        assert_eq!((first.writing.acks.number(), second.writing.acks.number()), (1, -1));
        assert_eq!((first.target.topic_configs.len(), first.target.bootstrap_server.len()), (2, 2));
        assert!(group.read && group.group.is_some() && loads[2].after_seconds == 12.5);
    }

    #[test]
    fn what_is_no_load_is_named() {
        for (text, why) in [
            ("", "no load"),
            ("seconds = ", "line 1"),
            ("[produce]\nrate = 5", "[[produce]]"),
            ("[[produce]]\nrat = 5", "produce-1: unexpected argument '--rat'"),
            ("[[produce]]\nrate = -5", "produce-1: invalid value"),
            ("[[produce]]\njson = true", "no option of a load"),
            ("[[produce]]\nagents = \"a\"", "no option of a load"),
            ("[[produce]]\nrate = { a = 1 }", "rate has a value"),
            ("[[produce]]\nafter-seconds = -1", "not a number of seconds"),
            ("seconds = 5\n[[produce]]\nafter-seconds = 5", "when all is over"),
            ("members = 5\n[[produce]]\n", "no load has an option members"),
            ("[[produce]]\nname = \"a\"\n[[churn]]\nname = \"a\"", "same name"),
            ("[[compare]]\nbase = \"a\"\n[[churn]]\n", "no load has an option compare"),
        ] {
            let error = loads(text, &whole("")).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_the_whole_runs_comes_to_each_load() {
        let text = "[[produce]]\nname = \"w\"\n[[group]]\nread = true\n[[verify]]\n[[churn]]";
        let all = whole("--live --agents a,b:5 --out there");
        let loads = loads(text, &all).unwrap();
        for load in &loads {
            let target = load.command.target();
            assert_eq!((target.live, target.name.as_deref()), (true, Some(&*load.name)));
            assert_eq!(target.out, Some(Path::new("there").join(&load.name)));
            let is_here = ["group-1", "verify-1"].contains(&&*load.name);
            assert_eq!(target.agents, if is_here { &[][..] } else { &["a", "b:5"][..] }, "{}", load.name);
        }
        assert_eq!(loads.len(), 4);
        for name in ["", ".", "..", "a/b", "/a", "a/"] {
            let text = format!("[[produce]]\nname = {name:?}");
            assert!(super::loads(&text, &all).unwrap_err().contains("no directory"), "{name}");
        }
    }
}
