//! The lines that live while a run does. Without a terminal, one line a run.

use core::time::Duration;
use std::{io, io::IsTerminal as _};

use indicatif::{ProgressBar, ProgressStyle};

use steadfast::state::State;

use crate::{
    load::Run,
    report,
    script::{self, PHASES},
};

#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new(title: &'static str) -> Self {
        let length = script::length();
        if !io::stderr().is_terminal() {
            eprintln!("{title}: {} s", length.as_secs());
        }
        // Draws on standard error, and nothing at all where that is no terminal.
        let bar = ProgressBar::new(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
        let style = ProgressStyle::with_template("{prefix:8} [{bar:40}] {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.set_prefix(title);
        Self { bar }
    }

    pub(crate) fn show(&self, run: &Run, elapsed: Duration) {
        self.bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        self.bar.set_message(format!(
            "{:4.1} s  {}\n  breaker {}, {} calls, {} retries, {} refused",
            elapsed.as_secs_f64(),
            script::phase_at(&PHASES, elapsed).label(),
            report::name(run.breaker.last().map_or(State::Closed, |(_, state)| *state)),
            run.calls.len(),
            run.retries,
            run.refusals.len(),
        ));
    }

    /// Leaves the last line standing.
    pub(crate) fn finish(self) {
        self.bar.abandon();
    }
}
