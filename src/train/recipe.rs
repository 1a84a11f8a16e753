//! The recipes: one command and one loop for all of them. A new recipe is a module of its own, a variant here and a line in
//! [`Recipe::train`].

use clap::ValueEnum;
use rand_chacha::ChaCha8Rng;

use super::{
    Event, Trained, Work,
    calibrate::Wanted,
    cldnn, cnn_bilstm, ensemble, forest,
    network::{Batch, Network},
    optimiser::Rule,
    schedule::Schedule,
    spectrogram_cnn, telephone, thesis,
};
use crate::{
    corpus::Condition,
    evaluate::Window,
    features::{FrontEnd, Standardization, WindowOptions},
    model::manifest::Bandwidth,
};

/// What to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Recipe {
    /// The thesis's baseline: a Random Forest on mean and deviation of its features. It is scored, and serves no call.
    Forest,
    /// The thesis's network: MFCC, chroma and mel frames, a convolution and a bidirectional LSTM.
    CnnBilstm,
    /// A 2-D convolutional network on the mel spectrogram.
    SpectrogramCnn,
    /// Convolutions, an LSTM and dense layers on MFCCs, with augmentation.
    Cldnn,
    /// A 1-D convolutional network, an LSTM and a GRU on the thesis's frames, averaged, with augmentation.
    Ensemble,
    /// What is served by default: log-mel frames at 8 kHz against the speaker's own baseline, a small ConvNeXt.
    Telephone,
}

/// A recipe with its data in memory: what the loop asks for.
pub(super) trait Course: Sync {
    /// What is trained.
    fn network(&self) -> &dyn Network;

    /// How.
    fn regime(&self) -> Regime;

    /// What else decides what an epoch does.
    fn identity(&self) -> String;

    /// The batches of one epoch. All that is random in them is decided here, before the first is made, or follows from it.
    fn epoch<'a>(&'a self, random: &mut ChaCha8Rng) -> Batches<'a>;

    /// The validation actors' windows: the same every time. They stop the training where the schedule looks at them, and calibrate.
    fn validation(&self) -> Batches<'_>;

    /// What stands in the manifest.
    fn sketch(&self) -> Sketch;
}

/// Batches to come, each made when it is asked for.
pub(super) type Batches<'a> = Box<dyn ExactSizeIterator<Item = Batch> + Send + 'a>;

/// How a recipe learns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Regime {
    /// The optimiser.
    pub(super) rule: Rule,
    /// Before the first epoch.
    pub(super) schedule: Schedule,
    /// Longest norm of a step's gradients.
    pub(super) clip: Option<f64>,
    /// How much of the running average of the weights a step keeps at most; without one the best epoch's weights are kept.
    pub(super) average: Option<f64>,
}

/// What a recipe says of its model.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    /// The name calls ask for it by.
    pub(super) name: &'static str,
    /// One line on what it is.
    pub(super) description: &'static str,
    /// The network in a line.
    pub(super) network: &'static str,
    /// The windows it saw, for the card.
    pub(super) saw: &'static str,
    /// What else keeps it from being right, for the card.
    pub(super) limits: &'static str,
    /// The lines it is for.
    pub(super) bandwidths: Vec<Bandwidth>,
    /// The conditions that the validation actors are heard under at last.
    pub(super) conditions: Vec<Condition>,
    /// The windows they are judged by.
    pub(super) windows: Vec<Window>,
    /// The networks that it learnt from beside the labels.
    pub(super) teachers: Vec<Teacher>,
    /// When it is to give a label.
    pub(super) wanted: Wanted,
    /// Its features.
    pub(super) front_end: FrontEnd,
    /// Its windows.
    pub(super) window: WindowOptions,
    /// Mean and deviation of each value.
    pub(super) standardization: Standardization,
}

/// A network that another learnt from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Teacher {
    /// SHA-256 of its file, hexadecimal.
    pub(super) sha256: String,
    /// What made it, into the folder where its student found it.
    pub(super) command: String,
}

impl Recipe {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forest => "forest",
            Self::CnnBilstm => "cnn-bilstm",
            Self::SpectrogramCnn => "spectrogram-cnn",
            Self::Cldnn => "cldnn",
            Self::Ensemble => "ensemble",
            Self::Telephone => "telephone",
        }
    }

    /// The most epochs where none are asked for.
    pub fn epochs(self) -> u32 {
        match self {
            // It grows at once.
            Self::Forest => 0,
            Self::CnnBilstm => cnn_bilstm::EPOCHS,
            Self::SpectrogramCnn => spectrogram_cnn::EPOCHS,
            Self::Cldnn => cldnn::EPOCHS,
            Self::Ensemble => ensemble::EPOCHS,
            Self::Telephone => telephone::EPOCHS,
        }
    }

    /// Reads the data and trains.
    pub(super) fn train(self, work: &Work<'_>, tell: &(dyn Fn(Event<'_>) + Sync)) -> anyhow::Result<Trained> {
        let device = work.device.burn.clone();
        match self {
            Self::Forest => forest::train(work, tell),
            Self::CnnBilstm => thesis::train(cnn_bilstm::plan(device), work, tell),
            Self::SpectrogramCnn => thesis::train(spectrogram_cnn::plan(device), work, tell),
            Self::Cldnn => thesis::train(cldnn::plan(device), work, tell),
            Self::Ensemble => thesis::train(ensemble::plan(device), work, tell),
            Self::Telephone => telephone::train(work, tell),
        }
    }
}
