//! One client breaks the protocol; the other, on the same connection, is unharmed.

use tonic::Code;
use undertone::server::proto::{EndReason, emotion_event::Outcome};

use crate::harness::{Harness, audio_chunk, customer, voice};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_the_protocol_harms_no_other() {
    let harness = Harness::start().await;
    let mut good = harness.acknowledged("good").await;
    let bad = harness.acknowledged("bad").await;
    let speech = voice(3.0);
    good.speak(&speech[..8000]).await;
    bad.speak(&speech[..8000]).await;
    bad.send(audio_chunk(&vec![0; 300 * 1024])).await;
    let closed = bad.closed().await;
    assert_eq!(closed.summaries(EndReason::Invalid)[0].received_samples, 8000);
    closed.refused(Code::InvalidArgument);

    let worse = harness.call(customer("good")).await;
    worse.closed().await.refused(Code::AlreadyExists);

    good.speak(&speech[8000..]).await;
    while !matches!(good.event().await.outcome, Some(Outcome::Emotion(_))) {}
    let closed = good.end().await;
    assert!(closed.status.is_ok(), "{closed:?}");
    assert_eq!(closed.summaries(EndReason::Completed)[0].received_samples, 24_000);
    harness.stop().await;
}
