// @generated from flatbuffers/metadata.fbs by flatc 25.12.19; the command is at the top of flatbuffers/metadata.fbs.
#![allow(warnings, clippy::all)]
extern crate alloc;
use super::*;

/// CRC-32C of the schema's text.
pub const SCHEMA_CRC32C: u32 = 0x73e4c498;

pub enum BrokerRegisteredOffset {}
#[derive(Copy, Clone, PartialEq)]

/// A broker joined, or came back with other addresses.
pub struct BrokerRegistered<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for BrokerRegistered<'a> {
  type Inner = BrokerRegistered<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> BrokerRegistered<'a> {
  pub const VT_BROKER: ::flatbuffers::VOffsetT = 4;
  pub const VT_LISTENERS: ::flatbuffers::VOffsetT = 6;
  pub const VT_RACK: ::flatbuffers::VOffsetT = 8;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    BrokerRegistered { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args BrokerRegisteredArgs<'args>
  ) -> ::flatbuffers::WIPOffset<BrokerRegistered<'bldr>> {
    let mut builder = BrokerRegisteredBuilder::new(_fbb);
    if let Some(x) = args.rack { builder.add_rack(x); }
    if let Some(x) = args.listeners { builder.add_listeners(x); }
    builder.add_broker(args.broker);
    builder.finish()
  }


  #[inline]
  pub fn broker(&self) -> i32 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i32>(BrokerRegistered::VT_BROKER, Some(0)).unwrap()}
  }
  #[inline]
  pub fn listeners(&self) -> ::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Listener<'a>>> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Listener>>>>(BrokerRegistered::VT_LISTENERS, None).unwrap()}
  }
  #[inline]
  pub fn rack(&self) -> Option<&'a str> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<&str>>(BrokerRegistered::VT_RACK, None)}
  }
}

impl ::flatbuffers::Verifiable for BrokerRegistered<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<i32>("broker", Self::VT_BROKER, false)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, ::flatbuffers::ForwardsUOffset<Listener>>>>("listeners", Self::VT_LISTENERS, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<&str>>("rack", Self::VT_RACK, false)?
     .finish();
    Ok(())
  }
}
pub struct BrokerRegisteredArgs<'a> {
    pub broker: i32,
    pub listeners: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Listener<'a>>>>>,
    pub rack: Option<::flatbuffers::WIPOffset<&'a str>>,
}
impl<'a> Default for BrokerRegisteredArgs<'a> {
  #[inline]
  fn default() -> Self {
    BrokerRegisteredArgs {
      broker: 0,
      listeners: None, // required field
      rack: None,
    }
  }
}

pub struct BrokerRegisteredBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> BrokerRegisteredBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_broker(&mut self, broker: i32) {
    self.fbb_.push_slot::<i32>(BrokerRegistered::VT_BROKER, broker, 0);
  }
  #[inline]
  pub fn add_listeners(&mut self, listeners: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , ::flatbuffers::ForwardsUOffset<Listener<'b >>>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(BrokerRegistered::VT_LISTENERS, listeners);
  }
  #[inline]
  pub fn add_rack(&mut self, rack: ::flatbuffers::WIPOffset<&'b  str>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(BrokerRegistered::VT_RACK, rack);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> BrokerRegisteredBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    BrokerRegisteredBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<BrokerRegistered<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, BrokerRegistered::VT_LISTENERS,"listeners");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for BrokerRegistered<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("BrokerRegistered");
      ds.field("broker", &self.broker());
      ds.field("listeners", &self.listeners());
      ds.field("rack", &self.rack());
      ds.finish()
  }
}

pub enum BrokerSettingsSetOffset {}
#[derive(Copy, Clone, PartialEq)]

/// All dynamic settings of one broker after the change, or with `broker` -1 the default of all brokers.
pub struct BrokerSettingsSet<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for BrokerSettingsSet<'a> {
  type Inner = BrokerSettingsSet<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> BrokerSettingsSet<'a> {
  pub const VT_BROKER: ::flatbuffers::VOffsetT = 4;
  pub const VT_SETTINGS: ::flatbuffers::VOffsetT = 6;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    BrokerSettingsSet { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args BrokerSettingsSetArgs<'args>
  ) -> ::flatbuffers::WIPOffset<BrokerSettingsSet<'bldr>> {
    let mut builder = BrokerSettingsSetBuilder::new(_fbb);
    if let Some(x) = args.settings { builder.add_settings(x); }
    builder.add_broker(args.broker);
    builder.finish()
  }


  #[inline]
  pub fn broker(&self) -> i32 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i32>(BrokerSettingsSet::VT_BROKER, Some(-1)).unwrap()}
  }
  #[inline]
  pub fn settings(&self) -> ::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Setting<'a>>> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Setting>>>>(BrokerSettingsSet::VT_SETTINGS, None).unwrap()}
  }
}

impl ::flatbuffers::Verifiable for BrokerSettingsSet<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<i32>("broker", Self::VT_BROKER, false)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, ::flatbuffers::ForwardsUOffset<Setting>>>>("settings", Self::VT_SETTINGS, true)?
     .finish();
    Ok(())
  }
}
pub struct BrokerSettingsSetArgs<'a> {
    pub broker: i32,
    pub settings: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Setting<'a>>>>>,
}
impl<'a> Default for BrokerSettingsSetArgs<'a> {
  #[inline]
  fn default() -> Self {
    BrokerSettingsSetArgs {
      broker: -1,
      settings: None, // required field
    }
  }
}

pub struct BrokerSettingsSetBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> BrokerSettingsSetBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_broker(&mut self, broker: i32) {
    self.fbb_.push_slot::<i32>(BrokerSettingsSet::VT_BROKER, broker, -1);
  }
  #[inline]
  pub fn add_settings(&mut self, settings: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , ::flatbuffers::ForwardsUOffset<Setting<'b >>>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(BrokerSettingsSet::VT_SETTINGS, settings);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> BrokerSettingsSetBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    BrokerSettingsSetBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<BrokerSettingsSet<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, BrokerSettingsSet::VT_SETTINGS,"settings");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for BrokerSettingsSet<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("BrokerSettingsSet");
      ds.field("broker", &self.broker());
      ds.field("settings", &self.settings());
      ds.finish()
  }
}

pub enum EntryOffset {}
#[derive(Copy, Clone, PartialEq)]

