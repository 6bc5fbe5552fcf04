//! One face for the boards: start, time, an interrupt, the end.

#[cfg(target_arch = "arm")]
mod cortex_m;
#[cfg(target_arch = "riscv32")]
mod riscv;

#[cfg(target_arch = "arm")]
pub use cortex_m::*;
#[cfg(target_arch = "riscv32")]
pub use riscv::*;

/// What the image runs on.
pub const NAME: &str = env!("BOARD");

/// Ends the run: QEMU exits with 0 or 1.
pub fn end(passed: bool) -> ! {
    semihosting::process::exit(i32::from(!passed))
}

/// The image's entry: `image!(main)` starts `fn main() -> bool`.
#[macro_export]
macro_rules! image {
    ($main:path) => {
        #[cfg(target_arch = "arm")]
        #[cortex_m_rt::entry]
        fn start() -> ! {
            $crate::board::end($main())
        }

        #[cfg(target_arch = "riscv32")]
        #[riscv_rt::entry]
        fn start() -> ! {
            $crate::board::end($main())
        }
    };
}

/// Lets the timer's interrupt call `fn interrupt()`.
#[macro_export]
macro_rules! on_tick {
    ($interrupt:path) => {
        #[cfg(target_arch = "arm")]
        #[cortex_m_rt::exception]
        fn SysTick() {
            $interrupt();
        }

        #[cfg(target_arch = "riscv32")]
        #[riscv_rt::core_interrupt(riscv::interrupt::Interrupt::MachineTimer)]
        fn machine_timer() {
            $crate::board::again();
            $interrupt();
        }
    };
}
