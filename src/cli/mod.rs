//! The command line: one file a subcommand, each with its `Args` and a `run`.
//!
//! Exit status: 0 done; 1 failed, with one line on standard error; 2 wrong usage. Results go to standard output by [`print()`], logs
//! and progress to standard error, so that the output of every command can be piped. A reader that goes away ends a command
//! quietly.

use std::{
    env,
    fmt::Display,
    fs::{self, OpenOptions},
    io::{self, ErrorKind, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use undertone::model::{checkout, onnx};

mod bench;
mod call;
mod classify;
mod client;
mod dataset;
mod demo;
mod evaluate;
mod features;
mod replay;
mod serve;
mod text;
mod train;
mod watch;

/// The model that is used when none is named, as a path in a checkout.
const DEFAULT_MODEL: &str = "models/telephone";

/// Hears how people speak on the telephone, while they speak.
#[derive(Debug, Parser)]
#[command(name = "undertone", version, max_term_width = 120, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Serve(serve::Args),
    Call(call::Args),
    Watch(watch::Args),
    Bench(bench::Args),
    Classify(classify::Args),
    Replay(replay::Args),
    Features(features::Args),
    Dataset(dataset::Args),
    Train(train::Args),
    Evaluate(evaluate::Args),
}

impl Command {
    fn run(self) -> anyhow::Result<()> {
        // A server logs as its configuration says.
        if !matches!(self, Self::Serve(_)) {
            log_to_stderr();
        }
        match self {
            Self::Demo(args) => demo::run(args),
            Self::Serve(args) => serve::run(args),
            Self::Call(args) => call::run(args),
            Self::Watch(args) => watch::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Classify(args) => classify::run(args),
            Self::Replay(args) => replay::run(args),
            Self::Features(args) => features::run(args),
            Self::Dataset(args) => dataset::run(args),
            Self::Train(args) => train::run(args),
            Self::Evaluate(args) => evaluate::run(args),
        }
    }
}

/// Wrong usage that only shows once the arguments are looked at together: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Whoever read standard output went away; there is nobody left to tell.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
struct OutputClosed;

/// Parses the command line, runs the command and says how it ended.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<OutputClosed>() => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// Writes one line to standard output at once; a closed pipe becomes the quiet end of the command.
pub(crate) fn print(line: impl Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(OutputClosed.into()),
        Err(error) => Err(anyhow::Error::new(error).context("cannot write to standard output")),
    }
}

/// Finds out whether a file can be written that is written once all is done, so that nobody works for nothing. What is there stays as it is.
///
/// # Errors
/// It cannot; the message names it.
pub(crate) fn ensure_writable(path: &Path) -> anyhow::Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        // Whoever reads a pipe would take this for its end.
        return Ok(());
    }
    let is_new = fs::symlink_metadata(path).is_err();
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))?;
    if is_new {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Tells of an error on standard error, in one line. Standard error may be gone as well; the exit status still tells.
fn complain(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "undertone: {}", one_line(error));
}

/// The folder of the model to use: the one that was named, or else the shipped one.
fn model_dir(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(dir) = named {
        return Ok(dir);
    }
    let program = env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    let mut places = default_models(program.as_deref()).into_iter();
    let dir = places.find(|dir| dir.join("manifest.toml").is_file()).ok_or_else(|| {
        anyhow::anyhow!(
            "there is no {DEFAULT_MODEL} here, beside the program or in its checkout: name a model's folder with --model"
        )
    })?;
    Ok(dir)
}

/// The same, and says which one it is where nobody named it and it is not in the working folder.
fn told_model_dir(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let is_named = named.is_some();
    let dir = model_dir(named)?;
    if !is_named && dir.is_absolute() {
        // Standard error may be gone; the command's result does not depend on it.
        let _ = writeln!(io::stderr(), "undertone: the model is {}", dir.display());
    }
    Ok(dir)
}

/// Where the shipped model may lie: in the working folder, beside the program, or in the checkout that the program lies in.
fn default_models(program: Option<&Path>) -> Vec<PathBuf> {
    let beside = program.and_then(Path::parent);
    let folders = [Some(Path::new("")), beside, program.and_then(checkout::of)];
    folders.into_iter().flatten().map(|folder| folder.join(DEFAULT_MODEL)).collect()
}

/// An error in loading a model by the option `--provider`, with what else can be done.
fn without_provider(error: onnx::Error) -> anyhow::Error {
    let leave_out = matches!(error, onnx::Error::Provider { .. });
    let error = anyhow::Error::new(error);
    if leave_out { anyhow::anyhow!("{error}; or leave out --provider, and the CPU runs it") } else { error }
}

/// Runs what waits for the network, on as many threads as there are cores.
fn block_on<T>(task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Runtime::new().context("cannot start the asynchronous runtime")?.block_on(task)
}

/// Logs of the library go to standard error, in colour on a terminal alone; `RUST_LOG` widens or narrows them. Otherwise warnings are
/// shown, but not those of the audio reader, whose errors come back to us.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,symphonia=off"));
    // A second subscriber in one process is refused; the first goes on.
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let _ = logs.with_ansi(io::stderr().is_terminal()).without_time().try_init();
}

/// An error and its sources on one line; a source whose text the error already gives is not told twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if line.contains(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    line
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_shipped_model_is_looked_for_here_beside_the_program_and_in_its_checkout_alone() {
        let root = tempfile::tempdir().unwrap();
        let build = root.path().join("checkout/target/release");
        std::fs::create_dir_all(&build).unwrap();
        let program = build.join("undertone");
        let (here, beside) = (PathBuf::from(DEFAULT_MODEL), build.join(DEFAULT_MODEL));
        assert_eq!(default_models(Some(&program)), [here.clone(), beside.clone()]);
        std::fs::write(root.path().join("checkout/Cargo.toml"), "").unwrap();
        let in_checkout = root.path().join("checkout").join(DEFAULT_MODEL);
        assert_eq!(default_models(Some(&program)), [here.clone(), beside, in_checkout]);
        assert_eq!(default_models(None), [here]);
    }

    #[test]
    fn trying_whether_a_file_can_be_written_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        fs::write(&old, "kept").unwrap();
        ensure_writable(&old).unwrap();
        ensure_writable(&new).unwrap();
        assert_eq!((fs::read(&old).unwrap().as_slice(), new.exists()), (b"kept".as_slice(), false));
        for bad in [dir.path().to_owned(), dir.path().join("absent/file"), old.join("file")] {
            let problem = one_line(&ensure_writable(&bad).unwrap_err());
            assert!(problem.starts_with(&format!("cannot write {}", bad.display())), "{problem}");
        }
    }

    #[test]
    fn an_error_is_one_line_without_repetition() {
        let inner: anyhow::Result<()> = Err(io::Error::other("line one\n  line two").into());
        let error = inner.context("cannot do it: line one line two").context("outer").unwrap_err();
        assert_eq!(one_line(&error), "outer: cannot do it: line one line two");
    }
}
