//! Wakes a call's task in time.

use std::{pin::Pin, time::Instant};

use tokio::time::{Sleep, sleep_until};

/// Rings at a moment or before. It is set anew only for an earlier one: a call's deadlines move with every message, and almost never pass.
#[derive(Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    set: Option<Instant>,
}

impl Alarm {
    /// Nothing is lost when the future is dropped.
    pub(super) async fn ring(&mut self, at: Option<Instant>) {
        let Some(at) = at else { return std::future::pending().await };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at.into())));
        if self.set.is_none_or(|set| at < set) {
            sleep.as_mut().reset(at.into());
            self.set = Some(at);
        }
        sleep.as_mut().await;
        self.set = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn an_alarm_rings_for_the_earliest_moment_it_was_told() {
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        let mut alarm = Alarm::default();
        assert!(alarm.ring(None).now_or_never().is_none());
        assert!(alarm.ring(Some(now + hour)).now_or_never().is_none());
        alarm.ring(Some(now)).await;
        assert!(alarm.ring(Some(now + hour)).now_or_never().is_none(), "one that rang is set anew");
        assert!(alarm.ring(Some(now + 2 * hour)).now_or_never().is_none());
        assert_eq!(alarm.set, Some(now + hour), "a later moment sets nothing anew");
    }
}
