use super::*;
use crate::cli::watch::board::tests::{alert, board_of};

fn keys(actor: Option<&str>) -> Keys {
    Keys::new(Acting { actor: actor.map(str::to_owned), snooze: Duration::from_secs(300) })
}

fn key(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}

fn asked(keys: &Keys) -> String {
    keys.question().unwrap().text
}

fn typed(keys: &Keys) -> &str {
    keys.question().unwrap().typed.unwrap().value()
}

fn control(letter: char) -> KeyEvent {
    KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL)
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
    assert!(asked(&keys).contains("acknowledge") && keys.help().contains("Esc"));
    keys.press(key(KeyCode::Char('x')), &mut board);
    keys.press(key(KeyCode::Backspace), &mut board);
    let done = type_in(&mut keys, &mut board, "q and k are letters here ");
    let (alert_id, actor) = ("a".to_owned(), "ann".to_owned());
    let reason = "q and k are letters here".to_owned();
    assert_eq!(done, Some(Do::Act { alert_id, what: What::Acknowledge, actor, reason }));
    assert!(keys.question().is_none());
    keys.press(key(KeyCode::Char('s')), &mut board);
    assert!(asked(&keys).contains("for 5 min"));
    let done = type_in(&mut keys, &mut board, "known to me");
    assert!(matches!(done, Some(Do::Act { what: What::Snooze(duration), .. }) if duration.as_secs() == 300));
}

#[test]
fn who_acts_is_asked_once_and_who_and_why_must_be_said() {
    let mut board = board_of([alert("a", 1, AlertState::Firing)]);
    let mut keys = keys(None);
    keys.press(key(KeyCode::Char('a')), &mut board);
    assert_eq!(type_in(&mut keys, &mut board, "  "), None);
    assert!(asked(&keys).starts_with("A name is needed. Who"));
    assert_eq!(type_in(&mut keys, &mut board, "bob"), None);
    assert!(asked(&keys).starts_with("Why"));
    assert_eq!(type_in(&mut keys, &mut board, " "), None);
    assert!(asked(&keys).starts_with("A reason is needed. Why"));
    assert!(matches!(type_in(&mut keys, &mut board, "why"), Some(Do::Act { actor, .. }) if actor == "bob"));
    keys.press(key(KeyCode::Char('s')), &mut board);
    assert!(asked(&keys).starts_with("Why"));
}

#[test]
fn what_is_typed_is_edited_as_a_line_and_no_longer_than_a_server_takes() {
    let mut board = board_of([alert("a", 1, AlertState::Firing)]);
    let mut keys = keys(Some("ann"));
    keys.press(key(KeyCode::Char('a')), &mut board);
    for letter in "he is loud".chars() {
        keys.press(key(KeyCode::Char(letter)), &mut board);
    }
    keys.press(key(KeyCode::Left), &mut board);
    keys.press(key(KeyCode::Backspace), &mut board);
    assert_eq!(typed(&keys), "he is lod");
    keys.press(control('w'), &mut board);
    assert_eq!(typed(&keys), "he is d");
    keys.press(control('u'), &mut board);
    assert_eq!(typed(&keys), "");
    for _ in 0..300 {
        keys.press(key(KeyCode::Char('é')), &mut board);
    }
    assert_eq!(typed(&keys).chars().count(), 256);
}

#[test]
fn a_pasted_text_is_one_line_of_an_answer_and_never_keys() {
    let mut board = board_of([alert("a", 1, AlertState::Firing)]);
    let mut keys = keys(Some("ann"));
    keys.paste("quit");
    assert!(keys.question().is_none());
    keys.press(key(KeyCode::Char('a')), &mut board);
    keys.paste("he is loud\nquite\n");
    assert_eq!(typed(&keys), "he is loud quite");
}

#[test]
fn an_alert_that_is_over_is_refused_and_what_is_typed_then_means_nothing() {
    let mut board = board_of([alert("a", 1, AlertState::Resolved), alert("b", 2, AlertState::Resolved)]);
    let mut keys = keys(Some("ann"));
    for begins in ['a', 's'] {
        keys.press(key(KeyCode::Char(begins)), &mut board);
        assert_eq!(asked(&keys), "This alert is over");
        assert_eq!(type_in(&mut keys, &mut board, "quite loud, asks for a supervisor"), None);
        assert!(keys.question().is_none());
    }
    let before = board.selected_index();
    keys.press(key(KeyCode::Char('a')), &mut board);
    keys.press(key(KeyCode::Up), &mut board);
    assert!(keys.question().is_none() && board.selected_index() != before);
    let mut nothing = Board::default();
    keys.press(key(KeyCode::Char('a')), &mut nothing);
    assert_eq!(asked(&keys), "There is no alert");
    assert_eq!(keys.press(key(KeyCode::Esc), &mut nothing), None);
    assert!(keys.question().is_none());
}

#[test]
fn escape_leaves_a_question_and_never_the_board() {
    let mut board = board_of([alert("a", 1, AlertState::Firing)]);
    let mut keys = keys(Some("ann"));
    for leave in [control('c'), key(KeyCode::Esc)] {
        keys.press(key(KeyCode::Char('a')), &mut board);
        assert!(keys.question().is_some());
        assert_eq!(keys.press(leave, &mut board), None);
        assert!(keys.question().is_none());
    }
    assert_eq!(keys.press(key(KeyCode::Esc), &mut board), None);
    assert_eq!(keys.press(control('c'), &mut board), Some(Do::Quit));
    assert_eq!(keys.press(key(KeyCode::Char('q')), &mut board), Some(Do::Quit));
}
