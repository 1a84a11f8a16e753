//! `undertone serve`: the server.

use std::{io, net::SocketAddr, path::PathBuf, process, thread, time::Duration};

use anyhow::Context as _;
use serde_json::json;
use tokio::sync::oneshot;
use undertone::{
    config::{Config, Flags, InferenceFlags, SessionFlags, Source},
    model::onnx::Provider,
    server::{Server, Trigger},
    shutdown::{Reloads, Signals},
    telemetry::Export,
};

use super::{model_dir, print};

/// How long what still blocks is waited for once the server has stopped, before the process ends regardless.
const LEFT_OVER: Duration = Duration::from_millis(500);

/// Serves calls over gRPC until SIGTERM or SIGINT; a second one ends it at once. SIGHUP has it read its configuration, models and rules
/// again.
///
/// Prints one line of JSON with both addresses once it takes calls.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration, TOML; `deploy/undertone.toml` shows all of it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder with a model; the first is the default one [default: models/telephone, here, beside the program or in its checkout]
    #[arg(long = "model", value_name = "DIR", num_args = 1..)]
    models: Vec<PathBuf>,
    /// Where gRPC is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Where /livez, /readyz, /metrics and /reload are served.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    admin: Option<SocketAddr>,
    /// What runs the models; one that cannot be had is an error, unless inference.fallback_to_cpu is set [default: cpu]
    #[arg(long, value_enum)]
    provider: Option<Provider>,
    /// Measure what this machine carries before calls are taken, and refuse calls beyond it; the line of JSON tells it
    #[arg(long)]
    calibrate: bool,
    /// Print the configuration that would be served by, as TOML, and exit.
    #[arg(long)]
    dump_config: bool,
    /// End, as by SIGTERM, when standard input is closed: whoever started the server has gone
    #[arg(long)]
    until_stdin_closes: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let session = args.calibrate.then_some(SessionFlags { calibrate: true });
    let inference = args.provider.map(|provider| InferenceFlags { provider });
    let flags = Flags { listen: args.listen, admin: args.admin, models: args.models, inference, session };
    let config = Config::load(args.config.as_deref(), &flags)?;
    if args.dump_config {
        return print(config.to_toml()?.trim_end());
    }
    let models = if config.models.is_empty() { vec![model_dir(None)?] } else { Vec::new() };
    let source = Source::new(args.config, flags, models);
    let config = source.read()?;
    let export = config.log.start(&config.telemetry);
    let runtime = tokio::runtime::Runtime::new().context("cannot start the threads of the server")?;
    run_on(runtime, serve(&config, source, args.until_stdin_closes, export))
}

/// Runs a task to its end; threads of the runtime that still block, as a model's run may, do not keep the process.
fn run_on<T>(runtime: tokio::runtime::Runtime, task: impl Future<Output = T>) -> T {
    let outcome = runtime.block_on(task);
    runtime.shutdown_timeout(LEFT_OVER);
    outcome
}

/// An address to listen on, as the command line writes it.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:50051 or [::1]:50051".to_owned())
}

async fn serve(
    config: &Config,
    source: Source,
    until_stdin_closes: bool,
    export: Option<Export>,
) -> anyhow::Result<()> {
    let mut signals = Signals::catch().context("cannot catch signals")?;
    let mut reloads = Reloads::catch().context("cannot catch signals")?;
    let mut orphaned = std::pin::pin!(orphaned(until_stdin_closes));
    let server = tokio::select! {
        server = Server::launch_from(config, source) => server?,
        // Nothing was promised yet, and loading cannot be interrupted.
        _ = signals.next() => process::exit(1),
    };
    let (stopped, stopping) = oneshot::channel::<()>();
    let exporting = export.map(|export| {
        let stopping = async move { drop(stopping.await) };
        tokio::spawn(export.run(server.sessions().metrics().traces.clone(), stopping))
    });
    let mut ready = json!({ "grpc": server.grpc().to_string(), "admin": server.admin().to_string() });
    if config.session.calibrate {
        ready["max_windows_per_second"] = server.sessions().most_windows_per_second().floor().into();
    }
    print(ready)?;
    let reason = loop {
        tokio::select! {
            signal = signals.next() => break signal,
            () = &mut orphaned => break "standard input was closed",
            () = reloads.next() => tokio::select! {
                // What becomes of it is in the log.
                _ = server.reload(Trigger::Signal) => {}
                signal = signals.next() => break signal,
            },
        }
    };
    tracing::info!(reason, "draining");
    let stop = async {
        let ended = server.stop().await;
        drop(stopped);
        if let Some(exporting) = exporting {
            exporting.await.context("the export of spans failed")?;
        }
        Ok(ended?)
    };
    tokio::select! {
        ended = stop => ended,
        signal = signals.next() => {
            tracing::warn!(signal, "ending at once");
            process::exit(1);
        }
    }
}

/// Done when standard input is closed; never, unless that is to be waited for.
async fn orphaned(wait: bool) {
    if !wait {
        return std::future::pending().await;
    }
    let (sender, closed) = tokio::sync::oneshot::channel::<()>();
    // A thread of its own, since reading cannot be interrupted: it ends with the process.
    thread::spawn(move || {
        // An error closes it as well.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(sender);
    });
    let _ = closed.await;
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_blocks_does_not_keep_the_process() {
        let (go, goes) = mpsc::channel::<()>();
        let (ended, has_ended) = mpsc::channel();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let outcome = run_on(runtime, async move {
            tokio::task::spawn_blocking(move || {
                let _ = goes.recv();
                let _ = ended.send(());
            });
            7
        });
        assert_eq!(outcome, 7);
        assert!(has_ended.try_recv().is_err(), "it still blocks");
        go.send(()).unwrap();
        has_ended.recv().unwrap();
    }

    #[test]
    fn an_address_that_is_none_is_answered_with_an_example() {
        assert!(address("127.0.0.1:0").is_ok());
        for text in ["localhost:0", "50052", "127.0.0.1:99999"] {
            assert!(address(text).unwrap_err().contains("127.0.0.1:50051"), "{text}");
        }
    }
}
