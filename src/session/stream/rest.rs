//! What a client that is gone had sent.

use std::pin::Pin;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tokio::task::coop;

use super::{Fault, Input, Took, let_by};
use crate::{session::Session, telemetry::metrics::Seconds};

impl Session {
    /// Takes it in, as far as it has come, which may end the call. It may be minutes of audio, so others are let by as while it is live.
    pub(super) async fn hear_out<I, E>(&mut self, mut inputs: Pin<&mut I>, audio: &mut Seconds)
    where
        I: Stream<Item = Result<Input, Fault<E>>>,
    {
        let most = self.sessions.limits().max_windows_out;
        while self.driver.is_open() && self.driver.windows_out() < most {
            // What has come is there, however much this task has done in its turn.
            let Some(input) = coop::unconstrained(inputs.next()).now_or_never() else { return };
            let Took::More { over } = self.take(input, audio) else { return };
            self.deliver();
            let_by(over).await;
        }
    }
}
