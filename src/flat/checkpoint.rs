// @generated from flatbuffers/checkpoint.fbs by flatc 25.12.19; the command is at the top of flatbuffers/metadata.fbs.
#![allow(warnings, clippy::all)]
extern crate alloc;
use super::*;

/// CRC-32C of the schema's text.
pub const SCHEMA_CRC32C: u32 = 0x98eaf374;

pub enum CheckpointOffset {}
#[derive(Copy, Clone, PartialEq)]

pub struct Checkpoint<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for Checkpoint<'a> {
  type Inner = Checkpoint<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> Checkpoint<'a> {
  pub const VT_GENERATION: ::flatbuffers::VOffsetT = 4;
  pub const VT_CORE: ::flatbuffers::VOffsetT = 6;
  pub const VT_CORES: ::flatbuffers::VOffsetT = 8;
  pub const VT_JOURNAL_SEQUENCE: ::flatbuffers::VOffsetT = 10;
  pub const VT_PARTITIONS: ::flatbuffers::VOffsetT = 12;
  pub const VT_ENDED: ::flatbuffers::VOffsetT = 14;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    Checkpoint { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args CheckpointArgs<'args>
  ) -> ::flatbuffers::WIPOffset<Checkpoint<'bldr>> {
    let mut builder = CheckpointBuilder::new(_fbb);
    builder.add_journal_sequence(args.journal_sequence);
    builder.add_generation(args.generation);
    if let Some(x) = args.partitions { builder.add_partitions(x); }
    builder.add_cores(args.cores);
    builder.add_core(args.core);
    builder.add_ended(args.ended);
    builder.finish()
  }


  /// Which start of the broker wrote it; journal blocks of older starts are not needed.
  #[inline]
  pub fn generation(&self) -> u64 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<u64>(Checkpoint::VT_GENERATION, Some(0)).unwrap()}
  }
  #[inline]
  pub fn core(&self) -> u16 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<u16>(Checkpoint::VT_CORE, Some(0)).unwrap()}
  }
  /// The number of cores at the time of writing.
  #[inline]
  pub fn cores(&self) -> u16 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<u16>(Checkpoint::VT_CORES, Some(0)).unwrap()}
  }
  /// Blocks of the journal up to and including this one are not needed; replay begins after it.
  #[inline]
  pub fn journal_sequence(&self) -> u64 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<u64>(Checkpoint::VT_JOURNAL_SEQUENCE, Some(0)).unwrap()}
  }
  #[inline]
  pub fn partitions(&self) -> ::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<PartitionCheckpoint<'a>>> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<PartitionCheckpoint>>>>(Checkpoint::VT_PARTITIONS, None).unwrap()}
  }
  /// The broker ended cleanly: nothing follows in the journal.
  #[inline]
  pub fn ended(&self) -> bool {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<bool>(Checkpoint::VT_ENDED, Some(false)).unwrap()}
  }
}

impl ::flatbuffers::Verifiable for Checkpoint<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<u64>("generation", Self::VT_GENERATION, false)?
     .visit_field::<u16>("core", Self::VT_CORE, false)?
     .visit_field::<u16>("cores", Self::VT_CORES, false)?
     .visit_field::<u64>("journal_sequence", Self::VT_JOURNAL_SEQUENCE, false)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, ::flatbuffers::ForwardsUOffset<PartitionCheckpoint>>>>("partitions", Self::VT_PARTITIONS, true)?
     .visit_field::<bool>("ended", Self::VT_ENDED, false)?
     .finish();
    Ok(())
  }
}
pub struct CheckpointArgs<'a> {
    pub generation: u64,
    pub core: u16,
    pub cores: u16,
    pub journal_sequence: u64,
    pub partitions: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<PartitionCheckpoint<'a>>>>>,
    pub ended: bool,
}
impl<'a> Default for CheckpointArgs<'a> {
  #[inline]
  fn default() -> Self {
    CheckpointArgs {
      generation: 0,
      core: 0,
      cores: 0,
      journal_sequence: 0,
      partitions: None, // required field
      ended: false,
    }
  }
}

