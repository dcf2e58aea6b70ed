//! Traversals on the CPU. A loss gives the mathematics of a row or an element in SIMD registers; the
//! skeletons here load, convert, split the work over threads, reduce and store.

pub mod cross_entropy;
pub mod dropout;
pub mod elements;
pub mod linear_rows;
pub mod matmul;
mod parallel;
pub mod philox;
mod row;
pub mod rows;
pub mod simd;
pub mod softcap;
pub mod softmax;
pub mod storage;
pub mod workspace;

pub use parallel::Cpu;
