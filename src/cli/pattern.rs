//! Format strings: how records are printed, and how lines become records.

use super::encoding::{base64, from_base64, from_hex, hex, to_json};
use super::time::format_datetime;
use crate::types::{Offset, PartitionIndex, TimestampMs};
use serde_json::{Value, json};

/// Said by `--help`.
pub const LANGUAGE: &str = "\
Format strings (--pattern):
  %t topic            %k key              %T timestamp, ms since 1970
  %p partition        %v value            %D timestamp, ISO 8601 in UTC
  %o offset           %h headers, a=b,c=d %K %V bytes of key and value
  %% a percent sign   \\n \\t \\r \\0 \\\\ \\xHH
Keys and values may be coded: %v{hex}, %k{base64}, %v{json} (a JSON string).";

/// A record on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Consumed<'a> {
    pub topic: &'a str,
    pub partition: PartitionIndex,
    pub offset: Offset,
    pub timestamp: TimestampMs,
    /// The time is the broker's.
    pub log_append_time: bool,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Names and values of a record's headers, in order.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A record on its way in. What is `None` is left to the sender, but key and value: they are null then.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Produced {
    pub partition: Option<PartitionIndex>,
    pub timestamp: Option<TimestampMs>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
}

impl Consumed<'_> {
    pub fn to_json(self) -> Value {
        let header = |(name, value): &(&str, Option<&[u8]>)| json!([name, to_json(*value)]);
        json!({
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "timestamp": self.timestamp,
            "key": to_json(self.key),
            "value": to_json(self.value),
            "headers": self.headers.iter().map(header).collect::<Vec<_>>(),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Topic,
    Partition,
    Offset,
    Timestamp,
    Datetime,
    Key,
    Value,
    Headers,
    KeyBytes,
    ValueBytes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Raw,
    Hex,
    Base64,
    Json,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Literal(Vec<u8>),
    Field(Field, Form),
}

/// A format string that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern(Vec<Part>);

const FIELDS: [(char, Field); 10] = [
    ('t', Field::Topic),
    ('p', Field::Partition),
    ('o', Field::Offset),
    ('T', Field::Timestamp),
    ('D', Field::Datetime),
    ('k', Field::Key),
    ('v', Field::Value),
    ('h', Field::Headers),
    ('K', Field::KeyBytes),
    ('V', Field::ValueBytes),
];
const FORMS: [(&str, Form); 3] = [("{hex}", Form::Hex), ("{base64}", Form::Base64), ("{json}", Form::Json)];

impl Pattern {
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\\' => rest = escape(rest, &mut literal)?,
                '%' if rest.starts_with('%') => {
                    literal.push(b'%');
                    rest = &rest[1..];
                }
                '%' => {
                    let known = rest.chars().next().and_then(|c| FIELDS.iter().find(|(name, _)| *name == c));
                    let (name, field) = known.ok_or_else(|| unknown(rest))?;
                    rest = &rest[name.len_utf8()..];
                    let mut form = Form::Raw;
                    if matches!(field, Field::Key | Field::Value) && rest.starts_with('{') {
                        let found = FORMS.iter().find(|(name, _)| rest.starts_with(name));
                        let (name, coded) = found
                            .ok_or_else(|| format!("%{name}{rest}: {{hex}}, {{base64}} or {{json}} may follow"))?;
                        rest = &rest[name.len()..];
                        form = *coded;
                    }
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Field(*field, form));
                }
                c => literal.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Pattern(parts))
    }

    /// Appends the record as the pattern says; `null` stands for a key or a value that is not there.
    pub fn print(&self, record: &Consumed<'_>, null: &[u8], out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(bytes),
                Part::Field(field, form) => print_field(*field, *form, record, null, out),
            }
        }
    }
}

fn unknown(rest: &str) -> String {
    let shown: String = rest.chars().take(1).collect();
    let known: Vec<String> = FIELDS.iter().map(|(name, _)| format!("%{name}")).collect();
    format!("%{shown} is no field: {} are, and %% is a percent sign", known.join(" "))
}

/// Reads what follows a backslash; what follows that.
fn escape<'a>(rest: &'a str, literal: &mut Vec<u8>) -> Result<&'a str, String> {
    let c = rest.chars().next().unwrap_or(' ');
    let plain = match c {
        'n' => b'\n',
        't' => b'\t',
        'r' => b'\r',
        '0' => 0,
        '\\' => b'\\',
        'x' => {
            let digits = rest.get(1..3).and_then(|digits| from_hex(digits.as_bytes()));
            literal.extend(digits.ok_or_else(|| format!("\\{rest}: two hexadecimal digits are to follow \\x"))?);
            return Ok(&rest[3..]);
        }
        _ => return Err(format!("\\{c} is nothing: \\n \\t \\r \\0 \\\\ and \\xHH are")),
    };
    literal.push(plain);
    Ok(&rest[1..])
}

