//! One step of a search: a load at one rate, and what is to be thought of it.

use crate::backlog::Backlog;
use crate::report::Report;
use crate::search::Limit;
use serde_json::{Map, Value, json};

/// What speaks against a step.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Verdict {
    /// The broker did not keep within the limits.
    pub broker: Vec<String>,
    /// The load or its host may be what was measured.
    pub own: Vec<String>,
}

impl Verdict {
    pub fn of(report: &Report, backlog: &Backlog, limits: &[Limit], rate: f64) -> Verdict {
        let own = report.distrust();
        let mut broker: Vec<String> = limits.iter().filter_map(|limit| limit.exceeded(report)).collect();
        let mut weighed = report.clone();
        weighed.weigh();
        broker.extend(weighed.why.into_iter().filter(|why| !own.contains(why)));
        let size = report.tally.records as f64 / report.tally.requests.max(1) as f64;
        match backlog.growth(rate, size.max(1.0)) {
            Some(growth) if growth > 0.0 => {
                broker.push(format!("the backlog grows by {:.0} records a second", growth));
            }
            Some(_) => {}
            None => broker.push("too little was seen of the backlog".to_string()),
        }
        Verdict { broker, own }
    }

    /// Limits are kept, and the backlog does not grow. Own lag is in the latencies, so that is true of a step as well that is not
    /// valid.
    pub fn is_kept(&self) -> bool {
        self.broker.is_empty()
    }

    pub fn is_valid(&self) -> bool {
        self.own.is_empty()
    }

    pub fn name(&self) -> &'static str {
        match (self.is_valid(), self.is_kept()) {
            (true, true) => "passed",
            (true, false) => "failed",
            (false, _) => "invalid",
        }
    }

    pub fn why(&self) -> String {
        let all: Vec<&str> = self.own.iter().chain(&self.broker).map(String::as_str).collect();
        all.join("; ")
    }
}

/// Figures of a step, by their names in JSON and in the file of lines.
#[derive(Clone, Debug)]
pub struct Step {
    pub rate: f64,
    pub verdict: Verdict,
    pub figures: Map<String, Value>,
}

/// The figures besides the rate: name, where a report has it.
const FIGURES: [(&str, &str); 7] = [
    ("records_per_second", "/records_per_second"),
    ("p50_ms", "/latency_ms/p50"),
    ("p99_ms", "/latency_ms/p99"),
    ("p999_ms", "/latency_ms/p999"),
    ("max_ms", "/latency_ms/max"),
    ("censored", "/censored"),
    ("load_cores", "/load/cpu"),
];
/// Those of a load that reads back, besides.
const DELIVERY_FIGURES: [(&str, &str); 3] = [
    ("delivery_p50_ms", "/delivery_ms/p50"),
    ("delivery_p99_ms", "/delivery_ms/p99"),
    ("delivery_p999_ms", "/delivery_ms/p999"),
];
/// Cores that the broker used, those of the kernel's threads that worked for it included where they are known.
pub const BROKER_CORES: &str = "broker_cores";