pub struct Entry<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for Entry<'a> {
  type Inner = Entry<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> Entry<'a> {
  pub const VT_RECORD_TYPE: ::flatbuffers::VOffsetT = 4;
  pub const VT_RECORD: ::flatbuffers::VOffsetT = 6;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    Entry { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args EntryArgs
  ) -> ::flatbuffers::WIPOffset<Entry<'bldr>> {
    let mut builder = EntryBuilder::new(_fbb);
    if let Some(x) = args.record { builder.add_record(x); }
    builder.add_record_type(args.record_type);
    builder.finish()
  }


  #[inline]
  pub fn record_type(&self) -> Record {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<Record>(Entry::VT_RECORD_TYPE, Some(Record::NONE)).unwrap()}
  }
  #[inline]
  pub fn record(&self) -> ::flatbuffers::Table<'a> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Table<'a>>>(Entry::VT_RECORD, None).unwrap()}
  }
  #[inline]
  #[allow(non_snake_case)]
  pub fn record_as_topic_created(&self) -> Option<TopicCreated<'a>> {
    if self.record_type() == Record::TopicCreated {
      let u = self.record();
      // Safety:
      // Created from a valid Table for this object
      // Which contains a valid union in this slot
      Some(unsafe { TopicCreated::init_from_table(u) })
    } else {
      None
    }
  }

  #[inline]
  #[allow(non_snake_case)]
  pub fn record_as_topic_deleted(&self) -> Option<TopicDeleted<'a>> {
    if self.record_type() == Record::TopicDeleted {
      let u = self.record();
      // Safety:
      // Created from a valid Table for this object
      // Which contains a valid union in this slot
      Some(unsafe { TopicDeleted::init_from_table(u) })
    } else {
      None
    }
  }

  #[inline]
  #[allow(non_snake_case)]
  pub fn record_as_partitions_added(&self) -> Option<PartitionsAdded<'a>> {
    if self.record_type() == Record::PartitionsAdded {
      let u = self.record();
      // Safety:
      // Created from a valid Table for this object
      // Which contains a valid union in this slot
      Some(unsafe { PartitionsAdded::init_from_table(u) })
    } else {
      None
    }
  }

  #[inline]
  #[allow(non_snake_case)]
  pub fn record_as_topic_settings_set(&self) -> Option<TopicSettingsSet<'a>> {
    if self.record_type() == Record::TopicSettingsSet {
      let u = self.record();
      // Safety:
      // Created from a valid Table for this object
      // Which contains a valid union in this slot
      Some(unsafe { TopicSettingsSet::init_from_table(u) })
    } else {
      None
    }
  }

  #[inline]
  #[allow(non_snake_case)]
  pub fn record_as_broker_settings_set(&self) -> Option<BrokerSettingsSet<'a>> {
    if self.record_type() == Record::BrokerSettingsSet {
      let u = self.record();
      // Safety:
      // Created from a valid Table for this object
      // Which contains a valid union in this slot
      Some(unsafe { BrokerSettingsSet::init_from_table(u) })
    } else {
      None
    }
  }

  #[inline]
  #[allow(non_snake_case)]
  pub fn record_as_producer_ids_allocated(&self) -> Option<ProducerIdsAllocated<'a>> {
    if self.record_type() == Record::ProducerIdsAllocated {
      let u = self.record();
      // Safety:
      // Created from a valid Table for this object
      // Which contains a valid union in this slot
      Some(unsafe { ProducerIdsAllocated::init_from_table(u) })
    } else {
      None
    }
  }

  #[inline]
  #[allow(non_snake_case)]
  pub fn record_as_broker_registered(&self) -> Option<BrokerRegistered<'a>> {
    if self.record_type() == Record::BrokerRegistered {
      let u = self.record();
      // Safety:
      // Created from a valid Table for this object
      // Which contains a valid union in this slot
      Some(unsafe { BrokerRegistered::init_from_table(u) })
    } else {
      None
    }
  }

  #[inline]
  #[allow(non_snake_case)]
  pub fn record_as_group_settings_set(&self) -> Option<GroupSettingsSet<'a>> {
    if self.record_type() == Record::GroupSettingsSet {
      let u = self.record();
      // Safety:
      // Created from a valid Table for this object
      // Which contains a valid union in this slot
      Some(unsafe { GroupSettingsSet::init_from_table(u) })
    } else {
      None
    }
  }

  #[inline]
  #[allow(non_snake_case)]
  pub fn record_as_partitions_changed(&self) -> Option<PartitionsChanged<'a>> {
    if self.record_type() == Record::PartitionsChanged {
      let u = self.record();
      // Safety:
      // Created from a valid Table for this object
      // Which contains a valid union in this slot
      Some(unsafe { PartitionsChanged::init_from_table(u) })
    } else {
      None
    }
  }

}

impl ::flatbuffers::Verifiable for Entry<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_union::<Record, _>("record_type", Self::VT_RECORD_TYPE, "record", Self::VT_RECORD, true, |key, v, pos| {
        match key {
          Record::TopicCreated => v.verify_union_variant::<::flatbuffers::ForwardsUOffset<TopicCreated>>("Record::TopicCreated", pos),
          Record::TopicDeleted => v.verify_union_variant::<::flatbuffers::ForwardsUOffset<TopicDeleted>>("Record::TopicDeleted", pos),
          Record::PartitionsAdded => v.verify_union_variant::<::flatbuffers::ForwardsUOffset<PartitionsAdded>>("Record::PartitionsAdded", pos),
          Record::TopicSettingsSet => v.verify_union_variant::<::flatbuffers::ForwardsUOffset<TopicSettingsSet>>("Record::TopicSettingsSet", pos),
          Record::BrokerSettingsSet => v.verify_union_variant::<::flatbuffers::ForwardsUOffset<BrokerSettingsSet>>("Record::BrokerSettingsSet", pos),
          Record::ProducerIdsAllocated => v.verify_union_variant::<::flatbuffers::ForwardsUOffset<ProducerIdsAllocated>>("Record::ProducerIdsAllocated", pos),
          Record::BrokerRegistered => v.verify_union_variant::<::flatbuffers::ForwardsUOffset<BrokerRegistered>>("Record::BrokerRegistered", pos),
          Record::GroupSettingsSet => v.verify_union_variant::<::flatbuffers::ForwardsUOffset<GroupSettingsSet>>("Record::GroupSettingsSet", pos),
          Record::PartitionsChanged => v.verify_union_variant::<::flatbuffers::ForwardsUOffset<PartitionsChanged>>("Record::PartitionsChanged", pos),
          _ => Ok(()),
        }
     })?
     .finish();
    Ok(())
  }
}
pub struct EntryArgs {
    pub record_type: Record,
    pub record: Option<::flatbuffers::WIPOffset<::flatbuffers::UnionWIPOffset>>,
}
impl<'a> Default for EntryArgs {
  #[inline]
  fn default() -> Self {
    EntryArgs {
      record_type: Record::NONE,
      record: None, // required field
    }
  }
}

