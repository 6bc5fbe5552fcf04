//! The boards, as `.cargo/config.toml` has `cargo run` start them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use toml::Table;

/// A device that QEMU emulates for a target.
pub(crate) struct Board {
    pub(crate) target: String,
    pub(crate) machine: String,
    runner: Vec<String>,
}

/// Every board, in the order of their targets.
pub(crate) fn all() -> Result<Vec<Board>> {
    let config: Table = include_str!("../../.cargo/config.toml").parse()?;
    let targets =
        config.get("target").and_then(|targets| targets.as_table()).context("no targets")?;
    targets
        .iter()
        .map(|(target, settings)| {
            let runner = settings.get("runner").and_then(|runner| runner.as_str());
            let runner: Vec<_> =
                runner.context("no runner")?.split(' ').map(str::to_owned).collect();
            let machine = runner.iter().skip_while(|part| *part != "-M").nth(1);
            let machine = machine.context("no machine")?.clone();
            Ok(Board { target: target.clone(), machine, runner })
        })
        .collect()
}

impl Board {
    /// QEMU with the image, for more arguments; ended if it runs for too long.
    pub(crate) fn qemu(&self, image: &Path) -> Command {
        let mut qemu = Command::new("timeout");
        qemu.arg(LONGEST).args(&self.runner).arg(image);
        qemu
    }

    /// The same, where it is in touch with programs of the host, whose time it has then.
    pub(crate) fn qemu_by_host_time(&self, image: &Path) -> Command {
        let counts = self.runner.iter().position(|word| word == "-icount");
        let is_of_that = |at| counts.is_some_and(|counts| at == counts || at == counts + 1);
        let words = self.runner.iter().enumerate().filter(|(at, _)| !is_of_that(*at));
        let mut qemu = Command::new("timeout");
        qemu.arg(LONGEST).args(words.map(|(_, word)| word)).arg(image);
        qemu
    }

    /// What the image says, with more arguments for QEMU.
    pub(crate) fn run(&self, image: &Path, more: &[&str]) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.run_raw(image, more)?).into_owned())
    }

    /// The same, of an image that says bytes.
    pub(crate) fn run_raw(&self, image: &Path, more: &[&str]) -> Result<Vec<u8>> {
        let output = self.qemu(image).args(more).output().context("timeout and QEMU")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let complaints = String::from_utf8_lossy(&output.stderr);
        let why = match complaints.find("panicked at").and_then(|at| complaints.get(at..)) {
            Some(panic) => panic.trim().replace('\n', " "),
            None => {
                said.lines().last().or(complaints.lines().last()).unwrap_or_default().to_owned()
            }
        };
        match output.status.code() {
            Some(HANGS) => bail!("still runs after {LONGEST} s: {why}"),
            status => ensure!(output.status.success(), "exit {}: {why}", status.unwrap_or(-1)),
        }
        Ok(output.stdout)
    }
}

/// Seconds that a run may take.
const LONGEST: &str = "120";
/// What `timeout` ends with when it had to end the run.
const HANGS: i32 = 124;
