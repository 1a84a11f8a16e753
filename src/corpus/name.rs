//! CREMA-D's file names: `ACTOR_SENTENCE_EMOTION_LEVEL`.

use super::Level;

/// The sentences' codes.
pub(super) const SENTENCES: [&str; 12] =
    ["DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI"];

/// The emotions' codes, in the order of [`super::LABELS`].
pub(super) const EMOTIONS: [&str; 6] = ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"];

/// What a CREMA-D file name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipName {
    /// Four digits.
    pub actor: String,
    /// The sentence's code, one of twelve.
    pub sentence: &'static str,
    /// An index into [`super::LABELS`].
    pub label: usize,
    /// How strongly it was to be played.
    pub level: Level,
}

impl ClipName {
    /// Reads a file name without its extension; `None` where it is not of this form.
    pub fn parse(stem: &str) -> Option<Self> {
        let mut parts = stem.split('_');
        let (actor, sentence, emotion, level) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || actor.len() != 4 || !actor.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let level = match level {
            "LO" => Level::Low,
            "MD" => Level::Medium,
            "HI" => Level::High,
            // One clip of the distribution is named 1040_ITH_SAD_X.
            "XX" | "X" => Level::Unspecified,
            _ => return None,
        };
        Some(Self {
            actor: actor.to_owned(),
            sentence: SENTENCES.into_iter().find(|&code| code == sentence)?,
            label: EMOTIONS.iter().position(|&code| code == emotion)?,
            level,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_distribution_are_understood() {
        let name = ClipName::parse("1002_IEO_ANG_HI").unwrap();
        assert_eq!(name, ClipName { actor: "1002".into(), sentence: "IEO", label: 0, level: Level::High });
        assert_eq!(ClipName::parse("1040_ITH_SAD_X").unwrap().level, Level::Unspecified);
    }

    #[test]
    fn other_names_are_not() {
        for stem in [
            "",
            "1002",
            "1002_IEO_ANG",
            "102_IEO_ANG_HI",
            "1002_IEO_BOR_HI",
            "1002_XYZ_ANG_HI",
            "1002_IEO_ANG_HI_2",
            "a002_IEO_ANG_HI",
        ] {
            assert_eq!(ClipName::parse(stem), None, "{stem}");
        }
    }
}
