//! Embassy's executor and its time, with a sleep that is measured.

use core::cell::Cell;
use core::time::Duration;

use cortex_m::Peripherals;
use cortex_m::peripheral::SYST;
use critical_section::Mutex;
use embassy_executor::{Spawner, raw};
use portable_atomic::{AtomicBool, Ordering};
use static_cell::StaticCell;
use systick_timer::SystickDriver;

embassy_time_driver::time_driver_impl!(static DRIVER: SystickDriver<16> =
    SystickDriver::new(HZ as u64, PERIOD - 1));

static PENDING: AtomicBool = AtomicBool::new(false);
static REST: Mutex<Cell<Rest>> = Mutex::new(Cell::new(Rest { cycles: 0, naps: 0, polls: 0 }));

/// How the core rested so far.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    cycles: u64,
    /// Times that it fell asleep.
    pub naps: u32,
    /// Times that a task had something to do.
    pub polls: u32,
}

/// Starts time, spawns, and runs tasks; sleeps while there is nothing to do.
pub fn run(spawn: impl FnOnce(Spawner)) -> ! {
    static EXECUTOR: StaticCell<raw::Executor> = StaticCell::new();

    let mut peripherals = Peripherals::take().expect("started once");
    DRIVER.start(&mut peripherals.SYST);
    let executor = &*EXECUTOR.init(raw::Executor::new(core::ptr::null_mut()));
    spawn(executor.spawner());
    loop {
        if PENDING.load(Ordering::Relaxed) {
            // Before the poll: whoever is woken during it, or after, is seen next time.
            PENDING.store(false, Ordering::Relaxed);
            change(|rest| rest.polls += 1);
            // SAFETY: from here alone, and not from within a task.
            unsafe { executor.poll() };
        }
        // Interrupts off: what comes between the look and the sleep ends the sleep.
        cortex_m::interrupt::free(|_| {
            if !PENDING.load(Ordering::Relaxed) && !cfg!(fault = "busy_wait") {
                let before = SYST::get_current();
                cortex_m::asm::wfi();
                // It counts down, and its interrupt ends a sleep before it comes round twice.
                let slept = (before + PERIOD - SYST::get_current()) % PERIOD;
                change(|rest| {
                    rest.cycles += u64::from(slept);
                    rest.naps += 1;
                });
            }
        });
    }
}

/// What the SysTick handler calls.
pub fn tick() {
    DRIVER.systick_interrupt();
}

/// How the core rested so far.
pub fn rest() -> Rest {
    critical_section::with(|section| REST.borrow(section).get())
}

impl Rest {
    /// The time asleep.
    #[must_use]
    pub fn asleep(&self) -> Duration {
        Duration::from_micros(self.cycles * 1_000_000 / u64::from(HZ))
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            cycles: self.cycles - earlier.cycles,
            naps: self.naps - earlier.naps,
            polls: self.polls - earlier.polls,
        }
    }
}

/// The share of `whole` that was not slept, in hundredths of a percent.
#[must_use]
pub fn awake(rest: &Rest, whole: Duration) -> u64 {
    let whole = whole.as_micros() as u64;
    whole.saturating_sub(rest.asleep().as_micros() as u64) * 10_000 / whole.max(1)
}

#[unsafe(export_name = "__pender")]
fn pend(_executor: *mut ()) {
    PENDING.store(true, Ordering::Relaxed);
}

fn change(change: impl FnOnce(&mut Rest)) {
    critical_section::with(|section| {
        let mut rest = REST.borrow(section).get();
        change(&mut rest);
        REST.borrow(section).set(rest);
    });
}

#[cfg(target_has_atomic = "32")]
const HZ: u32 = 12_500_000; // lm3s6965evb
#[cfg(not(target_has_atomic = "32"))]
const HZ: u32 = 16_000_000; // microbit
/// Cycles between interrupts: a wait is at most 10 ms late, and an emulator that is held up loses no
/// time until then.
const PERIOD: u32 = HZ / 100;