pub struct CheckpointBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> CheckpointBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_generation(&mut self, generation: u64) {
    self.fbb_.push_slot::<u64>(Checkpoint::VT_GENERATION, generation, 0);
  }
  #[inline]
  pub fn add_core(&mut self, core: u16) {
    self.fbb_.push_slot::<u16>(Checkpoint::VT_CORE, core, 0);
  }
  #[inline]
  pub fn add_cores(&mut self, cores: u16) {
    self.fbb_.push_slot::<u16>(Checkpoint::VT_CORES, cores, 0);
  }
  #[inline]
  pub fn add_journal_sequence(&mut self, journal_sequence: u64) {
    self.fbb_.push_slot::<u64>(Checkpoint::VT_JOURNAL_SEQUENCE, journal_sequence, 0);
  }
  #[inline]
  pub fn add_partitions(&mut self, partitions: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , ::flatbuffers::ForwardsUOffset<PartitionCheckpoint<'b >>>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(Checkpoint::VT_PARTITIONS, partitions);
  }
  #[inline]
  pub fn add_ended(&mut self, ended: bool) {
    self.fbb_.push_slot::<bool>(Checkpoint::VT_ENDED, ended, false);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> CheckpointBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    CheckpointBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<Checkpoint<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, Checkpoint::VT_PARTITIONS,"partitions");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for Checkpoint<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("Checkpoint");
      ds.field("generation", &self.generation());
      ds.field("core", &self.core());
      ds.field("cores", &self.cores());
      ds.field("journal_sequence", &self.journal_sequence());
      ds.field("partitions", &self.partitions());
      ds.field("ended", &self.ended());
      ds.finish()
  }
}
#[inline]
/// Verifies that a buffer of bytes contains a `Checkpoint`
/// and returns it.
/// Note that verification is still experimental and may not
/// catch every error, or be maximally performant. For the
/// previous, unchecked, behavior use
/// `root_as_checkpoint_unchecked`.
pub fn root_as_checkpoint(buf: &[u8]) -> Result<Checkpoint<'_>, ::flatbuffers::InvalidFlatbuffer> {
  ::flatbuffers::root::<Checkpoint>(buf)
}
#[inline]
/// Verifies that a buffer of bytes contains a size prefixed
/// `Checkpoint` and returns it.
/// Note that verification is still experimental and may not
/// catch every error, or be maximally performant. For the
/// previous, unchecked, behavior use
/// `size_prefixed_root_as_checkpoint_unchecked`.
pub fn size_prefixed_root_as_checkpoint(buf: &[u8]) -> Result<Checkpoint<'_>, ::flatbuffers::InvalidFlatbuffer> {
  ::flatbuffers::size_prefixed_root::<Checkpoint>(buf)
}
#[inline]
/// Verifies, with the given options, that a buffer of bytes
/// contains a `Checkpoint` and returns it.
/// Note that verification is still experimental and may not
/// catch every error, or be maximally performant. For the
/// previous, unchecked, behavior use
/// `root_as_checkpoint_unchecked`.
pub fn root_as_checkpoint_with_opts<'b, 'o>(
  opts: &'o ::flatbuffers::VerifierOptions,
  buf: &'b [u8],
) -> Result<Checkpoint<'b>, ::flatbuffers::InvalidFlatbuffer> {
  ::flatbuffers::root_with_opts::<Checkpoint<'b>>(opts, buf)
}
#[inline]
/// Verifies, with the given verifier options, that a buffer of
/// bytes contains a size prefixed `Checkpoint` and returns
/// it. Note that verification is still experimental and may not
/// catch every error, or be maximally performant. For the
/// previous, unchecked, behavior use
/// `root_as_checkpoint_unchecked`.
pub fn size_prefixed_root_as_checkpoint_with_opts<'b, 'o>(
  opts: &'o ::flatbuffers::VerifierOptions,
  buf: &'b [u8],
) -> Result<Checkpoint<'b>, ::flatbuffers::InvalidFlatbuffer> {
  ::flatbuffers::size_prefixed_root_with_opts::<Checkpoint<'b>>(opts, buf)
}
#[inline]
/// Assumes, without verification, that a buffer of bytes contains a Checkpoint and returns it.
/// # Safety
/// Callers must trust the given bytes do indeed contain a valid `Checkpoint`.
pub unsafe fn root_as_checkpoint_unchecked(buf: &[u8]) -> Checkpoint<'_> {
  unsafe { ::flatbuffers::root_unchecked::<Checkpoint>(buf) }
}
#[inline]
/// Assumes, without verification, that a buffer of bytes contains a size prefixed Checkpoint and returns it.
/// # Safety
/// Callers must trust the given bytes do indeed contain a valid size prefixed `Checkpoint`.
pub unsafe fn size_prefixed_root_as_checkpoint_unchecked(buf: &[u8]) -> Checkpoint<'_> {
  unsafe { ::flatbuffers::size_prefixed_root_unchecked::<Checkpoint>(buf) }
}
pub const CHECKPOINT_IDENTIFIER: &str = "KLCP";

#[inline]
pub fn checkpoint_buffer_has_identifier(buf: &[u8]) -> bool {
  ::flatbuffers::buffer_has_identifier(buf, CHECKPOINT_IDENTIFIER, false)
}

#[inline]
pub fn checkpoint_size_prefixed_buffer_has_identifier(buf: &[u8]) -> bool {
  ::flatbuffers::buffer_has_identifier(buf, CHECKPOINT_IDENTIFIER, true)
}

#[inline]
pub fn finish_checkpoint_buffer<'a, 'b, A: ::flatbuffers::Allocator + 'a>(
    fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
    root: ::flatbuffers::WIPOffset<Checkpoint<'a>>) {
  fbb.finish(root, Some(CHECKPOINT_IDENTIFIER));
}

#[inline]
pub fn finish_size_prefixed_checkpoint_buffer<'a, 'b, A: ::flatbuffers::Allocator + 'a>(fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>, root: ::flatbuffers::WIPOffset<Checkpoint<'a>>) {
  fbb.finish_size_prefixed(root, Some(CHECKPOINT_IDENTIFIER));
}

/// The leader epoch `epoch` begins at offset `start`.
// struct EpochStart, aligned to 8
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq)]
pub struct EpochStart(pub [u8; 16]);
impl Default for EpochStart { 
  fn default() -> Self { 
    Self([0; 16])
  }
}
impl ::core::fmt::Debug for EpochStart {
  fn fmt(&self, f: &mut ::core::fmt::Formatter) -> ::core::fmt::Result {
    f.debug_struct("EpochStart")
      .field("epoch", &self.epoch())
      .field("start", &self.start())
      .finish()
  }
}

