//! Settings of consumer groups, each under the group's name (KIP-848, KIP-932, KIP-1071): checked, stored and described as
//! Kafka does. The broker has no groups of these protocols, so none of them has an effect.

use super::broker::Config;
use super::definition::{Definition, Scope, definition};
use super::topic::inherited;
use std::collections::BTreeMap;

/// Of each protocol the setting that must be larger, and the one that must be smaller.
const LARGER_THAN: [(&str, &str); 3] = [
    ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"),
    ("share.session.timeout.ms", "share.heartbeat.interval.ms"),
    ("streams.session.timeout.ms", "streams.heartbeat.interval.ms"),
];

/// Checks one group setting that somebody wants to set. The error is for the client, with INVALID_CONFIG.
pub fn validate_group(name: &str, value: Option<&str>) -> Result<(), String> {
    let definition = definition(Scope::Group, name).ok_or_else(|| format!("Unknown group config name: {name}"))?;
    let value = value.ok_or_else(|| format!("Null value not supported for : {name}"))?;
    definition.admit(value)
}

/// Checks all of a group's own settings together, as they would be after a change: each by itself, each between the broker's
/// bounds of it, and sessions longer than heartbeats.
pub fn validate_group_all(overrides: &BTreeMap<String, String>, config: &Config) -> Result<(), String> {
    for (name, value) in overrides {
        validate_group(name, Some(value))?;
        let definition = definition(Scope::Group, name).expect("it was checked");
        check_bounds(definition, value, config)?;
    }
    let number = |name: &str| -> Option<i64> {
        let inherited = || inherited(definition(Scope::Group, name)?, config).map(|(value, _)| value);
        overrides.get(name).cloned().or_else(inherited)?.trim().parse().ok()
    };
    for (larger, smaller) in LARGER_THAN {
        let given = overrides.contains_key(larger) || overrides.contains_key(smaller);
        if given && number(larger) <= number(smaller) {
            return Err(format!("{larger} must be greater than {smaller}"));
        }
    }
    Ok(())
}

fn check_bounds(definition: &Definition, value: &str, config: &Config) -> Result<(), String> {
    let Ok(value) = value.trim().parse::<i64>() else {
        return Ok(());
    };
    let bound = |name: Option<&'static str>| Some((name?, config.get(name?)?.0.trim().parse::<i64>().ok()?));
    match (bound(definition.bounds.0), bound(definition.bounds.1)) {
        (Some((least, min)), _) if value < min => {
            Err(format!("{} must be greater than or equal to {least}", definition.name))
        }
        (_, Some((most, max))) if value > max => {
            Err(format!("{} must be less than or equal to {most}", definition.name))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::definitions;
    use crate::config::fixture::{config, map};

    #[test]
    fn values_lie_between_the_brokers_bounds() {
        let default = Config::default();
        for (name, value, expected) in [
            ("consumer.session.timeout.ms", "50000", ""),
            (
                "consumer.session.timeout.ms",
                "44999",
                "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
            ),
            (
                "consumer.session.timeout.ms",
                "60001",
                "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms",
            ),
            (
                "streams.num.standby.replicas",
                "3",
                "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas",
            ),
            ("share.isolation.level", "read_committed", ""),
            (
                "share.isolation.level",
                "x",
                "Invalid value x for configuration share.isolation.level: String must be one of: read_committed, read_uncommitted",
            ),
            ("no.such", "1", "Unknown group config name: no.such"),
        ] {
            let error = validate_group_all(&map(&[(name, value)]), &default).err().unwrap_or_default();
            assert_eq!(error, expected, "{name}={value}");
        }
        let wide = config(&[("group.consumer.min.session.timeout.ms", "1000")]);
        assert_eq!(validate_group_all(&map(&[("consumer.session.timeout.ms", "9000")]), &wide), Ok(()));
        assert!(validate_group("share.isolation.level", None).is_err());
    }

    #[test]
    fn sessions_outlast_heartbeats() {
        let own = [("consumer.session.timeout.ms", "45000"), ("consumer.heartbeat.interval.ms", "15000")];
        assert_eq!(validate_group_all(&map(&own), &Config::default()), Ok(()));
        let config = config(&[("group.consumer.min.session.timeout.ms", "100")]);
        let own = map(&[("consumer.session.timeout.ms", "5000")]);
        let expected = "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms";
        assert_eq!(validate_group_all(&own, &config), Err(expected.into()), "the heartbeat is the broker's");
        assert_eq!(validate_group_all(&map(&[]), &config), Ok(()));
    }

    #[test]
    fn every_number_of_a_group_is_within_its_bounds_by_default() {
        let config = Config::default();
        let mut bounded = 0;
        for definition in definitions(Scope::Group) {
            if let Some((value, _)) = inherited(definition, &config) {
                assert_eq!(check_bounds(definition, &value, &config), Ok(()), "{}", definition.name);
                bounded += usize::from(definition.bounds != (None, None));
            }
        }
        assert!(bounded >= 15, "{bounded}");
    }
}
