//! Traversals on the CPU. A loss gives the mathematics of a row or an element in SIMD registers; the
//! skeletons here load, convert, split the work over threads, reduce and store.

pub mod elements;
pub mod matmul;
pub mod parallel;
pub mod row;
pub mod row_pair;
pub mod row_sets;
pub mod rows;
pub mod simd;
pub mod softcap;
pub mod softmax;
pub mod softmax_entropy;
pub mod storage;

pub use parallel::Cpu;
