//! What lints can't see: arrows between crates, leftovers, and documents that must say what the code does.

#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use hubbub_core::code::{CloseCode, Code};
use hubbub_testkit::{labels_of_metrics, page_for_operators};

const LINES_MAX: usize = 600;
const TIERS: [&str; 4] =
    ["hubbub-gateway", "hubbub-room-worker", "hubbub-history-service", "hubbub-bot-bridge"];

/// A file of the repository.
struct Source {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// Whether only tests (or what only tests use) are built from it.
    fn is_test(&self) -> bool {
        let at_start = ["benches/", "crates/testkit/", "crates/core/src/contract/"];
        at_start.iter().any(|folder| self.path.starts_with(folder))
            || self.path.contains("/tests/")
            || self.path.contains("/benches/")
            || self.path.ends_with("/tests.rs")
    }

    /// What runs outside of tests.
    fn in_service(&self) -> &str {
        match self.is_test() {
            true => "",
            false => self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default(),
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn walk(folder: &Path, wanted: &dyn Fn(&str) -> bool, found: &mut Vec<Source>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with("target") && !matches!(&*name, ".git" | "node_modules" | "hubbub-data") {
                walk(&path, wanted, found);
            }
        } else if wanted(&name) {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            found.push(Source { path, text });
        }
    }
}

fn files(wanted: impl Fn(&str) -> bool) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root(), &wanted, &mut found);
    assert!(!found.is_empty(), "found nothing: is this the root, {}?", root().display());
    found
}

fn rust() -> Vec<Source> {
    files(|name| name.ends_with(".rs"))
}

fn pages() -> Vec<Source> {
    files(|name| name.ends_with(".md"))
}

/// Fails with all that was found at once.
fn none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}\n", found.join("\n  "));
}

/// The packages of the workspace, each with what it depends on outside of tests.
fn packages() -> BTreeMap<String, Vec<String>> {
    let package = |manifest: &Source| {
        let table: toml::Table = manifest.text.parse().unwrap();
        let name = table.get("package")?.get("name")?.as_str()?.to_owned();
        let uses = table.get("dependencies").and_then(|d| d.as_table()).map(|d| d.keys().cloned().collect());
        Some((name, uses.unwrap_or_default()))
    };
    files(|name| name == "Cargo.toml").iter().filter_map(package).collect()
}

#[test]
fn no_tier_depends_on_a_tier_or_an_adapter() {
    let mut wrong = Vec::new();
    for (name, uses) in packages().iter().filter(|(name, _)| TIERS.contains(&name.as_str())) {
        let other = |used: &&String| TIERS.contains(&used.as_str()) || *used == "hubbub-adapters";
        wrong.extend(uses.iter().filter(other).map(|used| format!("{name} depends on {used}")));
    }
    none("tiers know ports only", wrong);
}

#[test]
fn core_has_no_runtime_and_knows_none_of_us() {
    let packages = packages();
    let wrong = packages["hubbub-core"]
        .iter()
        .filter(|used| used.starts_with("tokio") || used.starts_with("hubbub") || *used == "fastrand");
    none("core depends on", wrong.cloned().collect());
    let reads = ["std::fs", "TcpStream", "UdpSocket", "Instant::now", "SystemTime::now", "std::thread"];
    let core = rust().into_iter().filter(|source| source.path.starts_with("crates/core/src/"));
    let found = core.flat_map(|source| {
        let used = reads.iter().filter(|what| source.in_service().contains(**what));
        used.map(|what| format!("{}: {what}", source.path)).collect::<Vec<_>>()
    });
    none("core has no I/O and no clock", found.collect());
}

#[test]
fn a_bot_knows_none_of_us() {
    // It is the example for those who have nothing but the broker.
    let packages = packages();
    let ours = packages["hubbub-bots"].iter().filter(|used| used.starts_with("hubbub"));
    none("the bot depends on", ours.cloned().collect());
}

#[test]
fn only_the_composition_names_an_adapter() {
    let named = rust().into_iter().filter(|source| {
        let allowed = source.path.starts_with("crates/adapters/") || source.path.starts_with("hubbub/");
        !allowed && source.in_service().contains("hubbub_adapters")
    });
    none("these name hubbub_adapters", named.map(|source| source.path).collect());
}

#[test]
fn a_file_is_of_one_idea() {
    let long = rust().into_iter().filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines", source.path))
    });
    none("longer than 600 lines", long.collect());
}

#[test]
fn nothing_is_left_over() {
    // In pieces, so that this file does not find itself.
    let anywhere = [
        concat!("todo", "!("),
        concat!("dbg", "!("),
        concat!("unimplemented", "!("),
        // A test that is ignored says why.
        concat!("#[ign", "ore]"),
    ];
    let in_service = [concat!(".unwrap", "()")];
    let mut found = Vec::new();
    for source in rust() {
        let mut look = |text: &str, words: &[&str]| {
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let word = words.iter().find(|word| code.contains(**word));
                found.extend(word.map(|word| format!("{}:{}: {word}", source.path, number + 1)));
            }
        };
        look(&source.text, &anywhere);
        look(source.in_service(), &in_service);
    }
    none("leftovers", found);
}

#[test]
fn a_decision_has_a_number_of_its_own_and_a_status() {
    let mut numbers = BTreeMap::new();
    let mut wrong = Vec::new();
    for page in pages() {
        let Some(name) = page.path.strip_prefix("docs/decisions/") else { continue };
        let number = name.split('-').next().filter(|n| n.len() == 4).and_then(|n| n.parse::<u32>().ok());
        let other = number.and_then(|number| numbers.insert(number, name.to_owned()));
        match number {
            None => wrong.push(format!("{name}: does not begin with a number of four digits")),
            Some(_) => wrong.extend(other.map(|other| format!("{name}: has the number of {other}"))),
        }
        if !page.text.lines().any(|line| line.starts_with("Status: ")) {
            wrong.push(format!("{name}: no line `Status: …`"));
        }
    }
    none("decisions", wrong);
    assert!(!numbers.is_empty());
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut dead = Vec::new();
    for page in pages() {
        let folder = root().join(&page.path).parent().unwrap().to_owned();
        for link in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            let elsewhere = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
            if !elsewhere && !folder.join(path).exists() {
                dead.push(format!("{}: {link}", page.path));
            }
        }
    }
    none("dead links", dead);
}

