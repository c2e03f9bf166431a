//! Types and ranges of values, as the tables write them.

/// Type of a value, with Kafka's number of it in DescribeConfigs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// `true` or `false`, in any case.
    Boolean = 1,
    /// Any text.
    String = 2,
    /// A number of 32 bits.
    Int = 3,
    /// A number of 16 bits.
    Short = 4,
    /// A number of 64 bits.
    Long = 5,
    /// A number with a fraction.
    Double = 6,
    /// Texts between commas.
    List = 7,
    /// The name of a Java class.
    Class = 8,
    /// A text that is never shown.
    Password = 9,
}

/// What values a setting takes besides what its type says.
#[derive(Debug, PartialEq)]
pub(super) enum Range {
    Any,
    NonEmpty,
    /// Both ends inclusive; `also` is allowed besides.
    Integer {
        min: i64,
        max: i64,
        also: Option<i64>,
    },
    Real {
        min: f64,
        max: f64,
    },
    OneOf {
        words: Vec<&'static str>,
        ignore_case: bool,
    },
    List {
        elements: Elements,
        nonempty: bool,
    },
    Cores,
}

/// What the elements of a list are.
#[derive(Debug, PartialEq)]
pub(super) enum Elements {
    Any,
    OneOf(Vec<&'static str>),
    /// `HOST:PORT`, or `ID@HOST:PORT`.
    Hosts {
        with_id: bool,
    },
    /// `PARTITION:BROKER`, or a `*` alone.
    Replicas,
    /// `WORD=REGEX` with one of these words.
    Matches(Vec<&'static str>),
}

impl Range {
    /// Reads the range column of a table; a mistake there is ours.
    pub(super) fn parse(value_type: Type, text: &'static str) -> Range {
        // `nonnull` and `,null` say nothing more: a value that is given is never null.
        let text = text.strip_suffix(",null").unwrap_or(text);
        if let Some(list) = text.strip_prefix("list") {
            assert_eq!(value_type, Type::List);
            let (elements, nonempty) = match list.strip_suffix(",nonempty") {
                Some(elements) => (elements, true),
                None => (list, false),
            };
            return Range::List { elements: Elements::parse(elements), nonempty };
        }
        if let Some(words) = braced(text.strip_prefix("nocase").unwrap_or(text)) {
            return Range::OneOf { words, ignore_case: text.starts_with("nocase") };
        }
        match text {
            "-" | "nonnull" => Range::Any,
            "nonempty" => Range::NonEmpty,
            "cores" => Range::Cores,
            _ if value_type == Type::Double => {
                let (min, max) = text.split_once("..").expect("a range of doubles");
                Range::Real { min: min.parse().expect("lowest"), max: max.parse().expect("highest") }
            }
            _ => {
                let (also, range) = match text.split_once('|') {
                    Some((also, range)) => (Some(also.parse().expect("a number")), range),
                    None => (None, text),
                };
                let (min, max) = range.split_once("..").unwrap_or_else(|| panic!("unknown range {text}"));
                let end = |text: &str, open| {
                    if text.is_empty() { open } else { text.parse().expect("a number") }
                };
                Range::Integer { min: end(min, i64::MIN), max: end(max, i64::MAX), also }
            }
        }
    }
}

impl Elements {
    fn parse(text: &'static str) -> Elements {
        match text {
            "" => Elements::Any,
            "{HOST:PORT}" => Elements::Hosts { with_id: false },
            "{ID@HOST:PORT}" => Elements::Hosts { with_id: true },
            "{PARTITION:BROKER}|*" => Elements::Replicas,
            _ => match text.strip_suffix("=REGEX") {
                Some(words) => Elements::Matches(braced(words).expect("words in braces")),
                None => Elements::OneOf(braced(text).expect("words in braces")),
            },
        }
    }
}

/// The words of `{a|b|c}`.
fn braced(text: &'static str) -> Option<Vec<&'static str>> {
    Some(text.strip_prefix('{')?.strip_suffix('}')?.split('|').collect())
}
