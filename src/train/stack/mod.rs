//! Networks that are a row of layers: written down once, learnt, scored and exported from the same words.
//!
//! A [`Stack`] looks at some of a frame's values, as channels over time or as an image of frames by bands. [`Stacks`] is the network:
//! one stack, or several that are trained side by side, each on its own loss, and answer with the mean of their probabilities.
//! What burn differentiates lies between the recurrent layers; those have passes of their own ([`crate::train::recurrent`]).

use std::{borrow::Cow, ops::Range};

use burn::tensor::Device;
use rand_chacha::ChaCha8Rng;

mod graph;
mod pass;
#[cfg(test)]
mod tests;

use super::{
    network::{Batch, Network, Parameters, Spec, Step, count_right},
    recurrent::{Cell, lstm},
    tensors::{glorot, orthogonal},
};
use crate::corpus::LABELS;

/// Keeps the logarithm of a probability finite.
const LEAST_PROBABILITY: f32 = 1e-12;

/// How a stack sees the values it looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// `[window, value, frame, 1]`: a value is a channel.
    Channels,
    /// `[window, 1, frame, value]`: a value is a band of an image.
    Image,
}

/// What is done in one place. Between layers stands `[window, channel, frame, band]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Layer {
    /// A convolution, zeros around.
    Conv {
        /// Channels in.
        from: usize,
        /// Channels out.
        to: usize,
        /// Frames and bands that a filter sees: odd numbers.
        kernel: [usize; 2],
        /// Frames and bands from one place of the filter to the next.
        stride: [usize; 2],
    },
    /// Batch normalisation of so many channels.
    Norm(usize),
    /// What is below 0 becomes 0.
    Relu,
    /// The largest of so many frames and bands.
    Pool([usize; 2]),
    /// In training this part of the values is not there.
    Dropout(f32),
    /// A recurrent layer's last state. It walks from the window's end to its beginning: zeros stand behind what was said, so that it
    /// reads them first and ends with the voice.
    Recurrent {
        /// Which kind.
        cell: Cell,
        /// Channels in.
        from: usize,
        /// Channels out.
        units: usize,
    },
    /// The largest over all frames.
    Loudest,
    /// Every value of a window to every other.
    Dense {
        /// Values in.
        from: usize,
        /// Values out.
        to: usize,
    },
}

/// A row of layers.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    /// Its values' names begin with it.
    pub(super) name: &'static str,
    /// Which of a frame's values it looks at.
    pub(super) values: Range<usize>,
    /// How.
    pub(super) view: View,
    /// From the values to the logits.
    pub(super) layers: Vec<Layer>,
}

/// A network of stacks.
#[derive(Debug)]
pub(super) struct Stacks {
    device: Device,
    name: &'static str,
    /// Values of a frame, whichever are looked at.
    values: usize,
    /// Each with the place of its first value.
    stacks: Vec<(Stack, usize)>,
    specs: Vec<Spec>,
}

impl Stacks {
    /// On a device, of frames of so many values.
    pub(super) fn new(device: Device, name: &'static str, values: usize, stacks: Vec<Stack>) -> Self {
        let mut specs = Vec::new();
        let stacks = stacks
            .into_iter()
            .map(|stack| {
                let place = specs.len();
                specs.extend(stack.specs());
                (stack, place)
            })
            .collect();
        Self { device, name, values, stacks, specs }
    }

    /// The logarithm of the mean probability; of one stack its logits.
    fn together(mut members: Vec<Vec<f32>>) -> Vec<f32> {
        if members.len() == 1 {
            return members.remove(0);
        }
        let part = 1.0 / members.len() as f32;
        let mut sums = vec![0.0; members[0].len()];
        for member in &members {
            for (sums, logits) in sums.chunks_exact_mut(LABELS.len()).zip(member.chunks_exact(LABELS.len())) {
                let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let whole: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
                sums.iter_mut().zip(logits).for_each(|(sum, logit)| *sum += (logit - largest).exp() / whole * part);
            }
        }
        sums.into_iter().map(|sum| sum.max(LEAST_PROBABILITY).ln()).collect()
    }
}

impl Network for Stacks {
    fn specs(&self) -> &[Spec] {
        &self.specs
    }