pub struct EntryBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> EntryBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_record_type(&mut self, record_type: Record) {
    self.fbb_.push_slot::<Record>(Entry::VT_RECORD_TYPE, record_type, Record::NONE);
  }
  #[inline]
  pub fn add_record(&mut self, record: ::flatbuffers::WIPOffset<::flatbuffers::UnionWIPOffset>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(Entry::VT_RECORD, record);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> EntryBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    EntryBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<Entry<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, Entry::VT_RECORD,"record");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for Entry<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("Entry");
      ds.field("record_type", &self.record_type());
      match self.record_type() {
        Record::TopicCreated => {
          if let Some(x) = self.record_as_topic_created() {
            ds.field("record", &x)
          } else {
            ds.field("record", &"InvalidFlatbuffer: Union discriminant does not match value.")
          }
        },
        Record::TopicDeleted => {
          if let Some(x) = self.record_as_topic_deleted() {
            ds.field("record", &x)
          } else {
            ds.field("record", &"InvalidFlatbuffer: Union discriminant does not match value.")
          }
        },
        Record::PartitionsAdded => {
          if let Some(x) = self.record_as_partitions_added() {
            ds.field("record", &x)
          } else {
            ds.field("record", &"InvalidFlatbuffer: Union discriminant does not match value.")
          }
        },
        Record::TopicSettingsSet => {
          if let Some(x) = self.record_as_topic_settings_set() {
            ds.field("record", &x)
          } else {
            ds.field("record", &"InvalidFlatbuffer: Union discriminant does not match value.")
          }
        },
        Record::BrokerSettingsSet => {
          if let Some(x) = self.record_as_broker_settings_set() {
            ds.field("record", &x)
          } else {
            ds.field("record", &"InvalidFlatbuffer: Union discriminant does not match value.")
          }
        },
        Record::ProducerIdsAllocated => {
          if let Some(x) = self.record_as_producer_ids_allocated() {
            ds.field("record", &x)
          } else {
            ds.field("record", &"InvalidFlatbuffer: Union discriminant does not match value.")
          }
        },
        Record::BrokerRegistered => {
          if let Some(x) = self.record_as_broker_registered() {
            ds.field("record", &x)
          } else {
            ds.field("record", &"InvalidFlatbuffer: Union discriminant does not match value.")
          }
        },
        Record::GroupSettingsSet => {
          if let Some(x) = self.record_as_group_settings_set() {
            ds.field("record", &x)
          } else {
            ds.field("record", &"InvalidFlatbuffer: Union discriminant does not match value.")
          }
        },
        Record::PartitionsChanged => {
          if let Some(x) = self.record_as_partitions_changed() {
            ds.field("record", &x)
          } else {
            ds.field("record", &"InvalidFlatbuffer: Union discriminant does not match value.")
          }
        },
        _ => {
          let x: Option<()> = None;
          ds.field("record", &x)
        },
      };
      ds.finish()
  }
}
#[inline]
/// Verifies that a buffer of bytes contains a `Entry`
/// and returns it.
/// Note that verification is still experimental and may not
/// catch every error, or be maximally performant. For the
/// previous, unchecked, behavior use
/// `root_as_entry_unchecked`.
pub fn root_as_entry(buf: &[u8]) -> Result<Entry<'_>, ::flatbuffers::InvalidFlatbuffer> {
  ::flatbuffers::root::<Entry>(buf)
}
#[inline]
/// Verifies that a buffer of bytes contains a size prefixed
/// `Entry` and returns it.
/// Note that verification is still experimental and may not
/// catch every error, or be maximally performant. For the
/// previous, unchecked, behavior use
/// `size_prefixed_root_as_entry_unchecked`.
pub fn size_prefixed_root_as_entry(buf: &[u8]) -> Result<Entry<'_>, ::flatbuffers::InvalidFlatbuffer> {
  ::flatbuffers::size_prefixed_root::<Entry>(buf)
}
#[inline]
/// Verifies, with the given options, that a buffer of bytes
/// contains a `Entry` and returns it.
/// Note that verification is still experimental and may not
/// catch every error, or be maximally performant. For the
/// previous, unchecked, behavior use
/// `root_as_entry_unchecked`.
pub fn root_as_entry_with_opts<'b, 'o>(
  opts: &'o ::flatbuffers::VerifierOptions,
  buf: &'b [u8],
) -> Result<Entry<'b>, ::flatbuffers::InvalidFlatbuffer> {
  ::flatbuffers::root_with_opts::<Entry<'b>>(opts, buf)
}
#[inline]
/// Verifies, with the given verifier options, that a buffer of
/// bytes contains a size prefixed `Entry` and returns
/// it. Note that verification is still experimental and may not
/// catch every error, or be maximally performant. For the
/// previous, unchecked, behavior use
/// `root_as_entry_unchecked`.
pub fn size_prefixed_root_as_entry_with_opts<'b, 'o>(
  opts: &'o ::flatbuffers::VerifierOptions,
  buf: &'b [u8],
) -> Result<Entry<'b>, ::flatbuffers::InvalidFlatbuffer> {
  ::flatbuffers::size_prefixed_root_with_opts::<Entry<'b>>(opts, buf)
}
#[inline]
/// Assumes, without verification, that a buffer of bytes contains a Entry and returns it.
/// # Safety
/// Callers must trust the given bytes do indeed contain a valid `Entry`.
pub unsafe fn root_as_entry_unchecked(buf: &[u8]) -> Entry<'_> {
  unsafe { ::flatbuffers::root_unchecked::<Entry>(buf) }
}
#[inline]
/// Assumes, without verification, that a buffer of bytes contains a size prefixed Entry and returns it.
/// # Safety
/// Callers must trust the given bytes do indeed contain a valid size prefixed `Entry`.
pub unsafe fn size_prefixed_root_as_entry_unchecked(buf: &[u8]) -> Entry<'_> {
  unsafe { ::flatbuffers::size_prefixed_root_unchecked::<Entry>(buf) }
}
pub const ENTRY_IDENTIFIER: &str = "KLME";

#[inline]
pub fn entry_buffer_has_identifier(buf: &[u8]) -> bool {
  ::flatbuffers::buffer_has_identifier(buf, ENTRY_IDENTIFIER, false)
}

#[inline]
pub fn entry_size_prefixed_buffer_has_identifier(buf: &[u8]) -> bool {
  ::flatbuffers::buffer_has_identifier(buf, ENTRY_IDENTIFIER, true)
}

#[inline]
pub fn finish_entry_buffer<'a, 'b, A: ::flatbuffers::Allocator + 'a>(
    fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
    root: ::flatbuffers::WIPOffset<Entry<'a>>) {
  fbb.finish(root, Some(ENTRY_IDENTIFIER));
}

#[inline]
pub fn finish_size_prefixed_entry_buffer<'a, 'b, A: ::flatbuffers::Allocator + 'a>(fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>, root: ::flatbuffers::WIPOffset<Entry<'a>>) {
  fbb.finish_size_prefixed(root, Some(ENTRY_IDENTIFIER));
}

pub enum GroupSettingsSetOffset {}
#[derive(Copy, Clone, PartialEq)]

/// All settings of one consumer group after the change.
pub struct GroupSettingsSet<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for GroupSettingsSet<'a> {
  type Inner = GroupSettingsSet<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> GroupSettingsSet<'a> {
  pub const VT_GROUP: ::flatbuffers::VOffsetT = 4;
  pub const VT_SETTINGS: ::flatbuffers::VOffsetT = 6;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    GroupSettingsSet { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args GroupSettingsSetArgs<'args>
  ) -> ::flatbuffers::WIPOffset<GroupSettingsSet<'bldr>> {
    let mut builder = GroupSettingsSetBuilder::new(_fbb);
    if let Some(x) = args.settings { builder.add_settings(x); }
    if let Some(x) = args.group { builder.add_group(x); }
    builder.finish()
  }


  #[inline]
  pub fn group(&self) -> &'a str {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<&str>>(GroupSettingsSet::VT_GROUP, None).unwrap()}
  }
  #[inline]
  pub fn settings(&self) -> ::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Setting<'a>>> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Setting>>>>(GroupSettingsSet::VT_SETTINGS, None).unwrap()}
  }
}

