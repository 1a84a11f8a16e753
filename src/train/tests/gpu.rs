//! Training on a GPU, where there is one: a GPU in software is taken where `CUBECL_WGPU_DEFAULT_DEVICE=Cpu` says so.

use std::io::{Write as _, stderr};

use super::*;
use crate::train::Device;

/// How far a loss on a GPU may be from the CPU's. Sums in another order differ by 1e-7; a wrong kernel by far more than this.
const TOLERANCE: f64 = 1e-3;

#[test]
fn a_gpu_learns_what_the_cpu_learns_and_neither_goes_on_with_the_others_run() {
    let gpu = match Device::Gpu.find(Recipe::CnnBilstm) {
        Ok(found) => found.gpu.unwrap(),
        // Past the runner, which keeps what a test prints that passes.
        Err(why) => return writeln!(stderr(), "{why}: training on a GPU was not tested").unwrap(),
    };
    for recipe in [Recipe::CnnBilstm, Recipe::SpectrogramCnn, Recipe::Cldnn, Recipe::Ensemble] {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let options = |at: usize| Options {
            recipe,
            device: [Device::Cpu, Device::Gpu][at],
            ..options(&recordings(), folders[at].path(), 2)
        };
        let [(on_cpu, of_cpu), (on_gpu, of_gpu)] = [0, 1].map(|at| train(&options(at)));
        for (cpu, gpu) in of_cpu.iter().zip(&of_gpu) {
            for (cpu, gpu) in [(cpu.loss, gpu.loss), (cpu.valid_loss, gpu.valid_loss)] {
                assert!((gpu - cpu).abs() < TOLERANCE * cpu, "{}: {gpu} on the GPU, {cpu} on the CPU", recipe.name());
            }
        }
        assert_eq!((on_cpu.training.gpu, on_gpu.training.gpu.as_ref()), (None, Some(&gpu)));
        for at in [0, 1] {
            let card = fs::read_to_string(folders[at].path().join("MODEL_CARD.md")).unwrap();
            assert!(card.contains(&format!("trained on {}.", ["the CPU", &gpu][at])), "{card}");
            let other = Options { resume: true, device: options(1 - at).device, ..options(at) };
            let error = format!("{:#}", run(&other, &AtomicBool::new(false), &|_| {}).unwrap_err());
            assert!(error.contains("other options") && error.contains(&gpu), "{error}");
        }
    }
}
