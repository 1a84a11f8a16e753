use ratatui::{Terminal, backend::TestBackend};
use undertone::server::proto::OpenAlert;

use super::*;
use crate::cli::watch::{
    board::tests::{NOW, alert, answered, board_of, call, round},
    feed::Update,
};

fn frill(question: Option<Question<'_>>) -> Frill<'_> {
    Frill { url: "http://a:1", notice: "told", question, help: "keys".to_owned() }
}

/// What is seen, and where the cursor is, where it is anywhere.
fn drawn(board: &Board, frill: &Frill<'_>, (width, height): (u16, u16)) -> (String, Option<(u16, u16)>) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, board, frill, NOW + Duration::from_secs(65))).unwrap();
    let backend = terminal.backend();
    let line = |y| (0..width).map(|x| backend.buffer()[(x, y)].symbol()).collect::<String>();
    let lines: Vec<String> = (0..height).map(line).collect();
    let at = backend.cursor_position();
    (lines.join("\n"), backend.cursor_visible().then_some((at.x, at.y)))
}

fn screen(board: &Board, question: Option<Question<'_>>, size: (u16, u16)) -> String {
    drawn(board, &frill(question), size).0
}

fn asking(typed: &Input) -> Option<Question<'_>> {
    Some(Question { text: "Why?".to_owned(), typed: Some(typed) })
}

fn line<'a>(screen: &'a str, with: &str) -> &'a str {
    screen.lines().find(|line| line.contains(with)).unwrap_or_else(|| panic!("no {with} on\n{screen}"))
}

#[test]
fn calls_alerts_and_evidence_are_seen() {
    let mut angry = call("1", 0.82);
    let rule = "anger".to_owned();
    let state = AlertState::Firing.into();
    angry.legs[0].alerts =
        vec![OpenAlert { rule, state, severity: AlertSeverity::Critical.into(), ..OpenAlert::default() }];
    let mut silent = call("2", 0.1);
    silent.legs[0].not_scored = Some(1);
    let board = board_of([Update::Connected, round([silent, angry], &[]), alert("a", 7, AlertState::Firing)]);
    let screen = screen(&board, None, (110, 30));
    let head = screen.lines().next().unwrap();
    for part in ["http://a:1", "connected", "2 calls", "1 firing", "sequence 7"] {
        assert!(head.contains(part), "{head}");
    }
    let calls: Vec<&str> = screen.lines().filter(|line| line.contains("call-1") || line.contains("call-2")).collect();
    assert!(
        calls[0].contains("call-1") && calls[0].contains("1:05") && calls[0].contains("0.82 ██████████"),
        "{screen}"
    );
    assert!(calls[0].contains("75 %") && calls[0].contains("anger!"), "{screen}");
    assert!(calls[1].contains("neutral") && calls[1].contains("silence"), "{screen}");
    let alert = line(&screen, "call-of-a  ");
    assert!(alert.contains("firing") && alert.contains("warning") && alert.contains("anger"), "{alert}");
    assert!(line(&screen, "anger 2 on call-of-a").contains("0:10 to 0:20 of the call, 12 windows"), "{screen}");
    // What the level is by now is not told, so it says of when this one is.
    assert!(screen.contains(" Evidence as of the selected alert's last change, 1:05 ago "), "{screen}");
    assert!(line(&screen, "level 0.62").contains("at most 0.70 at 0:19; speech 90 %, 18 dB"), "{screen}");
    assert!(line(&screen, "angry 0.62").contains("angry"), "{screen}");
    assert!(line(&screen, "keys").starts_with(" keys") && screen.contains(" told"), "{screen}");
}

#[test]
fn a_break_is_told_and_a_question_takes_the_place_of_help() {
    let gone = Update::Disconnected { problem: "cannot reach it".to_owned(), again_in: Duration::ZERO };
    let board = board_of([Update::Connected, gone]);
    let screen = screen(&board, asking(&Input::new("becau".to_owned())), (100, 24));
    assert!(line(&screen, "DISCONNECTED").contains("for 1:05: cannot reach it"), "{screen}");
    assert!(line(&screen, "Why?").contains("keys") && screen.contains("\n > becau"), "{screen}");
}

