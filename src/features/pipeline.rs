//! Samples of one leg in; a window, or the reason for none, out at every stride.
//!
//! Stride `n` is told when sample `n * stride` has been pushed, whatever came with it in one push. Its window ends with the last
//! frame that is complete by then, which a resampler tells 10 to 30 ms late and which began a hop ago at most. So a stride depends on
//! the samples up to its own time and no others.

use std::collections::VecDeque;

use zeroize::Zeroize as _;

use crate::audio::gate::Activity;

use super::{
    Buffers, Error, FrontEnd, Memory, NotScored, Standardization, WindowOptions,
    listen::{self, Listener},
    window::Rule,
};

/// Strides that are supported, in seconds.
pub const STRIDE_SECONDS: std::ops::RangeInclusive<f64> = 0.25..=5.0;

/// What one stride yields. Positions are samples at the source's rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Stride {
    /// First sample looked at.
    pub start_samples: u64,
    /// One past the last.
    pub end_samples: u64,
    /// Samples that had to be pushed before this stride could be told.
    pub depends_on_samples: u64,
    /// Part of the stretch that was speech, 0 to 1.
    pub speech_ratio: f32,
    /// Speech since the last stride, in seconds; what turned out to be speech, or none, of what was heard before is added and taken away.
    pub speech_seconds: f32,
    /// How far speech stands above what is heard behind it, in dB, where there is a window and a gate.
    pub snr_db: Option<f32>,
    /// The window `[frames, values]`, standardised, and padded where the network has one length; or why there is none.
    pub outcome: Result<Vec<f32>, NotScored>,
}

/// What a [`Pipeline`] is to do beyond what the model's manifest says.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineOptions {
    /// The rate of the samples that will be pushed: 8,000 to 48,000.
    pub source_hz: u32,
    /// Time between strides in seconds: 0.25 to 5.
    pub stride_seconds: f64,
    /// Whether the gate decides what is speech; without it all is.
    pub gate: bool,
}

/// Samples of one leg in; a window, or the reason for none, out at every stride: resampler, gate, extractor and window in one.
///
/// However the samples are split over pushes, the strides are the same.
pub struct Pipeline {
    listener: Listener,
    standardization: Standardization,
    window: WindowOptions,
    points: StridePoints,
    heard: Heard,
    position: u64,
    /// Where the last stride was told.
    last: u64,
    finished: bool,
    ready: VecDeque<Stride>,
    /// Where windows take their memory.
    buffers: Buffers,
}

/// The frames heard so far, as far as they still matter.
struct Heard {
    rule: Rule,
    memory: Memory,
    /// Since the last stride.
    frames: u64,
    /// Frames of speech since the last stride, less those before that are none after all.
    speech: i64,
}

/// Where strides lie: at the multiples of the stride, each rounded to a sample, all put off by as many samples.
#[derive(Debug, Clone)]
pub(super) struct StridePoints {
    samples: f64,
    next: u64,
    put_off: u64,
}

impl Pipeline {
    /// A pipeline for one leg.
    ///
    /// # Errors
    /// An [`Error`] that names the parameter of front end, window, standardisation or options that is not supported.
    pub fn new(
        front_end: &FrontEnd,
        window: &WindowOptions,
        standardization: &Standardization,
        options: &PipelineOptions,
    ) -> Result<Self, Error> {
        front_end.validate()?;
        window.validate(front_end)?;
        standardization.validate(front_end)?;
        let listener = Listener::new(front_end, options.source_hz, options.gate)?;
        let rule = Rule::new(window, listener.clock());
        Ok(Self {
            listener,
            standardization: standardization.clone(),
            window: window.clone(),
            points: StridePoints::new(options.source_hz, options.stride_seconds)?,
            heard: Heard { rule, memory: Memory::new(front_end, window.frames), frames: 0, speech: 0 },
            position: 0,
            last: 0,
            finished: false,
            ready: VecDeque::new(),
            buffers: Buffers::default(),
        })
    }

    /// Bytes that it takes in all, but for what legs share; windows are counted apart.
    pub fn bytes(&self) -> usize {
        let Self { listener, heard, standardization, .. } = self;
        size_of::<Self>() + listener.bytes() + heard.memory.bytes() + heard.rule.bytes() + standardization.bytes()
    }

    /// Windows take their memory from there.
    pub fn lend(&mut self, buffers: Buffers) {
        self.buffers = buffers;
    }

    /// Strides fall at `samples`, which lie below a stride, and at every stride after it, instead of at whole strides. To be said before
    /// anything is pushed.
    pub fn put_off_by(&mut self, samples: u64) {
        self.points.put_off_by(samples);
    }

