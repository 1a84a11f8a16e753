//! What is wrong with a configuration's content, in the words of whoever wrote it: the key as it stands in the file, or the variable; its
//! value; and what is expected.

use std::path::Path;

use figment::{
    Error, Figment,
    error::{Actual, Kind},
    value::Value,
};

use super::load::VARIABLES;

/// Keys whose values are not told: they hold secrets, or addresses that may.
const UNTOLD: [&str; 3] = ["secret", "url", "urls"];
/// Names that are so near to a wrong one are offered; so many at most.
const OFFERED: usize = 3;

/// Where a value was written.
enum Place<'a> {
    File(&'a Path),
    Environment,
    Elsewhere,
}

/// One line on an error of these sources; `file` is the one that was merged, if one was.
pub(super) fn line(error: &Error, figment: &Figment, file: Option<&Path>) -> String {
    let of_environment = error.metadata.as_ref().is_some_and(|metadata| metadata.name.contains(VARIABLES));
    let place = match file {
        _ if of_environment => Place::Environment,
        Some(file) if error.metadata.is_some() => Place::File(file),
        _ => Place::Elsewhere,
    };
    let told = problem(error, figment, &place);
    match place {
        Place::File(file) => format!("{}: {told}", file.display()),
        Place::Environment | Place::Elsewhere => told,
    }
}

/// What is said of a section that is written as a list, `[[session]]`, if one is: a list of one would be read as its keys in order.
pub(super) fn list_for_section(defaults: &Figment, written: &Figment) -> Option<String> {
    let written = written.find_value("").ok()?.into_dict()?;
    let lists = written.iter().filter(|(_, value)| matches!(value, Value::Array(..))).map(|(key, _)| key);
    let mut sections = lists.filter(|key| defaults.find_value(key).is_ok_and(|value| value.as_dict().is_some()));
    sections.next().map(|key| format!("{key} is a list; expected one section, [{key}]"))
}

/// A key's name as it was written.
fn name(path: &[String], place: &Place<'_>) -> String {
    match place {
        Place::Environment => {
            // Variables have no places within a list.
            let keys = path.iter().filter(|key| key.parse::<usize>().is_err());
            format!("{VARIABLES}{}", keys.map(|key| key.to_uppercase()).collect::<Vec<_>>().join("__"))
        }
        Place::File(_) | Place::Elsewhere => path.join("."),
    }
}

fn problem(error: &Error, figment: &Figment, place: &Place<'_>) -> String {
    let key = name(&error.path, place);
    let is = |actual: Option<String>| {
        let told = actual.filter(|_| !error.path.iter().any(|key| UNTOLD.contains(&key.as_str())));
        told.map_or_else(|| format!("{key}:"), |actual| format!("{key} is {actual};"))
    };
    match &error.kind {
        Kind::UnknownField(field, known) => {
            let section = error.path.strip_suffix(std::slice::from_ref(field)).unwrap_or(&error.path);
            let full = |field: &str| name(&[section, &[field.to_owned()]].concat(), place);
            let near = near(field, known);
            let offer = if near.is_empty() {
                format!("expected one of {}", known.join(", "))
            } else {
                format!("did you mean {}?", listed(near.into_iter().map(full)))
            };
            format!("{} is not known; {offer}", full(field))
        }
        Kind::UnknownVariant(actual, known) => {
            format!(
                "{} expected {}",
                is(Some(format!("{actual:?}"))),
                listed(known.iter().map(|name| (*name).to_owned()))
            )
        }
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            format!("{} expected {}", is(value(actual)), words(expected))
        }
        // The standard library's own words on an address.
        Kind::Message(message) if message.contains("socket address") => {
            let written = figment.find_value(&error.path.join(".")).ok();
            let written = written.as_ref().and_then(Value::as_str).map(|text| format!("{text:?}"));
            format!("{} expected {}", is(written), words("socket address"))
        }
        kind if error.path.is_empty() => kind.to_string(),
        kind => format!("{key}: {kind}"),
    }
}

/// A value as it was written, where that is short.
fn value(actual: &Actual) -> Option<String> {
    Some(match actual {
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        // Far from 1 by its exponent.
        Actual::Float(value) => format!("{value:?}"),
        Actual::Char(value) => format!("{:?}", value.to_string()),
        Actual::Str(value) => format!("{value:?}"),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a section".to_owned(),
        _ => return None,
    })
}

