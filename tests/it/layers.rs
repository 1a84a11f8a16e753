//! The architecture as a test: which module may import which, which crates belong to which layer, and how long a file may be.
//!
//! Sources are scanned as text with comments and literals blanked out. A name that reaches the crate's root is written
//! `crate::module` or `undertone::module`; `super::super` is refused, because a scan cannot tell where it ends.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Modules below others' folders that stand in a layer of their own.
const LEAVES: [&str; 2] = ["telemetry::metrics", "telemetry::trace"];

/// A module and all that it may import of ours. A module always may import itself.
const MAY_IMPORT: [(&str, &[&str]); 18] = [
    ("telemetry::metrics", &[]),
    ("telemetry::trace", &[]),
    ("audio", &[]),
    ("features", &["audio"]),
    ("policy", &["audio", "features"]),
    ("decision", &["audio", "features", "policy"]),
    ("model", &["audio", "features", "decision"]),
    ("corpus", &["audio", "features", "decision", "model"]),
    ("evaluate", &["audio", "features", "policy", "decision", "model", "corpus"]),
    ("call", &["audio", "features", "decision", "policy", "model"]),
    ("inference", &["audio", "features", "decision", "policy", "model", "telemetry::metrics", "telemetry::trace"]),
    ("journal", &["audio", "features", "decision", "policy", "model", "call", "telemetry::metrics"]),
    ("telemetry", &["audio", "features", "decision", "policy", "model", "call", "inference"]),
    ("config", &["audio", "features", "decision", "policy", "model", "call", "inference", "journal", "telemetry"]),
    (
        "session",
        &["audio", "features", "decision", "policy", "model", "call", "inference", "journal", "telemetry", "config"],
    ),
    (
        "server",
        &[
            "audio",
            "features",
            "decision",
            "policy",
            "model",
            "call",
            "inference",
            "journal",
            "telemetry",
            "config",
            "session",
        ],
    ),
    ("shutdown", &[]),
    ("train", &["audio", "features", "decision", "model", "corpus", "evaluate"]),
];

