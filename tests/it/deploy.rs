//! What is shipped for operators fits what is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use undertone::config::Config;

use crate::harness::{Harness, tiny, voice};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn the_shipped_configuration_shows_every_key() {
    let shipped = read("deploy/undertone.toml");
    let defaults: toml::Table = toml::from_str(&Config::default().to_toml().unwrap()).unwrap();
    let shown = |key: &str| {
        shipped
            .lines()
            .any(|line| line.trim_start_matches("# ").split(" =").next() == Some(key) && line.contains(" = "))
    };
    for (name, value) in &defaults {
        match value {
            toml::Value::Table(section) => {
                assert!(shipped.contains(&format!("\n[{name}]\n")), "no section [{name}]");
                for key in section.keys() {
                    assert!(shown(key), "no {name}.{key}");
                }
            }
            _ => assert!(shown(name), "no {name}"),
        }
    }
}

#[test]
fn what_the_container_copies_is_there() {
    let file = read("deploy/Dockerfile");
    let mut copied = 0;
    for line in file.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from")) {
        let mut sources: Vec<&str> = line.split_whitespace().collect();
        sources.pop();
        for source in sources.into_iter().filter(|source| *source != "models") {
            assert!(root().join(source).exists(), "{source} is not there");
            copied += 1;
        }
    }
    assert!(copied >= 8, "only {copied} sources found");
}

/// The sources that the container's first stage copies before it builds.
fn copied_to_build() -> Vec<PathBuf> {
    let file = read("deploy/Dockerfile");
    let (build, _) = file.split_once("cargo build").expect("the program is built");
    let copies = build.lines().filter_map(|line| line.strip_prefix("COPY "));
    let sources = copies.flat_map(|line| {
        let mut sources: Vec<PathBuf> = line.split_whitespace().map(PathBuf::from).collect();
        sources.pop();
        sources
    });
    sources.collect()
}

/// Where Cargo looks for the targets that Cargo.toml declares.
fn targets() -> Vec<PathBuf> {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let mut paths = vec!["src/lib.rs".into(), "src/main.rs".into(), "build.rs".into()];
    for (kind, folder) in [("bench", "benches"), ("example", "examples"), ("test", "tests"), ("bin", "src/bin")] {
        for target in manifest.get(kind).and_then(toml::Value::as_array).into_iter().flatten() {
            let name = target["name"].as_str().unwrap();
            let plain = PathBuf::from(folder).join(format!("{name}.rs"));
            paths.push(match target.get("path").and_then(toml::Value::as_str) {
                Some(path) => path.into(),
                None if root().join(&plain).exists() => plain,
                None => PathBuf::from(folder).join(name).join("main.rs"),
            });
        }
    }
    paths
}

/// Files outside of `src` that are compiled in by the program's sources.
fn compiled_in() -> Vec<PathBuf> {
    let mut folders = vec![root().join("src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // What tests compile in is theirs.
            let text = fs::read_to_string(&path).unwrap_or_default();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            for rest in ["include_str!(\"", "include_bytes!(\""].iter().flat_map(|word| text.split(word).skip(1)) {
                found.push(folder.join(rest.split('"').next().unwrap()).canonicalize().unwrap());
            }
        }
    }
    found.retain(|path| !path.components().any(|part| part.as_os_str() == "tests"));
    found
}

#[test]
fn the_container_has_all_that_the_build_asks_for() {
    let copied = copied_to_build();
    let is_copied = |path: &Path| copied.iter().any(|source| path.starts_with(source));
    let targets = targets();
    assert!(targets.len() >= 8, "{targets:?}");
    for target in &targets {
        assert!(root().join(target).exists(), "{} is not there", target.display());
        assert!(is_copied(target), "{} is a target of Cargo.toml and is not copied", target.display());
    }
    let compiled_in = compiled_in();
    assert!(compiled_in.iter().any(|path| path.ends_with("deploy/rules.toml")), "{compiled_in:?}");
    for file in &compiled_in {
        let file = file.strip_prefix(root()).unwrap();
        assert!(is_copied(file), "{} is compiled in and is not copied", file.display());
    }
}