fn print_field(field: Field, form: Form, record: &Consumed<'_>, null: &[u8], out: &mut Vec<u8>) {
    let bytes = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64).to_string();
    let text = match field {
        Field::Key => return print_bytes(record.key, form, null, out),
        Field::Value => return print_bytes(record.value, form, null, out),
        Field::Headers => {
            for (i, (name, value)) in record.headers.iter().enumerate() {
                let between = if i > 0 { "," } else { "" };
                out.extend([between.as_bytes(), name.as_bytes(), b"=", value.unwrap_or(null)].concat());
            }
            return;
        }
        Field::Topic => record.topic.to_string(),
        Field::Partition => record.partition.to_string(),
        Field::Offset => record.offset.to_string(),
        Field::Timestamp => record.timestamp.to_string(),
        Field::Datetime => format_datetime(record.timestamp),
        Field::KeyBytes => bytes(record.key),
        Field::ValueBytes => bytes(record.value),
    };
    out.extend_from_slice(text.as_bytes());
}

fn print_bytes(bytes: Option<&[u8]>, form: Form, null: &[u8], out: &mut Vec<u8>) {
    match (bytes, form) {
        (None, _) => out.extend_from_slice(null),
        (Some(bytes), Form::Raw) => out.extend_from_slice(bytes),
        (Some(bytes), Form::Hex) => out.extend_from_slice(hex(bytes).as_bytes()),
        (Some(bytes), Form::Base64) => out.extend_from_slice(base64(bytes).as_bytes()),
        (Some(bytes), Form::Json) => {
            out.extend_from_slice(Value::from(String::from_utf8_lossy(bytes)).to_string().as_bytes());
        }
    }
}

/// A pattern by which lines are read: each field ends where what stands behind it begins, the last with the line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinePattern {
    parts: Vec<Part>,
    /// A field that is just this is null.
    null: Option<Vec<u8>>,
}

impl LinePattern {
    pub fn parse(text: &str, null: Option<&str>) -> Result<LinePattern, String> {
        let Pattern(mut parts) = Pattern::parse(text)?;
        // So that a pattern which prints lines also reads them.
        if let Some(Part::Literal(last)) = parts.last_mut()
            && last.last() == Some(&b'\n')
        {
            last.pop();
        }
        parts.retain(|part| *part != Part::Literal(Vec::new()));
        let is_field = |part: &Part| matches!(part, Part::Field(..));
        if parts.windows(2).any(|two| two.iter().all(is_field)) {
            return Err("two fields of a line need something between them".into());
        }
        let known = |part: &Part| {
            matches!(
                part,
                Part::Literal(_)
                    | Part::Field(Field::Partition | Field::Timestamp | Field::Key | Field::Value | Field::Headers, _)
            )
        };
        if let Some(Part::Field(field, _)) = parts.iter().find(|part| !known(part)) {
            let name = FIELDS.iter().find(|(_, known)| known == field).map_or(' ', |(name, _)| *name);
            return Err(format!("%{name} cannot be given to a record: %k %v %h %p %T can"));
        }
        Ok(LinePattern { parts, null: null.map(|null| null.as_bytes().to_vec()) })
    }

