//! Many who watch one server, and one who never reads: what that does to its calls is told by `undertone bench` beside it.
//!
//! ```sh
//! cargo run --profile quick --example watch-crowd -- http://127.0.0.1:50051 1000 20 45    # of alerts, of calls, seconds
//! ```

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};
use undertone::server::proto::{
    WatchAlertsRequest, WatchCallsRequest, supervision_service_client::SupervisionServiceClient,
};

/// Streams on one connection, as a gateway of supervisors would carry them.
const STREAMS: usize = 100;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [url, alerts, calls, seconds] = &args[..] else {
        anyhow::bail!("expected: URL ALERT_WATCHERS CALL_WATCHERS SECONDS")
    };
    let (alerts, calls): (usize, usize) = (alerts.parse()?, calls.parse()?);
    let lasts = Duration::from_secs(seconds.parse()?);
    let (told, mut clients) = (Arc::new(AtomicU64::new(0)), Vec::new());
    let mut never = connect(url).await?;
    let _unread = never.watch_alerts(WatchAlertsRequest::default()).await?;
    for at in 0..alerts + calls {
        if at % STREAMS == 0 {
            clients.push(connect(url).await?);
        }
        let client = &mut clients[at / STREAMS];
        if at < alerts {
            let watching = client.watch_alerts(WatchAlertsRequest::default()).await?.into_inner();
            tokio::spawn(read(watching, Arc::clone(&told)));
        } else {
            let watching = client.watch_calls(WatchCallsRequest::default()).await?.into_inner();
            tokio::spawn(read(watching, Arc::clone(&told)));
        }
    }
    print(&format!("{alerts} watch alerts, {calls} watch calls, and one never reads"));
    tokio::time::sleep(lasts).await;
    print(&format!("{} messages came in {} s", told.load(Ordering::Relaxed), lasts.as_secs()));
    Ok(())
}

async fn connect(url: &str) -> anyhow::Result<SupervisionServiceClient<Channel>> {
    let channel =
        Endpoint::from_shared(url.to_owned())?.connect().await.with_context(|| format!("cannot reach {url}"))?;
    Ok(SupervisionServiceClient::new(channel))
}

async fn read<T>(mut watching: Streaming<T>, told: Arc<AtomicU64>) {
    while let Ok(Some(_)) = watching.message().await {
        told.fetch_add(1, Ordering::Relaxed);
    }
}

#[expect(clippy::print_stdout, reason = "what the command is for")]
fn print(line: &str) {
    println!("{line}");
}
