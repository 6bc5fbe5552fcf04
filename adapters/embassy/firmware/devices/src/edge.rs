//! The edge client against the scripted chat service: its metrics, as they come over the second line,
//! beside what it said.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use devices::board::Board;
use devices::running::Running;
use serde::Deserialize;

use crate::script::Script;

/// Runs the image on `board`, connected to `chat`, the example of `steadfast-std`.
pub(crate) fn check(board: &Board, image: &Path, chat: &Path) -> Result<String> {
    let begun = Instant::now();
    let mut command = Command::new(chat);
    command.args(["--serve-only", "--script", "device"]);
    let (_service, from_service) =
        Running::start(&mut command).with_context(|| chat.display().to_string())?;
    let first = from_service.recv_timeout(STARTED_WITHIN).context("the service is silent")?;
    let port = port(&first).with_context(|| format!("the service says: {first}"))?;

    let metrics = TcpListener::bind(("127.0.0.1", 0))?;
    let mut qemu = board.qemu_by_host_time(image);
    // After the runner's first line, which is not connected.
    qemu.args(["-chardev", &format!("socket,id=ai,host=127.0.0.1,port={port},reconnect=1")])
        .args(["-serial", "chardev:ai"])
        .args(["-serial", &format!("tcp:{}", metrics.local_addr()?)]);
    let (mut device, from_device) = Running::start(&mut qemu)?;
    let (mut told, mut script) = (Told::default(), Script::default());
    while let Some(left) = ENDED_WITHIN.checked_sub(begun.elapsed()) {
        while let Ok(phase) = from_service.try_recv() {
            println!("             the service: {phase}");
            script.phase(&phase);
        }
        match from_device.recv_timeout(left.min(Duration::from_millis(100))) {
            Ok(line) => {
                println!("{line}");
                told.take(&line);
                script.take(line.trim());
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    // It closes its output a little before it ends.
    thread::sleep(Duration::from_millis(200));
    ensure!(told.mistaken == 0, "{} answers to other readings were taken", told.mistaken);
    match device.ended()? {
        None => bail!("still runs after {} s", ENDED_WITHIN.as_secs()),
        Some(status) => ensure!(status.success(), "{status}: {}; {}", told.end, told.last),
    }
    let mut frame = Vec::new();
    metrics.accept()?.0.read_to_end(&mut frame)?;
    let report: Report = postcard::from_bytes_cobs(&mut frame)?;
    let (operation, breaker) = report.parts().context("another operation than expected")?;
    let mut wrong = told.differences(operation, breaker);
    wrong.extend(script.missing());
    ensure!(wrong.is_empty(), "{}\n{told:#?}\n{report:#?}\n{script:#?}", wrong.join("\n"));
    let Calls { started, succeeded, fell_back, failed, refused, .. } = operation.calls;
    Ok(format!(
        "{started} calls: {succeeded} answered, {fell_back} fell back, {failed} failed, {refused} refused; \
         {} attempts, {} retries; breaker opened {}, closed {}; {} late answers skipped; {} s",
        operation.attempts.started,
        operation.retries,
        breaker.metrics.opened,
        breaker.metrics.closed,
        told.skipped,
        begun.elapsed().as_secs(),
    ))
}

/// What the image printed, counted.
#[derive(Debug, Default)]
struct Told {
    answered: u64,
    fell_back: u64,
    failed: u64,
    refused: u64,
    last: String,
    /// Calls without an attempt.
    unattempted: u64,
    retries: u64,
    refusals: BTreeMap<String, u64>,
    transitions: [u64; 3],
    skipped: u64,
    mistaken: u64,
    /// The image's last line.
    end: String,
}

impl Told {
    fn take(&mut self, line: &str) {
        let line = line.trim();
        self.unattempted += u64::from(line.contains("no attempt made"));
        if let Some(event) = line.strip_prefix("· ") {
            self.event(event);
        } else if let Some((_, call)) = line.split_once(" call ") {
            let ended = call.split(':').next().and_then(|call| call.split_once(' '));
            let count = match ended {
                Some((_, "answered")) => &mut self.answered,
                Some((_, "fell back")) => &mut self.fell_back,
                Some((_, "failed")) => &mut self.failed,
                Some((_, "refused")) => &mut self.refused,
                _ => return,
            };
            *count += 1;
            self.last = call.to_owned();
        } else if let Some((mistaken, rest)) = line.split_once(" answers mistaken, ") {
            self.mistaken = mistaken.parse().unwrap_or(0);
            self.end = line.to_owned();
            self.skipped = rest.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        }
    }

    fn event(&mut self, event: &str) {
        match event {
            "breaker opened" => self.transitions[0] += 1,
            "breaker half-open" => self.transitions[1] += 1,
            "breaker closed" => self.transitions[2] += 1,
            _ if event.starts_with("attempt ") => self.retries += 1,
            _ => {
                if let Some(reason) = event.strip_prefix("refused: ") {
                    let reason = reason.split(',').next().unwrap_or(reason);
                    *self.refusals.entry(reason.to_owned()).or_default() += 1;
                }
            }
        }
    }

    /// What does not hold, of what the image printed and of the metrics that it sent.
    fn differences(&self, operation: &Operation, breaker: &CircuitBreaker) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut hold = |what: &str, holds: bool| {
            if !holds {
                wrong.push(format!("wrong: {what}"));
            }
        };
        let Operation { calls, attempts, retries, refusals, .. } = operation;
        let (moved, told) = (&breaker.metrics, |reason| self.refusals.get(reason).copied());
        let ended = calls.succeeded + calls.failed + calls.refused + calls.fell_back;
        hold("calls add up", calls.started == ended && calls.cancelled + calls.in_flight == 0);
        hold(
            "attempts add up",
            attempts.started == attempts.succeeded + attempts.failed + attempts.timed_out
                && attempts.cancelled + attempts.in_flight == 0
                && attempts.started + self.unattempted == calls.started + retries,
        );
        hold("answered as printed", calls.succeeded == self.answered);
        hold("an answer for each success", attempts.succeeded == self.answered);
        hold("fell back as printed", calls.fell_back == self.fell_back);
        hold("failed as printed", calls.failed == self.failed);
        hold("refused as printed", calls.refused == self.refused);
        hold("retries as printed", *retries == self.retries);
        let reasons = [
            ("breaker open", refusals.breaker_open),
            ("budget spent", refusals.budget),
            ("retry window over", refusals.window),
            ("deadline passed", refusals.deadline),
            ("asked to wait longer than allowed", refusals.asked_wait),
        ];
        for (reason, count) in reasons {
            hold(&format!("refusals as printed: {reason}"), count == told(reason).unwrap_or(0));
        }
        let counted = [moved.opened, moved.half_opened, moved.closed];
        hold("transitions as printed", counted == self.transitions);
        hold("the breaker opened, and closed again", moved.opened > 0 && moved.closed > 0);
        hold("it is closed at the end", breaker.state == "closed");
        hold("the device answered by itself", calls.fell_back > 0);
        hold("the last call was answered", self.last.contains(" answered: "));
        hold(
            "some attempts failed, some had no time left",
            attempts.failed.min(attempts.timed_out) > 0,
        );
        hold(
            "some calls were retried, most were answered",
            *retries > 0 && calls.succeeded * 2 > ended,
        );
        hold("late answers came", self.skipped > 0);
        wrong
    }
}

/// The port in `serving http://127.0.0.1:4321/v1/chat/completions`.
fn port(line: &str) -> Option<u16> {
    line.strip_prefix("serving http://127.0.0.1:")?.split('/').next()?.parse().ok()
}

// What `Orchestrator::report` writes: see `steadfast::orchestrator::report`.

#[derive(Debug, Deserialize)]
struct Report {
    operations: BTreeMap<String, Operation>,
    circuit_breakers: BTreeMap<String, CircuitBreaker>,
    #[expect(dead_code, reason = "it is part of the report")]
    summary: Summary,
}

impl Report {
    fn parts(&self) -> Option<(&Operation, &CircuitBreaker)> {
        Some((self.operations.get(OPERATION)?, self.circuit_breakers.get(OPERATION)?))
    }
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "as the report has it")]
struct Operation {
    strategy: String,
    calls: Calls,
    attempts: Attempts,
    retries: u64,
    slow: u64,
    refusals: Refusals,
    success_rate: u32,
    failure_rate: u32,
    latency: [Option<u64>; 3],
    attempt_latency: [Option<u64>; 3],
    last_success: Option<u64>,
    last_failure: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Calls {
    started: u64,
    succeeded: u64,
    failed: u64,
    refused: u64,
    fell_back: u64,
    cancelled: u64,
    in_flight: u64,
}

#[derive(Debug, Deserialize)]
struct Attempts {
    started: u64,
    succeeded: u64,
    failed: u64,
    timed_out: u64,
    cancelled: u64,
    in_flight: u64,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "as the report has it")]
struct Refusals {
    breaker_open: u64,
    gated: u64,
    bulkhead_full: u64,
    limited: u64,
    budget: u64,
    window: u64,
    deadline: u64,
    asked_wait: u64,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "as the report has it")]
