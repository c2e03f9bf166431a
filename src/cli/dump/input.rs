//! A file that is read from front to back.

use crate::cli::failure::{Failure, Result};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

const BUFFER_BYTES: usize = 256 << 10;
/// Nothing that is read at once is larger: a larger claim is no batch, block or frame that anybody wrote.
const TAKE_BYTES_MAX: u64 = 256 << 20;

pub struct Input {
    pub path: PathBuf,
    /// Bytes read so far.
    pub position: u64,
    /// Bytes of the file when it was opened.
    pub bytes: u64,
    reader: BufReader<File>,
}

impl Input {
    pub fn open(path: &Path) -> Result<Input> {
        let failure = |error| Failure::File { path: path.display().to_string(), error };
        let file = File::open(path).map_err(failure)?;
        let bytes = file.metadata().map_err(failure)?.len();
        Ok(Input { path: path.into(), position: 0, bytes, reader: BufReader::with_capacity(BUFFER_BYTES, file) })
    }

    fn failure(&self, error: io::Error) -> Failure {
        Failure::File { path: self.path.display().to_string(), error }
    }

    /// The number that the file is named by: base offset of a segment and its indexes.
    pub fn base(&self) -> Option<i64> {
        let name = self.path.file_name()?.to_str()?;
        name.split(['.', '-']).next()?.parse().ok()
    }

    /// Bytes that are left.
    pub fn rest(&self) -> u64 {
        self.bytes.saturating_sub(self.position)
    }

    /// The next bytes without reading on; as many as the buffer holds.
    pub fn peek(&mut self) -> Result<&[u8]> {
        let path = &self.path;
        self.reader.fill_buf().map_err(|error| Failure::File { path: path.display().to_string(), error })
    }

    /// Appends the next `bytes` to `buffer`. `false`, and nothing is read, if not so many are left.
    pub fn take(&mut self, bytes: usize, buffer: &mut Vec<u8>) -> Result<bool> {
        let wanted = bytes as u64;
        if wanted > self.rest() || wanted > TAKE_BYTES_MAX {
            return Ok(false);
        }
        let read = self.reader.by_ref().take(wanted).read_to_end(buffer).map_err(|error| self.failure(error))?;
        self.position += read as u64;
        // A file that a broker cuts meanwhile ends early.
        if read < bytes {
            self.bytes = self.position;
        }
        Ok(read == bytes)
    }

    /// Goes on `bytes` later, or earlier.
    pub fn skip(&mut self, bytes: i64) -> Result<()> {
        let bytes = bytes.min(i64::try_from(self.rest()).unwrap_or(i64::MAX));
        self.reader.seek_relative(bytes).map_err(|error| self.failure(error))?;
        self.position = self.position.saturating_add_signed(bytes);
        Ok(())
    }

    /// Reads up to the end: the position of the first byte that is not zero.
    pub fn first_not_zero(&mut self) -> Result<Option<u64>> {
        let mut found = None;
        loop {
            let position = self.position;
            let buffer = self.peek()?;
            if buffer.is_empty() {
                return Ok(found);
            }
            let at = buffer.iter().position(|byte| *byte != 0);
            let bytes = buffer.len();
            found = found.or(at.map(|at| position + at as u64));
            self.reader.consume(bytes);
            self.position += bytes as u64;
        }
    }

    /// The next line with its end; empty at the end of the file.
    pub fn line(&mut self, bytes_max: u64) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        let read = self.reader.by_ref().take(bytes_max).read_until(b'\n', &mut line);
        self.position += read.map_err(|error| self.failure(error))? as u64;
        Ok(line)
    }
}
