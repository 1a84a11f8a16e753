//! What a key means: a state machine without I/O.
//!
//! | state | key | next |
//! |---|---|---|
//! | choosing | ↑ ↓ k j, PgUp PgDn | choosing, another alert is selected |
//! | choosing | a, s, on an alert that is not over | asking who, where that is not known; else why |
//! | choosing | q, Esc, Ctrl-C | the end |
//! | asking | a character, Backspace | asking |
//! | asking who | Enter, with something typed | asking why; it is not asked again |
//! | asking why | Enter | choosing, and it is done |
//! | asking | Esc, Ctrl-C | choosing, nothing is done |

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
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
    asking: Option<Asking>,
}

/// A question that is being answered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asking {
    alert_id: String,
    what: What,
    /// Who, rather than why.
    who: bool,
    typed: String,
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
        Self { acting, asking: None }
    }

    /// The question that is asked, and what is typed so far.
    pub(super) fn question(&self) -> Option<(String, &str)> {
        self.asking.as_ref().map(|asking| {
            let question = match (asking.who, asking.what) {
                (true, _) => "Who are you (kept and told; a pseudonym)?".to_owned(),
                (false, What::Acknowledge) => "Why do you acknowledge it?".to_owned(),
                (false, What::Snooze(duration)) => format!("Why do you snooze it for {}?", minutes(duration)),
            };
            (question, asking.typed.as_str())
        })
    }

    /// The keys that mean something now.
    pub(super) fn help(&self) -> String {
        match &self.asking {
            Some(_) => "Enter: done   Esc: leave it".to_owned(),
            None => {
                let minutes = minutes(self.acting.snooze);
                format!("↑↓: select   a: acknowledge   s: snooze for {minutes}   q: quit")
            }
        }
    }

    /// Takes a key in.
    pub(super) fn press(&mut self, key: KeyEvent, board: &mut Board) -> Option<Do> {
        let interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
        match self.asking.take() {
            Some(_) if interrupt || key.code == KeyCode::Esc => None,
            Some(asking) => self.answer(asking, key),
            None if interrupt => Some(Do::Quit),
            None => self.choose(key.code, board),
        }
    }

    fn choose(&mut self, code: KeyCode, board: &mut Board) -> Option<Do> {
        match code {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Do::Quit),
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
        let open = board.selected().filter(|alert| alert.state() != AlertState::Resolved);
        self.asking = open.map(|alert| Asking {
            alert_id: alert.alert_id.clone(),
            what,
            who: self.acting.actor.is_none(),
            typed: String::new(),
        });
    }

    fn answer(&mut self, mut asking: Asking, key: KeyEvent) -> Option<Do> {
        let most = if asking.who { MOST_CHARACTERS.0 } else { MOST_CHARACTERS.1 };
        match key.code {
            KeyCode::Enter if asking.who => {
                let typed = asking.typed.trim().to_owned();
                if !typed.is_empty() {
                    self.acting.actor = Some(typed);
                    (asking.who, asking.typed) = (false, String::new());
                }
            }
            KeyCode::Enter => {
                let Asking { alert_id, what, typed, .. } = asking;
                let (actor, reason) = (self.acting.actor.clone().unwrap_or_default(), typed.trim().to_owned());
                return Some(Do::Act { alert_id, what, actor, reason });
            }
            KeyCode::Backspace => drop(asking.typed.pop()),
            KeyCode::Char(letter)
                if !key.modifiers.contains(KeyModifiers::CONTROL) && asking.typed.chars().count() < most =>
            {
                asking.typed.push(letter);
            }
            _ => {}
        }
        self.asking = Some(asking);
        None
    }
}

fn minutes(duration: Duration) -> String {
    format!("{} min", duration.as_secs() / 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::watch::board::tests::{NOW, alert, board_of};

    fn keys(actor: Option<&str>) -> Keys {
        Keys::new(Acting { actor: actor.map(str::to_owned), snooze: Duration::from_secs(300) })
    }

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    fn type_in(keys: &mut Keys, board: &mut Board, text: &str) -> Option<Do> {
        let typed: Vec<_> = text.chars().map(|letter| keys.press(key(KeyCode::Char(letter)), board)).collect();
        assert!(typed.iter().all(Option::is_none));
        keys.press(key(KeyCode::Enter), board)
    }

    #[test]
    fn an_alert_is_acknowledged_and_snoozed_with_a_reason() {
        let mut board = board_of([alert("a", 1, AlertState::Firing)]);
        let mut keys = keys(Some("ann"));
        keys.press(key(KeyCode::Char('a')), &mut board);
        assert!(keys.question().unwrap().0.contains("acknowledge") && keys.help().contains("Esc"));
        keys.press(key(KeyCode::Char('x')), &mut board);
        keys.press(key(KeyCode::Backspace), &mut board);
        let done = type_in(&mut keys, &mut board, "q and k are letters here ");
        let (alert_id, actor) = ("a".to_owned(), "ann".to_owned());
        let reason = "q and k are letters here".to_owned();
        assert_eq!(done, Some(Do::Act { alert_id, what: What::Acknowledge, actor, reason }));
        assert_eq!(keys.question(), None);
        keys.press(key(KeyCode::Char('s')), &mut board);
        assert!(keys.question().unwrap().0.contains("for 5 min"));
        let done = type_in(&mut keys, &mut board, "");
        assert!(matches!(done, Some(Do::Act { what: What::Snooze(duration), .. }) if duration.as_secs() == 300));
    }

    #[test]
    fn who_acts_is_asked_once_and_must_be_said() {
        let mut board = board_of([alert("a", 1, AlertState::Firing)]);
        let mut keys = keys(None);
        keys.press(key(KeyCode::Char('a')), &mut board);
        assert_eq!(type_in(&mut keys, &mut board, "  "), None);
        assert!(keys.question().unwrap().0.starts_with("Who"));
        assert_eq!(type_in(&mut keys, &mut board, "bob"), None);
        assert!(matches!(type_in(&mut keys, &mut board, "why"), Some(Do::Act { actor, .. }) if actor == "bob"));
        keys.press(key(KeyCode::Char('s')), &mut board);
        assert!(keys.question().unwrap().0.starts_with("Why"));
    }

    #[test]
    fn what_is_over_is_not_acted_on_and_escape_leaves_a_question() {
        let mut board = board_of([alert("a", 1, AlertState::Resolved)]);
        let mut keys = keys(Some("ann"));
        keys.press(key(KeyCode::Char('a')), &mut board);
        assert_eq!(keys.question(), None);
        board.apply(alert("b", 2, AlertState::Firing), NOW);
        board.select(-1);
        keys.press(key(KeyCode::Char('a')), &mut board);
        assert!(keys.question().is_some());
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(keys.press(interrupt, &mut board), None);
        assert_eq!(keys.question(), None);
        assert_eq!(keys.press(interrupt, &mut board), Some(Do::Quit));
        assert_eq!(keys.press(key(KeyCode::Esc), &mut board), Some(Do::Quit));
        assert_eq!(keys.press(key(KeyCode::Char('q')), &mut board), Some(Do::Quit));
    }
}
