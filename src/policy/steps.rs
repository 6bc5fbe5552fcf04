//! The steps of an execution, and how it goes on after each.

use core::mem;

use super::attempt::Attempt;
use super::classify::{Class, Retry, Verdict};
use super::pace::Pace;
use super::progress::{Came, Entry, NOBODY_KNOWS, Progress};
use super::terms::{Terms, foresee_permit};
use crate::clock::Instant;
use crate::error::Reason;
use crate::fault;
use crate::state::{Guarded as _, Outcome, Settled};

impl<'p> Progress<'p> {
    /// One that begins.
    pub(super) fn begun(terms: &Terms<'p>, now: Instant, shard: usize) -> Self {
        if let Some(books) = terms.books {
            books.meter.started(shard);
        }
        Self {
            now,
            until: now,
            began: now,
            ends: now.plus(terms.limits.deadline),
            asked_until: NOBODY_KNOWS,
            previous_wait: 0,
            books: terms.books,
            shard,
            attempts: terms.limits.attempts,
            made: 0,
            under_way: 0,
            came: Came::Nothing,
            settled: Settled::Counted,
            reason: Reason::Attempts,
            class: None,
            allowed: Retry::Yes,
            retried_once: false,
            undecided: false,
            asked: false,
            ended: false,
            keep_open: false,
        }
    }

    /// Grants the next attempt, with none under way; if not, the execution is over.
    #[inline(never)]
    pub(super) fn ask(&mut self, terms: &Terms<'p>, attempt: &mut Attempt<'p>) -> bool {
        self.settled = Settled::Counted;
        match self.admit(terms, attempt) {
            Ok(()) => {
                (self.asked, self.asked_until) = (false, NOBODY_KNOWS);
                (self.allowed, self.undecided) = (Retry::Yes, false);
                self.granted(attempt);
                true
            }
            Err(reason) => {
                self.came = Came::Refused;
                self.asked_until = self.until;
                self.give_up(reason);
                false
            }
        }
    }

    /// Grants an attempt beside one that is under way, or does not.
    #[cold]
    #[inline(never)]
    pub(super) fn second(&mut self, terms: &Terms<'p>, attempt: &mut Attempt<'p>) -> bool {
        (self.came, self.settled) = (Came::Nothing, Settled::Counted);
        let closed = terms.breaker.is_none_or(|breaker| breaker.shared().is_closed());
        // One that failed beside the one under way may forbid it, or have it wait.
        let allowed = matches!(self.allowed, Retry::Yes) && self.asked_until <= self.now;
        if self.under_way > 1 || !closed || !allowed || self.made >= self.attempts {
            return false;
        }
        let paid = terms.budget.is_none_or(|(rule, tokens)| tokens.withdraw(&rule, self.now));
        let granted = match paid {
            true => self.admit(terms, attempt).inspect_err(|_| self.came = Came::Refused),
            false => Err(Reason::Budget),
        };
        match granted {
            Ok(()) => {
                self.granted(attempt);
                true
            }
            Err(reason) => {
                // Nothing failed, and nothing is made of it.
                if let Some((rule, tokens)) = &terms.budget {
                    tokens.give_back(rule);
                }
                self.reason = reason;
                self.enter(Entry::Refused);
                false
            }
        }
    }

    /// Grants the next attempt as [`ask`](Self::ask) does, after one was taken back beside which
    /// another had failed: if that failure allows it.
    #[cold]
    #[inline(never)]
    pub(super) fn ask_after_failure(
        &mut self,
        terms: &Terms<'p>,
        attempt: &mut Attempt<'p>,
    ) -> bool {
        self.settled = Settled::Counted;
        let free = matches!(self.allowed, Retry::Never);
        let allowed = self.allow(terms, free).and(match self.asked_until > self.now {
            true => Err(Reason::AskedWait),
            false => Ok(()),
        });
        match allowed {
            Ok(()) => self.ask(terms, attempt),
            Err(reason) => {
                self.came = Came::GaveUp;
                self.until = self.asked_until;
                self.give_up(reason);
                false
            }
        }
    }

    fn granted(&mut self, attempt: &mut Attempt<'p>) {
        self.made += 1;
        attempt.number = self.made;
        self.under_way += 1;
        self.came = Came::Nothing;
        self.enter(Entry::Granted(attempt));
    }

