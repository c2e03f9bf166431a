//! Connections that are closed for others: those that keep memory which others wait for, and hardly move.
//!
//! Nobody is closed for its own sake: whoever does not take its answers may ask for more of them, and wait for ever. And
//! nobody is closed unless that helps: only as many as have what is needed, those first that have the most.

use super::core::Core;
use super::net::Link;
use crate::shard::memory::Purpose;
use std::rc::Rc;

const SILENT: &str = "it does not read its answers, and others wait for the memory that they take";
const SLOW: &str = "its request arrives slowly, and others wait for the memory that it takes";

/// The largest of `stuck` that together have `needed` bytes, or all that have any.
fn chosen<T>(stuck: impl Iterator<Item = (T, usize)>, mut needed: usize) -> Vec<T> {
    let mut stuck: Vec<_> = stuck.filter(|(_, bytes)| *bytes > 0).collect();
    stuck.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let mut chosen = Vec::new();
    for (one, bytes) in stuck {
        if needed == 0 {
            break;
        }
        needed = needed.saturating_sub(bytes);
        chosen.push(one);
    }
    chosen
}

/// While others wait for memory, ends connections that have some and hardly move.
pub fn relieve(core: &Rc<Core>, links: &[Rc<Link>]) {
    let open = || links.iter().filter(|link| !link.is_closed());
    let silent = || open().filter(|link| link.is_stuck_reading());
    let close = |links: Vec<&Rc<Link>>, reason| {
        for link in links {
            link.close();
            core.log_close(link, reason);
        }
    };
    let (blocks, answers) = needed_for_reads(core);
    close(chosen(silent().map(|link| (link, link.read_bytes(&core.reader))), blocks), SILENT);
    let answers = answers.max(needed_for_answers(core, links));
    close(chosen(silent().map(|link| (link, link.outgoing_bytes())), answers), SILENT);
    let slow = open().filter(|link| link.is_stuck_sending());
    close(chosen(slow.map(|link| (link, link.receive_bytes.get())), needed_for_requests(core)), SLOW);
}

/// Bytes of blocks and of answers that keep others from reading; none if nobody waits but those that do not take what they
/// have.
fn needed_for_reads(core: &Core) -> (usize, usize) {
    let (waiting, needed) = core.reads.shortage(core);
    let links = core.links.borrow();
    let moves = |request| {
        let link = core.look(|shard| shard.connection_of(request)).and_then(|connection| links.get(&connection));
        link.is_some_and(|link| !link.is_stuck_reading())
    };
    if waiting.into_iter().any(moves) { needed } else { (0, 0) }
}

/// Bytes by which answers are above the limit beyond which nobody is read from, if somebody waits to be.
fn needed_for_answers(core: &Core, links: &[Rc<Link>]) -> usize {
    let over = core.outgoing_bytes_over();
    let waits = |link: &Rc<Link>| link.held.get() && link.outgoing_bytes() == 0 && link.has_sent();
    if over > 0 && links.iter().any(waits) { over } else { 0 }
}

/// Bytes that the smallest request that waits for a buffer wants.
fn needed_for_requests(core: &Core) -> usize {
    let waiting = core.receive_waiting.borrow();
    let Some((bytes, _)) = waiting.first() else { return 0 };
    core.memory.borrow().lacking(Purpose::Receiving, *bytes).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_closed_than_are_needed() {
        let stuck = [("a", 10), ("b", 30), ("c", 0), ("d", 20)];
        let chosen = |needed| chosen(stuck.into_iter(), needed);
        assert!(chosen(0).is_empty());
        assert_eq!(chosen(1), ["b"]);
        assert_eq!(chosen(31), ["b", "d"]);
        assert_eq!(chosen(1000), ["b", "d", "a"]);
    }
}
