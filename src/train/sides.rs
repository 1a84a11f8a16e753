//! The clips of both sides of the split, and what a recipe makes of each.

use std::sync::atomic::Ordering;

use super::{
    Event, Work,
    cache::Kept,
    clips::{self, Clips, Heard},
};
use crate::corpus::{Clip, FEWEST_VALID_ACTORS, FEWEST_VALID_CLIPS, Split};

/// What the clips of both sides are, whatever a recipe made of them.
pub(super) struct Sides {
    pub(super) train_clips: usize,
    pub(super) valid_clips: usize,
    pub(super) train_sha256: String,
    pub(super) valid_sha256: String,
    pub(super) left_out: usize,
    /// Names of the validation clips that are used.
    pub(super) valid_names: Vec<String>,
}

impl Work<'_> {
    /// Reads the clips of both sides and has something made of each.
    pub(super) fn gather<T: Send>(
        &self,
        make: impl Fn(Heard) -> anyhow::Result<T> + Sync,
        tell: &(dyn Fn(Event<'_>) + Sync),
    ) -> anyhow::Result<(Clips<T>, Sides)> {
        let clips = self.begin(tell);
        self.sides(clips::gather(&clips, make, || self.read(tell))?, tell)
    }

    /// The same where what is made may be kept: `what` says what else than recording and name decides it.
    pub(super) fn gather_kept<T: Send + Kept>(
        &self,
        what: impl Fn(&Clip) -> String + Sync,
        make: impl Fn(Heard) -> anyhow::Result<T> + Sync,
        tell: &(dyn Fn(Event<'_>) + Sync),
    ) -> anyhow::Result<(Clips<T>, Sides)> {
        let clips = self.begin(tell);
        let gathered = clips::gather_kept(&clips, &self.cache, what, make, || self.read(tell))?;
        self.tell_of_cache(tell);
        self.sides(gathered, tell)
    }

    /// Tells that a clip was read or heard.
    ///
    /// # Errors
    /// Somebody asked to stop.
    pub(super) fn read(&self, tell: &(dyn Fn(Event<'_>) + Sync)) -> anyhow::Result<()> {
        tell(Event::Read);
        let stopped =
            "stopped while clips were read and heard: nothing was learnt, and what was saved before is as it was";
        anyhow::ensure!(!self.is_stopped(), stopped);
        Ok(())
    }

    /// Whether somebody asked to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Says why nothing is kept, if something should have been and could not.
    pub(super) fn tell_of_cache(&self, tell: &(dyn Fn(Event<'_>) + Sync)) {
        if let Some(failure) = self.cache.failure() {
            tell(Event::Note(failure.to_owned()));
        }
    }

    fn begin(&self, tell: &(dyn Fn(Event<'_>) + Sync)) -> Vec<&Clip> {
        let wanted = |clip: &&Clip| self.split.train.contains(&clip.actor) || self.split.valid.contains(&clip.actor);
        let clips: Vec<&Clip> = self.corpus.clips.iter().filter(wanted).collect();
        tell(Event::Reading(clips.len()));
        clips
    }

    fn sides<T>(&self, gathered: Clips<T>, tell: &(dyn Fn(Event<'_>) + Sync)) -> anyhow::Result<(Clips<T>, Sides)> {
        let split = &self.split;
        for reason in &gathered.left_out {
            tell(Event::Note(format!("left out: {reason}")));
        }
        let sides = Sides::of(&gathered, split);
        tell(Event::Note(format!(
            "{} clips of {} actors to train on, {} of {} to stop and calibrate by, {} left out",
            sides.train_clips,
            split.train.len(),
            sides.valid_clips,
            split.valid.len(),
            sides.left_out,
        )));
        anyhow::ensure!(sides.valid_clips > 0, "no clip of the validation actors can be used");
        if let Some(warning) = says_little(split.valid.len(), sides.valid_clips) {
            tell(Event::Note(warning));
        }
        Ok((gathered, sides))
    }
}

/// A warning where so few actors or clips to validate with say little about other voices.
fn says_little(actors: usize, clips: usize) -> Option<String> {
    (actors < FEWEST_VALID_ACTORS || clips < FEWEST_VALID_CLIPS).then(|| {
        let of = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (actors, clips) = (of(actors, "actor"), of(clips, "clip"));
        format!(
            "warning: {actors} and {clips} to stop and calibrate by are too few: neither the scores nor the model's sureness say \
             much about other voices; expected at least {FEWEST_VALID_ACTORS} and {FEWEST_VALID_CLIPS}"
        )
    })
}

impl Sides {
    fn of<T>(clips: &Clips<T>, split: &Split) -> Self {
        let (train_clips, train_sha256) = clips.fingerprint(&split.train);
        let (valid_clips, valid_sha256) = clips.fingerprint(&split.valid);
        let of_valid = clips.used.iter().filter(|used| split.valid.contains(&clips.actors[used.actor]));
        let mut valid_names: Vec<String> = of_valid.map(|used| used.name.clone()).collect();
        valid_names.sort_unstable();
        Self { train_clips, valid_clips, train_sha256, valid_sha256, left_out: clips.left_out.len(), valid_names }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_actors_or_clips_to_validate_with_are_warned_of() {
        assert_eq!(says_little(5, 100), None);
        for (actors, clips, told) in
            [(4, 100, "4 actors and 100 clips"), (5, 99, "5 actors and 99 clips"), (1, 1, "1 actor and 1 clip to")]
        {
            let warning = says_little(actors, clips).unwrap();
            assert!(warning.contains(told), "{warning}");
        }
    }
}
