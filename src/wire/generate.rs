//! Build script: turns `messages.txt` into the Rust of `wire::messages`. Each message becomes a module of its own with its
//! structs, so that structs of different messages may share a name.

mod declaration;

use declaration::{Field, Kind, Message, Type, Versions};
use std::fmt::Write;
use std::{env, fs, path::Path};

fn main() {
    let source = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("src/wire");
    for file in ["messages.txt", "generate.rs", "declaration.rs"] {
        println!("cargo:rerun-if-changed={}", source.join(file).display());
    }
    let text = fs::read_to_string(source.join("messages.txt")).expect("messages.txt");
    let target = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("messages.rs");
    fs::write(target, generate(&declaration::parse(&text))).expect("OUT_DIR is writable");
}

fn generate(messages: &[Message]) -> String {
    let mut out = String::new();
    for message in messages {
        let module = snake(&message.name);
        write!(out, "pub use {module}::{};\npub mod {module} {{\nuse super::super::prelude::*;\n", message.name)
            .unwrap();
        for (name, fields) in &message.structs {
            Struct { message, name, fields }.emit(&mut out);
        }
        out.push_str("}\n");
    }
    emit_apis(messages, &mut out);
    emit_exchanges(messages, &mut out);
    out
}

/// `ApiKey`, `Request` and the macro that names every API once.
fn emit_apis(messages: &[Message], out: &mut String) {
    let requests = || messages.iter().filter(|message| message.kind == Kind::Request);
    let mut list = |head: &str, line: &dyn Fn(&Message, &str) -> String, tail: &str| {
        out.push_str(head);
        for message in requests() {
            let api = message.name.strip_suffix("Request").expect("a request's name ends so");
            out.push_str(&line(message, api));
        }
        out.push_str(tail);
    };
    let key = |message: &Message| message.key.expect("a request has a key");
    list(
        "/// Every API that this build can decode; the number is Kafka's.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)] #[repr(i16)] pub enum ApiKey {\n",
        &|message, api| format!("{api} = {},\n", key(message)),
        "}\nimpl ApiKey {\n",
    );
    list("pub const ALL: &'static [ApiKey] = &[", &|_, api| format!("ApiKey::{api},"), "];\n");
    list(
        "pub fn from_i16(key: i16) -> Option<ApiKey> { Some(match key {\n",
        &|message, api| format!("{} => ApiKey::{api},\n", key(message)),
        "_ => return None })}\n",
    );
    list(
        "/// Kafka's name of the API.\npub fn name(self) -> &'static str { match self {\n",
        &|_, api| format!("ApiKey::{api} => \"{api}\",\n"),
        "}}\n",
    );
    list(
        "/// Versions that this build can decode.\npub fn versions(self) -> RangeInclusive<i16> { match self {\n",
        &|message, api| format!("ApiKey::{api} => {}::VERSIONS,\n", message.name),
        "}}\n",
    );
    list(
        "/// First version with compact lengths and tagged fields; `i16::MAX` if none has.
        pub fn flexible_since(self) -> i16 { match self {\n",
        &|message, api| format!("ApiKey::{api} => {}::FLEXIBLE_SINCE,\n", message.name),
        "}}\n}\n",
    );
    list(
        "/// The body of any request.\n#[derive(Clone, Debug, PartialEq)] pub enum Request<'a> {\n",
        &|message, api| format!("{api}({}{}),\n", message.name, lifetime(message)),
        "}\n",
    );
    list(
        "impl<'a> Request<'a> {
        /// Decodes the body of a request, which `r` stands at.
        pub fn decode(api: ApiKey, version: i16, r: &mut Reader<'a>) -> Result<Self, DecodeError> { Ok(match api {\n",
        &|message, api| format!("ApiKey::{api} => Request::{api}({}::decode(r, version)?),\n", message.name),
        "})}\n}\n",
    );
    list(
        "/// Calls the macro that it is given with `API REQUEST RESPONSE;` for each API.
        #[macro_export] macro_rules! for_each_api { ($call:ident) => { $call! {\n",
        &|message, api| format!("{api} {} {api}Response;\n", message.name),
        "}}}\n",
    );
}

/// `Exchange` of each request.
fn emit_exchanges(messages: &[Message], out: &mut String) {
    for message in messages.iter().filter(|message| message.kind == Kind::Request) {
        let api = message.name.strip_suffix("Request").expect("a request's name ends so");
        let response = messages.iter().find(|other| other.name == format!("{api}Response")).expect("its response");
        let (request, answer) = (lifetime(message), lifetime(response).replace("'a", "'b"));
        write!(
            out,
            "impl<'a> Exchange for {api}Request{request} {{
            const API: ApiKey = ApiKey::{api};
            type Response<'b> = {api}Response{answer};
            fn encode(&self, w: &mut Writer, version: i16) {{ {api}Request::encode(self, w, version) }}
            fn decode_response<'b>(r: &mut Reader<'b>, v: i16) -> Result<Self::Response<'b>, DecodeError>
            {{ {api}Response::decode(r, v) }} }}\n"
        )
        .unwrap();
    }
}