impl ::flatbuffers::Verifiable for GroupSettingsSet<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<::flatbuffers::ForwardsUOffset<&str>>("group", Self::VT_GROUP, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, ::flatbuffers::ForwardsUOffset<Setting>>>>("settings", Self::VT_SETTINGS, true)?
     .finish();
    Ok(())
  }
}
pub struct GroupSettingsSetArgs<'a> {
    pub group: Option<::flatbuffers::WIPOffset<&'a str>>,
    pub settings: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Setting<'a>>>>>,
}
impl<'a> Default for GroupSettingsSetArgs<'a> {
  #[inline]
  fn default() -> Self {
    GroupSettingsSetArgs {
      group: None, // required field
      settings: None, // required field
    }
  }
}

pub struct GroupSettingsSetBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> GroupSettingsSetBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_group(&mut self, group: ::flatbuffers::WIPOffset<&'b  str>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(GroupSettingsSet::VT_GROUP, group);
  }
  #[inline]
  pub fn add_settings(&mut self, settings: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , ::flatbuffers::ForwardsUOffset<Setting<'b >>>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(GroupSettingsSet::VT_SETTINGS, settings);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> GroupSettingsSetBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    GroupSettingsSetBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<GroupSettingsSet<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, GroupSettingsSet::VT_GROUP,"group");
    self.fbb_.required(o, GroupSettingsSet::VT_SETTINGS,"settings");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for GroupSettingsSet<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("GroupSettingsSet");
      ds.field("group", &self.group());
      ds.field("settings", &self.settings());
      ds.finish()
  }
}

pub enum ListenerOffset {}
#[derive(Copy, Clone, PartialEq)]

pub struct Listener<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for Listener<'a> {
  type Inner = Listener<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> Listener<'a> {
  pub const VT_NAME: ::flatbuffers::VOffsetT = 4;
  pub const VT_HOST: ::flatbuffers::VOffsetT = 6;
  pub const VT_PORT: ::flatbuffers::VOffsetT = 8;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    Listener { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args ListenerArgs<'args>
  ) -> ::flatbuffers::WIPOffset<Listener<'bldr>> {
    let mut builder = ListenerBuilder::new(_fbb);
    if let Some(x) = args.host { builder.add_host(x); }
    if let Some(x) = args.name { builder.add_name(x); }
    builder.add_port(args.port);
    builder.finish()
  }


  #[inline]
  pub fn name(&self) -> &'a str {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<&str>>(Listener::VT_NAME, None).unwrap()}
  }
  #[inline]
  pub fn host(&self) -> &'a str {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<&str>>(Listener::VT_HOST, None).unwrap()}
  }
  #[inline]
  pub fn port(&self) -> u16 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<u16>(Listener::VT_PORT, Some(0)).unwrap()}
  }
}

impl ::flatbuffers::Verifiable for Listener<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<::flatbuffers::ForwardsUOffset<&str>>("name", Self::VT_NAME, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<&str>>("host", Self::VT_HOST, true)?
     .visit_field::<u16>("port", Self::VT_PORT, false)?
     .finish();
    Ok(())
  }
}
pub struct ListenerArgs<'a> {
    pub name: Option<::flatbuffers::WIPOffset<&'a str>>,
    pub host: Option<::flatbuffers::WIPOffset<&'a str>>,
    pub port: u16,
}
impl<'a> Default for ListenerArgs<'a> {
  #[inline]
  fn default() -> Self {
    ListenerArgs {
      name: None, // required field
      host: None, // required field
      port: 0,
    }
  }
}

pub struct ListenerBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> ListenerBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_name(&mut self, name: ::flatbuffers::WIPOffset<&'b  str>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(Listener::VT_NAME, name);
  }
  #[inline]
  pub fn add_host(&mut self, host: ::flatbuffers::WIPOffset<&'b  str>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(Listener::VT_HOST, host);
  }
  #[inline]
  pub fn add_port(&mut self, port: u16) {
    self.fbb_.push_slot::<u16>(Listener::VT_PORT, port, 0);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> ListenerBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    ListenerBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<Listener<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, Listener::VT_NAME,"name");
    self.fbb_.required(o, Listener::VT_HOST,"host");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for Listener<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("Listener");
      ds.field("name", &self.name());
      ds.field("host", &self.host());
      ds.field("port", &self.port());
      ds.finish()
  }
}

pub enum PartitionRangeOffset {}
#[derive(Copy, Clone, PartialEq)]

/// The partitions `start` (inclusive) to `end` (exclusive), which are placed alike: ten thousand partitions of one
/// broker are one range. Kafka: PartitionRecord.
pub struct PartitionRange<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for PartitionRange<'a> {
  type Inner = PartitionRange<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> PartitionRange<'a> {
  pub const VT_START: ::flatbuffers::VOffsetT = 4;
  pub const VT_END: ::flatbuffers::VOffsetT = 6;
  pub const VT_LEADER: ::flatbuffers::VOffsetT = 8;
  pub const VT_LEADER_EPOCH: ::flatbuffers::VOffsetT = 10;
  pub const VT_PARTITION_EPOCH: ::flatbuffers::VOffsetT = 12;
  pub const VT_REPLICAS: ::flatbuffers::VOffsetT = 14;
  pub const VT_ISR: ::flatbuffers::VOffsetT = 16;
  pub const VT_DIRECTORIES: ::flatbuffers::VOffsetT = 18;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    PartitionRange { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args PartitionRangeArgs<'args>
  ) -> ::flatbuffers::WIPOffset<PartitionRange<'bldr>> {
    let mut builder = PartitionRangeBuilder::new(_fbb);
    if let Some(x) = args.directories { builder.add_directories(x); }
    if let Some(x) = args.isr { builder.add_isr(x); }
    if let Some(x) = args.replicas { builder.add_replicas(x); }
    builder.add_partition_epoch(args.partition_epoch);
    builder.add_leader_epoch(args.leader_epoch);
    builder.add_leader(args.leader);
    builder.add_end(args.end);
    builder.add_start(args.start);
    builder.finish()
  }


  #[inline]
  pub fn start(&self) -> i32 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i32>(PartitionRange::VT_START, Some(0)).unwrap()}
  }
  #[inline]
  pub fn end(&self) -> i32 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i32>(PartitionRange::VT_END, Some(0)).unwrap()}
  }
  /// -1: nobody can lead.
  #[inline]
  pub fn leader(&self) -> i32 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i32>(PartitionRange::VT_LEADER, Some(0)).unwrap()}
  }
  #[inline]
  pub fn leader_epoch(&self) -> i32 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i32>(PartitionRange::VT_LEADER_EPOCH, Some(0)).unwrap()}
  }
  #[inline]
  pub fn partition_epoch(&self) -> i32 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i32>(PartitionRange::VT_PARTITION_EPOCH, Some(0)).unwrap()}
  }
  #[inline]
  pub fn replicas(&self) -> ::flatbuffers::Vector<'a, i32> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, i32>>>(PartitionRange::VT_REPLICAS, None).unwrap()}
  }
  #[inline]
  pub fn isr(&self) -> ::flatbuffers::Vector<'a, i32> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, i32>>>(PartitionRange::VT_ISR, None).unwrap()}
  }
  /// One for each replica; zero: the broker has chosen none.
  #[inline]
  pub fn directories(&self) -> ::flatbuffers::Vector<'a, super::types::Id> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, super::types::Id>>>(PartitionRange::VT_DIRECTORIES, None).unwrap()}
  }
}

