//! Traversals on the CPU. A loss gives the mathematics of a row or an element in SIMD registers; the
//! skeletons here load, convert, split the work over threads, reduce and store.

pub mod elements;
mod later;
mod narrow;
mod parallel;
mod row;
pub mod rows;
pub mod simd;
pub mod softcap;
pub mod softmax;
pub mod storage;

pub use parallel::Cpu;
