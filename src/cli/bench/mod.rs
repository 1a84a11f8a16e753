//! `undertone bench`: many calls at once against a server, and how it bears them.

use std::{fs, io::Write as _, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use undertone::model::onnx::Provider;

use super::{Usage, client};

mod call;
mod limit;
mod load;
mod material;
mod report;
mod source;
mod tally;
mod target;

use material::Material;
use report::Report;
use target::Target;

/// Calls on one connection, as a gateway would carry them; a connection a call costs both sides more.
const CALLS_A_CONNECTION: usize = 250;

/// Plays many calls at once to a server, and tells what it took and how long they waited.
///
/// Every call is the demo's recorded call, looped, each beginning somewhere else in it. Every answer's order and count is checked.
/// Latency runs from the sending of the chunk that holds the last sample a scored window depends on to the receipt of its event.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The server, as http://host:port [default: one of its own, which ends with the bench]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Where the server's /metrics are; without it, its CPU and memory stay unknown
    #[arg(long, value_name = "HOST:PORT", requires = "to", value_parser = admin)]
    admin: Option<String>,
    /// Configuration of the server of its own
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    config: Option<PathBuf>,
    /// What runs the models of the server of its own [default: as configured]
    #[arg(long, value_enum, conflicts_with = "to")]
    provider: Option<Provider>,
    /// Calls at once, 1 to 100000; with --find-limit, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    calls: u32,
    /// How long all of them are there, in real time, up to 3600; with --find-limit, at each step
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Duration,
    /// Milliseconds of audio in one message: 1 to 2000
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=2000))]
    chunk_ms: u64,
    /// How samples are written on the wire
    #[arg(long, value_enum, default_value_t = client::Wire::Mulaw)]
    encoding: client::Wire,
    /// Connections that the calls share, 1 to 10000 [default: one for 250 calls]
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Option<u32>,
    /// How long it takes until all calls are there, 0 to 3600
    #[arg(long, value_name = "S", default_value = "1", value_parser = pause)]
    ramp: Duration,
    /// Times real time, 0.01 to 1000
    #[arg(long, value_name = "N", default_value = "1", value_parser = speed)]
    speed: f64,
    /// Seconds between two decisions, 0.25 to 5 [default: the server's]
    #[arg(long, value_name = "S", value_parser = stride)]
    stride: Option<Duration>,
    /// A model by name [default: the server's]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Write the figures as one object of JSON to a file, or with - to standard output alone
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
    /// Search the largest number of calls with a 95th percentile below 100 ms and nothing shed; 5 minutes at most
    #[arg(long)]
    find_limit: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if let Some(out) = args.json.as_deref().filter(|out| out.as_os_str() != "-") {
        super::ensure_writable(out)?;
    }
    let Args { to, admin, config, provider, calls, seconds, chunk_ms, encoding, connections, .. } = args;
    let calls = calls as usize;
    let chunk = Duration::from_millis(chunk_ms);
    let material = Arc::new(Material::new(encoding.encoding(), chunk)?);
    let options = load::Options {
        calls,
        seconds,
        ramp: args.ramp,
        speed: args.speed,
        connections: connections.map_or(calls.div_ceil(CALLS_A_CONNECTION), |connections| connections as usize),
        model: args.model,
        stride: args.stride,
    };
    if chunk > seconds.mul_f64(args.speed) {
        return Err(Usage(format!("a chunk of {chunk:?} does not fit in {seconds:?}; set --chunk-ms lower")).into());
    }
    if args.find_limit {
        limit::check(&options)?;
    }
    super::block_on(async {
        let target = match to {
            Some(url) => Target::running(url, admin).await?,
            None => Target::own(config.as_deref(), provider).await?,
        };
        let report = if args.find_limit {
            limit::find(&target, &material, &options).await
        } else {
            load::run(&target, &material, &options).await
        };
        // First told, so that a server that ends badly takes no figures along.
        let told = report.and_then(|report| tell(&report, args.json.as_ref()).map(|()| report));
        target.end().await?;
        verdict(&told?)
    })
}

