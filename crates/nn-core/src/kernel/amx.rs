//! AMX, the matrix unit of x86-64 servers: `TDPBF16PS` computes a block of 16 × 16 outputs in 16 cycles, in exactly the order that
//! [`bf16`](super::bf16) defines.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

use super::lanes::{Avx512, Lane, Portable};
use super::tiles::{Emulated, Sums, TILE, Tiles};

/// Tiles of AMX, with lanes of AVX-512.
pub(super) struct Amx;

/// Eight tiles of 16 rows of 64 bytes: what `LDTILECFG` reads.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_of_row: [u16; 16],
    rows: [u8; 16],
}

static EIGHT_TILES: Configuration = {
    let (mut bytes_of_row, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        bytes_of_row[tile] = 64;
        rows[tile] = 16;
        tile += 1;
    }
    Configuration { palette: 1, start_row: 0, reserved: [0; 14], bytes_of_row, rows }
};

// SAFETY of every block below: the trait's contract. An `Isa` of this kind exists only if `available` said so. The compiler
// itself never uses tiles, so their configuration lasts from `begin` to `end`; the system saves it with the thread's other registers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Tiles for Amx {
    type Lanes = Avx512;

    #[inline(always)]
    unsafe fn begin() {
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const EIGHT_TILES, options(nostack, readonly, preserves_flags));
        }
    }

    /// Without it the system would save eight kilobytes at every switch of threads.
    #[inline(always)]
    unsafe fn end() {
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) }
    }

    #[inline(always)]
    unsafe fn sums(task: &Sums) {
        let Sums { left, right, blocks, sums } = task;
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{left0} + {row}*1]",
                "tileloadd tmm6, [{right0} + {row}*1]",
                "tileloadd tmm7, [{right1} + {row}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{left1} + {row}*1]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "add {left0}, 1024",
                "add {right0}, 1024",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "add {left1}, 1024",
                "add {right1}, 1024",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "dec {blocks}",
                "jnz 2b",
                "mov {left0}, [{sums}]",
                "mov {left1}, [{sums} + 8]",
                "mov {right0}, [{sums} + 16]",
                "mov {right1}, [{sums} + 24]",
                "tilestored [{left0} + {row}*1], tmm0",
                "tilestored [{left1} + {row}*1], tmm1",
                "tilestored [{right0} + {row}*1], tmm2",
                "tilestored [{right1} + {row}*1], tmm3",
                left0 = inout(reg) left[0] => _,
                left1 = inout(reg) left[1] => _,
                right0 = inout(reg) right[0] => _,
                right1 = inout(reg) right[1] => _,
                blocks = inout(reg) *blocks => _,
                sums = in(reg) sums.as_ptr(),
                row = in(reg) 64_usize,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

/// Whether this process may use AMX. The first call asks the system for permission, which holds for all threads, and compares the unit
/// with plain code: a unit that computes otherwise (an emulator's, say) is not used. AVX-512 must be available.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| detected() && permitted() && unit_is_exact())
}

/// Whether processor and system have AMX with bf16, in the size that the kernels are made for.
fn detected() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const BF16: u32 = 1 << 22;
    const TILE_UNIT: u32 = 1 << 24;
    // The system saves tile configuration and data, and AVX-512's registers.
    const SAVED: u32 = 0b11 << 17 | 0b1110_0110;
    // Older compilers call this unsafe.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has the instruction.
    let ask = |leaf, part| unsafe { __cpuid_count(leaf, part) };
    if ask(0, 0).eax < 0x1d || ask(1, 0).ecx & OSXSAVE == 0 {
        return false;
    }
    let features = ask(7, 0).edx;
    if features & BF16 == 0 || features & TILE_UNIT == 0 {
        return false;
    }
    let saved: u32;
    // SAFETY: the processor has the instruction, because the system uses XSAVE.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") saved, out("edx") _, options(nostack, nomem)) };
    let palette = ask(0x1d, 1);
    // Eight tiles of 1024 bytes, in rows of 64 bytes, at most 16 of them.
    let shape = (palette.eax >> 16, palette.ebx & 0xffff, palette.ebx >> 16, palette.ecx & 0xffff);
    saved & SAVED == SAVED && shape == (1024, 64, 8, 16)
}

/// Asks Linux for permission to use tile data (since 5.16; other systems are not asked, and have none).
fn permitted() -> bool {
    #[cfg(target_os = "linux")]
    {
        const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
        const TILE_DATA: libc::c_ulong = 18;
        // SAFETY: the call changes nothing but the permission.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// Compares the unit with plain code, on numbers of very different magnitudes.
fn unit_is_exact() -> bool {
    const BLOCKS: usize = 3;
    let mut state = 1_u32;
    let mut word = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // A sign, 7 bits of fraction, and an exponent from -20 to 11.
        let number = |bits: u32| (bits & 0x807f) | ((107 + (bits >> 8 & 31)) << 7);
        f32::from_bits(number(state >> 16) << 16 | number(state.rotate_left(11) & 0xffff))
    };
    let mut operand =
        || -> Vec<Lane> { (0..2 * BLOCKS * TILE).map(|_| Lane(std::array::from_fn(|_| word()))).collect() };
    let (left, right) = (operand(), operand());
    let mut results = [vec![Lane::ZERO; 4 * TILE], vec![Lane::ZERO; 4 * TILE]];
    let [one, other] = &mut results;
    for (unit, to) in [(true, one), (false, other)] {
        let tile = |lanes: &[Lane], i: usize| lanes[i * BLOCKS * TILE..].as_ptr().cast::<f32>();
        let to = to.as_mut_ptr().cast::<f32>();
        let at = |i: usize| to.wrapping_add(i * TILE * 16);
        let task = Sums {
            left: [tile(&left, 0), tile(&left, 1)],
            right: [tile(&right, 0), tile(&right, 1)],
            blocks: BLOCKS,
            sums: [[at(0), at(1)], [at(2), at(3)]],
        };
        // SAFETY: operands and results have the tiles; the unit is there and permitted.
        unsafe {
            if unit {
                Amx::begin();
                Amx::sums(&task);
                Amx::end();
            } else {
                Emulated::<Portable>::sums(&task);
            }
        }
    }
    let bits = |lanes: &[Lane]| lanes.iter().flat_map(|lane| lane.0.map(f32::to_bits)).collect::<Vec<_>>();
    bits(&results[0]) == bits(&results[1])
}
