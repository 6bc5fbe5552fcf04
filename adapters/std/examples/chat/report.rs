//! What a run comes to, and two runs side by side.

use core::{fmt, time::Duration};

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use steadfast::{Reason, state::State};

use crate::{
    load::{Outcome, Run},
    script::{self, PHASES, Phase},
};

/// A run in figures.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) calls: usize,
    pub(crate) answered: usize,
    pub(crate) fell_back: usize,
    pub(crate) fell_back_at_once: usize,
    pub(crate) failed: usize,
    /// How long callers waited, whatever for.
    waited: Quantiles,
    /// How long callers waited who got an answer.
    waited_for_answer: Quantiles,
    pub(crate) retries: usize,
    /// Why attempts were not made, and how many.
    refusals: Vec<(Reason, usize)>,
    opened: usize,
    pub(crate) attempts: usize,
    attempts_by_phase: Vec<(Phase, usize)>,
    /// From the recovery to the first answer of the large model.
    recovered_after: Option<Duration>,
}

impl Summary {
    pub(crate) fn of(run: &Run) -> Self {
        let count = |outcome| run.calls.iter().filter(|call| call.outcome == outcome).count();
        let answers = run.calls.iter().filter(|call| call.outcome != Outcome::Failed);
        let recovery = script::recovery();
        let answered = run.calls.iter().filter(|call| call.outcome == Outcome::Answered);
        let since_recovery =
            answered.filter_map(|call| (call.started + call.latency).checked_sub(recovery));
        Self {
            calls: run.calls.len(),
            answered: count(Outcome::Answered),
            fell_back: count(Outcome::FellBack),
            fell_back_at_once: count(Outcome::FellBackAtOnce),
            failed: count(Outcome::Failed),
            waited: Quantiles::of(run.calls.iter().map(|call| call.latency)),
            waited_for_answer: Quantiles::of(answers.map(|call| call.latency)),
            retries: run.retries,
            refusals: by_reason(&run.refusals),
            opened: run.breaker.iter().filter(|(_, state)| *state == State::Open).count(),
            attempts: run.attempts.len(),
            attempts_by_phase: attempts_by_phase(&run.attempts),
            recovered_after: since_recovery.min(),
        }
    }

    fn share(&self, count: usize) -> String {
        format!("{count} ({:.1} %)", 100.0 * count as f64 / self.calls.max(1) as f64)
    }

    fn refused(&self) -> usize {
        self.refusals.iter().map(|(_, count)| count).sum()
    }

    fn refused_by(&self, reason: Reason) -> usize {
        self.refusals.iter().find(|(other, _)| *other == reason).map_or(0, |(_, count)| *count)
    }

    fn in_outage(&self) -> usize {
        self.attempts_by_phase
            .iter()
            .filter(|(phase, _)| phase.is_outage())
            .map(|(_, count)| count)
            .sum()
    }
}

/// Both runs side by side.
pub(crate) fn table(bare: &Summary, policy: &Summary) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(["", "bare", "under the policy"]);
    let mut row = |title: &str, figure: &dyn Fn(&Summary) -> String| {
        table.add_row([title.to_owned(), figure(bare), figure(policy)]);
    };
    row("calls", &|run| run.calls.to_string());
    row("succeeded (large model)", &|run| run.share(run.answered));
    row("answered by fallback (small model)", &|run| {
        run.share(run.fell_back + run.fell_back_at_once)
    });
    row("  of these at once, without an attempt", &|run| run.fell_back_at_once.to_string());
    row("failed", &|run| run.share(run.failed));
    row("all calls, p50 / p95 / p99", &|run| run.waited.to_string());
    row("answered calls, p50 / p95 / p99", &|run| run.waited_for_answer.to_string());
    row("retries", &|run| run.retries.to_string());
    row("attempts not made", &|run| run.refused().to_string());
    for (reason, _) in &policy.refusals {
        row(&format!("  {reason}"), &|run| run.refused_by(*reason).to_string());
    }
    row("breaker opened", &|run| run.opened.to_string());
    row("wire attempts on the large model", &|run| run.attempts.to_string());
    row("wire attempts during the outage", &|run| run.in_outage().to_string());
    for (index, act) in PHASES.iter().enumerate().filter(|(_, act)| act.phase.is_outage()) {
        let title = format!("  while it {}", act.phase.deed());
        row(&title, &|run| {
            run.attempts_by_phase.get(index).map_or(0, |(_, count)| *count).to_string()
        });
    }
    row("first success after recovery", &|run| match run.recovered_after {
        Some(wait) => format!("{:.2} s", wait.as_secs_f64()),
        None => "never".to_owned(),
    });
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// What a breaker's state is called.
pub(crate) const fn name(state: State) -> &'static str {
    match state {
        State::Closed => "closed",
        State::Open => "open",
        State::HalfOpen => "half-open",
    }
}

/// Each reason there is, in the order in which they first came.
fn by_reason(refusals: &[Reason]) -> Vec<(Reason, usize)> {
    let mut counts: Vec<(Reason, usize)> = Vec::new();
    for reason in refusals {
        match counts.iter_mut().find(|(other, _)| other == reason) {
            Some((_, count)) => *count += 1,
            None => counts.push((*reason, 1)),
        }
    }
    counts
}

fn attempts_by_phase(attempts: &[Duration]) -> Vec<(Phase, usize)> {
    let within = |begins: Duration, lasts: Duration| {
        attempts.iter().filter(|at| (begins..begins + lasts).contains(*at)).count()
    };
    script::scenes(&PHASES).map(|(begins, act)| (act.phase, within(begins, act.lasts))).collect()
}

#[derive(Clone, Copy, Debug)]
struct Quantiles {
    p50: Duration,
    p95: Duration,
    p99: Duration,
}

impl Quantiles {
    /// By nearest rank: each is a latency that was.
    fn of(latencies: impl Iterator<Item = Duration>) -> Self {
        let mut sorted: Vec<Duration> = latencies.collect();
        sorted.sort_unstable();
        let rank = |percent: usize| (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        let at = |percent| sorted.get(rank(percent)).copied().unwrap_or_default();
        Self { p50: at(50), p95: at(95), p99: at(99) }
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} / {} / {} ms",
            self.p50.as_millis(),
            self.p95.as_millis(),
            self.p99.as_millis()
        )
    }
}
