//! Training objectives for machine learning behind a C interface.
//!
//! The C header `include/losskit.h` is the manual of the interface. Inside, each layer knows only those
//! before it: [`registry`] (what an entry is), `cpu` and `cuda` (how memory is traversed), `losses` (the
//! mathematics), [`abi`] (the C functions).

// Arrays of the same small length are walked side by side by index, which iterators would keep from being inlined.
#![allow(clippy::needless_range_loop)]
// `!(a <= b)` is true of a NaN, too, and is written where that is meant.
#![allow(clippy::neg_cmp_op_on_partial_ord)]
// A build of some entries leaves parts unused.
#![cfg_attr(some_entries, allow(dead_code, unused_imports, unused_macros))]

pub mod abi;
mod cpu;
#[cfg(gpu)]
mod cuda;
mod losses;
pub mod registry;