impl Step {
    pub fn new(rate: f64, report: &Report, verdict: Verdict) -> Step {
        let all = report.json();
        let figure = |path: &str| all.pointer(path).cloned().unwrap_or(Value::Null);
        let mut figures: Map<String, Value> =
            FIGURES.iter().map(|(name, path)| (name.to_string(), figure(path))).collect();
        let delivery = DELIVERY_FIGURES.iter().filter(|(_, path)| !figure(path).is_null());
        figures.extend(delivery.map(|(name, path)| (name.to_string(), figure(path))));
        let broker = figure("/charged_cpu_seconds").as_f64().or_else(|| figure("/broker_cpu_seconds").as_f64());
        figures.insert(BROKER_CORES.to_string(), json!(broker.map(|seconds| seconds / report.seconds)));
        Step { rate, verdict, figures }
    }

    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.get(name)?.as_f64()
    }

    pub fn json(&self) -> Value {
        let mut object = Map::from_iter([("rate".to_string(), json!(self.rate))]);
        object.insert("outcome".to_string(), json!(self.verdict.name()));
        object.extend(self.figures.clone());
        object.insert("why".to_string(), json!([&self.verdict.own[..], &self.verdict.broker].concat()));
        Value::Object(object)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::backlog::Looks;
    use crate::report::DELIVERY;
    use crate::tally::{Miss, Tally, histogram};

    /// A thousand requests of up to `ms` each.
    pub fn report(ms: u64) -> Report {
        let mut tally = Tally::new();
        (1..=1000).for_each(|n| tally.request(n, n * ms * 1_000));
        tally.records = 1000;
        Report { lag: Some(histogram()), ..Report::new(tally, 10.0) }
    }

    fn verdict(report: &Report, growth: u64) -> Verdict {
        let looks: Looks = (0..100).map(|period| (period, period * growth)).collect();
        let limits = ["p99<10ms".parse().unwrap()];
        Verdict::of(report, &Backlog::of(&[looks]), &limits, 100.0)
    }

    #[test]
    fn a_step_passes_within_limits_only() {
        assert_eq!(verdict(&report(5), 0), Verdict::default());
        let slow = verdict(&report(20), 0);
        assert!(slow.why().starts_with("p99 19.8") && slow.why().ends_with("not p99<10ms"), "{slow:?}");
        assert_eq!((slow.name(), slow.is_kept()), ("failed", false));
        // 3 more at each of 10 looks a second.
        assert_eq!(verdict(&report(5), 3).broker, ["the backlog grows by 30 records a second"]);
        let mut lost = report(5);
        lost.tally.miss(Miss::Unsent, 3);
        lost.tally.error(6, 1);
        assert_eq!(verdict(&lost, 0).broker.len(), 2);
        assert!(!Verdict::of(&report(5), &Backlog::default(), &[], 100.0).is_kept());
    }

    #[test]
    fn the_delivery_has_limits_of_its_own() {
        let mut read_back = report(5);
        read_back.second_latency = Some((DELIVERY, "delivery", report(20).tally.latency));
        let looks: Looks = (0..100).map(|period| (period, 0)).collect();
        let of = |limit: &str| {
            Verdict::of(&read_back, &Backlog::of(std::slice::from_ref(&looks)), &[limit.parse().unwrap()], 100.0)
        };
        assert_eq!(of("p99<10ms"), Verdict::default());
        let late = of("delivery.p99<10ms");
        assert!(late.broker.len() == 1 && late.broker[0].starts_with("delivery.p99 19.8"), "{late:?}");
        let step = Step::new(100.0, &read_back, late);
        assert!(step.figure("delivery_p50_ms").is_some_and(|ms| (ms - 10.0).abs() < 0.1), "{step:?}");
    }

    #[test]
    fn a_load_that_was_late_itself_is_not_valid() {
        for (ms, is_kept) in [(5, true), (20, false)] {
            let mut late = report(ms);
            late.lag.as_mut().unwrap().record_n(5_000_000, 1000).unwrap();
            let verdict = verdict(&late, 0);
            assert_eq!((verdict.name(), verdict.is_kept()), ("invalid", is_kept));
            assert!(verdict.own.len() == 1 && verdict.own[0].contains("own lag"), "{verdict:?}");
        }
    }

    #[test]
    fn figures_are_those_of_the_report() {
        let step = Step::new(100.0, &report(5), Verdict::default()).json();
        assert_eq!((&step["rate"], &step["outcome"], &step["why"]), (&json!(100.0), &json!("passed"), &json!([])));
        assert!((step["p50_ms"].as_f64().unwrap() - 2.5).abs() < 0.01, "{step}");
        assert_eq!((&step["censored"], &step[BROKER_CORES]), (&json!(0), &Value::Null));
    }
}
