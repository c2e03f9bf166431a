//! Changing settings while the broker runs.

use std::collections::BTreeMap;

use super::broker::parse_overrides;
use super::definition::{Mode, Scope, Type, definition};
use super::topic::validate_topic;
use super::value::split_list;

/// What IncrementalAlterConfigs does to one setting (KIP-339), with Kafka's number of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AlterOp {
    Set = 0,
    Delete = 1,
    /// Adds elements to a list.
    Append = 2,
    /// Takes elements out of a list.
    Subtract = 3,
}

impl AlterOp {
    pub fn from_number(number: i8) -> Option<AlterOp> {
        [AlterOp::Set, AlterOp::Delete, AlterOp::Append, AlterOp::Subtract].into_iter().find(|op| *op as i8 == number)
    }
}

/// Applies one operation to a resource's own settings. A list that has no value of its own grows and shrinks from the
/// setting's default. Checks the name and the new value by itself; the caller checks the result as a whole
/// ([`super::validate_topic_all`], [`validate_broker_dynamic`]). On an error, whose
/// text is for the client, nothing changes.
pub fn alter(
    scope: Scope,
    current: &mut BTreeMap<String, String>,
    name: &str,
    op: AlterOp,
    value: Option<&str>,
) -> Result<(), String> {
    if op == AlterOp::Delete {
        // Also names that are not known: what an older version stored must be removable.
        current.remove(name);
        return Ok(());
    }
    let value = value.ok_or_else(|| format!("Null value not supported for : {name}"))?;
    let Some(definition) = definition(scope, name) else {
        let scope = format!("{scope:?}").to_lowercase();
        return Err(format!("Unknown {scope} config name: {name}"));
    };
    let value = if op == AlterOp::Set {
        value.to_string()
    } else {
        if definition.value_type != Type::List {
            let op = format!("{op:?}").to_uppercase();
            return Err(format!("Can't {op} to key {name} because its type is not LIST."));
        }
        let mut list = split_list(current.get(name).map(String::as_str).or(definition.default).unwrap_or(""));
        let changed = split_list(value);
        if op == AlterOp::Subtract {
            list.retain(|element| !changed.contains(element));
        } else {
            for element in changed {
                if !list.contains(&element) {
                    list.push(element);
                }
            }
        }
        list.join(",")
    };
    match scope {
        Scope::Topic => validate_topic(name, Some(&value))?,
        _ => definition.admit(&value)?,
    }
    current.insert(name.to_string(), value);
    Ok(())
}

/// Checks a broker setting that somebody wants to set while the broker runs: for one broker, or (`per_broker` false) as a
/// default for all. The error is for the client, with INVALID_REQUEST as Kafka answers.
pub fn validate_broker_dynamic(name: &str, value: Option<&str>, per_broker: bool) -> Result<(), String> {
    let definition = definition(Scope::Broker, name).ok_or_else(|| format!("Unknown broker config name: {name}"))?;
    match definition.mode {
        Mode::ReadOnly => return Err(format!("Cannot update these configs dynamically: Set({name})")),
        Mode::PerBroker if !per_broker => {
            return Err(format!(
                "Cannot update these configs at default cluster level, broker id must be specified: Set({name})"
            ));
        }
        _ => {}
    }
    let value = value.ok_or_else(|| format!("Null value not supported for : {name}"))?;
    definition.admit(value)?;
    if name == "max.connections.per.ip.overrides" {
        parse_overrides(value).map_err(|why| format!("Invalid value {value} for configuration {name}: {why}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(current: &mut BTreeMap<String, String>, name: &str, op: AlterOp, value: &str) -> Result<(), String> {
        alter(Scope::Topic, current, name, op, Some(value))
    }

    #[test]
    fn lists_grow_and_shrink() {
        let mut current = BTreeMap::new();
        topic(&mut current, "cleanup.policy", AlterOp::Append, "compact").expect("from the default");
        assert_eq!(current["cleanup.policy"], "delete,compact");
        topic(&mut current, "cleanup.policy", AlterOp::Append, "compact , delete").expect("nothing new");
        assert_eq!(current["cleanup.policy"], "delete,compact");
        topic(&mut current, "cleanup.policy", AlterOp::Subtract, "delete").expect("there");
        assert_eq!(current["cleanup.policy"], "compact");
        topic(&mut current, "cleanup.policy", AlterOp::Subtract, "compact").expect("there");
        assert_eq!(current["cleanup.policy"], "");
        assert!(topic(&mut current, "cleanup.policy", AlterOp::Append, "keep").is_err());
        assert_eq!(current["cleanup.policy"], "");
    }

    #[test]
    fn values_are_set_and_removed() {
        let mut current = BTreeMap::new();
        topic(&mut current, "retention.ms", AlterOp::Set, "5").expect("valid");
        assert_eq!(current["retention.ms"], "5");
        assert!(topic(&mut current, "retention.ms", AlterOp::Set, "-2").is_err());
        assert!(
            topic(&mut current, "no.such", AlterOp::Set, "1")
                .expect_err("unknown")
                .contains("Unknown topic config name")
        );
        assert!(alter(Scope::Topic, &mut current, "retention.ms", AlterOp::Set, None).is_err());
        assert_eq!(
            topic(&mut current, "retention.ms", AlterOp::Append, "5"),
            Err("Can't APPEND to key retention.ms because its type is not LIST.".into())
        );
        assert_eq!(current.len(), 1);
        alter(Scope::Topic, &mut current, "retention.ms", AlterOp::Delete, None).expect("always");
        assert!(current.is_empty());
        assert_eq!([0, 1, 2, 3, 4].map(AlterOp::from_number)[4], None);
        assert_eq!(AlterOp::from_number(3), Some(AlterOp::Subtract));
    }

    #[test]
    fn only_dynamic_broker_settings_change() {
        let set = |name, value, per_broker| validate_broker_dynamic(name, Some(value), per_broker);
        assert_eq!(set("node.id", "4", true), Err("Cannot update these configs dynamically: Set(node.id)".into()));
        assert_eq!(set("message.max.bytes", "5", true), Ok(()));
        assert_eq!(set("leader.replication.throttled.rate", "5", false), Ok(()));
        assert!(set("message.max.bytes", "x", true).is_err());
        assert!(set("ssl.client.auth", "none", false).expect_err("per broker").contains("broker id must be specified"));
        assert_eq!(set("ssl.client.auth", "none", true), Ok(()));
        assert!(set("max.connections.per.ip.overrides", "h:1", true).is_err());
        assert!(set("no.such", "1", true).is_err());
        assert!(validate_broker_dynamic("message.max.bytes", None, true).is_err());
    }
}
