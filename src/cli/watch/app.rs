//! The board at work: what the server tells and what is typed come in, acts go out. It draws on any terminal, and has none of its own.

use std::{
    io,
    time::{Duration, SystemTime},
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
    notice: String,
    feeding: JoinHandle<anyhow::Result<()>>,
    told: mpsc::Receiver<Update>,
    inputs: mpsc::Receiver<io::Result<Input>>,
    acts: mpsc::Sender<String>,
    answers: mpsc::Receiver<String>,
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
        Self { url, client, board, keys, notice: String::new(), feeding, told, inputs, acts, answers, ticks }
    }

    /// Draws how all stands now.
    pub(super) fn draw<B>(&self, terminal: &mut Terminal<B>) -> anyhow::Result<()>
    where
        B: Backend,
        B::Error: Send + Sync + 'static,
    {
        let (question, help) = (self.keys.question(), self.keys.help());
        let frill = Frill { url: &self.url, notice: &self.notice, question, help };
        terminal.draw(|frame| draw(frame, &self.board, &frill, SystemTime::now())).context("cannot draw")?;
        Ok(())
    }

    /// Takes in what happens next; how it ended, once it has. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<anyhow::Result<()>> {
        tokio::select! {
            Some(update) = self.told.recv() => {
                self.board.apply(update, SystemTime::now());
                // All that is there is shown at once.
                while let Ok(update) = self.told.try_recv() {
                    self.board.apply(update, SystemTime::now());
                }
            }
            ended = &mut self.feeding => {
                return Some(ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())));
            }
            input = self.inputs.recv() => match input {
                Some(Ok(Input::Key(key))) => {
                    if self.keys.question().is_none() {
                        // It was there to be read; what follows is another matter.
                        self.notice.clear();
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
            Some(answer) = self.answers.recv() => self.notice = answer,
            _ = self.ticks.tick() => {}
        }
        None
    }

    fn begin(&mut self, alert_id: String, what: What, actor: String, reason: String) {
        match self.acts.clone().try_reserve_owned() {
            Ok(place) => {
                "asking the server …".clone_into(&mut self.notice);
                let act = act(self.client.clone(), alert_id, what, actor, reason);
                tokio::spawn(async move { place.send(act.await) });
            }
            Err(_) => "the server answers slowly; try again".clone_into(&mut self.notice),
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
) -> String {
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
