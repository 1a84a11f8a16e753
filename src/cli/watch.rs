//! `undertone watch`: calls and alerts, live.
//!
//! Apart from each other: [`feed`] holds the connection, [`board`] is what is known (pure), [`draw`] shows it (pure), [`keys`] is what
//! a key means (pure), [`said`] is what was done last (pure), [`app`] has them work together, [`screen`] has the terminal, [`lines`] writes JSON instead.

use std::{env, io::IsTerminal as _, time::Duration};

use anyhow::Context as _;
use undertone::shutdown::Signals;

use super::Usage;

mod app;
mod board;
mod draw;
mod feed;
mod keys;
mod lines;
mod said;
mod screen;

use feed::Feed;

/// Shows calls and alerts as they are; alerts can be acknowledged and snoozed.
///
/// Goes on after a break of the connection, and leaves nothing out. With --json each line is a message of
/// undertone.v1.SupervisionService: a WatchCallsResponse (`calls`, `endedSessionIds`) or a WatchAlertsResponse (`sequence`, and `alert`,
/// `heartbeat` or `missed`).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The server, as http://host:port
    #[arg(long, value_name = "URL")]
    to: String,
    /// Print messages as JSON, one a line, by the mapping of proto3
    #[arg(long)]
    json: bool,
    /// Tell changes of alerts after this sequence: 0 for all that are kept [default: those that are open, and what comes]
    #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(i64).range(0..))]
    from: Option<i64>,
    /// Who acknowledges and snoozes: a pseudonym, which is kept and told [default: $USER, or what is typed]
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// How long `s` snoozes an alert: 1 to 1440
    #[arg(long, value_name = "MINUTES", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1440))]
    snooze: u64,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let Args { to, json, from, actor, snooze } = args;
    if json {
        return super::block_on(async { lines::print_all(Feed::new(&to, from)?).await });
    }
    if !std::io::stdout().is_terminal() {
        let problem = "standard output is no terminal to draw on; --json prints what happens, one object a line";
        return Err(Usage(problem.to_owned()).into());
    }
    let of_user = || env::var("USER").ok().filter(|user| !user.is_empty());
    let acting = keys::Acting { actor: actor.or_else(of_user), snooze: Duration::from_secs(60 * snooze) };
    super::block_on(async {
        let signals = Signals::catch().context("cannot catch signals")?;
        screen::show(Feed::new(&to, from)?, acting, signals).await
    })
}