    /// Takes samples in. After [`Pipeline::finish`] they are ignored.
    pub fn push(&mut self, samples: &[f32]) {
        if self.finished {
            return;
        }
        let mut rest = samples;
        while !rest.is_empty() {
            let until_stride = usize::try_from(self.points.next_samples() - self.position).unwrap_or(usize::MAX);
            let (part, tail) = rest.split_at(rest.len().min(until_stride));
            let Self { listener, heard, .. } = self;
            listener.push(part, |told| heard.take(told));
            self.position += part.len() as u64;
            rest = tail;
            if part.len() == until_stride {
                self.points.advance();
                self.decide();
            }
        }
    }

    /// Decides now on what was heard since the last stride; nothing new, nothing decided.
    pub fn flush(&mut self) {
        if self.position > self.last {
            self.decide();
        }
    }

    /// Ends the leg: decides on the rest, look-ahead included.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) || self.position == 0 {
            return;
        }
        let Self { listener, heard, .. } = self;
        listener.finish(|told| heard.take(told));
        if self.heard.frames > 0 {
            self.decide();
        }
    }

    /// Forgets the window, as after a hold or a gap; positions go on, and so does the speaker's baseline.
    pub fn clear(&mut self) {
        self.heard.rule.clear(self.position);
    }

    /// The next stride, in order.
    pub fn poll(&mut self) -> Option<Stride> {
        self.ready.pop_front()
    }

    /// Samples pushed so far.
    pub fn position_samples(&self) -> u64 {
        self.position
    }

    /// Tells a stride at the current position.
    fn decide(&mut self) {
        let Heard { rule, frames, speech, .. } = &mut self.heard;
        let clock = self.listener.clock();
        let frames = *frames;
        // Speech that turned out to be none is taken from what comes next where there is not enough of it now.
        let owed = (*speech).min(0);
        let speech = (*speech).max(0);
        #[expect(clippy::cast_possible_truncation, reason = "seconds of one stride")]
        let speech_seconds = (speech as f64 * clock.hop_seconds()) as f32;
        let stride = match rule.window(self.position) {
            Ok(window) => Stride {
                start_samples: clock.start(window.frames.start),
                end_samples: clock.end(window.frames.end - 1).min(self.position),
                depends_on_samples: self.position,
                speech_ratio: window.speech_ratio,
                snr_db: window.snr_db,
                speech_seconds,
                outcome: Ok(self.heard.memory.window(
                    window.frames,
                    &self.window,
                    &self.standardization,
                    &self.buffers,
                )),
            },
            Err(reason) => Stride {
                start_samples: self.last,
                end_samples: self.position,
                depends_on_samples: self.position,
                speech_ratio: (speech as f32 / frames.max(1) as f32).clamp(0.0, 1.0),
                snr_db: None,
                speech_seconds,
                outcome: Err(reason),
            },
        };
        self.ready.push_back(stride);
        (self.heard.frames, self.heard.speech) = (0, owed);
        self.last = self.position;
    }
}

impl Drop for Pipeline {
    /// Windows that nobody took leave no trace in memory either.
    fn drop(&mut self) {
        for stride in &mut self.ready {
            if let Ok(window) = &mut stride.outcome {
                window.zeroize();
            }
        }
    }
}

impl Heard {
    fn take(&mut self, told: listen::Heard<'_>) {
        match told {
            listen::Heard::Frame(raw, finding) => {
                let speech = finding.activity == Activity::Speech;
                self.memory.push(raw, speech);
                self.rule.push(finding);
                self.frames += 1;
                self.speech += i64::from(speech);
            }
            listen::Heard::Again(listen::Again { frame, finding, .. }) => {
                let speech = finding.activity == Activity::Speech;
                let before = self.rule.again(frame, finding);
                self.speech += i64::from(speech) - i64::from(before.unwrap_or(speech));
                self.memory.again(frame, speech);
            }
        }
    }
}

impl StridePoints {
    pub(super) fn new(source_hz: u32, stride_seconds: f64) -> Result<Self, Error> {
        if !STRIDE_SECONDS.contains(&stride_seconds) {
            return Err(Error::Stride { actual: stride_seconds });
        }
        Ok(Self { samples: stride_seconds * f64::from(source_hz), next: 1, put_off: 0 })
    }

    fn put_off_by(&mut self, samples: u64) {
        self.put_off = samples;
        self.next = u64::from(samples == 0);
    }

    /// Samples at the next stride.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position is positive and below 2^53"
    )]
    pub(super) fn next_samples(&self) -> u64 {
        self.put_off + (self.next as f64 * self.samples).round() as u64
    }

    /// Goes on to the stride after and returns where this one was.
    pub(super) fn advance(&mut self) -> u64 {
        let at = self.next_samples();
        self.next += 1;
        at
    }
}
