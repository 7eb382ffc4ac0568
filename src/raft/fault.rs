//! A fault of our disk or our code: it stops the server and is never answered with a guess.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Where faults are reported, and where whoever runs the server waits for one.
#[derive(Clone, Default)]
pub struct Fault(Arc<Inner>);

#[derive(Default)]
struct Inner {
    first: Mutex<Option<String>>,
    raised: Notify,
    is_restart: AtomicBool,
}

impl Fault {
    /// Reports a fault. Only the first counts; the others follow from it.
    pub fn raise(&self, problem: &dyn Display) {
        let mut first = self.0.first.lock();
        if first.is_none() {
            tracing::error!("stopping, since this cannot be trusted any more: {problem}");
            *first = Some(problem.to_string());
        }
        drop(first);
        self.0.raised.notify_one();
    }

    /// Reports that the server has to start again, as another than it was.
    pub fn ask_restart(&self, reason: &dyn Display) {
        let mut first = self.0.first.lock();
        if first.is_none() {
            tracing::warn!("starting again: {reason}");
            *first = Some(reason.to_string());
            self.0.is_restart.store(true, Ordering::Release);
        }
        drop(first);
        self.0.raised.notify_one();
    }

    /// Whether the first thing that was reported asks for a restart.
    pub fn is_restart(&self) -> bool {
        self.0.is_restart.load(Ordering::Acquire)
    }

    /// Waits for a fault and tells what it is.
    pub async fn raised(&self) -> String {
        loop {
            if let Some(problem) = self.0.first.lock().clone() {
                return problem;
            }
            self.0.raised.notified().await;
        }
    }
}

/// openraft speaks of faults of storage as I/O errors.
impl From<crate::store::StoreError> for std::io::Error {
    fn from(error: crate::store::StoreError) -> std::io::Error {
        std::io::Error::other(error)
    }
}
