//! How inference is to run.

use std::time::Duration;

use super::queue;

/// How inference is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Threads, each with a classifier of its own; 1 to [`MAX_THREADS`].
    pub threads: usize,
    /// What may wait, and how batches are gathered.
    pub queue: queue::Options,
}

/// What is wrong with [`Options`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A count that must not be 0.
    #[error("inference {0} is 0, expected at least 1")]
    Zero(&'static str),
    /// A count beyond what any machine serves; each takes memory beforehand.
    #[error("inference {name} is {actual}, expected at most {most}")]
    TooMany {
        /// What is counted.
        name: &'static str,
        /// What it is.
        actual: usize,
        /// What it may be.
        most: usize,
    },
    /// Waiting longer than a listener would forgive.
    #[error("inference max_wait is {actual:?}, expected at most {MAX_WAIT:?}: every event would come that much later")]
    MaxWait {
        /// What it is.
        actual: Duration,
    },
}

/// The longest that a window may wait for others: a twenty-fifth of the default stride of 0.5 s.
pub const MAX_WAIT: Duration = Duration::from_millis(20);

/// The most threads of one model.
pub const MAX_THREADS: usize = 1024;
/// The most windows of one model that may wait: the default of 512 a thread, on all threads that there may be.
pub const MAX_CAPACITY: usize = 512 * MAX_THREADS;
/// The most windows in one batch.
pub const MAX_BATCH: usize = 4096;

impl Default for Options {
    /// One thread; batches of 8, beyond which a CPU gains nothing; 5 ms to gather one; 512 waiting windows, which one core works off in
    /// 0.1 s, and those of `telephone` in 0.2 s (docs/performance.md).
    fn default() -> Self {
        let queue = queue::Options { capacity: 512, max_batch: 8, max_wait: Duration::from_millis(5) };
        Self { threads: 1, queue }
    }
}

impl Options {
    /// Whether inference can run so.
    pub fn validate(&self) -> Result<(), Invalid> {
        let counts = [
            ("threads", self.threads, MAX_THREADS),
            ("max_batch", self.queue.max_batch, MAX_BATCH),
            ("queue_capacity", self.queue.capacity, MAX_CAPACITY),
        ];
        for (name, actual, most) in counts {
            if actual == 0 {
                return Err(Invalid::Zero(name));
            }
            if actual > most {
                return Err(Invalid::TooMany { name, actual, most });
            }
        }
        if self.queue.max_wait > MAX_WAIT {
            return Err(Invalid::MaxWait { actual: self.queue.max_wait });
        }
        Ok(())
    }
}
