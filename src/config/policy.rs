//! What this broker's owner allows topics to be: names and sizes (our own settings, in place of Kafka's Java policies).

use super::broker::Config;

impl Config {
    /// Whether a topic of this name may have so many partitions, and so many replicas of each. The error is for the client,
    /// with POLICY_VIOLATION.
    pub fn check_topic(&self, name: &str, partitions: i32, replication_factor: i16) -> Result<(), String> {
        let patterns = &self.topic_name_patterns;
        if !patterns.is_empty() && !patterns.iter().any(|pattern| matches(pattern, name)) {
            return Err(format!("Topic '{name}' matches none of topic.name.patterns={}.", patterns.join(",")));
        }
        let partitions_max = self.topic_partitions_max;
        if partitions > partitions_max {
            return Err(format!(
                "Topic '{name}' would have {partitions} partitions; topic.partitions.max={partitions_max}."
            ));
        }
        let (min, max) = (self.topic_replication_factor_min, self.topic_replication_factor_max);
        let factor = i32::from(replication_factor);
        if factor < min || factor > max {
            return Err(format!(
                "Topic '{name}' would have {factor} replicas; topic.replication.factor.min={min}, \
                 topic.replication.factor.max={max}."
            ));
        }
        Ok(())
    }
}

/// Whether `name` is the pattern, in which each `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().expect("a split has a part");
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    // The earliest place for each part leaves most to those behind it.
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &[(&str, &str)], name: &str, partitions: i32, factor: i16) -> Result<(), String> {
        crate::config::fixture::config(settings).check_topic(name, partitions, factor)
    }

    #[test]
    fn nothing_is_forbidden_by_default() {
        assert_eq!(check(&[], "any", i32::MAX, i16::MAX), Ok(()));
    }

    #[test]
    fn names_sizes_and_replicas_may_be_limited() {
        let settings = [
            ("topic.name.patterns", "orders-*,*.log"),
            ("topic.partitions.max", "12"),
            ("topic.replication.factor.min", "2"),
            ("topic.replication.factor.max", "3"),
        ];
        assert_eq!(check(&settings, "orders-new", 12, 2), Ok(()));
        assert_eq!(check(&settings, "app.log", 1, 3), Ok(()));
        for (name, partitions, factor, expected) in [
            ("Orders-new", 1, 2, "Topic 'Orders-new' matches none of topic.name.patterns=orders-*,*.log."),
            ("app.log", 13, 2, "Topic 'app.log' would have 13 partitions; topic.partitions.max=12."),
            ("app.log", 1, 1, "Topic 'app.log' would have 1 replicas; topic.replication.factor.min=2, "),
            ("app.log", 1, 4, "Topic 'app.log' would have 4 replicas;"),
        ] {
            let error = check(&settings, name, partitions, factor).expect_err(name);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_star_is_any_text() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "a", true),
            ("*b", "ab", true),
            ("*b", "ba", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("a**b", "ab", true),
            ("*bb*b", "bbb", true),
            ("*bb*b", "bb", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
