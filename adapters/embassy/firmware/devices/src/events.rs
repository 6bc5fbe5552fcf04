//! What an image logs by defmt, decoded by its symbols.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use defmt_decoder::{DecodeError, Frame, Table};

use crate::board::Board;

pub(crate) fn check(board: &Board, image: &Path) -> Result<String> {
    let logged = board.run_raw(image, &["-icount", "sleep=off"])?;
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
        ensure!(line.starts_with(expected), "line {at} says {line:?}, and not {expected:?}");
    }
    ensure!(said.len() == EXPECTED.len(), "{} lines, and not {}", said.len(), EXPECTED.len());
    ensure!(said.is_sorted_by_key(|said| said.micros), "times that go back");
    let open = said[HALF_OPENED].micros - said[OPENED].micros;
    ensure!((2_000_000..2_200_000).contains(&open), "open for {open} µs");
    Ok(format!("{} events as defmt logs them, open for {open} µs, 3 told as lost", said.len()))
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

/// How the lines begin: of two waits the last digits follow from how fast the core is.
const EXPECTED: [&str; 15] = [
    "debug ai_summarize: attempt 1 failed (transient), next in 0.250000 s",
    "warn ai_summarize: breaker opened",
    "debug ai_summarize: refused: breaker open, for 2.0",
    "debug ai_summarize: refused: breaker open, for 2.0",
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
const OPENED: usize = 1;
const HALF_OPENED: usize = 4;
const REFUSED: &str = "debug ai_summarize: refused: breaker open";
