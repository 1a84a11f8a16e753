//! Execution providers: what ONNX Runtime runs a network on.
//!
//! All of them are asked of the library when a session is made, so none is needed to build. One that is asked for and cannot be had is an
//! error, because ONNX Runtime would go on without a word on the CPU. What it lacks single operators for runs on the CPU all the same.

use ort::{
    ep::{self, ExecutionProvider as _, ExecutionProviderDispatch},
    session::builder::SessionBuilder,
};
use serde::{Deserialize, Serialize};

use super::{Options, Runtime};
use crate::model::Manifest;

/// What runs a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU by CUDA and cuDNN.
    Cuda,
    /// An NVIDIA GPU by TensorRT, which builds an engine for the network and the GPU first; CUDA runs what TensorRT does not take.
    Tensorrt,
}

/// The least bucket above a single window: below it a GPU takes as long for fewer.
const LEAST_BUCKET: usize = 8;

impl Provider {
    /// "cpu", "cuda" or "tensorrt".
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
        }
    }

    /// Windows run at once at most, where nothing else is configured. On a CPU more than 8 gain nothing (docs/performance.md); a GPU is
    /// hardly busy below some dozens.
    pub fn max_batch(self) -> usize {
        match self {
            Self::Cpu => 8,
            Self::Cuda | Self::Tensorrt => 64,
        }
    }

    /// The sizes of batches that it is run at, ascending, up to `max_batch`; empty: any. CUDA chooses algorithms, and TensorRT kernels, anew
    /// for every size that it meets, so there are few: 1, 8, 16, 32 and so on.
    pub fn buckets(self, max_batch: usize) -> Vec<usize> {
        if self == Self::Cpu {
            return Vec::new();
        }
        let doubled = std::iter::successors(Some(LEAST_BUCKET), |bucket| bucket.checked_mul(2));
        let mut buckets: Vec<usize> =
            std::iter::once(1).chain(doubled).take_while(|&bucket| bucket < max_batch).collect();
        buckets.push(max_batch);
        buckets
    }

    /// Whether the library was built with it. That a GPU is there to be used is only seen when a session is made.
    pub fn is_in(self, _runtime: &Runtime) -> bool {
        // The library is loaded, or there would be no runtime.
        let available = match self {
            Self::Cpu => Ok(true),
            Self::Cuda => ep::CUDA::is_available(),
            Self::Tensorrt => ep::TensorRT::is_available(),
        };
        available.unwrap_or(false)
    }

    /// What is to be done where a session cannot be made on it.
    pub(super) fn remedy(self, runtime: &Runtime) -> String {
        let library = runtime.library().display();
        if !self.is_in(runtime) {
            return format!(
                "the ONNX Runtime in {library} was built without it: install the package onnxruntime-gpu of version 1.28.0 \
                 (`ORT_PACKAGE=gpu scripts/setup-onnxruntime.sh` does) and set ORT_DYLIB_PATH or `onnxruntime.library` to its library"
            );
        }
        let needed = match self {
            Self::Cpu => return format!("see what ONNX Runtime in {library} logged"),
            Self::Cuda => "CUDA 13 and cuDNN 9",
            Self::Tensorrt => "CUDA 13, cuDNN 9 and TensorRT 10",
        };
        format!("see that there is a GPU with its driver, and {needed} where the loader finds them (LD_LIBRARY_PATH)")
    }

    /// Has a session run on it, or fail.
    pub(super) fn register(
        self,
        builder: SessionBuilder,
        manifest: &Manifest,
        options: &Options,
    ) -> ort::Result<SessionBuilder> {
        let providers = match self {
            Self::Cpu => return Ok(builder),
            Self::Cuda => vec![cuda(options)],
            Self::Tensorrt => vec![tensorrt(manifest, options), cuda(options)],
        };
        Ok(builder.with_execution_providers(providers)?)
    }
}

fn cuda(options: &Options) -> ExecutionProviderDispatch {
    ep::CUDA::default()
        .with_device_id(options.device_id)
        // An exhaustive search would try all algorithms again for every size of batch and every length of windows.
        .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic)
        // Ten bits of mantissa are too few for scores within a thousandth of the CPU's.
        .with_tf32(false)
        .build()
        .error_on_failure()
}

fn tensorrt(manifest: &Manifest, options: &Options) -> ExecutionProviderDispatch {
    let lengths = super::lengths(manifest);
    let (shortest, longest) = (lengths[0], lengths[lengths.len() - 1]);
    let largest = options.buckets.last().copied().unwrap_or(1);
    let profile = |batch, frames| profile(manifest, batch, frames);
    let provider = ep::TensorRT::default()
        .with_device_id(options.device_id)
        // One engine for all buckets and lengths, instead of a new one whenever one is met that it was not built for.
        .with_profile_min_shapes(profile(1, shortest))
        .with_profile_opt_shapes(profile(largest, longest))
        .with_profile_max_shapes(profile(largest, longest));
    let provider = match &options.engine_cache {
        Some(folder) => provider
            .with_engine_cache(true)
            .with_engine_cache_path(folder.display())
            .with_timing_cache(true)
            .with_timing_cache_path(folder.display()),
        None => provider,
    };
    provider.build().error_on_failure()
}

/// The shape of the network's input, as TensorRT's profiles have it.
fn profile(manifest: &Manifest, batch: usize, frames: usize) -> String {
    let (name, values) = (&manifest.network.input, manifest.front_end.values());
    if manifest.front_end.is_flat() {
        format!("{name}:{batch}x{}", frames * values)
    } else {
        format!("{name}:{batch}x{frames}x{values}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tiny;

    #[test]
    fn buckets_are_few_and_end_with_the_largest_batch() {
        assert_eq!(Provider::Cuda.buckets(64), [1, 8, 16, 32, 64]);
        assert_eq!(Provider::Tensorrt.buckets(100), [1, 8, 16, 32, 64, 100]);
        assert_eq!(Provider::Cuda.buckets(8), [1, 8]);
        assert_eq!(Provider::Cuda.buckets(5), [1, 5]);
        assert_eq!(Provider::Cuda.buckets(1), [1]);
        assert!(Provider::Cpu.buckets(64).is_empty());
    }

    #[test]
    fn profiles_are_shapes_of_the_networks_input() {
        let manifest = tiny::manifest(b"");
        assert_eq!(profile(&manifest, 64, 300), "windows:64x300x154");
    }

    #[test]
    fn names_are_those_of_the_configuration() {
        for provider in <Provider as clap::ValueEnum>::value_variants() {
            assert_eq!(serde_json::to_value(provider).unwrap(), provider.name());
        }
    }
}
