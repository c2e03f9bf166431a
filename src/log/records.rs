//! Walking the records of a batch piece by piece, without having them in memory as a whole.

/// What the broker looks at in a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outline {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub has_key: bool,
}

/// Why bytes are not the records that a batch counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordsError {
    /// The record of this index is not there whole; bytes are left over if it is the count.
    NotWhole(i32),
    /// The record of this index is longer than allowed.
    TooLong(i32),
}

/// A walk over the records of one batch, which are shown to it in pieces, cut anywhere.
pub struct Records {
    count: i32,
    /// Of the record that comes next, or is under way.
    index: i32,
    length_max: usize,
    cut: Cut,
}

/// How far the walk is in a record that a piece ended in.
struct Cut {
    field: Field,
    /// Bytes of the record that are still to come; unknown before its length.
    left: usize,
    /// Bytes of a key, a value or a header that are to be passed over.
    pass: usize,
    /// Headers that are still to come.
    headers: u32,
    number: Number,
    outline: Outline,
}

/// What comes next in a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Length,
    Attributes,
    TimestampDelta,
    OffsetDelta,
    Key,
    Value,
    Headers,
    HeaderKey,
    HeaderValue,
}

impl Records {
    /// A batch says that it has `count` records, none of which may be longer than `length_max`.
    pub fn new(count: i32, length_max: usize) -> Records {
        assert!(count > 0, "a batch without records is not walked");
        Records { count, index: 0, length_max, cut: Cut::new() }
    }

    /// Shows `look` each record that `piece` completes, with its index.
    #[inline(always)]
    pub fn feed(&mut self, piece: &[u8], mut look: impl FnMut(i32, Outline)) -> Result<(), RecordsError> {
        let mut at = 0;
        while at < piece.len() {
            if self.index >= self.count {
                return Err(RecordsError::NotWhole(self.count));
            }
            let mut end = at;
            let outline = match self.cut.is_between() {
                true => Outline::decode(piece, &mut end, self.length_max),
                false => None,
            };
            let outline = match outline {
                Some(outline) => {
                    at = end;
                    outline
                }
                // It is cut off here, or it is no record.
                None => match self.cut.go_on(piece, &mut at, self.length_max) {
                    Ok(Some(outline)) => outline,
                    Ok(None) => return Ok(()),
                    Err(Fault::NotWhole) => return Err(RecordsError::NotWhole(self.index)),
                    Err(Fault::TooLong) => return Err(RecordsError::TooLong(self.index)),
                },
            };
            look(self.index, outline);
            self.index += 1;
        }
        Ok(())
    }

    /// Records that have been seen.
    pub fn seen(&self) -> i32 {
        self.index
    }

    /// After all pieces: whether the records were all that the batch counts.
    pub fn finish(&self) -> Result<(), RecordsError> {
        match self.index == self.count && self.cut.is_between() {
            true => Ok(()),
            false => Err(RecordsError::NotWhole(self.index)),
        }
    }
}

enum Fault {
    NotWhole,
    TooLong,
}

impl Cut {
    fn new() -> Cut {
        Cut {
            field: Field::Length,
            left: 0,
            pass: 0,
            headers: 0,
            number: Number::default(),
            outline: Outline::default(),
        }
    }

    /// Whether no record is under way.
    #[inline(always)]
    fn is_between(&self) -> bool {
        self.field == Field::Length && self.number.bytes == 0
    }

