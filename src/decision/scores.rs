//! Recorded scores: what was heard at every stride of a leg, and what rules make of it. A file of them holds one [`Row`] a line, as JSON.
//!
//! A [`Leg`] runs the same [`Decider`] as a call, so that rules tell the same alerts at the same positions. What it cannot know is what
//! people did to alerts: nothing is acknowledged or snoozed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Alert, Calibration, Decider, Observation, Options, Rules, alert::Reason, rules::UnknownEmotion, words};
use crate::{features::NotScored, policy::Role};

/// One stride of one leg.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The recording.
    pub file: String,
    /// The leg in it.
    pub leg: String,
    /// Who speaks.
    pub role: Role,
    /// What the call is tagged with.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Where the stretch begins that was looked at.
    pub start_seconds: f64,
    /// Where it ends.
    pub end_seconds: f64,
    /// Speech since the last stride.
    pub speech_seconds: f32,
    /// Part of the stretch that was speech; may be left out, and then alerts say 0.
    #[serde(default)]
    pub speech_ratio: f32,
    /// Signal to noise, where it was measured. dB.
    #[serde(default)]
    pub snr_db: Option<f32>,
    /// Why nothing was scored.
    pub not_scored_reason: Option<NotScored>,
    /// Calibrated, not smoothed, by label; null where nothing was scored.
    pub probabilities: Option<BTreeMap<String, f32>>,
    /// The model.
    pub model: String,
    /// SHA-256 of its ONNX file, hexadecimal.
    pub sha256: String,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// It is no row.
    #[error("{0}; expected a row of scores, as `undertone classify --scores` writes them")]
    Unreadable(String),
    /// Positions that no call can have.
    #[error(
        "start_seconds {start_seconds} and end_seconds {end_seconds} are no stretch: expected 0 <= start_seconds <= end_seconds"
    )]
    Stretch {
        /// As written.
        start_seconds: f64,
        /// As written.
        end_seconds: f64,
    },
    /// It ends before the row that came before it.
    #[error(
        "end_seconds is {end_seconds}, and {earlier_seconds} in the leg's row before: expected one run of a leg, in order of time"
    )]
    Order {
        /// As written.
        end_seconds: f64,
        /// Of the row before.
        earlier_seconds: f64,
    },
    /// A number that is no probability.
    #[error("the probability of {label:?} is {probability}; expected 0 to 1")]
    Probability {
        /// Whose it is.
        label: String,
        /// As written.
        probability: f32,
    },
    /// Neither scored nor not.
    #[error("expected either probabilities or not_scored_reason, found both or none of them")]
    Outcome,
    /// One leg, two models.
    #[error("the probabilities are of {actual}, those before of {expected}: replay the scores of one model at a time")]
    Labels {
        /// Before.
        expected: String,
        /// Here.
        actual: String,
    },
    /// A rule names what the model that gave the scores does not know.
    #[error("rule {:?} names the emotion {:?}, which these scores do not tell; they tell {}", .0.rule, .0.emotion, .0.known)]
    Emotion(UnknownEmotion),
}

/// One leg that is heard again under other rules.
#[derive(Debug)]
pub struct Leg {
    rules: Arc<Rules>,
    held: Duration,
    /// Where the last row ended. Seconds.
    last_seconds: f64,
    /// Rows before the first that was scored: only that one tells the labels.
    waiting: Vec<Row>,
    /// Made with the first scored row.
    decider: Option<(Vec<String>, Decider)>,
}

/// Far longer than any call, and near enough to 0 for a position to keep its nanoseconds.
const LONGEST_SECONDS: f64 = 1e6;

impl Row {
    /// Reads a line of a file.
    ///
    /// # Errors
    /// [`Invalid::Unreadable`] says what is wrong with it.
    pub fn parse(line: &str) -> Result<Self, Invalid> {
        serde_json::from_str(line).map_err(|error| {
            let whole = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line).is_ok();
            Invalid::Unreadable(if whole {
                let message = error.to_string();
                // The place in the line is told by itself: the line is the file's.
                let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
                format!("column {}: {}", error.column(), words::plain(message))
            } else {
                "this is no JSON object".to_owned()
            })
        })
    }
}

impl Leg {
    /// Nothing heard yet.
    pub fn new(rules: &Arc<Rules>) -> Self {
        Self { rules: Arc::clone(rules), held: Duration::ZERO, last_seconds: 0.0, waiting: Vec::new(), decider: None }
    }

