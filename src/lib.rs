//! Training objectives for machine learning behind a C interface.
//!
//! The C header `include/losskit.h` is the manual of the interface. Inside, each layer knows only those
//! before it: [`registry`] (what an entry is), `cpu` and `cuda` (how memory is traversed), `losses` (the
//! mathematics), [`abi`] (the C functions).

// A build of some entries leaves parts unused.
#![cfg_attr(some_entries, allow(dead_code, unused_imports, unused_macros))]

pub mod abi;
mod cpu;
#[cfg(gpu)]
mod cuda;
mod losses;
pub mod registry;
