//! What an entry is: its types, generated from the declarations in `src/losses`, and the descriptors that
//! the argument checks read.

mod descriptor;
mod error;
pub(crate) mod views;

pub use descriptor::{
    Buffer, BufferRole, Dim, Element, Entry, Extent, Factor, Index, MAX_BUFFERS, Opt, Pass, Range, Rule,
};
pub use error::{Error, Result, Status};
pub use views::{DType, Floats, FloatsMut, Reduction, floats_of};

/// The registry as JSON.
pub const JSON: &str = include_str!(concat!(env!("OUT_DIR"), "/registry.json"));

#[allow(non_camel_case_types)]
pub mod entries {
    #[allow(unused_imports)] // not every declaration has everything
    mod prelude {
        pub use crate::registry::views::{floats, floats_mut, slice, slice_mut};
        pub use crate::registry::{
            Buffer, BufferRole, Dim, Element, Entry, Extent, Factor, Floats, FloatsMut, Index, Opt, Pass,
            Range, Rule,
        };
        pub use std::ffi::c_void;
        pub use std::mem::offset_of;
    }

    include!(concat!(env!("OUT_DIR"), "/entries.rs"));
}
