//! Time as a parameter, so that expiry is testable.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Seconds since 1970-01-01 UTC.
pub type Timestamp = i64;

/// Where `now` comes from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that a test sets; milliseconds since 1970.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands still at `seconds` until it is moved.
    pub fn fixed(seconds: Timestamp) -> Clock {
        Clock::Fixed(Arc::new(AtomicI64::new(seconds.saturating_mul(1000))))
    }

    /// Seconds since 1970.
    pub fn now(&self) -> Timestamp {
        self.now_ms() / 1000
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        match self {
            Clock::System => system_ms(),
            Clock::Fixed(milliseconds) => milliseconds.load(Ordering::Relaxed),
        }
    }

    /// Moves a fixed clock on; the machine's clock goes by itself.
    pub fn advance(&self, seconds: i64) {
        if let Clock::Fixed(milliseconds) = self {
            milliseconds.fetch_add(seconds.saturating_mul(1000), Ordering::Relaxed);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
fn system_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
