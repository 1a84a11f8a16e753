//! What a download of CREMA-D lacks, compiled in: `tables/README.md` says what and under which licence (ODbL 1.0 / DbCL 1.0).

use std::{collections::HashMap, sync::LazyLock};

/// Which part of the fixed speaker-independent division an actor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// To train on.
    Train,
    /// To stop and to calibrate by.
    Valid,
    /// Kept for a last test: nothing may be chosen by these.
    Test,
}

/// What the database says of an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor {
    /// "female" or "male".
    pub sex: &'static str,
    /// In years, at the recording.
    pub age: u32,
    /// In the database's words.
    pub race: &'static str,
    /// Where the fixed division puts them.
    pub part: Part,
    /// Their part of the six-fold division, 0 to 5; the actors kept for the last test have none.
    pub fold: Option<u8>,
}

impl Actor {
    /// "20-34", "35-49" or "50+".
    pub fn age_group(&self) -> &'static str {
        match self.age {
            0..35 => "20-34",
            35..50 => "35-49",
            _ => "50+",
        }
    }
}

/// Why a clip needs care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The same audio is published under another label as well.
    Conflict,
    /// All samples are zero.
    Silent,
}

/// Listeners who heard each of [`super::LABELS`] in the voice alone.
pub type Votes = [u16; 6];

static ACTORS: LazyLock<HashMap<&'static str, Actor>> =
    LazyLock::new(|| rows(include_str!("tables/actors.csv")).map(|row| (row[0], actor(&row))).collect());

static HYGIENE: LazyLock<Vec<(&'static str, &'static str)>> =
    LazyLock::new(|| rows(include_str!("tables/hygiene.csv")).map(|row| (row[0], row[1])).collect());

static VOTES: LazyLock<HashMap<&'static str, Votes>> = LazyLock::new(|| {
    let broken = |clip: &str| HYGIENE.iter().any(|&(name, problem)| name == clip && problem == "votes");
    rows(include_str!("tables/votes.csv"))
        .filter(|row| !broken(row[0]))
        .map(|row| (row[0], std::array::from_fn(|label| number(row[label + 1]))))
        .collect()
});

/// What the database says of `actor`; `None` for an actor of another corpus.
pub fn find(actor: &str) -> Option<&'static Actor> {
    ACTORS.get(actor)
}

/// Why the clip of this name must not be trained on, if so.
pub fn problem(clip: &str) -> Option<Problem> {
    HYGIENE.iter().filter(|(name, _)| *name == clip).find_map(|(_, problem)| match *problem {
        "conflict" => Some(Problem::Conflict),
        "silent" => Some(Problem::Silent),
        _ => None,
    })
}

/// What listeners heard in the clip of this name; `None` where it is not known or was about a broken file.
pub fn votes(clip: &str) -> Option<Votes> {
    VOTES.get(clip).copied()
}

/// Whether a clip of this name is published, as far as the tables can tell: `None` for an actor whose clips they do not list.
pub fn published(actor: &str, clip: &str) -> Option<bool> {
    ACTORS.get(actor).filter(|actor| actor.part != Part::Test)?;
    Some(VOTES.contains_key(clip) || HYGIENE.iter().any(|(name, _)| *name == clip))
}

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table.lines().skip(1).map(|line| line.split(',').collect())
}

fn number<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("the compiled-in tables hold numbers where they should: a test reads them all")
}

fn actor(row: &[&'static str]) -> Actor {
    let part = match row[4] {
        "train" => Part::Train,
        "valid" => Part::Valid,
        _ => Part::Test,
    };
    Actor { sex: row[1], age: number(row[2]), race: row[3], part, fold: (!row[5].is_empty()).then(|| number(row[5])) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_reads_and_adds_up() {
        assert_eq!(ACTORS.len(), 91);
        let of = |part| ACTORS.values().filter(|actor| actor.part == part).count();
        assert_eq!((of(Part::Train), of(Part::Valid), of(Part::Test)), (63, 9, 19));
        assert_eq!(ACTORS.values().filter(|actor| actor.sex == "male").count(), 48);
        assert!(ACTORS.values().all(|actor| actor.fold.is_none() == (actor.part == Part::Test)));
        // 72 actors' clips, less those of which the votes are about another recording.
        assert_eq!(VOTES.len(), 5890 - 24);
        assert!(VOTES.values().all(|votes| votes.iter().sum::<u16>() > 0));
    }

    #[test]
    fn clips_that_need_care_are_known() {
        assert_eq!(problem("1006_TIE_HAP_XX"), Some(Problem::Conflict));
        assert_eq!(problem("1076_MTI_SAD_XX"), Some(Problem::Silent));
        assert_eq!(problem("1007_IWL_HAP_XX"), None);
        assert_eq!(votes("1007_IWL_HAP_XX"), None);
        assert_eq!(votes("1002_DFA_ANG_XX"), Some([6, 0, 0, 0, 2, 0]));
    }

    #[test]
    fn what_is_published_is_known_of_most_actors() {
        assert_eq!(published("1009", "1009_MTI_ANG_XX"), Some(false));
        assert_eq!(published("1007", "1007_IWL_HAP_XX"), Some(true));
        assert_eq!(published("1001", "1001_IWL_HAP_XX"), None);
    }
}
