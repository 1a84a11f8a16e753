//! What another corpus calls its emotions.

use std::collections::BTreeMap;

use super::{Error, LABELS, name::EMOTIONS};

/// Other words for the same.
const WORDS: [(&str, &str); 6] = [
    ("anger", "angry"),
    ("disgusted", "disgust"),
    ("fearful", "fear"),
    ("happiness", "happy"),
    ("joy", "happy"),
    ("sadness", "sad"),
];

/// How a corpus's own labels are called here, beyond those that are understood without.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelMap(BTreeMap<String, Option<usize>>);

/// What becomes of a clip with a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// An index into [`LABELS`].
    Label(usize),
    /// Its clips are left out.
    LeftOut,
    /// Nobody said.
    Unknown,
}

impl LabelMap {
    /// Reads `calm=neutral` and `bored=-`, whose clips are left out.
    ///
    /// # Errors
    /// What is not of this form, or names no label of ours.
    pub fn parse(entries: &[String]) -> Result<Self, Error> {
        let mut map = BTreeMap::new();
        for entry in entries {
            let (theirs, ours) = entry
                .split_once('=')
                .ok_or_else(|| Error::Map(format!("{entry:?} is no LABEL=OURS, such as calm=neutral or calm=-")))?;
            let ours =
                match ours.trim() {
                    "-" => None,
                    ours => Some(known(ours).ok_or_else(|| {
                        Error::Map(format!("{entry:?}: {ours:?} is none of {} or -", LABELS.join(", ")))
                    })?),
                };
            map.insert(theirs.trim().to_lowercase(), ours);
        }
        Ok(Self(map))
    }

    pub(super) fn meaning(&self, label: &str) -> Meaning {
        match self.0.get(&label.to_lowercase()) {
            Some(Some(label)) => Meaning::Label(*label),
            Some(None) => Meaning::LeftOut,
            None => known(label).map_or(Meaning::Unknown, Meaning::Label),
        }
    }
}

/// "angry", "anger" or "ANG".
fn known(text: &str) -> Option<usize> {
    let word = WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map_or(text, |(_, ours)| ours);
    let label = LABELS.iter().position(|label| label.eq_ignore_ascii_case(word));
    label.or_else(|| EMOTIONS.iter().position(|&code| code == text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[&str]) -> Result<LabelMap, Error> {
        LabelMap::parse(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn labels_are_ours_or_what_the_map_says() {
        let map = map(&["calm=neutral", "Bored = -", "joy=-"]).unwrap();
        for (label, meaning) in [
            ("angry", Meaning::Label(0)),
            ("Anger", Meaning::Label(0)),
            ("ANG", Meaning::Label(0)),
            ("happiness", Meaning::Label(3)),
            ("CALM", Meaning::Label(4)),
            ("bored", Meaning::LeftOut),
            ("joy", Meaning::LeftOut),
            ("surprised", Meaning::Unknown),
        ] {
            assert_eq!(map.meaning(label), meaning, "{label}");
        }
    }

    #[test]
    fn a_map_that_cannot_be_understood_is_refused() {
        assert!(map(&["calm"]).unwrap_err().to_string().contains("calm=neutral"));
        assert!(map(&["calm=serene"]).unwrap_err().to_string().contains("\"serene\""));
    }
}
