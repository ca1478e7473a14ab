//! The floating-point mode of a thread.

/// Sets the mode that the arithmetic is defined in: round to nearest, ties to even, and keep subnormal numbers. A library that
/// is loaded before the program may have changed the mode, and every thread inherits that of its creator; so a program
/// calls this first.
pub fn set_float_mode() {
    #[cfg(target_arch = "x86_64")]
    {
        /// All exceptions masked, round to nearest, no flush to zero: the processor's own default.
        const MXCSR: u32 = 0x1f80;
        // SAFETY: the instruction reads four bytes of a constant and changes only MXCSR, whose bits are all defined. Rust
        // expects exactly this value of it.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &MXCSR, options(nostack, readonly));
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        // SAFETY: the instruction changes only FPCR; 0 is its default: round to nearest, no flush to zero.
        unsafe {
            std::arch::asm!("msr fpcr, {}", in(reg) 0_u64, options(nomem, nostack));
        }
    }
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::hint::black_box;

    /// Makes the thread flush subnormal numbers to 0.
    ///
    /// # Safety
    /// The caller must set the mode back before anything else is computed.
    unsafe fn flush() {
        #[cfg(target_arch = "x86_64")]
        {
            const FLUSH: u32 = 0x1f80 | 0x8040;
            // SAFETY: as above; the caller sets the mode back.
            unsafe {
                std::arch::asm!("ldmxcsr [{}]", in(reg) &FLUSH, options(nostack, readonly));
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            const FLUSH: u64 = 1 << 24;
            // SAFETY: as above; the caller sets the mode back.
            unsafe {
                std::arch::asm!("msr fpcr, {}", in(reg) FLUSH, options(nomem, nostack));
            }
        }
    }

    #[test]
    fn subnormal_numbers_are_kept_again() {
        let half_of_the_least = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        // SAFETY: the mode is set back next but one.
        unsafe { flush() };
        let flushed = half_of_the_least();
        super::set_float_mode();
        assert_eq!(flushed, 0.0, "this processor flushes if it is told to");
        assert!(half_of_the_least() > 0.0);
    }
}