/// The lifetime of a message that borrows from the bytes that it was decoded from.
fn lifetime(message: &Message) -> &'static str {
    if borrows(message, &message.name) { "<'a>" } else { "" }
}

/// Whether a struct borrows from the bytes that it was decoded from, and so has a lifetime.
fn borrows(message: &Message, name: &str) -> bool {
    fn type_borrows(message: &Message, kind: &Type) -> bool {
        match kind {
            Type::String | Type::Bytes | Type::Records => true,
            Type::Array(element) => type_borrows(message, element),
            Type::Struct(name) => borrows(message, name),
            _ => false,
        }
    }
    message.structs[name].iter().any(|field| type_borrows(message, &field.kind))
}

/// The fewest bytes that a value takes in `version`.
fn bytes_min(message: &Message, kind: &Type, version: i16) -> usize {
    let flex = message.flex.contains(version);
    match kind {
        Type::Bool | Type::I8 => 1,
        Type::I16 | Type::U16 => 2,
        Type::I32 | Type::U32 => 4,
        Type::I64 | Type::F64 => 8,
        Type::Uuid => 16,
        Type::String => 2 - usize::from(flex),
        Type::Bytes | Type::Records | Type::Array(_) => 4 - 3 * usize::from(flex),
        Type::Struct(name) => message.structs[name]
            .iter()
            .filter(|field| field.versions.contains(version) && field.tag.is_none())
            .map(|field| match field.kind {
                Type::Struct(_) if field.null.contains(version) => 1,
                _ => bytes_min(message, &field.kind, version),
            })
            .fold(usize::from(flex), usize::saturating_add),
    }
}

struct Struct<'a> {
    message: &'a Message,
    name: &'a str,
    fields: &'a [Field],
}

