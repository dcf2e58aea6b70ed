//! The C boundary: contexts, statuses, argument checks, panic guard. Every entry point goes through
//! [`enter`]; nothing below this layer sees a raw pointer of the caller that was not checked.

mod check;
mod context;
mod enter;
mod entry_points;
mod library;
mod status;
mod types;

pub use context::*;
pub use entry_points::*;
pub use library::*;
pub use status::*;
pub use types::*;