impl ::flatbuffers::SimpleToVerifyInSlice for EpochStart {}
impl<'a> ::flatbuffers::Follow<'a> for EpochStart {
  type Inner = &'a EpochStart;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    unsafe { <&'a EpochStart>::follow(buf, loc) }
  }
}
impl<'a> ::flatbuffers::Follow<'a> for &'a EpochStart {
  type Inner = &'a EpochStart;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    unsafe { ::flatbuffers::follow_cast_ref::<EpochStart>(buf, loc) }
  }
}
impl<'b> ::flatbuffers::Push for EpochStart {
    type Output = EpochStart;
    #[inline]
    unsafe fn push(&self, dst: &mut [u8], _written_len: usize) {
        let src = unsafe { ::core::slice::from_raw_parts(self as *const EpochStart as *const u8, <Self as ::flatbuffers::Push>::size()) };
        dst.copy_from_slice(src);
    }
    #[inline]
    fn alignment() -> ::flatbuffers::PushAlignment {
        ::flatbuffers::PushAlignment::new(8)
    }
}

impl<'a> ::flatbuffers::Verifiable for EpochStart {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.in_buffer::<Self>(pos)
  }
}

impl<'a> EpochStart {
  #[allow(clippy::too_many_arguments)]
  pub fn new(
    epoch: i32,
    start: i64,
  ) -> Self {
    let mut s = Self([0; 16]);
    s.set_epoch(epoch);
    s.set_start(start);
    s
  }

  pub fn epoch(&self) -> i32 {
    let mut mem = ::core::mem::MaybeUninit::<<i32 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[0..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i32 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_epoch(&mut self, x: i32) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[0..].as_mut_ptr(),
        ::core::mem::size_of::<<i32 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  pub fn start(&self) -> i64 {
    let mut mem = ::core::mem::MaybeUninit::<<i64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[8..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_start(&mut self, x: i64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[8..].as_mut_ptr(),
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

}

/// A batch boundary in a segment that has no index files yet, and the largest timestamp before it.
// struct IndexMark, aligned to 8
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq)]
pub struct IndexMark(pub [u8; 40]);
impl Default for IndexMark { 
  fn default() -> Self { 
    Self([0; 40])
  }
}
impl ::core::fmt::Debug for IndexMark {
  fn fmt(&self, f: &mut ::core::fmt::Formatter) -> ::core::fmt::Result {
    f.debug_struct("IndexMark")
      .field("segment", &self.segment())
      .field("offset", &self.offset())
      .field("timestamp_max", &self.timestamp_max())
      .field("timestamp_max_offset", &self.timestamp_max_offset())
      .field("position", &self.position())
      .finish()
  }
}

impl ::flatbuffers::SimpleToVerifyInSlice for IndexMark {}
impl<'a> ::flatbuffers::Follow<'a> for IndexMark {
  type Inner = &'a IndexMark;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    unsafe { <&'a IndexMark>::follow(buf, loc) }
  }
}
impl<'a> ::flatbuffers::Follow<'a> for &'a IndexMark {
  type Inner = &'a IndexMark;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    unsafe { ::flatbuffers::follow_cast_ref::<IndexMark>(buf, loc) }
  }
}
impl<'b> ::flatbuffers::Push for IndexMark {
    type Output = IndexMark;
    #[inline]
    unsafe fn push(&self, dst: &mut [u8], _written_len: usize) {
        let src = unsafe { ::core::slice::from_raw_parts(self as *const IndexMark as *const u8, <Self as ::flatbuffers::Push>::size()) };
        dst.copy_from_slice(src);
    }
    #[inline]
    fn alignment() -> ::flatbuffers::PushAlignment {
        ::flatbuffers::PushAlignment::new(8)
    }
}

impl<'a> ::flatbuffers::Verifiable for IndexMark {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.in_buffer::<Self>(pos)
  }
}

