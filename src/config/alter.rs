//! Changing settings while the broker runs.

use super::broker::parse_overrides;
use super::definition::{Mode, Scope, definition};
use super::range::Type;
use super::value::split_list;
use crate::wire::codec::{STRING_BYTES_MAX, join_text};
use std::collections::{BTreeMap, HashSet};

/// What IncrementalAlterConfigs does to one setting (KIP-339), with Kafka's number of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AlterOp {
    /// Gives it a value.
    Set = 0,
    /// Takes its value away, so that the default holds.
    Delete = 1,
    /// Adds elements to a list.
    Append = 2,
    /// Takes elements out of a list.
    Subtract = 3,
}

impl AlterOp {
    /// The operation with Kafka's number; `None`: there is no such operation.
    pub fn from_number(number: i8) -> Option<AlterOp> {
        [AlterOp::Set, AlterOp::Delete, AlterOp::Append, AlterOp::Subtract].into_iter().find(|op| *op as i8 == number)
    }
}

/// Longest value in bytes, which is Kafka's limit in characters and that of a string in a message.
pub const VALUE_BYTES_MAX: usize = STRING_BYTES_MAX;

/// Settings of security that Kafka changes for one listener only, under a name with the listener's prefix.
const LISTENER_ONLY: [&str; 10] = [
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// Settings of a listener that may be a default of all brokers.
const LISTENER_CLUSTER_WIDE: [&str; 3] = ["max.connections", "max.connection.creation.rate", "num.network.threads"];

/// The listener's setting that `listener.name.LISTENER.SETTING` sets.
pub(super) fn listener_setting(name: &str) -> Option<&str> {
    Some(name.strip_prefix("listener.name.")?.split_once('.')?.1)
}

/// Applies one operation to a resource's own settings. A list that has no value of its own grows and shrinks from the
/// setting's default. The caller checks the result as a whole ([`super::validate_topic_all`],
/// [`validate_broker_dynamic`]). On an error, whose text is for the client with INVALID_CONFIG, nothing changes.
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
    let value = match (op, definition(scope, name)) {
        (AlterOp::Set, _) => value.to_string(),
        (_, Some(definition)) if definition.value_type == Type::List => {
            let present = current.get(name).map(String::as_str).or(definition.default).unwrap_or("");
            changed_list(present, op, value)
        }
        (_, None) if scope == Scope::Broker => return Err(format!("Unknown config name: {name}")),
        (_, None) => return Err(format!("Unknown {} config name: {name}", format!("{scope:?}").to_lowercase())),
        (_, Some(_)) if scope == Scope::Broker => {
            let op = format!("{op:?}").to_lowercase();
            return Err(format!("Config value {op} is not allowed for config key: {name}"));
        }
        (_, Some(_)) => {
            let op = format!("{op:?}").to_uppercase();
            return Err(format!("Can't {op} to key {name} because its type is not LIST."));
        }
    };
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!(
            "The configuration value cannot be added because it exceeds the maximum value size of {VALUE_BYTES_MAX} bytes."
        ));
    }
    current.insert(name.to_string(), value);
    Ok(())
}

/// The list with the elements of `value` added or taken out. An empty `value` is one empty element, as in Kafka: only a list
/// that is empty itself takes it.
fn changed_list(present: &str, op: AlterOp, value: &str) -> String {
    let mut list = split_list(present);
    let changed: Vec<&str> = value.split(',').map(str::trim).collect();
    if op == AlterOp::Subtract {
        let changed: HashSet<&str> = changed.into_iter().collect();
        list.retain(|element| !changed.contains(element));
    } else {
        let mut known: HashSet<&str> = list.iter().copied().collect();
        list.extend(changed.into_iter().filter(|element| known.insert(element)));
    }
    list.join(",")
}

/// Checks broker settings that somebody wants to set while the broker runs: for one broker, or (`per_broker` false) as
/// defaults for all. What no table knows may be set, as in Kafka: it is kept and shown. The error is for the client, with
/// INVALID_REQUEST as Kafka answers.
pub fn validate_broker_dynamic_all(settings: &BTreeMap<String, String>, per_broker: bool) -> Result<(), String> {
    let names = || settings.keys().map(String::as_str);
    let refuse = |why: &str, wrong: &dyn Fn(&&str) -> bool| {
        let mut wrong = names().filter(wrong).peekable();
        match wrong.peek() {
            Some(_) => Err(format!("{why}: [{}]", join_text(wrong, ", "))),
            None => Ok(()),
        }
    };
    let mode = |name: &str| definition(Scope::Broker, name).map(|definition| definition.mode);
    refuse("Cannot update these configs dynamically", &|name| mode(name) == Some(Mode::ReadOnly))?;
    let why = "These security configs can be dynamically updated only per-listener using the listener prefix";
    refuse(why, &|name| LISTENER_ONLY.contains(name))?;
    for (name, value) in settings {
        if let Some(definition) = definition(Scope::Broker, name) {
            definition.admit(value)?;
        }
        if name == "max.connections.per.ip.overrides" {
            parse_overrides(value).map_err(|why| format!("Invalid value {value} for configuration {name}: {why}"))?;
        }
    }
    let of_one = |name: &&str| match listener_setting(name) {
        Some(setting) => !LISTENER_CLUSTER_WIDE.contains(&setting),
        None => mode(name) == Some(Mode::PerBroker),
    };
    match per_broker {
        true => Ok(()),
        false => refuse("Cannot update these configs at default cluster level, broker id must be specified", &of_one),
    }
}

