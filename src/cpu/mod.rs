//! Traversals on the CPU. A loss gives the mathematics of a row or an element in SIMD registers; the
//! skeletons here load, convert, split the work over threads, reduce and store.

mod blocks;
pub mod boosting;
pub mod cross_entropy;
pub mod dense;
pub mod distance;
pub mod dropout;
pub mod elements;
pub mod extended;
pub mod gram;
pub mod largest;
mod later;
pub mod linear_rows;
pub mod maps;
pub mod matmul;
pub mod narrow;
pub mod neighbors;
pub mod overlaps;
pub mod parallel;
pub mod philox;
pub mod reduction;
pub mod row;
pub mod row_pair;
pub mod row_sets;
pub mod rows;
pub mod select;
pub mod sequences;
pub mod simd;
pub mod softcap;
pub mod softmax;
pub mod softmax_entropy;
pub mod sort;
pub mod special;
pub mod storage;
pub mod tiles;
pub mod topology;
pub mod windows;
pub mod workspace;

pub use parallel::Cpu;
