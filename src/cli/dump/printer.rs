//! What was found, as lines for people (`kind name=value ...`) or as JSON.

use crate::cli::failure::Result;
use crate::cli::output::{Format, print};
use serde_json::{Value, json};
use std::path::Path;

/// What is gathered before it is written.
const BUFFER_BYTES: usize = 64 << 10;

pub struct Printer {
    buffer: String,
    is_json: bool,
    file: String,
    /// Rows of kind `damage` so far.
    pub damages: u64,
}

impl Printer {
    pub fn new(format: Format) -> Printer {
        Printer { buffer: String::new(), is_json: format == Format::Json, file: String::new(), damages: 0 }
    }

    /// What follows is from this file.
    pub fn begin(&mut self, path: &Path, what: &str) -> Result<()> {
        self.file = path.display().to_string();
        if self.is_json {
            return Ok(());
        }
        let line = format!("{}: {what}\n", self.file);
        self.write(&line)
    }

    /// One thing that was found: an object whose `kind` says what it is.
    pub fn row(&mut self, mut row: Value) -> Result<()> {
        let Some(fields) = row.as_object_mut() else { panic!("a row is an object") };
        if self.is_json {
            fields.shift_insert(0, "file".into(), self.file.as_str().into());
            let line = format!("{row}\n");
            return self.write(&line);
        }
        let mut line = String::from("  ");
        for (name, value) in fields.iter() {
            match value {
                // What is not there is of no interest to people.
                Value::Null | Value::Bool(false) => continue,
                Value::Bool(true) => line.push_str(name),
                Value::String(text) if name == "kind" => line.push_str(text),
                Value::String(text) if is_plain(text) => line.extend([name.as_str(), "=", text]),
                value => line.extend([name.as_str(), "=", &value.to_string()]),
            }
            line.push(' ');
        }
        line.pop();
        line.push('\n');
        self.write(&line)
    }

    /// Something that is not as it was written.
    pub fn damage(&mut self, position: u64, what: impl Into<String>) -> Result<()> {
        self.damages += 1;
        self.row(json!({"kind": "damage", "position": position, "what": what.into()}))
    }

    fn write(&mut self, line: &str) -> Result<()> {
        self.buffer.push_str(line);
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    pub fn flush(&mut self) -> Result<()> {
        print(&std::mem::take(&mut self.buffer))
    }
}

/// Whether the text needs no quotes to be told from what stands around it.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '\\'))
}
