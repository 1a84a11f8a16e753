//! Looks whether the stream is there, so that who writes nothing knows that nothing could be written.
//!
//! | what happens | noticed after |
//! |---|---|
//! | the connection ends: the NATS server is killed, or its host says so | at once |
//! | the stream is gone, or JetStream is off | [`LOOK`] at most |
//! | nobody answers: the server, its host or the way to it stands still | [`LOOK`] and [`super::PATIENCE`] at most |
//! | it is back | the wait before the connection is tried again, then [`AGAIN`] at most until the stream answers |

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Link, unreachable};
use crate::journal::{
    Error,
    writable::{Seen, Writable},
};

/// How often the stream is looked at: a request of 100 bytes and an answer of 1 kB.
const LOOK: Duration = Duration::from_secs(2);
/// The wait after a look that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// Looks, and tells what is seen, until `closing`. `connected` tells whether the connection stands.
pub(super) async fn watch(
    link: Link,
    mut connected: watch::Receiver<bool>,
    writable: Writable,
    closing: CancellationToken,
) {
    loop {
        let Some(seen) = closing.run_until_cancelled(look(&link, &mut connected)).await else { return };
        let wait = if seen.is_ok() { LOOK } else { AGAIN };
        match seen {
            Ok(seen) => {
                if writable.looked(seen) {
                    tracing::info!("the journal's stream answers again");
                }
            }
            Err(error) => {
                if writable.lost() {
                    tracing::error!(%error, "the journal's stream is out of reach");
                }
            }
        }
        tokio::select! {
            () = closing.cancelled() => return,
            // None comes any more once the client is gone, and then this ends soon.
            Ok(()) = connected.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What the stream holds, and may hold, once it says so.
async fn look(link: &Link, connected: &mut watch::Receiver<bool>) -> Result<Seen, Error> {
    // What is asked of a connection that is lost is not answered before it is made again.
    tokio::select! {
        biased;
        _ = connected.wait_for(|connected| !connected) => {
            Err(unreachable(&link.url, "the connection is lost".to_owned()))
        }
        info = link.stream.get_info() => {
            let info = link.told(info)?;
            // -1: as much as its server does.
            Ok(Seen { held: info.state.bytes, bound: u64::try_from(info.config.max_bytes).ok() })
        }
    }
}
