//! A message from core to core and back, as requests take it that arrive on the wrong core: `cargo bench --bench mesh`.
//! One at a time it is the way both cores sleep and wake; many at a time, what one costs among others.

mod drive;

use glommio::channels::shared_channel;
use glommio::{LocalExecutorBuilder, Placement};
use std::time::Instant;

const ROUNDS: usize = 15;
const MESSAGES: usize = 20_000;
const IN_FLIGHT: [usize; 3] = [1, 16, 256];
const CAPACITY: usize = 1024;

/// Nanoseconds a message takes there and back, by how many are under way.
fn main() {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    if cores < 2 {
        println!("mesh: skipped, it needs two cores");
        return;
    }
    drive::print();
    let (ask, asked) = shared_channel::new_bounded::<u64>(CAPACITY);
    let (answer, answered) = shared_channel::new_bounded::<u64>(CAPACITY);
    let echo = LocalExecutorBuilder::new(Placement::Fixed(1)).spawn(|| async move {
        let (asked, answer) = (asked.connect().await, answer.connect().await);
        while let Some(message) = asked.recv().await {
            answer.send(message).await.expect("the other side is there");
        }
    });
    let driver = LocalExecutorBuilder::new(Placement::Fixed(0)).spawn(|| async move {
        let (ask, answered) = (ask.connect().await, answered.connect().await);
        for in_flight in IN_FLIGHT {
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let start = Instant::now();
                for message in 0..MESSAGES {
                    ask.send(message as u64).await.expect("the other side is there");
                    if message >= in_flight - 1 {
                        answered.recv().await.expect("the other side is there");
                    }
                }
                for _ in 0..in_flight - 1 {
                    answered.recv().await.expect("the other side is there");
                }
                rounds.push(start.elapsed().as_nanos() as usize / MESSAGES);
            }
            rounds.sort_unstable();
            let (fastest, median, slowest) = (rounds[0], rounds[ROUNDS / 2], rounds[ROUNDS - 1]);
            println!("mesh  {in_flight:4} in flight: {median:7} ns a message there and back ({fastest} to {slowest})");
        }
    });
    driver.expect("an executor").join().expect("it does not panic");
    echo.expect("an executor").join().expect("it does not panic");
}
