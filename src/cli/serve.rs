//! `undertone serve`: the server.

use std::{net::SocketAddr, path::PathBuf, process};

use anyhow::Context as _;
use serde_json::json;
use undertone::{
    config::{Config, Flags},
    server::Server,
    shutdown::Signals,
};

use super::{model_dir, print};

/// Serves calls over gRPC until SIGTERM or SIGINT; a second one ends it at once.
///
/// Prints one line of JSON with both addresses once it takes calls.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration, TOML; `deploy/undertone.toml` shows all of it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder with a model; the first is the default one [default: models/telephone, here or beside the program]
    #[arg(long = "model", value_name = "DIR", num_args = 1..)]
    models: Vec<PathBuf>,
    /// Where gRPC is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Print the configuration that would be served by, as TOML, and exit.
    #[arg(long)]
    dump_config: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let flags = Flags { listen: args.listen, admin: args.admin, models: args.models };
    let mut config = Config::load(args.config.as_deref(), &flags)?;
    if args.dump_config {
        return print(config.to_toml()?.trim_end());
    }
    if config.models.is_empty() {
        config.models.push(model_dir(None)?);
    }
    config.log.start();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the threads of the server")?;
    runtime.block_on(serve(&config))
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut signals = Signals::catch().context("cannot catch signals")?;
    let server = tokio::select! {
        server = Server::launch(config) => server?,
        // Nothing was promised yet, and loading cannot be interrupted.
        _ = signals.next() => process::exit(1),
    };
    print(json!({ "grpc": server.grpc().to_string(), "admin": server.admin().to_string() }))?;
    tracing::info!(signal = signals.next().await, "draining");
    tokio::select! {
        stopped = server.stop() => Ok(stopped?),
        signal = signals.next() => {
            tracing::warn!(signal, "ending at once");
            process::exit(1);
        }
    }
}