impl<'a> IndexMark {
  #[allow(clippy::too_many_arguments)]
  pub fn new(
    segment: i64,
    offset: i64,
    timestamp_max: i64,
    timestamp_max_offset: i64,
    position: u32,
  ) -> Self {
    let mut s = Self([0; 40]);
    s.set_segment(segment);
    s.set_offset(offset);
    s.set_timestamp_max(timestamp_max);
    s.set_timestamp_max_offset(timestamp_max_offset);
    s.set_position(position);
    s
  }

  pub fn segment(&self) -> i64 {
    let mut mem = ::core::mem::MaybeUninit::<<i64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[0..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_segment(&mut self, x: i64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[0..].as_mut_ptr(),
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  pub fn offset(&self) -> i64 {
    let mut mem = ::core::mem::MaybeUninit::<<i64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[8..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_offset(&mut self, x: i64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[8..].as_mut_ptr(),
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  pub fn timestamp_max(&self) -> i64 {
    let mut mem = ::core::mem::MaybeUninit::<<i64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[16..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_timestamp_max(&mut self, x: i64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[16..].as_mut_ptr(),
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  pub fn timestamp_max_offset(&self) -> i64 {
    let mut mem = ::core::mem::MaybeUninit::<<i64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[24..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_timestamp_max_offset(&mut self, x: i64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[24..].as_mut_ptr(),
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  pub fn position(&self) -> u32 {
    let mut mem = ::core::mem::MaybeUninit::<<u32 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[32..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<u32 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_position(&mut self, x: u32) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[32..].as_mut_ptr(),
        ::core::mem::size_of::<<u32 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

}

pub enum PartitionCheckpointOffset {}
#[derive(Copy, Clone, PartialEq)]

pub struct PartitionCheckpoint<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for PartitionCheckpoint<'a> {
  type Inner = PartitionCheckpoint<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> PartitionCheckpoint<'a> {
  pub const VT_TOPIC: ::flatbuffers::VOffsetT = 4;
  pub const VT_INDEX: ::flatbuffers::VOffsetT = 6;
  pub const VT_LOG_START: ::flatbuffers::VOffsetT = 8;
  pub const VT_FLUSHED_END: ::flatbuffers::VOffsetT = 10;
  pub const VT_SEGMENTS: ::flatbuffers::VOffsetT = 12;
  pub const VT_INDEX_MARKS: ::flatbuffers::VOffsetT = 14;
  pub const VT_EPOCHS: ::flatbuffers::VOffsetT = 16;
  pub const VT_PRODUCERS: ::flatbuffers::VOffsetT = 18;
  pub const VT_LOST_FROM: ::flatbuffers::VOffsetT = 20;
  pub const VT_COMMIT_END: ::flatbuffers::VOffsetT = 22;
  pub const VT_LEFTOVERS: ::flatbuffers::VOffsetT = 24;
  pub const VT_UNTIMED: ::flatbuffers::VOffsetT = 26;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    PartitionCheckpoint { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args PartitionCheckpointArgs<'args>
  ) -> ::flatbuffers::WIPOffset<PartitionCheckpoint<'bldr>> {
    let mut builder = PartitionCheckpointBuilder::new(_fbb);
    builder.add_commit_end(args.commit_end);
    builder.add_lost_from(args.lost_from);
    builder.add_flushed_end(args.flushed_end);
    builder.add_log_start(args.log_start);
    if let Some(x) = args.untimed { builder.add_untimed(x); }
    if let Some(x) = args.producers { builder.add_producers(x); }
    if let Some(x) = args.epochs { builder.add_epochs(x); }
    if let Some(x) = args.index_marks { builder.add_index_marks(x); }
    if let Some(x) = args.segments { builder.add_segments(x); }
    builder.add_index(args.index);
    if let Some(x) = args.topic { builder.add_topic(x); }
    builder.add_leftovers(args.leftovers);
    builder.finish()
  }


  #[inline]
  pub fn topic(&self) -> &'a super::types::Id {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<super::types::Id>(PartitionCheckpoint::VT_TOPIC, None).unwrap()}
  }
  #[inline]
  pub fn index(&self) -> i32 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i32>(PartitionCheckpoint::VT_INDEX, Some(0)).unwrap()}
  }
  #[inline]
  pub fn log_start(&self) -> i64 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i64>(PartitionCheckpoint::VT_LOG_START, Some(0)).unwrap()}
  }
  /// The offset after the last batch that lies wholly in segments and is synced.
  #[inline]
  pub fn flushed_end(&self) -> i64 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i64>(PartitionCheckpoint::VT_FLUSHED_END, Some(0)).unwrap()}
  }
  /// The last one is active; its `bytes` are the position of `flushed_end`.
  #[inline]
  pub fn segments(&self) -> ::flatbuffers::Vector<'a, SegmentMeta> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, SegmentMeta>>>(PartitionCheckpoint::VT_SEGMENTS, None).unwrap()}
  }
  #[inline]
  pub fn index_marks(&self) -> ::flatbuffers::Vector<'a, IndexMark> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, IndexMark>>>(PartitionCheckpoint::VT_INDEX_MARKS, None).unwrap()}
  }
  #[inline]
  pub fn epochs(&self) -> ::flatbuffers::Vector<'a, EpochStart> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, EpochStart>>>(PartitionCheckpoint::VT_EPOCHS, None).unwrap()}
  }
  #[inline]
  pub fn producers(&self) -> ::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Producer<'a>>> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Producer>>>>(PartitionCheckpoint::VT_PRODUCERS, None).unwrap()}
  }
  /// Records from this offset on were acknowledged and are lost, or -1.
  #[inline]
  pub fn lost_from(&self) -> i64 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i64>(PartitionCheckpoint::VT_LOST_FROM, Some(-1)).unwrap()}
  }
  /// The offset after the last record that consumers could read (high watermark).
  #[inline]
  pub fn commit_end(&self) -> i64 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i64>(PartitionCheckpoint::VT_COMMIT_END, Some(0)).unwrap()}
  }
  /// There may be files of segments that were cut off, which no segment names.
  #[inline]
  pub fn leftovers(&self) -> bool {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<bool>(PartitionCheckpoint::VT_LEFTOVERS, Some(false)).unwrap()}
  }
  /// Of segments in which no batch has a time; left out if there are none.
  #[inline]
  pub fn untimed(&self) -> Option<::flatbuffers::Vector<'a, Untimed>> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, Untimed>>>(PartitionCheckpoint::VT_UNTIMED, None)}
  }
}

