//! How fast one thread of load can be, and what a request costs it, against a broker that keeps nothing: `cargo bench -p loadgen`,
//! with two free cores. Options of `produce` after `--` are tried instead of those below.

#[path = "../tests/fake/mod.rs"]
mod fake;

use serde_json::Value;
use std::process::Command;

const LOADS: [&str; 8] = [
    "--batch-bytes 65536",
    "--batch-bytes 65536 --prepared 16",
    "--batch-bytes 1048576",
    "--batch-bytes 65536 --acks 0",
    "--batch-bytes 0 --in-flight 64",
    "--batch-bytes 0 --in-flight 64 --prepared 16",
    "--batch-bytes 0 --in-flight 64 --record-bytes 100",
    "--batch-bytes 0 --in-flight 64 --rate 200k",
];

fn main() {
    // Cargo says `--bench` itself.
    let given: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let loads = if given.is_empty() { LOADS.map(str::to_string).to_vec() } else { vec![given.join(" ")] };
    println!("CPU is that of the thread of load, user and system, then that of the whole process");
    println!("{:52} {:>10} {:>8} {:>15} {:>17}", "options", "requests/s", "MiB/s", "us a request", "core-s/GB");
    for options in loads {
        println!("{options:52} {}", figures(&run(&options)));
    }
}

fn run(options: &str) -> Value {
    let address = fake::start(fake::Fault::Sink).to_string();
    let fixed = "--json --seconds 3 --warmup-seconds 0.5 --threads 1 --connections 2 --bootstrap-server";
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .arg("produce")
        .args(fixed.split_whitespace())
        .arg(address)
        .args(options.split_whitespace())
        .output()
        .expect("loadgen runs");
    fake::json(&output)
}

fn figures(report: &Value) -> String {
    let number = |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let requests = number("/requests") / number("/seconds");
    let bytes = number("/mib_per_second") * f64::from(1 << 20);
    let costs = |unit: f64| ["/load/busiest_thread", "/load/cpu"].map(|cores| number(cores) * unit);
    let ([thread_us, all_us], [thread_gb, all_gb]) = (costs(1e6 / requests), costs(1e9 / bytes));
    let mib = number("/mib_per_second");
    format!("{requests:>10.0} {mib:>8.0} {thread_us:>7.2} {all_us:>7.2} {thread_gb:>8.2} {all_gb:>8.2}")
}
