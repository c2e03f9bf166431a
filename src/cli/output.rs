//! How commands print: tables for people, JSON for programs. Standard output holds nothing else.

use super::failure::{Failure, Result};
use serde_json::Value;
use std::io::{self, ErrorKind, Write};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// Tables
    #[default]
    Human,
    /// One JSON value
    Json,
}

/// Writes text to standard output. A reader that has gone away (`| head`) is no error, and ends the program's work.
pub fn print(text: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::File { path: "standard output".into(), error }),
    }
}

impl Format {
    /// Prints `human()` or `json()`, whichever it is.
    pub fn print(self, human: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> Result<()> {
        match self {
            Format::Human => print(&human()),
            Format::Json => print(&format!("{:#}\n", json())),
        }
    }
}

/// Rows under a head, with columns as wide as what stands in them. Numbers stand at the right.
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&'static str]) -> Table {
        assert!(!head.is_empty());
        Table { head: head.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.head.len());
        self.rows.push(cells);
    }
}

/// Shown where there is no value.
pub const NONE: &str = "-";

/// The value, or what stands for none.
pub fn or_none<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| NONE.to_string(), |value| value.to_string())
}

/// Values between commas.
pub fn join<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

fn is_number(cell: &str) -> bool {
    cell == NONE || cell.parse::<f64>().is_ok()
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = 0..self.head.len();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.head[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = columns.clone().map(width).collect();
        let numeric: Vec<bool> = columns.map(|column| self.rows.iter().all(|row| is_number(&row[column]))).collect();
        let head: Vec<String> = self.head.iter().map(|name| name.to_string()).collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let between = if column == 0 { "" } else { "  " };
                let width = widths[column];
                line += &match numeric[column] {
                    true => format!("{between}{cell:>width$}"),
                    false => format!("{between}{cell:<width$}"),
                };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let mut table = Table::new(&["TOPIC", "LAG", "HOST"]);
        table.row(vec!["a-long-name".into(), "7".into(), "x".into()]);
        table.row(vec!["b".into(), NONE.into(), "é".into()]);
        assert_eq!(table.to_string(), "TOPIC        LAG  HOST\na-long-name    7  x\nb              -  é\n");
        assert_eq!(Table::new(&["A", "B"]).to_string(), "A  B\n");
    }
}
