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
    ("state::limiter", 3),
    ("state::metrics", 3),
    ("state::mode", 1),
    ("state::settings", 6),
    ("state::window", 4),
    ("state", 7),
    ("policy::backoff", 8),
    ("policy::classify", 8),
    ("policy::operation", 8),
    ("policy::pace", 8),
    ("policy::strategy", 9),
    ("error", 10),
    ("policy::event", 11),
    ("policy::plan", 10),
    ("policy", 12),
    ("policy::run", 13),
    ("policy::execute", 14),
    ("policy::blocking", 14),
    ("policy::fallback", 15),
    ("orchestrator::key", 16),
    ("orchestrator::name", 16),
    ("orchestrator::registration", 17),
    ("orchestrator::config", 18),
    ("orchestrator::entry", 18),
    ("orchestrator::handle", 19),
    ("orchestrator::view", 19),
    ("orchestrator::wire", 19),
    ("orchestrator::row", 20),
    ("orchestrator::table", 21),
    ("orchestrator::health", 22),
    ("orchestrator::report", 22),
    ("orchestrator", 23),
    ("format", 24),
    ("lib", 25),
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