/// As [`validate_broker_dynamic_all`], of one setting.
pub fn validate_broker_dynamic(name: &str, value: Option<&str>, per_broker: bool) -> Result<(), String> {
    let value = value.ok_or_else(|| format!("Null value not supported for : {name}"))?;
    validate_broker_dynamic_all(&BTreeMap::from([(name.to_string(), value.to_string())]), per_broker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::validate_topic;

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
        topic(&mut current, "cleanup.policy", AlterOp::Append, "").expect("an empty list takes it");
        assert_eq!(current["cleanup.policy"], "");
        topic(&mut current, "cleanup.policy", AlterOp::Append, "keep").expect("the whole is checked elsewhere");
        topic(&mut current, "cleanup.policy", AlterOp::Append, "").expect("the whole is checked elsewhere");
        assert_eq!(current["cleanup.policy"], "keep,");
        topic(&mut current, "cleanup.policy", AlterOp::Subtract, "").expect("nothing is taken out");
        assert!(validate_topic("cleanup.policy", Some("delete,")).expect_err("empty").ends_with("must not be empty."));
    }

    #[test]
    fn values_have_a_limit() {
        let name = "leader.replication.throttled.replicas";
        let mut current = BTreeMap::new();
        topic(&mut current, name, AlterOp::Set, &"1:1,".repeat(VALUE_BYTES_MAX / 4)).expect("short enough");
        let before = current.clone();
        let more: Vec<String> = (0..10_000).map(|index| format!("{index}:1")).collect();
        for (op, value) in [(AlterOp::Append, more.join(",")), (AlterOp::Set, "x".repeat(VALUE_BYTES_MAX + 1))] {
            assert_eq!(
                topic(&mut current, name, op, &value),
                Err(
                    "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes."
                        .into()
                )
            );
            assert_eq!(current, before);
        }
    }

    #[test]
    fn values_are_set_and_removed() {
        let mut current = BTreeMap::new();
        topic(&mut current, "retention.ms", AlterOp::Set, "5").expect("valid");
        assert_eq!(current["retention.ms"], "5");
        assert_eq!(
            topic(&mut current, "no.such", AlterOp::Append, "1"),
            Err("Unknown topic config name: no.such".into())
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
        assert_eq!(set("node.id", "4", true), Err("Cannot update these configs dynamically: [node.id]".into()));
        assert_eq!(set("message.max.bytes", "5", true), Ok(()));
        assert_eq!(set("leader.replication.throttled.rate", "5", false), Ok(()));
        assert!(set("message.max.bytes", "x", true).is_err());
        assert!(set("ssl.client.auth", "none", false).expect_err("per broker").contains("broker id must be specified"));
        assert_eq!(set("ssl.client.auth", "none", true), Ok(()));
        assert!(set("max.connections.per.ip.overrides", "h:1", true).is_err());
        // What is not known is kept.
        assert_eq!((set("no.such", "1", true), set("no.such", "1", false)), (Ok(()), Ok(())));
        assert!(validate_broker_dynamic("message.max.bytes", None, true).is_err());
    }

    #[test]
    fn settings_of_security_and_of_listeners_need_the_listeners_name() {
        let set = |names: &[&str], per_broker| {
            let settings = names.iter().map(|name| (name.to_string(), "1".to_string())).collect();
            validate_broker_dynamic_all(&settings, per_broker)
        };
        let listener_only =
            "These security configs can be dynamically updated only per-listener using the listener prefix: ";
        for per_broker in [true, false] {
            assert_eq!(
                set(&["ssl.truststore.type", "ssl.keystore.password"], per_broker),
                Err(format!("{listener_only}[ssl.keystore.password, ssl.truststore.type]"))
            );
            assert_eq!(set(&["listener.name.x.max.connections"], per_broker), Ok(()));
        }
        let names = ["listener.name.x.ssl.keystore.location", "listener.name.x.no.such", "listener.name.x.node.id"];
        assert_eq!(set(&names, true), Ok(()));
        assert_eq!(
            set(&names, false),
            Err("Cannot update these configs at default cluster level, broker id must be specified: \
                 [listener.name.x.no.such, listener.name.x.node.id, listener.name.x.ssl.keystore.location]"
                .into())
        );
    }
}
