//! The numeric kernels: the one module that may use `unsafe`.
//!
//! Its interface is safe: each entry checks every bound with `assert!` before it makes a pointer, and an [`Isa`]
//! exists only for instructions that this processor has. Inside are lanes of sixteen floats (`lanes.rs`, `x86.rs`),
//! register tiles (`tile.rs`, `product_tile.rs`, `gradient_tile.rs`), rounding to bf16 (`bf16.rs`), whole products and gradients (`products.rs`,
//! `gradient.rs`), gathering samples (`gather.rs`), the floating-point mode (`mode.rs`), multiply-adds without the instruction (`fma.rs`), and plain loops that the compiler vectorises (`multiversion!`,
//! `vector.rs`, `output.rs`, `update.rs`, `delta.rs`, `outer.rs`).
#![allow(unsafe_code)]
// An index names a register here. Iterators over two arrays would hide which.
#![allow(clippy::needless_range_loop)]

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
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use gather::{GatherSource, gather_panel};
pub(crate) use gradient::{LayerGeometry, NodeGradient, node_gradient};
pub(crate) use lanes::Lane;
pub use memory::zeroed;
pub(crate) use memory::zeroed_lanes;
pub use mode::set_float_mode;
pub(crate) use output::output_layer;
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
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The instruction sets that this processor has, the fastest last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
        let mut all = vec![Self(Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self(Kind::Avx2));
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    all.push(Self(Kind::Avx512));
                }
            }
        }
        all
    }

    /// The fastest instruction set that this processor has.
    #[must_use]
    pub fn best() -> Self {
        let all = Self::available();
        all[all.len() - 1]
    }

    /// The instruction set with this name (`portable`, `avx2`, `avx512`), if this processor has it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    /// A short name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        self.0
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
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this kind exists only if the processor has the instructions.
                $crate::kernel::Kind::Avx2 => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::kernel::Kind::Avx512 => unsafe { avx512($($arg),*) },
            }
        }
    };
}

pub(crate) mod bf16;
pub(crate) mod delta;
pub(crate) mod outer;
mod output;
pub(crate) mod update;
pub(crate) mod vector;