impl Struct<'_> {
    fn emit(&self, out: &mut String) {
        let lifetime = if borrows(self.message, self.name) { "<'a>" } else { "" };
        let Struct { name, fields, .. } = self;
        let lines = |line: &dyn Fn(&Field) -> String| fields.iter().map(line).collect::<String>();
        let declared = lines(&|field| format!("pub {}: {},\n", ident(field), self.rust_type(field)));
        let defaults = lines(&|field| format!("{}: {},\n", ident(field), default(field)));
        let mut decode = String::new();
        let mut encode = String::new();
        for field in fields.iter().filter(|field| field.tag.is_none() && !field.versions.is_empty()) {
            let (read, write) = (self.read(field, false), self.write(field, false));
            let present = self.present(field.versions);
            decode += &guard(&present, &format!("s.{} = {read};", ident(field)));
            encode += &guard(&present, &write);
        }
        if !self.message.flex.intersect(self.message.valid).is_empty() {
            let (read, write) = self.tags();
            decode += &guard(&self.flex(None), &read);
            encode += &guard(&self.flex(None), &write);
        }
        let (constants, known, assertion) = self.top();
        write!(
            out,
            "#[derive(Clone, Debug, PartialEq)] pub struct {name}{lifetime} {{\n{declared}}}
            impl{lifetime} Default for {name}{lifetime} {{ fn default() -> Self {{ Self {{\n{defaults}}} }} }}
            impl<'a> {name}{lifetime} {{\n{constants}
            pub fn decode(r: &mut Reader<'a>, v: i16) -> Result<Self, DecodeError> {{\n{known}
            let mut s = Self::default();\n{decode}Ok(s) }}
            pub fn encode(&self, w: &mut Writer, v: i16) {{\n{assertion}{encode}}} }}\n",
        )
        .unwrap();
    }

    /// Constants, and the check of the version, of a struct that is the message itself.
    fn top(&self) -> (String, &'static str, &'static str) {
        let Message { name, key, valid, flex, .. } = self.message;
        if name != self.name {
            return Default::default();
        }
        let key = key.map_or(String::new(), |key| format!("pub const KEY: i16 = {key};\n"));
        let flexible_since = if flex.is_empty() { i16::MAX } else { flex.from };
        let Versions { from, to } = valid;
        let constants = format!(
            "{key}pub const VERSIONS: RangeInclusive<i16> = {from}..={to};
            pub const FLEXIBLE_SINCE: i16 = {flexible_since};"
        );
        (
            constants,
            "if !Self::VERSIONS.contains(&v) { return Err(DecodeError::Version) }",
            "assert!(Self::VERSIONS.contains(&v), \"no such version: {v}\");",
        )
    }

    /// The tag section: tags in rising order, a field only if it differs from its default.
    fn tags(&self) -> (String, String) {
        let mut tagged: Vec<&Field> = self.fields.iter().filter(|field| field.tag.is_some()).collect();
        tagged.sort_by_key(|field| field.tag);
        let (mut read, mut count, mut write) = (String::new(), vec!["0".to_string()], String::new());
        for field in tagged {
            let (name, tag, present) = (ident(field), field.tag.unwrap_or_default(), self.present(field.versions));
            read += &format!("{tag} if {present} => s.{name} = {},\n", self.read(field, true));
            let differs = format!("({present} && self.{name} != {})", default(field));
            count.push(format!("u32::from{differs}"));
            write += &guard(&differs, &format!("w.put_tag({tag}, |w| {{ {} }});", self.write(field, true)));
        }
        let read = match read.as_str() {
            "" => "r.tags(|_, r| Ok(r.skip()))?;".to_string(),
            known => format!("r.tags(|tag, r| {{ match tag {{\n{known}_ => r.skip(),\n}} Ok(()) }})?;"),
        };
        (read, format!("w.put_uvarint({});\n{write}", count.join(" + ")))
    }

    /// An expression that is true in `versions`, given that the message is valid in `v`.
    fn present(&self, versions: Versions) -> String {
        let valid = self.message.valid;
        let Versions { from, to } = versions.intersect(valid);
        match (from <= valid.from, to >= valid.to) {
            _ if from > to => "false".to_string(),
            (true, true) => "true".to_string(),
            (false, true) => format!("(v >= {from})"),
            (true, false) => format!("(v <= {to})"),
            (false, false) => format!("({from}..={to}).contains(&v)"),
        }
    }

    fn flex(&self, field: Option<&Field>) -> String {
        self.present(field.and_then(|field| field.flex).unwrap_or(self.message.flex))
    }

    fn rust_type(&self, field: &Field) -> String {
        let plain = self.element_type(&field.kind);
        if is_option(field) { format!("Option<{plain}>") } else { plain }
    }

    fn element_type(&self, kind: &Type) -> String {
        match kind {
            Type::Uuid => "Uuid".to_string(),
            Type::String => "Cow<'a, str>".to_string(),
            Type::Bytes => "Cow<'a, [u8]>".to_string(),
            Type::Records => "Records<'a>".to_string(),
            Type::Array(element) => format!("Vec<{}>", self.element_type(element)),
            Type::Struct(name) if borrows(self.message, name) => format!("{name}<'a>"),
            Type::Struct(name) => name.clone(),
            scalar => scalar_name(scalar).to_string(),
        }
    }

    /// The expression that reads a field; `tagged` changes how a nullable struct is marked.
    fn read(&self, field: &Field, tagged: bool) -> String {
        let flex = self.flex(Some(field));
        let plain = self.read_element(&field.kind, &flex, "");
        if !is_option(field) {
            return format!("{plain}?");
        }
        let nullable = match &field.kind {
            Type::Struct(name) => format!("r.nullable_struct({tagged}, |r| {name}::decode(r, v))"),
            kind => self.read_element(kind, &flex, "nullable_"),
        };
        match self.present(field.null.intersect(field.versions)).as_str() {
            "false" => format!("Some({plain}?)"),
            null if self.present(field.versions) == null => format!("{nullable}?"),
            null => format!("if {null} {{ {nullable}? }} else {{ Some({plain}?) }}"),
        }
    }

    fn read_element(&self, kind: &Type, flex: &str, nullable: &str) -> String {
        match kind {
            Type::Uuid => "r.uuid()".to_string(),
            Type::String => format!("r.{nullable}string({flex})"),
            Type::Bytes => format!("r.{nullable}bytes({flex})"),
            Type::Records => format!("r.{nullable}records({flex})"),
            Type::Struct(name) => format!("{name}::decode(r, v)"),
            Type::Array(element) => {
                let bytes = self.message.valid.range().map(|version| bytes_min(self.message, element, version));
                let bytes = bytes.min().unwrap_or(1).max(1);
                let element = self.read_element(element, flex, "");
                format!("r.{nullable}array({flex}, {bytes}, |r| {element})")
            }
            scalar => format!("r.{}()", scalar_name(scalar)),
        }
    }

    /// The statement that writes a field. Where a version has no null, an absent value goes out as an empty one.
    fn write(&self, field: &Field, tagged: bool) -> String {
        let (flex, value) = (self.flex(Some(field)), format!("self.{}", ident(field)));
        let write = |value: &str| match field.cut {
            Some(bytes_max) => format!("w.put_text({value}, {bytes_max}, {flex});"),
            None => self.write_element(&field.kind, &flex, value),
        };
        if !is_option(field) {
            return write(&format!("&{value}"));
        }
        let some = write("x");
        let marked = match &field.kind {
            Type::Struct(_) => format!("w.put_struct_mark({tagged}, true); {some}"),
            _ => some.clone(),
        };
        let none = match &field.kind {
            Type::Struct(_) => format!("w.put_struct_mark({tagged}, false);"),
            Type::String => format!("w.put_string_length(None, {flex});"),
            _ => format!("w.put_length(None, {flex});"),
        };
        let empty = match &field.kind {
            Type::Struct(name) => format!("{name}::default().encode(w, v);"),
            Type::String => format!("w.put_string_length(Some(0), {flex});"),
            _ => format!("w.put_length(Some(0), {flex});"),
        };
        let null = self.present(field.null.intersect(field.versions));
        let (marked, none) = match null.as_str() {
            "false" => (some, empty),
            null if self.present(field.versions) == null => (marked, none),
            null if marked == some => (some, format!("if {null} {{ {none} }} else {{ {empty} }}")),
            _ => panic!("{}: null in some versions", field.name),
        };
        format!("match &{value} {{ Some(x) => {{ {marked} }} None => {{ {none} }} }}")
    }

    /// `value` is an expression of a reference.
    fn write_element(&self, kind: &Type, flex: &str, value: &str) -> String {
        match kind {
            Type::Uuid => format!("w.put_uuid(*{value});"),
            Type::String => format!("w.put_string({value}, {flex});"),
            Type::Bytes => format!("w.put_bytes({value}, {flex});"),
            Type::Records => format!("w.put_records({value}, {flex});"),
            Type::Struct(_) => format!("({value}).encode(w, v);"),
            Type::Array(element) => {
                let each = self.write_element(element, flex, "x");
                format!("let x = {value}; w.put_length(Some(x.len()), {flex}); for x in x {{ {each} }}")
            }
            scalar => format!("w.put_{}(*{value});", scalar_name(scalar)),
        }
    }
}

