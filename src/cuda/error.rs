//! What can go wrong on a device.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CudaError {
    /// No driver, no such device, or no image of ours that runs on it.
    Unavailable(String),
    /// The driver refused a call, or reports that an earlier kernel failed.
    Driver(String),
    /// A mistake in losskit: an unknown kernel, a launch out of range, a barrier not reached by all.
    Internal(String),
}

impl fmt::Display for CudaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (CudaError::Unavailable(text) | CudaError::Driver(text) | CudaError::Internal(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for CudaError {}

pub type Result<T> = std::result::Result<T, CudaError>;
