//! What happens as JSON, one message a line.

use std::io::Write as _;

use anyhow::Context as _;
use undertone::{
    server::{
        json::Writer,
        proto::{WatchAlertsResponse, WatchCallsResponse},
    },
    shutdown::Signals,
};

use super::feed::{Feed, Update};
use crate::cli::print;

struct Lines {
    alerts: Writer<WatchAlertsResponse>,
    calls: Writer<WatchCallsResponse>,
}

/// Prints until a signal comes, nobody reads any more, or the server says what no other try will change.
pub(super) async fn print_all(feed: Feed) -> anyhow::Result<()> {
    let mut signals = Signals::catch().context("cannot catch signals")?;
    let lines = Lines { alerts: Writer::new("WatchAlertsResponse")?, calls: Writer::new("WatchCallsResponse")? };
    let (updates, mut told) = Feed::channel();
    let feeding = feed.run(updates);
    let printing = async move {
        while let Some(update) = told.recv().await {
            lines.print(&update)?;
        }
        Ok(())
    };
    tokio::select! {
        // What was told before it ended is printed first.
        (fed, printed) = async { tokio::join!(feeding, printing) } => fed.and(printed),
        _ = signals.next() => Ok(()),
    }
}

impl Lines {
    fn print(&self, update: &Update) -> anyhow::Result<()> {
        match update {
            Update::Alerts(told) => print(self.alerts.line(told)?),
            // A round in which nothing changed.
            Update::Calls(told) if told.calls.is_empty() && told.ended_session_ids.is_empty() => Ok(()),
            Update::Calls(told) => print(self.calls.line(told)?),
            Update::Disconnected { problem, again_in } => {
                // Progress: standard error may be gone.
                let _ = writeln!(std::io::stderr(), "undertone: {problem}; trying again in {again_in:?}");
                Ok(())
            }
            Update::Anew => {
                let _ = writeln!(std::io::stderr(), "undertone: the server has another journal now; beginning anew");
                Ok(())
            }
            Update::Connected => Ok(()),
        }
    }
}
