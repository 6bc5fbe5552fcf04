//! The layout is the architecture: an import points to a lower floor.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Each module and its floor. A folder's own name is its front door.
const FLOORS: &[(&str, u8)] = &[
    ("fault", 0),
    ("state::word", 0),
    ("clock", 1),
    ("energy", 2),
    ("state::rule", 2),
    ("state::circuit", 3),
    ("state::histogram", 2),
    ("state::breaker", 5),
    ("state::bulkhead", 3),
    ("state::budget", 3),
    ("state::bucket", 2),
    ("state::limit_rule", 3),
    ("state::limiter", 4),
    ("state::metrics", 3),
    ("state::mode", 1),
    ("state::settings", 6),
    ("state::pass", 7),
    ("state::window", 7),
    ("state::window_rule", 2),
    ("state::evidence", 4),
    ("state::ring", 5),
    ("state::slices", 6),
    ("state", 8),
    ("policy::backoff", 9),
    ("policy::classify", 9),
    ("policy::operation", 9),
    ("policy::pace", 9),
    ("policy::strategy", 10),
    ("error", 11),
    ("policy::event", 12),
    ("policy::plan", 11),
    ("policy::attempt", 10),
    ("policy::progress", 13),
    ("policy::books", 14),
    ("policy::terms", 15),
    ("policy", 16),
    ("policy::steps", 17),
    ("policy::run", 18),
    ("policy::execute", 19),
    ("policy::blocking", 19),
    ("policy::fallback", 20),
    ("orchestrator::key", 21),
    ("orchestrator::name", 21),
    ("orchestrator::registration", 22),
    ("orchestrator::config", 23),
    ("orchestrator::entry", 23),
    ("orchestrator::handle", 24),
    ("orchestrator::view", 24),
    ("orchestrator::wire", 24),
    ("orchestrator::row", 25),
    ("orchestrator::table", 26),
    ("orchestrator::health", 27),
    ("orchestrator::report", 27),
    ("orchestrator", 28),
    ("format", 29),
    ("lib", 30),
];

#[test]
fn imports_point_down() {
    let mut seen = 0;
    for &(module, floor) in FLOORS {
        let folder = module.split("::").next().unwrap();
        for line in source(module).lines().filter_map(|line| line.trim().strip_prefix("use ")) {
            let used = line.replace("crate::", "").replace("super::", &format!("{folder}::"));
            let used = used.replace("self::", &format!("{module}::"));
            let target = FLOORS.iter().filter(|(name, _)| used.starts_with(&format!("{name}::")));
            if let Some((name, below)) = target.max_by_key(|(name, _)| name.len()) {
                assert!(
                    *name == module || *below < floor,
                    "{module} (floor {floor}) uses {name} (floor {below}): {line}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "only {seen} imports were seen");
}

#[test]
fn every_file_has_a_floor() {
    let named: BTreeSet<_> = FLOORS.iter().map(|&(name, _)| name.to_owned()).collect();
    let mut found = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    assert_eq!(found, named);
}

#[test]
fn only_one_file_names_an_atomic() {
    for &(module, _) in FLOORS {
        let names_one = source(module).contains("sync::atomic");
        assert_eq!(names_one, module == "state::word", "{module}");
    }
}

fn source(module: &str) -> String {
    let path = format!("{}/src/{}", env!("CARGO_MANIFEST_DIR"), module.replace("::", "/"));
    fs::read_to_string(format!("{path}.rs"))
        .or_else(|_| fs::read_to_string(format!("{path}/mod.rs")))
        .expect("a file for each module named above")
}

fn collect(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            found.insert(stem.clone());
            collect(&path, &format!("{prefix}{stem}::"), found);
        } else if stem != "mod" {
            found.insert(format!("{prefix}{stem}"));
        }
    }
}