impl ::flatbuffers::Verifiable for PartitionCheckpoint<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<super::types::Id>("topic", Self::VT_TOPIC, true)?
     .visit_field::<i32>("index", Self::VT_INDEX, false)?
     .visit_field::<i64>("log_start", Self::VT_LOG_START, false)?
     .visit_field::<i64>("flushed_end", Self::VT_FLUSHED_END, false)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, SegmentMeta>>>("segments", Self::VT_SEGMENTS, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, IndexMark>>>("index_marks", Self::VT_INDEX_MARKS, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, EpochStart>>>("epochs", Self::VT_EPOCHS, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, ::flatbuffers::ForwardsUOffset<Producer>>>>("producers", Self::VT_PRODUCERS, true)?
     .visit_field::<i64>("lost_from", Self::VT_LOST_FROM, false)?
     .visit_field::<i64>("commit_end", Self::VT_COMMIT_END, false)?
     .visit_field::<bool>("leftovers", Self::VT_LEFTOVERS, false)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, Untimed>>>("untimed", Self::VT_UNTIMED, false)?
     .finish();
    Ok(())
  }
}
pub struct PartitionCheckpointArgs<'a> {
    pub topic: Option<&'a super::types::Id>,
    pub index: i32,
    pub log_start: i64,
    pub flushed_end: i64,
    pub segments: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, SegmentMeta>>>,
    pub index_marks: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, IndexMark>>>,
    pub epochs: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, EpochStart>>>,
    pub producers: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Producer<'a>>>>>,
    pub lost_from: i64,
    pub commit_end: i64,
    pub leftovers: bool,
    pub untimed: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, Untimed>>>,
}
impl<'a> Default for PartitionCheckpointArgs<'a> {
  #[inline]
  fn default() -> Self {
    PartitionCheckpointArgs {
      topic: None, // required field
      index: 0,
      log_start: 0,
      flushed_end: 0,
      segments: None, // required field
      index_marks: None, // required field
      epochs: None, // required field
      producers: None, // required field
      lost_from: -1,
      commit_end: 0,
      leftovers: false,
      untimed: None,
    }
  }
}

pub struct PartitionCheckpointBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> PartitionCheckpointBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_topic(&mut self, topic: &super::types::Id) {
    self.fbb_.push_slot_always::<&super::types::Id>(PartitionCheckpoint::VT_TOPIC, topic);
  }
  #[inline]
  pub fn add_index(&mut self, index: i32) {
    self.fbb_.push_slot::<i32>(PartitionCheckpoint::VT_INDEX, index, 0);
  }
  #[inline]
  pub fn add_log_start(&mut self, log_start: i64) {
    self.fbb_.push_slot::<i64>(PartitionCheckpoint::VT_LOG_START, log_start, 0);
  }
  #[inline]
  pub fn add_flushed_end(&mut self, flushed_end: i64) {
    self.fbb_.push_slot::<i64>(PartitionCheckpoint::VT_FLUSHED_END, flushed_end, 0);
  }
  #[inline]
  pub fn add_segments(&mut self, segments: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , SegmentMeta>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(PartitionCheckpoint::VT_SEGMENTS, segments);
  }
  #[inline]
  pub fn add_index_marks(&mut self, index_marks: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , IndexMark>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(PartitionCheckpoint::VT_INDEX_MARKS, index_marks);
  }
  #[inline]
  pub fn add_epochs(&mut self, epochs: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , EpochStart>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(PartitionCheckpoint::VT_EPOCHS, epochs);
  }
  #[inline]
  pub fn add_producers(&mut self, producers: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , ::flatbuffers::ForwardsUOffset<Producer<'b >>>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(PartitionCheckpoint::VT_PRODUCERS, producers);
  }
  #[inline]
  pub fn add_lost_from(&mut self, lost_from: i64) {
    self.fbb_.push_slot::<i64>(PartitionCheckpoint::VT_LOST_FROM, lost_from, -1);
  }
  #[inline]
  pub fn add_commit_end(&mut self, commit_end: i64) {
    self.fbb_.push_slot::<i64>(PartitionCheckpoint::VT_COMMIT_END, commit_end, 0);
  }
  #[inline]
  pub fn add_leftovers(&mut self, leftovers: bool) {
    self.fbb_.push_slot::<bool>(PartitionCheckpoint::VT_LEFTOVERS, leftovers, false);
  }
  #[inline]
  pub fn add_untimed(&mut self, untimed: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , Untimed>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(PartitionCheckpoint::VT_UNTIMED, untimed);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> PartitionCheckpointBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    PartitionCheckpointBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<PartitionCheckpoint<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, PartitionCheckpoint::VT_TOPIC,"topic");
    self.fbb_.required(o, PartitionCheckpoint::VT_SEGMENTS,"segments");
    self.fbb_.required(o, PartitionCheckpoint::VT_INDEX_MARKS,"index_marks");
    self.fbb_.required(o, PartitionCheckpoint::VT_EPOCHS,"epochs");
    self.fbb_.required(o, PartitionCheckpoint::VT_PRODUCERS,"producers");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for PartitionCheckpoint<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("PartitionCheckpoint");
      ds.field("topic", &self.topic());
      ds.field("index", &self.index());
      ds.field("log_start", &self.log_start());
      ds.field("flushed_end", &self.flushed_end());
      ds.field("segments", &self.segments());
      ds.field("index_marks", &self.index_marks());
      ds.field("epochs", &self.epochs());
      ds.field("producers", &self.producers());
      ds.field("lost_from", &self.lost_from());
      ds.field("commit_end", &self.commit_end());
      ds.field("leftovers", &self.leftovers());
      ds.field("untimed", &self.untimed());
      ds.finish()
  }
}

// struct ProducerBatch, aligned to 8
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq)]
pub struct ProducerBatch(pub [u8; 32]);
impl Default for ProducerBatch { 
  fn default() -> Self { 
    Self([0; 32])
  }
}
impl ::core::fmt::Debug for ProducerBatch {
  fn fmt(&self, f: &mut ::core::fmt::Formatter) -> ::core::fmt::Result {
    f.debug_struct("ProducerBatch")
      .field("base_sequence", &self.base_sequence())
      .field("last_sequence", &self.last_sequence())
      .field("base_offset", &self.base_offset())
      .field("last_offset", &self.last_offset())
      .field("timestamp", &self.timestamp())
      .finish()
  }
}

