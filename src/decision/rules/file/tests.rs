//! What a file of rules may say, and how it is told what it may not.

use super::*;

const ANGER: &str = "[[rule]]\nname = 'anger'\nemotions = ['angry']\nenter = 0.4\n";

#[test]
fn the_shipped_rules_are_valid_and_name_what_crema_d_names() {
    let rules = Rules::shipped();
    let anger = &rules.rules[0];
    assert_eq!((anger.name.as_str(), anger.emotions.as_slice()), ("anger", ["angry".to_owned()].as_slice()));
    rules.check_emotions(["angry", "disgust", "fear", "happy", "neutral", "sad"].into_iter()).unwrap();
}

#[test]
fn what_a_rule_does_not_say_has_a_default() {
    let rules = parse(ANGER).unwrap();
    let rule = &rules.rules[0];
    assert_eq!((rule.version, rule.half_life_seconds, rule.min_windows), (1, 4.0, 3));
    assert!((rule.leave() - 0.24).abs() < 1e-12);
    assert_eq!(parse("").unwrap().rules, []);
    let slow = format!(
        "{ANGER}min_windows = 7200\nmin_speech_seconds = 3600.0\ngrace_seconds = 3600.0\ncool_down_seconds = 86400.0\n"
    );
    assert!(parse(&slow).is_ok(), "an hour may be waited for");
    let counts =
        "min_excess_seconds = 20\nexcess_half_life_seconds = 45\nusual_half_life_seconds = 90\nleave = 0.175\n";
    assert!(parse(&format!("{}{counts}", ANGER.replace("0.4", "0.175"))).is_ok(), "certainty adds up to it");
    let adds_up = parse(&format!("{ANGER}leave = 0.4636\nmin_excess_seconds = 2.0\n")).unwrap();
    assert_eq!(adds_up.rules[0].excess_half_life_seconds(), 20.0);
}

#[test]
fn whatever_is_wrong_is_told_with_line_and_key() {
    let second = |line: &str| format!("# two rules\n{ANGER}[[rule]]\nname = 'other'\n{line}\n");
    let cases = [
        ("half_life_seconds = 0".to_owned(), 1, "half_life_seconds"),
        (format!("half_live = 3\n{ANGER}"), 1, "half_live"),
        (second("emotions = ['sad']\nenter = 0.4\nentre = 0.5"), 10, "entre"),
        (second("emotions = ['sad']\nenter = 1.5"), 9, "enter"),
        (second("emotions = ['sad']\nenter = 0.5\nleave = 0.6"), 10, "at most enter"),
        (second("emotions = []\nenter = 0.5"), 8, "emotions"),
        (second("emotions = ['sad', 'sad']\nenter = 0.5"), 8, "twice"),
        (second("emotions = ['sad']\nenter = 0.5\nmin_windows = 0"), 10, "min_windows"),
        (second("emotions = ['sad']\nenter = 0.5\nmin_windows = 7201"), 10, "is 7201, expected 1 to 7200, an hour"),
        (second("emotions = ['sad']\nenter = 0.5\nmin_windows = 1000000000"), 10, "min_windows"),
        (second("emotions = ['sad']\nenter = 0.5\nmin_speech_seconds = 3600.5"), 10, "expected 0 to 3600 seconds"),
        (second("emotions = ['sad']\nenter = 0.5\ngrace_seconds = 86400"), 10, "expected 0 to 3600 seconds"),
        (second("emotions = ['sad']\nenter = 0.5\ncool_down_seconds = -1"), 10, "cool_down_seconds"),
        (second("emotions = ['sad']\nenter = 0.5\nhalf_life_seconds = nan"), 10, "half_life_seconds"),
        (second("emotions = ['sad']\nenter = 0.5\nusual_half_life_seconds = 0.0"), 10, "usual_half_life_seconds"),
        (
            second("emotions = ['sad']\nenter = 0.5\nusual_half_life_seconds = 19.9"),
            10,
            "at least 5 times half_life_seconds, 20:",
        ),
        (second("emotions = ['sad']\nenter = 0.5\nmin_excess_seconds = 0.0"), 10, "min_excess_seconds: is 0"),
        (
            second("emotions = ['sad']\nenter = 0.5\nmin_excess_seconds = 14.6"),
            10,
            "min_excess_seconds: is 14.6, expected below 14.6",
        ),
        (
            second(
                "emotions = ['sad']\nenter = 0.175\nmin_excess_seconds = 25\nexcess_half_life_seconds = 45\nusual_half_life_seconds = 90",
            ),
            10,
            "and what becomes usual meanwhile, certainty never adds up to more",
        ),
        (
            second("emotions = ['sad']\nenter = 1.0\nmin_excess_seconds = 1.0"),
            9,
            "enter: is 1: no window exceeds it by enough to add up",
        ),
        (second("emotions = ['sad']\nenter = 0.5\nexcess_half_life_seconds = 5"), 10, "without min_excess_seconds"),
        (
            second("emotions = ['sad']\nenter = 0.5\nmin_excess_seconds = 1.0\nexcess_half_life_seconds = 4.9"),
            11,
            "excess_half_life_seconds: is 4.9, expected at least 5 seconds",
        ),
        (
            second("emotions = ['sad']\nenter = 0.5\nmin_excess_seconds = 2.0\nleave = 0.5637"),
            11,
            "leave: is 0.5637, expected at most 0.5636:",
        ),
        (second("emotions = ['sad']\nenter = 0.5\nroles = ['BOSS']"), 10, "BOSS"),
        (second("emotions = ['sad']\nenter = 0.5\nroles = ['BOT']"), 10, "\"BOT\", but a machine voice"),
        (second("emotions = ['sad']\nenter = 0.5\nroles = ['CUSTOMER', 'BOT']"), 10, "\"BOT\", but a machine voice"),
        (second("emotions = ['sad']"), 6, "enter"),
        (format!("{ANGER}{ANGER}"), 6, "another rule"),
        ("[[rule]]\nname = 'a b'\nemotions = ['sad']\nenter = 0.5".to_owned(), 2, "name"),
        ("rule = ".to_owned(), 1, ""),
    ];
    for (text, line, part) in cases {
        let invalid = parse(&text).unwrap_err();
        assert_eq!(invalid.line, line, "{invalid} in\n{text}");
        assert!(invalid.to_string().contains(part), "{invalid} does not name {part}");
    }
}