/// The cells of the table under a heading, without its head.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let section = page.split_once(&format!("\n{heading}\n")).expect(heading).1;
    let section = section.split("\n#").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    rows.map(|row| row.trim_matches('|').split('|').map(cell).collect()).collect()
}

#[test]
fn the_tables_of_codes_are_those_of_the_code() {
    let page = fs::read_to_string(root().join("docs/protocol.md")).unwrap();
    let written: Vec<_> = table(&page, "### Errors").iter().map(|row| row[..3].to_vec()).collect();
    let retry = |code: Code| if code.retry() { "yes" } else { "no" };
    let row = |code: Code| vec![code.as_str().into(), code.http_status().to_string(), retry(code).into()];
    assert_eq!(written, Code::ALL.map(row));
    let written: Vec<_> = table(&page, "### Close codes").iter().map(|row| row[..2].to_vec()).collect();
    let row = |code: CloseCode| vec![code.number().to_string(), code.reason().into()];
    assert_eq!(written, CloseCode::ALL.map(row));
}

#[test]
fn an_operator_can_look_up_every_metric_and_every_line_at_error() {
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let mut missing = Vec::new();
    for source in rust() {
        let text = source.in_service();
        if source.path.ends_with("metrics.rs") {
            let names = text.split("\"hubbub_").skip(1).filter_map(|rest| rest.split('"').next());
            let unknown = names.map(|name| format!("hubbub_{name}")).filter(|name| !page.contains(name));
            missing.extend(unknown.map(|name| format!("metric {name}")));
        }
        for rest in text.split("tracing::error!(").skip(1) {
            let line = rest.split('"').nth(1).unwrap_or_default();
            if !page.contains(&format!("`{line}`")) {
                missing.push(format!("line `{line}` of {}", source.path));
            }
        }
    }
    none("not in docs/operations.md", missing);
}

/// The queries in what asks Prometheus: its alerts, Grafana's dashboards, the chart's triggers for KEDA.
fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for source in files(|name| name.ends_with(".yaml") || name.ends_with(".json")) {
        let between = match &*source.path {
            "deploy/prometheus/alerts.yaml" => ("expr:", "labels:"),
            path if path.starts_with("deploy/grafana/") => ("\"expr\":", "\n"),
            path if path.starts_with("deploy/helm/hubbub/templates/") => ("\"query\"", "\n"),
            _ => continue,
        };
        let all = source.text.split(between.0).skip(1);
        queries.extend(
            all.map(|rest| {
                (source.path.clone(), rest.split(between.1).next().unwrap_or_default().to_owned())
            }),
        );
    }
    assert!(queries.len() > 100, "{}", queries.len());
    queries
}

#[test]
fn alerts_dashboards_and_autoscaling_ask_for_metrics_and_labels_that_there_are() {
    // Of whoever scrapes, and of a histogram.
    const NOT_OURS: [&str; 5] = ["job", "instance", "namespace", "service", "le"];
    let page = page_for_operators();
    let known = labels_of_metrics(&page);
    let mut unknown = Vec::new();
    for (path, query) in queries() {
        let asked = labels_of_metrics(&query);
        let mut there: BTreeSet<&str> = NOT_OURS.into();
        for (name, labels) in &asked {
            match known.get(name) {
                None => unknown.push(format!("{path}: {name}")),
                Some(known) => {
                    there.extend(known);
                    let wrong =
                        labels.iter().filter(|label| !known.contains(*label) && !NOT_OURS.contains(label));
                    unknown.extend(wrong.map(|label| format!("{path}: {name} has no label {label}")));
                }
            }
        }
        let grouped = query.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
        let wrong =
            grouped.flat_map(|by| by.split(',')).map(str::trim).filter(|label| !there.contains(label));
        unknown.extend(wrong.map(|label| format!("{path}: no metric has the label {label} in {query}")));
    }
    none("not in docs/operations.md", unknown);
}

#[test]
fn every_metric_that_operators_read_of_is_in_the_code() {
    let literals: String = rust().iter().map(|source| source.in_service().to_owned()).collect();
    let page = page_for_operators();
    let gone =
        labels_of_metrics(&page).into_keys().filter(|name| !literals.contains(name)).map(str::to_owned);
    none("in docs/operations.md alone", gone.collect());
}

#[test]
fn every_alert_has_its_runbook() {
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let alerts = fs::read_to_string(root().join("deploy/prometheus/alerts.yaml")).unwrap();
    let mut wrong = Vec::new();
    let mut names = Vec::new();
    for alert in alerts.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap_or_default();
        let link = format!("runbook_url: docs/operations.md#{}\n", name.to_lowercase());
        if !alert.contains(&link) || !page.contains(&format!("\n### {name}\n")) {
            wrong.push(name.to_owned());
        }
        names.push(name);
    }
    assert!(!names.is_empty());
    let headings = page.lines().filter_map(|line| line.strip_prefix("### Hubbub"));
    wrong.extend(
        headings
            .filter(|rest| !names.contains(&&*format!("Hubbub{rest}")))
            .map(|rest| format!("Hubbub{rest}: no such alert")),
    );
    none("alerts without a section in docs/operations.md, or the other way round", wrong);
}
