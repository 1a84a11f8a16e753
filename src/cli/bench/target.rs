//! The server under load: one that runs, or one of the bench's own; and what its metrics tell of CPU and memory.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use undertone::{
    model::onnx::Provider,
    telemetry::metrics::process::{CPU_SECONDS, RESIDENT_BYTES},
};

/// Longer than a page of metrics takes, even of a server that has far too much to do.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a server of one's own may take until it serves: TensorRT builds a network's engines for minutes.
const START: Duration = Duration::from_secs(600);
/// How long a server of one's own may drain.
const DRAIN: Duration = Duration::from_secs(25);

/// The variable of the limit that calls are admitted by.
const LIMIT: &str = "UNDERTONE_SESSION__MAX_WINDOWS_PER_SECOND";

/// What a server has used so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: f64,
}

/// The server under load.
pub(super) struct Target {
    url: String,
    /// Where its metrics are, if that is known.
    admin: Option<String>,
    memory_before: Option<f64>,
    own: Option<Own>,
}

/// A server that ends with whoever holds its standard input, whatever becomes of him.
struct Own(Child);

impl Target {
    /// A server that runs.
    pub(super) async fn running(url: String, admin: Option<String>) -> anyhow::Result<Self> {
        Self { url, admin, memory_before: None, own: None }.measured().await
    }

    /// A server of one's own on free ports, as another process, so that what it uses can be told from what the load uses.
    pub(super) async fn own(config: Option<&Path>, provider: Option<Provider>) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program to run its server")?;
        let mut command = Command::new(program);
        command.args(["serve", "--until-stdin-closes", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        match config {
            Some(config) => drop(command.arg("--config").arg(config)),
            // What it carries is to be found, not what it would admit.
            None if std::env::var_os(LIMIT).is_none() => drop(command.env(LIMIT, u32::MAX.to_string())),
            None => {}
        }
        if let Some(provider) = provider {
            command.args(["--provider", provider.name()]);
        }
        if std::env::var_os("UNDERTONE_LOG__FILTER").is_none() {
            // A line a call would bury what the bench tells; which models it is of is worth one.
            command.env("UNDERTONE_LOG__FILTER", "warn,undertone::session::engine=info");
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut own = Own(child.context("cannot start a server of its own")?);
        let output = own.0.stdout.take().expect("it was piped");
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line).map(|_| line)
        });
        // Given up, it is killed, which ends its output and so the reading.
        let line = timeout(START, line).await.with_context(|| format!("the server does not serve after {START:?}"))?;
        let line = line?.context("cannot read from the server")?;
        let ready: serde_json::Value = serde_json::from_str(&line)
            .map_err(|_| anyhow::anyhow!("the server did not start; what kept it stands above"))?;
        let address = |name: &str| ready[name].as_str().map(str::to_owned).context("the server told no address");
        let (url, admin) = (format!("http://{}", address("grpc")?), address("admin")?);
        Self { url, admin: Some(admin), memory_before: None, own: Some(own) }.measured().await
    }

    async fn measured(mut self) -> anyhow::Result<Self> {
        self.memory_before = self.usage().await?.map(|usage| usage.resident_bytes);
        Ok(self)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What it held in memory before the first call.
    pub(super) fn memory_before(&self) -> Option<f64> {
        self.memory_before
    }

    /// What it has used so far; `None` where nobody said where to ask.
    pub(super) async fn usage(&self) -> anyhow::Result<Option<Usage>> {
        let Some(admin) = &self.admin else { return Ok(None) };
        let page = timeout(PATIENCE, get(admin, "/metrics")).await;
        let page = page.map_err(anyhow::Error::from).flatten();
        let page = page.with_context(|| format!("cannot read http://{admin}/metrics"))?;
        usage(&page)
            .with_context(|| format!("http://{admin}/metrics does not tell {CPU_SECONDS} and {RESIDENT_BYTES}"))
            .map(Some)
    }

    /// Ends a server of one's own; another goes on.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        let Some(own) = &mut self.own else { return Ok(()) };
        drop(own.0.stdin.take());
        let ended = timeout(DRAIN, async {
            loop {
                if let Some(status) = own.0.try_wait()? {
                    return anyhow::Ok(status);
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        let status = ended.await.context("the server did not end")??;
        anyhow::ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The body of a page.
async fn get(address: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    let (head, body) = response.split_once("\r\n\r\n").context("it is no HTTP response")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    anyhow::ensure!(status == "200", "it answered {status}");
    Ok(body.to_owned())
}

fn usage(page: &str) -> Option<Usage> {
    let value = |name: &str| -> Option<f64> {
        page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    };
    Some(Usage { cpu_seconds: value(CPU_SECONDS)?, resident_bytes: value(RESIDENT_BYTES)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_and_memory_are_found_on_a_page() {
        let page = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 12.5\n\
                    process_resident_memory_bytes_more 1\nprocess_resident_memory_bytes 2.5e7\n";
        assert_eq!(usage(page), Some(Usage { cpu_seconds: 12.5, resident_bytes: 2.5e7 }));
        assert_eq!(usage("process_cpu_seconds_total 12.5"), None);
    }
}
