//! Decides what should change (`requests.rs`), and applies what is committed.
//!
//! A request changes the image that is *decided* at once, so that the next request sees it, and proposes its records to
//! the log as one entry. What the log commits changes the image that is *durable*, which the cores get with what changed
//! in it. An answer, a refusal too, waits until a published image has reached [`Controller::index`], so nobody learns what
//! a crash could undo. Proposals that are lost, because the log was full or another node leads, leave the decided image;
//! who waits for them is decided about again ([`Controller::refuse`]).

use super::alone::{Alone, Write, Written};
use super::decided::{Body, DecidedLog, Entry, Role};
use super::delta::Delta;
use super::image::Image;
use super::log;
use super::record::Record;
use super::rejection::Rejection;
use super::snapshot::{Part, Snapshot};
use crate::types::Uuid;
use rpds::RedBlackTreeMapSync;
use std::sync::Arc;

/// Requests are refused while more bytes than this wait to be written.
const PENDING_BYTES_MAX: usize = 64 << 20;
/// Bytes of the records of one decision: room for 10,000 partitions that are all placed differently.
pub const DECISION_BYTES_MAX: usize = 16 << 20;
/// Records of one decision. Kafka: `MAX_RECORDS_PER_USER_OP`.
const DECISION_RECORDS_MAX: usize = 10_000;

/// What a write that has ended brought.
#[derive(Debug)]
pub struct Outcome {
    /// The image that every core is to see, and what changed in it.
    pub published: Option<(Image, Delta)>,
    /// Whether decisions above [`Controller::index`] are lost.
    pub lost: bool,
}

/// The machine.
#[derive(Debug)]
pub struct Controller<L = Alone> {
    log: L,
    /// What is decided, durable or not.
    decided: Image,
    /// What is committed.
    applied: Image,
    /// The term in which this node decides.
    leading: Option<u64>,
    /// Only what frees space is decided.
    refusing: bool,
    /// Topics that are deleted, by name, whose directories may still be there. Their names are taken.
    removing: Names,
    /// Names of deleted topics of which a directory cannot be taken out of the way, and how many.
    names_held: RedBlackTreeMapSync<Arc<str>, usize>,
    snapshot: Option<Snapshot>,
}

type Names = RedBlackTreeMapSync<Arc<str>, Uuid>;

/// The decisions of one request: adopted as a whole, or dropped if they were only to be validated.
pub(super) struct Draft {
    pub image: Image,
    removing: Names,
    payload: Vec<u8>,
    payload_bytes_max: usize,
    records: usize,
    frees: bool,
}

impl Draft {
    pub(super) fn decide(&mut self, record: &Record) -> Result<(), Rejection> {
        let bytes = record.encode();
        if self.records == DECISION_RECORDS_MAX {
            let text = "Unable to perform excessively large batch operation.";
            return Err(Rejection::PolicyViolation(text.into()));
        }
        if self.payload.len() + bytes.len() > self.payload_bytes_max {
            return Err(match self.payload_bytes_max {
                DECISION_BYTES_MAX => Rejection::PolicyViolation(format!(
                    "What one request changes takes more than {DECISION_BYTES_MAX} bytes."
                )),
                _ => Rejection::StorageFull,
            });
        }
        if let Record::TopicDeleted { id } = record
            && let Some(topic) = self.image.topic_by_id(*id)
        {
            self.removing.insert_mut(topic.name.clone(), *id);
        }
        let applied = self.image.stage(record, &mut Delta::default());
        applied.expect("a record is decided on the image that it is applied to");
        log::push_record(&mut self.payload, &bytes);
        self.records += 1;
        Ok(())
    }

    /// Whether a topic of this name was deleted and its directories may still be there.
    pub(super) fn is_removing(&self, name: &str) -> bool {
        self.removing.contains_key(name)
    }
}

impl<L: DecidedLog> Controller<L> {
    /// A controller that goes on from `image`, which the log's entries up to the image's index have made.
    pub(super) fn new(log: L, image: Image) -> Controller<L> {
        let mut controller = Controller {
            log,
            decided: image.clone(),
            applied: image,
            leading: None,
            refusing: false,
            removing: Names::new_sync(),
            names_held: RedBlackTreeMapSync::new_sync(),
            snapshot: None,
        };
        controller.follow_role();
        controller
    }

    /// The image of what is committed: what every core may see.
    pub fn image_durable(&self) -> &Image {
        &self.applied
    }

    /// What has been decided, durable or not: the base of read-modify-write requests such as incremental alterations.
    pub fn image_decided(&self) -> &Image {
        &self.decided
    }

    /// Index of the last decision: an answer waits until an image with it is published.
    pub fn index(&self) -> u64 {
        self.decided.index()
    }

    pub(super) fn draft(&self) -> Result<Draft, Rejection> {
        self.draft_that(false)
    }

    /// A draft of decisions that all free space.
    pub(super) fn draft_freeing(&self) -> Result<Draft, Rejection> {
        self.draft_that(true)
    }

    fn draft_that(&self, frees: bool) -> Result<Draft, Rejection> {
        match self.log.role() {
            Role::Failed => return Err(Rejection::StorageFailed),
            Role::Leader { term, .. } if self.leading == Some(term) => {}
            Role::Leader { .. } | Role::Follower => return Err(Rejection::NotController),
        }
        if self.refusing && !frees {
            return Err(Rejection::StorageFull);
        }
        if self.log.pending_bytes() > PENDING_BYTES_MAX {
            return Err(Rejection::Overloaded);
        }
        let payload_bytes_max = match self.refusing {
            true => self.log.reserve_bytes().min(DECISION_BYTES_MAX - 1),
            false => DECISION_BYTES_MAX,
        };
        let (image, removing) = (self.decided.clone(), self.removing.clone());
        Ok(Draft { image, removing, payload: Vec::new(), payload_bytes_max, records: 0, frees })
    }

