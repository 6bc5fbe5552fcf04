//! QEMU's RISC-V `virt`: the machine timer of its CLINT, at 10 MHz.

use core::ptr;
use portable_atomic::{AtomicU32, Ordering};

static PERIOD: AtomicU32 = AtomicU32::new(0);

/// Lets the timer interrupt every `cycles` of its clock from now on.
pub fn tick_every(cycles: u32) {
    PERIOD.store(cycles, Ordering::Relaxed);
    again();
    // SAFETY: the handler is there: `on_tick!` made it.
    unsafe {
        riscv::register::mie::set_mtimer();
        riscv::register::mstatus::set_mie();
    }
}

/// Arms the timer for its next interrupt.
pub fn again() {
    tick_after(PERIOD.load(Ordering::Relaxed));
}

/// Lets the timer interrupt next after `cycles`, and not for what was due before. From within the
/// interrupt, whose next period it then is.
pub fn tick_after(cycles: u32) {
    let at = now().wrapping_add(cycles.into());
    // SAFETY: the registers of the one hart's timer, which nobody else touches. The high word is
    // out of reach while the low one changes: no interrupt comes in between.
    unsafe {
        ptr::write_volatile(MTIMECMP.add(1), u32::MAX);
        ptr::write_volatile(MTIMECMP, at as u32);
        ptr::write_volatile(MTIMECMP.add(1), (at >> 32) as u32);
    }
}

/// Sleeps until an interrupt.
pub fn idle() {
    riscv::asm::wfi();
}

fn now() -> u64 {
    loop {
        // SAFETY: registers that only the hardware writes.
        let (high, low, again) = unsafe {
            (
                ptr::read_volatile(MTIME.add(1)),
                ptr::read_volatile(MTIME),
                ptr::read_volatile(MTIME.add(1)),
            )
        };
        if high == again {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

const MTIMECMP: *mut u32 = 0x0200_4000 as *mut u32;
const MTIME: *const u32 = 0x0200_bff8 as *const u32;

/// A counter of instructions.
pub mod counter {
    use core::arch::asm;
    use riscv::register::minstret;

    /// Starts it.
    pub fn start() {}

    /// What it says.
    #[inline(always)]
    pub fn read() -> u32 {
        minstret::read() as u32
    }

    /// How far it is from there.
    #[inline(always)]
    pub fn since(began: u32) -> u32 {
        read().wrapping_sub(began)
    }

    /// Runs two instructions a turn.
    #[inline(never)]
    pub fn spin(turns: u32) {
        // SAFETY: it only counts down.
        unsafe {
            asm!("2:", "addi {0}, {0}, -1", "bnez {0}, 2b", inout(reg) turns => _, options(nomem, nostack))
        };
    }
}