/// What the reader expects, without its types.
fn words(expected: &str) -> &str {
    match expected {
        "a duration" => "a duration such as \"30s\" or \"500ms\"",
        "socket address" => "an IP address and a port, such as \"127.0.0.1:50051\"",
        "u8" => "a whole number, 0 to 255",
        "u16" => "a whole number, 0 to 65535",
        "u32" => "a whole number, 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" => "text in quotes",
        "a sequence" => "a list, such as [\"…\"]",
        "a map" => "a section",
        other if other.starts_with("struct ") => "a section",
        other if other.starts_with("enum ") || other.starts_with("variant ") => "one of its names, in quotes",
        other => other,
    }
}

/// Those of the names that differ from a wrong one in every third letter at most, nearest first.
fn near<'a>(wrong: &str, known: &[&'a str]) -> Vec<&'a str> {
    let wrong = wrong.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&wrong, name);
    let mut near: Vec<_> = known.iter().map(|&name| (distance(name), name)).collect();
    near.retain(|(distance, name)| *distance <= name.len() / 3);
    near.sort_unstable();
    near.into_iter().take(OFFERED).map(|(_, name)| name).collect()
}

/// "a, b or c".
fn listed(names: impl IntoIterator<Item = String>) -> String {
    let names: Vec<String> = names.into_iter().collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use crate::config::{Config, Flags};

    /// What is said of a file with this content, without the file's name and the colon behind it.
    fn of_file(toml: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        fs::write(&file, toml).unwrap();
        let error = Config::load(Some(&file), &Flags::default()).unwrap_err();
        assert!(std::error::Error::source(&error).is_none(), "it would be told twice");
        let told = error.to_string();
        let rest = told.strip_prefix(&format!("{}", Path::new(&file).display())).unwrap_or_else(|| panic!("{told}"));
        rest.trim_start_matches([':', ',', ' ']).to_owned()
    }

    #[test]
    fn a_wrong_value_is_told_as_it_was_written_with_what_is_expected() {
        for (toml, expected) in [
            (
                "[session]\nidle_timeout = 30",
                "session.idle_timeout is 30; expected a duration such as \"30s\" or \"500ms\"",
            ),
            ("drain_deadline = 'soon'", "drain_deadline is \"soon\"; expected a duration such as \"30s\" or \"500ms\""),
            ("session = 5", "session is 5; expected a section"),
            ("[[session]]\nmax_legs = 5", "session is a list; expected one section, [session]"),
            ("webhook = []", "webhook is a list; expected one section, [webhook]"),
            ("[session]\nmax_legs = -1", "session.max_legs is -1; expected a whole number, 0 or more"),
            ("[session]\nmax_legs = 1e300", "session.max_legs is 1e300; expected a whole number, 0 or more"),
            ("[session]\nmax_legs = 1.5", "session.max_legs is 1.5; expected a whole number, 0 or more"),
            ("[session]\ncalibrate = 'yes'", "session.calibrate is \"yes\"; expected true or false"),
            ("[inference]\ndevice_id = 70000", "inference.device_id is 70000; expected a whole number, 0 to 65535"),
            ("[inference]\nprovider = 'gpu'", "inference.provider is \"gpu\"; expected cpu, cuda or tensorrt"),
            ("[inference]\nprovider = true", "inference.provider is true; expected one of its names, in quotes"),
            ("[telemetry]\nsampling_ratio = 'all'", "telemetry.sampling_ratio is \"all\"; expected a number"),
            ("listen = '50051'", "listen is \"50051\"; expected an IP address and a port, such as \"127.0.0.1:50051\""),
            ("listen = 50051", "listen is 50051; expected an IP address and a port, such as \"127.0.0.1:50051\""),
            ("models = 'm'", "models is \"m\"; expected a list, such as [\"…\"]"),
            ("models = [1]", "models.0 is 1; expected text in quotes"),
            ("[log]\nfilter = 1", "log.filter is 1; expected text in quotes"),
        ] {
            assert_eq!(of_file(toml), expected, "{toml}");
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_told() {
        for toml in ["[webhook]\nsecret = 4711", "[webhook]\nurls = 'https://4711@host/'", "[journal]\nurl = 4711"] {
            let told = of_file(toml);
            assert!(!told.contains("4711") && told.contains(": expected "), "{told}");
        }
    }

    #[test]
    fn an_unknown_key_is_told_with_those_that_are_near_or_all() {
        assert_eq!(of_file("[session]\nmax_leg = 1"), "session.max_leg is not known; did you mean session.max_legs?");
        let told = of_file("bogus = 1");
        assert!(told.starts_with("bogus is not known; expected one of listen, admin, "), "{told}");
        assert_eq!(told.matches("drain_deadline").count(), 1, "{told}");
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let told = of_file("listen = '127.0.0.1:1'\nadmin = \n");
        assert!(told.starts_with("line 2: "), "{told}");
    }
}
