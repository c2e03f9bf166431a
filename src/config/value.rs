//! Values: their types and ranges, checked with Kafka's words.

use super::definition::Definition;
use super::range::{Elements, Range, Type};

/// The longest list of a value's elements that is looked at, far above what any setting needs.
const LIST_LEN_MAX: usize = 10_000;
/// The highest CPU number that `cores` takes: what Linux's default CPU set holds.
const CORE_MAX: usize = 1023;

/// The elements of a list, trimmed; an empty text has none.
pub fn split_list(value: &str) -> Vec<&str> {
    if value.trim().is_empty() {
        return Vec::new();
    }
    value.split(',').map(str::trim).collect()
}

/// CPU numbers from `0,2-3`, in that order, each once. Empty means none named.
pub fn parse_cores(value: &str) -> Result<Vec<usize>, String> {
    let mut cores: Vec<usize> = Vec::new();
    for part in split_list(value) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|&core| core <= CORE_MAX);
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(format!("{part} is not a CPU number 0 to {CORE_MAX} or a range of them like 2-3"));
        };
        if first > last {
            return Err(format!("the range {part} is empty"));
        }
        for core in first..=last {
            if cores.contains(&core) {
                return Err(format!("CPU {core} is named twice"));
            }
            cores.push(core);
        }
    }
    Ok(cores)
}

impl Definition {
    /// A value that the setting takes, as the broker reads it: without blanks around it, numbers and lists in one form.
    pub(super) fn canonical(&self, value: &str) -> String {
        let trimmed = value.trim();
        match self.value_type {
            Type::Boolean => trimmed.to_ascii_lowercase(),
            Type::Int | Type::Short | Type::Long => {
                trimmed.parse::<i64>().map_or_else(|_| trimmed.to_string(), |number| number.to_string())
            }
            Type::Double => trimmed.parse::<f64>().map_or_else(|_| trimmed.to_string(), |number| format!("{number:?}")),
            Type::List => split_list(value).join(","),
            Type::String | Type::Class | Type::Password => trimmed.to_string(),
        }
    }

    /// Whether the setting takes this value; if not, Kafka's words why.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let invalid = |why: String| Err(format!("Invalid value {value} for configuration {}: {why}", self.name));
        let trimmed = value.trim();
        match self.value_type {
            Type::Boolean => match trimmed.eq_ignore_ascii_case("true") || trimmed.eq_ignore_ascii_case("false") {
                true => Ok(()),
                false => invalid("Expected value to be either true or false".into()),
            },
            Type::Int => self.check_integer(value, i64::from(i32::MIN), i64::from(i32::MAX), "INT"),
            Type::Short => self.check_integer(value, i64::from(i16::MIN), i64::from(i16::MAX), "SHORT"),
            Type::Long => self.check_integer(value, i64::MIN, i64::MAX, "LONG"),
            Type::Double => match trimmed.parse::<f64>() {
                Ok(number) if number.is_finite() => match self.range {
                    Range::Real { min, .. } if number < min => invalid(format!("Value must be at least {min}")),
                    Range::Real { max, .. } if number > max => invalid(format!("Value must be no more than {max}")),
                    _ => Ok(()),
                },
                _ => invalid("Not a number of type DOUBLE".into()),
            },
            Type::List => self.check_list(value),
            Type::String | Type::Class | Type::Password => match &self.range {
                Range::NonEmpty if value.is_empty() => invalid("String must be non-empty".into()),
                Range::OneOf { words, ignore_case } if !is_one_of(trimmed, words, *ignore_case) => {
                    let case = if *ignore_case { " (case insensitive)" } else { "" };
                    invalid(format!("String must be one of{case}: {}", words.join(", ")))
                }
                Range::Cores => parse_cores(value).map(|_| ()).or_else(invalid),
                _ => Ok(()),
            },
        }
    }

    fn check_integer(&self, value: &str, type_min: i64, type_max: i64, type_name: &str) -> Result<(), String> {
        let invalid = |why: String| Err(format!("Invalid value {value} for configuration {}: {why}", self.name));
        let Some(number) = value.trim().parse::<i64>().ok().filter(|n| (type_min..=type_max).contains(n)) else {
            return invalid(format!("Not a number of type {type_name}"));
        };
        match self.range {
            Range::Integer { also: Some(also), .. } if number == also => Ok(()),
            Range::Integer { min, max, also: Some(also) } if !(min..=max).contains(&number) => {
                invalid(format!("Value must be between {min} and {max} or equal to {also}"))
            }
            Range::Integer { min, .. } if number < min => invalid(format!("Value must be at least {min}")),
            Range::Integer { max, .. } if number > max => invalid(format!("Value must be no more than {max}")),
            _ => Ok(()),
        }
    }

    fn check_list(&self, value: &str) -> Result<(), String> {
        let list = split_list(value);
        let name = self.name;
        let Range::List { elements, nonempty } = &self.range else {
            return Ok(());
        };
        if list.len() > LIST_LEN_MAX {
            return Err(format!("Configuration '{name}' must not have more than {LIST_LEN_MAX} values."));
        }
        if *nonempty && list.is_empty() {
            return Err(format!("Configuration '{name}' must not be empty."));
        }
        let mut sorted = list.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("Configuration '{name}' values must not be duplicated."));
        }
        if sorted.first().is_some_and(|first| first.is_empty()) {
            return Err(format!("Configuration '{name}' values must not be empty."));
        }
        let wrong = |why: String| Err(format!("Invalid value {value} for configuration {name}: {why}"));
        match elements {
            Elements::Any => Ok(()),
            Elements::OneOf(words) => match list.iter().find(|word| !is_one_of(word, words, false)) {
                Some(other) => Err(format!(
                    "Invalid value {other} for configuration {name}: String must be one of: {}",
                    words.join(", ")
                )),
                None => Ok(()),
            },
            Elements::Hosts { with_id } => match list.iter().find(|host| !is_host(host, *with_id)) {
                Some(host) => wrong(format!("{host} is not {}HOST:PORT", if *with_id { "ID@" } else { "" })),
                None => Ok(()),
            },
            Elements::Replicas if list == ["*"] || list.iter().all(|replica| is_replica(replica)) => Ok(()),
            Elements::Replicas => wrong(format!(
                "{name} must be the literal '*' or a list of replicas in the following format: \
                 [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            )),
            Elements::Matches(words) => {
                let known = |part: &&&str| part.split_once('=').is_some_and(|(word, _)| words.contains(&word.trim()));
                match list.iter().find(|part| !known(part)) {
                    Some(part) => wrong(format!("{part} must be one of {} and =REGEX", words.join(", "))),
                    None => Ok(()),
                }
            }
        }
    }
}