impl ::flatbuffers::Verifiable for PartitionRange<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<i32>("start", Self::VT_START, false)?
     .visit_field::<i32>("end", Self::VT_END, false)?
     .visit_field::<i32>("leader", Self::VT_LEADER, false)?
     .visit_field::<i32>("leader_epoch", Self::VT_LEADER_EPOCH, false)?
     .visit_field::<i32>("partition_epoch", Self::VT_PARTITION_EPOCH, false)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, i32>>>("replicas", Self::VT_REPLICAS, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, i32>>>("isr", Self::VT_ISR, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, super::types::Id>>>("directories", Self::VT_DIRECTORIES, true)?
     .finish();
    Ok(())
  }
}
pub struct PartitionRangeArgs<'a> {
    pub start: i32,
    pub end: i32,
    pub leader: i32,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub replicas: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, i32>>>,
    pub isr: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, i32>>>,
    pub directories: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, super::types::Id>>>,
}
impl<'a> Default for PartitionRangeArgs<'a> {
  #[inline]
  fn default() -> Self {
    PartitionRangeArgs {
      start: 0,
      end: 0,
      leader: 0,
      leader_epoch: 0,
      partition_epoch: 0,
      replicas: None, // required field
      isr: None, // required field
      directories: None, // required field
    }
  }
}

pub struct PartitionRangeBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> PartitionRangeBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_start(&mut self, start: i32) {
    self.fbb_.push_slot::<i32>(PartitionRange::VT_START, start, 0);
  }
  #[inline]
  pub fn add_end(&mut self, end: i32) {
    self.fbb_.push_slot::<i32>(PartitionRange::VT_END, end, 0);
  }
  #[inline]
  pub fn add_leader(&mut self, leader: i32) {
    self.fbb_.push_slot::<i32>(PartitionRange::VT_LEADER, leader, 0);
  }
  #[inline]
  pub fn add_leader_epoch(&mut self, leader_epoch: i32) {
    self.fbb_.push_slot::<i32>(PartitionRange::VT_LEADER_EPOCH, leader_epoch, 0);
  }
  #[inline]
  pub fn add_partition_epoch(&mut self, partition_epoch: i32) {
    self.fbb_.push_slot::<i32>(PartitionRange::VT_PARTITION_EPOCH, partition_epoch, 0);
  }
  #[inline]
  pub fn add_replicas(&mut self, replicas: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , i32>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(PartitionRange::VT_REPLICAS, replicas);
  }
  #[inline]
  pub fn add_isr(&mut self, isr: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , i32>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(PartitionRange::VT_ISR, isr);
  }
  #[inline]
  pub fn add_directories(&mut self, directories: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , super::types::Id>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(PartitionRange::VT_DIRECTORIES, directories);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> PartitionRangeBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    PartitionRangeBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<PartitionRange<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, PartitionRange::VT_REPLICAS,"replicas");
    self.fbb_.required(o, PartitionRange::VT_ISR,"isr");
    self.fbb_.required(o, PartitionRange::VT_DIRECTORIES,"directories");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for PartitionRange<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("PartitionRange");
      ds.field("start", &self.start());
      ds.field("end", &self.end());
      ds.field("leader", &self.leader());
      ds.field("leader_epoch", &self.leader_epoch());
      ds.field("partition_epoch", &self.partition_epoch());
      ds.field("replicas", &self.replicas());
      ds.field("isr", &self.isr());
      ds.field("directories", &self.directories());
      ds.finish()
  }
}

pub enum PartitionsAddedOffset {}
#[derive(Copy, Clone, PartialEq)]

/// `partitions` continue where the topic ends.
pub struct PartitionsAdded<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for PartitionsAdded<'a> {
  type Inner = PartitionsAdded<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> PartitionsAdded<'a> {
  pub const VT_ID: ::flatbuffers::VOffsetT = 4;
  pub const VT_PARTITIONS: ::flatbuffers::VOffsetT = 6;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    PartitionsAdded { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args PartitionsAddedArgs<'args>
  ) -> ::flatbuffers::WIPOffset<PartitionsAdded<'bldr>> {
    let mut builder = PartitionsAddedBuilder::new(_fbb);
    if let Some(x) = args.partitions { builder.add_partitions(x); }
    if let Some(x) = args.id { builder.add_id(x); }
    builder.finish()
  }


  #[inline]
  pub fn id(&self) -> &'a super::types::Id {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<super::types::Id>(PartitionsAdded::VT_ID, None).unwrap()}
  }
  #[inline]
  pub fn partitions(&self) -> ::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<PartitionRange<'a>>> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<PartitionRange>>>>(PartitionsAdded::VT_PARTITIONS, None).unwrap()}
  }
}

impl ::flatbuffers::Verifiable for PartitionsAdded<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<super::types::Id>("id", Self::VT_ID, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, ::flatbuffers::ForwardsUOffset<PartitionRange>>>>("partitions", Self::VT_PARTITIONS, true)?
     .finish();
    Ok(())
  }
}
pub struct PartitionsAddedArgs<'a> {
    pub id: Option<&'a super::types::Id>,
    pub partitions: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<PartitionRange<'a>>>>>,
}
impl<'a> Default for PartitionsAddedArgs<'a> {
  #[inline]
  fn default() -> Self {
    PartitionsAddedArgs {
      id: None, // required field
      partitions: None, // required field
    }
  }
}

pub struct PartitionsAddedBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> PartitionsAddedBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_id(&mut self, id: &super::types::Id) {
    self.fbb_.push_slot_always::<&super::types::Id>(PartitionsAdded::VT_ID, id);
  }
  #[inline]
  pub fn add_partitions(&mut self, partitions: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , ::flatbuffers::ForwardsUOffset<PartitionRange<'b >>>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(PartitionsAdded::VT_PARTITIONS, partitions);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> PartitionsAddedBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    PartitionsAddedBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<PartitionsAdded<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, PartitionsAdded::VT_ID,"id");
    self.fbb_.required(o, PartitionsAdded::VT_PARTITIONS,"partitions");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for PartitionsAdded<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("PartitionsAdded");
      ds.field("id", &self.id());
      ds.field("partitions", &self.partitions());
      ds.finish()
  }
}

pub enum PartitionsChangedOffset {}
#[derive(Copy, Clone, PartialEq)]