impl ::flatbuffers::SimpleToVerifyInSlice for ProducerBatch {}
impl<'a> ::flatbuffers::Follow<'a> for ProducerBatch {
  type Inner = &'a ProducerBatch;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    unsafe { <&'a ProducerBatch>::follow(buf, loc) }
  }
}
impl<'a> ::flatbuffers::Follow<'a> for &'a ProducerBatch {
  type Inner = &'a ProducerBatch;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    unsafe { ::flatbuffers::follow_cast_ref::<ProducerBatch>(buf, loc) }
  }
}
impl<'b> ::flatbuffers::Push for ProducerBatch {
    type Output = ProducerBatch;
    #[inline]
    unsafe fn push(&self, dst: &mut [u8], _written_len: usize) {
        let src = unsafe { ::core::slice::from_raw_parts(self as *const ProducerBatch as *const u8, <Self as ::flatbuffers::Push>::size()) };
        dst.copy_from_slice(src);
    }
    #[inline]
    fn alignment() -> ::flatbuffers::PushAlignment {
        ::flatbuffers::PushAlignment::new(8)
    }
}

impl<'a> ::flatbuffers::Verifiable for ProducerBatch {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.in_buffer::<Self>(pos)
  }
}

impl<'a> ProducerBatch {
  #[allow(clippy::too_many_arguments)]
  pub fn new(
    base_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    last_offset: i64,
    timestamp: i64,
  ) -> Self {
    let mut s = Self([0; 32]);
    s.set_base_sequence(base_sequence);
    s.set_last_sequence(last_sequence);
    s.set_base_offset(base_offset);
    s.set_last_offset(last_offset);
    s.set_timestamp(timestamp);
    s
  }

  pub fn base_sequence(&self) -> i32 {
    let mut mem = ::core::mem::MaybeUninit::<<i32 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[0..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i32 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_base_sequence(&mut self, x: i32) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[0..].as_mut_ptr(),
        ::core::mem::size_of::<<i32 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  pub fn last_sequence(&self) -> i32 {
    let mut mem = ::core::mem::MaybeUninit::<<i32 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[4..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i32 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_last_sequence(&mut self, x: i32) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[4..].as_mut_ptr(),
        ::core::mem::size_of::<<i32 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  pub fn base_offset(&self) -> i64 {
    let mut mem = ::core::mem::MaybeUninit::<<i64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[8..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_base_offset(&mut self, x: i64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[8..].as_mut_ptr(),
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  pub fn last_offset(&self) -> i64 {
    let mut mem = ::core::mem::MaybeUninit::<<i64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[16..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_last_offset(&mut self, x: i64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[16..].as_mut_ptr(),
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  pub fn timestamp(&self) -> i64 {
    let mut mem = ::core::mem::MaybeUninit::<<i64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[24..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_timestamp(&mut self, x: i64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[24..].as_mut_ptr(),
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

}

pub enum ProducerOffset {}
#[derive(Copy, Clone, PartialEq)]

/// An idempotent or transactional producer and its last batches, oldest first.
pub struct Producer<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for Producer<'a> {
  type Inner = Producer<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> Producer<'a> {
  pub const VT_ID: ::flatbuffers::VOffsetT = 4;
  pub const VT_EPOCH: ::flatbuffers::VOffsetT = 6;
  pub const VT_TIMESTAMP_MS: ::flatbuffers::VOffsetT = 8;
  pub const VT_TXN_FIRST_OFFSET: ::flatbuffers::VOffsetT = 10;
  pub const VT_COORDINATOR_EPOCH: ::flatbuffers::VOffsetT = 12;
  pub const VT_BATCHES: ::flatbuffers::VOffsetT = 14;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    Producer { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args ProducerArgs<'args>
  ) -> ::flatbuffers::WIPOffset<Producer<'bldr>> {
    let mut builder = ProducerBuilder::new(_fbb);
    builder.add_txn_first_offset(args.txn_first_offset);
    builder.add_timestamp_ms(args.timestamp_ms);
    builder.add_id(args.id);
    if let Some(x) = args.batches { builder.add_batches(x); }
    builder.add_coordinator_epoch(args.coordinator_epoch);
    builder.add_epoch(args.epoch);
    builder.finish()
  }


  #[inline]
  pub fn id(&self) -> i64 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i64>(Producer::VT_ID, Some(0)).unwrap()}
  }
  #[inline]
  pub fn epoch(&self) -> i16 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i16>(Producer::VT_EPOCH, Some(0)).unwrap()}
  }
  /// Of its last batch.
  #[inline]
  pub fn timestamp_ms(&self) -> i64 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i64>(Producer::VT_TIMESTAMP_MS, Some(0)).unwrap()}
  }
  /// First offset of its open transaction, or -1.
  #[inline]
  pub fn txn_first_offset(&self) -> i64 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i64>(Producer::VT_TXN_FIRST_OFFSET, Some(-1)).unwrap()}
  }
  #[inline]
  pub fn coordinator_epoch(&self) -> i32 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i32>(Producer::VT_COORDINATOR_EPOCH, Some(-1)).unwrap()}
  }
  #[inline]
  pub fn batches(&self) -> ::flatbuffers::Vector<'a, ProducerBatch> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, ProducerBatch>>>(Producer::VT_BATCHES, None).unwrap()}
  }
}

