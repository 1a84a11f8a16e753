//! The board at work: what the server tells and what is typed come in, acts go out. It draws on any terminal, and has none of its own.

use std::{
    io,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use ratatui::{Terminal, backend::Backend, crossterm::event::KeyEvent};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{self, Interval},
};
use tonic::transport::Channel;
use undertone::server::proto::{
    AcknowledgeAlertRequest, SnoozeAlertRequest, supervision_service_client::SupervisionServiceClient,
};

use super::{
    board::Board,
    draw::{Frill, draw},
    feed::{Feed, Update},
    keys::{Acting, Do, Keys, What},
    said::{Outcome, Said},
};
use crate::cli::client;

#[cfg(test)]
mod tests;

/// Times that are shown go on so often.
const TICK: Duration = Duration::from_secs(1);
/// Acts that are not answered yet; another one is not taken.
const ACTS: usize = 8;
/// How long an act may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a terminal says.
pub(super) enum Input {
    Key(KeyEvent),
    Pasted(String),
    Resized,
}

/// The board, and all that changes it.
pub(super) struct App {
    url: String,
    client: SupervisionServiceClient<Channel>,
    board: Board,
    keys: Keys,
    said: Said,
    feeding: JoinHandle<anyhow::Result<()>>,
    told: mpsc::Receiver<Update>,
    inputs: mpsc::Receiver<io::Result<Input>>,
    acts: mpsc::Sender<Outcome>,
    answers: mpsc::Receiver<Outcome>,
    ticks: Interval,
}

impl App {
    /// Begins to follow the server.
    pub(super) fn new(feed: Feed, acting: Acting, inputs: mpsc::Receiver<io::Result<Input>>) -> Self {
        let (url, client) = (feed.url().to_owned(), feed.client());
        let (updates, told) = Feed::channel();
        let feeding = tokio::spawn(feed.run(updates));
        let (acts, answers) = mpsc::channel(ACTS);
        let (board, keys, ticks) = (Board::default(), Keys::new(acting), time::interval(TICK));
        Self { url, client, board, keys, said: Said::default(), feeding, told, inputs, acts, answers, ticks }
    }

    /// Draws how all stands now.
    pub(super) fn draw<B>(&self, terminal: &mut Terminal<B>) -> anyhow::Result<()>
    where
        B: Backend,
        B::Error: Send + Sync + 'static,
    {
        let (question, help) = (self.keys.question(), self.keys.help());
        let frill = Frill { url: &self.url, notice: self.said.text(), question, help };
        terminal.draw(|frame| draw(frame, &self.board, &frill, SystemTime::now())).context("cannot draw")?;
        Ok(())
    }

    /// Takes in what happens next; how it ended, once it has. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<anyhow::Result<()>> {
        tokio::select! {
            Some(update) = self.told.recv() => {
                self.apply(update);
                // All that is there is shown at once.
                while let Ok(update) = self.told.try_recv() {
                    self.apply(update);
                }
            }
            ended = &mut self.feeding => {
                return Some(ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())));
            }
            input = self.inputs.recv() => match input {
                Some(Ok(Input::Key(key))) => {
                    if self.keys.question().is_none() {
                        self.said.was_read();
                    }
                    match self.keys.press(key, &mut self.board) {
                        Some(Do::Quit) => return Some(Ok(())),
                        Some(Do::Act { alert_id, what, actor, reason }) => self.begin(alert_id, what, actor, reason),
                        None => {}
                    }
                }
                Some(Ok(Input::Pasted(text))) => self.keys.paste(&text),
                Some(Ok(Input::Resized)) => {}
                Some(Err(error)) => return Some(Err(error).context("cannot read keys")),
                None => return Some(Ok(())),
            },
            Some(outcome) = self.answers.recv() => self.said.says(outcome, Instant::now()),
            _ = self.ticks.tick() => self.said.tick(Instant::now()),
        }
        None
    }

    fn apply(&mut self, update: Update) {
        if update == Update::Connected {
            self.said.connected();
        }
        self.board.apply(update, SystemTime::now());
    }

    fn begin(&mut self, alert_id: String, what: What, actor: String, reason: String) {
        match self.acts.clone().try_reserve_owned() {
            Ok(place) => {
                self.said.asks();
                let act = act(self.client.clone(), alert_id, what, actor, reason);
                tokio::spawn(async move { place.send(act.await) });
            }
            Err(_) => self.said.says(Err("the server answers slowly; try again".to_owned()), Instant::now()),
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.feeding.abort();
    }
}

/// Acts on an alert. What came of it, in a line.
async fn act(
    mut client: SupervisionServiceClient<Channel>,
    alert_id: String,
    what: What,
    actor: String,
    reason: String,
) -> Outcome {
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
        Ok(Ok(done)) => Ok(done),
        Ok(Err(status)) => Err(format!("not done: {}", client::refusal("the server", &status))),
        Err(_) => Err("not done: the server does not answer".to_owned()),
    }
}