/// A crate and the modules that may name it; the command line may name any.
const MAY_NAME: [(&str, &[&str]); 23] = [
    ("tokio", &["inference", "journal", "telemetry", "config", "session", "server", "shutdown"]),
    ("tokio_stream", &["session", "server"]),
    ("tokio_util", &["journal", "session", "server"]),
    ("tonic", &["server"]),
    ("tonic_health", &["server"]),
    ("tonic_reflection", &["server"]),
    ("tonic_types", &["server"]),
    ("prost_types", &["server"]),
    ("axum", &["server"]),
    ("ort", &["model"]),
    ("rusqlite", &["journal"]),
    ("async_nats", &["journal"]),
    ("dashmap", &["session", "server"]),
    ("metrics", &["telemetry::metrics", "telemetry", "inference", "session", "server"]),
    ("metrics_exporter_prometheus", &["telemetry::metrics", "telemetry", "server"]),
    ("metrics_process", &["telemetry::metrics"]),
    ("opentelemetry", &["telemetry::trace", "telemetry"]),
    ("opentelemetry_sdk", &["telemetry::trace", "telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("tracing_opentelemetry", &["telemetry::trace", "telemetry"]),
    // The configuration reads addresses by it.
    ("reqwest", &["config", "server"]),
    ("hmac", &["server"]),
    ("burn", &["train"]),
];

/// Layers that are told the time and never ask for it.
const CLOCKLESS: [&str; 5] = ["audio", "features", "decision", "policy", "call"];

/// Lines of a file, tests included.
const MOST_LINES: usize = 400;

#[test]
fn modules_import_only_from_the_layers_above_them() {
    let mut violations = Vec::new();
    let sources = rust_files(&root().join("src"));
    assert!(sources.len() > 20, "only {} sources found", sources.len());
    for path in sources {
        let relative = path.strip_prefix(root().join("src")).expect("a source lies under src").to_owned();
        let text = fs::read_to_string(&path).expect("a source is readable");
        violations.extend(check(&relative, &text));
    }
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn violations_are_found() {
    let found = |path: &str, text: &str| check(Path::new(path), text);
    assert_eq!(found("audio/codec.rs", "use crate::features::FrontEnd;").len(), 1);
    assert_eq!(
        found("audio/codec.rs", "use crate::{\n    audio::file,\n    call::{Call, Chunk},\n    server,\n};").len(),
        2
    );
    assert_eq!(found("audio/mod.rs", "use super::features::FrontEnd;").len(), 1);
    assert_eq!(found("call/mod.rs", "fn f() { super::super::server::f() }").len(), 1);
    assert_eq!(found("call/leg.rs", "use super::{\n    super::server::f,\n};").len(), 1);
    assert_eq!(found("features/mod.rs", "fn f(m: &crate::model::Manifest) {}").len(), 1);
    assert_eq!(found("call/window.rs", "use tokio::time;").len(), 1);
    assert_eq!(found("decision/mod.rs", "fn f() -> ::tonic::Status { panic!() }").len(), 1);
    assert_eq!(found("policy.rs", "fn f() { let now = std::time::Instant::now(); }").len(), 1);
    assert_eq!(found("inference/mod.rs", "use crate::telemetry::init;").len(), 1);
    assert_eq!(found("telemetry/trace.rs", "use crate::inference::Handle;").len(), 1);
    assert_eq!(found("train/net.rs", "use crate::session::Session;").len(), 1);
    assert_eq!(found("evaluate/mod.rs", "use crate::inference::Handle;").len(), 1);
    assert_eq!(found("invented/mod.rs", "").len(), 1);
}

#[test]
fn what_is_permitted_is_not_found() {
    let found = |path: &str, text: &str| check(Path::new(path), text);
    let none: [String; 0] = [];
    assert_eq!(found("inference/mod.rs", "use crate::{model::Outcome, telemetry::metrics::Queue};"), none);
    assert_eq!(found("telemetry/mod.rs", "use crate::telemetry::metrics;"), none);
    assert_eq!(
        found(
            "audio/codec.rs",
            "/// See [`crate::features`], or tokio::time.\nconst A: &str = \"use crate::server;\";"
        ),
        none
    );
    assert_eq!(found("audio/codec.rs", "mod tests { use super::*; }"), none);
    assert_eq!(found("call/mod.rs", "mod tests { fn f() { let now = Instant::now(); } }"), none);
    assert_eq!(found("call/tests.rs", "fn f() { let now = Instant::now(); }"), none);
    assert_eq!(found("call/tests/alerts.rs", "fn f() { let now = Instant::now(); }"), none);
    assert_eq!(found("evaluate/mod.rs", "mod metrics; pub use metrics::Scores;"), none);
    assert_eq!(
        found("train/net.rs", "use crate::{\n    evaluate::{\n        Outcome,\n        metrics::Scores,\n    },\n};"),
        none
    );
    assert_eq!(found("cli/serve.rs", "use undertone::server; use tonic::Status;"), none);
    assert_eq!(found("session/mod.rs", "const C: char = '\"'; fn f<'a>(x: &'a str) {} use crate::call::Call;"), none);
}

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for folder in ["src", "tests", "benches", "examples"] {
        for path in rust_files(&root().join(folder)) {
            let lines = fs::read_to_string(&path).expect("a source is readable").lines().count();
            if lines > MOST_LINES {
                long.push(format!("{}: {lines} lines", path.display()));
            }
        }
    }
    assert!(long.is_empty(), "at most {MOST_LINES} lines a file:\n{}", long.join("\n"));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All `.rs` files under a folder, in order; none where there is no such folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return files };
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("a folder is readable").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// What a source, named relative to `src`, does against the tables above.
fn check(path: &Path, text: &str) -> Vec<String> {
    let names: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let first = names[0].trim_end_matches(".rs");
    if ["main", "lib", "cli"].contains(&first) {
        return Vec::new();
    }
    let below = |leaf: &&str| {
        let folder = leaf.replace("::", "/");
        path.starts_with(&folder) || path == Path::new(&format!("{folder}.rs"))
    };
    let module = LEAVES.into_iter().find(below).unwrap_or(first);
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{}: module `{module}` stands in no layer: give it one in MAY_IMPORT", path.display())];
    };
    let code = blank(text);
    // Tests are the last module of their file, or a file or folder of their own.
    let all_tests = names.iter().any(|name| ["tests", "tests.rs"].contains(name));
    let product = if all_tests { "" } else { code.split("mod tests {").next().unwrap_or_default() };
    let mut violations = Vec::new();
    let mut complain = |what: String| violations.push(format!("{}: {what}", path.display()));

    let mut imports: Vec<String> =
        ["crate::", "undertone::"].iter().flat_map(|root| paths_after(&code, root)).collect();
    if names.len() == 1 || names.last() == Some(&"mod.rs") && names.len() == 2 {
        imports.extend(paths_after(product, "super::"));
    }
    for import in imports {
        let leaf = LEAVES.into_iter().find(|leaf| import.starts_with(leaf));
        let target = leaf.unwrap_or_else(|| head(&import));
        let own = target == module || module == "telemetry" && leaf.is_some();
        let by_parent = leaf.is_some() && allowed.contains(&"telemetry");
        let ours = MAY_IMPORT.iter().any(|(name, _)| *name == target);
        if ours && !own && !by_parent && !allowed.contains(&target) {
            complain(format!("`{module}` must not import `{target}`"));
        }
    }
    let dense: String = code.split_whitespace().collect();
    if dense.contains("super::super") || dense.contains("super::{super") {
        complain("write crate:: instead of super::super".into());
    }
    for (name, modules) in MAY_NAME {
        // A module of one's own may be called as a crate is.
        let own_module = code.contains(&format!("mod {name};"));
        if !own_module && !modules.contains(&module) && names_crate(&code, name) {
            complain(format!("`{module}` must not name the crate `{name}`"));
        }
    }
    if CLOCKLESS.contains(&module)
        && ["Instant::now", "SystemTime::now", ".elapsed()"].iter().any(|clock| product.contains(clock))
    {
        complain(format!("`{module}` must be told the time, not read a clock"));
    }
    violations
}

/// The first part of a path.
fn head(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// The paths written behind each `root`, those of one group `{a::b, c}` one by one.
fn paths_after(code: &str, root: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices(root) {
        if code[..at].ends_with(|c: char| is_word(c) || c == ':') {
            continue;
        }
        let rest = &code[at + root.len()..];
        match rest.strip_prefix('{') {
            None => paths.push(rest.chars().take_while(|c| is_word(*c) || *c == ':').collect()),
            Some(group) => {
                let mut depth = 0;
                let mut path = String::new();
                for c in group.chars().filter(|c| !c.is_whitespace()) {
                    match c {
                        '}' if depth == 0 => break,
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => paths.push(std::mem::take(&mut path)),
                        _ if depth == 0 => path.push(c),
                        _ => {}
                    }
                }
                paths.push(path);
            }
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

/// Whether a place stands in a group of what is imported from somewhere: `use crate::{a::{here, …`.
fn is_grouped(code: &str, at: usize) -> bool {
    let statement = code[..at].rsplit("use ").next().unwrap_or_default();
    let count = |bracket| statement.matches(bracket).count();
    !statement.starts_with('{') && !statement.contains(';') && count('{') > count('}')
}

/// Whether a path begins with the crate `name`.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).filter(|(at, _)| !is_grouped(code, *at)).any(|(at, _)| {
        let before = code[..at].trim_end_matches("::");
        let path_inside = before.len() < at && before.ends_with(is_word);
        let after = &code[at + name.len()..];
        let used =
            after.starts_with("::") || before.trim_end().ends_with("use") && after.trim_start().starts_with([';', ' ']);
        used && !path_inside && !before.ends_with(is_word)
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The source with comments, strings and characters replaced by blanks.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("r#\"") {
            rest.find("\"#").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            string_length(rest)
        } else if c == '\'' {
            character_length(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

/// Bytes of the string literal at the beginning of `text`.
fn string_length(text: &str) -> usize {
    let mut escaped = true;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Bytes of the character literal at the beginning of `text`; 0 for a lifetime.
fn character_length(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), _) => text[3..].find('\'').map_or(0, |end| end + 4),
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 0,
    }
}
