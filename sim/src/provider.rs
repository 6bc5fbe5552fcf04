//! The service that is called: fine, out, slow, limiting, silent or hanging, as the weather goes.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::{Mutex, PoisonError};

use steadfast::{Class, Classify, Retry, Verdict};

use crate::clock::{Scale, Timeline, Until};
use crate::plan::{Dice, FOREVER, MS, S};

/// What it says when it does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Reset,
    Overloaded,
    RateLimited(Duration),
    /// It may have been billed: once more, not oftener.
    Interrupted,
    BadRequest,
    /// Whoever blocks gave it up, for its time was over.
    OutOfTime,
}

#[derive(Clone, Copy, Debug)]
enum Weather {
    Fine,
    Outage,
    BrownOut,
    Limiting,
    /// So many a minute, and the rest of the minute to wait.
    Metered(u64),
    Hanging,
    /// Answers come, and nobody is woken.
    Silent,
    Mixed,
}

/// Its weather, each until when; and the minute of its clock, with what it served in it.
pub(crate) struct Provider {
    spells: Vec<(u64, Weather)>,
    served: Mutex<(u64, u64)>,
}

/// What one attempt will get.
pub(crate) struct Reply<'w> {
    ready: Until<'w>,
    wakes: bool,
    result: Result<(), Fault>,
}

impl Classify for Fault {
    fn verdict(&self) -> Verdict {
        match *self {
            Self::Reset => Verdict::of(Class::Transient),
            Self::Overloaded => Verdict::of(Class::Overloaded),
            Self::RateLimited(wait) => Verdict::of(Class::RateLimited).not_before(wait),
            Self::Interrupted => Verdict::of(Class::Timeout).retry(Retry::Once),
            Self::BadRequest => Verdict::of(Class::Permanent),
            Self::OutOfTime => Verdict::of(Class::Timeout),
        }
    }
}

impl Provider {
    pub(crate) fn new(dice: &mut Dice, horizon: u64) -> Self {
        let mut spells = Vec::new();
        let mut until = 0;
        while until < horizon {
            until += dice.scale((horizon / 64).max(1), horizon);
            let metered = Weather::Metered(dice.scale(1, 100));
            let weather = dice.pick([
                Weather::Fine,
                Weather::Fine,
                Weather::Outage,
                Weather::BrownOut,
                Weather::Limiting,
                metered,
                Weather::Hanging,
                Weather::Silent,
                Weather::Mixed,
            ]);
            spells.push((until, weather));
        }
        Self { spells, served: Mutex::new((0, 0)) }
    }

    pub(crate) fn reply<'w>(&self, timeline: &'w Timeline, dice: &mut Dice) -> Reply<'w> {
        let now = timeline.world();
        let spell = self.spells.iter().find(|&&(until, _)| now < until);
        let weather = match spell.map_or(Weather::Fine, |&(_, weather)| weather) {
            Weather::Mixed => dice.pick([
                Weather::Fine,
                Weather::Outage,
                Weather::BrownOut,
                Weather::Limiting,
                Weather::Hanging,
                Weather::Silent,
            ]),
            weather => weather,
        };
        let quick = dice.below(4).min(1) * dice.scale(MS, 2 * S);
        let failing = |percent, dice: &mut Dice, fault| {
            if dice.chance(percent) { Err(fault) } else { Ok(()) }
        };
        let (after, result) = match weather {
            Weather::Outage => (quick, Err(dice.pick([Fault::Reset, Fault::Overloaded]))),
            Weather::BrownOut => {
                let fault = dice.pick([Fault::Overloaded, Fault::Interrupted]);
                (dice.scale(S, 120 * S), failing(60, dice, fault))
            }
            Weather::Limiting => {
                let asked = dice.below(8).min(1) * dice.scale(1, 90 * S);
                (quick, failing(80, dice, Fault::RateLimited(Duration::from_micros(asked))))
            }
            Weather::Metered(most) => (quick, self.serve(now, most)),
            Weather::Hanging => (FOREVER, Ok(())),
            Weather::Fine | Weather::Silent | Weather::Mixed => {
                let fault = dice.pick([Fault::Reset, Fault::BadRequest, Fault::Interrupted]);
                (quick, failing(5, dice, fault))
            }
        };
        let ready = timeline.until(Scale::World, now.saturating_add(after));
        Reply { ready, wakes: !matches!(weather, Weather::Hanging | Weather::Silent), result }
    }

    fn serve(&self, now: u64, most: u64) -> Result<(), Fault> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let (minute, passed) = (now / MINUTE, now % MINUTE);
        let before = if served.0 == minute { served.1 } else { 0 };
        if before == most {
            return Err(Fault::RateLimited(Duration::from_micros(MINUTE - passed)));
        }
        *served = (minute, before + 1);
        Ok(())
    }
}

impl Future for Reply<'_> {
    type Output = Result<(), Fault>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.ready.is_over() {
            return Poll::Ready(self.result);
        }
        if self.wakes {
            let _ = Pin::new(&mut self.ready).poll(context);
        }
        Poll::Pending
    }
}

const MINUTE: u64 = 60 * S;