    pub(super) fn adopt(&mut self, draft: Draft) {
        let Draft { mut image, removing, payload, records, frees, .. } = draft;
        if records == 0 {
            return;
        }
        let term = self.leading.expect("a draft is made by who leads");
        let index = self.log.propose(payload, frees).expect("it leads");
        assert_eq!(index, self.decided.index() + 1);
        image.advance(index, term);
        (self.decided, self.removing) = (image, removing);
    }

    /// Decides one record unless it is only to be validated.
    pub(super) fn decide(&mut self, record: &Record, validate_only: bool) -> Result<(), Rejection> {
        let mut draft = self.draft()?;
        draft.decide(record)?;
        if !validate_only {
            self.adopt(draft);
        }
        Ok(())
    }

    /// Whether the controller refuses every decision that does not free space. It does while requests are decided about
    /// again whose decisions were lost because the disk was full.
    pub fn refuse(&mut self, refusing: bool) {
        self.refusing = refusing;
    }

    /// Every core has the directories of the deleted topic out of the way: its name is free.
    pub fn topic_removed(&mut self, name: &str, id: Uuid) {
        if self.removing.get(name) == Some(&id) {
            self.removing.remove_mut(name);
        }
    }

    /// No topic may have this name until [`Controller::free_name`] was called as often.
    pub fn hold_name(&mut self, name: Arc<str>) {
        let held = self.names_held.get(&name).copied().unwrap_or(0);
        self.names_held.insert_mut(name, held + 1);
    }

    /// Takes back one [`Controller::hold_name`] of this name.
    pub fn free_name(&mut self, name: &str) {
        match *self.names_held.get(name).expect("the name is held") {
            1 => assert!(self.names_held.remove_mut(name)),
            held => self.names_held.insert_mut(name.into(), held - 1),
        }
    }

    pub(super) fn is_name_held(&self, name: &str) -> bool {
        self.names_held.contains_key(name)
    }

    /// Stops deciding. What is not committed is lost.
    pub fn resign(&mut self) {
        self.log.resign();
        self.forget_proposed();
    }

    /// Applies what has been committed. Returns the image to publish and what changed in it, if anything was.
    fn apply_committed(&mut self) -> Option<(Image, Delta)> {
        let entries = self.log.take_committed();
        let mut delta = Delta::default();
        for Entry { index, term, body } in &entries {
            let records = match body {
                Body::TermBegins => Ok(Vec::new()),
                Body::Records(payload) => Entry::decode_records(payload),
            };
            let applied = records.and_then(|records| self.applied.apply(*index, *term, &records, &mut delta));
            applied.expect("it was applied to the decided image in the same order");
        }
        (!entries.is_empty()).then(|| (self.applied.clone(), delta))
    }

    /// Begins to decide, on the image that is applied, once this node leads and has applied every entry before its
    /// term.
    fn follow_role(&mut self) {
        match self.log.role() {
            Role::Leader { term, .. } if self.leading == Some(term) => return,
            Role::Leader { term, index_first } if self.applied.index() + 1 >= index_first => {
                self.leading = Some(term);
            }
            Role::Leader { .. } | Role::Follower | Role::Failed => self.leading = None,
        }
        self.decide_from_applied();
    }

    fn decide_from_applied(&mut self) {
        self.decided = self.applied.clone();
        if let (Role::Leader { term, index_first }, Some(_)) = (self.log.role(), self.leading)
            && index_first > self.applied.index()
        {
            self.decided.advance(index_first, term);
        }
    }

    fn forget_proposed(&mut self) {
        self.leading = None;
        self.follow_role();
        // A topic whose deletion is lost is there.
        let gone = self.removing.iter().filter(|(_, id)| self.applied.topic_by_id(**id).is_none());
        self.removing = gone.map(|(name, id)| (name.clone(), *id)).collect();
    }

    /// The next part of a snapshot, when one is due and no part is being written. The shell answers with
    /// [`Controller::snapshot_written`].
    pub fn plan_snapshot(&mut self) -> Option<Part> {
        if self.snapshot.is_none() && self.log.is_snapshot_due() {
            self.snapshot = Some(Snapshot::new(self.applied.clone()));
        }
        self.snapshot.as_mut()?.plan_part()
    }

    /// Takes whether the part that was under way is written; the last part is written when the snapshot is synced and
    /// in its place. After a failure another snapshot follows when the log has grown.
    pub fn snapshot_written(&mut self, ok: bool) {
        let snapshot = self.snapshot.as_mut().expect("a part is under way");
        match snapshot.part_written(ok) {
            None if ok => return,
            None => self.log.snapshot_failed(),
            Some((index, bytes)) => self.log.snapshot_made(index, bytes),
        }
        self.snapshot = None;
    }
}

impl Controller<Alone> {
    /// The next write to the log; `None` while nothing is to be written, or a write is under way. The shell answers
    /// with [`Controller::written`].
    pub fn plan_write(&mut self) -> Option<Write> {
        self.log.plan_write()
    }

    /// Takes what came of the write that was under way.
    pub fn written(&mut self, written: Written) -> Outcome {
        let lost = self.log.written(written);
        let published = self.apply_committed();
        match lost {
            true => self.forget_proposed(),
            false if self.leading.is_none() => self.decide_from_applied(),
            false => {}
        }
        Outcome { published, lost }
    }

    /// Takes the lead again, in a new term.
    pub fn lead(&mut self) {
        self.log.lead();
        self.follow_role();
    }
}

#[cfg(test)]
pub(super) mod tests;