    /// Reads on in the record; `None` if `piece` ends before it does.
    #[cold]
    fn go_on(&mut self, piece: &[u8], at: &mut usize, length_max: usize) -> Result<Option<Outline>, Fault> {
        loop {
            let passed = self.pass.min(piece.len() - *at);
            *at += passed;
            self.pass -= passed;
            self.spend(passed)?;
            if self.pass > 0 {
                return Ok(None);
            }
            if self.field == Field::HeaderKey && self.headers == 0 {
                // All that the record has has been read.
                let outline = std::mem::take(&mut self.outline);
                let whole = self.left == 0;
                *self = Cut::new();
                return if whole { Ok(Some(outline)) } else { Err(Fault::NotWhole) };
            }
            if self.field != Field::Length && self.left == 0 {
                return Err(Fault::NotWhole);
            }
            if self.field == Field::Attributes {
                // They mean nothing.
                (self.pass, self.field) = (1, Field::TimestampDelta);
                continue;
            }
            let Some(&byte) = piece.get(*at) else { return Ok(None) };
            *at += 1;
            if self.field != Field::Length {
                self.spend(1)?;
            }
            let bytes_max = if self.field == Field::TimestampDelta { LONG_BYTES_MAX } else { INT_BYTES_MAX };
            if self.number.push(byte, bytes_max).ok_or(Fault::NotWhole)? {
                let number = std::mem::take(&mut self.number);
                self.number_read(number, length_max)?;
            }
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        self.left = self.left.checked_sub(bytes).ok_or(Fault::NotWhole)?;
        Ok(())
    }

    fn number_read(&mut self, number: Number, length_max: usize) -> Result<(), Fault> {
        if self.field == Field::TimestampDelta {
            (self.outline.timestamp_delta, self.field) = (number.long(), Field::OffsetDelta);
            return Ok(());
        }
        let int = number.int().ok_or(Fault::NotWhole)?;
        let length = || usize::try_from(int).map_err(|_| Fault::NotWhole);
        self.field = match self.field {
            Field::Length => {
                self.left = length()?;
                if self.left > length_max {
                    return Err(Fault::TooLong);
                }
                Field::Attributes
            }
            Field::OffsetDelta => {
                self.outline.offset_delta = int;
                Field::Key
            }
            Field::Key | Field::Value | Field::HeaderValue => {
                self.pass = if int == -1 { 0 } else { length()? };
                match self.field {
                    Field::Key => {
                        self.outline.has_key = int != -1;
                        Field::Value
                    }
                    Field::Value => Field::Headers,
                    _ => {
                        self.headers -= 1;
                        Field::HeaderKey
                    }
                }
            }
            Field::Headers => {
                self.headers = u32::try_from(int).map_err(|_| Fault::NotWhole)?;
                Field::HeaderKey
            }
            Field::HeaderKey => {
                self.pass = length()?;
                Field::HeaderValue
            }
            Field::Attributes | Field::TimestampDelta => unreachable!("neither is read as an int"),
        };
        // What is longer than its record shows before it is waited for.
        if self.pass > self.left { Err(Fault::NotWhole) } else { Ok(()) }
    }
}

const INT_BYTES_MAX: u32 = 5;
const LONG_BYTES_MAX: u32 = 10;

/// A number of variable length, of which some bytes have come.
#[derive(Clone, Copy, Default)]
struct Number {
    bits: u64,
    bytes: u32,
}

impl Number {
    /// Whether the number is complete with this byte; `None` if it is too long.
    #[inline(always)]
    fn push(&mut self, byte: u8, bytes_max: u32) -> Option<bool> {
        self.bits |= u64::from(byte & 0x7f) << (7 * self.bytes);
        self.bytes += 1;
        match byte < 0x80 {
            true => Some(true),
            false if self.bytes < bytes_max => Some(false),
            false => None,
        }
    }

    #[inline(always)]
    fn int(self) -> Option<i32> {
        let bits = u32::try_from(self.bits).ok()?;
        Some((bits >> 1) as i32 ^ -((bits & 1) as i32))
    }

