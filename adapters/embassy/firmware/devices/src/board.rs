//! The boards, as `.cargo/config.toml` has `cargo run` start them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use toml::Table;

use crate::running::{self, Said};

/// A device that QEMU emulates for a target.
pub struct Board {
    pub target: String,
    pub machine: String,
    runner: Vec<String>,
}

/// Every board, in the order of their targets.
pub fn all() -> Result<Vec<Board>> {
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
    /// QEMU with the image, by the host's time: where it is in touch with programs there.
    #[must_use]
    pub fn qemu_by_host_time(&self, image: &Path) -> Command {
        let counts = self.runner.iter().position(|word| word == "-icount");
        let is_of_that = |at| counts.is_some_and(|counts| at == counts || at == counts + 1);
        let words = self.runner.iter().enumerate().filter(|(at, _)| !is_of_that(*at));
        started(words.map(|(_, word)| word), image)
    }

    /// What the image says, with more arguments for QEMU.
    pub fn run(&self, image: &Path, more: &[&str]) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.said(image, more)?.output).into_owned())
    }

    /// The same, of an image that says bytes, with what QEMU says besides.
    pub fn said(&self, image: &Path, more: &[&str]) -> Result<Said> {
        let said = running::said(started(&self.runner, image).args(more), LONGEST)?;
        let output = String::from_utf8_lossy(&said.output);
        let complaints = String::from_utf8_lossy(&said.complaints);
        let why = match complaints.find("panicked at").and_then(|at| complaints.get(at..)) {
            Some(panic) => panic.trim().replace('\n', " "),
            None => {
                output.lines().last().or(complaints.lines().last()).unwrap_or_default().to_owned()
            }
        };
        match said.status {
            None => bail!("still runs after {} s: {why}", LONGEST.as_secs()),
            Some(status) => {
                ensure!(status.success(), "exit {}: {why}", status.code().unwrap_or(-1));
            }
        }
        Ok(said)
    }
}

/// QEMU as a runner starts it.
fn started<'r>(runner: impl IntoIterator<Item = &'r String>, image: &Path) -> Command {
    let mut words = runner.into_iter();
    let mut qemu = Command::new(words.next().map_or("", |program| program));
    qemu.args(words).arg(image);
    qemu
}

/// That a run may take.
const LONGEST: Duration = Duration::from_secs(120);