/// The share of a sudden rise, after minutes of nothing, by which the level is above the usual one at its highest.
fn told_of_a_rise(ratio: f64) -> f64 {
    let above = |t: f64| (-t / ratio).exp2() - (-t).exp2();
    (0..100_000).map(|step| above(f64::from(step) / 1000.0)).fold(0.0, f64::max)
}

#[test]
fn what_is_usual_is_slow_enough_for_half_of_a_sudden_rise_to_be_told() {
    let rule = |usual: f64| format!("{ANGER}half_life_seconds = 2.0\nusual_half_life_seconds = {usual:?}\n");
    for refused in [1.0, 1.9, 2.0, 9.9] {
        let text = parse(&rule(refused)).unwrap_err().to_string();
        assert!(text.contains(&format!("usual_half_life_seconds: is {refused}, expected at least 5 times")), "{text}");
    }
    assert!(parse(&rule(10.0)).is_ok());
    for hundredths in 10..2000_u32 {
        let written = |hundredths: u32| format!("{}.{:02}", hundredths / 100, hundredths % 100);
        let rule = |usual: u32| {
            let half_life = written(hundredths);
            format!("{ANGER}half_life_seconds = {half_life}\nusual_half_life_seconds = {}\n", written(usual))
        };
        let least = 5 * hundredths;
        assert!(parse(&rule(least)).is_ok(), "{}", rule(least));
        let text = parse(&rule(least - 1)).unwrap_err().to_string();
        let told = f64::from(least) / 100.0;
        assert!(text.contains(&format!("times half_life_seconds, {told}:")), "{text}");
    }
    assert!(told_of_a_rise(LEAST_USUAL_RATIO) > 0.5);
    let told = [1.0, 2.0, LEAST_USUAL_RATIO, 45.0].map(|ratio| (100.0 * told_of_a_rise(ratio)).round());
    assert_eq!(told, [0.0, 25.0, 53.0, 90.0]);
}

#[test]
fn what_cannot_be_read_is_told_in_plain_words() {
    let anger = |line: &str| format!("{ANGER}{line}\n");
    for (text, expected) in [
        (anger("grace_seconds = '90s'"), "line 5: rule \"anger\", grace_seconds: is \"90s\", expected a number"),
        (
            anger("min_windows = 1.5"),
            "line 5: rule \"anger\", min_windows: is 1.5, expected a whole number, 0 to 4294967295",
        ),
        (anger("roles = 'BOT'"), "line 5: rule \"anger\", roles: is \"BOT\", expected a list, such as [\"…\"]"),
        (anger("roles = [1]"), "line 5: rule \"anger\", roles: is no text, expected text in quotes"),
        (
            anger("cool_down_seconds = 1e300"),
            "line 5: rule \"anger\", cool_down_seconds: is 1e300, expected 0 to 86400 seconds",
        ),
        (anger("name = 'b'"), "line 5: the key is written twice"),
        ("[[rule]]\nname = 'a'\nemotions = ['b']\n".to_owned(), "line 1: rule \"a\": enter is missing"),
        ("\n[[rule]]\nenter = 0.4\n".to_owned(), "line 2: a rule without a name: name is missing"),
        (ANGER.replace("[[rule]]", "[rule]"), "line 1: rule: is a table, expected [[rule]], once a rule"),
        (anger("grace_seconds = "), "line 5: a value is missing, or a text is not in quotes"),
        ("rule = 5".to_owned(), "line 1: rule: is 5, expected [[rule]], once a rule"),
        ("rule = [5]".to_owned(), "line 1: rule: is 5, expected [[rule]], once a rule"),
        ("half_life_seconds = '4'".to_owned(), "line 1: half_life_seconds: is \"4\", expected a number"),
    ] {
        assert_eq!(parse(&text).unwrap_err().to_string(), expected, "{text}");
    }
    let told = parse(&anger("entre = 1")).unwrap_err().to_string();
    assert!(told.starts_with("line 5: rule \"anger\": entre is not known, expected one of name, version,"), "{told}");
    let told = parse(&anger("roles = ['BOSS']")).unwrap_err().to_string();
    assert!(told.starts_with("line 5: rule \"anger\", roles: is \"BOSS\", expected one of CUSTOMER,"), "{told}");
}

#[test]
fn an_emotion_that_no_model_knows_is_told_with_those_there_are() {
    let rules = parse(ANGER).unwrap();
    assert!(rules.check_emotions(["angry", "sad"].into_iter()).is_ok());
    let error = rules.check_emotions(["sad", "calm", "sad"].into_iter()).unwrap_err().to_string();
    assert!(error.contains("\"angry\"") && error.contains("calm, sad"), "{error}");
}
