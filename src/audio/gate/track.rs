//! What is known of the blocks of a stream, and since when.
//!
//! A block is told at once, and again when 192, 384 and 768 ms more were heard: what seemed speech may turn out to be a song. What is
//! asked for is therefore what was known when so many blocks were heard; what comes later changes nothing of that.

use std::collections::VecDeque;

use super::{Activity, Finding, network::LAGS};

/// Blocks of 3 s, in which speech pauses often enough for the quietest to be the background.
const FLOOR_BLOCKS: usize = 47;
/// Blocks behind and before speech that are part of it where nothing else is heard: words end softly, and begin so.
const HANGOVER_BLOCKS: u64 = 2;
const LEAD_BLOCKS: u64 = 1;
/// Blocks that are kept at least: those that a head still tells of, and those the background is known from.
const KEPT_BLOCKS: usize = FLOOR_BLOCKS + LAGS[LAGS.len() - 1];
/// Nothing below -72 dBFS is heard: the level of G.711's lowest step.
const QUIETEST_POWER: f64 = 6.3e-8;
/// What is neither speech nor music nor tone is silence below -50 dBFS and noise above: the noise of a line is mostly below.
const QUIETEST_NOISE_POWER: f64 = 1e-5;

/// The last blocks of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Track {
    blocks: VecDeque<Block>,
    /// The number of the first that is kept.
    first: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Block {
    /// By each head, as it came to tell.
    told: [Option<Activity>; LAGS.len()],
    power: f64,
    /// Of the background then.
    background: f64,
}

impl Track {
    /// Blocks heard.
    pub fn heard(&self) -> u64 {
        self.first + self.blocks.len() as u64
    }

    /// What a block is, as far as was known when `heard` blocks were heard; of one behind them, what the last of them is. `None` where
    /// none was heard, or the block is long forgotten.
    pub fn finding(&self, block: u64, heard: u64) -> Option<Finding> {
        let last = heard.min(self.heard()).checked_sub(1)?;
        let block = block.min(last);
        let found = self.blocks.get(usize::try_from(block.checked_sub(self.first)?).ok()?)?;
        let mut activity = self.told(block, last)?;
        if matches!(activity, Activity::Noise | Activity::Silence) && found.power >= QUIETEST_POWER {
            let mut around = block.saturating_sub(HANGOVER_BLOCKS)..=(block + LEAD_BLOCKS).min(last);
            if around.any(|beside| self.told(beside, last) == Some(Activity::Speech)) {
                activity = Activity::Speech;
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "levels need no more than f32")]
        let (power, background) = (found.power as f32, found.background as f32);
        Some(Finding { activity, power, background })
    }

    /// Bytes of the blocks that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Block>()
    }

    /// The blocks that the last of `heard` blocks changed: itself, and those that a head looked back to or that are beside them.
    pub fn changed_by(&self, heard: u64) -> impl Iterator<Item = (u64, Finding)> {
        let told = LAGS.into_iter().filter_map(move |lag| heard.checked_sub(1 + lag as u64));
        let near = told.flat_map(|block| block.saturating_sub(LEAD_BLOCKS)..=block + HANGOVER_BLOCKS);
        near.filter(move |block| *block < heard).filter_map(move |block| {
            let now = self.finding(block, heard)?;
            (heard == 1 || self.finding(block, heard - 1) != Some(now)).then_some((block, now))
        })
    }

    /// What a head last told of a block when `last` was the last.
    fn told(&self, block: u64, last: u64) -> Option<Activity> {
        let told = &self.blocks.get(usize::try_from(block.checked_sub(self.first)?).ok()?)?.told;
        let known = LAGS.iter().zip(told).filter(|(lag, _)| **lag as u64 <= last - block);
        known.filter_map(|(_, activity)| *activity).next_back()
    }

    /// Takes the next block in, of which each head tells what the block as far back as it looks is.
    pub(super) fn push(&mut self, power: f64, told: [Activity; LAGS.len()]) {
        if self.blocks.len() == KEPT_BLOCKS {
            self.blocks.pop_front();
            self.first += 1;
        }
        let recent = self.blocks.iter().rev().take(FLOOR_BLOCKS - 1).map(|block| block.power);
        let background = recent.fold(power, f64::min);
        self.blocks.push_back(Block { told: [None; LAGS.len()], power, background });
        let last = self.blocks.len() - 1;
        for (head, (lag, activity)) in LAGS.into_iter().zip(told).enumerate() {
            if let Some(block) = last.checked_sub(lag) {
                let block = &mut self.blocks[block];
                block.told[head] = Some(match activity {
                    _ if block.power < QUIETEST_POWER => Activity::Silence,
                    Activity::Noise if block.power < QUIETEST_NOISE_POWER => Activity::Silence,
                    other => other,
                });
            }
        }
    }
}
