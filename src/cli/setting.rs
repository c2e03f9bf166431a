//! Settings as they are typed: `NAME=VALUE`, and what was meant by a name that is not known.

use super::client::Client;
use super::failure::{Failure, Result};
use super::operation::configs::{self, Change, Op, Resource};
use crate::config::{NO_EFFECT, Scope, definition, definitions};
use crate::wire::error::ErrorCode;
use std::str::FromStr;

/// `NAME=VALUE`; to a list a value is added by `NAME+=VALUE`, and taken from it by `NAME-=VALUE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting(Change);

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let (name, value) = text.split_once('=').ok_or("not of the form NAME=VALUE")?;
        let (name, op) = match (name.strip_suffix('+'), name.strip_suffix('-')) {
            (Some(name), _) => (name, Op::Append),
            (_, Some(name)) => (name, Op::Subtract),
            _ => (name, Op::Set),
        };
        match name.trim() {
            "" => Err("the name is empty".into()),
            name => Ok(Setting(Change { name: name.to_string(), op, value: Some(value.trim().to_string()) })),
        }
    }
}

/// Names and values, for what is made with them.
pub fn pairs(settings: &[Setting]) -> Vec<(String, String)> {
    settings.iter().map(|Setting(change)| (change.name.clone(), change.value.clone().unwrap_or_default())).collect()
}

pub fn changes(set: &[Setting], delete: &[String]) -> Vec<Change> {
    let delete = delete.iter().map(|name| Change { name: name.clone(), op: Op::Delete, value: None });
    set.iter().map(|Setting(change)| change.clone()).chain(delete).collect()
}

/// Tells of those settings among `changes` that the broker keeps, but does nothing about.
pub fn tell_without_effect(client: &mut Client, resource: &Resource, changes: &[Change]) -> Result<()> {
    let set = changes.iter().filter(|change| change.op != Op::Delete);
    let set: Vec<_> = set.map(|change| (change.name.as_str(), change.value.as_deref().unwrap_or_default())).collect();
    for name in configs::without_effect(client, resource, &set)? {
        eprintln!("klamm: {name} is kept, but {NO_EFFECT}");
    }
    Ok(())
}

/// The names in the form of [`pairs`].
pub fn names(changes: &[Change]) -> Vec<(String, String)> {
    changes.iter().map(|change| (change.name.clone(), String::new())).collect()
}

/// Adds to a broker's refusal the setting that was perhaps meant by a name that nobody knows.
pub fn with_hint(failure: Failure, scope: Scope, settings: &[(String, String)]) -> Failure {
    let refused = matches!(failure.code(), Some(ErrorCode::InvalidConfig | ErrorCode::InvalidRequest));
    let unknown = settings.iter().find(|(name, _)| definition(scope, name).is_none());
    let near = unknown.and_then(|(name, _)| super::nearest(name, definitions(scope).map(|known| known.name)));
    match near.filter(|_| refused) {
        Some(near) => Failure::Other(format!("{failure}; did you mean {near}?")),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        let change = |text: &str| text.parse::<Setting>().map(|Setting(change)| (change.name, change.op, change.value));
        assert_eq!(change("a.b=c=d"), Ok(("a.b".into(), Op::Set, Some("c=d".into()))));
        assert_eq!(change("a+=c"), Ok(("a".into(), Op::Append, Some("c".into()))));
        assert_eq!(change("a-="), Ok(("a".into(), Op::Subtract, Some("".into()))));
        assert!(change("a").is_err() && change("=b").is_err());
    }

    #[test]
    fn unknown_settings_get_a_hint() {
        let hint = |code, name: &str| {
            let failure = Failure::Refused { what: "topic t".into(), code, message: None };
            with_hint(failure, Scope::Topic, &[(name.to_string(), String::new())]).to_string()
        };
        assert_eq!(
            hint(40, "retention.m"),
            "topic t: INVALID_CONFIG: a setting's name or value is not valid; did you mean retention.ms?"
        );
        assert_eq!(hint(40, "retention.ms"), "topic t: INVALID_CONFIG: a setting's name or value is not valid");
        assert_eq!(
            hint(40, "nothing.like.it.at.all"),
            "topic t: INVALID_CONFIG: a setting's name or value is not valid"
        );
        assert_eq!(hint(36, "retention.m"), "topic t: TOPIC_ALREADY_EXISTS: there is a topic of this name already");
    }
}