#[test]
fn what_must_not_be_known_is_not_shown_and_small_screens_are_no_trouble() {
    let mut withdrawn = call("1", 0.9);
    withdrawn.legs[0].consent_withdrawn = true;
    let mut agent = call("2", 0.9);
    agent.legs[0].analysed = false;
    let board = board_of([Update::Connected, round([withdrawn, agent], &[])]);
    let seen = screen(&board, None, (110, 30));
    assert!(line(&seen, "call-1").contains("withdrawn") && line(&seen, "call-2").contains("dropped"), "{seen}");
    assert!(!seen.contains("0.90"), "{seen}");
    let crowd = board_of([Update::Connected, round((0..500).map(|at| call(&at.to_string(), 0.1)), &[])]);
    assert!(screen(&crowd, None, (110, 30)).contains("of 500 legs"));
    for size in [(1, 1), (20, 5), (300, 3)] {
        screen(&crowd, None, size);
    }
}

/// A call whose alert is firing, as all there is.
fn one_alert() -> Board {
    board_of([Update::Connected, round([call("1", 0.9)], &[]), alert("a", 1, AlertState::Firing)])
}

/// The alert's row, on a screen without borders at its sides.
fn firing(screen: &str) -> &str {
    screen.lines().find(|line| line.starts_with("firing ")).unwrap_or_else(|| panic!("no alert on\n{screen}"))
}

#[test]
fn a_small_screen_shows_its_alert_and_its_call() {
    for size in [(60, 10), (30, 6), (20, 3), (20, 2)] {
        let quiet = Frill { notice: "", ..frill(None) };
        let (seen, _) = drawn(&one_alert(), &quiet, size);
        let alert = firing(&seen);
        assert!(alert.contains("anger") && alert.contains("call-"), "{seen}");
        // What is said takes the place of what keys mean.
        assert!(screen(&one_alert(), None, size).lines().last().unwrap().starts_with(" told"), "{seen}");
    }
    let seen = screen(&one_alert(), None, (60, 10));
    assert!(line(&seen, "call-1").contains("angry") && line(&seen, "call-of-a").contains("anger"), "{seen}");
    assert!(seen.lines().next().unwrap().contains("connected   1 call   1 firing"), "{seen}");
}

#[test]
fn without_evidence_there_are_no_lines_for_it() {
    let board = board_of([Update::Connected, round([call("1", 0.9)], &[])]);
    assert!(!screen(&board, None, (110, 30)).contains("Evidence"));
    assert!(screen(&one_alert(), None, (110, 30)).contains("Evidence"));
}

#[test]
fn a_long_reason_is_read_as_a_whole() {
    let reason = "he has called for the third time and asks for a supervisor, ".repeat(4);
    let board = board_of([Update::Connected, answered("a", 1, AlertState::Acknowledged, &reason)]);
    for size in [(110, 30), (80, 24)] {
        let seen = screen(&board, None, size);
        let lines =
            seen.lines().skip_while(|line| !line.contains("Evidence")).skip(1).take_while(|line| line.contains('│'));
        let text = lines.map(|line| line.trim_matches(['│', ' '])).collect::<Vec<_>>().join(" ");
        assert!(text.starts_with(&format!("acknowledged by ann: {}", reason.trim())), "{seen}");
        assert!(text.contains("level 0.62") && text.contains("model telephone"), "{seen}");
    }
    let silent = board_of([Update::Connected, answered("a", 1, AlertState::Snoozed, "")]);
    let seen = screen(&silent, None, (110, 30));
    assert!(seen.contains("snoozed by ann ") && !seen.contains("ann:"), "{seen}");
}

#[test]
fn a_long_answer_scrolls_with_the_cursor_in_sight_and_the_keys_stay_told() {
    let mut typed = Input::new(format!("{}end", "word ".repeat(40)));
    let (seen, cursor) = drawn(&one_alert(), &frill(asking(&typed)), (60, 10));
    let last = seen.lines().last().unwrap();
    assert!(last.starts_with(" > ") && last.ends_with("word end "), "{seen}");
    assert_eq!(cursor, Some((59, 9)));
    assert!(line(&seen, "Why?").contains("keys") && firing(&seen).contains("anger"), "{seen}");
    typed = typed.with_cursor(0);
    let (seen, cursor) = drawn(&one_alert(), &frill(asking(&typed)), (60, 10));
    assert!(seen.lines().last().unwrap().starts_with(" > word word"), "{seen}");
    assert_eq!(cursor, Some((3, 9)));
    assert_eq!(drawn(&one_alert(), &frill(None), (60, 10)).1, None, "where nothing is asked there is no cursor");
    for size in [(1, 1), (3, 2), (20, 3)] {
        drawn(&one_alert(), &frill(asking(&typed)), size);
    }
}
