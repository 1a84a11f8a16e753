//! `undertone features FILE --out X.npy`: what a network is given of a recording, to look at or to compare.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use ndarray::Array2;
use serde::Serialize;

use super::print;
use undertone::{
    audio::{file, resample::resample},
    features::{FrontEnd, listen::RawFrames, logmel8k, offline, thesis154},
};

/// Write the features of a recording as a NumPy file, and print its shape.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The front end
    #[arg(long, value_enum)]
    front_end: FrontEndName,
    /// As one window that holds the whole recording sees it: for thesis154 the streaming definition; for logmel8k clamped, and less the
    /// mean of each band
    #[arg(long)]
    streaming: bool,
    /// Take the samples to be at 22,050 Hz whatever the file says
    #[arg(long = "input-is-22k")]
    input_is_22k: bool,
    /// WAV (8 to 32-bit integer, 32-bit float) or FLAC
    file: PathBuf,
    /// Where to write NumPy f32 [frames, values]
    #[arg(long, value_name = "X.npy")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FrontEndName {
    /// MFCC, chroma, mel bands and zero-crossing rate: 154 values a frame
    Thesis154,
    /// Logarithmic mel bands at 8,000 Hz: 96 values a frame
    Logmel8k,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    frames: usize,
    values: usize,
    /// Null for a front end that has none.
    tuning: Option<f64>,
}

#[expect(clippy::needless_pass_by_value, reason = "a command owns its arguments, as all do")]
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    super::ensure_writable(&args.out)?;
    let recording = file::read(&args.file)?;
    let rate_hz = if args.input_is_22k { thesis154::SAMPLE_RATE_HZ } else { recording.sample_rate_hz };
    let samples = recording.into_mono();
    let cannot = || format!("cannot take {}", args.file.display());
    let (report, values) = match args.front_end {
        FrontEndName::Thesis154 => {
            let samples = resample(&samples, rate_hz, thesis154::SAMPLE_RATE_HZ).with_context(cannot)?;
            let features =
                if args.streaming { thesis154::one_window(&samples) } else { thesis154::whole_clip(&samples) };
            let (frames, tuning) = (features.frames, Some(features.tuning));
            (Report { frames, values: thesis154::VALUES, tuning }, features.values)
        }
        FrontEndName::Logmel8k => {
            let front_end = FrontEnd::Logmel8k(logmel8k::Options::default());
            let raw = RawFrames::of(&samples, rate_hz, &front_end, false).with_context(cannot)?;
            let (frames, values) = (raw.frames(), front_end.values());
            let features = if args.streaming { offline::one_window(&raw, &front_end) } else { raw.raw.values };
            (Report { frames, values, tuning: None }, features)
        }
    };
    let array = Array2::from_shape_vec((report.frames, report.values), values)
        .context("the features do not fill their frames")?;
    ndarray_npy::write_npy(&args.out, &array).with_context(|| format!("cannot write {}", args.out.display()))?;
    print(serde_json::to_string(&report)?)
}
