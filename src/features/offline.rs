//! Windows of recordings, as a call would have been served them: the leg of a call whose audio is at hand as raw frames.

use super::{
    Buffers, Error, FrontEnd, Memory, NotScored, Standardization, WindowOptions,
    listen::RawFrames,
    window::{Served, Step, Window, walk},
};

/// A leg that hears one recording after another. What it heard before is the speaker's baseline; a window holds one recording only.
pub struct Leg<'a> {
    front_end: &'a FrontEnd,
    window: &'a WindowOptions,
    standardization: &'a Standardization,
    memory: Memory,
}

/// What a call would have been given at one stride.
#[derive(Debug, Clone, PartialEq)]
pub struct Stride {
    /// Samples of the recording heard by then.
    pub at_samples: u64,
    /// The window `[frames, values]`, standardised, and padded where the network has one length; or why there is none.
    pub outcome: Result<Vec<f32>, NotScored>,
}

/// A whole recording as one window `[frames, values]` that holds all of it, not standardised.
pub fn one_window(raw: &RawFrames, front_end: &FrontEnd) -> Vec<f32> {
    let mut memory = Memory::new(front_end, raw.frames().max(1));
    for (frame, &speech) in raw.range(0..raw.frames()).zip(&raw.speech) {
        memory.push(frame, speech);
    }
    let mut values = vec![0.0; raw.frames() * front_end.values()];
    memory.assemble(0..memory.heard(), &mut values);
    values
}

impl<'a> Leg<'a> {
    /// A leg that heard nothing yet.
    ///
    /// # Errors
    /// An [`Error`] that names the parameter of front end, window or standardisation that is not supported.
    pub fn new(
        front_end: &'a FrontEnd,
        window: &'a WindowOptions,
        standardization: &'a Standardization,
    ) -> Result<Self, Error> {
        front_end.validate()?;
        window.validate(front_end)?;
        standardization.validate(front_end)?;
        Ok(Self { front_end, window, standardization, memory: Memory::new(front_end, window.frames) })
    }

    /// Hears a recording of which nothing is scored.
    pub fn hear(&mut self, raw: &RawFrames) {
        for (frame, &speech) in raw.range(0..raw.frames()).zip(&raw.speech) {
            self.memory.push(frame, speech);
        }
    }

    /// Hears a recording and tells what it gives at each stride, by the model's own `options` or by others with fewer frames.
    ///
    /// # Errors
    /// An [`Error`] where the options, the recording's rate or the stride are not supported.
    ///
    /// # Panics
    /// When the options ask for more frames than the model's.
    pub fn serve(
        &mut self,
        raw: &RawFrames,
        options: &WindowOptions,
        stride_seconds: f64,
    ) -> Result<Vec<Stride>, Error> {
        let Self { front_end, window, standardization, memory } = self;
        let before = memory.heard();
        let mut strides = Vec::new();
        walk(raw, front_end, options, stride_seconds, |step| match step {
            Step::Frame(frame, speech) => {
                let values = raw.range(frame..frame + 1).next().expect("the recording has it");
                memory.push(values, speech);
            }
            Step::Again(frame, speech) => memory.again(before + frame as u64, speech),
            Step::Stride(Served { at_samples, outcome }) => {
                let values = |Window { frames, .. }: Window| {
                    memory.window(
                        before + frames.start..before + frames.end,
                        window,
                        standardization,
                        &Buffers::default(),
                    )
                };
                strides.push(Stride { at_samples, outcome: outcome.map(values) });
            }
        })?;
        Ok(strides)
    }

    /// Hears as much of a recording's beginning as a window of `options` holds, and gives it as one; `None` where there is no frame.
    ///
    /// # Panics
    /// When the options ask for more frames than the model's.
    pub fn first_window(&mut self, raw: &RawFrames, options: &WindowOptions) -> Option<Vec<f32>> {
        let taken = options.taken_frames(raw.frames());
        for (frame, &speech) in raw.range(0..taken).zip(&raw.speech) {
            self.memory.push(frame, speech);
        }
        let end = self.memory.heard();
        (taken > 0).then(|| {
            self.memory.window(end - taken as u64..end, self.window, self.standardization, &Buffers::default())
        })
    }
}