/// Whether Rust's type of the field is an `Option`: null is possible in some version.
fn is_option(field: &Field) -> bool {
    !field.null.intersect(field.versions).is_empty() || field.kind == Type::Records
}

fn default(field: &Field) -> String {
    let declared = field.default.as_deref();
    let plain = match (&field.kind, declared) {
        (Type::Records, _) | (_, Some("null")) => return "None".to_string(),
        (Type::String, text) => format!("Cow::Borrowed({:?})", text.unwrap_or("").trim_matches('"')),
        (Type::Bytes, None) => "Cow::Borrowed(&[][..])".to_string(),
        (Type::Array(_), None) => "Vec::new()".to_string(),
        (Type::Struct(name), None) => format!("{name}::default()"),
        (Type::Uuid, None) => "Uuid::ZERO".to_string(),
        (Type::Bool, text) => text.unwrap_or("false").to_string(),
        (Type::F64, text) => format!("{}_f64", text.unwrap_or("0")),
        (_, Some(text)) => text.to_string(),
        (_, None) => "0".to_string(),
    };
    if is_option(field) { format!("Some({plain})") } else { plain }
}

fn scalar_name(kind: &Type) -> &'static str {
    match kind {
        Type::Bool => "bool",
        Type::I8 => "i8",
        Type::I16 => "i16",
        Type::U16 => "u16",
        Type::I32 => "i32",
        Type::U32 => "u32",
        Type::I64 => "i64",
        Type::F64 => "f64",
        other => panic!("no scalar: {other:?}"),
    }
}

fn guard(condition: &str, statement: &str) -> String {
    match condition {
        "true" => format!("{statement}\n"),
        "false" => String::new(),
        _ => format!("if {condition} {{ {statement} }}\n"),
    }
}

fn ident(field: &Field) -> String {
    let name = snake(&field.name);
    match name.as_str() {
        "type" | "match" | "ref" | "move" | "as" | "in" => name + "_",
        _ => name,
    }
}

/// `ClusterId` -> `cluster_id`, `Enable2Pc` -> `enable_2_pc`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.char_indices() {
        if (c.is_ascii_uppercase() || c.is_ascii_digit()) && i > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
