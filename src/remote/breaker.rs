//! Answers at once for a server that does not.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 3;

/// Counts connection failures of one origin.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
    /// A caller was let through to see whether the server is back.
    trial: bool,
}

impl Breaker {
    /// Whether a call may go out; else how long until the next may. After the pause one caller at a time tries.
    pub(super) fn admit(&mut self, now: Instant, pause: Duration) -> Result<(), Duration> {
        let Some(until) = self.open_until else { return Ok(()) };
        if now < until {
            return Err(until - now);
        }
        // Until this trial has ended, or the pause has passed again, the others are still answered at once.
        self.open_until = Some(now + pause);
        self.trial = true;
        Ok(())
    }

    /// Any answer closes it.
    pub(super) fn succeed(&mut self) {
        *self = Breaker::default();
    }

    /// A failure; the third in a row opens it, and each trial that fails doubles the pause. Calls that were under way when it opened tell
    /// nothing new: twenty of them that end at once must not shut a server out for a minute that is away for a second.
    pub(super) fn fail(&mut self, now: Instant, pause: Duration, pause_max: Duration) {
        if self.open_until.is_some() && !self.trial {
            return;
        }
        self.trial = false;
        self.failures = self.failures.saturating_add(1);
        if let Some(doublings) = self.failures.checked_sub(FAILURES_MAX) {
            let pause = pause.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(pause_max);
            self.open_until = Some(now + pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f12_three_failures_open_it_and_an_answer_closes_it() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut breaker = Breaker::default();
        for _ in 0..2 {
            breaker.fail(start, second, second * 8);
            assert_eq!(breaker.admit(start, second), Ok(()));
        }
        breaker.fail(start, second, second * 8);
        assert_eq!(breaker.admit(start, second), Err(second));
        assert_eq!(breaker.admit(start + second, second), Ok(()));
        assert_eq!(breaker.admit(start + second, second), Err(second), "one trial at a time");
        breaker.fail(start + second, second, second * 8);
        assert_eq!(breaker.admit(start + second, second), Err(second * 2));
        for _ in 0..40 {
            breaker.fail(start + second, second, second * 8);
        }
        assert_eq!(breaker.admit(start + second, second), Err(second * 2), "calls of before the trial do not count");
        for trial in 1..=40 {
            assert_eq!(breaker.admit(start + second * 8 * trial, second), Ok(()));
            breaker.fail(start + second * 8 * trial, second, second * 8);
        }
        assert_eq!(breaker.admit(start + second * 8 * 40, second), Err(second * 8));
        breaker.succeed();
        assert_eq!(breaker.admit(start, second), Ok(()));
    }
}
