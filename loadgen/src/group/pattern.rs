//! What members do during a run: `5 join 2, 10 leave, 15 die`.

use std::str::FromStr;

const SECOND_NS: f64 = 1e9;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// New members come.
    Join,
    /// Members say that they leave; it is those who have been there longest.
    Leave,
    /// The same, without a word: their connections are closed, and the coordinator finds out by their sessions' ends.
    Die,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Action::Join => "join",
            Action::Leave => "leave",
            Action::Die => "die",
        }
    }
}

/// What happens to each group at a time of the run.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Event {
    pub at_ns: u64,
    pub action: Action,
    pub members: usize,
}

/// Events in the order of their times.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Pattern(pub Vec<Event>);

impl Pattern {
    /// When the coordinator knows of the last event: of a death at the end of the member's session.
    pub fn known_ns(&self, session_ns: u64) -> u64 {
        let known = |event: &Event| event.at_ns + if event.action == Action::Die { session_ns } else { 0 };
        self.0.iter().map(known).max().unwrap_or(0)
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        let mut events = Vec::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            events.push(event(part).ok_or_else(|| format!("{part:?} is not of the form SECONDS join|leave|die [N]"))?);
        }
        events.sort_by_key(|event: &Event| event.at_ns);
        Ok(Pattern(events))
    }
}

fn event(text: &str) -> Option<Event> {
    let mut words = text.split_whitespace();
    let seconds: f64 = words.next()?.parse().ok()?;
    let action = match words.next()? {
        "join" => Action::Join,
        "leave" => Action::Leave,
        "die" => Action::Die,
        _ => return None,
    };
    let members = words.next().map_or(Ok(1), str::parse).ok()?;
    let whole = words.next().is_none() && members > 0 && seconds.is_finite() && seconds >= 0.0;
    whole.then_some(Event { at_ns: (seconds * SECOND_NS) as u64, action, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_in_the_order_of_time() {
        let Pattern(events) = "10 leave, 5 join 2,12.5 die".parse().unwrap();
        let rows: Vec<_> =
            events.iter().map(|event| (event.at_ns / 100_000_000, event.action, event.members)).collect();
        assert_eq!(rows, [(50, Action::Join, 2), (100, Action::Leave, 1), (125, Action::Die, 1)]);
        assert_eq!("".parse(), Ok(Pattern::default()));
        for wrong in ["5", "join", "5 dance", "5 join 0", "5 join 1 1", "-1 join", "inf join", "5 join x"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
    }
}