/// Partitions that are there are placed otherwise. Partition epochs rise, leader epochs never fall.
pub struct PartitionsChanged<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for PartitionsChanged<'a> {
  type Inner = PartitionsChanged<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> PartitionsChanged<'a> {
  pub const VT_ID: ::flatbuffers::VOffsetT = 4;
  pub const VT_PARTITIONS: ::flatbuffers::VOffsetT = 6;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    PartitionsChanged { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args PartitionsChangedArgs<'args>
  ) -> ::flatbuffers::WIPOffset<PartitionsChanged<'bldr>> {
    let mut builder = PartitionsChangedBuilder::new(_fbb);
    if let Some(x) = args.partitions { builder.add_partitions(x); }
    if let Some(x) = args.id { builder.add_id(x); }
    builder.finish()
  }


  #[inline]
  pub fn id(&self) -> &'a super::types::Id {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<super::types::Id>(PartitionsChanged::VT_ID, None).unwrap()}
  }
  #[inline]
  pub fn partitions(&self) -> ::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<PartitionRange<'a>>> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<PartitionRange>>>>(PartitionsChanged::VT_PARTITIONS, None).unwrap()}
  }
}

impl ::flatbuffers::Verifiable for PartitionsChanged<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<super::types::Id>("id", Self::VT_ID, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, ::flatbuffers::ForwardsUOffset<PartitionRange>>>>("partitions", Self::VT_PARTITIONS, true)?
     .finish();
    Ok(())
  }
}
pub struct PartitionsChangedArgs<'a> {
    pub id: Option<&'a super::types::Id>,
    pub partitions: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<PartitionRange<'a>>>>>,
}
impl<'a> Default for PartitionsChangedArgs<'a> {
  #[inline]
  fn default() -> Self {
    PartitionsChangedArgs {
      id: None, // required field
      partitions: None, // required field
    }
  }
}

pub struct PartitionsChangedBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> PartitionsChangedBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_id(&mut self, id: &super::types::Id) {
    self.fbb_.push_slot_always::<&super::types::Id>(PartitionsChanged::VT_ID, id);
  }
  #[inline]
  pub fn add_partitions(&mut self, partitions: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , ::flatbuffers::ForwardsUOffset<PartitionRange<'b >>>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(PartitionsChanged::VT_PARTITIONS, partitions);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> PartitionsChangedBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    PartitionsChangedBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<PartitionsChanged<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, PartitionsChanged::VT_ID,"id");
    self.fbb_.required(o, PartitionsChanged::VT_PARTITIONS,"partitions");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for PartitionsChanged<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("PartitionsChanged");
      ds.field("id", &self.id());
      ds.field("partitions", &self.partitions());
      ds.finish()
  }
}

pub enum ProducerIdsAllocatedOffset {}
#[derive(Copy, Clone, PartialEq)]

/// Producer ids below `next` are taken.
pub struct ProducerIdsAllocated<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for ProducerIdsAllocated<'a> {
  type Inner = ProducerIdsAllocated<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> ProducerIdsAllocated<'a> {
  pub const VT_NEXT: ::flatbuffers::VOffsetT = 4;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    ProducerIdsAllocated { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args ProducerIdsAllocatedArgs
  ) -> ::flatbuffers::WIPOffset<ProducerIdsAllocated<'bldr>> {
    let mut builder = ProducerIdsAllocatedBuilder::new(_fbb);
    builder.add_next(args.next);
    builder.finish()
  }


  #[inline]
  pub fn next(&self) -> i64 {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<i64>(ProducerIdsAllocated::VT_NEXT, Some(0)).unwrap()}
  }
}

impl ::flatbuffers::Verifiable for ProducerIdsAllocated<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<i64>("next", Self::VT_NEXT, false)?
     .finish();
    Ok(())
  }
}
pub struct ProducerIdsAllocatedArgs {
    pub next: i64,
}
impl<'a> Default for ProducerIdsAllocatedArgs {
  #[inline]
  fn default() -> Self {
    ProducerIdsAllocatedArgs {
      next: 0,
    }
  }
}

pub struct ProducerIdsAllocatedBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> ProducerIdsAllocatedBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_next(&mut self, next: i64) {
    self.fbb_.push_slot::<i64>(ProducerIdsAllocated::VT_NEXT, next, 0);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> ProducerIdsAllocatedBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    ProducerIdsAllocatedBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<ProducerIdsAllocated<'a>> {
    let o = self.fbb_.end_table(self.start_);
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for ProducerIdsAllocated<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("ProducerIdsAllocated");
      ds.field("next", &self.next());
      ds.finish()
  }
}

#[deprecated(since = "2.0.0", note = "Use associated constants instead. This will no longer be generated in 2021.")]
pub const ENUM_MIN_RECORD: u8 = 0;
#[deprecated(since = "2.0.0", note = "Use associated constants instead. This will no longer be generated in 2021.")]
pub const ENUM_MAX_RECORD: u8 = 9;
#[deprecated(since = "2.0.0", note = "Use associated constants instead. This will no longer be generated in 2021.")]
#[allow(non_camel_case_types)]
pub const ENUM_VALUES_RECORD: [Record; 10] = [
  Record::NONE,
  Record::TopicCreated,
  Record::TopicDeleted,
  Record::PartitionsAdded,
  Record::TopicSettingsSet,
  Record::BrokerSettingsSet,
  Record::ProducerIdsAllocated,
  Record::BrokerRegistered,
  Record::GroupSettingsSet,
  Record::PartitionsChanged,
];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Record(pub u8);
#[allow(non_upper_case_globals)]
impl Record {
  pub const NONE: Self = Self(0);
  pub const TopicCreated: Self = Self(1);
  pub const TopicDeleted: Self = Self(2);
  pub const PartitionsAdded: Self = Self(3);
  pub const TopicSettingsSet: Self = Self(4);
  pub const BrokerSettingsSet: Self = Self(5);
  pub const ProducerIdsAllocated: Self = Self(6);
  pub const BrokerRegistered: Self = Self(7);
  pub const GroupSettingsSet: Self = Self(8);
  pub const PartitionsChanged: Self = Self(9);

  pub const ENUM_MIN: u8 = 0;
  pub const ENUM_MAX: u8 = 9;
  pub const ENUM_VALUES: &'static [Self] = &[
    Self::NONE,
    Self::TopicCreated,
    Self::TopicDeleted,
    Self::PartitionsAdded,
    Self::TopicSettingsSet,
    Self::BrokerSettingsSet,
    Self::ProducerIdsAllocated,
    Self::BrokerRegistered,
    Self::GroupSettingsSet,
    Self::PartitionsChanged,
  ];
  /// Returns the variant's name or "" if unknown.
  pub fn variant_name(self) -> Option<&'static str> {
    match self {
      Self::NONE => Some("NONE"),
      Self::TopicCreated => Some("TopicCreated"),
      Self::TopicDeleted => Some("TopicDeleted"),
      Self::PartitionsAdded => Some("PartitionsAdded"),
      Self::TopicSettingsSet => Some("TopicSettingsSet"),
      Self::BrokerSettingsSet => Some("BrokerSettingsSet"),
      Self::ProducerIdsAllocated => Some("ProducerIdsAllocated"),
      Self::BrokerRegistered => Some("BrokerRegistered"),
      Self::GroupSettingsSet => Some("GroupSettingsSet"),
      Self::PartitionsChanged => Some("PartitionsChanged"),
      _ => None,
    }
  }
}
impl ::core::fmt::Debug for Record {
  fn fmt(&self, f: &mut ::core::fmt::Formatter) -> ::core::fmt::Result {
    if let Some(name) = self.variant_name() {
      f.write_str(name)
    } else {
      f.write_fmt(format_args!("<UNKNOWN {:?}>", self.0))
    }
  }
}
impl<'a> ::flatbuffers::Follow<'a> for Record {
  type Inner = Self;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    let b = unsafe { ::flatbuffers::read_scalar_at::<u8>(buf, loc) };
    Self(b)
  }
}