    /// Takes the leg's next row in.
    ///
    /// # Errors
    /// [`Invalid`] says what is wrong with the row.
    pub fn add(&mut self, row: Row) -> Result<(), Invalid> {
        let Row { start_seconds, end_seconds, .. } = row;
        if !(0.0 <= start_seconds && start_seconds <= end_seconds && end_seconds <= LONGEST_SECONDS) {
            return Err(Invalid::Stretch { start_seconds, end_seconds });
        }
        let earlier_seconds = self.last_seconds;
        if end_seconds < earlier_seconds {
            return Err(Invalid::Order { end_seconds, earlier_seconds });
        }
        self.last_seconds = end_seconds;
        let Some(probabilities) = &row.probabilities else {
            if row.not_scored_reason.is_none() {
                return Err(Invalid::Outcome);
            }
            match &mut self.decider {
                Some((_, decider)) => observe(decider, &mut self.held, &row),
                None => self.waiting.push(row),
            }
            return Ok(());
        };
        if row.not_scored_reason.is_some() {
            return Err(Invalid::Outcome);
        }
        if let Some((label, probability)) = probabilities.iter().find(|(_, p)| !(0.0..=1.0).contains(*p)) {
            return Err(Invalid::Probability { label: label.clone(), probability: *probability });
        }
        if let Some((labels, _)) = &self.decider
            && !labels.iter().eq(probabilities.keys())
        {
            let actual: Vec<&str> = probabilities.keys().map(String::as_str).collect();
            return Err(Invalid::Labels { expected: labels.join(", "), actual: actual.join(", ") });
        }
        if self.decider.is_none() {
            let labels: Vec<String> = probabilities.keys().cloned().collect();
            self.rules.check_emotions(labels.iter().map(String::as_str)).map_err(Invalid::Emotion)?;
            let options = Options {
                labels: labels.clone(),
                // Only the smoothed label asks for it.
                calibration: Calibration { temperature: 1.0, uncertain_below: 0.0 },
                role: row.role,
                tags: row.tags.clone(),
            };
            let mut decider = Decider::new(options, &self.rules);
            for earlier in self.waiting.drain(..) {
                observe(&mut decider, &mut self.held, &earlier);
            }
            self.decider = Some((labels, decider));
        }
        if let Some((_, decider)) = &mut self.decider {
            observe(decider, &mut self.held, &row);
        }
        Ok(())
    }

    /// The next change of an alert, in order.
    pub fn poll_alert(&mut self) -> Option<Alert> {
        self.decider.as_mut().and_then(|(_, decider)| decider.poll_alert())
    }

    /// The leg is over: alerts that are open are resolved.
    pub fn end(&mut self) {
        if let Some((_, decider)) = &mut self.decider {
            decider.end(Reason::CallEnded);
        }
    }
}

