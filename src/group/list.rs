//! ListGroups: which groups are asked for, and the answer, which is made over several turns.

use super::classic::{self, State};
use super::coordinator::Coordinator;
use super::error::owned;
use super::state::{Group, STATE_DEAD};
use super::{Response, Ticket};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::messages::list_groups_response::ListedGroup;
use crate::wire::messages::{ListGroupsRequest, ListGroupsResponse};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

/// Groups that are looked at in one turn.
pub(super) const LISTED_PER_TURN: usize = 4096;
/// Groups that are looked at when the request comes.
const LISTED_AT_ONCE: usize = 64;
/// What a row takes beside its texts.
const ROW_BYTES: usize = 128;
/// From here on states can be asked for (KIP-518), and from here on types (KIP-848).
const VERSION_STATES: i16 = 4;
const VERSION_TYPES: i16 = 5;
const VERSION_FLEXIBLE: i16 = 3;

/// The groups that a ListGroups asks for. Names that no group could have are not kept, however many there are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListFilter {
    /// `None`: all.
    states: Option<BTreeSet<&'static str>>,
    /// Whether classic groups are among the types; `None`: all are.
    classic: Option<bool>,
}

impl ListFilter {
    /// What a ListGroups request wants to see.
    pub fn new(request: &ListGroupsRequest<'_>) -> ListFilter {
        let mut filter = ListFilter::default();
        request.states_filter.iter().for_each(|state| filter.add_state(state));
        request.types_filter.iter().for_each(|kind| filter.add_type(kind));
        filter
    }

    /// Reads a request's body, whose names need not be in memory at the same time.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<ListFilter, DecodeError> {
        let mut filter = ListFilter::default();
        let name_bytes_min = 1;
        if version >= VERSION_STATES {
            r.array(true, name_bytes_min, |r| r.string(true).map(|name| filter.add_state(&name)))?;
        }
        if version >= VERSION_TYPES {
            r.array(true, name_bytes_min, |r| r.string(true).map(|name| filter.add_type(&name)))?;
        }
        if version >= VERSION_FLEXIBLE {
            r.tags(|_, value| value.take(value.remaining()).map(|_| ()))?;
        }
        Ok(filter)
    }

    fn add_state(&mut self, name: &str) {
        let states = self.states.get_or_insert_default();
        let known = State::ALL.iter().map(|state| state.name()).chain([STATE_DEAD]);
        states.extend(known.into_iter().find(|known| known.eq_ignore_ascii_case(name.trim())));
    }

    fn add_type(&mut self, name: &str) {
        *self.classic.get_or_insert_default() |= classic::TYPE.eq_ignore_ascii_case(name.trim());
    }

    fn admits(&self, group: &Group) -> bool {
        let state = group.state_name();
        self.classic != Some(false) && self.states.as_ref().is_none_or(|states| states.contains(state))
    }
}

/// A list in the making.
#[derive(Debug)]
pub(super) struct Listing {
    pub ticket: Ticket,
    filter: ListFilter,
    /// The last group that was looked at.
    after: Option<Arc<str>>,
    groups: Vec<ListedGroup<'static>>,
    bytes: usize,
}

impl Coordinator {
    /// Begins a list: it is answered at once if there are few groups.
    pub(super) fn list(&mut self, ticket: Ticket, filter: &ListFilter) {
        let filter = filter.clone();
        self.listings.push_back(Listing { ticket, filter, after: None, groups: Vec::new(), bytes: 0 });
        if self.listings.len() == 1 {
            self.list_some(LISTED_AT_ONCE);
        }
    }

    /// Goes on with the list that was begun first.
    pub(super) fn list_some(&mut self, groups_max: usize) {
        let Some(listing) = self.listings.front_mut() else { return };
        let from = listing.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let mut looked_at = 0;
        for (name, group) in self.groups.range((from, Bound::Unbounded)).take(groups_max) {
            looked_at += 1;
            listing.after = Some(name.clone());
            if group.exists() && listing.filter.admits(group) {
                let row = group.row();
                listing.bytes += ROW_BYTES + row.group_id.len() + row.protocol_type.len();
                listing.groups.push(row);
            }
        }
        let too_large = listing.bytes > self.step.settings.answer_bytes_max;
        if too_large || looked_at < groups_max {
            let Listing { ticket, groups, .. } = self.listings.pop_front().expect("it is the first");
            let list = || Response::ListGroups(ListGroupsResponse { groups, ..Default::default() });
            self.step.answer(ticket, if too_large { Response::TooLarge } else { list() });
        }
    }
}

impl Group {
    fn row(&self) -> ListedGroup<'static> {
        ListedGroup {
            group_id: owned(self.name()),
            protocol_type: owned(self.kind().protocol_type()),
            group_state: self.state_name().into(),
            group_type: self.kind().name().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Writer;

    #[test]
    fn a_filter_of_many_names_is_small_and_the_same_in_both_forms() {
        let names = |names: &[&'static str]| names.iter().map(|name| (*name).into()).collect::<Vec<_>>();
        for version in 0..=5 {
            let mut request = ListGroupsRequest::default();
            if version >= VERSION_STATES {
                request.states_filter = names(&["no such state", " stable", "STABLE", "Dead", ""].repeat(1000));
            }
            if version >= VERSION_TYPES {
                request.types_filter = names(&["share", "Classic "]);
            }
            let mut w = Writer::new();
            request.encode(&mut w, version);
            let bytes = w.into_bytes();
            let mut r = Reader::new(&bytes);
            let filter = ListFilter::decode(&mut r, version).unwrap();
            assert_eq!((r.remaining(), &filter), (0, &ListFilter::new(&request)), "{version}");
            if version >= VERSION_STATES {
                assert_eq!(filter.states, Some(BTreeSet::from(["Stable", "Dead"])));
                assert!(ListFilter::decode(&mut Reader::new(&bytes[..bytes.len() - 1]), version).is_err());
            }
        }
        let other = ListGroupsRequest { types_filter: names(&["share"]), ..Default::default() };
        assert_eq!(ListFilter::new(&other).classic, Some(false));
    }
}
