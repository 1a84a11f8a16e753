//! The terminal: keys come in, the board goes out. However it ends, the terminal is as it was.

use std::{io, thread, time::Duration};

use anyhow::Context as _;
use ratatui::{
    DefaultTerminal,
    crossterm::{
        event::{self, DisableBracketedPaste, EnableBracketedPaste, Event, KeyEventKind},
        execute,
    },
};
use tokio::sync::mpsc;
use undertone::shutdown::Signals;

use super::{
    app::{App, Input},
    feed::Feed,
    keys::Acting,
};

/// The thread that reads keys looks so often whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);
/// Keys that wait; whoever types faster waits.
const KEYS: usize = 16;

/// The terminal in its other state, until this is dropped.
struct Raw(DefaultTerminal);

impl Raw {
    /// A panic restores it as well, before it is told.
    fn enter() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        // So that a pasted text is told from keys; where a terminal cannot, it comes as keys.
        let _ = execute!(io::stdout(), EnableBracketedPaste);
        Ok(Self(terminal))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // It may be gone.
        let _ = execute!(io::stdout(), DisableBracketedPaste);
        ratatui::restore();
    }
}

/// Shows what happens until `q`, a signal, or what the server says ends it.
pub(super) async fn show(feed: Feed, acting: Acting, mut signals: Signals) -> anyhow::Result<()> {
    let mut raw = Raw::enter().context("this terminal cannot be drawn on; --json prints what happens instead")?;
    let mut app = App::new(feed, acting, inputs());
    loop {
        app.draw(&mut raw.0)?;
        tokio::select! {
            ended = app.next() => if let Some(ended) = ended { return ended },
            _ = signals.next() => return Ok(()),
        }
    }
}

/// What a terminal says, read on a thread of its own, which ends with its receiver.
fn inputs() -> mpsc::Receiver<io::Result<Input>> {
    let (sender, inputs) = mpsc::channel(KEYS);
    thread::spawn(move || {
        while !sender.is_closed() {
            let input = match event::poll(LOOK) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let failed = input.is_err();
            let input = match input {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Ok(Input::Key(key)),
                Ok(Event::Paste(text)) => Ok(Input::Pasted(text)),
                Ok(Event::Resize(..)) => Ok(Input::Resized),
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            if sender.blocking_send(input).is_err() || failed {
                return;
            }
        }
    });
    inputs
}
