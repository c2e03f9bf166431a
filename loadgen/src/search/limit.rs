//! What the latencies of a step may be at most, as `--max` says it.

use crate::report::{DELIVERY, Report, max_ms, percentile_ms};
use std::str::FromStr;

/// Milliseconds in each unit, by the ends of words.
const UNITS: [(&str, f64); 3] = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];

/// What stands before a percentile of the delivery.
const DELIVERED: &str = "delivery.";

#[derive(Clone, PartialEq, Debug)]
pub struct Limit {
    /// As it was given.
    pub text: String,
    /// 100 is the longest of all.
    percentile: f64,
    pub ms: f64,
    /// The limit itself is allowed.
    is_inclusive: bool,
}

impl Limit {
    pub fn is_of_delivery(&self) -> bool {
        self.text.starts_with(DELIVERED)
    }

    /// What a load's latency has too much, if it does.
    pub fn exceeded(&self, report: &Report) -> Option<String> {
        let delivery = report.second_latency.as_ref().filter(|(name, ..)| *name == DELIVERY);
        let latency = match (self.is_of_delivery(), delivery) {
            (false, _) => &report.tally.latency,
            (true, Some((_, _, latency))) => latency,
            (true, None) => return Some(format!("no delivery was seen, not {}", self.text)),
        };
        let (name, _) = self.text.split_once('<').expect("it was read so");
        let ms = if self.percentile == 100.0 { max_ms(latency) } else { percentile_ms(latency, self.percentile) };
        let is_kept = if self.is_inclusive { ms <= self.ms } else { ms < self.ms };
        (!is_kept).then(|| format!("{name} {ms:.3} ms, not {}", self.text))
    }
}

impl FromStr for Limit {
    type Err = String;

    /// `p99<10ms`, `p99.9<=500us`, `max<1s`, `delivery.p99<20ms`.
    fn from_str(text: &str) -> Result<Limit, String> {
        let text: String = text.split_whitespace().collect();
        let wrong = || format!("{text:?} is not of the form p99<10ms");
        let (name, value) = text.split_once('<').ok_or_else(wrong)?;
        let (value, is_inclusive) = value.strip_prefix('=').map_or((value, false), |value| (value, true));
        let percentile = match name.strip_prefix(DELIVERED).unwrap_or(name) {
            "max" => 100.0,
            name => name.strip_prefix('p').and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?,
        };
        let has_unit = |(unit, size): &(&str, f64)| Some((value.strip_suffix(unit)?.parse::<f64>().ok()?, *size));
        let (number, size) = UNITS.iter().find_map(has_unit).ok_or("a limit has a time with its unit: us, ms or s")?;
        let ms = number * size;
        if !(percentile > 0.0 && percentile <= 100.0 && ms > 0.0 && ms.is_finite()) {
            return Err(wrong());
        }
        Ok(Limit { text, percentile, ms, is_inclusive })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::{Tally, histogram};

    #[test]
    fn limits_are_read_and_judged() {
        let of = |latency| Report::new(Tally { latency, ..Tally::new() }, 1.0);
        let (mut latency, mut delivery) = (histogram(), histogram());
        (1..=1000).for_each(|n| latency.record(n * 10_000).unwrap());
        (1..=1000).for_each(|n| delivery.record(n * 20_000).unwrap());
        let mut report = of(latency);
        let limit = |text: &str| text.parse::<Limit>().unwrap();
        assert!(limit("delivery.p99<1s").exceeded(&report).is_some(), "nothing was read back");
        report.second_latency = Some((DELIVERY, "delivery", delivery));
        let exceeded = |text: &str| limit(text).exceeded(&report);
        assert!(exceeded("delivery.p99<19ms").unwrap().starts_with("delivery.p99 19.8"));
        for kept in [
            "delivery.p99<20ms",
            "delivery.max<=20.1ms",
            "p50<6ms",
            "p99<9.95ms",
            "p99.9<=10.1ms",
            "p95 < 9600us",
            "max<0.011s",
        ] {
            assert_eq!(exceeded(kept), None, "{kept}");
        }
        assert!(exceeded("p99<9.9ms").unwrap().starts_with("p99 9.9"));
        assert!(exceeded("max<5000us").unwrap().contains("not max<5000us"));
        // A limit that is reached is kept only if it says so.
        let mut one = histogram();
        one.record(1_000_000).unwrap();
        let ms = percentile_ms(&one, 50.0);
        let limit = |is_inclusive| Limit { text: "p50<1".to_string(), percentile: 50.0, ms, is_inclusive };
        let one = of(one);
        assert!(limit(false).exceeded(&one).is_some() && limit(true).exceeded(&one).is_none());
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in [
            "",
            "p99",
            "p99>10ms",
            "p99<10",
            "p<1ms",
            "p0<1ms",
            "p101<1ms",
            "p99<0ms",
            "p99<infs",
            "q99<1ms",
            "delivery<1ms",
            "delivery.q9<1ms",
            "ack.p99<1ms",
        ] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
    }
}
