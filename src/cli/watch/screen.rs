//! The terminal: keys come in, the board goes out. However it ends, the terminal is as it was.

use std::{
    io, thread,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEvent, KeyEventKind},
};
use tokio::{sync::mpsc, time};
use undertone::{
    server::proto::{AcknowledgeAlertRequest, SnoozeAlertRequest},
    shutdown::Signals,
};

use super::{
    board::Board,
    draw::{Frill, draw},
    feed::Feed,
    keys::{Acting, Do, Keys, What},
};
use crate::cli::client;

/// Times that are shown go on so often.
const TICK: Duration = Duration::from_secs(1);
/// The thread that reads keys looks so often whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);
/// Keys that wait; whoever types faster waits.
const KEYS: usize = 16;
/// Acts that are not answered yet; another one is not taken.
const ACTS: usize = 8;
/// How long an act may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a terminal says.
enum Input {
    Key(KeyEvent),
    Resized,
}

/// The terminal in its other state, until this is dropped.
struct Raw(DefaultTerminal);

impl Raw {
    /// A panic restores it as well, before it is told.
    fn enter() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows what happens until `q`, a signal, or what the server says ends it.
pub(super) async fn show(feed: Feed, acting: Acting, mut signals: Signals) -> anyhow::Result<()> {
    let (url, client) = (feed.url().to_owned(), feed.client());
    let (updates, mut told) = Feed::channel();
    let mut feeding = tokio::spawn(feed.run(updates));
    let mut raw = Raw::enter().context("this terminal cannot be drawn on; --json prints what happens instead")?;
    let (mut inputs, (acts, mut answers)) = (inputs(), mpsc::channel::<String>(ACTS));
    let (mut board, mut keys, mut notice) = (Board::default(), Keys::new(acting), String::new());
    let mut ticks = time::interval(TICK);
    let ended = loop {
        let frill = Frill { url: &url, notice: &notice, question: keys.question(), help: keys.help() };
        let now = SystemTime::now();
        raw.0.draw(|frame| draw(frame, &board, &frill, now)).context("cannot draw")?;
        tokio::select! {
            Some(update) = told.recv() => {
                board.apply(update, SystemTime::now());
                // All that is there is shown at once.
                while let Ok(update) = told.try_recv() {
                    board.apply(update, SystemTime::now());
                }
            }
            ended = &mut feeding => break ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())),
            input = inputs.recv() => match input {
                Some(Ok(Input::Key(key))) => match keys.press(key, &mut board) {
                    Some(Do::Quit) => break Ok(()),
                    Some(Do::Act { alert_id, what, actor, reason }) => match acts.clone().try_reserve_owned() {
                        Ok(place) => {
                            "asking the server …".clone_into(&mut notice);
                            let act = act(client.clone(), alert_id, what, actor, reason);
                            tokio::spawn(async move { place.send(act.await) });
                        }
                        Err(_) => "the server answers slowly; try again".clone_into(&mut notice),
                    },
                    None => {}
                },
                Some(Ok(Input::Resized)) => {}
                Some(Err(error)) => break Err(error).context("cannot read keys"),
                None => break Ok(()),
            },
            Some(answer) = answers.recv() => notice = answer,
            _ = signals.next() => break Ok(()),
            _ = ticks.tick() => {}
        }
    };
    feeding.abort();
    drop(raw);
    ended
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

type Client = undertone::server::proto::supervision_service_client::SupervisionServiceClient<tonic::transport::Channel>;

/// Acts on an alert. What came of it, in a line.
async fn act(mut client: Client, alert_id: String, what: What, actor: String, reason: String) -> String {
    let acted = async {
        match what {
            What::Acknowledge => {
                let request = AcknowledgeAlertRequest { alert_id, actor, reason };
                client.acknowledge_alert(request).await.map(|_| "acknowledged")
            }
            What::Snooze(duration) => {
                let snooze = prost_types::Duration::try_from(duration).ok();
                let request = SnoozeAlertRequest { alert_id, snooze, actor, reason };
                client.snooze_alert(request).await.map(|_| "snoozed")
            }
        }
    };
    match time::timeout(PATIENCE, acted).await {
        Ok(Ok(done)) => done.to_owned(),
        Ok(Err(status)) => format!("not done: {}", client::refusal("the server", &status)),
        Err(_) => "not done: the server does not answer".to_owned(),
    }
}
