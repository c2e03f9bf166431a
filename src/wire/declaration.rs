//! The parser of `messages.txt`, whose head describes the form. The build script and the tests use it; the broker does
//! not. It panics on a declaration that is wrong, which fails the build.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A range of versions; empty when `from > to`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions {
    pub from: i16,
    pub to: i16,
}

impl Versions {
    pub const NONE: Versions = Versions { from: 0, to: -1 };

    fn parse(text: &str) -> Versions {
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("no version: {text}"));
        match (text, text.split_once('-'), text.strip_suffix('+')) {
            ("none", _, _) => Versions::NONE,
            (_, Some((from, to)), _) => Versions { from: number(from), to: number(to) },
            (_, _, Some(from)) => Versions { from: number(from), to: i16::MAX },
            _ => Versions { from: number(text), to: number(text) },
        }
    }

    pub fn is_empty(self) -> bool {
        self.from > self.to
    }

    pub fn contains(self, version: i16) -> bool {
        self.range().contains(&version)
    }

    pub fn range(self) -> RangeInclusive<i16> {
        self.from..=self.to
    }

    pub fn intersect(self, other: Versions) -> Versions {
        Versions { from: self.from.max(other.from), to: self.to.min(other.to) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Header,
    Request,
    Response,
    /// The key or the value of a record that the broker itself writes into a topic.
    Record,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Type {
    Bool,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    F64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

impl Type {
    fn parse(text: &str) -> Type {
        match text {
            "bool" => Type::Bool,
            "int8" => Type::I8,
            "int16" => Type::I16,
            "uint16" => Type::U16,
            "int32" => Type::I32,
            "uint32" => Type::U32,
            "int64" => Type::I64,
            "float64" => Type::F64,
            "uuid" => Type::Uuid,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "records" => Type::Records,
            _ => match text.strip_prefix("[]") {
                Some(element) => Type::Array(Box::new(Type::parse(element))),
                None => {
                    assert!(text.starts_with(|c: char| c.is_ascii_uppercase()), "no type: {text}");
                    Type::Struct(text.to_string())
                }
            },
        }
    }

    /// The struct that the lines below a field of this type declare.
    fn struct_name(&self) -> Option<&str> {
        match self {
            Type::Struct(name) => Some(name),
            Type::Array(element) => element.struct_name(),
            _ => None,
        }
    }
}

/// A tagged field is on the wire in `versions` like any other, but in the tag section.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub kind: Type,
    pub versions: Versions,
    pub null: Versions,
    pub flex: Option<Versions>,
    pub tag: Option<u32>,
    pub default: Option<String>,
    /// A text for people: what is longer than so many bytes is cut when it is sent.
    pub cut: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub name: String,
    pub kind: Kind,
    pub key: Option<i16>,
    pub valid: Versions,
    pub flex: Versions,
    /// Fields of the message's structs by the struct's name; the message itself is one of them.
    pub structs: BTreeMap<String, Vec<Field>>,
}

/// Reads all blocks of `messages.txt`, in their order.
pub fn parse(text: &str) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    // The struct that a line of each depth belongs to: nearest last.
    let mut scope: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let depth = (line.len() - line.trim_start().len()) / 2;
        let words: Vec<&str> = line.split_whitespace().collect();
        if depth == 0 {
            messages.push(parse_message(&words));
            scope = vec![words[0].to_string()];
            continue;
        }
        let message = messages.last_mut().expect("a field before the first message");
        assert!(depth <= scope.len(), "too deep: {line}");
        scope.truncate(depth);
        let inner = if words[0] == "struct" {
            Some(words[1].to_string())
        } else {
            let field = parse_field(&words, message.valid);
            let inner = field.kind.struct_name().map(str::to_string);
            message.structs.entry(scope[depth - 1].clone()).or_default().push(field);
            inner
        };
        scope.extend(inner);
    }
    for message in &messages {
        for field in message.structs.values().flatten() {
            if let Some(name) = field.kind.struct_name() {
                assert!(message.structs.contains_key(name), "{}: {name} is not declared", message.name);
            }
        }
    }
    messages
}

fn attribute<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn parse_message(words: &[&str]) -> Message {
    let range = |name| Versions::parse(attribute(words, name).unwrap_or_else(|| panic!("{}: no {name}=", words[0])));
    let kind = match words[1] {
        "header" => Kind::Header,
        "request" => Kind::Request,
        "response" => Kind::Response,
        "record" => Kind::Record,
        other => panic!("{}: no kind: {other}", words[0]),
    };
    let key = attribute(words, "key").map(|key| key.parse().expect("key= is a number"));
    let numbered = matches!(kind, Kind::Request | Kind::Response);
    assert_eq!(key.is_some(), numbered, "{}: key= belongs to requests and responses", words[0]);
    let name = words[0].to_string();
    let structs = BTreeMap::from([(name.clone(), Vec::new())]);
    Message { name, kind, key, valid: range("valid"), flex: range("flex"), structs }
}

fn parse_field(words: &[&str], valid: Versions) -> Field {
    let range = |name| attribute(words, name).map(|text| Versions::parse(text).intersect(valid));
    let field = Field {
        name: words[0].to_string(),
        kind: Type::parse(words[1]),
        versions: Versions::parse(words[2]).intersect(valid),
        null: range("null").unwrap_or(Versions::NONE),
        flex: range("flex"),
        tag: attribute(words, "tag").map(|tag| tag.parse().expect("tag= is a number")),
        default: attribute(words, "default").map(str::to_string),
        cut: attribute(words, "cut").map(|cut| cut.parse().expect("cut= is a number of bytes")),
    };
    assert!(field.tag.is_none() || range("tagged") == Some(field.versions), "{}: tagged in some versions", words[0]);
    field
}