    /// The record of a line without its end. The error says what is missing.
    pub fn read(&self, line: &[u8]) -> Result<Produced, String> {
        let mut record = Produced::default();
        let mut rest = line;
        let mut parts = self.parts.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Literal(literal) => {
                    rest = rest.strip_prefix(&literal[..]).ok_or_else(|| format!("no {} in it", shown(literal)))?;
                }
                Part::Field(field, form) => {
                    let end = match parts.peek() {
                        Some(Part::Literal(literal)) => {
                            find(rest, literal).ok_or_else(|| format!("no {} in it", shown(literal)))?
                        }
                        _ => rest.len(),
                    };
                    let (text, behind) = rest.split_at(end);
                    self.set(&mut record, *field, *form, text)?;
                    rest = behind;
                }
            }
        }
        if rest.is_empty() { Ok(record) } else { Err(format!("{} is left over", shown(rest))) }
    }

    fn set(&self, record: &mut Produced, field: Field, form: Form, text: &[u8]) -> Result<(), String> {
        fn number<T: std::str::FromStr>(text: &[u8]) -> Result<Option<T>, String> {
            let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
            number.map(Some).ok_or_else(|| format!("{} is no number", shown(text)))
        }
        match field {
            Field::Partition => record.partition = number(text)?,
            Field::Timestamp => record.timestamp = number(text)?,
            Field::Key => record.key = self.bytes(form, text)?,
            Field::Value => record.value = self.bytes(form, text)?,
            Field::Headers => record.headers = self.headers(text)?,
            _ => unreachable!("the pattern was checked"),
        }
        Ok(())
    }

    fn nullable(&self, text: &[u8]) -> Option<Vec<u8>> {
        if self.null.as_deref() == Some(text) { None } else { Some(text.to_vec()) }
    }

    fn bytes(&self, form: Form, text: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let Some(text) = self.nullable(text) else { return Ok(None) };
        let coded = match form {
            Form::Raw => return Ok(Some(text)),
            Form::Hex => from_hex(&text),
            Form::Base64 => from_base64(&text),
            Form::Json => serde_json::from_slice::<String>(&text).ok().map(String::into_bytes),
        };
        coded.map(Some).ok_or_else(|| format!("{} is not {form:?}", shown(&text)))
    }

    fn headers(&self, text: &[u8]) -> Result<Headers, String> {
        let header = |header: &[u8]| {
            let at = find(header, b"=").ok_or_else(|| format!("the header {} has no =", shown(header)))?;
            let name = String::from_utf8(header[..at].to_vec());
            let name = name.map_err(|_| format!("the name of the header {} is not UTF-8", shown(header)))?;
            Ok((name, self.nullable(&header[at + 1..])))
        };
        text.split(|&byte| byte == b',').filter(|header| !header.is_empty()).map(header).collect()
    }
}

/// Where `wanted`, which is not empty, first stands in `bytes`.
pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn shown(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Consumed<'_> = Consumed {
        topic: "t",
        partition: 3,
        offset: 42,
        timestamp: 1_700_000_000_123,
        log_append_time: false,
        key: Some(b"k\x01"),
        value: None,
        headers: &[("a", Some(b"1")), ("b", None)],
    };

    fn printed(pattern: &str) -> String {
        let mut out = Vec::new();
        Pattern::parse(pattern).unwrap().print(&RECORD, b"NULL", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_are_printed() {
        assert_eq!(printed("%t-%p@%o %T\\n"), "t-3@42 1700000000123\n");
        assert_eq!(printed("%k{hex}|%k{base64}|%k{json}|%v|%v{hex}|%h"), "6b01|awE=|\"k\\u0001\"|NULL|NULL|a=1,b=NULL");
        assert_eq!(printed("%K/%V 100%% \\x41\\\\ é"), "2/-1 100% A\\ é");
        assert_eq!(printed("%D"), format_datetime(1_700_000_000_123));
        let json = r#"{"topic":"t","partition":3,"offset":42,"timestamp":1700000000123,"key":"k\u0001","value":null,"headers":[["a","1"],["b",null]]}"#;
        assert_eq!(RECORD.to_json().to_string(), json);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let wrong = |text| Pattern::parse(text).unwrap_err();
        assert!(wrong("%x").starts_with("%x is no field"));
        assert!(wrong("%").starts_with("% is no field"));
        assert!(wrong("%v{rot13}").contains("{base64}"));
        assert!(wrong("\\q").starts_with("\\q is nothing"));
        assert!(wrong("a\\").contains("is nothing"));
        assert!(wrong("\\x4").contains("two hexadecimal"));
        assert!(wrong("\\xé").contains("two hexadecimal"));
    }

    #[test]
    fn lines_become_records() {
        let read = |pattern, line: &str| LinePattern::parse(pattern, Some("NULL")).unwrap().read(line.as_bytes());
        let record = Produced { key: Some(b"a".to_vec()), value: Some(b"b:c".to_vec()), ..Default::default() };
        assert_eq!(read("%k:%v\\n", "a:b:c"), Ok(record));
        let headers = vec![("x".to_string(), Some(b"1=1".to_vec())), ("y".to_string(), None)];
        let record = Produced { partition: Some(2), timestamp: Some(5), key: None, value: Some(vec![0xff]), headers };
        assert_eq!(read("[%p] %T %h %k %v{hex};", "[2] 5 x=1=1,y=NULL NULL ff;"), Ok(record));
        assert_eq!(read("%k\\t%v", "no tab"), Err("no \"\\t\" in it".into()));
        assert_eq!(read("%p", "two"), Err("\"two\" is no number".into()));
        assert_eq!(read("%v!", "a!b"), Err("\"b\" is left over".into()));
        assert_eq!(read("%v{hex}", "0g"), Err("\"0g\" is not Hex".into()));
        assert!(LinePattern::parse("%k%v", None).unwrap_err().contains("between"));
        assert!(LinePattern::parse("%o %v", None).unwrap_err().starts_with("%o cannot"));
    }
}
