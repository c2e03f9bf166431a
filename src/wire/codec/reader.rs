//! Reading values of Kafka's encoding from hostile bytes.

use super::{DecodeError, Records, STRING_BYTES_MAX};
use crate::types::Uuid;
use std::borrow::Cow;

/// Reads values off the front of a slice. Never panics and never allocates more than a multiple of the bytes that are there.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Bytes that are left at least when an element of an array or a tagged field ends: see [`Reader::bounded`].
    rest_min: usize,
}

macro_rules! read_integers {
    ($($name:ident)*) => { $(
        #[doc = concat!("The next bytes as an `", stringify!($name), "`.")]
        pub fn $name(&mut self) -> Result<$name, DecodeError> {
            Ok($name::from_be_bytes(*self.chunk()?))
        }
    )* };
}

impl<'a> Reader<'a> {
    /// Reads from the first of these bytes on.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes, rest_min: 0 }
    }

    /// Reads a message whose fields take at most `field_bytes_max` bytes, its record batches aside. A longer one is refused
    /// after the element of an array, or the tagged field, with which it has become so long.
    pub fn bounded(bytes: &'a [u8], field_bytes_max: usize) -> Self {
        Reader { rest: bytes, rest_min: bytes.len().saturating_sub(field_bytes_max) }
    }

    fn check_bound(&self) -> Result<(), DecodeError> {
        if self.remaining() < self.rest_min { Err(DecodeError::Length) } else { Ok(()) }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Passes over all that is left.
    pub fn skip(&mut self) {
        self.rest = &[];
    }

    read_integers! { i8 i16 u16 i32 u32 i64 f64 }

    /// One byte; any but 0 is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid(*self.chunk()?))
    }

    /// Unsigned varint of at most 5 bytes, least significant group first.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.varint_bits(5)?).map_err(|_| DecodeError::Varint)
    }

    /// Zigzag varint, as in records.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let bits = self.uvarint()?;
        Ok((bits >> 1) as i32 ^ -((bits & 1) as i32))
    }

    /// Zigzag varint of 64 bits, at most 10 bytes.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let bits = self.varint_bits(10)?;
        Ok((bits >> 1) as i64 ^ -((bits & 1) as i64))
    }

    fn varint_bits(&mut self, bytes_max: u32) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for i in 0..bytes_max {
            let [byte] = *self.chunk()?;
            let group = u64::from(byte & 0x7f);
            // The tenth group has room for one bit.
            if i == 9 && group > 1 {
                return Err(DecodeError::Varint);
            }
            value |= group << (7 * i);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], DecodeError> {
        let (chunk, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(chunk)
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Length of bytes, or count of an array; `None` for null.
    fn length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return Ok((self.uvarint()? as usize).checked_sub(1));
        }
        match self.i32()? {
            -1 => Ok(None),
            length => Ok(Some(usize::try_from(length).map_err(|_| DecodeError::Length)?)),
        }
    }

    /// A string or null.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let length = if flexible {
            self.length(true)?
        } else {
            match self.i16()? {
                -1 => None,
                length => Some(usize::try_from(length).map_err(|_| DecodeError::Length)?),
            }
        };
        let Some(length) = length else { return Ok(None) };
        if length > STRING_BYTES_MAX {
            return Err(DecodeError::Length);
        }
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Utf8)?;
        Ok(Some(Cow::Borrowed(text)))
    }

    /// A string; null is an error.
    pub fn string(&mut self, flexible: bool) -> Result<Cow<'a, str>, DecodeError> {
        self.nullable_string(flexible)?.ok_or(DecodeError::Null)
    }

    fn nullable_slice(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, DecodeError> {
        let Some(length) = self.length(flexible)? else {
            return Ok(None);
        };
        self.take(length).map(Some)
    }

    /// Bytes or null.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Cow<'a, [u8]>>, DecodeError> {
        Ok(self.nullable_slice(flexible)?.map(Cow::Borrowed))
    }

    /// Bytes; null is an error.
    pub fn bytes(&mut self, flexible: bool) -> Result<Cow<'a, [u8]>, DecodeError> {
        self.nullable_bytes(flexible)?.ok_or(DecodeError::Null)
    }

    /// Record batches or null.
    pub fn nullable_records(&mut self, flexible: bool) -> Result<Option<Records<'a>>, DecodeError> {
        let records = self.nullable_slice(flexible)?;
        self.rest_min = self.rest_min.saturating_sub(records.map_or(0, <[u8]>::len));
        Ok(records.map(Records::Slice))
    }

    /// Record batches; null is an error.
    pub fn records(&mut self, flexible: bool) -> Result<Records<'a>, DecodeError> {
        self.nullable_records(flexible)?.ok_or(DecodeError::Null)
    }

    /// An array whose elements take at least `element_bytes_min` bytes each, read by `element`. A count that the remaining
    /// bytes cannot hold is refused, and room is made only for what they would fill.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(flexible)? else {
            return Ok(None);
        };
        if count > self.remaining() / element_bytes_min.max(1) {
            return Err(DecodeError::Truncated);
        }
        let room = self.remaining() / size_of::<T>().max(1) + 1;
        let mut elements = Vec::with_capacity(count.min(room));
        for _ in 0..count {
            elements.push(element(self)?);
            self.check_bound()?;
        }
        Ok(Some(elements))
    }

    /// The elements of an array; null is an error. `element_bytes_min` is as for [`Reader::nullable_array`].
    pub fn array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(flexible, element_bytes_min, element)?.ok_or(DecodeError::Null)
    }

    /// A struct that a mark precedes: int8, negative for null; in a tagged field an unsigned varint, 0 for null.
    pub fn nullable_struct<T>(
        &mut self,
        tagged: bool,
        fields: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        let present = if tagged { self.uvarint()? > 0 } else { self.i8()? >= 0 };
        if present { fields(self).map(Some) } else { Ok(None) }
    }

    /// The tag section that ends a flexible struct. `field` gets each tag and a reader of its value, which it must use up.
    pub fn tags(
        &mut self,
        mut field: impl FnMut(u32, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let length = self.uvarint()? as usize;
            let mut value = Reader::new(self.take(length)?);
            field(tag, &mut value)?;
            if value.remaining() > 0 {
                return Err(DecodeError::Tag);
            }
            self.check_bound()?;
        }
        Ok(())
    }
}