impl ::flatbuffers::Push for Record {
    type Output = Record;
    #[inline]
    unsafe fn push(&self, dst: &mut [u8], _written_len: usize) {
        unsafe { ::flatbuffers::emplace_scalar::<u8>(dst, self.0) };
    }
}

impl ::flatbuffers::EndianScalar for Record {
  type Scalar = u8;
  #[inline]
  fn to_little_endian(self) -> u8 {
    self.0.to_le()
  }
  #[inline]
  #[allow(clippy::wrong_self_convention)]
  fn from_little_endian(v: u8) -> Self {
    let b = u8::from_le(v);
    Self(b)
  }
}

impl<'a> ::flatbuffers::Verifiable for Record {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    u8::run_verifier(v, pos)
  }
}

impl ::flatbuffers::SimpleToVerifyInSlice for Record {}
pub struct RecordUnionTableOffset {}

pub enum SettingOffset {}
#[derive(Copy, Clone, PartialEq)]

pub struct Setting<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for Setting<'a> {
  type Inner = Setting<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> Setting<'a> {
  pub const VT_KEY: ::flatbuffers::VOffsetT = 4;
  pub const VT_VALUE: ::flatbuffers::VOffsetT = 6;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    Setting { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args SettingArgs<'args>
  ) -> ::flatbuffers::WIPOffset<Setting<'bldr>> {
    let mut builder = SettingBuilder::new(_fbb);
    if let Some(x) = args.value { builder.add_value(x); }
    if let Some(x) = args.key { builder.add_key(x); }
    builder.finish()
  }


  #[inline]
  pub fn key(&self) -> &'a str {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<&str>>(Setting::VT_KEY, None).unwrap()}
  }
  #[inline]
  pub fn value(&self) -> &'a str {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<&str>>(Setting::VT_VALUE, None).unwrap()}
  }
}

impl ::flatbuffers::Verifiable for Setting<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<::flatbuffers::ForwardsUOffset<&str>>("key", Self::VT_KEY, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<&str>>("value", Self::VT_VALUE, true)?
     .finish();
    Ok(())
  }
}
pub struct SettingArgs<'a> {
    pub key: Option<::flatbuffers::WIPOffset<&'a str>>,
    pub value: Option<::flatbuffers::WIPOffset<&'a str>>,
}
impl<'a> Default for SettingArgs<'a> {
  #[inline]
  fn default() -> Self {
    SettingArgs {
      key: None, // required field
      value: None, // required field
    }
  }
}

pub struct SettingBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> SettingBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_key(&mut self, key: ::flatbuffers::WIPOffset<&'b  str>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(Setting::VT_KEY, key);
  }
  #[inline]
  pub fn add_value(&mut self, value: ::flatbuffers::WIPOffset<&'b  str>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(Setting::VT_VALUE, value);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> SettingBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    SettingBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<Setting<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, Setting::VT_KEY,"key");
    self.fbb_.required(o, Setting::VT_VALUE,"value");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for Setting<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("Setting");
      ds.field("key", &self.key());
      ds.field("value", &self.value());
      ds.finish()
  }
}

pub enum TopicCreatedOffset {}
#[derive(Copy, Clone, PartialEq)]

pub struct TopicCreated<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for TopicCreated<'a> {
  type Inner = TopicCreated<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> TopicCreated<'a> {
  pub const VT_ID: ::flatbuffers::VOffsetT = 4;
  pub const VT_NAME: ::flatbuffers::VOffsetT = 6;
  pub const VT_PARTITIONS: ::flatbuffers::VOffsetT = 8;
  pub const VT_SETTINGS: ::flatbuffers::VOffsetT = 10;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    TopicCreated { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args TopicCreatedArgs<'args>
  ) -> ::flatbuffers::WIPOffset<TopicCreated<'bldr>> {
    let mut builder = TopicCreatedBuilder::new(_fbb);
    if let Some(x) = args.settings { builder.add_settings(x); }
    if let Some(x) = args.partitions { builder.add_partitions(x); }
    if let Some(x) = args.name { builder.add_name(x); }
    if let Some(x) = args.id { builder.add_id(x); }
    builder.finish()
  }


  #[inline]
  pub fn id(&self) -> &'a super::types::Id {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<super::types::Id>(TopicCreated::VT_ID, None).unwrap()}
  }
  #[inline]
  pub fn name(&self) -> &'a str {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<&str>>(TopicCreated::VT_NAME, None).unwrap()}
  }
  /// Cover 0 to the number of partitions in order and without gaps.
  #[inline]
  pub fn partitions(&self) -> ::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<PartitionRange<'a>>> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<PartitionRange>>>>(TopicCreated::VT_PARTITIONS, None).unwrap()}
  }
  #[inline]
  pub fn settings(&self) -> ::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Setting<'a>>> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Setting>>>>(TopicCreated::VT_SETTINGS, None).unwrap()}
  }
}

impl ::flatbuffers::Verifiable for TopicCreated<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<super::types::Id>("id", Self::VT_ID, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<&str>>("name", Self::VT_NAME, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, ::flatbuffers::ForwardsUOffset<PartitionRange>>>>("partitions", Self::VT_PARTITIONS, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, ::flatbuffers::ForwardsUOffset<Setting>>>>("settings", Self::VT_SETTINGS, true)?
     .finish();
    Ok(())
  }
}
pub struct TopicCreatedArgs<'a> {
    pub id: Option<&'a super::types::Id>,
    pub name: Option<::flatbuffers::WIPOffset<&'a str>>,
    pub partitions: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<PartitionRange<'a>>>>>,
    pub settings: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Setting<'a>>>>>,
}
impl<'a> Default for TopicCreatedArgs<'a> {
  #[inline]
  fn default() -> Self {
    TopicCreatedArgs {
      id: None, // required field
      name: None, // required field
      partitions: None, // required field
      settings: None, // required field
    }
  }
}

pub struct TopicCreatedBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> TopicCreatedBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_id(&mut self, id: &super::types::Id) {
    self.fbb_.push_slot_always::<&super::types::Id>(TopicCreated::VT_ID, id);
  }
  #[inline]
  pub fn add_name(&mut self, name: ::flatbuffers::WIPOffset<&'b  str>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(TopicCreated::VT_NAME, name);
  }
  #[inline]
  pub fn add_partitions(&mut self, partitions: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , ::flatbuffers::ForwardsUOffset<PartitionRange<'b >>>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(TopicCreated::VT_PARTITIONS, partitions);
  }
  #[inline]
  pub fn add_settings(&mut self, settings: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , ::flatbuffers::ForwardsUOffset<Setting<'b >>>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(TopicCreated::VT_SETTINGS, settings);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> TopicCreatedBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    TopicCreatedBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<TopicCreated<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, TopicCreated::VT_ID,"id");
    self.fbb_.required(o, TopicCreated::VT_NAME,"name");
    self.fbb_.required(o, TopicCreated::VT_PARTITIONS,"partitions");
    self.fbb_.required(o, TopicCreated::VT_SETTINGS,"settings");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for TopicCreated<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("TopicCreated");
      ds.field("id", &self.id());
      ds.field("name", &self.name());
      ds.field("partitions", &self.partitions());
      ds.field("settings", &self.settings());
      ds.finish()
  }
}

