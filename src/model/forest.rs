//! A Random Forest over mean and deviation of the thesis's features: the baseline that networks are compared with.
//!
//! A folder with `forest.toml` and the trees beside it. It hears whole clips, so no call is served by it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use rafor::{CompactTree, prelude::ClassDecode as _, rf::Classifier};
use serde::{Deserialize, Serialize};

use super::manifest::{
    self, Error, Training,
    file::{read_toml, replace},
    sha256_hex,
};
use crate::{
    audio::resample::{self, resample},
    decision::{Calibration, Judgement},
    features::thesis154::{self, SAMPLE_RATE_HZ, VALUES},
};

/// What says all about a forest in its folder.
pub const FILE_NAME: &str = "forest.toml";

/// The trees' file beside it.
pub const TREES_FILE: &str = "forest.json";

/// The layout of both files that this build reads and writes.
pub const FORMAT: u32 = 1;

/// Values a clip: mean and standard deviation over time of each of the thesis's features.
pub const CLIP_VALUES: usize = 2 * VALUES;

/// No tree's vote is no proof: probabilities are no less than this before their logarithms are taken.
const LEAST_PROBABILITY: f32 = 1e-3;

/// All about a forest but its trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// [`FORMAT`].
    pub format: u32,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line on what it is.
    pub description: String,
    /// The licence of model and data.
    pub licence: String,
    /// What it tells apart.
    pub labels: Vec<String>,
    /// The trees.
    pub trees: Trees,
    /// How sure it may be said to be: its logits are the logarithms of the trees' mean.
    pub calibration: Calibration,
    /// What it was trained on and how.
    pub training: Training,
    /// Scores measured by the command in `training`, by name.
    pub metrics: BTreeMap<String, f64>,
}

/// The trees' file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trees {
    /// How many.
    pub count: u32,
    /// Values that each looks at.
    pub values: usize,
    /// Its name beside `forest.toml`.
    pub file: String,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

/// A forest ready to be asked.
#[derive(Debug, Clone)]
pub struct Forest {
    /// All about it.
    pub about: About,
    trees: Classifier<CompactTree>,
}

impl Forest {
    /// A forest of trees that were grown on the indices of `about`'s labels. Notes down what the trees are.
    pub fn new(mut about: About, trees: Classifier<CompactTree>) -> Result<Self, Error> {
        about.trees.sha256 = sha256_hex(&json(&trees)?);
        let forest = Self { about, trees };
        forest.validate()?;
        Ok(forest)
    }

    /// Reads the forest in a folder, when its trees are those that were written with it.
    ///
    /// # Errors
    /// A file that is missing, unreadable, changed or of another build.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let about: About = read_toml(&dir.join(FILE_NAME), FORMAT)?;
        let path = dir.join(&about.trees.file);
        let bytes = fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let actual = sha256_hex(&bytes);
        if actual != about.trees.sha256 {
            return Err(Error::Hash { path, expected: about.trees.sha256, actual });
        }
        let invalid = |problem: String| Error::Invalid { field: "trees.file", problem };
        let trees = serde_json::from_slice(&bytes).map_err(|error| invalid(format!("holds no trees: {error}")))?;
        let forest = Self { about, trees };
        forest.validate()?;
        Ok(forest)
    }

    /// Writes both files into a folder, which is made if it does not exist.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        replace(&dir.join(&self.about.trees.file), &json(&self.trees)?)?;
        replace(&dir.join(FILE_NAME), toml::to_string(&self.about)?.as_bytes())
    }

    /// The trees' mean of each label for `[clip, CLIP_VALUES]`, a row a clip.
    pub fn votes(&self, values: &[f32]) -> Vec<Vec<f32>> {
        let known = self.trees.get_decode_table();
        let votes = self.trees.proba(values, 1);
        let spread = |row: &[f32]| {
            let mut votes = vec![0.0; self.about.labels.len()];
            for (&label, &vote) in known.iter().zip(row) {
                votes[usize::try_from(label).expect("validated")] = vote;
            }
            votes
        };
        votes.chunks_exact(known.len()).map(spread).collect()
    }

    /// What it thinks of one clip's values.
    pub fn judge(&self, values: &[f32]) -> Judgement {
        let votes = self.votes(values).pop().expect("a row a clip");
        self.about.calibration.judge(&logits(&votes))
    }

    fn validate(&self) -> Result<(), Error> {
        let fail = |field, problem: String| Err(Error::Invalid { field, problem });
        let Trees { values, file, .. } = &self.about.trees;
        if *values != CLIP_VALUES || self.trees.num_features() != CLIP_VALUES {
            return fail("trees.values", format!("is {values}, expected {CLIP_VALUES}"));
        }
        if PathBuf::from(file).file_name().is_none_or(|name| name != file.as_str()) {
            return fail("trees.file", format!("is {file:?}, expected the name of a file beside it"));
        }
        let labels = self.about.labels.len();
        if self
            .trees
            .get_decode_table()
            .iter()
            .any(|&label| usize::try_from(label).is_ok_and(|at| at >= labels) || label < 0)
        {
            return fail("labels", format!("are {labels}, and the trees know others"));
        }
        self.about
            .calibration
            .validate()
            .map_err(|error| Error::Invalid { field: "calibration", problem: error.to_string() })
    }
}

/// What temperatures apply to: the logarithms of the trees' votes.
pub fn logits(votes: &[f32]) -> Vec<f32> {
    votes.iter().map(|vote| vote.max(LEAST_PROBABILITY).ln()).collect()
}

