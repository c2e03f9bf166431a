//! How fast one thread of load can be, against a broker that keeps nothing: `cargo bench -p loadgen`, with two free cores.

#[path = "../tests/fake/mod.rs"]
mod fake;

use serde_json::Value;
use std::process::Command;

const LOADS: [&str; 6] = [
    "--batch-bytes 65536",
    "--batch-bytes 65536 --prepared 16",
    "--batch-bytes 1048576",
    "--batch-bytes 65536 --acks 0",
    "--batch-bytes 0 --in-flight 64",
    "--batch-bytes 0 --in-flight 64 --prepared 16",
];

fn main() {
    for options in LOADS {
        let address = fake::start(fake::Fault::Sink).to_string();
        let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args([
                "produce",
                "--bootstrap-server",
                &address,
                "--json",
                "--seconds",
                "2",
                "--threads",
                "1",
                "--connections",
                "2",
            ])
            .args(options.split_whitespace())
            .output()
            .expect("loadgen runs");
        let value: Value = serde_json::from_slice(&output.stdout).expect("an object");
        println!(
            "{options}: {:.0} MiB/s, {} requests",
            value["mib_per_second"].as_f64().unwrap_or(0.0),
            value["requests"]
        );
    }
}