    /// The stages that an attempt passes, in their order.
    fn admit(&mut self, terms: &Terms<'p>, attempt: &mut Attempt<'p>) -> Result<(), Reason> {
        let (now, ends) = (self.now, self.ends);
        self.until = NOBODY_KNOWS;
        if over(now, ends) {
            return Err(Reason::Deadline);
        }
        if self.made >= self.attempts {
            return Err(Reason::Attempts);
        }
        // A sleep may have ended late.
        if self.made > 0 && now > self.window_ends(terms) {
            return Err(Reason::Window);
        }
        (terms.gates.enter)(self, terms, attempt)?;
        let timeout = terms.timeout_at(now);
        attempt.cut = ends < timeout;
        attempt.ends = timeout.min(ends);
        attempt.granted = now;
        attempt.meter = self.books.map(|books| books.meter);
        Ok(())
    }

    /// Takes an attempt's answer.
    #[inline(never)]
    pub(super) fn succeed(&mut self, terms: &Terms<'p>, attempt: &mut Attempt<'p>) {
        self.no_longer_under_way(attempt);
        self.report(terms, attempt, Outcome::Success);
        if let Some((rule, tokens)) = &terms.budget {
            tokens.deposit(rule);
        }
        self.enter(Entry::Succeeded(attempt));
        self.ended = true;
        attempt.give_back();
    }

    /// Takes an attempt's failure: whether it is [`Came::Again`] or [`Came::GaveUp`], if no other
    /// attempt is under way.
    #[inline(never)]
    pub(super) fn fail(
        &mut self,
        terms: &Terms<'p>,
        attempt: &mut Attempt<'p>,
        verdict: &Verdict,
        returned: bool,
        pace: &dyn Pace,
    ) -> Came {
        let now = self.now;
        self.no_longer_under_way(attempt);
        self.class = Some(verdict.class);
        self.allowed = self.allowed.least(verdict.retry);
        if let Some(wait) = verdict.asked_wait {
            self.asked = true;
            self.asked_until = self.asked_until.max(now.plus(wait));
        }
        // An operation that keeps to the time it is told cuts itself.
        let timed_out = !returned || matches!(verdict.class, Class::Timeout) && now >= attempt.ends;
        let cut = attempt.cut && timed_out;
        // Cut by the deadline, it might have been about to answer: it says nothing.
        if !cut && verdict.class.fails() {
            self.report(terms, attempt, Outcome::Failure);
        }
        self.enter(if returned { Entry::Failed(attempt) } else { Entry::TimedOut(attempt) });
        // Whatever it held goes back before anything is decided on.
        attempt.give_back();
        self.undecided = self.under_way > 0;
        if !self.undecided && !self.ended {
            self.until = self.asked_until;
            self.came = Came::Again;
            let free = matches!(verdict.retry, Retry::Never);
            if let Err(reason) = self.again(terms, free, cut, pace) {
                self.came = Came::GaveUp;
                let until = self.until;
                let _ = foresee_permit(self, terms, now);
                (self.asked_until, self.until) = (self.until, until);
                self.give_up(reason);
            }
        }
        self.came
    }

    /// Notes that an attempt is over that is settled, whatever came of it.
    #[inline(never)]
    fn no_longer_under_way(&mut self, attempt: &mut Attempt<'p>) {
        self.under_way = self.under_way.saturating_sub(1);
        (self.came, self.settled) = (Came::Nothing, Settled::Counted);
        if !fault::DOUBLE_COUNT {
            attempt.meter = None;
        }
    }

    #[inline(never)] // Once for those that fail and those that succeed.
    fn report(&mut self, terms: &Terms<'p>, attempt: &mut Attempt<'p>, outcome: Outcome) {
        let now = self.now;
        // Another policy's attempt is given back: this one's rule is not that of its breaker.
        let Some(breaker) = &terms.breaker else { return };
        let Some(pass) = attempt.pass.take_if(|pass| pass.is_of(breaker)) else { return };
        self.settled = match terms.window {
            None => pass.settle(breaker, now, outcome),
            Some((window, settle)) => settle(window, self, attempt, pass, breaker, outcome),
        };
    }

