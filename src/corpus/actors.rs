//! Who is trained on and who is not: never the same voice on both sides.

use std::{collections::BTreeSet, fs};

use super::{Error, tables};

/// Of an unknown corpus, one actor in so many stops the training: as CREMA-D's own division, 9 of 72.
const ONE_IN: usize = 8;

/// A speaker-independent division.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Actors to train on, sorted.
    pub train: Vec<String>,
    /// Actors to stop and calibrate by, sorted.
    pub valid: Vec<String>,
}

/// Reads `1001,1002` or `@FILE`, a file with one actor a line; sorted.
///
/// # Errors
/// A file that cannot be read, and a list without an actor.
pub fn parse_actors(list: &str) -> Result<Vec<String>, Error> {
    let text = match list.strip_prefix('@') {
        Some(path) => fs::read_to_string(path)
            .map_err(|error| Error::Actors(format!("cannot read the list of actors {path}: {error}")))?,
        None => list.to_owned(),
    };
    let actors: BTreeSet<String> =
        text.split([',', '\n', '\r']).map(str::trim).filter(|actor| !actor.is_empty()).map(str::to_owned).collect();
    if actors.is_empty() {
        return Err(Error::Actors(format!("the list of actors {list:?} is empty: write 1001,1002 or @FILE")));
    }
    Ok(actors.into_iter().collect())
}

/// Divides the actors that are `present`. Without lists CREMA-D's actors go where the fixed division puts them, so that those kept for
/// the last test are left out, and of other actors every eighth stops the training. With one list the other side is what the
/// division gives without it.
///
/// # Errors
/// An actor on both sides or not present, and a side without actors.
pub fn split(present: &[String], train: Option<&[String]>, valid: Option<&[String]>) -> Result<Split, Error> {
    for actor in train.into_iter().chain(valid).flatten() {
        if !present.contains(actor) {
            return Err(Error::Actors(format!("actor {actor} has no clip in the data")));
        }
    }
    let both = |actor: &&String| valid.is_some_and(|valid| valid.contains(actor));
    let shared: Vec<&str> = train.into_iter().flatten().filter(both).map(String::as_str).collect();
    if !shared.is_empty() {
        return Err(Error::Shared(shared.join(", ")));
    }
    let builtin = builtin(present);
    let rest = |side: Vec<String>, taken: Option<&[String]>| -> Vec<String> {
        side.into_iter().filter(|actor| !taken.is_some_and(|taken| taken.contains(actor))).collect()
    };
    let split = Split {
        train: train.map_or_else(|| rest(builtin.train, valid), <[String]>::to_vec),
        valid: valid.map_or_else(|| rest(builtin.valid, train), <[String]>::to_vec),
    };
    for (side, actors) in [("train on", &split.train), ("validate with", &split.valid)] {
        if actors.is_empty() {
            return Err(Error::TooFewActors(format!(
                "no actor to {side}: the data has {} ({}); at least two are needed, or name them by --train-actors and --valid-actors",
                count(present.len()),
                present.join(", "),
            )));
        }
    }
    Ok(split)
}

fn builtin(present: &[String]) -> Split {
    let part = |actor: &String| tables::find(actor).map(|found| found.part);
    let of = |wanted| present.iter().filter(|actor| part(actor) == Some(wanted)).cloned().collect::<Vec<_>>();
    let (mut train, mut valid) = (of(tables::Part::Train), of(tables::Part::Valid));
    let unknown: Vec<String> = present.iter().filter(|actor| part(actor).is_none()).cloned().collect();
    for (index, actor) in unknown.into_iter().enumerate() {
        if index % ONE_IN == ONE_IN - 1 { valid.push(actor) } else { train.push(actor) }
    }
    // A part of the corpus may lie on one side only.
    if valid.is_empty() && train.len() > 1 {
        valid.extend(train.pop());
    } else if train.is_empty() && valid.len() > 1 {
        train = valid.split_off(1);
    }
    train.sort_unstable();
    valid.sort_unstable();
    Split { train, valid }
}

fn count(actors: usize) -> String {
    if actors == 1 { "one actor".to_owned() } else { format!("{actors} actors") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actors(list: &str) -> Vec<String> {
        parse_actors(list).unwrap()
    }

    #[test]
    fn lists_are_read_from_the_line_and_from_a_file() {
        assert_eq!(actors(" 1002,1001,,1002"), ["1001", "1002"]);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "1003\r\n\n1002\n").unwrap();
        assert_eq!(actors(&format!("@{}", file.path().display())), ["1002", "1003"]);
        assert!(parse_actors(",").unwrap_err().to_string().contains("empty"));
        assert!(parse_actors("@/none").unwrap_err().to_string().contains("/none"));
    }

    #[test]
    fn the_fixed_division_leaves_the_test_actors_out() {
        let split = split(&actors("1001,1002,1003,1009,1011"), None, None).unwrap();
        assert_eq!(split, Split { train: actors("1002,1003"), valid: actors("1009,1011") });
    }

    #[test]
    fn a_list_takes_its_actors_from_the_other_side() {
        let present = actors("1002,1003,1009");
        let split = split(&present, None, Some(&actors("1003"))).unwrap();
        assert_eq!(split, Split { train: actors("1002"), valid: actors("1003") });
    }

    #[test]
    fn other_corpora_and_parts_of_one_are_divided_too() {
        let many: Vec<String> = (0..16).map(|index| format!("s{index:02}")).collect();
        assert_eq!(split(&many, None, None).unwrap().valid, ["s07", "s15"]);
        assert_eq!(split(&actors("1002,1003"), None, None).unwrap().valid, ["1003"]);
    }

    #[test]
    fn voices_on_both_sides_are_refused_by_name() {
        let present = actors("1002,1003,1009");
        let error = split(&present, Some(&actors("1002,1003,1009")), Some(&actors("1003,1009"))).unwrap_err();
        assert!(matches!(&error, Error::Shared(actors) if actors == "1003, 1009"), "{error}");
    }

    #[test]
    fn too_few_and_absent_actors_are_refused() {
        let error = split(&actors("1002"), None, None).unwrap_err().to_string();
        assert!(error.contains("at least two"), "{error}");
        let error = split(&actors("1002,1003"), Some(&actors("1099")), None).unwrap_err().to_string();
        assert!(error.contains("1099"), "{error}");
        // All of them are kept for the last test.
        assert!(split(&actors("1001,1004"), None, None).is_err());
    }
}
