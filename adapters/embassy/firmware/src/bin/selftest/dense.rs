//! The same few words all the time: the main loop takes tokens and slots and gives them back, with the
//! interrupt at its heels, which keeps what it takes until it comes again. What is left is exact.
//!
//! Of what the worlds do, too little hits the few instructions that move one word.

use core::cell::RefCell;
use core::time::Duration;

use critical_section::{CriticalSection, Mutex};
use portable_atomic::{AtomicU32, Ordering};
use steadfast::state::Slot;
use steadfast::{Budget, BudgetRule, Bulkhead, Instant};

static BUDGET: Budget = Budget::with_rule(BudgetRule::new(TOKENS, 1_000, Duration::ZERO));
static BULKHEAD: Bulkhead = Bulkhead::new(SLOTS);
/// Of the interrupt, from one time to the next; with it goes a token.
static KEPT: Mutex<RefCell<Option<Slot<&'static Bulkhead>>>> = Mutex::new(RefCell::new(None));
/// Interrupts that are to come. The interrupt alone counts them down.
static LEFT: AtomicU32 = AtomicU32::new(INTERRUPTS);

pub(crate) fn is_under_way() -> bool {
    LEFT.load(Ordering::Relaxed) > 0
}

/// The interrupt's part.
pub(crate) fn interrupt(section: CriticalSection<'_>) {
    LEFT.store(LEFT.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    let mut kept = KEPT.borrow_ref_mut(section);
    *kept = match kept.take() {
        None => {
            let _ = BUDGET.withdraw(NOW);
            Some(BULKHEAD.try_acquire().expect("a slot for each"))
        }
        Some(slot) => {
            drop(slot);
            BUDGET.deposit();
            None
        }
    };
}

/// The main loop's part: how often it took and gave back.
#[inline(never)]
pub(crate) fn turns() -> u32 {
    // Far from a full budget, which keeps no more.
    (0..TAKEN).for_each(|_| _ = BUDGET.withdraw(NOW));
    let mut turns = 0;
    while is_under_way() {
        let _ = BUDGET.withdraw(NOW);
        let slot = BULKHEAD.try_acquire().expect("a slot for each");
        BUDGET.deposit();
        drop(slot);
        critical_section::with(adds_up);
        turns += 1;
    }
    turns
}

fn adds_up(section: CriticalSection<'_>) {
    let kept = u32::from(KEPT.borrow_ref(section).is_some());
    let left = (BULKHEAD.taken(), BUDGET.tokens());
    assert_eq!(left, (kept, TOKENS - TAKEN - kept), "what both take and give back is lost");
}

const NOW: Instant = Instant::from_micros(0);
pub(crate) const INTERRUPTS: u32 = 10_000;
/// One for each, and one that nobody takes.
const SLOTS: u32 = 3;
const TOKENS: u32 = 100;
const TAKEN: u32 = 50;