impl ::flatbuffers::Verifiable for Producer<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<i64>("id", Self::VT_ID, false)?
     .visit_field::<i16>("epoch", Self::VT_EPOCH, false)?
     .visit_field::<i64>("timestamp_ms", Self::VT_TIMESTAMP_MS, false)?
     .visit_field::<i64>("txn_first_offset", Self::VT_TXN_FIRST_OFFSET, false)?
     .visit_field::<i32>("coordinator_epoch", Self::VT_COORDINATOR_EPOCH, false)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, ProducerBatch>>>("batches", Self::VT_BATCHES, true)?
     .finish();
    Ok(())
  }
}
pub struct ProducerArgs<'a> {
    pub id: i64,
    pub epoch: i16,
    pub timestamp_ms: i64,
    pub txn_first_offset: i64,
    pub coordinator_epoch: i32,
    pub batches: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, ProducerBatch>>>,
}
impl<'a> Default for ProducerArgs<'a> {
  #[inline]
  fn default() -> Self {
    ProducerArgs {
      id: 0,
      epoch: 0,
      timestamp_ms: 0,
      txn_first_offset: -1,
      coordinator_epoch: -1,
      batches: None, // required field
    }
  }
}

pub struct ProducerBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> ProducerBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_id(&mut self, id: i64) {
    self.fbb_.push_slot::<i64>(Producer::VT_ID, id, 0);
  }
  #[inline]
  pub fn add_epoch(&mut self, epoch: i16) {
    self.fbb_.push_slot::<i16>(Producer::VT_EPOCH, epoch, 0);
  }
  #[inline]
  pub fn add_timestamp_ms(&mut self, timestamp_ms: i64) {
    self.fbb_.push_slot::<i64>(Producer::VT_TIMESTAMP_MS, timestamp_ms, 0);
  }
  #[inline]
  pub fn add_txn_first_offset(&mut self, txn_first_offset: i64) {
    self.fbb_.push_slot::<i64>(Producer::VT_TXN_FIRST_OFFSET, txn_first_offset, -1);
  }
  #[inline]
  pub fn add_coordinator_epoch(&mut self, coordinator_epoch: i32) {
    self.fbb_.push_slot::<i32>(Producer::VT_COORDINATOR_EPOCH, coordinator_epoch, -1);
  }
  #[inline]
  pub fn add_batches(&mut self, batches: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , ProducerBatch>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(Producer::VT_BATCHES, batches);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> ProducerBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    ProducerBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<Producer<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, Producer::VT_BATCHES,"batches");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for Producer<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("Producer");
      ds.field("id", &self.id());
      ds.field("epoch", &self.epoch());
      ds.field("timestamp_ms", &self.timestamp_ms());
      ds.field("txn_first_offset", &self.txn_first_offset());
      ds.field("coordinator_epoch", &self.coordinator_epoch());
      ds.field("batches", &self.batches());
      ds.finish()
  }
}

/// `bytes` ends on a batch boundary. A segment without a batch has -1 in all three timestamps' fields.
// struct SegmentMeta, aligned to 8
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq)]
pub struct SegmentMeta(pub [u8; 48]);
impl Default for SegmentMeta { 
  fn default() -> Self { 
    Self([0; 48])
  }
}
impl ::core::fmt::Debug for SegmentMeta {
  fn fmt(&self, f: &mut ::core::fmt::Formatter) -> ::core::fmt::Result {
    f.debug_struct("SegmentMeta")
      .field("base_offset", &self.base_offset())
      .field("bytes", &self.bytes())
      .field("timestamp_max", &self.timestamp_max())
      .field("timestamp_max_offset", &self.timestamp_max_offset())
      .field("first_timestamp", &self.first_timestamp())
      .field("indexed", &self.indexed())
      .field("generation", &self.generation())
      .finish()
  }
}

impl ::flatbuffers::SimpleToVerifyInSlice for SegmentMeta {}
impl<'a> ::flatbuffers::Follow<'a> for SegmentMeta {
  type Inner = &'a SegmentMeta;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    unsafe { <&'a SegmentMeta>::follow(buf, loc) }
  }
}
impl<'a> ::flatbuffers::Follow<'a> for &'a SegmentMeta {
  type Inner = &'a SegmentMeta;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    unsafe { ::flatbuffers::follow_cast_ref::<SegmentMeta>(buf, loc) }
  }
}
impl<'b> ::flatbuffers::Push for SegmentMeta {
    type Output = SegmentMeta;
    #[inline]
    unsafe fn push(&self, dst: &mut [u8], _written_len: usize) {
        let src = unsafe { ::core::slice::from_raw_parts(self as *const SegmentMeta as *const u8, <Self as ::flatbuffers::Push>::size()) };
        dst.copy_from_slice(src);
    }
    #[inline]
    fn alignment() -> ::flatbuffers::PushAlignment {
        ::flatbuffers::PushAlignment::new(8)
    }
}

impl<'a> ::flatbuffers::Verifiable for SegmentMeta {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.in_buffer::<Self>(pos)
  }
}

