//! Code that runs on the host processor.

pub mod simd;