    /// Whether its failures allow another attempt, and pay for it.
    #[inline(always)] // Mostly it is asked in one place.
    fn allow(&mut self, terms: &Terms<'p>, free: bool) -> Result<(), Reason> {
        // Each retryable failure takes its token, whether or not a retry follows.
        let paid = free
            || terms.budget.as_ref().is_none_or(|(rule, tokens)| tokens.withdraw(rule, self.now));
        match self.allowed {
            Retry::Never => return Err(Reason::Class),
            Retry::Once if mem::replace(&mut self.retried_once, true) => return Err(Reason::Class),
            Retry::Once | Retry::Yes => {}
        }
        if self.made >= self.attempts {
            return Err(Reason::Attempts);
        }
        if !paid && !fault::FREE_RETRY {
            return Err(Reason::Budget);
        }
        Ok(())
    }

    /// Whether to attempt again, and when. Of a [`Retry::Never`],
    /// the failure is `free`.
    fn again(
        &mut self,
        terms: &Terms<'p>,
        free: bool,
        cut: bool,
        pace: &dyn Pace,
    ) -> Result<(), Reason> {
        let now = self.now;
        if cut {
            return Err(Reason::Deadline);
        }
        self.allow(terms, free)?;
        if over(now, self.ends) {
            return Err(Reason::Deadline);
        }
        // With two attempts under way, either may have asked.
        let asked = self.asked.then(|| match self.asked_until {
            // The clock has no instant that is so late.
            Instant::MAX => u64::MAX,
            until => until.micros_since(now),
        });
        let wait = terms.schedule.micros(asked, self.made, self.previous_wait, pace.random());
        let earliest = now.plus(wait);
        // Without a wait, the device is awake.
        let sleeps = earliest > now;
        let mut at = earliest;
        if sleeps {
            let aligned = pace.next_wake_up(earliest);
            // No time is taken from the attempt for it.
            if aligned > earliest && terms.timeout_at(aligned) <= self.ends {
                at = aligned;
            }
        }
        while let Err(reason) = self.permitted(terms, at, asked) {
            if at == earliest {
                return Err(reason);
            }
            self.until = self.asked_until;
            at = earliest;
        }
        // Asked last: what is charged is used.
        if sleeps && !pace.pay_for_wake_up(now, at) {
            return Err(Reason::Budget);
        }
        // Not the aligned one, by which jitter would grow.
        self.previous_wait = wait;
        self.until = at;
        Ok(())
    }

    /// Whether anything is known that stands against an attempt at `at`.
    fn permitted(
        &mut self,
        terms: &Terms<'p>,
        at: Instant,
        asked: Option<u64>,
    ) -> Result<(), Reason> {
        if at > self.window_ends(terms) {
            return Err(Reason::Window);
        }
        if over(at, self.ends) && !fault::DEADLINE_IGNORED {
            return Err(Reason::Deadline);
        }
        if asked.is_some_and(|asked| asked > terms.limits.max_asked_wait) {
            return Err(Reason::AskedWait);
        }
        (terms.gates.foresee)(self, terms, at)
    }

    /// Ends the execution for `reason`, between two attempts.
    pub(super) fn over(&mut self, reason: Reason) {
        self.came = Came::Nothing;
        self.asked_until = NOBODY_KNOWS;
        self.give_up(reason);
    }

    #[cold]
    #[inline(never)]
    fn give_up(&mut self, reason: Reason) {
        self.reason = reason;
        self.enter(Entry::GaveUp);
        self.ended = !self.keep_open;
    }

    /// Tells the policy's observer what happened in this step.
    #[inline(never)] // Mostly there is nobody to tell.
    pub(super) fn tell(&self, terms: &Terms<'p>) {
        if let Some((observer, tell)) = terms.observer {
            tell(observer, self);
        }
    }

    const fn window_ends(&self, terms: &Terms<'_>) -> Instant {
        self.began.plus(terms.limits.window)
    }
}

/// Whether `at` is past what ends at `ends`, of which [`Instant::MAX`] never does.
#[inline(never)] // Once for all that asks.
fn over(at: Instant, ends: Instant) -> bool {
    at >= ends && ends != Instant::MAX
}
