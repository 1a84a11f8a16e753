//! Messages as JSON, by the mapping that proto3 defines: camelCase names, 64-bit integers and durations as strings, enum values by
//! name, unset fields left out.

use std::marker::PhantomData;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

use super::proto::DESCRIPTORS;

/// The package of all messages.
const PACKAGE: &str = "undertone.v1";

/// Writes messages of one type, each on one line.
#[derive(Debug, Clone)]
pub struct Writer<M> {
    message: MessageDescriptor,
    of: PhantomData<fn(&M)>,
}

/// A message that is not of the type that it was said to be.
#[derive(Debug, thiserror::Error)]
#[error("a message cannot be written as {name}: {problem}")]
pub struct Error {
    name: String,
    problem: String,
}

impl<M: Message> Writer<M> {
    /// For the messages of this name in the API's package.
    pub fn new(name: &str) -> Result<Self, Error> {
        let error = |problem: &str| Error { name: name.to_owned(), problem: problem.to_owned() };
        let pool = DescriptorPool::decode(DESCRIPTORS).map_err(|problem| error(&problem.to_string()))?;
        let message = pool.get_message_by_name(&format!("{PACKAGE}.{name}"));
        Ok(Self { message: message.ok_or_else(|| error("there is no such message"))?, of: PhantomData })
    }

    /// One message on one line.
    pub fn line(&self, message: &M) -> Result<String, Error> {
        let error = |problem: String| Error { name: self.message.name().to_owned(), problem };
        let message = DynamicMessage::decode(self.message.clone(), message.encode_to_vec().as_slice())
            .map_err(|problem| error(problem.to_string()))?;
        serde_json::to_string(&message).map_err(|problem| error(problem.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Duration;
    use serde_json::json;

    use super::Writer;
    use crate::server::proto::{
        self as pb, Acknowledgement, AnalyzeResponse, Emotion, EmotionEvent, Score, analyze_response::Message,
        emotion_event::Outcome,
    };

    fn written(message: Message) -> serde_json::Value {
        let line = Writer::new("AnalyzeResponse").unwrap().line(&AnalyzeResponse { message: Some(message) }).unwrap();
        assert!(!line.contains('\n'));
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn an_event_is_mapped_as_proto3_defines() {
        let event = EmotionEvent {
            leg_id: "customer".into(),
            sequence: 7,
            start_samples: 8000,
            end_samples: 1 << 60,
            outcome: Some(Outcome::Emotion(Emotion {
                label: "angry".into(),
                confidence: 0.75,
                scores: vec![Score { label: "angry".into(), probability: 0.75 }],
            })),
            processing_latency: Some(Duration { seconds: 0, nanos: 500_000_000 }),
            ..Default::default()
        };
        let expected = json!({"event": {
            "legId": "customer",
            "sequence": "7",
            "startSamples": "8000",
            "endSamples": "1152921504606846976",
            "emotion": {"label": "angry", "confidence": 0.75, "scores": [{"label": "angry", "probability": 0.75}]},
            "processingLatency": "0.500s",
        }});
        assert_eq!(written(Message::Event(event)), expected);
    }

    #[test]
    fn a_member_of_a_oneof_is_written_even_where_it_is_zero_and_enums_go_by_name() {
        let silent = |reason: pb::NotScoredReason| {
            written(Message::Event(EmotionEvent {
                outcome: Some(Outcome::NotScored(reason.into())),
                ..Default::default()
            }))
        };
        assert_eq!(
            silent(pb::NotScoredReason::TooShort),
            json!({"event": {"notScored": "NOT_SCORED_REASON_TOO_SHORT"}})
        );
        assert_eq!(
            silent(pb::NotScoredReason::Unspecified),
            json!({"event": {"notScored": "NOT_SCORED_REASON_UNSPECIFIED"}})
        );
    }

    #[test]
    fn maps_and_doubles_keep_their_type() {
        let model =
            pb::Model { metrics: [("uar".to_owned(), 0.5)].into(), sample_rate_hertz: 8000, ..Default::default() };
        let acknowledgement = Acknowledgement { model: Some(model), ..Default::default() };
        let expected = json!({"acknowledgement": {"model": {"metrics": {"uar": 0.5}, "sampleRateHertz": 8000}}});
        assert_eq!(written(Message::Acknowledgement(acknowledgement)), expected);
    }
}
