//! What was said last below the board, for as long as it is news. Without clock: whoever says something tells the time.
//!
//! | what is said | goes when |
//! |---|---|
//! | that the server is asked | it has answered, or a key is pressed |
//! | what was done | [`SHOWN`] later, or a key is pressed |
//! | that something was not done, and why | as that, or the server is connected again |

use std::time::{Duration, Instant};

/// Long enough to be read by who looks up from another screen; then what keys mean stands there again.
const SHOWN: Duration = Duration::from_secs(10);

/// What came of an act: what was done, or why it was not.
pub(super) type Outcome = Result<&'static str, String>;

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct Said {
    text: String,
    /// Until when it stands, where that is known.
    until: Option<Instant>,
    failed: bool,
}

impl Said {
    /// The server is asked.
    pub(super) fn asks(&mut self) {
        *self = Self { text: "asking the server …".to_owned(), until: None, failed: false };
    }

    /// This came of an act.
    pub(super) fn says(&mut self, outcome: Outcome, now: Instant) {
        let failed = outcome.is_err();
        let text = outcome.map_or_else(|problem| problem, str::to_owned);
        *self = Self { text, until: Some(now + SHOWN), failed };
    }

    /// A key was pressed: it was there to be read, and what follows is another matter.
    pub(super) fn was_read(&mut self) {
        *self = Self::default();
    }

    /// The server is connected: what failed before may be tried again.
    pub(super) fn connected(&mut self) {
        if self.failed {
            *self = Self::default();
        }
    }

    /// Time goes on.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.until.is_some_and(|until| until <= now) {
            *self = Self::default();
        }
    }

    /// It, or nothing.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_goes_after_a_while_but_not_while_the_server_is_asked() {
        let now = Instant::now();
        let mut said = Said::default();
        said.asks();
        said.tick(now + 100 * SHOWN);
        assert_eq!(said.text(), "asking the server …");
        said.says(Ok("acknowledged"), now);
        said.connected();
        said.tick(now + SHOWN - Duration::from_millis(1));
        assert_eq!(said.text(), "acknowledged");
        said.tick(now + SHOWN);
        assert_eq!(said.text(), "");
    }

    #[test]
    fn what_failed_goes_once_the_server_is_connected_again_and_with_the_next_key() {
        let now = Instant::now();
        let mut said = Said::default();
        said.says(Err("not done: gone".to_owned()), now);
        assert_eq!(said.text(), "not done: gone");
        said.connected();
        assert_eq!(said.text(), "");
        said.says(Err("not done: over".to_owned()), now);
        said.was_read();
        assert_eq!(said.text(), "");
    }
}
