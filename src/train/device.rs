//! What computes the networks that burn differentiates: the processor, or with the feature `train-gpu` a GPU.

use anyhow::bail;
use burn::tensor::Device as Burn;

use super::Recipe;

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// This machine's processor.
    Cpu,
    /// Its GPU, by Vulkan or Metal.
    Gpu,
}

/// A device that was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// What tensors are made on.
    pub(super) burn: Burn,
    /// The GPU, by its own name; none of the CPU.
    pub(super) gpu: Option<String>,
}

impl Device {
    /// Finds it for a recipe. The CPU never takes a GPU's place.
    ///
    /// # Errors
    /// A recipe that no GPU computes, a build without GPUs, and a machine without one.
    pub(super) fn find(self, recipe: Recipe) -> anyhow::Result<Found> {
        if self == Self::Cpu {
            return Ok(Found { burn: Burn::flex(), gpu: None });
        }
        match recipe {
            Recipe::Forest => bail!("recipe forest grows trees, which only the CPU does: leave --device out"),
            Recipe::Telephone => {
                bail!("recipe telephone is trained by kernels of its own, which run on the CPU: leave --device out")
            }
            Recipe::CnnBilstm | Recipe::SpectrogramCnn | Recipe::Cldnn | Recipe::Ensemble => gpu(),
        }
    }
}

#[cfg(not(feature = "train-gpu"))]
fn gpu() -> anyhow::Result<Found> {
    bail!(
        "this build trains on the CPU alone: build one by `cargo build --release --features train-gpu`, or leave --device out"
    )
}

#[cfg(feature = "train-gpu")]
use wgpu::gpu;

#[cfg(feature = "train-gpu")]
mod wgpu {
    use std::{env, sync::OnceLock};

    use burn::tensor::{Device, wgpu::wgpu::DeviceType};

    use super::Found;

    /// By which cubecl, burn's compiler, is told which adapter to take.
    const CHOICE: &str = "CUBECL_WGPU_DEFAULT_DEVICE";

    /// The machine's fastest GPU, or the chosen one. Of a process it is opened once: every fold trains on the same.
    pub(super) fn gpu() -> anyhow::Result<Found> {
        static OPENED: OnceLock<Result<Found, String>> = OnceLock::new();
        OPENED.get_or_init(open).clone().map_err(|why| {
            anyhow::anyhow!(
                "no GPU can be had: {why}; install the GPU's Vulkan driver, or leave --device out to train on the CPU"
            )
        })
    }

    fn open() -> Result<Found, String> {
        let (burn, setup) = Device::wgpu_options().init_with_setup().map_err(|error| error.to_string())?;
        let info = setup.adapter.get_info();
        let gpu = format!("{} ({:?})", info.name, info.backend);
        // Slower than the CPU itself, and whoever asks for a GPU should learn that there is none.
        if info.device_type == DeviceType::Cpu && env::var_os(CHOICE).is_none() {
            return Err(format!("all there is is {gpu}, a GPU in software, which {CHOICE}=Cpu would take"));
        }
        Ok(Found { burn, gpu: Some(gpu) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_cpu_computes_is_refused_a_gpu() {
        for (recipe, why) in [(Recipe::Forest, "trees"), (Recipe::Telephone, "kernels of its own")] {
            let error = Device::Gpu.find(recipe).unwrap_err().to_string();
            assert!(
                error.contains(recipe.name()) && error.contains(why) && error.contains("leave --device out"),
                "{error}"
            );
            assert_eq!(Device::Cpu.find(recipe).unwrap().gpu, None);
        }
    }

    #[cfg(not(feature = "train-gpu"))]
    #[test]
    fn a_build_without_gpus_says_how_to_make_one_with_them() {
        let error = Device::Gpu.find(Recipe::CnnBilstm).unwrap_err().to_string();
        assert!(error.contains("--features train-gpu"), "{error}");
    }
}
