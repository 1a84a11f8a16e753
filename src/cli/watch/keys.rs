//! What a key means: a state machine without I/O.
//!
//! | state | key | next |
//! |---|---|---|
//! | choosing | ↑ ↓ k j, PgUp PgDn | choosing, another alert is selected |
//! | choosing | a, s, on an alert that is open | asking who, where that is not known; else why |
//! | choosing | a, s, where there is none | refusing |
//! | choosing | q, Ctrl-C | the end |
//! | asking | what edits a line | asking |
//! | asking | Enter, with nothing typed | asking, and it says that something is needed |
//! | asking who | Enter | asking why; who is not asked again |
//! | asking why | Enter | choosing, and it is done |
//! | asking | Esc, Ctrl-C | choosing, nothing is done |
//! | asking | a text is pasted | asking, with it; in other states it is nothing |
//! | refusing | Enter, Esc, Ctrl-C | choosing |
//! | refusing | ↑ ↓, PgUp PgDn | choosing, another alert is selected |
//! | refusing | anything else | refusing: it may be the answer to a question that was expected |

use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use tui_input::{Input, InputRequest, backend::crossterm::to_input_request};
use undertone::server::proto::AlertState;

use super::board::Board;

/// The longest actor and reason that a server takes.
const MOST_CHARACTERS: (usize, usize) = (128, 256);
/// Rows that a page is.
const PAGE: isize = 10;

/// By whom it is acted, and how.
#[derive(Debug, Clone)]
pub(super) struct Acting {
    /// Asked for once, where it is not known.
    pub(super) actor: Option<String>,
    /// How long a snooze lasts.
    pub(super) snooze: Duration,
}

/// The keys' state.
#[derive(Debug)]
pub(super) struct Keys {
    acting: Acting,
    state: State,
}

#[derive(Debug)]
enum State {
    Choosing,
    Asking(Asking),
    /// Nothing can be done, for this reason.
    Refusing(&'static str),
}

/// A question that is being answered.
#[derive(Debug)]
struct Asking {
    alert_id: String,
    what: What,
    /// Who, rather than why.
    who: bool,
    typed: Input,
    /// Enter came, and nothing was typed.
    lacking: bool,
}

/// What is asked, or why nothing is.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) text: String,
    /// What is typed so far, where something is asked.
    pub(super) typed: Option<&'a Input>,
}

/// What is done about an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// It is taken on.
    Acknowledge,
    /// It is silenced for so long.
    Snooze(Duration),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Do {
    /// End.
    Quit,
    /// Act on an alert.
    Act { alert_id: String, what: What, actor: String, reason: String },
}

impl Keys {
    /// Choosing.
    pub(super) fn new(acting: Acting) -> Self {
        Self { acting, state: State::Choosing }
    }

    /// The question that is asked, and what is typed so far.
    pub(super) fn question(&self) -> Option<Question<'_>> {
        match &self.state {
            State::Choosing => None,
            State::Asking(asking) => Some(Question { text: asking.text(), typed: Some(&asking.typed) }),
            State::Refusing(why) => Some(Question { text: (*why).to_owned(), typed: None }),
        }
    }

    /// The keys that mean something now.
    pub(super) fn help(&self) -> String {
        match &self.state {
            State::Asking(_) => "Enter: done   Esc: leave it   Ctrl-U: clear".to_owned(),
            State::Refusing(_) => "Enter, Esc: go on".to_owned(),
            State::Choosing => {
                let minutes = minutes(self.acting.snooze);
                format!("↑↓: select   a: acknowledge   s: snooze for {minutes}   q: quit")
            }
        }
    }

    /// Takes a key in.
    pub(super) fn press(&mut self, key: KeyEvent, board: &mut Board) -> Option<Do> {
        let interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
        let leave = interrupt || key.code == KeyCode::Esc;
        match std::mem::replace(&mut self.state, State::Choosing) {
            State::Asking(_) if leave => None,
            State::Asking(asking) => self.answer(asking, key),
            State::Refusing(_) if leave || key.code == KeyCode::Enter => None,
            State::Refusing(why) => match key.code {
                KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown => self.choose(key.code, board),
                _ => {
                    self.state = State::Refusing(why);
                    None
                }
            },
            State::Choosing if interrupt => Some(Do::Quit),
            State::Choosing => self.choose(key.code, board),
        }
    }

    /// Takes in a text that was pasted: into the answer, as one line, and nowhere else.
    pub(super) fn paste(&mut self, text: &str) {
        if let State::Asking(asking) = &mut self.state {
            let letters = text.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter });
            letters.for_each(|letter| asking.edit(InputRequest::InsertChar(letter)));
        }
    }

    fn choose(&mut self, code: KeyCode, board: &mut Board) -> Option<Do> {
        match code {
            KeyCode::Char('q') => return Some(Do::Quit),
            KeyCode::Up | KeyCode::Char('k') => board.select(-1),
            KeyCode::Down | KeyCode::Char('j') => board.select(1),
            KeyCode::PageUp => board.select(-PAGE),
            KeyCode::PageDown => board.select(PAGE),
            KeyCode::Char('a') => self.ask(What::Acknowledge, board),
            KeyCode::Char('s') => self.ask(What::Snooze(self.acting.snooze), board),
            _ => {}
        }
        None
    }

    fn ask(&mut self, what: What, board: &Board) {
        self.state = match board.selected() {
            None => State::Refusing("There is no alert"),
            Some(alert) if alert.state() == AlertState::Resolved => State::Refusing("This alert is over"),
            Some(alert) => State::Asking(Asking {
                alert_id: alert.alert_id.clone(),
                what,
                who: self.acting.actor.is_none(),
                typed: Input::default(),
                lacking: false,
            }),
        };
    }

    fn answer(&mut self, mut asking: Asking, key: KeyEvent) -> Option<Do> {
        if key.code == KeyCode::Enter {
            let typed = asking.typed.value().trim().to_owned();
            asking.lacking = typed.is_empty();
            if asking.lacking {
                asking.typed.reset();
            } else if asking.who {
                self.acting.actor = Some(typed);
                (asking.who, asking.typed) = (false, Input::default());
            } else {
                let Asking { alert_id, what, .. } = asking;
                let actor = self.acting.actor.clone().unwrap_or_default();
                return Some(Do::Act { alert_id, what, actor, reason: typed });
            }
        } else if let Some(request) = to_input_request(&Event::Key(key)) {
            asking.edit(request);
        }
        self.state = State::Asking(asking);
        None
    }
}

impl Asking {
    /// Edits what is typed, where it does not get longer than a server takes.
    fn edit(&mut self, request: InputRequest) {
        let most = if self.who { MOST_CHARACTERS.0 } else { MOST_CHARACTERS.1 };
        let mut typed = self.typed.clone();
        typed.handle(request);
        if typed.value().chars().count() <= most {
            (self.typed, self.lacking) = (typed, false);
        }
    }

    fn text(&self) -> String {
        let question = match (self.who, self.what) {
            (true, _) => "Who are you (kept and told; a pseudonym)?".to_owned(),
            (false, What::Acknowledge) => "Why do you acknowledge it?".to_owned(),
            (false, What::Snooze(duration)) => format!("Why do you snooze it for {}?", minutes(duration)),
        };
        match (self.lacking, self.who) {
            (false, _) => question,
            (true, true) => format!("A name is needed. {question}"),
            (true, false) => format!("A reason is needed. {question}"),
        }
    }
}

fn minutes(duration: Duration) -> String {
    format!("{} min", duration.as_secs() / 60)
}

#[cfg(test)]
mod tests;
