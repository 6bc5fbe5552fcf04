//! What an image logs by defmt, decoded by its symbols.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use defmt_decoder::{DecodeError, Frame, Table};
use devices::board::Board;

pub(crate) fn check(board: &Board, image: &Path) -> Result<String> {
    let logged = board.said(image, &["-icount", "sleep=off"])?.output;
    let symbols = fs::read(image)?;
    let table = Table::parse(&symbols)?.context("the image logs nothing by defmt")?;
    let mut decoder = table.new_stream_decoder();
    decoder.received(&logged);
    let mut said = Vec::new();
    loop {
        match decoder.decode() {
            Ok(frame) => said.push(Said::of(&frame)?),
            Err(DecodeError::UnexpectedEof) => break,
            Err(DecodeError::Malformed) => bail!("malformed after {} lines", said.len()),
        }
    }
    for (at, expected) in EXPECTED.iter().enumerate() {
        let line = said.get(at).map_or("nothing", |said| &said.line);
        let as_expected = match expected.strip_suffix(SOME_WAIT) {
            Some(begin) => line.strip_prefix(begin).is_some_and(is_wait),
            None => line == *expected,
        };
        ensure!(as_expected, "line {at} says {line:?}, and not {expected:?}");
    }
    ensure!(said.len() == EXPECTED.len(), "{} lines, and not {}", said.len(), EXPECTED.len());
    let between = |from: usize, to: usize| said[to].micros.checked_sub(said[from].micros);
    ensure!((1..said.len()).all(|at| between(at - 1, at).is_some()), "times that go back");
    for (from, to, least) in TIMES {
        let micros = between(from, to).unwrap_or(0);
        ensure!((least..least + 200_000).contains(&micros), "line {to} is said after {micros} µs");
    }
    Ok(format!("{} events as defmt logs them, and that 3 were lost", said.len() - 1))
}

/// Whether that is a number of seconds within the open period, which ends a tick of 16 ms later at most.
fn is_wait(text: &str) -> bool {
    let seconds = text.strip_suffix(" s").map(str::parse::<f64>);
    matches!(seconds, Some(Ok(seconds)) if 0.0 < seconds && seconds < 2.017)
}

struct Said {
    micros: u64,
    line: String,
}

impl Said {
    fn of(frame: &Frame<'_>) -> Result<Self> {
        let time = frame.display_timestamp().context("no time")?.to_string();
        let (seconds, rest) = time.split_once('.').with_context(|| time.clone())?;
        let micros = seconds.parse::<u64>()? * 1_000_000 + rest.parse::<u64>()?;
        let level = frame.level().context("no level")?.as_str();
        Ok(Self { micros, line: format!("{level} {}", frame.display_message()) })
    }
}

/// What is said: how long a breaker still refuses follows from how fast the core is.
const EXPECTED: [&str; 16] = [
    "debug ai_summarize: attempt 1 failed (transient), next in 0.250000 s",
    "warn ai_summarize: breaker opened",
    "debug ai_summarize: refused: breaker open, for …",
    "debug ai_summarize: refused: breaker open, for …",
    "debug ai_summarize: refused: breaker open, for …",
    "info ai_summarize: breaker half-open",
    "info ai_summarize: breaker closed",
    REFUSED,
    REFUSED,
    REFUSED,
    REFUSED,
    REFUSED,
    REFUSED,
    REFUSED,
    REFUSED,
    "warn 3 events lost",
];
/// From which line to which it takes how long, in microseconds: the back-off, what is left when it still
/// refuses, and the open period.
const TIMES: [(usize, usize, u64); 3] = [(0, 1, 250_000), (1, 4, 1_900_000), (1, 5, 2_000_000)];
/// Of forced refusals nobody knows the end.
const REFUSED: &str = "debug ai_summarize: refused: breaker open";
const SOME_WAIT: char = '…';