    #[inline(always)]
    fn long(self) -> i64 {
        (self.bits >> 1) as i64 ^ -((self.bits & 1) as i64)
    }
}

// Whole records are read by these: through `Reader` and `Record` a walk takes four times as long, through `Cut` longer still,
// and every record that comes in is walked.

impl Outline {
    /// Reads the record at `at`, which moves behind it, and passes over its contents. `None` if it is not whole, or too long.
    #[inline(always)]
    fn decode(bytes: &[u8], at: &mut usize, length_max: usize) -> Option<Outline> {
        let length = usize::try_from(int(bytes, at)?).ok()?;
        let end = *at + length;
        // The attributes, which mean nothing.
        *at += 1;
        let (timestamp_delta, offset_delta) = (number::<LONG_BYTES_MAX>(bytes, at)?.long(), int(bytes, at)?);
        let has_key = pass(bytes, at)?;
        pass(bytes, at)?;
        let headers = u32::try_from(int(bytes, at)?).ok()?;
        for _ in 0..headers {
            pass(bytes, at)?.then_some(())?;
            pass(bytes, at)?;
        }
        let whole = *at == end && end <= bytes.len() && length <= length_max;
        whole.then_some(Outline { timestamp_delta, offset_delta, has_key })
    }
}

#[inline(always)]
fn number<const BYTES_MAX: u32>(bytes: &[u8], at: &mut usize) -> Option<Number> {
    let mut number = Number::default();
    loop {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if number.push(byte, BYTES_MAX)? {
            return Some(number);
        }
    }
}

#[inline(always)]
fn int(bytes: &[u8], at: &mut usize) -> Option<i32> {
    number::<INT_BYTES_MAX>(bytes, at)?.int()
}

/// Moves `at` behind a field with a length; whether it is not null.
#[inline(always)]
fn pass(bytes: &[u8], at: &mut usize) -> Option<bool> {
    let length = int(bytes, at)?;
    if length == -1 {
        return Some(false);
    }
    *at += usize::try_from(length).ok()?;
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::{BatchBuilder, HEADER_BYTES, RecordCursor};

    fn sample() -> Vec<u8> {
        let value = vec![b'v'; 300];
        let batch = BatchBuilder::new(0)
            .record(1000, Some(b"key"), Some(b"value"))
            .record_with_headers(990, None, None, &[("h", Some(b"1")), ("n", None)])
            .record(1 << 40, Some(&value), Some(&value))
            .build();
        batch[HEADER_BYTES..].to_vec()
    }

    /// What a walk over pieces of these lengths sees.
    fn walk(bytes: &[u8], count: i32, piece: usize) -> Result<Vec<Outline>, RecordsError> {
        let (mut records, mut seen) = (Records::new(count, 1000), Vec::new());
        for piece in bytes.chunks(piece) {
            records.feed(piece, |index, outline| {
                assert_eq!(index as usize, seen.len());
                seen.push(outline);
            })?;
        }
        records.finish().map(|()| seen)
    }

    #[test]
    fn records_are_seen_wherever_they_are_cut() {
        let first = Outline { timestamp_delta: 0, offset_delta: 0, has_key: true };
        let second = Outline { timestamp_delta: -10, offset_delta: 1, has_key: false };
        let third = Outline { timestamp_delta: (1 << 40) - 1000, offset_delta: 2, has_key: true };
        let bytes = sample();
        for piece in 1..=bytes.len() {
            assert_eq!(walk(&bytes, 3, piece), Ok(vec![first, second, third]), "{piece}");
            assert_eq!(walk(&bytes, 2, piece), Err(RecordsError::NotWhole(2)), "{piece}");
            assert_eq!(walk(&bytes, i32::MAX, piece), Err(RecordsError::NotWhole(3)), "{piece}");
            assert_eq!(walk(&bytes[..bytes.len() - 1], 3, piece), Err(RecordsError::NotWhole(2)), "{piece}");
        }
        assert_eq!(walk(&[], 1, 1), Err(RecordsError::NotWhole(0)));
    }

    #[test]
    fn every_changed_byte_means_the_same_in_pieces() {
        let bytes = sample();
        for at in 0..bytes.len() {
            for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let whole = walk(&changed, 3, changed.len());
                for piece in [1, 2, 3, 7, 64] {
                    assert_eq!(walk(&changed, 3, piece), whole, "{at} {value} {piece}");
                }
                // Names of headers are not looked at.
                let decoded = RecordCursor::new(&changed, 3).all(|record| record.is_ok());
                assert!(!decoded || whole.is_ok(), "{at} {value}");
            }
        }
    }

    #[test]
    fn a_record_that_is_too_long_shows_at_its_length() {
        let bytes = sample();
        let mut records = Records::new(3, 599);
        let seen = bytes.chunks(1).map(|piece| records.feed(piece, |_, _| {})).position(|result| result.is_err());
        assert!(seen.is_some_and(|at| at < bytes.len() - 600));
        assert_eq!(Records::new(3, 599).feed(&bytes, |_, _| {}), Err(RecordsError::TooLong(2)));
    }
}