/// Mean and standard deviation over time of the thesis's features, by their whole-clip definition.
///
/// # Errors
/// A rate that is not supported.
pub fn clip_values(samples: &[f32], rate_hz: u32) -> Result<Vec<f32>, resample::Error> {
    let features = thesis154::whole_clip(&resample(samples, rate_hz, SAMPLE_RATE_HZ)?);
    Ok(mean_and_deviation(&features.values))
}

/// Of `[frames, VALUES]`; deviations as NumPy's, over all frames.
#[expect(clippy::cast_possible_truncation, reason = "features are f32")]
fn mean_and_deviation(values: &[f32]) -> Vec<f32> {
    let frames = (values.len() / VALUES).max(1) as f64;
    let (mut sums, mut squares) = ([0.0_f64; VALUES], [0.0_f64; VALUES]);
    for frame in values.chunks_exact(VALUES) {
        for ((sum, square), &value) in sums.iter_mut().zip(&mut squares).zip(frame) {
            *sum += f64::from(value);
            *square += f64::from(value).powi(2);
        }
    }
    let means = sums.map(|sum| sum / frames);
    let deviation = |(square, mean): (&f64, &f64)| (square / frames - mean * mean).max(0.0).sqrt() as f32;
    means.iter().map(|&mean| mean as f32).chain(squares.iter().zip(&means).map(deviation)).collect()
}

fn json(trees: &Classifier<CompactTree>) -> Result<Vec<u8>, manifest::Error> {
    serde_json::to_vec(trees)
        .map_err(|error| Error::Invalid { field: "trees.file", problem: format!("cannot be written: {error}") })
}

#[cfg(test)]
mod tests {
    use rafor::prelude::*;

    use super::*;

    /// Two clips' values a label, told apart by the first value; label 2 never occurs.
    fn forest() -> Forest {
        let mut values = Vec::new();
        let mut labels = Vec::new();
        for clip in 0..40_u8 {
            let mut row = vec![0.5; CLIP_VALUES];
            row[0] = f32::from(clip);
            values.extend(row);
            labels.push(if clip < 20 { 0 } else { 3 });
        }
        let trees = Classifier::<CompactTree>::trainer().with_trees(5).with_seed(1).train(&values, &labels);
        Forest::new(about(), trees).unwrap()
    }

    fn about() -> About {
        About {
            format: FORMAT,
            name: "forest".into(),
            version: "1.0.0".into(),
            description: "a test".into(),
            licence: "MIT".into(),
            labels: ["angry", "disgust", "fear", "happy"].map(str::to_owned).into(),
            trees: Trees { count: 5, values: CLIP_VALUES, file: TREES_FILE.into(), sha256: String::new() },
            calibration: Calibration { temperature: 1.0, uncertain_below: 0.2 },
            training: Training {
                command: "undertone train".into(),
                recipe: "forest".into(),
                data: "some".into(),
                data_sha256: "0".repeat(64),
                train_actors: vec!["1".into()],
                valid_actors: vec!["2".into()],
                seed: 1,
                epochs: 1,
                teachers: vec![],
                votes: None,
                gpu: None,
            },
            metrics: BTreeMap::new(),
        }
    }

    #[test]
    fn what_is_saved_is_loaded_and_thinks_alike() {
        let dir = tempfile::tempdir().unwrap();
        let forest = forest();
        forest.save(dir.path()).unwrap();
        let again = Forest::load(dir.path()).unwrap();
        assert_eq!(again.about, forest.about);
        let mut values = vec![0.5; CLIP_VALUES];
        for (first, label) in [(3.0, 0), (33.0, 3)] {
            values[0] = first;
            let judgement = again.judge(&values);
            assert_eq!(judgement, forest.judge(&values));
            assert_eq!(judgement.label, Some(label));
            assert!(judgement.probabilities[1] < 0.01 && judgement.probabilities[2] < 0.01);
        }
        fs::write(dir.path().join(TREES_FILE), "{}").unwrap();
        let error = Forest::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("SHA-256"), "{error}");
    }

    #[test]
    fn no_call_is_served_by_a_forest() {
        let dir = tempfile::tempdir().unwrap();
        forest().save(dir.path()).unwrap();
        let error = manifest::Manifest::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("Random Forest") && error.contains("undertone evaluate"), "{error}");
    }

    #[test]
    fn trees_that_do_not_fit_are_refused() {
        let forest = forest();
        let two = About { labels: vec!["angry".into(), "sad".into()], ..about() };
        assert!(Forest::new(two, forest.trees.clone()).unwrap_err().to_string().contains("labels"));
        let elsewhere = About { trees: Trees { file: "../x".into(), ..about().trees }, ..about() };
        assert!(Forest::new(elsewhere, forest.trees).unwrap_err().to_string().contains("trees.file"));
    }

    #[test]
    fn values_of_a_clip_are_means_and_deviations_over_time() {
        let frames: Vec<f32> = (0..4_u8).flat_map(|frame| vec![f32::from(frame); VALUES]).collect();
        let values = mean_and_deviation(&frames);
        assert_eq!(values.len(), CLIP_VALUES);
        assert!(values[..VALUES].iter().all(|mean| (mean - 1.5).abs() < 1e-6));
        assert!(values[VALUES..].iter().all(|deviation| (deviation - 1.25_f32.sqrt()).abs() < 1e-6));
        let tone: Vec<f32> = (0..8_000_u16).map(|n| (f32::from(n) * 0.3).sin()).collect();
        assert!(clip_values(&tone, 8_000).unwrap().iter().all(|value| value.is_finite()));
    }
}
