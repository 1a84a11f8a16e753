//! Scores by who speaks and how: a model that serves one group worse than another must not hide it in a mean.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::metrics::{Scored, unweighted_average_recall};
use crate::corpus::{Clip, tables};

/// A group of fewer actors says more about them than about the group.
const LEAST_ACTORS: usize = 3;

/// Scores of one group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// Unweighted average recall.
    pub uar: f64,
    /// Clips of the group.
    pub clips: usize,
    /// Actors of the group: three or more.
    pub actors: usize,
}

/// Scores by sex, age and race of the actors, as far as the tables know them, and by the level that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Groups {
    /// "female", "male".
    pub sex: BTreeMap<String, Group>,
    /// "20-34", "35-49", "50+".
    pub age: BTreeMap<String, Group>,
    /// In the database's words.
    pub race: BTreeMap<String, Group>,
    /// "low", "medium", "high", "unspecified".
    pub level: BTreeMap<String, Group>,
}

impl Groups {
    /// Divides `scored`, each beside the clip it is of.
    pub fn of(scored: &[(&Clip, Scored)], labels: usize) -> Self {
        let by = |key: fn(&Clip) -> Option<&'static str>| {
            let mut groups: BTreeMap<&'static str, Vec<Scored>> = BTreeMap::new();
            for (clip, one) in scored {
                if let Some(key) = key(clip) {
                    groups.entry(key).or_default().push(one.clone());
                }
            }
            groups.into_iter().filter_map(|(key, members)| Some((key.to_owned(), group(&members, labels)?))).collect()
        };
        Self {
            sex: by(|clip| Some(tables::find(&clip.actor)?.sex)),
            age: by(|clip| Some(tables::find(&clip.actor)?.age_group())),
            race: by(|clip| Some(tables::find(&clip.actor)?.race)),
            level: by(|clip| Some(clip.level?.as_str())),
        }
    }
}

fn group(members: &[Scored], labels: usize) -> Option<Group> {
    let actors = members.iter().map(|one| one.actor.as_str()).collect::<BTreeSet<_>>().len();
    (actors >= LEAST_ACTORS).then(|| Group {
        uar: unweighted_average_recall(members, labels),
        clips: members.len(),
        actors,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{ClipName, Level};

    #[test]
    fn groups_of_fewer_than_three_actors_are_not_told() {
        // Two women and three men; every woman's clip is right, of the men's one in three.
        let names = ["1002_IEO_ANG_LO", "1003_IEO_ANG_LO", "1005_IEO_ANG_HI", "1014_IEO_ANG_HI", "1022_IEO_ANG_HI"];
        let clips: Vec<Clip> = names
            .map(|name| {
                let parsed = ClipName::parse(name).unwrap();
                Clip { path: name.into(), name: name.into(), actor: parsed.actor, label: 0, level: Some(parsed.level) }
            })
            .into();
        let scored: Vec<(&Clip, Scored)> = [0.9, 0.9, 0.9, 0.1, 0.1]
            .iter()
            .zip(&clips)
            .map(|(&p, clip)| (clip, Scored { actor: clip.actor.clone(), label: 0, probabilities: vec![p, 1.0 - p] }))
            .collect();
        let groups = Groups::of(&scored, 2);
        assert_eq!(groups.sex.keys().collect::<Vec<_>>(), ["male"]);
        assert!((groups.sex["male"].uar - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(groups.level.keys().collect::<Vec<_>>(), [Level::High.as_str()]);
        assert_eq!(groups.age["20-34"].actors, 5);
    }
}
