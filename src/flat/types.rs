// @generated from flatbuffers/types.fbs by flatc 25.12.19; the command is at the top of flatbuffers/metadata.fbs.
#![allow(warnings, clippy::all)]
extern crate alloc;
use super::*;

/// CRC-32C of the schema's text.
pub const SCHEMA_CRC32C: u32 = 0x8ef94d17;

/// 128-bit identifier of a topic, in the byte order in which Kafka sends it.
// struct Id, aligned to 1
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq)]
pub struct Id(pub [u8; 16]);
impl Default for Id { 
  fn default() -> Self { 
    Self([0; 16])
  }
}
impl ::core::fmt::Debug for Id {
  fn fmt(&self, f: &mut ::core::fmt::Formatter) -> ::core::fmt::Result {
    f.debug_struct("Id")
      .field("bytes", &self.bytes())
      .finish()
  }
}

impl ::flatbuffers::SimpleToVerifyInSlice for Id {}
impl<'a> ::flatbuffers::Follow<'a> for Id {
  type Inner = &'a Id;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    unsafe { <&'a Id>::follow(buf, loc) }
  }
}
impl<'a> ::flatbuffers::Follow<'a> for &'a Id {
  type Inner = &'a Id;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    unsafe { ::flatbuffers::follow_cast_ref::<Id>(buf, loc) }
  }
}
impl<'b> ::flatbuffers::Push for Id {
    type Output = Id;
    #[inline]
    unsafe fn push(&self, dst: &mut [u8], _written_len: usize) {
        let src = unsafe { ::core::slice::from_raw_parts(self as *const Id as *const u8, <Self as ::flatbuffers::Push>::size()) };
        dst.copy_from_slice(src);
    }
    #[inline]
    fn alignment() -> ::flatbuffers::PushAlignment {
        ::flatbuffers::PushAlignment::new(1)
    }
}

impl<'a> ::flatbuffers::Verifiable for Id {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.in_buffer::<Self>(pos)
  }
}

impl<'a> Id {
  #[allow(clippy::too_many_arguments)]
  pub fn new(
    bytes: &[u8; 16],
  ) -> Self {
    let mut s = Self([0; 16]);
    s.set_bytes(bytes);
    s
  }

  pub fn bytes(&'a self) -> ::flatbuffers::Array<'a, u8, 16> {
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid array in this slot
    use ::flatbuffers::Follow;
    unsafe { ::flatbuffers::Array::follow(&self.0, 0) }
  }

  pub fn set_bytes(&mut self, items: &[u8; 16]) {
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid array in this slot
    unsafe { ::flatbuffers::emplace_scalar_array(&mut self.0, 0, items) };
  }

}