/// Tells the figures as was asked.
fn tell(report: &Report, json: Option<&PathBuf>) -> anyhow::Result<()> {
    for problem in &report.problems {
        progress(problem);
    }
    if report.is_late() {
        progress("the load was not sent in time: give the bench more CPU, or read its figures as those of both");
    }
    if report.measured_nothing() {
        progress("nothing was scored while it was measured: set --seconds higher");
    }
    let Some(out) = json else {
        // Of calls that all failed, a table would say nothing.
        return if report.took_none() { Ok(()) } else { super::print(report.table()) };
    };
    let object = serde_json::to_string(report)?;
    if out.as_os_str() == "-" {
        return super::print(object);
    }
    // What was measured is told whatever becomes of the file.
    let written = fs::write(out, object + "\n").with_context(|| format!("cannot write {}", out.display()));
    super::print(report.table()).and(written)
}

/// A server that answers wrongly fails the command; one that is full or slow does not.
fn verdict(report: &Report) -> anyhow::Result<()> {
    let wrong = report.errors + report.out_of_order;
    // A search goes beyond what the server carries.
    let answers = if wrong == 1 { "1 answer was" } else { &format!("{wrong} answers were") };
    anyhow::ensure!(wrong == 0 || report.limit_calls.is_some(), "{answers} missing, wrong or out of order");
    Ok(())
}

/// Tells how it goes, beside the results.
fn progress(line: impl std::fmt::Display) {
    // Progress that nobody can read is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A time on the command line, in seconds: more than 0, an hour at most.
fn seconds(text: &str) -> Result<Duration, String> {
    pause(text).and_then(|pause| if pause.is_zero() { Err("expected more than 0".to_owned()) } else { Ok(pause) })
}

/// Times real time: far beyond it a call would be over before its first answer, far below it one never ends.
fn speed(text: &str) -> Result<f64, String> {
    client::speed(text)
        .ok()
        .filter(|speed| (0.01..=1000.0).contains(speed))
        .ok_or_else(|| "expected 0.01 to 1000, such as 1 or 8".to_owned())
}

/// What the API takes for a stride, in seconds.
fn stride(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.25..=5.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds, 0.25 to 5".to_owned()),
    }
}

/// The address of an admin port; written as a URL, it means the same.
fn admin(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("http://").unwrap_or(text);
    let address = address.strip_suffix("/metrics").unwrap_or(address).trim_end_matches('/');
    if address.contains('/') || !address.contains(':') {
        return Err("expected host:port, such as 127.0.0.1:9600".to_owned());
    }
    Ok(address.to_owned())
}

/// A time on the command line, in seconds: 0 to 3600.
fn pause(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds, 0 to 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_port_is_written_as_an_address_or_a_url() {
        for text in
            ["127.0.0.1:9600", "http://127.0.0.1:9600", "http://127.0.0.1:9600/", "http://127.0.0.1:9600/metrics"]
        {
            assert_eq!(admin(text).unwrap(), "127.0.0.1:9600", "{text}");
        }
        for text in ["https://127.0.0.1:9600", "localhost", "127.0.0.1:9600/other"] {
            assert!(admin(text).unwrap_err().contains("127.0.0.1:9600"), "{text}");
        }
    }

    #[test]
    fn no_load_lasts_for_ever() {
        assert_eq!((speed("0.01").unwrap(), speed("1000").unwrap()), (0.01, 1000.0));
        for text in ["0", "0.001", "1001", "-1", "inf", "nan", ""] {
            assert!(speed(text).unwrap_err().contains("0.01 to 1000"), "{text}");
        }
        assert_eq!((seconds("3600").unwrap(), pause("0").unwrap()), (Duration::from_secs(3600), Duration::ZERO));
        for text in ["0", "3601", "-1", "inf", "nan", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn strides_are_those_of_the_api() {
        assert_eq!(stride("0.25").unwrap(), Duration::from_millis(250));
        for text in ["100", "0.2", "nan", ""] {
            assert!(stride(text).unwrap_err().contains("0.25 to 5"), "{text}");
        }
    }
}