#[test]
fn container_and_unit_agree_on_where_things_are() {
    let (container, unit) = (read("deploy/Dockerfile"), read("deploy/undertone.service"));
    for place in ["/usr/lib/undertone/libonnxruntime.so", "/usr/share/undertone", "/etc/undertone/undertone.toml"] {
        assert!(container.contains(place) && unit.contains(place), "{place}");
    }
    // The service manager must not kill before the drain is over.
    let stop: u64 = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap().parse().unwrap();
    assert!(stop > Config::default().drain_deadline.as_secs());
}

#[test]
fn documents_link_to_files_that_are_there() {
    for document in [
        "README.md",
        "CONTRIBUTING.md",
        "docs/operating.md",
        "docs/integrating.md",
        "docs/alerts.md",
        "docs/supervising.md",
    ] {
        let text = read(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(document).parent().unwrap();
            let file = if file.is_empty() { root().join(document) } else { root().join(folder).join(file) };
            assert!(file.exists(), "{document} links to {link}");
            let headings = fs::read_to_string(file).unwrap_or_default();
            let named = |line: &str| {
                line.starts_with('#') && line.trim_matches(['#', ' ']).to_lowercase().replace(' ', "-") == heading
            };
            assert!(heading.is_empty() || headings.lines().any(named), "{document} links to {link}");
        }
    }
}

/// The expressions of the dashboard's panels and of the alert rules.
fn expressions() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/grafana/undertone.json")).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{} shows nothing", panel["title"]);
        expressions.extend(targets.iter().map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    let rules = read("deploy/prometheus/undertone.rules.yml");
    let of_rules: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert_eq!(of_rules.len(), rules.matches("- alert: ").count());
    expressions.extend(of_rules.into_iter().map(str::to_owned));
    expressions
}

/// The words of an expression that are names of metrics.
fn metrics_in(expression: &str) -> Vec<&str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("undertone_") || word.starts_with("process_")).collect()
}

/// The matchers of an expression that name one value of one label.
fn matchers_in(expression: &str) -> Vec<String> {
    let mut matchers = Vec::new();
    for selector in expression.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        let plain = selector.split(',').map(|matcher| matcher.trim().replace("!=", "="));
        matchers.extend(plain.filter(|matcher| !matcher.contains('~')));
    }
    matchers
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alert_rules_name_metrics_that_are_there() {
    let harness = Harness::with(|config| config.shadow.model = Some(tiny())).await;
    let call = harness.acknowledged("c").await;
    // Histograms are told once they hold something; a shadow's answers are taken in when audio comes.
    call.speak(&voice(2.0)).await;
    eventually!(
        {
            call.speak(&voice(0.02)).await;
            harness.get("/metrics").1.contains("undertone_shadow_confidence_ratio_count")
        },
        true
    );
    assert!(call.end().await.status.is_ok());
    let (_, told) = harness.get("/metrics");
    let is_told = |name: &str| {
        let whole = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
        [name, whole].iter().any(|name| told.contains(&format!("# TYPE {name} ")))
    };
    assert!(!is_told("undertone_invented_total"));
    let expressions = expressions();
    assert!(expressions.len() > 30, "only {} expressions found", expressions.len());
    for expression in &expressions {
        let names = metrics_in(expression);
        assert!(!names.is_empty(), "{expression} names no metric");
        assert_eq!(expression.matches('(').count(), expression.matches(')').count(), "{expression}");
        for name in names {
            assert!(is_told(name), "{expression}: no {name} in\n{told}");
        }
        for matcher in matchers_in(expression) {
            assert!(told.contains(&matcher), "{expression}: no {matcher} in\n{told}");
        }
    }
    harness.stop().await;
}
