//! Code generation from the declarations. Runs in the build script only.

pub mod c_interface;
pub mod cpp;
pub mod functions;
pub mod header;
pub mod json;
pub mod kernel_args;
pub mod schema;
pub mod types;
