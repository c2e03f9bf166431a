//! A condition of `--fail-if`: `p99>+5%` is a change, `p99>20` and `errors>0` are levels.

use crate::gate::metric::{Kind, kind};
use std::str::FromStr;

#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    pub text: String,
    pub metric: String,
    pub bound: Bound,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Bound {
    /// The new runs' value is more, or less, than this, in the metric's own unit: the median, or the sum of a number of faults.
    Above(f64),
    Below(f64),
    /// The ratio of the medians has changed by more than this share; above zero for both.
    Rise(f64),
    Fall(f64),
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Rule, String> {
        let text = text.trim();
        let at = text.find(['<', '>']).ok_or("not of the form METRIC>AMOUNT or METRIC<AMOUNT")?;
        let (metric, is_above) = (text[..at].trim().to_string(), text[at..].starts_with('>'));
        let kind = kind(&metric).ok_or_else(|| format!("there is no metric {metric:?}"))?;
        let amount = text[at + 1..].trim();
        let share = amount.strip_suffix('%');
        let number: f64 = share.unwrap_or(amount).trim().parse().map_err(|_| format!("{amount:?} is not a number"))?;
        if !number.is_finite() {
            return Err(format!("{amount:?} is not a number"));
        }
        let bound = match (share.is_some(), is_above) {
            (true, _) if kind == Kind::Faults => {
                return Err(format!("{metric} counts faults: compare it with a number"));
            }
            (true, true) if number > 0.0 => Bound::Rise(number / 100.0),
            // As far down as up: -50 % is half, of which +100 % is all.
            (true, false) if number < 0.0 && number > -100.0 => Bound::Fall(1.0 / (1.0 + number / 100.0) - 1.0),
            (true, _) => {
                return Err("a rise is >+N%, a fall <-N%, with N above 0 (and below 100 for a fall)".to_string());
            }
            (false, true) => Bound::Above(number),
            (false, false) => Bound::Below(number),
        };
        Ok(Rule { text: text.to_string(), metric, bound })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        for (text, metric, bound) in [
            ("p99>+5%", "p99", Bound::Rise(0.05)),
            (" p99.9 > 5 % ", "p99.9", Bound::Rise(0.05)),
            ("throughput<-20%", "throughput", Bound::Fall(0.25)),
            ("errors>0", "errors", Bound::Above(0.0)),
            ("ack.p50>12.5", "ack.p50", Bound::Above(12.5)),
            ("throughput<1e6", "throughput", Bound::Below(1e6)),
        ] {
            let rule: Rule = text.parse().unwrap();
            assert_eq!((rule.metric.as_str(), rule.bound), (metric, bound), "{text}");
        }
        for text in
            ["", "p99", "p99>", "p98>5%", "p99>-5%", "throughput<+3%", "throughput<-100%", "errors>5%", "p99>inf"]
        {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }
}
