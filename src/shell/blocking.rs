//! Threads for calls that block. glommio's own thread for them is one a core, and runs on that core's CPU: a directory that is
//! removed would delay a sync there, and both would take the core's time.
//!
//! The threads are the process's, run on any CPU, and have a queue for each kind of work, so that no kind waits for another.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::task::{Poll, Waker};

/// Kinds of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Short calls: small files, names, lengths.
    Files,
    /// What waits for the device: syncs.
    Sync,
    /// Removal of files and directories, however large.
    Remove,
}

const KINDS: usize = 3;
const FILES_THREADS: usize = 2;
const REMOVE_THREADS: usize = 1;
/// The work needs little.
const STACK_BYTES: usize = 256 << 10;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    filled: Condvar,
}

static QUEUES: OnceLock<[Arc<Queue>; KINDS]> = OnceLock::new();

impl Queue {
    fn work(&self) {
        loop {
            let job = {
                let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
                let mut jobs =
                    self.filled.wait_while(jobs, |jobs| jobs.is_empty()).unwrap_or_else(PoisonError::into_inner);
                jobs.pop_front().expect("it is not empty")
            };
            job();
        }
    }
}

/// Starts the threads. Called on a thread that may run on all CPUs, and with signals blocked: the new ones inherit both.
pub fn start(cores: usize) -> Result<(), String> {
    let queues: [Arc<Queue>; KINDS] = Default::default();
    // Each core syncs one thing at a time, and the controller its log.
    for (queue, threads) in queues.iter().zip([FILES_THREADS, cores + 1, REMOVE_THREADS]) {
        for _ in 0..threads {
            let queue = queue.clone();
            let builder = std::thread::Builder::new().name("blocking".into()).stack_size(STACK_BYTES);
            builder.spawn(move || queue.work()).map_err(|error| format!("a thread cannot be started: {error}"))?;
        }
    }
    assert!(QUEUES.set(queues).is_ok(), "the threads are started once");
    Ok(())
}

/// What a job leaves for who waits for it.
struct Outcome<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// Runs `work` on a thread of its kind.
pub async fn run<T: Send + 'static>(kind: Kind, work: impl FnOnce() -> T + Send + 'static) -> T {
    let outcome = Arc::new(Mutex::new(Outcome { value: None, waker: None }));
    let shared = outcome.clone();
    let job = move || {
        let value = work();
        let mut outcome = shared.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.value = Some(value);
        // An executor takes wake-ups from other threads, and an eventfd ends its sleep.
        if let Some(waker) = outcome.waker.take() {
            waker.wake();
        }
    };
    let queue = &QUEUES.get().expect("the threads run")[kind as usize];
    queue.jobs.lock().unwrap_or_else(PoisonError::into_inner).push_back(Box::new(job));
    queue.filled.notify_one();
    poll_fn(|context| {
        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                outcome.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_removal_delays_no_sync() {
        start(1).expect("threads start");
        let (begin, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let remove = std::thread::spawn(move || {
            futures_lite::future::block_on(run(Kind::Remove, move || {
                begin.send(()).unwrap();
                ended.recv().unwrap();
                1
            }))
        });
        begun.recv().unwrap();
        assert_eq!(futures_lite::future::block_on(run(Kind::Sync, || 2)), 2);
        assert_eq!(futures_lite::future::block_on(run(Kind::Files, || 3)), 3);
        end.send(()).unwrap();
        assert_eq!(remove.join().unwrap(), 1);
    }
}
