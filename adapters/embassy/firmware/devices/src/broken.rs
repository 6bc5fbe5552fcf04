//! Images that are broken on purpose, one fault in each: its check must fail, and for that fault.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use devices::board::Board;

use crate::{Check, EDGE};
use crate::{events, selftest, sleep, trace};

/// A fault, and the check that must find it.
pub(crate) struct Broken {
    /// What `--cfg fault="…"` breaks.
    pub(crate) fault: &'static str,
    /// Of the board that it runs on.
    pub(crate) target: &'static str,
    /// How cargo builds what is checked.
    pub(crate) arguments: &'static str,
    /// The image that is handed to the check.
    pub(crate) image: &'static str,
    /// Without one it is the edge client's, which needs the service.
    check: Option<Check>,
    /// What the failure must say.
    says: &'static [&'static str],
}

/// On one board, for what a check can find does not depend on the core; but what takes the place of
/// compare-and-swap is broken where it does.
pub(crate) const BROKEN: [Broken; 9] = [
    Broken {
        fault: "lost_release",
        target: EDGE,
        arguments: "--bin selftest",
        image: "selftest",
        check: Some(selftest::check),
        says: &["panicked at src/bin/selftest/", "probes are under way that nobody makes"],
    },
    Broken {
        fault: "torn_swap",
        target: "thumbv6m-none-eabi",
        arguments: "--bin selftest",
        image: "selftest",
        check: Some(selftest::check),
        says: &["panicked at src/bin/selftest/", "what both take and give back is lost"],
    },
    Broken {
        fault: "early_probe",
        target: EDGE,
        arguments: "--bin trace",
        image: "trace",
        check: Some(trace::check),
        says: &["differs first at"],
    },
    Broken {
        fault: "early_probe",
        target: EDGE,
        arguments: "--bin bare --features bare",
        image: "bare",
        check: Some(sleep::check),
        says: &["1 probes, 1 early"],
    },
    Broken {
        fault: "early_wake",
        target: EDGE,
        arguments: "--bin sleep --features embassy",
        image: "sleep",
        check: Some(sleep::check),
        says: &["before their time"],
    },
    Broken {
        fault: "busy_wait",
        target: EDGE,
        arguments: "--bin sleep --features embassy",
        image: "sleep",
        check: Some(sleep::check),
        says: &["awake for more than"],
    },
    Broken {
        fault: "nobody_says",
        target: EDGE,
        arguments: "--bin events --features defmt",
        image: "events",
        check: Some(events::check),
        says: &["line 0 says \"nothing\""],
    },
    Broken {
        fault: "unwrap",
        target: EDGE,
        arguments: "--bin costs --bin costs_none --bin costs_const --bin costs_full --bin costs_breaker --bin costs_modes --bin costs_policy",
        image: "costs_policy",
        check: Some(costs),
        says: &["costs_policy has ", "panic", "too much: thumbv7m-none-eabi: symbols of a heap"],
    },
    Broken {
        fault: "any_answer",
        target: EDGE,
        arguments: "--bin edge --features edge",
        image: "edge",
        check: None,
        says: &["answers to other readings were taken"],
    },
];

impl Broken {
    /// What the check says of the image, if that is what it must say.
    pub(crate) fn found(
        &self,
        board: &Board,
        image: &Path,
        edge: impl FnOnce(&Board, &Path) -> Result<String>,
    ) -> Result<String> {
        let checked = match self.check {
            Some(check) => check(board, image),
            None => edge(board, image),
        };
        match checked {
            Ok(figures) => bail!("not found: {figures}"),
            Err(error) => {
                let text = format!("{error:#}");
                match self.says.iter().find(|part| !text.contains(**part)) {
                    None => Ok(text),
                    Some(part) => bail!("fails, and does not say {part:?}: {text}"),
                }
            }
        }
    }
}

/// The table of costs for one board, by the program that prints it.
fn costs(board: &Board, image: &Path) -> Result<String> {
    let program = env::current_exe()?.with_file_name("costs_table");
    let images = image.ancestors().nth(3).context("no folder of targets")?;
    let output = Command::new(&program)
        .arg(images)
        .arg(&board.target)
        .output()
        .with_context(|| program.display().to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let told = |line: &&str| line.contains(" has ") || line.starts_with("too much");
    match output.status.success() {
        true => Ok("a table".to_owned()),
        false => bail!("{}", said.lines().filter(told).collect::<Vec<_>>().join("; ")),
    }
}