fn observe(decider: &mut Decider, held: &mut Duration, row: &Row) {
    let (start, end) = (Duration::from_secs_f64(row.start_seconds), Duration::from_secs_f64(row.end_seconds));
    if row.not_scored_reason == Some(NotScored::OnHold) {
        *held += end.saturating_sub(start);
    }
    // The labels are in the map's order.
    let probabilities: Option<Vec<f32>> = row.probabilities.as_ref().map(|row| row.values().copied().collect());
    decider.observe(&Observation {
        start,
        end,
        held: *held,
        speech_seconds: row.speech_seconds,
        speech_ratio: row.speech_ratio,
        snr_db: row.snr_db,
        outcome: probabilities.as_deref().ok_or(row.not_scored_reason.unwrap_or(NotScored::Silence)),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(end_seconds: f64, angry: Option<f32>) -> Row {
        Row {
            file: "call.wav".into(),
            leg: "customer".into(),
            role: Role::Customer,
            tags: BTreeMap::new(),
            start_seconds: (end_seconds - 2.0).max(0.0),
            end_seconds,
            speech_seconds: 0.5,
            speech_ratio: 1.0,
            snr_db: None,
            not_scored_reason: angry.is_none().then_some(NotScored::Silence),
            probabilities: angry.map(|angry| BTreeMap::from([("angry".into(), angry), ("calm".into(), 1.0 - angry)])),
            model: "m".into(),
            sha256: "0".into(),
        }
    }

    fn told(rows: impl IntoIterator<Item = Row>, rules: &str) -> Vec<(&'static str, &'static str, f64)> {
        let mut leg = Leg::new(&Arc::new(Rules::parse(rules).unwrap()));
        rows.into_iter().for_each(|row| leg.add(row).unwrap());
        leg.end();
        let told = std::iter::from_fn(|| leg.poll_alert());
        told.map(|alert| (alert.state.name(), alert.reason.name(), alert.at.as_secs_f64())).collect()
    }

    const ANGER: &str = "[[rule]]\nname = 'anger'\nemotions = ['angry']\nenter = 0.5\nhalf_life_seconds = 1.0\n";

    #[test]
    fn a_recorded_leg_fires_and_is_resolved_at_its_end() {
        let rows = (1..=40).map(|stride| row(f64::from(stride) * 0.5, (stride > 4).then_some(0.9)));
        let expected = [("FIRING", "ROSE", 6.0), ("RESOLVED", "CALL_ENDED", 20.0)];
        assert_eq!(told(rows, ANGER), expected);
    }

    #[test]
    fn a_leg_of_which_nothing_was_scored_tells_nothing() {
        assert_eq!(told((1..=40).map(|stride| row(f64::from(stride), None)), ANGER), []);
    }

    #[test]
    fn a_hold_freezes_the_grace() {
        let held = Row { start_seconds: 1.0, not_scored_reason: Some(NotScored::OnHold), ..row(101.0, None) };
        let before = [row(0.5, None), row(1.0, None), held];
        let after = (1..=20).map(|stride| row(101.0 + f64::from(stride) * 0.5, Some(0.9)));
        assert_eq!(told(before.into_iter().chain(after), ANGER)[0], ("FIRING", "ROSE", 106.0));
    }

    #[test]
    fn rows_that_make_no_sense_are_told() {
        let mut leg = Leg::new(&Arc::new(Rules::parse(ANGER).unwrap()));
        let backward = Row { start_seconds: 5.0, ..row(4.0, None) };
        assert!(matches!(leg.add(backward), Err(Invalid::Stretch { .. })));
        assert!(matches!(leg.add(Row { end_seconds: f64::NAN, ..row(4.0, None) }), Err(Invalid::Stretch { .. })));
        assert_eq!(leg.add(Row { not_scored_reason: None, ..row(4.0, None) }), Err(Invalid::Outcome));
        leg.add(row(5.0, Some(0.5))).unwrap();
        let other = Row { probabilities: Some(BTreeMap::from([("sad".into(), 1.0)])), ..row(6.0, Some(0.5)) };
        assert!(leg.add(other).unwrap_err().to_string().contains("angry, calm"));
        let mut sad = Leg::new(&Arc::new(Rules::parse(&ANGER.replace("angry", "sad")).unwrap()));
        let told = sad.add(row(5.0, Some(0.5))).unwrap_err().to_string();
        assert!(told.ends_with("the emotion \"sad\", which these scores do not tell; they tell angry, calm"), "{told}");
    }

    #[test]
    fn what_is_no_row_is_told_in_plain_words() {
        let whole = serde_json::to_string(&row(5.0, Some(0.5))).unwrap();
        for (line, expected) in [
            ("[[rule]]".to_owned(), "this is no JSON object"),
            ("name = 'anger'".to_owned(), "this is no JSON object"),
            (whole[..whole.len() / 2].to_owned(), "this is no JSON object"),
            (whole.replace("\"leg\"", "\"lag\""), ": leg is missing"),
            (whole.replace("\"speech_seconds\":0.5", "\"speech_seconds\":\"0.5\""), ": is \"0.5\", expected a number"),
        ] {
            let told = Row::parse(&line).unwrap_err().to_string();
            assert!(told.contains(expected) && told.contains("classify --scores"), "{told} of {line}");
        }
    }

    #[test]
    fn numbers_that_are_no_probabilities_and_times_that_run_backwards_are_told() {
        let mut leg = Leg::new(&Arc::new(Rules::parse(ANGER).unwrap()));
        let error = leg.add(row(5.0, Some(7.5))).unwrap_err();
        assert_eq!(error.to_string(), "the probability of \"angry\" is 7.5; expected 0 to 1");
        assert!(matches!(leg.add(row(5.0, Some(-0.1))), Err(Invalid::Probability { .. })));
        leg.add(row(5.5, Some(1.0))).unwrap();
        leg.add(row(5.5, None)).unwrap();
        assert_eq!(leg.add(row(5.0, Some(0.5))), Err(Invalid::Order { end_seconds: 5.0, earlier_seconds: 5.5 }));
    }

    #[test]
    fn a_row_survives_its_file() {
        let row = Row { probabilities: row(2.0, Some(0.123_456_79)).probabilities, ..row(2.125, Some(0.1)) };
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), row);
        let bare = text.replace("\"speech_ratio\":1.0,", "");
        assert_eq!(serde_json::from_str::<Row>(&bare).unwrap(), Row { speech_ratio: 0.0, ..row });
    }
}
