//! A run's report in Prometheus's text format (version 0.0.4): each number of it is a gauge, percentiles are a summary in seconds.

use serde_json::{Map, Value};
use std::fmt::Write;

/// The metrics of a `run.json`.
pub fn exposition(run: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let mut output = String::new();
    let info = [
        ("version", text(&run["loadgen"])),
        ("command", text(&run["command"])),
        ("kernel", text(&run["host"]["kernel"])),
        ("cpu", text(&run["host"]["cpu"])),
    ];
    family(&mut output, "loadgen_run_info", "gauge", &[(labels(&info), 1.0)]);
    let ended = run["ended_unix_seconds"].as_f64().unwrap_or_default();
    family(&mut output, "loadgen_run_ended_timestamp_seconds", "gauge", &[(String::new(), ended)]);
    if let Some(report) = run["report"].as_object() {
        object(&mut output, "loadgen", report);
    }
    output
}

fn object(output: &mut String, prefix: &str, fields: &Map<String, Value>) {
    for (field, value) in fields {
        let name = format!("{prefix}_{}", legal(field));
        match value {
            Value::Bool(is_so) => family(output, &name, "gauge", &[(String::new(), f64::from(u8::from(*is_so)))]),
            Value::Number(number) => {
                family(output, &name, "gauge", &[(String::new(), number.as_f64().unwrap_or(f64::NAN))]);
            }
            Value::Object(counts) if field == "errors" => {
                let count = |(code, count): (&String, &Value)| {
                    (labels(&[("code", code.clone())]), count.as_f64().unwrap_or_default())
                };
                let counts: Vec<_> = counts.iter().map(count).collect();
                family(output, &name, "gauge", &counts);
            }
            Value::Object(fields) => match name.strip_suffix("_ms") {
                Some(name) => summary(output, &format!("{name}_seconds"), fields),
                None => object(output, &name, fields),
            },
            Value::Null | Value::String(_) | Value::Array(_) => {}
        }
    }
}

/// Percentiles that are given in milliseconds.
fn summary(output: &mut String, name: &str, fields: &Map<String, Value>) {
    let mut lines = Vec::new();
    for (field, value) in fields {
        let (Some(ms), Some(quantile)) = (value.as_f64(), quantile(field)) else { continue };
        lines.push((labels(&[("quantile", quantile)]), ms / 1e3));
    }
    family(output, name, "summary", &lines);
    if let Some(count) = fields.get("count").and_then(Value::as_f64) {
        writeln!(output, "{name}_count {count}").expect("a string takes all");
    }
}

/// `p999` is 0.999, and a maximum the quantile 1.
fn quantile(field: &str) -> Option<String> {
    let digits = field.strip_prefix('p').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match digits {
        Some(digits) if !digits.is_empty() => Some(format!("0.{}", digits.trim_end_matches('0'))),
        _ => (field == "max").then(|| "1".to_string()),
    }
}

fn family(output: &mut String, name: &str, kind: &str, lines: &[(String, f64)]) {
    if lines.is_empty() {
        return;
    }
    writeln!(output, "# TYPE {name} {kind}").expect("a string takes all");
    for (labels, value) in lines {
        writeln!(output, "{name}{labels} {value}").expect("a string takes all");
    }
}

fn labels(pairs: &[(&str, String)]) -> String {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

/// A name of letters, digits and underscores.
fn legal(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_number_is_a_metric_and_percentiles_are_quantiles_in_seconds() {
        let run = json!({
            "loadgen": "1.2.3", "command": "produce", "ended_unix_seconds": 1_700_000_000,
            "host": {"kernel": "6.1", "cpu": "A \"B\" \\ C"},
            "report": {
                "records": 5, "records_per_second": 2.5, "valid": false, "why": ["x"], "broker_rss_bytes": null,
                "latency_ms": {"p50": 1.0, "p999": 20.0, "max": 30.0},
                "pause_ms": {"count": 2, "max": 1.5},
                "errors": {"NOT_LEADER": 3},
                "host": {"steal": 0.5},
            },
        });
        let expected = "\
# TYPE loadgen_run_info gauge
loadgen_run_info{version=\"1.2.3\",command=\"produce\",kernel=\"6.1\",cpu=\"A \\\"B\\\" \\\\ C\"} 1
# TYPE loadgen_run_ended_timestamp_seconds gauge
loadgen_run_ended_timestamp_seconds 1700000000
# TYPE loadgen_records gauge
loadgen_records 5
# TYPE loadgen_records_per_second gauge
loadgen_records_per_second 2.5
# TYPE loadgen_valid gauge
loadgen_valid 0
# TYPE loadgen_latency_seconds summary
loadgen_latency_seconds{quantile=\"0.5\"} 0.001
loadgen_latency_seconds{quantile=\"0.999\"} 0.02
loadgen_latency_seconds{quantile=\"1\"} 0.03
# TYPE loadgen_pause_seconds summary
loadgen_pause_seconds{quantile=\"1\"} 0.0015
loadgen_pause_seconds_count 2
# TYPE loadgen_errors gauge
loadgen_errors{code=\"NOT_LEADER\"} 3
# TYPE loadgen_host_steal gauge
loadgen_host_steal 0.5
";
        assert_eq!(exposition(&run), expected);
    }
}