/// A word `by_duration:ISO8601` of the table stands for every value with that start.
fn is_one_of(value: &str, words: &[&str], ignore_case: bool) -> bool {
    words.iter().any(|word| match word.split_once(':') {
        Some((start, _)) => value.strip_prefix(start).is_some_and(|rest| rest.starts_with(':')),
        None if ignore_case => word.eq_ignore_ascii_case(value),
        None => *word == value,
    })
}

fn is_host(text: &str, with_id: bool) -> bool {
    let host = match text.split_once('@') {
        Some((id, host)) if with_id && id.parse::<i32>().is_ok_and(|id| id >= 0) => host,
        None if !with_id => text,
        _ => return false,
    };
    host.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn is_replica(text: &str) -> bool {
    let number = |text: &str| text.parse::<i32>().is_ok_and(|number| number >= 0);
    text.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Scope, definition};

    fn check(scope: Scope, name: &str, value: &str) -> Result<(), String> {
        definition(scope, name).expect(name).check(value)
    }

    #[test]
    fn wrong_values_are_refused_with_kafkas_words() {
        for (name, value, expected) in [
            ("segment.bytes", "-2", "Invalid value -2 for configuration segment.bytes: Value must be at least 1048576"),
            (
                "segment.bytes",
                "3000000000",
                "Invalid value 3000000000 for configuration segment.bytes: Not a number of type INT",
            ),
            ("retention.ms", "x", "Invalid value x for configuration retention.ms: Not a number of type LONG"),
            ("retention.ms", "", "Invalid value  for configuration retention.ms: Not a number of type LONG"),
            (
                "preallocate",
                "yes",
                "Invalid value yes for configuration preallocate: Expected value to be either true or false",
            ),
            (
                "compression.gzip.level",
                "0",
                "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
            ),
            (
                "min.cleanable.dirty.ratio",
                "1.5",
                "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
            ),
            (
                "min.cleanable.dirty.ratio",
                "NaN",
                "Invalid value NaN for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE",
            ),
            (
                "compression.type",
                "none",
                "Invalid value none for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
            ),
            (
                "cleanup.policy",
                "delete,keep",
                "Invalid value keep for configuration cleanup.policy: String must be one of: compact, delete",
            ),
            ("cleanup.policy", "delete, delete", "Configuration 'cleanup.policy' values must not be duplicated."),
            ("cleanup.policy", "delete,", "Configuration 'cleanup.policy' values must not be empty."),
        ] {
            assert_eq!(check(Scope::Topic, name, value), Err(expected.to_string()));
        }
        let too_high = check(Scope::Topic, "compression.lz4.level", "18").expect_err("18");
        assert!(too_high.ends_with("Value must be no more than 17"));
        assert!(check(Scope::Topic, "leader.replication.throttled.replicas", "0:1,*").is_err());
        assert!(check(Scope::Broker, "listeners", " ").is_err());
        assert!(check(Scope::Broker, "controller.quorum.voters", "host:9093").is_err());
        assert!(check(Scope::ClientMetrics, "match", "client=.*").is_err());
    }

    #[test]
    fn right_values_pass() {
        for (name, value) in [
            ("cleanup.policy", ""),
            ("cleanup.policy", "compact , delete"),
            ("compression.gzip.level", "-1"),
            ("compression.zstd.level", "-131072"),
            ("preallocate", "TRUE"),
            ("retention.ms", " -1 "),
            ("compression.type", " gzip "),
            ("leader.replication.throttled.replicas", "*"),
            ("leader.replication.throttled.replicas", "0:1,1:2"),
            ("ack.durability", "memory"),
        ] {
            assert_eq!(check(Scope::Topic, name, value), Ok(()), "{name}");
        }
        assert_eq!(check(Scope::Broker, "group.consumer.migration.policy", "upgrade"), Ok(()));
        assert_eq!(check(Scope::Broker, "controller.quorum.voters", "1@host:9093,2@[::1]:9093"), Ok(()));
        assert_eq!(check(Scope::Group, "share.auto.offset.reset", "by_duration:PT1H"), Ok(()));
        assert_eq!(check(Scope::ClientMetrics, "match", "client_id=a.*"), Ok(()));
    }

    #[test]
    fn cores_are_numbers_and_ranges() {
        assert_eq!(parse_cores(""), Ok(vec![]));
        assert_eq!(parse_cores("0, 2-4,7"), Ok(vec![0, 2, 3, 4, 7]));
        for wrong in ["a", "3-2", "1,1", "1-3,2", "-1", "1024", "1,,2", "0-99999999999"] {
            assert!(parse_cores(wrong).is_err(), "{wrong}");
        }
        assert!(check(Scope::Broker, "cores", "0-").is_err());
    }
}
