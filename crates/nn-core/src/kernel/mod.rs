//! The numeric kernels: the one module that may use `unsafe`.
//!
//! Its interface is safe: each entry checks every bound with `assert!` before it makes a pointer, and an [`Isa`]
//! exists only for instructions that this processor has. Inside are lanes of sixteen floats (`lanes.rs`, `x86.rs`),
//! register tiles (`tile.rs`, `product_tile.rs`, `gradient_tile.rs`), rounding to bf16 (`bf16.rs`), a matrix unit's tiles (`tiles.rs`, `packed.rs`, `amx.rs`), whole products and gradients (`products.rs`,
//! `gradient.rs`), gathering samples (`gather.rs`), the floating-point mode (`mode.rs`), multiply-adds without the instruction (`fma.rs`), and plain loops that the compiler vectorises (`multiversion!`,
//! `vector.rs`, `normalize.rs`, `output.rs`, `update.rs`, `squares.rs`, `average.rs`, `delta.rs`, `compact.rs`, `outer.rs`, `distort.rs`).
#![allow(unsafe_code)]
// An index names a register here. Iterators over two arrays would hide which.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
mod amx;
mod bf16_tile;
mod fma;
mod gather;
mod gradient;
mod gradient_tile;
mod lanes;
mod memory;
mod mode;
mod peak;
mod product_tile;
mod products;
mod scratch;
mod tile;
mod tiles;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use gather::{GatherSource, gather_panel};
pub(crate) use gradient::{LayerGeometry, NodeGradient, NormalizedLanes, node_gradient};
pub(crate) use lanes::Lane;
pub use memory::zeroed;
pub(crate) use memory::zeroed_lanes;
pub use mode::set_float_mode;
pub(crate) use output::output_layer;
pub(crate) use packed::{DeltaTiles, WeightTiles};
pub use peak::multiply_adds;
pub(crate) use products::{Product, product};
pub(crate) use scratch::Scratch;
pub(crate) use tile::K_PANEL;

/// The instructions to compute with. All give the same results bit for bit; only their speed differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Portable,
    /// Plain code, with an emulated matrix unit.
    #[cfg(not(target_arch = "x86_64"))]
    PortableTiles,
    /// AVX2, with an emulated matrix unit.
    #[cfg(target_arch = "x86_64")]
    Avx2Tiles,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512, with AMX for bf16.
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl Isa {
    /// The instruction sets that this processor has, the fastest last. `avx2-tiles` (elsewhere `portable-tiles`) is for tests: the
    /// code for a matrix unit, around plain code that computes as one.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[cfg(not(target_arch = "x86_64"))]
        return vec![Self(Kind::PortableTiles), Self(Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            let mut all = vec![Self(Kind::Portable)];
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.extend([Self(Kind::Avx2Tiles), Self(Kind::Avx2)]);
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    all.push(Self(Kind::Avx512));
                    if amx::available() {
                        all.push(Self(Kind::Amx));
                    }
                }
            }
            all
        }
    }

    /// The fastest instruction set that this processor has.
    #[must_use]
    pub fn best() -> Self {
        let all = Self::available();
        all[all.len() - 1]
    }

    /// The instruction set with this name (`portable`, `avx2-tiles`, `avx2`, `avx512`, `amx`), if this processor has it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    /// A short name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(not(target_arch = "x86_64"))]
            Kind::PortableTiles => "portable-tiles",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2Tiles => "avx2-tiles",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Amx => "amx",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        self.0
    }

    /// Whether products with bf16 operands are computed on tiles.
    pub(crate) fn has_tiles(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return matches!(self.0, Kind::Avx2Tiles | Kind::Amx);
        #[cfg(not(target_arch = "x86_64"))]
        return matches!(self.0, Kind::PortableTiles);
    }
}

/// Compiles a plain function once for each [`Isa`] and calls the right version. The function must be
/// `#[inline(always)]`; the compiler then vectorises its loops with the enabled instructions, and `f32::mul_add`
/// becomes one instruction.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:path) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(isa: $crate::kernel::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                $body($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                $body($($arg),*)
            }
            match isa.kind() {
                $crate::kernel::Kind::Portable => $body($($arg),*),
                #[cfg(not(target_arch = "x86_64"))]
                $crate::kernel::Kind::PortableTiles => $body($($arg),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this kind exists only if the processor has the instructions.
                $crate::kernel::Kind::Avx2 | $crate::kernel::Kind::Avx2Tiles => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::kernel::Kind::Avx512 | $crate::kernel::Kind::Amx => unsafe { avx512($($arg),*) },
            }
        }
    };
}

pub(crate) mod average;
pub(crate) mod bf16;
pub(crate) mod compact;
pub(crate) mod delta;
pub(crate) mod distort;
pub(crate) mod normalize;
pub(crate) mod outer;
mod output;
mod packed;
pub(crate) mod squares;
pub(crate) mod update;
pub(crate) mod vector;