pub enum TopicDeletedOffset {}
#[derive(Copy, Clone, PartialEq)]

pub struct TopicDeleted<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for TopicDeleted<'a> {
  type Inner = TopicDeleted<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> TopicDeleted<'a> {
  pub const VT_ID: ::flatbuffers::VOffsetT = 4;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    TopicDeleted { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args TopicDeletedArgs<'args>
  ) -> ::flatbuffers::WIPOffset<TopicDeleted<'bldr>> {
    let mut builder = TopicDeletedBuilder::new(_fbb);
    if let Some(x) = args.id { builder.add_id(x); }
    builder.finish()
  }


  #[inline]
  pub fn id(&self) -> &'a super::types::Id {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<super::types::Id>(TopicDeleted::VT_ID, None).unwrap()}
  }
}

impl ::flatbuffers::Verifiable for TopicDeleted<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<super::types::Id>("id", Self::VT_ID, true)?
     .finish();
    Ok(())
  }
}
pub struct TopicDeletedArgs<'a> {
    pub id: Option<&'a super::types::Id>,
}
impl<'a> Default for TopicDeletedArgs<'a> {
  #[inline]
  fn default() -> Self {
    TopicDeletedArgs {
      id: None, // required field
    }
  }
}

pub struct TopicDeletedBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> TopicDeletedBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_id(&mut self, id: &super::types::Id) {
    self.fbb_.push_slot_always::<&super::types::Id>(TopicDeleted::VT_ID, id);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> TopicDeletedBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    TopicDeletedBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<TopicDeleted<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, TopicDeleted::VT_ID,"id");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for TopicDeleted<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("TopicDeleted");
      ds.field("id", &self.id());
      ds.finish()
  }
}

pub enum TopicSettingsSetOffset {}
#[derive(Copy, Clone, PartialEq)]

/// All settings of the topic after the change.
pub struct TopicSettingsSet<'a> {
  pub _tab: ::flatbuffers::Table<'a>,
}

impl<'a> ::flatbuffers::Follow<'a> for TopicSettingsSet<'a> {
  type Inner = TopicSettingsSet<'a>;
  #[inline]
  unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
    Self { _tab: unsafe { ::flatbuffers::Table::new(buf, loc) } }
  }
}

impl<'a> TopicSettingsSet<'a> {
  pub const VT_ID: ::flatbuffers::VOffsetT = 4;
  pub const VT_SETTINGS: ::flatbuffers::VOffsetT = 6;

  #[inline]
  pub unsafe fn init_from_table(table: ::flatbuffers::Table<'a>) -> Self {
    TopicSettingsSet { _tab: table }
  }
  #[allow(unused_mut)]
  pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr, A: ::flatbuffers::Allocator + 'bldr>(
    _fbb: &'mut_bldr mut ::flatbuffers::FlatBufferBuilder<'bldr, A>,
    args: &'args TopicSettingsSetArgs<'args>
  ) -> ::flatbuffers::WIPOffset<TopicSettingsSet<'bldr>> {
    let mut builder = TopicSettingsSetBuilder::new(_fbb);
    if let Some(x) = args.settings { builder.add_settings(x); }
    if let Some(x) = args.id { builder.add_id(x); }
    builder.finish()
  }


  #[inline]
  pub fn id(&self) -> &'a super::types::Id {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<super::types::Id>(TopicSettingsSet::VT_ID, None).unwrap()}
  }
  #[inline]
  pub fn settings(&self) -> ::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Setting<'a>>> {
    // Safety:
    // Created from valid Table for this object
    // which contains a valid value in this slot
    unsafe { self._tab.get::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Setting>>>>(TopicSettingsSet::VT_SETTINGS, None).unwrap()}
  }
}

impl ::flatbuffers::Verifiable for TopicSettingsSet<'_> {
  #[inline]
  fn run_verifier(
    v: &mut ::flatbuffers::Verifier, pos: usize
  ) -> Result<(), ::flatbuffers::InvalidFlatbuffer> {
    v.visit_table(pos)?
     .visit_field::<super::types::Id>("id", Self::VT_ID, true)?
     .visit_field::<::flatbuffers::ForwardsUOffset<::flatbuffers::Vector<'_, ::flatbuffers::ForwardsUOffset<Setting>>>>("settings", Self::VT_SETTINGS, true)?
     .finish();
    Ok(())
  }
}
pub struct TopicSettingsSetArgs<'a> {
    pub id: Option<&'a super::types::Id>,
    pub settings: Option<::flatbuffers::WIPOffset<::flatbuffers::Vector<'a, ::flatbuffers::ForwardsUOffset<Setting<'a>>>>>,
}
impl<'a> Default for TopicSettingsSetArgs<'a> {
  #[inline]
  fn default() -> Self {
    TopicSettingsSetArgs {
      id: None, // required field
      settings: None, // required field
    }
  }
}

pub struct TopicSettingsSetBuilder<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> {
  fbb_: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>,
  start_: ::flatbuffers::WIPOffset<::flatbuffers::TableUnfinishedWIPOffset>,
}
impl<'a: 'b, 'b, A: ::flatbuffers::Allocator + 'a> TopicSettingsSetBuilder<'a, 'b, A> {
  #[inline]
  pub fn add_id(&mut self, id: &super::types::Id) {
    self.fbb_.push_slot_always::<&super::types::Id>(TopicSettingsSet::VT_ID, id);
  }
  #[inline]
  pub fn add_settings(&mut self, settings: ::flatbuffers::WIPOffset<::flatbuffers::Vector<'b , ::flatbuffers::ForwardsUOffset<Setting<'b >>>>) {
    self.fbb_.push_slot_always::<::flatbuffers::WIPOffset<_>>(TopicSettingsSet::VT_SETTINGS, settings);
  }
  #[inline]
  pub fn new(_fbb: &'b mut ::flatbuffers::FlatBufferBuilder<'a, A>) -> TopicSettingsSetBuilder<'a, 'b, A> {
    let start = _fbb.start_table();
    TopicSettingsSetBuilder {
      fbb_: _fbb,
      start_: start,
    }
  }
  #[inline]
  pub fn finish(self) -> ::flatbuffers::WIPOffset<TopicSettingsSet<'a>> {
    let o = self.fbb_.end_table(self.start_);
    self.fbb_.required(o, TopicSettingsSet::VT_ID,"id");
    self.fbb_.required(o, TopicSettingsSet::VT_SETTINGS,"settings");
    ::flatbuffers::WIPOffset::new(o.value())
  }
}

impl ::core::fmt::Debug for TopicSettingsSet<'_> {
  fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
    let mut ds = f.debug_struct("TopicSettingsSet");
      ds.field("id", &self.id());
      ds.field("settings", &self.settings());
      ds.finish()
  }
}
