//! What can go wrong on a device.

use crate::registry::{Error, Status};
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CudaError {
    /// No driver, no such device, or no image of ours that runs on it.
    Unavailable(String),
    /// The library was built without it.
    Missing(String),
    /// The driver refused a call, or reports that an earlier kernel failed.
    Driver(String),
    /// A mistake in losskit: an unknown kernel, a launch out of range, a barrier not reached by all.
    Internal(String),
}

impl fmt::Display for CudaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (CudaError::Unavailable(text)
        | CudaError::Missing(text)
        | CudaError::Driver(text)
        | CudaError::Internal(text)) = self;
        f.write_str(text)
    }
}

impl From<CudaError> for Error {
    fn from(error: CudaError) -> Error {
        let status = match error {
            CudaError::Unavailable(_) | CudaError::Driver(_) => Status::Cuda,
            CudaError::Missing(_) => Status::Unsupported,
            CudaError::Internal(_) => Status::Internal,
        };
        Error::new(status, error.to_string())
    }
}

impl std::error::Error for CudaError {}

pub type Result<T> = std::result::Result<T, CudaError>;
