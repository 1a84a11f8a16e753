//! One of two servers is cut off from NATS while the other goes on.

use undertone::server::proto::{AlertState, analyze_response::Message as Response};

use super::*;
use crate::{
    relay::{Relay, Way},
    supervise::{Watcher, from, nodes::Seen},
};

impl Harness {
    /// Whether this call lives here and is analysed.
    fn hears(&self, call_id: &str) -> bool {
        let calls = self.server.sessions().live_calls();
        calls.iter().any(|call| call.call.call_id == call_id && call.legs().iter().any(|leg| !leg.withdrawn))
    }
}

/// A server `a` that reaches NATS by a relay.
async fn behind_a_relay(nats: &Nats) -> (Harness, Relay) {
    let relay = Relay::to(nats.address()).await;
    let options = Options { url: format!("nats://{}", relay.address()), ..nats.options() };
    (with_journal(options).await.alarms(), relay)
}

/// The alert that is told on the call's own stream.
async fn alert(call: &mut Call) -> pb::Alert {
    loop {
        match call.next().await {
            Some(Ok(Response::Alert(alert))) => return alert,
            Some(Ok(_)) => {}
            closed => panic!("no alert, but {closed:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_cut_off_goes_on_and_once_it_is_back_all_is_told_and_done() {
    goes_on(Way::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whom_nothing_reaches_goes_on_and_once_it_is_back_all_is_told_and_done() {
    goes_on(Way::Blocked).await;
}

async fn goes_on(while_it_is: Way) {
    let Some(nats) = Nats::start() else { return };
    let (a, relay) = behind_a_relay(&nats).await;
    let b = on(&nats, "b").await.alarms();
    let (mut on_b, mut seen) = (b.supervisor().await, Seen::default());
    let mut watcher = Watcher::of(&mut on_b, from(0)).await;
    let mut calm = a.acknowledged("calm").await;
    let mut withdrawn = heard(&a, customer("withdrawn")).await;
    seen.until(&mut watcher, "withdrawn", AlertState::Firing).await;
    eventually!(live(&mut on_b).await, 2);

    relay.becomes(while_it_is);
    // It is asked of b, which cannot know what has become of a.
    let status = within("an answer", on_b.withdraw_consent(withdraw("withdrawn", None))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("\"a\"") && status.message().contains("did not answer"), "{status:?}");
    b.refuses(customer("withdrawn")).await;
    // Asked again, while its lease lasts: by now b's own deletion has taken what told where it lives.
    let status = within("an answer", on_b.withdraw_consent(withdraw("withdrawn", None))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    eventually!(a.get("/readyz").0, 503);
    assert_eq!(a.metric("undertone_journal_writable "), "0");
    calm.speak(&voice(6.0)).await;
    let fired = alert(&mut calm).await;
    assert_eq!((fired.call_id.as_str(), fired.state()), ("calm", AlertState::Firing));
    withdrawn.speak(&voice(6.0)).await;
    withdrawn.event().await;
    assert!(a.hears("withdrawn") && a.hears("calm"));
    assert_eq!((a.get("/readyz").0, b.get("/readyz").0), (503, 200));
    assert_eq!(b.metric("undertone_journal_writable "), "1");

    relay.becomes(Way::Open);
    eventually!(a.hears("withdrawn"), false);
    eventually!(a.get("/readyz").0, 200);
    assert_eq!(a.metric("undertone_journal_writable "), "1");
    let told = seen.until(&mut watcher, "calm", AlertState::Firing).await;
    assert_eq!((&told.alert_id, told.revision), (&fired.alert_id, fired.revision));
    withdrawn.speak(&voice(2.0)).await;
    withdrawn.end().await.summaries(EndReason::ConsentWithdrawn);
    calm.end().await.summaries(EndReason::Completed);
    seen.until(&mut watcher, "calm", AlertState::Resolved).await;
    eventually!(b.still_told("withdrawn").await, []);
    a.refuses(customer("withdrawn")).await;
    // Nothing of it waits any more once a is gone.
    a.stop().await;
    assert_eq!(b.still_told("withdrawn").await, []);
    let of_calm = |changes: &[(String, AlertState)]| {
        changes.iter().filter(|(call, _)| call == "calm").map(|(_, state)| *state).collect::<Vec<_>>()
    };
    assert_eq!(of_calm(&seen.changes), [AlertState::Firing, AlertState::Resolved]);
    b.stop().await;
}

/// Others say by then that its calls are lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_cut_off_for_long_is_heard_of_again() {
    let Some(nats) = Nats::start() else { return };
    let (a, relay) = behind_a_relay(&nats).await;
    let b = on(&nats, "b").await.alarms();
    let (mut on_b, mut seen) = (b.supervisor().await, Seen::default());
    let mut watcher = Watcher::of(&mut on_b, from(0)).await;
    let mut call = heard(&a, customer("c")).await;
    let fired = seen.until(&mut watcher, "c", AlertState::Firing).await;
    eventually!(live(&mut on_b).await, 1);
    relay.becomes(Way::Cut);
    let over = seen.until(&mut watcher, "c", AlertState::Resolved).await;
    assert_eq!((&over.alert_id, over.reason()), (&fired.alert_id, pb::AlertReason::CallEnded));
    assert_eq!((live(&mut on_b).await, a.hears("c")), (0, true));
    call.speak(&voice(6.0)).await;
    call.event().await;
    relay.becomes(Way::Open);
    eventually!(a.get("/readyz").0, 200);
    eventually!(live(&mut on_b).await, 1);
    call.end().await.summaries(EndReason::Completed);
    // Its own end follows.
    let (_, own) = watcher.alert().await;
    assert_eq!((&own.alert_id, own.state()), (&fired.alert_id, AlertState::Resolved));
    assert!(own.changed_samples > over.changed_samples, "{own:?}");
    b.stop().await;
    a.stop().await;
}