    fn initial(&self, random: &mut ChaCha8Rng) -> Parameters {
        let mut all = Parameters::zeros(&self.specs);
        for (stack, place) in &self.stacks {
            stack.begin(&mut all.0[*place..], random);
        }
        all
    }

    fn logits(&self, parameters: &Parameters, batch: &Batch) -> Vec<f32> {
        let one = |(stack, place): &(Stack, usize)| stack.logits(&parameters.0[*place..], batch, &self.device);
        Self::together(self.stacks.iter().map(one).collect())
    }

    fn step(&self, parameters: &mut Parameters, batch: &Batch, random: &mut ChaCha8Rng) -> Step {
        let mut gradients = Parameters::zeros(&self.specs);
        let part = 1.0 / self.stacks.len() as f32;
        let (mut loss, mut members) = (0.0, Vec::new());
        for (stack, place) in &self.stacks {
            let own = stack.len();
            let (parameters, gradients) =
                (&mut parameters.0[*place..*place + own], &mut gradients.0[*place..*place + own]);
            let (member, logits) = stack.step(parameters, gradients, batch, part, random, &self.device);
            loss += member;
            members.push(logits);
        }
        Step { loss, right: count_right(&Self::together(members), &batch.labels), gradients }
    }

    fn penalty(&self, _parameters: &Parameters) -> f64 {
        0.0
    }

    fn export(&self, parameters: &Parameters, frames: usize) -> Vec<u8> {
        graph::network(self, parameters, frames)
    }
}

impl Stack {
    /// How many values it has.
    fn len(&self) -> usize {
        self.layers.iter().map(|layer| layer.specs().len()).sum()
    }

    fn specs(&self) -> Vec<Spec> {
        let named = |(index, layer): (usize, &Layer)| {
            let place = format!("{}.{index}", self.name);
            layer.specs().into_iter().map(move |(name, shape, trainable)| Spec {
                name: Cow::Owned(format!("{place}.{name}")),
                shape: Cow::Owned(shape),
                decays: false,
                trainable,
            })
        };
        self.layers.iter().enumerate().flat_map(named).collect()
    }

    /// As Keras begins: Glorot uniform kernels, orthogonal recurrent kernels, an LSTM's forget gate open.
    fn begin(&self, mut values: &mut [Vec<f32>], random: &mut ChaCha8Rng) {
        for layer in &self.layers {
            let (own, rest) = values.split_at_mut(layer.specs().len());
            values = rest;
            match *layer {
                Layer::Conv { from, to, kernel: [frames, bands], .. } => {
                    glorot(&mut own[0], from * frames * bands, to * frames * bands, random);
                }
                Layer::Dense { from, to } => glorot(&mut own[0], from, to, random),
                Layer::Norm(_) => {
                    own[0].fill(1.0);
                    own[3].fill(1.0);
                }
                Layer::Recurrent { cell, from, units } => {
                    glorot(&mut own[0], from, cell.gates() * units, random);
                    orthogonal(&mut own[1], cell.gates() * units, units, random);
                    if cell == Cell::Lstm {
                        own[2][lstm::FORGET * units..][..units].fill(1.0);
                    }
                }
                Layer::Relu | Layer::Pool(_) | Layer::Dropout(_) | Layer::Loudest => {}
            }
        }
    }
}

impl Layer {
    /// Name, shape, and whether gradients move it, of each of its values. The layouts are ONNX's.
    fn specs(&self) -> Vec<(&'static str, Vec<usize>, bool)> {
        match *self {
            Self::Conv { from, to, kernel: [frames, bands], .. } => {
                vec![("weight", vec![to, from, frames, bands], true), ("bias", vec![to], true)]
            }
            Self::Dense { from, to } => vec![("weight", vec![to, from], true), ("bias", vec![to], true)],
            Self::Norm(channels) => [("scale", true), ("shift", true), ("mean", false), ("variance", false)]
                .map(|(name, trainable)| (name, vec![channels], trainable))
                .into(),
            Self::Recurrent { cell, from, units } => {
                let rows = cell.gates() * units;
                vec![
                    ("input", vec![1, rows, from], true),
                    ("recurrent", vec![1, rows, units], true),
                    ("bias", vec![1, rows], true),
                ]
            }
            Self::Relu | Self::Pool(_) | Self::Dropout(_) | Self::Loudest => Vec::new(),
        }
    }
}
