//! Options as Kafka's tools read them: `--name value` or `--name=value`, one hyphen as good as two, in any order.

use super::End;
use std::fmt::Write;

/// What follows an option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    Nothing,
    Value,
    /// A value, unless the next word is an option.
    Maybe,
    /// An option of the tool that this program does not have; the text says why.
    Refused(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub name: &'static str,
    pub takes: Takes,
    pub about: &'static str,
}

pub const fn flag(name: &'static str, about: &'static str) -> Spec {
    Spec { name, takes: Takes::Nothing, about }
}

pub const fn value(name: &'static str, about: &'static str) -> Spec {
    Spec { name, takes: Takes::Value, about }
}

pub const fn maybe(name: &'static str, about: &'static str) -> Spec {
    Spec { name, takes: Takes::Maybe, about }
}

pub const fn refused(name: &'static str, why: &'static str) -> Spec {
    Spec { name, takes: Takes::Refused(why), about: "" }
}

/// Options that every tool has.
const COMMON: [Spec; 2] = [flag("help", "Print this."), flag("version", "Print the version.")];
/// Width of the usage's first column.
const NAME_WIDTH: usize = 40;

/// The options of a command line.
#[derive(Debug)]
pub struct Given {
    values: Vec<(&'static str, Option<String>)>,
}

impl Given {
    /// Reads `arguments`. The error is what Kafka's tools say.
    pub fn read(specs: &[Spec], arguments: &[String]) -> Result<Given, String> {
        let mut values = Vec::new();
        let mut words = arguments.iter().peekable();
        while let Some(word) = words.next() {
            if word == "--" {
                break;
            }
            let Some(named) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                // Words that are no options are passed over, as by Kafka's tools.
                continue;
            };
            let (name, inline) = named.split_once('=').map_or((named, None), |(name, value)| (name, Some(value)));
            let Some(spec) = specs.iter().chain(&COMMON).find(|spec| spec.name == name) else {
                let near = crate::cli::nearest(name, specs.iter().map(|spec| spec.name));
                let hint = near.map_or(String::new(), |near| format!(" (did you mean --{near}?)"));
                return Err(format!("{name} is not a recognized option{hint}"));
            };
            let is_value = |next: &&String| !next.starts_with('-') || next.parse::<f64>().is_ok();
            let value = match (spec.takes, inline) {
                (Takes::Refused(why), _) => return Err(format!("Option --{name} is not supported: {why}")),
                (Takes::Nothing, _) => None,
                (_, Some(inline)) => Some(inline.to_string()),
                (Takes::Maybe, None) => words.next_if(|next| !next.starts_with('-')).cloned(),
                (Takes::Value, None) => match words.next_if(is_value) {
                    Some(value) => Some(value.clone()),
                    None => return Err(format!("Option {name} requires an argument")),
                },
            };
            values.push((spec.name, value));
        }
        Ok(Given { values })
    }

    pub fn has(&self, name: &str) -> bool {
        self.values.iter().any(|(given, _)| *given == name)
    }

    /// Every value of an option, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let values = self.values.iter().filter(|(given, _)| *given == name);
        values.filter_map(|(_, value)| value.as_deref()).collect()
    }

    /// The names that were given, in order, of those in `names`.
    pub fn order<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'static str> + 'a {
        self.values.iter().map(|(name, _)| *name).filter(move |name| names.contains(name))
    }

    /// The value of an option that may be given once.
    pub fn one(&self, name: &str) -> Result<Option<&str>, End> {
        match self.all(name)[..] {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            _ => Err(End::Said(format!("Found multiple arguments for option {name}, but you asked for only one"))),
        }
    }

    /// The same as a number.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, End> {
        let parse = |value: &str| value.parse().map_err(|_| End::Said(cannot_parse(name, value)));
        self.one(name)?.map(parse).transpose()
    }

    /// How many of some options are given.
    pub fn count(&self, names: &[&str]) -> usize {
        names.iter().filter(|name| self.has(name)).count()
    }

    /// Each of these must be given.
    pub fn require(&self, names: &[&str]) -> Result<(), End> {
        match names.iter().find(|name| !self.has(name)) {
            Some(missing) => Err(End::Usage(format!("Missing required argument \"[{missing}]\""))),
            None => Ok(()),
        }
    }

    /// With `used`, none of `others` may be given.
    pub fn exclude(&self, used: &str, others: &[&str]) -> Result<(), End> {
        let other = others.iter().find(|other| self.has(used) && **other != used && self.has(other));
        match other {
            Some(other) => Err(End::Usage(format!("Option \"[{used}]\" can't be used with option \"[{other}]\""))),
            None => Ok(()),
        }
    }
}

pub fn cannot_parse(name: &str, value: &str) -> String {
    format!("Cannot parse argument '{value}' of option {name}")
}

/// All options, by name.
pub fn usage(specs: &[Spec]) -> String {
    let mut sorted: Vec<&Spec> = specs.iter().chain(&COMMON).collect();
    sorted.retain(|spec| !matches!(spec.takes, Takes::Refused(_)));
    sorted.sort_by_key(|spec| spec.name);
    let mut text = format!("{:<NAME_WIDTH$}{}\n{:<NAME_WIDTH$}{}\n", "Option", "Description", "------", "-----------");
    for spec in sorted {
        let value = match spec.takes {
            Takes::Value => " <String>",
            Takes::Maybe => " [String]",
            Takes::Nothing | Takes::Refused(_) => "",
        };
        let name = format!("--{}{value}", spec.name);
        writeln!(text, "{name:<NAME_WIDTH$}{}", spec.about).expect("a string takes text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: [Spec; 4] = [value("topic", "t"), flag("list", "l"), maybe("state", "s"), refused("old", "it is old")];

    fn read(line: &str) -> Result<Given, String> {
        let words: Vec<String> = line.split(' ').map(str::to_string).collect();
        Given::read(&SPECS, &words)
    }

    #[test]
    fn options_are_read_in_every_form() {
        let given = read("--topic a -topic b --topic=c=d --list --state --topic -5 word").unwrap();
        assert_eq!(given.all("topic"), ["a", "b", "c=d", "-5"]);
        assert!(given.has("list") && given.has("state") && given.all("state").is_empty());
        assert_eq!(given.count(&["list", "help"]), 1);
        assert_eq!(read("--state Stable").unwrap().one("state").ok(), Some(Some("Stable")));
        assert!(given.one("topic").is_err());
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(read("--topics a").unwrap_err(), "topics is not a recognized option (did you mean --topic?)");
        assert_eq!(read("--topic").unwrap_err(), "Option topic requires an argument");
        assert_eq!(read("--topic --list").unwrap_err(), "Option topic requires an argument");
        assert_eq!(read("--old x").unwrap_err(), "Option --old is not supported: it is old");
        assert!(read("--list").unwrap().require(&["topic"]).is_err());
        assert!(read("--list --state").unwrap().exclude("list", &["state"]).is_err());
        assert!(usage(&SPECS).contains("--topic <String>"));
    }
}
