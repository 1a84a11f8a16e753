//! Everything a training run needs to go on as if it had never stopped, in one file that is replaced at once.
//!
//! The random numbers of an epoch come from a generator made of seed and epoch alone, so that no generator's state is kept.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context as _, bail};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{
    network::{Parameters, Spec},
    optimiser::{Optimiser, Rule},
    schedule::Schedule,
};

/// Changes whenever an older checkpoint could not be gone on with.
const FORMAT: u32 = 2;
/// Where in the file's metadata the state stands as JSON.
const STATE: &str = "undertone";

/// Where a run stands between two epochs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Checkpoint {
    /// What the run was started with; only the same may go on.
    pub(super) identity: String,
    /// Epochs done.
    pub(super) epoch: u32,
    /// Of the network, now.
    pub(super) parameters: Parameters,
    /// What the model is made of: those with the lowest validation loss so far, or their running average.
    pub(super) kept: Parameters,
    /// The optimiser.
    pub(super) optimiser: Optimiser,
    /// Rate and patience.
    pub(super) schedule: Schedule,
}

#[derive(Serialize, Deserialize)]
struct State {
    format: u32,
    identity: String,
    epoch: u32,
    steps: u64,
    /// The bits, because decimal digits are not worth arguing about.
    product_bits: u64,
    schedule: Schedule,
}

impl Checkpoint {
    /// Writes the file beside `path` first and then puts it in its place.
    pub(super) fn save(&self, path: &Path, specs: &[Spec]) -> anyhow::Result<()> {
        let state = State {
            format: FORMAT,
            identity: self.identity.clone(),
            epoch: self.epoch,
            steps: self.optimiser.steps,
            product_bits: self.optimiser.product.to_bits(),
            schedule: self.schedule,
        };
        let metadata = HashMap::from([(STATE.to_owned(), serde_json::to_string(&state)?)]);
        let bytes: Vec<(String, &[usize], Vec<u8>)> = self
            .groups()
            .into_iter()
            .flat_map(|(group, values)| {
                specs.iter().zip(&values.0).map(move |(spec, values)| {
                    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                    (format!("{group}.{}", spec.name), &*spec.shape, bytes)
                })
            })
            .collect();
        let views = bytes
            .iter()
            .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.to_vec(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
        let file = safetensors::serialize(views, Some(metadata))?;
        replace(path, &file)
    }

    /// Reads what [`Checkpoint::save`] wrote.
    ///
    /// # Errors
    /// No such file, a damaged one, and one of a run that was started with other options.
    pub(super) fn load(path: &Path, identity: &str, specs: &[Spec], rule: Rule) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| {
            format!("cannot read {}: there is nothing to resume; leave --resume out to start anew", path.display())
        })?;
        let damaged = || format!("{} is damaged; leave --resume out to start anew", path.display());
        let (_, metadata) = SafeTensors::read_metadata(&bytes).with_context(damaged)?;
        let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get(STATE)).with_context(damaged)?;
        let state: State = serde_json::from_str(text).with_context(damaged)?;
        if state.format != FORMAT {
            bail!(
                "{} is of format {}, expected {FORMAT}; leave --resume out to start anew",
                path.display(),
                state.format
            );
        }
        if state.identity != identity {
            bail!(
                "{} is of a run with other options or data; repeat those, or leave --resume out to start anew: then {}, now {identity}",
                path.display(),
                state.identity,
            );
        }
        let tensors = SafeTensors::deserialize(&bytes).with_context(damaged)?;
        let group = |group: &str| -> anyhow::Result<Parameters> {
            let values = specs.iter().map(|spec| {
                let tensor = tensors.tensor(&format!("{group}.{}", spec.name)).with_context(damaged)?;
                if tensor.dtype() != Dtype::F32 || tensor.shape() != &*spec.shape {
                    bail!(damaged());
                }
                let chunks = tensor.data().as_chunks::<4>().0;
                Ok(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect())
            });
            Ok(Parameters(values.collect::<anyhow::Result<_>>()?))
        };
        Ok(Self {
            epoch: state.epoch,
            parameters: group("now")?,
            kept: group("kept")?,
            optimiser: Optimiser {
                rule,
                first: group("first")?,
                second: group("second")?,
                steps: state.steps,
                product: f64::from_bits(state.product_bits),
            },
            schedule: state.schedule,
            identity: state.identity,
        })
    }

    fn groups(&self) -> [(&'static str, &Parameters); 4] {
        [
            ("now", &self.parameters),
            ("kept", &self.kept),
            ("first", &self.optimiser.first),
            ("second", &self.optimiser.second),
        ]
    }
}

/// Replaces a file at once: whoever reads sees the old one or the new one, even after a kill.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    fs::write(&fresh, bytes)
        .and_then(|()| fs::File::open(&fresh)?.sync_all())
        .and_then(|()| fs::rename(&fresh, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn specs() -> [Spec; 2] {
        [("weight", &[2, 2][..]), ("bias", &[2][..])].map(|(name, shape)| Spec {
            name: Cow::Borrowed(name),
            shape: Cow::Borrowed(shape),
            decays: false,
            trainable: true,
        })
    }

    fn checkpoint() -> Checkpoint {
        let some = |from: f32| Parameters(vec![vec![from, from / 3.0, -from, 0.0], vec![1.0 / from, from * 7.0]]);
        let mut schedule = Schedule::plateau();
        schedule.after(1, 1.0 / 3.0);
        let optimiser =
            Optimiser { steps: 7, product: 0.1 / 3.0, first: some(0.1), ..Optimiser::new(Rule::Nadam, &specs()) };
        Checkpoint {
            identity: "seed 4".to_owned(),
            epoch: 1,
            parameters: some(0.2),
            kept: some(0.3),
            optimiser,
            schedule,
        }
    }

    fn load(path: &Path, identity: &str) -> anyhow::Result<Checkpoint> {
        Checkpoint::load(path, identity, &specs(), Rule::Nadam)
    }

    #[test]
    fn what_is_read_is_what_was_written_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        checkpoint().save(&path, &specs()).unwrap();
        assert_eq!(load(&path, "seed 4").unwrap(), checkpoint());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_gone_on_with_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let error = |identity| format!("{:#}", load(&path, identity).unwrap_err());
        assert!(error("seed 4").contains("nothing to resume"));
        checkpoint().save(&path, &specs()).unwrap();
        assert!(error("seed 5").contains("other options"));
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        assert!(error("seed 4").contains("damaged"));
    }
}