struct CircuitBreaker {
    state: String,
    mode: String,
    failure_threshold: u32,
    recovery_timeout: u64,
    remaining_ms: u64,
    metrics: Transitions,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "as the report has it")]
struct Transitions {
    opened: u64,
    half_opened: u64,
    closed: u64,
    late_outcomes: u64,
    shadowed: u64,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "as the report has it")]
struct Summary {
    total_operations: usize,
    total_circuit_breakers: usize,
    healthy_circuit_breakers: usize,
    timestamp: Option<u64>,
}

const OPERATION: &str = "ai_reading";
const STARTED_WITHIN: Duration = Duration::from_secs(10);
const ENDED_WITHIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::{Attempts, Calls, CircuitBreaker, Operation, Refusals, Told, Transitions};

    /// What a run printed and what it sent, of which nothing differs.
    fn alike() -> (Told, Operation, CircuitBreaker) {
        let reasons =
            ["breaker open", "budget spent", "retry window over", "deadline passed", ASKED_WAIT];
        let told = Told {
            answered: 6,
            fell_back: 2,
            failed: 1,
            refused: 1,
            last: "10 answered: water it, after 20 ms".to_owned(),
            unattempted: 2,
            retries: 3,
            refusals: reasons.map(|reason| (reason.to_owned(), 1)).into(),
            transitions: [1; 3],
            skipped: 1,
            mistaken: 0,
            end: String::new(),
        };
        let operation = Operation {
            strategy: "balanced".to_owned(),
            calls: Calls {
                started: 10,
                succeeded: 6,
                failed: 1,
                refused: 1,
                fell_back: 2,
                cancelled: 0,
                in_flight: 0,
            },
            attempts: Attempts {
                started: 11,
                succeeded: 6,
                failed: 3,
                timed_out: 2,
                cancelled: 0,
                in_flight: 0,
            },
            retries: 3,
            slow: 0,
            refusals: Refusals {
                breaker_open: 1,
                gated: 0,
                bulkhead_full: 0,
                limited: 0,
                budget: 1,
                window: 1,
                deadline: 1,
                asked_wait: 1,
            },
            success_rate: 0,
            failure_rate: 0,
            latency: [None; 3],
            attempt_latency: [None; 3],
            last_success: None,
            last_failure: None,
        };
        let breaker = CircuitBreaker {
            state: "closed".to_owned(),
            mode: "normal".to_owned(),
            failure_threshold: 3,
            recovery_timeout: 2_000,
            remaining_ms: 0,
            metrics: Transitions {
                opened: 1,
                half_opened: 1,
                closed: 1,
                late_outcomes: 0,
                shadowed: 0,
            },
        };
        (told, operation, breaker)
    }

    /// What differs after a change.
    fn differs(change: fn(&mut Told, &mut Operation, &mut CircuitBreaker)) -> Vec<String> {
        let (mut told, mut operation, mut breaker) = alike();
        change(&mut told, &mut operation, &mut breaker);
        told.differences(&operation, &breaker)
    }

    #[test]
    fn of_what_is_alike_nothing_differs() {
        assert_eq!(differs(|_, _, _| ()), [""; 0]);
    }

    #[test]
    fn calls_and_attempts_that_do_not_add_up_are_told() {
        let (calls, attempts) = ("wrong: calls add up", "wrong: attempts add up");
        assert_eq!(differs(|_, sent, _| sent.calls.started += 1), [calls, attempts]);
        assert_eq!(differs(|_, sent, _| sent.calls.cancelled += 1), [calls]);
        assert_eq!(differs(|_, sent, _| sent.calls.in_flight += 1), [calls]);
        assert_eq!(differs(|_, sent, _| sent.attempts.started += 1), [attempts]);
        assert_eq!(differs(|_, sent, _| sent.attempts.failed += 1), [attempts]);
        assert_eq!(differs(|_, sent, _| sent.attempts.timed_out += 1), [attempts]);
        assert_eq!(differs(|_, sent, _| sent.attempts.cancelled += 1), [attempts]);
        assert_eq!(differs(|_, sent, _| sent.attempts.in_flight += 1), [attempts]);
        assert_eq!(differs(|told, _, _| told.unattempted += 1), [attempts]);
    }

    #[test]
    fn what_was_printed_otherwise_is_told() {
        assert_eq!(
            differs(|told, _, _| told.answered += 1),
            ["wrong: answered as printed", "wrong: an answer for each success"],
        );
        let swapped = differs(|_, Operation { attempts, .. }, _| {
            (attempts.succeeded, attempts.failed) = (attempts.succeeded - 1, attempts.failed + 1);
        });
        assert_eq!(swapped, ["wrong: an answer for each success"]);
        assert_eq!(differs(|told, _, _| told.fell_back += 1), ["wrong: fell back as printed"]);
        assert_eq!(differs(|told, _, _| told.failed += 1), ["wrong: failed as printed"]);
        assert_eq!(differs(|told, _, _| told.refused += 1), ["wrong: refused as printed"]);
        assert_eq!(differs(|told, _, _| told.retries += 1), ["wrong: retries as printed"]);
        for at in [
            |told: &mut Told, _: &mut Operation, _: &mut CircuitBreaker| told.transitions[0] += 1,
            |told: &mut Told, _: &mut Operation, _: &mut CircuitBreaker| told.transitions[1] += 1,
            |told: &mut Told, _: &mut Operation, _: &mut CircuitBreaker| told.transitions[2] += 1,
        ] {
            assert_eq!(differs(at), ["wrong: transitions as printed"]);
        }
    }

    #[test]
    fn refusals_for_another_reason_are_told() {
        let told = |reason| [format!("wrong: refusals as printed: {reason}")];
        let counted = differs(|_, sent, _| sent.refusals.breaker_open += 1);
        assert_eq!(counted, told("breaker open"));
        assert_eq!(differs(|_, sent, _| sent.refusals.budget += 1), told("budget spent"));
        assert_eq!(differs(|_, sent, _| sent.refusals.window += 1), told("retry window over"));
        assert_eq!(differs(|_, sent, _| sent.refusals.deadline += 1), told("deadline passed"));
        assert_eq!(differs(|_, sent, _| sent.refusals.asked_wait += 1), told(ASKED_WAIT));
        let unprinted = differs(|told, _, _| _ = told.refusals.remove("budget spent"));
        assert_eq!(unprinted, told("budget spent"));
    }

    #[test]
    fn what_must_have_happened_and_did_not_is_told() {
        let opened = "wrong: the breaker opened, and closed again";
        let never = |told: &mut Told, _: &mut Operation, breaker: &mut CircuitBreaker| {
            (told.transitions[0], breaker.metrics.opened) = (0, 0);
        };
        assert_eq!(differs(never), [opened]);
        let for_good = |told: &mut Told, _: &mut Operation, breaker: &mut CircuitBreaker| {
            (told.transitions[2], breaker.metrics.closed) = (0, 0);
        };
        assert_eq!(differs(for_good), [opened]);
        let open = differs(|_, _, breaker| breaker.state = "open".to_owned());
        assert_eq!(open, ["wrong: it is closed at the end"]);
        let by_itself = differs(|told, Operation { calls, .. }, _| {
            (told.fell_back, told.failed) = (0, 3);
            (calls.fell_back, calls.failed) = (0, 3);
        });
        assert_eq!(by_itself, ["wrong: the device answered by itself"]);
        let last = differs(|told, _, _| told.last = "10 failed: deadline passed".to_owned());
        assert_eq!(last, ["wrong: the last call was answered"]);
        let kinds = "wrong: some attempts failed, some had no time left";
        let failed = differs(|_, sent, _| {
            (sent.attempts.failed, sent.attempts.timed_out) = (5, 0);
        });
        assert_eq!(failed, [kinds]);
        let timed_out = differs(|_, sent, _| {
            (sent.attempts.failed, sent.attempts.timed_out) = (0, 5);
        });
        assert_eq!(timed_out, [kinds]);
        assert_eq!(differs(|told, _, _| told.skipped = 0), ["wrong: late answers came"]);
    }

    #[test]
    fn too_few_retries_and_answers_are_told() {
        let few = "wrong: some calls were retried, most were answered";
        let once = differs(|told, sent, _| {
            (told.retries, sent.retries) = (0, 0);
            (sent.attempts.started, sent.attempts.failed, sent.attempts.timed_out) = (8, 1, 1);
        });
        assert_eq!(once, [few]);
        let half = differs(|told, Operation { calls, attempts, .. }, _| {
            (told.answered, told.failed) = (5, 2);
            (calls.succeeded, calls.failed) = (5, 2);
            (attempts.succeeded, attempts.failed) = (5, 4);
        });
        assert_eq!(half, [few]);
    }

    const ASKED_WAIT: &str = "asked to wait longer than allowed";
}