impl<'a> SegmentMeta {
  #[allow(clippy::too_many_arguments)]
  pub fn new(
    base_offset: i64,
    bytes: u64,
    timestamp_max: i64,
    timestamp_max_offset: i64,
    first_timestamp: i64,
    indexed: bool,
    generation: u32,
  ) -> Self {
    let mut s = Self([0; 48]);
    s.set_base_offset(base_offset);
    s.set_bytes(bytes);
    s.set_timestamp_max(timestamp_max);
    s.set_timestamp_max_offset(timestamp_max_offset);
    s.set_first_timestamp(first_timestamp);
    s.set_indexed(indexed);
    s.set_generation(generation);
    s
  }

  pub fn base_offset(&self) -> i64 {
    let mut mem = ::core::mem::MaybeUninit::<<i64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[0..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_base_offset(&mut self, x: i64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[0..].as_mut_ptr(),
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  pub fn bytes(&self) -> u64 {
    let mut mem = ::core::mem::MaybeUninit::<<u64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[8..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<u64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_bytes(&mut self, x: u64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[8..].as_mut_ptr(),
        ::core::mem::size_of::<<u64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  pub fn timestamp_max(&self) -> i64 {
    let mut mem = ::core::mem::MaybeUninit::<<i64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[16..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_timestamp_max(&mut self, x: i64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[16..].as_mut_ptr(),
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  pub fn timestamp_max_offset(&self) -> i64 {
    let mut mem = ::core::mem::MaybeUninit::<<i64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[24..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_timestamp_max_offset(&mut self, x: i64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[24..].as_mut_ptr(),
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  /// Largest timestamp of the first batch: rolling by time counts from it.
  pub fn first_timestamp(&self) -> i64 {
    let mut mem = ::core::mem::MaybeUninit::<<i64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[32..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_first_timestamp(&mut self, x: i64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[32..].as_mut_ptr(),
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  /// Its index files are there.
  pub fn indexed(&self) -> bool {
    let mut mem = ::core::mem::MaybeUninit::<<bool as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[40..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<bool as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_indexed(&mut self, x: bool) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[40..].as_mut_ptr(),
        ::core::mem::size_of::<<bool as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  /// Of its files: later ones of the same base offset have taken the place of earlier ones.
  pub fn generation(&self) -> u32 {
    let mut mem = ::core::mem::MaybeUninit::<<u32 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[44..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<u32 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_generation(&mut self, x: u32) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[44..].as_mut_ptr(),
        ::core::mem::size_of::<<u32 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

}

/// When the last batch of a segment came, in which no batch has a time.
// struct Untimed, aligned to 8
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq)]
pub struct Untimed(pub [u8; 16]);
impl Default for Untimed { 
  fn default() -> Self { 
    Self([0; 16])
  }
}
impl ::core::fmt::Debug for Untimed {
  fn fmt(&self, f: &mut ::core::fmt::Formatter) -> ::core::fmt::Result {
    f.debug_struct("Untimed")
      .field("segment", &self.segment())
      .field("modified_ms", &self.modified_ms())
      .finish()
  }
}

impl ::flatbuffers::SimpleToVerifyInSlice for Untimed {}
impl<'a> ::flatbuffers::Follow<'a> for Untimed {
  type Inner = &'a Untimed;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    unsafe { <&'a Untimed>::follow(buf, loc) }
  }
}
impl<'a> ::flatbuffers::Follow<'a> for &'a Untimed {
  type Inner = &'a Untimed;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    unsafe { ::flatbuffers::follow_cast_ref::<Untimed>(buf, loc) }
  }
}
impl<'b> ::flatbuffers::Push for Untimed {
    type Output = Untimed;
    #[inline]
    unsafe fn push(&self, dst: &mut [u8], _written_len: usize) {
        let src = unsafe { ::core::slice::from_raw_parts(self as *const Untimed as *const u8, <Self as ::flatbuffers::Push>::size()) };
        dst.copy_from_slice(src);
    }
    #[inline]
    fn alignment() -> ::flatbuffers::PushAlignment {
        ::flatbuffers::PushAlignment::new(8)
    }
}

impl<'a> ::flatbuffers::Verifiable for Untimed {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.in_buffer::<Self>(pos)
  }
}

impl<'a> Untimed {
  #[allow(clippy::too_many_arguments)]
  pub fn new(
    segment: i64,
    modified_ms: i64,
  ) -> Self {
    let mut s = Self([0; 16]);
    s.set_segment(segment);
    s.set_modified_ms(modified_ms);
    s
  }

  pub fn segment(&self) -> i64 {
    let mut mem = ::core::mem::MaybeUninit::<<i64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[0..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_segment(&mut self, x: i64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[0..].as_mut_ptr(),
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

  pub fn modified_ms(&self) -> i64 {
    let mut mem = ::core::mem::MaybeUninit::<<i64 as ::flatbuffers::EndianScalar>::Scalar>::uninit();
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    ::flatbuffers::EndianScalar::from_little_endian(unsafe {
      ::core::ptr::copy_nonoverlapping(
        self.0[8..].as_ptr(),
        mem.as_mut_ptr() as *mut u8,
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
      mem.assume_init()
    })
  }

  pub fn set_modified_ms(&mut self, x: i64) {
    let x_le = ::flatbuffers::EndianScalar::to_little_endian(x);
    // Safety:
    // Created from a valid Table for this object
    // Which contains a valid value in this slot
    unsafe {
      ::core::ptr::copy_nonoverlapping(
        &x_le as *const _ as *const u8,
        self.0[8..].as_mut_ptr(),
        ::core::mem::size_of::<<i64 as ::flatbuffers::EndianScalar>::Scalar>(),
      );
    }
  }

}
