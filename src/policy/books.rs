//! What an execution's steps count as.

use super::progress::{Came, Entry, Progress};
use crate::error::Reason;
use crate::fault;
use crate::state::{Meter, Settled, Tally, Transition};

pub(super) fn count(meter: &dyn Meter, progress: &Progress<'_>, entry: Entry<'_, '_>) {
    let now = progress.now;
    match entry {
        Entry::Granted(attempt) => {
            if progress.made > 1 {
                meter.count(Tally::Retried);
            }
            if attempt.is_shadowed() {
                meter.count(Tally::Shadowed);
            }
            count_settled(meter, progress.settled);
        }
        Entry::Succeeded(attempt) => {
            if now > attempt.ends {
                meter.count(Tally::Slow);
            }
            count_settled(meter, progress.settled);
            match progress.ended {
                // The other attempt answered the call already: of this one, only the breaker hears.
                true => meter.count(Tally::AttemptCancelled),
                false => {
                    let (call, attempt) = (now.since(progress.began), now.since(attempt.granted));
                    meter.succeeded(progress.shard, now, call, attempt);
                }
            }
        }
        Entry::Failed(attempt) | Entry::TimedOut(attempt) => {
            meter.count(match entry {
                Entry::Failed(_) => Tally::AttemptFailed,
                _ => Tally::AttemptTimedOut,
            });
            meter.failed(progress.shard, now, now.since(attempt.granted));
            count_settled(meter, progress.settled);
        }
        Entry::Refused => count_refusal(meter, progress),
        Entry::GaveUp => {
            count_refusal(meter, progress);
            if progress.made == 0 {
                meter.count(Tally::Unattempted);
            }
            if !progress.keep_open {
                meter.count(gave_up(progress));
            }
        }
        Entry::Ended => meter.count(gave_up(progress)),
        Entry::FellBack => meter.count(Tally::CallFellBack),
        Entry::Cancelled => {
            // A call that was refused and is kept open counted that already.
            if progress.made == 0 && !matches!(progress.came, Came::Refused) {
                meter.count(Tally::Unattempted);
            }
            meter.count(Tally::CallCancelled);
        }
    }
}

const fn gave_up(progress: &Progress<'_>) -> Tally {
    if progress.made == 0 { Tally::CallRefused } else { Tally::CallFailed }
}

fn count_settled(meter: &dyn Meter, settled: Settled) {
    meter.count(match settled {
        Settled::Counted | Settled::Shadowed => return,
        Settled::Moved(Transition::Opened) => Tally::Opened,
        Settled::Moved(Transition::HalfOpened) => Tally::HalfOpened,
        Settled::Moved(Transition::Closed) => Tally::Closed,
        Settled::Late => Tally::LateOutcome,
    });
}

/// Unless the execution's own attempts are what is spent.
fn count_refusal(meter: &dyn Meter, progress: &Progress<'_>) {
    meter.count(match progress.reason {
        Reason::BreakerOpen => Tally::BreakerOpen,
        Reason::Gated => Tally::Gated,
        Reason::BulkheadFull => Tally::BulkheadFull,
        Reason::Limited if fault::UNCOUNTED_LIMIT && matches!(progress.came, Came::GaveUp) => {
            return;
        }
        Reason::Limited => Tally::Limited,
        Reason::Budget => Tally::Budget,
        Reason::Window => Tally::Window,
        Reason::Deadline => Tally::Deadline,
        Reason::AskedWait => Tally::AskedWait,
        Reason::Class | Reason::Attempts => return,
    });
}
